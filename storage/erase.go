package storage

import (
	"context"
	"errors"
	"fmt"

	"github.com/p2pchat/p2pchat/protocol"
)

// Erase puts in place of messages what is left without their bodies: header,
// signature and body_hash, under the same cursor and by the same indexes. Messages
// that are appended and not committed yet are erased as well. Unknown ids, control
// events, and what is erased already are passed over. A crash leaves the whole copy
// or the erased one; once the commit is done it is the erased one. A driver may
// keep the old bytes in its files until it compacts them.
//
// Appends to the room wait while it reads the events, some 40 µs each: who has
// thousands to erase asks for some hundred at a time.
func (r *Room) Erase(ids ...protocol.ID) *Commit {
	return r.inPlace(func(ctx context.Context, c *change) error {
		for _, id := range ids {
			e, err := c.lookup(ctx, id)
			switch {
			case errors.Is(err, ErrNotFound):
			case err != nil:
				return fmt.Errorf("erase %s: %w", id, err)
			case e.Event.Header().Chain == protocol.Messages && e.Event.Whole():
				c.replace(e.Cursor, e.Event.Erased())
			}
		}
		return nil
	})
}

// Restore puts a whole copy in place of one that something was taken off, which
// [Room.Append] does not. Where the event is not stored, or its copy is whole,
// nothing happens.
func (r *Room) Restore(v protocol.Verified) *Commit {
	if v.Group() != r.group {
		return Failed(fmt.Errorf("restore %s: %w", v.ID(), ErrWrongGroup))
	}
	return r.inPlace(func(ctx context.Context, c *change) error {
		e, err := c.lookup(ctx, v.ID())
		switch {
		case errors.Is(err, ErrNotFound):
		case err != nil:
			return fmt.Errorf("restore %s: %w", v.ID(), err)
		case v.Whole() && !e.Event.Whole():
			c.replace(e.Cursor, v)
		}
		return nil
	})
}

// inPlace queues a change of values that are in the log. Indexes come from headers,
// which stay: so each value may reach the disk or not, whatever becomes of others.
func (r *Room) inPlace(fill func(context.Context, *change) error) *Commit {
	return r.alter(r.ready, fill)
}

func (c *change) replace(cursor uint64, v protocol.Verified) {
	c.put(c.room.keys.log(cursor), v.Wire())
}

// lookup returns an event by its id, committed or on its way. One whose value is
// damaged is not found: there is no telling what it was.
func (c *change) lookup(ctx context.Context, id protocol.ID) (Entry, error) {
	b, err := c.get(ctx, c.room.keys.id(id))
	if err != nil {
		return Entry{}, err
	}
	for _, cursor := range decodeCursors(b) {
		e, err := c.entry(ctx, cursor)
		switch {
		case err == nil && e.Event.ID() == id:
			return e, nil
		case err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrDamaged):
			return Entry{}, err
		}
	}
	return Entry{}, ErrNotFound
}
