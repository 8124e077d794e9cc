package storage

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/protocol/reconcile"
)

// The display shows messages and control events by time and id. Messages come from the set,
// which has that order; control events are few, and in memory in it.

// Position is a place in the display order. The zero value is its end.
type Position struct{ at stand }

// IsZero says whether it is the end of the display order.
func (p Position) IsZero() bool { return p.at == stand{} }

// stand is where an event stands in the display: where its own time and id say, or right
// before the event that takes it along.
type stand struct {
	reconcile.Item
	seq uint64 // of who is taken along
	id  protocol.ID
}

// ownStand is where an event stands that nothing takes along.
func ownStand(it reconcile.Item) stand { return stand{it, math.MaxUint64, it.ID} }

func (s stand) compare(o stand) int {
	return cmp.Or(s.Item.Compare(o.Item), cmp.Compare(s.seq, o.seq), s.id.Compare(o.id))
}

// shown is an event in the display.
type shown struct {
	stand
	cursor uint64
}

// Newest returns up to n committed events that come last before a position in the
// display order, in that order, and the position of the first of them, where the
// page before begins; at most MaxPage. Without any, there are no more, and the
// position is the one given. Damaged entries are treated as in [Room.After].
//
// The order is the same at all members who hold the same events: by time and then
// id, except that nothing comes before what it follows on its chain; see [Room].
func (r *Room) Newest(ctx context.Context, n int, before Position) ([]Entry, Position, error) {
	moved, err := r.moves(ctx)
	if err != nil {
		return nil, before, err
	}
	control, err := r.controlItems(ctx)
	if err != nil {
		return nil, before, err
	}
	n = min(n, MaxPage)
	var p page
	err = r.look(ctx, func(v *view) error {
		p = newPage(uint64(max(0, min(n, v.Len()+len(control)))))
		for len(p.entries) < n {
			list, err := r.lastBefore(v, control, moved, before.at, n-len(p.entries))
			if err != nil || len(list) == 0 {
				return err
			}
			cursors := make([]uint64, len(list)) // the oldest first: others are kept behind it, and it is read once
			for i := range list {
				cursors[len(list)-1-i] = list[i].cursor
			}
			have := len(p.entries)
			if err := r.readAll(ctx, cursors, &p); err != nil {
				return err
			}
			slices.Reverse(p.entries[have:])
			before.at = list[len(list)-1].stand
		}
		return nil
	})
	if err != nil {
		return nil, before, err
	}
	slices.Reverse(p.entries)
	return p.entries, before, p.damage
}

// lastBefore returns up to n events that come last before a place, the last first.
func (r *Room) lastBefore(v *view, control []element, moved *moves, before stand, n int) (list []shown, err error) {
	end, ends, tos := v.Len(), len(control), len(moved.to)
	if before != (stand{}) {
		if end, err = v.Find(before.Item); err != nil {
			return nil, err
		}
		ends, _ = slices.BinarySearchFunc(control, before.Item, func(e element, it reconcile.Item) int { return e.Compare(it) })
		tos, _ = slices.BinarySearchFunc(moved.to, before, func(s shown, b stand) int { return s.compare(b) })
	}
	list = slices.Clone(moved.to[max(0, tos-n):tos])
	stay := func(e element) error {
		if !moved.away[e.ID] {
			list = append(list, shown{ownStand(e.Item), e.cursor})
		}
		return nil
	}
	for from := len(list); ends > 0 && len(list) < from+n; ends-- {
		_ = stay(control[ends-1])
	}
	for from := len(list); end > 0 && len(list) < from+n; end -= n {
		if err := v.elements(end-n, end, stay); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(list, func(a, b shown) int { return b.compare(a.stand) })
	return list[:min(n, len(list))], nil
}

// controlItems returns all committed control events by time and id.
func (r *Room) controlItems(ctx context.Context) ([]element, error) {
	r.mu.Lock()
	list, whole := r.control, r.controls
	r.mu.Unlock()
	if whole {
		return list, nil
	}
	if _, err := r.Control(ctx); err != nil && !errors.Is(err, ErrDamaged) {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.control, nil
}

// addControl takes in control events, and replaces the list. The caller holds mu.
func (r *Room) addControl(more []element) {
	if len(more) > 0 {
		r.control = ascending(append(more, r.control...))
	}
}
