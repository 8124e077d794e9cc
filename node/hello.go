package node

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pchat/p2pchat/protocol"
)

// A hello ties a connection to devices, group by group: tags prove knowledge of a
// group's rendezvous secret without naming it, and a signature over both peer ids
// and nonces says which device speaks. A hello may run again when a group is new.

// greet runs a hello as the initiator. A peer that has just started may not answer
// yet, so it tries a few times while the connection stands.
func (n *Node) greet(ctx context.Context, p peer.ID) {
	for wait := time.Second; wait < helloTimeout; wait *= 3 {
		err := n.hello(ctx, p)
		if err == nil {
			return
		}
		n.log.Debug("hello", "peer", p, "err", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		if greeted := false; !n.peers.with(p, func(s *peerState) { greeted = s.greeted }) || greeted {
			return
		}
	}
}

func (n *Node) hello(ctx context.Context, p peer.ID) error {
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	w, err := n.dial(ctx, p, helloProtocol, helloTimeout)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = w.stream.Reset() })
	defer stop()
	proofs, h, err := n.helloInitiate(w)
	w.end(err)
	if err != nil {
		return err
	}
	if err := n.meet(p, protocol.Responder, h, proofs); err != nil {
		return err
	}
	n.met(p, proofs, 0)
	return nil
}

func (n *Node) helloInitiate(w *wire) ([]proven, *protocol.Hello, error) {
	h := &protocol.Hello{PeerI: string(n.host.ID()), PeerR: string(w.peer())}
	_, _ = rand.Read(h.NonceI[:])
	if err := w.send(protocol.FrameHelloNonce, protocol.HelloNonce{Nonce: h.NonceI}); err != nil {
		return nil, nil, err
	}
	var nonce protocol.HelloNonce
	var theirs protocol.HelloTags
	if err := w.expect(protocol.FrameHelloNonce, &nonce); err != nil {
		return nil, nil, err
	}
	h.NonceR = nonce.Nonce
	if err := w.expect(protocol.FrameHelloTags, &theirs); err != nil {
		return nil, nil, err
	}
	doors := n.doors()
	tags, err := h.Tags(secretsOf(doors), protocol.Initiator, rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	w.put(protocol.FrameHelloTags, protocol.HelloTags{Tags: tags})
	w.put(protocol.FrameHelloProof, protocol.HelloProofs{Proofs: prove(h, doors, protocol.Initiator, theirs)})
	if err := w.flush(); err != nil {
		return nil, nil, err
	}
	var proofs protocol.HelloProofs
	if err := w.expect(protocol.FrameHelloProof, &proofs); err != nil {
		return nil, nil, err
	}
	return recognise(h, doors, protocol.Initiator, proofs), h, nil
}

// serveHello is the responder's side.
func (n *Node) serveHello(_ context.Context, w *wire) error {
	h := &protocol.Hello{PeerI: string(w.peer()), PeerR: string(n.host.ID())}
	var nonce protocol.HelloNonce
	if err := w.expect(protocol.FrameHelloNonce, &nonce); err != nil {
		return err
	}
	h.NonceI = nonce.Nonce
	_, _ = rand.Read(h.NonceR[:])
	doors := n.doors()
	tags, err := h.Tags(secretsOf(doors), protocol.Responder, rand.Reader)
	if err != nil {
		return err
	}
	w.put(protocol.FrameHelloNonce, protocol.HelloNonce{Nonce: h.NonceR})
	w.put(protocol.FrameHelloTags, protocol.HelloTags{Tags: tags})
	if err := w.flush(); err != nil {
		return err
	}
	var theirs protocol.HelloTags
	var proofs protocol.HelloProofs
	if err := w.expect(protocol.FrameHelloTags, &theirs); err != nil {
		return err
	}
	if err := w.expect(protocol.FrameHelloProof, &proofs); err != nil {
		return err
	}
	// The other side may ask for events as soon as it has this side's proofs, so what
	// it proved is known first.
	list := recognise(h, doors, protocol.Responder, proofs)
	if err := n.meet(w.peer(), protocol.Initiator, h, list); err != nil {
		return err
	}
	if err := w.send(protocol.FrameHelloProof, protocol.HelloProofs{Proofs: prove(h, doors, protocol.Responder, theirs)}); err != nil {
		return err
	}
	n.met(w.peer(), list, syncDebounce)
	return nil
}

// door is one secret by which a group can be met.
type door struct {
	room   *room
	secret protocol.Secret
}

// doors returns all secrets of all rooms, the newest of each room first, as many
// as a hello has tags.
func (n *Node) doors() []door {
	var out []door
	rooms := n.allRooms()
	secrets := make([][]protocol.Secret, len(rooms))
	for i, r := range rooms {
		secrets[i] = r.rendezvous()
	}
	for age := range secretsKept {
		for i, s := range secrets {
			if age < len(s) && len(out) < protocol.MaxHelloTags {
				out = append(out, door{rooms[i], s[age]})
			}
		}
	}
	return out
}

func secretsOf(doors []door) []protocol.Secret {
	out := make([]protocol.Secret, len(doors))
	for i, d := range doors {
		out[i] = d.secret
	}
	return out
}

func other(role protocol.Role) protocol.Role {
	if role == protocol.Initiator {
		return protocol.Responder
	}
	return protocol.Initiator
}

// prove answers the other side's tags that this node recognises, one a group.
func prove(h *protocol.Hello, doors []door, role protocol.Role, theirs protocol.HelloTags) []protocol.Proof {
	offered := make(map[protocol.HelloTag]bool, len(theirs.Tags))
	for i, t := range theirs.Tags {
		if i < protocol.MaxHelloTags {
			offered[t] = true
		}
	}
	done := make(map[protocol.ID]bool)
	var out []protocol.Proof
	for _, d := range doors {
		tag := h.Tag(d.secret, other(role))
		if offered[tag] && !done[d.room.group] {
			done[d.room.group] = true
			proof := h.Prove(d.room.group, role, tag, d.room.me.Signer())
			if c, ok := d.room.credential(); ok {
				proof.Vouch(c)
			}
			out = append(out, proof)
		}
	}
	return out
}

// proven is a proof with the group it is about.
type proven struct {
	room  *room
	proof protocol.Proof
}

// recognise finds the groups that the other side's proofs answer: those whose tag
// this node sent.
func recognise(h *protocol.Hello, doors []door, role protocol.Role, proofs protocol.HelloProofs) []proven {
	mine := make(map[protocol.HelloTag]*room, len(doors))
	for _, d := range doors {
		mine[h.Tag(d.secret, role)] = d.room
	}
	var out []proven
	for _, p := range proofs.Proofs {
		if r := mine[p.Tag]; r != nil && len(out) < protocol.MaxHelloTags {
			out = append(out, proven{r, p})
		}
	}
	return out
}

// meet checks and records what a hello proved.
func (n *Node) meet(p peer.ID, theirs protocol.Role, h *protocol.Hello, list []proven) error {
	for _, v := range list {
		if err := h.Check(v.room.group, theirs, v.proof); err != nil {
			return fmt.Errorf("peer %s: %w", p, err)
		}
	}
	for _, v := range list {
		if c, ok := v.proof.Vouched(); ok {
			v.room.vouch(c)
		}
	}
	n.peers.with(p, func(s *peerState) {
		s.greeted = true
		for _, v := range list {
			s.proofs[v.room.group] = v.proof.Dev
		}
	})
	for _, v := range list {
		v.room.seen(p)
	}
	n.peers.notify()
	return nil
}

// met lets pubsub see a peer where it is a member, and starts to sync. Whoever knows
// a group's secret may be asked for its events, which verify themselves; served are
// members only.
func (n *Node) met(p peer.ID, list []proven, delay time.Duration) {
	n.refreshGate(p)
	if err := n.gate.announce(p); err != nil {
		n.log.Warn("pubsub gate", "peer", p, "err", err)
	}
	for _, v := range list {
		v.room.askAnew()
		n.wantSync(v.room, p, delay)
	}
	if len(list) > 0 {
		n.disc.remember(p, time.Now())
	}
}
