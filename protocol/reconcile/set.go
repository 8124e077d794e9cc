// Package reconcile finds out what two sets do not have in common, in few round trips
// and few bytes: range-based set reconciliation (Aljoscha Meyer, 2023) as Negentropy
// protocol v1 puts it on the wire. It knows nothing of events, peers or disks.
package reconcile

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math/bits"
)

// ID identifies an item.
type ID = [32]byte

// Item is an element of a set.
type Item struct {
	Time uint64 // of messages: the hybrid logical clock, in milliseconds
	ID   ID
}

// Compare orders items by time, then id.
func (a Item) Compare(b Item) int {
	return cmp.Or(cmp.Compare(a.Time, b.Time), bytes.Compare(a.ID[:], b.ID[:]))
}

// Next returns the first item that is after a.
func (a Item) Next() Item {
	for i := len(a.ID) - 1; i >= 0; i-- {
		if a.ID[i]++; a.ID[i] != 0 {
			return a
		}
	}
	return Item{Time: a.Time + 1}
}

// Sum is a sum of ids, as little-endian numbers modulo 2^256: the least word first. The
// zero value is the sum of nothing.
type Sum [4]uint64

// SumOf returns the sum of one id.
func SumOf(id ID) (s Sum) {
	for i := range s {
		s[i] = binary.LittleEndian.Uint64(id[8*i:])
	}
	return s
}

// Plus returns s + o.
func (s Sum) Plus(o Sum) Sum {
	var carry uint64
	for i := range s {
		s[i], carry = bits.Add64(s[i], o[i], carry)
	}
	return s
}

// Minus returns s - o.
func (s Sum) Minus(o Sum) Sum {
	var borrow uint64
	for i := range s {
		s[i], borrow = bits.Sub64(s[i], o[i], borrow)
	}
	return s
}

// Bytes returns the sum as it is on the wire.
func (s Sum) Bytes() (b [32]byte) {
	for i, word := range s {
		binary.LittleEndian.PutUint64(b[8*i:], word)
	}
	return b
}

// Set is what one side holds: items in ascending order, numbered from 0. It does not
// change while it is being looked at.
type Set interface {
	// Len returns how many items there are.
	Len() int
	// Find returns the number of the first item that is not before an item, which need
	// not be in the set; Len if there is none.
	Find(Item) (int, error)
	// Sum returns the sum of the ids of the items from one number up to, not including,
	// another.
	Sum(from, to int) (Sum, error)
	// Items visits the items from one number up to, not including, another, in ascending
	// order, until visit returns an error.
	Items(from, to int, visit func(Item) error) error
}
