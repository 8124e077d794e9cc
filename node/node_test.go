package node_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/p2pchat/p2pchat/internal/fixture/child"
	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

func TestMain(m *testing.M) {
	child.Main(child.Parts{"crash child": crashChild, "person": remotePerson, "siege writer": siegeWriter, "mdns ear": mdnsEar})
	goleak.VerifyTestMain(m)
}

// patience bounds every wait: long, because it is only ever reached by a failure.
const patience = 60 * time.Second

// person is a node under test with its datastore, which survives a restart.
type person struct {
	*node.Node
	t   *testing.T
	cfg node.Config
}

// start runs a node on loopback. Nothing is multicast.
func start(t *testing.T, name string, change ...func(*node.Config)) *person {
	t.Helper()
	account, err := protocol.NewAccount(newRandom())
	if err != nil {
		t.Fatal(err)
	}
	p := &person{t: t, cfg: node.Config{
		Account: account, Name: name, Datastore: storage.NewMemory(),
		Listen: []string{"/ip4/127.0.0.1/tcp/0"}, DisableMDNS: true,
	}}
	for _, f := range change {
		f(&p.cfg)
	}
	p.wake()
	t.Cleanup(p.sleep)
	return p
}

func (p *person) wake() {
	p.t.Helper()
	n, err := node.New(ctx(p.t), p.cfg)
	if err != nil {
		p.t.Fatalf("%s starts: %v", p.cfg.Name, err)
	}
	p.Node = n
}

func (p *person) sleep() {
	if p.Node == nil {
		return
	}
	if err := p.Close(); err != nil {
		p.t.Errorf("%s closes: %v", p.cfg.Name, err)
	}
	p.Node = nil
}

func ctx(t *testing.T) context.Context {
	c, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return c
}

func (p *person) create(name string) protocol.ID {
	p.t.Helper()
	id, err := p.CreateGroup(ctx(p.t), name)
	if err != nil {
		p.t.Fatalf("%s creates %q: %v", p.cfg.Name, name, err)
	}
	return id
}

func (p *person) invite(group protocol.ID, o node.InviteOptions) string {
	p.t.Helper()
	link, err := p.Invite(ctx(p.t), group, o)
	if err != nil {
		p.t.Fatalf("%s invites: %v", p.cfg.Name, err)
	}
	return link
}

func (p *person) join(link string) protocol.ID {
	p.t.Helper()
	id, err := p.Join(ctx(p.t), link)
	if err != nil {
		p.t.Fatalf("%s joins: %v", p.cfg.Name, err)
	}
	return id
}

func (p *person) send(group protocol.ID, text string) {
	p.t.Helper()
	if _, err := p.Send(ctx(p.t), group, text); err != nil {
		p.t.Fatalf("%s sends: %v", p.cfg.Name, err)
	}
}

// texts returns what a person reads, in display order.
func (p *person) texts(group protocol.ID) []string {
	p.t.Helper()
	lines, _, err := p.Last(ctx(p.t), group, 0)
	if err != nil {
		p.t.Fatalf("%s reads: %v", p.cfg.Name, err)
	}
	var out []string
	for _, m := range lines {
		if m.Kind == "text" {
			out = append(out, m.Text+m.Unreadable)
		}
	}
	return out
}

// await waits until a person has count texts.
func (p *person) await(group protocol.ID, count int) {
	p.t.Helper()
	have := 0
	for m, err := range p.Follow(ctx(p.t), group, 0) {
		if err != nil {
			p.t.Fatalf("%s follows: %v", p.cfg.Name, err)
		}
		if m.Kind == "text" {
			have++
		}
		if have == count {
			return
		}
	}
	p.t.Fatalf("%s has %d of %d texts", p.cfg.Name, have, count)
}

// agree fails unless all have the same texts in the same order, count of them and
// none twice.
func agree(t *testing.T, group protocol.ID, count int, all ...*person) {
	t.Helper()
	same := func() bool { // who holds an event may still ask for its key
		first := all[0].texts(group)
		return !slices.ContainsFunc(all[1:], func(p *person) bool { return !slices.Equal(first, p.texts(group)) })
	}
	for end := time.Now().Add(patience / 4); !same() && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	first := all[0].texts(group)
	if len(first) != count {
		t.Errorf("%s has %d texts, not %d", all[0].cfg.Name, len(first), count)
	}
	sorted := slices.Sorted(slices.Values(first))
	if len(slices.Compact(sorted)) != len(first) {
		t.Errorf("%s has a text twice", all[0].cfg.Name)
	}
	for _, p := range all[1:] {
		if other := p.texts(group); !slices.Equal(first, other) {
			t.Errorf("%s and %s differ: %d and %d texts", all[0].cfg.Name, p.cfg.Name, len(first), len(other))
		}
	}
}

func TestTwoPeopleChat(t *testing.T) {
	ana, bo := start(t, "Ana"), start(t, "Bo")
	club := ana.create("Hiking club")
	ana.send(club, "before Bo came")
	if got := bo.join(ana.invite(club, node.InviteOptions{})); got != club {
		t.Fatalf("joined %s", got)
	}
	if got := bo.texts(club); !slices.Equal(got, []string{"before Bo came"}) {
		t.Fatalf("a joiner has the history; Bo has %q", got)
	}
	bo.send(club, "hello Ana")
	ana.await(club, 2)
	ana.send(club, "hello Bo")
	bo.await(club, 3)
	agree(t, club, 3, ana, bo)

	members, err := bo.Members(club)
	if err != nil {
		t.Fatal(err)
	}
	var who []string
	for _, m := range members {
		who = append(who, fmt.Sprintf("%s %s", m.Name, m.Rank))
	}
	if !slices.Equal(who, []string{"Ana founder", "Bo member"}) {
		t.Errorf("Bo sees %q", who)
	}
	g, err := bo.Group(club)
	if err != nil || g.Name != "Hiking club" {
		t.Errorf("Bo's group is %+v, %v", g, err)
	}
	lines, _, _ := bo.Last(ctx(t), club, 0)
	var kinds []string
	for _, l := range lines {
		kinds = append(kinds, l.Kind+":"+l.From.Name)
	}
	want := []string{"created:Ana", "named:Ana", "text:Ana", "joined:Bo", "text:Bo", "text:Ana"}
	if !slices.Equal(kinds, want) {
		t.Errorf("Bo reads %q, not %q", kinds, want)
	}
}

func TestWhoWasAwayCatchesUpFromAnyone(t *testing.T) {
	ana, bo, cleo := start(t, "Ana"), start(t, "Bo"), start(t, "Cleo")
	club := ana.create("club")
	link := ana.invite(club, node.InviteOptions{})
	bo.join(link)
	cleo.join(link)
	ana.send(club, "one")
	for _, p := range []*person{ana, bo, cleo} {
		p.await(club, 1)
	}
	cleo.sleep()
	for i := range 50 {
		ana.send(club, fmt.Sprintf("while Cleo is away %d", i))
	}
	bo.await(club, 51)
	ana.sleep() // the only one who has them for Cleo now is Bo
	cleo.wake()
	cleo.await(club, 51)
	agree(t, club, 51, bo, cleo)
	ana.wake()
	cleo.send(club, "and on")
	ana.await(club, 52)
	bo.await(club, 52)
	agree(t, club, 52, ana, bo, cleo)
}

func TestRestartLosesNothing(t *testing.T) {
	ana := start(t, "Ana")
	club := ana.create("club")
	for i := range 10 {
		ana.send(club, fmt.Sprint(i))
	}
	before := ana.texts(club)
	ana.sleep()
	ana.wake()
	if after := ana.texts(club); !slices.Equal(before, after) {
		t.Errorf("before %q, after %q", before, after)
	}
	ana.send(club, "ten")
	agree(t, club, 11, ana)
}

func TestJoinThroughAGreeterWhenTheInviterIsAway(t *testing.T) {
	ana, gil, bo := start(t, "Ana"), start(t, "Gil"), start(t, "Bo")
	club := ana.create("club")
	gil.join(ana.invite(club, node.InviteOptions{Rank: protocol.Greeter}))
	link := ana.invite(club, node.InviteOptions{})
	if err := ana.WaitSync(ctx(t), club); err != nil {
		t.Fatal(err)
	}
	// Bo knows only the link's addresses, which are Ana's: Gil is met through them.
	parsed, err := protocol.ParseLink(link)
	if err != nil {
		t.Fatal(err)
	}
	ana.sleep()
	parsed.Addrs = nil
	for _, a := range gil.Status().Listen {
		parsed.Addrs = append(parsed.Addrs, mustAddr(t, a))
	}
	if bo.join(parsed.Text()) != club {
		t.Error("Bo is somewhere else")
	}
	bo.send(club, "Gil let me in")
	gil.await(club, 1)
}

func TestInviteLimits(t *testing.T) {
	ana, bo, cleo := start(t, "Ana"), start(t, "Bo"), start(t, "Cleo")
	club := ana.create("club")
	once := ana.invite(club, node.InviteOptions{Uses: 1})
	bo.join(once)
	if _, err := cleo.Join(ctx(t), once); !errors.Is(err, node.ErrRefused) {
		t.Errorf("a used-up invite answers %v", err)
	}
	expired := ana.invite(club, node.InviteOptions{Expiry: -time.Hour})
	if _, err := cleo.Join(ctx(t), expired); !errors.Is(err, node.ErrRefused) {
		t.Errorf("an expired invite answers %v", err)
	}
	if _, err := bo.Invite(ctx(t), club, node.InviteOptions{}); !errors.Is(err, node.ErrNotAllowed) {
		t.Errorf("a member's invite answers %v", err)
	}
	for _, bad := range []string{"", "p2pchat:", "http://x", once[:40], once + "a"} {
		if _, err := cleo.Join(ctx(t), bad); !errors.Is(err, node.ErrBadLink) {
			t.Errorf("link %q answers %v", bad, err)
		}
	}
	other, err := protocol.ParseLink(once)
	if err != nil {
		t.Fatal(err)
	}
	other.Seed[0] ^= 1
	short, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if _, err := cleo.Join(short, other.Text()); !errors.Is(err, node.ErrNoAdmitter) {
		t.Errorf("a link nobody knows answers %v", err)
	}
}

func TestBurstArrivesCompletely(t *testing.T) {
	count, people := 5000, 8
	if testing.Short() {
		count, people = 200, 4
	}
	ana := start(t, "Ana")
	club := ana.create("club")
	link := ana.invite(club, node.InviteOptions{})
	all := []*person{ana}
	for i := range people - 1 {
		p := start(t, fmt.Sprintf("P%d", i))
		p.join(link)
		all = append(all, p)
	}
	for i := range count {
		ana.send(club, fmt.Sprintf("%d %s", i, strings.Repeat("x", 280)))
	}
	for _, p := range all {
		p.await(club, count)
	}
	agree(t, club, count, all...)
}

func TestBlockHidesOnThisNodeOnly(t *testing.T) {
	ana, bo := start(t, "Ana"), start(t, "Bo")
	club := ana.create("club")
	bo.join(ana.invite(club, node.InviteOptions{}))
	bo.send(club, "spam")
	ana.await(club, 1)
	if _, err := ana.Block(ctx(t), protocol.ID{}, "Bo", true); err != nil {
		t.Fatal(err)
	}
	if got := ana.texts(club); len(got) != 0 {
		t.Errorf("Ana still reads %q", got)
	}
	ana.sleep()
	ana.wake()
	if got := ana.texts(club); len(got) != 0 {
		t.Errorf("after a restart Ana reads %q", got)
	}
	if _, err := ana.Block(ctx(t), club, "Bo", false); err != nil {
		t.Fatal(err)
	}
	agree(t, club, 1, ana, bo)
	if _, err := ana.Block(ctx(t), club, "Nobody", true); !errors.Is(err, node.ErrUnknownName) {
		t.Errorf("blocking nobody answers %v", err)
	}
}

func TestBadInput(t *testing.T) {
	ana := start(t, "Ana")
	club := ana.create("club")
	for _, c := range []struct {
		text string
		want error
	}{
		{"", node.ErrNotText},
		{"\xff\xfe", node.ErrNotText},
		{strings.Repeat("x", protocol.MaxTextSize+1), node.ErrTooLarge},
	} {
		if _, err := ana.Send(ctx(t), club, c.text); !errors.Is(err, c.want) {
			t.Errorf("sending %d bytes answers %v, not %v", len(c.text), err, c.want)
		}
	}
	if _, err := ana.Send(ctx(t), protocol.ID{1}, "x"); !errors.Is(err, node.ErrUnknownGroup) {
		t.Errorf("an unknown group answers %v", err)
	}
	ana.send(club, strings.Repeat("x", protocol.MaxTextSize))
	for _, cfg := range []node.Config{
		{Listen: []string{"nonsense"}},
		{DHT: "public?"},
		{Bootstrap: []string{"/ip4/127.0.0.1/tcp/1"}},
		{Name: strings.Repeat("x", 1000)},
	} {
		cfg.DisableMDNS = true
		if n, err := node.New(ctx(t), cfg); !errors.Is(err, node.ErrConfig) {
			t.Errorf("config %+v answers %v", cfg, err)
			if err == nil {
				_ = n.Close()
			}
		}
	}
	busy := ana.Status().Listen[0]
	busy = busy[:strings.Index(busy, "/p2p/")]
	if _, err := node.New(ctx(t), node.Config{Listen: []string{busy}, DisableMDNS: true}); !errors.Is(err, node.ErrListen) {
		t.Errorf("a port in use answers %v", err)
	}
	ana.Close()
	if _, err := ana.Send(ctx(t), club, "late"); !errors.Is(err, node.ErrClosed) {
		t.Errorf("a closed node answers %v", err)
	}
}

// Fewer lines than none are none.
func TestLastOfLessThanNothing(t *testing.T) {
	ana := start(t, "Ana")
	club := ana.create("club")
	if lines, _, err := ana.Last(ctx(t), club, -1); err != nil || len(lines) > 0 {
		t.Fatalf("%d lines, %v", len(lines), err)
	}
}

// Who is let in and gets nothing else says so; what makes them a member comes from the next who
// has it.
func TestJoinThatIsNotServed(t *testing.T) {
	ana, cleo, bo := start(t, "Ana"), start(t, "Cleo"), start(t, "Bo")
	club := ana.create("club")
	cleo.join(ana.invite(club, node.InviteOptions{}))
	ana.send(club, "hello")
	cleo.await(club, 1)
	link := ana.invite(club, node.InviteOptions{})
	settled(t, club, ana, cleo)
	for _, p := range []*person{ana, cleo} {
		p.Host().RemoveStreamHandler(syncID)
	}
	soon, cancel := context.WithTimeout(ctx(t), 2*time.Second)
	defer cancel()
	if _, err := bo.Join(soon, link); !errors.Is(err, node.ErrUnsettled) {
		t.Errorf("Join says %v", err)
	}
	if g, err := bo.Group(club); err != nil || g.Members != 0 {
		t.Errorf("Bo's group is %+v, %v", g, err)
	}
	cleo.sleep()
	cleo.wake() // serves again
	bo.reach(cleo)
	bo.await(club, 1)
	bo.send(club, "at last")
	cleo.await(club, 2)
}
