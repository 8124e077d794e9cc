//go:build linux

package node_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ipfs/go-datastore"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage/disk"
)

// system is what is measured: it fills a crowd with nodes that are connected with
// each other and talk.
type system struct {
	name  string
	start func(c *crowd)
}

// crowd is some nodes in this process, every one connected with every other.
type crowd struct {
	*testing.B
	meter meter
	hosts []host.Host
	say   []func(text string) error // by node
	round atomic.Pointer[round]     // what heard counts for
	stop  context.Context
}

func newCrowd(b *testing.B, s system, size int) *crowd {
	b.Helper()
	c := &crowd{B: b}
	stop, cancel := context.WithCancel(context.Background())
	c.stop = stop
	for range size {
		c.hosts = append(c.hosts, newBenchHost(b, &c.meter))
	}
	s.start(c)
	b.Cleanup(cancel)
	c.warm()
	return c
}

// connect joins all pairs.
func (c *crowd) connect() {
	for i, h := range c.hosts {
		for _, p := range c.hosts[:i] {
			if err := h.Connect(c.stop, peer.AddrInfo{ID: p.ID(), Addrs: p.Addrs()}); err != nil {
				c.Fatal(err)
			}
		}
	}
}

// warm lets everybody say something until all hear it, and lets the meshes settle:
// pubsub shapes them once a second.
func (c *crowd) warm() {
	deadline := time.Now().Add(patience)
	for {
		r := c.begin(len(c.say))
		for i := range c.say {
			r.send(i)
		}
		if r.wait(time.Second) {
			break
		}
		if time.Now().After(deadline) {
			c.Fatal("the nodes do not hear each other")
		}
	}
	time.Sleep(3 * time.Second)
}

// round is a number of messages, and who has heard them.
type round struct {
	crowd   *crowd
	began   time.Time
	next    atomic.Int64
	sent    []atomic.Int64 // when, after began, by message
	left    []atomic.Int32 // how many have not heard it, by message
	again   chan struct{}  // a token for every message that all have heard
	heard   atomic.Int64   // deliveries
	whole   atomic.Int64   // messages that all have heard
	failed  atomic.Pointer[error]
	samples [][]time.Duration // by node
}

var filler = func() string {
	b := make([]byte, payload)
	_, _ = rand.Read(b)
	return base64.RawStdEncoding.EncodeToString(b)
}()

// begin starts a round of at most most messages.
func (c *crowd) begin(most int) *round {
	r := &round{
		crowd: c, sent: make([]atomic.Int64, most), left: make([]atomic.Int32, most),
		again: make(chan struct{}, most), samples: make([][]time.Duration, len(c.say)),
	}
	for i := range most {
		r.left[i].Store(int32(len(c.say) - 1))
	}
	r.began = time.Now()
	c.round.Store(r)
	return r
}

// send says the next message at a node and returns its number, or -1 at the round's
// end.
func (r *round) send(from int) int {
	i := int(r.next.Add(1) - 1)
	if i >= len(r.sent) {
		return -1
	}
	text := fmt.Sprintf("%019d %02d %07d ", r.began.UnixNano(), from, i) + filler
	r.sent[i].Store(int64(time.Since(r.began)))
	if err := r.crowd.say[from](text[:payload]); err != nil {
		r.failed.Store(&err)
	}
	return i
}

// hear counts a message at a node, unless it is its own or of another round.
func (c *crowd) hear(at int, text string) {
	var began int64
	var from, i int
	r := c.round.Load()
	if r == nil || len(text) != payload {
		return
	}
	if n, _ := fmt.Sscanf(text[:30], "%d %d %d", &began, &from, &i); n != 3 || began != r.began.UnixNano() || from == at {
		return
	}
	r.samples[at] = append(r.samples[at], time.Since(r.began)-time.Duration(r.sent[i].Load()))
	r.heard.Add(1)
	if r.left[i].Add(-1) == 0 {
		r.whole.Add(1)
		r.again <- struct{}{}
	}
}

// wait waits until everything that was sent is everywhere, or nothing has arrived
// for a while, and says which.
func (r *round) wait(stall time.Duration) bool {
	last, at := int64(-1), time.Now()
	for {
		if err := r.failed.Load(); err != nil {
			r.crowd.Fatal(*err)
		}
		if r.whole.Load() == min(r.next.Load(), int64(len(r.sent))) {
			return true
		}
		if n := r.heard.Load(); n != last {
			last, at = n, time.Now()
		} else if time.Since(at) > stall {
			return false
		}
		time.Sleep(time.Millisecond)
	}
}

// benchDatastore is the program's.
func benchDatastore(b *testing.B, dir string) datastore.Batching {
	b.Helper()
	ds, err := disk.Open(dir, disk.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = ds.Close() })
	return ds
}

// ours is p2pchat: encrypted, and stored on disk before it is shown.
func ours(rate float64) system {
	return system{p2pchat, func(c *crowd) {
		var nodes []*node.Node
		for i, h := range c.hosts {
			n, err := node.New(c.stop, node.Config{
				Name: fmt.Sprint("Node ", i), Host: h, Datastore: benchDatastore(c.B, c.TempDir()), DisableMDNS: true, GossipRate: rate,
			})
			if err != nil {
				c.Fatal(err)
			}
			c.Cleanup(func() { _ = n.Close() })
			nodes = append(nodes, n)
		}
		club := c.club(nodes)
		for i, n := range nodes {
			c.say = append(c.say, func(text string) error {
				_, err := n.Send(c.stop, club, text)
				return err
			})
			go c.follow(i, n, club)
		}
	}}
}

// club brings nodes together in one group.
func (c *crowd) club(nodes []*node.Node) protocol.ID {
	limit, cancel := context.WithTimeout(c.stop, patience)
	defer cancel()
	club, err := nodes[0].CreateGroup(limit, "club")
	if err != nil {
		c.Fatal(err)
	}
	link, err := nodes[0].Invite(limit, club, node.InviteOptions{})
	if err != nil {
		c.Fatal(err)
	}
	for _, n := range nodes[1:] {
		if _, err := n.Join(limit, link); err != nil {
			c.Fatal(err)
		}
	}
	c.connect()
	for _, n := range nodes {
		for {
			g, err := n.Group(club)
			if err != nil || limit.Err() != nil {
				c.Fatal("the nodes do not find each other", err)
			}
			if g.Online == len(nodes)-1 {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	return club
}

// follow is a screen: what a node shows.
func (c *crowd) follow(at int, n *node.Node, club protocol.ID) {
	for m, err := range n.Follow(c.stop, club, 0) {
		if err != nil {
			return // the node closes
		}
		if m.Kind == "text" {
			c.hear(at, m.Text)
		}
	}
}

// roomy gives GossipSub the queues that p2pchat gives it: with the default ones it
// drops messages before it is busy.
var roomy = []pubsub.Option{pubsub.WithPeerOutboundQueueSize(1024), pubsub.WithValidateQueueSize(1024)}

// plain is GossipSub as it comes: signed, not encrypted, not stored.
func plain(o ...pubsub.Option) system {
	return system{gossipsub, func(c *crowd) { c.gossip(o) }}
}

func (c *crowd) gossip(o []pubsub.Option) {
	buffer := 32 // the default
	if len(o) > 0 {
		buffer = 1024
	}
	for i, h := range c.hosts {
		ps, err := pubsub.NewGossipSub(c.stop, h, append([]pubsub.Option{pubsub.WithMessageSignaturePolicy(pubsub.StrictSign)}, o...)...)
		if err != nil {
			c.Fatal(err)
		}
		topic, err := ps.Join("club")
		if err != nil {
			c.Fatal(err)
		}
		sub, err := topic.Subscribe(pubsub.WithBufferSize(buffer))
		if err != nil {
			c.Fatal(err)
		}
		c.say = append(c.say, func(text string) error { return topic.Publish(c.stop, []byte(text)) })
		go func() {
			for {
				m, err := sub.Next(c.stop)
				if err != nil {
					return // the crowd goes
				}
				c.hear(i, string(m.Data))
			}
		}()
	}
	c.connect()
}
