package storage

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/p2pchat/p2pchat/protocol/reconcile"
)

// What is damaged turns out when somebody reads it. Members have the message as a rule:
// it only has to be left out of what is said to be here, and comes again like any that is
// missing, under a new cursor.

// damage remembers the cursors of the log whose values were found damaged, at most
// maxDamaged. A value that is damaged and that nobody read is not among them.
type damage struct {
	some  atomic.Bool // seen is not empty
	stamp atomic.Uint64

	mu    sync.Mutex // after the room's
	seen  map[uint64]reconcile.Item
	fresh map[uint64]bool // those of seen that were not looked for in the tree
}

// note remembers a cursor.
func (d *damage) note(cursor uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, known := d.seen[cursor]; known || len(d.seen) >= maxDamaged {
		return
	}
	if d.seen == nil {
		d.seen, d.fresh = make(map[uint64]reconcile.Item), make(map[uint64]bool)
	}
	d.seen[cursor], d.fresh[cursor] = reconcile.Item{}, true
	d.some.Store(true)
	d.stamp.Add(1)
}

// heal forgets a cursor: its value is read after all, or the message lies elsewhere now.
func (d *damage) heal(cursor uint64) {
	if !d.some.Load() {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, known := d.seen[cursor]; !known {
		return
	}
	delete(d.seen, cursor)
	delete(d.fresh, cursor)
	d.some.Store(len(d.seen) > 0)
	d.stamp.Add(1)
}

// look finds out which messages lie at the fresh cursors: 60 ms for 100,000.
func (d *damage) look(v *view) error {
	d.mu.Lock()
	sought := make(map[uint64]bool, len(d.fresh))
	for c := range d.fresh {
		sought[c] = true
	}
	d.mu.Unlock()
	if len(sought) == 0 {
		return nil
	}
	found := make(map[uint64]reconcile.Item)
	err := v.elements(0, v.Len(), func(e element) error {
		if sought[e.cursor] {
			if found[e.cursor] = e.Item; len(found) == len(sought) {
				return errStop
			}
		}
		return nil
	})
	if err != nil && err != errStop {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for c := range sought {
		if d.fresh[c] {
			d.seen[c] = found[c] // nothing where a control event lies, or nothing of use
			delete(d.fresh, c)
		}
	}
	return nil
}

// elements returns the messages that were found damaged, ascending.
func (d *damage) elements() []element {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []element
	for c, it := range d.seen {
		if it != (reconcile.Item{}) {
			list = append(list, element{it, c})
		}
	}
	return ascending(list)
}

// Damages rises whenever a value of the log is found damaged, or one that was is not any
// more.
func (r *Room) Damages() uint64 { return r.damage.stamp.Load() }

// Damaged returns, ascending, those of [Room.Messages] whose values turned out to be
// damaged or gone when they were read, at most maxDamaged. Who asks others for them hands
// them to [Room.Receive].
func (r *Room) Damaged(ctx context.Context) ([]reconcile.Item, error) {
	if !r.damage.some.Load() {
		return nil, nil
	}
	var out []reconcile.Item
	err := r.look(ctx, func(v *view) error {
		if err := r.damage.look(v); err != nil {
			return err
		}
		for _, e := range r.damage.elements() {
			at, err := v.Find(e.Item)
			if err != nil {
				return err
			}
			var here []element
			err = v.elements(at, min(at+1, v.Len()), func(e element) error { here = append(here, e); return nil })
			switch {
			case err != nil:
				return err
			case slices.Contains(here, e):
				out = append(out, e.Item)
			default:
				r.damage.heal(e.cursor) // it came again
			}
		}
		return nil
	})
	return out, err
}
