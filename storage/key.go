package storage

import (
	"encoding/base64"
	"encoding/binary"
	"math/bits"
	"strings"

	"github.com/p2pchat/p2pchat/protocol"
)

// alphabet is base64 in ASCII order, so that text sorts as the bytes it stands
// for, and none of it means anything to a path.
const alphabet = "-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"

var text64 = base64.NewEncoding(alphabet).WithPadding(base64.NoPadding)

const versionKey = "/p2pchat"

// Lengths in characters of what keys carry in part.
const (
	groupLen = 16 // 12 bytes of a group's id; the checkpoint holds all of it
	idLen    = 12 // 9 bytes of an event's id; the reader compares all of it
)

// appendOrdinal writes n so that text sorts as the number: how many digits, then
// the digits.
func appendOrdinal(dst []byte, n uint64) []byte {
	digits := (bits.Len64(n) + 5) / 6
	dst = append(dst, alphabet[digits])
	for i := digits - 1; i >= 0; i-- {
		dst = append(dst, alphabet[n>>(6*i)&63])
	}
	return dst
}

// parseOrdinal reads a number and returns what follows it.
func parseOrdinal(s string) (n uint64, rest string, ok bool) {
	if s == "" {
		return 0, s, false
	}
	digits := strings.IndexByte(alphabet, s[0])
	if digits < 0 || digits > 11 || len(s) < 1+digits {
		return 0, s, false
	}
	for _, c := range []byte(s[1 : 1+digits]) {
		d := strings.IndexByte(alphabet, c)
		if d < 0 {
			return 0, s, false
		}
		n = n<<6 | uint64(d)
	}
	return n, s[1+digits:], true
}

// appendText writes bytes as text that sorts like them.
func appendText(dst, b []byte) []byte { return text64.AppendEncode(dst, b) }

// keys makes the keys of one room.
type keys struct{ group string }

func newKeys(group protocol.ID) keys { return keys{string(appendText(nil, group[:12]))} }

func (k keys) start(space byte, size int) []byte {
	b := make([]byte, 0, 4+groupLen+size)
	b = append(b, '/', space, '/')
	b = append(b, k.group...)
	return append(b, '/')
}

// prefix is what all of a room's keys of one space begin with.
func (k keys) prefix(space byte) string { return "/" + string(space) + "/" + k.group }

func (k keys) checkpoint() string { return k.prefix('g') }

// bucketSize is how many cursors share a bucket of the log: a page that begins
// in the middle of one reads over the rest of it.
const bucketSize = 64

func (k keys) bucket(cursor uint64) string {
	return string(appendOrdinal(k.start('e', 8), cursor/bucketSize))
}

func (k keys) log(cursor uint64) string {
	b := appendOrdinal(k.start('e', 12), cursor/bucketSize)
	return string(append(b, '/', alphabet[cursor%bucketSize]))
}

func (k keys) parseLog(key string) (cursor uint64, ok bool) {
	rest, ok := strings.CutPrefix(key, k.prefix('e')+"/")
	if !ok {
		return 0, false
	}
	n, rest, ok := parseOrdinal(rest)
	if !ok || len(rest) != 2 || rest[0] != '/' {
		return 0, false
	}
	low := strings.IndexByte(alphabet, rest[1])
	return n*bucketSize + uint64(low), low >= 0
}

func (k keys) id(id protocol.ID) string {
	return string(appendText(k.start('i', idLen), id[:9]))
}

func (k keys) place(p place) string {
	b := appendText(k.start('c', 56), p.dev[:])
	b = append(b, alphabet[p.chain])
	return string(appendOrdinal(b, p.seq/placesShared))
}

func (k keys) control(cursor uint64) string {
	return string(appendOrdinal(k.start('k', 8), cursor))
}

func (k keys) parseControl(key string) (cursor uint64, ok bool) { return k.parseCursor('k', key) }

func (k keys) mark(cursor uint64) string {
	return string(appendOrdinal(k.start('t', 8), cursor))
}

// opening is the key that says that an entry came before the one it links to.
func (k keys) opening(cursor uint64) string {
	return string(appendOrdinal(k.start('w', 8), cursor))
}

func (k keys) parseOpening(key string) (cursor uint64, ok bool) { return k.parseCursor('w', key) }

// reserved is the key of the cursor up to which none is given out after a crash.
func (k keys) reserved() string { return k.prefix('r') }

// page is the key of a page of the tree.
func (k keys) page(n uint64) string {
	return string(appendOrdinal(k.start('o', 8), n))
}

func (k keys) parsePage(key string) (n uint64, ok bool) { return k.parseCursor('o', key) }

func (k keys) parseMark(key string) (cursor uint64, ok bool) { return k.parseCursor('t', key) }

// parseCursor reads a key that is a cursor in a space.
func (k keys) parseCursor(space byte, key string) (cursor uint64, ok bool) {
	rest, ok := strings.CutPrefix(key, k.prefix(space)+"/")
	if !ok {
		return 0, false
	}
	n, rest, ok := parseOrdinal(rest)
	return n, ok && rest == ""
}

// about is what the keys of all events about a target begin with.
func (k keys) about(target protocol.ID) string {
	return string(appendText(k.start('a', idLen), target[:9]))
}

func (k keys) aboutBy(target protocol.ID, cursor uint64) string {
	b := appendText(k.start('a', idLen+8), target[:9])
	return string(appendOrdinal(append(b, '/'), cursor))
}

func (k keys) parseAbout(key string) (t Target, cursor uint64, ok bool) {
	rest, ok := strings.CutPrefix(key, k.prefix('a')+"/")
	if !ok || len(rest) < idLen+2 || rest[idLen] != '/' {
		return t, 0, false
	}
	b, err := text64.DecodeString(rest[:idLen])
	if err != nil {
		return t, 0, false
	}
	cursor, rest, ok = parseOrdinal(rest[idLen+1:])
	return Target(b), cursor, ok && rest == ""
}

func (k keys) forks(c chainKey) string {
	b := appendText(k.start('f', 44), c.dev[:])
	return string(append(b, alphabet[c.chain]))
}

func (k keys) record(dev protocol.Key, t protocol.RecordType) string {
	b := appendText(k.start('n', 48), dev[:])
	return string(appendOrdinal(b, uint64(t)))
}

// encodeCursors is the value of an index that names log entries.
func encodeCursors(list ...uint64) []byte {
	var b []byte
	for _, c := range list {
		b = binary.AppendUvarint(b, c)
	}
	return b
}

// decodeCursors reads as many as it can: an index is a hint.
func decodeCursors(b []byte) []uint64 {
	var list []uint64
	for len(b) > 0 && len(list) < 2*maxPlace {
		c, n := binary.Uvarint(b)
		if n <= 0 {
			break
		}
		list = append(list, c)
		b = b[n:]
	}
	return list
}
