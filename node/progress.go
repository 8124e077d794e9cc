package node

import (
	"context"
	"iter"
	"maps"
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

	mu     sync.Mutex // guards what the rate is taken from
	at     time.Time
	before uint64
	rate   float64
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

// measure returns the rate: half of it is of the time since somebody last looked.
func (p *progress) measure(events uint64) float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	past := time.Since(p.at)
	if past < progressEvery {
		return p.rate
	}
	lately := float64(events-p.before) / past.Seconds()
	if p.rate > 0 {
		lately = (p.rate + lately) / 2
	}
	p.at, p.before, p.rate = time.Now(), events, lately
	return p.rate
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
