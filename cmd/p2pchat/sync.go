package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/local"
)

// inStep is what sync prints of a group.
type inStep struct {
	Group  string `json:"group"`
	Name   string `json:"name"`
	Peers  int    `json:"peers"`  // members who are connected
	Synced bool   `json:"synced"` // they and this device have the same
}

// errNotInStep says that a sync did not come to its end.
var errNotInStep = errors.New("not in step yet")

func newSync(a *app) *cobra.Command {
	timeout := span(time.Minute)
	all := false
	cmd := &cobra.Command{
		Use:   "sync [GROUP]",
		Short: "Wait until this device and those connected have the same",
		Long: `Sync waits until somebody of the group is connected, and then until this device and all
members who are have the same: of every group, or of GROUP. Nobody has to call it, since
groups sync by themselves while the profile is online; it is for who goes offline next, and
for scripts. On a terminal it shows how far it is; with --json that is an object a line.

With --all it fetches what is older than this device fetches unasked as well: see
p2pchat group keep --history.

If the time is over before, it exits with 1.`,
		Example: "  p2pchat sync\n  p2pchat sync \"Hiking club\" --all --timeout 10m",
		Args:    args(0, 1, "GROUP"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if len(args) == 1 {
				return a.inGroup(ctx, "sync", args[0], func(c *local.Client, g local.Group) error {
					if out := outside(g); out != "" {
						return &nextError{fmt.Errorf("%s: %s", cleanName(g.Name), out), "p2pchat log " + typed(ctx, c, g)}
					}
					return a.syncAll(ctx, c, []local.Group{g}, g.ID, all, time.Duration(timeout))
				})
			}
			return a.with(ctx, "sync", false, func(c *local.Client) error {
				groups, err := c.Groups(ctx)
				if err != nil {
					return err
				}
				groups = slices.DeleteFunc(groups, func(g local.Group) bool { return outside(g) != "" })
				return a.syncAll(ctx, c, groups, "", all, time.Duration(timeout))
			})
		},
	}
	cmd.Flags().Var(&timeout, "timeout", "give up after this long")
	cmd.Flags().BoolVar(&all, "all", false, "fetch messages of any age")
	return cmd
}

// syncAll syncs groups, messages of any age where all is asked for, and shows the
// progress of one group, or of all if it is empty.
func (a *app) syncAll(ctx context.Context, c *local.Client, groups []local.Group, shown string, all bool, most time.Duration) error {
	stop := a.showProgress(ctx, c, shown)
	var done []inStep
	var err error
	for end := time.Now().Add(most); err == nil && len(done) < len(groups); {
		g := groups[len(done)]
		s := inStep{Group: g.ID, Name: g.Name, Synced: g.Members < 2}
		if !s.Synced {
			var w local.Waited
			if rest := max(time.Until(end), 0); all {
				w, err = c.SyncAll(ctx, g.ID, rest)
			} else {
				w, err = c.Wait(ctx, g.ID, true, rest)
			}
			s.Peers, s.Synced = w.Peers, w.Synced
		}
		done = append(done, s)
	}
	stop()
	if err != nil {
		return err
	}
	behind := 0
	for i, s := range done {
		if err := a.print(s, "%s: %s", cleanName(s.Name), stepText(s, groups[i])); err != nil {
			return err
		}
		if !s.Synced {
			behind++
		}
	}
	if behind == 0 {
		return nil
	}
	name := ""
	if shown != "" {
		name = typed(ctx, c, groups[0])
	}
	return notInStep(ctx, c, behind, nextSync(done, name, all, most))
}

// notInStep says why groups did not come in step, where this device is to blame.
func notInStep(ctx context.Context, c *local.Client, groups int, next string) error {
	err := fmt.Errorf("%w: %s", errNotInStep, many(groups, "group"))
	if s, e := c.Status(ctx); e == nil && s.Failing != nil {
		return &nextError{fmt.Errorf("%w: %w", err, s.Failing), repair(s.Failing)}
	}
	return &nextError{err, next}
}

// nextSync is what to type where the time was over: the same with more of it, if somebody
// is connected who has more. group is empty where it was every one.
func nextSync(done []inStep, group string, all bool, most time.Duration) string {
	if !slices.ContainsFunc(done, func(s inStep) bool { return !s.Synced && s.Peers > 0 }) {
		return "p2pchat peers, to see who is connected"
	}
	next := "p2pchat sync"
	if group != "" {
		next += " " + group
	}
	if all {
		next += " --all"
	}
	return next + " --timeout " + local.SpanText(max(5*most, time.Minute)) + ", or longer: what came is kept"
}

func stepText(s inStep, g local.Group) string {
	switch {
	case g.Members < 2:
		return "nobody else is in it"
	case s.Peers == 0:
		return "nobody was met"
	case !s.Synced:
		return "not in step yet; online now " + fmt.Sprint(s.Peers)
	}
	return "in step with " + many(s.Peers, "member")
}
