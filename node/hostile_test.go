package node_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	libprotocol "github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"

	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/protocol/reconcile"
)

// What follows speaks the protocols from the specification and package protocol
// alone, without any of node's code: first well, then badly.

const (
	helloID = "/p2pchat/hello/1"
	joinID  = "/p2pchat/join/1"
	syncID  = "/p2pchat/sync/1"
	keyID   = "/p2pchat/key/1"
	meshID  = "/p2pchat/gossip/1"
)

// An outsider is a libp2p host that is in no group.
type outsider struct {
	t    *testing.T
	host host.Host
}

func newOutsider(t *testing.T) *outsider {
	t.Helper()
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.Security(noise.ID, noise.New),
		libp2p.Transport(tcp.NewTCPTransport, tcp.DisableReuseport()), libp2p.DisableRelay(), libp2p.DisableMetrics())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return &outsider{t, h}
}

func (o *outsider) connect(p *person) {
	o.t.Helper()
	info, err := peer.AddrInfoFromString(p.Status().Listen[0])
	if err != nil {
		o.t.Fatal(err)
	}
	eventually(o.t, "they are reached", func() bool { // they may have been away, and are dialled less often then
		o.host.Network().(*swarm.Swarm).Backoff().Clear(info.ID)
		return o.host.Connect(ctx(o.t), *info) == nil
	})
}

// A talk is one stream.
type talk struct {
	first protocol.Frame // which somebody else read
	t     *testing.T
	s     network.Stream
	in    *bufio.Reader
}

func (o *outsider) talk(p *person, id libprotocol.ID) *talk {
	o.t.Helper()
	s, err := o.host.NewStream(ctx(o.t), p.Host().ID(), id)
	if err != nil {
		o.t.Fatal(err)
	}
	return newTalk(o.t, s)
}

func newTalk(t *testing.T, s network.Stream) *talk {
	_ = s.SetDeadline(time.Now().Add(patience))
	return &talk{t: t, s: s, in: bufio.NewReader(s)}
}

func (k *talk) send(kind protocol.FrameKind, payload any) {
	_, _ = k.s.Write(protocol.AppendFrame(nil, kind, payload)) // whether it was taken shows in the answer
}

func (k *talk) frame(kind protocol.FrameKind, payload any) error {
	f, err := protocol.ReadFrame(k.in)
	if err != nil {
		return err
	}
	return f.Decode(kind, payload)
}

func (k *talk) expect(kind protocol.FrameKind, payload any) {
	k.t.Helper()
	if err := k.frame(kind, payload); err != nil {
		k.t.Fatalf("waiting for frame %d: %v", kind, err)
	}
}

// ends waits until the other side has closed or reset the stream, and returns how
// many bytes it sent before.
func (k *talk) ends() int {
	k.t.Helper()
	n, err := io.Copy(io.Discard, k.in)
	var late interface{ Timeout() bool }
	if errors.As(err, &late) && late.Timeout() {
		k.t.Errorf("%s: the stream is still open", k.s.Protocol())
	}
	return int(n)
}

// refused fails unless the other side refuses with a code and ends the stream.
func (k *talk) refused(code uint64) {
	k.t.Helper()
	var refusal *protocol.RefusedError
	if err := k.frame(0, nil); !errors.As(err, &refusal) || refusal.Code != code {
		k.t.Errorf("%s answers %v, not a refusal %d", k.s.Protocol(), err, code)
	}
	if n := k.ends(); n > 0 {
		k.t.Errorf("%s goes on for %d bytes after refusing", k.s.Protocol(), n)
	}
}

func nonce() (n [32]byte) {
	_, _ = rand.Read(n[:])
	return n
}

// hello runs the initiator's side up to its proofs, which dev changes at will, and
// returns what the other side proves.
func (o *outsider) hello(p *person, secrets []protocol.Secret, prove func(h *protocol.Hello, theirs []protocol.HelloTag) []protocol.Proof) (proofs []protocol.Proof, err error) {
	o.t.Helper()
	k := o.talk(p, helloID)
	defer k.s.Close()
	h := &protocol.Hello{PeerI: string(o.host.ID()), PeerR: string(p.Host().ID()), NonceI: nonce()}
	k.send(protocol.FrameHelloNonce, protocol.HelloNonce{Nonce: h.NonceI})
	var theirs protocol.HelloNonce
	k.expect(protocol.FrameHelloNonce, &theirs)
	h.NonceR = theirs.Nonce
	var tags protocol.HelloTags
	k.expect(protocol.FrameHelloTags, &tags)
	if len(tags.Tags) != protocol.MaxHelloTags {
		o.t.Errorf("a hello has %d tags", len(tags.Tags))
	}
	mine, err := h.Tags(secrets, protocol.Initiator, rand.Reader)
	if err != nil {
		o.t.Fatal(err)
	}
	k.send(protocol.FrameHelloTags, protocol.HelloTags{Tags: mine})
	k.send(protocol.FrameHelloProof, protocol.HelloProofs{Proofs: prove(h, tags.Tags)})
	var answer protocol.HelloProofs
	if err := k.frame(protocol.FrameHelloProof, &answer); err != nil {
		return nil, err
	}
	for _, v := range answer.Proofs {
		if !slices.Contains(mine, v.Tag) {
			o.t.Error("a proof answers a tag that was not sent")
		}
	}
	return answer.Proofs, nil
}

func nothing(*protocol.Hello, []protocol.HelloTag) []protocol.Proof { return nil }

// An insider is an outsider who was admitted: a member with a program of its own.
type insider struct {
	*outsider
	group   protocol.ID
	me      protocol.Identity
	welcome protocol.Welcome
	set     *protocol.Set
	epoch   *protocol.Epoch
	clock   protocol.Clock
	end     protocol.Tip // of its messages
}

// admit runs the joiner's side.
func (o *outsider) admit(p *person, text, name string) *insider {
	o.t.Helper()
	o.connect(p)
	link, err := protocol.ParseLink(text)
	if err != nil {
		o.t.Fatal(err)
	}
	account, err := protocol.NewAccount(rand.Reader)
	if err != nil {
		o.t.Fatal(err)
	}
	in := &insider{outsider: o, group: link.Group, me: account.Identity(link.Group)}
	in.end = protocol.Tip{Dev: in.me.Dev(), Chain: protocol.Messages}
	k := o.talk(p, joinID)
	h := &protocol.Hello{PeerI: string(o.host.ID()), PeerR: string(p.Host().ID()), NonceI: nonce()}
	k.send(protocol.FrameHelloNonce, protocol.HelloNonce{Nonce: h.NonceI})
	var theirs protocol.HelloNonce
	k.expect(protocol.FrameHelloNonce, &theirs)
	h.NonceR = theirs.Nonce
	k.send(protocol.FrameLobby, protocol.Lobby{Tag: h.LobbyTag(link.Lobby(), protocol.Initiator)})
	var lobby protocol.Lobby
	k.expect(protocol.FrameLobby, &lobby)
	if lobby.Tag != h.LobbyTag(link.Lobby(), protocol.Responder) {
		o.t.Fatal("the admitter does not know the lobby")
	}
	box, err := protocol.NewBoxKey(true)
	if err != nil {
		o.t.Fatal(err)
	}
	request, err := link.Request(in.me, box, name, "", rand.Reader)
	if err != nil {
		o.t.Fatal(err)
	}
	k.send(protocol.FrameRequest, request)
	var sealed []byte
	k.expect(protocol.FrameWelcome, &sealed)
	if in.welcome, _, err = protocol.OpenWelcome(link.Group, in.me.Dev(), box, sealed); err != nil {
		o.t.Fatal(err)
	}
	in.greet(p)
	in.learn(p)
	return in
}

// greet proves membership to a node.
func (in *insider) greet(p *person) {
	in.t.Helper()
	proofs, err := in.hello(p, in.welcome.Secrets, in.prove)
	if err != nil || len(proofs) != 1 {
		in.t.Fatalf("hello as a member: %d proofs, %v", len(proofs), err)
	}
}

// prove answers the tags of the other side that the group's secrets explain.
func (in *insider) prove(h *protocol.Hello, theirs []protocol.HelloTag) []protocol.Proof {
	for _, s := range in.welcome.Secrets {
		if tag := h.Tag(s, protocol.Responder); slices.Contains(theirs, tag) {
			return []protocol.Proof{h.Prove(in.group, protocol.Initiator, tag, in.me.Signer())}
		}
	}
	return nil
}

// pull asks for everything, and returns the events that come.
func (in *insider) pull(p *person) (wires [][]byte) {
	in.t.Helper()
	k := in.talk(p, syncID)
	defer k.s.Close()
	k.send(protocol.FrameOpen, protocol.Open{Group: in.group})
	var open protocol.Open
	k.expect(protocol.FrameOpen, &open)
	k.send(protocol.FrameHave, protocol.Have{})
	for {
		f, err := protocol.ReadFrame(k.in)
		if err != nil {
			in.t.Fatal(err)
		}
		var list protocol.Events
		switch f.Kind {
		case protocol.FrameDone:
			return wires
		case protocol.FrameEvents, protocol.FrameRecords:
			if err := f.Decode(f.Kind, &list); err != nil {
				in.t.Fatal(err)
			}
			if f.Kind == protocol.FrameEvents {
				wires = append(wires, list.List...)
			}
		case protocol.FrameCompare:
			k.holdsNothing(f)
		case protocol.FrameTotal:
		case protocol.FramePacked:
			wires = append(wires, in.unpack(f)...)
		default:
			in.t.Fatalf("a sync answers with frame %d", f.Kind)
		}
	}
}

// unpack returns the events of a pack.
func (in *insider) unpack(f protocol.Frame) (wires [][]byte) {
	in.t.Helper()
	var packed []byte
	if err := f.Decode(protocol.FramePacked, &packed); err != nil {
		in.t.Fatal(err)
	}
	list, err := protocol.Unpack(in.group, packed)
	if err != nil {
		in.t.Fatal(err)
	}
	events, errs := protocol.VerifyUnpacked(list, rand.Reader)
	for i, v := range events {
		if errs[i] != nil {
			in.t.Fatal(errs[i])
		}
		wires = append(wires, v.Wire())
	}
	return wires
}

// holdsNothing answers a comparison.
func (k *talk) holdsNothing(f protocol.Frame) {
	k.t.Helper()
	var ask protocol.Compare
	if err := f.Decode(protocol.FrameCompare, &ask); err != nil {
		k.t.Fatal(err)
	}
	answer, err := reconcile.Respond(reconcile.NewVector(nil), ask.Message, 1<<16)
	if err != nil {
		k.t.Fatal(err)
	}
	k.send(protocol.FrameCompare, protocol.Compare{Message: answer})
}

// learn fetches the control set and opens the epoch.
func (in *insider) learn(p *person) {
	in.t.Helper()
	in.set = protocol.NewSet(in.group)
	for _, wire := range in.pull(p) {
		v, err := protocol.Verify(in.group, wire)
		if err != nil {
			in.t.Fatal(err)
		}
		if v.Header().Chain == protocol.Control {
			if err := in.set.Add(v); err != nil {
				in.t.Fatal(err)
			}
		}
	}
	for _, e := range in.welcome.Epochs {
		v, _, ok := in.set.Rekey(e.Epoch)
		if !ok {
			in.t.Fatal("the welcome names an epoch that no rekey starts")
		}
		var err error
		if in.epoch, err = protocol.NewEpoch(in.group, e.Epoch, v.Header().Dev, v.Header().Seq, e.E); err != nil {
			in.t.Fatal(err)
		}
	}
}

// draft is a message after a place on a chain.
func (in *insider) draft(after protocol.Tip) protocol.Draft {
	return protocol.Draft{
		Group: in.group, Kind: protocol.KindText, Prev: after,
		Refs: in.set.Heads(protocol.MaxMessageRefs, protocol.ID{}), HLC: in.clock.Next(time.Now()),
	}
}

func (in *insider) sign(d protocol.Draft, text string) protocol.Verified {
	in.t.Helper()
	v, err := d.SignMessage(protocol.Content{Text: text}, in.epoch, in.me.Signer(), rand.Reader)
	if err != nil {
		in.t.Fatal(err)
	}
	return v
}

// say makes the insider's next message.
func (in *insider) say(text string) protocol.Verified {
	in.t.Helper()
	v := in.sign(in.draft(in.end), text)
	in.end = v.Tip()
	return v
}

// serve answers syncs: to whatever the other side holds, with frames of its choice.
// All streams are served by the newest call.
func (in *insider) serve(send func(k *talk)) {
	in.host.SetStreamHandler(syncID, func(s network.Stream) {
		k := newTalk(in.t, s)
		defer s.Close()
		var open protocol.Open
		if k.frame(protocol.FrameOpen, &open) != nil || open.Group != in.group {
			_ = s.Reset()
			return
		}
		k.send(protocol.FrameOpen, protocol.Open{Group: in.group, Control: nonce(), Records: nonce()})
		for have := (protocol.Have{More: true}); have.More; {
			have = protocol.Have{}
			if k.frame(protocol.FrameHave, &have) != nil {
				return
			}
		}
		send(k)
	})
}

// offer serves lists of events, a frame each, and then is done.
func (in *insider) offer(frames ...[][]byte) {
	in.serve(func(k *talk) {
		for _, list := range frames {
			k.send(protocol.FrameEvents, protocol.Events{List: list})
		}
		k.send(protocol.FrameDone, struct{}{})
		_, _ = io.Copy(io.Discard, k.in)
	})
}

// feed has one node take frames of events over sync, and waits until it has.
func (in *insider) feed(p *person, frames ...[][]byte) {
	in.t.Helper()
	if !in.tries(p, patience, frames...) {
		in.t.Fatal("the node does not ask")
	}
}

// tries is feed for who may not be asked at all.
func (in *insider) tries(p *person, most time.Duration, frames ...[][]byte) (fed bool) {
	in.t.Helper()
	asked := make(chan struct{}, 100)
	to := p.Host().ID()
	in.serve(func(k *talk) {
		if k.s.Conn().RemotePeer() != to {
			k.send(protocol.FrameDone, struct{}{})
			return
		}
		for _, list := range frames {
			k.send(protocol.FrameEvents, protocol.Events{List: list})
		}
		k.send(protocol.FrameDone, struct{}{})
		_, _ = io.Copy(io.Discard, k.in) // until it is taken, or refused
		select {
		case asked <- struct{}{}:
		default:
		}
	})
	in.connect(p)
	in.greet(p) // after a hello a node pulls
	select {
	case <-asked:
		fed = true
	case <-time.After(most):
	}
	in.offer()
	return fed
}

// gossip joins the group's topic with a pubsub of its own.
func (o *outsider) gossip(secret protocol.Secret) (*pubsub.Topic, *pubsub.Subscription) {
	o.t.Helper()
	c, cancel := context.WithCancel(context.Background())
	o.t.Cleanup(cancel)
	ps, err := pubsub.NewGossipSub(c, o.host, pubsub.WithGossipSubProtocols([]libprotocol.ID{meshID}, func(f pubsub.GossipSubFeature, _ libprotocol.ID) bool {
		return f == pubsub.GossipSubFeatureMesh
	}), pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign), pubsub.WithNoAuthor(), pubsub.WithMaxMessageSize(1<<20),
		pubsub.WithMessageIdFn(func(m *pb.Message) string { // without an author the default is the same for all
			sum := sha256.Sum256(m.Data)
			return string(sum[:])
		}))
	if err != nil {
		o.t.Fatal(err)
	}
	topic, err := ps.Join(protocol.Topic(secret))
	if err != nil {
		o.t.Fatal(err)
	}
	sub, err := topic.Subscribe()
	if err != nil {
		o.t.Fatal(err)
	}
	return topic, sub
}

// party is two honest people who chat, and the link that lets others in.
func party(t *testing.T, change ...func(*node.Config)) (ana, bo *person, club protocol.ID, link string) {
	t.Helper()
	ana, bo = start(t, "Ana", change...), start(t, "Bo", change...)
	club = ana.create("club")
	link = ana.invite(club, node.InviteOptions{})
	bo.join(link)
	return ana, bo, club, link
}

// chatOn fails unless two people still hear each other at once.
func chatOn(ana, bo *person, club protocol.ID) {
	ana.t.Helper()
	have := len(ana.texts(club))
	bo.await(club, have)
	ana.send(club, fmt.Sprintf("Ana after %d", have))
	bo.send(club, fmt.Sprintf("Bo after %d", have))
	ana.await(club, have+2)
	bo.await(club, have+2)
	agree(ana.t, club, have+2, ana, bo)
}

// A member that a stranger could have written from the specification.
func TestASecondImplementationChats(t *testing.T) {
	ana, bo, club, link := party(t)
	ana.send(club, "before")
	mia := newOutsider(t).admit(ana, link, "Mia")
	hello := mia.say("hello from another program")
	mia.feed(ana, [][]byte{hello.Wire()})
	bo.await(club, 2)
	topic, sub := mia.gossip(mia.welcome.Secrets[0])
	mia.greet(ana)
	count := 2
	end := time.Now().Add(patience)
	for heard := ""; !strings.HasPrefix(heard, "hello Mia"); heard = mia.hear(sub, time.Second) {
		if time.Now().After(end) {
			t.Fatal("Mia hears nothing by gossip")
		}
		ana.send(club, fmt.Sprintf("hello Mia %d", count)) // gossip is a hint: the first may pass her by
		count++
	}
	chain := [][]byte{hello.Wire()}
	for len(ana.texts(club)) < count+3 { // what gossip misses Ana asks for, once she sees the gap
		v := mia.say(fmt.Sprintf("and by gossip %d", len(chain)))
		chain = append(chain, v.Wire())
		mia.offer(slices.Clone(chain))
		if err := topic.Publish(ctx(t), protocol.EncodeFrame(protocol.FrameEvents, protocol.Events{List: [][]byte{v.Wire()}})); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
		if time.Now().After(end) {
			t.Fatalf("Ana has %d of Mia's %d", len(ana.texts(club))-count+1, len(chain))
		}
	}
	mia.feed(ana, chain)
	count += len(chain) - 1
	ana.await(club, count)
	bo.await(club, count)
	agree(t, club, count, ana, bo)
}

// hear returns the next text that comes by gossip, if one comes in time.
func (in *insider) hear(sub *pubsub.Subscription, wait time.Duration) string {
	in.t.Helper()
	c, cancel := context.WithTimeout(ctx(in.t), wait)
	defer cancel()
	for {
		m, err := sub.Next(c)
		if err != nil {
			return ""
		}
		f, err := protocol.ParseFrame(m.Data)
		if err != nil {
			in.t.Fatal(err)
		}
		var list protocol.Gossip
		if f.Kind != protocol.FrameEvents || f.Decode(protocol.FrameEvents, &list) != nil {
			continue
		}
		for _, wire := range list.List {
			if v, err := protocol.Verify(in.group, wire); err != nil {
				in.t.Error(err)
			} else if c, err := in.epoch.OpenMessage(v); err == nil {
				return c.Text
			}
		}
	}
}

// Whatever bytes come, the stream ends and nothing else does.
func TestGarbageEndsTheStreamOnly(t *testing.T) {
	ana, bo, club, _ := party(t)
	mallory := newOutsider(t)
	mallory.connect(ana)
	frame := protocol.AppendFrame(nil, protocol.FrameHelloNonce, protocol.HelloNonce{})
	bad := map[string][]byte{
		"nothing":          {},
		"zeros":            make([]byte, 70<<10),
		"ones":             bytes.Repeat([]byte{0xff}, 70<<10),
		"huge length":      binary.AppendUvarint(nil, 1<<62),
		"length over cap":  binary.AppendUvarint(nil, protocol.MaxFrameSize+1),
		"half a frame":     frame[:len(frame)/2],
		"not CBOR":         append(binary.AppendUvarint(nil, 100), bytes.Repeat([]byte{0x9f}, 100)...),
		"another version":  {4, 0x83, 0x02, 0x01, 0xa0},
		"unknown critical": protocol.AppendFrame(nil, 4095, struct{}{}),
		"wrong kind":       protocol.AppendFrame(nil, protocol.FrameDone, struct{}{}),
		"text":             []byte("GET / HTTP/1.1\r\n\r\n"),
		"twice the nonce":  slices.Concat(frame, frame),
		"many ignorables":  bytes.Repeat(protocol.AppendFrame(nil, 4096, struct{}{}), 10_000),
	}
	for name, data := range bad {
		for _, id := range []libprotocol.ID{helloID, joinID, syncID} {
			k := mallory.talk(ana, id)
			_, _ = k.s.Write(data)
			_ = k.s.CloseWrite()
			if n := k.ends(); n > 4096 {
				t.Errorf("%s on %s is answered by %d bytes", name, id, n)
			}
		}
	}
	chatOn(ana, bo, club)
}

// Streams that say nothing, or a byte now and then, end by themselves, and nobody
// waits for them.
func TestSlowStreamsEnd(t *testing.T) {
	t.Parallel() // it waits most of the time
	ana, bo, club, _ := party(t)
	mallory := newOutsider(t)
	mallory.connect(ana)
	var open []*talk
	for range 5 {
		for _, id := range []libprotocol.ID{helloID, joinID, syncID} {
			k := mallory.talk(ana, id)
			_, _ = k.s.Write([]byte{100})
			open = append(open, k)
		}
	}
	chatOn(ana, bo, club)
	if testing.Short() {
		return
	}
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Second):
				for _, k := range open {
					_, _ = k.s.Write([]byte{0})
				}
			}
		}
	}()
	for _, k := range open {
		k.ends()
	}
}

// Who is in no group sees no topic, no message, no member and no group, even with
// a group's id and topic in hand.
func TestStrangerLearnsNothing(t *testing.T) {
	ana, bo, club, link := party(t)
	mia := newOutsider(t).admit(ana, link, "Mia") // through whom the secret leaks
	mallory := newOutsider(t)
	var streams, bytesIn atomic.Int64
	mallory.host.SetStreamHandler(meshID, func(s network.Stream) {
		streams.Add(1)
		n, _ := io.Copy(io.Discard, s)
		bytesIn.Add(n)
	})
	mallory.connect(ana)
	mallory.connect(bo)

	mesh := mallory.talk(ana, meshID)
	_, _ = mesh.s.Write([]byte{0}) // an empty RPC
	proofs, err := mallory.hello(ana, []protocol.Secret{nonce()}, nothing)
	if err != nil || len(proofs) > 0 {
		t.Errorf("a hello without any group answers %d proofs, %v", len(proofs), err)
	}
	// A group that exists and one that does not answer the same.
	for _, group := range []protocol.ID{club, nonce()} {
		k := mallory.talk(ana, syncID)
		k.send(protocol.FrameOpen, protocol.Open{Group: group})
		k.refused(protocol.RefusedUnknown)
	}
	k := mallory.talk(ana, joinID)
	k.send(protocol.FrameHelloNonce, protocol.HelloNonce{Nonce: nonce()})
	k.expect(protocol.FrameHelloNonce, new(protocol.HelloNonce))
	k.send(protocol.FrameLobby, protocol.Lobby{})
	k.refused(protocol.RefusedUnknown)
	for range 10 {
		chatOn(ana, bo, club)
	}
	if streams.Load() > 0 || bytesIn.Load() > 0 {
		t.Errorf("pubsub opened %d streams to a stranger and sent %d bytes", streams.Load(), bytesIn.Load())
	}
	if peers := ana.Status().Peers; peers != 2 {
		t.Errorf("Ana counts %d authenticated peers, not Bo and Mia", peers)
	}

	// With the topic: still nothing, and nothing of his arrives.
	eve := newOutsider(t)
	topic, sub := eve.gossip(mia.welcome.Secrets[0])
	eve.connect(ana)
	eve.connect(bo)
	forged := mia.say("through Eve")
	if err := topic.Publish(ctx(t), protocol.EncodeFrame(protocol.FrameEvents, protocol.Events{List: [][]byte{forged.Wire()}})); err != nil {
		t.Fatal(err)
	}
	before := len(ana.texts(club))
	chatOn(ana, bo, club)
	if got := len(ana.texts(club)); got != before+2 {
		t.Errorf("Ana took something from Eve: %d texts, not %d", got, before+2)
	}
	short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if m, err := sub.Next(short); err == nil && m.ReceivedFrom != eve.host.ID() {
		t.Errorf("Eve hears %x", m.Data)
	}
	if n := len(topic.ListPeers()); n > 0 {
		t.Errorf("Eve sees %d subscribers", n)
	}

	// With the secret but no admission, the hello may run; nothing is served.
	nobody, err := protocol.NewAccount(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	fake := *mia
	fake.outsider, fake.me = eve, nobody.Identity(club)
	fake.greet(ana)
	k = eve.talk(ana, syncID)
	k.send(protocol.FrameOpen, protocol.Open{Group: club})
	k.refused(protocol.RefusedUnknown)
}

// Proofs hold on the connection they were made for and nowhere else.
func TestReplayedHelloProvesNothing(t *testing.T) {
	ana, bo, club, link := party(t)
	mia := newOutsider(t).admit(ana, link, "Mia")
	mallory := newOutsider(t)
	mallory.connect(ana)

	replayed := func(peerID string) func(h *protocol.Hello, theirs []protocol.HelloTag) []protocol.Proof {
		return func(h *protocol.Hello, theirs []protocol.HelloTag) []protocol.Proof {
			old := *h // what Mia signed, on a connection of hers
			old.PeerI = peerID
			var out []protocol.Proof
			for _, tag := range theirs { // Mallory knows not which of the tags is real
				out = append(out, old.Prove(club, protocol.Initiator, tag, mia.me.Signer()))
			}
			return out
		}
	}
	reflected := func(h *protocol.Hello, theirs []protocol.HelloTag) []protocol.Proof {
		other := *h
		other.NonceI = nonce() // signed in another hello
		var out []protocol.Proof
		for _, tag := range theirs {
			out = append(out, other.Prove(club, protocol.Initiator, tag, mia.me.Signer()))
		}
		return out
	}
	wrongRole := func(h *protocol.Hello, theirs []protocol.HelloTag) []protocol.Proof {
		var out []protocol.Proof
		for _, tag := range theirs {
			out = append(out, h.Prove(club, protocol.Responder, tag, mia.me.Signer()))
		}
		return out
	}
	for name, prove := range map[string]func(*protocol.Hello, []protocol.HelloTag) []protocol.Proof{
		"another peer's": replayed(string(mia.host.ID())), "another hello's": reflected, "the other role's": wrongRole,
	} {
		if proofs, err := mallory.hello(ana, nil, prove); err == nil {
			t.Errorf("%s proof is answered by %d proofs", name, len(proofs))
		}
		k := mallory.talk(ana, syncID)
		k.send(protocol.FrameOpen, protocol.Open{Group: club})
		k.refused(protocol.RefusedUnknown)
	}
	chatOn(ana, bo, club)
}

// A member passes on what it should not: none of it is stored, and what is in
// order is.
func TestMemberPassesOnBadEvents(t *testing.T) {
	t.Parallel() // it waits most of the time
	ana, bo, club, link := party(t)
	other := ana.create("another group")
	mia := newOutsider(t).admit(ana, link, "Mia")
	mia.offer()
	spy := newOutsider(t).admit(ana, ana.invite(other, node.InviteOptions{}), "Mia elsewhere")

	_, strangerKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	d := mia.draft(protocol.Tip{Dev: protocol.Key(strangerKey.Public().(ed25519.PublicKey)), Chain: protocol.Messages})
	stranger, err := d.SignMessage(protocol.Content{Text: "a stranger's"}, mia.epoch, strangerKey, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	real := mia.sign(mia.draft(mia.end), "in order")
	unsigned := slices.Clone(real.Wire())
	unsigned[bytes.Index(unsigned, sig(real))] ^= 1
	// A control event beyond a member's rank: it makes itself an owner.
	coup := mia.draft(protocol.Tip{Dev: mia.me.Dev(), Chain: protocol.Control})
	coup.Kind, coup.Auth = protocol.KindGrant, mia.welcome.Grant
	grab, err := coup.SignControl(&protocol.Grant{Target: mia.me.Root(), Rank: protocol.Owner}, nil, nil, mia.me.Signer(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	bad := map[string][]byte{
		"a stranger's":       stranger.Wire(),
		"another group's":    spy.say("from elsewhere").Wire(),
		"malformed":          real.Wire()[:len(real.Wire())-1],
		"garbage":            []byte("garbage"),
		"empty":              {},
		"wrongly signed":     unsigned,
		"too large":          bytes.Repeat([]byte{0x41}, protocol.MaxEventSize+1),
		"beyond one's right": grab.Wire(),
	}
	for name, wire := range bad {
		if len(wire) < protocol.MaxFrameSize/2 {
			mia.feed(ana, [][]byte{wire})
		}
		t.Log(name)
	}
	topic, _ := mia.gossip(mia.welcome.Secrets[0])
	mia.greet(ana)
	for name, wire := range bad {
		if err := topic.Publish(ctx(t), protocol.EncodeFrame(protocol.FrameEvents, protocol.Events{List: [][]byte{wire}})); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, junk := range [][]byte{{}, []byte("junk"), protocol.EncodeFrame(protocol.FrameDone, struct{}{}), protocol.EncodeFrame(protocol.FrameRecords, protocol.Events{List: [][]byte{{1}}}), make([]byte, 200<<10)} {
		_ = topic.Publish(ctx(t), junk)
	}
	chatOn(ana, bo, club)
	mia.feed(ana, [][]byte{real.Wire()})
	bo.await(club, 3)
	agree(t, club, 3, ana, bo)
	if got := ana.texts(other); len(got) > 0 {
		t.Errorf("in the other group Ana reads %q", got)
	}
	members, err := ana.Members(club)
	if err != nil || len(members) != 3 {
		t.Fatalf("members %+v, %v", members, err)
	}
	for _, m := range members {
		if m.Key == mia.me.Root() && m.Rank != protocol.Member {
			t.Errorf("Mia is %s", m.Rank)
		}
	}
}

// sig returns an event's signature bytes.
func sig(v protocol.Verified) []byte {
	s := v.Event().Sig
	return s[:]
}

// A clock that stands in 2040 shows its own messages there and moves nobody else's.
func TestMessageFromTheFuture(t *testing.T) {
	ana, bo, club, link := party(t)
	mia := newOutsider(t).admit(ana, link, "Mia")
	mia.offer()
	future := time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC)
	d := mia.draft(mia.end)
	d.HLC = uint64(future.UnixMilli())
	first := mia.sign(d, "from 2040")
	mia.feed(ana, [][]byte{first.Wire()})
	bo.await(club, 1)
	ana.send(club, "what year is it?")
	bo.await(club, 2)
	bo.send(club, "2026 or so")
	ana.await(club, 3)
	agree(t, club, 3, ana, bo)
	var last time.Time
	for _, p := range []*person{ana, bo} {
		lines, _, err := p.Last(ctx(t), club, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range lines {
			if m.Text == "2026 or so" {
				last = m.Time
			}
			if away := time.Until(m.Time).Abs(); m.Kind == "text" && m.From.Key != mia.me.Root() && away > time.Hour {
				t.Errorf("%s: %q claims %s", p.cfg.Name, m.Text, m.Time)
			}
		}
	}
	// The clock was set right: what follows shows where it belongs.
	d = mia.draft(first.Tip())
	d.HLC = max(d.HLC, uint64(last.UnixMilli())+1)
	mia.feed(ana, [][]byte{mia.sign(d, "sorry").Wire()})
	ana.sleep()
	ana.wake()
	ana.send(club, "never mind")
	bo.await(club, 5)
	texts := bo.texts(club)
	if want := []string{"what year is it?", "2026 or so", "from 2040", "sorry", "never mind"}; !slices.Equal(texts, want) {
		t.Errorf("Bo reads %q", texts)
	}
}

// What does not count moves nothing: Bo holds what Mia wrote, her clock set right, before
// she heard that Ana had muted her; Ana does not.
func TestTheMutedMoveNothing(t *testing.T) {
	ana, bo, club, link := party(t)
	mia := newOutsider(t).admit(ana, link, "Mia")
	mia.offer()
	d := mia.draft(mia.end)
	d.HLC = uint64(time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli())
	first := mia.sign(d, "from 2040")
	mia.feed(ana, [][]byte{first.Wire()})
	ana.send(club, "what year is it?")
	bo.await(club, 2)
	ana.sleep()
	d = mia.draft(first.Tip())
	d.HLC = uint64(time.Now().Add(-time.Hour).UnixMilli())
	mia.feed(bo, [][]byte{mia.sign(d, "sorry").Wire()})
	bo.await(club, 3)
	if got := bo.texts(club); !slices.Equal(got, []string{"from 2040", "sorry", "what year is it?"}) {
		t.Errorf("before the mute Bo reads %q", got)
	}
	bo.sleep()
	ana.wake()
	did(t)(ana.Mute(ctx(t), club, "Mia", node.MuteOptions{}))
	bo.wake()
	want := []string{"what year is it?", "from 2040"}
	eventually(t, "Bo reads as Ana", func() bool { return slices.Equal(bo.texts(club), want) })
	if got := ana.texts(club); !slices.Equal(got, want) {
		t.Errorf("Ana reads %q", got)
	}
}

// Who knows a group's secret says hello as one device after another that nobody knows.
func TestDevicesThatNobodyKnowsAreNotRemembered(t *testing.T) {
	ana, bo, club, link := party(t)
	mia := newOutsider(t).admit(ana, link, "Mia")
	me := mia.me
	for range 20 {
		account, err := protocol.NewAccount(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		mia.me = account.Identity(club)
		mia.greet(ana)
	}
	mia.me = me
	mia.greet(ana)
	if n := ana.Contacts(club); n != 2 { // Bo and Mia
		t.Errorf("Ana remembers %d devices", n)
	}
	chatOn(ana, bo, club)
}

// Messages that follow what never comes, without end.
func TestOrphansAreBounded(t *testing.T) {
	const count, most = 2500, 1024 // of messages that follow what nobody has
	ana, bo, club, link := party(t)
	mia := newOutsider(t).admit(ana, link, "Mia")
	mia.offer()
	var flood [][]byte
	for i := range count {
		missing := protocol.Tip{Dev: mia.me.Dev(), Chain: protocol.Messages, Seq: uint64(i + 1), ID: nonce()}
		flood = append(flood, mia.sign(mia.draft(missing), fmt.Sprint("flood ", i)).Wire())
	}
	var frames [][][]byte
	for part := range slices.Chunk(flood, 100) {
		frames = append(frames, part)
	}
	topic, _ := mia.gossip(mia.welcome.Secrets[0])
	mia.feed(ana, frames...)
	eventually(t, "Ana has as many as she keeps", func() bool { return len(ana.texts(club)) == most })
	for i, wire := range flood {
		if err := topic.Publish(ctx(t), protocol.EncodeFrame(protocol.FrameEvents, protocol.Events{List: [][]byte{wire}})); err != nil {
			t.Fatal(i, err)
		}
	}
	ana.send(club, "between us")
	reads := func(p *person, text string) {
		t.Helper()
		eventually(t, p.cfg.Name+" reads "+text, func() bool { return slices.Contains(p.texts(club), text) })
	}
	reads(bo, "between us")
	for _, p := range []*person{ana, bo} {
		if n := len(p.texts(club)); n > most+1 {
			t.Errorf("%s keeps %d messages of a chain without a beginning", p.cfg.Name, n)
		}
		if events, _ := p.Parked(club); events > 0 {
			t.Errorf("%s has %d events parked", p.cfg.Name, events)
		}
	}
	// Who is honest and out of order is not shut out.
	pia := newOutsider(t).admit(ana, link, "Pia")
	first := pia.say("at last")
	second := pia.say("and more")
	pia.feed(bo, [][]byte{second.Wire()}, [][]byte{first.Wire()})
	for _, p := range []*person{ana, bo} {
		reads(p, "at last")
		reads(p, "and more")
	}
}

// Messages that cite what never comes, without end.
func TestParkedFloodIsBounded(t *testing.T) {
	const count, most = 1000, 256
	ana, bo, club, link := party(t)
	mia := newOutsider(t).admit(ana, link, "Mia")
	var flood [][]byte
	for i := range count {
		d := mia.draft(mia.end)
		d.Refs = []protocol.ID{nonce()}
		flood = append(flood, mia.sign(d, fmt.Sprint("flood ", i)).Wire())
	}
	topic, _ := mia.gossip(mia.welcome.Secrets[0])
	mia.feed(ana, slices.Collect(slices.Chunk(flood, 100))...)
	if n, _ := ana.Parked(club); n != most {
		t.Errorf("%d events are parked, not %d", n, most)
	}
	for i, wire := range flood {
		if err := topic.Publish(ctx(t), protocol.EncodeFrame(protocol.FrameEvents, protocol.Gossip{List: [][]byte{wire}})); err != nil {
			t.Fatal(i, err)
		}
	}
	chatOn(ana, bo, club)
	for _, p := range []*person{ana, bo} {
		if n, bytes := p.Parked(club); n > 3*most || bytes > 3*256<<10 { // each of the others may have passed them on
			t.Errorf("%s has %d events parked, %d bytes", p.cfg.Name, n, bytes)
		}
	}
	// Who is honest is heard all the same.
	mia.feed(bo, [][]byte{mia.say("at last").Wire()})
	ana.await(club, 3)
	bo.await(club, 3)
}

// A member that lists chains without end is cut off.
func TestEndlessHaveIsCutOff(t *testing.T) {
	ana, bo, club, link := party(t)
	mia := newOutsider(t).admit(ana, link, "Mia")
	k := mia.talk(ana, syncID)
	k.send(protocol.FrameOpen, protocol.Open{Group: club})
	k.expect(protocol.FrameOpen, new(protocol.Open))
	full := protocol.Have{More: true}
	for range protocol.MaxFrontier {
		full.Tips = append(full.Tips, protocol.Tip{Dev: nonce(), Chain: protocol.Messages, Seq: 1, ID: nonce()})
	}
	slices.SortFunc(full.Tips, protocol.Tip.Compare)
	wire := protocol.AppendFrame(nil, protocol.FrameHave, full)
	sent := 0
	for ; sent < 2000; sent++ {
		if _, err := k.s.Write(wire); err != nil {
			break
		}
	}
	if sent == 2000 {
		t.Errorf("%d frames of tips were taken", sent)
	}
	// Streams beyond three wait for nobody.
	var held []*talk
	for range 3 {
		k := mia.talk(ana, syncID)
		k.send(protocol.FrameOpen, protocol.Open{Group: club})
		k.expect(protocol.FrameOpen, new(protocol.Open))
		held = append(held, k)
	}
	k = mia.talk(ana, syncID)
	k.send(protocol.FrameOpen, protocol.Open{Group: club})
	k.refused(protocol.RefusedBusy)
	for _, k := range held {
		_ = k.s.Reset()
	}
	chatOn(ana, bo, club)
}

// A member that never finishes its answer does not keep the others from theirs.
func TestSlowMemberDoesNotHoldUpSync(t *testing.T) {
	t.Parallel()                                                                       // it waits most of the time
	ana, bo, club, link := party(t, func(cfg *node.Config) { cfg.GossipRate = 0.001 }) // sync carries all
	mia := newOutsider(t).admit(ana, link, "Mia")
	known := mia.pull(ana)[:1]
	dripping := make(chan struct{}, 10)
	mia.serve(func(k *talk) {
		for {
			if _, err := k.s.Write(protocol.AppendFrame(nil, protocol.FrameEvents, protocol.Events{List: known})); err != nil {
				return
			}
			select {
			case dripping <- struct{}{}:
			default:
			}
			time.Sleep(200 * time.Millisecond)
		}
	})
	mia.greet(ana)
	<-dripping
	for i := range 20 {
		bo.send(club, fmt.Sprint(i))
	}
	ana.await(club, 20)
	chatOn(ana, bo, club)
}

// A member that forks its own chain beyond what is kept does not take anybody's
// messages down with it.
func TestForksTakeNothingWithThem(t *testing.T) {
	ana, bo, club, link := party(t)
	mia := newOutsider(t).admit(ana, link, "Mia")
	mia.offer()
	branches := func(n int) (out [][]byte) {
		for i := range n {
			out = append(out, mia.sign(mia.draft(mia.end), fmt.Sprintf("branch %d", i)).Wire())
		}
		return out
	}
	zoe := newOutsider(t).admit(ana, link, "Zoe")
	zoe.offer()
	innocent := zoe.say("innocent").Wire()
	mia.feed(ana, append(branches(100), innocent))
	mia.feed(bo, append(branches(100), innocent))
	zoe.feed(ana, [][]byte{innocent})
	for _, p := range []*person{ana, bo} {
		for m, err := range p.Follow(ctx(t), club, 0) {
			if err != nil {
				t.Fatal(err)
			}
			if m.Text == "innocent" {
				break
			}
		}
		if !slices.Contains(p.texts(club), "innocent") {
			t.Errorf("%s has no message of Zoe's", p.cfg.Name)
		}
	}
	if forks := ana.Status().Groups[0].Forks; len(forks) != 1 || forks[0].Name != "Mia" {
		t.Errorf("Ana is shown the forks of %+v", forks)
	}
	ana.send(club, "Ana goes on")
	bo.send(club, "Bo goes on")
	heard := func(p *person, text string) bool {
		for m, err := range p.Follow(ctx(t), club, 0) {
			if err == nil && m.Text == text {
				return true
			}
		}
		return false
	}
	if !heard(ana, "Bo goes on") || !heard(bo, "Ana goes on") {
		t.Error("Ana and Bo do not hear each other")
	}
	// What was missed is exchanged as well, although the forks never agree.
	bo.sleep()
	ana.send(club, "Bo is away")
	bo.wake()
	if !heard(bo, "Bo is away") {
		t.Error("Bo does not catch up")
	}
}
