package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/profile"
	"github.com/p2pchat/p2pchat/node"
)

const (
	// heldTime is how long a client waits for a holder that does not answer: it is
	// starting or closing, and neither takes that long.
	heldTime = 5 * time.Second
	// again is the pause between attempts.
	again = 50 * time.Millisecond
)

// Options are what a client needs to become the holder.
type Options struct {
	Home    string
	Verb    string // the command, without its arguments
	Lasting bool   // it stays until somebody ends it
	Network Network
	// Open opens the profile's store and starts the node. It is called with the
	// profile's lock held.
	Open func(context.Context) (*Opened, error)
}

// Opened is a node and how it is given back.
type Opened struct {
	Node  *node.Node
	Close func() error
}

// Client asks whoever holds the profile, and becomes the holder where nobody does.
type Client struct {
	o    Options
	http *http.Client

	mu     sync.Mutex
	held   *holding // what this process holds; nil while another does
	closed bool
}

// holding is what a holder has to give back, in this order.
type holding struct {
	server *server
	opened *Opened
	lock   *profile.Lock
}

// NewClient returns a client. It does nothing until it is asked something.
func NewClient(o Options) *Client {
	c := &Client{o: o}
	c.http = &http.Client{Transport: &http.Transport{
		DialContext:           func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, o.Home) },
		DisableKeepAlives:     true,             // a connection in stock may be to a holder that closed
		ExpectContinueTimeout: 10 * time.Minute, // see post
	}}
	return c
}

// Close gives the profile back if this process holds it: requests of others are
// finished first.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.held == nil {
		return nil
	}
	h := c.held
	c.held = nil
	return errors.Join(h.server.Close(), h.opened.Close(), h.lock.Release())
}

// Holds says whether this process holds the profile.
func (c *Client) Holds() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.held != nil
}

// Hold makes this process the holder. It waits for a short command to give the
// profile back, and then fails with profile.ErrHeld.
func (c *Client) Hold(ctx context.Context) error { return c.take(ctx, true) }

// take makes this process the holder, or returns when somebody answers, unless
// this process insists.
func (c *Client) take(ctx context.Context, insist bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return ErrClosing
	}
	if c.held != nil {
		return nil // another goroutine of ours was faster
	}
	for end := time.Now().Add(heldTime); ; {
		lock, err := profile.Acquire(c.o.Home, c.o.Verb)
		if err == nil {
			return c.hold(ctx, lock)
		}
		if !errors.Is(err, profile.ErrHeld) || time.Now().After(end) {
			return err
		}
		if err := sleep(ctx); err != nil {
			return err
		}
		if insist {
			continue
		}
		if conn, err := dial(ctx, c.o.Home); err == nil {
			return conn.Close()
		}
	}
}

// hold opens what the lock protects and serves it.
func (c *Client) hold(ctx context.Context, lock *profile.Lock) error {
	// The node outlives the request for which it is started.
	opened, err := c.o.Open(context.WithoutCancel(ctx))
	if err != nil {
		return errors.Join(err, lock.Release())
	}
	ln, err := listen(c.o.Home)
	if err != nil {
		return errors.Join(err, opened.Close(), lock.Release())
	}
	h := Holder{Verb: c.o.Verb, PID: os.Getpid(), Lasting: c.o.Lasting, Network: c.o.Network}
	c.held = &holding{server: serve(opened.Node, ln, h), opened: opened, lock: lock}
	return nil
}

func sleep(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(again):
		return nil
	}
}

// question is one request, which may have to be asked of several holders.
type question struct {
	method, path string
	body         []byte
	stream       *sized // in place of body; it can be read once
	// harmless says that asking twice does no harm.
	harmless bool
}

// do asks until a holder answers.
func (c *Client) do(ctx context.Context, q question) (*http.Response, error) {
	for {
		resp, asked, err := c.once(ctx, q)
		switch {
		case err == nil:
			return resp, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case errors.As(err, new(*apiError)) && !errors.Is(err, ErrClosing):
			return nil, err
		case errors.Is(err, errNobody):
			if err := c.take(ctx, false); err != nil {
				return nil, err
			}
			continue
		case asked && q.stream != nil:
			return nil, ErrInterrupted
		case errors.Is(err, ErrClosing), !asked, q.harmless:
		default:
			return nil, ErrInterrupted
		}
		if err := sleep(ctx); err != nil {
			return nil, err
		}
	}
}

// once asks one holder. asked is false if the question certainly did not reach it:
// the body goes out only when the holder asks for it (Expect: 100-continue, RFC
// 9110 section 10.1.1), so a holder that closed with the connection still in its
// queue has done nothing, and the next one can be asked.
func (c *Client) once(ctx context.Context, q question) (resp *http.Response, asked bool, err error) {
	body, size := &askedFor{Reader: bytes.NewReader(q.body)}, int64(len(q.body))
	if q.stream != nil {
		body.Reader, size = q.stream.Reader, q.stream.size
	}
	req, err := http.NewRequestWithContext(ctx, q.method, "http://p2pchat"+q.path, nil)
	if err != nil {
		return nil, false, err
	}
	if q.method == http.MethodPost {
		req.Body, req.ContentLength = io.NopCloser(body), size
		req.Header.Set("Expect", "100-continue")
	}
	resp, err = c.http.Do(req)
	if err != nil {
		return nil, body.asked.Load(), err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, true, refusal(resp)
	}
	return resp, true, nil
}

// refusal reads the error of an answer.
func refusal(resp *http.Response) error {
	defer func() { _ = resp.Body.Close() }()
	e := &apiError{}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxRequest)).Decode(e); err != nil || e.Message == "" {
		return &apiError{Code: "bad-request", Message: fmt.Sprintf("%s: %s", resp.Request.URL.Path, resp.Status)}
	}
	return e
}

// askedFor is a body that knows whether anybody asked for it.
type askedFor struct {
	io.Reader
	asked atomic.Bool
}

// Read implements io.Reader.
func (b *askedFor) Read(p []byte) (int, error) {
	b.asked.Store(true)
	return b.Reader.Read(p)
}
