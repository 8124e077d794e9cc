package storage_test

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ipfs/go-datastore"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/protocol/reconcile"
	"github.com/p2pchat/p2pchat/storage"
)

// shown is the display order by its definition: by time and id, an event standing right
// before the first in that order of those at the 256 places after it on its chain that are
// not aside and whose time is not later.
func shown(events []protocol.Verified, aside map[protocol.ID]bool) []protocol.ID {
	at := make(map[protocol.ID]reconcile.Item, len(events))
	for _, v := range events {
		a := v.Header()
		for _, w := range events {
			b := w.Header()
			if b.Dev == a.Dev && b.Seq > a.Seq && b.Seq <= a.Seq+256 && !aside[w.ID()] && b.HLC <= a.HLC {
				if low, ok := at[v.ID()]; !ok || item(w).Compare(low) < 0 {
					at[v.ID()] = item(w)
				}
			}
		}
	}
	sorted := slices.Clone(events)
	slices.SortFunc(sorted, func(v, w protocol.Verified) int {
		a, taken := at[v.ID()]
		if !taken {
			a = item(v)
		}
		b, also := at[w.ID()]
		if !also {
			b = item(w)
		}
		first := func(taken bool) int { return map[bool]int{true: 0, false: 1}[taken] }
		return cmp.Or(a.Compare(b), cmp.Compare(first(taken), first(also)), cmp.Compare(v.Header().Seq, w.Header().Seq), v.ID().Compare(w.ID()))
	})
	return ids(sorted...)
}

// Whatever came first, whatever is missing, and whatever is here and does not count: the
// order is the one that the messages which count have everywhere.
func testFalls(t *testing.T, make func(testing.TB) datastore.Batching) {
	seeds := uint64(4)
	if testing.Short() {
		seeds = 1
	}
	for seed := range seeds {
		rng := rand.New(rand.NewPCG(seed, 1))
		var all []protocol.Verified
		aside, items := map[protocol.ID]bool{}, map[protocol.Key][]reconcile.Item{}
		for n := range 3 {
			d := newDevice()
			hlc := uint64(500_000)
			chain := func(d *device, length int) {
				for range length {
					if hlc += rng.Uint64N(20); rng.IntN(20) == 0 {
						hlc -= rng.Uint64N(600)
					}
					v := d.at(hlc)
					all = append(all, v)
					if rng.IntN(4) == 0 {
						aside[v.ID()] = true
						items[v.Header().Dev] = append(items[v.Header().Dev], reconcile.Item{Time: hlc, ID: v.ID()})
					}
				}
			}
			chain(d, 40)
			if copied := d.clone(); n == 0 {
				chain(copied, 30)
			}
			chain(d, 300*rng.IntN(2))
		}
		counted := slices.DeleteFunc(slices.Clone(all), func(v protocol.Verified) bool { return aside[v.ID()] })
		want := shown(counted, nil)

		some, ds := room(t, open(t, make(t))), make(t)
		s := open(t, ds)
		whole := room(t, s)
		for _, r := range []struct {
			*storage.Room
			events []protocol.Verified
		}{{some, counted}, {whole, all}} {
			list := slices.Clone(r.events)
			if seed%2 == 0 { // else as a chain is written
				rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
			}
			for part := range slices.Chunk(list, 1+rng.IntN(50)) {
				put(t, r.Room, part...)
				if rng.IntN(3) == 0 {
					display(t, r.Room, 100) // so that it is found anew
				}
			}
			found(t, r.Room, list)
		}
		check := func(what string, got, want []protocol.ID) {
			t.Helper()
			if !slices.Equal(got, want) {
				t.Fatalf("seed %d: %s: another order", seed, what)
			}
		}
		for _, n := range []int{3 + rng.IntN(5), storage.MaxPage} {
			check("some", display(t, some, n), want)
			check("all", display(t, whole, n), shown(all, nil))
		}
		told := func(list []protocol.ID) []protocol.ID {
			return slices.DeleteFunc(list, func(id protocol.ID) bool { return aside[id] })
		}
		whole.SetAside(items)
		check("set aside", told(display(t, whole, 20)), want)
		s.Close()
		s = open(t, ds)
		whole = room(t, s)
		check("opened again", display(t, whole, 20), shown(all, nil))
		whole.SetAside(items)
		check("opened and set aside", told(display(t, whole, 7)), want)
		whole.SetAside(nil)
		check("counted again", display(t, whole, 20), shown(all, nil))
		s.Close()
	}
}

// A clock that stands still does not part a chain's order from its links.
func TestTheSameTime(t *testing.T) {
	d, other := newDevice(), newDevice()
	var all, mixed []protocol.Verified
	for n := range 20 {
		all = append(all, d.at(500))
		mixed = append(mixed, all[n], other.at(490+uint64(n)))
	}
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
	r := room(t, open(t, memory(t)))
	put(t, r, mixed...)
	got := slices.DeleteFunc(display(t, r, 3), func(id protocol.ID) bool { return !slices.Contains(ids(all...), id) })
	if !slices.Equal(got, ids(all...)) || !slices.Equal(display(t, r, 7), shown(mixed, nil)) {
		t.Fatal("another order")
	}
}
