package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/local"
	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
)

// everyGroup stands for all groups.
const everyGroup = "all"

func newDevice(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "device",
		Short: "See your devices, end a lost one",
		Long: `A device is a profile on a machine: a restored backup is another device of yours, and so
is a copy, once it meets the group. Device lists and ends them. A key begins what
identifies a device in one group; in another group it has another.`,
	}
	cmd.AddCommand(newDeviceList(a), newDeviceRevoke(a))
	return cmd
}

func newDeviceList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "list GROUP|all",
		Short:   "List your devices in a group",
		Example: "  p2pchat device list \"Hiking club\"\n  p2pchat device list all",
		Args:    args(1, 1, "GROUP"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withGroups(cmd.Context(), "device list", args[0], func(c *local.Client, groups []local.Group) error {
				names := make(map[string]string)
				var list []local.Device
				for _, g := range groups {
					devices, err := c.Devices(cmd.Context(), g.ID)
					if err != nil {
						return err
					}
					names[g.ID] = g.Name
					list = append(list, devices...)
				}
				return printList(a, list, "DEVICE\tGROUP\tADDED\tLAST MESSAGE\tSTATE", func(d local.Device) []string {
					return []string{protocol.Short(d.Key), cleanName(names[d.Group]), dayOf(d.Added), dayOf(d.Spoke), deviceState(d)}
				})
			})
		},
	}
}

func dayOf(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04")
}

func deviceState(d local.Device) string {
	var s []string
	for _, word := range []string{yes(d.Me, "this one"), yes(d.Revoked, "revoked"), yes(d.Forked, "forked: a copy of it runs somewhere")} {
		if word != "" {
			s = append(s, word)
		}
	}
	return strings.Join(s, ", ")
}

func newDeviceRevoke(a *app) *cobra.Command {
	var yes, others bool
	cmd := &cobra.Command{
		Use:   "revoke GROUP|all DEVICE",
		Short: "End a device that was lost or stolen",
		Long: `Revoke ends a device of yours: what it said until now stays, nothing it says from now on
counts, and what others say next is sealed under keys that it does not get. It cannot be
taken back. A profile that is not sealed has your 24 words in it: who reads them can make
new devices of yours. Then leave the group, and come back under another profile.`,
		Example: "  p2pchat device revoke \"Hiking club\" dev_6fzqk3ab\n  p2pchat device revoke all --others",
		Args:    args(1, 2, "GROUP"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if others == (len(args) == 2) {
				return usagef(cmd, "which device? A key that device list prints, or --others for all but this one")
			}
			if err := a.checkYes(cmd, yes); err != nil {
				return err
			}
			ref := ""
			if !others {
				ref = args[1]
			}
			return a.withGroups(cmd.Context(), "device revoke", args[0], func(c *local.Client, groups []local.Group) error {
				return a.revokeDevices(cmd.Context(), c, groups, ref, yes)
			})
		},
	}
	addYes(cmd, &yes)
	cmd.Flags().BoolVar(&others, "others", false, "all your devices but this one")
	return cmd
}

// withGroups runs f with one group or all of them.
func (a *app) withGroups(ctx context.Context, verb, ref string, f func(*local.Client, []local.Group) error) error {
	if ref != everyGroup {
		return a.inGroup(ctx, verb, ref, func(c *local.Client, g local.Group) error { return f(c, []local.Group{g}) })
	}
	return a.with(ctx, verb, false, func(c *local.Client) error {
		groups, err := c.Groups(ctx)
		if err != nil {
			return err
		}
		return f(c, groups)
	})
}

// revokeDevices ends the device that ref names, or all but this one where it is empty.
func (a *app) revokeDevices(ctx context.Context, c *local.Client, groups []local.Group, ref string, yes bool) error {
	type lost struct {
		group  local.Group
		device local.Device
	}
	var list []lost
	for _, g := range groups {
		devices, err := c.Devices(ctx, g.ID)
		if err != nil {
			return err
		}
		for _, d := range devices {
			if ref != "" && protocol.Short(d.Key) != ref && d.Key != ref || ref == "" && (d.Me || d.Revoked) {
				continue
			}
			list = append(list, lost{g, d})
		}
	}
	switch {
	case len(list) == 0 && ref != "":
		return fmt.Errorf("%w: no device of yours is called %s there", node.ErrUnknownDevice, ref)
	case len(list) == 0:
		return fmt.Errorf("%w: this is your only device", node.ErrNothing)
	case len(list) > 1 && ref != "":
		return fmt.Errorf("%w: %d devices are called %s; give the whole key", node.ErrAmbiguous, len(list), ref)
	}
	var names []string
	for _, l := range list {
		names = append(names, fmt.Sprintf("%s in %s", protocol.Short(l.device.Key), cleanName(l.group.Name)))
	}
	if err := a.confirm(ctx, yes, "End %s, for good?", strings.Join(names, ", ")); err != nil {
		return err
	}
	for i, l := range list {
		act, err := c.RevokeDevice(ctx, local.RevokeDevice{Group: l.group.ID, Device: l.device.Key})
		if err != nil {
			return fmt.Errorf("%s: %w", names[i], err)
		}
		if err := a.print(act, "revoked %s", names[i]); err != nil {
			return err
		}
		if !a.reaches(ctx, c, l.group.ID) {
			a.note("stored; %s learns of it when you and one of them are online", cleanName(l.group.Name))
		}
	}
	return nil
}
