package reconcile

import (
	"slices"
	"sort"
)

// Except returns a set without some of its items, which it keeps as a list in memory:
// they should be few. What is not in the set does not matter.
func Except(set Set, excluded []Item) (Set, error) {
	e := &except{set: set}
	sorted := slices.Clone(excluded)
	slices.SortFunc(sorted, Item.Compare)
	for _, item := range slices.Compact(sorted) {
		at, err := set.Find(item)
		if err != nil {
			return nil, err
		}
		if at == set.Len() {
			break
		}
		if err := set.Items(at, at+1, func(found Item) error {
			if found == item {
				e.items, e.at = append(e.items, item), append(e.at, at)
			}
			return nil
		}); err != nil {
			return nil, err
		}
	}
	if len(e.items) == 0 {
		return set, nil
	}
	e.sums = prefixSums(e.items)
	return e, nil
}

type except struct {
	set   Set
	items []Item // left out, ascending
	at    []int  // their numbers in set
	sums  []Sum
}

func (e *except) Len() int { return e.set.Len() - len(e.items) }

func (e *except) Find(item Item) (int, error) {
	at, err := e.set.Find(item)
	before, _ := slices.BinarySearch(e.at, at)
	return at - before, err
}

// inner returns the number in set of the item of a number, and how many before it are
// left out.
func (e *except) inner(number int) (at, before int) {
	before = sort.Search(len(e.at), func(i int) bool { return e.at[i]-i > number })
	return number + before, before
}

func (e *except) Sum(from, to int) (Sum, error) {
	lo, i := e.inner(from)
	hi, j := e.inner(to)
	sum, err := e.set.Sum(lo, hi)
	return sum.Minus(e.sums[j].Minus(e.sums[i])), err
}

func (e *except) Items(from, to int, visit func(Item) error) error {
	at, out := e.inner(from)
	end, _ := e.inner(to)
	return e.set.Items(at, end, func(item Item) error {
		if out < len(e.items) && e.items[out] == item {
			out++
			return nil
		}
		return visit(item)
	})
}
