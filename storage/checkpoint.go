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

	room *Room
	key  string
	lost bool // there was one, and it cannot be read
}

// chainMark is a chain in a checkpoint.
type chainMark struct {
	Dev   protocol.Key   `cbor:"1,keyasint"`
	Chain protocol.Chain `cbor:"2,keyasint"`
	Tips  []tip          `cbor:"3,keyasint"`
	Holes []span         `cbor:"4,keyasint,omitempty"`
	Wants []want         `cbor:"5,keyasint,omitempty"`
	Back  bool           `cbor:"6,keyasint,omitempty"`
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

// checkpoint describes what is committed. The caller holds mu.
func (r *Room) checkpoint() *checkpoint {
	c := &checkpoint{Group: r.group, Cursor: r.committed.cursor, Count: r.committed.count, room: r, key: r.keys.checkpoint()}
	for k, h := range r.durable {
		c.Chains = append(c.Chains, chainMark{k.dev, k.chain, h.tips, h.holes, h.wants, h.back})
	}
	return c
}

// dueCheckpoint returns what the next batch should write down, nil if nothing. Not
// while a display change waits: opening would not know that it has to be redone.
func (r *Room) dueCheckpoint() *checkpoint {
	r.mu.Lock()
	defer r.mu.Unlock()
	due := !r.exists ||
		r.committed.cursor-r.mark >= max(checkpointEvents, uint64(4*len(r.durable))) ||
		r.sinceMark > checkpointBytes
	if !due || r.lowering > 0 {
		return nil
	}
	return r.checkpoint()
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
}

// finalCheckpoints lets the next open begin where this one ended. One that fails
// costs the next open some reading, nothing else.
func (s *Store) finalCheckpoints() {
	for _, r := range s.rooms {
		r.mu.Lock()
		var c *checkpoint
		if r.broken == nil && r.lowering == 0 && r.committed.cursor > r.mark {
			c = r.checkpoint()
		}
		r.mu.Unlock()
		if c != nil && s.write([]write{c.write()}) == nil {
			r.marked(c)
		}
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
