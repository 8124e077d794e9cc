package node_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	dht "github.com/libp2p/go-libp2p-kad-dht"
	kadpb "github.com/libp2p/go-libp2p-kad-dht/pb"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	libprotocol "github.com/libp2p/go-libp2p/core/protocol"

	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
)

// A crawler is a stranger who looks everywhere: it is the DHT's bootstrap node, so that
// all of it goes through here, relays the hellos of any two members to each other, opens
// every protocol that they offer, and keeps every byte.
type crawler struct {
	*outsider
	people []*person
	links  []string // of the village

	mu       sync.Mutex
	seen     bytes.Buffer
	provided map[string]map[peer.ID]bool // DHT keys, and who provides them
	asked    map[string]bool             // DHT keys that somebody looked up
	hellos   int
	proofs   int
	opened   []libprotocol.ID // streams of others to the crawler, beside hellos
}

func newCrawler(t *testing.T) *crawler {
	c := &crawler{outsider: newOutsider(t), provided: make(map[string]map[peer.ID]bool), asked: make(map[string]bool)}
	d, err := dht.New(c.host, dht.Mode(dht.ModeServer), dht.ProtocolPrefix("/p2pchat"), dht.DisableValues(), dht.OnRequestHook(c.request))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	c.host.SetStreamHandler(helloID, c.between)
	for _, id := range []libprotocol.ID{joinID, syncID, keyID, nearbyID, meshID} {
		c.host.SetStreamHandler(id, func(s network.Stream) {
			c.mu.Lock()
			c.opened = append(c.opened, id)
			c.mu.Unlock()
			_ = s.SetReadDeadline(time.Now().Add(100 * time.Millisecond)) // or who wants to join waits here
			_, _ = io.Copy(c, io.LimitReader(s, 1<<20))
			_ = s.Reset()
		})
	}
	return c
}

// Write keeps bytes.
func (c *crawler) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen.Write(b)
}

// takes returns what was seen since the last time.
func (c *crawler) takes() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := bytes.Clone(c.seen.Bytes())
	c.seen.Reset()
	return out
}

// request notes what others ask of the DHT.
func (c *crawler) request(_ context.Context, s network.Stream, m *kadpb.Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen.WriteString(m.String())
	c.seen.Write(m.GetKey())
	switch m.GetType() {
	case kadpb.Message_ADD_PROVIDER:
		if c.provided[string(m.GetKey())] == nil {
			c.provided[string(m.GetKey())] = make(map[peer.ID]bool)
		}
		c.provided[string(m.GetKey())][s.Conn().RemotePeer()] = true
	case kadpb.Message_GET_PROVIDERS:
		c.asked[string(m.GetKey())] = true
	}
}

// between answers a hello with another member's, word by word.
func (c *crawler) between(s network.Stream) {
	defer s.Close()
	c.mu.Lock()
	people := c.people
	c.mu.Unlock()
	for _, p := range people {
		if p.Host().ID() == s.Conn().RemotePeer() {
			continue
		}
		to, err := c.host.NewStream(network.WithNoDial(context.Background(), "what is connected"), p.Host().ID(), helloID)
		if err != nil {
			continue
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.relay(s, to)
		}()
		c.relay(to, s)
		_ = s.Reset()
		<-done
		return
	}
}

func (c *crawler) relay(to, from network.Stream) {
	_ = from.SetReadDeadline(time.Now().Add(patience))
	defer to.CloseWrite()
	for in := bufio.NewReader(io.TeeReader(from, c)); ; {
		f, err := protocol.ReadFrame(in)
		if err != nil {
			return
		}
		var tags protocol.HelloTags
		var proofs protocol.HelloProofs
		if f.Decode(protocol.FrameHelloTags, &tags) == nil {
			c.mu.Lock()
			c.hellos++
			if len(tags.Tags) != protocol.MaxHelloTags || !slices.IsSortedFunc(tags.Tags, func(a, b protocol.HelloTag) int { return bytes.Compare(a[:], b[:]) }) {
				c.t.Errorf("a hello has %d tags, or in an order that tells", len(tags.Tags))
			}
			c.mu.Unlock()
		}
		if f.Decode(protocol.FrameHelloProof, &proofs) == nil {
			c.mu.Lock()
			c.proofs += len(proofs.Proofs)
			c.mu.Unlock()
		}
		if _, err := to.Write(protocol.AppendFrame(nil, f.Kind, f.Payload)); err != nil {
			return
		}
	}
}

// opens speaks each protocol that a member offers, badly, and keeps the answers.
func (c *crawler) opens(p *person) {
	c.t.Helper()
	id := p.Host().ID()
	for _, key := range []string{"AgentVersion", "ProtocolVersion"} {
		v, _ := c.host.Peerstore().Get(id, key)
		fmt.Fprint(c, v)
	}
	ids, err := c.host.Peerstore().GetProtocols(id)
	if err != nil || !slices.Contains(ids, syncID) {
		c.t.Fatalf("a member offers %q, %v", ids, err)
	}
	fmt.Fprint(c, ids, c.host.Peerstore().Addrs(id))
	for _, proto := range ids {
		if proto == meshID {
			continue // held open from the beginning: see holdMesh
		}
		for _, words := range c.words() {
			s, err := c.host.NewStream(ctx(c.t), id, proto)
			if err != nil {
				continue // it takes no more streams of somebody like this
			}
			_, _ = s.Write(words)
			_ = s.CloseWrite()
			_ = s.SetReadDeadline(time.Now().Add(patience))
			_, _ = io.Copy(c, io.LimitReader(s, 1<<20))
			_ = s.Reset()
		}
	}
}

// words are what it tries to begin with, on any protocol.
func (c *crawler) words() [][]byte {
	frame := func(kind protocol.FrameKind, payload any) []byte { return protocol.AppendFrame(nil, kind, payload) }
	hello := frame(protocol.FrameHelloNonce, protocol.HelloNonce{Nonce: nonce()})
	var tags protocol.HelloTags
	for range protocol.MaxHelloTags {
		n := nonce()
		tags.Tags = append(tags.Tags, protocol.HelloTag(n[:16]))
	}
	return [][]byte{
		bytes.Repeat([]byte{0xff}, 100),
		slices.Concat(hello, frame(protocol.FrameHelloTags, tags), frame(protocol.FrameHelloProof, protocol.HelloProofs{})),
		slices.Concat(hello, frame(protocol.FrameLobby, protocol.Lobby{Tag: tags.Tags[0]})),
		frame(protocol.FrameOpen, protocol.Open{Group: nonce()}),
		frame(protocol.FrameWant, protocol.Want{Group: nonce(), Chunks: []protocol.ID{nonce()}}),
		frame(protocol.FrameNearbyAsk, struct{}{}),
		c.subscribe(),
	}
}

// subscribe is a pubsub RPC for every name that the crawler has come across.
func (c *crawler) subscribe(more ...string) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	names := more
	for key := range c.provided {
		names = append(names, key, base32Text([]byte(key)))
	}
	var rpc []byte // protobuf: RPC.subscriptions (1) of SubOpts: subscribe (1), topicid (2)
	for _, name := range names {
		sub := append([]byte{0x08, 1, 0x12}, binary.AppendUvarint(nil, uint64(len(name)))...)
		sub = append(sub, name...)
		rpc = append(binary.AppendUvarint(append(rpc, 0x0a), uint64(len(sub))), sub...)
	}
	return append(binary.AppendUvarint(nil, uint64(len(rpc))), rpc...)
}

func base32Text(b []byte) string {
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b))
}

// dhtKey is a rendezvous as the DHT sees it: the multihash of its text.
func dhtKey(s protocol.Secret) string {
	sum := sha256.Sum256([]byte(protocol.DHTKey(s)))
	return string(append([]byte{0x12, 0x20}, sum[:]...))
}

// unseen is what nobody outside may see, and what to call it.
type unseen map[string][]byte

// hidden is everything about a group that its members know.
func hidden(people []*person, club protocol.ID, link string, texts ...string) unseen {
	out := unseen{"the group's id": club[:], "the group's id as text": []byte(club.Text(protocol.GroupPrefix)), "the group's name": []byte("Bergfreunde Uster")}
	for _, p := range people {
		out["a name: "+p.cfg.Name] = []byte(p.cfg.Name)
		dev := p.Device(club)
		out["a device of "+p.cfg.Name] = dev[:]
		g, err := p.Group(club)
		if err == nil {
			out["the key of "+p.cfg.Name] = g.Me[:]
		}
		for i, n := range p.Meets(club) {
			out[fmt.Sprintf("secret %d of %s", i, p.cfg.Name)] = n[:]
			out[fmt.Sprintf("topic %d of %s", i, p.cfg.Name)] = []byte(protocol.Topic(n))
			out[fmt.Sprintf("DHT text %d of %s", i, p.cfg.Name)] = []byte(protocol.DHTKey(n))
		}
	}
	if l, err := protocol.ParseLink(link); err == nil {
		lobby := l.Lobby()
		out["the link's seed"], out["the lobby"], out["the lobby's text"] = l.Seed[:], lobby[:], []byte(protocol.DHTKey(lobby))
	}
	for _, text := range texts {
		out["a text: "+text] = []byte(text)
	}
	return out
}

// absent fails for each secret that is in what was seen, in whatever usual encoding.
func (secrets unseen) absent(t *testing.T, where string, seen []byte) {
	t.Helper()
	lower := bytes.ToLower(seen)
	for what, secret := range secrets {
		for _, form := range [][]byte{
			secret, []byte(hex.EncodeToString(secret)), []byte(base32Text(secret)), []byte(base64.StdEncoding.EncodeToString(secret)),
			[]byte(base64.RawURLEncoding.EncodeToString(secret)),
		} {
			if bytes.Contains(seen, form) || bytes.Contains(lower, bytes.ToLower(form)) {
				t.Errorf("%s saw %s", where, what)
				break
			}
		}
	}
}

// village is a group of three who use the crawler's DHT.
func village(t *testing.T) (c *crawler, people []*person, club protocol.ID, link string) {
	t.Helper()
	c = newCrawler(t)
	boot := fmt.Sprintf("%s/p2p/%s", c.host.Addrs()[0], c.host.ID())
	for _, name := range []string{"Annalisa Moosbrugger", "Bodo Itenhard", "Cleophea Zgraggen"} {
		p := start(t, name, func(cfg *node.Config) { cfg.Bootstrap = []string{boot} })
		c.mu.Lock() // the earlier ones say hello already
		people = append(people, p)
		c.people = slices.Clone(people)
		c.mu.Unlock()
	}
	club = people[0].create("Bergfreunde Uster")
	link = people[0].invite(club, node.InviteOptions{Approve: true})
	c.links = []string{link}
	for _, p := range people[1:] {
		once := people[0].invite(club, node.InviteOptions{Uses: 1})
		p.join(once)
		c.links = append(c.links, once)
	}
	for _, p := range people {
		c.connect(p)
	}
	return c, people, club, link
}

// Somebody who sees all of the DHT and speaks every protocol with everybody, in a busy
// group, learns nothing that the threat model does not grant.
func TestCrawlerLearnsNothing(t *testing.T) {
	c, people, club, link := village(t)
	ana, bo := people[0], people[1]
	mesh := c.holdMesh(people)
	parsed, err := protocol.ParseLink(link)
	if err != nil {
		t.Fatal(err)
	}
	secret, lobby := dhtKey(ana.Meets(club)[0]), dhtKey(parsed.Lobby())
	eventually(t, "everybody is in the DHT", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.provided[secret]) == 3 && len(c.provided[lobby]) > 0 && c.asked[secret]
	})
	for _, p := range people {
		c.opens(p)
	}
	for i, p := range people {
		p.send(club, fmt.Sprintf("Treffpunkt Kiosk %d", i))
	}
	for _, p := range people {
		p.await(club, 3)
	}
	mesh.silent()
	seen := c.takes()
	hidden(people, club, link, "Treffpunkt Kiosk").absent(t, "the crawler", seen)
	if !bytes.Contains(seen, []byte(lobby)) || len(seen) < 10_000 {
		t.Errorf("the crawler keeps %d bytes: it does not see what it should", len(seen))
	}
	c.mu.Lock()
	if c.hellos < 2 || c.proofs > 0 {
		t.Errorf("%d hellos were relayed, with %d proofs", c.hellos, c.proofs)
	}
	known := make(map[string]bool)
	for _, text := range c.links {
		if l, err := protocol.ParseLink(text); err == nil {
			known[dhtKey(l.Lobby())] = true
		}
	}
	for _, p := range people {
		for _, n := range p.Meets(club) {
			known[dhtKey(n)] = true
		}
	}
	for key := range c.provided {
		if !known[key] {
			t.Errorf("a key in the DHT is no rendezvous: %x", key)
		}
	}
	// A link shows who admits, and no other member.
	if by := c.provided[lobby]; len(by) != 1 || !by[ana.Host().ID()] {
		t.Errorf("the lobby is provided by %v", by)
	}
	c.mu.Unlock()
	c.holdsLink(people, club, link)
	chatOn(ana, bo, club)
}

// holdsLink is what the crawler does once it has a link: it asks everybody to be let in.
func (c *crawler) holdsLink(people []*person, club protocol.ID, link string) {
	c.t.Helper()
	l, err := protocol.ParseLink(link)
	if err != nil {
		c.t.Fatal(err)
	}
	account, err := protocol.NewAccount(rand.Reader)
	if err != nil {
		c.t.Fatal(err)
	}
	for i, p := range people {
		k := c.talk(p, joinID)
		k.in = bufio.NewReader(io.TeeReader(k.s, c))
		h := &protocol.Hello{PeerI: string(c.host.ID()), PeerR: string(p.Host().ID()), NonceI: nonce()}
		k.send(protocol.FrameHelloNonce, protocol.HelloNonce{Nonce: h.NonceI})
		var theirs protocol.HelloNonce
		k.expect(protocol.FrameHelloNonce, &theirs)
		h.NonceR = theirs.Nonce
		k.send(protocol.FrameLobby, protocol.Lobby{Tag: h.LobbyTag(l.Lobby(), protocol.Initiator)})
		if i > 0 { // an ordinary member does not know the lobby
			k.refused(protocol.RefusedUnknown)
		} else {
			k.expect(protocol.FrameLobby, new(protocol.Lobby))
			box, err := protocol.NewBoxKey(true)
			if err != nil {
				c.t.Fatal(err)
			}
			request, err := l.Request(account.Identity(club), box, "Eve", "", rand.Reader)
			if err != nil {
				c.t.Fatal(err)
			}
			k.send(protocol.FrameRequest, request)
			k.refused(protocol.RefusedApproval)
		}
		// With the group's id in hand: nothing before a hello.
		k = c.talk(p, syncID)
		k.in = bufio.NewReader(io.TeeReader(k.s, c))
		k.send(protocol.FrameOpen, protocol.Open{Group: club})
		k.refused(protocol.RefusedUnknown)
		c.wants(p, club)
	}
	secrets := hidden(people, club, link, "Treffpunkt Kiosk")
	for _, granted := range []string{"the group's id", "the group's id as text", "the link's seed", "the lobby", "the lobby's text"} {
		delete(secrets, granted)
	}
	secrets.absent(c.t, "the holder of a link", c.takes())
}

// held are pubsub streams that were opened to members.
type held struct {
	c       *crawler
	streams []network.Stream
}

// holdMesh opens pubsub to everybody and subscribes to names.
func (c *crawler) holdMesh(people []*person, names ...string) *held {
	c.t.Helper()
	h := &held{c: c}
	for _, p := range people {
		s, err := c.host.NewStream(ctx(c.t), p.Host().ID(), meshID)
		if err != nil {
			c.t.Fatal(err)
		}
		if _, err := s.Write(c.subscribe(names...)); err != nil {
			c.t.Fatal(err)
		}
		h.streams = append(h.streams, s)
	}
	return h
}

// silent fails if anything came. Pubsub answers on a stream of its own, which the
// crawler's handler would have kept.
func (h *held) silent() {
	h.c.t.Helper()
	for _, s := range h.streams {
		_ = s.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		if n, _ := s.Read(make([]byte, 1)); n > 0 {
			h.c.t.Error("pubsub answers a stranger")
		}
		_ = s.Reset()
	}
	h.c.mu.Lock()
	defer h.c.mu.Unlock()
	if slices.Contains(h.c.opened, meshID) {
		h.c.t.Error("pubsub opens a stream to a stranger")
	}
}

// Somebody who was removed knows the old rendezvous secret and has their old keys. Who
// still greets them shows a device, and serves nothing that came after.
func TestCrawlerWithAnOldSecret(t *testing.T) {
	c, people, club, _ := village(t)
	ana, bo := people[0], people[1]
	mia := newOutsider(t).admit(ana, ana.invite(club, node.InviteOptions{Uses: 1}), "Mia")
	zoe := newOutsider(t).admit(ana, ana.invite(club, node.InviteOptions{Uses: 1}), "Zoe") // who stays, and sees all
	mia.offer()
	zoe.offer()
	before := zoe.pull(ana)
	old := ana.Meets(club)[0]
	if _, err := ana.Expel(ctx(t), club, mia.me.Root().Text(protocol.PersonPrefix), node.ExpelOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, p := range people {
		p.send(club, "ohne Mia")
	}
	for _, p := range people {
		p.await(club, 3)
		eventually(t, "the secret changes", func() bool { return p.Meets(club)[0] != old })
	}
	fresh := ana.Meets(club)[0]

	thief := *mia // Mia's keys at the crawler's host
	thief.outsider = c.outsider
	mesh := c.holdMesh(people, protocol.Topic(old), protocol.Topic(fresh)) // as if somebody had told
	for _, p := range people {
		proofs, err := c.hello(p, mia.welcome.Secrets, thief.prove)
		if err != nil || len(proofs) > 1 {
			t.Errorf("%s greets with %d proofs, %v", p.cfg.Name, len(proofs), err)
		}
		for _, v := range proofs {
			if v.Dev != p.Device(club) {
				t.Errorf("%s shows a device that is not theirs", p.cfg.Name)
			}
		}
		c.pulls(p, club)
		c.wants(p, club)
	}
	bo.send(club, "immer noch")
	ana.await(club, 4)
	mesh.silent()

	seen := c.takes()
	after := slices.DeleteFunc(zoe.pull(ana), func(wire []byte) bool {
		return slices.ContainsFunc(before, func(known []byte) bool { return bytes.Equal(known, wire) })
	})
	secrets := unseen{
		"the new secret": fresh[:], "the new topic": []byte(protocol.Topic(fresh)), "a text": []byte("ohne Mia"), "the group's name": []byte("Bergfreunde Uster"),
	}
	for i, wire := range after {
		v, err := protocol.Verify(club, wire)
		if err != nil {
			t.Fatal(err)
		}
		sig := v.Event().Sig
		if v.Header().Kind == protocol.KindBan { // by which they know that they are out
			if !bytes.Contains(seen, sig[:]) {
				t.Error("the removed are not told of it: the test asks in a wrong way")
			}
		} else {
			secrets[fmt.Sprintf("%s %d, after the removal", v.Header().Kind, i)] = sig[:]
		}
	}
	if len(after) < 5 {
		t.Fatalf("only %d events came after the removal", len(after))
	}
	secrets.absent(t, "the removed", seen)
}

// pulls asks for all events, as who was in the group, and keeps what comes.
func (c *crawler) pulls(p *person, group protocol.ID) {
	k := c.talk(p, syncID)
	defer k.s.Close()
	k.in = bufio.NewReader(io.TeeReader(k.s, c))
	k.send(protocol.FrameOpen, protocol.Open{Group: group})
	k.send(protocol.FrameHave, protocol.Have{})
	for {
		if f, err := protocol.ReadFrame(k.in); err != nil || f.Kind == protocol.FrameDone || f.Kind == protocol.FrameRefused {
			return
		}
	}
}

// wants asks for the key of the newest epoch.
func (c *crawler) wants(p *person, group protocol.ID) {
	c.t.Helper()
	box, err := protocol.NewBoxKey(true)
	if err != nil {
		c.t.Fatal(err)
	}
	k := c.talk(p, keyID)
	k.in = bufio.NewReader(io.TeeReader(k.s, c))
	eid, ok := p.Usable(group)
	if !ok {
		c.t.Fatal("no epoch is fit to send under")
	}
	k.send(protocol.FrameWant, protocol.Want{Group: group, Epochs: []protocol.ID{eid}, Box: box.Public()})
	var refused *protocol.RefusedError
	if err := k.frame(protocol.FrameKeys, new([]byte)); !errors.As(err, &refused) { // as unknown, or for asking often
		c.t.Errorf("%s answers a request for keys by %v", p.cfg.Name, err)
	}
}

// In the DHT a secret that was replaced is announced for 30 days more: long enough for
// who was away, and not for ever to who was removed.
func TestOldRendezvousExpires(t *testing.T) {
	var c clock
	ana := start(t, "Ana", func(cfg *node.Config) { node.WithClock(cfg, c.now) })
	club := ana.create("club")
	old := ana.Meets(club)[0]
	c.forward(100 * 24 * time.Hour) // however long it was in use
	if err := ana.Rotate(ctx(t), club, true, nil); err != nil {
		t.Fatal(err)
	}
	announced := func(s protocol.Secret) bool { return slices.Contains(ana.Announces(), protocol.DHTKey(s)) }
	fresh := ana.Meets(club)[0]
	if fresh == old || !announced(fresh) || !announced(old) {
		t.Error("after a rotation not both are announced")
	}
	c.forward(29 * 24 * time.Hour)
	if !announced(old) {
		t.Error("who was away for a month finds nobody")
	}
	c.forward(2 * 24 * time.Hour)
	if announced(old) || !announced(fresh) {
		t.Error("after 31 days the old one is still announced, or the one in use is not")
	}
	if !slices.Contains(ana.Meets(club), old) {
		t.Error("a hello does not accept it any more")
	}
}
