package storage

import (
	"context"
	"sync"

	"github.com/ipfs/go-datastore"
)

// Commit is a write on its way to the disk.
type Commit struct {
	done chan struct{}
	err  error
}

func newCommit() *Commit { return &Commit{done: make(chan struct{})} }

// Failed returns a commit of what was not even queued.
func Failed(err error) *Commit {
	c := newCommit()
	c.finish(err)
	return c
}

func (c *Commit) finish(err error) {
	c.err = err
	close(c.done)
}

// Failed says whether the commit has failed already, without waiting.
func (c *Commit) Failed() bool {
	select {
	case <-c.done:
		return c.err != nil
	default:
		return false
	}
}

// Wait returns nil once everything is written and synced: it survives kill -9 then,
// and a power cut as far as the datastore's Sync does. An error wraps ErrNotStored
// and the driver's. When ctx ends first, the write goes on.
func (c *Commit) Wait(ctx context.Context) error {
	select {
	case <-c.done: // rather than a ctx that has ended as well
		return c.err
	default:
	}
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// write is one change of the datastore.
type write struct {
	key   string
	value []byte
	del   bool
}

func (w *write) size() int { return len(w.key) + len(w.value) }

// item is what one request asks the committer for.
type item struct {
	writes []write
	size   int
	early  bool    // readers may see it before it is durable
	shown  bool    // they do
	commit *Commit // nil where nobody waits
	room   *Room   // nil for values
	state  progress
}

func newItem(writes []write) *item {
	it := &item{writes: writes, size: 64}
	for i := range writes {
		it.size += writes[i].size()
	}
	return it
}

func (it *item) finish(err error) {
	if it.commit != nil {
		it.commit.finish(err)
	}
}

// queue is what waits for the committer, in order.
type queue struct {
	mu     sync.Mutex
	wake   sync.Cond
	items  []*item
	bytes  int
	closed bool
}

func (q *queue) init() { q.wake.L = &q.mu }

// full says whether the disk is too far behind to take more.
func (q *queue) full() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bytes > maxQueueBytes
}

func (q *queue) push(items ...*item) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, it := range items {
		q.bytes += it.size
	}
	q.items = append(q.items, items...)
	q.wake.Signal()
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.wake.Signal()
}

// take waits for items and returns those that share the next batch; none once the
// queue is closed and empty.
func (q *queue) take() []*item {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.items) == 0 && !q.closed {
		q.wake.Wait()
	}
	n, size := 0, 0
	for _, it := range q.items {
		if n > 0 && (n == maxBatchItems || size+it.size > maxBatchBytes) {
			break
		}
		n++
		size += it.size
	}
	batch := q.items[:n:n]
	q.items = q.items[n:]
	q.bytes -= size
	return batch
}

// run is the committer: whatever was queued while the last batch was synced shares
// the next one, so that many writers cost one fsync.
func (s *Store) run() {
	defer close(s.done)
	for {
		items := s.queue.take()
		if len(items) == 0 {
			s.finalCheckpoints()
			return
		}
		s.commit(items)
	}
}

// commit writes a batch, then tells rooms and waiters. Requests of a room that has
// failed since they were queued fail as well: they were built on what is not there.
func (s *Store) commit(items []*item) {
	live := make([]*item, 0, len(items))
	touched := make(map[*Room]bool)
	for _, it := range items {
		if it.room != nil {
			if err := it.room.stale(it); err != nil {
				it.finish(err)
				continue
			}
			touched[it.room] = true
		}
		live = append(live, it)
	}
	if len(live) == 0 {
		return
	}
	var marks []*checkpoint
	writes := make([][]write, 0, len(live)+1)
	for _, it := range live {
		writes = append(writes, it.writes)
	}
	for r := range touched {
		c, due := r.dueCheckpoint()
		if c != nil {
			marks = append(marks, c)
		}
		writes = append(writes, due, r.sweep(), r.reserve())
	}
	n, err := s.put(writes...)
	if err == nil {
		show(live, (*Room).mayShow)
		err = s.sync(n)
	}
	s.settle(live, touched, marks, err)
}

// show makes items visible to readers that are not yet, where they may be.
func show(live []*item, may func(*Room, *item) bool) {
	told := make(map[*Room]bool)
	for _, it := range live {
		r := it.room
		if r == nil || it.shown {
			continue
		}
		if more, begun := told[r]; begun && !more {
			continue // what comes later is seen later
		}
		if told[r] = may(r, it); told[r] {
			r.publish(it)
			it.shown = true
		}
	}
	for r := range told {
		r.announce()
		r.store.warm(r)
	}
}

// settle makes all of a batch visible that is durable, or takes back one that is not.
func (s *Store) settle(live []*item, touched map[*Room]bool, marks []*checkpoint, err error) {
	if err != nil {
		for r := range touched {
			r.fail(err)
		}
	} else {
		show(live, func(*Room, *item) bool { return true })
		for r := range touched {
			r.settled()
		}
		for _, c := range marks {
			c.room.marked(c)
		}
	}
	for _, it := range live {
		it.finish(err)
	}
}

// write makes changes durable in one batch. It does not take a context: a batch
// that was begun is finished, whoever still waits for it.
func (s *Store) write(lists ...[]write) error {
	n, err := s.put(lists...)
	if err != nil {
		return err
	}
	return s.sync(n)
}

// put writes changes in one batch, and returns how many.
func (s *Store) put(lists ...[]write) (n int, err error) {
	ctx := context.Background()
	b, err := s.ds.Batch(ctx)
	if err != nil {
		return 0, notStored(err)
	}
	for _, list := range lists {
		for i := range list {
			w := &list[i]
			if w.del {
				err = b.Delete(ctx, datastore.RawKey(w.key))
			} else {
				err = b.Put(ctx, datastore.RawKey(w.key), w.value)
			}
			if err != nil {
				return n, notStored(err)
			}
			n++
		}
	}
	if n == 0 {
		return 0, nil
	}
	if err := b.Commit(ctx); err != nil {
		return n, notStored(err)
	}
	return n, nil
}

// sync makes what put wrote durable.
func (s *Store) sync(n int) error {
	if n == 0 {
		return nil
	}
	if err := s.ds.Sync(context.Background(), datastore.RawKey("/")); err != nil {
		return notStored(err)
	}
	return nil
}
