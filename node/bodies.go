package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

// An erased copy of a message keeps its chain whole, and may be all that a member had
// to give: it was hidden there for long, or somebody took the body off on the way. If
// it counts, and nobody took it back, its body is asked for once somebody looks at it.

// wantBody notes that a body is missed. The caller holds mu.
func (r *room) wantBody(v protocol.Verified) {
	if _, err := r.judge(v); err == nil && len(r.bodiless) < protocol.MaxWantChunks && !r.dated(v) {
		r.bodiless[v.ID()] = true
	}
}

// askBodies asks for what is missed, once: who looks again has it asked for again.
func (r *room) askBodies(ctx context.Context, w *wire) error {
	r.mu.Lock()
	asked := r.bodiless
	r.bodiless = make(map[protocol.ID]bool)
	r.mu.Unlock()
	if len(asked) == 0 {
		return nil
	}
	_, err := r.wantBodies(ctx, w, asked)
	return err
}

// wantBodies asks for some bodies, puts back what comes, and says how many came.
func (r *room) wantBodies(ctx context.Context, w *wire, asked map[protocol.ID]bool) (got int, err error) {
	want := protocol.Want{Group: r.group}
	for id := range asked {
		want.Bodies = append(want.Bodies, id)
	}
	if err := w.send(protocol.FrameWant, want); err != nil {
		return 0, err
	}
	var came []protocol.Verified
	err = w.answers(func(f protocol.Frame) error {
		var list protocol.Events
		if err := f.Decode(protocol.FrameEvents, &list); err != nil {
			return err
		}
		for _, wire := range list.List {
			v, err := protocol.Verify(r.group, wire)
			if err != nil || !asked[v.ID()] || !v.Whole() || len(came) > len(asked) {
				return fmt.Errorf("peer %s answers with a message nobody asked for", w.peer())
			}
			came = append(came, v)
		}
		return nil
	})
	got, wrong := r.putBack(ctx, came...)
	return got, errors.Join(err, wrong)
}

// putBack restores the bodies of messages that are here without, unless their time is over
// or they were taken back by now, and says of how many.
func (r *room) putBack(ctx context.Context, list ...protocol.Verified) (int, error) {
	r.restoring.Lock() // two who bring the same count it once
	defer r.restoring.Unlock()
	var back []storage.Entry // what comes to which place
	for _, v := range list {
		if !r.misses(v) {
			continue
		}
		e, err := r.log.Get(ctx, v.ID())
		if err != nil {
			return 0, err
		}
		if !e.Event.Whole() {
			back = append(back, storage.Entry{Cursor: e.Cursor, Event: v})
		}
	}
	if err := r.reshelve(ctx, back); err != nil {
		return 0, err
	}
	var commits []*storage.Commit // of all at once
	for _, e := range back {
		commits = append(commits, r.log.Restore(e.Event))
	}
	for _, c := range commits {
		if err := c.Wait(ctx); err != nil {
			return 0, err
		}
	}
	var ids []protocol.ID
	for _, e := range back {
		ids = append(ids, e.Event.ID())
	}
	r.restored.Add(uint64(len(back)))
	r.mu.Lock()
	r.meta.Owed -= min(r.meta.Owed, uint64(len(back)))
	r.mu.Unlock()
	return len(back), r.takeBack(ctx, ids) // the docket found nothing to erase meanwhile
}

// refill puts back the bodies that events brought which were here already.
func (r *room) refill(ctx context.Context, events []protocol.Verified) (int, error) {
	var lacking []protocol.Verified
	for _, v := range events {
		if !v.Whole() || v.Header().Chain != protocol.Messages {
			continue
		}
		e, err := r.log.Get(ctx, v.ID())
		if errors.Is(err, storage.ErrNotFound) || errors.Is(err, storage.ErrDamaged) {
			continue // refused, or on its way
		}
		if err != nil {
			return 0, err
		}
		if !e.Event.Whole() {
			lacking = append(lacking, v)
		}
	}
	return r.putBack(ctx, lacking...)
}

// misses says whether the body of a message ought to be here.
func (r *room) misses(v protocol.Verified) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.missesBody(v)
}

// missesBody is misses. The caller holds mu.
func (r *room) missesBody(v protocol.Verified) bool {
	_, silenced := r.judge(v)
	_, gone := r.retracted(v)
	return silenced == nil && !gone && !r.expired(v) && !r.dated(v)
}

// serveBodies sends those messages asked for that are here whole, count, were not taken
// back, and are kept.
func (r *room) serveBodies(ctx context.Context, w *wire, ids []protocol.ID) error {
	for _, id := range ids {
		e, err := r.log.Get(ctx, id)
		if err != nil || !e.Event.Whole() || e.Event.Header().Chain != protocol.Messages {
			continue
		}
		r.mu.Lock()
		_, silenced := r.judge(e.Event)
		_, gone := r.retracted(e.Event)
		gone = gone || r.expired(e.Event)
		r.mu.Unlock()
		if silenced != nil || gone {
			continue
		}
		if err := w.send(protocol.FrameEvents, protocol.Events{List: [][]byte{e.Event.Wire()}}); err != nil {
			return err
		}
	}
	return nil
}
