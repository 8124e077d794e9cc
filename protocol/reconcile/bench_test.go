package reconcile

import (
	"math/rand/v2"
	"testing"
)

// BenchmarkCompare is a comparison of a million items with as many less a few:
//
//	go test ./protocol/reconcile -run '^$' -bench Compare -benchtime 1x
//
// The time is of both sides, in memory; bytes and rounds are of the wire.
func BenchmarkCompare(b *testing.B) {
	const n, lost, limit = 1_000_000, 1_000, 64 << 10
	r := rand.New(rand.NewPCG(1, 2))
	all := NewVector(randomItems(r, n, 1<<37)) // over four years
	less := func(keep func(i int) bool) *Vector {
		var items []Item
		for i, item := range all.items {
			if keep(i) {
				items = append(items, item)
			}
		}
		return NewVector(items)
	}
	scattered := make(map[int]bool)
	for len(scattered) < lost {
		scattered[r.IntN(n)] = true
	}
	for _, c := range []struct {
		name string
		less *Vector
	}{
		{"equal", all},
		{"newest", less(func(i int) bool { return i < n-lost })},
		{"scattered", less(func(i int) bool { return !scattered[i] })},
		{"everything", NewVector(nil)},
	} {
		for _, dir := range []struct {
			name      string
			asks, has *Vector
			begin     func(Set, Item, Item, int) (*Initiator, []byte, error)
		}{
			{"give", all, c.less, Give},
			{"take", c.less, all, Compare},
		} {
			if c.name == "everything" && dir.name == "take" {
				continue // a million ids: that is what Give is for
			}
			b.Run(c.name+"/"+dir.name, func(b *testing.B) {
				var o outcome
				for b.Loop() {
					i, first, err := dir.begin(dir.asks, Item{}, Infinity(), limit)
					if err != nil {
						b.Fatal(err)
					}
					o, err = run(i, first, dir.asks, func(msg []byte) ([]byte, error) { return Respond(dir.has, msg, limit) })
					if err != nil {
						b.Fatal(err)
					}
					if len(o.have)+len(o.need) != all.Len()-c.less.Len() {
						b.Fatalf("found %d and %d", len(o.have), len(o.need))
					}
				}
				b.ReportMetric(float64(o.bytes[0]), "asked-B")
				b.ReportMetric(float64(o.bytes[1]), "answered-B")
				b.ReportMetric(float64(o.rounds), "rounds")
			})
		}
	}
}
