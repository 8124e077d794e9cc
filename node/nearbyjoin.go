package node

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pchat/p2pchat/protocol"
)

// The side of a meeting in one room that joins.

// look finds who invites among the peers of the LAN until it ends.
func (s *Nearby) look() {
	defer s.n.disc.lookAround()()
	tick := time.NewTicker(nearbyLook)
	defer tick.Stop()
	asked := make(map[peer.ID]bool)
	for {
		changed := s.n.peers.changes()
		inviting := s.inviters()
		for _, p := range inviting {
			if !asked[p] && len(asked) < nearbyPeople {
				asked[p] = true
				s.n.spawn(func(context.Context) { s.ask(p) })
			}
		}
		for p := range asked {
			if !slices.Contains(inviting, p) { // and if they invite again, they are asked again
				delete(asked, p)
				s.remove(func(q *neighbour) bool { return q.peer == p })
			}
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-s.ctx.Done():
			return
		}
	}
}

// inviters returns the peers in the same room that say that they invite.
func (s *Nearby) inviters() []peer.ID {
	return slices.DeleteFunc(s.n.peers.all(), func(p peer.ID) bool {
		ids, err := s.n.host.Peerstore().SupportsProtocols(p, nearbyProtocol)
		return err != nil || len(ids) == 0 || !slices.ContainsFunc(s.n.host.Network().ConnsToPeer(p), sameRoom)
	})
}

// ask asks somebody what they are called, and shows them.
func (s *Nearby) ask(p peer.ID) {
	var offer protocol.NearbyOffer
	w, err := s.open(p)
	if err == nil {
		if err = w.send(protocol.FrameNearbyAsk, struct{}{}); err == nil {
			err = w.expect(protocol.FrameNearbyOffer, &offer)
		}
		w.end(err)
	}
	if err != nil || len(offer.Name) > protocol.MaxNameSize {
		s.n.log.Debug("nearby", "peer", p, "err", err)
		return
	}
	s.enter(&neighbour{NearbyPerson: NearbyPerson{Name: offer.Name}, peer: p})
}

func (s *Nearby) open(p peer.ID) (*wire, error) {
	ctx, cancel := context.WithTimeout(s.ctx, helloTimeout)
	defer cancel()
	w, err := s.n.dial(ctx, p, nearbyProtocol, helloTimeout)
	if err != nil {
		return nil, err
	}
	if !sameRoom(w.stream.Conn()) {
		w.end(ErrOutside)
		return nil, ErrOutside
	}
	context.AfterFunc(s.base, func() { _ = w.stream.Reset() })
	return w, nil
}

// join is the joiner's side of one try, and the join.
func (s *Nearby) join(p *neighbour) error {
	text, err := s.receive(p)
	if err != nil {
		return err
	}
	s.set(func(state *NearbyState) { state.Phase = NearbyJoining })
	ctx, cancel := context.WithTimeout(s.base, nearbyJoin)
	defer cancel()
	group, err := s.n.Join(ctx, text)
	if err != nil {
		return err
	}
	s.set(func(state *NearbyState) { state.Group = group })
	return nil
}

// receive compares with who invites, and returns their link.
func (s *Nearby) receive(p *neighbour) (link string, err error) {
	w, err := s.open(p.peer)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errPassed, err)
	}
	k := newNearbyTalk(w)
	k.open.Store(true) // for its key
	s.n.spawn(func(context.Context) { k.listen() })
	defer func() { k.end(err) }()
	secret, err := protocol.NewNearbySecret(rand.Reader)
	if err != nil {
		return "", err
	}
	m := s.meeting(p)
	m.KeyI = secret.Public()
	m.Commit = protocol.CommitNearby(m.PeerI, m.PeerR, m.KeyI)
	if err := w.send(protocol.FrameNearbyCommit, protocol.NearbyCommit{Commit: m.Commit, Name: m.NameI}); err != nil {
		return "", fmt.Errorf("%w: %w", errPassed, err)
	}
	chosen, cancel := context.WithTimeout(s.ctx, s.n.nearbyTime(nearbyCompare))
	defer cancel()
	if err := k.expect(chosen, protocol.FrameNearbyKey, &m.KeyR); err != nil {
		return "", fmt.Errorf("%w: %w", errPassed, err)
	}
	keys, err := m.Agree(protocol.Initiator, secret)
	if err != nil {
		return "", err
	}
	if err := w.send(protocol.FrameNearbyKey, m.KeyI); err != nil {
		return "", err
	}
	return s.agree(k, keys)
}

// agree has the joiner compare, says yes, and waits for the link. Nothing of the other
// side is due before that yes, so what comes then is its no, or its end.
func (s *Nearby) agree(k *nearbyTalk, keys *protocol.NearbyKeys) (string, error) {
	s.compare(keys)
	ctx, cancel := context.WithTimeout(s.ctx, s.n.nearbyTime(nearbyCompare))
	defer cancel()
	select {
	case same := <-s.answers:
		if !same {
			k.refuse()
			return "", errDiffer
		}
	case f := <-k.frames:
		if err := f.Decode(protocol.FrameRefused, new(protocol.Refusal)); err != nil {
			return "", err
		}
		return "", &protocol.RefusedError{Code: protocol.RefusedDenied}
	case <-k.gone:
		return "", k.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
	yes, err := keys.Seal("")
	if err != nil {
		return "", err
	}
	if err := k.w.send(protocol.FrameNearbyBox, yes); err != nil {
		return "", err
	}
	var box []byte
	if err := k.expect(ctx, protocol.FrameNearbyBox, &box); err != nil {
		return "", err
	}
	return keys.Open(box)
}
