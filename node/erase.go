package node

import (
	"context"
	"errors"
	"time"

	"github.com/p2pchat/p2pchat/protocol"
)

// What does not count is hidden at once, and its bodies are erased when it has not
// counted for eraseAfter: long enough for seniors to undo a wrong removal, after
// which it shows again.

// sweepLoop erases in the background.
func (r *room) sweepLoop(ctx context.Context) {
	for wait := sweepFirst; ; wait = sweepEvery {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		if err := r.sweep(ctx); err != nil && ctx.Err() == nil {
			r.n.log.Warn("erase", "group", protocol.Short(r.group.Text(protocol.GroupPrefix)), "err", err)
		}
	}
}

// sweep goes through the chains about which something was done.
func (r *room) sweep(ctx context.Context) error {
	for _, chain := range chainsOf(r.log.Tips(), protocol.Messages) {
		r.mu.Lock()
		clean := r.current().Unquestioned(chain[0].Dev)
		r.mu.Unlock()
		if clean {
			continue
		}
		if err := r.sweepChain(ctx, chain[0].Dev); err != nil {
			return err
		}
	}
	return nil
}

func (r *room) sweepChain(ctx context.Context, dev protocol.Key) error {
	for seq := uint64(1); ctx.Err() == nil; {
		page, err := r.log.Chain(ctx, dev, protocol.Messages, seq, erasePage)
		if err := r.readable(err); err != nil || len(page) == 0 {
			return err
		}
		var due []protocol.ID
		r.mu.Lock()
		for _, v := range page {
			if v.Event().Body != nil && r.expired(v) {
				due = append(due, v.ID())
			}
		}
		r.mu.Unlock()
		if len(due) > 0 {
			if err := r.log.Erase(due...).Wait(ctx); err != nil {
				return err
			}
		}
		seq = page[len(page)-1].Header().Seq + 1
	}
	return ctx.Err()
}

// expired says whether a message fell to something that came here long ago: by this
// machine's clock, as nothing depends on it but when bytes go. The caller holds mu.
func (r *room) expired(v protocol.Verified) bool {
	_, err := r.judge(v)
	var s *protocol.SilencedError
	if !errors.As(err, &s) {
		return false
	}
	cause, err := r.log.Get(r.n.ctx, s.By)
	if err != nil {
		return false
	}
	came := r.log.Arrived(cause.Cursor)
	return !came.IsZero() && r.n.now().Sub(came) >= eraseAfter
}
