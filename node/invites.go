package node

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/p2pchat/p2pchat/protocol"
)

// Invites returns all invitations of a group, the oldest first.
func (n *Node) Invites(group protocol.ID) ([]InviteInfo, error) {
	r, err := n.room(group)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	live := r.current().Invites()
	var out []InviteInfo
	for v := range r.set.All() {
		if v.Header().Kind == protocol.KindInvite {
			out = append(out, r.inviteInfo(v, slices.Contains(live, v.ID())))
		}
	}
	slices.SortFunc(out, func(a, b InviteInfo) int { return cmp.Or(a.Made.Compare(b.Made), a.ID.Compare(b.ID)) })
	return out, nil
}

// inviteInfo describes an invite; live says that it counts and is not revoked. The
// caller holds mu.
func (r *room) inviteInfo(v protocol.Verified, live bool) InviteInfo {
	_, c, _ := r.set.Get(v.ID())
	body := c.(*protocol.Invite)
	i := InviteInfo{
		ID: v.ID(), By: r.authorOf(v.ID()), Rank: body.Rank, Made: protocol.Time(v.Header().HLC), Uses: body.Uses,
		Used: r.current().Admissions(v.ID()), Approve: body.Approve, IssuerAdmits: body.IssuerAdmits, State: "open",
	}
	i.Question, _ = r.asideText(v)
	if body.Expiry != 0 {
		i.Expiry = time.Unix(int64(min(body.Expiry, protocol.MaxHLC)), 0)
	}
	switch {
	case !r.current().Effective(v.ID()):
		i.State = "undone"
	case !live:
		i.State = "revoked"
	case expired(body, r.n.now()):
		i.State = "expired"
	case body.Uses != 0 && i.Used >= int(body.Uses):
		i.State = "used up"
	}
	return i
}

func expired(i *protocol.Invite, now time.Time) bool {
	return i.Expiry != 0 && uint64(now.Unix()) > i.Expiry
}

// RevokeInvite ends an invite. Whom somebody admits by it before they know stays.
func (n *Node) RevokeInvite(ctx context.Context, group, id protocol.ID) (Act, error) {
	r, err := n.room(group)
	if err != nil {
		return Act{}, err
	}
	a, err := r.performOne(ctx, func() ([]intent, error) {
		v, c, ok := r.set.Get(id)
		if _, is := c.(*protocol.Invite); !ok || !is {
			return nil, fmt.Errorf("%w: there is no invite %s here", ErrUnknownInvite, id)
		}
		switch i := r.inviteInfo(v, slices.Contains(r.current().Invites(), id)); i.State {
		case "undone", "revoked":
			return nil, fmt.Errorf("%w: the invite is %s already", ErrNothing, i.State)
		}
		return []intent{{kind: protocol.KindInviteRevoke, clear: &protocol.InviteRevoke{Invite: id}}}, nil
	})
	if err != nil {
		return Act{}, fmt.Errorf("revoke: %w", err)
	}
	return a, nil
}
