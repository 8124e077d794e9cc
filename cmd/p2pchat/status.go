package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/local"
	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage/disk"
)

func newStatus(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "status [GROUP]",
		Short: "Say how the profile's node is doing, or how complete a group is",
		Long: `Status says how the profile's node is doing and how complete each group is here. With
GROUP it says who is connected, and how: over the LAN, directly, or relayed by somebody
else; and of everybody when they were last met, and compared with.

Complete is what every member had who was met until then: of what only those have who
were not, nobody can know. What is known of and not here is named with whose it is.`,
		Example: "  p2pchat status\n  p2pchat status \"Hiking club\"",
		Args:    args(0, 1, "GROUP"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return a.inGroup(cmd.Context(), "status", args[0], func(c *local.Client, g local.Group) error {
					return a.statusOf(cmd.Context(), c, g)
				})
			}
			return a.with(cmd.Context(), "status", false, func(c *local.Client) error {
				s, err := c.Status(cmd.Context())
				if err != nil {
					return err
				}
				text := statusText(s, c.Holds())
				for _, g := range s.Groups {
					if news := waiting(cmd.Context(), c, g.Group).text(typed(cmd.Context(), c, g.Group)); news != "" {
						text += "\n  " + news
					}
				}
				return a.print(s, "%s", text)
			})
		},
	}
}

func statusText(s local.Status, self bool) string {
	holder := fmt.Sprintf("`p2pchat %s` (pid %d)", s.Holder.Verb, s.Holder.PID)
	if self {
		holder = "nobody; p2pchat daemon keeps the profile online"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "peer    %s\nheld by %s\nlisten  %s\nmdns    %s\ndht     %s\npeers   %d",
		s.PeerID, holder, strings.Join(s.Listen, "\n        "), s.MDNS, s.DHT, s.Peers)
	if s.Failing != nil {
		fmt.Fprintf(&b, "\nstore   %s", failingText(s.Failing))
	}
	for _, g := range s.Groups {
		b.WriteString("\n" + groupText(g, s.Holder))
	}
	return b.String()
}

// groupText is what status says of one group.
func groupText(g local.GroupStatus, h local.Holder) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: members %s; events %d", cleanName(g.Name), attendance(g.Group, h), g.Events)
	if g.Parked > 0 {
		fmt.Fprintf(&b, ", waiting %d", g.Parked)
	}
	if out := outside(g.Group); out != "" {
		fmt.Fprintf(&b, "\n  %s", out)
	} else {
		fmt.Fprintf(&b, "; %s", synced(g))
	}
	if g.Retention > 0 {
		fmt.Fprintf(&b, "\n  %s", retained(g.Retention))
	}
	if g.Kept.Limit > 0 {
		fmt.Fprintf(&b, "\n  %s", keptText(g.Kept))
	}
	for _, m := range g.Doubts {
		fmt.Fprintf(&b, "\n  %s: %s", tagged(m.Person), doubt(m))
	}
	for _, p := range g.Forks {
		fmt.Fprintf(&b, "\n  forked: a device of %s signed two events for one place; it was copied, or lies",
			cleanName(cmp.Or(p.Name, p.Key)))
	}
	if g.Renewed {
		fmt.Fprint(&b, "\n  this is another device of yours than it was: the profile was copied, or its store put back; see p2pchat device list")
	}
	return b.String()
}

// failingText says why nothing that comes is stored, and the way out. It may be that
// nothing was written since there is room again.
func failingText(err error) string {
	return cleanText(fmt.Sprintf("the last write failed: %v; next: %s", err, repair(err)))
}

// repair is what to type where writes to the store fail.
func repair(err error) string {
	if errors.Is(err, disk.ErrFull) {
		return "df -h, free some space; p2pchat doctor says whether it is enough, p2pchat sync fetches what came meanwhile"
	}
	return "p2pchat doctor"
}

// outside says why nothing new of a group comes any more.
func outside(g local.Group) string {
	switch {
	case g.Revoked:
		return "this device was revoked: it gets nothing new; if that was not you, somebody has your words: p2pchat device list all"
	case g.Left:
		return "you left: nothing new comes"
	case g.Members == 0:
		return "who is in it and what was said is not here yet: it comes when a member is online"
	case g.Role == protocol.NoRank.String():
		return "you are not a member any more: nothing new comes; p2pchat log says why"
	}
	return ""
}

// synced says how complete a group is, as far as anybody can know.
func synced(g local.GroupStatus) string {
	var lacks []string
	for _, m := range g.Missing {
		lacks = append(lacks, fmt.Sprintf("%d from %s", m.Messages, tagged(m.Person)))
	}
	switch {
	case len(lacks) > 0:
		return "missing " + strings.Join(lacks, ", ")
	case g.LastSync == nil:
		return "not compared with a member yet"
	case g.WithoutText > 0:
		return textless(g.WithoutText) + "; compared " + since(*g.LastSync)
	case !g.Complete:
		return "something that was heard of is missing; compared " + since(*g.LastSync)
	}
	text := "complete as of " + since(*g.LastSync)
	for _, c := range g.Contacts {
		if c.Withholds {
			text += fmt.Sprintf("; %s tells of messages that are not here, and does not send them", tagged(c.Person))
		}
	}
	return text
}

// textless says of how many messages the text is missing, and why.
func textless(n uint64) string {
	return fmt.Sprintf("the text of %s is not here: whoever sent them keeps less; it comes from who has it", many(int(n), "message"))
}

// noteTexts says after an import or export that texts are missing, if any are.
func (a *app) noteTexts(ctx context.Context, c *local.Client, group string) {
	if s, err := c.GroupStatus(ctx, group); err == nil && s.WithoutText > 0 {
		a.note("%s", textless(s.WithoutText))
	}
}

// since is a moment of the past.
func since(t time.Time) string { return t.Local().Format("2 January 15:04:05") }

// ways is how a connection is called.
var ways = map[string]string{"lan": "on the LAN", "direct": "directly", "relayed": "relayed"}

// statusOf says how complete one group is, and when its members were met.
func (a *app) statusOf(ctx context.Context, c *local.Client, g local.Group) error {
	s, err := c.GroupStatus(ctx, g.ID)
	if err != nil {
		return err
	}
	h, err := c.Holder(ctx)
	if err != nil {
		return err
	}
	text := groupText(s, h)
	if s.Failing != nil {
		text += "\n  " + failingText(s.Failing)
	}
	for _, p := range s.Contacts {
		text += "\n  " + tagged(p.Person) + ": " + contactText(p, h)
	}
	return a.print(s, "%s", text)
}

func contactText(p local.Contact, h local.Holder) string {
	text := "never met over a network by this device"
	switch {
	case p.Online:
		text = "connected " + ways[p.Via]
	case p.Seen != nil && h.Lasting:
		text = "away, last here " + since(*p.Seen)
	case p.Seen != nil: // who is online for a moment has met nobody
		text = "last here " + since(*p.Seen)
	}
	if p.Compared != nil {
		text += "; compared " + since(*p.Compared)
	}
	return text
}
