package node

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

// docket is what a room does about messages that concern others: it reads the log as
// a follower does, from where it was when the program last ended, keeps a list of the
// reports, and erases what was taken back. So nothing is forgotten by a crash, and
// nothing of it has to happen while events come in.
type docket struct {
	mu      sync.Mutex // held while the log is read; before the room's own mutex
	cursor  uint64     // how far the log was read
	saved   uint64     // how far that is on disk
	reports []filed    // oldest first, at most reportsMost
	removed []filed    // retractions of others' messages, likewise
	tallies []tally    // messages under the epochs sent under last, the newest epoch first
}

// filed is a message for the docket and the device it is by.
type filed struct {
	ID  protocol.ID  `cbor:"1,keyasint"`
	Dev protocol.Key `cbor:"3,keyasint"`
}

// docketState is a docket on disk.
type docketState struct {
	Cursor  uint64  `cbor:"1,keyasint"`
	Reports []filed `cbor:"3,keyasint"`
	Removed []filed `cbor:"5,keyasint"`
	Tallies []tally `cbor:"7,keyasint"`
}

// spaceDockets holds each group's docket by its id.
const spaceDockets = "dockets"

// takenSpace holds what a moderator took back in a group and when this node saw it,
// until it is erased.
func takenSpace(group protocol.ID) string { return "taken-" + group.Text("") }

// loadDocket reads the docket back, and which messages others are about.
func (r *room) loadDocket(ctx context.Context) error {
	targets, err := r.log.Abouts(ctx)
	if err != nil {
		return err
	}
	r.abouts = make(map[storage.Target]bool, len(targets))
	for _, t := range targets {
		r.abouts[t] = true
	}
	b, err := r.n.store.Get(ctx, spaceDockets, r.group.Text(""))
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	var s docketState
	if err == nil {
		err = cbor.Unmarshal(b, &s)
	}
	if err != nil {
		return fmt.Errorf("docket: %w", err)
	}
	r.docket.cursor, r.docket.saved, r.docket.reports, r.docket.removed = s.Cursor, s.Cursor, s.Reports, s.Removed
	r.docket.tallies = s.Tallies
	r.spend()
	return nil
}

// noteAbouts remembers which messages others are about. The caller holds mu.
func (r *room) noteAbouts(events []protocol.Verified) {
	for _, v := range events {
		if to := v.Header().To; !to.IsZero() {
			r.abouts[storage.TargetOf(to)] = true
		}
	}
}

// attend keeps the docket, behind what is shown: who needs it at once catches up.
func (r *room) attend(ctx context.Context) {
	var swept time.Time
	for {
		changed := r.log.Changed()
		wait := eraseEvery
		err := r.catchUp(ctx)
		if now := r.n.now(); err == nil && now.Sub(swept) >= eraseEvery {
			swept = now
			err = r.eraseDue(ctx, now)
		}
		if err != nil && ctx.Err() == nil {
			r.n.log.Warn("what was taken back is erased later", "group", r.group.Text(protocol.GroupPrefix), "err", err)
			wait = docketRetry
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
			pause(ctx, docketRest)
		case <-time.After(wait):
		}
	}
}

// catchUp reads the log from where the docket is to its end.
func (r *room) catchUp(ctx context.Context) error {
	d := &r.docket
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := r.shelve(ctx, d.cursor); err != nil {
		return err
	}
	for d.cursor < r.log.Cursor() {
		page, err := r.log.After(ctx, d.cursor, followPage)
		if err := r.readable(err); err != nil || len(page) == 0 {
			return err
		}
		found, err := r.fileAll(ctx, page)
		if err != nil {
			return err
		}
		d.cursor = page[len(page)-1].Cursor
		r.shelvePage(page)
		if found || d.cursor-d.saved >= docketEvery {
			if err := r.saveDocket(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *room) saveDocket(ctx context.Context) error {
	if err := r.saveShelves(ctx); err != nil {
		return err
	}
	d := &r.docket
	b, err := cbor.Marshal(docketState{d.cursor, d.reports, d.removed, d.tallies})
	if err == nil {
		err = r.n.store.Put(ctx, spaceDockets, r.group.Text(""), b)
	}
	if err == nil {
		d.saved = d.cursor
	}
	return err
}

// fileAll takes a page of the log into the docket, and says whether there was something
// to file. What is about another message may come before or after it.
func (r *room) fileAll(ctx context.Context, page []storage.Entry) (found bool, err error) {
	var taken []protocol.ID
	var reports, removed []filed
	r.mu.Lock()
	for _, e := range page {
		h := e.Event.Header()
		if h.Chain != protocol.Messages {
			continue
		}
		switch h.Kind {
		case protocol.KindReport:
			reports = append(reports, filed{e.Event.ID(), h.Dev})
		case protocol.KindRetract:
			taken = append(taken, h.To)
			if !h.Auth.IsZero() {
				removed = append(removed, filed{e.Event.ID(), h.Dev})
			}
		}
		if r.abouts[storage.TargetOf(e.Event.ID())] {
			taken = append(taken, e.Event.ID())
		}
	}
	r.mu.Unlock()
	if err := r.takeBack(ctx, taken); err != nil {
		return false, err // the page is read again
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	whose := func(f filed) protocol.Key {
		root, _ := r.current().Whose(f.Dev)
		return root
	}
	r.count(page)
	r.docket.reports = crowdOut(append(r.docket.reports, reports...), reportsMost, whose)
	r.docket.removed = crowdOut(append(r.docket.removed, removed...), reportsMost, whose)
	return len(reports)+len(removed) > 0, nil
}

// crowdOut drops what is over a limit: each time the oldest report of who wrote the
// most, so that nobody's flood hides what others reported.
func crowdOut(list []filed, most int, whose func(filed) protocol.Key) []filed {
	for len(list) > most {
		count := make(map[protocol.Key]int)
		var loudest protocol.Key
		for _, f := range list {
			who := whose(f)
			if count[who]++; count[who] > count[loudest] {
				loudest = who
			}
		}
		i := slices.IndexFunc(list, func(f filed) bool { return whose(f) == loudest })
		list = slices.Delete(list, i, i+1)
	}
	return list
}

// takeBack erases those of some messages that their authors took back, and notes
// those that a moderator did: they are erased later.
func (r *room) takeBack(ctx context.Context, messages []protocol.ID) error {
	var gone []protocol.ID
	for _, id := range messages {
		e, err := r.log.Get(ctx, id)
		if errors.Is(err, storage.ErrNotFound) || errors.Is(err, storage.ErrDamaged) {
			continue
		}
		if err != nil {
			return err
		}
		r.mu.Lock()
		by, ok := r.retracted(e.Event)
		own := ok && r.sameAuthor(by, e.Event)
		r.mu.Unlock()
		switch {
		case own && e.Event.Whole():
			gone = append(gone, id)
		case ok && !own:
			err = r.noteTaken(ctx, id)
		}
		if err != nil {
			return err
		}
	}
	if len(gone) == 0 {
		return nil
	}
	return r.log.Erase(gone...).Wait(ctx)
}

// noteTaken remembers since when a message is taken back by a moderator.
func (r *room) noteTaken(ctx context.Context, id protocol.ID) error {
	if _, err := r.n.store.Get(ctx, takenSpace(r.group), id.Text("")); !errors.Is(err, storage.ErrNotFound) {
		return err
	}
	since := binary.BigEndian.AppendUint64(nil, uint64(max(0, r.n.now().Unix())))
	return r.n.store.Put(ctx, takenSpace(r.group), id.Text(""), since)
}

// eraseDue erases what moderators took back long enough ago, if it still is.
func (r *room) eraseDue(ctx context.Context, now time.Time) error {
	taken, err := r.n.store.List(ctx, takenSpace(r.group))
	if err != nil {
		return err
	}
	for name, value := range taken {
		id, err := protocol.ParseID("", name)
		if err != nil || len(value) != 8 {
			return fmt.Errorf("what is stored about a retraction, %q, is damaged", name)
		}
		if now.Sub(time.Unix(int64(binary.BigEndian.Uint64(value)), 0)) < eraseAfter {
			continue
		}
		if err := r.eraseTaken(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

func (r *room) eraseTaken(ctx context.Context, id protocol.ID) error {
	e, err := r.log.Get(ctx, id)
	switch {
	case errors.Is(err, storage.ErrNotFound), errors.Is(err, storage.ErrDamaged):
		return r.n.store.Delete(ctx, takenSpace(r.group), id.Text("")) // nothing is left to erase
	case err != nil:
		return err
	}
	r.mu.Lock()
	_, still := r.retracted(e.Event)
	r.mu.Unlock()
	if !still {
		return nil // it may be again
	}
	if err := r.log.Erase(id).Wait(ctx); err != nil {
		return err
	}
	return r.n.store.Delete(ctx, takenSpace(r.group), id.Text(""))
}
