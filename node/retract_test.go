package node_test

import (
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
)

// until waits for something that others bring about.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it does not come: %s", what)
		}
	}
}

// say sends a text and returns its id.
func (p *person) say(group protocol.ID, text string) protocol.ID {
	p.t.Helper()
	res, err := p.Send(ctx(p.t), group, text)
	if err != nil {
		p.t.Fatalf("%s sends: %v", p.cfg.Name, err)
	}
	return res.ID
}

// reads waits until a person reads exactly some texts.
func (p *person) reads(group protocol.ID, texts ...string) {
	p.t.Helper()
	var last []string
	for end := time.Now().Add(patience / 3); !slices.Equal(last, texts); time.Sleep(10 * time.Millisecond) {
		if last = p.texts(group); time.Now().After(end) {
			p.t.Fatalf("%s reads %q, not %q", p.cfg.Name, last, texts)
		}
	}
}

func (p *person) held(group, id protocol.ID) string {
	switch here, whole := p.Held(ctx(p.t), group, id); {
	case whole:
		return "whole"
	case here:
		return "erased"
	}
	return "away"
}

// me returns a person's key in a group.
func (p *person) me(group protocol.ID) protocol.Key {
	p.t.Helper()
	g, err := p.Group(group)
	if err != nil {
		p.t.Fatal(err)
	}
	return g.Me
}

// crew is a group of a founder, a moderator and a member, who know each other.
func crew(t *testing.T) (club protocol.ID, ana, mo, bo *person) {
	t.Helper()
	ana, mo, bo = start(t, "Ana"), start(t, "Mo"), start(t, "Bo")
	club = ana.create("club")
	mo.join(ana.invite(club, node.InviteOptions{Rank: protocol.Moderator}))
	bo.join(ana.invite(club, node.InviteOptions{}))
	for _, p := range []*person{ana, mo, bo} {
		until(t, p.cfg.Name+" knows all", func() bool {
			members, err := p.Members(club)
			named := !slices.ContainsFunc(members, func(m node.Member) bool { return m.Name == "" })
			return err == nil && len(members) == 3 && named && p.HasPrekeys(club, 3)
		})
	}
	return club, ana, mo, bo
}

func TestAuthorsTakeBackWhatTheySaid(t *testing.T) {
	club, ana, mo, bo := crew(t)
	keep, slip := bo.say(club, "hello"), bo.say(club, "my password is")
	for _, p := range []*person{ana, mo} {
		p.await(club, 2)
	}
	act, err := bo.Retract(ctx(t), club, slip, "oops")
	if err != nil || act.Kind != "retract" || act.Target.Name != "Bo" || act.By.Name != "Bo" || act.Right != protocol.Member || act.Text != "oops" {
		t.Fatalf("%+v, %v", act, err)
	}
	if bo.held(club, slip) != "erased" {
		t.Error("the author still has it")
	}
	for _, p := range []*person{ana, mo, bo} {
		p.reads(club, "hello", "taken back by its author")
		until(t, "it is erased", func() bool { return p.held(club, slip) == "erased" })
		if p.held(club, keep) != "whole" {
			t.Error("another message is gone")
		}
	}
	if _, err := bo.Retract(ctx(t), club, slip, ""); err == nil {
		t.Error("it is taken back twice")
	}
	mo.sleep()
	mo.wake()
	mo.reads(club, "hello", "taken back by its author")
	if _, err := bo.Retract(ctx(t), club, protocol.ID{9}, ""); !errors.Is(err, node.ErrUnknownMessage) {
		t.Errorf("a message that is not here answers %v", err)
	}
	if _, err := bo.Retract(ctx(t), club, act.ID, ""); !errors.Is(err, node.ErrUnknownMessage) {
		t.Errorf("a retraction of a retraction answers %v", err)
	}
}

func TestModeratorsTakeBackWhatJuniorsSaid(t *testing.T) {
	club, ana, mo, bo := crew(t)
	spam := bo.say(club, "spam")
	mo.await(club, 1)
	rude := mo.say(club, "rude")
	ana.await(club, 2)
	order := ana.say(club, "order")
	for _, p := range []*person{ana, mo, bo} {
		until(t, "all have three", func() bool { return len(p.texts(club)) == 3 })
	}
	for _, c := range []struct {
		who  *person
		id   protocol.ID
		want string
	}{
		{bo, rude, "not allowed: Mo's message counts as a moderator's; taking it back needs admin or a more senior role, yours is member"},
		{bo, order, "not allowed: Ana's message counts as a founder's: only Ana can take it back"},
		{mo, order, "not allowed: Ana's message counts as a founder's: only Ana can take it back"},
	} {
		if _, err := c.who.Retract(ctx(t), club, c.id, ""); !errors.Is(err, node.ErrNotAllowed) || err.Error() != "retract: "+c.want {
			t.Errorf("%s gets %v", c.who.cfg.Name, err)
		}
	}
	act, err := mo.Retract(ctx(t), club, spam, "no ads")
	if err != nil || act.Right != protocol.Moderator || act.Target.Name != "Bo" {
		t.Fatalf("%+v, %v", act, err)
	}
	for _, p := range []*person{ana, mo, bo} {
		p.reads(club, "taken back by Mo", "rude", "order")
		if p.held(club, spam) != "whole" {
			t.Error("what a moderator took back is erased at once")
		}
	}
	if err := ana.EraseDue(ctx(t), club, time.Now().Add(29*24*time.Hour)); err != nil || ana.held(club, spam) != "whole" {
		t.Errorf("after 29 days it is %s, %v", ana.held(club, spam), err)
	}
	if err := ana.EraseDue(ctx(t), club, time.Now().Add(31*24*time.Hour)); err != nil || ana.held(club, spam) != "erased" {
		t.Errorf("after 31 days it is %s, %v", ana.held(club, spam), err)
	}

	// Ana removes Mo, and spares nothing of what Mo did: Bo's message shows again
	// where it is not erased yet.
	if err := ana.Oust(ctx(t), club, protocol.KindBan, mo.me(club)); err != nil {
		t.Fatal(err)
	}
	until(t, "Bo's message is back", func() bool { return slices.Contains(bo.texts(club), "spam") })
	if err := bo.EraseDue(ctx(t), club, time.Now().Add(31*24*time.Hour)); err != nil || bo.held(club, spam) != "whole" {
		t.Errorf("what is not taken back any more is %s, %v", bo.held(club, spam), err)
	}
}

// What takes something back may arrive before it.
func TestARetractionComesFirst(t *testing.T) {
	club, ana, mo, bo := crew(t)
	ana.sleep()
	slip, spam := bo.say(club, "slip"), bo.say(club, "spam")
	mo.await(club, 2)
	a, b := mo.Event(ctx(t), club, slip), mo.Event(ctx(t), club, spam) // whole, for now
	own, err := bo.Retract(ctx(t), club, slip, "")
	if err != nil {
		t.Fatal(err)
	}
	seniors, err := mo.Retract(ctx(t), club, spam, "")
	if err != nil {
		t.Fatal(err)
	}
	c, d := bo.Event(ctx(t), club, own.ID), mo.Event(ctx(t), club, seniors.ID)
	mo.sleep()
	bo.sleep()
	ana.wake()
	ana.Ingest(club, d)
	ana.Ingest(club, c) // before both that it follows
	ana.Ingest(club, a)
	ana.reads(club, "taken back by its author") // never shown, not even for a moment
	ana.Ingest(club, b)
	ana.reads(club, "taken back by its author", "taken back by Mo")
	until(t, "it is erased", func() bool { return ana.held(club, slip) == "erased" })
	if ana.held(club, spam) != "whole" {
		t.Error("what a moderator took back is erased at once")
	}
	ana.Ingest(club, a)
	if ana.held(club, slip) != "erased" {
		t.Error("a whole copy came again, and stays")
	}
}

// A member's text is taken back while somebody who has an erased copy asks for it.
func TestATextTakenBackWhileItIsAskedFor(t *testing.T) {
	ana := start(t, "Ana")
	club := ana.create("club")
	mia := newOutsider(t).admit(ana, ana.invite(club, node.InviteOptions{}), "Mia")
	v := mia.say("I regret this")
	answer := make(chan struct{})
	var asked, open atomic.Int32 // streams: who looks asks, and so does the search for texts
	mia.host.SetStreamHandler(keyID, func(s network.Stream) {
		k := newTalk(t, s)
		for want := (protocol.Want{}); k.frame(protocol.FrameWant, &want) == nil; want = (protocol.Want{}) {
			if slices.Contains(want.Bodies, v.ID()) {
				open.Add(1)
				asked.Add(1)
				<-answer
				k.send(protocol.FrameEvents, protocol.Events{List: [][]byte{v.Wire()}})
				defer open.Add(-1) // Ana has taken the answer
			}
			k.send(protocol.FrameDone, struct{}{})
		}
	})
	mia.feed(ana, [][]byte{v.Erased().Wire()})
	ana.texts(club) // whoever looks misses it
	eventually(t, "Ana asks", func() bool { return asked.Load() > 0 })
	d := mia.draft(mia.end)
	d.Kind, d.To = protocol.KindRetract, v.ID()
	mia.feed(ana, [][]byte{mia.sign(d, "").Wire()})
	if err := ana.EraseDue(ctx(t), club, time.Now()); err != nil {
		t.Fatal(err)
	}
	close(answer)
	eventually(t, "Ana has what she asked for", func() bool { return open.Load() == 0 })
	if got := ana.held(club, v.ID()); got != "erased" {
		t.Errorf("Ana has it %s", got)
	}
}
