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
			synctest.Wait()
			b.mu.Lock() // as who prints does
			defer b.mu.Unlock()
			if !slices.Equal(shown, lines) {
				t.Fatalf("%q, not %q", shown, lines)
			}
			shown = nil
		}
		add("monday", 100*time.Hour)
		add("now", 0)
		want("monday", "now")
		for n := range 9000 { // pages, the newest first
			add("in the week", 50*time.Hour-time.Duration(n%1024)*time.Second)
			time.Sleep(time.Millisecond)
		}
		add("just now", -time.Second)
		want("just now")
		time.Sleep(2 * backlogPause)
		want("9000 older")
		b.stands(local.Message{Text: "typed here", Time: now.Add(time.Minute)})
		add("too", 19*time.Minute)
		add("from the train", 20*time.Minute)
		add("at the same moment", -59*time.Second)
		want()
		for range 10 { // people go on talking
			time.Sleep(backlogWait/5 + time.Millisecond)
			add("and on", -2*time.Minute)
		}
		want("and on", "and on", "and on", "and on", "from the train", "too", "at the same moment", "and on", "and on", "and on", "and on", "and on", "and on")
		add("last", time.Hour)
		b.end()
		want("last")
		b.end()
		want()
	})
}
