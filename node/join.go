package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
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
	aside := &protocol.Aside{Lobby: link.Lobby()}
	if o.Question != "" {
		if err := ask(&link, aside, o.Question); err != nil {
			return "", fmt.Errorf("invite: %w", err)
		}
		o.Approve = true
	}
	if o.Rank == 0 {
		o.Rank = protocol.Member
	}
	if o.Expiry == 0 {
		o.Expiry = 7 * 24 * time.Hour
	}
	body := &protocol.Invite{Key: link.PublicKey(), Rank: o.Rank, Expiry: uint64(n.now().Add(o.Expiry).Unix()), Uses: o.Uses, Approve: o.Approve, IssuerAdmits: o.IssuerAdmits}
	r.mu.Lock()
	v, commit, err := r.issue(protocol.KindInvite, body, aside)
	r.mu.Unlock()
	if err != nil {
		return "", fmt.Errorf("invite: %w", err)
	}
	if err := r.finish(ctx, commit, v); err != nil {
		return "", fmt.Errorf("invite: %w", err)
	}
	return link.Text(), nil
}

// ask has a link and what is sealed beside its invite ask a question.
func ask(link *protocol.Link, aside *protocol.Aside, question string) error {
	if !utf8.ValidString(question) || strings.ContainsAny(question, "\r\n") {
		return fmt.Errorf("%w: a question is one line", ErrNotText)
	}
	seed, err := protocol.NewSecret(rand.Reader)
	if err != nil {
		return err
	}
	aside.Text, aside.Ask = question, seed
	return link.Ask(question, seed)
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

// JoinOptions shape how somebody asks to be admitted.
type JoinOptions struct {
	// Answer is to the question that the link asks, at most 500 bytes. Who may admit
	// reads it, and no other holder of the link.
	Answer string
	// NoWait returns ErrApproval as soon as a person has to approve, rather than wait
	// for that.
	NoWait bool
}

// Join asks to be admitted by whoever may admit and is found: by the link's
// addresses, remembered addresses, mDNS or the DHT. It returns when this node is a
// member and has the group's history as the admitter has it; ctx bounds it.
// Joining a group one is in returns its id. Where a person has to approve, it asks
// again until they have: an ErrApproval when ctx ends says that they have not, and
// that it is worth trying later.
func (n *Node) Join(ctx context.Context, text string) (protocol.ID, error) {
	return n.JoinWith(ctx, text, JoinOptions{})
}

// JoinWith is Join with options.
func (n *Node) JoinWith(ctx context.Context, text string, o JoinOptions) (protocol.ID, error) {
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
	if err := checkAnswer(link, o.Answer); err != nil {
		return protocol.ID{}, err
	}
	j := &joining{n: n, link: link, o: o, asked: make(map[peer.ID]time.Time), named: make(map[peer.ID]bool), requests: make(map[[32]byte]ownRequest)}
	j.seekAdmitters()
	stop := n.disc.seek(protocol.DHTKey(link.Lobby()))
	defer stop()
	for {
		changed := n.peers.changes()
		for _, p := range j.candidates() {
			if group, done, err := j.try(ctx, p); done {
				return group, err
			}
		}
		select {
		case <-changed:
		case <-time.After(retryJoin / 2):
		case <-n.ctx.Done():
			return protocol.ID{}, ErrClosed
		case <-ctx.Done():
			return protocol.ID{}, j.gaveUp(ctx.Err())
		}
	}
}

// checkAnswer says whether an answer is what a link asks for.
func checkAnswer(link protocol.Link, answer string) error {
	switch {
	case link.Question != "" && answer == "":
		return fmt.Errorf("%w: %q", ErrQuestion, link.Question)
	case link.Question == "" && answer != "":
		return ErrNoQuestion
	case len(answer) > protocol.MaxAnswerSize:
		return fmt.Errorf("the answer: %w: %d bytes, at most %d", ErrTooLarge, len(answer), protocol.MaxAnswerSize)
	}
	return nil
}

// joining is one attempt to join. Two may run at once in a node.
type joining struct {
	n        *Node
	link     protocol.Link
	o        JoinOptions
	asked    map[peer.ID]time.Time
	named    map[peer.ID]bool        // by the link
	requests map[[32]byte]ownRequest // by what the identity is derived from
	last     error                   // why the search did not find more
}

// ownRequest is one question, however often and of whomever it is asked: who answers
// knows it again by its proof.
type ownRequest struct {
	request protocol.JoinRequest
	box     protocol.BoxKey
}

// seekAdmitters tries the link's addresses.
func (j *joining) seekAdmitters() {
	for _, b := range j.link.Addrs {
		a, err := ma.NewMultiaddrBytes(b)
		if err != nil {
			continue
		}
		if info, err := peer.AddrInfoFromP2pAddr(a); err == nil {
			if j.n.cfg.DHT == DHTOff && j.n.cfg.Host == nil && !local(a) {
				j.last = fmt.Errorf("%w: %s", ErrOutside, a)
			}
			j.named[info.ID] = true
			j.n.disc.found(*info, "link")
		}
	}
}

// candidates returns the connected peers that were not asked just now, those that the
// link names first: any other can hold a join up.
func (j *joining) candidates() []peer.ID {
	var out []peer.ID
	for _, p := range j.n.peers.all() {
		if at, ok := j.asked[p]; !ok || time.Since(at) >= retryJoin {
			j.asked[p] = time.Now()
			out = append(out, p)
		}
	}
	place := func(p peer.ID) int {
		if j.named[p] {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(out, func(a, b peer.ID) int { return place(a) - place(b) })
	return out
}

// try asks one peer, and says whether that is the end of it.
func (j *joining) try(ctx context.Context, p peer.ID) (group protocol.ID, done bool, err error) {
	r, err := j.ask(ctx, p)
	if err == nil {
		err = j.n.settleIn(ctx, r, p)
		if err == nil {
			err = j.n.founded(ctx, r)
		}
		failures, lost := r.log.Failures()
		if failures > 0 { // a full disk: nobody else can help
			return r.group, true, fmt.Errorf("%w: %w", ErrUnsettled, lost)
		}
		if r.isMember(r.me.Dev()) && errors.Is(err, ErrUnsettled) {
			err = nil // the history takes its time
		}
		if err == nil || ctx.Err() != nil || r.isMember(r.me.Dev()) {
			return r.group, true, err
		}
		j.last = err
	}
	j.n.log.Debug("join", "peer", p, "err", err)
	switch {
	case errors.Is(err, ErrRefused), errors.Is(err, storage.ErrNotStored): // this disk is full: nobody else can help
		return group, true, err
	case errors.Is(err, ErrApproval):
		j.last = ErrApproval
		return group, j.o.NoWait, err
	case errors.Is(err, ErrElsewhere) && !errors.Is(j.last, ErrApproval):
		j.last = ErrElsewhere
	}
	return group, false, err
}

// gaveUp says why a search that took too long found nothing.
func (j *joining) gaveUp(why error) error {
	switch {
	case errors.Is(j.last, ErrApproval):
		return fmt.Errorf("join: %w: they have the request; try again with the same link later: %w", ErrApproval, why)
	case errors.Is(j.last, ErrElsewhere):
		return fmt.Errorf("join: %w, and nobody else was reachable: %w", ErrElsewhere, why)
	}
	if errors.Is(j.last, ErrUnsettled) {
		return fmt.Errorf("join: %w", j.last)
	}
	return errors.Join(fmt.Errorf("join: %w: %w", ErrNoAdmitter, why), j.last)
}

// ask runs the joiner's side with one peer. An ErrRefused is an answer by somebody who
// may admit; other errors mean to try elsewhere.
func (j *joining) ask(ctx context.Context, p peer.ID) (*room, error) {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	w, err := j.n.dial(ctx, p, joinProtocol, joinTimeout)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = w.stream.Reset() })
	defer stop()
	r, err := j.talk(ctx, w)
	w.end(err)
	return r, err
}

// request returns the request under an identity, made when it is first needed.
func (j *joining) request(tag [32]byte) (ownRequest, error) {
	if r, ok := j.requests[tag]; ok {
		return r, nil
	}
	box, err := protocol.NewBoxKey(true)
	if err != nil {
		return ownRequest{}, err
	}
	request, err := j.link.Request(j.n.identity(j.link.Group, tag), box, j.n.displayName(), j.o.Answer, rand.Reader)
	if err == nil {
		j.requests[tag] = ownRequest{request, box}
	}
	return j.requests[tag], err
}

func (j *joining) talk(ctx context.Context, w *wire) (*room, error) {
	n, link := j.n, j.link
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
	own, err := j.request(tag)
	if err != nil {
		return nil, err
	}
	if err := w.send(protocol.FrameRequest, own.request); err != nil {
		return nil, err
	}
	var sealed []byte
	if err := w.expect(protocol.FrameWelcome, &sealed); err != nil {
		return nil, refusedBy(err)
	}
	welcome, _, err := protocol.OpenWelcome(link.Group, own.request.Cert.Dev, own.box, sealed)
	if err != nil {
		return nil, err
	}
	n.disc.remember(w.peer(), time.Now())
	return n.welcomed(ctx, link.Group, tag, welcome)
}

// refusedBy says what a refusal of a join means for who asked.
func refusedBy(err error) error {
	var refused *protocol.RefusedError
	if !errors.As(err, &refused) {
		return err
	}
	switch refused.Code {
	case protocol.RefusedBusy:
		return err
	case protocol.RefusedApproval:
		return fmt.Errorf("%w: %w", ErrApproval, err)
	case protocol.RefusedElsewhere:
		return fmt.Errorf("%w: %w", ErrElsewhere, err)
	case protocol.RefusedBanned:
		return fmt.Errorf("%w: %w", ErrBanned, err)
	}
	return fmt.Errorf("%w: %w", ErrRefused, err)
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
	// Kept, as the network may be gone before anybody was greeted as a member.
	for _, info := range named(w.Addrs) {
		n.disc.keep(info.ID, usable(info), time.Time{})
	}
	n.introduced(w.Addrs)
	return r, nil
}

// again forgets that the room was complete, and that it had the newest: who comes back
// waits for what they missed.
func (r *room) again() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.synced, r.paged = time.Time{}, false
}

func (r *room) addSecrets(ctx context.Context, w protocol.Welcome) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range w.Epochs {
		if r.keys.Held(e.Epoch) && !r.keys.Betters(r.set, e) {
			continue // a welcome may be invented, and must not take the place of what is known
		}
		if err := r.saveSecret(ctx, e); err != nil {
			return err
		}
		r.keys.Add(e)
	}
	r.meta.Secrets, r.keys.ordered = w.Secrets, protocol.Choice{}
	r.openEpochs()
	return r.saveMeta(ctx)
}

// greetAll greets who is connected, but for one, once more: this node is in one group more.
func (n *Node) greetAll(but peer.ID) {
	for _, p := range n.peers.all() {
		if p != but {
			n.spawn(func(ctx context.Context) { n.greet(ctx, p) })
		}
	}
}

// settleIn greets the peers again, now as a member, and waits for the newest of the
// history.
func (n *Node) settleIn(ctx context.Context, r *room, admitter peer.ID) error {
	ctx, cancel := context.WithTimeout(ctx, settleMost)
	defer cancel()
	n.greetAll(admitter)
	if err := n.hello(ctx, admitter); err != nil {
		return fmt.Errorf("%w: %w", ErrUnsettled, err)
	}
	for {
		changed := n.peers.changes()
		if r.isMember(r.me.Dev()) && r.hasPage() {
			r.refreshProfile()
			return nil
		}
		if failures, err := r.log.Failures(); failures > 0 {
			return err
		}
		select {
		case <-changed:
		case <-time.After(retryJoin / 2):
		case <-n.ctx.Done():
			return ErrClosed
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrUnsettled, ctx.Err())
		}
	}
}

// hasPage says whether the newest messages are here that somebody had when asked.
func (r *room) hasPage() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.paged || !r.synced.IsZero()
}

func (r *room) lastSync() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.synced
}
