package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/local"
	"github.com/p2pchat/p2pchat/protocol"
)

func newGroupSuccessor(a *app) *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "successor GROUP",
		Short: "Propose that a group moves to a new one",
		Long: `Successor makes a new group with you as its founder, and proposes to the members that
they move there: each decides for themselves, with group move. It needs the role owner.
It is the way out when a founder's keys are lost or stolen, because nobody can remove
a founder.`,
		Example: "  p2pchat group successor \"Hiking club\"\n  p2pchat group successor \"Hiking club\" --name \"Hiking club 2\"",
		Args:    args(1, 1, "GROUP"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if name != "" {
				var err error
				if name, err = checkGroupName(name); err != nil {
					return usagef(cmd, "--name: %w", err)
				}
			}
			ctx := cmd.Context()
			return a.inGroup(ctx, "group successor", args[0], func(c *local.Client, g local.Group) error {
				next, err := c.Propose(ctx, g.ID, name)
				if err != nil {
					return err
				}
				if err := a.print(next, "%s created (%s), and proposed to %s", cleanName(next.Name), next.ID, cleanName(g.Name)); err != nil {
					return err
				}
				a.passOn(ctx, c, g)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "what the new group is called; as the old one if it is not given")
	return cmd
}

func newGroupMove(a *app) *cobra.Command {
	wait := span(time.Minute)
	cmd := &cobra.Command{
		Use:   "move GROUP [PROPOSAL]",
		Short: "Follow a proposal to move to a new group",
		Long: `Move joins the group that somebody proposed to move to. Where there are several, name
one by its id: group show lists them. You stay in the old group until you leave it.`,
		Example: "  p2pchat group show \"Hiking club\"\n  p2pchat group move \"Hiking club\" evt_abcdefgh",
		Args:    args(1, 2, "GROUP"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ref := ""
			if len(args) == 2 {
				ref = args[1]
				if err := checkEventID(cmd, ref, "group show"); err != nil {
					return err
				}
			}
			ctx := cmd.Context()
			return a.inGroup(ctx, "group move", args[0], func(c *local.Client, g local.Group) error {
				return a.move(ctx, c, g, ref, wait)
			})
		},
	}
	cmd.Flags().Var(&wait, "wait", "how long to look for somebody who admits")
	return cmd
}

func (a *app) move(ctx context.Context, c *local.Client, g local.Group, ref string, wait span) error {
	list, err := c.Successors(ctx, g.ID)
	if err != nil {
		return err
	}
	id, err := pickSuccessor(list, ref, "p2pchat group show "+typed(ctx, c, g))
	if err != nil {
		return err
	}
	next, err := c.Move(ctx, g.ID, id, time.Duration(wait))
	if err != nil {
		return joinError(err, wait)
	}
	return a.joined(ctx, c, next, "moved to %s (%s)")
}

// pickSuccessor finds the proposal that is meant: without an id, the only one.
func pickSuccessor(list []local.Successor, ref, see string) (string, error) {
	var ids []string
	for _, s := range list {
		ids = append(ids, s.ID)
	}
	switch {
	case ref != "":
		return pickEvent(ids, ref, see)
	case len(list) == 0:
		return "", &nextError{errors.New("nobody proposed to move to another group"), see}
	case len(list) == 1:
		return ids[0], nil
	}
	return "", &nextError{fmt.Errorf("there are %d proposals", len(list)), see + ", and name one by its id"}
}

// successorText is a proposal as group show lists it.
func successorText(s local.Successor) string {
	state := ""
	if s.Here {
		state = "; you are in it"
	}
	return fmt.Sprintf("%s, proposed by %s as %s%s", protocol.Short(s.Group), tagged(s.By), protocol.Short(s.ID), state)
}

// handOn prints what group plan and group cofound make: one line to hand on.
func (a *app) handOn(p local.Plan, format string, args ...any) error {
	if err := a.print(p, "%s", p.Text); err != nil {
		return err
	}
	a.note("next: "+format, args...)
	return nil
}

func newGroupPlan(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "plan NAME",
		Short: "Plan a group that several people found",
		Long: `Plan prints a line that stands for a group you are going to found. Give it to each one
who shall be a founder, too: they answer with group cofound, and you create the group
with their consents. Founders are equals, and nobody can remove one.`,
		Example: "  p2pchat group plan \"Hiking club\"\n  p2pchat group create \"Hiking club\" --cofounder CONSENT",
		Args:    args(1, 1, "the group's NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			name, err := checkGroupName(args[0])
			if err != nil {
				return &nextError{err, `p2pchat group plan "A name"`}
			}
			return a.with(ctx, "group plan", false, func(c *local.Client) error {
				p, err := c.Plan(ctx, name)
				if err != nil {
					return err
				}
				return a.handOn(p, "the others type p2pchat group cofound PLAN, and you p2pchat group create %s --cofounder CONSENT",
					hint(name))
			})
		},
	}
}

func newGroupCofound(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "cofound PLAN",
		Short: "Agree to be a founder of a planned group",
		Long: `Cofound prints your consent to found a group that somebody plans: give it back to them.
You are in the group once they created it and you joined with the link that they make.`,
		Example: "  p2pchat group cofound PLAN",
		Args:    args(1, 1, "the PLAN that group plan printed"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			plan := strings.TrimSpace(args[0])
			if err := a.needProfile(ctx); err != nil {
				return err
			}
			return a.with(ctx, "group cofound", false, func(c *local.Client) error {
				p, err := c.Agree(ctx, plan)
				if err != nil {
					return err
				}
				return a.handOn(p, "give this line to who planned the group; then p2pchat join LINK with the link that they make")
			})
		},
	}
}
