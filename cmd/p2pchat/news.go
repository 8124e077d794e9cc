package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/local"
)

// What waits for a moderator makes no line in the history: a request to join is nobody
// else's business, and a report is for moderators alone. So a chat tells of it.

// newsEvery is how often a chat looks.
const newsEvery = 3 * time.Second

// news is what waits in a group for somebody who may act on it.
type news struct{ asking, reported []string } // their ids

// waiting looks for news. Who may do nothing about it has none.
func waiting(ctx context.Context, c *local.Client, g local.Group) (n news) {
	moderates := false
	switch g.Role {
	case "founder", "owner", "admin", "moderator":
		moderates = true
	case "greeter":
	default:
		return n
	}
	// What cannot be looked up now is news the next time.
	requests, _ := c.Requests(ctx, g.ID)
	for _, r := range requests {
		if r.State == "waiting" {
			n.asking = append(n.asking, r.Key+r.Asked.String())
		}
	}
	if !moderates {
		return n
	}
	reports, _ := c.Reports(ctx, g.ID)
	for _, r := range reports {
		if r.State == "open" {
			n.reported = append(n.reported, r.ID)
		}
	}
	return n
}

// text says what there is and what to type, and nothing where there is nothing.
func (n news) text(group string) string {
	var parts []string
	if len(n.asking) > 0 {
		parts = append(parts, count(len(n.asking), "person asks", "people ask")+" to be let in: p2pchat request list "+group)
	}
	if len(n.reported) > 0 {
		parts = append(parts, count(len(n.reported), "report is", "reports are")+" open: p2pchat report list "+group)
	}
	return strings.Join(parts, "; ")
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// new returns those of n that are not known yet, and makes them known.
func (n news) new(known map[string]bool) (out news) {
	pick := func(ids []string) (fresh []string) {
		for _, id := range ids {
			if !known[id] {
				known[id] = true
				fresh = append(fresh, id)
			}
		}
		return fresh
	}
	return news{pick(n.asking), pick(n.reported)}
}

// tellNews tells of what waits for a moderator and was not told yet.
func (ch *chat) tellNews(ctx context.Context, told map[string]bool) {
	g, err := ch.c.Group(ctx, ch.group.ID) // one's role may have changed
	if err != nil {
		return
	}
	if text := waiting(ctx, ch.c, g).new(told).text(typed(ctx, ch.c, g)); text != "" {
		ch.a.note("— %s", text)
	}
}

// watchNews tells of what comes to wait, until the context ends.
func (ch *chat) watchNews(ctx context.Context, told map[string]bool) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(newsEvery):
			ch.tellNews(ctx, told)
		}
	}
}
