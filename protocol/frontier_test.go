package protocol

import (
	"slices"
	"strconv"
	"testing"

	"github.com/p2pchat/p2pchat/protocol/reconcile"
)

// frontierOf is a frontier of two messages before one time, and none from there to the
// other.
func frontierOf(a, b uint64) Frontier {
	sum := reconcile.SumOf(secretOf("one")).Plus(reconcile.SumOf(secretOf("two")))
	return Frontier{[]FrontierSpan{{a, FrontierPrint(sum, 2)}, {b, FrontierPrint(reconcile.Sum{}, 0)}}}
}

func (m *vectorMaker) frontiers() {
	add := func(name, about string, f Frontier) *vector {
		v := m.add(name, "frontier", about)
		for _, s := range f.Spans {
			v.set("before", strconv.FormatUint(s.Before, 10)).set("print", s.Print[:])
		}
		_, err := Record{Type: RecordFrontier, Value: f.Value()}.Frontier()
		return v.set("value", f.Value()).expect(err)
	}
	one, two := secretOf("one"), secretOf("two")
	add("frontier", "The value of a frontier record: a device has two messages with an hlc below the first time, and none from there to below the second.", frontierOf(1_790_000_000_000, 1_790_003_600_000)).
		set("id", one[:]).set("id", two[:])
	add("frontier-silent", "A device that does not say what it has.", Frontier{})
	add("frontier-bad-order", "The second span ends where the first does.", frontierOf(1_790_000_000_000, 1_790_000_000_000))
	add("frontier-bad-zero", "A span of no time.", frontierOf(0, 1))
	add("frontier-bad-far", "A span that ends beyond the last hlc.", frontierOf(1, MaxHLC+1))
	add("frontier-bad-many", "Nine spans.", Frontier{slices.Repeat(frontierOf(1, 2).Spans, 5)[:9]})
}

func checkFrontierVector(v *vector) error {
	var f Frontier
	for i, before := range v.list("before") {
		n, err := strconv.ParseUint(before, 10, 64)
		if err != nil {
			return err
		}
		f.Spans = append(f.Spans, FrontierSpan{n, [16]byte(v.unhex(v.list("print")[i]))})
	}
	v.want("value", f.Value())
	var sum reconcile.Sum
	for _, id := range v.list("id") {
		sum = sum.Plus(reconcile.SumOf([32]byte(v.unhex(id))))
	}
	if n := len(v.list("id")); n > 0 && FrontierPrint(sum, n) != f.Spans[0].Print {
		v.t.Errorf("%s: the print is not of the ids", v.name)
	}
	_, err := Record{Type: RecordFrontier, Value: v.bytes("value")}.Frontier()
	return err
}

// TestFrontierPrints: a print tells how many messages it is of, and which.
func TestFrontierPrints(t *testing.T) {
	sum := reconcile.SumOf(secretOf("one"))
	p := FrontierPrint(sum, 1)
	if p == FrontierPrint(sum, 2) || p == FrontierPrint(reconcile.SumOf(secretOf("two")), 1) || p != FrontierPrint(sum, 1) {
		t.Error("different messages have one print")
	}
	if _, err := (Record{Type: RecordProfile, Value: frontierOf(1, 2).Value()}).Frontier(); err == nil {
		t.Error("a profile is a frontier")
	}
}
