package protocol

import (
	"bytes"
	"testing"
)

// What is taken off a copy is what Verify sees missing, and nothing else.
func TestErased(t *testing.T) {
	w := newWorld(t)
	v := w.text(w.ana, "hello")
	want := v.Event()
	want.Erase()
	for _, got := range []Verified{v.Erased(), v.Erased().Erased()} {
		again, err := Verify(w.group, got.Wire())
		w.must(err)
		if got.Whole() || got.ID() != v.ID() || again.ID() != v.ID() || !bytes.Equal(got.Wire(), want.Encode()) {
			t.Fatalf("erased: %v", got.Event())
		}
	}
	if !v.Whole() || !bytes.Contains(v.Wire(), v.Event().Body) {
		t.Fatal("erasing a copy changed the event")
	}
}
