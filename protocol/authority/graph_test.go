package authority

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// group is a group of ana, who is 0, and what she granted to 1, 2 and so on.
func group(t testing.TB, ranks ...Rank) *Graph {
	t.Helper()
	g, err := NewGraph([]int32{0}, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range ranks {
		at := int32(i)
		add(t, g, Event{Op: Grant, Prev: at, Refs: []int32{at}, Target: at + 1, Rank: r})
	}
	return g
}

func add(t testing.TB, g *Graph, e Event) int32 {
	t.Helper()
	i, err := g.Add(e)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// TestMemberChain: the chain of a member's device ends at its 64th event, that of who is
// more senior does not.
func TestMemberChain(t *testing.T) {
	g := group(t, Member, Greeter)
	for who, limited := range map[int32]bool{1: true, 2: false} {
		e := Event{By: who, Dev: who, Prev: None, Refs: []int32{who}, Auth: who, Limit: Member}
		for range MaxMemberChain {
			e.Prev = add(t, g, e)
		}
		if _, err := g.Add(e); (err != nil) != limited {
			t.Errorf("event %d of person %d: %v", MaxMemberChain+1, who, err)
		}
		e.Free = true
		e.Prev = add(t, g, e)
		e.Free = false
		if _, err := g.Add(e); (err != nil) != limited {
			t.Errorf("an event after one that is free, of person %d: %v", who, err)
		}
	}
}

// TestStaticErrors: each names what is wrong.
func TestStaticErrors(t *testing.T) {
	for want, e := range map[string]Event{
		"one genesis":                 {Op: Genesis, Prev: None, Refs: []int32{0}},
		"not the event before it":     {By: 1, Dev: 1, Prev: 0, Refs: []int32{1}, Auth: 1, Limit: Member},
		"not in its past":             {By: 1, Dev: 1, Prev: None, Refs: []int32{0}, Auth: 1, Limit: Member},
		"is another's":                {By: 1, Dev: 1, Prev: None, Refs: []int32{2}, Auth: 2, Limit: Member},
		"is not a grant":              {By: 0, Prev: 3, Refs: []int32{3}, Auth: 3, Limit: Member},
		"needs the role moderator":    {Op: Ban, By: 1, Dev: 1, Prev: None, Refs: []int32{1}, Auth: 1, Target: 2},
		"target is its author":        {Op: Ban, Prev: 3, Refs: []int32{2}, Target: 0},
		"only ranks junior":           {Op: Grant, By: 2, Dev: 2, Prev: None, Refs: []int32{2}, Auth: 2, Target: 1, Rank: Admin},
		"down to relay":               {Op: Grant, Prev: 3, Refs: []int32{2}, Target: 1, Rank: Relay + 1},
		"a cut at an event that is n": {Op: Remove, Prev: 3, Refs: []int32{1}, Target: 2, Cut: []int32{2}},
	} {
		g := group(t, Member, Admin)
		add(t, g, Event{Op: Remove, Prev: 2, Refs: []int32{2}, Target: 1})
		if _, err := g.Add(e); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got: %v", want, err)
		}
	}
	if _, err := NewGraph([]int32{1}, 0, 0); err == nil {
		t.Error("a genesis by somebody who is no founder")
	}
}

// TestPast compares sets that share structure with plain ones, across the borders of
// leaves and branches.
func TestPast(t *testing.T) {
	all := []int32{0, 63, 64, 511, 512, 8191, 8192, 20000}
	for i, at := range all {
		have := Positions(append(slices.Clone(all[:i]), all[i+1:]...))
		if have.Has(at) || !Positions(all).Lacks(Positions(all), have) || Positions(all).Lacks(have, have) || have.Lacks(Positions(all), have) {
			t.Errorf("the set without %d", at)
		}
	}

	rng := rand.New(rand.NewPCG(1, 2))
	border := func() int32 {
		at := []int32{0, 63, 64, 511, 512, 8191, 8192, 20000}[rng.IntN(8)]
		return max(0, at+int32(rng.IntN(5))-2)
	}
	sets, plain := []Past{{}}, []map[int32]bool{{}}
	for range 2000 {
		i, j := rng.IntN(len(sets)), rng.IntN(len(sets))
		next, want := sets[i], map[int32]bool{}
		for at := range plain[i] {
			want[at] = true
		}
		if rng.IntN(3) > 0 {
			at := border()
			next, want[at] = next.with(at), true
		} else {
			next = next.Union(sets[j])
			for at := range plain[j] {
				want[at] = true
			}
		}
		sets, plain = append(sets, next), append(plain, want)
	}
	for i, s := range sets { // only now: none was changed by what was made of it
		for at := int32(-1); at < 20010; at++ {
			if at > 70 && at < 500 || at > 520 && at < 8180 || at > 8200 && at < 19990 {
				continue
			}
			if s.Has(at) != plain[i][at] {
				t.Fatalf("set %d has %d: %v", i, at, s.Has(at))
			}
		}
	}
}
