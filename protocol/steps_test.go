package protocol

import (
	"errors"
	"slices"
	"testing"
)

// sinceJoin is a group whose history begins with joining, and ana's keyring with its
// first epoch.
func sinceJoin(t *testing.T) (*world, *Keyring) {
	t.Helper()
	w := newWorld(t)
	salt := secretOf("since join")
	ana := w.ana
	ana.become(ana.account.Identity(salt))
	g := &Genesis{Salt: salt, History: HistorySinceJoin, Founders: []Cert{ana.id.Cert()}}
	v, err := Draft{Kind: KindGenesis, Prev: ana.ctl, HLC: w.hlc}.SignControl(g, nil, nil, ana.id.Signer(), w.random)
	w.must(err)
	w.genesis, w.group, w.set = v, v.ID(), NewSet(v.ID())
	ana.ctl, ana.auth = v.Tip(), v.ID()
	w.must(w.set.Add(v))
	k := NewKeyring(w.group, ana.root())
	w.begin(k, ana, "first")
	return w, k
}

// welcome admits somebody by ana, with the steps that her keyring says, and returns the
// newcomer's keyring with what it is welcomed with.
func (w *world) welcome(k *Keyring, name string, change ...func(*Grant)) (*actor, *Keyring, []EpochSecret) {
	w.t.Helper()
	a := w.someone(name)
	l, in := w.invite(w.ana, "for "+name, Member)
	g := w.admission(l, in, a, Member)
	past, err := w.set.PastOf(Draft{Prev: w.ana.ctl, Refs: w.set.Heads(MaxControlRefs, w.ana.auth)})
	w.must(err)
	g.Steps = k.Steps(Eval(w.set), past, w.hlc, LeaveGrace)
	for _, f := range change {
		f(g)
	}
	a.auth = w.act(w.ana, KindGrant, g).ID()
	k.Open(w.set)
	list, _ := k.Welcome(Eval(w.set), a.root(), w.hlc, LeaveGrace)
	theirs := NewKeyring(w.group, a.root())
	for _, s := range list {
		theirs.Add(s)
	}
	theirs.Open(w.set)
	return a, theirs, list
}

// tell writes a text under the epoch that a keyring says.
func (w *world) tell(k *Keyring, a *actor, s string) Verified {
	w.t.Helper()
	c := k.Choose(Eval(w.set), w.hlc, LeaveGrace)
	if !c.OK {
		w.t.Fatal("there is nothing to send under")
	}
	w.epoch = k.Epoch(c.Epoch)
	return w.text(a, s)
}

func reads(k *Keyring, m Verified) bool {
	ep := k.ByTag(m.Header().Epoch)
	if ep == nil {
		return false
	}
	_, err := ep.OpenMessage(m)
	return err == nil
}

// A newcomer reads from its own step on, at whichever epoch's, and no rekey is needed
// for it.
func TestANewcomerReadsFromItsStepOn(t *testing.T) {
	w, ana := sinceJoin(t)
	before := w.tell(ana, w.ana, "before Bob")
	bob, bobs, got := w.welcome(ana, "bob")
	if len(got) != 1 || got[0].Step != 1 || !got[0].E.IsZero() || got[0].N.IsZero() {
		t.Fatalf("bob is welcomed with %d epochs from step %d", len(got), got[0].Step)
	}
	after := w.tell(ana, w.ana, "after Bob")
	own := w.tell(bobs, bob, "from Bob")
	_, carls, _ := w.welcome(ana, "carl")
	bobs.Open(w.set)
	last := w.tell(bobs, bob, "after Carl")
	if after.Header().Step != 1 || own.Header().Step != 1 || last.Header().Step != 2 {
		t.Errorf("sealed at steps %d, %d and %d", after.Header().Step, own.Header().Step, last.Header().Step)
	}
	for _, c := range []struct {
		who  string
		k    *Keyring
		want [4]bool
	}{{"ana", ana, [4]bool{true, true, true, true}}, {"bob", bobs, [4]bool{false, true, true, true}}, {"carl", carls, [4]bool{false, false, false, true}}} {
		for i, m := range []Verified{before, after, own, last} {
			if reads(c.k, m) != c.want[i] {
				t.Errorf("%s reads message %d: %v", c.who, i, !c.want[i])
			}
		}
	}
	if n := len(w.set.Rekeys()); n != 1 {
		t.Errorf("%d rekeys for two admissions", n)
	}
	// Bob, who never had E, passes Carl's step on; nothing before it, and no E.
	s, ok := bobs.Share(Eval(w.set), w.all["carl"].root(), got[0].Epoch)
	if !ok || s.Step != 2 || !s.E.IsZero() || !carls.Fits(w.set, s) {
		t.Errorf("bob hands carl step %d, %v", s.Step, ok)
	}
	if _, ok := carls.Share(Eval(w.set), bob.root(), got[0].Epoch); ok {
		t.Error("carl hands bob a step that carl cannot have")
	}
	// An epoch that begins after all of them is theirs as a whole.
	next := w.start(w.ana, "next")
	ana.Add(EpochSecret{Epoch: next.ID, E: next.E})
	ana.Open(w.set)
	if s, ok := ana.Share(Eval(w.set), bob.root(), next.ID); !ok || s.E.IsZero() || s.Step != 0 {
		t.Error("bob does not get the whole of an epoch that began after him")
	}
}

// Who goes and comes back reads nothing of what was said between.
func TestWhoComesBackReadsFromThereOn(t *testing.T) {
	w, ana := sinceJoin(t)
	bob, bobs, _ := w.welcome(ana, "bob")
	w.act(w.ana, KindRemove, &Denial{Target: bob.root()})
	first := w.epoch
	next := w.begin(ana, w.ana, "without bob", first)
	between := w.tell(ana, w.ana, "about Bob")
	_, again, got := w.welcome(ana, "bob")
	after := w.tell(ana, w.ana, "hello again")
	if len(got) != 1 || got[0].Epoch != next.ID || got[0].Step != 1 {
		t.Fatalf("bob is welcomed back with %+v", got)
	}
	for _, k := range []*Keyring{bobs, again} {
		if reads(k, between) {
			t.Error("bob reads what was said while he was out")
		}
	}
	if !reads(again, after) {
		t.Error("bob does not read what is said after he is back")
	}
}

// What does not fit the commitment is not believed; where an admission commits to
// something else, the others see it, and an epoch has to begin for its target.
func TestForgedStepsAreNotBelieved(t *testing.T) {
	w, ana := sinceJoin(t)
	_, bobs, got := w.welcome(ana, "bob")
	s := got[0]
	for what, change := range map[string]func(*EpochSecret){
		"another secret": func(s *EpochSecret) { s.S[0] ^= 1 },
		"another step":   func(s *EpochSecret) { s.Step++ },
		"another epoch":  func(s *EpochSecret) { s.Epoch = ID{1} },
		"another E":      func(s *EpochSecret) { s.E = Secret{1} },
	} {
		bad := s
		change(&bad)
		if bobs.Fits(w.set, bad) {
			t.Errorf("%s is believed", what)
		}
	}
	if !bobs.Fits(w.set, s) || ana.Fits(w.set, s) {
		t.Error("it is for bob")
	}
	// The rendezvous secret is believed where a rekey committed to it.
	if n, ok := bobs.Point(s.Epoch); !ok || n != secretOf("N first") {
		t.Error("bob does not know where the group meets")
	}
	w.sends("as before", ana, w.hlc, LeaveGrace, ana.Epoch(s.Epoch))
	_, _, none := w.welcome(ana, "carl", func(g *Grant) { g.Steps[0].Hash = ID{6, 6, 6} })
	if len(none) != 0 {
		t.Error("a step is handed out that the admission did not commit to")
	}
	w.sends("after a forged commitment", ana, w.hlc, LeaveGrace, nil)
	_, _, none = w.welcome(ana, "dora", func(g *Grant) { g.Steps = nil })
	if len(none) != 0 {
		t.Error("an admission without steps is welcomed to an epoch before it")
	}
	w.begin(ana, w.ana, "for carl and dora", w.epoch)
	w.sends("then", ana, w.hlc, LeaveGrace, w.epoch)
}

// A hostile sender has others walk no further than there are admissions, and those no
// further than a step each.
func TestStepsAreBounded(t *testing.T) {
	w, ana := sinceJoin(t)
	_, bobs, got := w.welcome(ana, "bob")
	eid := got[0].Epoch
	far := *ana.Epoch(eid)
	s, _ := far.find(40_000)
	far.last, far.marks, far.S, far.Step = nil, nil, s, 40_000
	w.epoch = &far
	m := w.text(w.ana, "far ahead")
	for _, k := range []*Keyring{ana, bobs} {
		if _, err := k.ByTag(m.Header().Epoch).OpenMessage(m); !errors.Is(err, ErrNoKey) {
			t.Errorf("a step that nobody was admitted at: %v", err)
		}
	}
	l, in := w.invite(w.ana, "eve", Member)
	g := w.admission(l, in, w.someone("eve"), Member)
	g.Steps = []StepStart{{Epoch: eid, Step: 3, Hash: ID{1}}}
	w.refuse("one further at most", w.ana, KindGrant, g)
	g.Steps[0] = StepStart{Epoch: ID{5}, Step: 1, Hash: ID{1}}
	w.refuse("not in its past", w.ana, KindGrant, g)
	// However far it goes, each step is near a mark.
	long := ana.Epoch(eid).until(maxStep)
	if n := len(long.marks); n != maxStep/markEvery+1 {
		t.Errorf("%d marks", n)
	}
	plain := *ana.Epoch(eid)
	plain.last, plain.marks = nil, nil
	for _, step := range []uint32{0, 1, markEvery - 1, markEvery, markEvery + 1, 1000, maxStep} {
		if must(long.at(step)) != must(plain.at(step)) {
			t.Errorf("step %d is another from its mark", step)
		}
	}
	short := plain.until(10)
	if _, err := short.at(11); err == nil {
		t.Error("a step beyond the last")
	}
	if s := short.until(200); must(s.at(200)) != must(plain.at(200)) || !slices.Equal(s.marks, long.marks[:4]) {
		t.Error("what was extended differs")
	}
}
