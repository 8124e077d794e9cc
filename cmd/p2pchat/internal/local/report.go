package local

import (
	"context"
	"net/http"
	"time"

	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
)

// Report is what a member told the moderators about a message.
type Report struct {
	ID         string    `json:"id"`
	By         Person    `json:"by"`
	Time       time.Time `json:"time"`
	Reason     string    `json:"reason"`
	Message    string    `json:"message"` // what it is about, evt_…
	Author     *Person   `json:"author,omitempty"`
	Said       string    `json:"said"`     // verbatim, where it can be read here
	Verified   bool      `json:"verified"` // the author's signature is here and holds
	State      string    `json:"state"`    // "open", "resolved", "dismissed", or "closed": which is sealed to others
	ClosedBy   *Person   `json:"closed_by,omitempty"`
	Note       string    `json:"note,omitempty"`
	Unreadable string    `json:"unreadable,omitempty"` // why there is no content
}

func newReport(r node.Report) Report {
	return Report{
		ID: r.ID.Text(protocol.EventPrefix), By: newPerson(r.By), Time: r.Time.UTC(), Reason: r.Reason,
		Message: eventID(r.Message), Author: somebody(r.Author), Said: r.Said, Verified: r.Verified,
		State: r.State, ClosedBy: somebody(r.ClosedBy), Note: r.Note, Unreadable: r.Unreadable,
	}
}

// somebody is a person, or nil where there is none.
func somebody(p node.Person) *Person {
	if p.Key.IsZero() {
		return nil
	}
	out := newPerson(p)
	return &out
}

// eventID is the id of an event, or nothing where there is none.
func eventID(id protocol.ID) string {
	if id.IsZero() {
		return ""
	}
	return id.Text(protocol.EventPrefix)
}

func (s *server) getReports(r *http.Request) ([]Report, error) {
	return listOf(s, r, s.node.Reports, newReport)
}

func (s *server) report(ctx context.Context, group protocol.ID, in Deed) (node.Act, error) {
	id, err := protocol.ParseID(protocol.EventPrefix, in.ID)
	if err != nil {
		return node.Act{}, err
	}
	return s.node.Report(ctx, group, id, in.Reason)
}

func (s *server) closeReport(ctx context.Context, group protocol.ID, in Deed) (node.Act, error) {
	id, err := protocol.ParseID(protocol.EventPrefix, in.ID)
	if err != nil {
		return node.Act{}, err
	}
	return s.node.CloseReport(ctx, group, id, in.Solved, in.Reason)
}

// Reports lists what members told the moderators, as far as this one may read it.
func (c *Client) Reports(ctx context.Context, group string) ([]Report, error) {
	return all[Report](ctx, c, about("/v1/reports", group))
}
