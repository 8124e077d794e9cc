package storage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/p2pchat/p2pchat/protocol"
)

// A chain that nobody copied grows at one tip, and needs nothing from the disk. All
// other cases are here: duplicates, branches, and events that replace damaged ones.

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

// branched is what an event that does not simply extend its chain comes to.
type branched struct {
	duplicate bool
	tips      []tip
	cursors   []uint64 // of all events at its place
	behind    bool     // its time is lower than its predecessor's
}

func (c *change) branch(ctx context.Context, e Entry, tips []tip) (b branched, err error) {
	p, h := placeOf(e.Event), e.Event.Header()
	siblings, err := c.events(ctx, p)
	if err != nil {
		return b, err
	}
	for _, s := range siblings {
		if s.Event.ID() == e.Event.ID() && s.Cursor < e.Cursor {
			b.duplicate = true
			return b, c.drop(e)
		}
	}
	siblings = slices.DeleteFunc(siblings, func(s Entry) bool { return s.Cursor == e.Cursor })
	if len(siblings) >= maxPlace && p.chain == protocol.Messages {
		return b, ErrForked
	}
	if b.behind, err = c.follows(ctx, h); err != nil {
		return b, err
	}
	b.tips, err = c.branchTips(ctx, e, tips)
	for _, s := range siblings {
		b.cursors = append(b.cursors, s.Cursor)
	}
	b.cursors = append(b.cursors, e.Cursor)
	if err == nil && len(siblings) > 0 {
		err = c.recordFork(ctx, p.chainKey, siblings[0].Cursor, e.Cursor)
	}
	return b, err
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

// follows checks that an event's predecessor is stored, and says whether it
// carries a later time.
func (c *change) follows(ctx context.Context, h *protocol.Header) (behind bool, err error) {
	if h.Seq == 1 {
		return false, nil
	}
	prev, err := c.find(ctx, place{chainKey{h.Dev, h.Chain}, h.Seq - 1}, h.Prev)
	switch {
	case err == nil:
		return prev.Event.Header().HLC > h.HLC, nil
	case !errors.Is(err, ErrNotFound):
		return false, err
	case c.lenient:
		return false, nil
	}
	return false, fmt.Errorf("seq %d: %w", h.Seq, ErrGap)
}

// branchTips returns the tips with the event, unless others follow it already: it
// replaces one that was damaged.
func (c *change) branchTips(ctx context.Context, e Entry, tips []tip) ([]tip, error) {
	h := e.Event.Header()
	next, err := c.events(ctx, place{chainKey{h.Dev, h.Chain}, h.Seq + 1})
	if err != nil {
		return nil, err
	}
	for _, n := range next {
		if n.Event.Header().Prev == e.Event.ID() {
			return tips, nil
		}
	}
	parent := slices.IndexFunc(tips, func(t tip) bool { return t.ID == h.Prev })
	if c.lenient && parent < 0 && len(tips) == 1 && tips[0].Seq < h.Seq {
		parent = 0
	}
	return replaceTip(tips, parent, newTip(e.Event)), nil
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
	for _, cursor := range decodeCursors(b) {
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
	key := c.room.keys.log(cursor)
	b, err := c.get(ctx, key)
	if err != nil {
		return Entry{}, err
	}
	return c.room.decode(cursor, key, b)
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
