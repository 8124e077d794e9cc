package node

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
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
	if err != nil { // what the cut names is not here, or cannot be read
		c.r.counted.guessed = true
		return v.Header().Seq < cut.Seq
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

// counted remembers up to where branches count, by their ends.
type counted struct {
	stamp   int
	ends    map[protocol.ID]protocol.Tip
	guessed bool // since countedEnd began: a cut names what is not here
}

// tips returns the ends of all chains, of control events those that are firm, of
// messages those that count: what this node holds, as far as others should hold it too. The caller holds mu.
func (r *room) tips() []protocol.Tip {
	all := r.log.Tips()
	out := r.controlTips(all)
	all = slices.DeleteFunc(all, func(t protocol.Tip) bool { return t.Chain == protocol.Control })
	if stamp := r.current().Stamp(); r.counted.stamp != stamp || len(r.counted.ends) > countedEnds {
		r.counted = counted{stamp: stamp, ends: make(map[protocol.ID]protocol.Tip)}
	}
	for len(all) > 0 {
		n := 1 // all branches of a chain
		for n < len(all) && tip(all[n]).key() == tip(all[0]).key() {
			n++
		}
		if !r.current().Unquestioned(all[0].Dev) {
			out = append(out, r.countedEnds(r.branches(all[:n]))...)
		} else {
			out = append(out, all[max(0, n-branchesTold):n]...) // they ascend: the longest
		}
		all = all[n:]
	}
	slices.SortFunc(out, protocol.Tip.Compare)
	return out
}

// branches returns the ends of the branches of a chain of messages; where there are more
// than the store names, those too that a cut spares.
func (r *room) branches(ends []protocol.Tip) []protocol.Tip {
	ends = slices.Clone(ends)
	if len(ends) < storage.MaxTips {
		return ends
	}
	for _, c := range r.current().Spared(ends[0].Dev) {
		t := protocol.Tip{Dev: ends[0].Dev, Chain: protocol.Messages, Seq: c.Seq, ID: c.ID}
		if e, err := r.log.Get(r.n.ctx, c.ID); err == nil && e.Event.Tip() == t && !slices.Contains(ends, t) {
			ends = append(ends, t)
		}
	}
	return ends
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

// countedEnds returns up to where the branches of a chain count, ascending, and none
// that lies before another: who does not hold the part that does not count could not
// tell it from the rest of the chain.
func (r *room) countedEnds(branches []protocol.Tip) []protocol.Tip {
	whole := make(map[protocol.ID]bool, len(branches)) // nothing follows those
	ends := branches[:0]
	for _, t := range branches {
		end := r.countedEnd(t)
		if end.Seq == 0 || slices.Contains(ends, end) {
			continue
		}
		whole[end.ID] = end == t
		ends = append(ends, end)
	}
	slices.SortFunc(ends, func(a, b protocol.Tip) int { return b.Compare(a) }) // the longest first
	out := ends[:0]
	for _, e := range ends {
		before := func(t protocol.Tip) bool { return r.precedes(e, t) }
		if len(out) < branchesTold && (whole[e.ID] || !slices.ContainsFunc(out, before)) {
			out = append(out, e)
		}
	}
	slices.Reverse(out)
	return out
}

// precedes says whether one place of a chain is before another. Both are here.
func (r *room) precedes(a, b protocol.Tip) bool {
	if yes, ok := r.spared.Get(pair{a.ID, b.ID}); ok {
		return yes
	}
	e, err := r.log.Get(r.n.ctx, a.ID)
	return err == nil && chains{r}.Spares(e.Event, protocol.CutEntry{ID: b.ID, Seq: b.Seq})
}

// countedEnd follows a branch back to the last message that counts.
func (r *room) countedEnd(t protocol.Tip) protocol.Tip {
	if end, ok := r.counted.ends[t.ID]; ok {
		return end
	}
	end := protocol.Tip{}
	r.counted.guessed = false
	for id := t.ID; !id.IsZero(); {
		e, err := r.log.Get(r.n.ctx, id)
		if err != nil {
			break // damaged: what is before it is found by the other side's tips
		}
		if _, err := r.judge(e.Event); err == nil {
			end = e.Event.Tip()
			break
		}
		id = e.Event.Header().Prev
	}
	if !r.counted.guessed { // or what a cut names may come, and leave less
		r.counted.ends[t.ID] = end
	}
	return end
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
		return fmt.Errorf("%w: you are muted%s: %w", ErrNotAllowed, by, s)
	case s.Kind == protocol.KindSetting && s.Wait > 0:
		wait := (time.Duration(s.Wait) * time.Millisecond).Round(100 * time.Millisecond)
		return fmt.Errorf("%w: slow mode%s: wait %v", ErrNotAllowed, by, max(wait, 100*time.Millisecond))
	case s.Kind == protocol.KindSetting:
		return fmt.Errorf("%w: only the role moderator or a more senior one may speak now%s", ErrNotAllowed, by)
	}
	return fmt.Errorf("%w: %w", ErrNotAllowed, s)
}
