package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	small  = `{"founders": ["ana"], "events": [{"id": "G", "kind": "genesis", "by": "ana"}]}`
	answer = `{"roster":{"ana":0},"events":{"G":"effective"}}` + "\n"
)

func TestFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "world.json")
	if err := os.WriteFile(name, []byte(small), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := run([]string{name}, nil, &out); err != nil || out.String() != answer {
		t.Errorf("%q, %v", out.String(), err)
	}
}

// TestLines: a world a line gives an answer a line, up to the first that is none.
func TestLines(t *testing.T) {
	var out bytes.Buffer
	if err := run([]string{"-"}, strings.NewReader(small+"\n"+small), &out); err != nil || out.String() != answer+answer {
		t.Errorf("%q, %v", out.String(), err)
	}
	out.Reset()
	err := run([]string{"-"}, strings.NewReader(small+"\n{\"founders\": 1}\n"+small), &out)
	if err == nil || !strings.Contains(err.Error(), "line 2") || !strings.Contains(err.Error(), "founders") || out.String() != answer {
		t.Errorf("%q, %v", out.String(), err)
	}
}

func TestBadInput(t *testing.T) {
	name := filepath.Join(t.TempDir(), "bad.json")
	for want, text := range map[string]string{
		`unknown kind "vote"`: `{"events": [{"id": "A", "kind": "vote"}]}`,
		"used twice":          `{"events": [{"id": "A", "kind": "leave"}, {"id": "A", "kind": "leave"}]}`,
		"second genesis":      `{"events": [{"id": "A", "kind": "genesis"}, {"id": "B", "kind": "genesis"}]}`,
		"bad.json":            `{`,
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := run([]string{name}, nil, new(bytes.Buffer)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got: %v", want, err)
		}
	}
	for _, args := range [][]string{nil, {"a", "b"}, {filepath.Join(t.TempDir(), "absent")}} {
		if err := run(args, nil, new(bytes.Buffer)); err == nil {
			t.Errorf("%q is accepted", args)
		}
	}
}
