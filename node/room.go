package node

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/time/rate"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

// room is one group on this node: its control set, its keys, and the one door by
// which events come in.
type room struct {
	n     *Node
	group protocol.ID
	me    protocol.Identity
	log   *storage.Room

	mu     sync.Mutex
	meta   roomMeta
	set    *protocol.Set
	roster *protocol.Roster // nil where the set is another; see current
	clock  protocol.Clock
	keys   keyring
	chunks chunkIndex
	turned []rotation // epochs that were started here and are not announced yet
	turn   time.Time  // when this node starts an epoch, if none is fit by then; zero if one is
	docket docket
	abouts map[storage.Target]bool // messages that retractions and others are about
	parked *parking
	links  links
	// bodiless are messages that somebody looked at and of which there is an erased
	// copy only, though nothing says that they should be erased.
	bodiless map[protocol.ID]bool
	counted  counted
	spared   *simplelru.LRU[pair, bool]
	recent   *simplelru.LRU[protocol.ID, uint64] // and their times
	records  map[recordSlot]protocol.VerifiedRecord
	names    map[protocol.Key]string  // by device
	blocked  map[protocol.Key]bool    // identities hidden on this node
	buckets  map[string]*rate.Limiter // by device, or by peer where the device is no member's
	grants   *rate.Limiter            // admissions by this node
	lobbies  map[protocol.ID]protocol.Secret
	digest   digestCache
	acts     actState
	failed   bool      // an append was refused: what was admitted with it is not stored
	losses   uint64    // log.Failures when the state was last known to fit the log
	synced   time.Time // when nothing was missing here that a member had

	topics topics
	kick   chan struct{} // wakes the keeper
	fetch  chan struct{} // holds the one transfer that runs
	ask    chan struct{} // holds the one search for keys that the keeper runs
	// askTurn says whom that asks. Who holds ask may change it.
	askTurn int
}

// roomMeta is what a room cannot derive from its events.
type roomMeta struct {
	Tag     [32]byte          `cbor:"1,keyasint"` // what this account's identity in the group is derived from
	Secrets []protocol.Secret `cbor:"3,keyasint"` // rendezvous secrets, the newest first
	Name    string            `cbor:"5,keyasint"` // the group's name until the event that says it is here
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
	r := &room{
		n: n, group: group, spared: spared, bodiless: make(map[protocol.ID]bool), me: n.account.Identity(meta.Tag), log: log, meta: meta,
		set: protocol.NewSet(group), parked: newParking(), recent: recent,
		keys: newKeyring(), chunks: newChunkIndex(), records: make(map[recordSlot]protocol.VerifiedRecord),
		names: make(map[protocol.Key]string), buckets: make(map[string]*rate.Limiter),
		grants: rate.NewLimiter(grantsPerSecond, grantsBurst), lobbies: make(map[protocol.ID]protocol.Secret),
		losses: log.Failures(), kick: make(chan struct{}, 1), fetch: make(chan struct{}, 1), ask: make(chan struct{}, 1),
	}
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
	if err != nil {
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
	if err := r.loadDocket(ctx); err != nil {
		return err
	}
	if err := r.loadBlocked(ctx); err != nil {
		return err
	}
	return r.loadActs(ctx)
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
	return ok
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

// intake says what became of events that came in.
type intake struct {
	stored  int
	refused int
	gap     bool            // something waits for an event that is not here
	control bool            // the roster may have changed
	commit  *storage.Commit // nil where nothing was stored
}

// append stores what was admitted. Where the log refuses, the room forgets that it
// admitted: messages at once, control events when it looks at the log again. The
// caller holds mu and has called refit.
func (r *room) append(events ...protocol.Verified) *storage.Commit {
	r.noteAbouts(events)
	commit := r.log.Append(events)
	if commit.Failed() {
		for _, v := range events {
			r.recent.Remove(v.ID())
			r.failed = r.failed || v.Header().Chain == protocol.Control
		}
	}
	return commit
}

// refit makes the room's state fit the log again after a write failed: the set and
// the memory of recent events hold what the disk does not. The caller holds mu.
func (r *room) refit() error {
	losses := r.log.Failures()
	if !r.failed && losses == r.losses {
		return nil
	}
	// What is on its way has arrived then, or failed.
	if err := r.log.Append(nil).Wait(r.n.ctx); err != nil {
		return fmt.Errorf("after a write that failed: %w", err)
	}
	control, err := r.log.Control(r.n.ctx)
	if err != nil {
		return fmt.Errorf("after a write that failed: %w", err)
	}
	set := protocol.NewSet(r.group)
	r.fill(set, control)
	r.set, r.roster, r.failed, r.losses = set, nil, false, losses
	r.recent.Purge()
	return nil
}

// ingest is the only door: what a person wrote, what gossip brought and what sync
// fetched is admitted here, and stored in one order. It does not wait for the disk.
func (r *room) ingest(from peer.ID, events []protocol.Verified) intake {
	r.mu.Lock()
	defer r.mu.Unlock()
	in := r.takeIn(from, events)
	if len(events) > 1 && in.commit != nil && in.commit.Failed() {
		// The log refuses one of them, such as one more branch of a fork than it keeps,
		// and with it all. One by one the others come in; what cites that one waits.
		for _, v := range events {
			one := r.takeIn(from, []protocol.Verified{v})
			in.add(one)
		}
	}
	return in
}

// refuse counts what is refused of the events handed in: what waited here before is no
// fault of theirs.
func (in *intake) refuse(v protocol.Verified, events []protocol.Verified) {
	if slices.ContainsFunc(events, func(e protocol.Verified) bool { return e.ID() == v.ID() }) {
		in.refused++
	}
}

// add sums up; the last commit stands for those before it.
func (in *intake) add(o intake) {
	in.refused += o.refused
	in.stored += o.stored
	in.gap = in.gap || o.gap
	in.control = in.control || o.control
	if o.commit != nil && !o.commit.Failed() {
		in.commit = o.commit
	}
}

// takeIn admits events and appends those that may be stored. The caller holds mu.
func (r *room) takeIn(from peer.ID, events []protocol.Verified) intake {
	var in intake
	if err := r.refit(); err != nil {
		r.n.log.Error("events are left to a later sync", "err", err)
		in.refused = len(events)
		return in
	}
	q := &admission{queue: slices.Clone(events), ahead: make(map[chainKey]protocol.Tip)}
	stamp := r.current().Stamp()
	for {
		if len(q.queue) == 0 && stamp != r.current().Stamp() {
			stamp, q.queue = r.current().Stamp(), r.links.drain() // they may count now
		}
		if len(q.queue) == 0 {
			break
		}
		v := q.queue[0]
		q.queue = q.queue[1:]
		switch wait, err := r.admit(v, q.ahead); {
		case errors.Is(err, errDuplicate):
		case silenced(err):
			in.refuse(v, events)
			r.links.add(v, r.n.now())
			q.queue = append(q.queue, r.parked.take(v.ID())...) // they may count
		case err != nil:
			in.refuse(v, events)
			r.n.log.Debug("event refused", "group", r.group.Text(protocol.GroupPrefix), "err", err)
		case r.leadsOn(v, wait, q):
		case !wait.IsZero():
			in.gap = true
			r.parked.add(from, wait, v, r.n.now())
		default:
			r.accept(v, q)
		}
	}
	in.control = q.control
	if len(q.accepted) > 0 {
		in.stored = len(q.accepted)
		in.commit = r.append(q.accepted...)
	}
	return in
}

// admission is a run of takeIn.
type admission struct {
	queue    []protocol.Verified
	accepted []protocol.Verified
	ahead    map[chainKey]protocol.Tip // where chains end once accepted is appended
	control  bool
}

func (r *room) accept(v protocol.Verified, q *admission) {
	q.accepted = append(q.accepted, v)
	key := tip(v.Tip()).key()
	end, ok := q.ahead[key]
	if !ok {
		end, _ = r.log.Tip(key.dev, key.chain)
	}
	if v.Header().Seq > end.Seq { // a shorter branch leaves the chain's end where it is
		q.ahead[key] = v.Tip()
	}
	q.queue = append(q.queue, r.parked.take(v.ID())...)
	q.control = q.control || v.Header().Chain == protocol.Control
}

// leadsOn takes in a message that waits for ones which do not count: its chain goes
// on through them, so they are stored, and not shown.
func (r *room) leadsOn(v protocol.Verified, wait protocol.ID, q *admission) bool {
	h := v.Header()
	if h.Chain != protocol.Messages || wait.IsZero() || wait != h.Prev {
		return false
	}
	before := r.links.back(wait)
	if len(before) == 0 {
		return false
	}
	// Who forked their chain may go on after the branch that others do not have.
	if wait, err := r.admitBranch(before[0]); err != nil || !wait.IsZero() {
		return false
	}
	if _, err := r.judge(v); err != nil {
		return false
	}
	for _, b := range append(before, v) {
		r.links.remove(b.ID())
		r.remember(b)
		r.accept(b, q)
	}
	return true
}

// remember notes that an event was admitted. The caller holds mu.
func (r *room) remember(v protocol.Verified) {
	r.recent.Add(v.ID(), v.Header().HLC)
	r.clock.Observe(v.Header().HLC, r.n.now())
}

var errDuplicate = errors.New("already here")

// admit says whether an event may be stored now. Where it has to wait, it names
// the event it waits for. The caller holds mu and appends what was admitted.
func (r *room) admit(v protocol.Verified, ahead map[chainKey]protocol.Tip) (wait protocol.ID, err error) {
	if r.recent.Contains(v.ID()) {
		return wait, errDuplicate
	}
	if v.Header().Chain == protocol.Control {
		wait, err = r.admitControl(v)
	} else {
		wait, err = r.admitMessage(v, ahead)
	}
	if err == nil && wait.IsZero() {
		r.remember(v)
	}
	return wait, err
}

func (r *room) admitControl(v protocol.Verified) (wait protocol.ID, err error) {
	if r.set.Has(v.ID()) {
		return wait, errDuplicate
	}
	if !v.Whole() {
		return wait, fmt.Errorf("event %s: a copy with parts left out", v.ID())
	}
	if err := r.set.Add(v); err != nil {
		return waitFor(err)
	}
	r.learnKeys(v)
	return wait, nil
}

// waitFor turns a missing reference into what to wait for.
func waitFor(err error) (protocol.ID, error) {
	var missing *protocol.MissingError
	if errors.As(err, &missing) {
		return missing.IDs[0], nil
	}
	return protocol.ID{}, err
}

func (r *room) admitMessage(v protocol.Verified, ahead map[chainKey]protocol.Tip) (wait protocol.ID, err error) {
	h := v.Header()
	end, ok := ahead[chainKey{h.Dev, h.Chain}]
	if !ok {
		end, ok = r.log.Tip(h.Dev, h.Chain)
	}
	switch {
	case h.Seq == end.Seq+1 && h.Prev == end.ID:
		// It extends the chain, or begins it.
	case !ok, h.Seq > end.Seq+1:
		wait = h.Prev
	default:
		if wait, err = r.admitBranch(v); err != nil {
			return wait, err
		}
	}
	if !wait.IsZero() {
		if _, err := r.judge(v); silenced(err) && r.links.has(wait) {
			return protocol.ID{}, err // one more that does not count
		}
		return wait, nil
	}
	if _, err := r.judge(v); err != nil {
		return waitFor(err)
	}
	return wait, nil
}

// admitBranch handles an event at or before a chain's end: a duplicate, or a
// branch of a fork, which is kept as well.
func (r *room) admitBranch(v protocol.Verified) (wait protocol.ID, err error) {
	switch _, err := r.log.Get(r.n.ctx, v.ID()); {
	case err == nil:
		return wait, errDuplicate
	case !errors.Is(err, storage.ErrNotFound):
		return wait, err
	}
	if h := v.Header(); h.Seq > 1 && !r.recent.Contains(h.Prev) {
		if _, err := r.log.Get(r.n.ctx, h.Prev); errors.Is(err, storage.ErrNotFound) {
			return h.Prev, nil
		} else if err != nil {
			return wait, err
		}
	}
	return wait, nil
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
	if in.stored > 0 {
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

// digestCache remembers the digest of what the room holds.
type digestCache struct {
	cursor  uint64
	stamp   int
	valid   bool
	tips    protocol.ID
	records protocol.ID
	fresh   bool // records are unchanged
	set     *protocol.Set
	events  int // in the set, by which there are other members
}

// digests returns the digests of all tips and of all records.
func (r *room) digests() (tips, records protocol.ID) {
	cursor := r.log.Cursor() // before Tips: what comes between makes the cache stale, not wrong
	r.mu.Lock()
	defer r.mu.Unlock()
	if stamp := r.current().Stamp(); !r.digest.valid || r.digest.cursor != cursor || r.digest.stamp != stamp {
		r.digest.tips, r.digest.cursor, r.digest.stamp, r.digest.valid = protocol.DigestTips(r.tips()), cursor, stamp, true
	}
	if events := r.set.Len(); !r.digest.fresh || r.digest.set != r.set || r.digest.events != events {
		r.digest.records = protocol.DigestRecords(r.recordKeys())
		r.digest.fresh, r.digest.set, r.digest.events = true, r.set, events
	}
	return r.digest.tips, r.digest.records
}

// whole is both digests as one, to compare with what a peer last agreed to.
func (r *room) whole() protocol.ID {
	tips, records := r.digests()
	return protocol.ID(sha256.Sum256(append(tips[:], records[:]...)))
}

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
