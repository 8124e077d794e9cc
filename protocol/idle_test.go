package protocol

import "testing"

// Who was removed can make admissions without effect, and give each member others of
// them. Steps that they name move nobody: or what one member seals another who lacks
// those admissions would never open.
func TestStepsOfTheRemovedMoveNobody(t *testing.T) {
	w, ana := sinceJoin(t)
	eve := w.someone("eve")
	l, in := w.invite(w.ana, "for eve", Greeter)
	g := w.admission(l, in, eve, Greeter)
	past, err := w.set.PastOf(Draft{Prev: w.ana.ctl, Refs: w.set.Heads(MaxControlRefs, w.ana.auth)})
	w.must(err)
	g.Steps = ana.Steps(Eval(w.set), past, w.hlc, LeaveGrace)
	eve.auth = w.act(w.ana, KindGrant, g).ID()
	_, invite := w.invite(eve, "eve's", Member)
	link := w.link("eve's")
	_, bobs, _ := w.welcome(ana, "bob")
	w.act(w.ana, KindBan, &Denial{Target: eve.root()})
	w.begin(ana, w.ana, "after the ban", w.epoch)
	bobs.Add(EpochSecret{Epoch: w.epoch.ID, E: w.epoch.E})
	others := NewSet(w.group) // what bob has
	for v := range w.set.All() {
		w.must(others.Add(v))
	}
	bobs.Open(others)
	eid := w.epoch.ID
	// Eve makes more admissions than anybody has to hold, one by one, with steps of the new epoch.
	for i := range KeepIdle {
		who := w.someone("puppet " + string(rune('a'+i)))
		g := w.admission(link, invite, who, Member)
		g.Steps = []StepStart{{Epoch: eid, Step: uint32(i + 1), Hash: CommitStep(w.group, eid, uint32(i+1), walk(w.epoch.S, uint32(i+1)))}}
		v := w.act(eve, KindGrant, g)
		if i < MaxIdle/2 {
			w.must(others.Add(v))
		}
	}
	ana.Open(w.set)
	bobs.Open(others)
	if n := Eval(w.set).Rank(w.all["puppet b"].root()); n != NoRank {
		t.Fatal("eve's admissions count")
	}
	m := w.tell(ana, w.ana, "hello")
	if !reads(bobs, m) {
		t.Errorf("sealed at step %d, which bob does not know of", m.Header().Step)
	}
}
