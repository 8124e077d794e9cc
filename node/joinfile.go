package node

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"github.com/fxamacker/cbor/v2"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

// Joining by two files, for people who meet without a network: the newcomer writes a
// request, who may admit answers it, and the newcomer reads the answer.

// ownFile is a request that this node wrote to a file, until its answer is read. Then
// the key goes, and what is left says that the answer was used.
type ownFile struct {
	Group protocol.ID     `cbor:"1,keyasint"`
	Tag   [32]byte        `cbor:"3,keyasint"` // what the identity is derived from
	Box   protocol.Secret `cbor:"5,keyasint"` // seed of the key that the welcome is sealed to
	Made  int64           `cbor:"7,keyasint"` // Unix milliseconds
}

func (f *ownFile) used() bool { return f.Box.IsZero() }

// RequestFile makes a request to join by a link, as a file for somebody who may admit.
// The key that opens the answer stays here. An answer is to the link's question.
func (n *Node) RequestFile(ctx context.Context, text, answer string) ([]byte, error) {
	if err := n.alive(); err != nil {
		return nil, err
	}
	link, err := protocol.ParseLink(text)
	if err != nil {
		return nil, err
	}
	own := ownFile{Group: link.Group, Tag: link.Group, Made: n.now().UnixMilli()}
	if r, err := n.room(link.Group); err == nil {
		if r.isMember(r.me.Dev()) {
			return nil, fmt.Errorf("%w: you are in the group already", ErrNothing)
		}
		own.Tag = r.meta.Tag
	}
	if err := checkAnswer(link, answer); err != nil {
		return nil, err
	}
	if own.Box, err = protocol.NewSecret(rand.Reader); err != nil {
		return nil, err
	}
	box, err := protocol.DeriveBoxKey(true, own.Box)
	if err != nil {
		return nil, err
	}
	request, err := link.Request(n.account.Identity(own.Tag), box, n.displayName(), answer, rand.Reader)
	if err != nil {
		return nil, err
	}
	return request.File(link.Group), n.keepFile(ctx, request.ID(), own)
}

// keepFile stores what opens the answer to a request, and drops the oldest of too many.
func (n *Node) keepFile(ctx context.Context, request protocol.ID, own ownFile) error {
	stored, err := n.store.List(ctx, spaceAsked)
	if err != nil {
		return err
	}
	type kept struct {
		key  string
		made int64
	}
	var all []kept
	for key, value := range stored {
		var f ownFile
		_ = cbor.Unmarshal(value, &f) // a damaged one is the oldest
		all = append(all, kept{key, f.Made})
	}
	slices.SortFunc(all, func(a, b kept) int { return cmp.Compare(a.made, b.made) })
	for len(all) >= filesAsked {
		if err := n.store.Delete(ctx, spaceAsked, all[0].key); err != nil {
			return err
		}
		all = all[1:]
	}
	return n.putFile(ctx, request, own)
}

func (n *Node) putFile(ctx context.Context, request protocol.ID, own ownFile) error {
	b, err := cbor.Marshal(own)
	if err != nil {
		return err
	}
	return n.store.Put(ctx, spaceAsked, request.Text(""), b)
}

// ReadRequest says who asks to join which group in a file. The state is "open" where
// the answer takes nobody's yes, "waiting" where it does, and "approved" of members.
func (n *Node) ReadRequest(data []byte) (protocol.ID, Request, error) {
	in, q, err := n.readRequest(data)
	if err != nil {
		return protocol.ID{}, Request{}, err
	}
	r := in.room
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.describeRequest(in.id, q)
	out.Asked, out.State = n.now(), "open"
	if r.asksPerson(in) {
		out.State = "waiting"
	}
	if _, member := r.current().Owner(q.Cert.Dev); member {
		out.State = "approved"
	}
	return r.group, out, nil
}

func (n *Node) readRequest(data []byte) (in openInvite, q protocol.JoinRequest, err error) {
	group, q, err := protocol.ParseRequestFile(data)
	if err != nil {
		return in, q, err
	}
	r, err := n.room(group)
	if err != nil {
		return in, q, fmt.Errorf("the request is to join a group that you are not in: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, err := r.standing(protocol.KindInvite); err != nil {
		return in, q, err
	}
	known := r.knownInvites()
	i := slices.IndexFunc(known, func(in openInvite) bool { return in.body.Key == q.Invite })
	if i < 0 {
		return in, q, fmt.Errorf("%w: the request answers an invitation that this device has not heard of yet", ErrUnknownInvite)
	}
	return known[i], q, nil
}

// AnswerRequest admits who asks to join in a file, and returns the answer as a file: the
// keys, and what the group has said so far. approved says that a person has said yes;
// ErrApproval that one has to. Answering again makes another welcome and no second
// grant. ErrNotAllowed says why the invitation does not admit.
func (n *Node) AnswerRequest(ctx context.Context, data []byte, approved bool) ([]byte, error) {
	in, q, err := n.readRequest(data)
	if err != nil {
		return nil, err
	}
	r := in.room
	if err := r.mayAnswer(in, q, approved); err != nil {
		return nil, err
	}
	w, err := r.admitJoiner(ctx, in, q, approved)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotAllowed, err)
	}
	bundle, err := r.bundle(ctx)
	if err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	return w.SealFile(r.group, q, r.me.Signer(), bundle, rand.Reader)
}

// mayAnswer says before anything changes why a request in a file cannot be answered.
func (r *room) mayAnswer(in openInvite, q protocol.JoinRequest, approved bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, member := r.current().Owner(q.Cert.Dev); member {
		return nil
	}
	if err := in.refusal(q, r.n.now()); err != nil {
		return fmt.Errorf("%w: %w", ErrNotAllowed, err)
	}
	if r.set.Spent(q.Proof) {
		return fmt.Errorf("%w: the request was used before; they have to make a new one", ErrNotAllowed)
	}
	if r.asksPerson(in) && !approved {
		return ErrApproval
	}
	return nil
}

// JoinByFile reads the answer to a request that this node wrote to a file. It changes
// nothing before all of it is checked, and nothing when it is read again. Errors:
// ErrBadFile, also for the answer to somebody else's request.
func (n *Node) JoinByFile(ctx context.Context, data []byte) (protocol.ID, error) {
	f, err := protocol.ParseWelcomeFile(data)
	if err != nil {
		return protocol.ID{}, err
	}
	own, err := n.ownFile(ctx, f)
	if err != nil {
		return protocol.ID{}, err
	}
	if own.used() {
		if r, err := n.room(f.Group); err == nil && r.isMember(r.me.Dev()) {
			return f.Group, nil
		}
		return protocol.ID{}, fmt.Errorf("%w: it was used before, and you are not in the group any more; ask again", ErrBadFile)
	}
	box, err := protocol.DeriveBoxKey(true, own.Box)
	if err != nil {
		return protocol.ID{}, err
	}
	me := n.account.Identity(own.Tag)
	w, admitter, frames, err := f.Open(me.Dev(), box)
	if err != nil {
		return protocol.ID{}, err
	}
	b, err := readBundle(f.Group, frames)
	if err == nil {
		err = b.check(me, admitter, w)
	}
	if err != nil {
		return protocol.ID{}, fmt.Errorf("%w: %w", ErrBadFile, err)
	}
	r, err := n.welcomed(ctx, f.Group, own.Tag, w)
	if err != nil {
		return protocol.ID{}, err
	}
	if err := r.unpack(ctx, b); err != nil {
		return protocol.ID{}, fmt.Errorf("join: the welcome is good, and not all of it is stored: %w; read it again", err)
	}
	n.greetAll("") // who is connected does not know yet that this node is in the group
	own.Box = protocol.Secret{}
	return f.Group, n.putFile(ctx, f.Request, own)
}

// ownFile returns what this node keeps for the answer to a request of its own.
func (n *Node) ownFile(ctx context.Context, f protocol.WelcomeFile) (own ownFile, err error) {
	if err := n.alive(); err != nil {
		return own, err
	}
	b, err := n.store.Get(ctx, spaceAsked, f.Request.Text(""))
	if errors.Is(err, storage.ErrNotFound) {
		return own, fmt.Errorf("%w: it answers a request that this profile did not make, or of which it has made %d newer ones", ErrBadFile, filesAsked)
	}
	if err != nil {
		return own, err
	}
	if err := cbor.Unmarshal(b, &own); err != nil {
		return own, fmt.Errorf("the request in the store is damaged: %w", err)
	}
	if own.Group != f.Group {
		return own, fmt.Errorf("%w: it is for another group than the request", ErrBadFile)
	}
	return own, nil
}
