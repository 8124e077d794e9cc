package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/local"
	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
)

// verifyOptions are the flags of verify.
type verifyOptions struct {
	qr, yes, undo bool
	number, scan  string
}

func newVerify(a *app) *cobra.Command {
	var o verifyOptions
	cmd := &cobra.Command{
		Use:   "verify GROUP NAME",
		Short: "Make sure that somebody is who you think",
		Long: `Verify prints the safety number of you and somebody in a group: 12 groups of 5 digits,
the same that p2pchat verify GROUP YOUR-NAME shows them. If you compare it in person
or by voice and it is the same, nobody is between you; say so, or with --yes, and
members marks them as verified. If it differs, do not trust what they write.

--number compares the digits that they read to you, and --scan what a camera reads from
the code that --qr shows them. The mark is lost, and commands say so, when they get a
new device, and somebody else who takes their name never has it.`,
		Example: "  p2pchat verify \"Hiking club\" Bo\n  p2pchat verify \"Hiking club\" Bo --number \"12345 67890 …\"\n  p2pchat verify \"Hiking club\" Bo --undo",
		Args:    names("GROUP", "NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			given := 0
			for _, is := range []bool{o.yes, o.undo, o.number != "", o.scan != ""} {
				if is {
					given++
				}
			}
			if given > 1 {
				return usagef(cmd, "of --yes, --undo, --number and --scan only one goes")
			}
			ctx := cmd.Context()
			return a.inGroup(ctx, "verify", args[0], func(c *local.Client, g local.Group) error {
				return a.runVerify(ctx, c, g, args[1], o)
			})
		},
	}
	addQR(cmd, &o.qr)
	cmd.Flags().BoolVarP(&o.yes, "yes", "y", false, "the numbers are the same: mark them as verified")
	cmd.Flags().StringVar(&o.number, "number", "", "compare with the `digits` that they see, and mark them if they are the same")
	cmd.Flags().StringVar(&o.scan, "scan", "", "the same with the `text` that a camera reads from their code")
	cmd.Flags().BoolVar(&o.undo, "undo", false, "take the mark away")
	return cmd
}

func (a *app) runVerify(ctx context.Context, c *local.Client, g local.Group, who string, o verifyOptions) error {
	in := local.Verify{Group: g.ID, Who: who, Number: o.number + o.scan, Undo: o.undo}
	s, err := c.Verify(ctx, in)
	switch {
	case errors.Is(err, node.ErrMismatch):
		return &nextError{
			fmt.Errorf("%w: this is not the key that they have, or you have another than they think. Do not trust what is said under this name", err),
			"p2pchat verify " + typed(ctx, c, g) + " NAME on both sides, and compare again",
		}
	case errors.Is(err, protocol.ErrBadSafety):
		return &nextError{err, "p2pchat verify " + typed(ctx, c, g) + " NAME, to see one; the same again with all 60 digits"}
	case err != nil:
		return notMe(ctx, c, g, who, err)
	case in.Undo:
		return a.print(s, "%s is not marked as verified any more", tagged(s.Person))
	case in.Number != "":
		return a.print(s, "verified %s", tagged(s.Person))
	}
	return a.compare(ctx, c, g, s, o)
}

// compare shows a number, and marks who has the same.
func (a *app) compare(ctx context.Context, c *local.Client, g local.Group, s local.Safety, o verifyOptions) error {
	if !a.json {
		if err := a.print(s, "%s\n\n%s\n\n%s", tagged(s.Person), safetyText(s.Number), verifiedText(s)); err != nil {
			return err
		}
	}
	if o.qr {
		if err := a.printQR(protocol.SafetyScheme + s.Number); err != nil {
			return err
		}
	}
	if s.Verified != node.Verified && (o.yes || a.interactive()) {
		err := a.confirm(ctx, o.yes, "Does %s see the same number?", cleanName(s.Name))
		if errors.Is(err, errNo) {
			return &nextError{
				fmt.Errorf("%w: %s is not marked. If the numbers differ, do not trust what is said under this name", errNo, cleanName(s.Name)),
				"p2pchat verify " + typed(ctx, c, g) + " NAME on both sides, and compare again, by voice or in person",
			}
		}
		if err != nil {
			return err
		}
		if s, err = c.Verify(ctx, local.Verify{Group: g.ID, Who: s.Key, Number: s.Number}); err != nil {
			return err
		}
		if !a.json {
			return a.print(s, "verified %s", tagged(s.Person))
		}
	}
	if a.json {
		return a.printJSON(s)
	}
	return nil
}

// safetyText is a safety number as people compare it: three lines of four groups.
func safetyText(number string) string {
	var lines []string
	for len(number) >= 20 {
		lines = append(lines, strings.Join([]string{number[:5], number[5:10], number[10:15], number[15:20]}, " "))
		number = number[20:]
	}
	return strings.Join(lines, "\n")
}

// verifiedText says what the mark is.
func verifiedText(s local.Safety) string {
	if s.Verified == node.Verified {
		return "verified on " + s.Since.Local().Format("2 January 2006")
	}
	if text := doubt(local.Member{Person: s.Person, Verified: s.Verified}); text != "" {
		return text
	}
	return "not verified"
}

// doubt says why somebody is not, or not any more, the person that was verified.
func doubt(m local.Member) string {
	switch m.Verified {
	case node.NewDevice:
		return "VERIFICATION LOST: a new device"
	case node.OtherKey:
		return "NOT THE " + cleanName(m.Name) + " YOU VERIFIED: another key"
	}
	return ""
}

// warnDoubts says loudly of whom in a group one cannot be sure, but for those that were
// named already; nil is nobody.
func (a *app) warnDoubts(ctx context.Context, c *local.Client, g local.Group, named map[string]bool) {
	list, err := c.Doubts(ctx, g.ID)
	if err != nil {
		return // what was asked for goes on without
	}
	for _, m := range list {
		if key := m.Key + m.Verified; !named[key] {
			a.note("warning: %s: %s; p2pchat verify %s %s", tagged(m.Person), doubt(m), typed(ctx, c, g), protocol.Short(m.Key))
			if named != nil {
				named[key] = true
			}
		}
	}
}
