package storage

import (
	"context"
	"fmt"
	"slices"

	"github.com/p2pchat/p2pchat/protocol"
)

// Precedes says whether an event is end or one that end follows on its chain, by
// hash: of two branches of a fork only that counts which end is on. It returns
// ErrNotFound where end is not committed here, and ErrGap where something between
// the two is not.
//
// The event itself need not be stored.
//
// It takes four gets where the chain holds one event at the next place after the
// event. Otherwise it goes up to the next place that holds one, at most to end, and
// down again by links: two branches side by side cost some gets for each of their
// places, 0.1 ms together. Where a damaged value breaks the links, the error wraps
// ErrDamaged.
func (r *Room) Precedes(ctx context.Context, v protocol.Verified, end protocol.ID) (bool, error) {
	if err := r.store.begin(); err != nil {
		return false, err
	}
	defer r.store.end()
	last, err := r.byID(ctx, end)
	if err != nil {
		return false, err
	}
	at, to := placeOf(v), placeOf(last.Event)
	if v.ID() == end {
		return true, nil
	}
	if at.chainKey != to.chainKey || at.seq >= to.seq {
		return false, nil
	}
	next, held := last.Event, r.held(to.chainKey)
	for _, w := range slices.Backward(held.wants) {
		if w.Seq <= at.seq || w.Seq >= next.Header().Seq {
			continue
		}
		if next, err = r.ancestor(ctx, next, w.Seq+1); err != nil {
			break
		}
		if next.Header().Prev == w.ID {
			err = fmt.Errorf("seq %d: %w", w.Seq+1, ErrGap)
			break
		}
	}
	if err == nil {
		next, err = r.ancestor(ctx, next, at.seq+1)
	}
	if err != nil {
		return false, fmt.Errorf("what comes before %s: %w", end, err)
	}
	return next.Header().Prev == v.ID(), nil
}

// ancestor returns what an event follows at a place, or the event if it is there.
// Nothing is missing above that place.
func (r *Room) ancestor(ctx context.Context, v protocol.Verified, seq uint64) (protocol.Verified, error) {
	next, err := r.bottleneck(ctx, seq, v)
	for err == nil && next.Header().Seq > seq {
		next, err = r.previous(ctx, next)
	}
	return next, err
}

// bottleneck returns the first event, at a seq or later, that is alone at its place
// and so precedes last; or last. What last follows from that seq on is stored, so the
// event it follows at a place with one event is that one.
func (r *Room) bottleneck(ctx context.Context, seq uint64, last protocol.Verified) (protocol.Verified, error) {
	p := placeOf(last)
	end, o := r.Cursor(), r.opener()
	for ; seq < p.seq; seq++ {
		var at page
		if err := o.readPlace(ctx, place{p.chainKey, seq}, end, &at); err != nil {
			return last, err
		}
		if len(at.entries) == 1 && at.damage == nil {
			return at.entries[0].Event, nil
		}
	}
	return last, nil
}

// previous returns the event that another links to. It is stored; where it is not
// found, it is damaged.
func (r *Room) previous(ctx context.Context, v protocol.Verified) (protocol.Verified, error) {
	h := v.Header()
	var at page
	if err := r.opener().readPlace(ctx, place{chainKey{h.Dev, h.Chain}, h.Seq - 1}, r.Cursor(), &at); err != nil {
		return v, err
	}
	i := slices.IndexFunc(at.entries, func(e Entry) bool { return e.Event.ID() == h.Prev })
	if i < 0 {
		return v, fmt.Errorf("event %s: %w", h.Prev, ErrDamaged)
	}
	return at.entries[i].Event, nil
}
