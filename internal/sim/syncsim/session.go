package syncsim

import (
	"errors"
	"slices"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/protocol/reconcile"
)

const (
	eventsMost = 8  // in a frame: small, so that connections break between them
	window     = 16 // of messages that are compared first
)

var errCut = errors.New("the connection broke")

// session is one pull: what s holds and p lacks goes to p.
type session struct {
	w     *world
	p, s  *replica
	left  int // frames until the connection breaks; negative is never
	limit int // of a frame of the comparison, in bytes
}

// pull has p fetch what it lacks of what s holds, as far as the connection lasts.
func (w *world) pull(p, s *replica) {
	x := &session{w: w, p: p, s: s, left: -1, limit: reconcile.MinMessage << w.dice.IntN(5)}
	if !w.healed && w.chance(40) {
		x.left = w.dice.IntN(12)
	}
	w.tally.Sessions++
	err := x.run()
	switch {
	case errors.Is(err, errCut):
		w.tally.Cut++
	case err != nil:
		w.fail("replica %d pulls from %d: %v", p.n, s.n, err)
	}
	if w.chance(40) {
		p.flush()
	}
}

func (x *session) run() error {
	if err := x.send(slices.Collect(x.s.roster.Lacking(x.p.roster.Ends(), nil))); err != nil {
		return err
	}
	if !x.s.counts(x.p) {
		return nil // who is out hears how, and nothing else
	}
	// What s compares is what it holds now, the newest first.
	set := x.s.messages()
	from := reconcile.Item{}
	if n := set.Len(); n > window {
		_ = set.Items(n-window, n-window+1, func(i reconcile.Item) error { from = i; return nil })
	}
	if err := x.compare(set, from, reconcile.Infinity()); err != nil {
		return err
	}
	return x.compare(set, reconcile.Item{}, from)
}

// frame says whether one more frame goes through.
func (x *session) frame() error {
	if x.left == 0 {
		return errCut
	}
	x.left--
	return nil
}

// send gives events to p in frames.
func (x *session) send(events []protocol.Verified) error {
	for chunk := range slices.Chunk(events, eventsMost) {
		if err := x.frame(); err != nil {
			return err
		}
		x.p.take(chunk)
	}
	return nil
}

// compare finds out what p lacks of a range and sends it.
func (x *session) compare(set *reconcile.Vector, from, to reconcile.Item) error {
	i, msg, err := reconcile.Give(set, from, to, x.limit)
	for err == nil && msg != nil {
		var answer []byte
		if answer, err = x.answer(msg); err != nil {
			return err
		}
		var found reconcile.Found
		if msg, found, err = i.Next(set, answer); err != nil {
			return err
		}
		x.w.tally.Rounds++
		for _, d := range slices.Backward(found.Have) {
			if err := x.give(set, d); err != nil {
				return err
			}
		}
	}
	return err
}

func (x *session) answer(msg []byte) ([]byte, error) {
	if len(msg) > x.limit {
		x.w.fail("a message of %d bytes, and the limit is %d", len(msg), x.limit)
	}
	if err := x.frame(); err != nil {
		return nil, err
	}
	answer, err := reconcile.Respond(x.p.messages(), msg, x.limit)
	if err != nil {
		return nil, err
	}
	if len(answer) > x.limit {
		x.w.fail("an answer of %d bytes, and the limit is %d", len(answer), x.limit)
	}
	x.w.tally.Bytes += len(msg) + len(answer)
	return answer, x.frame()
}

// give sends what p lacks of a range.
func (x *session) give(set *reconcile.Vector, d reconcile.Difference) error {
	lo, _ := set.Find(d.From)
	hi, _ := set.Find(d.To)
	var events []protocol.Verified
	_ = set.Items(lo, hi, func(i reconcile.Item) error {
		if !slices.Contains(d.Except, i.ID) {
			events = append(events, x.s.said[i.ID])
		}
		return nil
	})
	if len(events) != d.Count {
		x.w.fail("a difference says %d and is %d", d.Count, len(events))
	}
	return x.send(events)
}
