package node

import (
	"context"
	"fmt"

	"github.com/p2pchat/p2pchat/protocol"
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
	want := protocol.Want{Group: r.group}
	for id := range asked {
		want.Bodies = append(want.Bodies, id)
	}
	if err := w.send(protocol.FrameWant, want); err != nil {
		return err
	}
	return w.answers(func(f protocol.Frame) error {
		var list protocol.Events
		if err := f.Decode(protocol.FrameEvents, &list); err != nil {
			return err
		}
		for _, wire := range list.List {
			v, err := protocol.Verify(r.group, wire)
			if err != nil || !asked[v.ID()] || !v.Whole() {
				return fmt.Errorf("peer %s answers with a message nobody asked for", w.peer())
			}
			if err := r.putBack(ctx, v); err != nil {
				return err
			}
		}
		return nil
	})
}

// putBack restores the body of a message, unless its time is over by now.
func (r *room) putBack(ctx context.Context, v protocol.Verified) error {
	r.mu.Lock()
	over := r.expired(v)
	r.mu.Unlock()
	e, err := r.log.Get(ctx, v.ID())
	if over || err != nil {
		return err
	}
	if err := r.reshelve(ctx, e.Cursor, v); err != nil {
		return err
	}
	return r.log.Restore(v).Wait(ctx)
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
