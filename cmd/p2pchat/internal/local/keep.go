package local

import (
	"context"
	"net/http"
)

// Kept says how much of a group's messages is kept on this device.
type Kept struct {
	Limit uint64 `json:"limit"` // bytes; 0 is any number
	Bytes uint64 `json:"bytes"` // of what was said, sealed as it is
}

// NewLimit asks to keep no more than some bytes of a group; 0 is any number.
type NewLimit struct {
	Group string `json:"group"`
	Limit uint64 `json:"limit"`
}

func (s *server) getKept(r *http.Request) (Kept, error) {
	group, err := s.find(r.FormValue("group"))
	if err != nil {
		return Kept{}, err
	}
	kept, err := s.node.Kept(group)
	return Kept(kept), err
}

func (s *server) postKeep(ctx context.Context, in NewLimit) (Kept, error) {
	group, err := s.find(in.Group)
	if err != nil {
		return Kept{}, err
	}
	if err := s.node.Keep(ctx, group, in.Limit); err != nil {
		return Kept{}, err
	}
	kept, err := s.node.Kept(group)
	return Kept(kept), err
}

// Kept returns how much is kept of a group.
func (c *Client) Kept(ctx context.Context, group string) (Kept, error) {
	return get[Kept](ctx, c, about("/v1/kept", group))
}

// Keep bounds how much is kept of a group.
func (c *Client) Keep(ctx context.Context, in NewLimit) (Kept, error) {
	return post[Kept](ctx, c, "/v1/keep", true, in)
}
