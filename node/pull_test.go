package node_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/p2pchat/p2pchat/protocol"
)

// pulls counts for a while how often somebody fetches what others have.
func pulls(p *person, group protocol.ID, d time.Duration) int {
	watch, stop := context.WithTimeout(p.t.Context(), d)
	defer stop()
	n := 0
	for w := range p.WatchProgress(watch, group) {
		if w.Done && w.What == "sync" {
			n++
		}
	}
	return n
}

// A member forks their chain so often that no two nodes keep the same: these do not ask
// each other without end.
func TestWhoKeepDifferentBranchesDoNotAskForEver(t *testing.T) {
	club, p := staff(t, "Bo member", "Mal member")
	ana, bo, mal := p[0], p[1], p[2]
	mal.send(club, "one")
	for _, q := range p {
		q.await(club, 1)
	}
	var x []protocol.Verified
	for i := range 128 {
		x = append(x, mal.line(club, mal.End(club), 1, fmt.Sprintf("x%d", i))...)
	}
	mal.sleep()
	bo.sleep()
	ana.ingest(club, x[:64]...)
	ana.await(club, 65)
	ana.sleep()
	bo.wake()
	bo.ingest(club, x[64:]...)
	bo.await(club, 65)
	ana.wake()
	ana.reach(bo)
	eventually(t, "they are connected", func() bool { return len(ana.Peers()) > 0 && len(bo.Peers()) > 0 })
	if n := pulls(ana, club, 4*time.Second); n > 12 { // her keeper asks some four times
		t.Errorf("Ana asks %d times in four seconds", n)
	} else {
		t.Logf("Ana asks %d times", n)
	}
	ana.send(club, "still here")
	bo.await(club, 66)
}
