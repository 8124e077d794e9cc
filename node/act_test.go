package node_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

// staff starts a group of Ana, its founder, and others with a role each: "Bo admin".
func staff(t *testing.T, others ...string) (protocol.ID, []*person) {
	t.Helper()
	ana := start(t, "Ana")
	club := ana.create("club")
	all := []*person{ana}
	for _, o := range others {
		name, role, _ := strings.Cut(o, " ")
		rank, err := protocol.ParseRank(role)
		if err != nil {
			t.Fatal(err)
		}
		p := start(t, name)
		p.join(ana.invite(club, node.InviteOptions{Rank: rank}))
		all = append(all, p)
	}
	for _, p := range all {
		p.knows(club, len(all))
	}
	return club, all
}

// knows waits until a person sees count members, all with a name.
func (p *person) knows(group protocol.ID, count int) {
	p.t.Helper()
	eventually(p.t, fmt.Sprintf("%s sees %d members", p.cfg.Name, count), func() bool {
		list, err := p.Members(group)
		return err == nil && len(list) == count && !slices.ContainsFunc(list, func(m node.Member) bool { return m.Name == "" })
	})
}

func (p *person) members(group protocol.ID) map[string]*node.Member {
	p.t.Helper()
	list, err := p.Members(group)
	if err != nil {
		p.t.Fatal(err)
	}
	out := make(map[string]*node.Member)
	for i := range list {
		out[list[i].Name] = &list[i]
	}
	return out
}

// sees waits until somebody has a rank for a person; NoRank is that they are gone.
func (p *person) sees(group protocol.ID, who string, rank protocol.Rank) {
	p.t.Helper()
	eventually(p.t, fmt.Sprintf("%s sees %s as %s", p.cfg.Name, who, rank), func() bool {
		m := p.members(group)[who]
		return m == nil && rank == protocol.NoRank || m != nil && m.Rank == rank
	})
}

// system returns a person's system lines but those that begin every group.
func (p *person) system(group protocol.ID) []string {
	p.t.Helper()
	lines, _, err := p.Last(ctx(p.t), group, 0)
	if err != nil {
		p.t.Fatal(err)
	}
	var out []string
	for _, m := range lines {
		switch m.Kind {
		case "text", "created", "joined":
			continue
		}
		s := strings.Join(strings.Fields(fmt.Sprintf("%s %s %s %s %s", m.From.Name, m.Kind, m.Target.Name, m.Text, m.Reason)), " ")
		if m.Undone {
			s += " (undone)"
		}
		out = append(out, s)
	}
	return out[1:] // the name
}

// told waits until somebody's system lines are these.
func (p *person) told(group protocol.ID, want ...string) {
	p.t.Helper()
	var got []string
	defer func() {
		if p.t.Failed() {
			p.t.Logf("%s reads %q", p.cfg.Name, got)
		}
	}()
	eventually(p.t, fmt.Sprintf("%s reads %q", p.cfg.Name, want), func() bool {
		got = p.system(group)
		return slices.Equal(got, want)
	})
}

// did returns a check that an act was done.
func did(t *testing.T) func(node.Act, error) node.Act {
	return func(a node.Act, err error) node.Act {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if a.ID.IsZero() {
			t.Fatal("an act without an id")
		}
		return a
	}
}

// refused fails unless an error is of a kind and says something.
func refused(t *testing.T, err, want error, says string) {
	t.Helper()
	if !errors.Is(err, want) || !strings.Contains(err.Error(), says) {
		t.Errorf("the answer is %v, not %v: %s", err, want, says)
	}
}

// audit returns the acts of some kinds, in order.
func (p *person) audit(group protocol.ID, kinds ...string) []node.Act {
	p.t.Helper()
	acts, err := p.Audit(group)
	if err != nil {
		p.t.Fatal(err)
	}
	return slices.DeleteFunc(acts, func(a node.Act) bool { return !slices.Contains(kinds, a.Kind) })
}

// meet connects two nodes that know no address of each other.
func (p *person) meet(q *person) {
	p.t.Helper()
	// A connection to who q was before a restart may not have been missed yet.
	if err := p.Host().Network().ClosePeer(q.Host().ID()); err != nil {
		p.t.Fatal(err)
	}
	p.reach(q)
}

// clock is a clock that a test puts forward.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time           { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) forward(by time.Duration) { c.ahead.Add(int64(by)) }

func TestRolesChange(t *testing.T) {
	club, p := staff(t, "Bo admin", "Cleo member", "Dan member")
	ana, bo, cleo, dan := p[0], p[1], p[2], p[3]
	a := did(t)(bo.SetRole(ctx(t), club, "Cleo", protocol.Moderator, "helps a lot"))
	if a.Kind != "grant" || a.Rank != protocol.Moderator || a.Right != protocol.Admin || a.By.Name != "Bo" || a.Target.Name != "Cleo" || a.Text != "helps a lot" || a.Admits {
		t.Errorf("the act is %+v", a)
	}
	cleo.sees(club, "Cleo", protocol.Moderator)
	muted := did(t)(cleo.Mute(ctx(t), club, "Dan", node.MuteOptions{Reason: "noise"}))
	bo.told(club, "Bo role Cleo moderator helps a lot", "Cleo muted Dan noise")
	did(t)(bo.SetRole(ctx(t), club, "Cleo", protocol.Member, ""))
	for _, q := range p {
		q.sees(club, "Cleo", protocol.Member)
		// What she did as moderator stands, and a demotion is one line.
		q.told(club, "Bo role Cleo moderator helps a lot", "Cleo muted Dan noise", "Bo role Cleo member")
		if m := q.members(club)["Dan"]; !m.Muted {
			t.Errorf("%s does not see Dan muted", q.cfg.Name)
		}
	}
	if acts := dan.audit(club, "mute"); len(acts) != 1 || acts[0].ID != muted.ID || acts[0].Undone != nil || acts[0].Text != "noise" {
		t.Errorf("Dan's audit has %+v", acts)
	}

	role := func(q *person, who string, rank protocol.Rank) error {
		_, err := q.SetRole(ctx(t), club, who, rank, "")
		return err
	}
	refused(t, role(ana, "Bo", protocol.Admin), node.ErrNothing, "Bo is admin already")
	refused(t, role(ana, "Bo", protocol.Founder), node.ErrNotAllowed, "owner")
	refused(t, role(bo, "Ana", protocol.Member), node.ErrNotAllowed, "Ana is founder")
	refused(t, role(bo, "Dan", protocol.Admin), node.ErrNotAllowed, "needs the role owner or a more senior one, yours is admin")
	refused(t, role(cleo, "Dan", protocol.Greeter), node.ErrNotAllowed, "needs the role moderator")
	refused(t, role(ana, "Nobody", protocol.Member), node.ErrUnknownName, "Nobody")
	refused(t, role(ana, "Ana", protocol.Member), node.ErrUnknownName, "Ana")
	key := dan.members(club)["Dan"].Key.Text(protocol.PersonPrefix)
	refused(t, role(ana, key[:7], protocol.Greeter), node.ErrUnknownName, "four")
	if err := role(ana, key[:8], protocol.Greeter); err != nil {
		t.Errorf("the short key answers %v", err)
	}
	if err := role(ana, key, protocol.Member); err != nil {
		t.Errorf("the whole key answers %v", err)
	}
}

func TestExpelAndWhoMay(t *testing.T) {
	club, p := staff(t, "Bo admin", "Cleo admin", "Dan member", "Dan member")
	ana, bo, cleo := p[0], p[1], p[2]
	_, err := bo.Expel(ctx(t), club, "Cleo", node.ExpelOptions{})
	refused(t, err, node.ErrNotAllowed, "Cleo is admin; changing that needs the role owner or a more senior one, yours is admin")
	_, err = cleo.Expel(ctx(t), club, "Bo", node.ExpelOptions{Kick: true})
	refused(t, err, node.ErrNotAllowed, "Bo is admin")
	_, err = bo.Expel(ctx(t), club, "Ana", node.ExpelOptions{})
	refused(t, err, node.ErrNotAllowed, "Ana is founder")
	_, err = bo.Expel(ctx(t), club, "Dan", node.ExpelOptions{})
	refused(t, err, node.ErrAmbiguous, "use the key")
	_, err = p[3].Expel(ctx(t), club, "Bo", node.ExpelOptions{})
	refused(t, err, node.ErrNotAllowed, "moderator")

	p[3].send(club, "I was here")
	bo.await(club, 1)
	ana.await(club, 1)
	key := p[3].members(club)["Ana"] // and the group is one group for all
	if key == nil {
		t.Fatal("Dan does not know Ana")
	}
	me, err := p[3].Group(club)
	if err != nil {
		t.Fatal(err)
	}
	a := did(t)(bo.Expel(ctx(t), club, me.Me.Text(protocol.PersonPrefix), node.ExpelOptions{Reason: "spam"}))
	if a.Kind != "ban" || a.Text != "spam" || a.Target.Key != me.Me {
		t.Errorf("the act is %+v", a)
	}
	ana.knows(club, 4)
	ana.told(club, "Bo banned Dan spam")
	agree(t, club, 1, ana, bo) // what was seen of Dan stands
	gone, err := ana.Former(club)
	if err != nil || len(gone) != 1 || gone[0].Name != "Dan" || gone[0].Key != me.Me || gone[0].Went == nil || gone[0].Went.ID != a.ID {
		t.Errorf("who has gone is %+v, %v", gone, err)
	}
	_, err = ana.Expel(ctx(t), club, me.Me.Text(protocol.PersonPrefix), node.ExpelOptions{})
	refused(t, err, node.ErrNothing, "banned already, by Bo")
	_, err = ana.Unban(ctx(t), club, "Cleo", "")
	refused(t, err, node.ErrUnknownName, "banned")
}

func TestSinceUndoesWhatWasSeen(t *testing.T) {
	club, p := staff(t, "Bo moderator", "Cleo moderator", "Dan member")
	ana, bo, cleo, dan := p[0], p[1], p[2], p[3]
	bo.send(club, "mine")
	did(t)(bo.Mute(ctx(t), club, "Dan", node.MuteOptions{}))
	time.Sleep(10 * time.Millisecond)
	stolen := time.Now()
	for i := range 3 {
		bo.send(club, fmt.Sprintf("the thief's %d", i))
	}
	did(t)(bo.Expel(ctx(t), club, "Dan", node.ExpelOptions{Kick: true}))
	for _, q := range []*person{ana, cleo} {
		q.await(club, 4)
		q.sees(club, "Dan", protocol.NoRank)
	}
	_, err := cleo.Expel(ctx(t), club, "Bo", node.ExpelOptions{Since: stolen})
	refused(t, err, node.ErrNotAllowed, "Bo is moderator")
	ban := did(t)(ana.Expel(ctx(t), club, "Bo", node.ExpelOptions{Since: stolen}))
	for _, q := range []*person{ana, cleo} {
		q.sees(club, "Bo", protocol.NoRank)
		q.sees(club, "Dan", protocol.Member) // whom the thief expelled is back
		if got := q.texts(club); !slices.Equal(got, []string{"mine"}) {
			t.Errorf("%s reads %q", q.cfg.Name, got)
		}
		if acts := q.audit(club, "mute"); len(acts) != 1 || acts[0].Undone != nil {
			t.Errorf("the mute before is %+v", acts)
		}
		acts := q.audit(club, "remove")
		if len(acts) != 1 || acts[0].Undone == nil || acts[0].Undone.ID != ban.ID || acts[0].Undone.By.Name != "Ana" {
			t.Errorf("the thief's remove is %+v", acts)
		}
		q.told(club, "Bo muted Dan", "Bo removed Dan (undone)", "Ana banned Bo")
	}
	_ = dan
}

func TestTwoSidesExpelEachOther(t *testing.T) {
	club, p := staff(t, "Bo admin", "Cleo moderator", "Dan member")
	ana, bo, cleo, dan := p[0], p[1], p[2], p[3]
	ana.sleep()
	dan.sleep()
	cleo.sleep()
	ban := did(t)(bo.Expel(ctx(t), club, "Cleo", node.ExpelOptions{Reason: "a coup"}))
	bo.sleep()
	cleo.wake()
	did(t)(cleo.Expel(ctx(t), club, "Dan", node.ExpelOptions{}))
	cleo.sees(club, "Dan", protocol.NoRank)
	ana.wake()
	ana.meet(cleo)
	ana.sees(club, "Dan", protocol.NoRank) // until somebody knows better
	bo.wake()
	bo.meet(ana)
	for _, q := range []*person{ana, bo} {
		q.sees(club, "Cleo", protocol.NoRank)
		q.sees(club, "Dan", protocol.Member)
		q.told(club, "Bo banned Cleo a coup", "Cleo banned Dan (undone)")
		for _, a := range q.audit(club, "ban") {
			if a.By.Name == "Cleo" && (a.Undone == nil || a.Undone.ID != ban.ID || a.Undone.Text != "a coup") {
				t.Errorf("Cleo's ban is %+v", a)
			}
		}
	}
}

func TestMuteForAWhile(t *testing.T) {
	var c clock
	bo, ana := start(t, "Bo"), start(t, "Ana", func(cfg *node.Config) { node.WithClock(cfg, c.now) })
	club := ana.create("club")
	bo.join(ana.invite(club, node.InviteOptions{}))
	ana.knows(club, 2)
	muted := func() bool { m := bo.members(club)["Bo"]; return m.Muted }

	bo.send(club, "before")
	ana.await(club, 1)
	did(t)(ana.Mute(ctx(t), club, "Bo", node.MuteOptions{For: time.Hour, Reason: "cool down"}))
	eventually(t, "Bo knows of the mute", muted)
	_, err := ana.Mute(ctx(t), club, "Bo", node.MuteOptions{})
	refused(t, err, node.ErrNothing, "muted already, by Ana")
	time.Sleep(700 * time.Millisecond) // a tick of the keeper
	if !muted() {
		t.Fatal("unmuted at once")
	}
	ana.sleep()
	c.forward(2 * time.Hour)
	ana.wake()
	eventually(t, "Bo is unmuted, though Ana's node was off", func() bool { return !muted() })
	bo.told(club, "Ana muted Bo cool down", "Ana unmuted Bo")

	// Who is unmuted by hand stays as they are then.
	did(t)(ana.Mute(ctx(t), club, "Bo", node.MuteOptions{For: time.Hour}))
	did(t)(ana.Unmute(ctx(t), club, "Bo", "sorry"))
	did(t)(ana.Mute(ctx(t), club, "Bo", node.MuteOptions{}))
	eventually(t, "Bo knows of the mute without an end", muted)
	c.forward(2 * time.Hour)
	time.Sleep(1200 * time.Millisecond)
	if acts := ana.audit(club, "unmute"); len(acts) != 2 {
		t.Errorf("the unmutes are %+v", acts)
	}
	_, err = ana.Unban(ctx(t), club, "Bo", "")
	refused(t, err, node.ErrUnknownName, "banned")
}

func TestOneSeesWhyOneIsNotHeard(t *testing.T) {
	club, p := staff(t, "Bo member")
	ana, bo := p[0], p[1]
	bo.sleep()
	did(t)(ana.Mute(ctx(t), club, "Bo", node.MuteOptions{}))
	ana.sleep()
	bo.wake()
	bo.send(club, "can you hear me?") // which he cannot know yet
	ana.wake()
	ana.meet(bo)
	eventually(t, "Bo knows", func() bool { return bo.members(club)["Bo"].Muted })
	lines, _, err := bo.Last(ctx(t), club, 0)
	i := slices.IndexFunc(lines, func(m node.Message) bool { return m.Kind == "text" })
	if err != nil || i < 0 || lines[i].Text != "can you hear me?" || !strings.Contains(lines[i].Hidden, "muted") {
		t.Errorf("Bo reads %+v, %v", lines, err)
	}
	if got := ana.texts(club); len(got) != 0 {
		t.Errorf("Ana reads %q", got)
	}
}

func TestLeaveIsSealed(t *testing.T) {
	club, p := staff(t, "Bo admin", "Cleo moderator", "Dan member")
	ana, bo, cleo, dan := p[0], p[1], p[2], p[3]
	back := ana.invite(club, node.InviteOptions{})
	cleo.send(club, "goodbye")
	ana.await(club, 1)
	did(t)(dan.Leave(ctx(t), club))
	left := did(t)(cleo.Leave(ctx(t), club))
	for _, q := range []*person{ana, bo} {
		q.knows(club, 2)
		eventually(t, "a senior seals the leave of a moderator", func() bool { return len(q.audit(club, "remove")) > 0 })
		for _, a := range q.audit(club, "leave") {
			if a.Unsealed {
				t.Errorf("not sealed: %+v", a)
			}
		}
		if got := q.system(club); !slices.Contains(got, "Cleo left") || !slices.Contains(got, "Dan left") || len(got) != 2 {
			t.Errorf("%s reads %q", q.cfg.Name, got)
		}
		gone, err := q.Former(club)
		if err != nil || len(gone) != 2 || gone[0].Name != "Cleo" || gone[0].Went.ID != left.ID {
			t.Errorf("who has gone is %+v, %v", gone, err)
		}
	}
	for _, a := range ana.audit(club, "remove") {
		if a.Target.Name != "Cleo" {
			t.Errorf("a member's leave needs no seal: %+v", a)
		}
	}
	g, err := cleo.Group(club)
	if err != nil || !g.Left || g.Rank != protocol.NoRank {
		t.Errorf("Cleo's group is %+v, %v", g, err)
	}
	if got := cleo.texts(club); !slices.Equal(got, []string{"goodbye"}) {
		t.Errorf("Cleo reads %q", got)
	}
	if _, err := cleo.Send(ctx(t), club, "still here"); !errors.Is(err, node.ErrNotAllowed) {
		t.Errorf("sending after a leave answers %v", err)
	}
	if _, err := cleo.Leave(ctx(t), club); !errors.Is(err, node.ErrNotAllowed) {
		t.Errorf("leaving twice answers %v", err)
	}
	cleo.join(back) // and comes back by asking
	ana.sees(club, "Cleo", protocol.Member)
	if g, _ := cleo.Group(club); g.Left {
		t.Error("Cleo is back, and marked as gone")
	}
}

func TestAFounderLeaves(t *testing.T) {
	club, p := staff(t, "Bo admin")
	ana, bo := p[0], p[1]
	ana.send(club, "it is yours now")
	bo.await(club, 1)
	did(t)(ana.Leave(ctx(t), club))
	bo.sees(club, "Ana", protocol.NoRank)
	agree(t, club, 1, bo, ana)
	bo.told(club, "Ana left")
	for _, a := range bo.audit(club, "leave", "device.revoke") {
		if a.Undone != nil || a.Unsealed {
			t.Errorf("%+v", a)
		}
	}
	if len(bo.audit(club, "device.revoke")) != 1 {
		t.Error("the founder's device is not revoked")
	}
	if gone, err := bo.Former(club); err != nil || len(gone) != 1 || gone[0].Name != "Ana" || gone[0].Went.Kind != "leave" {
		t.Errorf("who has gone is %+v, %v", gone, err)
	}
}

func TestApproval(t *testing.T) {
	ana, bo, cleo := start(t, "Ana"), start(t, "Bo"), start(t, "Cleo")
	club := ana.create("club")
	link := ana.invite(club, node.InviteOptions{Approve: true})
	short, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := bo.Join(short, link); !errors.Is(err, node.ErrApproval) {
		t.Errorf("nobody has approved, and joining answers %v", err)
	}
	ana.sleep() // a request outlives a restart
	ana.wake()
	asked, err := ana.Requests(club)
	if err != nil || len(asked) != 1 || asked[0].Name != "Bo" || asked[0].State != "waiting" || asked[0].Rank != protocol.Member {
		t.Fatalf("the requests are %+v, %v", asked, err)
	}
	a := did(t)(ana.Approve(ctx(t), club, "Bo"))
	if !a.Admits || a.Target.Name != "Bo" {
		t.Errorf("the act is %+v", a)
	}
	bo.meet(ana) // whose address is another now
	if got := bo.join(link); got != club {
		t.Errorf("Bo is in %s", got)
	}
	if asked, _ := ana.Requests(club); asked[0].State != "approved" {
		t.Errorf("the request is %+v", asked[0])
	}

	// Cleo waits, is denied, and approved after all.
	link = ana.invite(club, node.InviteOptions{Approve: true})
	answer := make(chan error)
	go func() { _, err := cleo.Join(t.Context(), link); answer <- err }()
	waiting := func() bool {
		asked, _ := ana.Requests(club)
		return slices.ContainsFunc(asked, func(q node.Request) bool { return q.Name == "Cleo" && q.State == "waiting" })
	}
	eventually(t, "Cleo asks", waiting)
	if err := ana.Deny(ctx(t), club, "Cleo"); err != nil {
		t.Fatal(err)
	}
	if err := <-answer; !errors.Is(err, node.ErrRefused) {
		t.Errorf("Cleo was denied, and joining answers %v", err)
	}
	refused(t, ana.Deny(ctx(t), club, "Cleo"), node.ErrNothing, "denied already")
	_, err = ana.Approve(ctx(t), club, "Dan")
	refused(t, err, node.ErrUnknownName, "Dan")
	did(t)(ana.Approve(ctx(t), club, "Cleo"))
	cleo.join(link)
	ana.knows(club, 3)
}

func TestAdmissionIsTheGroups(t *testing.T) {
	ana, bo, cleo := start(t, "Ana"), start(t, "Bo"), start(t, "Cleo")
	club := ana.create("club")
	asks, plain := ana.invite(club, node.InviteOptions{Approve: true}), ana.invite(club, node.InviteOptions{})
	set := func(admission string) {
		if _, err := ana.Set(ctx(t), club, node.Settings{Admission: &admission}); err != nil {
			t.Fatal(err)
		}
	}
	set(node.AdmissionOpen)
	bo.join(asks)
	set(node.AdmissionApprove)
	short, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := cleo.Join(short, plain); !errors.Is(err, node.ErrApproval) {
		t.Errorf("admission is by approval, and joining answers %v", err)
	}
}

// reinstall has somebody begin anew under the same account: what they do next does not
// depend on what their node had heard.
func (p *person) reinstall() {
	p.t.Helper()
	p.sleep()
	p.cfg.Datastore = storage.NewMemory()
	p.wake()
}

func TestBansHoldAtTheDoor(t *testing.T) {
	club, p := staff(t, "Bo moderator", "Cleo member")
	ana, bo, cleo := p[0], p[1], p[2]
	link := ana.invite(club, node.InviteOptions{})
	did(t)(bo.Expel(ctx(t), club, "Cleo", node.ExpelOptions{Kick: true}))
	ana.sees(club, "Cleo", protocol.NoRank)
	cleo.reinstall()
	cleo.join(link) // a kick can be made good by whoever may admit
	ana.sees(club, "Cleo", protocol.Member)
	bo.sees(club, "Cleo", protocol.Member)

	did(t)(ana.Expel(ctx(t), club, "Cleo", node.ExpelOptions{}))
	bo.sees(club, "Cleo", protocol.NoRank)
	cleo.reinstall()
	_, err := cleo.Join(ctx(t), link)
	refused(t, err, node.ErrRefused, "banned")
	_, err = bo.Unban(ctx(t), club, "Cleo", "")
	refused(t, err, node.ErrNotAllowed, "Cleo was banned by Ana, as founder")

	did(t)(ana.Unban(ctx(t), club, "Cleo", ""))
	eventually(t, "Bo, who may admit, knows of the unban", func() bool { return len(bo.audit(club, "unban")) == 1 })
	cleo.join(link)
	bo.sees(club, "Cleo", protocol.Member)
	_, err = ana.Unban(ctx(t), club, "Cleo", "")
	refused(t, err, node.ErrUnknownName, "banned")
}

func TestSettings(t *testing.T) {
	club, p := staff(t, "Bo moderator", "Cleo member")
	ana, bo, cleo := p[0], p[1], p[2]
	show := func(q *person) string {
		s, err := q.Settings(club)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%s|%s|%s|%v|%s|%s|%s", *s.Name, *s.Topic, *s.Rules, *s.Announce, *s.SlowMode, *s.Admission, *s.History)
	}
	if got := show(cleo); got != "club|||false|0s|invite|all" {
		t.Errorf("at first the settings are %s", got)
	}
	name, topic, rules, slow, on := "The club", "hikes", "be kind\nbe on time", 10*time.Second, true
	acts, err := bo.Set(ctx(t), club, node.Settings{Name: &name, Topic: &topic, Rules: &rules, SlowMode: &slow})
	if err != nil || len(acts) != 4 {
		t.Fatalf("setting answers %+v, %v", acts, err)
	}
	eventually(t, "Cleo has the settings", func() bool { return show(cleo) == "The club|hikes|be kind\nbe on time|false|10s|invite|all" })
	cleo.told(club, "Bo named The club", "Bo set topic hikes", "Bo set rules be kind be on time", "Bo set slow-mode 10s")
	if acts, err := bo.Set(ctx(t), club, node.Settings{Name: &name, SlowMode: &slow}); err != nil || len(acts) != 0 {
		t.Errorf("the same again answers %+v, %v", acts, err)
	}
	slower, quick := time.Minute, time.Second
	if _, err := ana.Set(ctx(t), club, node.Settings{SlowMode: &slower, Announce: &on}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "Bo knows", func() bool { return strings.Contains(show(bo), "true|1m0s") })
	_, err = bo.Set(ctx(t), club, node.Settings{SlowMode: &quick})
	refused(t, err, node.ErrNotAllowed, `"slow-mode 1m" is by Ana, as founder`)
	if _, err := bo.Set(ctx(t), club, node.Settings{SlowMode: &slowest}); err != nil {
		t.Errorf("more of it answers %v", err)
	}
	_, err = cleo.Set(ctx(t), club, node.Settings{Announce: &on})
	refused(t, err, node.ErrNotAllowed, "moderator")
	for _, bad := range []node.Settings{
		{Name: ptr("")},
		{Name: ptr("a\nb")},
		{Topic: ptr(strings.Repeat("x", 1025))},
		{Rules: ptr("\xff")},
		{SlowMode: ptr(time.Millisecond)},
		{SlowMode: ptr(-time.Second)},
		{Admission: ptr("all")},
		{History: ptr("none")},
	} {
		if acts, err := ana.Set(ctx(t), club, bad); err == nil {
			t.Errorf("%+v answers %+v", bad, acts)
		}
	}
}

var slowest = time.Hour

func ptr[T any](v T) *T { return &v }

func TestInvitesAreListedAndRevoked(t *testing.T) {
	club, p := staff(t, "Bo greeter")
	ana, bo := p[0], p[1]
	link := bo.invite(club, node.InviteOptions{Uses: 2, Approve: true, IssuerAdmits: true})
	ana.invite(club, node.InviteOptions{Expiry: -time.Hour})
	states := func(q *person) (out []string) {
		list, err := q.Invites(club)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range list {
			out = append(out, fmt.Sprintf("%s %s %s %d/%d", i.By.Name, i.Rank, i.State, i.Used, i.Uses))
		}
		return out
	}
	eventually(t, "Ana has all invites", func() bool {
		got := slices.Sorted(slices.Values(states(ana))) // two may be of one millisecond
		return slices.Equal(got, []string{"Ana greeter open 1/0", "Ana member expired 0/0", "Bo member open 0/2"})
	})
	list, _ := ana.Invites(club)
	bos := list[slices.IndexFunc(list, func(i node.InviteInfo) bool { return i.By.Name == "Bo" })]
	if !bos.Approve || !bos.IssuerAdmits {
		t.Errorf("Bo's invite is %+v", bos)
	}
	did(t)(ana.RevokeInvite(ctx(t), club, bos.ID))
	eventually(t, "Bo knows", func() bool { return slices.Contains(states(bo), "Bo member revoked 0/2") })
	_, err := ana.RevokeInvite(ctx(t), club, bos.ID)
	refused(t, err, node.ErrNothing, "revoked already")
	_, err = ana.RevokeInvite(ctx(t), club, club)
	refused(t, err, node.ErrUnknownInvite, "no invite")
	cleo := start(t, "Cleo")
	_, err = cleo.Join(ctx(t), link)
	refused(t, err, node.ErrRefused, "this invitation was revoked")
}

// What was sealed under the epoch of somebody whose acts were undone since is read by
// all who belong, also by those whom that epoch left out.
func TestTheKeysOfUndoneEpochsAreFound(t *testing.T) {
	club, all := staff(t, "Mo admin", "Spam moderator", "Zoe member")
	ana, mo, spam, zoe := all[0], all[1], all[2], all[3]
	for _, p := range all {
		p.knows(club, 4)
		eventually(t, p.cfg.Name+" has all prekeys", func() bool { return p.HasPrekeys(club, 4) })
	}
	mo.sleep()
	zoe.sleep()
	if _, err := spam.Expel(ctx(t), club, "Zoe", node.ExpelOptions{}); err != nil {
		t.Fatal(err)
	}
	ana.knows(club, 3)
	eventually(t, "Ana writes under the new epoch", func() bool { all, held := ana.Epochs(club); return len(all) == 2 && held == 2 })
	ana.send(club, "under Spam's key")
	spam.sleep()
	ana.sleep()
	mo.wake()
	if _, err := mo.Expel(ctx(t), club, "Spam", node.ExpelOptions{}); err != nil {
		t.Fatal(err)
	}
	ana.wake()
	mo.meet(ana)
	zoe.wake()
	zoe.meet(ana)
	for _, p := range []*person{ana, mo, zoe} {
		eventually(t, p.cfg.Name+" reads it", func() bool { return slices.Equal(p.texts(club), []string{"under Spam's key"}) })
	}
}
