package protocol

import "math/bits"

// padmeLen returns the length that n is padded to: Padmé ("Reducing Metadata
// Leakage from Encrypted Files and Communication with PURBs", 2019), which
// reveals O(log log n) bits of the length at a cost of at most 12 %.
func padmeLen(n int) int {
	if n < 2 {
		return n
	}
	e := bits.Len(uint(n)) - 1
	s := bits.Len(uint(e))
	mask := 1<<(e-s) - 1
	return (n + mask) &^ mask
}

// pad appends 0x80 and zeros up to the Padmé length (ISO/IEC 7816-4).
func pad(b []byte) []byte {
	out := make([]byte, padmeLen(len(b)+1), padmeLen(len(b)+1)+gcmOverhead)
	copy(out, b)
	out[len(b)] = 0x80
	return out
}

// unpad takes the padding off, and refuses what pad would not have made.
func unpad(b []byte) ([]byte, error) {
	for i := len(b) - 1; i >= 0; i-- {
		switch b[i] {
		case 0:
			continue
		case 0x80:
			if padmeLen(i+1) == len(b) {
				return b[:i], nil
			}
		}
		break
	}
	return nil, malformed("padding")
}
