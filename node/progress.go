package node

import (
	"context"
	"iter"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pchat/p2pchat/protocol"
)

// Progress says how far some long work has come.
type Progress struct {
	What    string      // "sync", "export" or "import"
	Group   protocol.ID // zero where it is not known yet
	Peer    string      // libp2p peer id of the other side; empty where it is a file
	Started time.Time
	Events  uint64        // done so far
	Total   uint64        // events in all; 0 is not known
	Bytes   uint64        // read or written so far
	Size    uint64        // bytes in all; 0 is not known
	Rate    float64       // events a second, lately; 0 is not known
	Left    time.Duration // until it is done at that rate; 0 is not known
	Done    bool          // it has ended, well or not: nothing more is said of it
}

// progress follows one work. Who does the work feeds it, which costs an addition;
// nobody waits for who watches.
type progress struct {
	list          *progressList
	what          string
	group         protocol.ID
	peer          peer.ID
	started       time.Time
	events, total atomic.Uint64
	bytes, size   atomic.Uint64
	least         atomic.Uint64 // events that there are at least, before it is known which

	mu     sync.Mutex // guards what the rate is taken from
	at     time.Time
	before uint64
	lately struct{ events, seconds float64 } // what is longer ago counts less
}

// progress begins to follow a work in the room; the caller ends it. peer is empty where
// the other side is a file.
func (r *room) progress(what string, with peer.ID) *progress {
	return r.n.progress.begin(what, r.group, with)
}

// expect says how much more work there is than was known: events, bytes, or both.
func (p *progress) expect(events, bytes uint64) {
	p.total.Add(events)
	p.size.Add(bytes)
}

// add counts what was done.
func (p *progress) add(events, bytes int) {
	p.events.Add(uint64(events))
	p.bytes.Add(uint64(bytes))
}

// end says that no more will come. Ending twice is fine.
func (p *progress) end() {
	l := p.list
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.running[p] {
		return
	}
	delete(l.running, p)
	last := p.now()
	last.Done, last.Left = true, 0
	for w := range l.watchers {
		if (w.group.IsZero() || w.group == p.group) && len(w.ended) < progressEnded {
			w.ended = append(w.ended, last)
		}
		w.poke()
	}
}

// now says how far it is.
func (p *progress) now() Progress {
	out := Progress{
		What: p.what, Group: p.group, Started: p.started,
		Events: p.events.Load(), Total: p.total.Load(), Bytes: p.bytes.Load(), Size: p.size.Load(),
	}
	if p.peer != "" {
		out.Peer = p.peer.String()
	}
	out.Total = max(out.Total, p.least.Load())
	out.Rate = p.measure(out.Events)
	done, all := float64(out.Events), float64(out.Total)
	if all == 0 {
		done, all = float64(out.Bytes), float64(out.Size)
	}
	if run := time.Since(p.started); done > 0 && all > done && run >= progressEvery {
		pace := done / run.Seconds()
		if out.Total > 0 && out.Rate > 0 {
			pace = out.Rate
		}
		out.Left = time.Duration((all - done) / pace * float64(time.Second)).Round(time.Second)
	}
	return out
}

// measure returns the rate over the last progressSpan or so, whoever looked meanwhile: events
// come a thousand at a time.
func (p *progress) measure(events uint64) float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	past := time.Since(p.at).Seconds()
	if l := &p.lately; past > 0 {
		fade := math.Exp(-past / progressSpan.Seconds())
		l.events, l.seconds = l.events*fade+float64(events-p.before), l.seconds*fade+past
		p.at, p.before = time.Now(), events
	}
	if p.lately.seconds < progressEvery.Seconds() {
		return 0
	}
	return p.lately.events / p.lately.seconds
}

// progressList is the long work of a node that is under way, and who watches it.
type progressList struct {
	mu       sync.Mutex
	running  map[*progress]bool
	watchers map[*watcher]bool
}

// watcher is one loop over WatchProgress.
type watcher struct {
	group protocol.ID
	ended []Progress // not yet told
	wake  chan struct{}
}

func (w *watcher) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// begin starts to follow a work; a zero group is one that is not known yet.
func (l *progressList) begin(what string, group protocol.ID, with peer.ID) *progress {
	now := time.Now()
	p := &progress{list: l, what: what, group: group, peer: with, started: now, at: now}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running == nil {
		l.running = make(map[*progress]bool)
	}
	l.running[p] = true
	for w := range l.watchers {
		w.poke()
	}
	return p
}

// look returns what there is to say to a watcher, and whether more will come by itself.
func (l *progressList) look(w *watcher) (said []Progress, busy bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	said, w.ended = w.ended, nil
	for _, p := range slices.SortedFunc(maps.Keys(l.running), func(a, b *progress) int { return a.started.Compare(b.started) }) {
		if w.group.IsZero() || w.group == p.group {
			said, busy = append(said, p.now()), true
		}
	}
	return said, busy
}

func (l *progressList) watch(w *watcher) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.watchers == nil {
		l.watchers = make(map[*watcher]bool)
	}
	l.watchers[w] = true
}

func (l *progressList) leave(w *watcher) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.watchers, w)
}

// WatchProgress yields how far the long work in a group is, of every group where it is
// zero: each work now and then while it goes on, and once when it has ended. It ends
// when ctx does or the node closes.
func (n *Node) WatchProgress(ctx context.Context, group protocol.ID) iter.Seq[Progress] {
	return func(yield func(Progress) bool) {
		w := &watcher{group: group, wake: make(chan struct{}, 1)}
		n.progress.watch(w)
		defer n.progress.leave(w)
		for {
			said, busy := n.progress.look(w)
			for _, p := range said {
				if !yield(p) {
					return
				}
			}
			var again <-chan time.Time
			if busy {
				again = time.After(progressEvery)
			}
			select {
			case <-again:
			case <-w.wake:
			case <-ctx.Done():
				return
			case <-n.ctx.Done():
				return
			}
		}
	}
}
