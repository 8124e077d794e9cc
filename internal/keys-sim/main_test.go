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
	before := "# what was run\nseeds 0 to 9: 10 worlds, 0 with violations, 1 s\n"
	if err := os.WriteFile(name, []byte(before), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time there is nothing left to do
		if err := (run{0, 13, 10, 2}).into(name, io.Discard); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	added, ok := strings.CutPrefix(string(b), before)
	if !ok || strings.Count(added, "\n") != 1 || !strings.HasPrefix(added, "seeds 10 to 12: 3 worlds, 0 with violations, ") {
		t.Errorf("the file is\n%s", b)
	}
}

func TestBadArguments(t *testing.T) {
	if err := (run{0, 0, 10, 1}).into("", io.Discard); err == nil {
		t.Error("no seeds are enough")
	}
	if err := (run{0, 1, 10, 1}).into(t.TempDir(), io.Discard); err == nil || errors.Is(err, errViolated) {
		t.Errorf("a folder as a file: %v", err)
	}
}
