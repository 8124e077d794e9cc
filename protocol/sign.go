package protocol

import (
	"crypto/ed25519"
	"crypto/sha512"
	"errors"
	"io"

	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
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

// sigBatch verifies many signatures together, for less than a third of the cost of each
// alone; for less still where a few keys made them all, whose parts of the sum are one
// term each. Nothing that is added may change before it is verified.
type sigBatch struct{ sigs []batchSig }

type batchSig struct {
	key Key
	msg []byte
	sig Signature
}

func newSigBatch(n int) *sigBatch { return &sigBatch{make([]batchSig, 0, n)} }

func (b *sigBatch) add(key Key, msg []byte, sig Signature) {
	b.sigs = append(b.sigs, batchSig{key, msg, sig})
}

// verify says which of the signatures hold. The random source only weights the
// batch equation; it is not secret.
func (b *sigBatch) verify(random io.Reader) []bool {
	out, all := make([]bool, len(b.sigs)), b.allHold(random)
	for i := range b.sigs {
		s := &b.sigs[i]
		out[i] = all || verifySig(s.key, s.msg, s.sig)
	}
	return out
}

// allHold checks that with a random z of 128 bits for each signature (R, s) of a message
// by a key A, k being the hash of R, A and the message, in the group modulo its cofactor
//
//	sum(z R) + sum(z k A) - sum(z s) B = 0
//
// which is what ZIP-215 asks of each, and holds for all together by chance once in 2^128
// where it does not for one.
func (b *sigBatch) allHold(random io.Reader) bool {
	n := len(b.sigs)
	weights := make([]byte, 16*n)
	if _, err := io.ReadFull(random, weights); err != nil {
		return false
	}
	sum := batchSum{scalars: make([]*scalar.Scalar, 0, n+2), points: make([]*curve.EdwardsPoint, 0, n+2)}
	base := sum.term(curve.ED25519_BASEPOINT_POINT)
	signers := make(map[Key]*scalar.Scalar)
	hash, rs := sha512.New(), make([]curve.EdwardsPoint, n)
	for i := range b.sigs {
		sig := &b.sigs[i]
		var s, k scalar.Scalar
		if _, err := s.SetCanonicalBytes(sig.sig[32:]); err != nil || !decodePoint(&rs[i], sig.sig[:32]) {
			return false
		}
		ofKey := signers[sig.key]
		if ofKey == nil {
			var a curve.EdwardsPoint
			if !decodePoint(&a, sig.key[:]) {
				return false
			}
			ofKey = sum.term(&a)
			signers[sig.key] = ofKey
		}
		hash.Reset()
		hash.Write(sig.sig[:32])
		hash.Write(sig.key[:])
		hash.Write(sig.msg)
		var digest [sha512.Size]byte
		_ = must(k.SetBytesModOrderWide(hash.Sum(digest[:0])))
		var weight [scalar.ScalarSize]byte
		copy(weight[:], weights[16*i:16*i+16])
		z := sum.term(&rs[i])
		_ = must(z.SetBits(weight[:]))
		base.Sub(base, s.Mul(z, &s))
		ofKey.Add(ofKey, k.Mul(z, &k))
	}
	return sum.isZero()
}

// batchSum is a sum of points, each times a scalar.
type batchSum struct {
	scalars []*scalar.Scalar
	points  []*curve.EdwardsPoint
}

// term adds a point, and returns its scalar, which is zero so far.
func (s *batchSum) term(p *curve.EdwardsPoint) *scalar.Scalar {
	x := scalar.New()
	s.scalars, s.points = append(s.scalars, x), append(s.points, p)
	return x
}

// isZero says whether the sum is zero modulo the cofactor.
func (s *batchSum) isZero() bool {
	return new(curve.EdwardsPoint).MultiscalarMulVartime(s.scalars, s.points).IsSmallOrder()
}

// decodePoint takes any encoding of a point, as ZIP-215 does.
func decodePoint(p *curve.EdwardsPoint, b []byte) bool {
	c := curve.CompressedEdwardsY(b)
	_, err := p.SetCompressedY(&c)
	return err == nil
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
