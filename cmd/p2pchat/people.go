package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/spf13/cobra"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/local"
	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/profile"
	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
)

// me is what whoami prints.
type me struct {
	Name string `json:"name"`
	Home string `json:"home"`
	Peer string `json:"peer"`
}

func newWhoami(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "whoami",
		Short: "Say who this profile is",
		Long: `Whoami prints the profile's name, its directory and its peer id. The key by which
others know you differs from group to group: p2pchat group show GROUP.`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			keys, err := profile.Load(a.home, a.askProfile(cmd.Context()))
			if err != nil {
				return err
			}
			id, err := peer.IDFromPrivateKey(keys.Peer)
			if err != nil {
				return err
			}
			m := me{Name: keys.Name, Home: a.home, Peer: id.String()}
			return a.print(m, "name     %s\nprofile  %s\npeer     %s", cleanName(m.Name), m.Home, m.Peer)
		},
	}
}

func newMembers(a *app) *cobra.Command {
	var former bool
	cmd := &cobra.Command{
		Use:   "members GROUP",
		Short: "List who is in a group",
		Long: `Members lists who is in a group, the most senior first. KEY begins what identifies a
person in this group, which a name does not; every command that takes a NAME takes it.
With --former it lists who was in the group and is not any more.`,
		Example: "  p2pchat members \"Hiking club\"\n  p2pchat members \"Hiking club\" --former",
		Args:    args(1, 1, "GROUP"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.inGroup(cmd.Context(), "members", args[0], func(c *local.Client, g local.Group) error {
				if former {
					return a.listFormer(cmd.Context(), c, g)
				}
				return a.listMembers(cmd.Context(), c, g)
			})
		},
	}
	cmd.Flags().BoolVar(&former, "former", false, "who left, was removed or is banned")
	return cmd
}

func (a *app) listMembers(ctx context.Context, c *local.Client, g local.Group) error {
	members, err := c.Members(ctx, g.ID)
	if err != nil {
		return err
	}
	h, err := c.Holder(ctx)
	if err != nil {
		return err
	}
	return printList(a, members, "NAME\tROLE\tKEY\tSTATE", func(m local.Member) []string {
		m.Online = m.Online && (!m.Me || h.Lasting) // for a moment is not online
		return []string{cleanName(m.Name), m.Role, protocol.Short(m.Key), memberState(m)}
	})
}

func (a *app) listFormer(ctx context.Context, c *local.Client, g local.Group) error {
	members, err := c.Former(ctx, g.ID)
	if err != nil {
		return err
	}
	if len(members) == 0 {
		a.note("nobody left or was removed")
		return nil
	}
	t := newTranscript(a, members)
	return printList(a, members, "NAME\tKEY\tHOW", func(m local.Member) []string {
		return []string{cleanName(m.Name), protocol.Short(m.Key), went(m, t.who)}
	})
}

// went says how a former member went.
func went(m local.Member, who func(local.Person) string) string {
	if m.Went == nil {
		return ""
	}
	how := map[string]string{"leave": "left", "remove": "removed", "ban": "banned"}[m.Went.Kind]
	if how == "" { // what let them in was undone
		how = "admission undone"
	}
	if m.Went.By.Key != m.Key {
		how += " by " + who(m.Went.By)
	}
	how += colon(reasonOf(*m.Went))
	if m.Lifted {
		how += " (lifted: may be invited again)"
	}
	return how
}

// until says when something ends, if that is known.
func until(t *time.Time) string {
	if t == nil {
		return ""
	}
	return " until " + t.Local().Format("2006-01-02 15:04")
}

func memberState(m local.Member) string {
	var s []string
	words := []string{
		yes(m.Me, "you"), yes(m.Online, "online"), yes(m.Muted, "muted"+until(m.MutedUntil)), yes(m.Blocked, "blocked"), yes(m.Forked, "forked"),
		yes(len(m.Devices) > 1, fmt.Sprint(len(m.Devices), " devices")), yes(m.Verified == node.Verified, "verified"), doubt(m),
	}
	for _, word := range words {
		if word != "" {
			s = append(s, word)
		}
	}
	return strings.Join(s, ", ")
}

func newPeers(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "peers",
		Short: "List the nodes that are connected or remembered",
		Args:  args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), "peers", false, func(c *local.Client) error {
				peers, err := c.Peers(cmd.Context())
				if err != nil {
					return err
				}
				if len(peers) == 0 {
					a.note("no peers yet; next: p2pchat status")
					return nil
				}
				return printList(a, peers, "PEER\tWHO\tSTATE\tFOUND\tADDRESS", peerRow)
			})
		},
	}
}

func peerRow(p local.Peer) []string {
	var names []string
	for _, n := range p.Names {
		names = append(names, cleanName(n))
	}
	state, addr := "remembered", ""
	if p.Connected {
		state = "connected"
	}
	if len(p.Addrs) > 0 {
		addr = p.Addrs[0]
	}
	return []string{p.ID, strings.Join(names, ", "), state, p.Found, addr}
}

func newBlock(a *app) *cobra.Command {
	var in local.Block
	cmd := &cobra.Command{
		Use:   "block NAME",
		Short: "Hide what somebody writes, for you alone",
		Long: `Block hides what a person writes, on this device only; nobody is told. NAME is a name
or a key (usr_…) as members prints it. --undo shows it again.`,
		Example: "  p2pchat block Zoe\n  p2pchat block usr_abcdefgh --group \"Hiking club\"\n  p2pchat block Zoe --undo",
		Args:    args(1, 1, "NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			in.Who = args[0]
			return a.with(cmd.Context(), "block", false, func(c *local.Client) error {
				p, err := block(cmd.Context(), c, in)
				if err != nil {
					return err
				}
				verb := "blocked"
				if in.Undo {
					verb = "unblocked"
				}
				return a.print(blocked{Person: p, Blocked: !in.Undo}, "%s %s (%s)", verb, cleanName(p.Name), protocol.Short(p.Key))
			})
		},
	}
	cmd.Flags().StringVar(&in.Group, "group", "", "only in this `group`")
	cmd.Flags().BoolVar(&in.Undo, "undo", false, "show what they write again")
	return cmd
}

// block blocks, and says more than the node does where that fails.
func block(ctx context.Context, c *local.Client, in local.Block) (local.Person, error) {
	groups, err := c.Groups(ctx)
	if err != nil {
		return local.Person{}, err
	}
	shown := "GROUP"
	if in.Group != "" {
		g, err := c.Group(ctx, in.Group)
		if err != nil {
			return local.Person{}, err
		}
		in.Group, shown, groups = g.ID, typed(ctx, c, g), []local.Group{g}
	}
	p, err := c.Block(ctx, in)
	switch {
	case errors.Is(err, node.ErrAmbiguous):
		return p, &nextError{err, "p2pchat members " + shown + ", and use the usr_ key"}
	case errors.Is(err, node.ErrUnknownName) && isMe(ctx, c, groups, in.Who):
		return p, thatIsYou(in.Who, shown)
	}
	return p, err
}

// thatIsYou says of somebody whom the node does not find, since it looks among the
// others, that it is oneself.
func thatIsYou(who, group string) error {
	return &nextError{fmt.Errorf("%s: that is you", strconv.Quote(who)), "p2pchat members " + group}
}

// notMe returns the error of what was asked about somebody, or that it is oneself.
func notMe(ctx context.Context, c *local.Client, g local.Group, who string, err error) error {
	if errors.Is(err, node.ErrUnknownName) && isMe(ctx, c, []local.Group{g}, who) {
		return thatIsYou(who, typed(ctx, c, g))
	}
	return err
}

// isMe says whether a name or a key is this person's own in one of the groups.
func isMe(ctx context.Context, c *local.Client, groups []local.Group, who string) bool {
	return slices.ContainsFunc(groups, func(g local.Group) bool {
		if len(who) >= leastKey && strings.HasPrefix(g.Me, who) {
			return true
		}
		members, err := c.Members(ctx, g.ID)
		return err == nil && slices.ContainsFunc(members, func(m local.Member) bool { return m.Me && m.Name == who })
	})
}

// blocked is what block prints.
type blocked struct {
	local.Person
	Blocked bool `json:"blocked"`
}
