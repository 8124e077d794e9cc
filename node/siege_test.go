package node_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"

	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
)

// Groups with somebody in them who means harm, or who does not know yet that they are
// out. Whatever they write, honest nodes come to hold the same, show the same, and
// then leave each other in peace.

// settled waits until some nodes hold the same and know it, and fails unless they show
// the same.
func settled(t *testing.T, group protocol.ID, all ...*person) {
	t.Helper()
	same := func() bool {
		return !slices.ContainsFunc(all[1:], func(p *person) bool { return p.Whole(group) != all[0].Whole(group) })
	}
	for end := time.Now().Add(patience / 4); !same(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			for _, p := range all {
				tips, messages := p.Told(group)
				t.Logf("%s tells of %v, %d messages %v, %v", p.cfg.Name, tips, len(messages), messages, p.RecordKeys(group))
			}
			t.Fatal("the nodes do not come to hold the same")
		}
	}
	for _, p := range all {
		c, cancel := context.WithTimeout(t.Context(), patience)
		if err := p.WaitSync(c, group); err != nil {
			t.Errorf("%s does not know that it is in step: %v", p.cfg.Name, err)
		}
		cancel()
	}
	differ := ""
	defer func() {
		if t.Failed() {
			t.Log(differ)
		}
	}()
	eventually(t, "all show the same", func() bool { // who holds an event may still ask for its key
		differ = ""
		for _, p := range all[1:] {
			switch {
			case !slices.Equal(all[0].texts(group), p.texts(group)):
				differ = fmt.Sprintf("%s shows %q, %s shows %q", all[0].cfg.Name, all[0].texts(group), p.cfg.Name, p.texts(group))
			case !slices.Equal(all[0].system(group), p.system(group)):
				differ = fmt.Sprintf("%s shows %q, %s shows %q", all[0].cfg.Name, all[0].system(group), p.cfg.Name, p.system(group))
			case all[0].roster(group) != p.roster(group):
				differ = fmt.Sprintf("%s sees %s, %s sees %s", all[0].cfg.Name, all[0].roster(group), p.cfg.Name, p.roster(group))
			}
		}
		return differ == ""
	})
}

// reach is meet for nodes that may be connected, or dialling an address of before a
// restart.
func (p *person) reach(q *person) {
	p.t.Helper()
	to := peer.AddrInfo{ID: q.Host().ID(), Addrs: q.Host().Addrs()}
	eventually(p.t, p.cfg.Name+" reaches "+q.cfg.Name, func() bool {
		p.Host().Network().(*swarm.Swarm).Backoff().Clear(to.ID)
		return p.Host().Connect(ctx(p.t), to) == nil
	})
}

// roster returns the members with their ranks as one text.
func (p *person) roster(group protocol.ID) string {
	p.t.Helper()
	var out []string
	for name, m := range p.members(group) {
		out = append(out, fmt.Sprintf("%s %s muted=%v", name, m.Rank, m.Muted))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// line signs count messages of somebody's, one after another, and stores none.
func (p *person) line(group protocol.ID, after protocol.Tip, count int, text string, change ...func(i int, f *node.Forgery)) []protocol.Verified {
	var out []protocol.Verified
	for i := range count {
		f := node.Forgery{After: after, Text: fmt.Sprintf("%s %d", text, i)}
		for _, c := range change {
			c(i, &f)
		}
		v := p.Forge(group, f)
		out, after = append(out, v), v.Tip()
	}
	return out
}

func (p *person) ingest(group protocol.ID, list ...protocol.Verified) {
	for _, v := range list {
		p.Ingest(group, v)
	}
}

// A member forks their chain. A branch that the ban did not see parts from one that it
// spares.
func TestABranchThatABanDidNotSee(t *testing.T) {
	club, p := staff(t, "Bo moderator", "Mal member")
	ana, bo, mal := p[0], p[1], p[2]
	mal.send(club, "one")
	for _, q := range p {
		q.await(club, 1)
	}
	x, y := mal.line(club, mal.End(club), 3, "x"), mal.line(club, mal.End(club), 2, "y")
	mal.sleep()
	bo.sleep()
	ana.ingest(club, x...)
	ana.await(club, 4)
	ana.sleep()
	bo.wake()
	bo.ingest(club, y...)
	bo.await(club, 3)
	did(t)(bo.Expel(ctx(t), club, "Mal", node.ExpelOptions{}))
	ana.wake()
	ana.reach(bo)
	settled(t, club, ana, bo)
	ana.reads(club, "one", "y 0", "y 1")
	cleo := start(t, "Cleo")
	cleo.join(ana.invite(club, node.InviteOptions{}))
	ana.knows(club, 3)
	cleo.knows(club, 3)
	settled(t, club, ana, bo, cleo)
}

// What a cut names comes late: until then what has a lower number counts, and after
// that only what it follows.
func TestABranchThatCountsUntilTheCutIsHere(t *testing.T) {
	club, p := staff(t, "Bo moderator", "Mal member")
	ana, bo, mal := p[0], p[1], p[2]
	mal.send(club, "one")
	for _, q := range p {
		q.await(club, 1)
	}
	x, y := mal.line(club, mal.End(club), 2, "x"), mal.line(club, mal.End(club), 3, "y")
	mal.sleep()
	bo.sleep()
	ana.ingest(club, x...)
	ana.await(club, 3)
	ana.sleep()
	bo.wake()
	bo.ingest(club, y...)
	bo.await(club, 4)
	ban := did(t)(bo.Expel(ctx(t), club, "Mal", node.ExpelOptions{}))
	event := bo.Event(ctx(t), club, ban.ID)
	bo.sleep()
	ana.wake()
	ana.ingest(club, event)
	ana.sees(club, "Mal", protocol.NoRank)
	ana.reads(club, "one", "x 0", "x 1")
	ana.Whole(club)
	ana.ingest(club, y...)
	ana.reads(club, "one", "y 0", "y 1", "y 2")
	bo.wake()
	bo.reach(ana)
	settled(t, club, ana, bo)
}

// Somebody wrote before they heard that only moderators may speak, and becomes one.
func TestWhatWasRefusedOfAMemberWhoIsPromoted(t *testing.T) {
	club, p := staff(t, "Bo moderator", "Dan member")
	ana, bo, dan := p[0], p[1], p[2]
	dan.sleep()
	on := true
	if _, err := bo.Set(ctx(t), club, node.Settings{Announce: &on}); err != nil {
		t.Fatal(err)
	}
	settled(t, club, ana, bo)
	ana.sleep()
	bo.sleep()
	dan.wake()
	dan.send(club, "I have not heard")
	ana.wake()
	bo.wake()
	ana.reach(dan)
	bo.reach(ana)
	bo.reach(dan)
	dan.told(club, "Bo set announcement on")
	settled(t, club, ana, bo)
	did(t)(ana.SetRole(ctx(t), club, "Dan", protocol.Moderator, ""))
	for _, q := range p {
		q.sees(club, "Dan", protocol.Moderator)
	}
	same := func() bool { return ana.Whole(club) == bo.Whole(club) && ana.Whole(club) == dan.Whole(club) }
	eventually(t, "all hold the same", same)
	dan.send(club, "now I may")
	for _, q := range []*person{ana, bo} {
		q.reads(club, "now I may")
	}
	eventually(t, "all hold the same again", same)
	cleo := start(t, "Cleo")
	cleo.join(bo.invite(club, node.InviteOptions{}))
	cleo.reads(club, "now I may")
	eventually(t, "the newcomer too", func() bool { return cleo.Whole(club) == ana.Whole(club) })
}

// A program that does not wait in slow mode: none of what comes too early is kept,
// what comes in time is.
func TestAProgramThatIgnoresSlowMode(t *testing.T) {
	club, p := staff(t, "Bo member", "Mal member")
	ana, bo, mal := p[0], p[1], p[2]
	slow := time.Minute
	if _, err := ana.Set(ctx(t), club, node.Settings{SlowMode: &slow}); err != nil {
		t.Fatal(err)
	}
	mal.told(club, "Ana set slow-mode 1m")
	bo.told(club, "Ana set slow-mode 1m")
	at := uint64(time.Now().UnixMilli())
	list := mal.line(club, mal.End(club), 31, "m", func(i int, f *node.Forgery) { f.HLC = at + uint64(i)*10_000 })
	ana.ingest(club, list[:30]...)
	ana.reads(club, "m 0")
	kept := 0
	for _, v := range list {
		if ana.held(club, v.ID()) == "whole" {
			kept++
		}
	}
	if kept != 1 {
		t.Errorf("of a flood Ana keeps %d, not the one that counts", kept)
	}
	settled(t, club, ana, bo)
	last := mal.Forge(club, node.Forgery{After: list[29].Tip(), HLC: at + 30*10_000 + 60_000, Text: "in time"})
	ana.ingest(club, last) // the chain goes on through what did not count
	for _, q := range []*person{ana, bo} {
		q.reads(club, "m 0", "in time")
	}
	settled(t, club, ana, bo)
}

// Who was removed goes on writing as much as fits. Others' chains still go on through
// what did not count.
func TestAFloodByTheRemovedLeavesRoomForOthers(t *testing.T) {
	club, p := staff(t, "Bo member", "Mal member", "Dan member")
	ana, bo, mal, dan := p[0], p[1], p[2], p[3]
	flood := mal.line(club, mal.End(club), 300, "f", func(i int, f *node.Forgery) {
		f.After, f.Text = protocol.Tip{}, strings.Repeat("x", 48<<10>>max(0, (i-170)/10)) // to the last byte
	})
	mal.sleep()
	dans := dan.line(club, dan.End(club), 3, "d")
	did(t)(ana.Expel(ctx(t), club, "Mal", node.ExpelOptions{}))
	did(t)(ana.Mute(ctx(t), club, "Dan", node.MuteOptions{}))
	bo.told(club, "Ana banned Mal", "Ana muted Dan")
	dan.told(club, "Ana banned Mal", "Ana muted Dan")
	bo.ingest(club, flood...)
	if n, bytes := bo.Linked(club); n == 0 || bytes > 8<<20 {
		t.Errorf("Bo keeps %d of the flood, %d bytes", n, bytes)
	}

	bo.ingest(club, dans...)

	did(t)(ana.Unmute(ctx(t), club, "Dan", ""))
	dan.told(club, "Ana banned Mal", "Ana muted Dan", "Ana unmuted Dan")
	bo.told(club, "Ana banned Mal", "Ana muted Dan", "Ana unmuted Dan")
	bo.ingest(club, dan.Forge(club, node.Forgery{After: dans[2].Tip(), Text: "I am back"}))
	bo.reads(club, "I am back")
	if _, bytes := bo.Linked(club); bytes > 8<<20 {
		t.Errorf("Bo keeps %d bytes", bytes)
	}
}

// Who forked their chain and was let in again goes on after the branch that others do
// not have.
func TestAForkedChainGoesOnAfterAReadmission(t *testing.T) {
	club, p := staff(t, "Bo member", "Mal member")
	ana, bo, mal := p[0], p[1], p[2]
	mal.send(club, "one")
	for _, q := range p {
		q.await(club, 1)
	}
	x, y := mal.line(club, mal.End(club), 1, "x"), mal.line(club, mal.End(club), 2, "y")
	bo.sleep()
	mal.sleep()
	did(t)(ana.Mute(ctx(t), club, "Mal", node.MuteOptions{}))
	ana.sleep()
	bo.wake()
	bo.ingest(club, x...) // who does not know yet
	bo.await(club, 2)
	ana.wake()
	ana.reach(bo)
	settled(t, club, ana, bo)
	did(t)(ana.Unmute(ctx(t), club, "Mal", ""))
	ana.ingest(club, y...)
	settled(t, club, ana, bo)
	mal.wake()
	mal.reach(ana)
	mal.told(club, "Ana muted Mal", "Ana unmuted Mal")
	next := mal.Forge(club, node.Forgery{After: y[1].Tip(), Text: "on"})
	ana.ingest(club, next)
	for _, q := range []*person{ana, bo} {
		q.reads(club, "one", "on")
	}
	settled(t, club, ana, bo)
}

// A program that goes on while it is muted, and while only moderators may speak.
func TestAProgramThatIgnoresMuteAndAnnouncement(t *testing.T) {
	club, p := staff(t, "Bo moderator", "Mal member")
	ana, bo, mal := p[0], p[1], p[2]
	mal.send(club, "one")
	for _, q := range p {
		q.await(club, 1)
	}
	end, old, at := mal.End(club), mal.Heads(club), uint64(time.Now().Add(-time.Minute).UnixMilli())
	did(t)(bo.Mute(ctx(t), club, "Mal", node.MuteOptions{}))
	mal.told(club, "Bo muted Mal")
	ana.told(club, "Bo muted Mal")
	list := mal.line(club, end, 6, "m", func(i int, f *node.Forgery) {
		if i >= 3 { // as if it had not heard
			f.Refs, f.HLC = old, at
		}
	})
	ana.ingest(club, list...)
	settled(t, club, ana, bo)
	ana.reads(club, "one")
	for _, v := range list {
		if got := ana.held(club, v.ID()); got != "away" {
			t.Errorf("Ana keeps what does not count: %s", got)
		}
	}
	on, off := true, false
	if _, err := bo.Set(ctx(t), club, node.Settings{Announce: &on}); err != nil {
		t.Fatal(err)
	}
	did(t)(bo.Unmute(ctx(t), club, "Mal", ""))
	want := []string{"Bo muted Mal", "Bo set announcement on", "Bo unmuted Mal"}
	mal.told(club, want...)
	ana.told(club, want...)
	more := mal.line(club, list[5].Tip(), 3, "a")
	ana.ingest(club, more...)
	settled(t, club, ana, bo)
	ana.reads(club, "one")
	if _, err := bo.Set(ctx(t), club, node.Settings{Announce: &off}); err != nil {
		t.Fatal(err)
	}
	want = append(want, "Bo set announcement off")
	mal.told(club, want...)
	ana.told(club, want...)
	ana.ingest(club, mal.Forge(club, node.Forgery{After: more[2].Tip(), Text: "at last"}))
	for _, q := range []*person{ana, bo} {
		q.reads(club, "one", "at last")
	}
	settled(t, club, ana, bo)
	calm(t, club, ana, bo)
}

// calm fails if nodes that are in step go on to exchange anything but digests.
func calm(t *testing.T, group protocol.ID, all ...*person) {
	t.Helper()
	time.Sleep(1500 * time.Millisecond) // three ticks of the keeper
	for _, p := range all {
		if n := p.Behind(group); n > 0 {
			t.Errorf("%s still compares with %d peers", p.cfg.Name, n)
		}
	}
}

// Who makes many heads for everybody is expelled all the same: an event cites some of
// them only, and a cut names nothing else.
func TestManyHeadsShieldNobody(t *testing.T) {
	club, p := staff(t, "Bo member", "Mal member")
	ana, bo, mal := p[0], p[1], p[2]
	var leaves []protocol.Verified
	for i := range 40 {
		leaves = append(leaves, mal.ForgeLeave(club, uint64(time.Now().UnixMilli()+int64(i))))
	}
	mal.sleep()
	ana.ingest(club, leaves...)
	did(t)(ana.Expel(ctx(t), club, "Mal", node.ExpelOptions{Reason: "plays"}))
	ana.sees(club, "Mal", protocol.NoRank)
	bo.knowsOf(club, 2)
	chatOn(ana, bo, club)
}
