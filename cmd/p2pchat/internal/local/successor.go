package local

import (
	"context"
	"net/http"
	"time"

	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
)

// Successor is a proposal to move to another group.
type Successor struct {
	ID    string    `json:"id"`    // of the proposal
	Group string    `json:"group"` // to move to
	By    Person    `json:"by"`
	Time  time.Time `json:"time"`
	Link  string    `json:"link,omitempty"` // an invitation to it
	Here  bool      `json:"here"`           // this profile is in it
}

func newSuccessor(s node.Successor) Successor {
	return Successor{
		ID: s.ID.Text(protocol.EventPrefix), Group: s.Group.Text(protocol.GroupPrefix),
		By: newPerson(s.By), Time: s.Time.UTC(), Link: s.Link, Here: s.Here,
	}
}

// Proposal asks to propose a successor, or to follow a proposal.
type Proposal struct {
	Group string        `json:"group"`
	Name  string        `json:"name,omitempty"` // of the new group; empty: as the old one
	ID    string        `json:"id,omitempty"`   // of the proposal to follow
	Most  time.Duration `json:"most,omitempty"` // how long to look for who admits there
}

// Plan is a group that several people are going to found, or the consent of one of
// them: text to hand on.
type Plan struct {
	Text string `json:"text"`
}

func (s *server) getSuccessors(r *http.Request) ([]Successor, error) {
	return listOf(s, r, s.node.Successors, newSuccessor)
}

func (s *server) postSuccessor(ctx context.Context, in Proposal) (Group, error) {
	old, err := s.find(in.Group)
	if err != nil {
		return Group{}, err
	}
	id, err := s.node.Successor(ctx, old, in.Name)
	if err != nil {
		return Group{}, err
	}
	g, err := s.node.Group(id)
	return newGroup(g), err
}

func (s *server) postMove(ctx context.Context, in Proposal) (Group, error) {
	ctx, cancel := s.waiting(ctx)
	defer cancel()
	old, err := s.find(in.Group)
	if err != nil {
		return Group{}, err
	}
	proposal, err := protocol.ParseID(protocol.EventPrefix, in.ID)
	if err != nil {
		return Group{}, err
	}
	timed, stop := context.WithTimeout(ctx, in.Most)
	defer stop()
	id, err := s.node.MoveTo(timed, old, proposal)
	if err != nil {
		return Group{}, cut(ctx, err)
	}
	g, err := s.node.Group(id)
	return newGroup(g), err
}

func (s *server) postPlan(ctx context.Context, in NewGroup) (Plan, error) {
	text, err := s.node.PlanGroup(ctx, in.Name)
	return Plan{Text: text}, err
}

func (s *server) postAgree(ctx context.Context, in Plan) (Plan, error) {
	text, err := s.node.AgreeToFound(ctx, in.Text)
	return Plan{Text: text}, err
}

// Successors lists the proposals to move to another group.
func (c *Client) Successors(ctx context.Context, group string) ([]Successor, error) {
	return all[Successor](ctx, c, about("/v1/successors", group))
}

// Propose makes a group and proposes that another moves to it.
func (c *Client) Propose(ctx context.Context, group, name string) (Group, error) {
	return post[Group](ctx, c, "/v1/successor", false, Proposal{Group: group, Name: name})
}

// Move joins the group that a proposal leads to, as Join does.
func (c *Client) Move(ctx context.Context, group, proposal string, most time.Duration) (Group, error) {
	ctx, cancel := context.WithTimeout(ctx, most+answerTime)
	defer cancel()
	return post[Group](ctx, c, "/v1/move", true, Proposal{Group: group, ID: proposal, Most: most})
}

// Plan plans a group with several founders.
func (c *Client) Plan(ctx context.Context, name string) (Plan, error) {
	return post[Plan](ctx, c, "/v1/plan", false, NewGroup{Name: name})
}

// Agree consents to be a founder of a planned group.
func (c *Client) Agree(ctx context.Context, plan string) (Plan, error) {
	return post[Plan](ctx, c, "/v1/agree", false, Plan{Text: plan})
}
