package protocol

import (
	"slices"
	"testing"
)

func TestGossipSaysWhoWasTold(t *testing.T) {
	var tags []PeerTag
	for i := range MaxTold + 1 {
		tags = append(tags, TagOf([]byte{byte(i)}))
	}
	all := slices.SortedFunc(slices.Values(tags[:MaxTold]), PeerTag.Compare)
	g := Gossip{List: [][]byte{{1}}}
	if g.Reached(nil) {
		t.Error("a frame that tells nothing says that all were told")
	}
	g.Tell(all)
	if err := g.Check(); err != nil {
		t.Fatal(err)
	}
	if !g.Reached(nil) || !g.Reached(tags[:MaxTold]) || !g.Reached(tags[3:4]) {
		t.Error("who was told is not known as told")
	}
	if g.Reached(tags[MaxTold:]) || g.Reached(tags) {
		t.Error("who was not told counts as told")
	}
	many := Gossip{List: [][]byte{{1}}}
	many.Tell(append(all, PeerTag{0xff, 0xff, 0xff}))
	if len(many.Told) != 0 {
		t.Error("told is too long")
	}
	g.List = make([][]byte, MaxGossip+1)
	if g.Check() == nil {
		t.Error("a frame of too many parts passes")
	}
}
