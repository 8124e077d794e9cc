package protocol

import "testing"

// rotor is a member who starts epochs when they are due, by a clock of its own.
type rotor struct {
	*actor
	k     *Keyring
	ahead uint64 // of the true time, in milliseconds
	count int
}

// turn has a member start an epoch if one is due, as its program does, and hands the
// secret to the others.
func (w *world) turn(m *rotor, now uint64, all []*rotor) {
	w.t.Helper()
	r, clock := Eval(w.set), now+m.ahead
	if m.k.Due(r, clock, 0) == NotDue {
		return
	}
	d := Draft{Group: w.group, Kind: KindRekey, Prev: m.ctl, Refs: r.Heads(MaxControlRefs, m.auth), Auth: m.auth}
	past, err := w.set.PastOf(d)
	w.must(err)
	m.count++
	e := secretOf(m.name + string(rune(m.count)))
	ep, rekey, err := m.k.Start(r, m.dev(), m.ctl.Seq+1, past, e, secretOf("N"), clock, 0)
	w.must(err)
	w.hlc = clock
	w.act(m.actor, KindRekey, rekey, d.Refs...)
	for _, o := range all {
		o.k.Add(EpochSecret{Epoch: ep.ID, E: e})
		o.k.Open(w.set)
	}
}

// Whatever a clock says and whoever means harm, epochs are started by age now and then,
// and never one after the other: each stays in everybody's log, and a member's chain
// has room for few.
func TestRotationByAgeComesToRest(t *testing.T) {
	for _, c := range []struct {
		story   string
		mod     uint64 // how fast a moderator's clock is
		two     bool   // there is another moderator
		harm    map[uint64]func(w *world, mod, eve *actor, k *Keyring, at uint64)
		most    int // epochs in 60 days
		members int // by either member
	}{
		{story: "nobody means harm", most: 9, members: 9},
		{story: "a moderator's clock is a day fast", mod: day, most: 20, members: 10},
		{story: "a moderator's clock is eight days fast", mod: 8 * day, most: 2 * 62, members: 62},
		{story: "a moderator's clock is eight days fast, and another's is not", mod: 8 * day, two: true, most: 2 * 62, members: 62},
		{story: "a moderator starts epochs of 2050 and of 1970", most: 20, members: 12, harm: map[uint64]func(w *world, mod, eve *actor, k *Keyring, at uint64){
			10: func(w *world, mod, _ *actor, k *Keyring, _ uint64) { w.hlc = 1 << 41; w.begin(k, mod, "2050", w.epoch) },
			30: func(w *world, mod, _ *actor, k *Keyring, _ uint64) { w.hlc = 5; w.begin(k, mod, "1970", w.epoch) },
		}},
		{story: "a member starts an epoch that opens for nobody when one is due", most: 20, members: 12, harm: map[uint64]func(w *world, mod, eve *actor, k *Keyring, at uint64){
			7: func(w *world, _, eve *actor, _ *Keyring, at uint64) { w.hlc = at; w.start(eve, "nobody's", w.epoch) },
			14: func(w *world, _, eve *actor, _ *Keyring, at uint64) {
				w.hlc = at
				w.start(eve, "nobody's again", w.epoch)
			},
			21: func(w *world, _, eve *actor, _ *Keyring, at uint64) { w.hlc = at; w.start(eve, "and again", w.epoch) },
		}},
	} {
		t.Run(c.story, func(t *testing.T) {
			w := newWorld(t)
			bob, carl, mod, eve := w.join("bob", Member), w.join("carl", Member), w.join("mod", Moderator), w.join("eve", Member)
			all := []*rotor{{actor: bob}, {actor: carl}, {actor: mod, ahead: c.mod}}
			if c.two {
				all = append(all, &rotor{actor: w.join("two", Moderator)})
			}
			for _, m := range all {
				m.k = NewKeyring(w.group, m.root())
			}
			if c.harm != nil {
				all = all[:2] // the moderator means harm, or is away
			}
			first := w.begin(all[0].k, w.ana, "first")
			for _, m := range all[1:] {
				m.k.Add(EpochSecret{Epoch: first.ID, E: first.E})
				m.k.Open(w.set)
			}
			began := w.hlc
			for at := began; at < began+60*day; at += hour {
				if f := c.harm[(at-began)/day]; f != nil && (at-began)%day == 0 {
					own := w.epoch
					f(w, mod, eve, all[0].k, at)
					for _, m := range all[1:] {
						if all[0].k.Held(w.epoch.ID) {
							m.k.Add(EpochSecret{Epoch: w.epoch.ID, E: w.epoch.E})
							m.k.Open(w.set)
						}
					}
					w.epoch = own
				}
				total := 0
				for _, m := range all {
					w.turn(m, at, all)
					total += m.count
					if m.ahead == 0 && m.count > c.members {
						t.Fatalf("%s started %d epochs in %d days", m.name, m.count, (at-began)/day)
					}
				}
				if total > c.most {
					t.Fatalf("%d epochs in %d days", total, (at-began)/day)
				}
			}
			for _, m := range all {
				t.Logf("%s started %d", m.name, m.count)
				now := began + 60*day + m.ahead
				if c := m.k.Choose(Eval(w.set), now, 0); !c.OK || now-c.made > 8*day && m.ahead == 0 && now > c.made {
					t.Errorf("%s sends under an epoch that is %d days old", m.name, (now-c.made)/day)
				}
			}
		})
	}
}
