package node

import (
	"context"
	"errors"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/protocol/reconcile"
)

// Who keeps less than this node hands on erased copies of messages that nothing says to
// erase. How many came is counted and written down, and while there are any, members are asked
// for the bodies one after the other, the newest first. A message that somebody looks at is asked
// for beside that: see bodies.go.

// texts is how far the search for bodies is. The room's mu guards it.
type texts struct {
	running bool
	at      reconcile.Item // the next search goes back from here; zero is the newest
	saved   uint64         // of how many the store knows
	changed bool           // some came while the search ran, so that it did not see all
	// known are all that a search found from one end to the other, so that the next need not
	// read the history again; nil where they are too many, or more came since.
	known []protocol.ID
	due   time.Time // when the next may begin: reading a long history takes its time
}

// owes notes that a message came without its body. The caller holds mu.
func (r *room) owes(v protocol.Verified) {
	if v.Header().Chain == protocol.Messages && !v.Whole() && r.missesBody(v) {
		r.meta.Owed++
		r.texts.changed, r.texts.known = true, nil
	}
}

// awaitsTexts says whether somebody connected is still to be asked for bodies, or is being
// asked.
func (r *room) awaitsTexts() bool {
	r.mu.Lock()
	owed, running := r.meta.Owed, r.texts.running
	r.mu.Unlock()
	if owed == 0 {
		return false
	}
	_, ok := r.whoMayHaveTexts()
	return running || ok
}

// whoMayHaveTexts returns a member who was not asked for bodies lately.
func (r *room) whoMayHaveTexts() (who peer.ID, ok bool) {
	for _, p := range r.n.members(r) {
		r.n.peers.with(p, func(s *peerState) {
			if at, asked := s.texts[r.group]; !asked || r.n.now().Sub(at).Abs() >= textsAgain {
				who, ok = p, true
			}
		})
	}
	return who, ok
}

// fetchTexts has a member asked for bodies, where some are owed. The keeper calls it, and does
// not wait.
func (r *room) fetchTexts(ctx context.Context) {
	r.mu.Lock()
	owed, wait := r.meta.Owed, r.texts.running || time.Now().Before(r.texts.due)
	if owed != r.texts.saved {
		if err := r.saveMeta(ctx); err != nil {
			r.n.log.Warn("how many texts are missing is not stored", "err", err)
		} else {
			r.texts.saved = owed
		}
	}
	r.mu.Unlock()
	p, ok := r.whoMayHaveTexts()
	if owed == 0 || wait || !ok {
		return
	}
	r.mu.Lock()
	r.texts.running, r.texts.changed = true, false
	r.mu.Unlock()
	r.n.spawn(func(ctx context.Context) {
		began, before := time.Now(), r.restored.Load()
		err := r.searchTexts(ctx, p)
		cut := err != nil && r.restored.Load() > before // it goes on where it was
		if !cut {
			r.n.peers.with(p, func(s *peerState) { s.texts[r.group] = r.n.now() })
		}
		r.mu.Lock()
		if r.texts.running = false; !cut {
			r.texts.due = time.Now().Add(min(textsRest*time.Since(began), textsRestMost))
		}
		r.mu.Unlock()
		if err != nil {
			r.n.log.Debug("texts", "peer", p, "err", err)
		}
		r.n.peers.notify()
		r.poke() // the next may have them
	})
}

// searchTexts asks one member for all bodies that are owed, until a stream brought none. What
// it goes through from one end to the other is counted anew.
func (r *room) searchTexts(ctx context.Context, p peer.ID) error {
	r.mu.Lock()
	to, known := r.texts.at, r.texts.known
	r.mu.Unlock()
	whole := to == reconcile.Item{}
	if whole {
		to = reconcile.Infinity()
	}
	s := &textSearch{room: r, peer: p}
	defer s.hangUp()
	if known != nil {
		return r.searchKnown(ctx, s, known)
	}
	known = []protocol.ID{}
	for {
		page, err := r.log.Between(ctx, reconcile.Item{}, to, givenPage, true)
		if err := r.readable(err); err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		var want []protocol.ID
		for _, e := range page {
			if !e.Event.Whole() && r.misses(e.Event) {
				want = append(want, e.Event.ID())
			}
		}
		if len(known) <= textsKnown {
			known = append(known, want...)
		}
		if err := s.ask(ctx, want); err != nil {
			r.mu.Lock()
			r.texts.at = to
			r.mu.Unlock()
			return err
		}
		to = itemOf(page[0].Event)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.texts.at = reconcile.Item{}
	if whole && !r.texts.changed {
		if r.meta.Owed = s.left; len(known) <= textsKnown {
			r.texts.known = known
		}
	}
	return nil
}

// searchKnown asks for those that a search before found.
func (r *room) searchKnown(ctx context.Context, s *textSearch, known []protocol.ID) error {
	var want []protocol.ID
	for _, id := range known {
		if e, err := r.log.Get(ctx, id); err == nil && !e.Event.Whole() && r.misses(e.Event) {
			want = append(want, id)
		}
	}
	if err := s.ask(ctx, want); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.texts.changed {
		r.meta.Owed = s.left
	}
	return nil
}

// textSearch asks one member for bodies, over as many streams as it takes.
type textSearch struct {
	room *room
	peer peer.ID
	wire *wire
	stop func()
	from time.Time // when this stream began
	uses int       // requests on it
	got  int       // bodies by it
	left uint64    // bodies that did not come
}

var errNoTexts = errors.New("a whole stream brought none")

// ask asks for some bodies.
func (s *textSearch) ask(ctx context.Context, ids []protocol.ID) error {
	for len(ids) > 0 {
		n := min(len(ids), protocol.MaxWantChunks)
		if err := s.dial(ctx); err != nil {
			return err
		}
		asked := make(map[protocol.ID]bool, n)
		for _, id := range ids[:n] {
			asked[id] = true
		}
		got, err := s.room.wantBodies(ctx, s.wire, asked)
		s.uses, s.got, s.left = s.uses+1, s.got+got, s.left+uint64(max(0, n-got))
		if err != nil {
			return err
		}
		ids = ids[n:]
	}
	return nil
}

// dial has a stream on which one more request is served: one that is young, since a long history
// is read between requests. They are as far apart as the other side serves them, and one in two is
// left for keys.
func (s *textSearch) dial(ctx context.Context) error {
	if s.wire != nil {
		used := s.uses >= wantsServed
		if !used && time.Since(s.from) < keyTimeout/2 {
			return nil
		}
		s.hangUp()
		if used && s.got == 0 {
			return errNoTexts
		}
		if pause(ctx, textsPause); ctx.Err() != nil {
			return ctx.Err()
		}
	}
	w, err := s.room.n.dial(ctx, s.peer, keyProtocol, keyTimeout)
	if err != nil {
		return err
	}
	late := time.AfterFunc(keyTimeout, func() { _ = w.stream.Reset() })
	stop := context.AfterFunc(ctx, func() { _ = w.stream.Reset() })
	s.wire, s.from, s.uses, s.got = w, time.Now(), 0, 0
	s.stop = func() { late.Stop(); stop() }
	return nil
}

func (s *textSearch) hangUp() {
	if s.wire != nil {
		s.stop()
		s.wire.end(nil)
		s.wire = nil
	}
}
