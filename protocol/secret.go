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

func deriveSecret(secret, salt []byte, info string, more ...[]byte) Secret {
	return Secret(derive(secret, salt, 32, info, more...))
}
