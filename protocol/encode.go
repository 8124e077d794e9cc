package protocol

import "encoding/binary"

// Events are encoded by hand: it is what receiving and sending many of them at once
// spends its time with, besides signatures. A test holds it to what the CBOR library
// makes of the same structs.

// CBOR major types, and null.
const (
	cborUint  = 0 << 5
	cborBytes = 2 << 5
	cborText  = 3 << 5
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

// appendUint and appendField append a field of a map.
func appendUint(dst []byte, key, n uint64) []byte {
	return appendHead(appendHead(dst, cborUint, key), cborUint, n)
}

func appendField(dst []byte, key uint64, b []byte) []byte {
	return appendBytes(appendHead(dst, cborUint, key), b)
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
	dst = appendHead(dst, cborMap, uint64(h.fields()))
	dst = appendUint(dst, 1, h.V)
	if h.Exp != 0 {
		dst = appendUint(dst, 2, h.Exp)
	}
	dst = appendUint(dst, 3, uint64(h.Kind))
	dst = appendField(dst, 5, h.Dev[:])
	dst = appendUint(dst, 7, uint64(h.Chain))
	dst = appendUint(dst, 9, h.Seq)
	if !h.Prev.IsZero() {
		dst = appendField(dst, 11, h.Prev[:])
	}
	if len(h.Refs) > 0 {
		dst = appendHead(appendHead(dst, cborUint, 13), cborArray, uint64(len(h.Refs)))
		for i := range h.Refs {
			dst = appendBytes(dst, h.Refs[i][:])
		}
	}
	if !h.Auth.IsZero() {
		dst = appendField(dst, 15, h.Auth[:])
	}
	dst = appendUint(dst, 17, h.HLC)
	if h.Epoch != (EpochTag{}) {
		dst = appendField(dst, 19, h.Epoch[:])
	}
	if h.Step != 0 {
		dst = appendUint(dst, 21, uint64(h.Step))
	}
	if h.N != [16]byte{} {
		dst = appendField(dst, 23, h.N[:])
	}
	dst = appendUint(dst, 25, uint64(h.BodyLen))
	if !h.BodyHash.IsZero() {
		dst = appendField(dst, 27, h.BodyHash[:])
	}
	if !h.To.IsZero() {
		dst = appendField(dst, 29, h.To[:])
	}
	return dst
}
