package node_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
)

func TestAGroupMoves(t *testing.T) {
	club, ana, mo, bo := crew(t)
	if _, err := mo.Successor(ctx(t), club, ""); !errors.Is(err, node.ErrNotAllowed) || !strings.Contains(err.Error(), "owner") {
		t.Errorf("a moderator proposes: %v", err)
	}
	if _, err := bo.MoveTo(ctx(t), club, protocol.ID{}); !errors.Is(err, node.ErrUnknownMessage) {
		t.Errorf("moving nowhere answers %v", err)
	}
	to, err := ana.Successor(ctx(t), club, "")
	if err != nil {
		t.Fatal(err)
	}
	var list []node.Successor
	until(t, "Bo sees the proposal", func() bool {
		list, _ = bo.Successors(club)
		return len(list) == 1
	})
	if s := list[0]; s.Group != to || s.By.Name != "Ana" || s.Link == "" || s.Here {
		t.Errorf("Bo sees %+v", s)
	}
	if len(bo.Groups()) != 1 {
		t.Error("Bo was moved")
	}
	for range 2 { // twice is as good as once
		if got, err := bo.MoveTo(ctx(t), club, protocol.ID{}); err != nil || got != to {
			t.Fatalf("Bo moves to %s, %v", got, err)
		}
	}
	if g, err := bo.Group(to); err != nil || g.Name != "club" || g.Rank != protocol.Member {
		t.Errorf("Bo is in %+v, %v", g, err)
	}
	if list, _ := bo.Successors(club); !list[0].Here {
		t.Error("Bo does not know that they moved")
	}
	bo.say(to, "a better place")
	ana.await(to, 1)

	if _, err := ana.Successor(ctx(t), club, "another club"); err != nil {
		t.Fatal(err)
	}
	until(t, "Mo sees both", func() bool {
		list, _ = mo.Successors(club)
		return len(list) == 2
	})
	if _, err := mo.MoveTo(ctx(t), club, protocol.ID{}); !errors.Is(err, node.ErrAmbiguous) || strings.Count(err.Error(), "by Ana") != 2 {
		t.Errorf("which of two answers %v", err)
	}
	if _, err := mo.MoveTo(ctx(t), club, protocol.ID{9}); !errors.Is(err, node.ErrUnknownMessage) {
		t.Errorf("a proposal that is none answers %v", err)
	}
	if got, err := mo.MoveTo(ctx(t), club, list[1].ID); err != nil || got != list[1].Group {
		t.Errorf("Mo moves to %s, %v", got, err)
	}
}
