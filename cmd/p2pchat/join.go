package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/local"
	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
)

// joinOptions are the flags of join.
type joinOptions struct {
	wait   span
	answer string

	requestOut string // write a request to this file, and ask nobody
	welcome    string // join by the answer in this file
}

func newJoin(a *app) *cobra.Command {
	o := joinOptions{wait: span(time.Minute)}
	cmd := &cobra.Command{
		Use:   "join LINK",
		Short: "Join a group by an invite link",
		Long: `Join asks the members that the link leads to for admission, and gets the group's
history. With - for LINK the link is read from stdin, so that it does not show in
the list of processes.

Where a person has to say yes first, join says so and waits for it up to --wait; then
its exit code is 3. They have the request: the same command, with the same --answer, goes on later.
If the invitation asks a question, --answer answers it; only who may admit reads it.

Without a network two files do: --request-out writes a request, who invited you answers
it (invite answer), and --welcome reads the answer. Nobody else can use the answer.`,
		Example: "  p2pchat join p2pchat:…\n  p2pchat join - --wait 1h < link.txt\n  p2pchat join p2pchat:… --request-out request\n  p2pchat join --welcome welcome",
		Args: func(cmd *cobra.Command, got []string) error {
			if o.welcome != "" {
				return args(0, 0, "")(cmd, got)
			}
			return args(1, 1, "the LINK that begins with p2pchat:")(cmd, got)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case o.welcome != "" && (o.requestOut != "" || o.answer != ""):
				return usagef(cmd, "--welcome goes alone: the request was made before")
			case o.welcome != "":
				return a.runWelcome(cmd.Context(), o.welcome)
			case o.requestOut != "":
				return a.runRequestOut(cmd.Context(), args[0], o)
			}
			return a.runJoin(cmd.Context(), args[0], o)
		},
	}
	cmd.Flags().Var(&o.wait, "wait", "how long to look for somebody who admits")
	cmd.Flags().StringVar(&o.requestOut, "request-out", "", "write a request to this `file`, for invite answer")
	cmd.Flags().StringVar(&o.welcome, "welcome", "", "join by the answer in this `file`")
	cmd.Flags().StringVar(&o.answer, "answer", "", "to the question that the invitation asks")
	return a.orNearby(cmd)
}

// readLink reads and checks the link, before a profile is made for it.
func (a *app) readLink(link string) (string, protocol.Link, error) {
	if link == "-" {
		var err error
		if link, err = a.readLine(""); err != nil {
			return "", protocol.Link{}, err
		}
	}
	parsed, err := protocol.ParseLink(link)
	return link, parsed, err
}

func (a *app) runJoin(ctx context.Context, link string, o joinOptions) error {
	link, parsed, err := a.readLink(link)
	if err != nil {
		return err
	}
	if err := a.needProfile(ctx); err != nil {
		return err
	}
	return a.with(ctx, "join", false, func(c *local.Client) error {
		g, in, err := a.memberOf(ctx, c, parsed)
		switch {
		case err != nil:
			return err
		case in:
			return a.joined(ctx, c, g, "you are already in %s (%s)")
		}
		if o.answer, err = a.answer(parsed, o.answer); err != nil {
			return err
		}
		g, err = a.askToJoin(ctx, c, local.Join{Link: link, Answer: o.answer}, time.Duration(o.wait))
		if err != nil {
			return joinError(err, o.wait)
		}
		complete := a.history(ctx, c, g)
		if err := a.joined(ctx, c, g, "joined %s (%s)"); err != nil || complete {
			return err
		}
		a.note("the history is not complete yet; it comes while p2pchat chat or p2pchat daemon runs")
		return nil
	})
}

// memberOf finds the group of a link among those that the profile is in.
func (a *app) memberOf(ctx context.Context, c *local.Client, link protocol.Link) (local.Group, bool, error) {
	groups, err := c.Groups(ctx)
	for _, g := range groups {
		if g.ID == link.Group.Text(protocol.GroupPrefix) && g.Role != protocol.NoRank.String() {
			return g, true, nil
		}
	}
	return local.Group{}, false, err
}

// answer returns the answer to the question of a link, which it asks at a terminal.
func (a *app) answer(link protocol.Link, answer string) (string, error) {
	if link.Question == "" || answer != "" {
		return answer, checkUTF8(answer)
	}
	if !a.interactive() {
		return "", fmt.Errorf("%w: %q", node.ErrQuestion, link.Question)
	}
	a.note("Who invited you asks: %s", cleanName(link.Question))
	answer, err := a.readLine("Your answer, which only who may admit reads (empty: stop): ")
	if err == nil && answer == "" {
		err = &nextError{errNo, "the same again, and answer"}
	}
	return answer, err
}

// askToJoin asks until somebody admits. Where a person has to say yes first it says so
// and asks on.
func (a *app) askToJoin(ctx context.Context, c *local.Client, in local.Join, wait time.Duration) (local.Group, error) {
	began := time.Now()
	in.Most, in.NoWait = wait, true
	g, err := a.askOnce(ctx, c, in)
	if !errors.Is(err, node.ErrApproval) {
		return g, err
	}
	rest := max(0, wait-time.Since(began)).Round(time.Second)
	a.note("they have your request, and a person there has to say yes (p2pchat request approve); waiting for it up to %v", &[]span{span(rest)}[0])
	in.Most, in.NoWait = rest, false
	return a.askOnce(ctx, c, in)
}

// askOnce asks to join. That ends when the newest messages are here, and shows how far
// they are.
func (a *app) askOnce(ctx context.Context, c *local.Client, in local.Join) (local.Group, error) {
	defer a.showLine(ctx, c, "")() // which group it is, the node knows when one is in
	return c.Join(ctx, in)
}

// joined says which group one is in, and what to do there.
func (a *app) joined(ctx context.Context, c *local.Client, g local.Group, format string) error {
	if err := a.print(g, format, cleanName(g.Name), g.ID); err != nil {
		return err
	}
	if now, err := c.Group(ctx, g.ID); err == nil { // its settings may have come since
		a.noteRetention(now)
	}
	a.note("next: p2pchat chat %s", typed(ctx, c, g))
	return nil
}

// joinError gives a join that took too long its name.
func joinError(err error, wait span) error {
	switch {
	case errors.Is(err, node.ErrApproval):
		return fmt.Errorf("%w; they have your request", node.ErrApproval)
	case errors.Is(err, node.ErrElsewhere):
		return fmt.Errorf("%w, and nobody else was reachable within %v", node.ErrElsewhere, &wait)
	case errors.Is(err, node.ErrUnsettled):
		return &nextError{err, "p2pchat daemon, which goes on with it"}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, node.ErrNoAdmitter):
		return fmt.Errorf("%w within %v", node.ErrNoAdmitter, &wait)
	}
	return err
}

// historyTime bounds how long join waits for the history when it is in; more comes
// whenever the group is next online.
const historyTime = 30 * time.Second

// history waits for the messages that came before us, and says whether all are here. It
// shows how far they are, since on a slow link nothing else is to be seen for long.
func (a *app) history(ctx context.Context, c *local.Client, g local.Group) bool {
	a.note("you are in; fetching what was said before, for up to %v", new(span(historyTime)))
	defer a.showLine(ctx, c, g.ID)()
	w, err := c.Wait(ctx, g.ID, true, historyTime)
	return err == nil && w.Synced
}
