package node_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/p2pchat/p2pchat/node"
)

// Somebody wrote much, and all of it was undone. That it does not count is not found out
// anew with everything that is done afterwards, while the room waits.
func TestAFloodThatWasUndoneHoldsUpNothing(t *testing.T) {
	ana := start(t, "Ana")
	club := ana.create("club")
	bo := start(t, "Bo")
	bo.join(ana.invite(club, node.InviteOptions{}))
	ana.knows(club, 2)
	before := time.Now()
	time.Sleep(20 * time.Millisecond)
	if err := ana.Plant(ctx(t), club, bo.line(club, bo.End(club), 3000, "m")...); err != nil {
		t.Fatal(err)
	}
	flooder := bo.Device(club)
	bo.sleep()
	took := func() time.Duration {
		began := time.Now()
		ana.Whole(club)
		return time.Since(began)
	}
	did(t)(ana.Expel(ctx(t), club, "Bo", node.ExpelOptions{Since: before}))
	took()
	once := ana.FindUntold(club, flooder)
	var others time.Duration
	for i := range 5 {
		ana.topic(club, fmt.Sprint(i))
		others += took()
	}
	if _, told := ana.Told(club); len(told) > 0 {
		t.Errorf("others are told of %d messages", len(told))
	}
	if others > 3*once {
		t.Errorf("once takes %v, and what is done five times later %v", once, others)
	}
}
