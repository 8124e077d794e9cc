package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/local"
	"github.com/p2pchat/p2pchat/protocol"
)

func newInvite(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "invite",
		Short: "Invite people to a group",
	}
	cmd.AddCommand(newInviteCreate(a), newInviteList(a), newInviteRevoke(a), newInviteNearby(a), newInviteAnswer(a))
	return cmd
}

func newInviteCreate(a *app) *cobra.Command {
	var in local.NewInvite
	var qr bool
	expire := span(week)
	cmd := &cobra.Command{
		Use:   "create GROUP",
		Short: "Print an invite link",
		Long: `Create prints a link on stdout. Whoever has it may join until it expires or is used
up, while somebody who may admit is online. Unless --expire, --uses or --role say
otherwise, anybody with the link may join as a member for 7 days, any number of
people.

With --approve who comes with the link waits until a person says yes: request list.
--question has them answer something first; the answer stands in that list, and no
other holder of the link can read it.
With --issuer-admits only your own devices admit, so that --uses is exact even while
the group is split in two.`,
		Example: `  p2pchat invite create "Hiking club" --expire 2d --uses 1`,
		Args:    args(1, 1, "GROUP"),
		RunE: func(cmd *cobra.Command, args []string) error {
			in.Group = args[0]
			if !slices.Contains(invitedRoles(), in.Role) {
				return usagef(cmd, "--role %q: it is one of %s", in.Role, strings.Join(invitedRoles(), ", "))
			}
			if err := checkUTF8(in.Question); err != nil || len(in.Question) > protocol.MaxQuestionSize || in.Question != cleanName(in.Question) {
				return usagef(cmd, "--question: it is one line of at most %d bytes", protocol.MaxQuestionSize)
			}
			in.Expiry = time.Duration(expire)
			return a.runInvite(cmd.Context(), in, qr)
		},
	}
	cmd.Flags().StringVar(&in.Role, "role", "member", "what who joins becomes: admin, moderator, greeter or member")
	cmd.Flags().Var(&expire, "expire", "how long the link is good, like 12h, 7d or 2w")
	cmd.Flags().Uint32Var(&in.Uses, "uses", 0, "how many may join with it; 0 is any number")
	cmd.Flags().BoolVar(&in.Approve, "approve", false, "a person has to say yes to everybody who joins with it")
	cmd.Flags().StringVar(&in.Question, "question", "", "what who joins has to answer; it implies --approve")
	cmd.Flags().BoolVar(&in.IssuerAdmits, "issuer-admits", false, "only your own devices admit with it")
	addQR(cmd, &qr)
	return cmd
}

// invitedRoles are what an invitation can make of somebody. None but oneself is
// the founder, and an owner is made of a member.
func invitedRoles() []string { return []string{"admin", "moderator", "greeter", "member"} }

func (a *app) runInvite(ctx context.Context, in local.NewInvite, qr bool) error {
	return a.inGroup(ctx, "invite create", in.Group, func(c *local.Client, g local.Group) error {
		in.Group = g.ID
		inv, err := c.Invite(ctx, in)
		if err != nil {
			return err
		}
		if err := a.print(inv, "%s", inv.Link); err != nil {
			return err
		}
		if qr {
			if err := a.printQR(inv.Link); err != nil {
				return err
			}
		}
		h, err := c.Holder(ctx)
		if err == nil && !h.Lasting {
			a.note("warning: nobody of this profile stays online to admit who has the link\nnext: p2pchat daemon")
		}
		return nil // the link is made and printed, whoever holds the profile
	})
}
