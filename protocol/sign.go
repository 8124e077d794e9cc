package protocol

import (
	"crypto/ed25519"
	"errors"
	"io"

	"github.com/oasisprotocol/curve25519-voi/curve"
	voi "github.com/oasisprotocol/curve25519-voi/primitives/ed25519"
)

// ErrBadSignature says that a signature does not fit what it is said to sign.
var ErrBadSignature = errors.New("bad signature")

// ErrBadKey says that a public key is of small order or not canonical.
var ErrBadKey = errors.New("bad public key")

// Signature is an Ed25519 signature.
type Signature [64]byte

// One validity rule for the whole network: ZIP-215, cofactored, for single and
// batch verification alike, or two members could disagree about an event. The
// library is behind verifySig and batch alone; docs/decisions/0001 says why it.
var zip215 = &voi.Options{Verify: voi.VerifyOptionsZIP_215}

func verifySig(key Key, msg []byte, sig Signature) bool {
	return voi.VerifyWithOptions(key[:], msg, sig[:], zip215)
}

// sigBatch verifies many signatures together: three times as many a second as one
// by one.
type sigBatch struct{ v *voi.BatchVerifier }

func newSigBatch(n int) sigBatch { return sigBatch{voi.NewBatchVerifierWithCapacity(n)} }

func (b sigBatch) add(key Key, msg []byte, sig Signature) {
	b.v.AddWithOptions(key[:], msg, sig[:], zip215)
}

// verify says which of the signatures hold. The random source only weights the
// batch equation; it is not secret.
func (b sigBatch) verify(random io.Reader) []bool {
	_, ok := b.v.Verify(random)
	return ok
}

func sign(key ed25519.PrivateKey, msg []byte) Signature {
	return Signature(ed25519.Sign(key, msg))
}

func publicKey(key ed25519.PrivateKey) Key { return Key(key.Public().(ed25519.PublicKey)) }

// checkKey refuses the keys for which more than the holder could sign: points of
// small order and encodings that are not canonical.
func checkKey(k Key) error {
	var c curve.CompressedEdwardsY
	var p curve.EdwardsPoint
	if _, err := c.SetBytes(k[:]); err != nil || !c.IsCanonicalVartime() {
		return ErrBadKey
	}
	if _, err := p.SetCompressedY(&c); err != nil || p.IsSmallOrder() {
		return ErrBadKey
	}
	return nil
}
