package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
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
	cmd.AddCommand(newInviteCreate(a))
	return cmd
}

func newInviteCreate(a *app) *cobra.Command {
	var in local.NewInvite
	var expire string
	cmd := &cobra.Command{
		Use:   "create GROUP",
		Short: "Print an invite link",
		Long: `Create prints a link on stdout. Whoever has it may join until it expires or is used
up, while somebody who may admit is online.`,
		Example: `  p2pchat invite create "Hiking club" --expire 2d --uses 1`,
		Args:    args(1, 1, "GROUP"),
		RunE: func(cmd *cobra.Command, args []string) error {
			in.Group = args[0]
			if _, err := protocol.ParseRank(in.Role); err != nil {
				return &usageError{cmd: cmd.CommandPath(), err: err}
			}
			var err error
			if in.Expiry, err = parseSpan(expire); err != nil {
				return usagef(cmd, "--expire: %w", err)
			}
			return a.runInvite(cmd.Context(), in)
		},
	}
	cmd.Flags().StringVar(&in.Role, "role", "member", "what who joins becomes: admin, moderator, greeter or member")
	cmd.Flags().StringVar(&expire, "expire", "7d", "how long the link is good, like 12h or 7d")
	cmd.Flags().Uint32Var(&in.Uses, "uses", 0, "how many may join with it; 0 is any number")
	return cmd
}

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

// parseSpan reads a duration, also in days.
func parseSpan(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		var n uint64
		if n, err = strconv.ParseUint(days, 10, 16); err == nil {
			d = time.Duration(n) * 24 * time.Hour
		}
	}
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%q is not a time like 90s, 12h or 7d", s)
	}
	return d, nil
}

func newJoin(a *app) *cobra.Command {
	wait := time.Minute
	cmd := &cobra.Command{
		Use:   "join LINK",
		Short: "Join a group by an invite link",
		Long: `Join asks the members that the link leads to for admission, and gets the group's
history. With - for LINK the link is read from stdin, so that it does not show in
the list of processes.`,
		Args: args(1, 1, "the LINK that begins with p2pchat:"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if wait <= 0 {
				return usagef(cmd, "--wait %v: it must be more than 0", wait)
			}
			return a.runJoin(cmd.Context(), args[0], wait)
		},
	}
	cmd.Flags().DurationVar(&wait, "wait", wait, "how long to look for somebody who admits")
	return cmd
}

func (a *app) runJoin(ctx context.Context, link string, wait time.Duration) error {
	var err error
	if link == "-" {
		if link, err = a.readLine(""); err != nil {
			return err
		}
	}
	if _, err := protocol.ParseLink(link); err != nil { // before a profile is made for it
		return err
	}
	if err := a.needProfile(ctx); err != nil {
		return err
	}
	return a.with(ctx, "join", false, func(c *local.Client) error {
		timed, cancel := context.WithTimeout(ctx, wait)
		defer cancel()
		g, err := c.Join(timed, link)
		if err != nil {
			return joinError(err, wait)
		}
		a.history(timed, c, g)
		a.note("next: p2pchat chat %s", hint(cleanName(g.Name)))
		return a.print(g, "joined %s (%s)", cleanName(g.Name), g.ID)
	})
}

// joinError gives a join that took too long its name.
func joinError(err error, wait time.Duration) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, node.ErrNoAdmitter) {
		return fmt.Errorf("%w within %v", node.ErrNoAdmitter, wait)
	}
	return err
}

// historyTime bounds how long join waits for the history when it is in; more comes
// whenever the group is next online.
const historyTime = 30 * time.Second

// history waits for the messages that came before us.
func (a *app) history(ctx context.Context, c *local.Client, g local.Group) {
	w, err := c.Wait(ctx, g.ID, true, historyTime)
	if err != nil || !w.Synced {
		a.note("joined, but the history is not complete yet; it comes while p2pchat chat or p2pchat daemon runs")
	}
}
