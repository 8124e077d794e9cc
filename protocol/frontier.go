package protocol

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/p2pchat/p2pchat/protocol/reconcile"
)

// Frontier is the value of a frontier record: what a device has stored, as prints of
// the messages of consecutive spans of time. Who holds messages with the same print
// knows that the device has every one of them, and nobody learns anything else.
type Frontier struct {
	Spans []FrontierSpan `cbor:"1,keyasint,omitempty"`
}

// FrontierSpan is the messages with a lower hlc than Before that are in no span before
// it.
type FrontierSpan struct {
	Before uint64   `cbor:"1,keyasint"`
	Print  [16]byte `cbor:"3,keyasint"` // see [FrontierPrint]
}

// FrontierPrint returns the print of messages: of how many there are, and of the sum of
// their ids.
func FrontierPrint(sum reconcile.Sum, count int) [16]byte {
	b := []byte("p2pchat/1 frontier")
	for _, word := range sum {
		b = binary.LittleEndian.AppendUint64(b, word)
	}
	b = binary.BigEndian.AppendUint64(b, uint64(count))
	h := sha256.Sum256(b)
	return [16]byte(h[:])
}

// Value returns the value of a record of the frontier.
func (f Frontier) Value() []byte { return marshal(f) }

// Frontier reads the value of a frontier record.
func (r Record) Frontier() (Frontier, error) {
	var f Frontier
	if r.Type != RecordFrontier {
		return f, malformed("a record of type %d is no frontier", r.Type)
	}
	if err := unmarshal(r.Value, &f); err != nil {
		return Frontier{}, fmt.Errorf("frontier: %w", err)
	}
	if len(f.Spans) > MaxFrontierSpans {
		return Frontier{}, fmt.Errorf("frontier: %d spans: %w: at most %d", len(f.Spans), ErrTooLarge, MaxFrontierSpans)
	}
	last := uint64(0)
	for _, s := range f.Spans {
		if s.Before <= last || s.Before > MaxHLC {
			return Frontier{}, malformed("a frontier's span ends at %d, the one before at %d", s.Before, last)
		}
		last = s.Before
	}
	return f, nil
}
