package local

import (
	"context"
	"net/http"
	"time"

	"github.com/p2pchat/p2pchat/protocol"
)

// Kept says how much of a group's messages is kept on this device.
type Kept struct {
	Limit   uint64 `json:"limit"`             // bytes; 0 is any number
	Bytes   uint64 `json:"bytes"`             // of what was said, sealed as it is
	History int64  `json:"history,omitempty"` // how far back they are fetched unasked, in seconds; 0 is all
}

// NewLimit asks to keep no more than some bytes of a group, 0 being any number, and to
// fetch unasked no messages older than a time, 0 being all; nil leaves it as it is.
type NewLimit struct {
	Group   string         `json:"group"`
	Limit   *uint64        `json:"limit,omitempty"`
	History *time.Duration `json:"history,omitempty"`
}

func (s *server) getKept(r *http.Request) (Kept, error) {
	group, err := s.find(r.FormValue("group"))
	if err != nil {
		return Kept{}, err
	}
	return s.kept(group)
}

func (s *server) kept(group protocol.ID) (Kept, error) {
	kept, err := s.node.Kept(group)
	if err != nil {
		return Kept{}, err
	}
	history, err := s.node.HistoryWindow(group)
	return Kept{Limit: kept.Limit, Bytes: kept.Bytes, History: int64(history / time.Second)}, err
}

func (s *server) postKeep(ctx context.Context, in NewLimit) (Kept, error) {
	group, err := s.find(in.Group)
	if err != nil {
		return Kept{}, err
	}
	if in.Limit != nil {
		if err := s.node.Keep(ctx, group, *in.Limit); err != nil {
			return Kept{}, err
		}
	}
	if in.History != nil {
		if err := s.node.SetHistoryWindow(ctx, group, *in.History); err != nil {
			return Kept{}, err
		}
	}
	return s.kept(group)
}

// Kept returns how much is kept of a group.
func (c *Client) Kept(ctx context.Context, group string) (Kept, error) {
	return get[Kept](ctx, c, about("/v1/kept", group))
}

// Keep bounds how much is kept of a group, and how far back it is fetched.
func (c *Client) Keep(ctx context.Context, in NewLimit) (Kept, error) {
	return post[Kept](ctx, c, "/v1/keep", true, in)
}
