package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// call asks for one object.
func call[Out any](ctx context.Context, c *Client, q question) (out Out, err error) {
	for {
		resp, err := c.do(ctx, q)
		if err != nil {
			return out, err
		}
		err = json.NewDecoder(resp.Body).Decode(&out)
		_ = resp.Body.Close()
		switch {
		case err == nil:
			return out, nil
		case ctx.Err() != nil:
			return out, context.Cause(ctx)
		case !q.harmless:
			return out, ErrInterrupted
		}
		if err := sleep(ctx); err != nil { // the holder was killed as it answered
			return out, err
		}
	}
}

// all asks for a list.
func all[Out any](ctx context.Context, c *Client, path string) ([]Out, error) {
	resp, err := c.do(ctx, question{method: http.MethodGet, path: path, harmless: true})
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	out := []Out{}
	for dec := json.NewDecoder(resp.Body); ; {
		var o Out
		switch err := dec.Decode(&o); {
		case errors.Is(err, io.EOF):
			return out, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case err != nil:
			return nil, fmt.Errorf("%w: %w", ErrClosing, err)
		}
		out = append(out, o)
	}
}

func get[Out any](ctx context.Context, c *Client, path string) (Out, error) {
	return call[Out](ctx, c, question{method: http.MethodGet, path: path, harmless: true})
}

func post[Out any](ctx context.Context, c *Client, path string, harmless bool, in any) (out Out, err error) {
	body, err := json.Marshal(in)
	if err != nil {
		return out, err
	}
	return call[Out](ctx, c, question{method: http.MethodPost, path: path, body: body, harmless: harmless})
}

func about(path, group string) string { return path + "?group=" + url.QueryEscape(group) }

// Holder says who holds the profile.
func (c *Client) Holder(ctx context.Context) (Holder, error) {
	return get[Holder](ctx, c, "/v1/holder")
}

// Status says how the node is doing.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return get[Status](ctx, c, "/v1/status")
}

// Groups lists the groups of the profile.
func (c *Client) Groups(ctx context.Context) ([]Group, error) {
	return all[Group](ctx, c, "/v1/groups")
}

// Group resolves a name, a short id or an id.
func (c *Client) Group(ctx context.Context, ref string) (Group, error) {
	return get[Group](ctx, c, about("/v1/group", ref))
}

// CreateGroup makes a group, with those as founders, too, who consented.
func (c *Client) CreateGroup(ctx context.Context, name string, consents ...string) (Group, error) {
	return post[Group](ctx, c, "/v1/groups", false, NewGroup{Name: name, Consents: consents})
}

// Invite makes an invitation.
func (c *Client) Invite(ctx context.Context, in NewInvite) (Invite, error) {
	return post[Invite](ctx, c, "/v1/invite", false, in)
}

// Join joins the group that a link invites to. Joining again does no harm, so a holder that goes away is replaced.
func (c *Client) Join(ctx context.Context, in Join) (Group, error) {
	ctx, cancel := context.WithTimeout(ctx, in.Most+answerTime)
	defer cancel()
	return post[Group](ctx, c, "/v1/join", true, in)
}

// answerTime is how much longer than the time that was asked for a client waits: the
// holder knows better than a deadline why it did not work.
const answerTime = 2 * time.Second

// Send stores and sends a text, which disappears after life unless that is 0.
// ErrInterrupted means that it may or may not be stored.
func (c *Client) Send(ctx context.Context, group, text string, life time.Duration) (Sent, error) {
	return post[Sent](ctx, c, "/v1/send", false, NewMessage{Group: group, Text: text, Life: life})
}

// Wait waits for members of a group, at most for a time.
func (c *Client) Wait(ctx context.Context, group string, sync bool, most time.Duration) (Waited, error) {
	return post[Waited](ctx, c, "/v1/wait", true, Wait{Group: group, Sync: sync, Most: most})
}

// SyncAll waits until nothing is missing of a group, however old it is, at most for a time.
func (c *Client) SyncAll(ctx context.Context, group string, most time.Duration) (Waited, error) {
	return post[Waited](ctx, c, "/v1/wait", true, Wait{Group: group, Sync: true, All: true, Most: most})
}

// Members lists who is in a group.
func (c *Client) Members(ctx context.Context, group string) ([]Member, error) {
	return all[Member](ctx, c, about("/v1/members", group))
}

// Peers lists the nodes that are connected or remembered.
func (c *Client) Peers(ctx context.Context) ([]Peer, error) { return all[Peer](ctx, c, "/v1/peers") }

// Block hides a person, or shows one again.
func (c *Client) Block(ctx context.Context, in Block) (Person, error) {
	return post[Person](ctx, c, "/v1/block", true, in)
}

// Last returns the newest lines in display order, the oldest first; 0 is all. The
// cursor is where Follow goes on.
func (c *Client) Last(ctx context.Context, group string, count int) ([]Message, uint64, error) {
	return c.last(ctx, group, count, nil)
}

func (c *Client) last(ctx context.Context, group string, count int, more url.Values) ([]Message, uint64, error) {
	path := about("/v1/last", group) + "&count=" + strconv.Itoa(count) + "&" + more.Encode()
	for {
		resp, err := c.do(ctx, question{method: http.MethodGet, path: path, harmless: true})
		if err != nil {
			return nil, 0, err
		}
		var out []Message
		for f := range frames(resp.Body) {
			switch {
			case f.Error != nil:
				return nil, 0, f.Error
			case f.Message != nil:
				out = append(out, *f.Message)
			case f.Cursor != nil:
				return out, *f.Cursor, nil
			}
		}
		if err := sleep(ctx); err != nil { // no cursor: the holder was killed
			return nil, 0, err
		}
	}
}

// Follow yields every line after cursor in arrival order and waits for more. It
// outlives holders: the next one goes on after the last line that was seen.
func (c *Client) Follow(ctx context.Context, group string, cursor uint64) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		for {
			path := about("/v1/follow", group) + "&after=" + strconv.FormatUint(cursor, 10)
			resp, err := c.do(ctx, question{method: http.MethodGet, path: path, harmless: true})
			if err != nil {
				yield(Message{}, err)
				return
			}
			for f := range frames(resp.Body) {
				switch {
				case f.Error != nil:
					yield(Message{}, f.Error)
					return
				case f.Message != nil:
					cursor = f.Message.Cursor
					if !yield(*f.Message, nil) {
						return
					}
				}
			}
			if err := sleep(ctx); err != nil {
				yield(Message{}, err)
				return
			}
		}
	}
}

// frames yields the frames of a stream until it ends, however it ends, and
// closes it.
func frames(body io.ReadCloser) iter.Seq[frame] {
	return func(yield func(frame) bool) {
		defer func() { _ = body.Close() }()
		for dec := json.NewDecoder(body); ; {
			var f frame
			if dec.Decode(&f) != nil || !yield(f) {
				return
			}
		}
	}
}
