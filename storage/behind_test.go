package storage_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

// Of a message that a failed batch left behind and that was stored again, one copy goes when
// the log is repaired. What was kept behind that one stays.
func TestWhatIsBehindADuplicateStays(t *testing.T) {
	ds := memory(t)
	s := open(t, ds)
	other, d := newDevice().at(1), newDevice()
	all := d.run(6, 10)
	put(t, room(t, s), append([]protocol.Verified{other}, all...)...)
	s.Close()
	for key, value := range map[string][]byte{logKey(t, ds, other): all[0].Wire()} {
		if err := ds.Put(ctx, datastore.RawKey(key), value); err != nil {
			t.Fatal(err)
		}
	}
	forgetCheckpoint(t, ds)
	for range 2 {
		s = open(t, ds)
		r := room(t, s)
		if got := must(r.After(ctx, 0, 10)); len(got) != len(all) || got[0].Cursor != 1 || got[1].Cursor != 3 {
			t.Fatalf("%d entries: %v", len(got), got)
		}
		found(t, r, all)
		s.Close()
	}
}

// What is kept behind an event that a torn batch has lost was never acknowledged, and goes.
func TestWhatIsBehindWhatIsLostGoes(t *testing.T) {
	ds := memory(t)
	s := open(t, ds)
	all := newDevice().run(8, 10)
	put(t, room(t, s), all...)
	s.Close()
	if err := ds.Delete(ctx, datastore.RawKey(logKey(t, ds, all[5]))); err != nil {
		t.Fatal(err)
	}
	forgetCheckpoint(t, ds)
	s = open(t, ds)
	r := room(t, s)
	found(t, r, all[:5])
	if got := must(r.After(ctx, 0, 10)); len(got) != 5 || len(must(r.Damaged(ctx))) > 0 {
		t.Fatalf("%d entries", len(got))
	}
	put(t, r, all...)
	found(t, r, all)
}

// forgetCheckpoint has a store go through its whole log again.
func forgetCheckpoint(t *testing.T, ds datastore.Batching) {
	t.Helper()
	for _, e := range must(must(ds.Query(ctx, query.Query{Prefix: "/g", KeysOnly: true})).Rest()) {
		if err := ds.Delete(ctx, datastore.RawKey(e.Key)); err != nil {
			t.Fatal(err)
		}
	}
}

// The link is left out of three of four messages that follow each other, and of none that
// has come from elsewhere.
func TestLinksAreLeftOut(t *testing.T) {
	ds := memory(t)
	r := room(t, open(t, ds))
	all, others := newDevice().run(64, 10), newDevice().run(2, 10)
	put(t, r, all...)
	put(t, r, others[1], others[0])
	whole := 0
	for _, e := range must(must(ds.Query(ctx, query.Query{Prefix: "/e"})).Rest()) {
		if slices.ContainsFunc(append(all, others...), func(v protocol.Verified) bool { return slices.Equal(v.Wire(), e.Value) }) {
			whole++
		}
	}
	if whole != 16+1+2 { // the last of the run is alone in its bucket
		t.Fatalf("%d are stored with their link", whole)
	}
}

// A value of which nothing is left but zeros, or that names what is not before it, is damaged
// like any.
func TestValuesBehindNothing(t *testing.T) {
	ds := memory(t)
	s := open(t, ds)
	all := newDevice().run(70, 10)
	put(t, room(t, s), all...)
	s.Close()
	for i, value := range map[int][]byte{4: make([]byte, 400), 9: {0}, 14: {}, 19: {63, 0}, 24: {25}, 29: {2, 255, 255, 255}, 68: {7, 1, 2}} {
		if err := ds.Put(ctx, datastore.RawKey(logKey(t, ds, all[i])), value); err != nil {
			t.Fatal(err)
		}
	}
	s = open(t, ds)
	r := room(t, s)
	for _, i := range []int{4, 9, 14, 19, 24, 29, 68} {
		if _, err := r.Get(ctx, all[i].ID()); !errors.Is(err, storage.ErrDamaged) {
			t.Errorf("%d: %v", i, err)
		}
	}
	if got, err := r.After(ctx, 0, 100); len(got) < 40 || !errors.Is(err, storage.ErrDamaged) {
		t.Errorf("%d are left: %v", len(got), err)
	}
	put(t, r, all...)
	found(t, r, all)
	if got, err := r.After(ctx, 0, 100); len(got) != len(all) || err != nil {
		t.Errorf("%d once they have come again: %v", len(got), err)
	}
}
