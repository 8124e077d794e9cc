package storage_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

// Every supported datastore passes the same suite.
var datastores = []struct {
	name string
	make func(testing.TB) datastore.Batching
}{{"memory", memory}, {"pebble", pebble}, {"disk", ours}}

func TestConformance(t *testing.T) {
	cases := []struct {
		name string
		run  func(*testing.T, func(testing.TB) datastore.Batching)
	}{
		{"every path", testEveryPath},
		{"paging", testPaging},
		{"display", testDisplay},
		{"shuffled", testShuffled},
		{"backwards", testBackwards},
		{"branches", testBranchesBackwards},
		{"falls", testFalls},
		{"forks", testForks},
		{"refused", testRefused},
		{"records", testRecords},
		{"values", testValues},
		{"reopen", testReopen},
		{"writers", testWriters},
		{"closed", testClosed},
		{"formats", testFormats},
		{"damaged", testDamaged},
		{"damaged messages return", testDamagedReturn},
		{"followers", testFollowers},
		{"control", testControl},
		{"erase", testErase},
		{"erase queued", testEraseQueued},
		{"erase many", testEraseMany},
		{"erased arrive", testErasedArrive},
		{"about", testAbout},
		{"arrived", testArrived},
		{"arrived, many", testArrivedMany},
		{"holes", testHoles},
		{"newest first", testNewestFirst},
		{"too many holes", testTooManyHoles},
		{"holes of others", testHolesOfOthers},
		{"between", testBetween},
		{"damaged tree", testDamagedTree},
		{"precedes", testPrecedes},
		{"precedes and holes", testPrecedesHoles},
		{"precedes in trees", testPrecedesTrees},
		{"precedes and damage", testPrecedesDamaged},
	}
	for _, ds := range datastores {
		for _, c := range cases {
			t.Run(ds.name+"/"+c.name, func(t *testing.T) { c.run(t, ds.make) })
		}
	}
}

var ctx = context.Background()

// found checks that events are there by every path.
func found(t tester, r *storage.Room, events []protocol.Verified) {
	t.Helper()
	arrived, displayed := make(map[protocol.ID]int), make(map[protocol.ID]int)
	for _, e := range must(r.After(ctx, 0, storage.MaxPage)) {
		arrived[e.Event.ID()]++
	}
	for _, id := range display(t, r, 50) {
		displayed[id]++
	}
	tips := make(map[protocol.Key]uint64)
	for _, tip := range r.Tips() {
		tips[tip.Dev] = max(tips[tip.Dev], tip.Seq)
	}
	for _, v := range events {
		h := v.Header()
		e, err := r.Get(ctx, v.ID())
		if err != nil || e.Event.ID() != v.ID() {
			t.Fatalf("get seq %d: %v", h.Seq, err)
		}
		chain := must(r.Chain(ctx, h.Dev, h.Chain, h.Seq, 1))
		in := slices.ContainsFunc(chain, func(c protocol.Verified) bool { return c.ID() == v.ID() })
		if !in || arrived[v.ID()] != 1 || displayed[v.ID()] != 1 || tips[h.Dev] < h.Seq {
			t.Fatalf("seq %d: in chain %v, in log %d times, in display %d times, tip %d",
				h.Seq, in, arrived[v.ID()], displayed[v.ID()], tips[h.Dev])
		}
	}
}

// display reads the whole display order by pages of n.
func display(t tester, r *storage.Room, n int) []protocol.ID {
	t.Helper()
	var pages [][]protocol.ID
	var at storage.Position
	for {
		entries, next, err := r.Newest(ctx, n, at)
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) == 0 {
			break
		}
		var page []protocol.ID
		for _, e := range entries {
			page = append(page, e.Event.ID())
		}
		pages = append(pages, page)
		at = next
	}
	slices.Reverse(pages)
	return slices.Concat(pages...)
}

func ids(events ...protocol.Verified) []protocol.ID {
	list := make([]protocol.ID, len(events))
	for i, v := range events {
		list[i] = v.ID()
	}
	return list
}

func testEveryPath(t *testing.T, make func(testing.TB) datastore.Batching) {
	s := open(t, make(t))
	r := room(t, s)
	ana, ben := newDevice(), newDevice()
	var all []protocol.Verified
	for i := range uint64(40) {
		all = append(all, ana.at(100+i), ben.at(1000*i))
	}
	put(t, r, all[:10]...)
	put(t, r, all[10:]...)
	put(t, r, all...) // once more changes nothing
	found(t, r, all)
	if r.Count() != 80 || r.Cursor() != 80 {
		t.Fatalf("count %d, cursor %d", r.Count(), r.Cursor())
	}
	if got := must(s.Groups(ctx)); !slices.Equal(got, []protocol.ID{group}) {
		t.Fatalf("groups %v", got)
	}
	if _, err := r.Get(ctx, protocol.ID{1}); !errors.Is(err, storage.ErrNotFound) {
		t.Fatalf("an event that is not there: %v", err)
	}
	if tip, ok := r.Tip(ana.prev.Dev, protocol.Messages); !ok || tip != ana.prev {
		t.Fatalf("tip %v %v", tip, ok)
	}
}

func testPaging(t *testing.T, make func(testing.TB) datastore.Batching) {
	r := room(t, open(t, make(t)))
	all := newDevice().run(300, 1<<40)
	put(t, r, all...)
	for _, n := range []int{1, 7, 64, 100, 1000} {
		var got []protocol.ID
		var cursor uint64
		for {
			page := must(r.After(ctx, cursor, n))
			if len(page) == 0 {
				break
			}
			for _, e := range page {
				got = append(got, e.Event.ID())
				cursor = e.Cursor
			}
		}
		if !slices.Equal(got, ids(all...)) {
			t.Fatalf("after by %d: %d entries", n, len(got))
		}
		if got := display(t, r, n); !slices.Equal(got, ids(all...)) {
			t.Fatalf("display by %d: %d entries", n, len(got))
		}
	}
	h := all[0].Header()
	if got := must(r.Chain(ctx, h.Dev, h.Chain, 101, 100)); !slices.Equal(ids(got...), ids(all[100:200]...)) {
		t.Fatalf("chain: %d", len(got))
	}
}

// Times far apart and close together page alike.
func testDisplay(t *testing.T, make func(testing.TB) datastore.Batching) {
	r := room(t, open(t, make(t)))
	d := newDevice()
	var all []protocol.Verified
	for _, from := range []uint64{0, 1, 63, 64, 4095, 4096, 1 << 20, 1 << 30, 1<<41 - 1, 1<<41 + 350, protocol.MaxHLC - 700} {
		n := 1
		if from >= 1<<30 {
			n = 330 // more in a bucket than is read over
		}
		all = append(all, d.run(n, from+uint64(len(all))%2)...)
	}
	put(t, r, all...)
	for _, n := range []int{9, 250} {
		if got := display(t, r, n); !slices.Equal(got, ids(all...)) {
			t.Fatalf("by %d: %d of %d, or out of order", n, len(got), len(all))
		}
	}
}

// Whatever arrives first, the display is the same.
func testShuffled(t *testing.T, make func(testing.TB) datastore.Batching) {
	rng := rand.New(rand.NewPCG(1, 2))
	var chains [][]protocol.Verified
	for range 4 {
		d := newDevice()
		var chain []protocol.Verified
		for range 30 {
			chain = append(chain, d.at(500+rng.Uint64N(40))) // clocks that jump both ways
		}
		chains = append(chains, chain)
	}
	var want []protocol.ID
	for round := range 5 {
		r := room(t, open(t, make(t)))
		rest := slices.Clone(chains)
		for len(rest) > 0 {
			i := rng.IntN(len(rest))
			n := 1 + rng.IntN(min(4, len(rest[i])))
			r.Append(rest[i][:n])
			if rest[i] = rest[i][n:]; len(rest[i]) == 0 {
				rest = slices.Delete(rest, i, i+1)
			}
		}
		put(t, r)
		got := display(t, r, 1+rng.IntN(50))
		if round == 0 {
			want = got
			causal(t, got, chains)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("round %d: another order", round)
		}
	}
}

// causal checks that each chain is displayed in its own order, completely.
func causal(t *testing.T, got []protocol.ID, chains [][]protocol.Verified) {
	t.Helper()
	for _, chain := range chains {
		last := -1
		for _, v := range chain {
			i := slices.Index(got, v.ID())
			if i <= last {
				t.Fatalf("seq %d is displayed at %d, its predecessor at %d", v.Header().Seq, i, last)
			}
			last = i
		}
	}
}

// A clock that stood in 2040 takes nothing out of order once it is set right.
func testBackwards(t *testing.T, make func(testing.TB) datastore.Batching) {
	ds := make(t)
	s := open(t, ds)
	r := room(t, s)
	ana, ben := newDevice(), newDevice()
	future := ana.run(20, 2_200_000_000_000)
	now := ben.run(10, 1_700_000_000_000)
	fixed := ana.at(1_700_000_000_004)
	put(t, r, future...)
	put(t, r, now...)
	put(t, r, fixed)
	check := func(r *storage.Room) {
		t.Helper()
		got := display(t, r, 7)
		causal(t, got, [][]protocol.Verified{append(slices.Clone(future), fixed), now})
		if got[len(got)-1] != now[9].ID() {
			t.Fatal("the newest message is not displayed last")
		}
		found(t, r, append(append(slices.Clone(future), now...), fixed))
	}
	check(r)
	s.Close()
	check(room(t, open(t, ds)))
}

// The same with a fork in it, in either order.
func testBranchesBackwards(t *testing.T, make func(testing.TB) datastore.Batching) {
	ana := newDevice()
	trunk := ana.run(5, 9000)
	copied := ana.clone()
	a := []protocol.Verified{ana.at(9010), ana.at(40), ana.at(50)}
	b := []protocol.Verified{copied.at(9020), copied.at(30), copied.at(20)}
	var orders [][]protocol.ID
	for _, arrival := range [][][]protocol.Verified{{trunk, a, b}, {trunk, b, a}, {trunk, a[:2], b[:2], a[2:], b[2:]}} {
		r := room(t, open(t, make(t)))
		for _, part := range arrival {
			put(t, r, part...)
		}
		found(t, r, slices.Concat(trunk, a, b))
		orders = append(orders, display(t, r, 3))
	}
	for _, o := range orders {
		causal(t, o, [][]protocol.Verified{slices.Concat(trunk, a), slices.Concat(trunk, b)})
		if !slices.Equal(o, orders[0]) {
			t.Fatal("the order depends on what arrived first")
		}
	}
}

func testForks(t *testing.T, make func(testing.TB) datastore.Batching) {
	ds := make(t)
	s := open(t, ds)
	r := room(t, s)
	ana := newDevice()
	trunk := ana.run(3, 100)
	put(t, r, trunk...)
	all := slices.Clone(trunk)
	var branches []protocol.Tip
	for range 3 {
		c := ana.clone()
		run := c.run(4, 200)
		put(t, r, run...)
		all = append(all, run...)
		branches = append(branches, c.prev)
	}
	slices.SortFunc(branches, protocol.Tip.Compare)
	check := func(r *storage.Room) {
		t.Helper()
		found(t, r, all)
		if got := r.Tips(); !slices.Equal(got, branches) {
			t.Fatalf("tips %v", got)
		}
		chain := must(r.Chain(ctx, ana.prev.Dev, protocol.Messages, 1, 100))
		if len(chain) != len(all) || !slices.IsSortedFunc(chain, func(a, b protocol.Verified) int { return int(a.Header().Seq) - int(b.Header().Seq) }) {
			t.Fatalf("chain: %d", len(chain))
		}
		back := must(r.ChainBack(ctx, ana.prev.Dev, protocol.Messages, 204, 100))
		if slices.Reverse(back); len(back) != len(chain) || back[0].Header().Seq != 1 || !slices.IsSortedFunc(back, func(a, b protocol.Verified) int { return int(a.Header().Seq) - int(b.Header().Seq) }) {
			t.Fatalf("chain back: %d", len(back))
		}
		if forks := must(r.Forks(ctx)); len(forks) == 0 || forks[0].A.Header().Seq != 4 {
			t.Fatalf("forks: %d", len(forks))
		}
	}
	check(r)
	put(t, r, all...)
	check(r)
	s.Close()
	check(room(t, open(t, ds)))
}

func testRefused(t *testing.T, make func(testing.TB) datastore.Batching) {
	r := room(t, open(t, make(t)))
	ana := newDevice()
	run := ana.run(3, 100)
	first := ana.leave(100)
	if err := r.Append([]protocol.Verified{run[0], ana.leave(101)}).Wait(ctx); !errors.Is(err, storage.ErrGap) {
		t.Fatalf("a gap in a control chain: %v", err)
	}
	put(t, r, first)
	stranger := newDeviceIn(protocol.ID{9}).at(1)
	if err := r.Append([]protocol.Verified{run[0], stranger}).Wait(ctx); !errors.Is(err, storage.ErrWrongGroup) {
		t.Fatalf("another group's: %v", err)
	}
	if err := r.Append(run[1:]).Wait(ctx); !errors.Is(err, storage.ErrGap) || !errors.Is(err, storage.ErrNotStored) {
		t.Fatalf("what does not continue this device's chain: %v", err)
	}
	if r.Count() != 1 || len(r.Tips()) != 1 {
		t.Fatal("something of a refused list was taken")
	}
	put(t, r, run...)
	found(t, r, run)
}

func testRecords(t *testing.T, make func(testing.TB) datastore.Batching) {
	ds := make(t)
	s := open(t, ds)
	r := room(t, s)
	ana, ben := newDevice(), newDevice()
	for _, v := range []protocol.VerifiedRecord{ana.record(2, "two"), ana.record(1, "one"), ben.record(1, "ben"), ana.record(3, "three")} {
		r.PutRecord(v)
	}
	if err := r.PutRecord(ana.record(1, "one")).Wait(ctx); err != nil {
		t.Fatal(err)
	}
	check := func(r *storage.Room) {
		t.Helper()
		got := values(must(r.Records(ctx)))
		if len(got) != 2 || got["three"] == 0 || got["ben"] == 0 {
			t.Fatalf("records %v", got)
		}
	}
	check(r)
	s.Close()
	check(room(t, open(t, ds)))
}

func values(list []protocol.VerifiedRecord) map[string]int {
	got := make(map[string]int)
	for _, v := range list {
		got[string(v.Record().Value)]++
	}
	return got
}

func testValues(t *testing.T, make func(testing.TB) datastore.Batching) {
	s := open(t, make(t))
	for _, name := range []string{"a", "a/../b", "\x00\xff"} {
		if err := s.Put(ctx, "settings", name, []byte("v "+name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Put(ctx, "other", "a", nil); err != nil {
		t.Fatal(err)
	}
	if got := must(s.List(ctx, "settings")); len(got) != 3 || string(got["a/../b"]) != "v a/../b" {
		t.Fatalf("list %q", got)
	}
	if err := s.Delete(ctx, "settings", "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(ctx, "settings", "a"); !errors.Is(err, storage.ErrNotFound) {
		t.Fatalf("a deleted value: %v", err)
	}
	if err := s.Put(ctx, "settings", "", nil); !errors.Is(err, storage.ErrTooLarge) {
		t.Fatalf("no name: %v", err)
	}
}

func testReopen(t *testing.T, make func(testing.TB) datastore.Batching) {
	ds := make(t)
	ana := newDevice()
	var all []protocol.Verified
	var tips []protocol.Tip
	for i := range uint64(4) {
		s := open(t, ds)
		r := room(t, s)
		if r.Count() != uint64(len(all)) || r.Cursor() != uint64(len(all)) || !slices.Equal(r.Tips(), tips) {
			t.Fatalf("reopened with %d, cursor %d", r.Count(), r.Cursor())
		}
		run := ana.run(1300, 5000*i) // more than a checkpoint covers
		put(t, r, run...)
		all, tips = append(all, run...), r.Tips()
		s.Close()
	}
	found(t, room(t, open(t, ds)), all[len(all)-200:])
}

func testWriters(t *testing.T, make func(testing.TB) datastore.Batching) {
	r := room(t, open(t, make(t)))
	var mu sync.Mutex
	var all []protocol.Verified
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			d := newDevice()
			for i := range uint64(20) {
				v := d.at(100 + i)
				if err := r.Append([]protocol.Verified{v}).Wait(ctx); err != nil {
					t.Error(err)
				}
				if _, err := r.Get(ctx, v.ID()); err != nil {
					t.Error(err)
				}
				mu.Lock()
				all = append(all, v)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	found(t, r, all)
}

func testClosed(t *testing.T, make func(testing.TB) datastore.Batching) {
	s := open(t, make(t))
	r := room(t, s)
	v := newDevice().at(1)
	commit := r.Append([]protocol.Verified{v})
	s.Close()
	s.Close()
	if err := commit.Wait(ctx); err != nil {
		t.Fatalf("queued before Close: %v", err)
	}
	_, after := r.After(ctx, 0, 1)
	_, _, newest := r.Newest(ctx, 1, storage.Position{})
	_, get := s.Get(ctx, "a", "b")
	_, again := s.Room(ctx, group)
	for i, err := range []error{after, newest, get, again, r.Append(nil).Wait(ctx), s.Put(ctx, "a", "b", nil), r.PutRecord(newDevice().record(1, "x")).Wait(ctx)} {
		if !errors.Is(err, storage.ErrClosed) {
			t.Errorf("call %d after Close: %v", i, err)
		}
	}
}

func testFormats(t *testing.T, make func(testing.TB) datastore.Batching) {
	for value, want := range map[string]error{"p2pchat storage 4": storage.ErrNewer, "p2pchat storage 1": storage.ErrOlder, "sqlite": storage.ErrForeign} {
		ds := make(t)
		if err := ds.Put(ctx, datastore.NewKey("/p2pchat"), []byte(value)); err != nil {
			t.Fatal(err)
		}
		if _, err := storage.Open(ctx, ds); !errors.Is(err, want) {
			t.Errorf("%q: %v", value, err)
		}
	}
	ds := make(t)
	if err := ds.Put(ctx, datastore.NewKey("/peers/x"), []byte("y")); err != nil {
		t.Fatal(err)
	}
	if _, err := storage.Open(ctx, ds); !errors.Is(err, storage.ErrForeign) {
		t.Errorf("another program's: %v", err)
	}
}

// A value that does not decode hides itself and what is kept behind it, and nothing else.
// The event it was can be stored again, and shows those again.
func testDamaged(t *testing.T, make func(testing.TB) datastore.Batching) {
	ds := make(t)
	s := open(t, ds)
	all := newDevice().run(100, 1)
	put(t, room(t, s), all...)
	s.Close()
	key := logKey(t, ds, all[9])
	if err := ds.Put(ctx, datastore.RawKey(key), []byte("garbage")); err != nil {
		t.Fatal(err)
	}
	s = open(t, ds)
	r := room(t, s)
	got, err := r.After(ctx, 0, 1000)
	if len(got) != 100-hidden(10) || !errors.Is(err, storage.ErrDamaged) {
		t.Fatalf("%d entries: %v", len(got), err)
	}
	if _, err := r.Get(ctx, all[9].ID()); !errors.Is(err, storage.ErrDamaged) {
		t.Fatalf("get: %v", err)
	}
	if got, _, err := r.Newest(ctx, 1000, storage.Position{}); len(got) != 100-hidden(10) || !errors.Is(err, storage.ErrDamaged) {
		t.Fatalf("%d displayed: %v", len(got), err)
	}
	put(t, r, all[9])
	if e, err := r.Get(ctx, all[9].ID()); err != nil || e.Cursor != 101 {
		t.Fatalf("stored again: %v", err)
	}
	found(t, r, all)
	if got, err := r.After(ctx, 0, 1000); len(got) != 100 || err != nil {
		t.Fatalf("%d entries once it is stored again: %v", len(got), err)
	}
	if tips := r.Tips(); len(tips) != 1 || tips[0] != all[99].Tip() {
		t.Fatalf("tips %v", tips)
	}
}

func testFollowers(t *testing.T, make func(testing.TB) datastore.Batching) {
	r := room(t, open(t, make(t)))
	all := newDevice().run(500, 1)
	done := inBackground(func() []protocol.ID {
		var got []protocol.ID
		var cursor uint64
		for len(got) < len(all) {
			changed := r.Changed()
			for {
				page := must(r.After(ctx, cursor, 13))
				for _, e := range page {
					got, cursor = append(got, e.Event.ID()), e.Cursor
				}
				if len(page) == 0 {
					break
				}
			}
			if len(got) < len(all) {
				<-changed
			}
		}
		return got
	})
	for part := range slices.Chunk(all, 3) {
		r.Append(part)
	}
	if got := <-done; !slices.Equal(got, ids(all...)) {
		t.Fatal("a follower missed something")
	}
}

func inBackground[T any](f func() T) <-chan T {
	c := make(chan T, 1)
	go func() { c <- f() }()
	return c
}

// logKey finds where an event lies on disk.
func logKey(t *testing.T, ds datastore.Batching, v protocol.Verified) string {
	t.Helper()
	entries := must(must(ds.Query(ctx, query.Query{Prefix: "/e"})).Rest())
	sig := v.Event().Sig
	for _, e := range entries {
		if bytes.Contains(e.Value, sig[:]) {
			return e.Key
		}
	}
	t.Fatal("not on disk")
	return ""
}

// hidden is how many messages a damaged value hides of a run whose first has the cursor 1:
// itself, and those that are kept behind it.
func hidden(cursor int) int {
	first := max(1, cursor/64*64)
	return 4 - (cursor-first)%4
}

// Control events load in order of arrival, from among the messages.
func testControl(t *testing.T, make func(testing.TB) datastore.Batching) {
	ds := make(t)
	s := open(t, ds)
	r := room(t, s)
	var want []protocol.ID
	var all []protocol.Verified
	for range 20 {
		d := newDevice()
		for hlc := range uint64(5) {
			leave := d.leave(hlc)
			want = append(want, leave.ID())
			all = append(all, leave, d.at(hlc), d.at(hlc+1))
		}
	}
	put(t, r, all...)
	found(t, r, all)
	s.Close()
	var got []protocol.ID
	for _, e := range must(room(t, open(t, ds)).Control(ctx)) {
		got = append(got, e.Event.ID())
	}
	if !slices.Equal(got, want) {
		t.Fatalf("%d control events, want %d", len(got), len(want))
	}
}
