package node_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
)

// leavesOf makes count leaves at one place of somebody's control chain, and sends them to
// sleep.
func leavesOf(p *person, club protocol.ID, count int) []protocol.Verified {
	var out []protocol.Verified
	for i := range count {
		out = append(out, p.ForgeLeave(club, uint64(time.Now().UnixMilli()+int64(i))))
	}
	p.sleep()
	return out
}

// A copied profile: one control chain with far more ends than a node keeps. Others go
// on, agree on who is in, and memory is bounded.
func TestAControlChainOfManyBranches(t *testing.T) {
	club, p := staff(t, "Bo member", "Mal member")
	ana, bo, mal := p[0], p[1], p[2]
	var leaves []protocol.Verified
	for i := range 150 {
		leaves = append(leaves, mal.ForgeLeave(club, uint64(time.Now().UnixMilli()+int64(i))))
	}
	dev := mal.Device(club)
	mal.sleep()
	ana.ingest(club, leaves[:100]...)
	slices.Reverse(leaves)
	bo.ingest(club, leaves[:100]...)
	for _, q := range []*person{ana, bo} {
		q.knows(club, 2)
		if n := q.ControlOf(club, dev); n > 65 { // the first, and as many as a place may fork
			t.Errorf("%s keeps %d control events at one place", q.cfg.Name, n)
		}
	}
	chatOn(ana, bo, club)
	name := "still here"
	if _, err := ana.Set(ctx(t), club, node.Settings{Name: &name}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "Bo knows the name", func() bool { g, _ := bo.Group(club); return g.Name == name })
	if a, b := ana.roster(club), bo.roster(club); a != b {
		t.Errorf("Ana sees %s, Bo sees %s", a, b)
	}
	bo.sleep()
	bo.wake()
	bo.reach(ana)
	chatOn(ana, bo, club)
	cleo := start(t, "Cleo")
	cleo.join(ana.invite(club, node.InviteOptions{}))
	bo.knows(club, 3)
	settled(t, club, ana, bo, cleo)
	calm(t, club, ana, bo, cleo)
}

// Everybody acts after having seen a few branches each, and others than the rest. Later
// there are too many to keep all; what was cited is kept, and everybody is heard.
func TestActsThatCiteDifferentBranches(t *testing.T) {
	club, p := staff(t, "Bo moderator", "Dan moderator", "Mal member")
	ana, bo, dan, mal := p[0], p[1], p[2], p[3]
	leaves := leavesOf(mal, club, 300)
	apart := []*person{ana, bo, dan}
	for _, q := range apart {
		q.sleep()
	}
	for i, q := range apart {
		q.wake()
		q.ingest(club, leaves[i*100:i*100+5]...)
		if _, err := q.Invite(ctx(t), club, node.InviteOptions{}); err != nil {
			t.Fatal(err)
		}
		q.send(club, "by "+q.cfg.Name)
		q.ingest(club, leaves[i*100+5:i*100+100]...)
		q.send(club, "after, by "+q.cfg.Name)
		q.sleep()
	}
	for _, q := range apart {
		q.wake()
	}
	bo.reach(ana)
	dan.reach(bo)
	settled(t, club, ana, bo, dan)
	for _, q := range apart {
		q.await(club, 6)
	}
	cleo := start(t, "Cleo")
	cleo.join(dan.invite(club, node.InviteOptions{}))
	settled(t, club, ana, bo, dan, cleo)
	calm(t, club, ana, bo, dan, cleo)
	did(t)(ana.Expel(ctx(t), club, "Mal", node.ExpelOptions{}))
	for _, q := range []*person{bo, dan, cleo} {
		eventually(t, q.cfg.Name+" reads of the ban", func() bool { return slices.Contains(q.system(club), "Ana banned Mal") })
	}
	settled(t, club, ana, bo, dan, cleo)
}

// A member forks their chain more often than the store names ends, each branch longer than
// the one that the ban spares.
func TestMoreBranchesThanAreTold(t *testing.T) {
	club, p := staff(t, "Bo moderator", "Mal member")
	ana, bo, mal := p[0], p[1], p[2]
	mal.send(club, "one")
	for _, q := range p {
		q.await(club, 1)
	}
	var x []protocol.Verified
	for i := range 30 {
		x = append(x, mal.line(club, mal.End(club), 4, fmt.Sprintf("x%d", i))...)
		x = append(x, mal.line(club, x[0].Tip(), 3, fmt.Sprintf("z%d", i))...)
		x = append(x, mal.line(club, x[3].Tip(), 2, fmt.Sprintf("w%d", i))...)
	}
	y := mal.line(club, mal.End(club), 2, "y")
	mal.sleep()
	bo.sleep()
	ana.ingest(club, x...)
	ana.await(club, 1+len(x))
	ana.sleep()
	bo.wake()
	bo.ingest(club, y...)
	bo.await(club, 3)
	did(t)(bo.Expel(ctx(t), club, "Mal", node.ExpelOptions{}))
	ana.wake()
	ana.reach(bo)
	settled(t, club, ana, bo)
	ana.reads(club, "one", "y 0", "y 1")
}

// What others are not told of is found anew by whoever looks first once that is due: the
// digest follows, whoever it was.
func TestDigestFollowsWhatIsTold(t *testing.T) {
	club, p := staff(t, "Mal member")
	ana, mal := p[0], p[1]
	mal.send(club, "one")
	ana.await(club, 1)
	var x []protocol.Verified
	for i := range 40 {
		x = append(x, mal.line(club, mal.End(club), 2, fmt.Sprintf("x%d", i))...)
	}
	mal.sleep()
	ana.ingest(club, x[:78]...)
	ana.await(club, 79)
	ana.Whole(club)
	ana.Rest(club, time.Now().Add(time.Hour))
	ana.ingest(club, x[78:]...)
	ana.await(club, 81)
	late := ana.Whole(club)
	ana.Rest(club, time.Time{})
	ana.Told(club)
	whole := ana.Whole(club)
	if whole == late {
		t.Error("the digest is of what was told before")
	}
	ana.sleep()
	ana.wake()
	if ana.Whole(club) != whole {
		t.Error("the digest is another after a restart")
	}
}
