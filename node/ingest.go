package node

import (
	"cmp"
	"context"
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
	waits   []waiting       // that wait for, or follow, what is not here
	again   bool            // that was refused as surplus, and is not any more
	control bool            // the roster may have changed
	gossip  bool            // gossip brought them, so that others have them as well
	commit  *storage.Commit // nil where there was nothing to store
}

// failure returns why what was admitted is not stored, as far as that is known already.
func (in *intake) failure() error {
	if in.commit == nil || !in.commit.Failed() {
		return nil
	}
	return in.commit.Wait(context.Background())
}

// unfit says whether the log refuses an event for what it is, such as one more branch of
// a fork than it keeps, and not because of the disk.
func unfit(err error) bool {
	return errors.Is(err, storage.ErrForked) || errors.Is(err, storage.ErrHoles) || errors.Is(err, storage.ErrGap)
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
	return r.storeBy(r.log.Append, events)
}

func (r *room) storeBy(store func([]protocol.Verified) *storage.Commit, events []protocol.Verified) *storage.Commit {
	r.noteAbouts(events)
	commit := store(events)
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
	losses, _ := r.log.Failures()
	if !r.failed && losses == r.losses {
		return nil
	}
	// What is on its way has arrived then, or failed: the log shows which. Whoever asks
	// hears by their own write whether the disk is still full.
	if err := r.log.Append(nil).Wait(r.n.ctx); err != nil && !errors.Is(err, storage.ErrNotStored) {
		return fmt.Errorf("after a write that failed: %w", err)
	}
	control, err := r.log.Control(r.n.ctx)
	if err != nil {
		return fmt.Errorf("after a write that failed: %w", err)
	}
	set := protocol.NewSet(r.group)
	r.fill(set, control)
	r.set, r.roster, r.failed, r.losses = set, nil, false, losses
	r.untold.by = nil // another roster may have the number of the one before
	r.surplus.Purge()
	r.recent.Purge()
	return nil
}

// ingest is the only door: what a person wrote, what gossip brought and what sync
// fetched is admitted here, and stored in one order. It does not wait for the disk.
func (r *room) ingest(from peer.ID, events []protocol.Verified) intake {
	r.mu.Lock()
	defer r.mu.Unlock()
	in := r.takeIn(from, events)
	if len(events) > 1 && unfit(in.failure()) {
		// The log refuses one of them, and with it all. One by one the others come in; what
		// cites that one waits.
		in = intake{known: in.known, again: in.again, control: in.control}
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

// add sums up; the last commit stands for those before it, unless one has failed.
func (in *intake) add(o intake) {
	in.refused += o.refused
	in.unheard += o.unheard
	in.stored += o.stored
	in.waits = append(in.waits, o.waits...)
	in.again = in.again || o.again
	in.control = in.control || o.control
	if err := o.failure(); o.commit != nil && !unfit(err) && in.failure() == nil {
		in.commit = o.commit
	}
}

// takeIn admits events and appends those that may be stored. The caller holds mu.
func (r *room) takeIn(from peer.ID, events []protocol.Verified) intake {
	var in intake
	err := r.refit()
	if err == nil {
		err = r.log.Ready(r.n.ctx)
	}
	if err != nil {
		r.n.log.Error("events are left to a later sync", "err", err)
		in.commit = storage.Failed(err)
		return in
	}
	q := &admission{
		queue: slices.Clip(events), accepted: make([]protocol.Verified, 0, len(events)),
		before: make(map[protocol.ID]bool, len(events)), rules: r.rules(),
	}
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
		switch wait, err := r.admit(v, q); {
		case errors.Is(err, errDuplicate):
			in.known++
		case silenced(err) && r.leadsOn(v, q):
			r.accept(v, q)
		case silenced(err):
			in.refuse(v, events, err)
			r.links.add(v, r.n.now())
			q.queue = append(q.queue, r.parked.take(v.ID())...) // they may count
		case err != nil:
			in.refuse(v, events, err)
			r.n.log.Debug("event refused", "group", r.group.Text(protocol.GroupPrefix), "err", err)
		case !wait.IsZero():
			in.waits = append(in.waits, waiting{v, wait})
			r.parked.add(from, wait, v, r.n.now())
		default:
			r.accept(v, q)
		}
	}
	in.waits = append(in.waits, q.waits...)
	in.control, in.again = q.control, r.neededAfterAll()
	if len(q.accepted) > 0 {
		in.commit = r.storeBy(r.log.Receive, q.accepted)
		if err := in.failure(); err == nil {
			in.stored = len(q.accepted)
		} else if unfit(err) && len(events) == 1 {
			in.refused, in.unheard = in.refused+1, in.unheard+1
		}
	}
	return in
}

// admission is a run of takeIn.
type admission struct {
	queue    []protocol.Verified
	accepted []protocol.Verified
	rules    rules
	before   map[protocol.ID]bool // what accepted messages follow
	waits    []waiting            // messages that follow what is not here
	control  bool
}

// accept stores an event, and the messages that do not count and lead to it: its chain
// goes on through them, so they are stored, and not shown.
func (r *room) accept(v protocol.Verified, q *admission) {
	for _, b := range r.links.back(v.Header().Prev) {
		r.acceptOne(b, q)
	}
	r.acceptOne(v, q)
}

func (r *room) acceptOne(v protocol.Verified, q *admission) {
	r.links.remove(v.ID())
	r.remember(v)
	q.accepted = append(q.accepted, q.rules.strip(v))
	q.queue = append(q.queue, r.parked.take(v.ID())...)
	if v.Header().Chain == protocol.Control {
		q.control = true
	} else {
		q.before[v.Header().Prev] = true
		r.owes(v)
	}
}

// leadsOn says whether a message that does not count is to be stored all the same: one
// that counts and is stored comes after it on its chain.
func (r *room) leadsOn(v protocol.Verified, q *admission) bool {
	return q.before[v.ID()] || r.log.Wanted(v.Tip()) && r.tellsOf(v)
}

// relink takes in the messages that were kept as not counting and that others which
// were stored meanwhile lead back to. The caller has waited for those.
func (r *room) relink() *storage.Commit {
	r.mu.Lock()
	var list []protocol.Verified
	if len(r.links.events) > 0 {
		for _, e := range r.links.events {
			if r.log.Wanted(e.event.Tip()) {
				list = append(list, e.event)
			}
		}
	}
	r.mu.Unlock()
	if len(list) == 0 {
		return nil
	}
	in := r.ingest("", list)
	r.settle(in)
	return in.commit
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
func (r *room) admit(v protocol.Verified, q *admission) (wait protocol.ID, err error) {
	if r.recent.Contains(v.ID()) {
		return wait, errDuplicate
	}
	if v.Header().Chain == protocol.Control {
		wait, err = r.admitControl(v)
	} else {
		err = r.admitMessage(v, q)
		wait, err = waitFor(err)
	}
	if v.Header().Dev == r.me.Dev() && (err == nil || silenced(err)) && !r.spoiled(v) {
		r.cloned(v)
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
	if err != nil && errors.As(err, &missing) {
		return missing.IDs[0], nil
	}
	return protocol.ID{}, err
}

// admitMessage says whether a message counts. What it follows need not be here: who
// joins reads the newest page first, and the store keeps the hole.
func (r *room) admitMessage(v protocol.Verified, q *admission) error {
	h := v.Header()
	end, _ := r.log.Tip(h.Dev, h.Chain)
	if h.Seq <= end.Seq && !r.log.Free(h.Dev, h.Seq) {
		if here, err := r.log.Has(r.n.ctx, v.ID()); err != nil || here {
			return cmp.Or(err, errDuplicate)
		}
	}
	if _, err := r.judge(v); err != nil {
		return err
	}
	if h.Seq == 1 || h.Prev == end.ID || r.recent.Contains(h.Prev) || r.links.has(h.Prev) {
		return nil
	}
	here, err := false, error(nil)
	if !r.log.Free(h.Dev, h.Seq-1) { // as it is where frames of one device overtake each other
		here, err = r.log.Has(r.n.ctx, h.Prev)
	}
	if err == nil && !here {
		q.waits = append(q.waits, waiting{v, h.Prev})
	}
	return err
}
