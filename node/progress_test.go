package node

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2pchat/p2pchat/protocol"
)

// TestProgressIsTold: who watches a group hears of its work while it goes on and once
// when it ends, with a rate and the time that is left; and not of another group's.
func TestProgressIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		n := &Node{ctx: ctx}
		hikers, bakers := protocol.ID{1}, protocol.ID{2}
		var said []Progress
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for p := range n.WatchProgress(ctx, hikers) {
				if said = append(said, p); p.Done {
					return
				}
			}
		}()
		synctest.Wait()
		n.progress.begin("sync", bakers, "").end()
		p := n.progress.begin("sync", hikers, "peer")
		p.expect(1000, 0)
		for range 10 {
			time.Sleep(time.Second / 10)
			p.add(50, 5000)
		}
		synctest.Wait()
		p.end()
		p.end()
		<-ended
		middle, last := said[len(said)-2], said[len(said)-1]
		if middle.Done || middle.Events == 0 || middle.Total != 1000 || middle.Rate < 250 || middle.Rate > 600 || middle.Left < time.Second || middle.Left > 4*time.Second {
			t.Errorf("under way: %+v", middle)
		}
		if !last.Done || last.Events != 500 || last.Bytes != 50_000 || last.Left != 0 || last.What != "sync" {
			t.Errorf("at its end: %+v", last)
		}
		for _, p := range said {
			if p.Group != hikers {
				t.Errorf("of another group: %+v", p)
			}
		}
		if len(n.progress.running)+len(n.progress.watchers) > 0 {
			t.Error("what has ended is still followed")
		}
	})
}

// TestProgressInBytes: where only the size is known, the time left follows from it.
func TestProgressInBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l progressList
		p := l.begin("import", protocol.ID{}, "")
		p.expect(0, 1<<20)
		time.Sleep(time.Second)
		p.add(100, 1<<18)
		if got := p.now(); got.Left != 3*time.Second || got.Rate != 100 {
			t.Errorf("a quarter in a second: %+v", got)
		}
	})
}

// TestProgressIsSteady: events come a thousand at a time, and whoever looks and however
// often, the time left does not jump.
func TestProgressIsSteady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l progressList
		p := l.begin("sync", protocol.ID{}, "")
		p.least.Store(20_000)
		for n := range 40 {
			time.Sleep(250 * time.Millisecond)
			for range n % 3 {
				p.now() // of other watchers
			}
			if n%8 == 7 {
				p.add(1000, 0)
			}
			if got := p.now(); n > 20 && (got.Total != 20_000 || got.Left < 20*time.Second || got.Left > 55*time.Second) {
				t.Errorf("after %d: %+v", n, got)
			}
		}
	})
}
