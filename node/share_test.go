package node_test

import (
	"testing"
	"time"

	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
)

// Who is asked for a part does not send it: another has it, too.
func TestWhoDoesNotSendTheirPart(t *testing.T) {
	if testing.Short() {
		t.Skip("26,000 messages")
	}
	ana := start(t, "Ana")
	club := ana.create("club")
	link := ana.invite(club, node.InviteOptions{Uses: 2})
	bo := start(t, "Bo")
	bo.join(link)
	if err := bo.SetHistoryWindow(ctx(t), club, time.Hour); err != nil {
		t.Fatal(err)
	}
	day := time.Duration(24)
	for time.Now().Add(-day*time.Hour).UnixMilli()/protocol.PartSpan.Milliseconds()%2 == 0 {
		day += 24 // to one whose messages are not asked of the first
	}
	ana.past(club, 26_000, day, "m")
	mia := newOutsider(t).admit(ana, link, "Mia")
	mia.serve(func(k *talk) { // a frame a second
		for {
			if _, err := k.s.Write(protocol.AppendFrame(nil, protocol.FrameTotal, protocol.Total{Events: 1})); err != nil {
				return
			}
			select {
			case <-t.Context().Done():
				return
			case <-time.After(time.Second):
			}
		}
	})
	mia.connect(bo) // and is asked for the whole day
	mia.greet(bo)
	if err := bo.SetHistoryWindow(ctx(t), club, 0); err != nil {
		t.Fatal(err)
	}
	eventually(t, "Bo has all", func() bool { return bo.Whole(club) == ana.Whole(club) })
}
