package storage

import (
	"context"
	"slices"
	"strings"

	"github.com/ipfs/go-datastore/query"
)

// Position is a place in the display order. The zero value is its end.
type Position struct{ key string }

// IsZero says whether it is the end of the display order.
func (p Position) IsZero() bool { return p.key == "" }

// Newest returns up to n committed events that come last before a position in the
// display order, in that order, and the position of the first of them, where the
// page before begins; at most MaxPage. Without any, there are no more, and the
// position is the one given. Damaged entries are treated as in [Room.After].
//
// The order is the same at all members who hold the same events: by time and then
// device, except that nothing comes before what it follows on its chain; see [Room].
func (r *Room) Newest(ctx context.Context, n int, before Position) ([]Entry, Position, error) {
	if err := r.store.begin(); err != nil {
		return nil, before, err
	}
	defer r.store.end()
	end := r.Cursor()
	moved, err := r.moves(ctx)
	if err != nil {
		return nil, before, err
	}
	n = min(n, MaxPage)
	p := newPage(min(uint64(max(n, 0)), end))
	for more := true; more && len(p.entries) < n; {
		want := n - len(p.entries)
		hits, err := r.walkBack(ctx, before.key, want)
		if err != nil {
			return nil, before, err
		}
		floor := ""
		if more = len(hits) == want; more {
			floor = hits[want-1]
		}
		hits = moved.apply(hits, floor, before.key)
		if len(hits) > want {
			hits, more = hits[:want], true
			floor = hits[want-1]
		}
		if err := r.show(ctx, hits, end, &p); err != nil {
			return nil, before, err
		}
		switch {
		case more:
			before.key = floor
		case len(hits) > 0:
			before.key = hits[len(hits)-1]
		}
	}
	slices.Reverse(p.entries)
	return p.entries, before, p.damage
}

// show adds the entries that display keys stand for, where they stand for one: the
// key of a torn batch may name a cursor that is empty or was given to another.
func (r *Room) show(ctx context.Context, hits []string, end uint64, p *page) error {
	type hit struct {
		key string
		hlc uint64
	}
	list, cursors := make([]hit, 0, len(hits)), make([]uint64, 0, len(hits))
	for _, key := range hits {
		if hlc, cursor, ok := r.keys.parseDisplay(key); ok && cursor <= end {
			list, cursors = append(list, hit{key, hlc}), append(cursors, cursor)
		}
	}
	read, err := r.reader(ctx, cursors)
	if err != nil {
		return err
	}
	for i, h := range list {
		e, wrong := read(cursors[i])
		if wrong == nil && r.keys.display(h.hlc, e.Event, cursors[i]) != h.key {
			continue
		}
		if err := p.add(e, wrong); err != nil {
			return err
		}
	}
	return nil
}

// walkBack returns up to n display keys before one, newest first.
//
// A datastore cannot be asked to begin at a key, only for a prefix. So times are
// paths of characters, and the walk goes up: the rest of the bucket of 64 ms that
// the key lies in, then what is before that in 4 s, and so on. Where much lies
// after the key in a bucket, the smaller ones before it are asked for one by one.
func (r *Room) walkBack(ctx context.Context, before string, n int) ([]string, error) {
	w := &walk{room: r, ctx: ctx, n: n}
	root := r.keys.prefix('d')
	if before == "" {
		err := w.all(root)
		return w.hits, err
	}
	bound := before
	for depth := displayPath; depth >= 0 && len(w.hits) < n; depth -= 2 {
		prefix := root
		if depth > 0 {
			prefix = before[:len(root)+depth]
		}
		if err := w.below(prefix, bound, depth < displayPath); err != nil {
			return nil, err
		}
		bound = prefix
	}
	return w.hits, nil
}

// walk collects display keys.
type walk struct {
	room *Room
	ctx  context.Context // of the one call it serves
	n    int
	hits []string
}

func (w *walk) query(prefix string, visit func(key string) error) error {
	q := query.Query{Prefix: prefix, Orders: []query.Order{query.OrderByKeyDescending{}}, KeysOnly: true}
	return each(w.ctx, w.room.store.ds, q, func(e query.Entry) error { return visit(e.Key) })
}

// take keeps a key.
func (w *walk) take(key string) error {
	w.hits = append(w.hits, key)
	if len(w.hits) == w.n {
		return errStop
	}
	return nil
}

// all takes the newest keys under a prefix.
func (w *walk) all(prefix string) error { return w.query(prefix, w.take) }

// below takes the newest keys under a prefix that come before bound.
func (w *walk) below(prefix, bound string, divisible bool) error {
	skipped := 0
	err := w.query(prefix, func(key string) error {
		if key < bound {
			return w.take(key)
		}
		if skipped++; divisible && skipped > maxSkip {
			return errStop
		}
		return nil
	})
	if err != nil || !divisible || skipped <= maxSkip {
		return err
	}
	for i := strings.IndexByte(alphabet, bound[len(prefix)+1]) - 1; i >= 0 && len(w.hits) < w.n; i-- {
		if err := w.all(prefix + "/" + alphabet[i:i+1]); err != nil {
			return err
		}
	}
	return nil
}
