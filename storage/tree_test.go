package storage

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/protocol/reconcile"
)

func randomElement(rng *rand.Rand, time uint64) element {
	var e element
	e.Time, e.cursor = time, rng.Uint64N(1<<30)
	for i := range 4 {
		binary.LittleEndian.PutUint64(e.ID[8*i:], rng.Uint64())
	}
	return e
}

// A tree of three levels is what a sorted list is, whatever order it grew in, on disk
// as in memory, and to who began to look before it grew on.
func TestTree(t *testing.T) {
	for name, order := range map[string]func(*rand.Rand, []element){
		"newest last":  func(*rand.Rand, []element) {},
		"newest first": func(_ *rand.Rand, l []element) { slices.Reverse(l) },
		"scattered":    func(rng *rand.Rand, l []element) { rng.Shuffle(len(l), func(i, j int) { l[i], l[j] = l[j], l[i] }) },
		"pages, newest first": func(_ *rand.Rand, l []element) {
			pages := slices.Collect(slices.Chunk(slices.Clone(l), 256))
			slices.Reverse(pages)
			copy(l, slices.Concat(pages...))
		},
	} {
		t.Run(name, func(t *testing.T) { growTree(t, order) })
	}
}

func growTree(t *testing.T, order func(*rand.Rand, []element)) {
	ctx := context.Background()
	ds := NewMemory()
	s, err := Open(ctx, ds)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r, err := s.Room(ctx, protocol.ID{1})
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	var all []element
	for i := range uint64(30_000) {
		all = append(all, randomElement(rng, i/3))
	}
	slices.SortFunc(all, func(a, b element) int { return a.Compare(b.Item) })
	order(rng, all)
	grown := 0
	var swept []uint64
	for part := range slices.Chunk(all, 500) {
		before, held := r.tree.look(ctx), grown
		if err := r.tree.put(ctx, ascending(slices.Clone(part))); err != nil {
			t.Fatal(err)
		}
		if grown += len(part); grown%5000 == 0 {
			compare(t, before, all[:held], rng)
			if err := s.write(r.tree.flush()); err != nil {
				t.Fatal(err)
			}
			r.tree.flushed()
			swept = append(swept, r.tree.old...)
			if r.tree, err = r.openTree(ctx, r.tree.checkpoint()); err != nil || r.tree.lost {
				t.Fatal(err)
			}
			compare(t, r.tree.look(ctx), all[:grown], rng)
		}
	}
	for _, page := range swept {
		if err := ds.Delete(ctx, datastore.RawKey(r.keys.page(page))); err != nil {
			t.Fatal(err)
		}
	}
	s.pages.Purge()
	compare(t, r.tree.look(ctx), all, rng)
	res, err := ds.Query(ctx, query.Query{Prefix: r.keys.prefix('o')})
	if err != nil {
		t.Fatal(err)
	}
	pages, err := res.Rest()
	size := 0
	for _, e := range pages {
		size += len(e.Value)
	}
	if err != nil || size > 64*len(all) || size < 34*len(all) {
		t.Fatalf("%d bytes for each of %d: %v", size/len(all), len(all), err)
	}
	t.Logf("%d pages, %.1f bytes an element", len(pages), float64(size)/float64(len(all)))
}

func compare(t *testing.T, v *view, want []element, rng *rand.Rand) {
	t.Helper()
	want = slices.Clone(want)
	slices.SortFunc(want, func(a, b element) int { return a.Compare(b.Item) })
	var got []element
	if err := v.elements(0, v.Len(), func(e element) error { got = append(got, e); return nil }); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, want) {
		t.Fatalf("%d elements of %d, or out of order", len(got), len(want))
	}
	for range 50 {
		from := rng.IntN(len(want) + 1)
		to := from + rng.IntN(len(want)-from+1)
		var sum reconcile.Sum
		for _, e := range want[from:to] {
			sum = sum.Plus(reconcile.SumOf(e.ID))
		}
		if got, err := v.Sum(from, to); err != nil || got != sum {
			t.Fatalf("sum of %d to %d: %v", from, to, err)
		}
		it := randomElement(rng, rng.Uint64N(25_000)).Item
		n, _ := slices.BinarySearchFunc(want, it, func(e element, it reconcile.Item) int { return e.Compare(it) })
		if got, err := v.Find(it); err != nil || got != n {
			t.Fatalf("found at %d, not %d: %v", got, n, err)
		}
		if from == to {
			continue
		}
		if got, err := v.Find(want[from].Item); err != nil || got != from {
			t.Fatalf("found %d at %d: %v", from, got, err)
		}
	}
}

// A stranger to the format is told apart from a page.
func FuzzPage(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 1))
	n := &node{elements: []element{randomElement(rng, 5), randomElement(rng, 9)}}
	f.Add(n.encode())
	f.Add((&node{parts: []part{n.part()}}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := decodeNode(b)
		if err != nil {
			return
		}
		again, err := decodeNode(n.encode())
		if err != nil || !slices.Equal(again.elements, n.elements) || !slices.Equal(again.parts, n.parts) {
			t.Fatal("it changes when it is written again")
		}
	})
}
