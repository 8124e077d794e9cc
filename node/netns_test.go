package node_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/rpc"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p/core/peer"
	drouting "github.com/libp2p/go-libp2p/p2p/discovery/routing"

	"github.com/p2pchat/p2pchat/internal/fixture/child"
	"github.com/p2pchat/p2pchat/internal/fixture/need"
	"github.com/p2pchat/p2pchat/internal/fixture/netns"
	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
)

// A remote is a person whose node runs on a host of its own. The test talks to it
// through a socket in the file system, which network namespaces share.
type remote struct {
	t    *testing.T
	name string
	host *netns.Host
	node *child.Child
	rpc  *rpc.Client
}

// setup is what a test chooses about a remote.
type setup struct {
	Name      string
	MDNS      bool
	DHT       string
	Bootstrap []string
}

// remotePerson is the child: a node that serves its methods on a socket.
func remotePerson(args []string) error {
	var cfg setup
	if err := json.Unmarshal([]byte(args[1]), &cfg); err != nil {
		return err
	}
	n, err := node.New(context.Background(), node.Config{
		Name: cfg.Name, Bootstrap: cfg.Bootstrap, DHT: cfg.DHT, DisableMDNS: !cfg.MDNS,
	})
	if err != nil {
		return err
	}
	defer n.Close()
	l, err := net.Listen("unix", args[0])
	if err != nil {
		return err
	}
	server := rpc.NewServer()
	if err := server.Register(&Person{n: n}); err != nil {
		return err
	}
	fmt.Println("ready")
	c, err := l.Accept()
	if err != nil {
		return err
	}
	server.ServeConn(c)
	return nil
}

// Person is what a test can ask of a node on another host.
type Person struct {
	n    *node.Node
	near *node.Nearby // that runs
}

// What a call needs beside its group.
type (
	Ask struct {
		Group protocol.ID
		Text  string
		Count int
		Wait  time.Duration
	}
	Seen struct {
		Texts  []string
		Peers  []node.Peer
		Status node.Status
	}
)

func (p *Person) Create(name string, out *protocol.ID) (err error) {
	*out, err = p.n.CreateGroup(context.Background(), name)
	return err
}

// Invite makes a link without addresses, unless Text says "addressed".
func (p *Person) Invite(q Ask, out *string) error {
	text, err := p.n.Invite(context.Background(), q.Group, node.InviteOptions{Rank: protocol.Rank(q.Count)})
	if err != nil || q.Text == "addressed" {
		*out = text
		return err
	}
	link, err := protocol.ParseLink(text)
	link.Addrs = nil
	*out = link.Text()
	return err
}

func (p *Person) Join(q Ask, out *protocol.ID) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), q.Wait)
	defer cancel()
	*out, err = p.n.Join(ctx, q.Text)
	return err
}

func (p *Person) Send(q Ask, _ *bool) error {
	_, err := p.n.Send(context.Background(), q.Group, q.Text)
	return err
}

// Await waits until Count texts are here.
func (p *Person) Await(q Ask, _ *bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), q.Wait)
	defer cancel()
	have := 0
	for m, err := range p.n.Follow(ctx, q.Group, 0) {
		if err != nil {
			return err
		}
		if m.Kind == "text" {
			have++
		}
		if have == q.Count {
			return nil
		}
	}
	return fmt.Errorf("%d of %d texts; %+v; %+v", have, q.Count, p.n.Status(), p.n.Peers())
}

// Meet waits until Count members are connected.
func (p *Person) Meet(q Ask, _ *bool) error {
	for end := time.Now().Add(q.Wait); ; time.Sleep(20 * time.Millisecond) {
		if g, err := p.n.Group(q.Group); err != nil || g.Online >= q.Count {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("%d members are not here; %+v; %+v", q.Count, p.n.Status(), p.n.Peers())
		}
	}
}

func (p *Person) See(group protocol.ID, out *Seen) error {
	out.Peers, out.Status = p.n.Peers(), p.n.Status()
	if group.IsZero() {
		return nil
	}
	lines, _, err := p.n.Last(context.Background(), group, 0)
	for _, m := range lines {
		if m.Kind == "text" {
			out.Texts = append(out.Texts, m.Text+m.Unreadable)
		}
	}
	return err
}

// startAt runs a node on a host, found by nothing but what the test turns on.
func startAt(t *testing.T, h *netns.Host, change ...func(*setup)) *remote {
	t.Helper()
	cfg := setup{Name: h.Name, DHT: node.DHTOff}
	for _, f := range change {
		f(&cfg)
	}
	text, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "p2pchat") // t.TempDir's are too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	r := &remote{t: t, name: h.Name, host: h, node: child.StartAt(t, h, "person", socket, string(text))}
	r.node.Line(patience)
	if r.rpc, err = rpc.Dial("unix", socket); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.rpc.Close() })
	return r
}

func byMDNS(cfg *setup) { cfg.MDNS = true }

func byDHT(boot *remote) func(*setup) {
	return func(cfg *setup) {
		cfg.DHT = node.DHTCommunity
		if boot != nil {
			cfg.Bootstrap = boot.see(protocol.ID{}).Status.Listen
		}
	}
}

func call[T any](r *remote, method string, in any) (out T, err error) {
	err = r.rpc.Call("Person."+method, in, &out)
	return out, err
}

func must[T any](r *remote, method string, in any) T {
	r.t.Helper()
	out, err := call[T](r, method, in)
	if err != nil {
		r.t.Fatalf("%s: %s: %v", r.name, strings.ToLower(method), err)
	}
	return out
}

func (r *remote) create(name string) protocol.ID {
	r.t.Helper()
	return must[protocol.ID](r, "Create", name)
}

func (r *remote) invite(group protocol.ID) string {
	r.t.Helper()
	return must[string](r, "Invite", Ask{Group: group})
}

func (r *remote) join(link string) {
	r.t.Helper()
	must[protocol.ID](r, "Join", Ask{Text: link, Wait: patience})
}

func (r *remote) send(group protocol.ID, text string) {
	r.t.Helper()
	must[bool](r, "Send", Ask{Group: group, Text: text})
}

func (r *remote) await(group protocol.ID, count int) {
	r.t.Helper()
	must[bool](r, "Await", Ask{Group: group, Count: count, Wait: patience})
}

func (r *remote) meet(group protocol.ID, count int) {
	r.t.Helper()
	must[bool](r, "Meet", Ask{Group: group, Count: count, Wait: patience})
}

func (r *remote) see(group protocol.ID) Seen {
	r.t.Helper()
	return must[Seen](r, "See", group)
}

// found returns how a person's connected peers were found, sorted, each once.
func (r *remote) found() []string {
	var out []string
	for _, p := range r.see(protocol.ID{}).Peers {
		if p.Connected {
			out = append(out, p.Found)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// allRead fails unless all read the same texts in the same order, count of them.
func allRead(t *testing.T, group protocol.ID, count int, all ...*remote) {
	t.Helper()
	for _, r := range all {
		r.await(group, count)
	}
	first := all[0].see(group).Texts
	if len(first) != count {
		t.Errorf("%s reads %d texts, not %d", all[0].name, len(first), count)
	}
	for _, r := range all[1:] {
		if texts := r.see(group).Texts; !slices.Equal(texts, first) {
			t.Errorf("%s reads %q and %s %q", all[0].name, first, r.name, texts)
		}
	}
}

func hosts(lan *netns.Net, names ...string) []*netns.Host {
	var out []*netns.Host
	for _, name := range names {
		out = append(out, lan.AddHost(name))
	}
	return out
}

// Nobody knows an address of anybody, and there is no DHT.
func TestNetnsFoundByMDNSOnly(t *testing.T) {
	at := hosts(netns.New(t), "ana", "bo", "cleo")
	ana, bo := startAt(t, at[0], byMDNS), startAt(t, at[1], byMDNS)
	club := ana.create("club")
	link := ana.invite(club)
	bo.join(link)
	ana.send(club, "hello Bo")
	bo.send(club, "hello Ana")
	allRead(t, club, 2, ana, bo)

	cleo := startAt(t, at[2], byMDNS)
	cleo.join(link)
	cleo.meet(club, 2)
	cleo.send(club, "hello both")
	allRead(t, club, 3, ana, bo, cleo)
	for _, r := range []*remote{ana, bo, cleo} {
		for _, how := range r.found() {
			if how != "mdns" && how != "inbound" {
				t.Errorf("%s found somebody by %s", r.name, how)
			}
		}
		if s := r.see(club).Status; s.MDNS != "on" || s.DHT != node.DHTOff {
			t.Errorf("%s says mDNS %q, DHT %q", r.name, s.MDNS, s.DHT)
		}
	}
}

// Nobody knows an address but the seed's, which is in no group, and multicast is
// not used: Bo finds Ana by the lobby's key in the DHT, and later, when Ana is gone
// and has left no address, Cleo and Bo find each other by the group's.
func TestNetnsFoundByDHTOnly(t *testing.T) {
	at := hosts(netns.New(t), "seed", "ana", "bo", "cleo")
	seed := startAt(t, at[0], byDHT(nil))
	ana, bo := startAt(t, at[1], byDHT(seed)), startAt(t, at[2], byDHT(seed))
	club := ana.create("club")
	link := ana.invite(club)
	began := time.Now()
	bo.join(link)
	t.Logf("found and joined in %s", time.Since(began).Round(100*time.Millisecond))
	for _, how := range slices.Concat(bo.found(), ana.found()) {
		if how == "mdns" || how == "link" || how == "known" {
			t.Errorf("they found each other by %q", how)
		}
	}
	bo.send(club, "hello Ana")
	allRead(t, club, 1, ana, bo)

	// Bo and Cleo cannot reach each other while Cleo joins, and then Ana goes:
	// neither has ever spoken to the other, and what is left is the DHT.
	cleo := startAt(t, at[3], byDHT(seed))
	cleo.join(link)
	ana.node.Kill9()
	cleo.send(club, "is anybody here?")
	bo.await(club, 2)
	allRead(t, club, 2, bo, cleo)
	if s := seed.see(protocol.ID{}).Status; s.Peers != 0 || len(s.Groups) != 0 {
		t.Errorf("the seed is in something: %+v", s)
	}
}

// A chain of three, its first link cut and healed.
func TestNetnsCutLinkHeals(t *testing.T) {
	lan := netns.New(t)
	at := hosts(lan, "ana", "bo", "cleo")
	apart := func(a, b int) { lan.Split([]*netns.Host{at[a]}, []*netns.Host{at[b]}) }
	apart(0, 2) // Ana and Cleo meet through Bo only
	ana, bo, cleo := startAt(t, at[0]), startAt(t, at[1]), startAt(t, at[2])
	club := ana.create("club")
	bo.join(must[string](ana, "Invite", Ask{Group: club, Text: "addressed", Count: int(protocol.Greeter)}))
	// Cleo joins through Bo, who greets, by the link of Ana with Bo's addresses.
	link, err := protocol.ParseLink(ana.invite(club))
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range bo.see(club).Status.Listen[:1] {
		link.Addrs = append(link.Addrs, mustAddr(t, a))
	}
	cleo.join(link.Text())
	ana.send(club, "one")
	cleo.send(club, "two")
	allRead(t, club, 2, ana, bo, cleo)

	apart(0, 1)
	ana.send(club, "Ana, alone")
	for i := range 20 {
		bo.send(club, fmt.Sprintf("Bo, on the other side %d", i))
		cleo.send(club, fmt.Sprintf("Cleo, on the other side %d", i))
	}
	ana.send(club, "Ana, still alone")
	allRead(t, club, 42, bo, cleo)
	if got := ana.see(club).Texts; len(got) != 4 {
		t.Errorf("through the cut Ana reads %q", got)
	}

	lan.Heal()
	apart(0, 2)
	began := time.Now()
	allRead(t, club, 44, ana, bo, cleo)
	t.Logf("complete %s after the link healed", time.Since(began).Round(100*time.Millisecond))
}

// A host whose cable is pulled and plugged in again.
func TestNetnsPulledCable(t *testing.T) {
	at := hosts(netns.New(t), "ana", "bo")
	ana, bo := startAt(t, at[0], byMDNS), startAt(t, at[1], byMDNS)
	club := ana.create("club")
	bo.join(ana.invite(club))
	at[1].Cut()
	ana.send(club, "Bo?")
	bo.send(club, "Ana?")
	at[1].Heal()
	allRead(t, club, 2, ana, bo)
}

// move gives a host another address, as another network does. Nobody hears that the
// old one is gone.
func move(t *testing.T, h *netns.Host, addr string, away time.Duration) {
	t.Helper()
	run(t, h, "ip", "link", "set", netns.Interface, "down")
	run(t, h, "ip", "addr", "flush", "dev", netns.Interface)
	time.Sleep(away)
	for _, args := range [][]string{
		{"addr", "add", addr, "brd", "+", "dev", netns.Interface},
		{"link", "set", netns.Interface, "up"},
		{"route", "add", "224.0.0.0/4", "dev", netns.Interface},
	} {
		run(t, h, "ip", args...)
	}
}

// Bo comes back under another address while his old connection still stands at Ana's. It
// is not what she talks to him on, and once it is gone gossip still reaches both.
func TestNetnsAnotherAddress(t *testing.T) {
	at := hosts(netns.New(t), "ana", "bo")
	ana, bo := startAt(t, at[0], byMDNS), startAt(t, at[1], byMDNS)
	club := ana.create("club")
	bo.join(ana.invite(club))
	move(t, at[1], "10.77.0.102/24", 7*time.Second)
	bo.send(club, "I am back")
	began := time.Now()
	ana.await(club, 1)
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("Bo is heard again after %s", took)
	}
	ana.meet(club, 1)
	time.Sleep(5 * time.Second) // until the old connection is gone

	for i := range 5 { // a comparison of what both have would be lucky sometimes
		time.Sleep(1300 * time.Millisecond)
		for _, from := range []*remote{ana, bo} {
			began := time.Now()
			from.send(club, fmt.Sprintf("%s %d", from.name, i))
			for _, r := range []*remote{ana, bo} {
				r.await(club, 2+2*i+map[*remote]int{ana: 0, bo: 1}[from])
			}
			if took := time.Since(began); took > time.Second {
				t.Errorf("what %s says arrives after %s", from.name, took)
			}
		}
	}
	allRead(t, club, 11, ana, bo)
}

// Both go to another network. What mDNS says of them goes along.
func TestNetnsAnotherNetwork(t *testing.T) {
	at := hosts(netns.New(t), "ana", "bo")
	ana, bo := startAt(t, at[0], byMDNS), startAt(t, at[1], byMDNS)
	club := ana.create("club")
	bo.join(ana.invite(club))
	move(t, at[0], "192.0.2.1/24", 0) // for documentation (RFC 5737)
	move(t, at[1], "192.0.2.2/24", 0)
	ana.send(club, "Bo?")
	bo.send(club, "Ana?")
	allRead(t, club, 2, ana, bo)
}

// A cable between two machines that gave themselves addresses (RFC 3927): no route leads
// anywhere else, nor for multicast, and nobody knows an address of anybody.
func TestNetnsNoRoute(t *testing.T) {
	at := hosts(netns.New(t), "ana", "bo")
	for i, h := range at {
		run(t, h, "ip", "addr", "flush", "dev", netns.Interface)
		run(t, h, "ip", "route", "flush", "table", "main")
		run(t, h, "ip", "addr", "add", fmt.Sprintf("169.254.77.%d/16", i+1), "brd", "+", "dev", netns.Interface)
		if routes := run(t, h, "ip", "route"); !strings.HasPrefix(routes, "169.254.0.0/16 ") || strings.Count(routes, "\n") != 1 {
			t.Fatalf("%s has other routes:\n%s", h.Name, routes)
		}
	}
	ana, bo := startAt(t, at[0], byMDNS), startAt(t, at[1], byMDNS)
	club := ana.create("club")
	for _, r := range []*remote{ana, bo} {
		if s := r.see(protocol.ID{}).Status.MDNS; s != "on" {
			t.Errorf("%s says of mDNS %q", r.name, s)
		}
	}
	bo.join(ana.invite(club))
	ana.send(club, "hello Bo")
	bo.send(club, "hello Ana")
	allRead(t, club, 2, ana, bo)
}

// Where multicast does not get out, the status says so, and a link still works: Ana's
// firewall drops it, and Bo's only interface does not do it.
func TestNetnsMulticastBlocked(t *testing.T) {
	lan := netns.New(t)
	need.Program(t, "nft", "nftables")
	at := hosts(lan, "ana", "bo")
	run(t, at[0], "nft", "add table ip wall; "+
		"add chain ip wall out { type filter hook output priority 0; }; "+
		"add rule ip wall out ip daddr 224.0.0.251 drop")
	run(t, at[1], "ip", "link", "set", netns.Interface, "multicast", "off")
	ana, bo := startAt(t, at[0], byMDNS), startAt(t, at[1], byMDNS)
	club := ana.create("club")
	for _, r := range []*remote{ana, bo} {
		if s := r.see(protocol.ID{}).Status.MDNS; !strings.HasPrefix(s, "blocked: ") {
			t.Errorf("%s says of mDNS %q", r.name, s)
		}
	}
	bo.join(must[string](ana, "Invite", Ask{Group: club, Text: "addressed"}))
	bo.send(club, "by the link, then")
	allRead(t, club, 1, ana, bo)
}

// With the DHT off nothing leaves the subnet. Cleo is behind a road that would work
// and is not taken; who allows it, takes it.
func TestNetnsNothingLeavesTheSubnet(t *testing.T) {
	lan := netns.New(t)
	need.Program(t, "nft", "nftables")
	at := hosts(lan, "bo", "cleo")
	const outside = "192.0.2.7" // for documentation (RFC 5737)
	run(t, at[1], "ip", "addr", "del", at[1].Addr.String()+"/24", "dev", netns.Interface)
	run(t, at[1], "ip", "addr", "add", outside+"/32", "dev", netns.Interface)
	run(t, at[1], "ip", "route", "add", at[0].Addr.String()+"/32", "dev", netns.Interface)
	run(t, at[0], "ip", "route", "add", "default", "dev", netns.Interface) // or questions for names would not even set off
	run(t, at[0], "nft", "add table ip watch; "+
		"add chain ip watch out { type filter hook output priority 0; }; "+
		"add rule ip watch out ip daddr "+outside+" counter; "+
		"add rule ip watch out udp dport 53 counter")

	cleo := startAt(t, at[1], byDHT(nil))
	club := cleo.create("club")
	link := must[string](cleo, "Invite", Ask{Group: club, Text: "addressed"})
	bo := startAt(t, at[0])
	_, err := call[protocol.ID](bo, "Join", Ask{Text: link, Wait: 4 * time.Second})
	if err == nil || !strings.Contains(err.Error(), outside) || !strings.Contains(err.Error(), "outside the local subnets") {
		t.Errorf("a link to the outside answers %v", err)
	} else if !strings.Contains(err.Error(), "DHT") {
		t.Errorf("the error names no way out: %v", err)
	}
	// Nor is anybody asked where a name leads.
	named, err := protocol.ParseLink(link)
	if err != nil {
		t.Fatal(err)
	}
	peerID := cleo.see(club).Status.PeerID
	named.Addrs = [][]byte{mustAddr(t, "/dns4/chat.example.org/tcp/4001/p2p/"+peerID), mustAddr(t, "/dnsaddr/chat.example.org/p2p/"+peerID)}
	if _, err := call[protocol.ID](bo, "Join", Ask{Text: named.Text(), Wait: 4 * time.Second}); err == nil {
		t.Error("joined by a name")
	}
	if got := run(t, at[0], "nft", "list", "table", "ip", "watch"); strings.Count(got, "packets 0 ") != 2 {
		t.Errorf("packets left the subnet:\n%s", got)
	}

	bold := startAt(t, at[0], byDHT(nil))
	bold.join(link)
	bold.send(club, "allowed")
	cleo.await(club, 1)
	if got := run(t, at[0], "nft", "list", "table", "ip", "watch"); strings.Count(got, "packets 0 ") != 1 {
		t.Errorf("the counter counts nothing:\n%s", got)
	}
}

// run runs a command on a host.
func run(t *testing.T, h *netns.Host, name string, args ...string) string {
	t.Helper()
	var cmd *exec.Cmd = h.Command(t.Context(), name, args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s on %s: %v\n%s", name, h.Name, err, out)
	}
	return string(out)
}

// What the DHT is told are keys of secrets: Ana is found by her invite's lobby, and
// not by her group's id. (On loopback; that strangers are asked needs no netns.)
func TestDHTKnowsTheLobby(t *testing.T) {
	community := func(cfg *node.Config) { cfg.DHT = node.DHTCommunity }
	seed := start(t, "seed", community)
	boot := func(cfg *node.Config) { cfg.Bootstrap = seed.Status().Listen }
	ana := start(t, "Ana", boot)
	club := ana.create("club")
	link, err := protocol.ParseLink(ana.invite(club, node.InviteOptions{}))
	if err != nil {
		t.Fatal(err)
	}
	asker := newOutsider(t)
	asker.connect(seed)
	kad, err := dht.New(asker.host, dht.Mode(dht.ModeClient), dht.ProtocolPrefix("/p2pchat"), dht.DisableValues())
	if err != nil {
		t.Fatal(err)
	}
	defer kad.Close()
	look := func(key string) (found []peer.ID) {
		c, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		peers, err := drouting.NewRoutingDiscovery(kad).FindPeers(c, key)
		if err != nil {
			return nil // as long as the routing table is empty
		}
		for p := range peers {
			found = append(found, p.ID)
		}
		return found
	}
	for end := time.Now().Add(patience); !slices.Contains(look(protocol.DHTKey(link.Lobby())), ana.Host().ID()); {
		if time.Now().After(end) {
			t.Fatal("the lobby is not announced")
		}
	}
	for _, key := range []string{club.Text(""), club.Text(protocol.GroupPrefix), protocol.DHTKey(protocol.Secret(club))} {
		if found := look(key); len(found) > 0 {
			t.Errorf("by %s the DHT finds %s", key, found)
		}
	}
}
