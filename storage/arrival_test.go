package storage_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

// clock is set by hand.
type clock struct{ unix atomic.Int64 }

func (c *clock) seconds() int64     { return c.unix.Load() }
func (c *clock) turn(seconds int64) { c.unix.Add(seconds) }
func (c *clock) now() time.Time     { return time.Unix(c.seconds(), 0) }

func arrived(t tester, r *storage.Room, cursor uint64, want int64) {
	t.Helper()
	got := r.Arrived(cursor)
	if want == 0 && !got.IsZero() || want != 0 && got.Unix() != want {
		t.Fatalf("cursor %d arrived at %v, want %d", cursor, got, want)
	}
}

func testArrived(t *testing.T, make func(testing.TB) datastore.Batching) {
	ds := make(t)
	var c clock
	s := open(t, ds, storage.WithClock(c.now))
	r := room(t, s)
	d := newDevice()
	c.turn(1_000_000)
	want := []int64{0}
	for _, step := range []struct{ after, mark int64 }{
		{0, 1_000_000},
		{299, 1_000_000},
		{1, 1_000_300},
		{100, 1_000_300},
		{5000, 1_005_400},
		{-299, 1_005_400}, // the clock is set back a little
		{-1, 1_005_100},   // and far
		{0, 1_005_100},
	} {
		c.turn(step.after)
		put(t, r, d.run(3, 1)...)
		want = append(want, step.mark, step.mark, step.mark)
	}
	check := func(r *storage.Room) {
		t.Helper()
		for cursor, mark := range want {
			arrived(t, r, uint64(cursor), mark)
		}
	}
	check(r)
	c.turn(10_000)
	put(t, r, must(r.Get(ctx, d.prev.ID)).Event) // nothing came
	erase(t, r, d.prev.ID)
	s.Close()
	s = open(t, ds, storage.WithClock(c.now))
	r = room(t, s)
	check(r)
	arrived(t, r, 1000, 1_005_100)
	s.Close()

	// A mark that does not decode is as if it were not there.
	for _, e := range must(must(ds.Query(ctx, query.Query{Prefix: "/t"})).Rest()) {
		if err := ds.Put(ctx, datastore.RawKey(e.Key), nil); err != nil {
			t.Fatal(err)
		}
	}
	r = room(t, open(t, ds, storage.WithClock(c.now)))
	arrived(t, r, 24, 0)
	put(t, r, d.at(1))
	arrived(t, r, 24, 0)
	arrived(t, r, 25, c.seconds())
	if n := len(must(must(ds.Query(ctx, query.Query{Prefix: "/t"})).Rest())); n != 1 {
		t.Fatalf("%d marks on disk", n)
	}
}

// The newest 10,000 marks are kept.
func testArrivedMany(t *testing.T, make func(testing.TB) datastore.Batching) {
	ds := make(t)
	var c clock
	s := open(t, ds, storage.WithClock(c.now))
	r := room(t, s)
	d := newDevice()
	const n, more = 10_000, 25
	for range n + more {
		c.turn(300)
		r.Append([]protocol.Verified{d.at(1)})
	}
	put(t, r)
	check := func(r *storage.Room) {
		t.Helper()
		arrived(t, r, more, 0)
		arrived(t, r, more+1, 300*(more+1))
		arrived(t, r, n+more, 300*(n+more))
		if got := len(must(must(ds.Query(ctx, query.Query{Prefix: "/t"})).Rest())); got != n {
			t.Fatalf("%d marks on disk", got)
		}
	}
	check(r)
	s.Close()
	check(room(t, open(t, ds)))
}
