package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/local"
	"github.com/p2pchat/p2pchat/node"
)

// howNearby is what the help of both sides says.
const howNearby = `Both screens then show the same three words and nine digits: read them to each other,
and say yes only if they are the same. If they differ, somebody sits between you. There
are three tries, and five minutes.

In a script, what to choose and to answer is read from stdin, a line each: the number of
a person, and then the digits that the OTHER side printed (with --json, as "digits").
Nothing skips that comparison.`

func newInviteNearby(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "nearby GROUP",
		Short: "Let in somebody in the same room, without a link",
		Long: `Nearby lets somebody on the same LAN in, who types p2pchat join --nearby. Others see
that you invite, and the name you go by, while this runs.

` + howNearby,
		Example: `  p2pchat invite nearby "Hiking club"`,
		Args:    args(1, 1, "GROUP"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			return a.inGroup(ctx, "invite nearby", args[0], func(c *local.Client, g local.Group) error {
				return a.inviteNearby(ctx, c, g)
			})
		},
	}
}

// orNearby gives the command that joins by a link its other way.
func (a *app) orNearby(cmd *cobra.Command) *cobra.Command {
	byLink, check := cmd.RunE, cmd.Args
	nearby := false
	cmd.Use += " | join --nearby"
	cmd.Long += `

With --nearby no link is needed: somebody in the same room, on the same LAN, types
p2pchat invite nearby GROUP.
` + howNearby
	cmd.Example += "\n  p2pchat join --nearby"
	cmd.Flags().BoolVar(&nearby, "nearby", false, "join somebody in the same room, by comparing what both screens show")
	cmd.Args = func(cmd *cobra.Command, got []string) error {
		if nearby {
			return args(0, 0, "")(cmd, got)
		}
		return check(cmd, got)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if nearby {
			return a.joinNearby(cmd.Context())
		}
		return byLink(cmd, args)
	}
	return cmd
}

// meeting is one run of either side.
type meeting struct {
	a      *app
	c      *local.Client
	tty    bool   // a person answers, who sees what is asked
	others string // what the others do
	now    local.Nearby
	asking bool // the cursor stands behind a question
}

// say prints a line, below a question that is not answered any more.
func (m *meeting) say(format string, args ...any) {
	if m.asking {
		m.a.note("")
	}
	m.asking = false
	m.a.note(format, args...)
}

func (m *meeting) ask(format string, args ...any) {
	fmt.Fprintf(m.a.stderr, format, args...)
	m.asking = true
}

func (a *app) inviteNearby(ctx context.Context, c *local.Client, g local.Group) error {
	m := &meeting{a: a, c: c, tty: a.interactive(), others: "wants to join"}
	m.begin(ctx, "Inviting to "+cleanName(g.Name)+" for five minutes. Who joins types: p2pchat join --nearby")
	if err := m.run(ctx, local.NewNearby{Group: g.ID}); err != nil {
		return err
	}
	if a.json {
		return nil // the last state says it
	}
	_, err := fmt.Fprintf(a.stdout, "%s is in %s\n", m.with(), cleanName(g.Name))
	return err
}

func (a *app) joinNearby(ctx context.Context) error {
	if err := a.needProfile(ctx); err != nil {
		return err
	}
	return a.with(ctx, "join", false, func(c *local.Client) error {
		m := &meeting{a: a, c: c, tty: a.interactive(), others: "invites"}
		m.begin(ctx, "Looking for five minutes for somebody in this room who typed: p2pchat invite nearby GROUP")
		if err := m.run(ctx, local.NewNearby{}); err != nil {
			return err
		}
		g := m.now.Group
		if g == nil {
			return node.ErrUnknownGroup
		}
		complete := a.history(ctx, c, *g)
		if a.json {
			return nil // the last state has it
		}
		if err := a.joined(ctx, c, *g, "joined %s (%s)"); err != nil || complete {
			return err
		}
		a.note("the history is not complete yet; it comes while p2pchat chat or p2pchat daemon runs")
		return nil
	})
}

func (m *meeting) begin(ctx context.Context, what string) {
	m.a.note("%s", what)
	if s, err := m.c.Status(ctx); err == nil && s.MDNS != "on" {
		m.a.note("mDNS is %s: only who is connected already is found", s.MDNS)
	}
}

// with is who was chosen.
func (m *meeting) with() string {
	if m.now.With == nil {
		return "somebody"
	}
	return called(m.now.With.Name)
}

func called(name string) string {
	if name = cleanName(name); name == "" {
		return "somebody without a name"
	}
	return name
}

// run shows what happens and takes answers, until the end.
func (m *meeting) run(ctx context.Context, in local.NewNearby) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	states, ended := make(chan local.Nearby), make(chan error, 1)
	go func() {
		for state, err := range m.c.Nearby(ctx, in) {
			if err != nil {
				ended <- err
				return
			}
			select {
			case states <- state:
			case <-ctx.Done():
			}
		}
		ended <- nil
	}()
	typed := m.a.lines(ctx)
	for {
		select {
		case state := <-states:
			if err := m.show(state); err != nil {
				return err
			}
		case line, ok := <-typed:
			if !ok {
				typed = nil // nothing more is answered
				continue
			}
			m.asking = false
			if err := m.answer(ctx, line); err != nil {
				return err
			}
		case err := <-ended:
			return errors.Join(err, context.Cause(ctx))
		}
	}
}

// lines yields what is typed. A read from a terminal cannot be cut short: its goroutine
// ends with the process.
func (a *app) lines(ctx context.Context) <-chan string {
	out := make(chan string)
	go func() {
		defer close(out)
		for in := bufio.NewScanner(a.stdin); in.Scan(); {
			select {
			case out <- strings.TrimSpace(in.Text()):
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

// show says what has changed.
func (m *meeting) show(state local.Nearby) error {
	last := m.now
	if m.now = state; state.With == nil {
		m.now.With = last.With
	}
	if m.a.json {
		return m.a.printJSON(state)
	}
	if state.Trouble != "" && state.Trouble != last.Trouble {
		m.say("It did not work: %s. Tries left: %d.", cleanName(state.Trouble), state.Tries)
	}
	changed := state.Phase != last.Phase
	switch node.NearbyPhase(state.Phase) {
	case node.NearbyLooking:
		if (changed && last.Phase != "" || !slices.Equal(state.People, last.People)) && len(state.People) > 0 {
			m.list()
		} else if len(state.People) == 0 && len(last.People) > 0 {
			m.say("Nobody is there now; still looking.")
		}
	case node.NearbyAsked:
		if changed {
			m.say("Waiting for %s.", m.with())
		}
	case node.NearbyComparing:
		if state.Digits != "" && state.Digits != last.Digits {
			m.say("\n    %s\n    %s\n", state.Words, state.Digits)
			m.ask("Does the screen of %s show the same words, or digits? [y/N] ", m.with())
		}
	case node.NearbyAgreed:
		if changed {
			m.say("Waiting for %s to say the same.", m.with())
		}
	}
	return nil
}

// list shows who is there, and asks for one. A number is never used again, so that what
// is typed while the list changes does not mean somebody else.
func (m *meeting) list() {
	for _, p := range m.now.People {
		m.say("  %d  %s %s", p.ID, called(p.Name), m.others)
	}
	m.ask("Type the number of who is beside you: ")
}

// nobody answers a line that is no number of the list.
func (m *meeting) nobody(line string) {
	if m.a.json || !m.tty || len(m.now.People) == 0 {
		return // a script reads the states, and whoever is asked nothing needs no answer
	}
	m.say("Nobody in the list has the number %q.", cleanName(line))
	m.list()
}

// answer takes a line for what is asked now. Without a terminal nobody can have looked,
// so a plain yes is none: the digits of the other side are.
func (m *meeting) answer(ctx context.Context, line string) error {
	in := local.NearbyAnswer{Digits: m.now.Digits}
	digits := strings.ReplaceAll(line, " ", "")
	yes := m.tty && (strings.EqualFold(line, "y") || strings.EqualFold(line, "yes"))
	number, err := strconv.Atoi(line)
	switch {
	case m.now.Phase == string(node.NearbyLooking):
		if err != nil || !slices.ContainsFunc(m.now.People, func(p local.NearbyPerson) bool { return p.ID == number }) {
			m.nobody(line)
			return nil
		}
		in = local.NearbyAnswer{Choose: number}
	case m.now.Phase == string(node.NearbyComparing) && in.Digits != "":
		in.Same = yes || digits == strings.ReplaceAll(in.Digits, " ", "")
		if !m.tty && !in.Same && (strings.EqualFold(line, "y") || strings.EqualFold(line, "yes")) {
			m.a.note("without a terminal, yes is said with the digits that the other side shows")
			return nil
		}
	default:
		return nil // typed too early or too late
	}
	if err := m.c.AnswerNearby(ctx, in); err != nil && !errors.Is(err, node.ErrNearbyNow) {
		return err
	}
	return nil
}
