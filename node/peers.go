package node

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	libprotocol "github.com/libp2p/go-libp2p/core/protocol"
	msmux "github.com/multiformats/go-multistream"
	"golang.org/x/time/rate"

	"github.com/p2pchat/p2pchat/protocol"
)

// peers is what the node knows of who it is connected to. A peer id is tied to
// devices only by a hello on the connection that stands now.
type peers struct {
	mu    sync.Mutex
	known map[peer.ID]*peerState
	wake  chan struct{} // closed and replaced whenever something changes
}

type peerState struct {
	id      peer.ID
	found   string                       // how it was met
	proofs  map[protocol.ID]protocol.Key // the device it proved to be, a group
	greeted bool                         // a hello has run
	sharing map[protocol.ID]bool         // in which groups addresses were handed on over this connection
	former  map[protocol.ID]time.Time    // when it was last asked in a group that it is out of
	equal   map[protocol.ID]protocol.ID  // the digest at which it held the same as this node
	ahead   map[protocol.ID]bool         // in which groups it holds messages that are to be fetched
	syncing map[protocol.ID]*syncState
	texts   map[protocol.ID]time.Time // when it was last asked for bodies
	tried   map[protocol.ID]attempt
	serving int // syncs
	joining int // joins
	keying  int // key streams
	keys    *rate.Limiter
}

// attempt says at which digest a peer was last compared with, and how often without
// coming to agree.
type attempt struct {
	digest protocol.ID
	count  int
	next   time.Time
}

// syncState says what is due with a peer in one group.
type syncState struct {
	running, again bool
	unruly         int       // how often in a row it did not keep to the protocol
	until          time.Time // it is left alone
	vain           int       // how often in a row it broke off when little had come
	pulled         digests   // when all that it would give was taken last
}

// digests are what this node held and what a peer did.
type digests struct{ mine, theirs protocol.ID }

func newPeers() *peers {
	return &peers{known: make(map[peer.ID]*peerState), wake: make(chan struct{})}
}

// with calls f with a peer's state, if it is connected.
func (ps *peers) with(p peer.ID, f func(s *peerState)) bool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	s, ok := ps.known[p]
	if ok {
		f(s)
	}
	return ok
}

// do runs f under the mutex: what a peerState that may be gone already counts.
func (ps *peers) do(f func()) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	f()
}

// connected takes a peer in.
func (ps *peers) connected(p peer.ID, found string) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if s := ps.known[p]; s != nil {
		return
	}
	ps.known[p] = &peerState{
		id: p, found: found, proofs: make(map[protocol.ID]protocol.Key),
		keys:   rate.NewLimiter(keysPerSecond, keysBurst),
		former: make(map[protocol.ID]time.Time), equal: make(map[protocol.ID]protocol.ID), ahead: make(map[protocol.ID]bool), tried: make(map[protocol.ID]attempt), sharing: make(map[protocol.ID]bool), syncing: make(map[protocol.ID]*syncState), texts: make(map[protocol.ID]time.Time),
	}
	ps.changed()
}

func (ps *peers) disconnected(p peer.ID) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	delete(ps.known, p)
	ps.changed()
}

// changed wakes who waits for peers. The caller holds mu.
func (ps *peers) changed() {
	close(ps.wake)
	ps.wake = make(chan struct{})
}

// notify wakes who waits for peers.
func (ps *peers) notify() {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.changed()
}

// changes returns a channel that is closed at the next change.
func (ps *peers) changes() <-chan struct{} {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return ps.wake
}

// proved returns the device a peer proved to be in a group.
func (ps *peers) proved(p peer.ID, group protocol.ID) (protocol.Key, bool) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	s, ok := ps.known[p]
	if !ok {
		return protocol.Key{}, false
	}
	dev, ok := s.proofs[group]
	return dev, ok
}

// disagree forgets who held the same: it was so as far as was asked for then.
func (ps *peers) disagree(group protocol.ID) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, s := range ps.known {
		delete(s.equal, group)
		delete(s.tried, group)
	}
}

// in returns the peers that proved knowledge of a group, in a stable order.
func (ps *peers) in(group protocol.ID) []peer.ID {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	var out []peer.ID
	for p, s := range ps.known {
		if _, ok := s.proofs[group]; ok {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return out
}

func (ps *peers) all() []peer.ID {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	out := make([]peer.ID, 0, len(ps.known))
	for p := range ps.known {
		out = append(out, p)
	}
	slices.Sort(out)
	return out
}

// watchConnections keeps peers in step with the network and starts hellos.
func (n *Node) watchConnections() {
	bundle := &network.NotifyBundle{
		ConnectedF: func(_ network.Network, c network.Conn) {
			n.turn.Lock()
			defer n.turn.Unlock()
			p, outbound := c.RemotePeer(), c.Stat().Direction == network.DirOutbound
			n.peers.connected(p, n.disc.foundBy(p, outbound))
			if outbound {
				n.spawn(func(ctx context.Context) { n.greet(ctx, p) })
			}
			for _, old := range n.host.Network().ConnsToPeer(p) {
				if old != c {
					n.spawn(func(ctx context.Context) { hangUpDead(ctx, old) })
				}
			}
		},
		DisconnectedF: func(net network.Network, c network.Conn) {
			n.turn.Lock()
			defer n.turn.Unlock()
			p := c.RemotePeer()
			if net.Connectedness(p) == network.Connected {
				return
			}
			n.parted(p)
			n.peers.disconnected(p)
			n.gate.forget(p)
			n.disc.lost(p)
		},
	}
	n.host.Network().Notify(bundle)
	n.onClose(func() error { n.host.Network().StopNotify(bundle); return nil })
	for _, p := range n.host.Network().Peers() { // a lent host may be connected already
		n.adopt(p)
	}
}

// hangUpDead closes a connection on which nothing answers. A peer whose address changed
// comes back on a new connection while the old one, which nobody ends, has the most
// streams: libp2p would open all others there, until it times out.
func hangUpDead(ctx context.Context, c network.Conn) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	s, err := c.NewStream(ctx)
	if err == nil {
		stop := context.AfterFunc(ctx, func() { _ = s.Reset() })
		if err = msmux.SelectProtoOrFail(helloProtocol, s); errors.As(err, new(msmux.ErrNotSupported[libprotocol.ID])) {
			err = nil // which is an answer
		}
		stop()
		_ = s.Reset()
	}
	if err != nil {
		_ = c.Close()
	}
}

// adopt takes in a peer that was connected before the node watched. Whoever dialled
// greeted the host when this node was not on it.
func (n *Node) adopt(p peer.ID) {
	n.turn.Lock()
	defer n.turn.Unlock()
	if n.host.Network().Connectedness(p) == network.Connected {
		n.peers.connected(p, n.disc.foundBy(p, true))
		n.spawn(func(ctx context.Context) { n.greet(ctx, p) })
	}
}

// refreshGate lets pubsub see a peer if it is a member of a group, as the rosters
// stand now.
func (n *Node) refreshGate(p peer.ID) {
	n.turn.Lock() // or one that looked before could act after one that looked later
	defer n.turn.Unlock()
	topics := make(map[string]bool)
	for _, r := range n.allRooms() {
		if dev, ok := n.peers.proved(p, r.group); ok && r.isMember(dev) {
			for _, t := range r.topicNames() {
				topics[t] = true
			}
		}
	}
	if len(topics) == 0 {
		n.gate.forget(p)
		return
	}
	if err := n.gate.admit(p, topics); err != nil {
		n.log.Warn("pubsub gate", "peer", p, "err", err)
	}
	n.peers.notify()
}

// memberAt returns the device that a peer proved to be in the room's group, if it is a
// member's now.
func (r *room) memberAt(p peer.ID) (protocol.Key, bool) {
	dev, ok := r.n.peers.proved(p, r.group)
	return dev, ok && r.isMember(dev)
}

// members returns the connected peers that are members of a room's group now.
func (n *Node) members(r *room) []peer.ID {
	return slices.DeleteFunc(n.peers.in(r.group), func(p peer.ID) bool {
		_, ok := r.memberAt(p)
		return !ok
	})
}
