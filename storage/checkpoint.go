package storage

import (
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"github.com/p2pchat/p2pchat/protocol"
)

// checkpoint says where a room stood at a cursor. It is one value, so that it is
// there wholly or not at all, and it speaks only of what an earlier Sync made
// durable, indexes included: whatever lies before it needs no second look.
type checkpoint struct {
	Group  protocol.ID `cbor:"1,keyasint"`
	Cursor uint64      `cbor:"2,keyasint"`
	Count  uint64      `cbor:"3,keyasint"`
	Chains []chainMark `cbor:"4,keyasint"`
	Tree   *treeMark   `cbor:"5,keyasint,omitempty"` // nil where it has to be made from the log

	room *Room
	key  string
	tree *tree
	lost bool // there was one, and it cannot be read
}

// chainMark is a chain in a checkpoint.
type chainMark struct {
	Dev   protocol.Key   `cbor:"1,keyasint"`
	Chain protocol.Chain `cbor:"2,keyasint"`
	Tips  []tip          `cbor:"3,keyasint"`
	Holes []span         `cbor:"4,keyasint,omitempty"`
	Wants []want         `cbor:"5,keyasint,omitempty"`
	Falls []uint64       `cbor:"6,keyasint,omitempty"`
}

func (c *checkpoint) write() write {
	b, err := cbor.Marshal(c)
	if err != nil {
		panic(err) // fixed types always encode
	}
	return write{key: c.key, value: b}
}

func decodeCheckpoint(key string, b []byte) (*checkpoint, error) {
	c := new(checkpoint)
	if err := cbor.Unmarshal(b, c); err != nil {
		return nil, fmt.Errorf("%s: %w: %v", key, ErrDamaged, err)
	}
	return c, nil
}

// checkpoint describes what is committed, and what has to be on disk before it is
// written. The caller holds mu.
func (r *Room) checkpoint() (c *checkpoint, pages []write) {
	c = &checkpoint{Group: r.group, Cursor: r.committed.cursor, Count: r.committed.count, room: r, key: r.keys.checkpoint()}
	for k, h := range r.durable {
		c.Chains = append(c.Chains, chainMark{k.dev, k.chain, h.tips, h.holes, h.wants, h.falls})
	}
	r.plant()
	if !r.tree.lost {
		pages = r.tree.flush()
	}
	c.tree, c.Tree = r.tree, r.tree.checkpoint()
	return c, pages
}

// dueCheckpoint returns what the next batch should write down: pages of the tree, and
// with the batch after those the checkpoint that refers to them, which it returns when
// it is written.
func (r *Room) dueCheckpoint() (c *checkpoint, writes []write) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.dueLocked() {
		return nil, nil
	}
	if c = r.frozen; c == nil {
		var pages []write
		if c, pages = r.checkpoint(); len(pages) > 0 {
			r.frozen = c
			return nil, pages
		}
	}
	r.frozen = nil
	return c, []write{c.write()}
}

// checkpoints says whether the next batch takes part in making a checkpoint.
func (r *Room) checkpoints() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dueLocked()
}

func (r *Room) dueLocked() bool { return r.frozen != nil || r.due() }

// due says whether it is time for a checkpoint.
func (r *Room) due() bool {
	return !r.exists || r.sinceMark > checkpointBytes || r.tree.due() ||
		r.committed.cursor-r.mark >= max(checkpointEvents, uint64(4*len(r.durable)))
}

// marked notes that a checkpoint is durable.
func (r *Room) marked(c *checkpoint) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.exists, r.mark, r.sinceMark = true, c.Cursor, 0
	n := 0
	for ; n < len(r.openings) && r.openings[n] <= c.Cursor; n++ {
		r.swept = append(r.swept, write{key: r.keys.opening(r.openings[n]), del: true})
	}
	r.openings = r.openings[n:]
	if c.Tree != nil && c.tree == r.tree && r.views == 0 { // or somebody may need them still
		r.sweepPages(c.Tree.Old)
		r.tree.old = r.tree.old[len(c.Tree.Old):]
	}
}

// sweepPages deletes pages with the next batch. The caller holds mu.
func (r *Room) sweepPages(old []uint64) {
	for _, n := range old {
		r.swept = append(r.swept, write{key: r.keys.page(n), del: true})
	}
}

// sweep returns what a checkpoint made superfluous, once.
func (r *Room) sweep() []write {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := r.swept
	r.swept = nil
	return list
}

// finalCheckpoints lets the next open begin where this one ended. One that fails
// costs the next open some reading, nothing else.
func (s *Store) finalCheckpoints() {
	for _, r := range s.rooms {
		r.mu.Lock()
		var c *checkpoint
		var pages, end []write
		if r.broken == nil && max(r.committed.cursor, r.reserved) > r.mark {
			c, pages = r.checkpoint()
			end = []write{c.write(), {key: r.keys.reserved(), value: encodeCursors(c.Cursor)}}
		}
		r.mu.Unlock()
		if c != nil && s.write(pages) == nil && s.write(end, r.sweep()) == nil {
			r.marked(c)
		}
	}
}
