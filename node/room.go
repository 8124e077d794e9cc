package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/time/rate"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/protocol/reconcile"
	"github.com/p2pchat/p2pchat/storage"
)

// room is one group on this node: its control set, its keys, and the one door by
// which events come in.
type room struct {
	n     *Node
	group protocol.ID
	me    self
	log   *storage.Room

	mu   sync.Mutex
	meta roomMeta
	// unsaved says that meta names a device which is not on disk.
	unsaved bool
	set     *protocol.Set
	roster  *protocol.Roster // nil where the set is another; see current
	clock   protocol.Clock
	keys    keys
	chunks  chunkIndex
	turned  []rotation // epochs that were started here and are not announced yet
	turn    time.Time  // when this node starts an epoch, if none is fit by then; zero if one is
	docket  docket
	shelves shelves // guarded by its own mutex
	rule    keeping
	abouts  map[storage.Target]bool // messages that retractions and others are about
	parked  *parking
	// surplus are control events that were refused since enough of their kind is here.
	surplus      *simplelru.LRU[protocol.ID, struct{}]
	surplusStamp int // of the roster by which they were
	links        links
	// bodiless are messages that somebody looked at and of which there is an erased
	// copy only, though nothing says that they should be erased.
	bodiless map[protocol.ID]bool
	texts    texts
	untold   untoldAll
	guessed  bool // by whoever asked last whether a message counts: a cut names what is not here
	spared   *simplelru.LRU[pair, bool]
	recent   *simplelru.LRU[protocol.ID, uint64] // and their times
	records  map[recordSlot]protocol.VerifiedRecord
	names    map[protocol.Key]string       // by device
	blocked  map[protocol.Key]bool         // identities hidden on this node
	verified map[protocol.Key]verifiedMark // identities that were compared
	guests   map[protocol.Key]protocol.Key // devices that certificates in hellos brought, and whose they are
	buckets  map[string]*rate.Limiter      // by device, or by peer where the device is no member's
	grants   *rate.Limiter                 // admissions by this node
	lobbies  map[protocol.ID]protocol.Secret
	met      map[protocol.ID]bool // invites for somebody whom this person met in a room
	digest   digestCache
	acts     actState
	failed   bool      // an append was refused: what was admitted with it is not stored
	losses   uint64    // log.Failures when the state was last known to fit the log
	synced   time.Time // when nothing was missing here that a member had
	paged    bool      // the newest messages came, and what is older is on its way

	making    sync.Mutex    // held while a prekey is made
	restoring sync.Mutex    // held while bodies are put back
	restored  atomic.Uint64 // bodies that were

	contacts contacts // has a mutex of its own
	frontier frontier

	topics  topics
	says    sayings
	out     outbox
	stirred atomic.Int64       // when gossip carried a message last, in Unix nanoseconds
	mending map[peer.ID][]lack // what who brought what follows it will be asked for
	kick    chan struct{}      // wakes the keeper
	fetch   chan struct{}      // holds the one transfer that runs
	fetched atomic.Uint64      // events that transfers have brought
	ask     chan struct{}      // holds the one search for keys that the keeper runs
	// askTurn says whom that asks. Who holds ask may change it.
	askTurn int
}

// roomMeta is what a room cannot derive from its events.
type roomMeta struct {
	Tag     [32]byte          `cbor:"1,keyasint"` // what this account's identity in the group is derived from
	Secrets []protocol.Secret `cbor:"3,keyasint"` // rendezvous secrets, the newest first
	Name    string            `cbor:"5,keyasint"` // the group's name until the event that says it is here
	// Device is mixed into this device's key in the group, once another was in use
	// beside it; see cloned.
	Device protocol.Secret `cbor:"7,keyasint,omitzero"`
	// Window is how far back messages are fetched unasked, in seconds; 0 is all of them.
	Window uint64 `cbor:"21,keyasint,omitzero"`
	// Silent says that this device does not tell what it has stored.
	Silent bool `cbor:"11,keyasint,omitempty"`
	// Owed is about how many messages are here without a body that they ought to have.
	Owed uint64 `cbor:"23,keyasint,omitzero"`
}

type recordSlot struct {
	dev  protocol.Key
	kind protocol.RecordType
}

// loadRoom opens a group from the store.
func (n *Node) loadRoom(ctx context.Context, key string, value []byte) (*room, error) {
	group, err := protocol.ParseID(protocol.GroupPrefix, key)
	if err != nil {
		return nil, err
	}
	var meta roomMeta
	if err := cbor.Unmarshal(value, &meta); err != nil {
		return nil, fmt.Errorf("what is stored about it is damaged: %w", err)
	}
	return n.openRoom(ctx, group, meta)
}

func (n *Node) openRoom(ctx context.Context, group protocol.ID, meta roomMeta) (*room, error) {
	log, err := n.store.Room(ctx, group)
	if err != nil {
		return nil, err
	}
	recent, err := simplelru.NewLRU[protocol.ID, uint64](recentIDs, nil)
	if err != nil {
		return nil, err
	}
	spared, err := simplelru.NewLRU[pair, bool](sparedPairs, nil)
	if err != nil {
		return nil, err
	}
	surplus, err := simplelru.NewLRU[protocol.ID, struct{}](surplusIDs, nil)
	if err != nil {
		return nil, err
	}
	r := &room{
		n: n, group: group, spared: spared, surplus: surplus, bodiless: make(map[protocol.ID]bool), log: log, meta: meta,
		set: protocol.NewSet(group), parked: newParking(), recent: recent,
		keys: newKeys(group, n.account.Identity(meta.Tag).Root()), chunks: newChunkIndex(), records: make(map[recordSlot]protocol.VerifiedRecord),
		names: make(map[protocol.Key]string), guests: make(map[protocol.Key]protocol.Key), buckets: make(map[string]*rate.Limiter),
		grants: rate.NewLimiter(grantsPerSecond, grantsBurst), lobbies: make(map[protocol.ID]protocol.Secret), met: make(map[protocol.ID]bool), mending: make(map[peer.ID][]lack),
		kick: make(chan struct{}, 1), fetch: make(chan struct{}, 1), ask: make(chan struct{}, 1),
	}
	r.losses, _ = log.Failures()
	account := n.account
	if !meta.Device.IsZero() {
		account = account.On(meta.Device)
	}
	r.me.be(account.Identity(meta.Tag))
	return r, r.restore(ctx)
}

// restore reads back what the room derives its state from.
func (r *room) restore(ctx context.Context) error {
	control, err := r.log.Control(ctx)
	if err != nil {
		return err
	}
	r.fill(r.set, control)
	newest, _, err := r.log.Newest(ctx, 1, storage.Position{})
	if err := r.readable(err); err != nil {
		return err
	}
	for _, e := range newest {
		r.clock.Observe(e.Event.Header().HLC, r.n.now())
	}
	if err := errors.Join(r.loadSecrets(ctx), r.loadPrekeys(ctx), r.loadChunks(ctx)); err != nil {
		return err
	}
	records, err := r.log.Records(ctx)
	if err != nil {
		return err
	}
	for _, rec := range records {
		r.keepRecord(rec)
	}
	r.frontier.heard = nil // who asks for receipts compares them
	if err := errors.Join(r.loadDocket(ctx), r.loadShelves(ctx), r.loadKeep(ctx)); err != nil {
		return err
	}
	if err := r.loadBlocked(ctx); err != nil {
		return err
	}
	if err := r.loadVerified(ctx); err != nil {
		return err
	}
	return errors.Join(r.loadContacts(ctx), r.loadActs(ctx))
}

// fill puts stored control events into a set. One that does not fit, because the
// entry of what it cites is damaged, is left out rather than the whole group.
func (r *room) fill(set *protocol.Set, control []storage.Entry) {
	for _, e := range control {
		if err := set.Restore(e.Event); err != nil {
			r.n.log.Error("a stored control event is left out", "event", e.Event.ID(), "err", err)
		}
	}
}

// saveMeta stores what the room cannot derive. The caller holds mu.
func (r *room) saveMeta(ctx context.Context) error {
	b, err := cbor.Marshal(r.meta)
	if err != nil {
		return err
	}
	return r.n.store.Put(ctx, spaceRooms, r.group.Text(protocol.GroupPrefix), b)
}

// addRoom takes a room into the node and starts what it needs.
func (n *Node) addRoom(r *room) {
	n.mu.Lock()
	n.rooms[r.group] = r
	n.mu.Unlock()
	r.start()
}

// start listens on the room's topics and keeps it in step with its members.
func (r *room) start() {
	r.listen()
	r.n.spawn(r.keep)
	r.n.spawn(r.sweepLoop)
	r.n.spawn(r.attend)
}

func (n *Node) allRooms() []*room {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := make([]*room, 0, len(n.rooms))
	for _, r := range n.rooms {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b *room) int { return a.group.Compare(b.group) })
	return out
}

func (n *Node) room(group protocol.ID) (*room, error) {
	if err := n.alive(); err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if r := n.rooms[group]; r != nil {
		return r, nil
	}
	return nil, fmt.Errorf("%w: %s", ErrUnknownGroup, group.Text(protocol.GroupPrefix))
}

// isMember says whether a device is in the roster now, relays included.
func (r *room) isMember(dev protocol.Key) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.current().Owner(dev)
	return ok || r.guest(dev)
}

// current returns the roster of the set as it stands. The caller holds mu.
func (r *room) current() *protocol.Roster {
	if r.roster == nil {
		r.roster = protocol.Eval(r.set)
	}
	r.roster.Extend()
	return r.roster
}

// rendezvous returns the secrets the group is met by, the one in use first, then the
// newest.
func (r *room) rendezvous() []protocol.Secret {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.arrange())
}

// settle does what follows from an intake once its events are on the way to the
// disk: pubsub sees new members, followers of the roster are told, news spread.
func (r *room) settle(in intake) {
	if in.control {
		r.listen()
		for _, p := range r.n.peers.in(r.group) {
			r.n.refreshGate(p)
		}
		r.n.disc.refresh()
		r.refreshProfile()
	}
	switch {
	case in.stored == 0:
	case in.gossip && !in.control:
		r.stir()
	default:
		r.poke()
	}
}

// poke makes the keeper look at once.
func (r *room) poke() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// digestCache remembers the digests of what the room holds.
type digestCache struct {
	cursor uint64
	stamp  int
	damage uint64 // what was damaged
	untold uint64 // what others are not told of
	valid  bool
	open   protocol.Open
	fresh  bool // records are unchanged
	set    *protocol.Set
	events int // in the set, by which there are other members
}

// open is the first frame of a sync: the digests of what the room holds.
func (r *room) open() protocol.Open {
	cursor := r.log.Cursor() // before Tips: what comes between makes the cache stale, not wrong
	r.mu.Lock()
	defer r.mu.Unlock()
	d, events, damage := &r.digest, r.set.Len(), r.log.Damages()
	d.open.Group = r.group
	late := r.untold.late || d.untold != r.untold.version || d.damage != damage || len(r.untold.damaged) > 0
	if stamp := r.current().Stamp(); !d.valid || d.cursor != cursor || d.stamp != stamp || d.set != r.set || d.events != events || late {
		d.open.Control, d.cursor, d.stamp, d.damage, d.valid = protocol.DigestTips(r.tips()), cursor, stamp, damage, true
		if err := r.sumUp(&d.open); err != nil {
			r.n.log.Error("what is held cannot be summed up", "err", err)
			d.valid = false
		}
		d.untold = r.untold.version
	}
	if !d.fresh || d.set != r.set || d.events != events {
		d.open.Records = protocol.DigestRecords(r.recordKeys())
		d.fresh, d.set, d.events = true, r.set, events
	}
	return d.open
}

// sumUp counts the messages that others are told of. The caller holds mu.
func (r *room) sumUp(o *protocol.Open) error {
	r.refreshUntold()
	return r.log.Messages(r.n.ctx, func(set reconcile.Set) error {
		sum, err := set.Sum(0, set.Len())
		for _, it := range r.untold.items {
			sum = sum.Minus(reconcile.SumOf(it.ID))
		}
		o.Count, o.Sum = uint64(set.Len()-len(r.untold.items)), sum.Bytes()
		return err
	})
}

// whole stands for all that the room holds, to compare with what a peer last agreed to.
func (r *room) whole() protocol.ID { return r.open().Digest() }

// recordKeys returns the keys of the members' records in order: those of who has gone
// are kept for their names, and a newcomer does not take them. The caller holds mu.
func (r *room) recordKeys() []protocol.RecordKey {
	out := make([]protocol.RecordKey, 0, len(r.records))
	for slot, rec := range r.records {
		if _, ok := r.current().Owner(slot.dev); ok {
			out = append(out, rec.Key())
		}
	}
	slices.SortFunc(out, protocol.RecordKey.Compare)
	return out
}
