package syncsim

import (
	"errors"
	"slices"
	"time"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/protocol/reconcile"
)

// replica is what one installation holds.
type replica struct {
	w      *world
	n      int
	id     protocol.Identity
	clock  protocol.Clock
	skew   int64 // how far its clock is off, in milliseconds
	side   int   // of the part it is in
	asleep bool
	giver  []*replica // who let it in, and who gave it another rank
	denied bool       // somebody did something about its place

	log     []protocol.Verified // what it holds, as it came: the disk
	durable int                 // so much of the log survives a kill
	set     *protocol.Set
	roster  *protocol.Roster
	said    map[protocol.ID]protocol.Verified // the messages
	loose   []protocol.Verified               // what waits for control events, in memory
	inbox   []protocol.Verified               // what gossip is bringing
	ctl     protocol.Tip
	msg     protocol.Tip

	counted countedSet
}

// countedSet is the messages that are reconciled, as long as nothing changes.
type countedSet struct {
	stamp, held int
	set         *reconcile.Vector
}

func (w *world) newReplica(tag protocol.ID) *replica {
	account := protocol.Account{Seed: w.secret(), Device: w.secret()}
	r := &replica{w: w, n: len(w.replicas), id: account.Identity(tag), skew: w.skew()}
	r.ctl = protocol.Tip{Dev: r.id.Dev(), Chain: protocol.Control}
	r.msg = protocol.Tip{Dev: r.id.Dev(), Chain: protocol.Messages}
	w.replicas = append(w.replicas, r)
	return r
}

// begin makes a replica of nothing but the genesis.
func (r *replica) begin(genesis protocol.Verified) {
	r.log, r.durable = []protocol.Verified{genesis}, 1
	r.open()
}

// open reads the log, as a program does that starts.
func (r *replica) open() {
	r.set, r.said, r.loose, r.inbox = protocol.NewSet(r.w.group), make(map[protocol.ID]protocol.Verified), nil, nil
	r.clock, r.counted = protocol.Clock{}, countedSet{}
	for _, v := range r.log {
		if v.Header().Chain == protocol.Messages {
			r.said[v.ID()] = v
		} else if err := r.set.Restore(v); err != nil {
			r.w.fail("replica %d cannot read its log: %v", r.n, err)
		}
		r.clock.Observe(v.Header().HLC, r.time())
	}
	r.roster = protocol.Eval(r.set)
}

// kill ends the program at once: what came and is not on disk yet is gone.
func (r *replica) kill() {
	if r.set == nil {
		return
	}
	keep := r.durable + r.w.dice.IntN(len(r.log)-r.durable+1)
	r.w.tally.Kills++
	r.w.tally.Forgotten += len(r.log) - keep
	r.log = r.log[:keep:keep]
	r.durable = keep
	r.open()
}

func (r *replica) time() time.Time { return time.UnixMilli(int64(r.w.now) + r.skew) }

func (r *replica) hlc() uint64 { return r.clock.Next(r.time()) }

func (r *replica) reaches(o *replica) bool {
	return r != o && !r.asleep && !o.asleep && r.side == o.side && r.set != nil && o.set != nil
}

// counts says whether another replica belongs, as this one sees it.
func (r *replica) counts(o *replica) bool {
	_, ok := r.roster.Owner(o.id.Dev())
	return ok
}

// keep stores what is new.
func (r *replica) keep(v protocol.Verified) {
	r.log = append(r.log, v)
	r.clock.Observe(v.Header().HLC, r.time())
}

// flush has everything on disk.
func (r *replica) flush() { r.durable = len(r.log) }

// listen takes in some of what gossip brings.
func (r *replica) listen() {
	if r.asleep || r.set == nil {
		r.inbox = nil
		return
	}
	n := r.w.dice.IntN(len(r.inbox) + 1)
	r.take(r.inbox[:n])
	r.inbox = slices.Clone(r.inbox[n:])
	if r.w.chance(40) {
		r.flush()
	}
}

// take takes in events in any order. Control events wait for what they cite, messages
// for the control events that they cite, and not for each other.
func (r *replica) take(events []protocol.Verified) {
	r.loose = append(r.loose, events...)
	for again := true; again; {
		again = false
		rest := r.loose[:0]
		for _, v := range r.loose {
			switch kept, waits := r.enter(v); {
			case waits:
				rest = append(rest, v)
			case kept:
				again = true
			}
		}
		r.loose = rest
	}
	r.roster.Extend()
}

func (r *replica) enter(v protocol.Verified) (kept, waits bool) {
	if v.Header().Chain == protocol.Messages {
		if _, ok := r.said[v.ID()]; ok {
			return false, false
		}
		if slices.ContainsFunc(v.Header().Refs, func(id protocol.ID) bool { return !r.set.Has(id) }) {
			return false, true
		}
		r.said[v.ID()] = v
		r.keep(v)
		return true, false
	}
	if r.set.Has(v.ID()) {
		return false, false
	}
	err := r.set.Restore(v)
	var missing *protocol.MissingError
	if errors.As(err, &missing) {
		return false, true
	}
	if err != nil {
		r.w.fail("replica %d refuses a %s: %v", r.n, v.Header().Kind, err)
		return false, false
	}
	r.keep(v)
	return true, false
}

// messages returns the set that is reconciled: of each chain what is here, up to the
// last that counts.
func (r *replica) messages() *reconcile.Vector {
	stamp := r.roster.Stamp()
	if c := r.counted; c.set != nil && c.stamp == stamp && c.held == len(r.log) {
		return c.set
	}
	last := make(map[protocol.Key]uint64)
	for _, v := range r.said {
		h := v.Header()
		if h.Seq > last[h.Dev] {
			if _, err := r.roster.CheckMessage(v, r); err == nil {
				last[h.Dev] = h.Seq
			}
		}
	}
	var items []reconcile.Item
	for id, v := range r.said {
		if h := v.Header(); h.Seq <= last[h.Dev] {
			items = append(items, reconcile.Item{Time: h.HLC, ID: id})
		}
	}
	r.counted = countedSet{stamp, len(r.log), reconcile.NewVector(items)}
	return r.counted.set
}

// Spares implements [protocol.Log].
func (r *replica) Spares(v protocol.Verified, c protocol.CutEntry) bool {
	for id := c.ID; ; {
		at, ok := r.said[id]
		switch {
		case id == v.ID():
			return true
		case !ok: // a hole
			return v.Header().Seq < c.Seq
		case at.Header().Seq <= v.Header().Seq:
			return false
		}
		id = at.Header().Prev
	}
}

// Before implements [protocol.Log].
func (r *replica) Before(v protocol.Verified) (uint64, bool) {
	p, ok := r.said[v.Header().Prev]
	return p.Header().HLC, ok
}
