//go:build linux

package node_test

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol/reconcile"
)

// benchResync has Bo, who holds the same long history as Ana but for a thousand messages,
// fetch those from her: the newest, or some all over the time. First only the two sets are
// compared, then two nodes do all that they do.
func benchResync(b *testing.B, t *table, f *fixture, which string) {
	var anas, bos meter
	ana, _ := someone(b, &anas, "Ana", f.profile(b, "ana"), nil)
	bo, _ := someone(b, &bos, "Bo", f.profile(b, "bo"), nil)
	_, cursor, err := bo.Last(b.Context(), f.club, 1)
	if err != nil {
		b.Fatal(err)
	}
	if which == "scattered" {
		err = ana.Plant(b.Context(), f.club, f.apart(b)...)
	} else {
		err = talkMuch(b, ana, f)
	}
	if err != nil {
		b.Fatal(err)
	}
	what := fmt.Sprintf("resync of %d, %d %s missing", f.count, benchApart, which)
	compareSets(b, t, what+", ids only", ana, bo, f)

	start, began := anas.read(), time.Now()
	other := bos.read()
	meet(b, ana, bo)
	hear(b, bo, f.club, cursor, benchApart)
	took, use := time.Since(began), anas.read().since(start)
	t.set(b, p2pchat, what, milli(took), "ms")
	t.set(b, p2pchat, what+", CPU", use.cpu.Seconds()*1e3, "ms")
	t.set(b, p2pchat, what+", wire a message", float64(use.wire+bos.read().since(other).wire)/benchApart, "bytes")
	t.set(b, p2pchat, what+", turns", float64(anas.turns.Load()), "round trips")
}

// talkMuch has somebody say a thousand messages.
func talkMuch(b *testing.B, n *node.Node, f *fixture) error {
	var all sync.WaitGroup
	errs := make([]error, benchApart)
	for i := range benchApart {
		all.Go(func() { _, errs[i] = n.Send(b.Context(), f.club, line(i)) })
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// compareSets finds out which messages one lacks of another's, without a network.
func compareSets(b *testing.B, t *table, what string, gives, lacks *node.Node, f *fixture) {
	const limit = 60 << 10 // of a message, as the nodes have it
	var wire, rounds, found int
	runtime.LockOSThread() // the stores may be busy with what they wrote before
	defer runtime.UnlockOSThread()
	start := threadCPU()
	err := gives.MessageSet(b.Context(), f.club, func(mine reconcile.Set) error {
		return lacks.MessageSet(b.Context(), f.club, func(theirs reconcile.Set) error {
			i, msg, err := reconcile.Give(mine, reconcile.Item{}, reconcile.Infinity(), limit)
			for ; err == nil && msg != nil; rounds++ {
				var answer []byte
				if answer, err = reconcile.Respond(theirs, msg, limit); err != nil {
					break
				}
				wire += len(msg) + len(answer)
				var got reconcile.Found
				msg, got, err = i.Next(mine, answer)
				for _, d := range got.Have {
					found += d.Count
				}
			}
			return err
		})
	})
	if err != nil || found != benchApart {
		b.Fatal(found, err)
	}
	t.set(b, p2pchat, what, float64(wire), "bytes")
	t.set(b, p2pchat, what+", rounds", float64(rounds), "round trips")
	t.set(b, p2pchat, what+", CPU", (threadCPU()-start).Seconds()*1e3, "ms")
}
