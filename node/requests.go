package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/p2pchat/p2pchat/protocol"
)

// heldRequest is a request to join that a person has to answer. It stays on this node
// and never enters the group's log, or strangers could fill it.
type heldRequest struct {
	Request []byte      `cbor:"1,keyasint"` // as it came; its proof is what an approval rests on
	Invite  protocol.ID `cbor:"3,keyasint"`
	Asked   int64       `cbor:"5,keyasint"`           // Unix milliseconds
	Denied  int64       `cbor:"7,keyasint,omitempty"` // when a person said no; 0 if nobody did

	parsed protocol.JoinRequest
	stored time.Time // when it was last written, in this run
}

func (h *heldRequest) asked() time.Time { return time.UnixMilli(h.Asked) }

// Requests returns who asked this node to be admitted and needs a person's yes, the
// oldest first. Other nodes that may admit have lists of their own.
func (n *Node) Requests(group protocol.ID) ([]Request, error) {
	r, err := n.room(group)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []Request
	for root, h := range r.acts.requests {
		if r.n.now().Sub(h.asked()) < requestFor {
			q := r.describeRequest(h.Invite, h.parsed)
			q.Asked, q.State = h.asked(), r.stateOf(root, h)
			out = append(out, q)
		}
	}
	slices.SortFunc(out, func(a, b Request) int { return cmp.Or(a.Asked.Compare(b.Asked), a.Key.Compare(b.Key)) })
	return out, nil
}

// describeRequest says who asks by which invite. The caller holds mu.
func (r *room) describeRequest(invite protocol.ID, q protocol.JoinRequest) Request {
	root := q.Cert.Root
	out := Request{
		Person: Person{root, q.Name}, Invite: invite, Rank: protocol.NoRank, BannedBefore: len(r.current().Banned(root)) > 0,
	}
	v, c, ok := r.set.Get(invite)
	in, is := c.(*protocol.Invite)
	if !ok || !is {
		return out
	}
	out.Rank = in.Rank
	if aside, err := r.aside(v); err == nil {
		out.Question = aside.Text
		if out.Answer, err = q.OpenAnswer(r.group, aside.Ask); err != nil {
			r.n.log.Warn("an answer that does not open", "err", err)
		}
	}
	return out
}

// stateOf says what became of a request. The caller holds mu.
func (r *room) stateOf(root protocol.Key, h *heldRequest) string {
	switch {
	case r.current().Rank(root) != protocol.NoRank, r.set.Spent(h.parsed.Proof):
		return "approved" // they may have gone again since
	case h.Denied != 0:
		return "denied"
	}
	return "waiting"
}

// Approve admits somebody who asked: the next time they ask they are welcomed. Who was
// denied can be approved after all. Errors: ErrUnknownName, ErrAmbiguous, and
// ErrNotAllowed where the invite does not admit any more, or they are banned.
func (n *Node) Approve(ctx context.Context, group protocol.ID, who string) (Act, error) {
	r, err := n.room(group)
	if err != nil {
		return Act{}, err
	}
	a, err := r.performOne(ctx, func() ([]intent, error) { return r.planApprove(ctx, who) })
	if err != nil {
		return Act{}, fmt.Errorf("approve: %w", err)
	}
	return a, nil
}

func (r *room) planApprove(ctx context.Context, who string) ([]intent, error) {
	p, h, err := r.request(who)
	if err != nil {
		return nil, err
	}
	if _, err := r.standing(protocol.KindGrant); err != nil {
		return nil, err
	}
	if r.current().Rank(p.Key) != protocol.NoRank {
		return nil, fmt.Errorf("%w: %s is a member already", ErrNothing, p.label())
	}
	if len(r.current().Banned(p.Key)) > 0 {
		return nil, fmt.Errorf("%w: %s is banned; unban them first", ErrNotAllowed, p.label())
	}
	open := r.mayAdmitBy()
	i := slices.IndexFunc(open, func(in openInvite) bool { return in.id == h.Invite })
	if i < 0 {
		return nil, fmt.Errorf("%w: the invite was revoked, or you may not admit by it; send %s another", ErrNotAllowed, p.label())
	}
	if err := open[i].refusal(h.parsed, h.asked()); err != nil {
		return nil, fmt.Errorf("%w: %w; send %s another invite", ErrNotAllowed, err, p.label())
	}
	// What is stored may be an earlier ask, whose proof nobody will have spent: after a
	// restart, and once they went again, it would wait for an answer.
	if err := r.keepRequest(ctx, h); err != nil {
		return nil, err
	}
	return []intent{r.admission(open[i], h.parsed)}, nil
}

// Deny answers no to somebody who asked.
func (n *Node) Deny(ctx context.Context, group protocol.ID, who string) error {
	r, err := n.room(group)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	p, h, err := r.request(who)
	if err != nil {
		return fmt.Errorf("deny: %w", err)
	}
	if state := r.stateOf(p.Key, h); state != "waiting" {
		return fmt.Errorf("deny: %w: the request is %s already", ErrNothing, state)
	}
	denied := *h
	denied.Denied = r.n.now().UnixMilli()
	if err := r.keepRequest(ctx, &denied); err != nil {
		return fmt.Errorf("deny: %w", err)
	}
	return nil
}

// request finds a request by who made it: of those that wait, then of the others. The
// caller holds mu.
func (r *room) request(who string) (Person, *heldRequest, error) {
	var waiting, all []Person
	for root, h := range r.acts.requests {
		p := Person{root, h.parsed.Name}
		all = append(all, p)
		if r.stateOf(root, h) == "waiting" {
			waiting = append(waiting, p)
		}
	}
	p, err := choose(who, waiting)
	if errors.Is(err, ErrUnknownName) {
		p, err = choose(who, all)
	}
	if err != nil {
		return p, nil, fmt.Errorf("of those who asked to join this node: %w", err)
	}
	return p, r.acts.requests[p.Key], nil
}

// asksPerson says whether a person has to approve who comes by an invite. The caller
// holds mu.
func (r *room) asksPerson(in openInvite) bool {
	if r.met[in.id] { // a person has said yes already: they compared
		return false
	}
	switch r.valueOf(protocol.SettingAdmission) {
	case protocol.AdmissionOpen:
		return false
	case protocol.AdmissionApprove:
		return true
	}
	return in.body.Approve
}

// hold keeps a request for a person, and returns the answer for now. The newest takes
// the place of the one before: of an identity there is one, and its proof may be used
// once. The caller holds mu.
func (r *room) hold(ctx context.Context, in openInvite, q protocol.JoinRequest) error {
	now := r.n.now()
	root := q.Cert.Root
	h := &heldRequest{Request: q.Encode(), Invite: in.id, Asked: now.UnixMilli(), parsed: q}
	old := r.acts.requests[root]
	if old == nil && !r.placeForRequest(ctx) {
		return &protocol.RefusedError{Code: protocol.RefusedBusy}
	}
	if old != nil && now.Sub(old.asked()) < requestFor {
		switch r.stateOf(root, old) {
		case "denied":
			again := now.Sub(time.UnixMilli(old.Denied)) >= deniedFor && q.Proof != old.parsed.Proof
			if old.Invite == in.id && !again {
				return &protocol.RefusedError{Code: protocol.RefusedDenied}
			}
		case "waiting":
			if old.Invite == in.id {
				h.Asked = old.Asked
			}
			if old.Invite == in.id && now.Sub(old.stored) < requestFresh {
				h.stored = old.stored
				r.acts.requests[root] = h
				return &protocol.RefusedError{Code: protocol.RefusedApproval}
			}
		}
	}
	if err := r.keepRequest(ctx, h); err != nil {
		return err
	}
	return &protocol.RefusedError{Code: protocol.RefusedApproval}
}

// placeForRequest drops what is too old and, where the list is full, the oldest that
// has its answer. None that waits is pushed out by another. The caller holds mu.
func (r *room) placeForRequest(ctx context.Context) bool {
	var answered []protocol.Key
	for root, h := range r.acts.requests {
		if r.n.now().Sub(h.asked()) >= requestFor {
			r.dropRequest(ctx, root)
		} else if r.stateOf(root, h) != "waiting" {
			answered = append(answered, root)
		}
	}
	if len(r.acts.requests) < requestsMost {
		return true
	}
	if len(answered) == 0 {
		return false
	}
	r.dropRequest(ctx, slices.MinFunc(answered, func(a, b protocol.Key) int {
		return cmp.Compare(r.acts.requests[a].Asked, r.acts.requests[b].Asked)
	}))
	return true
}

func (r *room) dropRequest(ctx context.Context, root protocol.Key) {
	delete(r.acts.requests, root)
	if err := r.n.store.Delete(ctx, requestSpace(r.group), root.Text("")); err != nil {
		r.n.log.Warn("drop a request to join", "err", err) // the next start drops it
	}
}

// keepRequest stores a request in place of an older one by the same identity. The
// caller holds mu.
func (r *room) keepRequest(ctx context.Context, h *heldRequest) error {
	b, err := cbor.Marshal(h)
	if err != nil {
		return err
	}
	root := h.parsed.Cert.Root
	if err := r.n.store.Put(ctx, requestSpace(r.group), root.Text(""), b); err != nil {
		return err
	}
	h.stored = r.n.now()
	r.acts.requests[root] = h
	return nil
}

func (r *room) loadRequests(ctx context.Context) error {
	r.acts.requests = make(map[protocol.Key]*heldRequest)
	stored, err := r.n.store.List(ctx, requestSpace(r.group))
	if err != nil {
		return err
	}
	for key, value := range stored {
		h := new(heldRequest)
		err := cbor.Unmarshal(value, h)
		if err == nil {
			h.parsed, err = protocol.ParseJoinRequest(r.group, h.Request)
		}
		if err != nil {
			r.n.log.Error("a request to join is damaged in the store", "key", key, "err", err)
			continue
		}
		r.acts.requests[h.parsed.Cert.Root] = h
	}
	return nil
}
