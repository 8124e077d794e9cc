package storage

import (
	"context"
	"errors"

	"github.com/p2pchat/p2pchat/protocol"
)

// The display order must not show an event before one that it follows on its chain,
// even if a clock stood in 2040 for a while and was set right. So an event's place
// in the display is the lowest time of it and of those that follow it: an event
// with a lower time than its predecessors takes them along. How far is a function
// of the chain alone, so that all members see one order whatever arrived first.

// lower moves the predecessors of an event down to its time.
func (c *change) lower(ctx context.Context, e Entry, single bool) error {
	h := e.Event.Header()
	path, err := c.above(ctx, h)
	if err != nil || len(path) == 0 {
		return err
	}
	keys := suffixMinimum(path)
	if !single {
		if keys, err = c.branchedKeys(ctx, e, path); err != nil {
			return err
		}
	}
	k := c.room.keys
	for i, a := range path {
		if keys[i] > h.HLC {
			c.lowered = append(c.lowered,
				write{key: k.display(keys[i], a.Event, a.Cursor), del: true},
				write{key: k.display(h.HLC, a.Event, a.Cursor), value: []byte{}})
		}
	}
	return nil
}

// above returns the predecessors that an event takes along, nearest first: back to
// the first one with a time as low, and no further than maxLower.
func (c *change) above(ctx context.Context, h *protocol.Header) ([]Entry, error) {
	var path []Entry
	ck := chainKey{h.Dev, h.Chain}
	for seq, prev := h.Seq-1, h.Prev; seq > 0 && len(path) < maxLower; seq-- {
		a, err := c.find(ctx, place{ck, seq}, prev)
		if errors.Is(err, ErrNotFound) {
			break // damaged
		}
		if err != nil {
			return nil, err
		}
		if a.Event.Header().HLC <= h.HLC {
			break
		}
		path = append(path, a)
		prev = a.Event.Header().Prev
	}
	return path, nil
}

// suffixMinimum returns the display times that the events of a path have so far,
// where nothing else follows them.
func suffixMinimum(path []Entry) []uint64 {
	keys := make([]uint64, len(path))
	low := uint64(protocol.MaxHLC)
	for i, a := range path {
		low = min(low, a.Event.Header().HLC)
		keys[i] = low
	}
	return keys
}

// branchedKeys returns the same where branches may have lowered the path before.
func (c *change) branchedKeys(ctx context.Context, e Entry, path []Entry) ([]uint64, error) {
	h := e.Event.Header()
	window, err := c.window(ctx, path[len(path)-1].Event.Header().Seq, e)
	if err != nil {
		return nil, err
	}
	low := lowest(window)
	keys := make([]uint64, len(path))
	for i, a := range path {
		keys[i] = h.HLC // where it is gone from the window there is nothing to move
		if t, ok := low[a.Event.ID()]; ok {
			keys[i] = t
		}
	}
	return keys, nil
}

// lowest returns the display times of events among each other.
func lowest(window map[protocol.ID]Entry) map[protocol.ID]uint64 {
	low := make(map[protocol.ID]uint64, len(window))
	for id, w := range window {
		low[id] = w.Event.Header().HLC
	}
	for _, w := range window {
		by := w.Event.Header()
		at, ok := window[by.Prev]
		for n := 0; ok && n < maxLower && at.Event.Header().HLC > by.HLC; n++ {
			low[at.Event.ID()] = min(low[at.Event.ID()], by.HLC)
			at, ok = window[at.Event.Header().Prev]
		}
	}
	return low
}

// bridge does what lower does for an event that fills a hole: those that follow it
// reach back across it now.
func (c *change) bridge(ctx context.Context, e Entry) error {
	h, k := e.Event.Header(), c.room.keys
	window, err := c.window(ctx, h.Seq-min(h.Seq-1, maxLower), e)
	if err != nil {
		return err
	}
	before := lowest(window)
	before[e.Event.ID()] = h.HLC
	window[e.Event.ID()] = e
	for id, low := range lowest(window) {
		if a := window[id]; low < before[id] {
			c.lowered = append(c.lowered,
				write{key: k.display(before[id], a.Event, a.Cursor), del: true},
				write{key: k.display(low, a.Event, a.Cursor), value: []byte{}})
		}
	}
	return nil
}

// window returns a chain's events from a seq on, on all branches, that came before
// an entry and are near enough to have lowered what it lowers.
func (c *change) window(ctx context.Context, from uint64, e Entry) (map[protocol.ID]Entry, error) {
	p := placeOf(e.Event)
	window := make(map[protocol.ID]Entry)
	for seq := from; seq <= p.seq+maxLower; seq++ {
		list, err := c.events(ctx, place{p.chainKey, seq})
		if err != nil {
			return nil, err
		}
		if len(list) == 0 && seq > p.seq {
			break
		}
		for _, w := range list {
			if w.Cursor < e.Cursor {
				window[w.Event.ID()] = w
			}
		}
	}
	return window, nil
}
