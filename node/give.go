package node

import (
	"context"
	"errors"
	"slices"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/protocol/reconcile"
	"github.com/p2pchat/p2pchat/storage"
)

// giver sends messages that somebody lacks, the newest first.
type giver struct {
	r    *room
	ctx  context.Context
	out  *sender
	asks protocol.Have
	upTo uint64 // cursor of the last that is sent, for who has the control events of no later ones
	pack protocol.Packer

	oldest bool // give begins with the oldest, so that nothing comes before what it follows

	untold []reconcile.Item
	found  int  // messages that the other side lacks
	given  int  // of them
	lacks  bool // the other side holds messages that this room does not
	blind  bool // nothing is here by which it could be known whether it does
}

// told calls visit with the set of the messages that others are told of.
func (r *room) told(ctx context.Context, visit func(reconcile.Set) error) error {
	r.mu.Lock()
	r.refreshUntold()
	untold := r.untold.items
	r.mu.Unlock()
	return r.log.Messages(ctx, func(all reconcile.Set) error {
		set, err := reconcile.Except(all, untold)
		if err != nil {
			return err
		}
		return visit(set)
	})
}

// compareAll finds out which messages the other side of a stream lacks, and sends them.
func (g *giver) compareAll(w *wire, theirs protocol.Open) error {
	// Nothing of this device leaves before it is on disk: its places could be given again.
	if err := g.r.log.Append(nil).Wait(g.ctx); err != nil {
		return err
	}
	mine := g.r.open()
	if mine.Count == theirs.Count && mine.Sum == theirs.Sum {
		return nil
	}
	if err := g.compareFrom(w, mine.Count > theirs.Count+newestPage && g.asks.Part == 0); err != nil {
		return err
	}
	// Where the sets differ and there is nothing to give, there is something to get: where
	// this side holds nothing it does not look. Of what is asked for from a time on that
	// need not be, but the other side must not take it for being the same.
	g.lacks = g.lacks || g.found == 0 && g.asks.Parts == 0 && (g.asks.Since == 0 || g.blind)
	return nil
}

// compareFrom compares what is asked for, after a page of the newest if the other side
// lacks many.
func (g *giver) compareFrom(w *wire, paged bool) error {
	from, to := reconcile.Item{Time: g.asks.Since}, reconcile.Infinity()
	if paged {
		page, err := g.page()
		if err != nil {
			return err
		}
		if from.Compare(page) < 0 {
			part := g.asks
			g.asks.Parts = 0 // all of it
			if err := g.compare(w, page, to); err != nil {
				return err
			}
			g.asks, to = part, page
		}
	}
	return g.compare(w, from, to)
}

// page returns where the newest page begins.
func (g *giver) page() (first reconcile.Item, err error) {
	err = g.r.told(g.ctx, func(set reconcile.Set) error {
		at := max(0, set.Len()-newestPage)
		return set.Items(at, min(at+1, set.Len()), func(it reconcile.Item) error {
			first = it
			return nil
		})
	})
	return first, err
}

// compare finds out what the other side lacks between two messages, and sends it.
func (g *giver) compare(w *wire, from, to reconcile.Item) error {
	var have []reconcile.Difference
	var i *reconcile.Initiator
	var msg []byte
	err := g.r.told(g.ctx, func(set reconcile.Set) (err error) {
		i, msg, err = reconcile.Give(set, from, to, compareFrame)
		return err
	})
	g.blind = g.blind || msg == nil
	for err == nil && msg != nil {
		if err = w.send(protocol.FrameCompare, protocol.Compare{Message: msg}); err != nil {
			return err
		}
		var answer protocol.Compare
		if err = w.expect(protocol.FrameCompare, &answer); err != nil {
			return err
		}
		err = g.r.told(g.ctx, func(set reconcile.Set) (err error) {
			var found reconcile.Found
			msg, found, err = i.Next(set, answer.Message)
			have = append(have, found.Have...)
			g.lacks = g.lacks || found.Lacks
			return err
		})
	}
	if err != nil && !errors.Is(err, reconcile.ErrRounds) {
		return err
	}
	total := 0
	for _, d := range have {
		total += d.Count
	}
	g.found += total
	if total == 0 {
		return nil
	}
	// Others are asked for the other parts, which are about as much.
	if err := w.send(protocol.FrameTotal, protocol.Total{Events: uint64(total) / max(g.asks.Parts, 1)}); err != nil {
		return err
	}
	slices.SortFunc(have, func(a, b reconcile.Difference) int { return b.From.Compare(a.From) })
	for _, d := range have {
		if err := g.give(d); err != nil {
			return err
		}
	}
	return nil
}

// give sends what is missing of a range, a page at a time, the newest first unless it is
// said otherwise. In a page the oldest comes first, so that most messages come after those
// they follow.
func (g *giver) give(d reconcile.Difference) error {
	g.r.mu.Lock()
	g.r.refreshUntold()
	g.untold = g.r.untold.items
	g.r.mu.Unlock()
	if len(d.Except) > 0 {
		return g.giveSome(d)
	}
	for from, to, size := d.From, d.To, firstPage; g.ctx.Err() == nil; size = min(2*size, givenPage) {
		page, err := g.r.log.Between(g.ctx, from, to, size, !g.oldest)
		if err := g.r.readable(err); err != nil || len(page) == 0 {
			return err
		}
		if err := g.send(page...); err != nil {
			return err
		}
		if to = itemOf(page[0].Event); g.oldest {
			from, to = itemOf(page[len(page)-1].Event).Next(), d.To
		}
	}
	return g.ctx.Err()
}

// giveSome sends of a short range what the other side did not list.
func (g *giver) giveSome(d reconcile.Difference) error {
	var missing []reconcile.Item
	err := g.r.told(g.ctx, func(set reconcile.Set) error {
		from, err := set.Find(d.From)
		if err != nil {
			return err
		}
		to, err := set.Find(d.To)
		if d.To == reconcile.Infinity() {
			to = set.Len()
		}
		if err != nil {
			return err
		}
		except := make(map[protocol.ID]bool, len(d.Except))
		for _, id := range d.Except {
			except[id] = true
		}
		return set.Items(from, to, func(it reconcile.Item) error {
			if !except[it.ID] {
				missing = append(missing, it)
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	var page []storage.Entry
	for _, it := range missing {
		// By the set, which notices what is damaged or gone: it is not found here again.
		list, err := g.r.log.Between(g.ctx, it, reconcile.Infinity(), 1, false)
		if err := g.r.readable(err); err != nil {
			return err
		}
		if len(list) > 0 && list[0].Event.ID() == it.ID {
			page = append(page, list...)
		}
	}
	return g.send(page...)
}

// send packs messages, and sends before each the control events that it cites and that
// are not sent to everybody.
func (g *giver) send(list ...storage.Entry) error {
	for _, e := range list {
		v := e.Event
		if _, hidden := slices.BinarySearchFunc(g.untold, itemOf(v), reconcile.Item.Compare); hidden || !g.asks.Asks(v.Header().HLC) || g.upTo > 0 && e.Cursor > g.upTo {
			continue
		}
		g.r.mu.Lock()
		cited := g.r.current().Cited(v)
		g.r.mu.Unlock()
		for _, c := range cited {
			if err := g.out.add(c.Wire()); err != nil {
				return err
			}
		}
		v = g.r.outgoing(v)
		if !g.pack.Add(v, protocol.MaxPackSize) {
			if err := g.flush(); err != nil {
				return err
			}
			g.pack.Add(v, protocol.MaxPackSize)
		}
		g.given++
	}
	return g.flush()
}

// flush sends what is packed, after what it cites.
func (g *giver) flush() error {
	if err := g.out.flush(); err != nil || g.pack.Len() == 0 {
		return err
	}
	pack := g.pack
	g.pack = protocol.Packer{}
	return g.out.wire.send(protocol.FramePacked, pack.Bytes())
}
