package node

import (
	"context"
	"crypto/sha256"
	"slices"

	"github.com/p2pchat/p2pchat/protocol"
)

// wholeOf is the digest of an Open, to compare with [room.whole].
func wholeOf(o protocol.Open) protocol.ID {
	return protocol.ID(sha256.Sum256(append(o.Tips[:], o.Records[:]...)))
}

// serve sends what the other side lacks: all control events first, so that what
// follows can be judged, then records, then messages.
func (r *room) serve(ctx context.Context, w *wire, have *holding) error {
	out := &sender{wire: w, kind: protocol.FrameEvents}
	r.mu.Lock()
	mine := r.tips()
	r.mu.Unlock()
	if err := r.serveControl(out, have, nil); err != nil {
		return err
	}
	if err := r.serveRecords(out, have); err != nil {
		return err
	}
	for _, chain := range chainsOf(mine, protocol.Messages) {
		if err := r.serveChain(ctx, out, chain, have.tips[chain[0].key()]); err != nil {
			return err
		}
	}
	if err := out.flush(); err != nil {
		return err
	}
	return w.send(protocol.FrameDone, struct{}{})
}

// tip is a tip with its chain's key.
type tip protocol.Tip

func (t tip) key() chainKey { return chainKey{t.Dev, t.Chain} }

// chainsOf groups the tips of one sort of chain by device; a forked chain has several.
func chainsOf(tips []protocol.Tip, sort protocol.Chain) [][]tip {
	var out [][]tip
	for _, t := range tips {
		if t.Chain != sort {
			continue
		}
		if n := len(out); n > 0 && out[n-1][0].key() == tip(t).key() {
			out[n-1] = append(out[n-1], tip(t))
		} else {
			out = append(out, []tip{tip(t)})
		}
	}
	return out
}

// lacking says from which place of a chain on the other side lacks something: 0 for
// none. Whoever holds all the tips holds the chain. Where the other side is ahead
// it lacks nothing from here. Where the branches do not fit, everything is sent and
// what is there already costs only its bytes.
func (r *room) lacking(mine []tip, theirs []protocol.Tip) (uint64, error) {
	if len(theirs) == 0 {
		return 1, nil
	}
	if !slices.ContainsFunc(mine, func(t tip) bool { return !slices.Contains(theirs, protocol.Tip(t)) }) {
		return 0, nil
	}
	if len(mine) > 1 {
		return 1, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	from, ahead := uint64(1), true
	for _, t := range theirs {
		if t.Seq > mine[0].Seq {
			continue
		}
		ahead = false
		if r.precedes(t, protocol.Tip(mine[0])) {
			from = max(from, t.Seq+1)
		}
	}
	if ahead {
		return 0, nil
	}
	return from, nil
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
	lacking := r.current().Lacking(have.control(), only)
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

func (r *room) serveChain(ctx context.Context, out *sender, mine []tip, theirs []protocol.Tip) error {
	seq, err := r.lacking(mine, theirs)
	if err != nil || seq == 0 {
		return err
	}
	return r.serveFrom(ctx, out, mine, seq)
}

// serveFrom sends a chain from a place on.
func (r *room) serveFrom(ctx context.Context, out *sender, mine []tip, seq uint64) error {
	last := uint64(0) // what comes after the last that counts stays here
	for _, t := range mine {
		last = max(last, t.Seq)
	}
	hidden := r.hides(mine)
	for seq <= last {
		page, err := r.log.Chain(ctx, mine[0].Dev, mine[0].Chain, seq, followPage)
		if err := r.readable(err); err != nil || len(page) == 0 {
			return err
		}
		for _, v := range page {
			if v.Header().Seq > last {
				return nil
			}
			if hidden && !r.leadsTo(v.Tip(), mine) {
				continue
			}
			if err := r.serveCited(out, v); err != nil {
				return err
			}
			if err := out.add(r.outgoing(v)); err != nil {
				return err
			}
		}
		seq = page[len(page)-1].Header().Seq + 1
	}
	return nil
}

// serveCited sends the control events that a message cites and that are not sent to
// everybody.
func (r *room) serveCited(out *sender, v protocol.Verified) error {
	r.mu.Lock()
	cited := r.current().Cited(v)
	r.mu.Unlock()
	for _, c := range cited {
		if err := out.add(c.Wire()); err != nil {
			return err
		}
	}
	return nil
}

// hides says whether there are branches of a chain that others are not told of.
func (r *room) hides(told []tip) bool {
	r.mu.Lock()
	clean := r.current().Unquestioned(told[0].Dev)
	r.mu.Unlock()
	if clean {
		return false
	}
	for _, t := range r.log.Tips() {
		if tip(t).key() == told[0].key() && !slices.Contains(told, tip(t)) {
			return true
		}
	}
	return false
}

// leadsTo says whether an event is on the way to one of some tips.
func (r *room) leadsTo(t protocol.Tip, tips []tip) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(tips, func(end tip) bool { return r.precedes(t, protocol.Tip(end)) })
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
