package node

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/protocol/reconcile"
	"github.com/p2pchat/p2pchat/storage"
)

// Members compare the messages that count, and those that lead to one on its chain. A
// room stores others as well: of who was removed or muted since, and of who forked their
// chain more often than others are told. Those are few and of few devices, so they are
// found from the ends of chains backwards and kept in memory.

// untold is what a room stores of a device and does not tell others of.
type untold struct {
	stamp int            // of the roster, when this was found
	ends  []protocol.Tip // of the chain, when this was found
	told  []protocol.Tip // up to where others are told of it, the longest first
	items []reconcile.Item
	// guessed says that a cut names what is not here: what comes may leave less.
	guessed bool
	// due is when it may be found anew: who forks their chain, or wrote much before what
	// they wrote was undone, makes that long.
	due time.Time
}

// untoldAll is that of all devices of which there is any.
type untoldAll struct {
	by    map[protocol.Key]*untold
	items []reconcile.Item // ascending
	// version rises with every change of items: whoever asks may be the one who brings
	// them in step, and who keeps a sum of them is not told.
	version uint64
	late    bool // something is to be found anew as soon as it is due
	// damaged are among items: what cannot be read is not here, so that others send it.
	damaged []reconcile.Item
}

// refreshUntold brings untold in step with the store. The caller holds mu.
func (r *room) refreshUntold() {
	stamp, changed := r.current().Stamp(), r.untold.by == nil
	gaps := make(map[protocol.Key]bool)
	for _, g := range r.log.Gaps() {
		gaps[g.Dev] = true
	}
	before := r.untold.by
	r.untold.by, r.untold.late = make(map[protocol.Key]*untold), false
	for _, ends := range chainsOf(r.log.Tips(), protocol.Messages) {
		dev, most := ends[0].Dev, branchesTold
		if gaps[dev] {
			most = storage.MaxTips // each run of what is here has an end
		}
		if len(ends) <= most && r.current().Unquestioned(dev) {
			continue
		}
		u := before[dev]
		if u == nil || u.guessed || u.stamp != stamp || !slices.Equal(u.ends, ends) {
			if u != nil && time.Now().Before(u.due) {
				r.untold.late = true
			} else {
				u, changed = r.findUntold(ends, most), true
			}
		}
		r.untold.by[dev] = u
		delete(before, dev)
	}
	changed = r.refreshDamaged() || changed
	if changed || len(before) > 0 {
		r.untold.items = slices.Clone(r.untold.damaged)
		aside := make(map[protocol.Key][]reconcile.Item, len(r.untold.by))
		for dev, u := range r.untold.by {
			r.untold.items = append(r.untold.items, u.items...)
			aside[dev] = u.items
		}
		r.log.SetAside(aside)
		slices.SortFunc(r.untold.items, reconcile.Item.Compare)
		r.untold.items = slices.Compact(r.untold.items)
		r.untold.version++
	}
}

// refreshDamaged says whether other messages are damaged than were. The caller holds mu.
func (r *room) refreshDamaged() bool {
	damaged, err := r.log.Damaged(r.n.ctx)
	if err != nil {
		r.n.log.Error("damaged messages are not asked for yet", "err", err)
		r.untold.late = true
		return false
	}
	for _, it := range damaged {
		r.recent.Remove(it.ID) // they may come again
	}
	same := slices.Equal(damaged, r.untold.damaged)
	r.untold.damaged = damaged
	return !same
}

// spoiled says whether this store held an event that it cannot read any more. The caller
// holds mu.
func (r *room) spoiled(v protocol.Verified) bool {
	_, err := r.log.Get(r.n.ctx, v.ID())
	_, gone := slices.BinarySearchFunc(r.untold.damaged, itemOf(v), reconcile.Item.Compare)
	return gone || errors.Is(err, storage.ErrDamaged)
}

// findUntold goes back from the ends of a chain to what others are told of.
func (r *room) findUntold(ends []protocol.Tip, most int) *untold {
	began := time.Now()
	u := &untold{stamp: r.current().Stamp(), ends: ends}
	r.guessed = false
	if r.current().Unquestioned(ends[0].Dev) {
		u.told = slices.Clone(ends[max(0, len(ends)-most):]) // they ascend: the longest
		slices.Reverse(u.told)
	} else {
		u.told = r.countedEnds(r.branches(ends), most)
	}
	u.scan(r)
	u.guessed = r.guessed
	u.due = began.Add(untoldRest * time.Since(began))
	return u
}

// scan reads a chain from its end back until nothing is left that others are not told of.
// So what is told of leads to what is at the place before: to ask for each message whether
// it is before an end would take some reads for each branch beside it.
func (u *untold) scan(r *room) {
	told, rest := make(map[protocol.ID]uint64), make(map[protocol.ID]uint64) // to come, and where
	for _, t := range u.ends {
		rest[t.ID] = t.Seq
	}
	for _, t := range u.told {
		told[t.ID] = t.Seq
	}
	unnamed := len(u.ends) >= storage.MaxTips // the store names no more of them
	for seq := u.ends[len(u.ends)-1].Seq; (unnamed || len(rest) > 0) && r.n.ctx.Err() == nil; {
		page, err := r.log.ChainBack(r.n.ctx, u.ends[0].Dev, protocol.Messages, seq, followPage)
		if r.readable(err) != nil || len(page) == 0 {
			return
		}
		for _, v := range page {
			into := rest
			if _, ok := told[v.ID()]; ok {
				into = told
			} else {
				u.items = append(u.items, itemOf(v))
			}
			delete(told, v.ID())
			delete(rest, v.ID())
			if h := v.Header(); h.Seq > 1 {
				into[h.Prev] = h.Seq - 1
			}
		}
		seq = page[len(page)-1].Header().Seq - 1
		missing := func(_ protocol.ID, at uint64) bool { return at > seq }
		before := len(told)
		maps.DeleteFunc(told, missing)
		maps.DeleteFunc(rest, missing)
		r.guessed = r.guessed || len(told) < before
	}
}

// tells says whether a message is one up to which others are told, or before it.
func (u *untold) tells(r *room, v protocol.Verified) bool {
	t := v.Tip()
	return slices.ContainsFunc(u.told, func(end protocol.Tip) bool {
		return t == end || t.Seq < end.Seq && chains{r}.Spares(v, protocol.CutEntry{ID: end.ID, Seq: end.Seq})
	})
}

// tellsOf says whether others are told of a message, which need not be stored. The caller
// holds mu.
func (r *room) tellsOf(v protocol.Verified) bool {
	r.refreshUntold()
	u := r.untold.by[v.Header().Dev]
	return u == nil || u.tells(r, v)
}

// itemOf is a message as members compare it.
func itemOf(v protocol.Verified) reconcile.Item {
	return reconcile.Item{Time: v.Header().HLC, ID: v.ID()}
}

// chainsOf groups the tips of one sort of chain by device; a forked chain has several.
func chainsOf(tips []protocol.Tip, sort protocol.Chain) [][]protocol.Tip {
	var out [][]protocol.Tip
	for _, t := range tips {
		if t.Chain != sort {
			continue
		}
		if n := len(out); n > 0 && out[n-1][0].Dev == t.Dev {
			out[n-1] = append(out[n-1], t)
		} else {
			out = append(out, []protocol.Tip{t})
		}
	}
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

// countedEnds returns up to where the branches of a chain count, the longest first, and
// none that lies before another: who does not hold the part that does not count could not
// tell it from the rest of the chain.
func (r *room) countedEnds(branches []protocol.Tip, most int) []protocol.Tip {
	whole := make(map[protocol.ID]bool, len(branches)) // nothing follows those
	var ends []protocol.Tip
	for _, t := range branches {
		end := r.countedEnd(t)
		if end.Seq == 0 || slices.Contains(ends, end) {
			continue
		}
		whole[end.ID] = end == t
		ends = append(ends, end)
	}
	slices.SortFunc(ends, func(a, b protocol.Tip) int { return b.Compare(a) })
	var out []protocol.Tip
	for _, e := range ends {
		before := func(t protocol.Tip) bool { return r.precedes(e, t) }
		if len(out) < most && (whole[e.ID] || !slices.ContainsFunc(out, before)) {
			out = append(out, e)
		}
	}
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
func (r *room) countedEnd(at protocol.Tip) protocol.Tip {
	for at.Seq > 0 {
		e, err := r.log.Get(r.n.ctx, at.ID)
		switch {
		case err == nil:
			if _, err := r.judge(e.Event); err == nil {
				return at
			}
			at.Seq, at.ID = at.Seq-1, e.Event.Header().Prev
		case r.log.Wanted(at):
			return protocol.Tip{} // a hole: what is before it has an end of its own
		default: // damaged, and what it follows is known by its place alone until it comes again
			r.guessed = true
			page, err := r.log.ChainBack(r.n.ctx, at.Dev, at.Chain, at.Seq-1, 1)
			if r.readable(err) != nil || len(page) == 0 {
				return protocol.Tip{}
			}
			at = page[0].Tip()
		}
	}
	return protocol.Tip{}
}
