package node_test

import (
	"testing"

	"github.com/p2pchat/p2pchat/node"
)

// Who was in the group before and comes back has joined when they can read the newest of
// what was said meanwhile, as whoever comes for the first time.
func TestWhoComesBackReadsTheNewestPage(t *testing.T) {
	ana := start(t, "Ana", onDisk(t))
	club := ana.create("club")
	ana.past(club, 500, 2, "before")
	bo := start(t, "Bo", onDisk(t))
	bo.join(ana.invite(club, node.InviteOptions{}))
	bo.await(club, 500)
	ana.knows(club, 2)
	did(t)(bo.Leave(ctx(t), club))
	ana.knows(club, 1)
	ana.past(club, 5000, 1, "after")
	bo.join(ana.invite(club, node.InviteOptions{}))
	if got := bo.texts(club); got[len(got)-1] != "after 4999" {
		t.Errorf("Bo is back, and reads %d texts up to %q", len(got), got[len(got)-1])
	}
}
