package node_test

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
)

// Who gossips again and again what somebody said, or something in their name, leaves them
// what others grant them.
func TestWhatIsSaidAgainCostsWhoSaysIt(t *testing.T) {
	t.Parallel() // it waits most of the time
	ana, bo, club, link := party(t, func(cfg *node.Config) { cfg.GossipRate = 1 })
	mia := newOutsider(t).admit(ana, link, "Mia")
	ana.send(club, "once")
	bo.await(club, 1)
	wires, err := ana.Wires(ctx(t), club)
	if err != nil {
		t.Fatal(err)
	}
	topic, sub := mia.gossip(mia.welcome.Secrets[0])
	mia.connect(bo)
	mia.greet(bo)
	mia.greet(ana)
	eventually(t, "Mia hears somebody", func() bool {
		ana.send(club, "are you there?")
		return mia.hear(sub, time.Second) != ""
	})
	time.Sleep(5 * time.Second) // until all may be said that may be said at once
	next := ana.line(club, ana.End(club), 1, "never said")[0]
	sig := next.Event().Sig
	forged := bytes.Replace(next.Wire(), sig[:], make([]byte, len(sig)), 1)
	for i := range 200 {
		said := protocol.Gossip{List: wires[:1], Told: []byte{0, byte(i >> 8), byte(i)}}
		if i < 3 { // after more nobody would listen to Mia
			said.List = [][]byte{forged}
		}
		if err := topic.Publish(ctx(t), protocol.EncodeFrame(protocol.FrameEvents, said)); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(time.Second)
	for _, p := range []*person{ana, bo} {
		if n := p.Budget(club, ana.Device(club)); n >= 0 && n < 3 {
			t.Errorf("%s lets Ana say %.1f more", p.cfg.Name, n)
		}
	}
}

// What one device says at once leaves in few frames, in order, and all of it.
func TestSaidAtOnceLeavesTogether(t *testing.T) {
	const count, writers = 300, 60
	ana, bo, club, link := party(t, func(cfg *node.Config) { cfg.GossipRate = -1 })
	mia := newOutsider(t).admit(ana, link, "Mia")
	topic, _ := mia.gossip(mia.welcome.Secrets[0])
	sub, err := topic.Subscribe(pubsub.WithBufferSize(count * 2))
	if err != nil {
		t.Fatal(err)
	}
	mia.greet(ana)
	said := 0
	for heard := false; !heard; heard = mia.hear(sub, time.Second) != "" {
		ana.send(club, "are you there?")
		said++
	}
	filler := string(slices.Repeat([]byte("x"), 1500))
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range count / writers {
				if _, err := ana.Send(ctx(t), club, fmt.Sprint(w, " ", i, filler)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	var last uint64
	frames, most, got := 0, 0, make(map[protocol.ID]bool)
	for len(got) < count {
		m, err := sub.Next(ctx(t))
		if err != nil {
			t.Fatalf("%d of %d messages came: %v", len(got), count, err)
		}
		list := gossiped(t, m)
		size, mine := 0, 0
		for _, wire := range list {
			v, err := protocol.Verify(club, wire)
			if err != nil {
				t.Fatal(err)
			}
			size += len(wire)
			if v.Header().Dev != ana.Device(club) || len(wire) < len(filler) {
				continue
			}
			mine++
			if v.Header().Seq <= last || got[v.ID()] {
				t.Fatalf("message %d comes after %d", v.Header().Seq, last)
			}
			last, got[v.ID()] = v.Header().Seq, true
		}
		if size > 32<<10 && len(list) > 1 {
			t.Errorf("a frame of %d messages and %d bytes", len(list), size)
		}
		if mine > 0 {
			frames++
		}
		most = max(most, mine)
	}
	if most < 2 {
		t.Errorf("%d messages of %d writers took %d frames", count, writers, frames)
	}
	bo.await(club, said+count)
}

func gossiped(t *testing.T, m *pubsub.Message) [][]byte {
	t.Helper()
	f, err := protocol.ParseFrame(m.Data)
	if err != nil {
		t.Fatal(err)
	}
	var g protocol.Gossip
	if f.Kind != protocol.FrameEvents {
		return nil
	}
	if err := f.Decode(protocol.FrameEvents, &g); err != nil {
		t.Fatal(err)
	}
	return g.List
}

// Who publishes may lie about whom they told. The others pass nothing on then, and who
// was left out gets it by sync all the same.
func TestWhoIsSaidToBeToldIsNotForgotten(t *testing.T) {
	ana, bo, club, link := party(t)
	ana.send(club, "before")
	mia := newOutsider(t).admit(ana, link, "Mia")
	if err := mia.host.Network().ClosePeer(ana.Host().ID()); err != nil {
		t.Fatal(err)
	}
	bo.await(club, 1)
	mia.connect(bo)
	topic, sub := mia.gossip(mia.welcome.Secrets[0])
	mia.greet(bo)
	count := 1
	for heard := false; !heard; heard = mia.hear(sub, time.Second) != "" {
		bo.send(club, fmt.Sprint("are you there? ", count))
		count++
	}
	v := mia.say("not for Ana")
	end := time.Now().Add(patience)
	for i := 0; len(bo.texts(club)) == count; i++ { // until Mia's mesh stands; pubsub takes the same bytes once
		g := protocol.Gossip{List: [][]byte{v.Wire()}}
		tags := []protocol.PeerTag{{0xff, byte(i >> 8), byte(i)}}
		for _, p := range []peer.ID{ana.Host().ID(), bo.Host().ID(), mia.host.ID()} {
			tags = append(tags, protocol.TagOf([]byte(p)))
		}
		slices.SortFunc(tags, protocol.PeerTag.Compare)
		g.Tell(tags)
		if err := topic.Publish(ctx(t), protocol.EncodeFrame(protocol.FrameEvents, g)); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(end) {
			t.Fatal("Bo does not hear Mia")
		}
		time.Sleep(50 * time.Millisecond)
	}
	count++
	bo.await(club, count)
	ana.await(club, count)
	agree(t, club, count, ana, bo)
}
