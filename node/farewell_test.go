package node_test

import (
	"bytes"
	"log/slog"
	"slices"
	"testing"

	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
)

// Who was removed while away hears of it from whoever they meet first, nothing else,
// and comes back by an invitation.
func TestWhoWasRemovedWhileAwayIsTold(t *testing.T) {
	club, all := staff(t, "Bo moderator", "Cleo member")
	ana, bo, cleo := all[0], all[1], all[2]
	ana.send(club, "all here")
	for _, p := range all {
		p.await(club, 1)
	}
	link := ana.invite(club, node.InviteOptions{})
	cleo.sleep()
	logged := new(page)
	ana.sleep()
	ana.cfg.Logger = slog.New(slog.NewTextHandler(logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	ana.wake()
	bo.reach(ana)
	if _, err := bo.Expel(ctx(t), club, "Cleo", node.ExpelOptions{Kick: true, Reason: "no show"}); err != nil {
		t.Fatal(err)
	}
	ana.knows(club, 2)
	ana.send(club, "Cleo is out")
	bo.await(club, 2)
	cleo.wake()
	ana.meet(cleo) // who dials asks first, and Cleo answers as a member
	eventually(t, "Cleo knows", func() bool {
		g, err := cleo.Group(club)
		return err == nil && g.Rank == protocol.NoRank
	})
	if got := cleo.texts(club); slices.Contains(got, "Cleo is out") {
		t.Error("Cleo was told more than that she is out")
	}
	eventually(t, "Cleo reads why", func() bool { // it counts before it is on disk
		lines, _, err := cleo.Last(ctx(t), club, 0)
		return err == nil && slices.ContainsFunc(lines, func(m node.Message) bool {
			return m.Kind == "removed" && m.Target.Name == "Cleo" && m.From.Name == "Bo" && m.Reason == "no show"
		})
	})
	cleo.join(link)
	ana.send(club, "welcome back")
	for _, p := range all {
		p.await(club, 3)
	}
	agree(t, club, 3, all...)
	if bytes.Contains(logged.text(), []byte("not by the protocol")) {
		t.Errorf("who did not know that they are out is taken for unruly:\n%s", logged.text())
	}
}
