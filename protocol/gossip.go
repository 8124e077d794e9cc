package protocol

import (
	"bytes"
	"crypto/sha256"
	"slices"
)

// Gossip is the payload of a gossip frame: events, records or chunks, in an order in
// which each comes after what it refers to.
type Gossip struct {
	List [][]byte `cbor:"1,keyasint,omitempty"`
	// Told are the tags of whom the publisher handed the frame to, and its own,
	// ascending, one after another: who knows of nobody else on the topic need not pass
	// it on. It is a hint, and absent where they are many.
	Told []byte `cbor:"2,keyasint,omitempty"`
}

// PeerTag stands for a libp2p peer in [Gossip]. Two peers have the same one so rarely
// that what gossip then passes by, sync may bring.
type PeerTag [3]byte

// TagOf returns the tag of a binary peer id.
func TagOf(peer []byte) PeerTag {
	sum := sha256.Sum256(append([]byte("p2pchat/1 told"), peer...))
	return PeerTag(sum[:])
}

// Compare orders tags.
func (t PeerTag) Compare(o PeerTag) int { return bytes.Compare(t[:], o[:]) }

// Tell notes whom a frame is handed to: all of them, or nothing if they are too many.
// The tags ascend.
func (g *Gossip) Tell(tags []PeerTag) {
	if len(tags) > MaxTold {
		return
	}
	for _, t := range tags {
		g.Told = append(g.Told, t[:]...)
	}
}

// Check says whether a frame keeps to its bounds.
func (g Gossip) Check() error {
	switch {
	case len(g.List) == 0 || len(g.List) > MaxGossip:
		return malformed("a gossip frame of %d parts: from 1 to %d", len(g.List), MaxGossip)
	case len(g.Told)%len(PeerTag{}) != 0 || len(g.Told) > MaxTold*len(PeerTag{}):
		return malformed("told is %d bytes", len(g.Told))
	case !strictlyAscending(g.told(), PeerTag.Compare):
		return malformed("told is not in ascending order")
	}
	return nil
}

func (g Gossip) told() []PeerTag {
	out := make([]PeerTag, 0, len(g.Told)/len(PeerTag{}))
	for t := range slices.Chunk(g.Told, len(PeerTag{})) {
		out = append(out, PeerTag(t))
	}
	return out
}

// Reached says whether the publisher handed a frame to all of these as well, so that
// nobody is left to pass it on to.
func (g Gossip) Reached(tags []PeerTag) bool {
	if len(g.Told) == 0 {
		return false
	}
	told := g.told()
	for _, t := range tags {
		if _, ok := slices.BinarySearchFunc(told, t, PeerTag.Compare); !ok {
			return false
		}
	}
	return true
}
