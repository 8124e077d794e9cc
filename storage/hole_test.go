package storage_test

import (
	"cmp"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	"pgregory.net/rapid"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/protocol/reconcile"
	"github.com/p2pchat/p2pchat/storage"
)

func item(v protocol.Verified) reconcile.Item {
	return reconcile.Item{Time: v.Header().HLC, ID: v.ID()}
}

// scan reads all messages of a room from its log.
func scan(t tester, r *storage.Room) []protocol.Verified {
	t.Helper()
	var list []protocol.Verified
	for _, e := range must(r.After(ctx, 0, storage.MaxPage)) {
		if e.Event.Header().Chain == protocol.Messages {
			list = append(list, e.Event)
		}
	}
	return list
}

// checkSet compares the set with what is in the log.
func checkSet(t tester, r *storage.Room, rng *rand.Rand) {
	t.Helper()
	var want []reconcile.Item
	for _, v := range scan(t, r) {
		want = append(want, item(v))
	}
	slices.SortFunc(want, reconcile.Item.Compare)
	err := r.Messages(ctx, func(set reconcile.Set) error {
		var got []reconcile.Item
		err := set.Items(0, set.Len(), func(it reconcile.Item) error { got = append(got, it); return nil })
		if err != nil || set.Len() != len(want) || !slices.Equal(got, want) {
			t.Fatalf("%d in the set, %d in the log: %v", len(got), len(want), err)
		}
		for range 8 {
			checkRange(t, set, want, rng)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func checkRange(t tester, set reconcile.Set, want []reconcile.Item, rng *rand.Rand) {
	t.Helper()
	from := rng.IntN(len(want) + 1)
	to := from + rng.IntN(len(want)-from+1)
	var sum reconcile.Sum
	for _, it := range want[from:to] {
		sum = sum.Plus(reconcile.SumOf(it.ID))
	}
	if got := must(set.Sum(from, to)); got != sum {
		t.Fatalf("sum of %d to %d of %d", from, to, len(want))
	}
	if from == len(want) {
		return
	}
	at := want[from]
	if got := must(set.Find(at)); got != from {
		t.Fatalf("found %d at %d", from, got)
	}
	at.ID[31]++ // right after it, or before all of its time
	n, _ := slices.BinarySearchFunc(want, at, reconcile.Item.Compare)
	if got := must(set.Find(at)); got != n {
		t.Fatalf("found what is not there at %d, not %d", got, n)
	}
}

// checkHoles compares what a room says is missing with what it holds.
func checkHoles(t tester, r *storage.Room, all []protocol.Verified) {
	t.Helper()
	in, places := make(map[protocol.ID]bool), make(map[protocol.Key]map[uint64]bool)
	held := scan(t, r)
	top := make(map[protocol.Key]uint64)
	for _, v := range held {
		h := v.Header()
		if in[v.ID()] = true; places[h.Dev] == nil {
			places[h.Dev] = make(map[uint64]bool)
		}
		places[h.Dev][h.Seq], top[h.Dev] = true, max(top[h.Dev], h.Seq)
	}
	wanted := make(map[protocol.Key]map[protocol.ID]bool)
	for _, v := range held {
		if h := v.Header(); h.Seq > 1 && !in[h.Prev] {
			if wanted[h.Dev] == nil {
				wanted[h.Dev] = make(map[protocol.ID]bool)
			}
			wanted[h.Dev][h.Prev] = true
		}
	}
	var want []storage.Gap
	for dev, w := range wanted {
		missing := top[dev] - uint64(len(places[dev]))
		want = append(want, storage.Gap{Dev: dev, Max: top[dev], Missing: max(missing, uint64(len(w)))})
	}
	for _, v := range held {
		h, missing := v.Header(), uint64(0)
		if h.Seq > 1 && !in[h.Prev] {
			for missing = 1; missing < h.Seq-1 && !places[h.Dev][h.Seq-1] && !places[h.Dev][h.Seq-1-missing]; missing++ {
			}
		}
		if got := r.MissingBefore(v); got != missing {
			t.Fatalf("seq %d: %d missing before it, want %d", h.Seq, got, missing)
		}
	}
	slices.SortFunc(want, func(a, b storage.Gap) int { return a.Dev.Compare(b.Dev) })
	if got := r.Gaps(); !slices.Equal(got, want) {
		t.Fatalf("gaps %v, want %v", got, want)
	}
	for _, v := range all {
		if v.Header().Chain == protocol.Control {
			continue
		}
		if got := r.Wanted(v.Tip()); got != wanted[v.Header().Dev][v.ID()] {
			t.Fatalf("seq %d: wanted %v", v.Header().Seq, got)
		}
		if got := must(r.Has(ctx, v.ID())); got != in[v.ID()] {
			t.Fatalf("seq %d: has %v", v.Header().Seq, got)
		}
	}
}

// checkSame compares a room with one that the same events came to in order.
func checkSame(t tester, r *storage.Room) {
	t.Helper()
	var held []protocol.Verified
	for _, e := range must(r.After(ctx, 0, storage.MaxPage)) {
		held = append(held, e.Event)
	}
	slices.SortStableFunc(held, func(a, b protocol.Verified) int { return cmp.Compare(a.Header().Seq, b.Header().Seq) })
	s := must(storage.Open(ctx, memory(nil)))
	defer s.Close()
	fresh := room(t, s)
	put(t, fresh, held...)
	if !slices.Equal(display(t, r, 1000), display(t, fresh, 1000)) {
		t.Fatal("the display order depends on what arrived first")
	}
	if !slices.Equal(r.Tips(), fresh.Tips()) {
		t.Fatalf("tips %v, in order %v", r.Tips(), fresh.Tips())
	}
}

// world draws chains with forks and clocks that go back.
func world(rng *rand.Rand, n int) []protocol.Verified {
	heads := []*device{newDevice(), newDevice(), newDevice()}
	sane := heads[0].prev.Dev
	now := uint64(1000)
	var all []protocol.Verified
	for range n {
		d := heads[rng.IntN(len(heads))]
		hlc := now
		if d.prev.Dev != sane {
			if rng.IntN(10) == 0 {
				d = d.clone()
				heads = append(heads, d)
			}
			hlc = now - rng.Uint64N(12)
		}
		now += rng.Uint64N(3)
		all = append(all, d.at(hlc))
	}
	return all
}

// Whatever is missing meanwhile, and whatever comes first: what is there is shown in
// the same order, what is missing is known, and the set is what the log holds.
func TestHolesModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		all := world(rng, 20+rng.IntN(60))
		disk := memory(nil)
		s := must(storage.Open(ctx, disk))
		defer func() { s.Close() }()
		r := room(t, s)
		order := slices.Clone(all)
		switch rng.IntN(3) {
		case 0:
			rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		case 1:
			slices.Reverse(order)
		default: // by pages from the newest to the oldest
			pages := slices.Collect(slices.Chunk(order, 1+rng.IntN(9)))
			slices.Reverse(pages)
			order = slices.Concat(pages...)
		}
		for len(order) > 0 {
			n := 1 + rng.IntN(min(12, len(order)))
			put(t, r, order[:n]...)
			order = order[n:]
			if rng.IntN(3) == 0 {
				put(t, r, all[rng.IntN(len(all))]) // once more, or early
			}
			if rng.IntN(5) == 0 {
				s.Close()
				s = must(storage.Open(ctx, disk))
				r = room(t, s)
			}
			checkSet(t, r, rng)
			checkHoles(t, r, all)
			if len(order) == 0 || rng.IntN(3) == 0 {
				checkSame(t, r)
			}
		}
		if len(r.Gaps()) != 0 || int(r.Count()) != len(all) {
			t.Fatalf("%d gaps, %d of %d", len(r.Gaps()), r.Count(), len(all))
		}
	})
}

func testHoles(t *testing.T, make func(testing.TB) datastore.Batching) {
	ds := make(t)
	s := open(t, ds)
	r := room(t, s)
	all := newDevice().run(10, 100)
	put(t, r, all[8:]...)
	put(t, r, all[3:5]...)
	check := func() {
		t.Helper()
		found(t, r, slices.Concat(all[3:5], all[8:]))
		checkHoles(t, r, all)
		if g := r.Gaps(); len(g) != 1 || g[0].Max != 10 || g[0].Missing != 6 {
			t.Fatalf("gaps %v", g)
		}
		h := all[0].Header()
		if got := must(r.Chain(ctx, h.Dev, h.Chain, 1, 3)); !slices.Equal(ids(got...), ids(all[3], all[4], all[8])) {
			t.Fatalf("chain: %d", len(got))
		}
		if got := must(r.ChainBack(ctx, h.Dev, h.Chain, 9, 2)); !slices.Equal(ids(got...), ids(all[8], all[4])) {
			t.Fatalf("chain back from 9: %d", len(got))
		}
		if got := must(r.ChainBack(ctx, h.Dev, h.Chain, 8, 100)); !slices.Equal(ids(got...), ids(all[4], all[3])) {
			t.Fatalf("chain back from a hole: %d", len(got))
		}
		if got := must(r.ChainBack(ctx, h.Dev, h.Chain, math.MaxUint64, 1)); !slices.Equal(ids(got...), ids(all[9])) {
			t.Fatalf("chain back from beyond its end: %d", len(got))
		}
	}
	check()
	s.Close()
	s = open(t, ds)
	r = room(t, s)
	check()
	put(t, r, all[:3]...)
	put(t, r, all[5:8]...)
	found(t, r, all)
	checkHoles(t, r, all)
	if tips := r.Tips(); len(tips) != 1 || tips[0] != all[9].Tip() {
		t.Fatalf("tips %v", tips)
	}
}

// A history that comes from its newest page to its oldest.
func testNewestFirst(t *testing.T, make func(testing.TB) datastore.Batching) {
	rng := rand.New(rand.NewPCG(3, 3))
	devices := []*device{newDevice(), newDevice(), newDevice()}
	var all []protocol.Verified
	for i := range uint64(1500) {
		all = append(all, devices[rng.IntN(3)].at(1000+i))
	}
	ds := make(t)
	s := open(t, ds)
	r := room(t, s)
	pages := slices.Collect(slices.Chunk(all, 250))
	for i, page := range slices.Backward(pages) {
		put(t, r, page...)
		if i%5 == 0 {
			checkSet(t, r, rng)
			s.Close()
			s = open(t, ds)
			r = room(t, s)
			checkSet(t, r, rng)
		}
		if got := display(t, r, 1000); got[len(got)-1] != all[len(all)-1].ID() || len(got) != len(all)-250*i {
			t.Fatalf("%d displayed", len(got))
		}
	}
	if got := display(t, r, 1000); !slices.Equal(got, ids(all...)) || len(r.Gaps()) != 0 {
		t.Fatalf("%d displayed, %d gaps", len(got), len(r.Gaps()))
	}
}

// Who leaves out every second event is not taken without end.
func testTooManyHoles(t *testing.T, make func(testing.TB) datastore.Batching) {
	r := room(t, open(t, make(t)))
	all := newDevice().run(2200, 100)
	var err error
	n := 0
	for i := 1; i < len(all) && err == nil; i += 2 {
		err = r.Receive(all[i : i+1]).Wait(ctx)
		n++
	}
	if !errors.Is(err, storage.ErrHoles) || n != 1025 {
		t.Fatalf("after %d: %v", n, err)
	}
	put(t, r, all...)
	found(t, r, all)
	if len(r.Gaps()) != 0 {
		t.Fatal("something is missing still")
	}
}

// Some who leave out as much as a room takes do not keep others' older pages out.
func testHolesOfOthers(t *testing.T, make func(testing.TB) datastore.Batching) {
	ds := make(t)
	s := open(t, ds)
	r := room(t, s)
	for range 16 {
		d := newDevice()
		var list []protocol.Verified
		for i := range 1024 {
			d.prev.Seq, d.prev.ID = uint64(2*i+1), protocol.ID{byte(i), byte(i >> 8), 1}
			list = append(list, d.at(100))
		}
		put(t, r, list...)
	}
	all := newDevice().run(900, 100)
	for _, page := range slices.Backward(slices.Collect(slices.Chunk(all, 300))) {
		put(t, r, page...)
	}
	s.Close()
	r = room(t, open(t, ds))
	if got := must(r.ChainBack(ctx, all[0].Header().Dev, protocol.Messages, 900, 900)); len(got) != 900 || len(r.Gaps()) != 16 {
		t.Fatalf("%d of 900, %d gaps", len(got), len(r.Gaps()))
	}
}

func testBetween(t *testing.T, make func(testing.TB) datastore.Batching) {
	r := room(t, open(t, make(t)))
	all := newDevice().run(600, 100)
	put(t, r, all[300:]...)
	put(t, r, all[:300]...)
	end := reconcile.Item{Time: protocol.MaxHLC}
	for _, c := range []struct {
		from, to reconcile.Item
		n        int
		newest   bool
		want     []protocol.Verified
	}{
		{reconcile.Item{}, end, 10_000, true, all},
		{reconcile.Item{}, end, 7, true, all[593:]},
		{reconcile.Item{}, end, 7, false, all[:7]},
		{item(all[290]), item(all[310]), 100, true, all[290:310]},
		{item(all[290]), item(all[310]), 15, true, all[295:310]},
		{item(all[290]), item(all[310]), 15, false, all[290:305]},
		{item(all[5]), item(all[5]), 15, false, nil},
		{item(all[6]), item(all[5]), 15, true, nil},
		{end, end, 15, false, nil},
	} {
		var got []protocol.Verified
		for _, e := range must(r.Between(ctx, c.from, c.to, c.n, c.newest)) {
			got = append(got, e.Event)
		}
		if !slices.Equal(ids(got...), ids(c.want...)) {
			t.Fatalf("%v to %v, %d: %d of %d", c.from.Time, c.to.Time, c.n, len(got), len(c.want))
		}
	}
}

// A page of the tree that is damaged or gone costs one error, and nothing else.
func testDamagedTree(t *testing.T, make func(testing.TB) datastore.Batching) {
	ds := make(t)
	all := newDevice().run(2000, 100)
	s := open(t, ds)
	put(t, room(t, s), all...)
	s.Close()
	rng := rand.New(rand.NewPCG(4, 4))
	pages := func() []query.Entry {
		return must(must(ds.Query(ctx, query.Query{Prefix: "/o", KeysOnly: true})).Rest())
	}
	before := len(pages())
	for i := range 4 {
		list := pages()
		e := list[rng.IntN(len(list))]
		b := must(ds.Get(ctx, datastore.RawKey(e.Key)))
		if i%2 == 0 {
			b[len(b)/2] ^= 1
			must(0, ds.Put(ctx, datastore.RawKey(e.Key), b))
		} else {
			must(0, ds.Delete(ctx, datastore.RawKey(e.Key)))
		}
		s := open(t, ds)
		r := room(t, s)
		read := func() error {
			return r.Messages(ctx, func(set reconcile.Set) error {
				return set.Items(0, set.Len(), func(reconcile.Item) error { return nil })
			})
		}
		if err := read(); err != nil && !errors.Is(err, storage.ErrDamaged) {
			t.Fatal(err)
		}
		if err := read(); err != nil {
			t.Fatal(err)
		}
		checkSet(t, r, rng)
		next := newDevice().at(50)
		put(t, r, next) // into the middle
		checkSet(t, r, rng)
		s.Close()
		s = open(t, ds)
		checkSet(t, room(t, s), rng)
		s.Close()
	}
	if after := len(pages()); after > 4*before {
		t.Fatalf("%d pages are left of %d", after, before)
	}
}

// Who looks sees one moment, whatever is written and deleted meanwhile.
func TestLookWhileWriting(t *testing.T) {
	s := open(t, memory(t))
	r := room(t, s)
	d := newDevice()
	all := d.run(3000, 100)
	put(t, r, all...)
	err := r.Messages(ctx, func(set reconcile.Set) error {
		for range 4 {
			put(t, r, d.run(1300, 1000)...)
		}
		var got []protocol.ID
		err := set.Items(0, set.Len(), func(it reconcile.Item) error { got = append(got, it.ID); return nil })
		if !slices.Equal(got, ids(all...)) {
			t.Errorf("%d seen", len(got))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	checkSet(t, r, rand.New(rand.NewPCG(5, 5)))
}
