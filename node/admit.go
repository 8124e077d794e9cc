package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

// openInvite is an invite of a group, seen by somebody who may admit to it.
type openInvite struct {
	room  *room
	id    protocol.ID
	body  *protocol.Invite
	lobby protocol.Secret
	// over is the refusal that everybody gets here who asks by it, 0 where it admits.
	over uint64
}

// knownInvites returns the invites that this node can say something about: also those
// that are over, because who asks by one should be told so.
func (n *Node) knownInvites() []openInvite {
	var out []openInvite
	for _, r := range n.allRooms() {
		r.mu.Lock()
		out = append(out, r.knownInvites()...)
		r.mu.Unlock()
	}
	return out
}

// openInvites returns the invites this node may admit by, expired ones too.
func (n *Node) openInvites() []openInvite {
	var out []openInvite
	for _, r := range n.allRooms() {
		out = append(out, r.openInvites()...)
	}
	return out
}

func (r *room) openInvites() []openInvite {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mayAdmitBy()
}

// mayAdmitBy is openInvites for one room. The caller holds mu.
func (r *room) mayAdmitBy() []openInvite {
	return slices.DeleteFunc(r.knownInvites(), func(in openInvite) bool { return in.over != 0 })
}

// knownInvites is the same for one room. The caller holds mu.
func (r *room) knownInvites() []openInvite {
	me, ok := r.current().Standing(r.me.Root())
	if !ok || me.Rank > protocol.Greeter {
		return nil
	}
	live := make(map[protocol.ID]bool)
	for _, id := range r.current().Invites() {
		live[id] = true
	}
	var out []openInvite
	for _, id := range r.set.Invites() {
		v, c, _ := r.set.Get(id)
		lobby, ok := r.lobby(v)
		if !ok {
			continue
		}
		in := openInvite{room: r, id: id, body: c.(*protocol.Invite), lobby: lobby}
		switch author, _ := r.set.Author(id); {
		case !live[id]:
			in.over = protocol.RefusedRevoked
		case in.body.Rank <= me.Rank, in.body.IssuerAdmits && author != me.Root:
			in.over = protocol.RefusedElsewhere
		}
		out = append(out, in)
	}
	return out
}

// lobby opens an invite's lobby secret, once. The caller holds mu.
func (r *room) lobby(v protocol.Verified) (protocol.Secret, bool) {
	if s, ok := r.lobbies[v.ID()]; ok {
		return s, true
	}
	aside, err := r.aside(v)
	if err != nil || aside.Lobby.IsZero() {
		return protocol.Secret{}, false
	}
	r.lobbies[v.ID()] = aside.Lobby
	return aside.Lobby, true
}

// serveJoin is the admitter's side of a join.
func (n *Node) serveJoin(ctx context.Context, w *wire) error {
	var peer *peerState
	n.peers.with(w.peer(), func(s *peerState) {
		if s.joining < joinsPerPeer {
			s.joining++
			peer = s
		}
	})
	if peer == nil {
		return w.send(protocol.FrameRefused, protocol.Refusal{Code: protocol.RefusedBusy})
	}
	defer n.peers.do(func() { peer.joining-- })
	slow := time.AfterFunc(joinTimeout, func() { _ = w.stream.Reset() })
	defer slow.Stop()
	h := &protocol.Hello{PeerI: string(w.peer()), PeerR: string(n.host.ID())}
	var nonce protocol.HelloNonce
	if err := w.expect(protocol.FrameHelloNonce, &nonce); err != nil {
		return err
	}
	h.NonceI = nonce.Nonce
	_, _ = rand.Read(h.NonceR[:])
	if err := w.send(protocol.FrameHelloNonce, protocol.HelloNonce{Nonce: h.NonceR}); err != nil {
		return err
	}
	var lobby protocol.Lobby
	if err := w.expect(protocol.FrameLobby, &lobby); err != nil {
		return err
	}
	for _, in := range n.knownInvites() {
		if h.LobbyTag(in.lobby, protocol.Initiator) == lobby.Tag {
			return n.admitBy(ctx, w, h, in)
		}
	}
	return w.send(protocol.FrameRefused, protocol.Refusal{Code: protocol.RefusedUnknown})
}

func (n *Node) admitBy(ctx context.Context, w *wire, h *protocol.Hello, in openInvite) error {
	if err := w.send(protocol.FrameLobby, in.room.lobbyAnswer(h, in.lobby)); err != nil {
		return err
	}
	var payload cbor.RawMessage
	if err := w.expect(protocol.FrameRequest, &payload); err != nil {
		return err
	}
	// Only who holds a link and has asked takes one of the places: who waits with it would
	// keep others out.
	select {
	case n.joins <- struct{}{}:
		defer func() { <-n.joins }()
	default:
		return w.send(protocol.FrameRefused, protocol.Refusal{Code: protocol.RefusedBusy})
	}
	request, err := protocol.ParseJoinRequest(in.room.group, payload)
	if err == nil && request.Invite != in.body.Key {
		err = errors.New("it answers another invite")
	}
	if err != nil {
		_ = w.send(protocol.FrameRefused, protocol.Refusal{Code: protocol.RefusedInvalid})
		return fmt.Errorf("join request: %w", err)
	}
	var sealed []byte
	welcome, err := in.room.admitJoiner(ctx, in, request, false)
	if err == nil {
		sealed, err = welcome.Seal(in.room.group, request, in.room.me.Signer())
	}
	var refused *protocol.RefusedError
	switch {
	case errors.As(err, &refused):
		return w.send(protocol.FrameRefused, protocol.Refusal{Code: refused.Code})
	case err != nil:
		_ = w.send(protocol.FrameRefused, protocol.Refusal{Code: protocol.RefusedBusy})
		return err
	}
	return w.send(protocol.FrameWelcome, sealed)
}

// refusal says why an invite does not admit somebody who asked at a time. The caller
// holds the room's mutex, so that two newcomers cannot both be the last.
func (in openInvite) refusal(q protocol.JoinRequest, asked time.Time) error {
	roster := in.room.current()
	_, revoked := roster.Revocation(q.Cert.Root, q.Cert.Dev)
	switch {
	case revoked, in.body.Rank >= protocol.Relay: // a grant would not bring the device back; relays are of a later version
		return &protocol.RefusedError{Code: protocol.RefusedInvalid}
	case len(roster.Banned(q.Cert.Root)) > 0: // also where this person could overcome the ban: nobody is let back in unawares
		return &protocol.RefusedError{Code: protocol.RefusedBanned}
	case in.over == protocol.RefusedRevoked:
		return &protocol.RefusedError{Code: protocol.RefusedRevoked}
	case expired(in.body, asked):
		return &protocol.RefusedError{Code: protocol.RefusedExpired}
	case in.body.Uses != 0 && roster.Admissions(in.id) >= int(in.body.Uses):
		return &protocol.RefusedError{Code: protocol.RefusedUsedUp}
	case in.over != 0:
		return &protocol.RefusedError{Code: in.over}
	}
	return nil
}

// admitJoiner grants the invite's rank and makes the welcome. The grant is durable
// before the newcomer hears of it. approved says that a person has said yes.
func (r *room) admitJoiner(ctx context.Context, in openInvite, q protocol.JoinRequest, approved bool) (protocol.Welcome, error) {
	grant, commit, err := r.grantTo(ctx, in, q, approved)
	if err != nil {
		return protocol.Welcome{}, err
	}
	if commit != nil {
		if err := r.finish(ctx, commit, grant); err != nil {
			return protocol.Welcome{}, err
		}
	}
	w, err := r.welcome(q.Cert.Root)
	if err != nil {
		return w, err
	}
	if err := r.announce(ctx, protocol.MaxSeq); err != nil { // what the newcomer gets is durable
		return w, err
	}
	w.Grant, w.Addrs = grant.ID(), r.n.welcomeAddrs(r)
	return w, nil
}

// welcome collects what somebody who was admitted needs to read the group.
func (r *room) welcome(root protocol.Key) (protocol.Welcome, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	epochs, err := r.welcomeEpochs(root)
	if err != nil {
		return protocol.Welcome{}, err
	}
	secrets := r.arrange()
	return protocol.Welcome{
		Epochs: epochs, Name: r.name(), Secrets: slices.Clone(secrets[:min(len(secrets), protocol.MaxWelcomeSecrets)]),
	}, nil
}

// grantTo issues the admission, or keeps the request for a person. Who is in already
// is welcomed again under the grant that stands: the first welcome may have been lost
// on the way, or a person has approved meanwhile.
func (r *room) grantTo(ctx context.Context, in openInvite, q protocol.JoinRequest, approved bool) (protocol.Verified, *storage.Commit, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if owner, ok := r.current().Owner(q.Cert.Dev); ok {
		v, _, _ := r.set.Get(owner.Grant)
		return v, nil, nil
	}
	now := r.n.now()
	if err := in.refusal(q, now); err != nil {
		return protocol.Verified{}, nil, err
	}
	if r.asksPerson(in) && !approved {
		return protocol.Verified{}, nil, r.hold(ctx, in, q)
	}
	if !r.grants.AllowN(now, 1) { // a leaked link must not fill the log
		return protocol.Verified{}, nil, &protocol.RefusedError{Code: protocol.RefusedBusy}
	}
	i := r.admission(in, q)
	return r.issue(i.kind, i.clear, i.aside)
}

// admission is the grant that answers a request. The caller holds mu.
func (r *room) admission(in openInvite, q protocol.JoinRequest) intent {
	g := &protocol.Grant{Target: q.Cert.Root, Rank: in.body.Rank, Invite: in.id, Cert: &q.Cert, Proof: &q.Proof}
	if d, _, err := r.draftControl(protocol.KindGrant); err == nil { // issuing it tells what is wrong
		if past, err := r.set.PastOf(d); err == nil {
			g.Steps = r.keys.Steps(r.current(), past, r.time(), protocol.LeaveGrace)
		}
	}
	i := intent{kind: protocol.KindGrant, clear: g}
	// So that the group can say who joined before the profile arrives. That must not
	// keep anybody out while there is no key to seal it under.
	if _, err := r.sendEpoch(); err == nil && q.Name != "" {
		i.aside = &protocol.Aside{Text: q.Name}
	}
	return i
}

// welcomeAddrs returns addresses at which a newcomer finds members.
func (n *Node) welcomeAddrs(r *room) [][]byte {
	out := n.linkAddrs()
	for _, p := range n.members(r) {
		for _, a := range n.disc.addrs(p) {
			if len(out) < protocol.MaxWelcomeAddrs {
				out = append(out, a.Bytes())
			}
		}
	}
	return out
}
