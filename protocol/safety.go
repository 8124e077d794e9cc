package protocol

import (
	"bytes"
	"crypto/sha512"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Safety numbers are how two people make sure that each has the other's key, and nobody
// between them: both see the same digits, and compare them by voice or by camera.

// ErrBadSafety says that a text is no safety number.
var ErrBadSafety = errors.New("not a safety number: it has 12 groups of 5 digits")

// SafetyScheme is what a safety number in a QR code begins with.
const SafetyScheme = "P2PCHAT-VERIFY:"

const (
	safetyGroups = 12
	safetyDigits = 5
)

// SafetyNumber is that of two identities in a group, the same in either order: 60
// digits, 199 bits of SHA-512. Who wants to stand between two people has to find keys of
// which the numbers agree.
func SafetyNumber(group ID, a, b Key) string {
	if bytes.Compare(a[:], b[:]) > 0 {
		a, b = b, a
	}
	sum := sha512.Sum512(slices.Concat([]byte("p2pchat/1 safety"), group[:], a[:], b[:]))
	var out strings.Builder
	for i := range safetyGroups {
		n := uint64(0)
		for _, x := range sum[5*i : 5*i+5] {
			n = n<<8 | uint64(x)
		}
		fmt.Fprintf(&out, "%05d", n%100_000)
	}
	return out.String()
}

// ParseSafety reads a safety number as people type it, with or without spaces, and as a
// camera reads it from a QR code.
func ParseSafety(text string) (string, error) {
	text = strings.TrimSpace(text)
	if len(text) >= len(SafetyScheme) && strings.EqualFold(text[:len(SafetyScheme)], SafetyScheme) {
		text = text[len(SafetyScheme):]
	}
	var digits strings.Builder
	for _, r := range text {
		switch {
		case r >= '0' && r <= '9':
			digits.WriteRune(r)
		case r == ' ', r == '-', r == '\n', r == '\r', r == '\t':
		default:
			return "", fmt.Errorf("%w: there is %q in it", ErrBadSafety, r)
		}
	}
	if digits.Len() != safetyGroups*safetyDigits {
		return "", fmt.Errorf("%w: there are %d digits", ErrBadSafety, digits.Len())
	}
	return digits.String(), nil
}
