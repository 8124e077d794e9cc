package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/local"
	"github.com/p2pchat/p2pchat/protocol"
)

func newReport(a *app) *cobra.Command {
	in := local.Deed{}
	cmd := &cobra.Command{
		Use:   "report GROUP ID --reason REASON",
		Short: "Tell the moderators about a message",
		Long: `Report sends the group's moderators a message that somebody wrote, and why you think
that they should look at it. Others do not read the report. ID is as log --ids prints
it, or whole. Moderators answer with the commands below.

A group that is called like one of them goes by its id.`,
		Example: "  p2pchat log \"Hiking club\" --ids -n 5\n  p2pchat report \"Hiking club\" evt_abcdefgh --reason \"he threatens Bo\"\n  p2pchat report list \"Hiking club\"",
		Args:    names("GROUP", "ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			in.Group, in.ID = args[0], args[1]
			if err := checkEventID(cmd, in.ID, "log --ids"); err != nil {
				return err
			}
			if in.Reason == "" {
				return usagef(cmd, "--reason is missing")
			}
			return a.reportMessage(cmd.Context(), in)
		},
	}
	cmd.Flags().StringVar(&in.Reason, "reason", "", "what is wrong with it; moderators read it")
	cmd.AddCommand(newReportList(a),
		newReportClose(a, true, "resolve", "Say that a report was dealt with"),
		newReportClose(a, false, "dismiss", "Say that a report needs nothing done"))
	return cmd
}

func (a *app) reportMessage(ctx context.Context, in local.Deed) error {
	return a.inGroup(ctx, "report", in.Group, func(c *local.Client, g local.Group) error {
		m, err := message(ctx, c, g, in.ID)
		if err != nil {
			return err
		}
		in.ID = m.ID
		return a.do(ctx, c, g, "report", in)
	})
}

func newReportList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "list GROUP",
		Short: "List what was reported",
		Long: `List prints the reports that you may read: all of them for moderators, your own for
others. SAID is the reported text; it is not verified where the author's signature is
not here.`,
		Example: "  p2pchat report list \"Hiking club\"\n  p2pchat report list \"Hiking club\" --json | jq 'select(.state==\"open\")'",
		Args:    args(1, 1, "GROUP"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			return a.inGroup(ctx, "report list", args[0], func(c *local.Client, g local.Group) error {
				return a.listReports(ctx, c, g)
			})
		},
	}
}

func (a *app) listReports(ctx context.Context, c *local.Client, g local.Group) error {
	reports, err := c.Reports(ctx, g.ID)
	if err != nil {
		return err
	}
	if len(reports) == 0 {
		a.note("no reports that you may read")
		return nil
	}
	t, err := a.transcript(ctx, c, g)
	if err != nil {
		return err
	}
	who := func(p *local.Person) string {
		if p == nil {
			return ""
		}
		return t.who(*p)
	}
	for _, r := range reports {
		t.knowAll(&r.By, r.Author, r.ClosedBy)
	}
	return printList(a, reports, "ID\tSTATE\tBY\tREASON\tMESSAGE\tAUTHOR\tSAID\tCLOSED BY", func(r local.Report) []string {
		closed := who(r.ClosedBy)
		if r.Note != "" {
			closed += ": " + clip(r.Note)
		}
		return []string{
			protocol.Short(r.ID), r.State, t.who(r.By), clip(r.Reason), protocol.Short(r.Message), who(r.Author), said(r), closed,
		}
	})
}

// said is the reported text, and how far it can be believed.
func said(r local.Report) string {
	switch {
	case r.Unreadable != "":
		return "[cannot be read: " + cleanName(r.Unreadable) + "]"
	case r.Verified:
		return clip(r.Said)
	}
	return "[not verified] " + clip(r.Said)
}

func newReportClose(a *app, solved bool, verb, short string) *cobra.Command {
	in := local.Deed{Solved: solved}
	cmd := &cobra.Command{
		Use:   verb + " GROUP ID",
		Short: short,
		Long: short + `. It needs the role moderator; the moderators read who
did, and the note. ID is as report list prints it, or whole.`,
		Example: "  p2pchat report list \"Hiking club\"\n  p2pchat report " + verb + " \"Hiking club\" evt_abcdefgh --note \"talked to both\"",
		Args:    names("GROUP", "ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			in.Group, in.ID = args[0], args[1]
			if err := checkEventID(cmd, in.ID, "report list"); err != nil {
				return err
			}
			return a.closeReport(cmd.Context(), "report "+verb, in)
		},
	}
	cmd.Flags().StringVar(&in.Reason, "note", "", "what became of it; moderators read it")
	return cmd
}

func (a *app) closeReport(ctx context.Context, verb string, in local.Deed) error {
	return a.inGroup(ctx, verb, in.Group, func(c *local.Client, g local.Group) error {
		reports, err := c.Reports(ctx, g.ID)
		if err != nil {
			return err
		}
		var ids []string
		for _, r := range reports {
			ids = append(ids, r.ID)
		}
		if in.ID, err = pickEvent(ids, in.ID, "p2pchat report list "+typed(ctx, c, g)); err != nil {
			return err
		}
		return a.do(ctx, c, g, "report/close", in)
	})
}
