package node

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/p2pchat/p2pchat/protocol"
)

// What does not count is hidden at once, and its bodies are erased when it has not
// counted for eraseAfter: long enough for seniors to undo a wrong removal, after
// which it shows again.

// Bodies whose time is over, by their author, by the group's retention or for want of
// room, go within bodiesEvery: see [shelves].

// sweepLoop erases in the background.
func (r *room) sweepLoop(ctx context.Context) {
	bodies, fallen := time.NewTicker(bodiesEvery), time.NewTimer(sweepFirst)
	defer bodies.Stop()
	defer fallen.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-bodies.C:
			err = r.sweepBodies(ctx)
		case <-fallen.C:
			err = r.sweep(ctx)
			fallen.Reset(sweepEvery)
		}
		if err != nil && ctx.Err() == nil {
			r.n.log.Warn("erase", "group", protocol.Short(r.group.Text(protocol.GroupPrefix)), "err", err)
		}
	}
}

// sweepBodies erases the bodies whose time is over.
func (r *room) sweepBodies(ctx context.Context) error {
	if err := r.n.saveSteady(ctx); err != nil {
		return err
	}
	if err := r.clearShelves(ctx); err != nil {
		return err
	}
	for {
		r.mu.Lock()
		limit, mark := r.rule.Limit, r.rule.Mark
		r.mu.Unlock()
		held := r.shelves.bytes()
		if limit == 0 || held <= limit {
			return nil
		}
		up, err := r.oldest(ctx, held-limit+limit/keepSlack)
		if err != nil || up <= mark {
			return err
		}
		r.mu.Lock()
		if r.rule.Limit == limit { // nobody has said otherwise meanwhile
			r.rule.Mark, r.rule.unsaved = up, true
		}
		r.mu.Unlock()
		if err := r.clearShelves(ctx); err != nil {
			return err
		}
	}
}

// clearShelves erases what is over by the rules as they stand. What they say is on disk
// before anything is erased by them.
func (r *room) clearShelves(ctx context.Context) error {
	r.mu.Lock()
	k := r.rules()
	unsaved := r.rule.unsaved
	r.mu.Unlock()
	if unsaved {
		if err := r.saveKeep(ctx); err != nil {
			return err
		}
	}
	for _, i := range r.shelves.dueShelves(&k) {
		if err := r.clearShelf(ctx, i, &k); err != nil {
			return err
		}
	}
	return nil
}

// fellSpace holds since when this node sees messages of a device fall to an act: how
// long they have not counted is what matters, not how old the act is. An old mute may
// come to bear again when its lifting is undone.
func fellSpace(group protocol.ID) string { return "fell-" + group.Text("") }

// sweeping is one round: what was noted before, and what still holds.
type sweeping struct {
	since map[string][]byte
	holds map[string]bool
}

// sweep goes through the chains about which something was done.
func (r *room) sweep(ctx context.Context) error {
	since, err := r.n.store.List(ctx, fellSpace(r.group))
	if err != nil {
		return err
	}
	s := sweeping{since, make(map[string]bool)}
	for _, chain := range chainsOf(r.log.Tips(), protocol.Messages) {
		r.mu.Lock()
		clean := r.current().Unquestioned(chain[0].Dev)
		r.mu.Unlock()
		if clean {
			continue
		}
		if err := r.sweepChain(ctx, chain[0].Dev, s); err != nil {
			return err
		}
	}
	for key := range since {
		if !s.holds[key] {
			if err := r.n.store.Delete(ctx, fellSpace(r.group), key); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *room) sweepChain(ctx context.Context, dev protocol.Key, s sweeping) error {
	for seq := uint64(1); ctx.Err() == nil; {
		page, err := r.log.Chain(ctx, dev, protocol.Messages, seq, erasePage)
		if err := r.readable(err); err != nil || len(page) == 0 {
			return err
		}
		var due []protocol.ID
		for _, v := range page {
			old, err := r.fallen(ctx, v, s)
			if err != nil {
				return err
			}
			if old {
				due = append(due, v.ID())
			}
		}
		if len(due) > 0 {
			if err := r.log.Erase(due...).Wait(ctx); err != nil {
				return err
			}
		}
		seq = page[len(page)-1].Header().Seq + 1
	}
	return ctx.Err()
}

// fallen says whether a message has not counted for long: by this machine's clock, as
// nothing depends on it but when bytes go.
func (r *room) fallen(ctx context.Context, v protocol.Verified, s sweeping) (bool, error) {
	r.mu.Lock()
	r.guessed = false
	_, err := r.judge(v)
	guessed := r.guessed
	r.mu.Unlock()
	var fell *protocol.SilencedError
	if !errors.As(err, &fell) || guessed {
		return false, nil
	}
	dev := v.Header().Dev
	key, now := dev.Text("")+"."+fell.By.Text(""), r.n.now().Unix()
	s.holds[key] = true
	since, noted := s.since[key]
	if !noted || len(since) != 8 {
		since = binary.BigEndian.AppendUint64(nil, uint64(now))
		if err := r.n.store.Put(ctx, fellSpace(r.group), key, since); err != nil {
			return false, err
		}
		s.since[key] = since
	}
	return v.Event().Body != nil && now-int64(binary.BigEndian.Uint64(since)) >= int64(eraseAfter/time.Second), nil
}
