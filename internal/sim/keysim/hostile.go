package keysim

import (
	"crypto/sha256"
	"errors"
	"slices"

	"github.com/p2pchat/p2pchat/protocol"
)

// harm is what a member who means harm does now and then, besides what everybody does.
func (d *device) harm() {
	if d.set == nil {
		return
	}
	switch d.w.dice.IntN(5) {
	case 0:
		for range 1 + d.w.dice.IntN(6) {
			d.rekey(d.anyWrap)
		}
	case 1:
		d.rekey(d.wrapToFormer)
	case 2:
		d.claim()
	case 3:
		d.futurePrekey()
	case 4:
		d.say(false)
	}
}

// rekey starts an epoch without need: a flood, with parents as they please and wraps by
// the device.
func (d *device) rekey(wrap func(ep *protocol.Epoch, o *device, key []byte) (protocol.Row, error)) {
	w := d.w
	draft, me, err := d.draft(protocol.KindRekey)
	if err != nil {
		return
	}
	past, err := d.set.PastOf(draft)
	if err != nil {
		return
	}
	n := d.rendezvous(w.chance(80))
	ep, rekey, err := d.keys.Start(d.roster, d.id.Dev(), draft.Prev.Seq+1, past, w.secret(), n, d.millis(), protocol.LeaveGrace)
	if err != nil {
		return
	}
	for i := range rekey.Parents {
		switch w.dice.IntN(3) {
		case 0:
			rekey.Parents[i].Back = nil
		case 1:
			rekey.Parents[i].Back = make([]byte, 48)
		}
	}
	if w.chance(30) {
		rekey.Parents = nil
	}
	var wraps []protocol.Row
	for _, o := range w.devices {
		rec, ok := d.records[o.id.Dev()]
		if !ok || o == d {
			continue
		}
		if x, err := wrap(ep, o, rec.Record().Value); err == nil {
			wraps = append(wraps, x)
		}
	}
	chunks := protocol.ChunkWraps(false, wraps)
	for _, c := range chunks {
		rekey.Chunks = append(rekey.Chunks, sha256.Sum256(c))
	}
	if w.chance(10) {
		rekey.Chunks = append(rekey.Chunks, protocol.ID{1}) // of nothing
	}
	rekey.Hybrid = len(chunks) > 0
	_ = d.issueEpoch(draft, me, ep, rekey, chunks, n) // its chain may be full
}

var errNothing = errors.New("no wrap")

// anyWrap wraps to members: rightly, or garbage, or another secret, or to a prekey of
// the maker's own.
func (d *device) anyWrap(ep *protocol.Epoch, o *device, key []byte) (protocol.Row, error) {
	if !d.counts(o) {
		return protocol.Row{}, errNothing
	}
	w := d.w
	switch w.dice.IntN(5) {
	case 0:
		return protocol.Row{}, errNothing
	case 1:
		return w.garbage(o.id.Dev()), nil
	case 2:
		other := *ep
		other.E = w.secret()
		return w.wrap(&other, d.id.Dev(), o.id.Dev(), key, false)
	case 3:
		_, public := w.newPrekey(0)
		return w.wrap(ep, d.id.Dev(), o.id.Dev(), public, false)
	}
	return w.wrap(ep, d.id.Dev(), o.id.Dev(), key, false)
}

// wrapToFormer wraps to everybody who ever was in. That cannot be kept from those who
// are in; others must not make it worse.
func (d *device) wrapToFormer(ep *protocol.Epoch, o *device, key []byte) (protocol.Row, error) {
	return d.w.wrap(ep, d.id.Dev(), o.id.Dev(), key, !d.counts(o))
}

// claim says that an epoch of somebody else begins with a rekey of one's own, which
// has not seen the true one but, if it can be, everything else.
func (d *device) claim() {
	w := d.w
	me, ok := d.standing()
	if !ok {
		return
	}
	var id protocol.ID
	var refs []protocol.ID
	for rekeys := d.set.Rekeys(); len(rekeys) > 0; rekeys = rekeys[1:] {
		if w.chance(30) {
			shuffle(w, rekeys)
		}
		if r := d.around(rekeys[0]); len(r) > 0 && (len(refs) == 0 || w.chance(40)) {
			id, refs = rekeys[0], r
		}
	}
	if len(refs) == 0 {
		return
	}
	_, c, _ := d.set.Get(id)
	stolen := *c.(*protocol.Rekey)
	if w.chance(50) {
		stolen.Parents = nil
	}
	draft := protocol.Draft{Group: w.group, Kind: protocol.KindRekey, Prev: d.ctl, Refs: refs, Auth: me.Grant, HLC: d.hlc()}
	if v, err := d.sign(draft, &stolen); err == nil {
		w.claims = append(w.claims, v.ID())
		w.tally.Forged++
	}
}

// around returns heads of what has not seen an event: the newest such events.
func (d *device) around(id protocol.ID) (refs []protocol.ID) {
	sees := func(head protocol.ID) bool {
		past, err := d.set.Past([]protocol.ID{head})
		return err != nil || past.Has(id)
	}
	if d.ctl.Seq > 0 && sees(d.ctl.ID) {
		return nil
	}
	for _, n := range slices.Backward(d.seenInOrder()) {
		if o := d.w.events[n].ID(); len(refs) < protocol.MaxControlRefs/2 && !sees(o) {
			refs = append(refs, o)
		}
	}
	return refs
}

func (d *device) seenInOrder() []int { return d.held.lacks(nil) }

// futurePrekey publishes a prekey of a week to come, whose number nobody could replace.
func (d *device) futurePrekey() {
	if _, member := d.standing(); member {
		d.publishPrekey(protocol.PrekeyWeek(d.time()) + uint64(d.w.dice.IntN(60)))
	}
}

// lie answers a request for secrets: with the truth at times, else with what it is not.
func (d *device) lie(asker *device, list []protocol.ID) (out []protocol.EpochSecret) {
	w := d.w
	if d.roster == nil {
		return nil
	}
	for _, eid := range list {
		s := protocol.EpochSecret{Epoch: eid, E: w.secret()}
		if asker.p.misled[eid] { // go on with the invention
			for _, step := range []uint32{1, 2, 3, 4} {
				st := protocol.StepStart{Epoch: eid, Step: step}
				out = append(out, protocol.EpochSecret{Epoch: eid, Step: step, S: w.invented(st)})
			}
			continue
		}
		switch w.dice.IntN(4) {
		case 0:
			continue
		case 1: // an older one's
			for _, r := range d.set.Rekeys() {
				_, c, _ := d.set.Get(r)
				if ep := d.keys.Epoch(c.(*protocol.Rekey).Epoch); ep != nil && ep.ID != eid {
					s.E = ep.E
					break
				}
			}
			w.tally.Forged++
		case 2:
			if true := d.secretsFor(asker, []protocol.ID{eid}); len(true) > 0 {
				s = true[0]
				asker.got = append(asker.got, s)
				break
			}
			w.tally.Forged++
		default:
			if w.since {
				s = protocol.EpochSecret{Epoch: eid, Step: uint32(1 + w.dice.IntN(3)), S: w.secret()}
			}
			w.tally.Forged++
		}
		out = append(out, s)
	}
	return out
}

// bend has an admission say something else about the steps: it leaves some out, or
// commits to what is none.
func (d *device) bend(steps []protocol.StepStart, p *person) (out []protocol.StepStart) {
	for _, st := range steps {
		switch d.w.dice.IntN(4) {
		case 0:
			continue
		case 1:
			st.Hash = protocol.CommitStep(d.w.group, st.Epoch, st.Step, d.w.invented(st))
			p.misled[st.Epoch] = true
			d.w.tally.Forged++
		}
		out = append(out, st)
	}
	return out
}

// invented is a secret that is none, which an admission committed to.
func (w *world) invented(st protocol.StepStart) protocol.Secret {
	s := w.starts[st.Epoch].ep.E
	s[0]++
	return s
}
