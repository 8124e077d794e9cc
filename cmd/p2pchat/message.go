package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/local"
	"github.com/p2pchat/p2pchat/protocol"
)

func newSend(a *app) *cobra.Command {
	var life, wait span
	cmd := &cobra.Command{
		Use:   "send GROUP TEXT... | send GROUP -",
		Short: "Send a message, or every line of stdin",
		Long: `Send stores a message, sends it, and prints its id once it is safe on disk. With -
it sends every line of stdin that is not empty; a line that is too long, or not
UTF-8, is left out, named, and makes the exit code 1. Where nobody is online, the
message is delivered when somebody is.

With --expire it disappears after that time, at the next whole minute: every member's
program erases the text then, and who was away until then never gets it. Who means to
can keep a copy, and whoever sees the sealed message sees when it expires.`,
		Example: "  p2pchat send \"Hiking club\" see you at nine\n  p2pchat send \"Hiking club\" -- -5 degrees tomorrow\n  ls | p2pchat send \"Hiking club\" -\n  p2pchat send \"Hiking club\" --expire 1h the door code is 4711",
		Args: func(cmd *cobra.Command, got []string) error {
			return args(2, -1, []string{"GROUP", "TEXT", ""}[min(len(got), 2)])(cmd, got)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if err := checkLife(life); err != nil {
				return usagef(cmd, "--expire: %w", err)
			}
			lines := len(args) == 2 && args[1] == "-"
			if lines && wait > 0 {
				return usagef(cmd, "--wait is for one message, not for lines")
			}
			return a.inGroup(ctx, "send", args[0], func(c *local.Client, g local.Group) error {
				a.warnDoubts(ctx, c, g, nil)
				switch {
				case lines:
					return a.sendLines(ctx, c, g, time.Duration(life))
				case wait > 0:
					return a.sendAndWait(ctx, c, g, strings.Join(args[1:], " "), time.Duration(life), time.Duration(wait))
				}
				sent, err := a.sendText(ctx, c, g.ID, strings.Join(args[1:], " "), time.Duration(life))
				if err != nil {
					return explainText(ctx, c, g, err)
				}
				return a.handOver(ctx, c, sent)
			})
		},
	}
	cmd.Flags().Var(&wait, "wait", "then wait up to this long, and say how many of the other members have it")
	cmd.Flag("wait").DefValue = ""
	cmd.Flags().Var(&life, "expire", "have it disappear after this long, from 1m to 366d")
	cmd.Flag("expire").DefValue = ""
	return cmd
}

// checkLife says whether a message may disappear after a while; 0 is never.
func checkLife(life span) error {
	if d := time.Duration(life); d != 0 && (d < protocol.MinExpiry || d > protocol.MaxExpiry) {
		return fmt.Errorf("%s is not from 1m to %s", &life, new(span(protocol.MaxExpiry)))
	}
	return nil
}

// explainText says what to do about a text that is none.
func explainText(ctx context.Context, c *local.Client, g local.Group, err error) error {
	switch {
	case errors.Is(err, protocol.ErrTooLarge):
		return &nextError{err, "split it; what is long goes line by line: p2pchat send " + typed(ctx, c, g) + " - < FILE"}
	case errors.Is(err, protocol.ErrNotText):
		return &nextError{err, "p2pchat send " + typed(ctx, c, g) + ` "some text"`}
	}
	return err
}

// sendText sends one text verbatim and prints its id.
func (a *app) sendText(ctx context.Context, c *local.Client, group, text string, life time.Duration) (local.Sent, error) {
	sent, err := sendText(ctx, c, group, text, life)
	if err != nil {
		return sent, err
	}
	return sent, a.print(sent, "%s", sent.ID)
}

func sendText(ctx context.Context, c *local.Client, group, text string, life time.Duration) (local.Sent, error) {
	if err := checkUTF8(text); err != nil {
		return local.Sent{}, err
	}
	if strings.TrimSpace(text) == "" {
		return local.Sent{}, fmt.Errorf("%w: it is empty", protocol.ErrNotText)
	}
	return c.Send(ctx, group, text, life)
}

// checkUTF8 refuses what JSON would silently change on its way to the holder.
func checkUTF8(text string) error {
	if !utf8.ValidString(text) {
		return fmt.Errorf("%w: it is not UTF-8", protocol.ErrNotText)
	}
	return nil
}

// sendLines sends stdin, a line a message. A line that is no message is left out
// and named at the end.
func (a *app) sendLines(ctx context.Context, c *local.Client, g local.Group, life time.Duration) error {
	in := newLineReader(a.stdin)
	var out outcome
	for {
		text, err := in.next()
		switch {
		case errors.Is(err, io.EOF):
			return a.sentLines(ctx, c, g, out)
		case err == nil && strings.TrimSpace(text) == "":
			continue
		case err == nil:
			var sent local.Sent
			if sent, err = a.sendText(ctx, c, g.ID, text, life); err == nil {
				out.sent, out.last = out.sent+1, sent
				continue
			}
		}
		if !errors.Is(err, protocol.ErrTooLarge) && !errors.Is(err, protocol.ErrNotText) {
			return fmt.Errorf("line %d: %w; it and what follows was not sent, %d lines before were", in.n, err, out.sent)
		}
		out.failed = append(out.failed, in.n)
		a.note("line %d was not sent: %s", in.n, cleanText(err.Error()))
	}
}

// outcome is what became of lines.
type outcome struct {
	sent   int
	last   local.Sent
	failed []int // numbers of lines
}

// sentLines ends sendLines.
func (a *app) sentLines(ctx context.Context, c *local.Client, g local.Group, out outcome) error {
	if out.sent > 0 {
		if err := a.handOver(ctx, c, out.last); err != nil {
			return err
		}
	}
	switch {
	case len(out.failed) > 0:
		return &nextError{
			err:  fmt.Errorf("%d lines were sent, and these were not: %s", out.sent, listed(out.failed)),
			next: "shorten or repair them, then p2pchat send " + typed(ctx, c, g) + " - with them alone",
		}
	case out.sent == 0:
		a.note("nothing to send: stdin has no text")
	}
	return nil
}

// listed writes numbers for people: a screen is enough.
func listed(numbers []int) string {
	const most = 20
	var words []string
	for i, n := range numbers {
		if i == most {
			words = append(words, fmt.Sprintf("and %d more", len(numbers)-most))
			break
		}
		words = append(words, strconv.Itoa(n))
	}
	return strings.Join(words, ", ")
}

// handOverTime bounds how long a command that leaves waits for known peers.
const handOverTime = 5 * time.Second

// handOver lets a message reach somebody before the process that holds the profile
// leaves. Where a daemon holds it, there is nothing to wait for.
func (a *app) handOver(ctx context.Context, c *local.Client, sent local.Sent) error {
	h, err := c.Holder(ctx)
	if err != nil {
		return nil //nolint:nilerr // the messages are stored and their ids printed
	}
	if h.Lasting {
		if sent.Peers == 0 {
			a.note("stored; delivered when a member comes online")
		}
		return nil
	}
	if g, err := c.Group(ctx, sent.Group); err == nil && g.Members > 1 {
		w, err := c.Wait(ctx, g.ID, true, handOverTime)
		if err == nil && w.Peers > 0 {
			return nil
		}
	}
	a.note("stored; delivered when you are next online")
	return nil
}

// logOptions are the flags of log.
type logOptions struct {
	count    int
	follow   bool
	timeout  span
	after    uint64
	hasAfter bool
	messages bool
	ids      bool
	receipts bool
}

func newLog(a *app) *cobra.Command {
	var o logOptions
	cmd := &cobra.Command{
		Use:   "log GROUP",
		Short: "Print a group's messages",
		Long: `Log prints a group's history in display order: all of it, or the newest -n lines.

With --follow it prints lines as they arrive instead, for ever, until there are -n
of them, or until --timeout. If the time is over before there are -n, the exit code
is 1. --after C starts after the line whose cursor is C (see --json), and --after 0
at the beginning, so that a script misses nothing that arrived while it was not
looking:

  p2pchat log "Hiking club" --follow --after 0 --messages -n 1 --timeout 10s

waits at most ten seconds until the group has a message.

Before a name, @ marks who is moderator or more senior now, and + a greeter; what stands
in brackets after a name, the writer did not write.

With --json every line is an object:

  id          of the event, evt_…
  group       id of the group, grp_…
  kind        text is a message; anything else (created, joined, named, …) a system line
  from        name, which anybody may choose, and key (usr_…), which is theirs alone
  time        when it was written by its writer's clock, RFC 3339 in UTC
  cursor      its place in the order of arrival on this device, for --after
  text        the message, or what a system line is about
  role        of who wrote it, now: founder to member, or none

and these where they apply:

  unreadable    why there is no text
  expires       when the text disappears, or did
  gone          why it is not kept: expired, retention (of the group) or size (of what
                this device keeps: group keep)
  target        whom a system line is about: name and key
  reason        why it was done, or a message removed
  undone        true: it does not count
  late          true: it came later than its time says
  retracted     true: it was removed or taken back
  retracted_by  who removed it: name and key
  hidden        why others are not shown this message of yours
  missing       how many messages of its writer right before it are not here; not with
                --follow, while gaps close
  stored        with --receipts, of your messages: how many other members have it
  stored_of     and how many there are`,
		Args: args(1, 1, "GROUP"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.hasAfter = cmd.Flags().Changed("after")
			if err := o.check(cmd); err != nil {
				return err
			}
			return a.runLog(cmd.Context(), args[0], o)
		},
	}
	f := cmd.Flags()
	f.IntVarP(&o.count, "count", "n", 0, "how many lines; 0 is all")
	f.BoolVarP(&o.follow, "follow", "f", false, "print new lines as they arrive")
	f.Var(&o.timeout, "timeout", "end --follow after this long")
	f.Lookup("timeout").DefValue = ""
	f.Uint64Var(&o.after, "after", 0, "with --follow: start after the line with this `cursor`")
	f.BoolVar(&o.ids, "ids", false, "print the short id before each message, for remove-message and report")
	f.BoolVar(&o.receipts, "receipts", false, "print behind your name how many of the other members have a message: [2/3]")
	f.BoolVar(&o.messages, "messages", false, "leave out and do not count system lines")
	return cmd
}

func (o logOptions) check(cmd *cobra.Command) error {
	switch {
	case o.count < 0:
		return usagef(cmd, "-n %d: it must not be negative", o.count)
	case o.follow && o.receipts:
		return usagef(cmd, "--receipts is of what was sent, not of what is to come: without --follow")
	case !o.follow && (o.timeout != 0 || o.hasAfter):
		return usagef(cmd, "--timeout and --after need --follow")
	}
	return nil
}

// wanted says whether a line is printed and counted.
func (o logOptions) wanted(m local.Message) bool { return !o.messages || m.Kind == "text" }

func (a *app) runLog(ctx context.Context, group string, o logOptions) error {
	verb := "log"
	if o.follow {
		verb = "log --follow"
	}
	err := a.with(ctx, verb, o.follow, func(c *local.Client) error {
		g, err := c.Group(ctx, group)
		if err != nil {
			return err
		}
		t, err := a.transcript(ctx, c, g)
		if err != nil {
			return err
		}
		t.ids = o.ids
		if o.follow {
			return a.followLog(ctx, c, g, t, o)
		}
		return a.lastLog(ctx, c, g, t, o)
	})
	if ctx.Err() != nil && o.follow && o.count == 0 && o.timeout == 0 {
		return nil // a signal is how following for ever ends
	}
	return err
}

func (a *app) lastLog(ctx context.Context, c *local.Client, g local.Group, t *transcript, o logOptions) error {
	count := o.count
	if o.messages {
		count = 0 // how many lines hold that many messages is not known before
	}
	last := c.Last
	if o.receipts {
		last = c.LastMarked
	}
	lines, _, err := last(ctx, g.ID, count)
	if err != nil {
		return err
	}
	var out []local.Message
	for _, m := range lines {
		t.knowLine(m) // before the first is printed: a later one may share its name
		if o.wanted(m) {
			out = append(out, m)
		}
	}
	if o.count > 0 && len(out) > o.count {
		out = out[len(out)-o.count:]
	}
	if !a.json {
		a.noteRetention(g)
	}
	for _, m := range out {
		if err := t.print(m); err != nil {
			return err
		}
	}
	return nil
}

// errTimeout is why a log that follows ends by itself.
var errTimeout = errors.New("time is up")

func (a *app) followLog(ctx context.Context, c *local.Client, g local.Group, t *transcript, o logOptions) error {
	cursor := o.after
	if !o.hasAfter {
		var err error
		if _, cursor, err = c.Last(ctx, g.ID, 1); err != nil {
			return err
		}
	}
	timed := ctx
	if o.timeout > 0 {
		var cancel context.CancelFunc
		timed, cancel = context.WithTimeoutCause(ctx, time.Duration(o.timeout), errTimeout)
		defer cancel()
	}
	seen := 0
	for m, err := range c.Follow(timed, g.ID, cursor) {
		switch {
		case errors.Is(err, errTimeout):
			return o.timeUp(seen)
		case err != nil:
			return err
		case !o.wanted(m):
			continue
		}
		if err := t.print(m); err != nil {
			return err
		}
		if seen++; seen == o.count {
			return nil
		}
	}
	return nil
}

func (o logOptions) timeUp(seen int) error {
	if o.count == 0 {
		return nil
	}
	return &nextError{
		err:  fmt.Errorf("only %d of %d lines arrived within %v", seen, o.count, &o.timeout),
		next: "p2pchat peers, to see who is connected",
	}
}
