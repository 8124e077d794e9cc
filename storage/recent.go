package storage

import (
	"sync"
	"time"

	"github.com/p2pchat/p2pchat/protocol"
)

// Who follows a room reads what was written a moment ago. For some seconds entries are
// kept as they were handed in, so that a follower that keeps up, or nearly so, neither
// asks the datastore for them nor decodes them.

// recent is what a store keeps of the newest entries of all its rooms: those of this
// spell and of the one before.
type recent struct {
	mu    sync.Mutex
	young map[entryKey]*Entry
	old   map[entryKey]*Entry
	timer *time.Timer // ends the spell; nil while nothing is kept
}

// entryKey names an entry in memory.
type entryKey struct {
	room   *Room
	cursor uint64
}

// publish takes over what an item did to the log.
func (c *recent) publish(r *Room, it *item) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range it.writes {
		if w := &it.writes[i]; w.del || len(it.state.entries) == 0 {
			c.change(r, w)
		}
	}
	for _, e := range it.state.entries {
		if len(e.Event.Wire()) <= maxRecentSize {
			c.put(entryKey{r, e.Cursor}, e)
		}
	}
}

// change takes over what is deleted in the log, which leaves no event here, or written
// again in place.
func (c *recent) change(r *Room, w *write) {
	cursor, ok := r.keys.parseLog(w.key)
	k := entryKey{r, cursor}
	if _, kept := c.get(k); !ok || !kept {
		return
	}
	e := Entry{Cursor: cursor}
	if !w.del {
		e.Event, _ = protocol.Stored(r.group, w.value) // an event's own encoding
	}
	delete(c.old, k)
	delete(c.young, k)
	if len(e.Event.Wire()) <= maxRecentSize {
		c.put(k, &e)
	}
}

func (c *recent) get(k entryKey) (*Entry, bool) {
	e, ok := c.young[k]
	if !ok {
		e, ok = c.old[k]
	}
	return e, ok
}

func (c *recent) put(k entryKey, e *Entry) {
	if c.young == nil || len(c.young) >= maxRecent/2 {
		c.turn()
	}
	c.young[k] = e
	if c.timer == nil {
		c.timer = time.AfterFunc(recentSpell, c.spell)
	}
}

// turn begins another spell.
func (c *recent) turn() { c.young, c.old = make(map[entryKey]*Entry), c.young }

// spell is called when one is over.
func (c *recent) spell() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turn()
	if len(c.old) > 0 {
		c.timer.Reset(recentSpell)
	} else {
		c.young, c.old, c.timer = nil, nil, nil
	}
}

// clear forgets everything.
func (c *recent) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.young)
	clear(c.old)
}

// after fills a list with entries that follow a cursor, up to end or to one that is not
// kept, and returns the last cursor it came to.
func (c *recent) after(list []Entry, r *Room, cursor, end uint64) ([]Entry, uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for cursor < end && len(list) < cap(list) {
		e, ok := c.get(entryKey{r, cursor + 1})
		if !ok {
			break
		}
		if cursor++; !e.Event.IsZero() {
			list = append(list, *e)
		}
	}
	return list, cursor
}
