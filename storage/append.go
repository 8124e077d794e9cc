package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/p2pchat/p2pchat/protocol"
)

var errEarlier = errors.New("an earlier write failed")

// Append gives events of this device their cursors, in the order of the list and of
// calls, and queues them for the disk. Each continues its chain, or Append fails with
// ErrGap and takes nothing: what links to an event that a failed write took back must not
// be stored. What is stored already is passed over. When the commit is done, everything
// in the list is durable, passed over or not; nobody sees any of it before, as a power cut
// could take it back, and what the device made next would fork its own chain.
//
// Append reads the disk only where it has not written to the chain last, or a place of it
// is taken; it never waits for a write.
func (r *Room) Append(events []protocol.Verified) *Commit { return r.take(events, false) }

// Receive is Append for what others made: readers see it before it is durable. A control
// event comes after the one it links to, or Receive fails with ErrGap. A message may come
// before, and leaves a hole that is filled later; where there are too many, Receive fails
// with ErrHoles. A stored copy that is erased is not replaced by a whole one, which
// [Room.Restore] does; an erased copy of what is not stored is taken like any. One that
// is damaged is replaced, under a new cursor: who reads on from one sees it.
//
// Receive reads the disk also where what an event links to is no tip.
func (r *Room) Receive(events []protocol.Verified) *Commit { return r.take(events, true) }

func (r *Room) take(events []protocol.Verified, early bool) *Commit {
	return r.alter(r.readyFor, func(ctx context.Context, c *change) error {
		c.early = early
		for _, v := range events {
			if v.Group() != r.group {
				return fmt.Errorf("append %s: %w", v.ID(), ErrWrongGroup)
			}
			if err := c.add(ctx, v); err != nil {
				return fmt.Errorf("append %s: %w", v.ID(), err)
			}
		}
		return nil
	})
}

// alter queues a change, where the room is ready for one and the disk not far behind.
func (r *Room) alter(ready func(context.Context) error, fill func(context.Context, *change) error) *Commit {
	if err := r.store.begin(); err != nil {
		return Failed(err)
	}
	defer r.store.end()
	r.mu.Lock()
	defer r.mu.Unlock()
	ctx := context.Background() // what is taken is finished
	if err := ready(ctx); err != nil {
		return Failed(err)
	}
	if r.store.queue.full() {
		return Failed(ErrBusy)
	}
	c := r.newChange()
	if err := fill(ctx, c); err != nil {
		return Failed(err)
	}
	return r.enqueue(c)
}

// enqueue takes a change over and hands it to the committer. The caller holds mu.
func (r *Room) enqueue(c *change) *Commit {
	commit := newCommit()
	r.last, r.count, r.shared, r.filling = c.last, c.count, c.shared, c.filling
	for k, h := range c.chains {
		r.hold(k, h)
	}
	r.arrived(c)
	r.openings = append(r.openings, c.openings...)
	items := r.items(c)
	items[len(items)-1].commit = commit
	for _, it := range items {
		it.early = c.early
	}
	if c.early {
		commit.late = &r.store.queue
	}
	r.store.queue.push(items...)
	return commit
}

// items cuts a change into requests.
func (r *Room) items(c *change) []*item {
	var items []*item
	first, from, size := 0, 0, 0
	for i, end := range c.ends {
		for j := c.start(i); j < end; j++ {
			size += c.writes[j].size()
		}
		if i+1 == len(c.ends) || (i+1)%maxItemEvents == 0 || size > maxBatchBytes {
			items = append(items, r.item(c.writes[from:end], progressOf(c.after[first:i+1])))
			first, from, size = i+1, end, 0
		}
	}
	if len(items) == 0 { // no event: nothing new, a record, or values in place of others
		items = r.plainItems(c)
	}
	return items
}

// plainItems cuts a change without events.
func (r *Room) plainItems(c *change) []*item {
	here := progress{position: position{c.last, c.count}}
	var items []*item
	for writes := range slices.Chunk(c.writes, maxItemEvents) {
		items = append(items, r.item(writes, here))
	}
	if len(items) == 0 {
		items = append(items, r.item(nil, here)) // somebody waits for what is queued
	}
	return items
}

func (r *Room) item(writes []write, p progress) *item {
	r.queued++
	p.item, p.epoch = r.queued, r.epoch
	it := newItem(writes)
	it.room, it.state = r, p
	for _, w := range writes {
		if readBack(w.key) {
			r.overlay[w.key] = staged{w.value, p.item}
		}
	}
	return it
}

// readBack says whether appending or erasing reads a key: log entries, ids, places,
// forks, records.
func readBack(key string) bool {
	switch key[1] {
	case 'e', 'i', 'c', 'f', 'n':
		return true
	}
	return false
}

// after is what is true of a room and a chain after an event.
type after struct {
	position
	chain chainKey
	held  held
	moves bool // in the display order
	entry *Entry
}

func progressOf(list []after) progress {
	p := progress{position: list[len(list)-1].position, chains: make(map[chainKey]held, 1)}
	for _, a := range list {
		p.chains[a.chain] = a.held
		if a.moves {
			p.turned = append(p.turned, a.chain)
		}
		p.entries = append(p.entries, a.entry)
	}
	return p
}

// change is what some events do to a room, before any of it happens.
type change struct {
	room    *Room
	last    uint64
	count   uint64
	chains  map[chainKey]held
	wanting int // what all chains want
	writes  []write
	keys    map[string]int // key → its newest write
	ends    []int          // where each event's writes end
	after   []after        // what is true after each event
	mark    mark           // of its arrival; zero if it leaves none
	early   bool           // others made it: readers may see it before it is durable

	shared   sharedPlaces
	filling  filling
	openings []uint64 // entries that were stored before what they link to

	// In a replay the events have their cursors. Gaps are what a damaged value left,
	// if there is one, and those that were there when the event was appended.
	replay  bool
	lenient bool
	opened  func(cursor uint64) bool
	reached uint64          // the entry that is being gone through
	dropped map[uint64]bool // entries that have no predecessor
}

func (r *Room) newChange() *change {
	return &change{room: r, last: r.last, count: r.count, chains: make(map[chainKey]held, 1), wanting: r.wanting, shared: r.shared, filling: r.filling, keys: make(map[string]int, 8)}
}

func (c *change) start(i int) int {
	if i == 0 {
		return 0
	}
	return c.ends[i-1]
}

func (c *change) put(key string, value []byte) {
	c.keys[key] = len(c.writes)
	c.writes = append(c.writes, write{key: key, value: value})
}

// del deletes a key that appending does not read, or reads as damaged.
func (c *change) del(key string) { c.writes = append(c.writes, write{key: key, del: true}) }

func (c *change) held(k chainKey) held {
	if h, ok := c.chains[k]; ok {
		return h
	}
	return c.room.chains[k]
}

// get returns what the disk will say once everything queued is written.
func (c *change) get(ctx context.Context, key string) ([]byte, error) {
	if i, ok := c.keys[key]; ok {
		return c.writes[i].value, nil
	}
	if s, ok := c.room.overlay[key]; ok {
		return s.value, nil
	}
	return c.room.store.get(ctx, key)
}

// add appends one event.
func (c *change) add(ctx context.Context, v protocol.Verified) error {
	return c.take(ctx, Entry{c.last + 1, v})
}

// take puts an entry into the log and the indexes.
func (c *change) take(ctx context.Context, e Entry) error {
	p, h := placeOf(e.Event), e.Event.Header()
	was := c.held(p.chainKey)
	g := growth{held: was, cursors: []uint64{e.Cursor}}
	if parent, ok := extends(was.tips, h); ok {
		if g.timeBefore(h.Seq) >= h.HLC {
			g.fall(h.Seq)
		}
		g.tips = replaceTip(was.tips, parent, newTip(e.Event))
	} else if err := c.grow(ctx, e, &g); err != nil || g.duplicate {
		return err
	}
	if err := c.index(ctx, &e, p, g); err != nil {
		return err
	}
	c.chains[p.chainKey] = g.held
	c.wanting += len(g.wants) - len(was.wants)
	if c.last = max(c.last, e.Cursor); !g.replaces {
		c.count++
	}
	c.ends = append(c.ends, len(c.writes))
	c.after = append(c.after, after{position{c.last, c.count}, p.chainKey, g.held, g.nearFall(h.Seq), &e})
	for _, v := range g.again {
		if err := c.add(ctx, v); err != nil {
			return err
		}
	}
	return nil
}

// index writes the entry and what finds it.
func (c *change) index(ctx context.Context, e *Entry, p place, g growth) error {
	k, v := c.room.keys, e.Event
	if !c.replay {
		if len(c.ends) == 0 {
			c.arrive(e.Cursor)
		}
		var value []byte
		value, c.filling = c.filling.value(e)
		c.put(k.log(e.Cursor), value)
	}
	c.put(k.id(v.ID()), encodeCursors(e.Cursor))
	if err := c.putPlace(ctx, p, g.cursors); err != nil {
		return err
	}
	if p.chain == protocol.Control {
		c.put(k.control(e.Cursor), []byte{})
	}
	if to := v.Header().To; !to.IsZero() {
		c.put(k.aboutBy(to, e.Cursor), []byte{})
	}
	if g.opens && !c.replay {
		c.put(k.opening(e.Cursor), []byte{})
		c.openings = append(c.openings, e.Cursor)
	}
	return nil
}
