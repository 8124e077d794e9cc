package local

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
)

// Receipts say which other members have a message stored, as far as it is known here.
type Receipts struct {
	ID      string    `json:"id"`
	Stored  int       `json:"stored"`
	Of      int       `json:"of"`
	Members []Receipt `json:"members"`
	Hidden  string    `json:"hidden,omitempty"` // why nobody else is asked
}

// Receipt is that of one member other than the author.
type Receipt struct {
	Person
	Stored bool `json:"stored"` // false: not known to have it
	Online bool `json:"online"`
	Me     bool `json:"me"`
}

// Await asks to wait for receipts.
type Await struct {
	Group string        `json:"group"`
	ID    string        `json:"id"`
	Most  time.Duration `json:"most"` // 0: not at all
}

// Silence asks not to tell others what this device has, or to tell them.
type Silence struct {
	Group  string `json:"group"`
	Silent bool   `json:"silent"`
}

func newReceipts(r node.Receipts) Receipts {
	out := Receipts{ID: r.ID.Text(protocol.EventPrefix), Stored: r.Stored, Of: len(r.Members), Members: []Receipt{}, Hidden: r.Hidden}
	for _, m := range r.Members {
		out.Members = append(out.Members, Receipt{newPerson(m.Person), m.Stored, m.Online, m.Me})
	}
	return out
}

// completeness are the routes that say what is here, what is missing and who has what.
func (s *server) completeness(mux *http.ServeMux) {
	mux.HandleFunc("GET /v1/group/status", answer(s.getGroupStatus))
	mux.HandleFunc("POST /v1/receipts", ask(s.postReceipts))
	mux.HandleFunc("POST /v1/receipts/silent", ask(s.postSilent))
	mux.HandleFunc("GET /v1/progress", s.getProgress)
}

func (s *server) getGroupStatus(r *http.Request) (GroupStatus, error) {
	id, err := s.find(r.FormValue("group"))
	if err != nil {
		return GroupStatus{}, err
	}
	g, err := s.node.GroupStatus(id)
	return newGroupStatus(g), err
}

func (s *server) postReceipts(ctx context.Context, in Await) (Receipts, error) {
	group, err := s.find(in.Group)
	if err != nil {
		return Receipts{}, err
	}
	id, err := protocol.ParseID(protocol.EventPrefix, in.ID)
	if err != nil {
		return Receipts{}, err
	}
	ctx, cancel := s.waiting(ctx)
	defer cancel()
	timed, stop := context.WithTimeout(ctx, in.Most)
	defer stop()
	out, err := s.node.AwaitReceipts(timed, group, id)
	return newReceipts(out), cut(ctx, err)
}

func (s *server) postSilent(ctx context.Context, in Silence) (Silence, error) {
	group, err := s.find(in.Group)
	if err != nil {
		return in, err
	}
	return in, s.node.SetSilent(ctx, group, in.Silent)
}

// GroupStatus says how complete a group is here.
func (c *Client) GroupStatus(ctx context.Context, group string) (GroupStatus, error) {
	return get[GroupStatus](ctx, c, about("/v1/group/status", group))
}

// Receipts says who has a message, once all have who are connected, or after a time.
func (c *Client) Receipts(ctx context.Context, group, id string, most time.Duration) (Receipts, error) {
	return post[Receipts](ctx, c, "/v1/receipts", true, Await{Group: group, ID: id, Most: most})
}

// SetSilent has this device not tell others what it has, or tell them again.
func (c *Client) SetSilent(ctx context.Context, group string, silent bool) error {
	_, err := post[Silence](ctx, c, "/v1/receipts/silent", true, Silence{Group: group, Silent: silent})
	return err
}

// LastMarked is Last, with Stored and StoredOf of one's own messages.
func (c *Client) LastMarked(ctx context.Context, group string, count int) ([]Message, uint64, error) {
	return c.last(ctx, group, count, url.Values{"receipts": {"1"}})
}
