package protocol

import (
	"bytes"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// ID names an event: SHA-256 over a domain, the group and the event's header.
// The id of the genesis event names the group.
type ID [32]byte

// Key is an Ed25519 public key: of a device, of an identity's root, of an invite.
type Key [32]byte

// EpochTag is the first 16 bytes of an epoch id, as headers carry it.
type EpochTag [16]byte

// Text forms begin with a prefix that says what they name.
const (
	GroupPrefix  = "grp_"
	EventPrefix  = "evt_"
	PersonPrefix = "usr_"
	DevicePrefix = "dev_"
)

// ErrBadID says that a text is not an id of the kind that was asked for.
var ErrBadID = errors.New("not a valid id")

var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Text returns the id in base32 (RFC 4648, lower case, no padding) behind prefix.
func (id ID) Text(prefix string) string { return prefix + base32Lower.EncodeToString(id[:]) }

// String returns the id as an event id.
func (id ID) String() string { return id.Text(EventPrefix) }

// IsZero says whether the id is absent.
func (id ID) IsZero() bool { return id == ID{} }

// Compare orders ids by their bytes.
func (id ID) Compare(other ID) int { return bytes.Compare(id[:], other[:]) }

// Text returns the key in base32 behind prefix.
func (k Key) Text(prefix string) string { return prefix + base32Lower.EncodeToString(k[:]) }

// String returns the key in hexadecimal.
func (k Key) String() string { return hex.EncodeToString(k[:]) }

// IsZero says whether the key is absent.
func (k Key) IsZero() bool { return k == Key{} }

// Compare orders keys by their bytes.
func (k Key) Compare(other Key) int { return bytes.Compare(k[:], other[:]) }

// ShortLen is the length of a short text form after its prefix: 40 bits, for
// people to tell ids apart on a screen, never to identify.
const ShortLen = 8

// Short returns the display form of a text id.
func Short(text string) string {
	if i := strings.IndexByte(text, '_'); i >= 0 && len(text) > i+1+ShortLen {
		return text[:i+1+ShortLen]
	}
	return text
}

// ParseID reads the text form of an id with the given prefix.
func ParseID(prefix, text string) (ID, error) {
	var id ID
	raw, ok := strings.CutPrefix(text, prefix)
	if !ok {
		return id, fmt.Errorf("%w: %q does not begin with %q", ErrBadID, clip(text), prefix)
	}
	b, err := base32Lower.DecodeString(raw)
	if err != nil || len(b) != len(id) || base32Lower.EncodeToString(b) != raw {
		return id, fmt.Errorf("%w: %q", ErrBadID, clip(text))
	}
	return ID(b), nil
}

// clip keeps a stranger's text from flooding an error.
func clip(s string) string {
	const most = 64
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// hash is SHA-256 over a domain and parts. Parts are of fixed length or last,
// so that no two different inputs share a preimage.
func hash(domain string, parts ...[]byte) ID {
	h := sha256.New()
	h.Write([]byte(domain))
	for _, p := range parts {
		h.Write(p)
	}
	return ID(h.Sum(nil))
}
