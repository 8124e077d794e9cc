package node

import (
	"context"
	"fmt"
	"slices"

	"github.com/p2pchat/p2pchat/protocol"
)

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
	w.by(syncTalk)
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
	cursor := r.log.Cursor() // before the digests: they are of this at least
	open := r.open()
	reply := open
	reply.Addrs = n.introductions(p, r)
	if err := w.send(protocol.FrameOpen, reply); err != nil {
		return err
	}
	if theirs.Digest() == open.Digest() {
		n.agreed(r, p, open.Digest(), span{Before: protocol.MaxHLC, Cursor: cursor})
		return nil
	}
	w.by(syncTalk)
	have, err := w.readHave()
	if err != nil {
		return err
	}
	w.by(syncMost)
	lacks, err := r.serve(ctx, w, theirs, have)
	if lacks || r.lacks(have) {
		n.pullInTurn(r, p, digests{open.Digest(), theirs.Digest()})
	}
	return err
}

// serve sends what the other side lacks: all control events first, so that what
// follows can be judged, then records, then messages. It says whether the other side
// holds messages that this room lacks.
func (r *room) serve(ctx context.Context, w *wire, theirs protocol.Open, have *holding) (lacks bool, err error) {
	out := &sender{wire: w, kind: protocol.FrameEvents}
	if err := r.serveControl(out, have, nil); err != nil {
		return false, err
	}
	if err := r.serveRecords(out, have); err != nil {
		return false, err
	}
	g := &giver{r: r, ctx: ctx, out: out, asks: have.asks}
	if err := g.compareAll(w, theirs); err != nil {
		return g.lacks, err
	}
	return g.lacks, w.send(protocol.FrameDone, protocol.Done{Same: !g.lacks && g.given == 0})
}

// lacks says whether the other side holds control events or records that this room does
// not.
func (r *room) lacks(have *holding) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lacksControl(have.tips) {
		return true
	}
	for slot, number := range have.records {
		if rec, ok := r.records[slot]; !ok || rec.Record().Number < number {
			return true
		}
	}
	return false
}

// holding is what the other side of a sync says it holds beside messages.
type holding struct {
	tips    []protocol.Tip // of control chains
	records map[recordSlot]uint64
	asks    protocol.Have // for messages
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

// readHave reads the other side's list. It is bounded by what one device a member
// can have, and by the idle timeout.
func (w *wire) readHave() (*holding, error) {
	h := &holding{records: make(map[recordSlot]uint64)}
	for range haveFrames {
		var have protocol.Have
		if err := w.expect(protocol.FrameHave, &have); err != nil {
			return nil, err
		}
		if len(have.Tips)+len(have.Records) > protocol.MaxFrontier {
			return nil, fmt.Errorf("sync: %w: %d tips and records in a frame", ErrTooLarge, len(have.Tips)+len(have.Records))
		}
		h.tips = append(h.tips, have.Tips...)
		for _, k := range have.Records {
			h.records[recordSlot{k.Dev, k.Type}] = k.Number
		}
		if !have.More {
			h.asks = protocol.Have{Since: have.Since, Part: have.Part, Parts: have.Parts}
			return h, h.asks.Check()
		}
	}
	return nil, fmt.Errorf("sync: %w: more than %d frames of tips", ErrTooLarge, haveFrames)
}

// serveControl sends the control events that the other side lacks, each after what
// it cites; of a past only, where one is given.
func (r *room) serveControl(out *sender, have *holding, only *protocol.Past) error {
	durable := make(map[protocol.Key]uint64) // nothing leaves before it is on disk
	for _, t := range r.log.Tips() {
		if t.Chain == protocol.Control {
			durable[t.Dev] = max(durable[t.Dev], t.Seq)
		}
	}
	r.mu.Lock()
	lacking := r.current().Lacking(have.tips, only)
	r.mu.Unlock()
	for v := range lacking {
		if h := v.Header(); h.Seq > durable[h.Dev] {
			continue
		}
		if err := out.add(v.Wire()); err != nil {
			return err
		}
	}
	return out.flush()
}

func (r *room) serveRecords(out *sender, have *holding) error {
	r.mu.Lock()
	var list [][]byte
	for slot, rec := range r.records {
		if _, member := r.current().Owner(slot.dev); !member {
			continue
		}
		if n, ok := have.records[slot]; !ok || n < rec.Record().Number {
			list = append(list, rec.Wire())
		}
	}
	r.mu.Unlock()
	out.kind = protocol.FrameRecords
	for _, wire := range list {
		if err := out.add(wire); err != nil {
			return err
		}
	}
	if err := out.flush(); err != nil {
		return err
	}
	out.kind = protocol.FrameEvents
	return nil
}

// frames is where frames go: a stream, or a file.
type frames interface {
	send(kind protocol.FrameKind, payload any) error
}

// sender packs events into frames.
type sender struct {
	wire frames
	kind protocol.FrameKind
	list [][]byte
	size int
}

// frameOverhead is what a frame adds to its events, and itemOverhead what it adds to
// each, at most.
const (
	frameOverhead = 64
	itemOverhead  = 4
)

func (s *sender) add(wire []byte) error {
	if s.size+len(wire)+itemOverhead > protocol.MaxFrameSize-frameOverhead || len(s.list) >= frameEvents {
		if err := s.flush(); err != nil {
			return err
		}
	}
	s.list = append(s.list, wire)
	s.size += len(wire) + itemOverhead
	return nil
}

func (s *sender) flush() error {
	if len(s.list) == 0 {
		return nil
	}
	err := s.wire.send(s.kind, protocol.Events{List: s.list})
	s.list, s.size = nil, 0
	return err
}
