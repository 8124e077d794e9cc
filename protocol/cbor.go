package protocol

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// ErrMalformed says that bytes are not what the specification allows: not
// deterministic CBOR, a field missing, too long or out of range.
var ErrMalformed = errors.New("malformed")

// maxDepth is the deepest nesting any format has: body, clear part, list, entry.
const maxDepth = 4

var (
	encMode = must(cbor.EncOptions{
		Sort:          cbor.SortCoreDeterministic,
		ShortestFloat: cbor.ShortestFloat16,
		IndefLength:   cbor.IndefLengthForbidden,
		TagsMd:        cbor.TagsForbidden,
	}.EncMode())
	decMode = must(cbor.DecOptions{
		DupMapKey:        cbor.DupMapKeyEnforcedAPF,
		IndefLength:      cbor.IndefLengthForbidden,
		TagsMd:           cbor.TagsForbidden,
		MaxNestedLevels:  maxDepth,
		MaxArrayElements: 1 << 12,
		MaxMapPairs:      64,
		UTF8:             cbor.UTF8RejectInvalid,
	}.DecMode())
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // options are constants: this fails at the first run of any test or not at all
	}
	return v
}

// marshal encodes v as deterministic CBOR (RFC 8949 §4.2.1). The types of this
// package always encode.
func marshal(v any) []byte { return must(encMode.Marshal(v)) }

// unmarshal decodes strictly: what decodes re-encodes to the same bytes, so
// there is one encoding of everything and unknown fields are an error.
func unmarshal(data []byte, v any) error {
	if err := decMode.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%w: %v", ErrMalformed, err)
	}
	again, err := encMode.Marshal(v)
	if err != nil || !bytes.Equal(again, data) {
		return fmt.Errorf("%w: not deterministic CBOR, or a field this version does not know", ErrMalformed)
	}
	return nil
}

// canonical checks a value whose meaning is not known here: it is kept as it
// came, and must be deterministic CBOR too.
func canonical(raw []byte) error {
	var v any
	return unmarshal(raw, &v)
}
