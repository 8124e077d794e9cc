package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/local"
	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/profile"
	"github.com/p2pchat/p2pchat/protocol"
)

func newGroup(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "group",
		Short: "Create, list, show and change groups",
	}
	cmd.AddCommand(newGroupCreate(a), newGroupList(a), newGroupShow(a), newGroupSet(a), newGroupKeep(a), newGroupSuccessor(a),
		newGroupMove(a), newGroupPlan(a), newGroupCofound(a))
	return cmd
}

func newGroupCreate(a *app) *cobra.Command {
	var consents []string
	cmd := &cobra.Command{
		Use:     "create NAME",
		Short:   "Start a group",
		Example: "  p2pchat group create \"Hiking club\"\n  p2pchat group create \"Hiking club\" --cofounder CONSENT",
		Long: `Create starts a group with you as its founder. Its name is for people: one line, not
beginning with grp_. Two groups may share a name; their ids tell them apart.

Founders are equals whom nobody can remove, so it takes their consent: see group plan.`,
		Args: args(1, 1, "the group's NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.createGroup(cmd.Context(), args[0], consents)
		},
	}
	cmd.Flags().StringArrayVar(&consents, "cofounder", nil, "`consent` of another founder, as group cofound prints it; repeatable")
	return cmd
}

func (a *app) createGroup(ctx context.Context, name string, consents []string) error {
	name, err := checkGroupName(name)
	if err != nil {
		return &nextError{err, `p2pchat group create "A name"`}
	}
	if err := a.needProfile(ctx); err != nil {
		return err
	}
	return a.with(ctx, "group create", false, func(c *local.Client) error {
		g, err := c.CreateGroup(ctx, name, consents...)
		if err != nil {
			return err
		}
		if err := a.print(g, "%s created (%s)", cleanName(g.Name), g.ID); err != nil {
			return err
		}
		a.note("next: p2pchat invite create %s", typed(ctx, c, g))
		return nil
	})
}

// checkGroupName refuses also what could be taken for the id of a group.
func checkGroupName(name string) (string, error) {
	name, err := checkName(name)
	if err == nil && strings.HasPrefix(strings.ToLower(name), protocol.GroupPrefix) {
		err = fmt.Errorf("%w: what begins with %s is the id of a group", profile.ErrName, protocol.GroupPrefix)
	}
	return name, err
}

// typed is a group as an argument of the command to type next: its name, or its
// short id where the name is another group's, too, or is hard to type.
func typed(ctx context.Context, c *local.Client, g local.Group) string {
	short := protocol.Short(g.ID)
	groups, err := c.Groups(ctx)
	if err != nil || !easy(g.Name) {
		return short
	}
	for _, other := range groups {
		if other.ID != g.ID && other.Name == g.Name {
			return short
		}
	}
	return hint(g.Name)
}

// easy says whether a name survives every shell between quotes, and is seen as it
// is.
func easy(name string) bool {
	return name != "" && name == cleanName(name) && !strings.HasPrefix(name, "-") &&
		!strings.HasPrefix(name, protocol.GroupPrefix) && !strings.ContainsAny(name, "'\"\\`$!%^\uFFFD")
}

func newGroupList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the groups of the profile",
		Args:  args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), "group list", false, func(c *local.Client) error {
				groups, err := c.Groups(cmd.Context())
				if err != nil {
					return err
				}
				if len(groups) == 0 {
					a.note(`no groups yet; next: p2pchat group create "Hiking club", or p2pchat join LINK`)
					return nil
				}
				h, err := c.Holder(cmd.Context())
				if err != nil {
					return err
				}
				return printList(a, groups, "NAME\tID\tROLE\tMEMBERS\tONLINE", func(g local.Group) []string {
					online := "-" // who is here for a moment has met nobody
					if h.Lasting {
						online = strconv.Itoa(g.Online)
					}
					return []string{cleanName(g.Name), protocol.Short(g.ID), role(g), strconv.Itoa(g.Members), online}
				})
			})
		},
	}
}

// role is one's role in a group, or how there is none.
func role(g local.Group) string {
	if g.Left {
		return "left"
	}
	return g.Role
}

// shown is what group show prints.
type shown struct {
	local.Group
	Settings   local.Settings    `json:"settings"`
	Kept       local.Kept        `json:"kept"`
	Successors []local.Successor `json:"successors"`
}

func newGroupShow(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "show GROUP",
		Short: "Show a group",
		Long: `Show a group, what it has agreed on (group set) and which groups it may move to (group
move). GROUP is its name, if no other group has it, the short id of the list, or the
id.`,
		Example: `  p2pchat group show "Hiking club"`,
		Args:    args(1, 1, "GROUP"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.inGroup(cmd.Context(), "group show", args[0], func(c *local.Client, g local.Group) error {
				return a.showGroup(cmd.Context(), c, g)
			})
		},
	}
}

func (a *app) showGroup(ctx context.Context, c *local.Client, g local.Group) error {
	h, err := c.Holder(ctx)
	if err != nil {
		return err
	}
	settings, err := c.Settings(ctx, g.ID)
	if err != nil {
		return err
	}
	successors, err := c.Successors(ctx, g.ID)
	if err != nil {
		return err
	}
	kept, err := c.Kept(ctx, g.ID)
	if err != nil {
		return err
	}
	text := describe(g, h) + settingsText(settings)
	if kept.Limit > 0 {
		text += "\nhere     " + keptText(kept)
	}
	for _, s := range successors {
		text += "\nmove to  " + successorText(s)
	}
	return a.print(shown{g, settings, kept, successors}, "%s", text)
}

func describe(g local.Group, h local.Holder) string {
	return fmt.Sprintf("name     %s\nid       %s\nyou are  %s, %s\nmembers  %s",
		cleanName(g.Name), g.ID, g.Me, role(g), attendance(g, h))
}

// attendance says who is online, if the one who holds the profile stays long
// enough to know. Another command that holds it may, or may not.
func attendance(g local.Group, h local.Holder) string {
	if !h.Lasting && h.PID == os.Getpid() {
		return strconv.Itoa(g.Members) + "; you are not online now, p2pchat daemon keeps you online"
	}
	text := fmt.Sprintf("%d, others online now %d", g.Members, g.Online)
	if !h.Lasting {
		text += fmt.Sprintf("; you are online only while `p2pchat %s` (pid %d) runs, p2pchat daemon keeps you online after it", h.Verb, h.PID)
	}
	return text
}
