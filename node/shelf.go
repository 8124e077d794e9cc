package node

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"

	"github.com/fxamacker/cbor/v2"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

// The log is divided into shelves of shelfSize cursors, and of each a few numbers say
// whether there is a body on it that has to go. So what is due is found without reading
// what is not, however long the history is. The numbers may claim too much, after a
// crash or when a body went for another reason, and never too little: a shelf is read
// before anything on it is erased, and then its numbers are true again.

// shelf says what bodies a stretch of the log holds. Times are Unix milliseconds.
type shelf struct {
	Oldest uint64 `cbor:"1,keyasint,omitzero"` // time of the oldest body that retention takes; 0 is none
	Exp    uint64 `cbor:"3,keyasint,omitzero"` // when the first of them disappears, Unix seconds; 0 is never
	Bytes  uint64 `cbor:"5,keyasint,omitzero"` // of the bodies that a limit takes
	Came   uint64 `cbor:"7,keyasint,omitzero"` // everything on it came by then: nothing on it is younger
}

// take counts a message.
func (s *shelf) take(v protocol.Verified) {
	h := v.Header()
	if h.Chain != protocol.Messages || !v.Whole() {
		return
	}
	if h.Exp != 0 && (s.Exp == 0 || h.Exp < s.Exp) {
		s.Exp = h.Exp
	}
	if said := max(1, min(h.HLC, s.Came)); protocol.Retained(h.Kind) {
		s.Bytes += uint64(h.BodyLen)
		if s.Oldest == 0 || said < s.Oldest {
			s.Oldest = said
		}
	}
}

// due says whether a body on it may be over.
func (s *shelf) due(k *rules) bool {
	expired := protocol.Header{Exp: s.Exp}
	return expired.Expired(k.clock) || s.Oldest != 0 && (s.Oldest < k.erased || s.Oldest <= k.mark)
}

// shelves are a room's. The docket feeds them.
type shelves struct {
	mu     sync.Mutex // after the docket's, before nothing
	list   []shelf    // by cursor / shelfSize
	cursor uint64     // how far the log was read
	saved  int        // so many of the first are on disk
	total  uint64     // of Bytes
}

func (s *shelves) bytes() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total
}

// shelfSpace holds a group's shelves by their number.
func shelfSpace(group protocol.ID) string { return "shelves-" + group.Text("") }

// loadShelves reads back what is known of the shelves. Those after the last that is on
// disk are read anew, once somebody attends to the room.
func (r *room) loadShelves(ctx context.Context) error {
	stored, err := r.n.store.List(ctx, shelfSpace(r.group))
	if err != nil {
		return err
	}
	s := &r.shelves
	for {
		b, ok := stored[strconv.Itoa(len(s.list))]
		if !ok {
			break
		}
		var one shelf
		if err := cbor.Unmarshal(b, &one); err != nil {
			return fmt.Errorf("a shelf: %w", err)
		}
		s.list, s.total = append(s.list, one), s.total+one.Bytes
	}
	s.saved = len(s.list)
	if end := uint64(s.saved * shelfSize); end > 0 {
		s.cursor = end - 1
	}
	return nil
}

// shelve reads the log up to a cursor where the docket did before.
func (r *room) shelve(ctx context.Context, to uint64) error {
	for s := &r.shelves; s.cursor < to; {
		page, err := r.log.After(ctx, s.cursor, followPage)
		if err := r.readable(err); err != nil {
			return err
		}
		if len(page) == 0 {
			return nil
		}
		if i := slices.IndexFunc(page, func(e storage.Entry) bool { return e.Cursor > to }); i >= 0 {
			page = page[:i]
		}
		if r.shelvePage(page); len(page) == 0 {
			return nil
		}
	}
	return nil
}

// shelvePage takes in what comes next in the log.
func (r *room) shelvePage(page []storage.Entry) {
	now := unixMilli(r.n.steady.tick(r.n.now()))
	s := &r.shelves
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range page {
		if e.Cursor <= s.cursor {
			continue
		}
		i := int(e.Cursor / shelfSize)
		for len(s.list) <= i {
			s.list = append(s.list, shelf{})
		}
		one := &s.list[i]
		before := one.Bytes
		one.Came = max(one.Came, now)
		one.take(e.Event)
		s.total += one.Bytes - before
		s.cursor = e.Cursor
	}
}

// saveShelves writes down the shelves that are full.
func (r *room) saveShelves(ctx context.Context) error {
	s := &r.shelves
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.saved < len(s.list)-1 {
		if err := r.putShelf(ctx, s.saved); err != nil {
			return err
		}
		s.saved++
	}
	return nil
}

// putShelf writes one down. The caller holds the shelves.
func (r *room) putShelf(ctx context.Context, i int) error {
	b, err := cbor.Marshal(r.shelves.list[i])
	if err != nil {
		return err
	}
	return r.n.store.Put(ctx, shelfSpace(r.group), strconv.Itoa(i), b)
}

// readShelf calls visit for the entries of a shelf as far as they were counted. The
// caller holds the shelves.
func (r *room) readShelf(ctx context.Context, i int, visit func([]storage.Entry) error) error {
	from, end := uint64(i*shelfSize), min(uint64((i+1)*shelfSize-1), r.shelves.cursor)
	for after := max(from, 1) - 1; after < end; {
		page, err := r.log.After(ctx, after, int(min(followPage, end-after)))
		if err := r.readable(err); err != nil {
			return err
		}
		if len(page) == 0 {
			return nil
		}
		after = page[len(page)-1].Cursor
		if past := slices.IndexFunc(page, func(e storage.Entry) bool { return e.Cursor > end }); past >= 0 {
			page = page[:past]
		}
		if err := visit(page); err != nil {
			return err
		}
	}
	return nil
}

// clearShelf erases what is over on a shelf, and counts the rest.
func (r *room) clearShelf(ctx context.Context, i int, k *rules) error {
	s := &r.shelves
	s.mu.Lock()
	defer s.mu.Unlock()
	rest := shelf{Came: s.list[i].Came}
	err := r.readShelf(ctx, i, func(page []storage.Entry) error {
		var due []protocol.ID
		for _, e := range page {
			h := e.Event.Header()
			if h.Chain == protocol.Messages && e.Event.Whole() && k.over(h, rest.Came) {
				due = append(due, e.Event.ID())
			} else {
				rest.take(e.Event)
			}
		}
		if len(due) == 0 {
			return nil
		}
		return r.log.Erase(due...).Wait(ctx)
	})
	if err != nil {
		return err
	}
	s.total += rest.Bytes - s.list[i].Bytes
	s.list[i] = rest
	if i < s.saved {
		return r.putShelf(ctx, i)
	}
	return nil
}

// dueShelves returns the numbers of the shelves on which a body may be over.
func (s *shelves) dueShelves(k *rules) []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	var due []int
	for i := range s.list {
		if s.list[i].due(k) {
			due = append(due, i)
		}
	}
	return due
}

// reshelve counts bodies that are put back, before they are.
func (r *room) reshelve(ctx context.Context, back []storage.Entry) error {
	s := &r.shelves
	s.mu.Lock()
	defer s.mu.Unlock()
	changed := make(map[int]bool)
	for _, e := range back {
		if e.Cursor > s.cursor {
			continue // it will be counted
		}
		i := int(e.Cursor / shelfSize)
		before := s.list[i].Bytes
		s.list[i].take(e.Event)
		s.total += s.list[i].Bytes - before
		changed[i] = i < s.saved
	}
	for i, saved := range changed {
		if !saved {
			continue
		}
		if err := r.putShelf(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

// oldest returns up to which time bodies have to go so that some bytes are free; less,
// where that is a great many bodies: who asks again gets on. 0 says that there are none.
func (r *room) oldest(ctx context.Context, bytes uint64) (mark uint64, err error) {
	s := &r.shelves
	s.mu.Lock()
	defer s.mu.Unlock()
	var order []int
	for i := range s.list {
		if s.list[i].Oldest != 0 {
			order = append(order, i)
		}
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(s.list[a].Oldest, s.list[b].Oldest) })
	type body struct{ said, size uint64 }
	var bodies []body
	for n, i := range order {
		one := shelf{Came: s.list[i].Came}
		err := r.readShelf(ctx, i, func(page []storage.Entry) error {
			for _, e := range page {
				one.Oldest, one.Bytes = 0, 0
				if one.take(e.Event); one.Oldest != 0 {
					bodies = append(bodies, body{one.Oldest, one.Bytes})
				}
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
		bound := uint64(math.MaxUint64) // nothing on the other shelves is older
		if n+1 < len(order) {
			bound = s.list[order[n+1]].Oldest
		}
		slices.SortFunc(bodies, func(a, b body) int { return cmp.Compare(a.said, b.said) })
		free := uint64(0)
		for _, b := range bodies {
			if b.said >= bound || free >= bytes {
				break
			}
			mark, free = b.said, free+b.size
		}
		if free >= bytes || len(bodies) > measureMost && mark != 0 {
			break
		}
	}
	return mark, nil
}
