package storage

import (
	"context"
	"slices"
	"sort"
	"sync"

	"github.com/p2pchat/p2pchat/protocol/reconcile"
)

// tree holds the messages of a room by (time, id), with a count and a sum of ids for
// each part: how many there are before a point, and what they sum up to, costs a walk
// from the root to a leaf. It is a B+ tree whose nodes are changed in place until
// somebody looks at it; from then on they are copied before they are changed.
//
// Nodes that are as they lie on disk are read when they are needed, and a store keeps
// some. The others, which the next checkpoint writes, are in memory.
type tree struct {
	room  *Room
	root  part
	edit  uint64   // nodes of another number are shared
	next  uint64   // number of the next page
	dirty int      // nodes that are not on disk
	old   []uint64 // pages that the tree has no use for any more
	lost  bool     // it has to be made from the log

	mu    sync.Mutex
	fresh map[uint64]*node // flushed, and not on disk yet
}

// element is a message in the tree: where it stands, and where it lies in the log.
type element struct {
	reconcile.Item
	cursor uint64
}

// part is a node as its parent sees it.
type part struct {
	first reconcile.Item // the lowest below it
	count int
	sum   reconcile.Sum
	node  *node  // where it is not on disk
	page  uint64 // where it is
	check uint32
}

// node is a leaf with elements or an inner node with parts, ascending.
type node struct {
	edit     uint64
	elements []element
	parts    []part
}

// put adds elements, ascending and each once. One that is there gets the new cursor.
func (t *tree) put(ctx context.Context, batch []element) error {
	if len(batch) == 0 {
		return nil
	}
	if t.root.count == 0 {
		t.root.node = t.fill(node{})
	}
	parts, err := t.into(ctx, t.root, batch)
	for err == nil && len(parts) > 1 {
		parts = t.cutParts(t.fill(node{parts: parts}), even)
	}
	if err == nil {
		t.root = parts[0]
	}
	return err
}

// into adds elements below a part, and returns the parts that it becomes.
func (t *tree) into(ctx context.Context, p part, batch []element) ([]part, error) {
	n, err := t.load(ctx, p)
	if err != nil {
		return nil, err
	}
	if p.page != 0 {
		t.old = append(t.old, p.page)
	}
	n = t.own(p, n)
	if n.parts == nil {
		return t.cutElements(n, n.merge(batch)), nil
	}
	how := even
	i := under(n.parts, batch[0].Item)
	for len(batch) > 0 {
		end := len(batch)
		if i+1 < len(n.parts) {
			end = sort.Search(end, func(j int) bool { return batch[j].Compare(n.parts[i+1].first) >= 0 })
		}
		if end == 0 {
			i++
			continue
		}
		parts, err := t.into(ctx, n.parts[i], batch[:end])
		if err != nil {
			return nil, err
		}
		switch {
		case i == len(n.parts)-1:
			how = fillLeft
		case i == 0:
			how = fillRight
		}
		n.parts = slices.Replace(n.parts, i, i+1, parts...)
		i += len(parts) - 1
		batch = batch[end:]
	}
	return t.cutParts(n, how), nil
}

// under returns the part that an item belongs to.
func under(parts []part, it reconcile.Item) int {
	return max(0, sort.Search(len(parts), func(i int) bool { return parts[i].first.Compare(it) > 0 })-1)
}

// own returns a node that may be changed.
func (t *tree) own(p part, n *node) *node {
	if n.edit == t.edit {
		return n
	}
	if p.node != nil {
		t.dirty-- // the copy takes its place
	}
	return t.fill(node{elements: slices.Clone(n.elements), parts: slices.Clone(n.parts)})
}

// fill returns a new node.
func (t *tree) fill(n node) *node {
	t.dirty++
	n.edit = t.edit
	return &n
}

// split is how a node that has grown too large is cut. Where it grew at one end it
// goes on growing there, and what lies behind stays full.
type split int

const (
	even split = iota
	fillLeft
	fillRight
)

// merge adds elements to a leaf.
func (n *node) merge(batch []element) split {
	old := n.elements
	switch {
	case len(old) == 0 || old[len(old)-1].Compare(batch[0].Item) < 0:
		n.elements = append(old, batch...)
		return fillLeft
	case batch[len(batch)-1].Compare(old[0].Item) < 0:
		n.elements = slices.Concat(batch, old)
		return fillRight
	}
	all := make([]element, 0, len(old)+len(batch))
	for len(old) > 0 && len(batch) > 0 {
		switch c := old[0].Compare(batch[0].Item); {
		case c < 0:
			all, old = append(all, old[0]), old[1:]
		case c > 0:
			all, batch = append(all, batch[0]), batch[1:]
		default:
			old = old[1:]
		}
	}
	n.elements = append(append(all, old...), batch...)
	return even
}

// cuts returns where n things are cut so that no piece has more than size.
func cuts(n, size int, how split) []int {
	pieces := (n + size - 1) / size
	ends := make([]int, pieces)
	for i := range ends {
		switch how {
		case fillLeft:
			ends[i] = min(n, (i+1)*size)
		case fillRight:
			ends[i] = n - (pieces-1-i)*size
		default:
			ends[i] = n * (i + 1) / pieces
		}
	}
	return ends
}

func (t *tree) cutElements(n *node, how split) []part {
	if len(n.elements) <= maxLeaf {
		return []part{n.part()}
	}
	t.dirty--
	var parts []part
	from := 0
	for _, end := range cuts(len(n.elements), maxLeaf, how) {
		piece := t.fill(node{elements: slices.Clone(n.elements[from:end])})
		parts, from = append(parts, piece.part()), end
	}
	return parts
}

func (t *tree) cutParts(n *node, how split) []part {
	if len(n.parts) <= maxParts {
		return []part{n.part()}
	}
	t.dirty--
	var parts []part
	from := 0
	for _, end := range cuts(len(n.parts), maxParts, how) {
		piece := t.fill(node{parts: slices.Clone(n.parts[from:end])})
		parts, from = append(parts, piece.part()), end
	}
	return parts
}

// part describes a node to its parent.
func (n *node) part() part {
	p := part{node: n}
	for _, e := range n.elements {
		p.sum = p.sum.Plus(reconcile.SumOf(e.ID))
	}
	for i := range n.parts {
		p.sum = p.sum.Plus(n.parts[i].sum)
		p.count += n.parts[i].count
	}
	if n.parts == nil {
		p.first, p.count = n.elements[0].Item, len(n.elements)
	} else {
		p.first = n.parts[0].first
	}
	return p
}

// look returns the tree as it is now. It stays so, whatever is put after.
func (t *tree) look(ctx context.Context) *view {
	t.edit++
	return &view{ctx: ctx, tree: t, root: t.root}
}
