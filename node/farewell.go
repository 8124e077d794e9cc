package node

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pchat/p2pchat/protocol"
)

// Who was removed while they were away, or whose device was revoked, is told so by whoever they ask first: they get
// the act that ended their place, and what its author had seen, for which they were
// still a member. They get nothing later, and no message.

// bid answers the sync of a device that is no member's any more.
func (r *room) bid(ctx context.Context, w *wire, dev protocol.Key) error {
	past := r.farewell(dev)
	if past == nil {
		return w.send(protocol.FrameRefused, protocol.Refusal{Code: protocol.RefusedUnknown})
	}
	if err := w.send(protocol.FrameOpen, r.blank()); err != nil {
		return err
	}
	have, err := w.readHave()
	if err != nil {
		return err
	}
	out := &sender{wire: w, kind: protocol.FrameEvents}
	if err := r.serveControl(out, have, past); err != nil {
		return err
	}
	return w.send(protocol.FrameDone, struct{}{})
}

// blank returns digests that nobody's own are equal to, so that the other side goes on.
func (r *room) blank() protocol.Open {
	return protocol.Open{Group: r.group, Control: r.group, Records: r.group}
}

// farewell returns what who owned a device may still know, nil if they never were in
// the group.
func (r *room) farewell(dev protocol.Key) *protocol.Past {
	r.mu.Lock()
	defer r.mu.Unlock()
	root, ok := r.current().Whose(dev)
	if !ok {
		return nil
	}
	end, ok := r.current().Ended(root)
	if by, revoked := r.current().Revocation(root, dev); revoked {
		end, ok = by, true
	}
	if !ok {
		return nil
	}
	past, err := r.set.Past([]protocol.ID{end})
	if err != nil {
		return nil
	}
	return past
}

// isFormer says whether a device is of somebody who was in the group and is not. Of who
// left this node's own group nothing is said.
func (r *room) isFormer(dev protocol.Key) bool {
	return r.isMember(r.me.Dev()) && !r.isMember(dev) && r.farewell(dev) != nil
}

// mayAskFormer says whether somebody who is out may be asked again: seldom, as they
// are told nothing of what is here, and so send it all.
func (n *Node) mayAskFormer(r *room, p peer.ID) (yes bool) {
	n.peers.with(p, func(s *peerState) {
		if now := n.now(); now.Sub(s.former[r.group]) >= askFormer {
			s.former[r.group], yes = now, true
		}
	})
	return yes
}

// pullFormer takes control events from somebody who is out as far as is known here:
// they may have been let in again by somebody who is away. If not, that is all.
func (r *room) pullFormer(ctx context.Context, w *wire, dev protocol.Key) error {
	if err := w.send(protocol.FrameHave, protocol.Have{}); err != nil {
		return err
	}
	work := r.progress("sync", w.peer())
	defer work.end()
	in := r.inflow(ctx, w, work)
	defer in.end()
	for {
		f, err := w.next()
		if err != nil || f.Kind == protocol.FrameDone {
			return cmp.Or(in.err(), err, in.drain())
		}
		if f.Kind != protocol.FrameEvents && f.Kind != protocol.FrameRecords { // messages follow
			if err := in.drain(); err != nil || r.isFormer(dev) {
				return cmp.Or(err, errOut)
			}
			r.n.wantSync(r, w.peer(), 0) // they are in again
			return nil
		}
		var list protocol.Events
		if f.Kind == protocol.FrameEvents && f.Decode(f.Kind, &list) == nil && r.isFormer(dev) && !ofControl(list) {
			return errOut
		}
		if err := cmp.Or(in.put(f), in.drain()); err != nil {
			return err
		}
	}
}

// errOut ends a sync with somebody who has nothing more to say here.
var errOut = errors.New("the peer is out of the group")

// ofControl says whether a list begins with a control event.
func ofControl(list protocol.Events) bool {
	if len(list.List) == 0 {
		return false
	}
	e, err := protocol.Decode(list.List[0])
	return err == nil && e.Header.Chain == protocol.Control
}

// stillIn says whether this person is in the group, as far as can be found out at
// once: who was removed while away may not have heard of it.
func (r *room) stillIn(ctx context.Context) bool {
	if !r.isMember(r.me.Dev()) {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, stillInMost)
	defer cancel()
	for began := r.n.now(); ; {
		changed := r.n.peers.changes()
		if !r.isMember(r.me.Dev()) || r.lastSync().After(began.Add(-2*syncQuiet)) {
			break
		}
		r.poke()
		select {
		case <-changed:
		case <-time.After(syncTick):
		case <-r.n.ctx.Done():
			return false
		case <-ctx.Done():
			return r.isMember(r.me.Dev())
		}
	}
	return r.isMember(r.me.Dev())
}
