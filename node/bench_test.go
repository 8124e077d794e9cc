//go:build linux

package node_test

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// What is measured, and how, is told in docs/benchmarks.md. Everything runs beside
// plain signed GossipSub on the same hosts, because ratios travel better between
// machines than times do.

// payload is the size of every message in bytes.
const payload = 300

// envInt reads a size that the environment may change.
func envInt(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil && n > 0 {
		return n
	}
	return otherwise
}

// benchCrowds are how many nodes talk with each other.
func benchCrowds() (out []int) {
	for _, word := range strings.Fields(os.Getenv("P2PCHAT_BENCH_NODES")) {
		if n, err := strconv.Atoi(word); err == nil && n > 1 {
			out = append(out, n)
		}
	}
	if len(out) == 0 {
		return []int{2, 8, 32}
	}
	return out
}

// benchHistory is how many messages the profile holds.
func benchHistory() int { return envInt("P2PCHAT_BENCH_MESSAGES", 100_000) }

// benchTime is how long the maximum rate is held, and a fourth of how long live
// messages are timed.
func benchTime() time.Duration {
	return time.Duration(envInt("P2PCHAT_BENCH_SECONDS", 5)) * time.Second
}

// BenchmarkGoals measures what docs/benchmarks.md sets as goals and prints a table.
// Run it once: -benchtime=1x.
func BenchmarkGoals(b *testing.B) {
	t := &table{began: readBusy()}
	for _, n := range benchCrowds() {
		b.Run("nodes="+strconv.Itoa(n), func(b *testing.B) {
			t.run(b, "live/p2pchat", func(b *testing.B) { benchLive(b, t, ours(-1), n) })
			t.run(b, "live/gossipsub", func(b *testing.B) { benchLive(b, t, plain(), n) })
			t.run(b, "max/p2pchat", func(b *testing.B) { benchFull(b, t, ours(-1), n) })
			t.run(b, "max/gossipsub", func(b *testing.B) { benchFull(b, t, plain(), n) })
			t.run(b, "max/gossipsub-roomy", func(b *testing.B) { benchFull(b, t, plain(roomy...), n) })
		})
	}
	b.Run("burst", func(b *testing.B) {
		t.run(b, "rate=5", func(b *testing.B) { benchBurst(b, t, ours(0), "burst of 5,000 at 8") })
		t.run(b, "rate=none", func(b *testing.B) { benchBurst(b, t, ours(-1), "burst, no gossip rate") })
		t.run(b, "gossipsub", func(b *testing.B) { benchBurst(b, t, plain(), "burst of 5,000 at 8") })
	})
	b.Run("profile", func(b *testing.B) { benchProfile(b, t) })
	t.print(os.Stdout)
}
