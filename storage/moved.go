package storage

import (
	"context"
	"maps"
	"slices"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/protocol/reconcile"
)

// The display order must not show an event before one that it follows on its chain,
// even if a clock stood in 2040 for a while and was set right. So an event stands where
// the first in the order of the maxMove places after it on its chain stands, right before it, if that
// one's time is not later: an event takes those before it along. Messages that do not
// count take none along ([Room.SetAside]): others may not have them. So the order is a
// function of what counts, and all members see one, whatever arrived first.
//
// Clocks are rarely put back. So the set and the control events are kept by their own
// times, and where a chain's time does not rise is remembered with the chain: what moved
// is found around there, when the order is read.

// moves is what stands elsewhere in the display than its own time says. It is replaced
// and never changed.
type moves struct {
	by   map[chainKey][]shown // where those stand that are taken along
	away map[protocol.ID]bool // they, who are passed over where their own times are
	to   []shown              // all of by, ascending
}

// fall notes that the time of a chain is no higher at a place than before it.
func (h *held) fall(seq uint64) {
	i, ok := slices.BinarySearch(h.falls, seq)
	if ok {
		return
	}
	h.falls = slices.Insert(slices.Clone(h.falls), i, seq)
	h.falls = h.falls[max(0, len(h.falls)-maxFalls):]
}

// rise forgets a fall: something stands between now.
func (h *held) rise(seq uint64) {
	if i, ok := slices.BinarySearch(h.falls, seq); ok {
		h.falls = slices.Delete(slices.Clone(h.falls), i, i+1)
	}
}

// nearFall says whether what is at a place may move others or be moved.
func (h *held) nearFall(seq uint64) bool {
	return slices.ContainsFunc(h.falls, func(at uint64) bool { return seq < at+maxMove && at <= seq+maxMove })
}

// timeBefore returns the highest time at the last place before a free one that is not
// free: what is there has nothing after it, so it is among the tips.
func (h *held) timeBefore(seq uint64) uint64 {
	at, high := uint64(0), uint64(0)
	for _, t := range h.tips {
		if t.Seq >= seq {
			continue
		}
		if t.Seq < at {
			break
		}
		at, high = t.Seq, max(high, t.HLC)
	}
	return high
}

// timeAfter returns the first place after a free one that is not free, and the lowest
// time there: what is there is known to lack what is before it.
func (h *held) timeAfter(seq uint64) (at, low uint64) {
	low = protocol.MaxHLC
	for _, w := range h.wants {
		if w.Seq < seq {
			continue
		}
		if at != 0 && w.Seq >= at {
			break
		}
		at, low = w.Seq+1, min(low, w.HLC)
	}
	return at, low
}

// fallsAt notes where the time of a chain does not rise with an event, before it or after it.
func (c *change) fallsAt(ctx context.Context, h *protocol.Header, g *growth) error {
	before := g.timeBefore(h.Seq)
	next, after := g.timeAfter(h.Seq)
	if !g.free(h.Seq) || len(g.tips) == MaxTips { // a fork: not all that is around is in memory
		at := chainKey{h.Dev, h.Chain}
		list, err := c.events(ctx, place{at, g.last(h.Seq - 1)})
		if err != nil {
			return err
		}
		for _, e := range list {
			before = max(before, e.Event.Header().HLC)
		}
		next = g.next(h.Seq + 1)
		if list, err = c.events(ctx, place{at, next}); err != nil {
			return err
		}
		for _, e := range list {
			after = min(after, e.Event.Header().HLC)
		}
	}
	if before >= h.HLC {
		g.fall(h.Seq)
	}
	switch {
	case after <= h.HLC:
		g.fall(next)
	case g.free(h.Seq):
		g.rise(next)
	}
	return nil
}

// SetAside says which messages of which devices others are not told of: they take
// nothing along in the display order. It is forgotten when the store is closed. The
// lists are not changed afterwards.
func (r *Room) SetAside(by map[protocol.Key][]reconcile.Item) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for dev := range r.aside {
		if _, ok := by[dev]; !ok {
			r.turn(dev)
		}
	}
	for dev, items := range by {
		if !slices.Equal(items, r.aside[dev]) {
			r.turn(dev)
		}
	}
	r.aside = maps.Clone(by)
}

// turn makes the moves of a device's messages be found again. The caller holds mu.
func (r *Room) turn(dev protocol.Key) {
	if k := (chainKey{dev, protocol.Messages}); len(r.durable[k].falls) > 0 {
		r.turned[k] = true
	}
}

// Falls says whether the time does not rise anywhere on a chain, so that it matters for the
// display order what is set aside.
func (r *Room) Falls() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.turned) > 0 || len(r.moved.by) > 0
}

// moves returns what is moved in the display order.
func (r *Room) moves(ctx context.Context) (*moves, error) {
	r.finding.Lock()
	defer r.finding.Unlock()
	r.mu.Lock()
	m, turned, aside := r.moved, r.turned, r.aside
	falls := make(map[chainKey][]uint64, len(turned))
	for k := range turned {
		falls[k] = r.durable[k].falls
	}
	r.turned = make(map[chainKey]bool)
	r.mu.Unlock()
	if len(turned) == 0 {
		return m, nil
	}
	by := maps.Clone(m.by)
	for k, at := range falls {
		list, err := r.movesOf(ctx, k, at, aside[k.dev])
		if err != nil {
			r.mu.Lock()
			maps.Copy(r.turned, turned)
			r.mu.Unlock()
			return nil, err
		}
		by[k] = list
	}
	m = newMoves(by)
	r.mu.Lock()
	r.moved = m
	r.mu.Unlock()
	return m, nil
}

func newMoves(by map[chainKey][]shown) *moves {
	m := &moves{by: by, away: make(map[protocol.ID]bool)}
	for _, list := range by {
		for _, s := range list {
			m.away[s.id] = true
			m.to = append(m.to, s)
		}
	}
	slices.SortFunc(m.to, func(a, b shown) int { return a.compare(b.stand) })
	return m
}

// spot is an event at a place of a chain.
type spot struct {
	element
	seq uint64
}

// movesOf finds what is moved around the places where the time of a chain falls.
func (r *Room) movesOf(ctx context.Context, k chainKey, falls []uint64, aside []reconcile.Item) ([]shown, error) {
	still := make(map[protocol.ID]bool, len(aside)) // take nothing along
	for _, it := range aside {
		still[it.ID] = true
	}
	var list []shown
	for len(falls) > 0 {
		from, to := falls[0]-min(falls[0]-1, maxMove), falls[0]
		for len(falls) > 0 && falls[0] <= to+maxMove {
			to, falls = falls[0]+maxMove-1, falls[1:]
		}
		spots, err := r.spots(ctx, k, from, to)
		if err != nil {
			return nil, err
		}
		list = append(list, moved(spots, still)...)
	}
	return list, nil
}

// spots returns the events at some places of a chain, by place.
func (r *Room) spots(ctx context.Context, k chainKey, from, to uint64) ([]spot, error) {
	var list []spot
	end, o := r.Cursor(), r.opener()
	for seq := from; seq <= to; seq++ {
		var p page
		if err := o.readPlace(ctx, place{k, seq}, end, &p); err != nil {
			return nil, err
		}
		for _, e := range p.entries {
			list = append(list, spot{elementOf(e), seq})
		}
	}
	return list, nil
}

// moved returns where those of some events stand that are taken along by what comes after
// them.
func moved(spots []spot, still map[protocol.ID]bool) []shown {
	var list []shown
	var lows []spot // the first in the order at each place, descending by place
	for _, s := range slices.Backward(spots) {
		to := s.Item
		for _, l := range slices.Backward(lows) {
			if l.seq > s.seq+maxMove {
				break
			}
			if l.seq > s.seq && l.Time <= s.Time && (to == s.Item || l.Compare(to) < 0) {
				to = l.Item
			}
		}
		if to != s.Item {
			list = append(list, shown{stand{to, s.seq, s.ID}, s.cursor})
		}
		if still[s.ID] {
			continue
		}
		if n := len(lows); n > 0 && lows[n-1].seq == s.seq {
			if s.Compare(lows[n-1].Item) < 0 {
				lows[n-1] = s
			}
		} else {
			lows = append(lows, s)
		}
	}
	return list
}
