package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/local"
)

func newGroupKeep(a *app) *cobra.Command {
	var limit size
	var history window
	cmd := &cobra.Command{
		Use:   "keep GROUP",
		Short: "Limit how much of a group is kept and fetched on this device",
		Long: `Keep says how much of a group's messages is kept on this device; with --size it sets a
limit. Beyond it the oldest texts are erased here, for good, and are not fetched again
while the limit stands. Who wrote what when stays.

With --history it sets how far back messages are fetched unasked. What is older stays where
it is here already, and comes when it is asked for: p2pchat sync --all.

It is about this device alone, and nobody is told. Others hand on what they have: a
message can be read for as long as one member keeps it. For everybody there is
retention: p2pchat group set.`,
		Example: "  p2pchat group keep \"Hiking club\" --size 500MB\n  p2pchat group keep \"Hiking club\" --size off\n  p2pchat group keep \"Hiking club\" --history 90d",
		Args:    args(1, 1, "GROUP"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			return a.inGroup(ctx, "group keep", args[0], func(c *local.Client, g local.Group) error {
				in := local.NewLimit{Group: g.ID}
				if cmd.Flags().Changed("size") {
					in.Limit = (*uint64)(&limit)
				}
				if cmd.Flags().Changed("history") {
					in.History = (*time.Duration)(&history)
				}
				kept, err := c.Keep(ctx, in) // nothing, where nothing is asked for
				if err != nil {
					return err
				}
				return a.print(kept, "%s", keptText(kept))
			})
		},
	}
	cmd.Flags().Var(&limit, "size", "keep at most this much, like 500MB, or off")
	cmd.Flag("size").DefValue = ""
	cmd.Flags().Var(&history, "history", "fetch unasked what is not older, like 90d, or all")
	cmd.Flag("history").DefValue = ""
	return cmd
}

// keptText says how much of a group is kept here.
func keptText(k local.Kept) string {
	held, limit := size(k.Bytes), size(k.Limit)
	text := held.String() + " of messages are kept on this device, without a limit"
	if limit > 0 {
		text = fmt.Sprintf("%s of messages are kept on this device, at most %s (group keep)", &held, &limit)
	}
	if k.History > 0 {
		text += fmt.Sprintf("; those of the last %s are fetched unasked (sync --all)", &[]span{span(k.History) * span(time.Second)}[0])
	}
	return text
}

// window is a flag that takes how far back messages are fetched: a span of at least a
// second, or all.
type window span

// Set implements pflag.Value.
func (w *window) Set(text string) error {
	if text == "all" {
		*w = 0
		return nil
	}
	d, err := parseSpan(text)
	if err == nil && d < time.Second {
		err = fmt.Errorf("%q is less than 1s", text)
	}
	if err == nil {
		*w = window(d)
	}
	return err
}

// Type implements pflag.Value: what help shows for the value.
func (w *window) Type() string { return "time" }

// String implements pflag.Value.
func (w *window) String() string { return (*span)(w).String() }

// size is a flag that takes a number of bytes: 500MB, or off for any number.
type size uint64

// units are what sizes are written in, the largest first.
var units = []struct {
	name  string
	bytes uint64
}{{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1}}

// sizeLeast is the lowest limit that the node takes.
const sizeLeast = 1 << 20

// Set implements pflag.Value.
func (s *size) Set(text string) error {
	if text == "off" {
		*s = 0
		return nil
	}
	for _, u := range units {
		number, ok := strings.CutSuffix(strings.ToUpper(text), strings.ToUpper(u.name))
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(number), 10, 64)
		switch {
		case err != nil || n > math.MaxInt64/u.bytes:
		case n*u.bytes < sizeLeast:
			return fmt.Errorf("%q is less than 2MB", text)
		default:
			*s = size(n * u.bytes)
			return nil
		}
		break
	}
	return fmt.Errorf("%q is not a size like 500MB or 2GB, or off", text)
}

// Type implements pflag.Value: what help shows for the value.
func (s *size) Type() string { return "size" }

// String implements pflag.Value.
func (s *size) String() string {
	for _, u := range units {
		if uint64(*s) >= u.bytes && (uint64(*s)%u.bytes == 0 || uint64(*s) >= 10*u.bytes) {
			return strconv.FormatUint(uint64(*s)/u.bytes, 10) + " " + u.name
		}
	}
	return "0 B"
}
