package keysim

import (
	"slices"

	"github.com/p2pchat/p2pchat/protocol"
)

// judge looks at a world in which everything has healed and every request was answered.
func (w *world) judge() {
	well := w.wells()
	for _, d := range well[min(1, len(well)):] {
		if d.set.Len() != well[0].set.Len() {
			w.fail("%s and %s hold different control events in the end", well[0].name(), d.name())
			return
		}
	}
	w.agree()
	if len(well) > 0 {
		w.read(well)
	}
	w.secrecy()
}

// wells are the current members' devices whose owners mean well.
func (w *world) wells() (out []*device) {
	for _, d := range w.devices {
		if w.well(d) {
			out = append(out, d)
		}
	}
	return out
}

// agree: who holds the same control events chooses the same of the epochs that both hold,
// in whatever order they came.
func (w *world) agree() {
	well := w.wells()
	for i, d := range well {
		o := well[(i+1)%len(well)]
		if d.set.Len() != o.set.Len() || len(d.held.lacks(o.held)) > 0 {
			continue
		}
		both := protocol.View{Now: w.now, Grace: protocol.LeaveGrace, Held: func(eid, rekey protocol.ID) bool {
			return d.keys.Held(eid) && o.keys.Held(eid) && w.starts[eid].rekey == rekey
		}}
		a, okA := protocol.Usable(d.roster.Candidates(both))
		b, okB := protocol.Usable(o.roster.Candidates(both))
		if a != b || okA != okB {
			w.fail("%s and %s hold the same, and choose different ones", d.name(), o.name())
		}
	}
}

// read: what counts and was sealed by who means well is read by everybody who is
// entitled to it. It is lost where nobody who means well and is still there has all of
// the epoch: the device that sealed it went, or it was a newcomer whose admitter told
// of the epoch nobody else, or lied to it.
func (w *world) read(well []*device) {
	for _, m := range w.messages {
		if m.by.p.hostile || m.lost {
			continue
		}
		if _, err := well[0].roster.CheckMessage(m.v, spoken{w}); err != nil {
			continue
		}
		if !slices.ContainsFunc(well, func(d *device) bool { return d.wholly(m.eid) }) && !(w.well(m.by) && m.whole) {
			w.tally.Lost++
			continue
		}
		for _, d := range well {
			if d.heard.has(m.n) && w.entitled(d, m) && !d.opens(m) {
				w.fail("%s is entitled to %q by %s and cannot read it", d.name(), m.text, m.by.name())
			}
		}
	}
}

// wholly says whether a device can hand an epoch on to everybody who may have it.
func (d *device) wholly(eid protocol.ID) bool {
	ep := d.keys.Epoch(eid)
	return ep != nil && !ep.E.IsZero()
}

// opens reads a message, really.
func (d *device) opens(m *message) bool {
	ep := d.keys.ByTag(m.v.Header().Epoch)
	if ep == nil {
		return false
	}
	c, err := ep.OpenMessage(m.v)
	return err == nil && c.Text == m.text
}

// entitled says whether a current member may read a message: in an open group
// everything; else what was sealed by who had seen it come, as far as that is plain: it
// came once, and never went. In the end everybody has seen everybody come.
func (w *world) entitled(d *device, m *message) bool {
	if !w.since {
		return true
	}
	if d.p.misled[m.eid] {
		return false // who came after it cannot tell that its admission is false
	}
	if m.last {
		return true
	}
	if d.p.went || len(d.p.grants) > 1 {
		return false // plain enough are the others
	}
	past, err := w.truth.Past(m.v.Header().Refs)
	return err == nil && d.p.within(past)
}

// within says whether a past has any grant to somebody.
func (p *person) within(past *protocol.Past) bool {
	return p.founder || slices.ContainsFunc(p.grants, func(g entry) bool { return past.Has(g.grant) })
}

// secrecy: who was out when a message was sealed, as its author saw it, cannot open it:
// not with every byte that travelled, every secret that was handed to it, and those of
// all others who were out. Nor can who joins later, where history begins with them.
func (w *world) secrecy() {
	back := w.backSeals()
	knows := make([]knowledge, len(w.devices))
	for i, d := range w.devices {
		knows[i] = w.learn(d, back)
	}
	for _, m := range w.messages {
		if m.by.p.hostile {
			continue
		}
		for _, e := range m.out {
			w.tally.Attempts++
			if knows[e.dev.n].opens(m) && !w.cameBack(m, e) {
				w.fail("%s was out by a %s as %s saw it, and can open its %q", e.dev.name(), w.kind(e.by), m.by.name(), m.text)
			}
			if w.since && knows[e.dev.n].opens(m) && !w.letIn(m, e) {
				w.fail("%s was out by a %s when %s said %q, came back later, and can open it", e.dev.name(), w.kind(e.by), m.by.name(), m.text)
			}
			if expels(w.kind(e.by)) && w.devices[0].roster.Effective(e.by) && len(e.dev.p.grants)+len(e.dev.p.leaves) <= 1 && knows[e.dev.n].finds(w, m.eid) && !w.cameBack(m, e) && !w.handedBack(m, e) {
				w.fail("%s was out by a %s as %s saw it, and can find those who met when it said %q", e.dev.name(), w.kind(e.by), m.by.name(), m.text)
			}
		}
		if w.since {
			w.before(m, knows)
		}
	}
}

func (w *world) kind(id protocol.ID) protocol.Kind { return w.events[w.number[id]].Header().Kind }

// before: a newcomer cannot open what its admitter had heard, nor who came back what
// they had heard who let it in.
func (w *world) before(m *message, knows []knowledge) {
	past, err := w.truth.Past(m.v.Header().Refs)
	if err != nil {
		w.fail("%q cites what is not there", m.text)
		return
	}
	for i, d := range w.devices {
		w.tally.Attempts++
		if !knows[i].opens(m) || d.p.within(past) || slices.ContainsFunc(d.p.grants, func(g entry) bool { return g.by.p.hostile || !g.heard.has(m.n) }) {
			continue
		}
		w.fail("%s joined after %q by %s, and can open it", d.name(), m.text, m.by.name())
	}
}

// backSeals returns which epochs' secrets open which others', as all can see them.
func (w *world) backSeals() map[protocol.ID][]protocol.ID {
	back := make(map[protocol.ID][]protocol.ID)
	for _, id := range w.truth.Rekeys() {
		_, c, _ := w.truth.Get(id)
		rekey := c.(*protocol.Rekey)
		ep := w.starts[rekey.Epoch].ep
		for _, p := range rekey.Parents {
			if len(p.Back) == 0 {
				continue
			}
			if e, err := ep.OpenParent(p.Epoch, p.Back); err == nil && e == w.starts[p.Epoch].ep.E {
				back[rekey.Epoch] = append(back[rekey.Epoch], p.Epoch)
			}
		}
	}
	return back
}

// knowledge is from which step on somebody can open which epochs.
type knowledge map[protocol.ID]uint32

func (k knowledge) opens(m *message) bool {
	step, ok := k[m.eid]
	return ok && step <= m.v.Header().Step
}

// finds says whether the rendezvous secret of an epoch is one that came with another.
func (k knowledge) finds(w *world, eid protocol.ID) bool {
	for known := range k {
		if w.starts[known].n == w.starts[eid].n {
			return true
		}
	}
	return false
}

func expels(k protocol.Kind) bool { return k == protocol.KindRemove || k == protocol.KindBan }

func (k knowledge) add(eid protocol.ID, step uint32) bool {
	if old, ok := k[eid]; ok && old <= step {
		return false
	}
	k[eid] = step
	return true
}

// learn returns what a device can come by: the epochs it started, what it was handed,
// finds in any box for any prekey that it ever had, and what these open. What somebody
// who was in told it against the rules is left out: against that there is no help.
func (w *world) learn(d *device, back map[protocol.ID][]protocol.ID) knowledge {
	known := make(knowledge)
	var todo []protocol.ID
	add := func(eid protocol.ID, step uint32) {
		if known.add(eid, step) && step == 0 {
			todo = append(todo, eid)
		}
	}
	for eid, s := range w.starts {
		if s.by == d {
			add(eid, 0)
		}
	}
	for _, s := range d.got {
		if w.true(s) {
			add(s.Epoch, s.Step)
		}
	}
	for _, b := range w.boxes {
		if s := w.starts[b.eid]; d.names[b.prekey] != nil && !b.leak && s != nil && s.ep.E == b.e {
			add(b.eid, 0)
		}
	}
	for ; len(todo) > 0; todo = todo[1:] {
		for _, parent := range back[todo[0]] {
			add(parent, 0)
		}
	}
	return known
}

// letIn says whether somebody who came back after an end may read a message: who let
// them in had not heard it. Where the end is not a founder's, or was undone, it may not
// have been one for everybody.
func (w *world) letIn(m *message, e ending) bool {
	author, _ := w.truth.Author(e.by)
	founders := slices.ContainsFunc(w.people, func(p *person) bool { return p.founder && p.root() == author })
	if !expels(w.kind(e.by)) || !founders || !w.devices[0].roster.Effective(e.by) {
		return true
	}
	return slices.ContainsFunc(e.dev.p.grants, func(g entry) bool {
		past, err := w.truth.Past([]protocol.ID{g.grant})
		return err == nil && past.Has(e.by) && (g.by.p.hostile || !g.heard.has(m.n))
	})
}

// handedBack says whether somebody who means harm handed the rendezvous secret of an
// epoch on, knowing of an end.
func (w *world) handedBack(m *message, e ending) bool {
	for _, s := range w.starts {
		if s.by.p.hostile && s.n == w.starts[m.eid].n {
			if past, err := w.truth.Past([]protocol.ID{s.rekey}); err == nil && past.Has(e.by) {
				return true
			}
		}
	}
	return false
}

// cameBack says whether somebody who knew of both the epoch and the end took the device
// for a member's after all: it was let in again, or its end was undone.
func (w *world) cameBack(m *message, e ending) bool {
	rekey, end := w.starts[m.eid].at, w.number[e.by]
	for _, h := range w.devices {
		if h.set == nil || e.dev.n >= len(h.counted) {
			continue
		}
		a, knewEpoch := h.since(rekey)
		b, knewEnd := h.since(end)
		if knewEpoch && knewEnd && h.counted[e.dev.n] >= max(a, b) {
			return true
		}
	}
	return false
}
