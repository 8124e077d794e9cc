package authority_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/p2pchat/p2pchat/internal/sim"
)

// TestRandomWorlds compares the rule with its second implementation and checks its
// properties (see [sim.Check]) in as many worlds as fit into a test run. Long runs are
// made with internal/authority-sim; docs/results/authority.txt has the last one.
func TestRandomWorlds(t *testing.T) {
	worlds := uint64(20_000)
	if testing.Short() {
		worlds = 3_000
	}
	failed := 0
	for seed := range worlds {
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
