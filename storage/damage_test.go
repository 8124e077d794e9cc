package storage_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/ipfs/go-datastore"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/protocol/reconcile"
	"github.com/p2pchat/p2pchat/storage"
)

// What is damaged is named once it was read, whoever read it, and with it what is kept behind
// it. It is stored again as if it had never been there, and brings those back: the end of a chain, its neighbour, one in the middle, one whose
// value is gone.
func testDamagedReturn(t *testing.T, make func(testing.TB) datastore.Batching) {
	ds := make(t)
	s := open(t, ds)
	all := newDevice().run(1500, 1)
	put(t, room(t, s), all...)
	s.Close()
	// What is kept behind a damaged one is damaged with it.
	with := func(list ...int) (out []protocol.Verified) {
		for i, v := range all {
			if slices.ContainsFunc(list, func(at int) bool { return at <= i && i < at+hidden(at+1) }) {
				out = append(out, v)
			}
		}
		return out
	}
	broken := []protocol.Verified{all[10], all[700], all[1498], all[1499]}
	for _, v := range broken {
		if err := ds.Put(ctx, datastore.RawKey(logKey(t, ds, v)), []byte("garbage")); err != nil {
			t.Fatal(err)
		}
	}
	if err := ds.Delete(ctx, datastore.RawKey(logKey(t, ds, all[600]))); err != nil {
		t.Fatal(err)
	}
	s = open(t, ds)
	r := room(t, s)
	before := r.Damages()
	check := func(want ...protocol.Verified) {
		t.Helper()
		var items []reconcile.Item
		for _, v := range want {
			items = append(items, item(v))
		}
		if got, err := r.Damaged(ctx); err != nil || !slices.Equal(got, items) {
			t.Fatalf("%d are damaged, not %d: %v", len(got), len(want), err)
		}
	}
	check()
	if _, err := r.Get(ctx, all[10].ID()); !errors.Is(err, storage.ErrDamaged) {
		t.Fatal(err)
	}
	if check(all[10]); r.Damages() == before {
		t.Fatal("nobody hears of it")
	}
	// A page of which nothing can be read is no end.
	page, err := r.Between(ctx, reconcile.Item{}, reconcile.Infinity(), 2, true)
	if len(page) != 2 || page[1].Event.ID() != all[1497].ID() || !errors.Is(err, storage.ErrDamaged) {
		t.Fatalf("%d of the newest: %v", len(page), err)
	}
	if page, err = r.Between(ctx, item(all[1498]), reconcile.Infinity(), 1, false); len(page) != 0 || !errors.Is(err, storage.ErrDamaged) {
		t.Fatalf("%d of none: %v", len(page), err)
	}
	if page, err = r.Between(ctx, reconcile.Item{}, reconcile.Infinity(), 2000, false); len(page) != 1500-len(with(10, 600, 700, 1498, 1499)) || !errors.Is(err, storage.ErrDamaged) {
		t.Fatalf("%d of all: %v", len(page), err)
	}
	check(with(10, 600, 700, 1498, 1499)...)
	put(t, r, all[1499], all[1498], all[700].Erased(), all[600])
	check(with(10)...)
	put(t, r, all[10])
	check()
	whole := func(id protocol.ID) bool { return id != all[700].ID() }
	right := func() {
		t.Helper()
		copies(t, r, all, whole)
		if tips := r.Tips(); len(tips) != 1 || tips[0] != all[1499].Tip() || len(r.Gaps()) > 0 {
			t.Fatalf("tips %v, gaps %v", tips, r.Gaps())
		}
	}
	right()
	s.Close()
	s = open(t, ds)
	r = room(t, s)
	right()
	check()
}

// One that is read after all is not damaged.
func TestDamageThatPasses(t *testing.T) {
	ds := memory(t)
	r := room(t, open(t, ds))
	v := newDevice().at(1)
	put(t, r, v)
	key := datastore.RawKey(logKey(t, ds, v))
	for _, value := range [][]byte{[]byte("garbage"), v.Wire()} {
		if err := ds.Put(ctx, key, value); err != nil {
			t.Fatal(err)
		}
		_, err := r.Get(ctx, v.ID())
		if got := must(r.Damaged(ctx)); (err == nil) != (len(got) == 0) {
			t.Fatalf("%d are damaged: %v", len(got), err)
		}
	}
	if got := must(r.Damaged(ctx)); len(got) > 0 {
		t.Fatalf("%d are damaged", len(got))
	}
}
