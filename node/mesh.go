package node

import (
	"sync"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
	libprotocol "github.com/libp2p/go-libp2p/core/protocol"

	"github.com/p2pchat/p2pchat/protocol"
)

// mesh is whom pubsub would pass a frame on to, by topic. It is told by pubsub, as a
// tracer: its own loop calls, so nothing here waits.
type mesh struct {
	mu    sync.Mutex
	peers map[string]map[peer.ID]protocol.PeerTag
	// missed is who did not get a frame of this node, or whose frame it did not look at.
	missed map[peer.ID]bool
	wake   chan struct{} // has a token when there are some
}

func newMesh() *mesh {
	return &mesh{
		peers: make(map[string]map[peer.ID]protocol.PeerTag), missed: make(map[peer.ID]bool), wake: make(chan struct{}, 1),
	}
}

// miss notes that between this node and a peer a frame was lost.
func (m *mesh) miss(p peer.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.missed[p] = true
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// takeMissed returns who was noted since the last call.
func (m *mesh) takeMissed() map[peer.ID]bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := m.missed
	m.missed = make(map[peer.ID]bool)
	return out
}

// others are the mesh of a topic but for one peer.
func (m *mesh) others(topic string, but peer.ID) []protocol.PeerTag {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []protocol.PeerTag
	for p, tag := range m.peers[topic] {
		if p != but {
			out = append(out, tag)
		}
	}
	return out
}

// Graft takes a peer in.
func (m *mesh) Graft(p peer.ID, topic string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.peers[topic] == nil {
		m.peers[topic] = make(map[peer.ID]protocol.PeerTag)
	}
	m.peers[topic][p] = protocol.TagOf([]byte(p))
}

// Prune takes a peer out.
func (m *mesh) Prune(p peer.ID, topic string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.peers[topic], p)
}

// OnClosedOutboundStream takes a peer out of all topics. What waited for it is lost.
func (m *mesh) OnClosedOutboundStream(p peer.ID) {
	m.miss(p)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, list := range m.peers {
		delete(list, p)
	}
}

// Leave forgets a topic.
func (m *mesh) Leave(topic string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.peers, topic)
}

// DropRPC notes who is so far behind that it misses what it was to be sent.
func (m *mesh) DropRPC(rpc *pubsub.RPC, p peer.ID) {
	if len(rpc.GetPublish()) > 0 {
		m.miss(p)
	}
}

// RejectMessage notes whose frame came while this node was too far behind to look at it.
func (m *mesh) RejectMessage(msg *pubsub.Message, why string) {
	if why == pubsub.RejectValidationQueueFull {
		m.miss(msg.ReceivedFrom)
	}
}

// The rest of what pubsub tells is of no interest.

func (*mesh) OnNewOutboundStream(peer.ID, libprotocol.ID)          {}
func (*mesh) Join(string)                                          {}
func (*mesh) ValidateMessage(*pubsub.Message)                      {}
func (*mesh) DeliverMessage(*pubsub.Message)                       {}
func (*mesh) DuplicateMessage(*pubsub.Message)                     {}
func (*mesh) ThrottlePeer(peer.ID)                                 {}
func (*mesh) RecvRPC(*pubsub.RPC)                                  {}
func (*mesh) SendRPC(*pubsub.RPC, peer.ID)                         {}
func (*mesh) SendRPCCompleted(*pubsub.RPC, peer.ID, time.Duration) {}
func (*mesh) UndeliverableMessage(*pubsub.Message)                 {}

var _ pubsub.RawTracer = (*mesh)(nil)
