package node_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
)

// reports waits until a person sees count reports.
func (p *person) reported(group protocol.ID, count int) []node.Report {
	p.t.Helper()
	var list []node.Report
	until(p.t, p.cfg.Name+" sees the reports", func() bool {
		var err error
		if list, err = p.Reports(group); err != nil {
			p.t.Fatal(err)
		}
		return len(list) == count
	})
	return list
}

func TestReportsReachTheModerators(t *testing.T) {
	club, ana, mo, bo := crew(t)
	cleo := start(t, "Cleo")
	cleo.join(ana.invite(club, node.InviteOptions{}))
	spam := cleo.say(club, "buy this")
	bo.await(club, 1)
	act, err := bo.Report(ctx(t), club, spam, "an advertisement")
	if err != nil || act.Kind != "report" || act.By.Name != "Bo" || act.Right != protocol.Member || act.Target.Key != cleo.me(club) {
		t.Fatalf("%+v, %v", act, err)
	}
	for _, p := range []*person{ana, mo, bo} {
		rep := p.reported(club, 1)[0]
		if rep.ID != act.ID || rep.By.Name != "Bo" || rep.Reason != "an advertisement" || rep.Message != spam ||
			rep.Author.Key != cleo.me(club) || rep.Said != "buy this" || !rep.Verified || rep.State != "open" || rep.Unreadable != "" {
			t.Errorf("%s reads %+v", p.cfg.Name, rep)
		}
	}
	until(t, "Cleo has the report", func() bool { return cleo.held(club, act.ID) == "whole" })
	if list, err := cleo.Reports(club); err != nil || len(list) != 0 {
		t.Errorf("Cleo reads %+v, %v", list, err)
	}
	if lines, _, _ := cleo.Last(ctx(t), club, 1); len(lines) != 1 || lines[0].Kind != "text" {
		t.Errorf("Cleo's last line is %+v", lines)
	}

	// What Cleo takes back now is still in the report.
	if _, err := cleo.Retract(ctx(t), club, spam, ""); err != nil {
		t.Fatal(err)
	}
	mo.reads(club, "taken back by its author")
	mo.DropPrekeys(club) // as old ones are: what was opened once stays open
	if rep := mo.reported(club, 1)[0]; rep.Said != "buy this" || !rep.Verified {
		t.Errorf("Mo reads %+v", rep)
	}
}

func TestReportsAreClosed(t *testing.T) {
	club, ana, mo, bo := crew(t)
	cleo := start(t, "Cleo")
	cleo.join(ana.invite(club, node.InviteOptions{}))
	spam := cleo.say(club, "buy this")
	bo.await(club, 1)
	act, err := bo.Report(ctx(t), club, spam, "")
	if err != nil {
		t.Fatal(err)
	}
	mo.reported(club, 1)
	ana.reported(club, 1)
	if _, err := bo.CloseReport(ctx(t), club, act.ID, true, ""); !errors.Is(err, node.ErrNotAllowed) || !strings.Contains(err.Error(), "moderator") {
		t.Errorf("a member closes: %v", err)
	}
	if _, err := mo.CloseReport(ctx(t), club, spam, true, ""); !errors.Is(err, node.ErrUnknownMessage) {
		t.Errorf("closing a text answers %v", err)
	}
	end, err := mo.CloseReport(ctx(t), club, act.ID, false, "a friend of Bo's")
	if err != nil || end.Kind != "report.close" || end.Right != protocol.Moderator || end.Target.Name != "Bo" {
		t.Fatalf("%+v, %v", end, err)
	}
	state := func(p *person) string {
		rep := p.reported(club, 1)[0]
		return rep.State + " by " + rep.ClosedBy.Name + ": " + rep.Note
	}
	until(t, "Ana sees the end", func() bool { return state(ana) == "dismissed by Mo: a friend of Bo's" })
	until(t, "Bo sees the end", func() bool { return state(bo) == "closed by Mo: " })
	if _, err := ana.CloseReport(ctx(t), club, act.ID, true, "no"); err != nil {
		t.Fatal(err)
	}
	until(t, "Mo sees the other end", func() bool { return state(mo) == "resolved by Ana: no" })
}

func TestWhatIsNotReported(t *testing.T) {
	club, ana, mo, bo := crew(t)
	mine, rude := bo.say(club, "mine"), mo.say(club, "rude")
	bo.await(club, 2)
	ana.await(club, 2)
	for _, c := range []struct {
		id     protocol.ID
		reason string
		want   error
	}{
		{mine, "", node.ErrNotAllowed},
		{protocol.ID{9}, "", node.ErrUnknownMessage},
		{club, "", node.ErrUnknownMessage},
		{rude, strings.Repeat("x", protocol.MaxReasonSize+1), node.ErrTooLarge},
		{rude, "\xff", node.ErrNotText},
	} {
		if _, err := bo.Report(ctx(t), club, c.id, c.reason); !errors.Is(err, c.want) {
			t.Errorf("reporting %s answers %v, not %v", c.id, err, c.want)
		}
	}
	act, err := bo.Report(ctx(t), club, rude, "he was rude")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bo.Report(ctx(t), club, rude, "again"); !errors.Is(err, node.ErrNotAllowed) {
		t.Errorf("a second report answers %v", err)
	}
	if _, err := bo.Report(ctx(t), club, act.ID, ""); !errors.Is(err, node.ErrUnknownMessage) {
		t.Errorf("a report of a report answers %v", err)
	}

	// A report about a moderator is not for that moderator.
	if rep := ana.reported(club, 1)[0]; rep.Reason != "he was rude" {
		t.Errorf("Ana reads %+v", rep)
	}
	if rep := mo.reported(club, 1)[0]; rep.Unreadable != "it is sealed to others" || rep.Reason != "" || !rep.Message.IsZero() {
		t.Errorf("Mo reads %+v", rep)
	}

	// What does not verify shows nothing of a message.
	forged := ana.Event(ctx(t), club, rude).Event()
	forged.Sig[0] ^= 1
	if _, err := bo.SayReport(ctx(t), club, forged.Encode()); err != nil {
		t.Fatal(err)
	}
	if rep := ana.reported(club, 2)[1]; rep.Verified || rep.Said != "" || !rep.Message.IsZero() || rep.Unreadable == "" {
		t.Errorf("Ana reads %+v", rep)
	}
	if _, err := bo.SayReport(ctx(t), club, ana.Event(ctx(t), club, club).Wire()); err != nil {
		t.Fatal(err)
	}
	if rep := ana.reported(club, 3)[2]; rep.Verified || rep.Unreadable == "" {
		t.Errorf("Ana reads %+v", rep)
	}
	// The same again by a changed program is one report.
	for range 2 {
		if _, err := bo.SayReport(ctx(t), club, ana.Event(ctx(t), club, rude).Wire()); err != nil {
			t.Fatal(err)
		}
	}
	again := bo.say(club, "done")
	until(t, "all is there", func() bool { return ana.held(club, again) == "whole" })
	ana.reported(club, 3)
	ana.sleep()
	ana.wake()
	ana.reported(club, 3)
}

func TestAReportNeedsAModerator(t *testing.T) {
	ana, bo := start(t, "Ana"), start(t, "Bo")
	club := ana.create("club")
	bo.join(ana.invite(club, node.InviteOptions{}))
	order := ana.say(club, "order")
	bo.await(club, 1)
	// The only one to tell is whom it is about.
	if _, err := bo.Report(ctx(t), club, order, ""); !errors.Is(err, node.ErrNoKey) || !strings.Contains(err.Error(), "moderator") {
		t.Errorf("a report to nobody answers %v", err)
	}
}

// Reports are made while nobody is there.
func TestReportingOffline(t *testing.T) {
	club, ana, mo, bo := crew(t)
	rude := mo.say(club, "rude")
	bo.await(club, 1)
	ana.sleep()
	mo.sleep()
	if _, err := bo.Report(ctx(t), club, rude, "offline"); err != nil {
		t.Fatal(err)
	}
	bo.sleep()
	bo.wake()
	bo.reported(club, 1)
	ana.wake()
	if rep := ana.reported(club, 1)[0]; rep.Reason != "offline" || rep.Said != "rude" {
		t.Errorf("Ana reads %+v", rep)
	}
}

// Who may not speak can still tell the moderators.
func TestTheMutedReport(t *testing.T) {
	club, ana, mo, bo := crew(t)
	rude := mo.say(club, "rude")
	bo.await(club, 1)
	if err := ana.Oust(ctx(t), club, protocol.KindMute, bo.me(club)); err != nil {
		t.Fatal(err)
	}
	if err := ana.WaitSync(ctx(t), club); err != nil {
		t.Fatal(err)
	}
	if _, err := bo.Report(ctx(t), club, rude, "and I am muted"); err != nil {
		t.Fatal(err)
	}
	if rep := ana.reported(club, 1)[0]; rep.Reason != "and I am muted" {
		t.Errorf("Ana reads %+v", rep)
	}
}

func TestAFloodOfReportsHidesNobodys(t *testing.T) {
	for _, c := range [][3]any{{9, "abc", "abc"}, {3, "aabbbb", "abb"}, {3, "abbbbbbc", "abc"}, {2, "abab", "ab"}, {1, "abbb", "b"}} {
		if got := node.CrowdOut(c[0].(int), c[1].(string)); got != c[2] {
			t.Errorf("of %s %s stays, not %s", c[1], got, c[2])
		}
	}
}
