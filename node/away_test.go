package node_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	libprotocol "github.com/libp2p/go-libp2p/core/protocol"

	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
)

// Cleo is away for five weeks. Meanwhile the others rotate, apart from each other and
// without anybody who could wrap for her. Back, she reads everything, and only then gives
// up the prekey of the week in which she left.
func TestAwayForFiveWeeks(t *testing.T) {
	c := new(clock)
	with := func(cfg *node.Config) { node.WithClock(cfg, c.now) }
	ana, bo, cleo := start(t, "Ana", with), start(t, "Bo", with), start(t, "Cleo", with)
	club := ana.create("club")
	link := ana.invite(club, node.InviteOptions{})
	bo.join(link)
	cleo.join(link)
	for _, p := range []*person{ana, bo, cleo} {
		eventually(t, p.cfg.Name+" has three prekeys", func() bool { return len(p.Prekeys(club)) == 3 })
	}
	old := cleo.Seeds(club)
	if len(old) != 1 {
		t.Fatalf("Cleo has %d prekeys", len(old))
	}
	cleo.sleep()
	ana.rotate(club, true, nil) // there is a wrap for Cleo in this one
	var said []string
	say := func(p *person, text string) { p.send(club, text); said = append(said, text) }
	say(ana, "the day she left")
	bo.await(club, 1)
	for week := range 5 {
		c.forward(7 * 24 * time.Hour)
		bo.sleep()
		ana.rotate(club, false, nil)
		say(ana, fmt.Sprintf("Ana in week %d", week))
		ana.sleep()
		bo.wake()
		bo.rotate(club, week == 2, nil)
		say(bo, fmt.Sprintf("Bo in week %d", week))
		ana.wake()
		ana.await(club, len(said))
		bo.await(club, len(said))
	}
	bo.sleep() // one member is enough, who did not make all of them
	cleo.wake()
	cleo.await(club, len(said))
	slices.Sort(said)
	eventually(t, "Cleo reads everything", func() bool {
		got := cleo.texts(club)
		slices.Sort(got)
		return slices.Equal(got, said)
	})
	cleo.send(club, "I am back")
	ana.await(club, len(said)+1)
	eventually(t, "Ana reads Cleo", func() bool { return slices.Contains(ana.texts(club), "I am back") })
	eventually(t, "Cleo gives up her old prekey", func() bool {
		now := cleo.Seeds(club)
		return len(now) == 1 && now[0] != old[0]
	})
	cleo.sleep()
	cleo.wake()
	if now := cleo.Seeds(club); len(now) != 1 || now[0] == old[0] {
		t.Errorf("after a restart Cleo has %d prekeys", len(now))
	}
}

// Alone, nobody gives up a prekey: a wrap to it may be on its way.
func TestAPrekeyStaysWhileNobodyWasMet(t *testing.T) {
	c := new(clock)
	ana := start(t, "Ana", func(cfg *node.Config) { node.WithClock(cfg, c.now) })
	club := ana.create("club")
	for weeks := 1; weeks < 4; weeks++ {
		eventually(t, "Ana has a prekey for each time", func() bool { return len(ana.Seeds(club)) == weeks })
		c.forward(40 * 24 * time.Hour)
	}
}

// A tap keeps what goes over the streams of a host, in clear, in both directions.
type tap struct {
	host.Host
	log *tapLog
}

type tapLog struct {
	mu      sync.Mutex
	streams []*tapStream
}

type tapStream struct {
	network.Stream
	log     *tapLog
	id      libprotocol.ID
	in, out bytes.Buffer
}

func (l *tapLog) add(s network.Stream) *tapStream {
	l.mu.Lock()
	defer l.mu.Unlock()
	x := &tapStream{Stream: s, log: l, id: s.Protocol()}
	l.streams = append(l.streams, x)
	return x
}

func (s *tapStream) keep(to *bytes.Buffer, p []byte) {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	to.Write(p)
}

func (s *tapStream) Read(p []byte) (int, error) {
	n, err := s.Stream.Read(p)
	s.keep(&s.in, p[:n])
	return n, err
}

func (s *tapStream) Write(p []byte) (int, error) {
	s.keep(&s.out, p)
	return s.Stream.Write(p)
}

func (t *tap) NewStream(ctx context.Context, p peer.ID, ids ...libprotocol.ID) (network.Stream, error) {
	s, err := t.Host.NewStream(ctx, p, ids...)
	if err != nil {
		return nil, err
	}
	x := t.log.add(s)
	x.id = ids[0]
	return x, nil
}

func (t *tap) SetStreamHandler(id libprotocol.ID, h network.StreamHandler) {
	t.Host.SetStreamHandler(id, func(s network.Stream) { h(t.log.add(s)) })
}

func (t *tap) SetStreamHandlerMatch(id libprotocol.ID, m func(libprotocol.ID) bool, h network.StreamHandler) {
	t.Host.SetStreamHandlerMatch(id, m, func(s network.Stream) { h(t.log.add(s)) })
}

// heard is what somebody makes of what went over the wire.
type heard struct {
	control, messages []protocol.Verified
	chunks            [][]byte
	answers           int
	raw               [][]byte
}

func (l *tapLog) hear(t *testing.T, club protocol.ID) heard {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var h heard
	seen := make(map[string]bool)
	event := func(v protocol.Verified) {
		if v.Header().Chain == protocol.Control {
			h.control = append(h.control, v)
		} else {
			h.messages = append(h.messages, v)
		}
	}
	list := func(kind protocol.FrameKind, list [][]byte) {
		for _, b := range list {
			if seen[string(b)] {
				continue
			}
			seen[string(b)] = true
			if kind == protocol.FrameChunks {
				h.chunks = append(h.chunks, b)
			} else if v, err := protocol.Verify(club, b); err == nil {
				event(v)
			}
		}
	}
	frame := func(f protocol.Frame) {
		switch f.Kind {
		case protocol.FrameEvents, protocol.FrameChunks:
			var events protocol.Events
			if err := f.Decode(f.Kind, &events); err != nil {
				t.Error(err)
			}
			list(f.Kind, events.List)
		case protocol.FramePacked:
			var pack []byte
			if err := f.Decode(f.Kind, &pack); err != nil {
				t.Error(err)
			}
			unpacked, err := protocol.Unpack(club, pack)
			if err != nil {
				t.Error(err)
			}
			events, errs := protocol.VerifyUnpacked(unpacked, rand.Reader)
			for i, v := range events {
				if id := v.ID(); errs[i] == nil && !seen[string(id[:])] {
					seen[string(id[:])] = true
					event(v)
				}
			}
		case protocol.FrameKeys:
			h.answers++
		}
	}
	gossip := func(f protocol.Frame) {
		var g protocol.Gossip
		if err := f.Decode(f.Kind, &g); err != nil {
			t.Error(err)
		}
		if f.Kind == protocol.FrameEvents || f.Kind == protocol.FrameChunks {
			list(f.Kind, g.List)
		}
	}
	for _, s := range l.streams {
		for _, b := range []*bytes.Buffer{&s.in, &s.out} {
			h.raw = append(h.raw, slices.Clone(b.Bytes()))
			in := bufio.NewReader(bytes.NewReader(b.Bytes()))
			if strings.Contains(string(s.id), "gossip") {
				for {
					n, err := binary.ReadUvarint(in)
					data := make([]byte, min(n, 1<<20))
					if _, full := io.ReadFull(in, data); err != nil || full != nil {
						break
					}
					for _, m := range fields(data, 2) { // RPC.publish
						for _, d := range fields(m, 2) { // Message.data
							if f, err := protocol.ParseFrame(d); err == nil {
								gossip(f)
							}
						}
					}
				}
				continue
			}
			for {
				f, err := protocol.ReadFrame(in)
				if err != nil {
					break
				}
				frame(f)
			}
		}
	}
	return h
}

// fields returns the byte strings of one field of a protobuf message, which gossip is.
func fields(b []byte, want uint64) (out [][]byte) {
	for len(b) > 0 {
		key, n := binary.Uvarint(b)
		if n <= 0 {
			return out
		}
		value, m := binary.Uvarint(b[n:])
		if m <= 0 {
			return out
		}
		b = b[n+m:]
		if key&7 != 2 {
			continue
		}
		if value > uint64(len(b)) {
			return out
		}
		if key>>3 == want {
			out = append(out, b[:value])
		}
		b = b[value:]
	}
	return out
}

// opens tries everything that somebody has on what was heard, and returns the texts
// that open.
func (h *heard) opens(t *testing.T, club protocol.ID, me, dev protocol.Key, seeds []protocol.Secret, held []protocol.EpochSecret) []string {
	t.Helper()
	set := protocol.NewSet(club)
	for range h.control { // they were heard in any order
		for _, v := range h.control {
			_ = set.Add(v)
		}
	}
	k := protocol.NewKeyring(club, me)
	for _, s := range held {
		k.Add(s)
	}
	k.Open(set)
	for _, id := range set.Rekeys() {
		v, c, _ := set.Get(id)
		rekey := c.(*protocol.Rekey)
		for _, data := range h.chunks {
			wraps, _, err := protocol.ParseChunk(data)
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range wraps {
				for _, seed := range seeds {
					p, err := protocol.DerivePrekey(seed)
					if err != nil {
						t.Fatal(err)
					}
					for _, hybrid := range []bool{true, false} {
						if ep, err := p.Unwrap(w, hybrid, dev, club, rekey.Epoch, v.Header().Dev, v.Header().Seq); err == nil {
							k.Add(protocol.EpochSecret{Epoch: rekey.Epoch, E: ep.E})
						}
					}
				}
			}
		}
	}
	k.Open(set)
	var out []string
	for _, m := range h.messages {
		if ep := k.ByTag(m.Header().Epoch); ep != nil {
			if c, err := ep.OpenMessage(m); err == nil && c.Text != "" {
				out = append(out, c.Text)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Cleo is banned. She gets every byte that the others exchange from then on, in clear of
// the transport, and has all her keys: nothing that is said opens, and no secret of the
// group is among them. Bo, with his keys and the same bytes, reads it all.
func TestTheRemovedOpenNothing(t *testing.T) {
	log := new(tapLog)
	tapped := func(cfg *node.Config) { cfg.Host = &tap{newOutsider(t).host, log} }
	ana, bo, cleo := start(t, "Ana", tapped), start(t, "Bo", tapped), start(t, "Cleo", tapped)
	dora := start(t, "Dora", tapped)
	club := ana.create("club")
	link := ana.invite(club, node.InviteOptions{})
	bo.join(link)
	cleo.join(link)
	for _, p := range []*person{ana, bo, cleo} {
		eventually(t, p.cfg.Name+" has three prekeys", func() bool { return len(p.Prekeys(club)) == 3 })
	}
	ana.send(club, "while Cleo is in")
	cleo.await(club, 1)
	bo.await(club, 1)
	me, dev := cleo.Root(club), cleo.Device(club)
	before := cleo.Secrets(club)
	if _, err := ana.Expel(ctx(t), club, "Cleo", node.ExpelOptions{}); err != nil {
		t.Fatal(err)
	}
	bo.opens(club, 2)
	ana.send(club, "after the ban")
	bo.await(club, 2)
	bo.send(club, "she is gone")
	ana.await(club, 3)
	dora.join(ana.invite(club, node.InviteOptions{})) // a welcome
	dora.send(club, "what did I miss")
	bo.await(club, 4)
	bo.sleep()
	ana.rotate(club, true, func(protocol.Key) bool { return false })
	ana.send(club, "a secret that Bo has to ask for")
	bo.wake()
	bo.await(club, 5)
	bo.opens(club, 3)
	h := log.hear(t, club)
	if len(h.chunks) == 0 || h.answers == 0 || len(h.messages) < 5 {
		t.Fatalf("heard %d chunks, %d answers, %d messages", len(h.chunks), h.answers, len(h.messages))
	}
	if got := h.opens(t, club, me, dev, cleo.Seeds(club), slices.Concat(before, cleo.Secrets(club))); !slices.Equal(got, []string{"while Cleo is in"}) {
		t.Errorf("Cleo opens %q", got)
	}
	all := ana.Secrets(club)
	if got := h.opens(t, club, bo.Root(club), bo.Device(club), bo.Seeds(club), bo.Secrets(club)); len(got) != 5 || len(all) != 3 {
		t.Errorf("Bo opens %q of %d epochs", got, len(all))
	}
	if got := h.opens(t, club, bo.Root(club), bo.Device(club), bo.Seeds(club), nil); !slices.Contains(got, "she is gone") {
		t.Errorf("Bo opens %q by his prekeys alone", got)
	}
	points := ana.Meets(club)
	for _, raw := range h.raw {
		for _, s := range all {
			if bytes.Contains(raw, s.E[:]) {
				t.Error("an epoch's secret went over the wire")
			}
		}
		for _, n := range points {
			if bytes.Contains(raw, n[:]) {
				t.Error("a rendezvous secret went over the wire")
			}
		}
		if bytes.Contains(raw, []byte("after the ban")) {
			t.Error("a text went over the wire")
		}
	}
}
