package node_test

import (
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
)

// Somebody with a program of their own is banned, keeps all keys and secrets, and tries
// every door.
func TestTheBannedAreNeitherHeardNorServed(t *testing.T) {
	ana, bo, club, link := party(t)
	mal := newOutsider(t).admit(ana, link, "Mal")
	_, sub := mal.gossip(mal.welcome.Secrets[0])
	cleo := start(t, "Cleo")
	cleo.join(link)
	for _, q := range []*person{ana, bo, cleo} {
		q.knowsOf(club, 4)
	}
	before := mal.say("before")
	mal.feed(ana, [][]byte{before.Wire()})
	for _, q := range []*person{ana, bo, cleo} {
		q.await(club, 1)
	}
	old, grace := mal.set.Heads(protocol.MaxMessageRefs, protocol.ID{}), mal.clock
	cleo.sleep()
	did(t)(ana.Expel(ctx(t), club, ana.keyOf(club, mal.me.Dev()), node.ExpelOptions{}))
	bo.knowsOf(club, 3)
	settled(t, club, ana, bo)

	// All that one who knows the old keys can sign: after the end, dated back, forked
	// below the cut, and from the beginning.
	back := mal.draft(before.Tip())
	back.Refs, back.HLC = old, before.Header().HLC
	first := mal.draft(protocol.Tip{Dev: mal.me.Dev(), Chain: protocol.Messages})
	first.Refs, first.HLC = old, before.Header().HLC-1
	mal.clock = grace
	forged := []protocol.Verified{mal.say("after"), mal.sign(back, "dated back"), mal.sign(first, "from the beginning")}
	forged = append(forged, mal.say("after that"))
	var wires [][]byte
	for _, v := range forged {
		wires = append(wires, v.Wire())
	}
	nothingOf := func(q *person) {
		t.Helper()
		for _, v := range forged {
			if got := q.held(club, v.ID()); got != "away" {
				t.Errorf("%s keeps a message of the banned: %s", q.cfg.Name, got)
			}
		}
	}

	// As a responder.
	for _, q := range []*person{ana, bo} {
		mal.tries(q, 2*time.Second, wires) // who is out is seldom asked
		nothingOf(q)
	}
	// By gossip: nothing goes out to who is banned.
	for mal.hear(sub, 100*time.Millisecond) != "" {
		continue
	}
	for i := range 5 {
		ana.send(club, fmt.Sprintf("among us %d", i))
	}
	bo.await(club, 6)
	if text := mal.hear(sub, 500*time.Millisecond); text != "" {
		t.Errorf("the banned hear %q", text)
	}
	// As an initiator, of events, keys and a welcome.
	epochs, _ := ana.Epochs(club)
	rekey, _ := ana.Rekey(club)
	for _, q := range []*person{ana, bo} {
		mal.connect(q)
		if _, err := mal.hello(q, mal.welcome.Secrets, mal.prove); err != nil {
			t.Fatal(err)
		}
		k := mal.talk(q, syncID)
		k.send(protocol.FrameOpen, protocol.Open{Group: club})
		k.farewell()
		box, err := protocol.NewBoxKey(true)
		if err != nil {
			t.Fatal(err)
		}
		k = mal.talk(q, keyID)
		k.send(protocol.FrameWant, protocol.Want{Group: club, Epochs: epochs, Chunks: rekey.Chunks, Box: box.Public()})
		k.refused(protocol.RefusedUnknown)
	}
	nothingOf(ana)
	nothingOf(bo)

	// Who has not heard of the ban takes it, and drops it when they hear.
	ana.sleep()
	bo.sleep()
	cleo.wake()
	mal.feed(cleo, wires[:1])
	cleo.await(club, 2)
	mal.feed(cleo, wires)
	ana.wake()
	bo.wake()
	ana.reach(cleo)
	bo.reach(ana)
	cleo.knowsOf(club, 3)
	settled(t, club, ana, bo, cleo)
	nothingOf(ana)
	nothingOf(bo)
	if got := cleo.texts(club); len(got) != 6 || got[0] != "before" {
		t.Errorf("Cleo reads %q", got)
	}
}

// farewell reads what who is out is told: control events, and no message.
func (k *talk) farewell() {
	k.t.Helper()
	var open protocol.Open
	if err := k.frame(protocol.FrameOpen, &open); err != nil || open.Control != open.Group {
		k.t.Errorf("the answer to who is out is %+v, %v", open, err)
		return
	}
	k.send(protocol.FrameHave, protocol.Have{})
	for {
		f, err := protocol.ReadFrame(k.in)
		if err != nil || f.Kind == protocol.FrameDone {
			return
		}
		var list protocol.Events
		if err := f.Decode(protocol.FrameEvents, &list); err != nil {
			k.t.Errorf("who is out is sent a frame %d: %v", f.Kind, err)
			return
		}
		for _, wire := range list.List {
			if e, err := protocol.Decode(wire); err != nil || e.Header.Chain != protocol.Control {
				k.t.Error("who is out is sent a message")
			}
		}
	}
}

// knowsOf waits until a person sees count members.
func (p *person) knowsOf(group protocol.ID, count int) {
	p.t.Helper()
	eventually(p.t, fmt.Sprintf("%s sees %d members", p.cfg.Name, count), func() bool {
		list, err := p.Members(group)
		return err == nil && len(list) == count
	})
}

// keyOf returns the key of the member with a device, as a person types it.
func (p *person) keyOf(group protocol.ID, dev protocol.Key) string {
	p.t.Helper()
	list, err := p.Members(group)
	i := slices.IndexFunc(list, func(m node.Member) bool { return slices.Contains(m.Devices, dev) })
	if err != nil || i < 0 {
		p.t.Fatal("no member has the device", err)
	}
	return list[i].Key.Text(protocol.PersonPrefix)
}

// Whoever knows a group's old secret may be asked for its events: their readmission may
// be what is missing. What they are asked with tells them who writes, and when.
func TestTheBannedLearnNothingByBeingAsked(t *testing.T) {
	ana, bo, club, link := party(t)
	mal := newOutsider(t).admit(ana, link, "Mal")
	bo.knowsOf(club, 3)
	did(t)(ana.Expel(ctx(t), club, ana.keyOf(club, mal.me.Dev()), node.ExpelOptions{}))
	bo.knowsOf(club, 2)
	ana.send(club, "among us")
	bo.sleep()
	before := ana.peer()
	ana.sleep()
	eventually(t, "Mal sees that Ana has gone", func() bool { return mal.host.Network().Connectedness(before) != network.Connected })
	ana.wake()
	lastSync := func() time.Time {
		s, err := ana.GroupStatus(club)
		if err != nil {
			t.Fatal(err)
		}
		return s.LastSync
	}
	synced := lastSync()
	learned := make(chan int, 10)
	mal.host.SetStreamHandler(syncID, func(s network.Stream) {
		defer s.Close()
		k := newTalk(t, s)
		var open protocol.Open
		var have protocol.Have
		if k.frame(protocol.FrameOpen, &open) != nil {
			return
		}
		k.send(protocol.FrameOpen, open) // as if they had the same
		if k.frame(protocol.FrameHave, &have) == nil {
			learned <- len(have.Tips) + len(have.Records) + int(open.Count)
		}
		k.send(protocol.FrameDone, struct{}{})
		_, _ = io.Copy(io.Discard, k.in)
	})
	mal.connect(ana)
	if _, err := mal.hello(ana, mal.welcome.Secrets, mal.prove); err != nil {
		t.Fatal(err)
	}
	select {
	case n := <-learned:
		if n > 0 {
			t.Errorf("the banned are told %d tips and records, or of how many messages", n)
		}
	case <-time.After(2 * time.Second):
		t.Error("what the banned say they hold is believed")
	}
	if at := lastSync(); at.After(synced) {
		t.Errorf("at %v Ana had all that a member had, says somebody who is banned", at)
	}
}

// A moderator bans somebody who writes at that time, and is banned in turn from before
// that: what everybody had refused or hidden is back, for newcomers too.
func TestAnUndoneBanBringsEverythingBack(t *testing.T) {
	club, p := staff(t, "Bo moderator", "Dan member", "Eva member")
	ana, bo, dan, eva := p[0], p[1], p[2], p[3]
	dan.send(club, "one")
	for _, q := range p {
		q.await(club, 1)
	}
	settled(t, club, p...)
	dan.sleep()
	eva.sleep()
	stolen := time.Now()
	time.Sleep(5 * time.Millisecond)
	did(t)(bo.Expel(ctx(t), club, "Dan", node.ExpelOptions{Reason: "a coup"}))
	ana.sees(club, "Dan", protocol.NoRank)
	settled(t, club, ana, bo)
	ana.sleep()
	bo.sleep()
	eva.wake()
	dan.wake()
	dan.reach(eva)
	for i := range 20 {
		dan.send(club, fmt.Sprintf("meanwhile %d", i))
	}
	eva.await(club, 21)
	ana.wake()
	bo.wake()
	ana.reach(bo)
	ana.reach(eva)
	eva.sees(club, "Dan", protocol.NoRank)
	settled(t, club, ana, bo, eva)
	eva.reads(club, "one")
	ana.reach(dan)
	did(t)(ana.Expel(ctx(t), club, "Bo", node.ExpelOptions{Since: stolen}))
	for _, q := range []*person{ana, dan, eva} {
		q.sees(club, "Bo", protocol.NoRank)
		q.sees(club, "Dan", protocol.Member)
		q.await(club, 21)
	}
	settled(t, club, ana, dan, eva)
	agree(t, club, 21, ana, dan, eva)
	fay := start(t, "Fay")
	fay.join(ana.invite(club, node.InviteOptions{}))
	fay.await(club, 21)
	for _, q := range []*person{ana, dan, eva, fay} {
		q.knows(club, 4)
	}
	settled(t, club, ana, dan, eva, fay)
}

// Who was banned while they were away, and is let in again, goes on after what nobody
// took: at those who were there, at who was away, and at who came later.
func TestAReadmittedMembersChainGoesOn(t *testing.T) {
	club, p := staff(t, "Bo member", "Dan member", "Eva member")
	ana, bo, dan, eva := p[0], p[1], p[2], p[3]
	link := ana.invite(club, node.InviteOptions{})
	dan.send(club, "one")
	for _, q := range p {
		q.await(club, 1)
	}
	settled(t, club, p...)
	dan.sleep()
	eva.sleep()
	ban := ana.Event(ctx(t), club, did(t)(ana.Expel(ctx(t), club, "Dan", node.ExpelOptions{})).ID)
	bo.sees(club, "Dan", protocol.NoRank)
	settled(t, club, ana, bo)
	ana.sleep()
	bo.sleep()
	dan.wake()
	for i := range 20 {
		dan.send(club, fmt.Sprintf("nobody hears %d", i))
	}
	dan.ingest(club, ban)
	ana.wake()
	bo.wake()
	ana.reach(bo)
	ana.reach(dan)
	bo.reach(dan)
	did(t)(ana.Unban(ctx(t), club, "Dan", ""))
	bo.told(club, "Ana banned Dan", "Ana unbanned Dan")
	if _, err := dan.Join(ctx(t), link); err != nil {
		t.Fatal(err)
	}
	for _, q := range []*person{ana, bo, dan} {
		q.sees(club, "Dan", protocol.Member)
	}
	dan.send(club, "back")
	for _, q := range []*person{ana, bo} {
		q.reads(club, "one", "back")
	}
	eva.wake()
	eva.reach(bo)
	eva.reads(club, "one", "back")
	fay := start(t, "Fay")
	fay.join(link)
	fay.reach(eva)
	fay.reads(club, "one", "back")
	same := func() bool {
		for _, q := range []*person{bo, dan, eva, fay} {
			if q.Whole(club) != ana.Whole(club) {
				return false
			}
		}
		return true
	}
	eventually(t, "all hold the same", same)
	for _, q := range []*person{ana, bo, dan, eva, fay} {
		if err := q.WaitSync(ctx(t), club); err != nil {
			t.Errorf("%s: %v", q.cfg.Name, err)
		}
	}
}
