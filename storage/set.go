package storage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"

	"github.com/ipfs/go-datastore/query"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/protocol/reconcile"
)

// Messages calls visit with the set of all committed messages, by time and id: what
// members compare with each other. A copy without its body counts like any. The set
// does not change until visit returns, and must not be used after that. Its length and
// the sum of all cost nothing, the sum of a part some microseconds.
func (r *Room) Messages(ctx context.Context, visit func(reconcile.Set) error) error {
	return r.look(ctx, func(v *view) error { return visit(v) })
}

// Between returns up to n committed messages from one item up to, not including,
// another, in the order of the set: the newest of them, or the oldest; at most MaxPage.
// Damaged entries are treated as in [Room.After]; where nothing else is on a page, the
// next one is returned.
func (r *Room) Between(ctx context.Context, from, to reconcile.Item, n int, newest bool) (page []Entry, damaged error) {
	n = min(n, MaxPage)
	err := r.look(ctx, func(v *view) error {
		first, err := v.Find(from)
		if err != nil {
			return err
		}
		last, err := v.Find(to)
		for err == nil && n > 0 && first < last && len(page) == 0 {
			low, high := first, min(last, first+n)
			if newest {
				low, high = max(first, last-n), last
				last = low
			} else {
				first = high
			}
			var wrong error
			page, wrong, err = r.part(ctx, v, low, high)
			damaged = cmp.Or(damaged, wrong)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return page, damaged
}

// part reads the entries of the set from one number up to another.
func (r *Room) part(ctx context.Context, v *view, from, to int) (list []Entry, damaged, err error) {
	var cursors []uint64
	err = v.elements(from, to, func(e element) error {
		cursors = append(cursors, e.cursor)
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	if err := r.store.begin(); err != nil {
		return nil, nil, err
	}
	defer r.store.end()
	p := newPage(uint64(len(cursors)))
	err = r.readAll(ctx, cursors, &p)
	return p.entries, p.damage, err
}

// Has says whether an event is committed.
func (r *Room) Has(ctx context.Context, id protocol.ID) (bool, error) {
	_, err := r.Get(ctx, id)
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrDamaged) {
		return false, nil
	}
	return err == nil, err
}

// look calls visit with the tree as it is. Where that turns out to be damaged, visit
// sees an error, and the next look makes it from the log.
func (r *Room) look(ctx context.Context, visit func(*view) error) error {
	v, err := r.beginLook(ctx)
	if err != nil {
		return err
	}
	defer r.endLook(v)
	return visit(v)
}

func (r *Room) beginLook(ctx context.Context) (*view, error) {
	if err := r.store.begin(); err != nil {
		return nil, err
	}
	defer r.store.end()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.plant()
	if r.tree.lost {
		if err := r.replant(ctx); err != nil {
			return nil, fmt.Errorf("make the tree of messages again: %w", err)
		}
	}
	r.views++
	return r.tree.look(ctx), nil
}

func (r *Room) endLook(v *view) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.views--
	if v.damaged {
		v.tree.lost = true
	}
}

// view is a tree as it was at a moment: a reconcile.Set.
type view struct {
	ctx     context.Context // of the one call it serves
	tree    *tree
	root    part
	damaged bool
}

// load returns the node behind a part. Only here is the store used: visit may call
// whatever it likes.
func (v *view) load(p part) (*node, error) {
	if err := v.tree.room.store.begin(); err != nil {
		return nil, err
	}
	defer v.tree.room.store.end()
	n, err := v.tree.load(v.ctx, p)
	v.damaged = v.damaged || errors.Is(err, ErrDamaged)
	return n, err
}

// Len returns how many items there are.
func (v *view) Len() int { return v.root.count }

// Find returns the number of the first item that is not before it.
func (v *view) Find(it reconcile.Item) (int, error) {
	before, p := 0, v.root
	for p.count > 0 {
		n, err := v.load(p)
		if err != nil {
			return 0, err
		}
		if n.parts == nil {
			return before + sort.Search(len(n.elements), func(i int) bool { return n.elements[i].Compare(it) >= 0 }), nil
		}
		i := under(n.parts, it)
		for _, q := range n.parts[:i] {
			before += q.count
		}
		p = n.parts[i]
	}
	return 0, nil
}

// Sum returns the sum of the ids from one number up to another.
func (v *view) Sum(from, to int) (reconcile.Sum, error) {
	return v.sum(v.root, max(from, 0), min(to, v.Len()))
}

// sum returns the sum of a part from one number up to another. At most two leaves are
// read, where it begins and where it ends.
func (v *view) sum(p part, from, to int) (sum reconcile.Sum, err error) {
	switch {
	case from >= to:
		return sum, nil
	case from == 0 && to == p.count:
		return p.sum, nil
	}
	n, err := v.load(p)
	if err != nil {
		return sum, err
	}
	if n.parts == nil {
		for _, e := range n.elements[from:to] {
			sum = sum.Plus(reconcile.SumOf(e.ID))
		}
		return sum, nil
	}
	for _, q := range n.parts {
		if to <= 0 {
			break
		}
		some, err := v.sum(q, from, min(to, q.count))
		if err != nil {
			return sum, err
		}
		sum = sum.Plus(some)
		from, to = max(from-q.count, 0), to-q.count
	}
	return sum, nil
}

// Items visits the items from one number up to another.
func (v *view) Items(from, to int, visit func(reconcile.Item) error) error {
	return v.elements(from, to, func(e element) error { return visit(e.Item) })
}

func (v *view) elements(from, to int, visit func(element) error) error {
	if from >= to {
		return nil
	}
	return v.walk(v.root, max(from, 0), min(to, v.Len()), visit)
}

// walk visits the elements of a part from one number up to another.
func (v *view) walk(p part, from, to int, visit func(element) error) error {
	n, err := v.load(p)
	if err != nil {
		return err
	}
	if n.parts == nil {
		for _, e := range n.elements[from:to] {
			if err := visit(e); err != nil {
				return err
			}
		}
		return nil
	}
	for _, q := range n.parts {
		if to <= 0 {
			break
		}
		if from < q.count {
			if err := v.walk(q, from, min(to, q.count), visit); err != nil {
				return err
			}
		}
		from, to = max(from-q.count, 0), to-q.count
	}
	return nil
}

// ascending sorts elements, and keeps the newest cursor of one that is there twice.
func ascending(batch []element) []element {
	slices.SortFunc(batch, func(a, b element) int {
		if c := a.Compare(b.Item); c != 0 {
			return c
		}
		return int(b.cursor) - int(a.cursor)
	})
	return slices.CompactFunc(batch, func(a, b element) bool { return a.Item == b.Item })
}

// plant puts what was committed into the tree. The caller holds mu.
func (r *Room) plant() {
	if len(r.arrivals) == 0 {
		return
	}
	if t := r.tree; !t.lost && t.put(context.Background(), ascending(r.arrivals)) != nil {
		t.lost = true // some of it may be in
	}
	r.arrivals = r.arrivals[:0]
}

// replant makes the tree from the log, up to what is committed. The caller holds mu.
func (r *Room) replant(ctx context.Context) error {
	t, err := r.clearing(ctx)
	if err != nil {
		return err
	}
	var batch []element
	put := func() error {
		err := t.put(ctx, ascending(batch))
		if batch = batch[:0]; err == nil && t.dirty >= maxDirty {
			err = r.store.write(t.flush())
			t.flushed()
		}
		return err
	}
	o := r.opener()
	err = r.eachEntry(ctx, 0, r.committed.cursor, func(cursor uint64, _ string, b []byte) error {
		e, err := o.open(ctx, cursor, b)
		if err != nil || e.Event.Header().Chain != protocol.Messages {
			return nil
		}
		if batch = append(batch, elementOf(e)); len(batch) < maxGrown {
			return nil
		}
		return put()
	})
	if err == nil {
		err = put()
	}
	if err == nil {
		r.tree = t
	}
	return err
}

// clearing returns an empty tree that has no use for any page there is.
func (r *Room) clearing(ctx context.Context) (*tree, error) {
	t := &tree{room: r, edit: 1, next: 1}
	q := query.Query{Prefix: r.keys.prefix('o'), KeysOnly: true}
	err := each(ctx, r.store.ds, q, func(e query.Entry) error {
		if n, ok := r.keys.parsePage(e.Key); ok {
			t.old, t.next = append(t.old, n), max(t.next, n+1)
		}
		return nil
	})
	return t, err
}

func elementsOf(entries []Entry) (list []element) {
	for _, e := range entries {
		list = append(list, elementOf(e))
	}
	return list
}

func elementOf(e Entry) element {
	return element{reconcile.Item{Time: e.Event.Header().HLC, ID: e.Event.ID()}, e.Cursor}
}
