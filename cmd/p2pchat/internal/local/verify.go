package local

import (
	"context"
	"net/http"
	"time"

	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
)

// Safety is what two people compare to know that each has the other's key.
type Safety struct {
	Person
	Group    string     `json:"group"`
	Number   string     `json:"number"`             // 60 digits
	Verified string     `json:"verified,omitempty"` // as of a [Member]
	Since    *time.Time `json:"since,omitempty"`    // when they were verified
}

// Verify asks for somebody's safety number, or, with a number, to mark them.
type Verify struct {
	Group  string `json:"group"`
	Who    string `json:"who"`
	Number string `json:"number,omitempty"`
	Undo   bool   `json:"undo,omitempty"`
}

func (s *server) verification(mux *http.ServeMux) {
	mux.HandleFunc("POST /v1/verify", ask(s.postVerify))
	mux.HandleFunc("GET /v1/doubts", lines(s.getDoubts))
}

func (s *server) postVerify(ctx context.Context, in Verify) (Safety, error) {
	group, err := s.find(in.Group)
	if err != nil {
		return Safety{}, err
	}
	var out node.Safety
	switch {
	case in.Undo:
		out, err = s.node.Unverify(ctx, group, in.Who)
	case in.Number != "":
		out, err = s.node.Verify(ctx, group, in.Who, in.Number)
	default:
		out, err = s.node.Safety(group, in.Who)
	}
	return Safety{
		Person: newPerson(out.Person), Group: group.Text(protocol.GroupPrefix), Number: out.Number,
		Verified: out.State, Since: moment(out.Since),
	}, err
}

func (s *server) getDoubts(r *http.Request) ([]Member, error) {
	return listOf(s, r, s.node.Doubts, newMember)
}

// Verify returns somebody's safety number, or marks them by it.
func (c *Client) Verify(ctx context.Context, in Verify) (Safety, error) {
	return post[Safety](ctx, c, "/v1/verify", true, in)
}

// Doubts lists the members who are not, or not any more, the person that was verified.
func (c *Client) Doubts(ctx context.Context, group string) ([]Member, error) {
	return all[Member](ctx, c, about("/v1/doubts", group))
}
