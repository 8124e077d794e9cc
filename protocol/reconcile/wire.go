package reconcile

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// ErrMalformed says that a message is not what Negentropy protocol v1 allows, or that an
// answer does not belong to what was asked.
var ErrMalformed = errors.New("malformed comparison")

// version opens every message: Negentropy protocol v1.
const version = 0x61

// What is said of a range.
const (
	modeSkip        = 0 // nothing
	modeFingerprint = 1
	modeList        = 2 // all ids in it
)

// Fingerprint stands for the items of a range: the first half of SHA-256 over their sum
// (little-endian) and their number (a varint).
type Fingerprint [16]byte

// FingerprintOf returns the fingerprint of the items from one number up to, not
// including, another.
func FingerprintOf(set Set, from, to int) (Fingerprint, error) {
	sum, err := set.Sum(from, to)
	if err != nil {
		return Fingerprint{}, err
	}
	buf := make([]byte, 0, 48)
	for _, word := range sum {
		buf = binary.LittleEndian.AppendUint64(buf, word)
	}
	whole := sha256.Sum256(appendVarint(buf, uint64(to-from)))
	return Fingerprint(whole[:16]), nil
}

// Infinity returns what is after every item.
func Infinity() Item { return Item{Time: math.MaxUint64} }

// bound is where a range ends and the next begins: an item, of whose id only the first
// n bytes, which tell it from its predecessor, are on the wire. The others are 0.
type bound struct {
	Item
	n int
}

// boundOf returns the shortest bound that an item stands for.
func boundOf(item Item) bound {
	b := bound{item, len(item.ID)}
	for b.n > 0 && item.ID[b.n-1] == 0 {
		b.n--
	}
	return b
}

// between returns the shortest bound after a and not after b, its successor.
func between(a, b Item) bound {
	if a.Time != b.Time {
		return bound{Item{Time: b.Time}, 0}
	}
	n := 0
	for n < len(a.ID)-1 && a.ID[n] == b.ID[n] {
		n++
	}
	short := bound{Item{Time: b.Time}, n + 1}
	copy(short.ID[:short.n], b.ID[:])
	return short
}

func (b bound) before(o bound) bool { return b.Compare(o.Item) < 0 }

// appendVarint appends n in base 128, the most significant digit first.
func appendVarint(dst []byte, n uint64) []byte {
	var digits [10]byte
	at := len(digits) - 1
	digits[at] = byte(n & 0x7f)
	for n >>= 7; n != 0; n >>= 7 {
		at--
		digits[at] = byte(n&0x7f) | 0x80
	}
	return append(dst, digits[at:]...)
}

// writer makes a message. Each range begins where the one before it ended.
type writer struct {
	out  []byte
	time uint64 // of the last bound: times are told as differences
	upto bound  // the end of the last range
}

func newWriter() writer { return writer{out: []byte{version}} }

func (w *writer) begin(to bound, mode byte) {
	if to.Time == math.MaxUint64 {
		w.out = append(w.out, 0, 0)
	} else {
		w.out = appendVarint(w.out, to.Time-w.time+1)
		w.out = append(appendVarint(w.out, uint64(to.n)), to.ID[:to.n]...)
	}
	w.out = append(w.out, mode)
	w.time, w.upto = to.Time, to
}

// skip says nothing of what lies before a bound.
func (w *writer) skip(to bound) {
	if w.upto.before(to) {
		w.begin(to, modeSkip)
	}
}

func (w *writer) fingerprint(to bound, f Fingerprint) {
	w.begin(to, modeFingerprint)
	w.out = append(w.out, f[:]...)
}

// list writes the ids of a set from one number up to another.
func (w *writer) list(to bound, set Set, lo, hi int) error {
	w.begin(to, modeList)
	w.out = appendVarint(w.out, uint64(hi-lo))
	return set.Items(lo, hi, func(item Item) error {
		w.out = append(w.out, item.ID[:]...)
		return nil
	})
}

// stretch is a range of a message and what is said of it.
type stretch struct {
	from, to    bound
	mode        byte
	fingerprint Fingerprint
	ids         []byte // 32 bytes each
}

// reader reads a message. Ranges ascend, so that a message of n bytes cannot make
// anybody look at more than all items once, or at more than n/2 ranges.
type reader struct {
	in   []byte
	time uint64
	upto bound
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
}

func (r *reader) take(n uint64) ([]byte, error) {
	if n > uint64(len(r.in)) {
		return nil, malformed("it ends early")
	}
	taken := r.in[:n]
	r.in = r.in[n:]
	return taken, nil
}

func (r *reader) varint() (uint64, error) {
	var n uint64
	for i := 0; ; i++ {
		b, err := r.take(1)
		switch {
		case err != nil:
			return 0, err
		case i == 0 && b[0] == 0x80 || n > math.MaxUint64>>7:
			return 0, malformed("a number with leading zeros, or too large")
		}
		n = n<<7 | uint64(b[0]&0x7f)
		if b[0] < 0x80 {
			return n, nil
		}
	}
}

func (r *reader) bound() (bound, error) {
	delta, err := r.varint()
	if err != nil {
		return bound{}, err
	}
	n, err := r.varint()
	if err != nil {
		return bound{}, err
	}
	b := bound{Infinity(), int(min(n, 1<<10))}
	if delta > 0 {
		if b.Time = r.time + delta - 1; b.Time < r.time || b.Time == math.MaxUint64 {
			return b, malformed("a time that is too large")
		}
	}
	prefix, err := r.take(n)
	switch {
	case err != nil:
		return b, err
	case b.n > len(b.ID) || delta == 0 && b.n > 0:
		return b, malformed("a bound with %d bytes of an id", b.n)
	}
	copy(b.ID[:], prefix)
	if !r.upto.before(b) {
		return b, malformed("a range that ends where it begins, or before")
	}
	return b, nil
}

// next returns the next range. Callers look at whether anything is left.
func (r *reader) next() (stretch, error) {
	s := stretch{from: r.upto}
	var err error
	if s.to, err = r.bound(); err != nil {
		return s, err
	}
	r.time, r.upto = s.to.Time, s.to
	mode, err := r.varint()
	if err != nil {
		return s, err
	}
	var rest []byte
	switch s.mode = byte(min(mode, 0xff)); s.mode {
	case modeSkip:
	case modeFingerprint:
		if rest, err = r.take(uint64(len(s.fingerprint))); err == nil {
			s.fingerprint = Fingerprint(rest)
		}
	case modeList:
		s.ids, err = r.ids()
	default:
		err = malformed("mode %d", mode)
	}
	return s, err
}

func (r *reader) ids() ([]byte, error) {
	n, err := r.varint()
	if err != nil {
		return nil, err
	}
	if n > uint64(len(r.in)/len(ID{})) {
		return nil, malformed("a list of %d ids in %d bytes", n, len(r.in))
	}
	return r.take(n * uint64(len(ID{})))
}
