package node

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

// intake says what became of events that came in.
type intake struct {
	stored  int
	known   int // were here already
	refused int
	unheard int             // of those refused: right, and not to be kept now
	waits   []waiting       // of those handed in
	gap     bool            // something waits for an event that is not here
	again   bool            // that was refused as surplus, and is not any more
	control bool            // the roster may have changed
	commit  *storage.Commit // nil where nothing was stored
}

// waiting is an event that waits for another.
type waiting struct {
	event protocol.Verified
	wait  protocol.ID
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
		in = intake{known: in.known, gap: in.gap, again: in.again, control: in.control}
		for _, v := range events {
			one := r.takeIn(from, []protocol.Verified{v})
			in.add(one)
		}
	}
	return in
}

// refuse counts what is refused of the events handed in: what waited here before is no
// fault of theirs.
func (in *intake) refuse(v protocol.Verified, events []protocol.Verified, err error) {
	if slices.ContainsFunc(events, func(e protocol.Verified) bool { return e.ID() == v.ID() }) {
		in.refused++
		if silenced(err) || errors.Is(err, errSurplus) {
			in.unheard++
		}
	}
}

// add sums up; the last commit stands for those before it.
func (in *intake) add(o intake) {
	in.refused += o.refused
	in.unheard += o.unheard
	in.stored += o.stored
	in.waits = append(in.waits, o.waits...)
	in.gap = in.gap || o.gap
	in.again = in.again || o.again
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
	q := &admission{queue: slices.Clone(events), ahead: make(map[chainKey]protocol.Tip), rules: r.rules()}
	stamp := r.current().Stamp()
	r.set.Prove(events, rand.Reader)
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
			in.known++
		case silenced(err):
			in.refuse(v, events, err)
			r.links.add(v, r.n.now())
			q.queue = append(q.queue, r.parked.take(v.ID())...) // they may count
		case err != nil:
			in.refuse(v, events, err)
			r.n.log.Debug("event refused", "group", r.group.Text(protocol.GroupPrefix), "err", err)
		case r.leadsOn(v, wait, q):
		case !wait.IsZero():
			in.gap = true
			in.waits = append(in.waits, waiting{v, wait})
			r.parked.add(from, wait, v, r.n.now())
		default:
			r.accept(v, q)
		}
	}
	in.control, in.again = q.control, r.neededAfterAll()
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
	rules    rules
	control  bool
}

func (r *room) accept(v protocol.Verified, q *admission) {
	q.accepted = append(q.accepted, q.rules.strip(v))
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
	now := r.n.now()
	r.clock.Observe(v.Header().HLC, now)
	if v.Header().Dev != r.me.Dev() {
		r.n.steady.confirm(v.Header().HLC, now)
	}
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
	if v.Header().Dev == r.me.Dev() && (err == nil || silenced(err)) {
		r.cloned(v)
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
	if r.isSurplus(v) {
		return wait, errSurplus
	}
	if err := r.set.Add(v); err != nil {
		return waitFor(err)
	}
	r.surplus.Remove(v.ID())
	r.learnKeys(v)
	return wait, nil
}

var errSurplus = errors.New("enough of its kind that nobody cites is here")

// isSurplus says whether a control event is one too many of a crowd, or follows one on
// its chain, and nothing that waits here needs it. It remembers which are, so that they
// are not asked for again.
func (r *room) isSurplus(v protocol.Verified) bool {
	if stamp := r.current().Stamp(); stamp != r.surplusStamp {
		r.surplusStamp = stamp
		r.surplus.Purge() // they may count now
	}
	if !r.current().Surplus(v) && !r.surplus.Contains(v.Header().Prev) || r.needed(v.ID()) {
		return false
	}
	r.surplus.Add(v.ID(), struct{}{})
	return true
}

// neededAfterAll forgets which refused events something has come to wait for since, and
// says whether there are any: they are to be asked for again.
func (r *room) neededAfterAll() (some bool) {
	if r.surplus.Len() == 0 {
		return false
	}
	for id := range r.parked.waiting {
		if r.surplus.Contains(id) && r.needed(id) {
			r.surplus.Remove(id)
			some = true
		}
	}
	return some
}

// needed says whether something waits for an event that everybody needs who is to
// hear it.
func (r *room) needed(id protocol.ID) bool {
	return slices.ContainsFunc(r.parked.waiting[id], func(e parkedEvent) bool {
		return r.current().Draws(e.event) || r.needed(e.event.ID())
	})
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
