package local

import (
	"context"
	"net/http"
	"time"

	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
)

// InviteInfo is an invitation as its group knows it.
type InviteInfo struct {
	ID      string     `json:"id"`
	By      Person     `json:"by"`
	Role    string     `json:"role"`
	Made    time.Time  `json:"made"`
	Expiry  *time.Time `json:"expiry"` // null is never
	Uses    uint32     `json:"uses"`   // 0 is any number
	Used    int        `json:"used"`
	Approve bool       `json:"approve"` // a person has to say yes
	Issuer  bool       `json:"issuer_admits"`

	Question string `json:"question,omitempty"` // what who asks has to answer
	State    string `json:"state"`              // "open", "expired", "used up", "revoked" or "undone"
}

func newInviteInfo(i node.InviteInfo) InviteInfo {
	return InviteInfo{
		ID: i.ID.Text(protocol.EventPrefix), By: newPerson(i.By), Role: i.Rank.String(), Made: i.Made.UTC(),
		Expiry: moment(i.Expiry), Uses: i.Uses, Used: i.Used, Approve: i.Approve, Issuer: i.IssuerAdmits, State: i.State,
		Question: i.Question,
	}
}

// moment is a time, or nil where there is none.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// Request is somebody who waits for a person to let them in.
type Request struct {
	Person
	Invite       string    `json:"invite"`
	Role         string    `json:"role"`
	Asked        time.Time `json:"asked"`
	State        string    `json:"state"` // "waiting", "approved" or "denied"
	BannedBefore bool      `json:"banned_before"`
	Question     string    `json:"question,omitempty"`
	Answer       string    `json:"answer,omitempty"` // a stranger's words, verbatim
}

func newRequest(r node.Request) Request {
	return Request{
		Person: newPerson(r.Person), Invite: r.Invite.Text(protocol.EventPrefix), Role: r.Rank.String(),
		Asked: r.Asked.UTC(), State: r.State, BannedBefore: r.BannedBefore,
		Question: r.Question, Answer: r.Answer,
	}
}

func (s *server) getInvites(r *http.Request) ([]InviteInfo, error) {
	return listOf(s, r, s.node.Invites, newInviteInfo)
}

func (s *server) revokeInvite(ctx context.Context, group protocol.ID, in Deed) (node.Act, error) {
	id, err := protocol.ParseID(protocol.EventPrefix, in.ID)
	if err != nil {
		return node.Act{}, err
	}
	return s.node.RevokeInvite(ctx, group, id)
}

func (s *server) getRequests(r *http.Request) ([]Request, error) {
	return listOf(s, r, s.node.Requests, newRequest)
}

func (s *server) approve(ctx context.Context, group protocol.ID, in Deed) (node.Act, error) {
	return s.node.Approve(ctx, group, in.Who)
}

func (s *server) postDeny(ctx context.Context, in Deed) (struct{}, error) {
	group, err := s.find(in.Group)
	if err != nil {
		return struct{}{}, err
	}
	return struct{}{}, s.node.Deny(ctx, group, in.Who)
}

// Invites lists the invitations of a group.
func (c *Client) Invites(ctx context.Context, group string) ([]InviteInfo, error) {
	return all[InviteInfo](ctx, c, about("/v1/invites", group))
}

// Requests lists who asked this node to be let in.
func (c *Client) Requests(ctx context.Context, group string) ([]Request, error) {
	return all[Request](ctx, c, about("/v1/requests", group))
}

// Deny says no to somebody who asked to be let in.
func (c *Client) Deny(ctx context.Context, group, who string) error {
	_, err := post[struct{}](ctx, c, "/v1/request/deny", true, Deed{Group: group, Who: who})
	return err
}
