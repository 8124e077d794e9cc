package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/p2pchat/p2pchat/protocol"
)

// retryJoin is how long a peer that could not admit is left alone.
const retryJoin = 3 * time.Second

// Invite makes an invitation and returns its link: one word that begins with
// "p2pchat:". Whoever holds it can ask to join until it expires.
func (n *Node) Invite(ctx context.Context, group protocol.ID, o InviteOptions) (string, error) {
	r, err := n.room(group)
	if err != nil {
		return "", err
	}
	seed, err := protocol.NewSecret(rand.Reader)
	if err != nil {
		return "", err
	}
	link := protocol.Link{Group: group, Seed: seed, Addrs: n.linkAddrs()}
	if o.Rank == 0 {
		o.Rank = protocol.Member
	}
	if o.Expiry == 0 {
		o.Expiry = 7 * 24 * time.Hour
	}
	body := &protocol.Invite{Key: link.PublicKey(), Rank: o.Rank, Expiry: uint64(n.now().Add(o.Expiry).Unix()), Uses: o.Uses, Approve: o.Approve, IssuerAdmits: o.IssuerAdmits}
	r.mu.Lock()
	v, commit, err := r.issue(protocol.KindInvite, body, &protocol.Aside{Lobby: link.Lobby()})
	r.mu.Unlock()
	if err != nil {
		return "", fmt.Errorf("invite: %w", err)
	}
	if err := r.finish(ctx, commit, v); err != nil {
		return "", fmt.Errorf("invite: %w", err)
	}
	return link.Text(), nil
}

// linkAddrs returns up to four of this node's addresses for a link: what others can
// reach best first, loopback only where there is nothing else.
func (n *Node) linkAddrs() [][]byte {
	var out [][]byte
	for _, a := range n.disc.own() {
		if len(out) < protocol.MaxLinkAddrs {
			out = append(out, a.Bytes())
		}
	}
	return out
}

// Join asks to be admitted by whoever may admit and is found: by the link's
// addresses, remembered addresses, mDNS or the DHT. It returns when this node is a
// member and has the group's history as the admitter has it; ctx bounds it.
// Joining a group one is in returns its id. Where a person has to approve, it asks
// again until they have: an ErrApproval when ctx ends says that they have not, and
// that it is worth trying later.
func (n *Node) Join(ctx context.Context, text string) (protocol.ID, error) {
	if err := n.alive(); err != nil {
		return protocol.ID{}, err
	}
	link, err := protocol.ParseLink(text)
	if err != nil {
		return protocol.ID{}, err
	}
	if r, err := n.room(link.Group); err == nil && r.stillIn(ctx) {
		return link.Group, nil
	}
	var last error
	waits := false
	for _, b := range link.Addrs {
		if a, err := ma.NewMultiaddrBytes(b); err == nil {
			if info, err := peer.AddrInfoFromP2pAddr(a); err == nil {
				if n.cfg.DHT == DHTOff && n.cfg.Host == nil && !local(a) {
					last = fmt.Errorf("%w: %s", ErrOutside, a)
				}
				n.disc.found(*info, "link")
			}
		}
	}
	stop := n.disc.seek(protocol.DHTKey(link.Lobby()))
	defer stop()
	for {
		changed := n.peers.changes()
		for _, p := range n.joinCandidates() {
			r, err := n.askToJoin(ctx, p, link)
			if err == nil {
				err = n.settleIn(ctx, r, p)
				if err == nil {
					err = n.founded(ctx, r)
				}
				if err == nil || ctx.Err() != nil || r.isMember(r.me.Dev()) {
					return r.group, err
				}
			}
			if errors.Is(err, ErrRefused) {
				return protocol.ID{}, err
			}
			waits = waits || errors.Is(err, ErrApproval)
			n.log.Debug("join", "peer", p, "err", err)
		}
		select {
		case <-changed:
		case <-time.After(retryJoin / 2):
		case <-n.ctx.Done():
			return protocol.ID{}, ErrClosed
		case <-ctx.Done():
			if waits {
				return protocol.ID{}, fmt.Errorf("join: %w: they have the request; try again with the same link later: %w", ErrApproval, ctx.Err())
			}
			return protocol.ID{}, errors.Join(fmt.Errorf("join: %w: %w", ErrNoAdmitter, ctx.Err()), last)
		}
	}
}

// joinCandidates returns the connected peers that were not asked just now.
func (n *Node) joinCandidates() []peer.ID {
	var out []peer.ID
	for _, p := range n.peers.all() {
		n.peers.with(p, func(s *peerState) {
			if n.now().Sub(s.joined) >= retryJoin {
				s.joined = n.now()
				out = append(out, p)
			}
		})
	}
	return out
}

// askToJoin runs the joiner's side with one peer. An ErrRefused is an answer by
// somebody who may admit; other errors mean to try elsewhere.
func (n *Node) askToJoin(ctx context.Context, p peer.ID, link protocol.Link) (*room, error) {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	w, err := n.dial(ctx, p, joinProtocol, joinTimeout)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = w.stream.Reset() })
	defer stop()
	r, err := n.joinBy(ctx, w, link)
	w.end(err)
	return r, err
}

func (n *Node) joinBy(ctx context.Context, w *wire, link protocol.Link) (*room, error) {
	h := &protocol.Hello{PeerI: string(n.host.ID()), PeerR: string(w.peer())}
	_, _ = rand.Read(h.NonceI[:])
	if err := w.send(protocol.FrameHelloNonce, protocol.HelloNonce{Nonce: h.NonceI}); err != nil {
		return nil, err
	}
	var nonce protocol.HelloNonce
	if err := w.expect(protocol.FrameHelloNonce, &nonce); err != nil {
		return nil, err
	}
	h.NonceR = nonce.Nonce
	if err := w.send(protocol.FrameLobby, protocol.Lobby{Tag: h.LobbyTag(link.Lobby(), protocol.Initiator)}); err != nil {
		return nil, err
	}
	var lobby protocol.Lobby
	if err := w.expect(protocol.FrameLobby, &lobby); err != nil {
		return nil, err
	}
	if lobby.Tag != h.LobbyTag(link.Lobby(), protocol.Responder) {
		return nil, fmt.Errorf("peer %s does not know the invite", w.peer())
	}
	tag, err := n.founderTag(ctx, h, link.Group, lobby.Founder)
	if err != nil {
		return nil, err
	}
	me := n.account.Identity(tag)
	request, box, err := link.Request(me, n.displayName(), rand.Reader)
	if err != nil {
		return nil, err
	}
	if err := w.send(protocol.FrameRequest, request); err != nil {
		return nil, err
	}
	var sealed []byte
	if err := w.expect(protocol.FrameWelcome, &sealed); err != nil {
		var refused *protocol.RefusedError
		switch {
		case !errors.As(err, &refused), refused.Code == protocol.RefusedBusy:
			return nil, err
		case refused.Code == protocol.RefusedApproval:
			return nil, fmt.Errorf("%w: %w", ErrApproval, err)
		}
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	welcome, _, err := protocol.OpenWelcome(link.Group, me.Dev(), box, sealed)
	if err != nil {
		return nil, err
	}
	return n.welcomed(ctx, link.Group, tag, welcome)
}

// welcomed opens the room that a welcome gives the keys of. Its secrets are claims
// until the group's own events confirm them.
func (n *Node) welcomed(ctx context.Context, group protocol.ID, tag [32]byte, w protocol.Welcome) (*room, error) {
	n.enter.Lock()
	defer n.enter.Unlock()
	if r, err := n.room(group); err == nil {
		r.again()
		return r, r.addSecrets(ctx, w)
	}
	r, err := n.openRoom(ctx, group, roomMeta{Tag: tag, Name: w.Name})
	if err != nil {
		return nil, err
	}
	if err := r.addSecrets(ctx, w); err != nil {
		return nil, err
	}
	n.addRoom(r)
	n.introduced(w.Addrs)
	return r, nil
}

// again forgets that the room was complete: who comes back waits for what they missed.
func (r *room) again() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.synced = time.Time{}
}

func (r *room) addSecrets(ctx context.Context, w protocol.Welcome) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range w.Epochs {
		if e.E.IsZero() {
			continue // a later step of an epoch is for groups whose history begins with the newcomer
		}
		if err := r.saveSecret(ctx, e.Epoch, e.E); err != nil {
			return err
		}
		r.keys.Add(e.Epoch, e.E)
	}
	r.meta.Secrets, r.keys.ordered = w.Secrets, protocol.Choice{}
	r.openEpochs()
	return r.saveMeta(ctx)
}

// settleIn greets the peers again, now as a member, and waits for the history.
func (n *Node) settleIn(ctx context.Context, r *room, admitter peer.ID) error {
	ctx, cancel := context.WithTimeout(ctx, settleMost)
	defer cancel()
	for _, p := range n.peers.all() {
		if p != admitter {
			n.spawn(func(ctx context.Context) { n.greet(ctx, p) })
		}
	}
	if err := n.hello(ctx, admitter); err != nil {
		return fmt.Errorf("joined, and the history is not here yet: %w", err)
	}
	for {
		changed := n.peers.changes()
		if r.isMember(r.me.Dev()) && !r.lastSync().IsZero() {
			r.refreshProfile()
			return nil
		}
		select {
		case <-changed:
		case <-n.ctx.Done():
			return ErrClosed
		case <-ctx.Done():
			return fmt.Errorf("joined, and the history is not here yet: %w", ctx.Err())
		}
	}
}

func (r *room) lastSync() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.synced
}
