package node_test

import (
	"testing"
	"time"

	"github.com/p2pchat/p2pchat/node"
)

// Somebody wrote, and all of it was undone. That it does not count is not found out anew
// with everything that is done afterwards, but when that is due: it may be long.
func TestWhatWasUndoneIsFoundAnewWhenThatIsDue(t *testing.T) {
	ana := start(t, "Ana")
	club := ana.create("club")
	bo := start(t, "Bo")
	bo.join(ana.invite(club, node.InviteOptions{}))
	ana.knows(club, 2)
	before := time.Now()
	time.Sleep(20 * time.Millisecond)
	if err := ana.Plant(ctx(t), club, bo.line(club, bo.End(club), 30, "m")...); err != nil {
		t.Fatal(err)
	}
	flooder := bo.Device(club)
	bo.sleep()
	did(t)(ana.Expel(ctx(t), club, "Bo", node.ExpelOptions{Since: before}))
	found := ana.Untold(club, flooder, time.Now().Add(time.Hour))
	ana.topic(club, "one")
	ana.topic(club, "two")
	if ana.Untold(club, flooder, time.Now()) != found {
		t.Error("found anew with every act")
	}
	if _, told := ana.Told(club); len(told) > 0 {
		t.Errorf("others are told of %d messages", len(told))
	}
	ana.topic(club, "three")
	if ana.Untold(club, flooder, time.Now()) == found {
		t.Error("not found anew")
	}
}
