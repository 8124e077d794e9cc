package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/local"
	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
)

func newInvite(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "invite",
		Short: "Invite people to a group",
	}
	cmd.AddCommand(newInviteCreate(a), newInviteList(a), newInviteRevoke(a))
	return cmd
}

func newInviteCreate(a *app) *cobra.Command {
	var in local.NewInvite
	expire := span(week)
	cmd := &cobra.Command{
		Use:   "create GROUP",
		Short: "Print an invite link",
		Long: `Create prints a link on stdout. Whoever has it may join until it expires or is used
up, while somebody who may admit is online. Unless --expire, --uses or --role say
otherwise, anybody with the link may join as a member for 7 days, any number of
people.

With --approve who comes with the link waits until a person says yes: request list.
With --issuer-admits only your own devices admit, so that --uses is exact even while
the group is split in two.`,
		Example: `  p2pchat invite create "Hiking club" --expire 2d --uses 1`,
		Args:    args(1, 1, "GROUP"),
		RunE: func(cmd *cobra.Command, args []string) error {
			in.Group = args[0]
			if !slices.Contains(invitedRoles(), in.Role) {
				return usagef(cmd, "--role %q: it is one of %s", in.Role, strings.Join(invitedRoles(), ", "))
			}
			in.Expiry = time.Duration(expire)
			return a.runInvite(cmd.Context(), in)
		},
	}
	cmd.Flags().StringVar(&in.Role, "role", "member", "what who joins becomes: admin, moderator, greeter or member")
	cmd.Flags().Var(&expire, "expire", "how long the link is good, like 12h, 7d or 2w")
	cmd.Flags().Uint32Var(&in.Uses, "uses", 0, "how many may join with it; 0 is any number")
	cmd.Flags().BoolVar(&in.Approve, "approve", false, "a person has to say yes to everybody who joins with it")
	cmd.Flags().BoolVar(&in.IssuerAdmits, "issuer-admits", false, "only your own devices admit with it")
	return cmd
}

// invitedRoles are what an invitation can make of somebody. None but oneself is
// the founder, and an owner is made of a member.
func invitedRoles() []string { return []string{"admin", "moderator", "greeter", "member"} }

func (a *app) runInvite(ctx context.Context, in local.NewInvite) error {
	return a.with(ctx, "invite create", false, func(c *local.Client) error {
		inv, err := c.Invite(ctx, in)
		if err != nil {
			return err
		}
		if err := a.print(inv, "%s", inv.Link); err != nil {
			return err
		}
		h, err := c.Holder(ctx)
		if err == nil && !h.Lasting {
			a.note("warning: nobody of this profile stays online to admit who has the link\nnext: p2pchat daemon")
		}
		return nil // the link is made and printed, whoever holds the profile
	})
}

func newJoin(a *app) *cobra.Command {
	wait := span(time.Minute)
	cmd := &cobra.Command{
		Use:   "join LINK",
		Short: "Join a group by an invite link",
		Long: `Join asks the members that the link leads to for admission, and gets the group's
history. With - for LINK the link is read from stdin, so that it does not show in
the list of processes.`,
		Example: "  p2pchat join p2pchat:…\n  p2pchat join - --wait 1h < link.txt",
		Args:    args(1, 1, "the LINK that begins with p2pchat:"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.runJoin(cmd.Context(), args[0], wait)
		},
	}
	cmd.Flags().Var(&wait, "wait", "how long to look for somebody who admits")
	return cmd
}

func (a *app) runJoin(ctx context.Context, link string, wait span) error {
	var err error
	if link == "-" {
		if link, err = a.readLine(""); err != nil {
			return err
		}
	}
	parsed, err := protocol.ParseLink(link)
	if err != nil { // before a profile is made for it
		return err
	}
	if err := a.needProfile(ctx); err != nil {
		return err
	}
	return a.with(ctx, "join", false, func(c *local.Client) error {
		groups, err := c.Groups(ctx)
		if err != nil {
			return err
		}
		for _, g := range groups {
			if g.ID == parsed.Group.Text(protocol.GroupPrefix) && g.Role != protocol.NoRank.String() {
				return a.joined(ctx, c, g, "you are already in %s (%s)")
			}
		}
		g, err := c.Join(ctx, link, time.Duration(wait))
		if err != nil {
			return joinError(err, wait)
		}
		complete := a.history(ctx, c, g)
		if err := a.joined(ctx, c, g, "joined %s (%s)"); err != nil || complete {
			return err
		}
		a.note("the history is not complete yet; it comes while p2pchat chat or p2pchat daemon runs")
		return nil
	})
}

// joined says which group one is in, and what to do there.
func (a *app) joined(ctx context.Context, c *local.Client, g local.Group, format string) error {
	if err := a.print(g, format, cleanName(g.Name), g.ID); err != nil {
		return err
	}
	a.note("next: p2pchat chat %s", typed(ctx, c, g))
	return nil
}

// joinError gives a join that took too long its name.
func joinError(err error, wait span) error {
	if errors.Is(err, node.ErrApproval) {
		return fmt.Errorf("%w; they have your request", node.ErrApproval)
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, node.ErrNoAdmitter) {
		return fmt.Errorf("%w within %v", node.ErrNoAdmitter, &wait)
	}
	return err
}

// historyTime bounds how long join waits for the history when it is in; more comes
// whenever the group is next online.
const historyTime = 30 * time.Second

// history waits for the messages that came before us, and says whether all are here.
func (a *app) history(ctx context.Context, c *local.Client, g local.Group) bool {
	w, err := c.Wait(ctx, g.ID, true, historyTime)
	return err == nil && w.Synced
}
