package main

import (
	"errors"
	"io"
	"testing"
)

const root = "../.."

// TestMutantsFollowTheCode: each mutant still finds what it changes.
func TestMutantsFollowTheCode(t *testing.T) {
	names := make(map[string]bool)
	for _, m := range mutants() {
		if names[m.name] {
			t.Errorf("two mutants are called %s", m.name)
		}
		names[m.name] = true
		if _, err := write(root, t.TempDir(), m); err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
	}
}

// TestMutantsAreCaught runs three; `make mutants` runs all.
func TestMutantsAreCaught(t *testing.T) {
	if testing.Short() {
		t.Skip("each builds and runs the tests of the rule")
	}
	for _, name := range []string{"equals may deny", "anybody may lift a ban", "an older state is never"} {
		if err := run(root, []string{name}, t.Output()); err != nil {
			t.Error(err)
		}
	}
}

// TestSurvivorsAreTold: what changes nothing is caught by nothing, and what does not
// build is no mutant.
func TestSurvivorsAreTold(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds and runs the tests of the rule")
	}
	by, err := try(root, inEval("nothing", "s := &State{g: g}\n\ts.eval(nil)", "s := &State{g: g}\n\n\ts.eval(nil)"))
	if err != nil || len(by) > 0 {
		t.Errorf("caught by %q, %v", by, err)
	}
	if _, err := try(root, inEval("nonsense", "s := &State{g: g}\n\ts.eval(nil)", "nonsense")); err == nil {
		t.Error("a mutant that does not build counts as one")
	}
	if err := run(root, []string{"there is no such name"}, io.Discard); err == nil || errors.Is(err, errSurvived) {
		t.Errorf("no mutant at all: %v", err)
	}
}
