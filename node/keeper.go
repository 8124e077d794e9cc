package node

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pchat/p2pchat/protocol"
)

// keep compares what the room holds with its neighbours until they agree: soon after
// something changed that gossip did not carry, when gossip is quiet again, and slowly
// when nothing happens. It is why no message is lost that gossip dropped.
func (r *room) keep(ctx context.Context) {
	tick := time.NewTicker(syncTick)
	defer tick.Stop()
	defer r.lastSeen(context.WithoutCancel(ctx))
	quiet := r.n.now()
	var last time.Time // when it compared
	var due bool       // something changed since that gossip did not carry
	r.present()
	r.refreshPrekey(ctx)
	r.refreshProfile() // the name may be another than when the group last heard
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.kick:
			pause(ctx, syncDebounce)
			due = true
		case <-tick.C:
		}
		r.expire()
		r.present()
		r.refreshPrekey(ctx)
		r.askForKeys()
		r.fetchTexts(ctx)
		r.prunePrekeys(ctx)
		r.turnEpoch(ctx)
		r.errands(ctx)
		r.tellFrontier(ctx)
		r.saveContacts(ctx, r.n.now(), contactsEvery)
		now, wait := r.n.now(), syncBusy
		if due {
			wait = syncTick
		}
		if r.talking(now) && now.Sub(last) < wait {
			continue
		}
		last, due = now, false
		behind := r.behind()
		if len(behind) == 0 && r.n.now().Sub(quiet) >= syncQuiet {
			quiet = r.n.now()
			if all := r.n.members(r); len(all) > 0 { // equal as far as is known: ask one again
				behind = all[rand.IntN(len(all)):][:1]
			}
		}
		for _, p := range behind {
			r.n.wantSync(r, p, 0)
		}
	}
}

// stir notes that gossip carried a message: neighbours have it too, or it is on its way.
func (r *room) stir() { r.stirred.Store(r.n.now().UnixNano()) }

// talking says whether gossip carried a message just now.
func (r *room) talking(now time.Time) bool {
	return now.Sub(time.Unix(0, r.stirred.Load())).Abs() < syncCalm
}

// lack is an event that is not here, though one that follows it or waits for it is.
type lack struct {
	tip   protocol.Tip // where it is if a message lacks it; of an event that waits only the id is of use
	since time.Time
}

// mend asks a peer for what its events follow or wait for, unless it is here after a
// moment: of two that pubsub hands over at once, the second may be first. What does not
// come is not asked for again before something else lacks it, or the keeper compares.
func (r *room) mend(from peer.ID, waits []waiting) {
	r.mu.Lock()
	defer r.mu.Unlock()
	list, runs := r.mending[from]
	for _, w := range waits[:min(len(waits), lacksMost-len(list))] {
		h := w.event.Header()
		list = append(list, lack{protocol.Tip{Dev: h.Dev, Chain: h.Chain, Seq: h.Seq - 1, ID: w.wait}, r.n.now()})
	}
	r.mending[from] = list
	if !runs {
		r.n.spawn(func(ctx context.Context) {
			for r.mendLater(ctx, from) {
			}
		})
	}
}

// mendLater looks after a moment at what is lacking still, and says whether something
// has come since that lacks more.
func (r *room) mendLater(ctx context.Context, from peer.ID) bool {
	began := r.n.now()
	pause(ctx, syncDebounce)
	r.mu.Lock()
	defer r.mu.Unlock()
	list := slices.DeleteFunc(r.mending[from], func(l lack) bool {
		return len(r.parked.waiting[l.tip.ID]) == 0 && !r.log.Wanted(l.tip)
	})
	if slices.ContainsFunc(list, func(l lack) bool { return !l.since.After(began) }) {
		r.n.wantSync(r, from, 0)
		list = nil // a sync brings the others, too
	}
	if len(list) == 0 || ctx.Err() != nil {
		delete(r.mending, from)
		return false
	}
	r.mending[from] = list
	return true
}

// repair compares what rooms hold with those whom a frame did not reach, or whose frame
// nobody looked at here: pubsub does not send it again. Who asks shows what it has, so
// that the other side asks as well.
func (n *Node) repair(ctx context.Context) {
	wait, last := syncDebounce, time.Time{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.mesh.wake:
		}
		// What falls out of a queue is rarely alone; and while more is lost, a slow link has
		// better use than one comparison after the other.
		if wait = min(2*wait, syncTick); time.Since(last) > 2*wait {
			wait = syncDebounce
		}
		pause(ctx, wait)
		last = time.Now()
		for p := range n.mesh.takeMissed() {
			// After a few streams that died, pubsub gives up who is connected all the same.
			if err := n.gate.announce(p); err != nil && n.alive() == nil {
				n.log.Warn("pubsub gate", "peer", p, "err", err)
			}
			for _, r := range n.allRooms() {
				if _, ok := n.peers.proved(p, r.group); ok {
					n.wantSync(r, p, 0)
				}
			}
		}
	}
}

// pause lets what comes in a burst come, so that one look serves it all.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// behind returns up to syncFanout peers of the group that are not known to hold exactly what
// this node holds, in random order. One with whom comparing the same brought no
// agreement is left alone for longer each time. A peer that knows the group's secret
// and is not in the roster counts: its admission may be what this node lacks.
func (r *room) behind() []peer.ID {
	if !r.isMember(r.me.Dev()) {
		return nil // nobody is in step with who is out; asking slowly is enough
	}
	mine, now := r.whole(), r.n.now()
	all := r.n.peers.in(r.group)
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	var out []peer.ID
	for _, p := range all {
		if len(out) == syncFanout {
			break
		}
		r.n.peers.with(p, func(s *peerState) {
			t := s.tried[r.group]
			if t.digest != mine {
				t = attempt{digest: mine}
			}
			if s.equal[r.group] == mine || now.Before(t.next) {
				return
			}
			t.next = now.Add(min(syncTick<<t.count, syncQuiet))
			t.count = min(t.count+1, 8)
			s.tried[r.group] = t
			out = append(out, p)
		})
	}
	return out
}

func (r *room) expire() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.parked.expire(r.n.now())
	r.links.expire(r.n.now())
}

// agreed records that a peer held exactly the same at a digest, of what was here up to a
// cursor at least.
func (n *Node) agreed(r *room, p peer.ID, digest [32]byte, what span) {
	n.peers.with(p, func(s *peerState) {
		s.equal[r.group] = digest
		delete(s.ahead, r.group)
	})
	r.compared(p, &what)
	r.caughtUp(p)
}

// caughtUp records that nothing is missing that a peer had just now, if that is a member:
// who only knows the group's secret is compared with, and says nothing about it. It waits
// for other members who are known to hold more.
func (r *room) caughtUp(p peer.ID) {
	if _, ok := r.memberAt(p); !ok {
		return
	}
	if r.n.someAhead(r) {
		return
	}
	r.mu.Lock()
	r.synced = r.n.now()
	r.mu.Unlock()
	r.n.peers.notify()
}
