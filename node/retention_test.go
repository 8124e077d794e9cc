package node_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-datastore/query"
	pubsub "github.com/libp2p/go-libp2p-pubsub"

	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
)

// timed starts a person whose clock a test puts forward.
func timed(t *testing.T, name string) (*person, *clock) {
	c := new(clock)
	return start(t, name, func(cfg *node.Config) { node.WithClock(cfg, c.now) }), c
}

// sayFor sends a text that disappears.
func (p *person) sayFor(group protocol.ID, text string, life time.Duration) protocol.ID {
	p.t.Helper()
	res, err := p.SendFor(ctx(p.t), group, text, life)
	if err != nil {
		p.t.Fatalf("%s sends: %v", p.cfg.Name, err)
	}
	return res.ID
}

// sweep erases what is due.
func (p *person) sweep(group protocol.ID) {
	p.t.Helper()
	if err := p.SweepBodies(ctx(p.t), group); err != nil {
		p.t.Fatalf("%s erases: %v", p.cfg.Name, err)
	}
}

// stores says whether some bytes are anywhere in a person's datastore.
func (p *person) stores(what []byte) bool {
	p.t.Helper()
	res, err := p.cfg.Datastore.Query(ctx(p.t), query.Query{})
	if err != nil {
		p.t.Fatal(err)
	}
	all, err := res.Rest()
	if err != nil || len(all) == 0 {
		p.t.Fatalf("%d entries, %v", len(all), err)
	}
	return slices.ContainsFunc(all, func(e query.Entry) bool { return bytes.Contains(e.Value, what) })
}

// alike waits until people hold the same events.
func alike(t *testing.T, group protocol.ID, all ...*person) {
	t.Helper()
	until(t, "all hold the same", func() bool {
		return !slices.ContainsFunc(all, func(p *person) bool { return p.Digest(group) != all[0].Digest(group) })
	})
}

func (p *person) retain(group protocol.ID, d time.Duration) {
	p.t.Helper()
	if _, err := p.Set(ctx(p.t), group, node.Settings{Retention: &d}); err != nil {
		p.t.Fatalf("%s sets retention %v: %v", p.cfg.Name, d, err)
	}
}

// hears waits until a person knows of a retention.
func (p *person) hears(group protocol.ID, d time.Duration) {
	p.t.Helper()
	until(p.t, fmt.Sprintf("%s hears of retention %v", p.cfg.Name, d), func() bool {
		s, err := p.Settings(group)
		return err == nil && *s.Retention == d
	})
}

// meets waits until a person is connected to another.
func (p *person) meets(group protocol.ID, name string) {
	p.t.Helper()
	until(p.t, p.cfg.Name+" meets "+name, func() bool {
		members, err := p.Members(group)
		return err == nil && slices.ContainsFunc(members, func(m node.Member) bool { return m.Name == name && m.Online })
	})
}

func TestDisappearingMessages(t *testing.T) {
	ana, anas := timed(t, "Ana")
	bo, bos := timed(t, "Bo")
	cleo, cleos := timed(t, "Cleo")
	club := ana.create("club")
	link := ana.invite(club, node.InviteOptions{})
	bo.join(link)
	cleo.join(link)
	cleo.meets(club, "Bo")
	cleo.sleep()
	ana.say(club, "hello")
	secret := ana.sayFor(club, "until tomorrow", time.Hour)
	ana.say(club, "and on")
	bo.reads(club, "hello", "until tomorrow", "and on")
	lines, _, err := bo.Last(ctx(t), club, 2)
	if err != nil {
		t.Fatal(err)
	}
	if m := lines[0]; m.ID != secret || m.Expires.Sub(m.Time) < time.Hour || m.Expires.Sub(m.Time) > time.Hour+time.Minute || m.Expires.Second() != 0 {
		t.Errorf("the line expires at %v: %+v", m.Expires, m)
	}
	if m := lines[1]; !m.Expires.IsZero() {
		t.Errorf("another message expires: %+v", m)
	}
	whole := bo.Event(ctx(t), club, secret)
	body := whole.Event().Body

	// Time goes by. Nobody has erased anything yet, and nobody sees or sends it.
	for _, c := range []*clock{anas, bos, cleos} {
		c.forward(2 * time.Hour)
	}
	bo.reads(club, "hello", "disappeared", "and on")
	ana.sleep() // Bo is all that Cleo has
	if bo.held(club, secret) != "whole" {
		t.Error("it is erased before anybody looked") // or the next lines show nothing
	}
	cleo.wake()
	cleo.reads(club, "hello", "disappeared", "and on")
	if cleo.held(club, secret) != "erased" || cleo.stores(body) {
		t.Error("who was away got the text")
	}
	cleo.Ingest(club, whole)
	if err := cleo.SaveDocket(ctx(t), club); err != nil {
		t.Fatal(err)
	}
	if cleo.stores(body) || cleo.Misses(club) != 0 {
		t.Error("the text is stored late, or asked for")
	}
	bo.sweep(club)
	if bo.held(club, secret) != "erased" || bo.stores(body) {
		t.Error("the text is still in the store")
	}
	ana.wake()
	ana.reads(club, "hello", "disappeared", "and on")
	ana.sweep(club)
	if ana.stores(body) {
		t.Error("the author still has the text")
	}
	alike(t, club, ana, bo, cleo)

	for _, bad := range []time.Duration{time.Second, -time.Hour, 10_000 * time.Hour} {
		if _, err := ana.SendFor(ctx(t), club, "x", bad); err == nil {
			t.Errorf("a message lives for %v", bad)
		}
	}
}

// A message whose time was over before it came is stored as an erased copy, and what
// follows it comes too.
func TestAMessageExpiredOnArrival(t *testing.T) {
	ana := start(t, "Ana")
	bo, bos := timed(t, "Bo")
	club := ana.create("club")
	bo.join(ana.invite(club, node.InviteOptions{}))
	bos.forward(2 * time.Hour)
	late := ana.sayFor(club, "too late for Bo", time.Hour)
	ana.say(club, "after it")
	bo.reads(club, "disappeared", "after it")
	if bo.held(club, late) != "erased" || bo.stores(ana.Event(ctx(t), club, late).Event().Body) {
		t.Error("Bo stores a text whose time is over")
	}
	ana.reads(club, "too late for Bo", "after it")
	alike(t, club, ana, bo)
}

// A text that has disappeared comes by gossip: it is passed on to nobody, not even to those
// by whose clock it is to be seen.
func TestGossipDoesNotHandOnWhatIsGone(t *testing.T) {
	ana, anas := timed(t, "Ana")
	club := ana.create("club")
	mia := newOutsider(t).admit(ana, ana.invite(club, node.InviteOptions{}), "Mia")
	say := func(text string) protocol.Verified {
		d := mia.draft(mia.end)
		d.Exp = protocol.ExpiryOf(d.HLC, time.Hour)
		v := mia.sign(d, text)
		mia.end = v.Tip()
		return v
	}
	if got := ana.Validates(club, say("until tomorrow")); got != pubsub.ValidationAccept {
		t.Errorf("what is to be seen is not passed on: %v", got)
	}
	anas.forward(2 * time.Hour)
	gone := say("gone at Ana's")
	if got := ana.Validates(club, gone); got != pubsub.ValidationIgnore {
		t.Errorf("what is gone is passed on: %v", got)
	}
	until(t, "Ana has it", func() bool { return ana.held(club, gone.ID()) == "erased" })
}

func TestRetention(t *testing.T) {
	const gone = "not kept in this group any more"
	ana, anas := timed(t, "Ana")
	bo, bos := timed(t, "Bo")
	dora, doras := timed(t, "Dora")
	forward := func(d time.Duration) {
		for _, c := range []*clock{anas, bos, doras} {
			c.forward(d)
		}
	}
	club := ana.create("club")
	bo.join(ana.invite(club, node.InviteOptions{}))
	dora.join(ana.invite(club, node.InviteOptions{Rank: protocol.Greeter}))
	old := ana.say(club, "old")
	bo.await(club, 1)
	older := bo.say(club, "also old")
	for _, p := range []*person{ana, bo, dora} {
		p.await(club, 2)
	}
	alike(t, club, ana, bo, dora)
	dora.sleep() // and knows nothing of what follows
	forward(3 * 24 * time.Hour)
	young := ana.say(club, "young")
	bo.await(club, 3)

	ana.retain(club, 24*time.Hour)
	bo.hears(club, 24*time.Hour)
	for _, p := range []*person{ana, bo} { // hidden at once, and not erased yet
		p.reads(club, gone, gone, "young")
		if p.sweep(club); p.held(club, old) != "whole" || p.held(club, older) != "whole" {
			t.Error("erased before anybody could undo it")
		}
	}
	ana.retain(club, 0)
	bo.hears(club, 0)
	bo.reads(club, "old", "also old", "young")

	ana.retain(club, 24*time.Hour)
	bo.hears(club, 24*time.Hour)
	ana.sweep(club) // both have taken notice
	bo.sweep(club)
	forward(8 * 24 * time.Hour)
	body := bo.Event(ctx(t), club, old).Event().Body
	fresh := ana.say(club, "fresh")
	for _, p := range []*person{ana, bo} {
		p.reads(club, gone, gone, gone, "fresh")
		p.sweep(club)
		for _, id := range []protocol.ID{old, older, young} {
			if p.held(club, id) != "erased" {
				t.Errorf("%s has a text that is too old", p.cfg.Name)
			}
		}
		if p.held(club, fresh) != "whole" || p.stores(body) {
			t.Errorf("%s has erased too much, or too little", p.cfg.Name)
		}
	}

	// Who was away has the bodies, and gives them to nobody.
	dora.wake()
	dora.hears(club, 24*time.Hour)
	dora.reads(club, gone, gone, gone, "fresh")
	ana.sleep()
	bo.sleep()
	eve, eves := timed(t, "Eve")
	eves.forward(11 * 24 * time.Hour)
	eve.join(dora.invite(club, node.InviteOptions{}))
	eve.reads(club, gone, gone, gone, "fresh")
	if eve.held(club, old) != "erased" || eve.stores(body) {
		t.Error("a newcomer got what is not kept")
	}
	ana.wake()
	bo.wake()
	alike(t, club, ana, bo, dora, eve)
	for _, p := range []*person{ana, bo, dora, eve} {
		if p.Misses(club) != 0 {
			t.Errorf("%s asks for what is not kept", p.cfg.Name)
		}
	}

	// A restart changes nothing, and a whole copy is not taken.
	whole := dora.Event(ctx(t), club, old)
	if !whole.Whole() {
		t.Fatal("Dora has had no time to undo it")
	}
	bo.sleep()
	bo.wake()
	bo.Ingest(club, whole)
	bo.reads(club, gone, gone, gone, "fresh")
	if bo.stores(body) {
		t.Error("it is back")
	}
	for _, bad := range []time.Duration{time.Second, time.Hour - time.Second, 90_000 * 24 * time.Hour} {
		if _, err := ana.Set(ctx(t), club, node.Settings{Retention: &bad}); err == nil {
			t.Errorf("retention of %v", bad)
		}
	}
}

// A clock that is a day off erases a day early, one that leaps by ten years nothing;
// and all hold the same events.
func TestRetentionByAWrongClock(t *testing.T) {
	ana, anas := timed(t, "Ana")
	bo, bos := timed(t, "Bo")
	club := ana.create("club")
	bo.join(ana.invite(club, node.InviteOptions{}))
	ana.retain(club, 20*24*time.Hour)
	bo.hears(club, 20*24*time.Hour)
	ana.sweep(club) // both have taken notice
	bo.sweep(club)
	for _, c := range []*clock{anas, bos} {
		c.forward(8 * 24 * time.Hour)
	}
	id := ana.say(club, "hello")
	bo.await(club, 1)

	bos.forward(3650 * 24 * time.Hour)
	if bo.sweep(club); bo.held(club, id) != "whole" {
		t.Fatal("a clock ten years off erases everything")
	}
	bo.reads(club, "hello")
	bos.forward(-3650 * 24 * time.Hour)

	for _, c := range []*clock{anas, bos} {
		c.forward(19*24*time.Hour + 12*time.Hour)
	}
	bos.forward(24 * time.Hour)
	for _, p := range []*person{ana, bo} {
		p.sweep(club)
	}
	if ana.held(club, id) != "whole" || bo.held(club, id) != "erased" {
		t.Errorf("Ana has it %s, Bo %s", ana.held(club, id), bo.held(club, id))
	}
	alike(t, club, ana, bo)
}

func TestALimitOfSize(t *testing.T) {
	const gone = "not kept here: there is a limit on this group's size"
	ana, bo := start(t, "Ana"), start(t, "Bo")
	club := ana.create("club")
	bo.join(ana.invite(club, node.InviteOptions{}))
	long := strings.Repeat("x", 40<<10)
	var ids []protocol.ID
	for i := range 40 {
		ids = append(ids, ana.say(club, fmt.Sprint(i, long)))
	}
	bo.await(club, 40)
	const limit = 1 << 20
	if err := bo.Keep(ctx(t), club, limit-1); err == nil {
		t.Error("the limit may be nearly nothing")
	}
	if err := bo.Keep(ctx(t), club, limit); err != nil {
		t.Fatal(err)
	}
	check := func(when string) {
		t.Helper()
		bo.sweep(club)
		kept, err := bo.Kept(club)
		if err != nil || kept.Limit != limit || kept.Bytes > limit || kept.Bytes < limit*8/10 {
			t.Fatalf("%s: %+v, %v", when, kept, err)
		}
		whole := 0
		for i, text := range bo.texts(club) {
			if text != gone {
				whole++
			} else if whole > 0 {
				t.Fatalf("%s: message %d is gone and an older one is not", when, i)
			}
			if bo.held(club, ids[i]) != map[bool]string{true: "erased", false: "whole"}[text == gone] {
				t.Fatalf("%s: message %d is %s", when, i, bo.held(club, ids[i]))
			}
		}
		if whole == 0 || bo.Misses(club) != 0 {
			t.Fatalf("%s: %d are whole, %d asked for", when, whole, bo.Misses(club))
		}
	}
	check("at first")
	for i := range 10 {
		ids = append(ids, ana.say(club, fmt.Sprint(40+i, long)))
	}
	bo.await(club, 50)
	check("later")
	bo.sleep()
	bo.wake()
	check("after a restart")
	alike(t, club, ana, bo)
	if ana.held(club, ids[0]) != "whole" {
		t.Error("it is gone at Ana's, too")
	}

	// Without the limit what others have is asked for by who looks.
	if err := bo.Keep(ctx(t), club, 0); err != nil {
		t.Fatal(err)
	}
	until(t, "the texts come back", func() bool {
		return !slices.ContainsFunc(bo.texts(club), func(s string) bool { return !strings.HasSuffix(s, long) })
	})
	if kept, _ := bo.Kept(club); kept.Bytes < 50*40<<10 {
		t.Errorf("what came back is not counted: %+v", kept)
	}
}

// What is known of the log survives restarts, wherever they come.
func TestShelvesSurviveRestarts(t *testing.T) {
	ana, anas := timed(t, "Ana")
	club := ana.create("club")
	for i := range 1200 {
		if i == 100 || i == 1150 {
			ana.sayFor(club, "soon gone", time.Hour)
		}
		ana.send(club, fmt.Sprint(i))
	}
	if err := ana.SaveDocket(ctx(t), club); err != nil {
		t.Fatal(err)
	}
	before, _ := ana.Kept(club)
	for range 2 {
		ana.sleep()
		ana.wake()
		all, saved, err := ana.Shelves(ctx(t), club)
		after, _ := ana.Kept(club)
		if err != nil || all != 2 || saved != 1 || after != before {
			t.Fatalf("%d shelves, %d saved, %+v, not %+v, %v", all, saved, after, before, err)
		}
		if anas.ahead.Load() > 0 {
			break
		}
		anas.forward(2 * time.Hour)
		ana.sweep(club)
		whole := 0
		for _, text := range ana.texts(club) {
			if text != "disappeared" {
				whole++
			}
		}
		size := before.Bytes
		if before, _ = ana.Kept(club); whole != 1200 || before.Bytes >= size {
			t.Fatalf("%d texts are left in %+v", whole, before)
		}
	}
}

// Cleo meets Ana alone, who keeps less than she has heard: status says that texts are missing,
// and they come as soon as there is somebody who has them, whether anybody looks or not.
func TestTextsComeFromWhoHasThem(t *testing.T) {
	ana, bo, cleo := start(t, "Ana"), start(t, "Bo"), start(t, "Cleo", onDisk(t))
	club := ana.create("club")
	bo.join(ana.invite(club, node.InviteOptions{}))
	long := strings.Repeat("x", 10<<10)
	for i := range 300 {
		ana.say(club, fmt.Sprint(i, long))
	}
	bo.await(club, 300)
	link := ana.invite(club, node.InviteOptions{})
	settled(t, club, ana, bo)
	if err := ana.Keep(ctx(t), club, 1<<20); err != nil {
		t.Fatal(err)
	}
	ana.sweep(club)
	bo.sleep()
	cleo.join(link)
	lacks := func() uint64 {
		s, err := cleo.GroupStatus(club)
		if err != nil {
			t.Fatal(err)
		}
		if s.Complete() && s.WithoutText > 0 {
			t.Error("complete, and texts are missing")
		}
		return s.WithoutText
	}
	eventually(t, "Cleo has all that Ana has", func() bool { return cleo.Whole(club) == ana.Whole(club) })
	if n := lacks(); n < 150 || n > 250 {
		t.Errorf("%d texts are missing", n)
	}
	cleo.FetchTexts(ctx(t), club) // Ana has none of them
	missing := lacks()
	if missing < 150 {
		t.Errorf("only %d texts are missing, though nobody had them", missing)
	}
	cleo.sleep()
	cleo.wake()
	if n := lacks(); n != missing {
		t.Errorf("%d texts are missing after a restart, and were %d", n, missing)
	}
	list, _, err := cleo.Last(ctx(t), club, 0)
	if err != nil || !slices.ContainsFunc(list, func(m node.Message) bool { return m.Gone == node.GoneAbsent && m.Unreadable != "" }) {
		t.Errorf("no line says that its text is missing: %v", err)
	}
	bo.wake()
	bo.reach(cleo)
	eventually(t, "all texts are there", func() bool { return lacks() == 0 })
	if err := cleo.WaitSync(ctx(t), club); err != nil {
		t.Fatal(err)
	}
	for _, text := range cleo.texts(club) {
		if !strings.HasSuffix(text, long) {
			t.Fatalf("Cleo reads %.40q", text)
		}
	}
}
