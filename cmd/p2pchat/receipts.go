package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/local"
)

func newReceipts(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "receipts GROUP ID | receipts GROUP on | receipts GROUP off",
		Short: "Say which members have a message",
		Long: `Receipts lists the other members and which of them have a message stored, as far as it is
known here: a device of theirs compared what it has with this one, or said what it has.
That is rarely said, and takes minutes. Who is not known to have it may have it. Nobody
says what was read.

With off, this device does not say any more what it has; whoever it compares with knows
all the same. ID is as log --ids prints it, or whole.`,
		Example: "  p2pchat receipts \"Hiking club\" evt_abcdefgh\n  p2pchat log \"Hiking club\" --receipts -n 5\n  p2pchat receipts \"Hiking club\" off",
		Args:    names("GROUP", "ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			switched := args[1] == "on" || args[1] == "off"
			if !switched {
				if err := checkEventID(cmd, args[1], "log --ids"); err != nil {
					return err
				}
			}
			return a.inGroup(ctx, "receipts", args[0], func(c *local.Client, g local.Group) error {
				if switched {
					return a.switchReceipts(ctx, c, g, args[1])
				}
				return a.listReceipts(ctx, c, g, args[1])
			})
		},
	}
}

func (a *app) switchReceipts(ctx context.Context, c *local.Client, g local.Group, to string) error {
	if err := c.SetSilent(ctx, g.ID, to == "off"); err != nil {
		return err
	}
	text := "this device says now and then what it has"
	if to == "off" {
		text = "this device does not say what it has"
	}
	return a.print(map[string]string{"group": g.ID, "receipts": to}, "%s: %s", cleanName(g.Name), text)
}

func (a *app) listReceipts(ctx context.Context, c *local.Client, g local.Group, ref string) error {
	m, err := message(ctx, c, g, ref)
	if err != nil {
		return err
	}
	r, err := c.Receipts(ctx, g.ID, m.ID, 0)
	if err != nil {
		return err
	}
	return a.print(r, "%s", receiptsText(r))
}

func receiptsText(r local.Receipts) string {
	if r.Hidden != "" {
		return cleanName(r.Hidden)
	}
	text := storedText(r)
	for _, m := range r.Members {
		state := "not known to have it"
		switch {
		case m.Me:
			state = "has it: this device"
		case m.Stored:
			state = "has it"
		}
		text += "\n  " + tagged(m.Person) + ": " + state
	}
	return text
}

func storedText(r local.Receipts) string {
	if r.Of == 0 {
		return "nobody else is in the group"
	}
	return fmt.Sprintf("stored by %d of %s", r.Stored, count(r.Of, "other member", "other members"))
}

// sentReceipts is what send --wait prints.
type sentReceipts struct {
	local.Sent
	Stored int `json:"stored"`
	Of     int `json:"of"`
}

// sendAndWait sends a text, and says who has it once all have who are connected, or
// after a time.
func (a *app) sendAndWait(ctx context.Context, c *local.Client, g local.Group, text string, life, most time.Duration) error {
	sent, err := sendText(ctx, c, g.ID, text, life)
	if err != nil {
		return explainText(ctx, c, g, err)
	}
	end := time.Now().Add(most)
	if g.Members > 1 {
		if _, err := c.Wait(ctx, g.ID, false, most); err != nil {
			return err
		}
	}
	r, err := c.Receipts(ctx, g.ID, sent.ID, max(time.Until(end), 0))
	if err != nil {
		return err
	}
	if err := a.print(sentReceipts{sent, r.Stored, r.Of}, "%s", sent.ID); err != nil {
		return err
	}
	a.note("%s", storedText(r))
	return nil
}
