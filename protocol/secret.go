package protocol

import (
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
)

// Secret is 32 bytes that nobody else may see. It prints as "redacted" with
// every verb and in every log.
type Secret [32]byte

// NewSecret draws a secret from random.
func NewSecret(random io.Reader) (Secret, error) {
	var s Secret
	_, err := io.ReadFull(random, s[:])
	return s, err
}

// Format implements fmt.Formatter.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "redacted") }

// LogValue implements slog.LogValuer.
func (Secret) LogValue() slog.Value { return slog.StringValue("redacted") }

// MarshalJSON keeps a secret out of JSON.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"redacted"`), nil }

// IsZero says whether the secret is absent.
func (s Secret) IsZero() bool { return s == Secret{} }

// derive is HKDF-SHA256 (RFC 5869), extract and expand.
func derive(secret, salt []byte, n int, info string, more ...[]byte) []byte {
	for _, m := range more {
		info += string(m)
	}
	return must(hkdf.Key(sha256.New, secret, salt, info, n))
}

// shortMAC is HMAC-SHA256 (RFC 2104) under a key of at most a block of the hash. Every
// message that is made or read takes three of them, for which the library allocates 28
// times and this, where the message is short, not at all. A test holds it to the library.
func shortMAC(key []byte, msg ...[]byte) [sha256.Size]byte {
	var inner [4 * sha256.BlockSize]byte
	var outer [sha256.BlockSize + sha256.Size]byte
	copy(inner[:sha256.BlockSize], key)
	copy(outer[:], key)
	for i := range sha256.BlockSize {
		inner[i] ^= 0x36
		outer[i] ^= 0x5c
	}
	in := inner[:sha256.BlockSize]
	for _, m := range msg {
		in = append(in, m...)
	}
	sum := sha256.Sum256(in)
	copy(outer[sha256.BlockSize:], sum[:])
	return sha256.Sum256(outer[:])
}

func deriveSecret(secret, salt []byte, info string, more ...[]byte) Secret {
	return Secret(derive(secret, salt, 32, info, more...))
}
