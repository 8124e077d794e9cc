package node_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
)

func (p *person) plan(name string) string {
	p.t.Helper()
	text, err := p.PlanGroup(ctx(p.t), name)
	if err != nil {
		p.t.Fatalf("%s plans: %v", p.cfg.Name, err)
	}
	return text
}

func (p *person) agree(plan string) string {
	p.t.Helper()
	text, err := p.AgreeToFound(ctx(p.t), plan)
	if err != nil {
		p.t.Fatalf("%s agrees: %v", p.cfg.Name, err)
	}
	return text
}

func TestThreeFoundAGroup(t *testing.T) {
	ana, bo, cleo, dan := start(t, "Ana"), start(t, "Bo"), start(t, "Cleo"), start(t, "Dan")
	plan := ana.plan("Hiking club")
	bos, cleos := bo.agree(plan), cleo.agree(plan)
	if bo.agree(plan) != bos {
		t.Error("the second answer to a plan is another")
	}
	// All of it survives restarts.
	for _, p := range []*person{ana, bo} {
		p.sleep()
		p.wake()
	}
	club, err := ana.CreateGroup(ctx(t), "", bos, cleos)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ana.CreateGroup(ctx(t), "", bos); !errors.Is(err, node.ErrBadPlan) {
		t.Errorf("a plan used twice answers %v", err)
	}
	link := ana.invite(club, node.InviteOptions{Uses: 1})
	bo.join(link)
	dan.join(link) // Bo did not use it up
	cleo.join(ana.invite(club, node.InviteOptions{}))
	for _, p := range []*person{ana, bo, cleo, dan} {
		until(t, p.cfg.Name+" sees three founders", func() bool {
			members, _ := p.Members(club)
			var who []string
			for _, m := range members {
				who = append(who, fmt.Sprintf("%s %s", m.Name, m.Rank))
			}
			return slices.Equal(who, []string{"Ana founder", "Bo founder", "Cleo founder", "Dan member"})
		})
	}
	if g, err := bo.Group(club); err != nil || g.Rank != protocol.Founder || g.Name != "Hiking club" {
		t.Errorf("Bo is in %+v, %v", g, err)
	}
	bo.sleep()
	bo.wake()
	ana.sleep()
	eve := start(t, "Eve")
	eve.join(bo.invite(club, node.InviteOptions{Rank: protocol.Owner}))
	bo.say(club, "I can do all that Ana can")
	eve.await(club, 1)
}

// A plan for one group has no part in another.
func TestAPlannersOtherGroup(t *testing.T) {
	ana, bo := start(t, "Ana"), start(t, "Bo")
	plan := ana.plan("planned")
	bo.agree(plan)
	club := ana.create("another")
	bo.join(ana.invite(club, node.InviteOptions{}))
	p, err := protocol.ParsePlan(plan)
	if err != nil {
		t.Fatal(err)
	}
	if bo.me(club) != bo.Account().Identity(club).Root() || bo.me(club) == bo.Account().Identity(p.Salt()).Root() {
		t.Error("Bo is known by the plan's key")
	}
}

func TestBadConsents(t *testing.T) {
	ana, bo, cleo := start(t, "Ana"), start(t, "Bo"), start(t, "Cleo")
	plan, other := ana.plan("club"), ana.plan("other")
	bos := bo.agree(plan)
	if _, err := ana.AgreeToFound(ctx(t), plan); !errors.Is(err, node.ErrNotAllowed) {
		t.Errorf("agreeing with oneself answers %v", err)
	}
	for _, bad := range []string{"", plan[:30], bos, "p2pchat-plan:"} {
		if _, err := bo.AgreeToFound(ctx(t), bad); !errors.Is(err, node.ErrBadPlan) {
			t.Errorf("plan %q answers %v", bad, err)
		}
	}
	p, err := protocol.ParsePlan(plan)
	if err != nil {
		t.Fatal(err)
	}
	own := protocol.Consent{Salt: p.Salt(), Cert: ana.Account().Identity(p.Salt()).Cert()}.Text()
	for _, c := range []struct {
		name     string
		consents []string
		want     string
	}{
		{"", []string{bos, bos}, "it is there twice"},
		{"", []string{bos, own}, "this is your own"},
		{"", []string{bos, cleo.agree(other)}, "another plan than the first"},
		{"", []string{cleo.agree(bo.plan("Bo's"))}, "this node did not make"},
		{"another name", []string{bos}, `they agreed to found "club"`},
		{"", []string{plan}, "does not begin with"},
		{"", slices.Repeat([]string{bos}, protocol.MaxFounders), "at most 7"},
	} {
		if _, err := ana.CreateGroup(ctx(t), c.name, c.consents...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%d consents: %v, which does not say %q", len(c.consents), err, c.want)
		}
	}
	if len(ana.Groups()) != 0 {
		t.Errorf("Ana has %+v", ana.Groups())
	}
	if _, err := ana.PlanGroup(ctx(t), ""); !errors.Is(err, node.ErrNotText) {
		t.Errorf("a plan without a name answers %v", err)
	}
	for i := range 70 { // the oldest plans are given up, and nothing breaks
		ana.plan(fmt.Sprint(i))
	}
	if _, err := ana.CreateGroup(ctx(t), "", bos); !errors.Is(err, node.ErrBadPlan) {
		t.Errorf("a plan that was given up answers %v", err)
	}
}
