package main

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/local"
)

// What comes by the thousand from before what is on the screen does not push it off; a
// few lines that a bad link held up are shown, after a moment.
func TestBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var shown []string
		b := &backlog{
			print: func(m local.Message) error { shown = append(shown, m.Text); return nil },
			tell:  func(older int) { shown = append(shown, fmt.Sprint(older, " older")) },
		}
		now := time.Now()
		add := func(text string, ago time.Duration) {
			t.Helper()
			if err := b.add(local.Message{Text: text, Time: now.Add(-ago)}); err != nil {
				t.Fatal(err)
			}
		}
		want := func(lines ...string) {
			t.Helper()
			if !slices.Equal(shown, lines) {
				t.Fatalf("%q, not %q", shown, lines)
			}
			shown = nil
		}
		add("monday", 100*time.Hour)
		add("now", 0)
		add("a moment ago", 50*time.Second)
		want("monday", "now", "a moment ago")
		for range 9000 {
			add("in the week", 50*time.Hour)
			time.Sleep(100 * time.Microsecond)
		}
		add("just now", -time.Second)
		want("just now")
		time.Sleep(2 * backlogPause)
		want("9000 older")
		add("from the train", 20*time.Minute)
		add("too", 19*time.Minute)
		want()
		time.Sleep(2 * backlogPause)
		want("from the train", "too")
		add("last", time.Hour)
		b.end()
		want("last")
		b.end()
		want()
	})
}
