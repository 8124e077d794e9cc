package storage_test

import (
	"slices"
	"testing"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

// However a chain comes, each 16 places share a key, and all of them are found: those of
// a fork, those that filled a hole, and those whose value is lost with what comes next.
func TestPlacesShareKeys(t *testing.T) {
	ana := newDevice()
	first := ana.run(40, 1)
	twin := ana.clone()
	rest, branch := ana.run(60, 100), twin.run(3, 100)
	chain := slices.Concat(first, rest)
	for name, lists := range map[string][][]protocol.Verified{
		"one by one":   slices.Collect(slices.Chunk(slices.Concat(chain, branch), 1)),
		"at once":      {slices.Concat(chain, branch)},
		"newest first": {rest[20:], rest[:20], branch, first[17:], first[:17]},
	} {
		t.Run(name, func(t *testing.T) {
			ds := memory(t)
			s := open(t, ds)
			r := room(t, s)
			for _, list := range lists {
				put(t, r, list...)
			}
			check := func(r *storage.Room, want int) {
				t.Helper()
				got := must(r.Chain(ctx, ana.id.Dev(), protocol.Messages, 1, 1000))
				if len(got) != want {
					t.Fatalf("%d of %d", len(got), want)
				}
				seqs := func(a, b protocol.Verified) int { return int(a.Header().Seq) - int(b.Header().Seq) }
				if !slices.IsSortedFunc(got, seqs) {
					t.Fatal("not in their order")
				}
			}
			check(r, 103)
			keys := must(must(ds.Query(ctx, query.Query{Prefix: "/c"})).Rest())
			if len(keys) != 7 {
				t.Fatalf("%d keys for places 1 to 100", len(keys))
			}
			if err := ds.Put(ctx, datastore.RawKey(keys[6].Key), []byte{99, 99}); err != nil {
				t.Fatal(err)
			}
			check(r, 103-5) // 96 to 100
			put(t, r, ana.clone().at(1000))
			check(r, 103-5+1)
		})
	}
}
