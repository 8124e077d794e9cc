package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

// Sync pulls: the initiator says what it holds and the responder sends what that
// lacks. Both ends of a connection pull, so both become complete. The first frames
// carry digests; where they are equal the sync ends after one round trip.

// wantSync has a room pull from a peer soon. While one pull with a peer runs,
// another is remembered and follows it.
func (n *Node) wantSync(r *room, p peer.ID, delay time.Duration) {
	start := false
	n.peers.with(p, func(s *peerState) {
		st := s.syncing[r.group]
		if st == nil {
			st = new(syncState)
			s.syncing[r.group] = st
		}
		if st.running {
			st.again = true
			return
		}
		st.running, start = true, true
	})
	if start {
		n.spawn(func(ctx context.Context) { n.syncLoop(ctx, r, p, delay) })
	}
}

func (n *Node) syncLoop(ctx context.Context, r *room, p peer.ID, delay time.Duration) {
	for again := true; again; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(delay):
		}
		if err := n.pull(ctx, r, p); err != nil {
			n.log.Debug("sync", "group", protocol.Short(r.group.Text(protocol.GroupPrefix)), "peer", p, "err", err)
		}
		again = false
		n.peers.with(p, func(s *peerState) {
			if st := s.syncing[r.group]; st != nil { // or the peer has gone and come back
				again, st.again = st.again, false
				st.running = again
			}
		})
		delay = syncDebounce
	}
}

// pull fetches from a peer what this room lacks.
func (n *Node) pull(ctx context.Context, r *room, p peer.ID) error {
	if dev, ok := n.peers.proved(p, r.group); ok && r.isFormer(dev) && !n.mayAskFormer(r, p) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, syncMost)
	defer cancel()
	w, err := n.dial(ctx, p, syncProtocol, syncIdle)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = w.stream.Reset() })
	defer stop()
	err = n.pullFrom(ctx, r, w)
	w.end(err)
	return err
}

func (n *Node) pullFrom(ctx context.Context, r *room, w *wire) error {
	open := r.open()
	if err := w.send(protocol.FrameOpen, open); err != nil {
		return err
	}
	var theirs protocol.Open
	if err := w.expect(protocol.FrameOpen, &theirs); err != nil {
		return err
	}
	n.introduced(theirs.Addrs)
	if theirs.Tips == open.Tips && theirs.Records == open.Records {
		n.agreed(r, w.peer(), wholeOf(open))
		return nil
	}
	// One transfer a room at a time, or several peers send the same; but a peer that
	// never finishes must not keep the others out.
	select {
	case r.fetch <- struct{}{}:
		defer func() { <-r.fetch }()
	case <-time.After(fetchTurn):
	case <-ctx.Done():
		return ctx.Err()
	}
	if dev, ok := n.peers.proved(w.peer(), r.group); ok && r.isFormer(dev) {
		return r.pullFormer(ctx, w, dev)
	}
	if err := w.sendHave(r); err != nil {
		return err
	}
	if err := r.receive(ctx, w); err != nil {
		return err
	}
	r.caughtUp() // with all that the other side had when it was asked
	return nil
}

// open is the first frame of a sync: the digests of what the room holds.
func (r *room) open() protocol.Open {
	tips, records := r.digests()
	return protocol.Open{Group: r.group, Tips: tips, Records: records}
}

// sendHave lists what the room holds, in as many frames as it takes.
func (w *wire) sendHave(r *room) error {
	tips := slices.DeleteFunc(r.log.Tips(), func(t protocol.Tip) bool { return t.Chain == protocol.Control })
	r.mu.Lock()
	// Up to where chains count as well: from there on a branch that does may lead
	// elsewhere.
	for _, t := range r.tips() {
		if i, ok := slices.BinarySearchFunc(tips, t, protocol.Tip.Compare); !ok {
			tips = slices.Insert(tips, i, t)
		}
	}
	records := r.recordKeys()
	r.mu.Unlock()
	for {
		have := protocol.Have{Tips: tips[:min(len(tips), protocol.MaxFrontier)]}
		tips = tips[len(have.Tips):]
		room := protocol.MaxFrontier - len(have.Tips)
		have.Records = records[:min(len(records), room)]
		records = records[len(have.Records):]
		have.More = len(tips)+len(records) > 0
		if err := w.send(protocol.FrameHave, have); err != nil || !have.More {
			return err
		}
	}
}

// receive takes in what the other side sends until it is done. A frame's events are
// on their way to the disk while the next one is read and verified.
func (r *room) receive(ctx context.Context, w *wire) error {
	var last *storage.Commit
	for {
		f, err := w.next()
		if err != nil {
			return err
		}
		if f.Kind == protocol.FrameDone {
			break
		}
		commit, err := r.take(ctx, w.peer(), f)
		if err != nil {
			return err
		}
		if last != nil {
			if err := last.Wait(ctx); err != nil {
				return err
			}
		}
		last = commit
	}
	if last != nil {
		return last.Wait(ctx)
	}
	return nil
}

// take admits one frame of events or records. A peer that sends what does not
// verify is not believed any further.
func (r *room) take(ctx context.Context, from peer.ID, f protocol.Frame) (*storage.Commit, error) {
	var list protocol.Events
	switch f.Kind {
	case protocol.FrameEvents:
		if err := f.Decode(protocol.FrameEvents, &list); err != nil {
			return nil, err
		}
		events, errs := protocol.VerifyBatch(r.group, list.List, rand.Reader)
		known := events[:0]
		for i, err := range errs {
			switch {
			case err == nil:
				known = append(known, events[i])
			case !errors.Is(err, protocol.ErrUnknownCritical): // of the future; the rest is not
				return nil, fmt.Errorf("peer %s sent an event that does not verify: %w", from, err)
			}
		}
		if slices.ContainsFunc(known, func(v protocol.Verified) bool { return v.Header().Chain == protocol.Messages }) {
			r.askPeer(ctx, from) // the control events are here, so followers need not see a line without its key
		}
		in := r.ingest(from, known)
		r.settle(in)
		if in.again {
			r.n.wantSync(r, from, 0)
		}
		return in.commit, nil
	case protocol.FrameRecords:
		if err := f.Decode(protocol.FrameRecords, &list); err != nil {
			return nil, err
		}
		var records []protocol.VerifiedRecord
		for _, wire := range list.List {
			rec, err := protocol.VerifyRecord(r.group, wire)
			if err != nil {
				return nil, fmt.Errorf("peer %s: %w", from, err)
			}
			records = append(records, rec)
		}
		return r.ingestRecords(records), nil
	}
	return nil, f.Decode(protocol.FrameEvents, &list)
}

// serveSync is the responder's side.
func (n *Node) serveSync(ctx context.Context, w *wire) error {
	p := w.peer()
	var place *peerState
	n.peers.with(p, func(s *peerState) {
		if s.serving < syncServed {
			s.serving++
			place = s
		}
	})
	if place == nil {
		return w.send(protocol.FrameRefused, protocol.Refusal{Code: protocol.RefusedBusy})
	}
	defer n.peers.do(func() { place.serving-- })
	var theirs protocol.Open
	if err := w.expect(protocol.FrameOpen, &theirs); err != nil {
		return err
	}
	r, err := n.room(theirs.Group)
	if err != nil {
		return w.send(protocol.FrameRefused, protocol.Refusal{Code: protocol.RefusedUnknown})
	}
	if dev, ok := n.peers.proved(p, r.group); !ok {
		return w.send(protocol.FrameRefused, protocol.Refusal{Code: protocol.RefusedUnknown})
	} else if !r.isMember(dev) {
		return r.bid(ctx, w, dev)
	}
	open := r.open()
	reply := open
	reply.Addrs = n.introductions(p, r)
	if err := w.send(protocol.FrameOpen, reply); err != nil {
		return err
	}
	if theirs.Tips == open.Tips && theirs.Records == open.Records {
		n.agreed(r, p, wholeOf(open))
		return nil
	}
	have, err := w.readHave()
	if err != nil {
		return err
	}
	if r.lacks(have) {
		n.wantSync(r, p, 0)
	}
	return r.serve(ctx, w, have)
}

// lacks says whether the other side holds what this room does not.
func (r *room) lacks(have *holding) bool {
	mine := make(map[chainKey]protocol.Tip)
	for _, t := range r.log.Tips() {
		if k := tip(t).key(); t.Seq >= mine[k].Seq {
			mine[k] = t
		}
	}
	for k, tips := range have.tips {
		for _, t := range tips {
			if k.chain == protocol.Control {
				continue
			}
			if m := mine[k]; t.Seq > m.Seq || t.Seq == m.Seq && t.ID != m.ID {
				return true
			}
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lacksControl(have.control()) {
		return true
	}
	for slot, number := range have.records {
		if rec, ok := r.records[slot]; !ok || rec.Record().Number < number {
			return true
		}
	}
	return false
}

// holding is what the other side of a sync says it holds.
type holding struct {
	tips    map[chainKey][]protocol.Tip
	records map[recordSlot]uint64
}

// control returns the tips of control chains.
func (h *holding) control() []protocol.Tip {
	var out []protocol.Tip
	for k, tips := range h.tips {
		if k.chain == protocol.Control {
			out = append(out, tips...)
		}
	}
	return out
}

// lacksControl says whether somebody tells of a control event, or of a crowd, that this
// room has not seen. What was refused as surplus is not asked for again. The caller holds
// mu.
func (r *room) lacksControl(theirs []protocol.Tip) bool {
	ends := r.current().Ends()
	return slices.ContainsFunc(theirs, func(t protocol.Tip) bool {
		_, told := slices.BinarySearchFunc(ends, t, protocol.Tip.Compare)
		return !told && !r.set.Has(t.ID) && !r.surplus.Contains(t.ID)
	})
}

type chainKey struct {
	dev   protocol.Key
	chain protocol.Chain
}

// readHave reads the other side's list. It is bounded by what one device a member
// can have, and by the idle timeout.
func (w *wire) readHave() (*holding, error) {
	h := &holding{tips: make(map[chainKey][]protocol.Tip), records: make(map[recordSlot]uint64)}
	for range haveFrames {
		var have protocol.Have
		if err := w.expect(protocol.FrameHave, &have); err != nil {
			return nil, err
		}
		for _, t := range have.Tips {
			k := chainKey{t.Dev, t.Chain}
			h.tips[k] = append(h.tips[k], t)
		}
		for _, k := range have.Records {
			h.records[recordSlot{k.Dev, k.Type}] = k.Number
		}
		if !have.More {
			return h, nil
		}
	}
	return nil, fmt.Errorf("sync: %w: more than %d frames of tips", ErrTooLarge, haveFrames)
}

// introductions returns addresses of members, once a connection: who meets one
// member can then meet the others.
func (n *Node) introductions(p peer.ID, r *room) [][]byte {
	fresh := false
	n.peers.with(p, func(s *peerState) { fresh, s.sharing[r.group] = !s.sharing[r.group], true })
	if !fresh {
		return nil
	}
	var out [][]byte
	for _, q := range n.members(r) {
		if q == p || len(out) >= sharedPeers {
			continue
		}
		for _, a := range n.disc.addrs(q)[:min(2, len(n.disc.addrs(q)))] {
			out = append(out, a.Bytes())
		}
	}
	return out
}

// introduced tries the members that another member told of.
func (n *Node) introduced(list [][]byte) {
	var addrs []ma.Multiaddr
	for i, b := range list {
		if a, err := ma.NewMultiaddrBytes(b); err == nil && i < 2*sharedPeers {
			addrs = append(addrs, a)
		}
	}
	infos, err := peer.AddrInfosFromP2pAddrs(addrs...)
	if err != nil {
		return
	}
	for _, info := range infos {
		n.disc.found(info, "member")
	}
}
