package storage_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/ipfs/go-datastore"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

// counting counts gets.
type counting struct {
	datastore.Batching
	gets atomic.Int64
}

func (c *counting) Get(ctx context.Context, k datastore.Key) ([]byte, error) {
	c.gets.Add(1)
	return c.Batching.Get(ctx, k)
}

func precedes(t tester, r *storage.Room, v protocol.Verified, end protocol.ID, want bool) {
	t.Helper()
	if got, err := r.Precedes(ctx, v, end); got != want || err != nil {
		t.Fatalf("seq %d: %v, %v", v.Header().Seq, got, err)
	}
}

// checkPrecedes compares with links followed one by one, for all pairs of a chain.
func checkPrecedes(t tester, r *storage.Room, stored, offered []protocol.Verified) {
	t.Helper()
	byID := make(map[protocol.ID]protocol.Verified)
	for _, v := range stored {
		byID[v.ID()] = v
	}
	for _, end := range stored {
		past := map[protocol.ID]bool{end.ID(): true}
		for at := end; at.Header().Seq > 1; {
			at = byID[at.Header().Prev]
			past[at.ID()] = true
		}
		for _, v := range stored {
			precedes(t, r, v, end.ID(), past[v.ID()])
		}
		for _, v := range offered {
			precedes(t, r, v, end.ID(), false)
		}
	}
}

func testPrecedes(t *testing.T, make func(testing.TB) datastore.Batching) {
	ds := &counting{Batching: make(t)}
	r := room(t, open(t, ds))
	ana, ben := newDevice(), newDevice()
	trunk := ana.run(10, 100)
	copied, offering := ana.clone(), ana.clone()
	long, short := ana.run(300, 200), copied.run(5, 200)
	offered := offering.run(20, 200)
	put(t, r, trunk...)
	put(t, r, long...)
	put(t, r, short...)
	other := append(ben.run(12, 100), ana.leave(1), ana.leave(2))
	put(t, r, other...)

	tip := long[299].ID()
	for _, v := range []protocol.Verified{trunk[0], trunk[9], long[0], long[4], long[5], long[298], long[299], long[0].Erased()} {
		precedes(t, r, v, tip, true)
	}
	for _, v := range []protocol.Verified{short[0], short[4], offered[0], offered[19], ben.at(1), other[0], other[11], other[12]} {
		precedes(t, r, v, tip, false)
	}
	precedes(t, r, trunk[3], short[4].ID(), true)
	precedes(t, r, long[0], short[4].ID(), false)
	precedes(t, r, long[299], long[5].ID(), false)
	precedes(t, r, other[12], other[13].ID(), true)
	if _, err := r.Precedes(ctx, trunk[0], offered[0].ID()); !errors.Is(err, storage.ErrNotFound) {
		t.Fatalf("an end that is not stored: %v", err)
	}

	// The chain is forked, and far from the fork it costs what it costs without: four gets,
	// two of them of entries, each behind up to three others.
	for _, v := range []protocol.Verified{trunk[0], long[5], long[100], offered[10]} {
		before := ds.gets.Load()
		precedes(t, r, v, tip, v.ID() != offered[10].ID())
		if n := ds.gets.Load() - before; n > 4+2*3 {
			t.Fatalf("seq %d: %d gets", v.Header().Seq, n)
		}
	}
}

// Any tree of branches is answered as following its links answers it.
func testPrecedesTrees(t *testing.T, make func(testing.TB) datastore.Batching) {
	r := room(t, open(t, make(t)))
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 7))
		heads := []*device{newDevice()}
		var stored, offered []protocol.Verified
		for range 40 {
			d := heads[rng.IntN(len(heads))]
			if rng.IntN(5) == 0 {
				d = d.clone()
				heads = append(heads, d)
			}
			if rng.IntN(8) == 0 { // made, and never brought here
				offered = append(offered, d.clone().run(2, 100)...)
			}
			v := d.at(100)
			stored = append(stored, v)
			put(t, r, v)
		}
		checkPrecedes(t, r, stored, offered)
	}
}

// Across a hole there is no answer; beside one there is.
func testPrecedesHoles(t *testing.T, make func(testing.TB) datastore.Batching) {
	r := room(t, open(t, make(t)))
	d := newDevice()
	all := d.run(5, 100)
	other := d.clone().run(8, 200)
	all = append(all, d.run(8, 300)...)
	put(t, r, all[:5]...)
	put(t, r, all[7:]...) // two of this branch are missing
	put(t, r, other...)
	end := all[12].ID()
	for i, v := range all[:12] {
		got, err := r.Precedes(ctx, v, end)
		if i >= 6 && (!got || err != nil) || i < 6 && !errors.Is(err, storage.ErrGap) {
			t.Fatalf("seq %d: %v, %v", i+1, got, err)
		}
	}
	for i, v := range slices.Concat(all[:5], other[:7]) {
		precedes(t, r, v, other[7].ID(), true)
		if i >= 7 {
			precedes(t, r, v, end, false)
		}
	}
	put(t, r, all[5:7]...)
	checkPrecedes(t, r, slices.Concat(all, other), nil)
}

// A damaged value is not a reason for a wrong answer.
func testPrecedesDamaged(t *testing.T, make func(testing.TB) datastore.Batching) {
	ds := make(t)
	s := open(t, ds)
	d := newDevice()
	all := d.run(20, 1)
	put(t, room(t, s), all...)
	s.Close()
	if err := ds.Put(ctx, datastore.RawKey(logKey(t, ds, all[9])), []byte("garbage")); err != nil {
		t.Fatal(err)
	}
	r := room(t, open(t, ds))
	for i, v := range all[:19] {
		got, err := r.Precedes(ctx, v, all[19].ID())
		if i >= 8 && i < 8+hidden(10) { // its only follower is damaged
			if !errors.Is(err, storage.ErrDamaged) {
				t.Fatalf("before a damaged one: %v, %v", got, err)
			}
			continue
		}
		if !got || err != nil {
			t.Fatalf("seq %d: %v, %v", i+1, got, err)
		}
	}
	put(t, r, all[9])
	precedes(t, r, all[8], all[19].ID(), true)
}
