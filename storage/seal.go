package storage

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/p2pchat/p2pchat/protocol"
)

// Small values are where secrets, names and addresses are, so that with [WithKey] all
// of them are sealed, on the one way by which they reach the datastore: nonce ‖
// AES-256-GCM, the datastore key as additional data, so that nobody who writes the disk
// can put one value in another's place. 96 random bits of nonce are enough for 2³²
// values. Events need none of it: what people wrote is sealed in them already.

// WithKey seals small values under a key derived from a secret. Zero is the same as no
// key: values are stored as they are, for a caller whose datastore seals.
func WithKey(secret protocol.Secret) Option {
	return func(s *Store) {
		if !secret.IsZero() {
			s.seal = newSealer(secret)
		}
	}
}

// sealer seals values; a nil one leaves them as they are.
type sealer struct{ aead cipher.AEAD }

// keySize is AES-256's.
const keySize = 32

func newSealer(secret protocol.Secret) *sealer {
	key, err := hkdf.Key(sha256.New, secret[:], nil, "p2pchat storage values", keySize)
	if err == nil {
		var block cipher.Block
		if block, err = aes.NewCipher(key); err == nil {
			var aead cipher.AEAD
			if aead, err = cipher.NewGCMWithRandomNonce(block); err == nil {
				return &sealer{aead}
			}
		}
	}
	panic(err) // the sizes are constants
}

func (s *sealer) close(key string, value []byte) []byte {
	if s == nil {
		return append([]byte{}, value...)
	}
	return s.aead.Seal(nil, nil, value, []byte(key))
}

func (s *sealer) open(key string, value []byte) ([]byte, error) {
	if s == nil {
		return value, nil
	}
	b, err := s.aead.Open(nil, nil, value, []byte(key))
	if err != nil {
		return nil, fmt.Errorf("%s: it does not open: %w", key, ErrDamaged)
	}
	return b, nil
}

// sealedMark comes in a sealed store's version after the number. What follows it opens
// under the store's key only.
const sealedMark = " sealed "

// version is what marks a new store.
func (s *sealer) version(number string) string {
	if s == nil {
		return number
	}
	return number + sealedMark + base64.StdEncoding.EncodeToString(s.close(versionKey, nil))
}

// check takes the seal off a version and says whether this is its store's key.
func (s *sealer) check(version string) (number string, err error) {
	number, mark, sealed := strings.Cut(version, sealedMark)
	switch {
	case !sealed && s != nil:
		return "", ErrUnsealed
	case !sealed:
		return number, nil
	case s == nil:
		return "", ErrWrongKey
	}
	b, err := base64.StdEncoding.DecodeString(mark)
	if err == nil {
		_, err = s.open(versionKey, b)
	}
	if err != nil {
		return "", ErrWrongKey
	}
	return number, nil
}
