package node

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/p2pchat/p2pchat/protocol"
)

// Which messages count follows from the control set and from the messages here, and
// may change whenever a control event comes. So it is asked when a message comes in,
// when it is read, when it is handed on, and when this node says what it holds.

// judge says whether a message counts, and under which rank. The caller holds mu.
func (r *room) judge(v protocol.Verified) (protocol.Rank, error) {
	return r.current().CheckMessage(v, chains{r})
}

// silenced says whether an error of judge is one that may pass: the message is not
// wrong, its author is not heard.
func silenced(err error) bool { return errors.Is(err, protocol.ErrSilenced) }

// chains tells the roster what a room holds of its members' chains of messages.
type chains struct{ r *room }

// Spares says whether a message is the one that a cut names, or before it.
func (c chains) Spares(v protocol.Verified, cut protocol.CutEntry) bool {
	if v.ID() == cut.ID {
		return true
	}
	key := pair{v.ID(), cut.ID}
	if yes, ok := c.r.spared.Get(key); ok {
		return yes
	}
	yes, err := c.r.log.Precedes(c.r.n.ctx, v, cut.ID)
	if err != nil {
		c.r.guessed = true
		// What the cut names is not here, or something between: who names what nobody
		// has must not be heard for ever, so what is here has to be led back to by links.
		here, err := c.r.log.Has(c.r.n.ctx, cut.ID)
		return (err != nil || !here) && v.Header().Seq < cut.Seq
	}
	c.r.spared.Add(key, yes) // once it is here, the answer is for good
	return yes
}

// Before returns the time of the message before one on its chain.
func (c chains) Before(v protocol.Verified) (uint64, bool) {
	h := v.Header()
	if h.Seq == 1 {
		return 0, false
	}
	if hlc, ok := c.r.recent.Peek(h.Prev); ok {
		return hlc, true
	}
	if e, ok := c.r.links.events[h.Prev]; ok {
		return e.event.Header().HLC, true
	}
	e, err := c.r.log.Get(c.r.n.ctx, h.Prev)
	if err != nil {
		return 0, false
	}
	return e.Event.Header().HLC, true
}

// pair is a message and one that a cut names.
type pair struct{ message, end protocol.ID }

// tips returns the ends of control chains that are firm and on disk. The caller holds mu.
func (r *room) tips() []protocol.Tip {
	out := r.controlTips(r.log.Tips())
	slices.SortFunc(out, protocol.Tip.Compare)
	return out
}

// controlTips returns the ends of control chains, as far as they are on disk. The caller
// holds mu.
func (r *room) controlTips(stored []protocol.Tip) []protocol.Tip {
	var out []protocol.Tip
	behind := make(map[protocol.Key]bool) // devices whose newest events are on their way
	for _, t := range r.current().Ends() {
		_, ok := slices.BinarySearchFunc(stored, t, protocol.Tip.Compare)
		if !ok && r.set.Has(t.ID) {
			_, err := r.log.Get(r.n.ctx, t.ID)
			ok = err == nil
			behind[t.Dev] = behind[t.Dev] || !ok
		} else {
			ok = true // or it names no event
		}
		if ok {
			out = append(out, t)
		}
	}
	for _, t := range stored {
		if t.Chain == protocol.Control && behind[t.Dev] && r.current().Firm(t.ID) && !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	return out
}

// links are messages that do not count and that were not stored. They are kept for a
// while because one that counts may come after them on their chain, which goes on
// through them, and because they may come to count.
type links struct {
	events map[protocol.ID]parkedEvent
	bytes  int
	used   map[protocol.Key]usage // by device, so that one flood does not keep others out
}

// add keeps a message, if there is room.
func (l *links) add(v protocol.Verified, now time.Time) {
	size, dev := len(v.Wire()), v.Header().Dev
	u := l.used[dev]
	if _, ok := l.events[v.ID()]; ok || len(l.events) >= linkEvents || l.bytes+size > linkBytes ||
		u.events >= linkEvents/linkShare || u.bytes+size > linkBytes/linkShare {
		return
	}
	if l.events == nil {
		l.events, l.used = make(map[protocol.ID]parkedEvent), make(map[protocol.Key]usage)
	}
	l.events[v.ID()] = parkedEvent{event: v, since: now}
	l.bytes += size
	l.used[dev] = usage{u.events + 1, u.bytes + size}
}

func (l *links) has(id protocol.ID) bool { _, ok := l.events[id]; return ok }

func (l *links) remove(id protocol.ID) {
	if e, ok := l.events[id]; ok {
		size, dev := len(e.event.Wire()), e.event.Header().Dev
		l.bytes -= size
		delete(l.events, id)
		if u := l.used[dev]; u.events > 1 {
			l.used[dev] = usage{u.events - 1, u.bytes - size}
		} else {
			delete(l.used, dev)
		}
	}
}

// back returns the messages that lead to one, the first of them first.
func (l *links) back(to protocol.ID) []protocol.Verified {
	var out []protocol.Verified
	for e, ok := l.events[to]; ok; e, ok = l.events[e.event.Header().Prev] {
		out = append(out, e.event)
	}
	slices.Reverse(out)
	return out
}

// drain empties it, each message after the one it follows.
func (l *links) drain() []protocol.Verified {
	var out []protocol.Verified
	for _, e := range l.events {
		out = append(out, e.event)
	}
	*l = links{}
	slices.SortFunc(out, func(a, b protocol.Verified) int { return cmp.Compare(a.Header().Seq, b.Header().Seq) })
	return out
}

func (l *links) expire(now time.Time) {
	for id, e := range l.events {
		if now.Sub(e.since) >= parkedFor {
			l.remove(id)
		}
	}
}

// refusal says why this device's own message would not count.
func (r *room) refusal(err error) error {
	var s *protocol.SilencedError
	if !errors.As(err, &s) {
		return fmt.Errorf("%w: %w", ErrNotAllowed, err)
	}
	by := ""
	if v, _, ok := r.set.Get(s.By); ok {
		by = r.person(v.Header().Dev).Name
	}
	if by != "" {
		by = ", says " + by
	}
	switch {
	case s.Kind == protocol.KindMute:
		return fmt.Errorf("%w: you are muted%s", ErrNotAllowed, by)
	case s.Kind == protocol.KindSetting && s.Wait > 0:
		wait := (time.Duration(s.Wait) * time.Millisecond).Round(100 * time.Millisecond)
		return fmt.Errorf("%w: slow mode%s: wait %v", ErrNotAllowed, by, max(wait, 100*time.Millisecond))
	case s.Kind == protocol.KindSetting:
		return fmt.Errorf("%w: only the role moderator or a more senior one may speak now%s", ErrNotAllowed, by)
	}
	return fmt.Errorf("%w: %w", ErrNotAllowed, s)
}
