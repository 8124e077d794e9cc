package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/local"
)

// roles are what somebody can be made. The founder is who founded the group.
func roles() []string { return []string{"owner", "admin", "moderator", "greeter", "member"} }

func newRole(a *app) *cobra.Command {
	in := local.Deed{}
	cmd := &cobra.Command{
		Use:   "role GROUP NAME ROLE",
		Short: "Give somebody a role",
		Long: `Role makes a person owner, admin, moderator, greeter or member, up or down. You give
roles junior to yours, to people junior to you.

  greeter    lets people in and makes invitations
  moderator  also removes, bans, mutes, deletes messages and changes settings
  admin      also undoes what somebody did since a time
  owner      also proposes that the group moves to another one`,
		Example: "  p2pchat role \"Hiking club\" Bo moderator\n  p2pchat role \"Hiking club\" usr_abcdefgh member --reason \"done helping\"",
		Args:    names("GROUP", "NAME", "ROLE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			in.Group, in.Who, in.Role = args[0], args[1], args[2]
			if !slices.Contains(roles(), in.Role) {
				return usagef(cmd, "%q is no role: it is one of %s", in.Role, strings.Join(roles(), ", "))
			}
			return a.deed(cmd.Context(), "role", "role", in)
		},
	}
	addReason(cmd, &in.Reason)
	return cmd
}

func newMute(a *app) *cobra.Command {
	in := local.Deed{}
	var length span
	cmd := &cobra.Command{
		Use:   "mute GROUP NAME",
		Short: "Keep somebody from writing, for everybody",
		Long: `Mute keeps a member from writing in a group until unmute. It needs the role moderator,
and NAME must be junior to you. With --for, this profile's node unmutes when the time
is over: it has to be online then. To hide somebody from yourself alone: block.`,
		Example: "  p2pchat mute \"Hiking club\" Bo --for 2h --reason \"cool down\"\n  p2pchat mute \"Hiking club\" usr_abcdefgh",
		Args:    names("GROUP", "NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			in.Group, in.Who, in.For = args[0], args[1], time.Duration(length)
			if err := a.deed(cmd.Context(), "mute", "mute", in); err != nil || in.For == 0 {
				return err
			}
			end := time.Now().Add(in.For)
			a.note("this device ends it at %s, or when it is online next after that", end.Format("2006-01-02 15:04"))
			return nil
		},
	}
	cmd.Flags().Var(&length, "for", "how long, like 10m, 2h or 7d; until unmute if it is not given")
	cmd.Flag("for").DefValue = ""
	addReason(cmd, &in.Reason)
	return cmd
}

func newUnmute(a *app) *cobra.Command {
	in := local.Deed{}
	cmd := &cobra.Command{
		Use:     "unmute GROUP NAME",
		Short:   "Let somebody write again",
		Long:    "Unmute ends a mute. It needs somebody as senior as the one who muted.",
		Example: "  p2pchat unmute \"Hiking club\" Bo",
		Args:    names("GROUP", "NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			in.Group, in.Who = args[0], args[1]
			return a.deed(cmd.Context(), "unmute", "unmute", in)
		},
	}
	addReason(cmd, &in.Reason)
	return cmd
}

func newRemoveMessage(a *app) *cobra.Command {
	in := local.Deed{}
	var yes bool
	cmd := &cobra.Command{
		Use:   "remove-message GROUP ID",
		Short: "Take back a message, or remove somebody's",
		Long: `Remove-message erases the text of a message on every member's device; that there was
one, and who removed it, stays to be seen. Your own you may always take back; another
person's needs the role moderator, and they must be junior to you. A modified program
may keep a copy.

ID is as log --ids prints it, or whole.`,
		Example: "  p2pchat log \"Hiking club\" --ids -n 5\n  p2pchat remove-message \"Hiking club\" evt_abcdefgh --reason spam",
		Args:    names("GROUP", "ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			in.Group, in.ID = args[0], args[1]
			if err := checkEventID(cmd, in.ID, "log --ids"); err != nil {
				return err
			}
			if err := a.checkYes(cmd, yes); err != nil {
				return err
			}
			return a.removeMessage(cmd.Context(), in, yes)
		},
	}
	addReason(cmd, &in.Reason)
	addYes(cmd, &yes)
	return cmd
}

func (a *app) removeMessage(ctx context.Context, in local.Deed, yes bool) error {
	return a.inGroup(ctx, "remove-message", in.Group, func(c *local.Client, g local.Group) error {
		m, err := message(ctx, c, g, in.ID)
		if err != nil {
			return err
		}
		if err := a.confirm(ctx, yes, "%s", removeQuestion(g, m)); err != nil {
			return err
		}
		in.ID = m.ID
		return a.do(ctx, c, g, "retract", in)
	})
}

// removeQuestion shows which message it is, as far as that is known.
func removeQuestion(g local.Group, m local.Message) string {
	switch {
	case m.From.Key == "":
		return "Remove the message " + m.ID + " from " + cleanName(g.Name) + "?"
	case m.From.Key == g.Me:
		return "Take back “" + clip(m.Text) + "” in " + cleanName(g.Name) + "?"
	}
	return "Remove “" + clip(m.Text) + "” of " + tagged(m.From) + " from " + cleanName(g.Name) + "?"
}
