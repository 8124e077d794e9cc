package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/libp2p/go-libp2p/gologshim"
	"golang.org/x/term"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/local"
	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/profile"
	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/storage/disk"
)

// app is one run of the program: where it reads and writes, and what the flags of
// every command say.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string

	home         string // absolute, once the command runs
	json         bool
	verbose      bool
	net          local.Network
	netSet       bool // network flags were typed, not taken from the environment
	logger       *slog.Logger
	passphraseFD int                // -1 is none
	secrets      *os.File           // what that is
	hidden       *term.Terminal     // where they are typed
	opener       profile.Passphrase // the profile's, once somebody gave it
	helpErr      error              // what the help function found wrong: cobra lets it return nothing
}

// run runs a command line and returns the exit code.
func (a *app) run(ctx context.Context, args []string) int {
	root := newRoot(a)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		err = a.helpErr
	}
	return a.report(ctx, err)
}

// client asks whoever holds the profile; it must be closed. verb says what for,
// and lasting whether this process stays until somebody ends it.
func (a *app) client(ctx context.Context, verb string, lasting bool) (*local.Client, error) {
	if err := profile.Check(a.home); err != nil {
		return nil, err
	}
	c := local.NewClient(local.Options{
		Home: a.home, Verb: verb, Lasting: lasting, Network: a.net,
		Open: func(opening context.Context) (*local.Opened, error) { return a.open(ctx, opening) },
	})
	if err := a.warnIgnored(ctx, c); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// with runs f with a client and closes it: what others asked of this process is
// finished, and the profile given back.
func (a *app) with(ctx context.Context, verb string, lasting bool, f func(*local.Client) error) error {
	c, err := a.client(ctx, verb, lasting)
	if err != nil {
		return err
	}
	err = f(c)
	return errors.Join(err, c.Close())
}

// open builds the node when this process becomes the holder. A passphrase is asked for
// as long as the command runs.
func (a *app) open(asking, ctx context.Context) (*local.Opened, error) {
	keys, err := profile.Load(a.home, a.askProfile(asking))
	if err != nil {
		return nil, err
	}
	key, err := keys.StoreKey()
	if err != nil {
		return nil, err
	}
	store, err := profile.OpenStore(a.home, disk.Options{Logger: a.logger, Fatal: a.fatal})
	if err != nil {
		return nil, err
	}
	n, err := node.New(ctx, node.Config{
		Account: keys.Account, Name: keys.Name, PeerKey: keys.Peer, Datastore: store, StoreKey: key,
		Listen: a.net.Listen, Bootstrap: a.net.Bootstrap, DHT: a.net.DHT, DisableMDNS: !a.net.MDNS,
		Logger: a.logger,
	})
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	closeBoth := func() error { return errors.Join(n.Close(), store.Close()) }
	return &local.Opened{Node: n, Close: closeBoth}, nil
}

// warnIgnored says when network flags were typed that another process overrides.
func (a *app) warnIgnored(ctx context.Context, c *local.Client) error {
	if !a.netSet {
		return nil
	}
	h, err := c.Holder(ctx)
	if err != nil {
		return err
	}
	same := slices.Equal(h.Network.Listen, a.net.Listen) && slices.Equal(h.Network.Bootstrap, a.net.Bootstrap) &&
		h.Network.MDNS == a.net.MDNS && h.Network.DHT == a.net.DHT
	if !same {
		a.note("network flags are ignored: `p2pchat %s` (pid %d) holds the profile and keeps its own", h.Verb, h.PID)
	}
	return nil
}

// setLogger makes the logger: nothing unless --verbose, and then on stderr.
func (a *app) setLogger() {
	var h slog.Handler = slog.DiscardHandler
	if a.verbose {
		h = slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: slog.LevelDebug})
		a.logger = slog.New(h)
	}
	gologshim.SetDefaultHandler(h) // before libp2p's first word, or it prints for itself
}

// note says something on stderr that is not an error.
func (a *app) note(format string, args ...any) { fmt.Fprintf(a.stderr, format+"\n", args...) }

// interactive says whether somebody sits at a terminal and can be asked.
func (a *app) interactive() bool { return isTerminal(a.stdin) && isTerminal(a.stderr) }

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// readLine asks for a line, or reads the first one of a pipe, with the space
// around it cut off.
func (a *app) readLine(prompt string) (string, error) {
	if prompt != "" {
		fmt.Fprint(a.stderr, prompt)
	}
	const most = 4 << 10 // longer than any name, phrase or link
	line, err := bufio.NewReader(io.LimitReader(a.stdin, most)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	return strings.TrimSpace(line), nil
}
