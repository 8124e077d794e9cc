package node

import (
	"context"
	"fmt"
	"time"

	"github.com/p2pchat/p2pchat/protocol"
)

// successorExpiry is how long the invitation in a proposal to move admits: members who
// look in once a month see it in time.
const successorExpiry = 30 * 24 * time.Hour

// Successor starts a new group and proposes to the old one's members to move there: with
// other founders, other rules, or without somebody who cannot be removed. It returns the
// new group. An empty name is the old group's. It needs the role owner or founder. Nobody
// is moved: each member decides, see [Node.MoveTo]. Who comes is admitted by this person,
// or by whom they make a greeter there.
func (n *Node) Successor(ctx context.Context, group protocol.ID, name string) (protocol.ID, error) {
	r, err := n.room(group)
	if err != nil {
		return protocol.ID{}, err
	}
	r.mu.Lock()
	rank := r.current().Rank(r.me.Root())
	if name == "" {
		name = r.name()
	}
	r.mu.Unlock()
	if need := protocol.MayIssue(protocol.KindSuccessor); rank > need {
		return protocol.ID{}, fmt.Errorf("successor: %w: this needs the role %s or a more senior one, yours is %s", ErrNotAllowed, need, rank)
	}
	to, err := n.CreateGroup(ctx, name)
	if err != nil {
		return protocol.ID{}, fmt.Errorf("successor: %w", err)
	}
	if err := n.propose(ctx, r, to); err != nil {
		return to, fmt.Errorf("successor: the new group is %s, and nobody was told of it: %w", to.Text(protocol.GroupPrefix), err)
	}
	return to, nil
}

// propose tells a group of another one to move to.
func (n *Node) propose(ctx context.Context, r *room, to protocol.ID) error {
	link, err := n.Invite(ctx, to, InviteOptions{Expiry: successorExpiry})
	if err != nil {
		return err
	}
	r.mu.Lock()
	v, commit, err := r.issue(protocol.KindSuccessor, &protocol.Successor{Group: to}, &protocol.Aside{Text: link})
	r.mu.Unlock()
	if err != nil {
		return err
	}
	return r.finish(ctx, commit, v)
}

// Successors returns the proposals to move to another group, in an order in which each
// comes after those its author knew.
func (n *Node) Successors(group protocol.ID) ([]Successor, error) {
	r, err := n.room(group)
	if err != nil {
		return nil, err
	}
	list := r.successors()
	for i := range list {
		to, err := n.room(list[i].Group)
		list[i].Here = err == nil && to.isMember(to.me.Dev())
	}
	return list, nil
}

func (r *room) successors() []Successor {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []Successor
	for _, id := range r.current().Successors() {
		v, c, _ := r.set.Get(id)
		body, ok := c.(*protocol.Successor)
		if !ok {
			continue
		}
		s := Successor{ID: id, Group: body.Group, By: r.author(v), Time: protocol.Time(v.Header().HLC)}
		// A link that leads elsewhere than the proposal says is none.
		if text, ok := r.asideText(v); ok {
			if link, err := protocol.ParseLink(text); err == nil && link.Group == body.Group {
				s.Link = text
			}
		}
		out = append(out, s)
	}
	return out
}

// MoveTo joins the group that a proposal names, and returns it. A zero id is the only
// proposal there is. This person stays in the old group until they leave it.
func (n *Node) MoveTo(ctx context.Context, group, proposal protocol.ID) (protocol.ID, error) {
	list, err := n.Successors(group)
	if err != nil {
		return protocol.ID{}, err
	}
	s, err := chooseProposal(list, proposal)
	switch {
	case err != nil:
		return protocol.ID{}, fmt.Errorf("move: %w", err)
	case s.Here:
		return s.Group, nil
	case s.Link == "":
		return protocol.ID{}, fmt.Errorf("move: the invitation to %s cannot be read here: ask %s for a link: %w",
			s.Group.Text(protocol.GroupPrefix), s.By.label(), ErrNoKey)
	}
	to, err := n.Join(ctx, s.Link)
	if err != nil {
		return to, fmt.Errorf("move: %w", err)
	}
	return to, nil
}

// chooseProposal finds the proposal that is meant.
func chooseProposal(list []Successor, proposal protocol.ID) (Successor, error) {
	if len(list) == 0 {
		return Successor{}, fmt.Errorf("%w: nobody has proposed another group", ErrUnknownMessage)
	}
	if proposal.IsZero() && len(list) == 1 {
		return list[0], nil
	}
	names := ""
	for _, s := range list {
		if s.ID == proposal {
			return s, nil
		}
		names += fmt.Sprintf("\n  %s by %s", s.ID, s.By.label())
	}
	if proposal.IsZero() {
		return Successor{}, fmt.Errorf("%w: say which proposal:%s", ErrAmbiguous, names)
	}
	return Successor{}, fmt.Errorf("%w: no proposal %s; there are:%s", ErrUnknownMessage, proposal, names)
}
