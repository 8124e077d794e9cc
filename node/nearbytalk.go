package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/p2pchat/p2pchat/protocol"
)

// nearbyTalk is a stream whose frames are read while people think, so that it is seen
// when the other side goes.
type nearbyTalk struct {
	w      *wire
	frames chan protocol.Frame
	gone   chan struct{} // closed when the stream has ended
	err    error         // why, once it has
	open   atomic.Bool   // the other side may speak
	over   atomic.Bool   // this side has ended it
}

func newNearbyTalk(w *wire) *nearbyTalk {
	w.idle = nearbyMost
	return &nearbyTalk{w: w, frames: make(chan protocol.Frame, nearbyFrames), gone: make(chan struct{})}
}

var errOutOfTurn = errors.New("a frame that nobody asked for")

// listen reads until the stream ends.
func (k *nearbyTalk) listen() {
	defer close(k.gone)
	for range nearbyFrames {
		f, err := k.w.next()
		if err == nil && !k.open.Load() {
			err = errOutOfTurn
		}
		if err != nil {
			k.err = err
			return
		}
		k.frames <- f // as many as fit
	}
	k.err = errOutOfTurn
	if _, err := k.w.next(); err != nil {
		k.err = err
	}
}

func (k *nearbyTalk) end(err error) {
	k.over.Store(true)
	k.w.end(err)
}

// refuse tells the other side of a no, and lets it arrive.
func (k *nearbyTalk) refuse() {
	_ = k.w.send(protocol.FrameRefused, protocol.Refusal{Code: protocol.RefusedDenied})
	_ = k.w.stream.CloseWrite()
	select {
	case <-k.gone:
	case <-time.After(time.Second):
	}
	k.end(nil)
}

// expect waits for a frame of a kind.
func (k *nearbyTalk) expect(ctx context.Context, kind protocol.FrameKind, payload any) error {
	select {
	case f := <-k.frames:
		return f.Decode(kind, payload)
	case <-k.gone:
		select {
		case f := <-k.frames: // its last word
			return f.Decode(kind, payload)
		default:
			return fmt.Errorf("nearby: %w", k.err)
		}
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sameRoom says whether a connection stays within this machine's subnets, and goes
// through nobody.
func sameRoom(c network.Conn) bool {
	_, err := c.RemoteMultiaddr().ValueForProtocol(ma.P_CIRCUIT)
	return err != nil && local(c.RemoteMultiaddr())
}

// serve answers who looks for invitations, and takes who asks to compare into the list.
func (s *Nearby) serve(st network.Stream) {
	w := newWire(st, helloTimeout)
	s.n.spawn(func(context.Context) {
		stop := context.AfterFunc(s.base, func() { _ = st.Reset() })
		defer stop()
		err := s.answer(w)
		w.end(err)
		if err != nil {
			s.n.log.Debug("stream ended", "protocol", nearbyProtocol, "peer", w.peer(), "err", err)
		}
	})
	if s.n.alive() != nil {
		_ = st.Reset()
	}
}

func (s *Nearby) answer(w *wire) error {
	if !sameRoom(w.stream.Conn()) {
		return ErrOutside
	}
	if !s.claim(w.peer()) {
		return w.send(protocol.FrameRefused, protocol.Refusal{Code: protocol.RefusedBusy})
	}
	defer s.release(w.peer())
	f, err := w.next()
	if err != nil {
		return err
	}
	if f.Kind == protocol.FrameNearbyAsk {
		if err := f.Decode(protocol.FrameNearbyAsk, new(struct{})); err != nil {
			return err
		}
		return w.send(protocol.FrameNearbyOffer, protocol.NearbyOffer{Name: s.n.displayName()})
	}
	var c protocol.NearbyCommit
	if err := f.Decode(protocol.FrameNearbyCommit, &c); err != nil {
		return err
	}
	if len(c.Name) > protocol.MaxNameSize {
		return fmt.Errorf("a name of %d bytes: %w", len(c.Name), protocol.ErrTooLarge)
	}
	p := &neighbour{NearbyPerson: NearbyPerson{Name: c.Name}, peer: w.peer(), commit: c.Commit, talk: newNearbyTalk(w)}
	if !s.enter(p) {
		return w.send(protocol.FrameRefused, protocol.Refusal{Code: protocol.RefusedBusy})
	}
	defer s.leave(p)
	p.talk.listen()
	if p.talk.over.Load() {
		return nil // not a reset: what was said last is on its way
	}
	return p.talk.err
}

// claim counts a stream of a peer, if it may have one more.
func (s *Nearby) claim(p peer.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := 0
	for _, count := range s.streams {
		all += count
	}
	if s.ended || all >= nearbyStreams || s.streams[p] >= nearbyPerPeer {
		return false
	}
	s.streams[p]++
	return true
}

func (s *Nearby) release(p peer.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams[p]--; s.streams[p] == 0 {
		delete(s.streams, p)
	}
}

// admit is the inviter's side of one try, and what follows if it ends well.
func (s *Nearby) admit(p *neighbour) error {
	err := s.vouch(p)
	if errors.Is(err, errDiffer) {
		p.talk.refuse()
	}
	p.talk.end(err)
	return err
}

func (s *Nearby) vouch(p *neighbour) error {
	if s.used[p.commit] {
		return fmt.Errorf("%w: it promises a key that was shown before: %w", errPassed, protocol.ErrSealBroken)
	}
	secret, err := protocol.NewNearbySecret(rand.Reader)
	if err != nil {
		return err
	}
	m := s.meeting(p)
	m.Commit, m.KeyR = p.commit, secret.Public()
	s.used[p.commit] = true // the run alone uses it, three times at most
	p.talk.open.Store(true)
	if err := p.talk.w.send(protocol.FrameNearbyKey, m.KeyR); err != nil {
		return err
	}
	shown, cancel := context.WithTimeout(s.ctx, s.n.nearbyTime(helloTimeout))
	defer cancel()
	if err := p.talk.expect(shown, protocol.FrameNearbyKey, &m.KeyI); err != nil {
		return err
	}
	keys, err := m.Agree(protocol.Responder, secret)
	if err != nil {
		return err
	}
	if err := s.bothAgree(p.talk, keys); err != nil {
		return err
	}
	return s.hand(p, keys)
}

// meeting is what is known of a try on this connection before any key.
func (s *Nearby) meeting(p *neighbour) *protocol.Nearby {
	me, other := string(s.n.host.ID()), string(p.peer)
	if s.role == protocol.Responder {
		return &protocol.Nearby{PeerI: other, PeerR: me, NameI: p.Name, NameR: s.n.displayName()}
	}
	return &protocol.Nearby{PeerI: me, PeerR: other, NameI: s.n.displayName(), NameR: p.Name}
}

// compare shows the string.
func (s *Nearby) compare(keys *protocol.NearbyKeys) {
	s.set(func(state *NearbyState) {
		state.Phase, state.Words, state.Digits = NearbyComparing, keys.Words(), keys.Digits()
	})
}

// bothAgree waits, for who invites, until both people have said that the strings match.
func (s *Nearby) bothAgree(k *nearbyTalk, keys *protocol.NearbyKeys) error {
	s.compare(keys)
	ctx, cancel := context.WithTimeout(s.ctx, s.n.nearbyTime(nearbyCompare))
	defer cancel()
	heard := make(chan error, 1)
	s.n.spawn(func(context.Context) {
		var box []byte
		err := k.expect(ctx, protocol.FrameNearbyBox, &box)
		if err == nil {
			_, err = keys.Open(box)
		}
		heard <- err
	})
	for mine, theirs := false, false; !mine || !theirs; {
		select {
		case same := <-s.answers:
			if mine = same; !same {
				return errDiffer
			}
		case err := <-heard:
			if theirs = true; err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// hand gives a link for one use to who was compared with, and waits until they are in.
func (s *Nearby) hand(p *neighbour, keys *protocol.NearbyKeys) error {
	ctx, cancel := context.WithTimeout(s.base, nearbyJoin) // both said yes: what is left takes its time
	defer cancel()
	s.set(func(state *NearbyState) { state.Phase = NearbyJoining })
	text, err := s.n.Invite(ctx, s.group, InviteOptions{Uses: 1, Expiry: nearbyExpiry, IssuerAdmits: true})
	if err != nil {
		return err
	}
	id, r, err := s.n.nearbyInvite(text)
	if err != nil {
		return err
	}
	box, err := keys.Seal(text)
	if err == nil {
		err = p.talk.w.send(protocol.FrameNearbyBox, box)
	}
	if err == nil {
		err = r.admitted(ctx, id)
	}
	if err != nil { // nobody is to find the link later
		_, gone := s.n.RevokeInvite(context.WithoutCancel(ctx), s.group, id)
		return errors.Join(err, gone)
	}
	s.n.settled(ctx, p.peer, s.group)
	return nil
}

// settled waits until a newcomer has the history, as far as this node has it: nobody
// else of the group may be there.
func (n *Node) settled(ctx context.Context, p peer.ID, group protocol.ID) {
	ctx, cancel := context.WithTimeout(ctx, settleMost)
	defer cancel()
	for has := false; ; {
		changed := n.peers.changes()
		here := n.peers.with(p, func(s *peerState) { _, has = s.equal[group] })
		if has || !here {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// nearbyInvite finds the invite of a link, and remembers that a person said yes to who
// comes with it.
func (n *Node) nearbyInvite(text string) (protocol.ID, *room, error) {
	link, err := protocol.ParseLink(text)
	if err != nil {
		return protocol.ID{}, nil, err
	}
	for _, in := range n.openInvites() {
		if in.body.Key == link.PublicKey() {
			in.room.mu.Lock()
			in.room.met[in.id] = true
			in.room.mu.Unlock()
			return in.id, in.room, nil
		}
	}
	return protocol.ID{}, nil, fmt.Errorf("%w: this role may not admit", ErrNotAllowed)
}

// admitted waits until somebody came in by an invite.
func (r *room) admitted(ctx context.Context, id protocol.ID) error {
	tick := time.NewTicker(nearbyLook)
	defer tick.Stop()
	for {
		r.mu.Lock()
		count := r.current().Admissions(id)
		r.mu.Unlock()
		if count > 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("they have the link and did not join: %w", ctx.Err())
		}
	}
}
