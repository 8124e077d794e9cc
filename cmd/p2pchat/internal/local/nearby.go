package local

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"strings"

	"github.com/p2pchat/p2pchat/node"
)

// NewNearby asks to invite to a group nearby or, without one, to join one.
type NewNearby struct {
	Group string `json:"group"`
}

// NearbyPerson is somebody in the room.
type NearbyPerson struct {
	ID   int    `json:"id"` // to choose them by
	Name string `json:"name"`
}

// Nearby is what to show while people in one room find each other. Names are claims.
type Nearby struct {
	Phase   string         `json:"phase"` // "looking", "asked", "comparing", "agreed", "joining" or "done"
	People  []NearbyPerson `json:"people"`
	With    *NearbyPerson  `json:"with,omitempty"`    // who was chosen
	Digits  string         `json:"digits,omitempty"`  // what the other screen has to show
	Words   string         `json:"words,omitempty"`   // or this
	Trouble string         `json:"trouble,omitempty"` // how the last try ended
	Tries   int            `json:"tries"`             // left
	Group   *Group         `json:"group,omitempty"`   // that was joined
}

// NearbyAnswer chooses a person, or says whether the other screen shows the same as
// these digits.
type NearbyAnswer struct {
	Choose int    `json:"choose,omitempty"`
	Digits string `json:"digits,omitempty"`
	Same   bool   `json:"same,omitempty"`
}

// nearbyFrame is a line of the stream.
type nearbyFrame struct {
	State *Nearby   `json:"state,omitempty"`
	Error *apiError `json:"error,omitempty"`
}

func (s *server) newNearby(n node.NearbyState) *Nearby {
	out := &Nearby{Phase: string(n.Phase), People: []NearbyPerson{}, Digits: n.Digits, Trouble: n.Trouble, Tries: n.Left}
	for _, p := range n.People {
		out.People = append(out.People, NearbyPerson(p))
	}
	if n.With.ID != 0 {
		with := NearbyPerson(n.With)
		out.With = &with
	}
	if n.Digits != "" {
		out.Words = strings.Join(n.Words[:], " ")
	}
	if g, err := s.node.Group(n.Group); err == nil && n.Phase == node.NearbyDone {
		joined := newGroup(g)
		out.Group = &joined
	}
	return out
}

// postNearby answers with what to show, as it changes, until the end, or until the
// client goes: nobody is let in when nobody sees it.
func (s *server) postNearby(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := s.waiting(r.Context())
	defer cancel()
	near, err := s.startNearby(ctx, r)
	if err != nil {
		fail(w, err)
		return
	}
	defer near.Close()
	s.nearby.Store(near)
	flush, enc := http.NewResponseController(w), json.NewEncoder(w)
	for state, err := range near.States() {
		line := nearbyFrame{State: s.newNearby(state)}
		if err != nil {
			line = nearbyFrame{Error: toAPI(cut(ctx, err))}
		}
		if enc.Encode(line) != nil || flush.Flush() != nil {
			return
		}
	}
}

func (s *server) startNearby(ctx context.Context, r *http.Request) (*node.Nearby, error) {
	var in NewNearby
	dec := json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxRequest))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&in); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadRequest, err)
	}
	if in.Group == "" {
		return s.node.JoinNearby(ctx)
	}
	group, err := s.find(in.Group)
	if err != nil {
		return nil, err
	}
	return s.node.InviteNearby(ctx, group)
}

func (s *server) postNearbyAnswer(_ context.Context, in NearbyAnswer) (struct{}, error) {
	near := s.nearby.Load()
	switch {
	case near == nil:
		return struct{}{}, node.ErrNearbyNow
	case in.Choose != 0:
		return struct{}{}, near.Choose(in.Choose)
	}
	return struct{}{}, near.Match(in.Digits, in.Same)
}

// Nearby invites to a group nearby, or joins one where none is named, and yields what to
// show until the end.
func (c *Client) Nearby(ctx context.Context, in NewNearby) iter.Seq2[Nearby, error] {
	return func(yield func(Nearby, error) bool) {
		body, err := json.Marshal(in)
		if err != nil {
			yield(Nearby{}, err)
			return
		}
		resp, err := c.do(ctx, question{method: http.MethodPost, path: "/v1/nearby", body: body})
		if err != nil {
			yield(Nearby{}, err)
			return
		}
		defer func() { _ = resp.Body.Close() }()
		last := ""
		for dec := json.NewDecoder(resp.Body); last != string(node.NearbyDone); {
			var f nearbyFrame
			err := dec.Decode(&f)
			switch {
			case ctx.Err() != nil:
				err = context.Cause(ctx)
			case err != nil:
				err = ErrClosing
			case f.Error != nil:
				err = f.Error
			case f.State == nil:
				continue
			}
			if err != nil {
				yield(Nearby{}, err)
				return
			}
			if last = f.State.Phase; !yield(*f.State, nil) {
				return
			}
		}
	}
}

// AnswerNearby chooses somebody, or answers whether both screens show the same.
func (c *Client) AnswerNearby(ctx context.Context, in NearbyAnswer) error {
	_, err := post[struct{}](ctx, c, "/v1/nearby/answer", false, in)
	return err
}
