package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestResume ends a run in the middle, as it were, and lets it go on.
func TestResume(t *testing.T) {
	name := filepath.Join(t.TempDir(), "results.txt")
	before := "# what was run\nseeds 0 to 99999: 100000 worlds, 0 violations, 1.0 s on 2 cores, go1.26\n"
	if err := os.WriteFile(name, []byte(before), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time there is nothing left to do
		if err := run(0, 100_050, name, io.Discard); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	added, ok := strings.CutPrefix(string(b), before)
	if !ok || strings.Count(added, "\n") != 1 || !strings.HasPrefix(added, "seeds 100000 to 100049: 50 worlds, 0 violations, ") {
		t.Errorf("the file is\n%s", b)
	}
}

func TestWorldsTellsEachSeed(t *testing.T) {
	wrong := worlds(5, 100, func(seed uint64) []string {
		if seed%50 == 0 {
			return []string{"it broke"}
		}
		return nil
	})
	if len(wrong) != 1 || wrong[0] != "seed 50: it broke" {
		t.Errorf("%q", wrong)
	}
}

func TestBadArguments(t *testing.T) {
	if err := run(0, 0, "x", io.Discard); err == nil {
		t.Error("no seeds are enough")
	}
	if err := run(0, 1, "", io.Discard); err == nil {
		t.Error("no file is enough")
	}
	if err := run(0, 1, t.TempDir(), io.Discard); err == nil || errors.Is(err, errViolated) {
		t.Errorf("a folder as a file: %v", err)
	}
}
