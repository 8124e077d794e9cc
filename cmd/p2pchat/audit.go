package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/local"
)

func newAudit(a *app) *cobra.Command {
	var count int
	cmd := &cobra.Command{
		Use:   "audit GROUP",
		Short: "List what was done to a group, by whom and with what right",
		Long: `Audit lists everything that was ever done to a group, the oldest first: who came, who
was given which role, removed or banned, which settings changed. RIGHT is the role under
which it was done. What does not count says by what it was undone.

Every member can run it and gets the same list, once both have everything.`,
		Example: "  p2pchat audit \"Hiking club\" -n 20\n  p2pchat audit \"Hiking club\" --json | jq -r 'select(.kind==\"ban\") | .target.name'",
		Args:    args(1, 1, "GROUP"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if count < 0 {
				return usagef(cmd, "-n %d: it must not be negative", count)
			}
			ctx := cmd.Context()
			return a.inGroup(ctx, "audit", args[0], func(c *local.Client, g local.Group) error {
				return a.audit(ctx, c, g, count)
			})
		},
	}
	cmd.Flags().IntVarP(&count, "count", "n", 0, "how many, the newest; 0 is all")
	return cmd
}

func (a *app) audit(ctx context.Context, c *local.Client, g local.Group, count int) error {
	acts, err := c.Audit(ctx, g.ID)
	if err != nil {
		return err
	}
	t, err := a.transcript(ctx, c, g)
	if err != nil {
		return err
	}
	for _, act := range acts {
		t.knowAct(act)
	}
	if count > 0 && len(acts) > count {
		acts = acts[len(acts)-count:]
	}
	return printList(a, acts, "TIME\tWHO\tRIGHT\tDID\tREASON\t", func(act local.Act) []string {
		undone := ""
		if by := act.Undone; by != nil {
			undone = "undone by " + t.who(by.By) + ": " + what(*by, t.who)
		}
		return []string{
			act.Time.Local().Format("2006-01-02 15:04"), t.who(act.By), act.Right, what(act, t.who), clip(reasonOf(act)), undone,
		}
	})
}

// knowAct notes the names in an act.
func (t *transcript) knowAct(act local.Act) {
	t.know(act.By)
	if act.Target != nil {
		t.know(*act.Target)
	}
	if act.Undone != nil {
		t.knowAct(*act.Undone)
	}
}
