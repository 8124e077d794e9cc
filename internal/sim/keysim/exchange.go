package keysim

import (
	"errors"
	"slices"

	"github.com/p2pchat/p2pchat/protocol"
)

func missing(err error) bool {
	var m *protocol.MissingError
	return errors.As(err, &m)
}

// meet lets two devices tell each other what they have.
func (w *world) meet(a, b *device) {
	w.tell(a, b)
	w.tell(b, a)
}

// tell gives b what a has: control events to everybody who was ever in, the rest to
// whom a takes for a member.
func (w *world) tell(a, b *device) {
	if a.set == nil || b.set == nil {
		return
	}
	var events []protocol.Verified
	for _, n := range a.held.lacks(b.held) {
		events = append(events, w.events[n])
	}
	shuffle(w, events)
	if len(events) > 3 && !w.healed && w.chance(10) { // the connection breaks
		events = events[:len(events)/2]
	}
	b.take(events)
	if !a.counts(b) {
		return
	}
	w.tellRecords(a, b)
	w.tellChunks(a, b)
	for _, n := range a.heard.lacks(b.heard) {
		b.hear(w.messages[n])
	}
}

func (w *world) tellRecords(a, b *device) {
	for _, o := range w.devices { // in an order of its own, not that of a map
		rec, ok := a.records[o.id.Dev()]
		if !ok {
			continue
		}
		if old, ok := b.records[o.id.Dev()]; ok && !rec.Newer(old) {
			continue
		}
		if _, member := b.roster.Owner(o.id.Dev()); member {
			b.records[o.id.Dev()] = rec
		}
	}
}

// tellChunks gives the chunks of rekeys that b has; who means harm withholds some, and
// now and then one is lost.
func (w *world) tellChunks(a, b *device) {
	took := false
	for _, n := range b.locked {
		_, c, _ := b.set.Get(w.events[n].ID())
		for _, id := range c.(*protocol.Rekey).Chunks {
			at, ok := w.chunkIDs[id]
			if !ok || !a.chunks.has(at) || b.chunks.has(at) || a.p.hostile && w.chance(70) || w.chance(20) {
				continue
			}
			b.chunks.put(at)
			took = true
		}
	}
	if took {
		b.openChunks()
	}
}

// hear takes a message in, if the control events that it cites are here.
func (d *device) hear(m *message) {
	waits := slices.ContainsFunc(m.v.Header().Refs, func(id protocol.ID) bool { return !d.set.Has(id) })
	if !waits && !d.heard.has(m.n) {
		d.heard.put(m.n)
		d.clock.Observe(m.v.Header().HLC, d.time())
	}
}

// ask has a device ask another for what it lacks.
func (w *world) ask(d, of *device) {
	if d.set == nil || of.set == nil {
		return
	}
	list := d.missing()
	for len(list) > 0 {
		n := min(len(list), protocol.MaxWantEpochs)
		w.askFor(d, of, list[:n])
		list = list[n:]
	}
}

// askFor is one request.
func (w *world) askFor(d, of *device, list []protocol.ID) {
	var got []protocol.EpochSecret
	if of.p.hostile {
		got = of.lie(d, list)
	} else {
		got = of.secretsFor(d, list)
		d.got = append(d.got, got...)
		w.tally.Answers += len(got)
	}
	// Node looks first whether an answer is true; here the keyring alone has to.
	for _, s := range w.handOver(d, of, got) {
		if !slices.Contains(list, s.Epoch) {
			continue
		}
		d.takeSecret(s)
		d.opened(d.keys.Open(d.set))
	}
}

func (d *device) takeSecret(s protocol.EpochSecret) { d.keys.Add(s) }

// opened looks at what a keyring took in: it has to be true.
func (d *device) opened(list []*protocol.Epoch) {
	for _, ep := range list {
		if !d.w.genuine(ep) {
			if ep.E.IsZero() && d.p.misled[ep.ID] {
				d.w.tally.Misled++
				continue
			}
			d.w.fail("%s holds a forged secret of an epoch", d.name())
		}
	}
}
