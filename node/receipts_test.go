package node_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

// who names those of a message's receipts who have it.
func (p *person) who(group, id protocol.ID) string {
	p.t.Helper()
	got, err := p.Receipts(ctx(p.t), group, id)
	if err != nil {
		p.t.Fatal(err)
	}
	var names []string
	for _, m := range got.Members {
		if m.Stored {
			names = append(names, m.Name)
		}
	}
	if len(names) != got.Stored {
		p.t.Errorf("stored by %d: %q", got.Stored, names)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// three is a group of three with a clock that can be put forward.
func three(t *testing.T) (ana, bo, cleo *person, club protocol.ID, c *clock) {
	t.Helper()
	c = new(clock)
	with := func(cfg *node.Config) { node.WithClock(cfg, c.now) }
	ana, bo, cleo = start(t, "Ana", with), start(t, "Bo", with), start(t, "Cleo", with)
	club = ana.create("club")
	link := ana.invite(club, node.InviteOptions{})
	bo.join(link)
	cleo.join(link)
	return ana, bo, cleo, club, c
}

// TestReceiptsOfWhoWasMet: who compared what they hold has the messages of before, not
// those of later; and that is known after a restart.
func TestReceiptsOfWhoWasMet(t *testing.T) {
	ana, bo, cleo, club, _ := three(t)
	first := ana.say(club, "first")
	got, err := ana.AwaitReceipts(ctx(t), club, first)
	if err != nil || got.Stored > len(got.Members) || len(got.Members) != 2 {
		t.Errorf("two others: %+v, %v", got, err)
	}
	eventually(t, "both have the first", func() bool { return ana.who(club, first) == "Bo Cleo" })
	cleo.sleep()
	eventually(t, "Ana misses Cleo", func() bool { g, _ := ana.Group(club); return g.Online == 1 })
	second := ana.say(club, "second")
	eventually(t, "Bo has the second", func() bool { return ana.who(club, second) == "Bo" })
	bo.sleep()
	eventually(t, "Ana is alone", func() bool { g, _ := ana.Group(club); return g.Online == 0 })
	third := ana.say(club, "third")
	over, cancel := context.WithCancel(ctx(t))
	cancel()
	ana.SaveContacts(over, club) // what the node was about when it ended
	ana.sleep()
	ana.wake()
	for id, want := range map[protocol.ID]string{first: "Bo Cleo", second: "Bo", third: ""} {
		if got := ana.who(club, id); got != want {
			t.Errorf("after a restart %q have it, not %q", got, want)
		}
	}
	lines, _, err := ana.Last(ctx(t), club, 3)
	if err == nil {
		err = ana.MarkStored(ctx(t), club, lines)
	}
	if err != nil || len(lines) != 3 || lines[0].Stored != 2 || lines[1].Stored != 1 || lines[2].Stored != 0 || lines[2].StoredOf != 2 {
		t.Errorf("marked lines: %+v, %v", lines, err)
	}
	cleo.wake()
	eventually(t, "Cleo has all", func() bool { return ana.who(club, third) == "Cleo" })
	if _, err := ana.Receipts(ctx(t), club, protocol.ID{1}); err == nil {
		t.Error("receipts of nothing")
	}
}

// TestReceiptsOfWhoWasNotMet: Cleo gets Ana's message from Bo while Ana is away, and
// Ana learns from Bo that Cleo has it. Cleo, once she does not want it said, is not
// known to have the next.
func TestReceiptsOfWhoWasNotMet(t *testing.T) {
	ana, bo, cleo, club, c := three(t)
	eventually(t, "all agree", func() bool { return ana.WaitSync(ctx(t), club) == nil && bo.WaitSync(ctx(t), club) == nil })
	her := cleo.Device(club)
	cleo.sleep()
	eventually(t, "Bo misses Cleo", func() bool { g, _ := bo.Group(club); return g.Online == 1 })
	id := ana.say(club, "for Cleo")
	eventually(t, "Bo has it", func() bool { return ana.who(club, id) == "Bo" })
	ana.sleep()
	cleo.wake()
	cleo.await(club, 1)
	before := bo.FrontierOf(club, her)
	eventually(t, "Bo has what Cleo says", func() bool {
		c.forward(time.Minute)
		time.Sleep(20 * time.Millisecond)
		return bo.FrontierOf(club, her) > before
	})
	cleo.sleep()
	ana.wake()
	eventually(t, "Ana has what Bo has", func() bool {
		return ana.FrontierOf(club, her) == bo.FrontierOf(club, her) && ana.FrontierOf(club, her) > before
	})
	if got := ana.who(club, id); got != "Bo Cleo" {
		t.Errorf("%q have it", got)
	}
	next := ana.say(club, "and this")
	eventually(t, "Bo has the next", func() bool { return ana.who(club, next) == "Bo" })
	ana.sleep()
	cleo.wake()
	if err := cleo.SetSilent(ctx(t), club, true); err != nil {
		t.Fatal(err)
	}
	cleo.await(club, 2)
	eventually(t, "Bo has what Cleo does not say", func() bool { return bo.Frontier(club, her) == 0 })
	cleo.sleep()
	ana.wake()
	eventually(t, "Ana hears it", func() bool { return ana.Frontier(club, her) == 0 })
	if a, b := ana.who(club, id), ana.who(club, next); a != "Bo Cleo" || b != "Bo" {
		t.Errorf("%q have the one of before, %q the next", a, b)
	}
}

// TestHolesAreShown: of Bo's messages Ana holds the first and the last two. Her log
// says how many are missing and before which line, her status from whom.
func TestHolesAreShown(t *testing.T) {
	ana, bo := start(t, "Ana"), start(t, "Bo")
	club := ana.create("club")
	bo.join(ana.invite(club, node.InviteOptions{}))
	bo.send(club, "0")
	ana.await(club, 1)
	eventually(t, "Ana knows what she has", func() bool { s, err := ana.GroupStatus(club); return err == nil && s.Complete() })
	ana.sleep()
	for _, text := range []string{"1", "2", "3", "4", "5"} {
		bo.send(club, text)
	}
	var chain []protocol.Verified
	for _, v := range bo.ChainsOf(ctx(t), club, bo.Device(club)) {
		if v.Header().Chain == protocol.Messages {
			chain = append(chain, v)
		}
	}
	bo.sleep()
	store, err := storage.Open(ctx(t), ana.cfg.Datastore)
	if err != nil {
		t.Fatal(err)
	}
	r, err := store.Room(ctx(t), club)
	if err == nil {
		err = r.Receive(chain[4:]).Wait(ctx(t))
	}
	if err = errors.Join(err, store.Close()); err != nil {
		t.Fatal(err)
	}
	ana.wake()
	lines, _, err := ana.Last(ctx(t), club, 3)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range lines {
		got = append(got, strings.Repeat("…", int(m.Missing))+m.Text)
	}
	if !slices.Equal(got, []string{"0", "………4", "5"}) {
		t.Errorf("Ana reads %q", got)
	}
	s, err := ana.GroupStatus(club)
	if err != nil || s.Complete() || len(s.Missing) != 1 || s.Missing[0].Name != "Bo" || s.Missing[0].Messages != 3 {
		t.Errorf("status %+v, %v", s, err)
	}
	if len(s.Contacts) != 1 || s.Contacts[0].Online || s.Contacts[0].Seen.IsZero() || s.Contacts[0].Compared.IsZero() || s.LastSync.IsZero() {
		t.Errorf("after a restart: %+v, last compared %v", s.Contacts, s.LastSync)
	}
	bo.wake()
	ana.reach(bo)
	ana.reads(club, "0", "1", "2", "3", "4", "5")
	eventually(t, "a sync fills the gap", func() bool {
		lines, _, err := ana.Last(ctx(t), club, 0)
		s, wrong := ana.GroupStatus(club)
		return err == nil && wrong == nil && s.Complete() && !slices.ContainsFunc(lines, func(m node.Message) bool { return m.Missing > 0 })
	})
}

// TestContacts: status says who is here, and how.
func TestContacts(t *testing.T) {
	ana, bo := start(t, "Ana"), start(t, "Bo")
	club := ana.create("club")
	bo.join(ana.invite(club, node.InviteOptions{}))
	contact := func() node.Contact {
		s, err := ana.GroupStatus(club)
		if err != nil || len(s.Contacts) != 1 {
			t.Fatalf("%+v, %v", s, err)
		}
		return s.Contacts[0]
	}
	eventually(t, "Bo was compared with", func() bool { c := contact(); return c.Online && c.Via == node.ViaLAN && !c.Compared.IsZero() })
	bo.sleep()
	eventually(t, "Bo went", func() bool { c := contact(); return !c.Online && c.Via == "" && !c.Seen.IsZero() })
}

// TestWhoLetOneInWasMet: who joins a large group and goes before all of it is here
// remembers whom they had it from.
func TestWhoLetOneInWasMet(t *testing.T) {
	ana, bo := start(t, "Ana", onDisk(t)), start(t, "Bo", onDisk(t))
	club := ana.create("club")
	ana.past(club, 10_000, 1, "m")
	bo.join(ana.invite(club, node.InviteOptions{})) // returns once a page can be read
	bo.sleep()
	ana.sleep()
	bo.wake()
	s, err := bo.GroupStatus(club)
	if err != nil || len(s.Contacts) != 1 || s.Contacts[0].Online || s.Contacts[0].Seen.IsZero() {
		t.Errorf("Bo remembers %+v, %v", s.Contacts, err)
	}
}

// TestFrontierIsRare: a device says what it has once after a change, and nothing while
// nothing changes.
func TestFrontierIsRare(t *testing.T) {
	c := new(clock)
	ana := start(t, "Ana", func(cfg *node.Config) { node.WithClock(cfg, c.now) })
	club := ana.create("club")
	for round := uint64(1); round <= 3; round++ {
		ana.send(club, "something")
		ana.send(club, "and more")
		for range 10 {
			c.forward(20 * time.Minute)
			ana.TellFrontier(ctx(t), club)
		}
		if got := ana.FrontierOf(club, ana.Device(club)); got != round {
			t.Errorf("after %d changes it said what it has %d times", round, got)
		}
	}
	ana.send(club, "soon after")
	ana.TellFrontier(ctx(t), club)
	ana.TellFrontier(ctx(t), club)
	if got := ana.FrontierOf(club, ana.Device(club)); got != 3 {
		t.Errorf("it said at once what it has: %d", got)
	}
}
