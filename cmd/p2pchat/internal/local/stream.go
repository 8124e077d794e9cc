package local

import (
	"encoding/json"
	"net/http"

	"github.com/p2pchat/p2pchat/protocol"
)

// getLast answers with the newest lines in display order, and the cursor after
// them.
func (s *server) getLast(w http.ResponseWriter, r *http.Request) {
	count, err := number(r, "count")
	if err != nil {
		fail(w, err)
		return
	}
	id, err := s.find(r.FormValue("group"))
	if err != nil {
		fail(w, err)
		return
	}
	list, cursor, err := s.node.Last(r.Context(), id, int(count))
	if err != nil {
		fail(w, err)
		return
	}
	if r.FormValue("receipts") != "" {
		if err := s.node.MarkStored(r.Context(), id, list); err != nil {
			fail(w, err)
			return
		}
	}
	enc := json.NewEncoder(w)
	for _, m := range list {
		if enc.Encode(frame{Message: newMessage(m)}) != nil {
			return
		}
	}
	_ = enc.Encode(frame{Cursor: &cursor}) // without it the client knows that it was cut off
}

// getFollow answers with every line after a cursor, as they arrive.
func (s *server) getFollow(w http.ResponseWriter, r *http.Request) {
	after, err := number(r, "after")
	if err != nil {
		fail(w, err)
		return
	}
	id, err := s.find(r.FormValue("group"))
	if err != nil {
		fail(w, err)
		return
	}
	s.follow(w, r, id, after)
}

// follow writes lines until the client or the holder goes. Nobody is told that the
// holder goes but by the end of the stream: a process that is killed cannot tell,
// and the client does the same in either case.
func (s *server) follow(w http.ResponseWriter, r *http.Request, id protocol.ID, after uint64) {
	ctx, cancel := s.waiting(r.Context())
	defer cancel()
	flush := http.NewResponseController(w)
	if flush.Flush() != nil {
		return
	}
	enc := json.NewEncoder(w)
	for m, err := range s.node.Follow(ctx, id, after) {
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			_ = enc.Encode(frame{Error: toAPI(err)})
			return
		}
		if enc.Encode(frame{Message: newMessage(m)}) != nil || flush.Flush() != nil {
			return
		}
	}
}
