package node

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/protocol/reconcile"
	"github.com/p2pchat/p2pchat/storage"
)

// A frontier tells members who do not meet this device what it has stored: prints of
// the messages of some spans of time. It is what receipts come from where two devices
// did not compare directly. It is published when the messages here are others than it
// says, rarely, and never while nothing changes.

// frontier is when a room published its frontier, and whose others came.
type frontier struct {
	checked uint64    // the cursor up to which the own record says what is here
	since   time.Time // when it was first seen not to
	next    time.Time // it is not published before
	heard   map[protocol.Key]bool
}

// tellFrontier publishes this device's frontier where it is due, and takes in those of
// others. The keeper calls it.
func (r *room) tellFrontier(ctx context.Context) {
	err := r.hearFrontiers(ctx)
	if err == nil {
		err = r.publishFrontier(ctx, r.n.now())
	}
	if err != nil && ctx.Err() == nil {
		r.n.log.Warn("frontier", "err", err)
	}
}

func (r *room) publishFrontier(ctx context.Context, now time.Time) error {
	cursor := r.log.Cursor()
	r.mu.Lock()
	owner, member := r.current().Owner(r.me.Dev())
	skip := !member || owner.Rank >= protocol.Relay || r.frontier.checked == cursor || now.Before(r.frontier.next)
	old, said := r.records[recordSlot{r.me.Dev(), protocol.RecordFrontier}]
	silent := r.meta.Silent
	r.mu.Unlock()
	if skip {
		return nil
	}
	var f protocol.Frontier
	if said {
		f, _ = old.Record().Frontier() // of a later version: another one replaces it
	}
	fits, err := r.fits(ctx, f, silent)
	if err != nil {
		return err
	}
	if !r.frontierDue(now, cursor, fits) {
		return nil
	}
	if f, err = r.makeFrontier(ctx, now, silent); err != nil {
		return err
	}
	return r.sayFrontier(ctx, f)
}

// frontierDue says whether the frontier is to be published now, and when it may be again.
func (r *room) frontierDue(now time.Time, cursor uint64, fits bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := &r.frontier
	switch {
	case fits:
		f.checked, f.since = cursor, time.Time{}
		return false
	case f.since.IsZero(): // what is said now is rarely the last
		f.since, f.next = now, now.Add(frontierQuiet+rand.N(frontierQuiet))
		return false
	}
	rest := max(frontierRest, time.Duration(len(r.current().Members()))*frontierShare)
	f.checked, f.since, f.next = cursor, time.Time{}, now.Add(rest+rand.N(rest/4))
	return true
}

// fits says whether a frontier is of exactly what is here.
func (r *room) fits(ctx context.Context, f protocol.Frontier, silent bool) (fits bool, err error) {
	if silent {
		return len(f.Spans) == 0, nil
	}
	err = r.told(ctx, func(set reconcile.Set) error {
		from := 0
		for _, s := range f.Spans {
			print, to, err := printOf(set, from, s.Before)
			if err != nil || print != s.Print {
				return err
			}
			from = to
		}
		fits = from == set.Len()
		return nil
	})
	return fits, err
}

// printOf returns the print of the messages of a set from a number on that are before a
// time, and how many of the set are.
func printOf(set reconcile.Set, from int, before uint64) (print [16]byte, to int, err error) {
	if to, err = set.Find(reconcile.Item{Time: before}); err != nil {
		return print, 0, err
	}
	sum, err := set.Sum(from, to)
	return protocol.FrontierPrint(sum, to-from), to, err
}

// makeFrontier says what is here, in spans that end at the beginning of this week, of
// this day, of this hour, and behind the last message: a hole in one hides nothing of
// the others, and the bounds are those of everybody's.
func (r *room) makeFrontier(ctx context.Context, now time.Time, silent bool) (f protocol.Frontier, err error) {
	if silent {
		return f, nil
	}
	end := uint64(max(now.UnixMilli(), 0))
	var bounds []uint64
	for _, unit := range []time.Duration{7 * 24 * time.Hour, 24 * time.Hour, time.Hour} {
		bounds = append(bounds, end-end%uint64(unit.Milliseconds()))
	}
	err = r.told(ctx, func(set reconcile.Set) error {
		if n := set.Len(); n > 0 { // a clock may be ahead of this one
			if err := set.Items(n-1, n, func(it reconcile.Item) error { end = max(end, it.Time+1); return nil }); err != nil {
				return err
			}
		}
		from, last := 0, uint64(0)
		for _, before := range append(bounds, end) {
			print, to, err := printOf(set, from, before)
			if err != nil {
				return err
			}
			if before > last && to > 0 {
				f.Spans = append(f.Spans, protocol.FrontierSpan{Before: before, Print: print})
				from, last = to, before
			}
		}
		return nil
	})
	return f, err
}

// sayFrontier signs, stores and publishes this device's frontier.
func (r *room) sayFrontier(ctx context.Context, f protocol.Frontier) error {
	rec, commit, err := r.signFrontier(f)
	if err != nil || commit == nil {
		return err
	}
	if err := commit.Wait(ctx); err != nil {
		return err
	}
	r.publish(protocol.FrameRecords, [][]byte{rec.Wire()})
	r.poke()
	return nil
}

func (r *room) signFrontier(f protocol.Frontier) (protocol.VerifiedRecord, *storage.Commit, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	number := uint64(1)
	if old, ok := r.records[recordSlot{r.me.Dev(), protocol.RecordFrontier}]; ok {
		number = old.Record().Number + 1
	}
	rec, err := protocol.Record{Type: protocol.RecordFrontier, Number: number, Value: f.Value()}.Sign(r.group, r.me.Signer())
	if err != nil || !r.keepRecord(rec) {
		return rec, nil, err
	}
	r.digest.fresh = false
	return rec, r.log.PutRecord(rec), nil
}

// heardFrontier notes that a device's frontier came. The caller holds mu.
func (r *room) heardFrontier(rec protocol.Record) {
	if rec.Type != protocol.RecordFrontier || rec.Dev == r.me.Dev() {
		return
	}
	if r.frontier.heard == nil {
		r.frontier.heard = make(map[protocol.Key]bool)
	}
	r.frontier.heard[rec.Dev] = true
}

// hearFrontiers compares the frontiers that came with what is here.
func (r *room) hearFrontiers(ctx context.Context) error {
	r.mu.Lock()
	devices := r.frontier.heard
	r.frontier.heard = nil
	r.mu.Unlock()
	return r.compareFrontiers(ctx, devices)
}

// compareFrontiers learns from the frontiers of some devices what these have. What does
// not fit now may later, when what is missing here has come: so who asks for receipts
// compares again.
func (r *room) compareFrontiers(ctx context.Context, devices map[protocol.Key]bool) error {
	said := r.frontiersOf(devices)
	if len(said) == 0 {
		return nil
	}
	cursor := r.log.Cursor() // before the set: it has this at least
	type piece struct{ from, before uint64 }
	prints := make(map[piece][16]byte) // most devices end their spans at the same times
	return r.told(ctx, func(set reconcile.Set) error {
		for dev, f := range said {
			from := uint64(0)
			for _, s := range f.Spans {
				p := piece{from, s.Before}
				if _, ok := prints[p]; !ok {
					first, err := set.Find(reconcile.Item{Time: from})
					if err != nil {
						return err
					}
					if prints[p], _, err = printOf(set, first, s.Before); err != nil {
						return err
					}
				}
				if prints[p] == s.Print {
					r.contacts.with(dev, func(c *contact) { c.learn(span{From: from, Before: s.Before, Cursor: cursor}) })
				}
				from = s.Before
			}
		}
		return nil
	})
}

// frontiersOf returns what some devices said last.
func (r *room) frontiersOf(devices map[protocol.Key]bool) map[protocol.Key]protocol.Frontier {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make(map[protocol.Key]protocol.Frontier, len(devices))
	for dev := range devices {
		rec, ok := r.records[recordSlot{dev, protocol.RecordFrontier}]
		if !ok {
			continue
		}
		if f, err := rec.Record().Frontier(); err == nil && len(f.Spans) > 0 {
			out[dev] = f
		}
	}
	return out
}
