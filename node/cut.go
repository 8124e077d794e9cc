package node

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

// cut returns what a denial of somebody spares: all that was seen of them, or what
// claims to be from before a time. Where there are more chains than a cut may name,
// the longest are spared. What a revocation took from a device stays taken. The caller
// holds mu.
func (r *room) cut(root protocol.Key, since time.Time) (protocol.Cut, error) {
	var devices []protocol.Key
	var c protocol.Cut
	for _, dev := range r.set.Devices(root) {
		if id, ok := r.current().Revocation(root, dev); ok {
			_, body, _ := r.set.Get(id)
			c.Control = append(c.Control, body.(*protocol.DeviceRevoke).Control...)
			c.Messages = append(c.Messages, body.(*protocol.DeviceRevoke).Messages...)
			continue
		}
		devices = append(devices, dev)
	}
	seen, err := r.cited()
	if err != nil {
		return c, err
	}
	for _, id := range r.set.Tips(root) {
		if v, _, _ := r.set.Get(id); slices.Contains(devices, v.Header().Dev) {
			if id, ok := r.controlBefore(v, since, seen); ok {
				c.Control = append(c.Control, id)
			}
		}
	}
	messages, err := r.messageCut(devices, since)
	c.Messages = append(c.Messages, messages...)
	return trim(c), err
}

// trim brings a cut into its form.
func trim(c protocol.Cut) protocol.Cut {
	slices.SortStableFunc(c.Messages, func(a, b protocol.CutEntry) int { return cmp.Compare(b.Seq, a.Seq) })
	c.Control = c.Control[:min(len(c.Control), protocol.MaxCut)]
	c.Messages = c.Messages[:min(len(c.Messages), protocol.MaxCut)]
	slices.SortFunc(c.Control, protocol.ID.Compare)
	slices.SortFunc(c.Messages, func(a, b protocol.CutEntry) int { return a.ID.Compare(b.ID) })
	c.Control = slices.Compact(c.Control)
	c.Messages = slices.Compact(c.Messages)
	return c
}

// before says whether an event claims to be from before a time; zero is never.
func before(v protocol.Verified, since time.Time) bool {
	return since.IsZero() || int64(v.Header().HLC) < since.UnixMilli()
}

// cited returns what the next control event of this device will have seen: of many
// heads it can cite some only, and a cut names nothing else. The caller holds mu.
func (r *room) cited() (*protocol.Past, error) {
	me, _ := r.current().Standing(r.me.Root())
	heads := r.current().Heads(protocol.MaxControlRefs, r.must(me)...)
	if own, ok := r.log.Tip(r.me.Dev(), protocol.Control); ok {
		heads = append(heads, own.ID)
	}
	return r.set.Past(heads)
}

// controlBefore walks a control chain back from its end: to the last event that was
// seen, with nothing since a time at or before it.
func (r *room) controlBefore(end protocol.Verified, since time.Time, seen *protocol.Past) (protocol.ID, bool) {
	spared := end.ID()
	for v, ok := end, true; ok; v, _, ok = r.set.Get(v.Header().Prev) {
		if !before(v, since) || !seen.Has(v.ID()) {
			spared = v.Header().Prev
		}
	}
	return spared, !spared.IsZero()
}

// messageCut returns where the chains of messages of some devices are cut.
func (r *room) messageCut(devices []protocol.Key, since time.Time) ([]protocol.CutEntry, error) {
	// Tips knows what is on disk, and some of what was seen is on its way.
	if err := r.log.Append(nil).Wait(r.n.ctx); err != nil {
		return nil, err
	}
	var out []protocol.CutEntry
	branches := make(map[protocol.Key]int)
	for _, t := range slices.Backward(r.log.Tips()) { // the longest first
		if t.Chain != protocol.Messages || !slices.Contains(devices, t.Dev) || branches[t.Dev] == branchesTold {
			continue
		}
		branches[t.Dev]++
		c := protocol.CutEntry{ID: t.ID, Seq: t.Seq}
		if !since.IsZero() {
			var err error
			if c, err = r.messageBefore(t, since); err != nil {
				return nil, err
			}
		}
		if c.Seq > 0 {
			out = append(out, c)
		}
	}
	return out, nil
}

// messageBefore is controlBefore for a chain of messages, whose events are on disk.
// It reads all of the chain: the times on it are claims, and need not rise.
func (r *room) messageBefore(t protocol.Tip, since time.Time) (protocol.CutEntry, error) {
	spared := protocol.CutEntry{ID: t.ID, Seq: t.Seq}
	for id := t.ID; !id.IsZero(); {
		e, err := r.log.Get(r.n.ctx, id)
		if errors.Is(err, storage.ErrNotFound) {
			break // a hole: what is before it is spared with what comes after it
		}
		if err != nil {
			return spared, fmt.Errorf("read a chain back: %w", err)
		}
		h := e.Event.Header()
		if id = h.Prev; !before(e.Event, since) {
			spared = protocol.CutEntry{ID: h.Prev, Seq: h.Seq - 1}
		}
	}
	return spared, nil
}
