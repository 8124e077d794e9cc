package node_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
)

// asksAndWaits has somebody ask to join until a person there has the request.
func (p *person) asksAndWaits(link string) {
	p.t.Helper()
	if _, err := p.JoinWith(ctx(p.t), link, node.JoinOptions{NoWait: true}); !errors.Is(err, node.ErrApproval) {
		p.t.Fatalf("%s asks, and the answer is %v", p.cfg.Name, err)
	}
}

// request returns the state of somebody's request, empty where there is none.
func (p *person) request(group protocol.ID, who string) string {
	p.t.Helper()
	list, err := p.Requests(group)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, q := range list {
		if q.Name == who {
			return q.State
		}
	}
	return ""
}

// Who was let in, went and asks again is let in again: by the request that they make
// then, not by the one that is used up.
func TestApprovedAgainAfterGoing(t *testing.T) {
	ana, bo := start(t, "Ana"), start(t, "Bo")
	club := ana.create("club")
	link := ana.invite(club, node.InviteOptions{Approve: true})
	for _, goes := range []func(){
		func() { did(t)(ana.Expel(ctx(t), club, "Bo", node.ExpelOptions{Kick: true})) },
		func() { did(t)(bo.Leave(ctx(t), club)) },
		func() {},
	} {
		bo.asksAndWaits(link)
		did(t)(ana.Approve(ctx(t), club, "Bo"))
		bo.join(link)
		ana.sees(club, "Bo", protocol.Member)
		goes()
		if got := ana.request(club, "Bo"); got != "approved" {
			t.Errorf("Bo's request is used, and is %q", got)
		}
		eventually(t, "Bo knows where he stands", func() bool {
			g, err := bo.Group(club)
			return err == nil && g.Rank == ana.rankOf(club, "Bo")
		})
	}
}

// rankOf is somebody's rank as a person sees it.
func (p *person) rankOf(group protocol.ID, who string) protocol.Rank {
	p.t.Helper()
	if m := p.members(group)[who]; m != nil {
		return m.Rank
	}
	return protocol.NoRank
}

// A person's no answers the question it was said to.
func TestANoIsForOneQuestion(t *testing.T) {
	var c clock
	ana := start(t, "Ana", func(cfg *node.Config) { node.WithClock(cfg, c.now) })
	bo := start(t, "Bo")
	club := ana.create("club")
	link := ana.invite(club, node.InviteOptions{Approve: true})
	deny := func() {
		t.Helper()
		if err := ana.Deny(ctx(t), club, "Bo"); err != nil {
			t.Fatal(err)
		}
	}
	bo.asksAndWaits(link)
	deny()
	_, err := bo.Join(ctx(t), link)
	refused(t, err, node.ErrRefused, "a person said no") // nobody is asked again at once
	bo.asksAndWaits(ana.invite(club, node.InviteOptions{Approve: true}))
	if got := ana.request(club, "Bo"); got != "waiting" {
		t.Errorf("another invitation is another question, and the request is %q", got)
	}
	deny()
	c.forward(time.Hour)
	bo.asksAndWaits(link)
	did(t)(ana.Approve(ctx(t), club, "Bo"))
	bo.join(link)
}

// Why a link does not admit is told, by whoever may admit and knows.
func TestWhyALinkDoesNotAdmit(t *testing.T) {
	club, p := staff(t, "Gil greeter", "Bo moderator")
	ana, gil, bo := p[0], p[1], p[2]
	once := ana.invite(club, node.InviteOptions{Uses: 1})
	cleo, dan := start(t, "Cleo"), start(t, "Dan")
	cleo.join(once)
	own := ana.invite(club, node.InviteOptions{IssuerAdmits: true})
	senior := ana.invite(club, node.InviteOptions{Rank: protocol.Moderator})
	expired := ana.invite(club, node.InviteOptions{Expiry: -time.Hour})
	called := ana.invite(club, node.InviteOptions{})
	list, err := ana.Invites(club)
	if err != nil {
		t.Fatal(err)
	}
	newest := slices.MaxFunc(list, func(a, b node.InviteInfo) int { return a.Made.Compare(b.Made) })
	did(t)(ana.RevokeInvite(ctx(t), club, newest.ID))
	eventually(t, "Gil knows of the end of the last one", func() bool { return len(gil.audit(club, "invite.revoke")) == 1 })
	ana.sleep()
	bo.sleep()

	dan.reach(gil)
	for _, c := range []struct{ link, says string }{
		{once, "used as often as it may be"}, {expired, "expired"}, {called, "revoked"},
	} {
		_, err := dan.Join(ctx(t), c.link)
		refused(t, err, node.ErrRefused, c.says)
	}
	for _, link := range []string{own, senior} {
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err := dan.Join(short, link)
		cancel()
		refused(t, err, node.ErrElsewhere, "nobody else was reachable")
	}
}

// Two joins at once in one node do not stand in each other's way, be they of two
// groups or of one.
func TestTwoJoinsAtOnce(t *testing.T) {
	ana, bo := start(t, "Ana"), start(t, "Bo")
	one, two, three := ana.create("one"), ana.create("two"), ana.create("three")
	answers := make(chan error)
	for _, pair := range [][2]protocol.ID{{one, two}, {three, three}} {
		for _, club := range pair {
			link := ana.invite(club, node.InviteOptions{})
			go func() { _, err := bo.Join(ctx(t), link); answers <- err }()
		}
		for range pair {
			if err := <-answers; err != nil {
				t.Error(err)
			}
		}
	}
	for _, club := range []protocol.ID{one, two, three} {
		bo.knows(club, 2)
		ana.send(club, "hello")
		bo.await(club, 1)
	}
}

// Where both sides of a split admit, an invitation can be used more often than it may.
// That is seen.
func TestUsedTooOften(t *testing.T) {
	club, p := staff(t, "Gil greeter")
	ana, gil := p[0], p[1]
	link := ana.invite(club, node.InviteOptions{Uses: 1})
	eventually(t, "Gil has the invitation", func() bool { return len(gil.audit(club, "invite")) == 2 })
	gil.sleep()
	bo, cleo := start(t, "Bo"), start(t, "Cleo")
	bo.join(link)
	ana.sleep()
	bo.sleep()
	gil.wake()
	cleo.reach(gil)
	cleo.join(link)
	ana.wake()
	ana.meet(gil)
	ana.knows(club, 4)
	list, err := ana.Invites(club)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(list, func(i node.InviteInfo) bool { return i.Uses == 1 })
	if list[i].Used != 2 || !list[i].Over() || list[i].State != "used up" {
		t.Errorf("the invitation is %+v", list[i])
	}
}
