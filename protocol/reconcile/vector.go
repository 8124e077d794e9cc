package reconcile

import "slices"

// Vector is a Set in memory.
type Vector struct {
	items []Item
	sums  []Sum // of the items before each, and of all
}

// NewVector returns a set of items, in whatever order they are and however often. It
// keeps and sorts the list.
func NewVector(items []Item) *Vector {
	slices.SortFunc(items, Item.Compare)
	v := &Vector{items: slices.Compact(items)}
	v.sums = prefixSums(v.items)
	return v
}

func prefixSums(items []Item) []Sum {
	sums := make([]Sum, len(items)+1)
	for i, item := range items {
		sums[i+1] = sums[i].Plus(SumOf(item.ID))
	}
	return sums
}

// Len implements [Set].
func (v *Vector) Len() int { return len(v.items) }

// Find implements [Set].
func (v *Vector) Find(item Item) (int, error) {
	at, _ := slices.BinarySearchFunc(v.items, item, Item.Compare)
	return at, nil
}

// Sum implements [Set].
func (v *Vector) Sum(from, to int) (Sum, error) { return v.sums[to].Minus(v.sums[from]), nil }

// Items implements [Set].
func (v *Vector) Items(from, to int, visit func(Item) error) error {
	for _, item := range v.items[from:to] {
		if err := visit(item); err != nil {
			return err
		}
	}
	return nil
}
