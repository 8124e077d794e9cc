package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/local"
)

// expulsion is a kick or a ban that was typed.
type expulsion struct {
	kick   bool
	group  string
	who    string
	reason string
	since  moment
	yes    bool
}

func newBan(a *app) *cobra.Command {
	cmd := newExpel(a, expulsion{})
	cmd.Use = "ban GROUP NAME"
	cmd.Short = "Remove somebody for good"
	cmd.Long = `Ban removes a person from a group with all their devices, and keeps them out: no
invitation lets them in again until somebody as senior as you unbans them. It needs
the role moderator, and NAME must be junior to you. They keep what they have read, and
read nothing new.

With --since, what they did after that time is undone as well, as far as it is known
here and by the times that it claims: for a stolen device. That needs the role admin.`
	cmd.Example = "  p2pchat ban \"Hiking club\" Bo --reason spam\n  p2pchat ban \"Hiking club\" usr_abcdefgh --since 2h --yes"
	return cmd
}

func newKick(a *app) *cobra.Command {
	cmd := newExpel(a, expulsion{kick: true})
	cmd.Use = "kick GROUP NAME"
	cmd.Short = "Remove somebody who may come back"
	cmd.Long = `Kick removes a person from a group. It does not keep them out: with any link that is
still good they are in again. To keep somebody out, ban them. It needs the role
moderator, and NAME must be junior to you. They keep what they have read.

With --since, what they did after that time is undone as well, as far as it is known
here and by the times that it claims. That needs the role admin.`
	cmd.Example = "  p2pchat kick \"Hiking club\" Bo --reason \"wrong group\"\n  p2pchat kick \"Hiking club\" usr_abcdefgh --yes"
	return cmd
}

func newExpel(a *app, e expulsion) *cobra.Command {
	cmd := &cobra.Command{
		Args: names("GROUP", "NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			e.group, e.who = args[0], args[1]
			if err := a.checkYes(cmd, e.yes); err != nil {
				return err
			}
			return a.expel(cmd.Context(), cmd.Name(), e)
		},
	}
	addReason(cmd, &e.reason)
	cmd.Flags().Var(&e.since, "since", "also undo what they did after this time: 2h (ago), \"2006-01-02 15:04\" or RFC 3339")
	addYes(cmd, &e.yes)
	return cmd
}

func (a *app) expel(ctx context.Context, verb string, e expulsion) error {
	return a.inGroup(ctx, verb, e.group, func(c *local.Client, g local.Group) error {
		p, err := person(ctx, c, g, e.who)
		if err != nil {
			return err
		}
		if p.Key == g.Me {
			return &nextError{errors.New("that is you"), "p2pchat leave " + typed(ctx, c, g)}
		}
		in := local.Deed{Who: p.Key, Reason: e.reason, Kick: e.kick}
		if since := time.Time(e.since); !since.IsZero() {
			in.Since = &since
		}
		if !e.yes { // nobody is asked about what may not be done
			try := in
			try.Group, try.Try = g.ID, true
			if _, err := c.Do(ctx, "expel", try); err != nil {
				return err
			}
		}
		if err := a.confirm(ctx, e.yes, "%s", e.question(g, p)); err != nil {
			return err
		}
		return a.do(ctx, c, g, "expel", in)
	})
}

// question says what is going to happen.
func (e expulsion) question(g local.Group, p local.Person) string {
	verb, more := "Ban", "They will read nothing new."
	if e.kick {
		verb, more = "Remove", "They will read nothing new, unless somebody lets them in again."
	}
	if since := time.Time(e.since); !since.IsZero() {
		more += " What they did since " + since.Local().Format("2006-01-02 15:04") + " is undone."
	}
	return verb + " " + tagged(p) + " from " + cleanName(g.Name) + "? " + more
}

func newUnban(a *app) *cobra.Command {
	in := local.Deed{}
	cmd := &cobra.Command{
		Use:   "unban GROUP NAME",
		Short: "Let somebody be invited again",
		Long: `Unban lifts a ban: the person may be invited again, and is not back by that. It needs
somebody as senior as the one who banned. members --former lists who was banned.`,
		Example: "  p2pchat unban \"Hiking club\" Bo --reason \"we talked\"\n  p2pchat unban \"Hiking club\" usr_abcdefgh",
		Args:    names("GROUP", "NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			in.Group, in.Who = args[0], args[1]
			return a.deed(cmd.Context(), "unban", "unban", in)
		},
	}
	addReason(cmd, &in.Reason)
	return cmd
}

func newLeave(a *app) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "leave GROUP",
		Short: "Leave a group",
		Long: `Leave ends your membership with all your devices, whatever your role. The history
stays here and can be read; nothing new comes. To come back you need an invitation,
and are a member then. A founder's device is revoked with it: a founder comes back
only with another device.`,
		Example: "  p2pchat leave \"Hiking club\"\n  p2pchat leave grp_abcdefgh --yes",
		Args:    args(1, 1, "GROUP"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if err := a.checkYes(cmd, yes); err != nil {
				return err
			}
			return a.inGroup(ctx, "leave", args[0], func(c *local.Client, g local.Group) error {
				if err := a.confirm(ctx, yes, "%s", leaveQuestion(g)); err != nil {
					return err
				}
				return a.do(ctx, c, g, "leave", local.Deed{})
			})
		},
	}
	addYes(cmd, &yes)
	return cmd
}

func leaveQuestion(g local.Group) string {
	if g.Role == "founder" {
		return "Leave " + cleanName(g.Name) + "? You are its founder, and cannot come back with this device."
	}
	return "Leave " + cleanName(g.Name) + "? You come back by an invitation only."
}

func addReason(cmd *cobra.Command, reason *string) {
	cmd.Flags().StringVar(reason, "reason", "", "why; all members read it")
}
