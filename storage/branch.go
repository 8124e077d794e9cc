package storage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/p2pchat/p2pchat/protocol"
)

// A chain that nobody copied grows at one tip, and needs nothing from the disk but the
// value that its last places share. All other cases are here: duplicates, branches, and events that replace damaged ones.

func newTip(v protocol.Verified) tip {
	h := v.Header()
	return tip{Seq: h.Seq, ID: v.ID(), HLC: h.HLC}
}

// extends says whether an event continues a chain where nothing can be yet, and
// which tip it follows; -1 where it begins the chain.
func extends(tips []tip, h *protocol.Header) (int, bool) {
	if len(tips) == 0 {
		return -1, h.Seq == 1
	}
	if h.Seq != tips[0].Seq+1 {
		return 0, false
	}
	i := slices.IndexFunc(tips, func(t tip) bool { return t.ID == h.Prev })
	return i, i >= 0
}

// replaceTip returns the tips with one moved on, or added if old is -1; longest
// first, as many as are kept.
func replaceTip(tips []tip, old int, t tip) []tip {
	if len(tips) <= 1 && old == len(tips)-1 {
		return []tip{t}
	}
	tips = slices.Clone(tips)
	if old >= 0 {
		tips = slices.Delete(tips, old, old+1)
	}
	tips = append(tips, t)
	slices.SortFunc(tips, func(a, b tip) int { return cmp.Or(cmp.Compare(b.Seq, a.Seq), a.ID.Compare(b.ID)) })
	return tips[:min(len(tips), MaxTips)]
}

// growth is what a chain becomes by an event.
type growth struct {
	held
	cursors   []uint64 // of all events at its place
	duplicate bool     // nothing: it is stored already
	replaces  bool     // a damaged copy, which was counted
	opens     bool     // its predecessor is not here

	again []protocol.Verified // what was kept behind the damaged copy
}

// grow finds out what becomes of a chain by an event that does not simply extend it.
func (c *change) grow(ctx context.Context, e Entry, g *growth) error {
	p := placeOf(e.Event)
	var siblings []Entry
	if !g.free(p.seq) {
		var err error
		if siblings, err = c.events(ctx, p); err != nil {
			return err
		}
	}
	for _, s := range siblings {
		if s.Event.ID() == e.Event.ID() && s.Cursor < e.Cursor {
			g.duplicate = true
			return c.drop(e)
		}
	}
	if !c.early && !c.replay {
		return notStored(fmt.Errorf("seq %d does not continue its chain, as after a write that failed: %w", p.seq, ErrGap))
	}
	if err := c.clear(ctx, e, g); err != nil {
		return err
	}
	siblings = slices.DeleteFunc(siblings, func(s Entry) bool { return s.Cursor == e.Cursor })
	if len(siblings) >= maxPlace && p.chain == protocol.Messages {
		return ErrForked
	}
	if err := c.follow(ctx, e, g); err != nil {
		return err
	}
	g.cursors = nil
	for _, s := range siblings {
		g.cursors = append(g.cursors, s.Cursor)
	}
	g.cursors = append(g.cursors, e.Cursor)
	if len(siblings) > 0 {
		return c.recordFork(ctx, p.chainKey, siblings[0].Cursor, e.Cursor)
	}
	return nil
}

// clear deletes the damaged copies that an event replaces: nobody reads them any more. What
// is kept behind one can be read again.
func (c *change) clear(ctx context.Context, e Entry, g *growth) error {
	if g.free(e.Event.Header().Seq) {
		return nil
	}
	b, err := c.get(ctx, c.room.keys.id(e.Event.ID()))
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, cursor := range decodeCursors(b) {
		_, err := c.entry(ctx, cursor)
		damaged := errors.Is(err, ErrDamaged)
		switch {
		case err == nil:
			continue
		case !damaged && !errors.Is(err, ErrNotFound):
			return err
		}
		if err := c.detach(ctx, cursor, e.Event.ID(), g); err != nil {
			return err
		}
		if damaged {
			c.del(c.room.keys.log(cursor))
			g.replaces = true
		}
	}
	return nil
}

// detach finds what is kept behind an entry that was damaged. It is stored once more, as if it
// had come again: who reads on from a cursor may have gone over it. A replay gives no
// cursors, and puts its link back in place.
func (c *change) detach(ctx context.Context, cursor uint64, id protocol.ID, g *growth) error {
	for at := cursor + 1; at%bucketSize > 0; at++ {
		key := c.room.keys.log(at)
		b, err := c.get(ctx, key)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		prev, ok := behindWhat(at, b)
		if !ok || prev != cursor {
			continue
		}
		wire, ok := linked(b, id)
		switch v, err := protocol.Stored(c.room.group, wire); {
		case !ok || err != nil:
		case c.replay:
			c.put(key, wire)
		default:
			g.again = append(g.again, v)
		}
	}
	return nil
}

// drop passes a duplicate over. One that a replay finds in the log is left from a
// batch that was not acknowledged.
func (c *change) drop(e Entry) error {
	if c.replay {
		return errDuplicate
	}
	return nil
}

var errDuplicate = errors.New("stored twice")

// follow links an event to what is stored before and after it.
func (c *change) follow(ctx context.Context, e Entry, g *growth) error {
	h, id := e.Event.Header(), e.Event.ID()
	if err := c.predecessor(ctx, h, g); err != nil {
		return err
	}
	if err := c.fallsAt(ctx, h, g); err != nil {
		return err
	}
	next, err := c.successor(ctx, e, g)
	if err != nil {
		return err
	}
	parent := slices.IndexFunc(g.tips, func(t tip) bool { return t.ID == h.Prev })
	if c.lenient && parent < 0 && h.Chain == protocol.Control && len(g.tips) == 1 && g.end() < h.Seq {
		parent = 0
	}
	if g.free(h.Seq) {
		g.occupy(h.Seq)
	}
	if g.opens {
		g.miss(want{Seq: h.Seq - 1, ID: h.Prev, HLC: h.HLC})
	}
	if w, ok := g.wanted(h.Seq, id); ok {
		g.found(w)
	}
	switch {
	case next && parent >= 0:
		g.tips = slices.Delete(slices.Clone(g.tips), parent, parent+1)
	case !next && !slices.Contains(g.tips, newTip(e.Event)): // or the tip was damaged
		g.tips = replaceTip(g.tips, parent, newTip(e.Event))
	}
	return nil
}

// predecessor looks for what an event links to, and opens a hole where it is not stored.
func (c *change) predecessor(ctx context.Context, h *protocol.Header, g *growth) error {
	if h.Seq == 1 || slices.ContainsFunc(g.tips, func(t tip) bool { return t.ID == h.Prev && t.Seq == h.Seq-1 }) {
		return nil
	}
	if !g.free(h.Seq - 1) {
		_, err := c.find(ctx, place{chainKey{h.Dev, h.Chain}, h.Seq - 1}, h.Prev)
		if !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	return c.open(h, g)
}

// open takes an event whose predecessor is not stored, if that may be.
func (c *change) open(h *protocol.Header, g *growth) error {
	if h.Chain == protocol.Control {
		if c.lenient {
			return nil
		}
		return fmt.Errorf("seq %d: %w", h.Seq, ErrGap)
	}
	g.opens = true
	if c.replay {
		if c.lenient || c.opened(c.reached) {
			return nil
		}
		return fmt.Errorf("seq %d: %w", h.Seq, ErrGap)
	}
	if _, known := g.wanted(h.Seq-1, h.Prev); !known && !c.mayWant(len(g.wants)) {
		return fmt.Errorf("seq %d: %w", h.Seq, ErrHoles)
	}
	return nil
}

// mayWant says whether a chain that wants so many events may want one more. Where all
// together want as many as a room takes, those may that want less than their share: some
// who leave events out on purpose must not keep the others' history out.
func (c *change) mayWant(wants int) bool {
	if c.wanting < maxAllWants {
		return wants < maxWants
	}
	return wants < max(leastWants, maxAllWants/(len(c.room.holed)+1))
}

// successor says whether an event that follows this one is stored: it was wanted, or
// replaces one that was damaged.
func (c *change) successor(ctx context.Context, e Entry, g *growth) (bool, error) {
	h := e.Event.Header()
	if _, ok := g.wanted(h.Seq, e.Event.ID()); ok {
		return true, nil
	}
	if h.Seq >= g.end() || g.free(h.Seq) && h.Chain == protocol.Messages {
		return false, nil
	}
	next, err := c.events(ctx, place{chainKey{h.Dev, h.Chain}, h.Seq + 1})
	return slices.ContainsFunc(next, func(n Entry) bool { return n.Event.Header().Prev == e.Event.ID() }), err
}

// events returns the readable events at a place of a chain. The index is a hint:
// what is not at the place is left out, and in a replay what has not been gone
// through yet, or was found to have no predecessor.
func (c *change) events(ctx context.Context, p place) ([]Entry, error) {
	b, err := c.get(ctx, c.room.keys.place(p))
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []Entry
	for _, cursor := range cursorsAt(p, b) {
		if c.replay && (cursor > c.reached || c.dropped[cursor]) {
			continue
		}
		e, err := c.entry(ctx, cursor)
		switch {
		case err == nil && placeOf(e.Event) == p:
			list = append(list, e)
		case err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrDamaged):
			return nil, err
		}
	}
	return list, nil
}

// find returns the event with an id at a place.
func (c *change) find(ctx context.Context, p place, id protocol.ID) (Entry, error) {
	list, err := c.events(ctx, p)
	if err != nil {
		return Entry{}, err
	}
	i := slices.IndexFunc(list, func(e Entry) bool { return e.Event.ID() == id })
	if i < 0 {
		return Entry{}, ErrNotFound
	}
	return list[i], nil
}

func (c *change) entry(ctx context.Context, cursor uint64) (Entry, error) {
	return (&opener{room: c.room, get: c.get}).at(ctx, cursor)
}

// recordFork keeps the proof that a chain forked: two cursors.
func (c *change) recordFork(ctx context.Context, k chainKey, a, b uint64) error {
	key := c.room.keys.forks(k)
	old, err := c.get(ctx, key)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	list := decodeCursors(old)
	a, b = min(a, b), max(a, b)
	for i := 0; i+1 < len(list); i += 2 {
		if list[i] == a && list[i+1] == b {
			return nil
		}
	}
	if len(list)/2 < maxForksChain {
		c.put(key, encodeCursors(append(list, a, b)...))
	}
	return nil
}
