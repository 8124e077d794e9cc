package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/local"
	"github.com/p2pchat/p2pchat/protocol"
)

// tail is how much history chat begins with: a screen.
const tail = 20

func newChat(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "chat GROUP",
		Short: "Chat line by line",
		Long: `Chat prints the newest lines and then new ones as they arrive, and sends every line
you type. The end of input (Ctrl-D) or /quit ends it, and /help says so. /expire 1h TEXT
sends a text that disappears (see send). Every other line is a message, also one that
begins with /; to say /quit itself, type //quit.`,
		Example: "  p2pchat chat \"Hiking club\"\n  p2pchat chat grp_abcdefgh",
		Args:    args(1, 1, "GROUP"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			return a.with(ctx, "chat", true, func(c *local.Client) error {
				g, err := c.Group(ctx, args[0])
				if err != nil {
					return err
				}
				return a.runChat(ctx, c, g)
			})
		},
	}
}

// chat is one running conversation.
type chat struct {
	a     *app
	c     *local.Client
	group local.Group
	lines *transcript

	newest time.Time // of the lines that it began with

	// mu is held while a line is sent, so that who prints knows which lines were
	// sent from here.
	mu   sync.Mutex
	sent map[string]bool // by id, until they come back through follow
	echo bool            // what was sent from here stands on the screen already, as it was typed
	// undelivered says that the last line reached nobody.
	undelivered bool
	doubted     map[string]bool // of whom one was warned
}

func (a *app) runChat(ctx context.Context, c *local.Client, g local.Group) error {
	t, err := a.transcript(ctx, c, g)
	if err != nil {
		return err
	}
	history, cursor, err := c.Last(ctx, g.ID, tail)
	if err != nil {
		return err
	}
	ch := &chat{
		a: a, c: c, group: g, lines: t,
		sent: map[string]bool{}, doubted: map[string]bool{}, echo: isTerminal(a.stdin) && isTerminal(a.stdout) && !a.json,
	}
	for _, m := range history {
		ch.lines.knowLine(m)
		ch.newest = m.Time
	}
	if !a.json {
		a.noteRetention(g)
	}
	for _, m := range history {
		if err := ch.lines.print(m); err != nil {
			return err
		}
	}
	a.warnDoubts(ctx, c, g, ch.doubted)
	if isTerminal(a.stdin) {
		online := ""
		if g.Online > 0 { // this node may have begun just now, and not know yet
			online = fmt.Sprintf(", online %d", g.Online)
		}
		a.note("— %s: members %d%s. /quit ends, /help says more.", cleanName(g.Name), g.Members, online)
	}
	return ch.run(ctx, cursor)
}

// run follows and reads until either ends.
func (ch *chat) run(ctx context.Context, cursor uint64) error {
	following, cancel := context.WithCancel(ctx)
	told := make(map[string]bool)
	ch.tellNews(ctx, told)
	var news sync.WaitGroup
	news.Go(func() { ch.watchNews(following, told) })
	defer func() { cancel(); news.Wait() }()
	followed := make(chan error, 1)
	go func() { followed <- ch.follow(following, cursor) }()
	// A read from a terminal cannot be cut short: when the chat ends for another
	// reason, this goroutine ends with the process.
	typed := make(chan error, 1)
	go func() { typed <- ch.read(ctx) }()

	select {
	case err := <-followed:
		if ctx.Err() != nil {
			return nil // Ctrl-C is how many leave
		}
		return err
	case err := <-typed:
		err = errors.Join(err, ch.leave(ctx))
		cancel()
		<-followed
		return err
	}
}

// follow prints lines as they arrive; for a person, what is on the screen stays there.
func (ch *chat) follow(ctx context.Context, cursor uint64) error {
	show, stands := ch.lines.print, func(local.Message) {}
	if isTerminal(ch.a.stdout) && !ch.a.json {
		b := &backlog{print: ch.lines.print, newest: ch.newest, tell: func(older int) {
			ch.a.note("— %s came that are older; p2pchat log %s shows them", count(older, "message", "messages"), typed(ctx, ch.c, ch.group))
		}}
		defer b.end()
		show, stands = b.add, b.stands
	}
	for m, err := range ch.c.Follow(ctx, ch.group.ID, cursor) {
		if err != nil {
			return err
		}
		ch.mu.Lock()
		own := ch.sent[m.ID]
		ch.mu.Unlock()
		if own && ch.echo {
			stands(m)
		} else if err := show(m); err != nil {
			return err
		}
		if m.System() { // somebody may have come
			ch.a.warnDoubts(ctx, ch.c, ch.group, ch.doubted)
		}
		if own {
			ch.mu.Lock()
			delete(ch.sent, m.ID)
			ch.mu.Unlock()
		}
	}
	return nil
}

// The commands of a chat. Whatever else begins with / is a message, because it may
// be a pasted path or comment.
const (
	quitCommand = "/quit"
	helpCommand = "/help"
	lifeCommand = "/expire"
)

// read sends what is typed, until the end of input.
func (ch *chat) read(ctx context.Context) error {
	in := newLineReader(ch.a.stdin)
	for ctx.Err() == nil {
		line, err := in.next()
		line = strings.TrimSuffix(line, "\r")
		switch {
		case errors.Is(err, io.EOF), err == nil && line == quitCommand:
			return nil
		case errors.Is(err, protocol.ErrTooLarge):
			ch.a.note("— not sent: %v", err)
		case err != nil:
			return err
		default:
			ch.say(ctx, line)
		}
	}
	return nil
}

// say sends a line. An error is shown and the chat goes on: the next line may work.
func (ch *chat) say(ctx context.Context, line string) {
	var life time.Duration
	switch word, rest, _ := strings.Cut(line, " "); {
	case line == helpCommand:
		ch.a.note("— every line is sent to %s; /expire 1h TEXT sends one that disappears; /quit or Ctrl-D ends, //quit says /quit", cleanName(ch.group.Name))
		return
	case word == lifeCommand:
		var err error
		if life, line, err = parseLife(rest); err != nil {
			ch.a.note("— not sent: %s; //expire says /expire", cleanText(err.Error()))
			return
		}
	case line == "/"+quitCommand, line == "/"+helpCommand, word == "/"+lifeCommand:
		line = line[1:]
	}
	if strings.TrimSpace(line) == "" {
		return
	}
	ch.mu.Lock()
	defer ch.mu.Unlock()
	sent, err := sendText(ctx, ch.c, ch.group.ID, line, life)
	if err != nil {
		ch.a.note("— not sent: %s", cleanText(err.Error()))
		return
	}
	ch.undelivered = sent.Peers == 0
	ch.sent[sent.ID] = true
}

// parseLife reads what follows /expire: for how long, and what.
func parseLife(s string) (time.Duration, string, error) {
	when, text, _ := strings.Cut(s, " ")
	d, err := parseSpan(when)
	if err == nil {
		err = checkLife(span(d))
	}
	return d, text, err
}

// unprinted says whether a line that was sent has not come back yet.
func (ch *chat) unprinted() bool {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	return len(ch.sent) > 0
}

// printTime bounds how long a chat that ends waits for its own lines to be printed.
const printTime = 2 * time.Second

// leave gives the last lines a chance to be printed and to reach somebody.
func (ch *chat) leave(ctx context.Context) error {
	for end := time.Now().Add(printTime); ch.unprinted() && ctx.Err() == nil && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	if ctx.Err() != nil || !ch.undelivered || !ch.c.Holds() {
		return nil
	}
	if g, err := ch.c.Group(ctx, ch.group.ID); err == nil && g.Members > 1 {
		if w, err := ch.c.Wait(ctx, g.ID, true, handOverTime); err == nil && w.Peers > 0 {
			return nil
		}
	}
	ch.a.note("stored; delivered when you are next online")
	return nil
}
