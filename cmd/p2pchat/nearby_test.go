package main

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/local"
	"github.com/p2pchat/p2pchat/node"
)

// Numbers are not used again: who types an old one is told, and asked again.
func TestNearbyNumberOfNobody(t *testing.T) {
	var shown bytes.Buffer
	m := &meeting{a: &app{stderr: &shown}, tty: true, others: "invites", now: local.Nearby{
		Phase: string(node.NearbyLooking), People: []local.NearbyPerson{{ID: 2, Name: "Ana"}},
	}}
	for _, line := range []string{"1", "", "Ana"} {
		shown.Reset()
		if err := m.answer(context.Background(), line); err != nil {
			t.Fatal(err)
		}
		got := shown.String()
		if !strings.Contains(got, "Nobody in the list has the number \""+line+"\".\n  2  Ana invites\nType the number") {
			t.Errorf("%q: %q", line, got)
		}
	}
	shown.Reset()
	m.now.People = nil
	if err := m.answer(context.Background(), "1"); err != nil || shown.Len() > 0 {
		t.Errorf("with nobody there: %q, %v", shown.String(), err)
	}
}
