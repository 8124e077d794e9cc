package protocol

import (
	"errors"
	"testing"
	"time"
)

const (
	minute = uint64(time.Minute / time.Millisecond)
	hour   = 60 * minute
	day    = 24 * hour
)

// holder is a keyring that has every secret of a world.
func (w *world) holder() (*Keyring, *Roster) { return NewKeyring(w.group, w.ana.root()), Eval(w.set) }

// begin has somebody start an epoch and takes its secret into a keyring.
func (w *world) begin(k *Keyring, by *actor, name string, parents ...*Epoch) *Epoch {
	w.t.Helper()
	ep := w.start(by, name, parents...)
	k.Add(EpochSecret{Epoch: ep.ID, E: ep.E})
	if k.Open(w.set); !k.Held(ep.ID) {
		w.t.Fatalf("%s is not held", name)
	}
	return ep
}

// sends checks under which epoch is sent.
func (w *world) sends(what string, k *Keyring, now uint64, grace time.Duration, want *Epoch) {
	w.t.Helper()
	got := k.Choose(Eval(w.set), now, grace)
	switch {
	case want == nil && got.OK:
		w.t.Errorf("%s: something is sent under %s", what, got.Epoch)
	case want != nil && got.Epoch != want.ID:
		w.t.Errorf("%s: not sent under the epoch it should be", what)
	}
}

// What a member starts is sent under by others only where there was none to send under.
func TestOthersAdoptWhatWasNeeded(t *testing.T) {
	for _, c := range []struct {
		story   string
		between func(w *world, k *Keyring, first *Epoch) // the two epochs
		by      string
		now     uint64 // after the second; 0 is then
		adopted bool
	}{
		{story: "a member, for nothing", by: "bob"},
		{story: "a moderator, for nothing", by: "mod", adopted: true},
		{story: "a member after 6 days", by: "bob", between: func(w *world, _ *Keyring, _ *Epoch) { w.hlc += 6 * day }},
		{story: "a member after a week", by: "bob", between: func(w *world, _ *Keyring, _ *Epoch) { w.hlc += 7 * day }, adopted: true},
		{story: "a member who says that a week has passed", by: "bob", between: func(w *world, _ *Keyring, _ *Epoch) { w.hlc += 8 * day }, now: 1},
		{story: "a member who says that it is 1970", by: "bob", between: func(w *world, _ *Keyring, _ *Epoch) { w.hlc = 5 }, now: 1},
		{story: "a member after 20,000 messages", by: "bob", between: func(_ *world, k *Keyring, first *Epoch) { k.Spend(first.ID) }, adopted: true},
		{story: "a member right after a leave", by: "bob", between: func(w *world, _ *Keyring, _ *Epoch) {
			w.act(w.all["carl"], KindLeave, &Leave{})
		}, adopted: true},
		{story: "a member after a ban", by: "bob", between: func(w *world, _ *Keyring, _ *Epoch) {
			w.act(w.ana, KindBan, &Denial{Target: w.all["carl"].root()})
		}, adopted: true},
		{story: "a member after a ban by somebody who could not", by: "bob", between: func(w *world, _ *Keyring, _ *Epoch) {
			mod := w.all["mod"]
			before := w.set.Heads(MaxControlRefs, mod.auth)
			w.act(w.ana, KindBan, &Denial{Target: mod.root()})
			w.act(mod, KindBan, &Denial{Target: w.all["carl"].root()}, before...)
			w.epoch = w.start(w.ana, "after the ban")
		}},
		{story: "a member whose clock is a day fast, after 6 days", by: "bob", between: func(w *world, _ *Keyring, _ *Epoch) { w.hlc += 7 * day }, now: 6 * day},
	} {
		t.Run(c.story, func(t *testing.T) {
			w := newWorld(t)
			w.join("bob", Member)
			w.join("carl", Member)
			w.join("mod", Moderator)
			k, _ := w.holder()
			first := w.begin(k, w.ana, "first")
			at := w.hlc
			if c.between != nil {
				c.between(w, k, first)
			}
			want := first
			if w.epoch != first {
				k.Add(EpochSecret{Epoch: w.epoch.ID, E: w.epoch.E})
				want = w.epoch
			}
			second := w.begin(k, w.all[c.by], "second", first)
			if c.adopted {
				want = second
			}
			now := w.hlc
			if c.now != 0 {
				now = at + c.now
			}
			w.sends(c.story, k, now, LeaveGrace, want)
			if m := w.text(w.ana, "hello"); w.epoch != second || second.Tag() != m.Header().Epoch {
				t.Fatal("the test sends under another")
			} else if _, err := k.ByTag(m.Header().Epoch).OpenMessage(m); err != nil {
				t.Errorf("what is sent under it does not open: %v", err)
			}
		})
	}
}

// Who lacks the secret that the others have sends under what there is, and starts no
// epoch after the other.
func TestWhoLacksASecretSendsAllTheSame(t *testing.T) {
	w := newWorld(t)
	bob := w.join("bob", Member)
	k := NewKeyring(w.group, bob.root())
	w.start(w.ana, "first") // bob has no secret of it
	own := w.begin(k, bob, "own")
	w.sends("his own", k, w.hlc, 0, own)
	if why := k.Due(Eval(w.set), w.hlc, 0); why != NotDue {
		t.Errorf("another is due because of %d", why)
	}
}

func TestWhenAnEpochIsDue(t *testing.T) {
	w := newWorld(t)
	bob, carl := w.join("bob", Member), w.join("carl", Member)
	k, _ := w.holder()
	due := func(what string, now uint64, grace time.Duration, want Reason) {
		t.Helper()
		if got := k.Due(Eval(w.set), now, grace); got != want {
			t.Errorf("%s: due because of %d, want %d", what, got, want)
		}
	}
	due("nothing is held", w.hlc, 0, NotDue)
	first := w.begin(k, w.ana, "first")
	made := w.hlc
	due("at once", made, 0, NotDue)
	due("a week less a moment later", made+7*day-1, 0, NotDue)
	due("a week later", made+7*day, 0, Aged)
	due("by a clock a year behind", made-365*day, 0, Aged)
	k.Spend(first.ID)
	due("20,000 messages later", made, 0, Spent)
	second := w.begin(k, w.ana, "second", first)
	left := w.act(bob, KindLeave, &Leave{}).Header().HLC
	due("a leave, for seniors", left, 0, Stale)
	due("a leave, for others", left, LeaveGrace, NotDue)
	due("an hour after a leave, for others", left+hour, LeaveGrace, Stale)
	due("a leave of a time to come", left-hour, LeaveGrace, Stale)
	third := w.begin(k, w.ana, "third", second)
	due("after the leave", w.hlc, 0, NotDue)
	ban := w.act(w.ana, KindBan, &Denial{Target: carl.root()}).Header().HLC
	due("a ban", ban, LeaveGrace, Expelled)
	w.sends("a ban", k, ban, LeaveGrace, nil)
	w.begin(k, w.ana, "fourth", third)
	due("after the ban", w.hlc, 0, NotDue)
}

// Who comes and goes makes a group rotate once a day.
func TestWhoComesAndGoesRotatesOnceADay(t *testing.T) {
	w := newWorld(t)
	bob := w.join("bob", Member)
	k, _ := w.holder()
	ep := w.begin(k, w.ana, "0")
	rotations, began := 0, w.hlc
	for i := range 20 { // a day's worth, an hour each
		w.act(bob, KindLeave, &Leave{})
		if k.Due(Eval(w.set), w.hlc, 0) != NotDue {
			rotations++
			ep = w.begin(k, w.ana, string(rune('a'+i)), ep)
		}
		if w.sends("after a leave", k, w.hlc, 0, ep); t.Failed() {
			t.FailNow()
		}
		l, in := w.invite(w.ana, string(rune('a'+i)), Member)
		w.admit(w.ana, l, in, bob, Member)
		w.hlc += hour
	}
	if rotations != 1 {
		t.Errorf("%d rotations in a day", rotations)
	}
	if why := k.Due(Eval(w.set), began+50*hour, 0); why != Stale {
		t.Errorf("a day after the last the epoch is due because of %d", why)
	}
	// Claiming other times does not help: nobody leaves before they came.
	w.begin(k, w.ana, "day two", ep)
	for i := range 3 {
		back := w.hlc
		w.hlc = began - uint64(10-i)*day
		w.act(bob, KindLeave, &Leave{})
		w.hlc = back
		l, in := w.invite(w.ana, "again"+string(rune('a'+i)), Member)
		w.admit(w.ana, l, in, bob, Member)
	}
	if why := k.Due(Eval(w.set), w.hlc, 0); why != NotDue {
		t.Errorf("back-dated leaves make an epoch due because of %d", why)
	}
}

// A claim to an epoch's id that somebody makes after a ban does not make the old epoch
// fit to send under, which who was banned has.
func TestAClaimDoesNotReviveAnEpoch(t *testing.T) {
	w := newWorld(t)
	bob, carl := w.join("bob", Moderator), w.join("carl", Member)
	k, _ := w.holder()
	before := w.set.Heads(MaxControlRefs, bob.auth)
	ep := w.begin(k, bob, "bob's")
	_, rekey, _ := w.set.Rekey(ep.ID)
	ban := w.act(w.ana, KindBan, &Denial{Target: carl.root()}, before...)
	w.sends("after a ban that has not seen it", k, w.hlc, 0, nil)
	w.act(w.ana, KindRekey, rekey, ban.ID()) // ana colludes
	w.sends("after a claim", k, w.hlc, 0, nil)
	if c := k.Candidates(Eval(w.set), w.hlc, 0); len(c) != 2 || c[0].Held == c[1].Held {
		t.Errorf("the candidates are %+v", c)
	}
}

// Twenty members start a thousand epochs. Everybody goes on to send under what they
// sent under, opens what is sent under theirs, and holds no more than the epochs.
func TestRekeyFloodChangesNothing(t *testing.T) {
	w := newWorld(t)
	k, _ := w.holder()
	var flooders []*actor
	for i := range 20 {
		flooders = append(flooders, w.join("m"+string(rune('a'+i)), Member))
	}
	first := w.begin(k, w.ana, "first")
	parents := make([]*Epoch, len(flooders))
	roster := Eval(w.set)
	for i := range 1000 {
		n := i % len(flooders)
		parent := first
		if parents[n] != nil {
			parent = parents[n]
		}
		w.hlc += minute / 1000
		parents[n] = w.begin(k, flooders[n], "flood "+string(rune(i)), parent)
		roster.Extend()
		if i%50 == 0 {
			if c := k.Choose(roster, w.hlc, 0); c.Epoch != first.ID {
				t.Fatalf("after %d rekeys it is sent under another epoch", i+1)
			}
		}
		if i%100 == 7 {
			if _, err := k.ByTag(parents[n].Tag()).OpenMessage(w.text(flooders[n], "spam")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if why := k.Due(roster, w.hlc, 0); why != NotDue || k.Len() != 1001 || len(k.pending) != 0 {
		t.Errorf("due because of %d, %d epochs, %d wait", why, k.Len(), len(k.pending))
	}
	list, fit := k.Welcome(roster, w.ana.root(), w.hlc, 0)
	if !fit || len(list) > MaxWelcomeEpochs {
		t.Errorf("a welcome hands over %d epochs, fit %v", len(list), fit)
	}
	if n := len(k.Meet(roster, k.Choose(roster, w.hlc, 0), 4, 16)); n > 16 {
		t.Errorf("%d rendezvous secrets", n)
	}
	// A moderator's next one ends it.
	w.begin(k, w.ana, "the end", parents[0], parents[1])
	w.sends("the founder's", k, w.hlc, 0, w.epoch)
}

// Who has used up the events of a member's chain starts an epoch all the same where
// somebody came or went, and no other.
func TestAUsedUpChainGoesOnWithRekeysThatAreNeeded(t *testing.T) {
	w := newWorld(t)
	bob, carl := w.join("bob", Member), w.join("carl", Member)
	second := bob.second(w.group)
	for range MaxMemberControl {
		w.act(bob, KindDeviceAdd, &DeviceAdd{Cert: second.id.Cert()})
	}
	w.refuse("at most", bob, KindDeviceAdd, &DeviceAdd{Cert: second.id.Cert()})
	rekey := func(name string) *Rekey { _, k := w.rekey(bob, name); return k }
	w.act(bob, KindRekey, rekey("the first of the chain"))
	w.refuse("at most", bob, KindRekey, rekey("for nothing"))
	w.act(w.ana, KindBan, &Denial{Target: carl.root()})
	seen := w.act(bob, KindRekey, rekey("after a ban"))
	w.refuse("at most", bob, KindRekey, rekey("for nothing"))
	w.join("dora", Member)
	w.refuse("at most", bob, KindRekey, rekey("not having seen her"), seen.ID())
	w.act(bob, KindRekey, rekey("having seen her"))
	if err := w.set.Add(w.write(bob, KindRekey, rekey("for nothing"))); !errors.Is(err, ErrInvalid) {
		t.Errorf("got %v", err)
	}
}

// Whoever has used up the events of a member's chain may still leave, and end each of
// their devices, once.
func TestAUsedUpChainEnds(t *testing.T) {
	w := newWorld(t)
	bob := w.join("bob", Member)
	phone, tablet := bob.second(w.group), w.someone("tablet")
	for range MaxMemberControl {
		w.act(bob, KindDeviceAdd, &DeviceAdd{Cert: phone.id.Cert()})
	}
	revoke := func(a *actor) *DeviceRevoke { return bob.id.Revoke(a.dev(), Cut{}) }
	w.act(bob, KindDeviceRevoke, revoke(phone))
	w.refuse("at most", bob, KindDeviceRevoke, revoke(phone))
	w.act(bob, KindDeviceRevoke, revoke(tablet))
	w.act(bob, KindLeave, &Leave{})
	w.refuse("at most", bob, KindLeave, &Leave{})
	l, in := w.invite(w.ana, "back", Member)
	w.admit(w.ana, l, in, bob, Member)
	w.act(bob, KindLeave, &Leave{})
	w.refuse("at most", bob, KindLeave, &Leave{})
}
