package node

import (
	"context"
	"encoding/binary"
	"maps"
	"slices"
	"sync"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
)

// gate is the host as pubsub sees it: only peers that proved membership in a group
// exist. Pubsub tells its topics to every peer it sees, so a stranger must not be
// one. A member's pubsub stream that arrives before its hello is done waits.
type gate struct {
	host.Host
	bus  event.Bus
	emit event.Emitter

	mu      sync.Mutex
	entered map[peer.ID]map[string]bool // topics each peer may be in
	said    map[peer.ID]*voice          // the stream on which pubsub talks to each
	opened  map[peer.ID]chan struct{}   // closed when the peer enters or goes
	speaks  []protocol.ID               // what pubsub handles
}

// gossipProtocol is GossipSub under a name of its own, so that the pubsub of a program
// that lends its host stays apart.
const gossipProtocol protocol.ID = "/p2pchat/gossip/1"

func newGate(h host.Host) (*gate, error) {
	g := &gate{
		Host: h, bus: eventbus.NewBus(), entered: make(map[peer.ID]map[string]bool), opened: make(map[peer.ID]chan struct{}),
		said: make(map[peer.ID]*voice),
	}
	var err error
	g.emit, err = g.bus.Emitter(new(event.EvtPeerProtocolsUpdated))
	return g, err
}

// admit lets pubsub see a peer, for the given topics and no others.
func (g *gate) admit(p peer.ID, topics map[string]bool) error {
	g.mu.Lock()
	_, known := g.entered[p]
	g.entered[p] = topics
	if c := g.opened[p]; c != nil && !known {
		close(c)
		delete(g.opened, p)
	}
	g.mu.Unlock()
	if known {
		return nil
	}
	return g.announce(p)
}

// announce tells pubsub of an admitted peer. After another hello it is told again:
// the peer's pubsub may be a new one. It ignores whom it is connected to.
func (g *gate) announce(p peer.ID) error {
	if !g.has(p) {
		return nil
	}
	return g.emit.Emit(event.EvtPeerProtocolsUpdated{Peer: p, Added: []protocol.ID{gossipProtocol}})
}

// forget takes a peer out, when it disconnected or is a member no more.
func (g *gate) forget(p peer.ID) {
	g.mu.Lock()
	_, was := g.entered[p]
	delete(g.entered, p)
	delete(g.said, p)
	if c := g.opened[p]; c != nil {
		close(c)
		delete(g.opened, p)
	}
	g.mu.Unlock()
	if was { // pubsub would go on with who is in its mesh; now it finds them gone
		g.hangUp(g.Host.Network().ConnsToPeer(p))
	}
}

// voice is a stream on which pubsub talks to a peer: a frame a write.
type voice struct {
	network.Stream
	mu sync.Mutex
}

// Write implements io.Writer.
func (s *voice) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Stream.Write(b)
}

// NewStream opens the stream on which pubsub talks to a peer.
func (g *gate) NewStream(ctx context.Context, p peer.ID, ids ...protocol.ID) (network.Stream, error) {
	s, err := g.Host.NewStream(ctx, p, ids...)
	if err != nil {
		return nil, err
	}
	out := &voice{Stream: s}
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.entered[p]; ok {
		g.said[p] = out
	}
	return out, nil
}

// listens is told of a stream on which a peer's pubsub begins to talk. The one before may
// have died with an old connection of the two: then that pubsub forgot which topics this
// node is in, and would hear of them only when this node's own stream dies. So it is told
// again.
func (g *gate) listens(p peer.ID) {
	g.mu.Lock()
	out, topics := g.said[p], slices.Sorted(maps.Keys(g.entered[p]))
	g.mu.Unlock()
	if out != nil && len(topics) > 0 {
		go func() { _, _ = out.Write(subscriptions(topics)) }() // until the stream ends, at most
	}
}

// subscriptions encodes the frame by which pubsub says that it is in topics: its length,
// and then for each topic the fields subscribe and topicid.
func subscriptions(topics []string) []byte {
	var list []byte
	for _, t := range topics {
		sub := binary.AppendUvarint([]byte{1 << 3, 1, 2<<3 | 2}, uint64(len(t)))
		sub = append(sub, t...)
		list = append(binary.AppendUvarint(append(list, 1<<3|2), uint64(len(sub))), sub...)
	}
	return append(binary.AppendUvarint(nil, uint64(len(list))), list...)
}

// hangUp ends pubsub's streams on some connections.
func (g *gate) hangUp(conns []network.Conn) {
	for _, c := range conns {
		for _, s := range c.GetStreams() {
			if slices.Contains(g.speaks, s.Protocol()) {
				_ = s.Reset()
			}
		}
	}
}

// allows is pubsub's peer filter.
func (g *gate) allows(p peer.ID, topic string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.entered[p][topic]
}

func (g *gate) has(p peer.ID) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, ok := g.entered[p]
	return ok
}

// wait blocks until a peer has entered, and says whether it has.
func (g *gate) wait(ctx context.Context, p peer.ID) bool {
	g.mu.Lock()
	if _, ok := g.entered[p]; ok {
		g.mu.Unlock()
		return true
	}
	c := g.opened[p]
	if c == nil {
		c = make(chan struct{})
		g.opened[p] = c
	}
	g.mu.Unlock()
	select {
	case <-c:
	case <-ctx.Done():
		g.mu.Lock()
		if g.opened[p] == c {
			close(c) // for others that wait, too: who comes later asks anew
			delete(g.opened, p)
		}
		g.mu.Unlock()
	}
	return g.has(p)
}

// close takes pubsub off the host, which it does not do by itself: a lent host lives on.
func (g *gate) close() error {
	for _, id := range g.speaks {
		g.Host.RemoveStreamHandler(id)
	}
	g.hangUp(g.Host.Network().Conns())
	return nil
}

// EventBus carries the events about admitted peers only.
func (g *gate) EventBus() event.Bus { return g.bus }

// Network shows admitted peers only.
func (g *gate) Network() network.Network { return gatedNetwork{g.Host.Network(), g} }

// gatedHandlers holds the context that ends streams which wait.
type gatedHandlers struct {
	*gate
	ctx context.Context
}

// SetStreamHandler makes streams wait until their peer has entered.
func (g gatedHandlers) SetStreamHandler(id protocol.ID, h network.StreamHandler) {
	g.speaks = append(g.speaks, id)
	g.Host.SetStreamHandler(id, g.held(h))
}

// SetStreamHandlerMatch is SetStreamHandler for a matched protocol.
func (g gatedHandlers) SetStreamHandlerMatch(id protocol.ID, match func(protocol.ID) bool, h network.StreamHandler) {
	g.speaks = append(g.speaks, id)
	g.Host.SetStreamHandlerMatch(id, match, g.held(h))
}

func (g gatedHandlers) held(h network.StreamHandler) network.StreamHandler {
	return func(s network.Stream) {
		ctx, cancel := context.WithTimeout(g.ctx, helloTimeout)
		defer cancel()
		if !g.wait(ctx, s.Conn().RemotePeer()) {
			_ = s.Reset()
			return
		}
		g.listens(s.Conn().RemotePeer())
		h(s)
	}
}

type gatedNetwork struct {
	network.Network
	gate *gate
}

func (n gatedNetwork) Peers() []peer.ID {
	var out []peer.ID
	for _, p := range n.Network.Peers() {
		if n.gate.has(p) {
			out = append(out, p)
		}
	}
	return out
}

func (n gatedNetwork) Connectedness(p peer.ID) network.Connectedness {
	if !n.gate.has(p) {
		return network.NotConnected
	}
	return n.Network.Connectedness(p)
}
