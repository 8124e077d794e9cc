package authority_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/p2pchat/p2pchat/internal/sim"
	"github.com/p2pchat/p2pchat/protocol/authority"
)

// history is a group's life: forty admins on forty devices admit people, remove and ban
// some, and mostly do what changes nobody's standing; each has seen its own chain, and
// now and then all that there is. A founder is 0, the admins are the next ones.
func history(events int) *sim.World {
	const admins = 40
	rng := rand.New(rand.NewPCG(1, 1))
	w := &sim.World{Founders: []int32{0}}
	none := authority.None
	put := func(e authority.Event) int32 {
		w.Acts = append(w.Acts, sim.Act{Event: e})
		return int32(len(w.Acts) - 1)
	}
	put(authority.Event{Op: authority.Genesis, Prev: none, Auth: none, Target: none})
	tips, grants := make([]int32, admins+1), make([]int32, admins+1)
	for who := int32(1); who <= admins; who++ {
		tips[0] = put(authority.Event{Op: authority.Grant, Prev: tips[0], Target: who, Rank: authority.Admin})
		tips[who], grants[who] = none, tips[0]
	}
	people := int32(admins + 1)
	for len(w.Acts) < events {
		by := int32(1 + rng.IntN(admins))
		e := authority.Event{By: by, Dev: by, Prev: tips[by], Auth: grants[by], Target: none, Limit: authority.Moderator}
		switch {
		case e.Prev == none:
			e.Refs = []int32{tips[0]}
		case rng.IntN(4) == 0:
			e.Refs = []int32{tips[1+rng.IntN(admins)]}
			if e.Refs[0] == none {
				e.Refs = nil
			}
		}
		switch what := rng.IntN(10); {
		case what < 5:
			e.Op, e.Target, e.Rank = authority.Grant, people, authority.Member
			people++
			tips[by] = put(e)
			if rng.IntN(4) == 0 { // the newcomer does something
				put(authority.Event{By: e.Target, Dev: e.Target, Prev: none, Refs: []int32{tips[by]}, Auth: tips[by], Target: none, Limit: authority.Member})
			}
			continue
		case what == 5:
			e.Op, e.Target = authority.Remove, admins+1+int32(rng.IntN(int(people-admins)))
		case what == 6 && rng.IntN(4) == 0:
			e.Op, e.Target = authority.Ban, admins+1+int32(rng.IntN(int(people-admins)))
		}
		tips[by] = put(e)
	}
	return w
}

// build puts a history into a graph.
func build(b *testing.B, w *sim.World) *authority.Graph {
	b.Helper()
	g, err := authority.NewGraph(w.Founders, 0, 0)
	for _, a := range w.Acts[1:] {
		if err == nil {
			_, err = g.Add(a.Event)
		}
	}
	if err != nil {
		b.Fatal(err)
	}
	return g
}

func sizes(b *testing.B, run func(b *testing.B, w *sim.World)) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(fmt.Sprintf("events=%d", n), func(b *testing.B) { run(b, history(n)) })
	}
}

// BenchmarkAdd is the static checks and the sets of the past: a whole history an
// operation. What it keeps is told as bytes an event.
func BenchmarkAdd(b *testing.B) {
	sizes(b, func(b *testing.B, w *sim.World) {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		g := build(b, w)
		runtime.GC()
		runtime.ReadMemStats(&after)
		for b.Loop() {
			build(b, w)
		}
		b.ReportMetric((float64(after.HeapAlloc)-float64(before.HeapAlloc))/float64(g.Len()), "B/event")
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(g.Len()), "ns/event")
	})
}

// BenchmarkEval judges a whole history from nothing.
func BenchmarkEval(b *testing.B) {
	sizes(b, func(b *testing.B, w *sim.World) {
		g := build(b, w)
		for b.Loop() {
			authority.Eval(g)
		}
	})
}

// BenchmarkExtend adds one more event to a history and brings the state up to date: an
// admission, and a ban of a member with a cut before what the member did, for which the
// whole is judged anew.
func BenchmarkExtend(b *testing.B) {
	for _, op := range []authority.Op{authority.Grant, authority.Ban} {
		b.Run(op.String(), func(b *testing.B) {
			sizes(b, func(b *testing.B, w *sim.World) { extend(b, w, op) })
		})
	}
}

func extend(b *testing.B, w *sim.World, op authority.Op) {
	var active []int32 // members who did something
	for i := range w.Acts {
		if a := &w.Acts[i]; a.By > 40 {
			active = append(active, a.By)
		}
	}
	g := build(b, w)
	s := authority.Eval(g)
	e := authority.Event{Op: op, Prev: 40, Refs: []int32{int32(g.Len() - 1)}, Rank: authority.Member} // 40 ends the founder's chain
	for n := 0; b.Loop(); n++ {
		e.Target = int32(1<<20 + n)
		if op == authority.Ban {
			e.Target = active[n%len(active)]
		}
		var err error
		if e.Prev, err = g.Add(e); err != nil {
			b.Fatal(err)
		}
		s.Extend()
	}
}

// BenchmarkOracle is the second implementation, which walks everything, on a history of
// 1,000 events; the ratio is how much longer it takes than the rule, with its graph.
func BenchmarkOracle(b *testing.B) {
	w := history(1000)
	const times = 20
	start := time.Now()
	for range times {
		authority.Eval(build(b, w))
	}
	rule := float64(time.Since(start).Nanoseconds()) / times
	for b.Loop() {
		sim.NewOracle(w, func(int) bool { return true })
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rule, "times-the-rule")
}

// BenchmarkExtendByTheRemoved brings the state up to date after each of the denials that
// a banned admin goes on to write: they must not cost what those that count do.
func BenchmarkExtendByTheRemoved(b *testing.B) {
	sizes(b, func(b *testing.B, w *sim.World) {
		g := build(b, w)
		head := int32(g.Len() - 1)
		if _, err := g.Add(authority.Event{Op: authority.Ban, Prev: 40, Refs: []int32{head}, Target: 1}); err != nil {
			b.Fatal(err)
		}
		s := authority.Eval(g)
		e := authority.Event{Op: authority.Ban, By: 1, Dev: 1000, Prev: authority.None, Refs: []int32{head}, Auth: 1}
		for n := 0; b.Loop(); n++ {
			e.Target = int32(41 + n%100)
			var err error
			if e.Prev, err = g.Add(e); err != nil {
				b.Fatal(err)
			}
			s.Extend()
		}
	})
}
