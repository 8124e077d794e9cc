package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
)

const (
	// maxRequest bounds a request in bytes: the longest text, every byte escaped.
	maxRequest = 6*protocol.MaxTextSize + 4<<10
	// finishTime bounds how long a closing holder finishes what others asked for:
	// nothing that changes something takes that long.
	finishTime = 10 * time.Second
)

// server answers for the node of the process that holds the profile.
type server struct {
	node    *node.Node
	holder  Holder
	http    *http.Server
	closing context.Context // ends what waits
	close   context.CancelFunc
	done    chan error // what Serve ended with
	nearby  atomic.Pointer[node.Nearby]
}

// serve answers at ln until Close.
func serve(n *node.Node, ln net.Listener, h Holder) *server {
	h.Network.Listen, h.Network.Bootstrap = list(h.Network.Listen), list(h.Network.Bootstrap)
	s := &server{node: n, holder: h, done: make(chan error, 1)}
	s.closing, s.close = context.WithCancel(context.Background())
	s.http = &http.Server{Handler: s.routes(), ReadHeaderTimeout: 10 * time.Second}
	go func() { s.done <- s.http.Serve(ln) }()
	return s
}

// Close takes no new requests, ends those that wait, finishes the others.
func (s *server) Close() error {
	s.close()
	ctx, cancel := context.WithTimeout(context.Background(), finishTime)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	<-s.done
	return err
}

func (s *server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/holder", answer(s.getHolder))
	mux.HandleFunc("GET /v1/status", answer(s.getStatus))
	mux.HandleFunc("GET /v1/groups", lines(s.getGroups))
	mux.HandleFunc("GET /v1/group", answer(s.getGroup))
	mux.HandleFunc("POST /v1/groups", ask(s.postGroup))
	mux.HandleFunc("POST /v1/invite", ask(s.postInvite))
	mux.HandleFunc("POST /v1/join", ask(s.postJoin))
	mux.HandleFunc("POST /v1/nearby", s.postNearby)
	mux.HandleFunc("POST /v1/nearby/answer", ask(s.postNearbyAnswer))
	mux.HandleFunc("POST /v1/send", ask(s.postSend))
	mux.HandleFunc("POST /v1/wait", ask(s.postWait))
	mux.HandleFunc("GET /v1/last", s.getLast)
	mux.HandleFunc("GET /v1/follow", s.getFollow)
	mux.HandleFunc("GET /v1/members", lines(s.getMembers))
	mux.HandleFunc("GET /v1/peers", lines(s.getPeers))
	mux.HandleFunc("POST /v1/block", ask(s.postBlock))
	s.moderation(mux)
	s.completeness(mux)
	s.devices(mux)
	s.joinFiles(mux)
	s.bundles(mux)
	s.verification(mux)
	return mux
}

// moderation are the routes by which a group is governed.
func (s *server) moderation(mux *http.ServeMux) {
	s.deeds(mux)
	mux.HandleFunc("GET /v1/audit", lines(s.getAudit))
	mux.HandleFunc("GET /v1/former", lines(s.getFormer))
	mux.HandleFunc("GET /v1/settings", answer(s.getSettings))
	mux.HandleFunc("POST /v1/settings", ask(s.postSettings))
	mux.HandleFunc("GET /v1/kept", answer(s.getKept))
	mux.HandleFunc("POST /v1/keep", ask(s.postKeep))
	mux.HandleFunc("GET /v1/invites", lines(s.getInvites))
	mux.HandleFunc("GET /v1/requests", lines(s.getRequests))
	mux.HandleFunc("POST /v1/request/deny", ask(s.postDeny))
	mux.HandleFunc("GET /v1/reports", lines(s.getReports))
	mux.HandleFunc("GET /v1/successors", lines(s.getSuccessors))
	mux.HandleFunc("POST /v1/successor", ask(s.postSuccessor))
	mux.HandleFunc("POST /v1/move", ask(s.postMove))
	mux.HandleFunc("POST /v1/plan", ask(s.postPlan))
	mux.HandleFunc("POST /v1/agree", ask(s.postAgree))
}

// answer makes a handler of a function that answers with one object.
func answer[Out any](f func(*http.Request) (Out, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		out, err := f(r)
		if err != nil {
			fail(w, err)
			return
		}
		_ = json.NewEncoder(w).Encode(out) // a client that went away does not miss it
	}
}

// ask makes a handler of a function with a question in the request's body. Once
// the body is read, the request is acted upon: see Client.post.
func ask[In, Out any](f func(context.Context, In) (Out, error)) http.HandlerFunc {
	return askUpTo(maxRequest, f)
}

// askUpTo is ask for questions of at most so many bytes.
func askUpTo[In, Out any](most int64, f func(context.Context, In) (Out, error)) http.HandlerFunc {
	return answer(func(r *http.Request) (out Out, err error) {
		var in In
		dec := json.NewDecoder(http.MaxBytesReader(nil, r.Body, most))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&in); err != nil {
			return out, fmt.Errorf("%w: %w", ErrBadRequest, err)
		}
		return f(r.Context(), in)
	})
}

// lines makes a handler of a function that answers with a list, one a line.
func lines[Out any](f func(*http.Request) ([]Out, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		list, err := f(r)
		if err != nil {
			fail(w, err)
			return
		}
		enc := json.NewEncoder(w)
		for _, out := range list {
			if enc.Encode(out) != nil {
				return
			}
		}
	}
}

func fail(w http.ResponseWriter, err error) {
	e := toAPI(err)
	w.WriteHeader(e.status())
	_ = json.NewEncoder(w).Encode(e)
}

// waiting is a context for what may take long: it ends with the request or when
// the holder closes.
func (s *server) waiting(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.closing, func() { cancel(ErrClosing) })
	return ctx, func() { stop(); cancel(nil) }
}

// cut says ErrClosing where something ended because the holder closes.
func cut(ctx context.Context, err error) error {
	if err != nil && errors.Is(context.Cause(ctx), ErrClosing) {
		return ErrClosing
	}
	return err
}

func (s *server) getHolder(*http.Request) (Holder, error) { return s.holder, nil }

func (s *server) getStatus(*http.Request) (Status, error) {
	return newStatus(s.node.Status(), s.holder), nil
}

func (s *server) getGroups(*http.Request) ([]Group, error) {
	var out []Group
	for _, g := range s.node.Groups() {
		out = append(out, newGroup(g))
	}
	return out, nil
}

// find resolves what a person typed, or the id of a group that was resolved
// before: a whole id is never taken for the name of another group.
func (s *server) find(ref string) (protocol.ID, error) {
	if id, err := protocol.ParseID(protocol.GroupPrefix, ref); err == nil {
		if g, err := s.node.Group(id); err == nil {
			return g.ID, nil
		}
	}
	return s.node.Find(ref)
}

func (s *server) group(ref string) (node.Group, error) {
	id, err := s.find(ref)
	if err != nil {
		return node.Group{}, err
	}
	return s.node.Group(id)
}

func (s *server) getGroup(r *http.Request) (Group, error) {
	g, err := s.group(r.FormValue("group"))
	return newGroup(g), err
}

func (s *server) postGroup(ctx context.Context, in NewGroup) (Group, error) {
	id, err := s.node.CreateGroup(ctx, in.Name, in.Consents...)
	if err != nil {
		return Group{}, err
	}
	g, err := s.node.Group(id)
	return newGroup(g), err
}

func (s *server) postInvite(ctx context.Context, in NewInvite) (Invite, error) {
	g, err := s.group(in.Group)
	if err != nil {
		return Invite{}, err
	}
	o := node.InviteOptions{Expiry: in.Expiry, Uses: in.Uses, Approve: in.Approve, IssuerAdmits: in.IssuerAdmits, Question: in.Question}
	if in.Role != "" {
		if o.Rank, err = parseRole(in.Role); err != nil {
			return Invite{}, err
		}
	}
	link, err := s.node.Invite(ctx, g.ID, o)
	return Invite{Link: link, Group: newGroup(g).ID}, err
}

func (s *server) postJoin(ctx context.Context, in Join) (Group, error) {
	ctx, cancel := s.waiting(ctx)
	defer cancel()
	timed, stop := context.WithTimeout(ctx, in.Most)
	defer stop()
	id, err := s.node.JoinWith(timed, in.Link, node.JoinOptions{Answer: in.Answer, NoWait: in.NoWait})
	if err != nil {
		return Group{}, cut(ctx, err)
	}
	g, err := s.node.Group(id)
	return newGroup(g), err
}

func (s *server) postSend(ctx context.Context, in NewMessage) (Sent, error) {
	id, err := s.find(in.Group)
	if err != nil {
		return Sent{}, err
	}
	res, err := s.node.SendFor(ctx, id, in.Text, in.Life)
	return Sent{ID: res.ID.Text(protocol.EventPrefix), Group: id.Text(protocol.GroupPrefix), Peers: res.Peers}, err
}

func (s *server) postWait(ctx context.Context, in Wait) (Waited, error) {
	id, err := s.find(in.Group)
	if err != nil {
		return Waited{}, err
	}
	ctx, cancel := s.waiting(ctx)
	defer cancel()
	timed, stop := context.WithTimeout(ctx, in.Most)
	defer stop()
	out := Waited{Peers: s.node.WaitPeers(timed, id)}
	if in.Sync && out.Peers > 0 {
		var err error
		if in.All {
			err = s.node.SyncAll(timed, id)
		}
		if err == nil {
			err = s.node.WaitSync(timed, id)
		}
		if err != nil && timed.Err() == nil {
			return out, err
		}
		out.Synced = err == nil
	}
	return out, cut(ctx, ctx.Err())
}

func (s *server) getMembers(r *http.Request) ([]Member, error) {
	return listOf(s, r, s.node.Members, newMember)
}

func (s *server) getPeers(*http.Request) ([]Peer, error) {
	var out []Peer
	for _, p := range s.node.Peers() {
		out = append(out, newPeer(p))
	}
	return out, nil
}

func (s *server) postBlock(ctx context.Context, in Block) (Person, error) {
	var group protocol.ID
	if in.Group != "" {
		var err error
		if group, err = s.find(in.Group); err != nil {
			return Person{}, err
		}
	}
	p, err := s.node.Block(ctx, group, in.Who, !in.Undo)
	return newPerson(p), err
}

// number reads a whole number from the query; a missing one is 0.
func number(r *http.Request, name string) (uint64, error) {
	text := r.FormValue(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return 0, fmt.Errorf("%w: %s is not a number", ErrBadRequest, name)
	}
	return n, nil
}
