package authority

import "slices"

// Past is a set of positions in a graph: what somebody had seen. It is never
// changed; sets that differ little share what they have in common. The zero value is
// empty.
//
// It is a tree of three levels: 512 positions a leaf, 16 leaves a branch. Adding a
// position copies one leaf, one branch and the list of branches, about 300 bytes
// for 100,000 events.
type Past struct{ top []*branch }

type (
	leaf   [8]uint64
	branch [16]*leaf
)

const (
	leafBits   = 9                     // positions a leaf, as a power of two
	branchBits = leafBits + 4          // positions a branch
	wordMask   = 1<<(leafBits-6) - 1   // words a leaf
	leafMask   = 1<<(branchBits-9) - 1 // leaves a branch
)

// Has says whether a position is in the set.
func (p Past) Has(i int32) bool {
	if i < 0 || int(i>>branchBits) >= len(p.top) {
		return false
	}
	b := p.top[i>>branchBits]
	if b == nil {
		return false
	}
	l := b[i>>leafBits&leafMask]
	return l != nil && l[i>>6&wordMask]&(1<<(i&63)) != 0
}

// with returns the set and one more position.
func (p Past) with(i int32) Past {
	at := int(i >> branchBits)
	top := make([]*branch, max(len(p.top), at+1))
	copy(top, p.top)
	var b branch
	if top[at] != nil {
		b = *top[at]
	}
	var l leaf
	if old := b[i>>leafBits&leafMask]; old != nil {
		l = *old
	}
	l[i>>6&wordMask] |= 1 << (i & 63)
	b[i>>leafBits&leafMask] = &l
	top[at] = &b
	return Past{top}
}

// Positions returns the set of some positions.
func Positions(list []int32) Past {
	var p Past
	for _, i := range list {
		at := int(i >> branchBits)
		for len(p.top) <= at {
			p.top = append(p.top, nil)
		}
		if p.top[at] == nil {
			p.top[at] = new(branch)
		}
		l := &p.top[at][i>>leafBits&leafMask]
		if *l == nil {
			*l = new(leaf)
		}
		(*l)[i>>6&wordMask] |= 1 << (i & 63)
	}
	return p
}

// Lacks says whether something is in both p and common, and not in have.
func (p Past) Lacks(common, have Past) bool {
	for i, b := range p.top {
		if b == nil || i >= len(common.top) || common.top[i] == nil {
			continue
		}
		var h branch
		if i < len(have.top) && have.top[i] != nil {
			h = *have.top[i]
		}
		for j, l := range b {
			if l.lacks(common.top[i][j], h[j]) {
				return true
			}
		}
	}
	return false
}

func (l *leaf) lacks(common, have *leaf) bool {
	if l == nil || common == nil {
		return false
	}
	for i, w := range l {
		w &= common[i]
		if have != nil {
			w &^= have[i]
		}
		if w != 0 {
			return true
		}
	}
	return false
}

// Union returns what is in either set. Where one holds all of the other, it is
// returned as it is, so that nothing is kept twice.
func (p Past) Union(o Past) Past {
	if len(p.top) < len(o.top) {
		p, o = o, p
	}
	top := p.top
	for i, b := range o.top {
		if sum := top[i].union(b); sum != top[i] {
			if &top[0] == &p.top[0] {
				top = slices.Clone(top)
			}
			top[i] = sum
		}
	}
	return Past{top}
}

func (b *branch) union(o *branch) *branch {
	switch {
	case b == o || o == nil:
		return b
	case b == nil:
		return o
	}
	sum := b
	for i, l := range o {
		if s := sum[i].union(l); s != sum[i] {
			if sum == b {
				c := *b
				sum = &c
			}
			sum[i] = s
		}
	}
	return sum
}

func (l *leaf) union(o *leaf) *leaf {
	switch {
	case l == o || o == nil:
		return l
	case l == nil:
		return o
	}
	sum, less := *l, false
	for i, w := range o {
		less = less || w&^l[i] != 0
		sum[i] |= w
	}
	if !less {
		return l
	}
	return &sum
}
