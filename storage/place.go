package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
)

// The index by place has one value for placesShared places of a chain that follow each
// other: a chain that grows, or comes in a long run, writes a key again instead of one
// more for each event.

// placed is a cursor in such a value, and at which of the places.
type placed struct {
	slot   byte
	cursor uint64
}

func (p place) slot() byte { return byte(p.seq % placesShared) }

// encodePlaced returns a value; the list is ascending by slot.
func encodePlaced(list []placed) []byte {
	b := make([]byte, 0, 2*len(list)+8)
	var last placed
	for _, p := range list {
		b = append(b, p.slot-last.slot)
		b = binary.AppendVarint(b, int64(p.cursor-last.cursor))
		last = p
	}
	return b
}

// decodePlaced appends as many as it can read: an index is a hint.
func decodePlaced(list []placed, b []byte) []placed {
	var last placed
	for len(b) > 1 && len(list) < placesShared*2*maxPlace {
		slot := int(last.slot) + int(b[0])
		step, n := binary.Varint(b[1:])
		if n <= 0 || slot >= placesShared {
			break
		}
		last = placed{byte(slot), last.cursor + uint64(step)}
		list = append(list, last)
		b = b[1+n:]
	}
	return list
}

// cursorsAt returns the cursors that a value has for a place.
func cursorsAt(p place, value []byte) (list []uint64) {
	var room [2 * placesShared]placed
	for _, at := range decodePlaced(room[:0], value) {
		if at.slot == p.slot() && len(list) < 2*maxPlace {
			list = append(list, at.cursor)
		}
	}
	return list
}

// sharedPlaces is the value that was written last: who goes on writes it again.
type sharedPlaces struct {
	key   string
	value []byte
}

// putPlace writes which cursors are at a place.
func (c *change) putPlace(ctx context.Context, p place, cursors []uint64) error {
	key := c.room.keys.place(p)
	first := p.seq - p.seq%placesShared
	old := c.shared.value
	if was := c.held(p.chainKey); was.freeFrom(first, first+placesShared-1) {
		old = nil
	} else if c.shared.key != key {
		var err error
		if old, err = c.get(ctx, key); err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	var room [2 * placesShared]placed
	list := decodePlaced(room[:0], old)
	list = slices.DeleteFunc(list, func(at placed) bool { return at.slot == p.slot() })
	i := slices.IndexFunc(list, func(at placed) bool { return at.slot > p.slot() })
	if i < 0 {
		i = len(list)
	}
	for n, cursor := range cursors {
		list = slices.Insert(list, i+n, placed{p.slot(), cursor})
	}
	c.shared = sharedPlaces{key, encodePlaced(list)}
	if at, ok := c.keys[key]; ok {
		c.writes[at].value = c.shared.value // with an earlier event, which is as good
	} else {
		c.put(key, c.shared.value)
	}
	return nil
}

// freeFrom is free for all places from one to another.
func (h *held) freeFrom(first, last uint64) bool {
	first = max(first, 1)
	i, in := h.hole(first)
	return first > h.end() || in && h.holes[i].To >= last
}
