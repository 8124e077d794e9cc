package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/local"
	"github.com/p2pchat/p2pchat/protocol"
)

func newInviteList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "list GROUP",
		Short: "List a group's invitations",
		Long: `List prints the invitations that anybody made to a group, also those that are over. The
links themselves are not kept.`,
		Example: "  p2pchat invite list \"Hiking club\"\n  p2pchat invite revoke \"Hiking club\" evt_abcdefgh",
		Args:    args(1, 1, "GROUP"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			return a.inGroup(ctx, "invite list", args[0], func(c *local.Client, g local.Group) error {
				return a.listInvites(ctx, c, g)
			})
		},
	}
}

func (a *app) listInvites(ctx context.Context, c *local.Client, g local.Group) error {
	invites, err := c.Invites(ctx, g.ID)
	if err != nil {
		return err
	}
	if len(invites) == 0 {
		a.note("no invitations yet; next: p2pchat invite create %s", typed(ctx, c, g))
		return nil
	}
	t, err := a.transcript(ctx, c, g)
	if err != nil {
		return err
	}
	for _, i := range invites {
		t.know(i.By)
	}
	return printList(a, invites, "ID\tSTATE\tROLE\tUSED\tEXPIRES\tBY\t", func(i local.InviteInfo) []string {
		used, expires := fmt.Sprint(i.Used), "never"
		if i.Uses > 0 {
			used += fmt.Sprintf(" of %d", i.Uses)
		}
		if i.Expiry != nil {
			expires = i.Expiry.Local().Format("2006-01-02 15:04")
		}
		return []string{protocol.Short(i.ID), i.State, i.Role, used, expires, t.who(i.By), inviteNotes(i)}
	})
}

// inviteNotes says what else there is about an invitation.
func inviteNotes(i local.InviteInfo) string {
	var notes []string
	for _, n := range []string{
		yes(i.Question != "", "asks: "+clip(i.Question)), yes(i.Approve, "a person says yes"), yes(i.Issuer, "who made it admits"),
		yes(i.Uses > 0 && i.Used > int(i.Uses), "too often: two sides of a split admitted at once"),
	} {
		if n != "" {
			notes = append(notes, n)
		}
	}
	return strings.Join(notes, "; ")
}

func newInviteRevoke(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "revoke GROUP ID",
		Short: "Make an invitation invalid",
		Long: `Revoke ends an invitation before its time: who has the link cannot join with it any
more. Who joined with it stays. ID is as invite list prints it, or whole.`,
		Example: "  p2pchat invite list \"Hiking club\"\n  p2pchat invite revoke \"Hiking club\" evt_abcdefgh",
		Args:    names("GROUP", "ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkEventID(cmd, args[1], "invite list"); err != nil {
				return err
			}
			ctx := cmd.Context()
			return a.inGroup(ctx, "invite revoke", args[0], func(c *local.Client, g local.Group) error {
				invites, err := c.Invites(ctx, g.ID)
				if err != nil {
					return err
				}
				var ids []string
				for _, i := range invites {
					ids = append(ids, i.ID)
				}
				id, err := pickEvent(ids, args[1], "p2pchat invite list "+typed(ctx, c, g))
				if err != nil {
					return err
				}
				return a.do(ctx, c, g, "invite/revoke", local.Deed{ID: id})
			})
		},
	}
}
