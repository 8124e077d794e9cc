package node

import (
	"context"
	"log/slog"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pchat/p2pchat/protocol"
)

// A Gossip is a node's pubsub on a host, with its options and behind its gate, and
// nothing else of a node.
type Gossip struct{ n *Node }

// NewGossip starts one.
func NewGossip(ctx context.Context, h host.Host) (*Gossip, error) {
	n := &Node{host: h, log: slog.New(slog.DiscardHandler), peers: newPeers(), rooms: make(map[protocol.ID]*room)}
	n.ctx, n.cancel = context.WithCancel(ctx)
	return &Gossip{n}, n.openGossip(ctx)
}

// Join takes part in a topic.
func (g *Gossip) Join(name string, validate pubsub.ValidatorEx) (*pubsub.Topic, error) {
	if err := g.n.pub.RegisterTopicValidator(name, validate, pubsub.WithValidatorInline(true)); err != nil {
		return nil, err
	}
	topic, err := g.n.pub.Join(name)
	if err != nil {
		return nil, err
	}
	if err := topic.SetScoreParams(topicScores()); err != nil {
		return nil, err
	}
	_, err = topic.Relay()
	return topic, err
}

// Admit lets pubsub see a peer in a topic.
func (g *Gossip) Admit(p peer.ID, topic string) error {
	return g.n.gate.admit(p, map[string]bool{topic: true})
}

// Close ends it.
func (g *Gossip) Close() { _ = g.n.Close() }

// Validates takes events as gossip brings them, and returns whether they are passed on.
func (n *Node) Validates(group protocol.ID, events ...protocol.Verified) pubsub.ValidationResult {
	r, _ := n.room(group)
	var g protocol.Gossip
	for _, v := range events {
		g.List = append(g.List, v.Wire())
	}
	data := protocol.EncodeFrame(protocol.FrameEvents, g)
	return r.validate(n.ctx, "stranger", &pubsub.Message{Message: &pb.Message{Data: data}})
}

// DropsFrame is what pubsub tells when a frame does not fit into the queue to a peer.
func (n *Node) DropsFrame(to peer.ID) {
	n.mesh.DropRPC(&pubsub.RPC{RPC: pb.RPC{Publish: []*pb.Message{{}}}}, to)
}

// OverlooksFrame is what pubsub tells when a frame does not fit into the queue of what is
// to be validated.
func (n *Node) OverlooksFrame(from peer.ID) {
	n.mesh.RejectMessage(&pubsub.Message{ReceivedFrom: from}, pubsub.RejectValidationQueueFull)
}
