package protocol

import (
	"slices"
	"testing"
)

// Somebody who was not there when Eve was banned has rotated, and their epoch comes
// last. After a leave the next epoch hands on where members meet, and never the place
// that Eve knows.
func TestTheNextEpochMeetsWhereTheBannedDoNotKnow(t *testing.T) {
	w := newWorld(t)
	bob, carl, eve := w.join("bob", Member), w.join("carl", Member), w.join("eve", Member)
	k, _ := w.holder()
	first := w.begin(k, w.ana, "first")
	before := w.set.Heads(MaxControlRefs, bob.auth)
	w.act(w.ana, KindBan, &Denial{Target: eve.root()})
	w.begin(k, w.ana, "after the ban", first)
	ep, rekey := w.rekey(bob, "Eve has it", first)
	w.act(bob, KindRekey, rekey, before...)
	k.Add(EpochSecret{Epoch: ep.ID, E: ep.E})
	k.Open(w.set)
	w.act(carl, KindLeave, &Leave{})
	if why := k.Due(Eval(w.set), w.hlc, 0); why != Stale || why.Fresh() {
		t.Fatalf("an epoch is due because of %d", why)
	}
	n, ok := k.HandOn(Eval(w.set), w.hlc)
	if !ok || n != secretOf("N after the ban") {
		t.Errorf("handed on is what Eve knows: %v, or nothing: %v", n == secretOf("N Eve has it"), !ok)
	}
	if list := k.Meet(Eval(w.set), k.Choose(Eval(w.set), w.hlc, 0), 4, 16); list[0] != secretOf("N Eve has it") {
		t.Error("the newest is another: the test shows nothing")
	}
	w.act(w.ana, KindBan, &Denial{Target: bob.root()})
	if _, ok := k.HandOn(Eval(w.set), w.hlc); ok {
		t.Error("after a ban something is handed on")
	}
}

// A bundle is not sealed by what anybody knows who has gone, in whichever way, and however
// often it was handed on.
func TestBundlesAreNotForWhoHasGone(t *testing.T) {
	w := newWorld(t)
	carl, eve := w.join("carl", Member), w.join("eve", Member)
	k, _ := w.holder()
	private := func(want ...Secret) {
		t.Helper()
		if got := k.Private(Eval(w.set), MaxBundlePoints); !slices.Equal(got, want) {
			t.Errorf("%d secrets, not %d, or others", len(got), len(want))
		}
	}
	first := w.begin(k, w.ana, "first")
	second := w.begin(k, w.ana, "second", first)
	private(secretOf("N second"), secretOf("N first"))
	if got := k.Private(Eval(w.set), 1); !slices.Equal(got, []Secret{secretOf("N second")}) {
		t.Error("the newest is not the first")
	}
	w.act(carl, KindLeave, &Leave{})
	private()
	again, rekey := w.rekey(w.ana, "third", second) // with the same N, as after a leave
	rekey.Commit, rekey.SealedN = CommitN(w.group, secretOf("N second")), again.SealN(secretOf("N second"))
	w.act(w.ana, KindRekey, rekey)
	k.Add(EpochSecret{Epoch: again.ID, E: again.E})
	k.Open(w.set)
	if n, _ := k.Point(again.ID); n != secretOf("N second") {
		t.Fatal("it is not handed on: the test shows nothing")
	}
	private()
	w.begin(k, w.ana, "fourth", again)
	private(secretOf("N fourth"))
	w.act(w.ana, KindBan, &Denial{Target: eve.root()})
	private()
	w.begin(k, w.ana, "fifth")
	private(secretOf("N fifth"))
}
