package local

import (
	"context"
	"encoding/json"
	"iter"
	"math"
	"net/http"
	"time"

	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
)

// Progress says how far some long work has come. What is not known is 0.
type Progress struct {
	What    string    `json:"what"`  // "sync", "export" or "import"
	Group   string    `json:"group"` // empty where it is not known yet
	Peer    string    `json:"peer,omitempty"`
	Started time.Time `json:"started"`
	Events  uint64    `json:"events"`
	Total   uint64    `json:"total"` // events
	Bytes   uint64    `json:"bytes"`
	Size    uint64    `json:"size"` // bytes
	Rate    float64   `json:"rate"` // events a second
	Left    float64   `json:"left"` // seconds
	Done    bool      `json:"done"`
}

func newProgress(p node.Progress) Progress {
	out := Progress{
		What: p.What, Peer: p.Peer, Started: p.Started.UTC(), Events: p.Events, Total: p.Total,
		Bytes: p.Bytes, Size: p.Size, Rate: math.Round(p.Rate), Left: p.Left.Seconds(), Done: p.Done,
	}
	if !p.Group.IsZero() {
		out.Group = p.Group.Text(protocol.GroupPrefix)
	}
	return out
}

// getProgress answers with how far long work is until the client goes.
func (s *server) getProgress(w http.ResponseWriter, r *http.Request) {
	var id protocol.ID
	if ref := r.FormValue("group"); ref != "" {
		var err error
		if id, err = s.find(ref); err != nil {
			fail(w, err)
			return
		}
	}
	ctx, cancel := s.waiting(r.Context())
	defer cancel()
	flush := http.NewResponseController(w)
	if flush.Flush() != nil {
		return
	}
	enc := json.NewEncoder(w)
	for p := range s.node.WatchProgress(ctx, id) {
		if enc.Encode(newProgress(p)) != nil || flush.Flush() != nil {
			return
		}
	}
}

// Progress yields how far the long work in a group is, in any group where it is empty,
// until ctx or the holder ends.
func (c *Client) Progress(ctx context.Context, group string) iter.Seq[Progress] {
	return func(yield func(Progress) bool) {
		resp, err := c.do(ctx, question{method: http.MethodGet, path: about("/v1/progress", group), harmless: true})
		if err != nil {
			return
		}
		defer func() { _ = resp.Body.Close() }()
		for dec := json.NewDecoder(resp.Body); ; {
			var p Progress
			if dec.Decode(&p) != nil || !yield(p) {
				return
			}
		}
	}
}
