package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/local"
)

// showProgress says how far the long work in a group is, of any where it is empty, until
// stop is called: on a line of a terminal that changes, or with --json as an object each.
// Where stderr is no terminal and nobody asked for JSON, it says nothing.
func (a *app) showProgress(ctx context.Context, c *local.Client, group string) (stop func()) {
	if !a.json {
		return a.showLine(ctx, c, group)
	}
	n := make(toldOf)
	return watchProgress(ctx, c, group, func(p local.Progress) {
		if n.is(p) {
			_ = a.printJSON(p) // whoever stopped reading hears of the result
		}
	})
}

// toldOf is what was told of each work: a comparison in which nothing comes, and a transfer
// that stands still, are none.
type toldOf map[string]uint64

// is says whether there is anything new in how far a work is.
func (n toldOf) is(p local.Progress) bool {
	key := p.What + p.Group + p.Peer
	told := n[key]
	if n[key] = p.Events + p.Bytes + p.Total; p.Done {
		delete(n, key)
		return told > 0 || p.Events+p.Bytes > 0
	}
	return n[key] != told
}

// showLine is showProgress for commands whose JSON is one object: a line of a terminal, or
// nothing.
func (a *app) showLine(ctx context.Context, c *local.Client, group string) (stop func()) {
	if a.json || !isTerminal(a.stderr) {
		return func() {}
	}
	end := watchProgress(ctx, c, group, func(p local.Progress) {
		text := clearLine
		if !p.Done {
			text += progressText(p)
		}
		fmt.Fprint(a.stderr, text)
	})
	return func() { end(); fmt.Fprint(a.stderr, clearLine) }
}

// watchProgress calls show until stop is called.
func watchProgress(ctx context.Context, c *local.Client, group string, show func(local.Progress)) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var shown sync.WaitGroup
	shown.Go(func() {
		for p := range c.Progress(ctx, group) {
			show(p)
		}
	})
	return func() { cancel(); shown.Wait() }
}

// clearLine empties the line that the cursor is on.
const clearLine = "\r\x1b[K"

// progressText is one work, in less than a narrow terminal's width.
func progressText(p local.Progress) string {
	text := fmt.Sprintf("%s: %d events", p.What, p.Events)
	if p.Total > 0 {
		text = fmt.Sprintf("%s: %d of %d events", p.What, p.Events, p.Total)
	}
	if p.Bytes > 0 {
		text += ", " + byteText(int64(p.Bytes))
	}
	if p.Rate >= 1 {
		text += fmt.Sprintf(", %.0f/s", p.Rate)
	}
	if p.Left >= 1 {
		text += ", " + (time.Duration(p.Left) * time.Second).String() + " left"
	}
	return text
}
