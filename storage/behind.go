package storage

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/p2pchat/p2pchat/protocol"
)

// The link of a message is the id of the one before it, 32 bytes that no compression makes
// fewer. Where that one lies near in the log, in the same bucket, the message is kept behind
// it: without its link, which is found by reading the other.

// filling is the end of the log, as far as what comes next may be kept behind it: entries of
// one bucket. It grows, and is never changed.
type filling []filled

type filled struct {
	cursor uint64
	id     protocol.ID
	behind int // how many others it takes to read it
}

// value returns what is written into the log of an entry, and the end of the log with it.
//
// What is kept behind another begins with how many cursors before it that lies, then where
// the link was. An event's own bytes begin with a CBOR array, which is no such number.
func (f filling) value(e *Entry) ([]byte, filling) {
	if len(f) > 0 && f[0].cursor/bucketSize != e.Cursor/bucketSize {
		f = nil
	}
	h, wire := e.Event.Header(), e.Event.Wire()
	at := slices.IndexFunc(f, func(o filled) bool { return o.id == h.Prev && o.behind < maxBehind })
	if h.Chain != protocol.Messages || at < 0 {
		return wire, append(f, filled{e.Cursor, e.Event.ID(), 0})
	}
	link := bytes.Index(wire, h.Prev[:])
	b := make([]byte, 0, 3+len(wire)-len(h.Prev))
	b = binary.AppendUvarint(append(b, byte(e.Cursor-f[at].cursor)), uint64(link))
	b = append(append(b, wire[:link]...), wire[link+len(h.Prev):]...)
	return b, append(f, filled{e.Cursor, e.Event.ID(), f[at].behind + 1})
}

// behindWhat returns the cursor of what a value is kept behind, if it is: before it, and in
// its bucket, whatever became of the value on the disk.
func behindWhat(cursor uint64, value []byte) (prev uint64, ok bool) {
	if len(value) == 0 || value[0] == 0 || uint64(value[0]) > cursor%bucketSize {
		return 0, false
	}
	return cursor - uint64(value[0]), true
}

// linked returns the bytes of an event whose value is kept behind another.
func linked(value []byte, prev protocol.ID) ([]byte, bool) {
	at, n := binary.Uvarint(value[1:])
	if n <= 0 || at > uint64(len(value)-1-n) {
		return nil, false
	}
	rest := value[1+n:]
	return slices.Concat(rest[:at], prev[:], rest[at:]), true
}

// alone says that what a value is kept behind is not there: its cursor.
type alone uint64

func (a alone) Error() string {
	return fmt.Sprintf("entry %d, which it is kept behind, is gone", uint64(a))
}

// opener reads entries of the log.
type opener struct {
	room *Room
	get  func(ctx context.Context, key string) ([]byte, error)
	ids  map[uint64]protocol.ID // of what was read of one bucket
}

// opener returns what reads committed entries.
func (r *Room) opener() *opener { return &opener{room: r, get: r.store.get} }

// at reads an entry.
func (o *opener) at(ctx context.Context, cursor uint64) (Entry, error) {
	b, err := o.get(ctx, o.room.keys.log(cursor))
	if err != nil {
		return Entry{}, err
	}
	return o.open(ctx, cursor, b)
}

// open returns the entry that a value of the log is.
func (o *opener) open(ctx context.Context, cursor uint64, value []byte) (Entry, error) {
	v, err := o.event(ctx, cursor, value)
	switch {
	case err == nil:
		o.room.damage.heal(cursor)
	case errors.Is(err, ErrDamaged):
		o.room.damage.note(cursor)
	}
	return Entry{cursor, v}, err
}

// event decodes a value. What it is kept behind lies before it in its bucket, so this ends.
func (o *opener) event(ctx context.Context, cursor uint64, value []byte) (v protocol.Verified, err error) {
	wire := value
	if prev, ok := behindWhat(cursor, value); ok {
		id, err := o.idOf(ctx, prev)
		if err != nil {
			return v, err
		}
		if wire, ok = linked(value, id); !ok {
			return v, fmt.Errorf("%s: %w", o.room.keys.log(cursor), ErrDamaged)
		}
	}
	if v, err = protocol.Stored(o.room.group, wire); err != nil {
		return v, fmt.Errorf("%s: %w: %v", o.room.keys.log(cursor), ErrDamaged, err)
	}
	o.remember(cursor, v.ID())
	return v, nil
}

// idOf returns the id of an entry behind which another is kept.
func (o *opener) idOf(ctx context.Context, cursor uint64) (protocol.ID, error) {
	if id, ok := o.ids[cursor]; ok {
		return id, nil
	}
	b, err := o.get(ctx, o.room.keys.log(cursor))
	if errors.Is(err, ErrNotFound) {
		err = fmt.Errorf("%w: %w", ErrDamaged, alone(cursor))
	}
	if err != nil {
		return protocol.ID{}, err
	}
	v, err := o.event(ctx, cursor, b)
	return v.ID(), err
}

// remember keeps the id of an entry while others of its bucket are read.
func (o *opener) remember(cursor uint64, id protocol.ID) {
	for other := range o.ids {
		if other/bucketSize != cursor/bucketSize {
			clear(o.ids)
		}
		break
	}
	if o.ids == nil {
		o.ids = make(map[uint64]protocol.ID)
	}
	o.ids[cursor] = id
}
