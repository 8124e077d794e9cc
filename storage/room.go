package storage

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/protocol/reconcile"
)

// Room is one group's history: an arrival log of control events and messages,
// indexes into it, and the group's records. Reads return what is committed: on disk,
// or received, written and synced a moment later. Who has to know that it survives a
// power cut waits for the Commit. Tip and Append know what is on its way as well.
//
// When a batch fails, the room forgets everything that is not on disk. Appends that
// were waiting fail with it; the next one looks at what the disk holds, and goes on
// from there if it answers.
type Room struct {
	store *Store
	group protocol.ID
	keys  keys

	damage damage // has a mutex of its own

	mu sync.Mutex

	// What is appended, committed or not.
	last    uint64 // newest cursor given out
	count   uint64
	chains  map[chainKey]held
	holed   map[chainKey]bool // those that want something
	wanting int               // how much, together
	overlay map[string]staged // what the disk will say
	shared  sharedPlaces
	filling filling
	queued  uint64 // numbers the items
	epoch   uint64 // rises when the room fails: older items are void
	broken  error  // why the room has to be loaded again; nil if it has not
	failure error  // why it failed the last time

	openings []uint64 // entries after the checkpoint that came before what they link to
	marks    []mark   // when events came, by cursor, the newest maxMarks
	oldMarks []uint64 // cursors of marks on disk that the next append deletes

	// What is committed: durable, or received and durable at the next Sync.
	committed position
	durable   map[chainKey]held
	tree      *tree
	views     int           // that are looked at
	arrivals  []element     // committed, and not in the tree yet
	control   []element     // committed control events, ascending; replaced, never changed
	controls  bool          // all of them; else only what came since the room was loaded
	changed   chan struct{} // closed at the next commit

	// What stands elsewhere in the display order than its own time says; see moves.
	finding sync.Mutex // held by who finds it, before mu
	moved   *moves
	turned  map[chainKey]bool // chains of which it is to be found
	aside   map[protocol.Key][]reconcile.Item

	// What the committer needs for checkpoints.
	exists    bool        // a checkpoint is on disk
	mark      uint64      // the cursor it speaks of
	sinceMark int         // bytes written since
	swept     []write     // deletes of what the checkpoint made superfluous
	reserved  uint64      // cursors up to here are not given out after a crash
	reserving uint64      // the same, once the batch that is written is durable
	frozen    *checkpoint // its pages are on disk, and the next batch writes it
}

// position is how far a log has come.
type position struct{ cursor, count uint64 }

// staged is a queued value, and the item that will make it durable.
type staged struct {
	value []byte
	item  uint64
}

// chainKey names a device's chain, place a place on it.
type chainKey struct {
	dev   protocol.Key
	chain protocol.Chain
}

type place struct {
	chainKey
	seq uint64
}

func placeOf(v protocol.Verified) place {
	h := v.Header()
	return place{chainKey{h.Dev, h.Chain}, h.Seq}
}

// tip is the end of a branch of a chain.
type tip struct {
	Seq uint64      `cbor:"1,keyasint"`
	ID  protocol.ID `cbor:"2,keyasint"`
	HLC uint64      `cbor:"3,keyasint"`
}

func (t tip) on(c chainKey) protocol.Tip {
	return protocol.Tip{Dev: c.dev, Chain: c.chain, Seq: t.Seq, ID: t.ID}
}

// progress is what becomes true of a room when an item is durable.
type progress struct {
	epoch, item uint64
	position
	chains  map[chainKey]held
	turned  []chainKey // those of which something may move in the display order
	entries []*Entry
}

// elements appends those of the entries that are of one sort of chain.
func (p *progress) elements(list []element, sort protocol.Chain) []element {
	for _, e := range p.entries {
		if e.Event.Header().Chain == sort {
			list = append(list, elementOf(*e))
		}
	}
	return list
}

func newRoom(s *Store, group protocol.ID) *Room {
	r := &Room{
		store: s, group: group, keys: newKeys(group), changed: make(chan struct{}),
		turned: make(map[chainKey]bool), moved: newMoves(make(map[chainKey][]shown)),
	}
	r.tree = &tree{room: r, lost: true}
	return r
}

// Group returns the group whose room it is.
func (r *Room) Group() protocol.ID { return r.group }

// Cursor returns the newest committed cursor, 0 if there is none. Cursors rise in
// order of arrival, with gaps, and never name another event later, even if a crash
// takes back what was shown.
func (r *Room) Cursor() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.committed.cursor
}

// Count returns how many events are committed.
func (r *Room) Count() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.committed.count
}

// Failures rises whenever events that were appended are given up because a write
// failed: who remembers what it appended has to look again. With it comes why the last
// of them did.
func (r *Room) Failures() (uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.epoch, r.failure
}

// Changed returns a channel that is closed at the next commit. Ask for it before
// reading, or a commit in between goes unnoticed.
func (r *Room) Changed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

// Tip returns the end of a device's chain, appended or committed: what its next
// event links to. Of a forked chain it is the longest branch, then the lowest id.
// After a failed write it looks at the disk first: an event nobody was told is
// stored may be, and who links past it forks their own chain.
func (r *Room) Tip(dev protocol.Key, chain protocol.Chain) (protocol.Tip, bool) {
	open := r.store.begin() == nil
	if open {
		defer r.store.end()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if open {
		_ = r.ready(context.Background()) // Append says what is wrong
	}
	c := chainKey{dev, chain}
	tips := r.chains[c].tips
	if len(tips) == 0 {
		return protocol.Tip{}, false
	}
	return tips[0].on(c), true
}

// Tips returns the committed ends of all chains, every branch of a forked one up
// to MaxTips, in the order of Tip.Compare: events that none follows here. Of a chain
// with holes the ends of the parts before them are among them; see [Room.Gaps].
func (r *Room) Tips() []protocol.Tip {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]protocol.Tip, 0, len(r.durable))
	for c, h := range r.durable {
		for _, t := range h.tips {
			list = append(list, t.on(c))
		}
	}
	slices.SortFunc(list, protocol.Tip.Compare)
	return list
}

// held returns what is committed of a chain.
func (r *Room) held(c chainKey) held {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.durable[c]
}

// Ready loads the room again after a failure, and says why it cannot be. Who hands in many
// events asks first, or each of them has the room read anew.
func (r *Room) Ready(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ready(ctx)
}

// ready loads the room again after a failure. The caller holds mu.
func (r *Room) ready(ctx context.Context) error {
	if r.broken == nil {
		return nil
	}
	return r.loadLocked(ctx)
}

// readyFor is ready for an append. If the disk turns out to hold more than the room
// showed, what is appended may not know of it, and has to be made anew.
func (r *Room) readyFor(ctx context.Context) error {
	if r.broken == nil {
		return nil
	}
	shown := r.committed.cursor
	if err := r.loadLocked(ctx); err != nil {
		return err
	}
	if r.committed.cursor != shown {
		return notStored(errEarlier)
	}
	return nil
}

// stale says why an item must not be written: its room failed since.
func (r *Room) stale(it *item) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if it.state.epoch == r.epoch {
		return nil
	}
	if r.broken != nil {
		return r.broken
	}
	return notStored(errEarlier)
}

// fail forgets what is not on disk.
func (r *Room) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.epoch++
	r.broken, r.failure = err, err
	r.fallBack()
}

// fallBack is at what was committed last. The caller holds mu.
func (r *Room) fallBack() {
	r.overlay, r.shared, r.filling = make(map[string]staged), sharedPlaces{}, nil
	r.last, r.count = r.committed.cursor, r.committed.count
	r.chains = maps.Clone(r.durable)
	r.recount()
}

// mayShow says whether an item may be seen before it is durable: a crash may take it
// back then, and its cursors must not be given to others.
func (r *Room) mayShow(it *item) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return it.early && it.state.cursor <= r.reserved
}

// reserve returns what reserves cursors, when there are few left.
func (r *Room) reserve() []write {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.committed.cursor+reserveCursors/2 <= r.reserved {
		return nil
	}
	r.reserving = r.last + reserveCursors
	return []write{{key: r.keys.reserved(), value: encodeCursors(r.reserving)}}
}

// settled notes that a batch is durable.
func (r *Room) settled() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reserved = max(r.reserved, r.reserving)
	r.tree.flushed()
}

// publish makes an item's events visible to readers.
func (r *Room) publish(it *item) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := &it.state
	r.committed = p.position
	maps.Copy(r.durable, p.chains)
	r.arrivals = p.elements(r.arrivals, protocol.Messages)
	r.addControl(p.elements(nil, protocol.Control))
	r.store.recent.publish(r, it)
	r.sinceMark += it.size
	for _, k := range p.turned {
		r.turned[k] = true
	}
	for i := range it.writes {
		key := it.writes[i].key
		if r.overlay[key].item == p.item {
			delete(r.overlay, key)
		}
	}
}

// announce wakes followers.
func (r *Room) announce() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.arrivals) >= maxLeaf {
		r.plant() // or whoever looks first does
	}
	close(r.changed)
	r.changed = make(chan struct{})
}
