package protocol

import "encoding/binary"

// Events are encoded by hand: it is what receiving and sending many of them at once
// spends its time with, besides signatures. A test holds it to what the CBOR library
// makes of the same structs.

// CBOR major types, and null.
const (
	cborUint  = 0 << 5
	cborBytes = 2 << 5
	cborArray = 4 << 5
	cborMap   = 5 << 5
	cborNull  = 0xf6
)

// appendHead appends the head of a CBOR item: a major type and a number.
func appendHead(dst []byte, major byte, n uint64) []byte {
	switch {
	case n < 24:
		return append(dst, major|byte(n))
	case n < 1<<8:
		return append(dst, major|24, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, major|25), uint16(n))
	case n < 1<<32:
		return binary.BigEndian.AppendUint32(append(dst, major|26), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, major|27), n)
}

func appendBytes(dst, b []byte) []byte {
	return append(appendHead(dst, cborBytes, uint64(len(b))), b...)
}

// appendBytesOrNull writes null for nil, which is not the same as no bytes.
func appendBytesOrNull(dst, b []byte) []byte {
	if b == nil {
		return append(dst, cborNull)
	}
	return appendBytes(dst, b)
}

// fieldWriter writes the fields of a map.
type fieldWriter []byte

func (w *fieldWriter) uint(key, n uint64) {
	*w = appendHead(appendHead(*w, cborUint, key), cborUint, n)
}

func (w *fieldWriter) bytes(key uint64, b []byte) {
	*w = appendBytes(appendHead(*w, cborUint, key), b)
}

// fields counts the fields that are written.
func (h *Header) fields() int {
	n := 7 // v, kind, dev, chain, seq, hlc, body_len are always there
	for _, there := range [...]bool{
		h.Exp != 0, !h.Prev.IsZero(), len(h.Refs) > 0, !h.Auth.IsZero(), h.Epoch != EpochTag{}, h.Step != 0,
		h.N != [16]byte{}, !h.BodyHash.IsZero(), !h.To.IsZero(),
	} {
		if there {
			n++
		}
	}
	return n
}

// appendPlain appends the encoding of a header without extensions.
func (h *Header) appendPlain(dst []byte) []byte {
	w := fieldWriter(appendHead(dst, cborMap, uint64(h.fields())))
	w.uint(1, h.V)
	if h.Exp != 0 {
		w.uint(2, h.Exp)
	}
	w.uint(3, uint64(h.Kind))
	w.bytes(5, h.Dev[:])
	w.uint(7, uint64(h.Chain))
	w.uint(9, h.Seq)
	if !h.Prev.IsZero() {
		w.bytes(11, h.Prev[:])
	}
	if len(h.Refs) > 0 {
		w = appendHead(appendHead(w, cborUint, 13), cborArray, uint64(len(h.Refs)))
		for i := range h.Refs {
			w = appendBytes(w, h.Refs[i][:])
		}
	}
	if !h.Auth.IsZero() {
		w.bytes(15, h.Auth[:])
	}
	w.uint(17, h.HLC)
	if h.Epoch != (EpochTag{}) {
		w.bytes(19, h.Epoch[:])
	}
	if h.Step != 0 {
		w.uint(21, uint64(h.Step))
	}
	if h.N != [16]byte{} {
		w.bytes(23, h.N[:])
	}
	w.uint(25, uint64(h.BodyLen))
	if !h.BodyHash.IsZero() {
		w.bytes(27, h.BodyHash[:])
	}
	if !h.To.IsZero() {
		w.bytes(29, h.To[:])
	}
	return w
}
