package storage_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

func erase(t tester, r *storage.Room, ids ...protocol.ID) {
	t.Helper()
	if err := r.Erase(ids...).Wait(ctx); err != nil {
		t.Fatal(err)
	}
}

// onDisk says whether some value holds the body of an event.
func onDisk(ds datastore.Datastore, v protocol.Verified) bool {
	entries := must(must(ds.Query(ctx, query.Query{})).Rest())
	for _, e := range entries {
		if bytes.Contains(e.Value, v.Event().Body) {
			return true
		}
	}
	return false
}

// copies checks by every reading call which of the events are whole.
func copies(t tester, r *storage.Room, all []protocol.Verified, whole func(protocol.ID) bool) {
	t.Helper()
	found(t, r, all)
	var read []protocol.Verified
	for _, e := range must(r.After(ctx, 0, storage.MaxPage)) {
		read = append(read, e.Event)
	}
	newest, _, err := r.Newest(ctx, storage.MaxPage, storage.Position{})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range newest {
		read = append(read, e.Event)
	}
	for _, v := range all {
		h := v.Header()
		read = append(read, must(r.Get(ctx, v.ID())).Event)
		read = append(read, must(r.Chain(ctx, h.Dev, h.Chain, h.Seq, 1))...)
	}
	want := make(map[protocol.ID][]byte)
	for _, v := range all {
		want[v.ID()] = v.Wire()
		if !whole(v.ID()) {
			want[v.ID()] = v.Erased().Wire()
		}
	}
	for _, v := range read {
		if !bytes.Equal(v.Wire(), want[v.ID()]) {
			t.Fatalf("seq %d: whole %v", v.Header().Seq, v.Whole())
		}
	}
}

// What is erased stays where it was, by every path, and its body is on no value of
// the disk.
func testErase(t *testing.T, make func(testing.TB) datastore.Batching) {
	ds := make(t)
	s := open(t, ds)
	r := room(t, s)
	ana, ben := newDevice(), newDevice()
	all := append(ana.run(5, 100), ben.run(5, 90)...)
	all = append(all, ana.clone().at(200), ana.at(50), ana.leave(60)) // a fork, a clock set back, a control event
	put(t, r, all...)
	order, cursor, tips := display(t, r, 50), r.Cursor(), r.Tips()
	gone := []protocol.Verified{all[0], all[7], all[10], all[11]}
	if !onDisk(ds, gone[0]) {
		t.Fatal("the test does not find a body that is there")
	}
	erase(t, r, append(ids(gone...), all[12].ID(), protocol.ID{1}, all[0].ID())...)
	erase(t, r)
	whole := func(id protocol.ID) bool {
		for _, v := range gone {
			if v.ID() == id {
				return false
			}
		}
		return true
	}
	check := func(r *storage.Room) {
		t.Helper()
		copies(t, r, all, whole)
		if got := display(t, r, 3); !slices.Equal(got, order) || r.Cursor() != cursor || !slices.Equal(r.Tips(), tips) {
			t.Fatal("erasing moved something")
		}
		for _, v := range gone {
			if onDisk(ds, v) {
				t.Fatalf("the body of seq %d is still there", v.Header().Seq)
			}
		}
	}
	check(r)
	put(t, r, all...) // whole copies do not undo it
	check(r)
	next := ana.at(300)
	put(t, r, next)
	all, order, cursor, tips = append(all, next), display(t, r, 50), r.Cursor(), r.Tips()
	s.Close()
	check(room(t, open(t, ds)))
}

// Erasing comes after the appends that were queued before it.
func testEraseQueued(t *testing.T, make func(testing.TB) datastore.Batching) {
	ds := make(t)
	r := room(t, open(t, ds))
	d := newDevice()
	all := d.run(200, 100)
	var last *storage.Commit
	for _, v := range all {
		r.Append([]protocol.Verified{v})
		last = r.Erase(v.ID())
	}
	if err := last.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	copies(t, r, all, func(protocol.ID) bool { return false })
	v := d.at(400)
	r.Append([]protocol.Verified{v})
	r.Erase(v.ID())
	if err := r.Restore(v).Wait(ctx); err != nil {
		t.Fatal(err)
	}
	copies(t, r, append(all, v), func(id protocol.ID) bool { return id == v.ID() })
}

// Chains go on through copies that were erased before they came.
func testErasedArrive(t *testing.T, make func(testing.TB) datastore.Batching) {
	ds := make(t)
	s := open(t, ds)
	r := room(t, s)
	all := newDevice().run(6, 100)
	for i, v := range all {
		if i%2 == 0 {
			v = v.Erased()
		}
		put(t, r, v)
	}
	odd := func(id protocol.ID) bool {
		for i, v := range all {
			if v.ID() == id {
				return i%2 == 1
			}
		}
		return true
	}
	copies(t, r, all, odd)
	put(t, r, all...)
	copies(t, r, all, odd)
	for _, v := range []protocol.Verified{all[0], all[1], all[1].Erased(), all[2].Erased(), newDevice().at(1)} {
		if err := r.Restore(v).Wait(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Restore(newDeviceIn(protocol.ID{9}).at(1)).Wait(ctx); !errors.Is(err, storage.ErrWrongGroup) {
		t.Fatalf("another group's: %v", err)
	}
	restored := func(id protocol.ID) bool { return id == all[0].ID() || odd(id) }
	copies(t, r, all, restored)
	if r.Count() != 6 {
		t.Fatalf("count %d", r.Count())
	}
	s.Close()
	copies(t, room(t, open(t, ds)), all, restored)
}

// More at once than one request holds.
func testEraseMany(t *testing.T, make func(testing.TB) datastore.Batching) {
	ds := make(t)
	r := room(t, open(t, ds))
	var all []protocol.Verified
	d := newDevice()
	for i := range uint64(300) {
		all = append(all, d.say(100+i, string(bytes.Repeat([]byte("x"), 40_000))))
	}
	for i := 0; i < len(all); i += 100 {
		put(t, r, all[i:i+100]...)
	}
	erase(t, r, ids(all...)...)
	copies(t, r, all, func(protocol.ID) bool { return false })
	for _, v := range all[1:] {
		r.Restore(v)
	}
	if err := r.Restore(all[0]).Wait(ctx); err != nil {
		t.Fatal(err)
	}
	copies(t, r, all, func(protocol.ID) bool { return true })
}
