package storage

import (
	"bytes"
	"cmp"
	"slices"
)

// tail is the end of the log in memory: who follows the log reads there what was committed
// a moment ago, which from the disk costs as much as putting it there. It holds the same
// bytes as the disk, so nothing is open in it, and what is erased there is erased here.
type tail struct {
	from  uint64 // of what is committed, all values after this cursor are in the list
	list  []logged
	bytes int
}

// logged is a value of the log.
type logged struct {
	cursor uint64
	value  []byte
}

func (l logged) compare(cursor uint64) int { return cmp.Compare(l.cursor, cursor) }

// note takes in a committed write of the log.
func (t *tail) note(cursor uint64, w *write) {
	if cursor <= t.from {
		return
	}
	i, here := slices.BinarySearchFunc(t.list, cursor, logged.compare)
	if here {
		t.bytes -= len(t.list[i].value)
		t.list = slices.Delete(t.list, i, i+1)
	}
	if w.del {
		return
	}
	// A copy, as what came in a frame keeps all of it in memory.
	t.list = slices.Insert(t.list, i, logged{cursor, bytes.Clone(w.value)})
	for t.bytes += len(w.value); t.bytes > maxTail; {
		t.bytes -= len(t.list[0].value)
		t.from, t.list[0] = t.list[0].cursor, logged{}
		t.list = t.list[1:]
	}
}

// after returns up to n values after a cursor, if none of them is on the disk alone.
func (t *tail) after(cursor uint64, n int) ([]logged, bool) {
	if cursor < t.from {
		return nil, false
	}
	i, _ := slices.BinarySearchFunc(t.list, cursor+1, logged.compare)
	return slices.Clone(t.list[i:min(len(t.list), i+n)]), true
}

// latest is after for a room.
func (r *Room) latest(cursor uint64, n int) ([]logged, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tail.after(cursor, n)
}

// cool gives the memory of the tail back.
func (r *Room) cool() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tail = tail{from: r.committed.cursor}
}

// warm keeps the tails of the rooms that something came to last. Only the committer
// calls it.
func (s *Store) warm(r *Room) {
	if i := slices.Index(s.warmest, r); i >= 0 {
		s.warmest = slices.Delete(s.warmest, i, i+1)
	}
	if s.warmest = slices.Insert(s.warmest, 0, r); len(s.warmest) > maxTails {
		s.warmest[maxTails].cool()
		s.warmest = s.warmest[:maxTails]
	}
}
