package storage

import (
	"context"
	"fmt"
	"slices"

	"github.com/p2pchat/p2pchat/protocol"
)

// Precedes says whether an event is end or one that end follows on its chain, by
// hash: of two branches of a fork only that counts which end is on. It returns
// ErrNotFound where end is not committed here.
//
// The event itself need not be stored. All that end follows is; so what is not can
// only precede it where the stored copy is damaged, and for the others, such as a
// branch that somebody offers, the answer is no.
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
	next, err := r.bottleneck(ctx, at.seq+1, last.Event)
	for err == nil && next.Header().Seq > at.seq+1 {
		next, err = r.previous(ctx, next)
	}
	if err != nil {
		return false, fmt.Errorf("what comes before %s: %w", end, err)
	}
	return next.Header().Prev == v.ID(), nil
}

// bottleneck returns the first event, at a seq or later, that is alone at its place
// and so precedes last; or last. What a stored event follows is stored, so the event
// it follows at a place with one event is that one.
func (r *Room) bottleneck(ctx context.Context, seq uint64, last protocol.Verified) (protocol.Verified, error) {
	p := placeOf(last)
	end := r.Cursor()
	for ; seq < p.seq; seq++ {
		var at page
		if err := r.readPlace(ctx, place{p.chainKey, seq}, end, &at); err != nil {
			return last, err
		}
		if len(at.entries) == 1 && at.damage == nil {
			return at.entries[0].Event, nil
		}
	}
	return last, nil
}

// previous returns the event that another links to. Where it is not found, it was
// damaged: else the other would not have been stored.
func (r *Room) previous(ctx context.Context, v protocol.Verified) (protocol.Verified, error) {
	h := v.Header()
	var at page
	if err := r.readPlace(ctx, place{chainKey{h.Dev, h.Chain}, h.Seq - 1}, r.Cursor(), &at); err != nil {
		return v, err
	}
	i := slices.IndexFunc(at.entries, func(e Entry) bool { return e.Event.ID() == h.Prev })
	if i < 0 {
		return v, fmt.Errorf("event %s: %w", h.Prev, ErrDamaged)
	}
	return at.entries[i].Event, nil
}
