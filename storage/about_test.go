package storage_test

import (
	"slices"
	"testing"

	"github.com/ipfs/go-datastore"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

// checkAbout compares the index by target with the events that are held. Where
// batches were torn, hints without anything behind them may be left.
func checkAbout(t tester, r *storage.Room, held []protocol.Verified, torn bool) {
	t.Helper()
	want := make(map[protocol.ID][]protocol.ID)
	targets := make(map[storage.Target]bool)
	for _, v := range held {
		if to := v.Header().To; !to.IsZero() {
			want[to] = append(want[to], v.ID())
			targets[storage.TargetOf(to)] = true
		}
	}
	for to, list := range want {
		slices.SortFunc(list, protocol.ID.Compare)
		var got []protocol.ID
		for _, e := range must(r.About(ctx, to)) {
			got = append(got, e.Event.ID())
		}
		if !slices.Equal(got, list) {
			t.Fatalf("%d events about %s, want %d", len(got), to, len(list))
		}
	}
	list := must(r.Abouts(ctx))
	for _, target := range list {
		if !torn && !targets[target] {
			t.Fatalf("nothing is about %x", target)
		}
		delete(targets, target)
	}
	sorted := slices.IsSortedFunc(list, func(a, b storage.Target) int { return slices.Compare(a[:], b[:]) })
	if len(targets) > 0 || !sorted || len(slices.Compact(list)) != len(list) {
		t.Fatalf("%d targets are missing of %d", len(targets), len(want))
	}
}

func testAbout(t *testing.T, make func(testing.TB) datastore.Batching) {
	ds := make(t)
	s := open(t, ds)
	r := room(t, s)
	checkAbout(t, r, nil, false)
	if got := must(r.About(ctx, protocol.ID{1})); len(got) != 0 {
		t.Fatalf("%d events about nothing", len(got))
	}
	ana, ben := newDevice(), newDevice()
	all := ana.run(70, 1)
	near := all[3].ID()
	near[20]++ // no event, and the same key
	for i, d := range []*device{ana, ben, ana, ben} {
		for _, to := range []protocol.ID{all[3].ID(), near, {9}, all[60+i].ID()} {
			kind := []protocol.Kind{protocol.KindRetract, protocol.KindExpire, protocol.KindClose}[i%3]
			all = append(all, d.about(kind, to, 100))
		}
	}
	put(t, r, all[:75]...)
	put(t, r, all[75:]...)
	checkAbout(t, r, all, false)
	erase(t, r, ids(all[70:80]...)...) // what an erased event is about is in its header
	checkAbout(t, r, all, false)
	s.Close()
	r = room(t, open(t, ds))
	checkAbout(t, r, all, false)

	// Many by one device do not crowd out another's.
	var flood []protocol.Verified
	for range 100 {
		flood = append(flood, ana.about(protocol.KindRetract, protocol.ID{7}, 200))
	}
	put(t, r, append(flood, ben.about(protocol.KindRetract, protocol.ID{7}, 200))...)
	of := map[protocol.Key]int{}
	for _, e := range must(r.About(ctx, protocol.ID{7})) {
		of[e.Event.Header().Dev]++
	}
	if of[ana.id.Dev()] != 64 || of[ben.id.Dev()] != 1 {
		t.Fatalf("of a flood: %v", of)
	}
}
