package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ipfs/go-datastore/query"

	"github.com/p2pchat/p2pchat/protocol"
)

// Entry is an event and when it arrived here.
type Entry struct {
	Cursor uint64 // local arrival order, from 1
	Event  protocol.Verified
}

// reader returns what reads the entries at some cursors. Neighbours in any order are
// neighbours in the log, most of them: those that share a bucket are read at once.
func (r *Room) reader(ctx context.Context, cursors []uint64) (*opener, error) {
	buckets := make(map[uint64]int)
	for _, c := range cursors {
		buckets[c/bucketSize]++
	}
	values := make(map[string][]byte)
	for b, n := range buckets {
		if n < bucketSize/8 { // gets are cheaper than an iterator
			continue
		}
		first := b * bucketSize
		err := r.eachEntry(ctx, max(first, 1)-1, first+bucketSize-1, func(_ uint64, key string, v []byte) error {
			values[key] = v
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	o := r.opener()
	o.get = func(ctx context.Context, key string) ([]byte, error) {
		if v, ok := values[key]; ok {
			return v, nil
		}
		return r.store.get(ctx, key)
	}
	return o, nil
}

// page collects entries. A damaged one does not hide the others: it is left out,
// and the first of them is the error that comes with the page.
type page struct {
	entries []Entry
	damage  error
}

// newPage returns one with room for n entries.
func newPage(n uint64) page { return page{entries: make([]Entry, 0, n)} }

// readAll adds the entries at some cursors, which hold one each.
func (r *Room) readAll(ctx context.Context, cursors []uint64, p *page) error {
	o, err := r.reader(ctx, cursors)
	if err != nil {
		return err
	}
	for _, c := range cursors {
		e, err := o.at(ctx, c)
		if errors.Is(err, ErrNotFound) {
			r.damage.note(c)
			err = fmt.Errorf("%s: %w: it is gone", r.keys.log(c), ErrDamaged)
		}
		if err := p.add(e, err); err != nil {
			return err
		}
	}
	return nil
}

func (p *page) add(e Entry, err error) error {
	switch {
	case err == nil:
		p.entries = append(p.entries, e)
	case errors.Is(err, ErrDamaged):
		if p.damage == nil {
			p.damage = err
		}
	case !errors.Is(err, ErrNotFound): // a hole, where an index is a hint
		return err
	}
	return nil
}

// eachEntry visits the log after a cursor, up to and including end.
func (r *Room) eachEntry(ctx context.Context, after, end uint64, visit func(cursor uint64, key string, b []byte) error) error {
	stop := false
	for b := (after + 1) / bucketSize; b <= end/bucketSize && !stop; b++ {
		q := query.Query{Prefix: r.keys.bucket(b * bucketSize), Orders: []query.Order{query.OrderByKey{}}}
		err := each(ctx, r.store.ds, q, func(e query.Entry) error {
			cursor, ok := r.keys.parseLog(e.Key)
			if !ok || cursor <= after || cursor > end {
				return nil
			}
			err := visit(cursor, e.Key, e.Value)
			stop = err == errStop
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// After returns up to n committed entries that arrived after a cursor, oldest
// first; at most MaxPage. If some are damaged, the readable ones come with an
// error that wraps ErrDamaged: who goes on after the last of them misses only those.
func (r *Room) After(ctx context.Context, cursor uint64, n int) ([]Entry, error) {
	if err := r.store.begin(); err != nil {
		return nil, err
	}
	defer r.store.end()
	end := r.Cursor()
	n = min(n, MaxPage)
	if n <= 0 || cursor >= end {
		return nil, nil
	}
	p := newPage(min(uint64(n), end-cursor))
	if p.entries, cursor = r.store.recent.after(p.entries, r, cursor, end); cursor == end || len(p.entries) == n {
		return p.entries, nil
	}
	o := r.opener()
	if n <= maxGets || end-cursor <= maxGets {
		for tries := 0; cursor < end && len(p.entries) < n && tries < 2*maxGets; tries++ {
			cursor++
			if err := p.add(o.at(ctx, cursor)); err != nil {
				return nil, err
			}
		}
		if cursor >= end || len(p.entries) == n {
			return p.entries, p.damage
		}
	}
	err := r.eachEntry(ctx, cursor, end, func(cursor uint64, _ string, b []byte) error {
		if len(p.entries) == n {
			return errStop
		}
		return p.add(o.open(ctx, cursor, b))
	})
	if err != nil {
		return nil, err
	}
	return p.entries, p.damage
}

// Control returns all committed control events in order of arrival. Damaged ones
// are treated as in [Room.After].
func (r *Room) Control(ctx context.Context) ([]Entry, error) {
	if err := r.store.begin(); err != nil {
		return nil, err
	}
	defer r.store.end()
	var cursors []uint64
	r.mu.Lock()
	end, epoch := r.committed.cursor, r.epoch
	r.mu.Unlock()
	q := query.Query{Prefix: r.keys.prefix('k'), Orders: []query.Order{query.OrderByKey{}}, KeysOnly: true}
	err := each(ctx, r.store.ds, q, func(e query.Entry) error {
		if c, ok := r.keys.parseControl(e.Key); ok && c <= end {
			cursors = append(cursors, c)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var p page
	o := r.opener()
	for _, c := range cursors {
		e, err := o.at(ctx, c)
		if err == nil && e.Event.Header().Chain != protocol.Control {
			continue // left by a torn batch, its cursor given to another
		}
		if err := p.add(e, err); err != nil {
			return nil, err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.controls && r.epoch == epoch {
		r.addControl(elementsOf(p.entries))
		r.controls = true
	}
	return p.entries, p.damage
}

// Get returns a committed event by its id; ErrNotFound where it is not here.
func (r *Room) Get(ctx context.Context, id protocol.ID) (Entry, error) {
	if err := r.store.begin(); err != nil {
		return Entry{}, err
	}
	defer r.store.end()
	return r.byID(ctx, id)
}

func (r *Room) byID(ctx context.Context, id protocol.ID) (Entry, error) {
	b, err := r.store.get(ctx, r.keys.id(id))
	if err != nil {
		return Entry{}, fmt.Errorf("event %s: %w", id, err)
	}
	end, o := r.Cursor(), r.opener()
	for _, cursor := range decodeCursors(b) {
		e, err := o.at(ctx, cursor)
		if errors.Is(err, ErrNotFound) || err == nil && (e.Event.ID() != id || cursor > end) {
			continue
		}
		return e, err
	}
	return Entry{}, fmt.Errorf("event %s: %w", id, ErrNotFound)
}

// Chain returns committed events of a device's chain in the order of their seq,
// from one on, all branches of a fork, and nothing in place of what is missing. A place
// is never split, so a page of n may be longer by a fork; the next page begins after the
// seq of its last event. Damaged events are treated as in [Room.After].
func (r *Room) Chain(ctx context.Context, dev protocol.Key, chain protocol.Chain, from uint64, n int) ([]protocol.Verified, error) {
	held := r.held(chainKey{dev, chain})
	return r.places(ctx, chainKey{dev, chain}, n, held.next(max(from, 1)), func(seq uint64) uint64 {
		return held.next(seq + 1)
	})
}

// ChainBack is [Room.Chain] backwards: from a seq down, the next page begins before the
// seq of the last event.
func (r *Room) ChainBack(ctx context.Context, dev protocol.Key, chain protocol.Chain, from uint64, n int) ([]protocol.Verified, error) {
	held := r.held(chainKey{dev, chain})
	return r.places(ctx, chainKey{dev, chain}, n, held.last(from), func(seq uint64) uint64 {
		return held.last(seq - 1)
	})
}

// places reads what is at some places of a chain, from one on to the chain's end in one
// direction or the other.
func (r *Room) places(ctx context.Context, c chainKey, n int, seq uint64, next func(uint64) uint64) ([]protocol.Verified, error) {
	if err := r.store.begin(); err != nil {
		return nil, err
	}
	defer r.store.end()
	var p page
	held, end, o := r.held(c), r.Cursor(), r.opener()
	for n = min(n, MaxPage); seq > 0 && seq <= held.end() && len(p.entries) < n; seq = next(seq) {
		if err := o.readPlace(ctx, place{c, seq}, end, &p); err != nil {
			return nil, err
		}
	}
	events := make([]protocol.Verified, len(p.entries))
	for i, e := range p.entries {
		events[i] = e.Event
	}
	return events, p.damage
}

// readPlace adds what is at a place of a chain.
func (o *opener) readPlace(ctx context.Context, at place, end uint64, p *page) error {
	b, err := o.get(ctx, o.room.keys.place(at))
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	from := len(p.entries)
	for _, cursor := range cursorsAt(at, b) {
		if cursor > end {
			continue
		}
		e, err := o.at(ctx, cursor)
		if err == nil && placeOf(e.Event) != at {
			continue
		}
		if err := p.add(e, err); err != nil {
			return err
		}
	}
	slices.SortFunc(p.entries[from:], func(a, b Entry) int { return a.Event.ID().Compare(b.Event.ID()) })
	return nil
}

// Forks returns the proofs that chains were forked, at most MaxForks and some of
// each chain.
func (r *Room) Forks(ctx context.Context) ([]protocol.ForkProof, error) {
	if err := r.store.begin(); err != nil {
		return nil, err
	}
	defer r.store.end()
	var pairs []uint64
	err := each(ctx, r.store.ds, query.Query{Prefix: r.keys.prefix('f')}, func(e query.Entry) error {
		list := decodeCursors(e.Value)
		pairs = append(pairs, list[:len(list)&^1]...)
		if len(pairs) >= 2*MaxForks {
			return errStop
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var proofs []protocol.ForkProof
	o := r.opener()
	for pair := range slices.Chunk(pairs[:min(len(pairs), 2*MaxForks)], 2) {
		var p page
		for _, cursor := range pair {
			if err := p.add(o.at(ctx, cursor)); err != nil {
				return nil, err
			}
		}
		if len(p.entries) == 2 {
			if f, ok := protocol.Fork(p.entries[0].Event, p.entries[1].Event); ok {
				proofs = append(proofs, f)
			}
		}
	}
	return proofs, nil
}
