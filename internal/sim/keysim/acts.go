package keysim

import (
	"fmt"
	"slices"

	"github.com/p2pchat/p2pchat/protocol"
)

func (d *device) name() string { return fmt.Sprintf("device %d", d.n) }

// draft begins a control event of this device, having seen all heads.
func (d *device) draft(kind protocol.Kind) (protocol.Draft, protocol.Standing, error) {
	me, ok := d.standing()
	if !ok || me.Rank > protocol.MayIssue(kind) {
		return protocol.Draft{}, me, fmt.Errorf("a %s by a %s", kind, me.Rank)
	}
	return protocol.Draft{
		Group: d.w.group, Kind: kind, Prev: d.ctl, Refs: d.set.Heads(protocol.MaxControlRefs, me.Grant), Auth: me.Grant,
		HLC: d.hlc(),
	}, me, nil
}

// hlc dates an event; who means harm dates it as pleases them.
func (d *device) hlc() uint64 {
	t := d.clock.Next(d.time())
	if d.p.hostile && d.w.chance(50) {
		return t + uint64(d.w.dice.IntN(int(2*day))) - day
	}
	return t
}

// sign makes a control event and takes it in.
func (d *device) sign(draft protocol.Draft, c protocol.Clear) (protocol.Verified, error) {
	v, err := draft.SignControl(c, nil, nil, d.id.Signer(), d.w.random)
	if err == nil {
		err = d.w.truth.Add(v)
	}
	if err != nil {
		return v, err
	}
	d.w.keep(v)
	d.ctl = v.Tip()
	d.take([]protocol.Verified{v})
	return v, nil
}

// issue makes a control event of somebody who means well, which may not fail.
func (d *device) issue(kind protocol.Kind, c protocol.Clear) (protocol.Verified, bool) {
	draft, _, err := d.draft(kind)
	if err != nil {
		return protocol.Verified{}, false
	}
	v, err := d.sign(draft, c)
	if err != nil {
		d.w.fail("%s cannot %s: %v", d.name(), kind, err)
	}
	return v, err == nil
}

// say sends a message: whoever is a member in their own view can.
func (d *device) say(last bool) {
	w := d.w
	me, ok := d.standing()
	if !ok {
		return
	}
	ep, err := d.ensureEpoch()
	if err != nil {
		if !d.p.hostile {
			w.fail("%s cannot send: %v", d.name(), err)
		}
		return
	}
	m := &message{n: len(w.messages), by: d, eid: ep.ID, text: fmt.Sprintf("message %d", len(w.messages)), last: last}
	draft := protocol.Draft{
		Group: w.group, Kind: protocol.KindText, Prev: d.msg, Refs: d.set.Heads(protocol.MaxMessageRefs, me.Grant), HLC: d.hlc(),
	}
	if m.v, err = draft.SignMessage(protocol.Content{Text: m.text}, ep, d.id.Signer(), w.random); err != nil {
		w.fail("%s cannot seal: %v", d.name(), err)
		return
	}
	d.msg = m.v.Tip()
	if _, err := d.roster.CheckMessage(m.v, spoken{w}); err != nil {
		w.fail("what %s sends does not count for itself: %v", d.name(), err)
	}
	if _, err := w.starts[m.eid].ep.OpenMessage(m.v); err != nil {
		m.lost = true // under a secret that its admitter invented
		if !d.p.misled[m.eid] {
			w.fail("%s seals under what is no secret of the epoch", d.name())
		}
	}
	m.whole = !ep.E.IsZero()
	m.out = d.outside()
	w.messages = append(w.messages, m)
	w.said[m.v.ID()] = m
	w.tally.Messages++
	d.hear(m)
}

// outside lists the devices that are out as this one sees it, and were told so: what
// somebody did to their own place counts a day later, as a clock may be a day off.
func (d *device) outside() (out []ending) {
	for _, o := range d.w.devices {
		if o.set == nil || d.counts(o) {
			continue
		}
		by, ok := d.roster.Revocation(o.p.root(), o.id.Dev())
		if !ok && d.roster.Rank(o.p.root()) >= protocol.Relay {
			by, ok = d.roster.Ended(o.p.root())
		}
		if !ok {
			continue // this person, or this device, has not come yet
		}
		v, _, _ := d.set.Get(by)
		young := func(v protocol.Verified) bool { return v.Header().HLC+2*day > d.millis() }
		if v.Header().Kind == protocol.KindDeviceRevoke && young(v) || slices.ContainsFunc(o.p.leaves, young) {
			continue
		}
		out = append(out, ending{o, by})
	}
	return out
}

// spoken is the chains of all messages.
type spoken struct{ w *world }

func (l spoken) Spares(v protocol.Verified, c protocol.CutEntry) bool {
	for id := c.ID; ; {
		at, ok := l.w.said[id]
		switch {
		case id == v.ID():
			return true
		case !ok:
			return false
		}
		id = at.v.Header().Prev
	}
}

func (l spoken) Before(v protocol.Verified) (uint64, bool) {
	p, ok := l.w.said[v.Header().Prev]
	if !ok {
		return 0, false
	}
	return p.v.Header().HLC, true
}

// admit lets somebody in by an invite to a rank, and hands over what they may have.
func (d *device) admit(o *device, rank protocol.Rank) {
	w := d.w
	me, ok := d.standing()
	if !ok || me.Rank > protocol.Greeter || rank <= me.Rank || !d.meets(o) {
		return
	}
	if o.set != nil && d.roster.Rank(o.p.root()) != protocol.NoRank {
		return
	}
	if len(d.roster.Banned(o.p.root())) > 0 {
		if _, ok := d.issue(protocol.KindUnban, &protocol.Lift{Target: o.p.root()}); !ok {
			return
		}
	}
	link := protocol.Link{Group: w.group, Seed: w.secret()}
	in, ok := d.issue(protocol.KindInvite, &protocol.Invite{Key: link.PublicKey(), Rank: rank})
	if !ok {
		return
	}
	box, err := protocol.NewBoxKey(true)
	if err != nil {
		panic(err)
	}
	request, err := link.Request(o.id, box, "", "", w.random)
	if err != nil {
		panic(err)
	}
	draft, _, err := d.draft(protocol.KindGrant)
	if err != nil {
		return
	}
	past, err := d.set.PastOf(draft)
	if err != nil {
		panic(err) // these are the heads of the set
	}
	steps := d.keys.Steps(d.roster, past, d.millis(), protocol.LeaveGrace)
	if d.p.hostile {
		steps = d.bend(steps, o.p)
	}
	v, ok := d.issue(protocol.KindGrant, &protocol.Grant{
		Target: o.p.root(), Rank: rank, Invite: in.ID(), Cert: &request.Cert, Proof: &request.Proof, Steps: steps,
	})
	if !ok {
		return
	}
	o.p.admitted(v, d)
	d.welcome(o)
}

// welcome hands a newcomer what it needs to read.
func (d *device) welcome(o *device) {
	if o.set == nil {
		o.begin(d.w.events[0])
	}
	if !d.counts(o) { // what ended their place is not lifted by this grant
		return
	}
	list, err := d.welcomeEpochs(o.p.root())
	if err != nil && !d.p.hostile {
		d.w.fail("%s cannot welcome: %v", d.name(), err)
	}
	for _, s := range list {
		o.got = append(o.got, s)
		o.takeSecret(s)
	}
	d.w.meet(d, o)
	o.opened(o.keys.Open(o.set))
}

// admitted notes an admission, and what its author had heard by then.
func (p *person) admitted(grant protocol.Verified, by *device) {
	p.grants = append(p.grants, entry{grant.ID(), by, slices.Clone(by.heard)})
}

// act is something that somebody does about somebody's place.
func (w *world) act(d *device) {
	me, ok := d.standing()
	if !ok {
		return
	}
	switch x := w.dice.IntN(100); {
	case x < 30:
		w.arrive(d, me.Rank)
	case x < 70:
		d.expel(me.Rank)
	case x < 78:
		d.goAway()
	case x < 88:
		d.bringDevice()
	default:
		d.loseDevice()
	}
}

var ranks = []protocol.Rank{
	protocol.Admin, protocol.Moderator, protocol.Moderator, protocol.Greeter, protocol.Member, protocol.Member, protocol.Member,
}

// arrive has a newcomer join, or somebody come back.
func (w *world) arrive(d *device, mine protocol.Rank) {
	rank := pick(w, ranks)
	if rank <= mine {
		rank = protocol.Member
	}
	if p := pick(w, w.people); p.went && w.chance(60) {
		d.admit(pick(w, p.devices), rank)
		return
	}
	if len(w.people) < peopleMost && len(w.devices) < devicesMost && mine <= protocol.Greeter {
		d.admit(w.newPerson(false).devices[0], rank)
	}
}

// expel removes or bans somebody, or gives them a more junior role.
func (d *device) expel(mine protocol.Rank) {
	w := d.w
	p := pick(w, w.people)
	rank := d.roster.Rank(p.root())
	if mine > protocol.Moderator || p == d.p || rank <= mine || rank == protocol.NoRank {
		return
	}
	kind, demotes := protocol.KindRemove, false
	switch x := w.dice.IntN(10); {
	case x < 4:
		kind = protocol.KindBan
	case x < 6:
		demotes = rank < protocol.Member
	}
	cut := d.cut(p.root())
	if _, ok := d.issue(kind, &protocol.Denial{Target: p.root(), Cut: cut}); !ok {
		return
	}
	p.went = true
	w.tally.Removals++
	if demotes {
		if v, ok := d.issue(protocol.KindGrant, &protocol.Grant{Target: p.root(), Rank: protocol.Member}); ok {
			p.admitted(v, d)
		}
	}
	if w.chance(80) && !d.p.hostile { // the others find out by themselves
		why := protocol.Expelled
		if demotes {
			why = protocol.Stale
		}
		if err := d.startEpoch(why); err != nil {
			w.fail("%s cannot rotate: %v", d.name(), err)
		}
	}
}

// cut spares all that was seen of somebody, or nothing.
func (d *device) cut(root protocol.Key, only ...protocol.Key) (c protocol.Cut) {
	if d.w.chance(15) {
		return c
	}
	for _, id := range d.set.Tips(root) {
		if v, _, _ := d.set.Get(id); len(only) == 0 || slices.Contains(only, v.Header().Dev) {
			c.Control = append(c.Control, id)
		}
	}
	slices.SortFunc(c.Control, protocol.ID.Compare)
	for _, dev := range d.set.Devices(root) {
		if len(only) > 0 && !slices.Contains(only, dev) {
			continue
		}
		var last *message
		for _, n := range d.heard.lacks(nil) {
			m := d.w.messages[n]
			if h := m.v.Header(); h.Dev == dev && (last == nil || h.Seq > last.v.Header().Seq) {
				last = m
			}
		}
		if last != nil {
			c.Messages = append(c.Messages, protocol.CutEntry{ID: last.v.ID(), Seq: last.v.Header().Seq})
		}
	}
	slices.SortFunc(c.Messages, func(a, b protocol.CutEntry) int { return a.ID.Compare(b.ID) })
	return c
}

// goAway leaves; who founded the group stays.
func (d *device) goAway() {
	if d.p.founder {
		return
	}
	if v, ok := d.issue(protocol.KindLeave, &protocol.Leave{}); ok {
		d.p.went = true
		d.p.leaves = append(d.p.leaves, v)
		d.w.tally.Removals++
	}
}

// bringDevice certifies a further device, which gets nothing but the control events:
// wraps and answers bring the rest.
func (d *device) bringDevice() {
	w := d.w
	if len(d.p.devices) > 2 || len(w.devices) >= devicesMost {
		return
	}
	o := w.newDevice(d.p)
	o.side = d.side
	if _, ok := d.issue(protocol.KindDeviceAdd, &protocol.DeviceAdd{Cert: o.id.Cert()}); ok {
		o.begin(w.events[0])
		w.meet(d, o)
	}
}

// loseDevice revokes another device of the same person.
func (d *device) loseDevice() {
	for _, o := range d.p.devices {
		if o == d || !d.counts(o) {
			continue
		}
		if _, ok := d.issue(protocol.KindDeviceRevoke, d.id.Revoke(o.id.Dev(), d.cut(d.p.root(), o.id.Dev()))); ok {
			d.w.tally.Removals++
		}
		return
	}
}
