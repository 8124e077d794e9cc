package storage

import (
	"context"
	"encoding/binary"
	"slices"
	"time"

	"github.com/ipfs/go-datastore/query"
)

// The times that events carry are claims. What is known is when they came here, and
// that is kept sparsely: an append leaves a mark with the time if the last one is
// old. Marks are hints: opening without them shows less and loses nothing.

// mark says when the event at a cursor came.
type mark struct {
	cursor uint64
	unix   int64 // seconds
}

// Arrived returns a time that a committed event came at or after, by the clock of
// this machine, in whole seconds: of the newest mark at or before its cursor. The
// event came less than five minutes later, unless the clock was set in between. It
// is zero where there is no mark: of each room the newest 10,000 are kept, which is
// at least five weeks.
func (r *Room) Arrived(cursor uint64) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := marksUntil(r.marks, cursor)
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(r.marks[n-1].unix, 0)
}

// marksUntil counts the marks at or before a cursor.
func marksUntil(marks []mark, cursor uint64) int {
	n, _ := slices.BinarySearchFunc(marks, cursor, func(m mark, cursor uint64) int {
		if m.cursor <= cursor {
			return -1
		}
		return 1
	})
	return n
}

// arrive marks an append that begins at a cursor, if it is time, and deletes what
// is not wanted any more. A clock that was set back must not end the marks.
func (c *change) arrive(cursor uint64) {
	r := c.room
	for _, old := range r.oldMarks {
		c.del(r.keys.mark(old))
	}
	now := r.store.now()
	if n := len(r.marks); n > 0 && now.Sub(time.Unix(r.marks[n-1].unix, 0)).Abs() < markEvery {
		return
	}
	if len(r.marks) >= maxMarks {
		c.del(r.keys.mark(r.marks[0].cursor))
	}
	c.mark = mark{cursor, now.Unix()}
	c.put(r.keys.mark(cursor), binary.AppendVarint(nil, now.Unix()))
}

// arrived takes over what arrive did. The caller holds mu.
func (r *Room) arrived(c *change) {
	if len(c.ends) > 0 {
		r.oldMarks = nil
	}
	if c.mark.cursor == 0 {
		return
	}
	if len(r.marks) >= maxMarks {
		r.marks = r.marks[1:]
	}
	r.marks = append(r.marks, c.mark)
}

// loadMarks reads the marks. Those after the end of the log are left from a torn
// batch: their cursors will be given to events that come later.
func (r *Room) loadMarks(ctx context.Context) error {
	r.marks, r.oldMarks = nil, nil
	q := query.Query{Prefix: r.keys.prefix('t'), Orders: []query.Order{query.OrderByKey{}}}
	err := each(ctx, r.store.ds, q, func(e query.Entry) error {
		cursor, ok := r.keys.parseMark(e.Key)
		unix, n := binary.Varint(e.Value)
		switch {
		case !ok:
		case n <= 0 || cursor > r.last:
			r.oldMarks = append(r.oldMarks, cursor)
		default:
			r.marks = append(r.marks, mark{cursor, unix})
		}
		return nil
	})
	for len(r.marks) > maxMarks {
		r.oldMarks = append(r.oldMarks, r.marks[0].cursor)
		r.marks = r.marks[1:]
	}
	return err
}
