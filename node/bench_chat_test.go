//go:build linux

package node_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

const (
	// livePace is how many messages a second are timed, by all together: a lively
	// group, and far from what either system can do.
	livePace = 20
	// stall is how long nothing may arrive before what is missing counts as lost:
	// several of pubsub's rounds of repair.
	stall = 5 * time.Second
	// burst is the size of an unpaced burst, and burstWriters how many write it.
	burst        = 5000
	burstNodes   = 8
	burstWriters = 64
)

// windows are how many messages may be under way when the maximum rate is looked
// for; each system shows its best one.
var windows = []int{4, 16, 64, 256}

// benchFull has a crowd talk as fast as it can, and notes its best rate.
func benchFull(b *testing.B, t *table, s system, size int) {
	c := newCrowd(b, s, size)
	label := func(what string) string { return fmt.Sprintf("%d nodes: max rate%s", size, what) }
	for _, w := range windows {
		got, use, heard := c.full(w)
		b.Logf("%s, %d nodes, %d under way: %.0f messages/s, %.0f CPU µs a delivery", s.name, size, w, got, use.each(use.cpu.Seconds()*1e6, heard))
		if got <= t.cell[label("")][s.name] {
			continue
		}
		c.costs(t, s, func(what string) string { return label(", " + what) }, use, heard)
		t.set(b, s.name, label(""), got, "messages/s")
	}
}

// each is a cost spread over deliveries.
func (reading) each(total float64, heard int64) float64 { return total / float64(max(heard, 1)) }

// costs notes what deliveries cost.
func (c *crowd) costs(t *table, s system, label func(string) string, use reading, heard int64) {
	t.set(c.B, s.name, label("CPU a delivery"), use.each(use.cpu.Seconds()*1e6, heard), "µs")
	t.set(c.B, s.name, label("wire a delivery"), use.each(float64(use.wire), heard), "bytes")
	t.set(c.B, s.name, label("of it gossip"), use.each(float64(use.gossip), heard), "bytes")
	t.set(c.B, s.name, label("copies a delivery"), use.each(float64(use.copies), heard), "by gossip")
}

// benchLive times messages from the call that sends them to their being shown elsewhere.
func benchLive(b *testing.B, t *table, s system, size int) {
	c := newCrowd(b, s, size)
	label := func(what string) string { return fmt.Sprintf("%d nodes: live%s", size, what) }
	r := c.begin(int((4 * benchTime()).Seconds()) * livePace)
	start := c.meter.read()
	tick := time.NewTicker(time.Second / livePace)
	defer tick.Stop()
	for i := range r.sent {
		<-tick.C
		r.send(i % len(c.say))
	}
	if !r.wait(stall) {
		c.Logf("%s lost %d of %d live deliveries", s.name, len(r.sent)*(len(c.say)-1)-int(r.heard.Load()), len(r.sent)*(len(c.say)-1))
	}
	use := c.meter.read().since(start)
	samples := slices.Concat(r.samples...)
	slices.Sort(samples)
	c.costs(t, s, func(what string) string { return label(", " + what) }, use, r.heard.Load())
	t.set(b, s.name, label(" p50"), quantile(samples, 0.50), "ms")
	t.set(b, s.name, label(" p99"), quantile(samples, 0.99), "ms")
}

// full keeps a number of messages under way for a while and returns how many a
// second everybody got, 0 if some were lost.
func (c *crowd) full(window int) (rate float64, use reading, heard int64) {
	r := c.begin(1 << 18)
	start := c.meter.read()
	for range window {
		r.again <- struct{}{}
	}
	stop := make(chan struct{})
	var writers sync.WaitGroup
	for w := range window {
		writers.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-r.again:
				}
				if r.send(w%len(c.say)) < 0 {
					return
				}
			}
		})
	}
	time.Sleep(benchTime())
	close(stop)
	writers.Wait()
	complete := r.wait(stall)
	use, heard = c.meter.read().since(start), r.heard.Load()
	if !complete {
		c.Logf("lost %d of %d messages", r.next.Load()-r.whole.Load(), r.next.Load())
		return 0, use, heard
	}
	return float64(r.whole.Load()) / time.Since(r.began).Seconds(), use, heard
}

// benchBurst has one node say much at once.
func benchBurst(b *testing.B, t *table, s system, what string) {
	c := newCrowd(b, s, burstNodes)
	r := c.begin(burst)
	start := c.meter.read()
	var writers sync.WaitGroup
	for range burstWriters {
		writers.Go(func() {
			for r.send(0) >= 0 {
			}
		})
	}
	writers.Wait()
	said := time.Since(r.began)
	complete := r.wait(2 * stall)
	took, use, heard := time.Since(r.began), c.meter.read().since(start), r.heard.Load()
	t.set(b, s.name, what+": said after", said.Seconds(), "s")
	t.set(b, s.name, what+": delivered", 100*float64(heard)/float64(burst*(burstNodes-1)), "%")
	if complete {
		t.set(b, s.name, what+": everywhere after", took.Seconds(), "s")
	}
	c.costs(t, s, func(cost string) string { return what + ": " + cost }, use, heard)
}
