package reconcile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// pair is two sets that have something in common, and what each lacks of the other.
type pair struct {
	a, b         *Vector
	onlyA, onlyB []ID
}

// items makes items whose times and first id bytes often are alike.
func randomItems(r *rand.Rand, n int, times uint64) []Item {
	list := make([]Item, n)
	for i := range list {
		list[i].Time = 1_700_000_000_000 + r.Uint64N(times)
		for k := 0; k < len(ID{}); k += 8 {
			binary.LittleEndian.PutUint64(list[i].ID[k:], r.Uint64())
		}
		clear(list[i].ID[:r.IntN(4)])
	}
	return list
}

// pairOf puts so many items into both sets and so many into each alone. Where lone items
// are clustered, they are so in time.
func pairOf(r *rand.Rand, both, a, b int, clustered bool) pair {
	times := r.Uint64N(1<<uint(r.IntN(30))) + 1
	all := randomItems(r, both+a+b, times)
	if clustered {
		slices.SortFunc(all, Item.Compare)
	}
	cut := 0
	if clustered && both > 0 {
		cut = r.IntN(both)
	}
	common := append(slices.Clone(all[:cut]), all[cut+a+b:]...)
	loneA, loneB := all[cut:cut+a], all[cut+a:cut+a+b]
	return pair{
		NewVector(append(slices.Clone(common), loneA...)), NewVector(append(common, loneB...)),
		ids(loneA), ids(loneB),
	}
}

func ids(items []Item) []ID {
	var list []ID
	for _, item := range items {
		list = append(list, item.ID)
	}
	slices.SortFunc(list, func(a, b ID) int { return bytes.Compare(a[:], b[:]) })
	return list
}

func drawPair(t *rapid.T, most int) pair {
	n := func(name string) int {
		return rapid.OneOf(rapid.IntRange(0, 3), rapid.IntRange(0, 40), rapid.IntRange(0, most)).Draw(t, name)
	}
	r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
	return pairOf(r, n("both"), n("a"), n("b"), rapid.Bool().Draw(t, "clustered"))
}

// outcome is what a whole comparison found.
type outcome struct {
	have, need []ID
	lacks      bool
	count      int // of what the other side lacks, as the differences say
	rounds     int
	bytes      [2]int // of the initiator's messages, and of the answers
}

// run lets two sides talk until they are done.
func run(i *Initiator, first []byte, set Set, respond func([]byte) ([]byte, error)) (outcome, error) {
	var o outcome
	for msg := first; msg != nil; o.rounds++ {
		answer, err := respond(msg)
		if err != nil {
			return o, fmt.Errorf("answer %d: %w", o.rounds+1, err)
		}
		o.bytes[0] += len(msg)
		o.bytes[1] += len(answer)
		var f Found
		if msg, f, err = i.Next(set, answer); err != nil {
			return o, fmt.Errorf("round %d: %w", o.rounds+1, err)
		}
		o.need, o.lacks = append(o.need, f.Need...), o.lacks || f.Lacks
		for _, d := range f.Have {
			o.count += d.Count
			have, err := d.ids(set)
			if err != nil {
				return o, err
			}
			o.have = append(o.have, have...)
		}
	}
	slices.SortFunc(o.have, func(a, b ID) int { return bytes.Compare(a[:], b[:]) })
	slices.SortFunc(o.need, func(a, b ID) int { return bytes.Compare(a[:], b[:]) })
	return o, nil
}

// ids lists what a difference stands for.
func (d Difference) ids(set Set) ([]ID, error) {
	lo, _ := set.Find(d.From)
	hi, _ := set.Find(d.To)
	var list []ID
	except := d.Except
	err := set.Items(lo, hi, func(item Item) error {
		if len(except) > 0 && except[0] == item.ID {
			except = except[1:]
		} else {
			list = append(list, item.ID)
		}
		return nil
	})
	if len(except) > 0 {
		err = errors.Join(err, errors.New("except is not in the order of the set"))
	}
	return list, err
}

// compareAll has a compare itself with b and checks what comes out. The lists of a pair
// are of the whole range.
func compareAll(t *rapid.T, p pair, limit int) outcome {
	i, first, err := Compare(p.a, Item{}, Infinity(), limit)
	if err != nil {
		t.Fatal(err)
	}
	o, err := run(i, first, p.a, func(msg []byte) ([]byte, error) { return Respond(p.b, msg, limit) })
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(o.have, p.onlyA) || !slices.Equal(o.need, p.onlyB) {
		t.Fatalf("it has %d and needs %d, of %d and %d", len(o.have), len(o.need), len(p.onlyA), len(p.onlyB))
	}
	if o.count != len(o.have) || o.lacks != (len(o.need) > 0) {
		t.Fatalf("count %d of %d, lacks %t", o.count, len(o.have), o.lacks)
	}
	return o
}

func TestBothLearnWhatTheyLack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPair(t, 600)
		compareAll(t, p, math.MaxInt)
		compareAll(t, p, rapid.IntRange(MinMessage, 3*MinMessage).Draw(t, "limit"))
	})
}

func TestGivingFindsWhatTheOtherLacks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPair(t, 600)
		limit := rapid.SampledFrom([]int{MinMessage, 64 << 10, math.MaxInt}).Draw(t, "limit")
		i, first, err := Give(p.a, Item{}, Infinity(), limit)
		if err != nil {
			t.Fatal(err)
		}
		if (first == nil) != (p.a.Len() == 0) {
			t.Fatalf("a set of %d items asks %x", p.a.Len(), first)
		}
		o, err := run(i, first, p.a, func(msg []byte) ([]byte, error) { return Respond(p.b, msg, limit) })
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(o.have, p.onlyA) || o.count != len(o.have) {
			t.Fatalf("%d are lacking, and %d were found, count %d", len(p.onlyA), len(o.have), o.count)
		}
		if p.a.Len() > 0 && o.lacks != (len(p.onlyB) > 0) {
			t.Fatalf("lacks %t, and the other side has %d more", o.lacks, len(p.onlyB))
		}
	})
}

// A window is compared as if there were nothing else.
func TestAWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPair(t, 600)
		bound := func(name string) Item {
			all := append(slices.Clone(p.a.items), p.b.items...)
			if n := rapid.IntRange(-2, len(all)-1).Draw(t, name); n >= 0 {
				return all[n]
			} else if n == -1 {
				return Infinity()
			}
			return Item{}
		}
		from, to := bound("from"), bound("to")
		limit := rapid.SampledFrom([]int{MinMessage, math.MaxInt}).Draw(t, "limit")
		i, first, err := Compare(p.a, from, to, limit)
		if err != nil {
			t.Fatal(err)
		}
		o, err := run(i, first, p.a, func(msg []byte) ([]byte, error) { return Respond(p.b, msg, limit) })
		if err != nil {
			t.Fatal(err)
		}
		inside := func(v *Vector, lone []ID) []ID {
			return slices.DeleteFunc(slices.Clone(lone), func(id ID) bool {
				return !slices.ContainsFunc(v.items, func(item Item) bool {
					return item.ID == id && item.Compare(from) >= 0 && item.Compare(to) < 0
				})
			})
		}
		if !slices.Equal(o.have, inside(p.a, p.onlyA)) || !slices.Equal(o.need, inside(p.b, p.onlyB)) {
			t.Fatalf("other items than those of the window: %d and %d", len(o.have), len(o.need))
		}
	})
}

// Whoever holds nothing is sent no ids, and whoever gives to them lists none: one round.
func TestNothingIsToldOfNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	full, empty := NewVector(randomItems(r, 10_000, 1<<30)), NewVector(nil)
	i, first, err := Give(full, Item{}, Infinity(), 64<<10)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := Respond(empty, first, 64<<10)
	if err != nil {
		t.Fatal(err)
	}
	next, found, err := i.Next(full, answer)
	if err != nil || next != nil || len(found.Have) != 1 {
		t.Fatalf("%d differences, then %x: %v", len(found.Have), next, err)
	}
	d := found.Have[0]
	if d.From != (Item{}) || d.To != Infinity() || d.Count != full.Len() || len(d.Except) > 0 {
		t.Errorf("it is not the whole: %+v", d)
	}
	if len(first)+len(answer) > 600 {
		t.Errorf("%d + %d bytes", len(first), len(answer))
	}
	if _, first, err := Give(empty, Item{}, Infinity(), 64<<10); first != nil || err != nil {
		t.Errorf("who holds nothing asks %x: %v", first, err)
	}
}

func TestEqualSetsTakeOneRound(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	items := randomItems(r, 10_000, 1<<40)
	a, b := NewVector(items), NewVector(slices.Clone(items))
	for _, begin := range []func(Set, Item, Item, int) (*Initiator, []byte, error){Give, Compare} {
		i, first, err := begin(a, Item{}, Infinity(), 64<<10)
		if err != nil {
			t.Fatal(err)
		}
		o, err := run(i, first, a, func(msg []byte) ([]byte, error) { return Respond(b, msg, 64<<10) })
		if err != nil || o.rounds != 1 || o.bytes[0] > 450 || o.bytes[1] != 1 {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

func TestExceptIsTheSetWithout(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		all := NewVector(randomItems(r, rapid.IntRange(0, 60).Draw(t, "n"), 20))
		var out []Item
		want := NewVector(slices.DeleteFunc(slices.Clone(all.items), func(item Item) bool {
			if r.IntN(3) > 0 {
				return false
			}
			out = append(out, item)
			return true
		}))
		out = append(out, randomItems(r, 3, 20)...) // that are not in the set
		r.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
		got, err := Except(all, append(out, out...))
		if err != nil {
			t.Fatal(err)
		}
		if got.Len() != want.Len() {
			t.Fatalf("%d items, not %d", got.Len(), want.Len())
		}
		for _, item := range append(out, append(all.items, Infinity(), Item{})...) {
			g, _ := got.Find(item)
			w, _ := want.Find(item)
			if g != w {
				t.Fatalf("Find: %d, not %d", g, w)
			}
		}
		for lo := range want.Len() + 1 {
			for hi := lo; hi <= want.Len(); hi++ {
				g, _ := got.Sum(lo, hi)
				w, _ := want.Sum(lo, hi)
				var items []Item
				_ = got.Items(lo, hi, func(item Item) error { items = append(items, item); return nil })
				if g != w || !slices.Equal(items, want.items[lo:hi]) {
					t.Fatalf("other items or another sum from %d to %d", lo, hi)
				}
			}
		}
	})
}

func TestSums(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := func(name string) (id ID) {
			copy(id[:], rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 0x7f, 0x80, 0xfe, 0xff}), 32, 32).Draw(t, name))
			return id
		}
		a, b := SumOf(id("a")), SumOf(id("b"))
		if a.Plus(b) != b.Plus(a) || a.Plus(b).Minus(b) != a || (Sum{}).Minus(a).Plus(a) != (Sum{}) {
			t.Fatal("it does not add up")
		}
	})
}
