package protocol

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// holder is a node as far as control events go: it refuses what is surplus, unless
// something that waits needs it.
type holder struct {
	set     *Set
	roster  *Roster
	waiting map[ID][]Verified
	refused map[ID]bool
	again   bool
}

func newHolder(w *world) *holder {
	h := &holder{set: NewSet(w.group), waiting: map[ID][]Verified{}, refused: map[ID]bool{}}
	for _, v := range w.events {
		w.must(h.set.Add(v))
	}
	h.roster = Eval(h.set)
	return h
}

func (h *holder) needed(id ID) bool {
	return slices.ContainsFunc(h.waiting[id], func(v Verified) bool { return h.roster.Draws(v) || h.needed(v.ID()) })
}

func (h *holder) take(v Verified) {
	h.roster.Extend()
	if h.set.Has(v.ID()) {
		return
	}
	if (h.roster.Surplus(v) || h.refused[v.Header().Prev]) && !h.needed(v.ID()) {
		h.refused[v.ID()] = true
		return
	}
	var missing *MissingError
	switch err := h.set.Add(v); {
	case err == nil:
		delete(h.refused, v.ID())
		h.roster.Extend()
		list := h.waiting[v.ID()]
		delete(h.waiting, v.ID())
		for _, next := range list {
			h.take(next)
		}
	case asMissing(err, &missing):
		on := missing.IDs[0]
		if !slices.ContainsFunc(h.waiting[on], func(o Verified) bool { return o.ID() == v.ID() }) {
			h.waiting[on] = append(h.waiting[on], v)
		}
	}
}

func asMissing(err error, to **MissingError) bool {
	for e := err; e != nil; {
		if m, ok := e.(*MissingError); ok {
			*to = m
			return true
		}
		u, ok := e.(interface{ Unwrap() error })
		if !ok {
			return false
		}
		e = u.Unwrap()
	}
	return false
}

// pull takes what another holds and this one lacks.
func (h *holder) pull(o *holder) {
	for h.again = true; h.again; {
		h.again = false
		h.roster.Extend()
		o.roster.Extend()
		for v := range o.roster.Lacking(h.roster.Ends(), nil) {
			h.take(v)
		}
		for on := range h.waiting {
			if h.refused[on] && h.needed(on) {
				delete(h.refused, on)
				h.again = true
			}
		}
	}
}

// agree has holders sync until they tell the same.
func agree(t *testing.T, all ...*holder) {
	t.Helper()
	for range 12 {
		for _, h := range all {
			for _, o := range all {
				h.pull(o)
			}
		}
		if !slices.ContainsFunc(all[1:], func(h *holder) bool { return !slices.Equal(h.roster.Ends(), all[0].roster.Ends()) }) {
			return
		}
	}
	for _, h := range all {
		t.Log(h.set.Len(), len(h.waiting), len(h.refused), len(h.roster.Ends()))
		f := h.roster.firm()
		for p, n := range f.branches {
			t.Log(p.dev.Text("")[:4], p.prev, n)
		}
		for _, e := range h.roster.Ends() {
			for k, o := range all {
				if !slices.Contains(o.roster.Ends(), e) {
					i, held := o.set.index[e.ID]
					t.Log("not at", k, e.Dev.Text("")[:4], e.Seq, held, held && o.roster.firm().has(i), o.refused[e.ID])
				}
			}
		}
	}
	t.Fatal("the holders do not come to tell the same")
}

// forks makes count branches of somebody's control chain, each an event or two long.
func (w *world) forks(a *actor, count int, rng *rand.Rand, c func(i int) (Kind, Clear)) []Verified {
	var out []Verified
	from := a.ctl
	for i := range count {
		a.ctl = from
		k, body := c(i)
		out = append(out, w.write(a, k, body))
		if rng.IntN(3) == 0 {
			out = append(out, w.write(a, KindLeave, new(Leave)))
		}
	}
	a.ctl = from
	return out
}

// Members fork without end, and give each node others. Honest nodes act in between, and
// come to hold all that any of them did; nobody holds much of the forks.
func TestCrowdsDoNotPartTheHonest(t *testing.T) {
	for seed := range uint64(25) {
		rng := rand.New(rand.NewPCG(seed, 10))
		w := newWorld(t)
		people := []*actor{w.ana, w.join("bo", Admin), w.join("dan", Moderator)}
		mal, eve := w.join("mal", Member), w.join("eve", Member)
		base := len(w.events)
		var nodes []*holder
		for range people {
			nodes = append(nodes, newHolder(w))
		}
		flood := w.forks(mal, 200, rng, func(int) (Kind, Clear) { return KindLeave, new(Leave) })
		for i := 0; i < len(flood); i += 20 { // a colluder cites some of them
			w.hlc++
			d := Draft{Group: w.group, Kind: KindLeave, Prev: eve.ctl, Auth: eve.auth, HLC: w.hlc}
			for _, v := range flood[i:min(i+4, len(flood))] {
				d.Refs = append(d.Refs, v.ID())
			}
			slices.SortFunc(d.Refs, ID.Compare)
			v, err := d.SignControl(new(Leave), nil, nil, eve.id.Signer(), w.random)
			w.must(err)
			flood = append(flood, v)
		}
		var acts []Verified
		for i, h := range nodes {
			own := slices.Clone(flood)
			rng.Shuffle(len(own), func(i, j int) { own[i], own[j] = own[j], own[i] })
			for k, v := range own[:rng.IntN(len(own))] {
				if h.take(v); k%(1+rng.IntN(40)) == 0 {
					h.roster.Extend()
					act := w.write(people[i], KindInvite, &Invite{Key: people[i].dev(), Rank: Member}, h.roster.Heads(MaxControlRefs, people[i].auth)...)
					w.must(h.set.Add(act))
					acts = append(acts, act)
				}
			}
		}
		agree(t, nodes...)
		for i, h := range nodes {
			for _, v := range acts {
				if !h.set.Has(v.ID()) || !h.roster.Firm(v.ID()) {
					t.Fatalf("seed %d: node %d lacks an act", seed, i)
				}
			}
			if most := base + len(acts)*(1+2*MaxControlRefs) + 4*KeepCrowd + 4*MaxCrowd*MaxControlRefs; h.set.Len() > most {
				t.Errorf("seed %d: node %d holds %d events", seed, i, h.set.Len())
			}
			for name, a := range w.all {
				if x, y := h.roster.Rank(a.root()), nodes[0].roster.Rank(a.root()); x != y {
					t.Errorf("seed %d: %s is %s at node %d, %s at the first", seed, name, x, i, y)
				}
			}
		}
	}
}

// A moderator forks into acts against different people, more than anybody holds; once
// somebody senior removes them, none of it is left anywhere.
func TestARemovalEndsACrowd(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 10))
	w := newWorld(t)
	mal, bo := w.join("mal", Moderator), w.join("bo", Member)
	var victims []*actor
	for i := range 12 {
		victims = append(victims, w.join(fmt.Sprint("v", i), Member))
	}
	a, b := newHolder(w), newHolder(w)
	flood := w.forks(mal, 120, rng, func(i int) (Kind, Clear) { return KindBan, &Denial{Target: victims[i/10].root()} })
	for i := range flood {
		a.take(flood[i])
	}
	for i := range flood {
		b.take(flood[len(flood)-1-i])
		b.take(flood[i])
	}
	agree(t, a, b)
	a.roster.Extend()
	ban := w.write(w.ana, KindBan, &Denial{Target: mal.root()}, a.roster.Heads(MaxControlRefs, w.ana.auth)...)
	w.must(a.set.Add(ban))
	act := w.write(bo, KindLeave, new(Leave), a.roster.Heads(MaxControlRefs, bo.auth)...)
	a.take(act)
	agree(t, a, b)
	for name, x := range w.all {
		if i, j := a.roster.Rank(x.root()), b.roster.Rank(x.root()); i != j {
			t.Errorf("%s is %s here, %s there", name, i, j)
		}
	}
	for _, v := range victims {
		if b.roster.Rank(v.root()) != Member {
			t.Errorf("%s is still out", v.name)
		}
	}
}

// Who was removed writes on: nodes hold some of it and tell of none, take in all that
// may count when the removal is undone, and what others cite in between.
func TestTheRemovedFillNothing(t *testing.T) {
	w := newWorld(t)
	bo, mal := w.join("bo", Admin), w.join("mal", Moderator)
	before := newHolder(w)
	w.act(bo, KindRemove, &Denial{Target: mal.root()})
	a, b := newHolder(w), newHolder(w)
	base := a.set.Len()
	refs := before.roster.Heads(MaxControlRefs, mal.auth)
	var flood []Verified
	for range 3 * KeepIdle {
		flood = append(flood, w.write(mal, KindInvite, &Invite{Key: mal.dev(), Rank: Member}, refs...))
	}
	for _, v := range flood[:20] {
		a.take(v)
	}
	agree(t, a, b)
	if !b.set.Has(flood[19].ID()) {
		t.Error("a little without effect is not told")
	}
	for _, v := range flood {
		a.take(v)
	}
	agree(t, a, b)
	for _, h := range []*holder{a, b} {
		if n := h.set.Len() - base; n <= MaxIdle || n > KeepIdle {
			t.Errorf("%d events without effect are held", n)
		}
	}
	if h := a.roster.Heads(MaxControlRefs, w.ana.auth); slices.Contains(h, flood[KeepIdle-1].ID()) {
		t.Error("what has no effect is cited")
	}

	// Somebody who does not know cites one of them.
	late := newHolder(w)
	for _, v := range flood[:MaxIdle/2] {
		late.take(v)
	}
	// The removal falls with its author's: all of it counts, and comes.
	fall := w.write(w.ana, KindRemove, &Denial{Target: bo.root()}, w.genesis.ID(), bo.auth)
	a.refused, b.refused = map[ID]bool{}, map[ID]bool{}
	a.take(fall)
	for _, v := range flood {
		a.take(v)
	}
	agree(t, a, b, late)
	for _, h := range []*holder{a, b, late} {
		if !h.set.Has(flood[len(flood)-1].ID()) || h.roster.Rank(mal.root()) != Moderator {
			t.Error("what counts again is not here")
		}
	}
}

// Heads are the most senior authors' first, and carry what must be seen.
func TestHeadsAreTheSeniors(t *testing.T) {
	w := newWorld(t)
	bo, mal := w.join("bo", Moderator), w.join("mal", Member)
	start := w.set.Heads(16, ID{})
	var of []ID
	for _, v := range w.forks(mal, MaxCrowd, rand.New(rand.NewPCG(3, 3)), func(int) (Kind, Clear) { return KindLeave, new(Leave) }) {
		w.must(w.set.Add(v))
		of = append(of, v.ID())
	}
	ban := w.act(bo, KindBan, &Denial{Target: mal.root()}, start...)
	r := Eval(w.set)
	if heads := r.Heads(1); !slices.Equal(heads, []ID{ban.ID()}) {
		t.Errorf("the only head is not the moderator's act")
	}
	for _, id := range of {
		past, err := w.set.Past(r.Heads(2, id, ban.ID()))
		w.must(err)
		if !past.Has(id) || !past.Has(ban.ID()) {
			t.Error("what must be seen is not")
		}
	}
}
