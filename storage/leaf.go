package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/p2pchat/p2pchat/protocol/reconcile"
)

// A node of the tree lies on disk as a page, under a number that is never used again
// while anything may refer to it. The parent holds a checksum of it, and the
// checkpoint that of the root; so a page that is damaged or missing is noticed, and
// the tree is made again from the log.

// Kinds of pages.
const (
	leafPage  = 1
	innerPage = 2
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// encode returns a node's page. The nodes below it are on disk.
func (n *node) encode() []byte {
	b := make([]byte, 0, 1+40*len(n.elements)+96*len(n.parts))
	var time, cursor uint64
	put := func(it reconcile.Item) {
		b = binary.AppendUvarint(b, it.Time-time)
		b = append(b, it.ID[:]...)
		time = it.Time
	}
	if n.parts == nil {
		b = append(b, leafPage)
		for _, e := range n.elements {
			put(e.Item)
			b = binary.AppendVarint(b, int64(e.cursor-cursor))
			cursor = e.cursor
		}
		return b
	}
	b = append(b, innerPage)
	for _, p := range n.parts {
		put(p.first)
		b = binary.AppendUvarint(b, uint64(p.count))
		for _, w := range p.sum {
			b = binary.LittleEndian.AppendUint64(b, w)
		}
		b = binary.AppendUvarint(b, p.page)
		b = binary.LittleEndian.AppendUint32(b, p.check)
	}
	return b
}

// decodeNode reads a page, whose checksum holds.
func decodeNode(b []byte) (*node, error) {
	if len(b) == 0 {
		return nil, errPage
	}
	kind, d := b[0], decoder{rest: b[1:]}
	n := new(node)
	if kind == leafPage {
		n.elements = make([]element, 0, min(maxLeaf, len(b)/leastElement))
	}
	var it reconcile.Item
	var cursor uint64
	for len(d.rest) > 0 && !d.bad {
		it.Time += d.uvarint()
		copy(it.ID[:], d.take(32))
		switch kind {
		case leafPage:
			cursor += uint64(d.varint())
			n.elements = append(n.elements, element{it, cursor})
		case innerPage:
			p := part{first: it, count: int(d.uvarint())}
			for i := range p.sum {
				p.sum[i] = binary.LittleEndian.Uint64(d.take(8))
			}
			p.page = d.uvarint()
			p.check = binary.LittleEndian.Uint32(d.take(4))
			n.parts = append(n.parts, p)
		default:
			return nil, errPage
		}
	}
	if d.bad || len(n.elements)+len(n.parts) == 0 {
		return nil, errPage
	}
	return n, nil
}

// leastElement is what an element takes in a leaf at least: a time, an id, a cursor.
const leastElement = 1 + 32 + 1

var errPage = errors.New("not a page of the tree")

// decoder takes bytes off a page. What is not there is zero, and noted.
type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) take(n int) []byte {
	if len(d.rest) < n {
		d.rest, d.bad = nil, true
		return make([]byte, n)
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.rest)
	d.bad = d.bad || n <= 0
	d.take(max(n, 0))
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.rest)
	d.bad = d.bad || n <= 0
	d.take(max(n, 0))
	return v
}

// pageKey names a page in memory.
type pageKey struct {
	tree *tree
	page uint64
}

// load returns the node behind a part. It may be called without the room's lock.
func (t *tree) load(ctx context.Context, p part) (*node, error) {
	if p.node != nil {
		return p.node, nil
	}
	cache, key := t.room.store.pages, pageKey{t, p.page}
	if n, ok := cache.Get(key); ok {
		return n, nil
	}
	t.mu.Lock()
	n := t.fresh[p.page]
	t.mu.Unlock()
	if n != nil {
		return n, nil
	}
	name := t.room.keys.page(p.page)
	b, err := t.room.store.get(ctx, name)
	if errors.Is(err, ErrNotFound) || err == nil && checksum(b) != p.check {
		return nil, fmt.Errorf("%s: %w", name, ErrDamaged)
	}
	if err != nil {
		return nil, err
	}
	if n, err = decodeNode(b); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", name, ErrDamaged, err)
	}
	cache.Add(key, n)
	return n, nil
}

// flush gives the nodes that are not on disk pages, and returns what is to be written.
// Until flushed is called, they are kept in memory.
func (t *tree) flush() (writes []write) {
	if t.root.node == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fresh == nil {
		t.fresh = make(map[uint64]*node)
	}
	t.root = t.write(t.root, &writes)
	t.edit++ // they are shared with the cache from now on
	t.dirty = 0
	return writes
}

// write gives a part a page, and those below it.
func (t *tree) write(p part, writes *[]write) part {
	n := p.node
	if n == nil {
		return p
	}
	if n.parts != nil {
		n = &node{parts: slices.Clone(n.parts)} // somebody may be looking at the other
		for i := range n.parts {
			n.parts[i] = t.write(n.parts[i], writes)
		}
	}
	b := n.encode()
	p.node, p.page, p.check = nil, t.next, checksum(b)
	t.next++
	t.fresh[p.page] = n
	t.room.store.pages.Add(pageKey{t, p.page}, n)
	*writes = append(*writes, write{key: t.room.keys.page(p.page), value: b})
	return p
}

// flushed notes that everything flush returned can be read.
func (t *tree) flushed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fresh = nil
}

// due says whether more should be written than memory is to hold.
func (t *tree) due() bool { return t.dirty >= maxDirty && !t.lost }

// treeMark is the tree in a checkpoint.
type treeMark struct {
	Root  uint64   `cbor:"1,keyasint,omitempty"` // its page, 0 where the tree is empty
	Check uint32   `cbor:"2,keyasint,omitempty"`
	Next  uint64   `cbor:"3,keyasint"`           // pages from this number on are left from a crash
	Old   []uint64 `cbor:"4,keyasint,omitempty"` // pages that nothing refers to
}

func (t *tree) checkpoint() *treeMark {
	if t.lost {
		return nil
	}
	return &treeMark{Root: t.root.page, Check: t.root.check, Next: t.next, Old: slices.Clone(t.old)}
}

// openTree returns the tree of a checkpoint. It reads the root; where that cannot be
// read, or there is none, the tree is lost.
func (r *Room) openTree(ctx context.Context, m *treeMark) (*tree, error) {
	t := &tree{room: r, edit: 1, next: 1, lost: m == nil}
	if t.lost || m.Root == 0 {
		return t, nil
	}
	t.next = m.Next
	t.root = part{page: m.Root, check: m.Check}
	n, err := t.load(ctx, t.root)
	if errors.Is(err, ErrDamaged) {
		t.lost, err = true, nil
	} else if err == nil {
		t.root = n.part()
		t.root.node, t.root.page, t.root.check = nil, m.Root, m.Check
	}
	return t, err
}
