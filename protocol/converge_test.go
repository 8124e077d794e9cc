package protocol

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// summary is all that two nodes with one set must agree about.
func summary(s *Set) string {
	var b strings.Builder
	var ids []string
	for i := range s.nodes {
		ids = append(ids, s.nodes[i].v.ID().String())
	}
	slices.Sort(ids)
	r := Eval(s)
	for i := range s.nodes {
		if id := s.nodes[i].v.ID(); !r.Effective(id) {
			cause, _ := r.Cause(id)
			ids = append(ids, "undone "+id.String()+boolText(cause.IsZero()))
		}
	}
	slices.Sort(ids)
	fmt.Fprintln(&b, ids, s.Heads(1<<20, ID{}), s.Heads(2, s.group))
	for _, m := range r.Members() {
		slices.SortFunc(m.Devices, Key.Compare)
		fmt.Fprintln(&b, m)
	}
	for n := range uint16(16) {
		id, ok := r.Setting(n)
		fmt.Fprintln(&b, n, id, ok)
	}
	sorted := func(l []ID) []ID { l = slices.Clone(l); slices.SortFunc(l, ID.Compare); return l }
	fmt.Fprintln(&b, sorted(r.Rekeys()), sorted(r.Invites()), sorted(r.Frozen()))
	var forks []string
	for _, f := range s.Forks() {
		forks = append(forks, f.A.ID().String()+f.B.ID().String())
	}
	slices.Sort(forks)
	fmt.Fprintln(&b, forks)
	best, ok := Usable(r.Candidates(View{Held: func(ID, ID) bool { return true }}))
	fmt.Fprintln(&b, best, ok)
	return b.String()
}

func boolText(b bool) string { return fmt.Sprint(" ", b) }

// randomWorld lets several people act at once, not all of them rightly: they cite
// what they happen to have seen, copy devices, and try what they may not.
func randomWorld(t testing.TB, seed uint64, steps int) *world {
	rng := rand.New(rand.NewPCG(seed, 1))
	w := newWorld(t, "abe")
	people := []*actor{w.ana, w.all["abe"]}
	type open struct {
		l  Link
		id ID
		r  Rank
	}
	var invites []open
	var epochs []*Epoch
	outsiders := 0
	ranks := []Rank{Owner, Admin, Moderator, Greeter, Member, Relay}
	for i := range steps {
		a := people[rng.IntN(len(people))]
		refs := []ID{a.auth}
		for range 1 + rng.IntN(3) {
			refs = append(refs, w.set.nodes[rng.IntN(w.set.Len())].v.ID())
		}
		if rng.IntN(25) == 0 { // perhaps a bad one
			refs = append(refs, w.events[rng.IntN(len(w.events))].ID())
		}
		if rng.IntN(3) == 0 { // somebody who is up to date
			refs = append(refs, w.set.Heads(8, a.auth)...)
		}
		if rng.IntN(12) == 0 {
			refs = refs[1:] // and somebody who forgets the grant
		}
		slices.SortFunc(refs, ID.Compare)
		refs = slices.Compact(refs)
		refs = refs[:min(len(refs), MaxControlRefs)]
		before := a.ctl
		target := people[rng.IntN(len(people))]
		write := func(k Kind, c Clear) Verified { return w.write(a, k, c, refs...) }
		var v Verified
		switch rng.IntN(14) {
		case 10, 11:
			kind := []Kind{KindRemove, KindBan, KindBan, KindMute}[rng.IntN(4)]
			d := &Denial{Target: target.root()}
			if past, err := w.set.Past(refs); err == nil && rng.IntN(2) == 0 && past.Has(target.ctl.ID) {
				d.Control = []ID{target.ctl.ID}
			}
			v = write(kind, d)
		case 12:
			v = write([]Kind{KindUnban, KindUnmute}[rng.IntN(2)], &Lift{Target: target.root()})
		case 13:
			if rng.IntN(3) > 0 {
				continue
			}
			v = write(KindLeave, &Leave{})
		case 0, 1:
			l := w.link(fmt.Sprint("random", i))
			r := ranks[rng.IntN(len(ranks))]
			v = write(KindInvite, &Invite{Key: l.PublicKey(), Rank: r})
			invites = append(invites, open{l, v.ID(), r})
		case 2, 3, 4:
			if len(invites) == 0 {
				continue
			}
			in := invites[rng.IntN(len(invites))]
			outsiders++
			who := w.someone(fmt.Sprint("p", outsiders))
			refs = append(refs, in.id)
			slices.SortFunc(refs, ID.Compare)
			refs = slices.Compact(refs)
			refs = refs[:min(len(refs), MaxControlRefs)]
			v = write(KindGrant, w.admission(in.l, in.id, who, in.r))
			who.auth = v.ID()
			people = append(people, who)
		case 5, 6:
			v = write(KindGrant, &Grant{Target: target.root(), Rank: ranks[rng.IntN(len(ranks))]})
			if rng.IntN(2) == 0 {
				target.auth = v.ID()
			}
		case 7:
			v = write(KindSetting, &Setting{Number: uint16(rng.IntN(4)), Value: uint64(i)})
		case 8:
			ep, k := w.rekey(a, fmt.Sprint("epoch", i))
			if len(epochs) > 0 && rng.IntN(2) == 0 {
				p := epochs[rng.IntN(len(epochs))]
				k.Parents = []Parent{{Epoch: p.ID}}
				if rng.IntN(4) == 0 {
					k.Epoch = p.ID // a claim to somebody's epoch
				}
			}
			epochs = append(epochs, ep)
			v = write(KindRekey, k)
		case 9:
			v = write(KindDeviceAdd, &DeviceAdd{Cert: a.second(w.group).id.Cert()})
		}
		if w.set.Add(v) != nil && rng.IntN(20) != 0 {
			a.ctl = before // mostly a refusal is not built upon
		}
		if rng.IntN(10) == 0 {
			a.ctl = before // a copied device: two events at one place
		}
	}
	return w
}

// The same events in any order, doubled or not, give the same set and roster.
func TestAnyOrderConverges(t *testing.T) {
	var events, kept, undone, bad, forks int
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		w := randomWorld(t, seed, 35)
		rng := rand.New(rand.NewPCG(seed, 2))
		first := NewSet(w.group)
		deliver(first, w.events)
		want := summary(first)
		events, kept, forks = events+len(w.events), kept+first.Len(), forks+len(first.forks)
		bad += len(first.bad)
		roster := Eval(first)
		for i := range first.nodes {
			if !roster.Effective(first.nodes[i].v.ID()) {
				undone++
			}
		}
		for range 3 {
			order := append(slices.Clone(w.events), w.events[:len(w.events)/2]...)
			rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
			s := NewSet(w.group)
			grown := Eval(s) // takes in one event after the other
			if n := deliver(s, order, grown.Extend); n != 0 {
				rt.Fatalf("%d events still wait", n)
			}
			whole := Eval(s)
			for i := range s.nodes {
				if id := s.nodes[i].v.ID(); grown.Effective(id) != whole.Effective(id) {
					rt.Fatalf("event by event, %s is judged otherwise", id)
				}
			}
			if got := summary(s); got != want {
				rt.Fatalf("another order, another group:\n%s\n%s", want, got)
			}
		}
	})
	t.Logf("%d events, %d allowed, %d of them undone, %d bad, %d forks", events, kept, undone, bad, forks)
	if kept < events/4 || bad == 0 || undone == 0 || forks == 0 {
		t.Error("the worlds are too tame or too wild to show anything")
	}
}

// Of three settings, B follows A, A's author is senior to C's, C's to B's. Whoever
// compares two at a time finds a different winner in every order.
func TestSettingsDoNotGoInCircles(t *testing.T) {
	w := newWorld(t)
	bob, carl := w.join("bob", Moderator), w.join("carl", Admin)
	set := func(a *actor, value uint64) func(refs ...ID) Verified {
		return func(refs ...ID) Verified {
			return w.act(a, KindSetting, &Setting{Number: SettingRate, Value: value}, refs...)
		}
	}
	w.names["J"] = w.act(w.ana, KindSetting, &Setting{Number: SettingRetention, Value: 1})
	w.story("J -> A -> B | -> C", map[string]func(refs ...ID) Verified{"A": set(w.ana, 1), "B": set(bob, 2), "C": set(carl, 3)})
	want := w.names["C"].ID() // of B and C, which nothing follows, C is by the more senior
	rng := rand.New(rand.NewPCG(1, 1))
	for range 20 {
		rng.Shuffle(len(w.events), func(i, j int) { w.events[i], w.events[j] = w.events[j], w.events[i] })
		s := NewSet(w.group)
		deliver(s, w.events)
		if got, _ := Eval(s).Setting(SettingRate); got != want {
			t.Fatalf("the setting is %s, want %s", got, want)
		}
	}
	w.act(bob, KindSetting, &Setting{Number: SettingRate, Value: 9}, w.ids("B", "C")...)
	if got, _ := Eval(w.set).Setting(SettingRate); got != bob.ctl.ID {
		t.Error("who has seen all and changes it does not win")
	}
}

func TestHeadsAreWhatNobodyCites(t *testing.T) {
	w := newWorld(t, "abe", "adi")
	set := func(name string) func(refs ...ID) Verified {
		return func(refs ...ID) Verified {
			return w.act(w.all[name], KindSetting, &Setting{Number: SettingRate, Value: 1}, refs...)
		}
	}
	w.story("G -> A | -> B | -> C", map[string]func(refs ...ID) Verified{"A": set("ana"), "B": set("abe"), "C": set("adi")})
	heads := w.ids("A", "B", "C")
	slices.SortFunc(heads, ID.Compare)
	if got := w.set.Heads(16, ID{}); !slices.Equal(got, heads) {
		t.Errorf("heads %v, want %v", got, heads)
	}
	for _, must := range heads {
		if got := w.set.Heads(1, must); len(got) != 1 || got[0] != must {
			t.Errorf("one head that has %s in its past: %v", must, got)
		}
	}
	w.story("A B -> D", map[string]func(refs ...ID) Verified{"D": set("ana")})
	if got := w.set.Heads(16, ID{}); len(got) != 2 {
		t.Errorf("%d heads after D merged two of three", len(got))
	}
}

func TestTheMostSeniorGrantCounts(t *testing.T) {
	w := newWorld(t, "abe")
	bob := w.join("bob", Member)
	w.act(w.ana, KindGrant, &Grant{Target: bob.root(), Rank: Moderator})
	w.act(w.all["abe"], KindGrant, &Grant{Target: bob.root(), Rank: Admin}, bob.auth)
	p, ok := Eval(w.set).Standing(bob.root())
	if !ok || p.Rank != Admin || !slices.Equal(p.Devices, []Key{bob.dev()}) {
		t.Errorf("bob is %v", p)
	}
	if p, ok := Eval(w.set).Standing(Key{1}); ok || p.Rank != NoRank {
		t.Errorf("a stranger is %v", p)
	}
}

func TestADeviceHasOneOwner(t *testing.T) {
	w := newWorld(t)
	bob, carl := w.join("bob", Member), w.join("carl", Moderator)
	// The device signs for both; the more senior has it, in any order.
	shared := Identity{root: bob.id.root, dev: keyFrom(secretOf("shared"))}
	w.act(bob, KindDeviceAdd, &DeviceAdd{Cert: shared.Cert()})
	shared.root = carl.id.root
	w.act(carl, KindDeviceAdd, &DeviceAdd{Cert: shared.Cert()}, carl.auth)
	if p, _ := Eval(w.set).Owner(shared.Dev()); p.Root != carl.root() {
		t.Errorf("the device is %v's", p)
	}
	p, _ := Eval(w.set).Standing(bob.root())
	if slices.Contains(p.Devices, shared.Dev()) {
		t.Error("bob has it too")
	}
}

func BenchmarkAdmissions(b *testing.B) {
	for _, n := range []int{1_000, 10_000} {
		w := newWorld(b)
		l, in := w.invite(w.ana, "open", Member)
		for i := range n {
			w.events = append(w.events[:len(w.events):len(w.events)], fastAdmission(w, l, in, i))
		}
		full := NewSet(w.group)
		b.Run(fmt.Sprintf("add/%d", n), func(b *testing.B) {
			for b.Loop() {
				full = NewSet(w.group)
				for _, v := range w.events {
					if err := full.Add(v); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
		b.Run(fmt.Sprintf("eval/%d", n), func(b *testing.B) {
			for b.Loop() {
				if got := len(Eval(full).Members()); got != n+1 {
					b.Fatal(got)
				}
			}
		})
	}
}

func fastAdmission(w *world, l Link, in ID, i int) Verified {
	a := &actor{name: fmt.Sprint("m", i), account: account(fmt.Sprint("m", i))}
	a.become(a.account.Identity(w.group))
	w.hlc++
	v, err := Draft{Group: w.group, Kind: KindGrant, Prev: w.ana.ctl, Refs: []ID{w.ana.ctl.ID}, Auth: w.group, HLC: w.hlc}.
		SignControl(w.admission(l, in, a, Member), nil, nil, w.ana.id.Signer(), w.random)
	w.must(err)
	w.ana.ctl = v.Tip()
	return v
}
