package authority_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/p2pchat/p2pchat/internal/sim"
	"github.com/p2pchat/p2pchat/protocol/authority"
)

// taught are seeds that showed a property to claim too much: a ban that a senior's grant
// had made up for, before a third party's remove was undone; and a message hidden by a
// revocation, in whose place an admin's cut came.
var taught = []uint64{318_856, 617_200}

// TestRandomWorlds compares the rule with its second implementation and checks its
// properties (see [sim.Check]) in as many worlds as fit into a test run. Long runs are
// made with internal/authority-sim; docs/results/authority.txt has the last one.
func TestRandomWorlds(t *testing.T) {
	worlds := uint64(20_000)
	if testing.Short() {
		worlds = 3_000
	}
	failed := 0
	for seed := range worlds + uint64(len(taught)) {
		if seed >= worlds {
			seed = taught[seed-worlds]
		}
		for _, wrong := range sim.Check(seed) {
			t.Errorf("seed %d: %s", seed, wrong)
			failed++
		}
		if failed > 10 {
			t.Fatal("and so on")
		}
	}
}

// drawn lets a property test roll the dice, so that what fails is made smaller.
type drawn struct{ t *rapid.T }

func (d drawn) IntN(n int) int { return rapid.IntRange(0, n-1).Draw(d.t, "") }

// TestProperties searches where chance does not look, and shrinks what it finds.
func TestProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		for _, wrong := range sim.CheckDice(drawn{t}) {
			t.Error(wrong)
		}
	})
}

// TestLongHistory compares the two implementations where pasts are larger than what is
// kept in one piece, and where a state grows by batches.
func TestLongHistory(t *testing.T) {
	w := history(1200)
	o := sim.NewOracle(w, func(int) bool { return true })
	d, err := w.Deliver(w.Order(sim.Seeded(1)), func(step int) bool { return step%100 == 0 })
	if err != nil {
		t.Fatal(err)
	}
	undone := 0
	for i := range w.Acts {
		got, want := d.Verdict(i), o.Verdict(i)
		if got != want {
			t.Errorf("%s is %s, by the oracle %s", w.Name(i), got, want)
		}
		if got != authority.Effective {
			undone++
		}
	}
	for _, who := range d.State.People() {
		if got, want := d.State.Rank(who), o.Rank(who); got != want {
			t.Errorf("%s is %s, by the oracle %s", w.Person(who), got, want)
		}
	}
	if undone == 0 {
		t.Error("nothing was undone, so that there was little to compare")
	}
}
