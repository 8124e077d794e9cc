//go:build linux

package node_test

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/x/simlibp2p"
	"github.com/marcopolo/simnet"

	"github.com/p2pchat/p2pchat/node"
)

const (
	meshLatency  = 50 * time.Millisecond // of every link
	meshDials    = 8                     // by every node, so that it has some 16 neighbours
	meshSaid     = 100
	meshSize     = 620 // bytes: a message of 300
	meshCopies   = 4.5 // a delivery, at most: a node passes on to the rest of its mesh
	meshNodes    = 100
	meshNodesEnv = "P2PCHAT_MESH_NODES"
)

// Many nodes' gossip in virtual time, on links of 50 ms, each connected with some of the
// others: with the node's own pubsub options and gate, and without what is above them,
// which a thousand times would not fit into memory. Everybody gets everything, and not
// too often. P2PCHAT_MESH_NODES says how many nodes, and has plain GossipSub run beside.
func TestGossipOfManyNodes(t *testing.T) {
	count, systems := uint64(meshNodes), []func(*mesh, int, host.Host){(*mesh).ours}
	if testing.Short() {
		count = 40
	}
	if text := os.Getenv(meshNodesEnv); text != "" {
		count, systems = parse(t, text), append(systems, (*mesh).plain)
	}
	for i, start := range systems {
		t.Run([]string{"p2pchat", "GossipSub"}[i], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { runMesh(t, int(count), start) })
		})
	}
}

// A mesh is the gossip of many nodes.
type mesh struct {
	t      *testing.T
	rng    *mathrand.Rand
	hosts  []host.Host
	topics []*pubsub.Topic
	admit  func(at int, p peer.ID)
	meter  meter

	mu    sync.Mutex
	sent  map[uint64]time.Time
	took  []time.Duration
	heard map[[2]uint64]bool // by node and message
}

func runMesh(t *testing.T, count int, start func(*mesh, int, host.Host)) {
	link := simnet.LinkSettings{BitsPerSecond: 20 * simlibp2p.OneMbps}
	world, meta, err := simlibp2p.SimpleLibp2pNetwork([]simlibp2p.NodeLinkSettingsAndCount{
		{LinkSettings: simnet.NodeBiDiLinkSettings{Downlink: link, Uplink: link}, Count: count},
	}, simnet.StaticLatency(meshLatency), simlibp2p.NetworkSettings{UseBlankHost: true})
	if err != nil {
		t.Fatal(err)
	}
	world.Start()
	t.Cleanup(func() {
		for _, h := range meta.Nodes {
			_ = h.Close()
		}
		world.Close()
	})
	m := &mesh{
		t: t, rng: mathrand.New(mathrand.NewPCG(1, uint64(count))), admit: func(int, peer.ID) {},
		sent: make(map[uint64]time.Time), heard: make(map[[2]uint64]bool),
	}
	for i, h := range meta.Nodes {
		m.hosts = append(m.hosts, meteredHost{h, &m.meter})
		start(m, i, m.hosts[i])
	}
	m.connect()
	time.Sleep(30 * time.Second) // some heartbeats, to shape meshes
	before := m.meter.read()
	for n := range uint64(meshSaid) {
		m.say(n)
		time.Sleep(100 * time.Millisecond)
	}
	time.Sleep(10 * time.Second)
	m.judge(count, m.meter.read().since(before))
}

// ours starts a node's pubsub.
func (m *mesh) ours(at int, h host.Host) {
	g, err := node.NewGossip(m.t.Context(), h)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(g.Close)
	topic, err := g.Join("topic", m.hear(at))
	if err != nil {
		m.t.Fatal(err)
	}
	m.topics = append(m.topics, topic)
	before := m.admit
	m.admit = func(i int, p peer.ID) {
		if i != at {
			before(i, p)
		} else if err := g.Admit(p, "topic"); err != nil {
			m.t.Error(err)
		}
	}
}

// plain starts pubsub as it comes.
func (m *mesh) plain(at int, h host.Host) {
	ctx, cancel := context.WithCancel(context.Background())
	m.t.Cleanup(cancel)
	ps, err := pubsub.NewGossipSub(ctx, h, pubsub.WithMessageSignaturePolicy(pubsub.StrictSign))
	if err != nil {
		m.t.Fatal(err)
	}
	if err := ps.RegisterTopicValidator("topic", m.hear(at), pubsub.WithValidatorInline(true)); err != nil {
		m.t.Fatal(err)
	}
	topic, err := ps.Join("topic")
	if err != nil {
		m.t.Fatal(err)
	}
	if _, err := topic.Relay(); err != nil {
		m.t.Fatal(err)
	}
	m.topics = append(m.topics, topic)
}

// connect has every node dial some others.
func (m *mesh) connect() {
	var wait sync.WaitGroup
	for i, h := range m.hosts {
		for range meshDials {
			j := m.rng.IntN(len(m.hosts))
			if i == j {
				continue
			}
			o := m.hosts[j]
			wait.Go(func() {
				if err := h.Connect(m.t.Context(), peer.AddrInfo{ID: o.ID(), Addrs: o.Addrs()}); err != nil {
					m.t.Error(err)
				}
			})
		}
	}
	wait.Wait()
	time.Sleep(time.Second) // who was dialled knows a little later
	for i, h := range m.hosts {
		for _, p := range h.Network().Peers() {
			m.admit(i, p)
		}
	}
}

func (m *mesh) say(n uint64) {
	data := make([]byte, meshSize)
	_, _ = rand.Read(data)
	binary.BigEndian.PutUint64(data, n)
	m.mu.Lock()
	m.sent[n] = time.Now()
	m.mu.Unlock()
	if err := m.topics[m.rng.IntN(len(m.topics))].Publish(m.t.Context(), data); err != nil {
		m.t.Error(err)
	}
}

// hear is a validator that notes when a message came.
func (m *mesh) hear(at int) func(context.Context, peer.ID, *pubsub.Message) pubsub.ValidationResult {
	me := m.hosts[at].ID()
	return func(_ context.Context, from peer.ID, msg *pubsub.Message) pubsub.ValidationResult {
		if from != me {
			n := binary.BigEndian.Uint64(msg.Data)
			m.mu.Lock()
			defer m.mu.Unlock()
			if key := [2]uint64{uint64(at), n}; !m.heard[key] {
				m.heard[key] = true
				m.took = append(m.took, time.Since(m.sent[n]))
			}
		}
		return pubsub.ValidationAccept
	}
}

func (m *mesh) judge(count int, r reading) {
	m.mu.Lock()
	defer m.mu.Unlock()
	slices.Sort(m.took)
	all, got := meshSaid*(count-1), len(m.took)
	if got != all {
		m.t.Fatalf("%d of %d deliveries", got, all)
	}
	copies := float64(r.copies) / float64(got)
	m.t.Logf("%d nodes: p50 %d ms, p99 %d ms, last %d ms; %.2f copies and %d bytes of gossip a delivery; peak memory %s",
		count, m.took[got/2].Milliseconds(), m.took[got*99/100].Milliseconds(), m.took[got-1].Milliseconds(), copies, r.gossip/int64(got), peakMemory())
	if strings.HasSuffix(m.t.Name(), "p2pchat") && copies > meshCopies {
		m.t.Errorf("%.2f copies a delivery, at most %.1f", copies, meshCopies)
	}
}

// peakMemory is what this process has had in memory at most.
func peakMemory() string {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err.Error()
	}
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	line, _, _ := strings.Cut(rest, "\n")
	var kb int
	_, _ = fmt.Sscan(line, &kb)
	return fmt.Sprintf("%d MB", kb>>10)
}
