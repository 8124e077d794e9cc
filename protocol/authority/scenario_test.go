package authority_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/p2pchat/p2pchat/internal/sim"
	"github.com/p2pchat/p2pchat/protocol/authority"
)

// lastFirst delivers what was told last as early as it can be.
type lastFirst struct{}

func (lastFirst) IntN(n int) int { return n - 1 }

// TestScenarios runs the stories of protocol/testdata/scenarios: each in several orders
// of delivery, evaluated from nothing and step by step, as a world of names, and by the
// second implementation.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("../testdata/scenarios/*.txt")
	if err != nil || len(files) < 60 {
		t.Fatalf("%d scenarios, %v: at least 60 belong here", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(string(text), "# ") {
				t.Error("it does not begin with its story")
			}
			story, err := sim.ParseStory(string(text))
			if err != nil {
				t.Fatal(err)
			}
			for i := range story.Expects {
				tellStory(t, story, &story.Expects[i])
			}
		})
	}
}

func tellStory(t *testing.T, story *sim.Story, e *sim.Expect) {
	t.Helper()
	orders := [][]int{e.Acts, story.World.Order(lastFirst{})}
	for seed := range uint64(6) {
		orders = append(orders, story.World.Order(sim.Seeded(seed)))
	}
	for n, order := range orders {
		order = slices.DeleteFunc(order, func(act int) bool { return !slices.Contains(e.Acts, act) })
		for _, steps := range []bool{false, true} {
			d, err := story.World.Deliver(order, func(int) bool { return steps })
			if err != nil {
				t.Fatal(err)
			}
			if wrong := e.Check(d); len(wrong) > 0 {
				t.Fatalf("%s order %d, step by step %v:\n%s", e.Line, n, steps, strings.Join(wrong, "\n"))
			}
			compareNamed(t, story.World, e, d, order)
		}
	}
	compareOracle(t, story.World, e)
}

// compareNamed judges the same acts as a world of names, in an order of delivery.
func compareNamed(t *testing.T, w *sim.World, e *sim.Expect, d *sim.Delivery, order []int) {
	t.Helper()
	named := w.Named()
	place := func(id string) int { return slices.Index(order, slices.Index(w.Names, id)) }
	named.Events = slices.DeleteFunc(named.Events, func(o authority.WorldEvent) bool { return place(o.ID) < 0 })
	slices.SortFunc(named.Events, func(a, b authority.WorldEvent) int { return place(a.ID) - place(b.ID) })
	j, err := named.Judge()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range e.Acts {
		if want := d.Verdict(i); !w.Acts[i].Says && j.Events[w.Name(i)] != want {
			t.Errorf("%s %s is %s by numbers, %s by names", e.Line, w.Name(i), want, j.Events[w.Name(i)])
		}
	}
	for who, name := range w.People {
		got, ok := j.Roster[name]
		if want := d.State.Rank(int32(who)); ok != (want != authority.NoRank) || ok && got != want {
			t.Errorf("%s %s is %s by numbers, %s by names", e.Line, name, want, got)
		}
	}
}

func compareOracle(t *testing.T, w *sim.World, e *sim.Expect) {
	t.Helper()
	o := sim.NewOracle(w, func(act int) bool { return slices.Contains(e.Acts, act) })
	d, err := w.Deliver(e.Acts, func(int) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range e.Acts {
		if got, want := d.Verdict(i), o.Verdict(i); got != want {
			t.Errorf("%s %s is %s, by the oracle %s", e.Line, w.Name(i), got, want)
		}
	}
	for who := range w.People {
		if got, want := d.State.Rank(int32(who)), o.Rank(int32(who)); got != want {
			t.Errorf("%s %s is %s, by the oracle %s", e.Line, w.Person(int32(who)), got, want)
		}
	}
}
