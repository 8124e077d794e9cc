package storage

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/ipfs/go-datastore/query"

	"github.com/p2pchat/p2pchat/protocol"
)

// load makes the room's state from what is on disk: the last checkpoint, and the
// log after it.
func (r *Room) load(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.loadLocked(ctx)
}

// loadLocked is load for who holds mu. Until it succeeds the room stays broken.
func (r *Room) loadLocked(ctx context.Context) error {
	err := r.rebuild(ctx)
	if err == nil {
		err = r.loadMarks(ctx)
	}
	if err != nil {
		r.broken, r.tree.lost = err, true
		r.fallBack() // half a repair knows less than before: it would deny what is stored
		return err
	}
	r.broken = nil
	r.committed = position{r.last, r.count}
	r.durable = maps.Clone(r.chains)
	r.recount()
	for k, h := range r.chains {
		if len(h.falls) > 0 {
			r.turned[k] = true
		}
	}
	close(r.changed)
	r.changed = make(chan struct{})
	return nil
}

func (r *Room) rebuild(ctx context.Context) error {
	c, err := r.readCheckpoint(ctx)
	if err != nil {
		return err
	}
	r.last, r.count, r.mark = c.Cursor, c.Count, c.Cursor
	r.overlay, r.sinceMark = make(map[string]staged), 0
	r.frozen, r.arrivals, r.shared, r.filling = nil, nil, sharedPlaces{}, nil
	r.control, r.controls = nil, false
	r.store.recent.clear() // what is not on disk has not come
	if r.tree, err = r.openTree(ctx, c.Tree); err != nil {
		return err
	}
	if err := r.loadOpenings(ctx); err != nil {
		return err
	}
	r.chains = make(map[chainKey]held, len(c.Chains))
	for _, m := range c.Chains {
		r.chains[chainKey{m.Dev, m.Chain}] = held{m.Tips, m.Holes, m.Wants, m.Falls}
	}
	if c.Tree != nil {
		r.sweepPages(c.Tree.Old)
	}
	end, err := r.logEnd(ctx)
	if err == nil {
		err = r.loadReserved(ctx)
	}
	if err != nil || end <= c.Cursor {
		r.last = max(r.last, r.reserved)
		return err
	}
	if err := r.replay(ctx, c, end); err != nil {
		return fmt.Errorf("repair: %w", err)
	}
	r.last = max(r.last, r.reserved)
	r.committed, r.durable = position{r.last, r.count}, r.chains
	return r.settleDown()
}

// loadReserved reads up to where cursors may have been shown.
func (r *Room) loadReserved(ctx context.Context) error {
	b, err := r.store.get(ctx, r.keys.reserved())
	if errors.Is(err, ErrNotFound) {
		err = nil
	}
	for _, cursor := range decodeCursors(b) {
		r.reserved = max(r.reserved, cursor)
	}
	r.reserving = 0
	return err
}

// settleDown writes down where the room stands after a repair. The caller holds mu.
func (r *Room) settleDown() error {
	c, pages := r.checkpoint()
	err := r.store.write(pages)
	if err == nil {
		r.tree.flushed()
		err = r.store.write([]write{c.write()}, r.swept)
	}
	if err != nil {
		return fmt.Errorf("repair: %w", err)
	}
	r.swept = nil
	r.exists, r.mark = true, c.Cursor
	return nil
}

// empty is where a room begins.
func empty() *checkpoint { return &checkpoint{Tree: &treeMark{Next: 1}} }

// readCheckpoint returns an empty checkpoint where there is none, or none that can
// be read: the log holds everything it says.
func (r *Room) readCheckpoint(ctx context.Context) (*checkpoint, error) {
	key := r.keys.checkpoint()
	b, err := r.store.get(ctx, key)
	if errors.Is(err, ErrNotFound) {
		return empty(), nil
	}
	if err != nil {
		return nil, err
	}
	c, err := decodeCheckpoint(key, b)
	if err != nil {
		c = empty()
		c.lost = true
		return c, nil
	}
	if c.Group != r.group {
		return nil, fmt.Errorf("%s: %w: it is another group's", key, ErrDamaged)
	}
	r.exists = true
	return c, nil
}

// logEnd returns the newest cursor in the log, committed or left by a torn batch.
func (r *Room) logEnd(ctx context.Context) (end uint64, err error) {
	q := query.Query{Prefix: r.keys.prefix('e'), Orders: []query.Order{query.OrderByKeyDescending{}}, KeysOnly: true, Limit: 1}
	err = each(ctx, r.store.ds, q, func(e query.Entry) error {
		end, _ = r.keys.parseLog(e.Key)
		return errStop
	})
	return end, err
}

// loadOpenings reads which entries came before what they link to. Those that the
// checkpoint knows need no key any more.
func (r *Room) loadOpenings(ctx context.Context) error {
	r.openings, r.swept = nil, nil
	q := query.Query{Prefix: r.keys.prefix('w'), Orders: []query.Order{query.OrderByKey{}}, KeysOnly: true}
	return each(ctx, r.store.ds, q, func(e query.Entry) error {
		if cursor, ok := r.keys.parseOpening(e.Key); ok && cursor > r.mark {
			r.openings = append(r.openings, cursor)
		} else {
			r.swept = append(r.swept, write{key: e.Key, del: true})
		}
		return nil
	})
}

// replay goes through the log after a checkpoint once more. A batch may have been
// torn: any of its writes may be there or not. Of its events, those are kept whose
// predecessors are there; they get their indexes again. The others, which nobody
// was told are stored, are deleted. What is kept is synced before it is shown.
func (r *Room) replay(ctx context.Context, from *checkpoint, end uint64) error {
	p := &replay{room: r, from: from.Cursor, opener: r.opener(), gone: make(map[uint64]protocol.ID), opened: func(cursor uint64) bool {
		_, ok := slices.BinarySearch(r.openings, cursor)
		return ok || from.lost // the keys went when a checkpoint had come
	}}
	err := r.eachEntry(ctx, from.Cursor, end, func(cursor uint64, key string, b []byte) error {
		p.size += len(b)
		p.tail = append(p.tail, raw{cursor, key, b})
		if len(p.tail) < checkpointEvents && p.size < maxBatchBytes {
			return nil
		}
		return p.flush(ctx)
	})
	if err != nil {
		return err
	}
	if err := p.flush(ctx); err != nil {
		return err
	}
	r.last = max(r.last, end)
	return nil
}

// raw is an entry of the log as it lies on disk.
type raw struct {
	cursor uint64
	key    string
	value  []byte
}

// replay is a part of the log that is gone through again.
type replay struct {
	room    *Room
	from    uint64 // the checkpoint's cursor
	opener  *opener
	gone    map[uint64]protocol.ID // what is deleted of the last bucket
	tail    []raw
	size    int
	damaged bool // a value did not decode: what follows it on its chain is kept
	opened  func(cursor uint64) bool
}

// dropped deletes an entry, and those hints at it that would be met again and again.
func (r *Room) dropped(e Entry, key string) []write {
	h := e.Event.Header()
	return []write{
		{key: key, del: true},
		{key: r.keys.aboutBy(h.To, e.Cursor), del: true}, // where there is one
		{key: r.keys.opening(e.Cursor), del: true},
	}
}

// open reads an entry, and says whether it is kept behind what a torn batch has lost: it goes
// with that, as who links to it would.
func (p *replay) open(ctx context.Context, t raw) (e Entry, lost bool, err error) {
	maps.DeleteFunc(p.gone, func(c uint64, _ protocol.ID) bool { return c/bucketSize != t.cursor/bucketSize })
	for cursor, id := range p.gone {
		p.opener.remember(cursor, id)
	}
	e, err = p.opener.open(ctx, t.cursor, t.value)
	var prev alone
	if lost = errors.As(err, &prev) && uint64(prev) > p.from; lost {
		p.room.damage.heal(t.cursor)
	}
	return e, lost, err
}

func (p *replay) flush(ctx context.Context) error {
	r := p.room
	c := r.newChange()
	c.replay, c.dropped, c.opened = true, make(map[uint64]bool), p.opened
	var drop []write
	for _, t := range p.tail {
		v, lost, err := p.open(ctx, t)
		if lost {
			drop = append(drop, write{key: t.key, del: true})
		}
		if err != nil {
			p.damaged = p.damaged || !lost
			c.last = max(c.last, t.cursor)
			continue
		}
		c.lenient, c.reached = p.damaged, t.cursor
		err = c.take(ctx, v)
		switch {
		case errors.Is(err, ErrGap), errors.Is(err, ErrForked), errors.Is(err, errDuplicate):
			c.dropped[t.cursor] = true
			p.gone[t.cursor] = v.Event.ID()
			drop = append(drop, r.dropped(v, t.key)...)
		case err != nil:
			return err
		default:
			if prev, ok := behindWhat(t.cursor, t.value); ok && !p.gone[prev].IsZero() {
				c.put(t.key, v.Event.Wire()) // what it is kept behind goes
			}
		}
	}
	// What is deleted may be what others were kept behind until now.
	if err := r.store.write(c.writes); err != nil {
		return err
	}
	if err := r.store.write(drop); err != nil {
		return err
	}
	r.last, r.count = c.last, c.count
	maps.Copy(r.chains, c.chains)
	if len(c.after) > 0 {
		p := progressOf(c.after)
		r.arrivals = p.elements(r.arrivals, protocol.Messages)
	}
	r.plant()
	if r.tree.due() {
		if err := r.store.write(r.tree.flush()); err != nil {
			return err
		}
		r.tree.flushed()
	}
	p.tail, p.size = p.tail[:0], 0
	return nil
}
