package storage

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ipfs/go-datastore"
)

// Commit is a write on its way to the disk.
type Commit struct {
	done   chan struct{}
	err    error
	late   *queue // whose committer syncs it when somebody waits, or after a while; nil if it does at once
	waited atomic.Bool
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
	if c.late != nil && !c.waited.Swap(true) {
		c.late.poke()
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
	poked  bool // what is written is to be looked at
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

// poke has the committer look at what it has written and not synced.
func (q *queue) poke() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.poked = true
	q.wake.Signal()
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.wake.Signal()
}

// take waits for items and returns those that share the next batch. There are none after
// a poke; and none, for good, once the queue is closed and empty.
func (q *queue) take() (batch []*item, open bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.items) == 0 && !q.closed && !q.poked {
		q.wake.Wait()
	}
	q.poked = false
	n, size := 0, 0
	for _, it := range q.items {
		if n > 0 && (n == maxBatchItems || size+it.size > maxBatchBytes) {
			break
		}
		n++
		size += it.size
	}
	batch = q.items[:n:n]
	q.items = q.items[n:]
	q.bytes -= size
	return batch, n > 0 || !q.closed
}

// run is the committer: whatever was queued while the last batch was synced shares
// the next one, so that many writers cost one fsync.
func (s *Store) run() {
	defer close(s.done)
	var w written
	for {
		items, open := s.queue.take()
		if !open {
			s.finish(&w)
			s.finalCheckpoints()
			return
		}
		s.commit(items, &w)
		if w.due() {
			s.finish(&w)
		}
	}
}

// written is what is in the datastore and not synced. What others made, and is shown, can
// wait for what this device makes, for somebody who asks, or for a moment to pass: an
// fsync a message costs more than all else, and holds up the sender's own.
type written struct {
	live    []*item
	touched map[*Room]bool
	marks   []*checkpoint
	writes  int
	bytes   int
	began   time.Time
	timer   *time.Timer
}

// due says whether it is to be synced now.
func (w *written) due() bool {
	return len(w.live) > 0 && (len(w.marks) > 0 || w.bytes > maxBatchBytes || time.Since(w.began) >= syncLate ||
		slices.ContainsFunc(w.live, func(it *item) bool {
			return !it.shown || !it.early || it.commit != nil && it.commit.waited.Load()
		}))
}

// add takes in what was written.
func (w *written) add(live []*item, touched map[*Room]bool, marks []*checkpoint, writes int) {
	if len(w.live) == 0 {
		w.touched, w.began = make(map[*Room]bool), time.Now()
	}
	w.live, w.marks, w.writes = append(w.live, live...), append(w.marks, marks...), w.writes+writes
	maps.Copy(w.touched, touched)
	for _, it := range live {
		w.bytes += it.size
	}
}

// after says whether what was written before an item has to be durable first: a
// checkpoint that goes with it speaks of that.
func (it *item) after() bool { return it.room != nil && it.room.checkpoints() }

// finish syncs what was written, then tells rooms and waiters.
func (s *Store) finish(w *written) {
	if len(w.live) == 0 {
		return
	}
	if w.timer != nil {
		w.timer.Stop()
	}
	err := s.sync(w.writes)
	s.wrote(w.writes, err)
	s.settle(w.live, w.touched, w.marks, err)
	*w = written{}
}

// commit writes a batch, and shows what may be seen already. Requests of a room that has
// failed since they were queued fail as well: they were built on what is not there.
func (s *Store) commit(items []*item, w *written) {
	if slices.ContainsFunc(items, (*item).after) {
		s.finish(w)
	}
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
	if err != nil {
		s.finish(w)
		s.wrote(n, err) // after what was written before
		s.settle(live, touched, marks, err)
		return
	}
	show(live, (*Room).mayShow)
	w.add(live, touched, marks, n)
	if w.timer == nil && !w.due() {
		w.timer = time.AfterFunc(syncLate, s.queue.poke)
	}
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
	if err == nil {
		err = s.sync(n)
	}
	s.wrote(n, err)
	return err
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
