package keysim

import (
	"testing"
	"time"
)

// TestRandomWorlds runs as many worlds as fit into a test run. Long runs are made with
// internal/keys-sim; docs/results/keys.txt has the last one.
func TestRandomWorlds(t *testing.T) {
	worlds := uint64(200)
	if testing.Short() {
		worlds = 40
	}
	var all Tally
	start := time.Now()
	for seed := range worlds {
		wrong, tally := Check(seed)
		for _, s := range wrong {
			t.Errorf("seed %d: %s", seed, s)
		}
		all.Add(tally)
		if t.Failed() {
			break
		}
	}
	t.Log(time.Since(start), all)
}

// TestReplay: what a seed comes to depends on nothing else, with HPKE (seed 0) and
// without.
func TestReplay(t *testing.T) {
	for seed := range uint64(4) {
		a, b := play(seed), play(seed)
		if len(a.events) != len(b.events) || len(a.messages) != len(b.messages) || a.tally != b.tally {
			t.Fatalf("seed %d: %v, and then %v", seed, a.tally, b.tally)
		}
		for i := range a.events {
			if a.events[i].ID() != b.events[i].ID() {
				t.Fatalf("seed %d: event %d is another the second time", seed, i)
			}
		}
		for i := range a.messages {
			if a.messages[i].v.ID() != b.messages[i].v.ID() {
				t.Fatalf("seed %d: message %d is another the second time", seed, i)
			}
		}
	}
}
