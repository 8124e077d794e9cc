package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
)

// Export is what a bundle was written with.
type Export struct {
	Group  string  `json:"group"`
	Events int     `json:"events"`
	Bytes  int64   `json:"bytes"`
	For    *Person `json:"for,omitempty"` // who alone can open it
	// CannotOpen are members who cannot, as far as is known, until they send a file back.
	// Of a crowd it names some, and Others is how many more there are.
	CannotOpen []Person `json:"cannot_open,omitempty"`
	Others     int      `json:"cannot_open_others,omitempty"`
}

// Import is what became of a bundle.
type Import struct {
	Group    string `json:"group"`
	Whole    bool   `json:"whole"`
	New      int    `json:"new"`
	Known    int    `json:"known"`
	Filled   int    `json:"filled"`  // of those known: messages that were here without their text
	Unheard  int    `json:"unheard"` // right, and does not count: of who was banned, say
	Refused  int    `json:"refused"`
	Damaged  int    `json:"damaged"` // parts of the file that are missing or do not open
	CutShort bool   `json:"cut_short"`
	Trailing bool   `json:"trailing"` // more follows its end
	Waiting  []Lack `json:"waiting"`  // events that wait for others
	Locked   int    `json:"locked"`   // epochs whose key is missing
}

// Lack is how many events of somebody wait; nobody is several people.
type Lack struct {
	From   *Person `json:"from,omitempty"`
	Events int     `json:"events"`
}

func newImport(res node.ImportResult) Import {
	out := Import{
		Group: res.Group.Text(protocol.GroupPrefix), Whole: res.Whole(), New: res.New, Known: res.Known, Filled: res.Filled, Unheard: res.Unheard,
		Refused: res.Refused, Damaged: res.Damaged, CutShort: res.CutShort, Trailing: res.Trailing, Waiting: []Lack{}, Locked: res.Locked,
	}
	for _, l := range res.Waiting {
		lack := Lack{Events: l.Events}
		if !l.From.Key.IsZero() {
			p := newPerson(l.From)
			lack.From = &p
		}
		out.Waiting = append(out.Waiting, lack)
	}
	return out
}

// bundles are the routes by which files between members are written and read. They go
// through as streams, however large they are.
func (s *server) bundles(mux *http.ServeMux) {
	mux.HandleFunc("GET /v1/export", s.getExport)
	mux.HandleFunc("POST /v1/import", answer(s.postImport))
}

// exportTrailer is the header behind a bundle that says what was written, escaped JSON.
const exportTrailer = "P2pchat-Export"

// mostShut is how many people it names: net/http reads no trailer of more than 4 KiB, and
// somebody whose name is made of what has to be escaped twice takes 1.1 of them.
const mostShut = 3

func (s *server) getExport(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := s.waiting(r.Context())
	defer cancel()
	id, err := s.find(r.FormValue("group"))
	if err != nil {
		fail(w, err)
		return
	}
	o := node.ExportOptions{For: r.FormValue("for")}
	if text := r.FormValue("since"); text != "" {
		if o.Since, err = time.Parse(time.RFC3339Nano, text); err != nil {
			fail(w, fmt.Errorf("%w: since: %w", ErrBadRequest, err))
			return
		}
	}
	w.Header().Set("Trailer", exportTrailer)
	out := &begun{w: w}
	res, err := s.node.Export(ctx, id, out, o)
	switch {
	case err == nil:
		done := Export{Group: id.Text(protocol.GroupPrefix), Events: res.Events, Bytes: res.Bytes}
		if !res.For.Key.IsZero() {
			p := newPerson(res.For)
			done.For = &p
		}
		for _, who := range res.CannotOpen[:min(len(res.CannotOpen), mostShut)] {
			done.CannotOpen = append(done.CannotOpen, newPerson(who))
		}
		done.Others = len(res.CannotOpen) - len(done.CannotOpen)
		b, _ := json.Marshal(done)
		w.Header().Set(exportTrailer, url.QueryEscape(string(b)))
	case out.begun:
		panic(http.ErrAbortHandler) // so that the client sees no proper end
	default:
		w.Header().Del("Trailer")
		fail(w, cut(ctx, err))
	}
}

func (s *server) postImport(r *http.Request) (Import, error) {
	ctx, cancel := s.waiting(r.Context())
	defer cancel()
	res, err := s.node.Import(ctx, sized{r.Body, r.ContentLength})
	if err != nil {
		if ctx.Err() == nil {
			// Who is still writing when the answer comes and the connection closes may see
			// that only.
			_, _ = io.Copy(io.Discard, r.Body)
		}
		return Import{}, cut(ctx, err)
	}
	return newImport(res), nil
}

// sized is a stream of a length, below 0 if it is not known.
type sized struct {
	io.Reader
	size int64
}

// Size lets the node say how much of it is left.
func (s sized) Size() int64 { return s.size }

// Export writes a group's bundle, for a member alone where who names one, with messages
// from a time on unless it is zero. After an error what was written is of no use.
func (c *Client) Export(ctx context.Context, w io.Writer, group, who string, since time.Time) (out Export, err error) {
	path := about("/v1/export", group) + "&for=" + url.QueryEscape(who)
	if !since.IsZero() {
		path += "&since=" + url.QueryEscape(since.UTC().Format(time.RFC3339Nano))
	}
	resp, err := c.do(ctx, question{method: http.MethodGet, path: path, harmless: true})
	if err != nil {
		return out, err
	}
	defer func() { _ = resp.Body.Close() }()
	_, err = io.Copy(w, resp.Body)
	switch {
	case ctx.Err() != nil:
		return out, context.Cause(ctx)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return out, fmt.Errorf("export: %w: the process that holds the profile stopped, or part of its history is damaged", ErrCutShort)
	case err != nil:
		return out, err
	}
	text, err := url.QueryUnescape(resp.Trailer.Get(exportTrailer))
	if err == nil {
		err = json.Unmarshal([]byte(text), &out)
	}
	return out, err
}

// Import takes in a bundle of a length, below 0 if it is not known. Where the holder goes away meanwhile, ErrInterrupted says so:
// the bundle can be imported again.
func (c *Client) Import(ctx context.Context, in io.Reader, size int64) (Import, error) {
	return call[Import](ctx, c, question{method: http.MethodPost, path: "/v1/import", stream: &sized{in, size}})
}
