package protocol

import (
	"encoding/binary"
	"math"
)

// Nearly all events have no extensions, and are decoded by hand as they are encoded: every
// event that comes in or is read costs it. What is not exactly what [Event.Encode] makes
// of such an event is left to the CBOR library, which says what it is. A test holds the
// one to the other.

// decodePlain reads an event without extensions. That its fields make sense is for
// [Event.check]. The event refers to data.
func decodePlain(data []byte) (e Event, ok bool) {
	r := fieldReader{in: data}
	r.bad = r.head(cborArray) != 4
	r.header(&e.Header)
	r.fixed(e.Sig[:])
	e.Body, e.Sealed = r.bytesOrNull(), r.bytesOrNull()
	return e, !r.bad && len(r.in) == 0
}

// fieldReader reads an event from its bytes. At what is not in the form that encoding makes
// it turns bad, and reads zeros from then on.
type fieldReader struct {
	in   []byte
	keys uint64 // read so far
	bad  bool
}

// header is [Header.appendPlain] backwards.
func (r *fieldReader) header(h *Header) {
	fields := r.head(cborMap)
	h.V = r.uint(1, math.MaxUint64)
	if r.has(2) {
		h.Exp = r.head(cborUint)
	}
	h.Kind = Kind(r.uint(3, math.MaxUint16))
	r.bytes(5, h.Dev[:])
	h.Chain = Chain(r.uint(7, math.MaxUint8))
	h.Seq = r.uint(9, math.MaxUint64)
	if r.has(11) {
		r.fixed(h.Prev[:])
	}
	if r.has(13) {
		h.Refs = r.ids()
	}
	if r.has(15) {
		r.fixed(h.Auth[:])
	}
	h.HLC = r.uint(17, math.MaxUint64)
	if r.has(19) {
		r.fixed(h.Epoch[:])
	}
	if r.has(21) {
		h.Step = uint32(r.number(math.MaxUint32))
	}
	if r.has(23) {
		r.fixed(h.N[:])
	}
	h.BodyLen = uint32(r.uint(25, math.MaxUint32))
	if r.has(27) {
		r.fixed(h.BodyHash[:])
	}
	if r.has(29) {
		r.fixed(h.To[:])
	}
	// A zero that is there instead of left out is among the keys and not among the fields.
	r.bad = r.bad || r.keys != fields || uint64(h.fields()) != fields
}

// has reads a key, if it is the next.
func (r *fieldReader) has(key byte) bool {
	size := 1
	if key >= 24 {
		size = 2
	}
	if r.bad || len(r.in) < size || r.in[size-1] != key || size == 2 && r.in[0] != cborUint|24 {
		return false
	}
	r.in = r.in[size:]
	r.keys++
	return true
}

// uint reads a field that is always there.
func (r *fieldReader) uint(key byte, most uint64) uint64 {
	r.bad = r.bad || !r.has(key)
	return r.number(most)
}

func (r *fieldReader) bytes(key byte, dst []byte) {
	r.bad = r.bad || !r.has(key)
	r.fixed(dst)
}

func (r *fieldReader) number(most uint64) uint64 {
	n := r.head(cborUint)
	if n > most {
		r.bad = true
		return 0
	}
	return n
}

// head reads the head of an item, which has to be of a major type and as short as can be.
func (r *fieldReader) head(major byte) uint64 {
	if r.bad || len(r.in) == 0 || r.in[0]&^0x1f != major {
		r.bad = true
		return 0
	}
	short, rest := uint64(r.in[0]&0x1f), r.in[1:]
	if short < 24 {
		r.in = rest
		return short
	}
	size := 1 << (short - 24)
	if short > 27 || len(rest) < size {
		r.bad = true
		return 0
	}
	var full [8]byte
	copy(full[8-size:], rest[:size])
	n := binary.BigEndian.Uint64(full[:])
	r.in = rest[size:]
	r.bad = size == 1 && n < 24 || size > 1 && n>>(4*size) == 0
	return n
}

// fixed reads a byte string of the length of dst.
func (r *fieldReader) fixed(dst []byte) {
	if r.head(cborBytes) != uint64(len(dst)) || len(r.in) < len(dst) {
		r.bad = true
		return
	}
	r.in = r.in[copy(dst, r.in):]
}

// bytesOrNull reads null as nil, and returns a part of what is read.
func (r *fieldReader) bytesOrNull() []byte {
	if len(r.in) > 0 && r.in[0] == cborNull {
		r.in = r.in[1:]
		return nil
	}
	n := r.head(cborBytes)
	if r.bad || n > uint64(len(r.in)) {
		r.bad = true
		return nil
	}
	b := r.in[:n:n]
	r.in = r.in[n:]
	return b
}

func (r *fieldReader) ids() []ID {
	n := r.head(cborArray)
	if n > uint64(len(r.in)/len(ID{})) { // a stranger's number
		r.bad = true
		return nil
	}
	list := make([]ID, n)
	for i := range list {
		r.fixed(list[i][:])
	}
	return list
}
