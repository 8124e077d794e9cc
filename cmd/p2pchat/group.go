package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/local"
	"github.com/p2pchat/p2pchat/protocol"
)

func newGroup(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "group",
		Short: "Create, list and show groups",
	}
	cmd.AddCommand(newGroupCreate(a), newGroupList(a), newGroupShow(a))
	return cmd
}

func newGroupCreate(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "create NAME",
		Short:   "Start a group",
		Example: `  p2pchat group create "Hiking club"`,
		Args:    args(1, 1, "the group's NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if err := checkUTF8(args[0]); err != nil {
				return err
			}
			if err := a.needProfile(ctx); err != nil {
				return err
			}
			return a.with(ctx, "group create", false, func(c *local.Client) error {
				g, err := c.CreateGroup(ctx, args[0])
				if err != nil {
					return err
				}
				a.note("next: p2pchat invite create %s", hint(cleanName(g.Name)))
				return a.print(g, "%s created (%s)", cleanName(g.Name), g.ID)
			})
		},
	}
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
				return printList(a, groups, "NAME\tID\tROLE\tMEMBERS\tONLINE", func(g local.Group) []string {
					return []string{cleanName(g.Name), protocol.Short(g.ID), g.Role, strconv.Itoa(g.Members), strconv.Itoa(g.Online)}
				})
			})
		},
	}
}

func newGroupShow(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "show GROUP",
		Short: "Show a group",
		Long:  "Show a group. GROUP is its name, if no other group has it, the short id of the list, or the id.",
		Args:  args(1, 1, "GROUP"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), "group show", false, func(c *local.Client) error {
				g, err := c.Group(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				return a.print(g, "%s", describe(g))
			})
		},
	}
}

func describe(g local.Group) string {
	return fmt.Sprintf("name     %s\nid       %s\nyou are  %s, %s\nmembers  %d, %d of them online",
		cleanName(g.Name), g.ID, g.Me, g.Role, g.Members, g.Online)
}
