package protocol

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	"github.com/tyler-smith/go-bip39/wordlists"
)

// Two people in one room meet without a link: their programs agree on a key, and they
// compare a short string that follows from it. Whoever sits between the two has a key
// with each, and the strings differ. As in ZRTP (RFC 6189 §4.4.1) the side that speaks
// first commits to its key by a hash before it sees the other's, so that nobody can try
// keys until the strings are the same by chance.

// The frames of a meeting, after those of frame.go.
const (
	FrameNearbyAsk    FrameKind = 41 // nearby: nothing
	FrameNearbyOffer  FrameKind = 43 // nearby: NearbyOffer
	FrameNearbyCommit FrameKind = 45 // nearby: NearbyCommit
	FrameNearbyKey    FrameKind = 47 // nearby: NearbyKey
	FrameNearbyBox    FrameKind = 49 // nearby: a sealed yes, or a sealed link
)

// NearbyOffer says what somebody who invites calls itself.
type NearbyOffer struct {
	Name string `cbor:"1,keyasint,omitempty"`
}

// NearbyCommit asks to compare: with the hash of a key that is shown later.
type NearbyCommit struct {
	Commit ID     `cbor:"1,keyasint"`
	Name   string `cbor:"3,keyasint,omitempty"` // what who joins calls itself
}

// NearbyKey is what one side puts into the agreement.
type NearbyKey struct {
	Key   [32]byte `cbor:"1,keyasint"` // X25519, used once
	Nonce [32]byte `cbor:"3,keyasint"`
}

// NearbySecret is the private half of a NearbyKey.
type NearbySecret struct {
	key   *ecdh.PrivateKey
	nonce [32]byte
}

// NewNearbySecret draws a key and a nonce from random.
func NewNearbySecret(random io.Reader) (NearbySecret, error) {
	var b [64]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return NearbySecret{}, err
	}
	key, err := ecdh.X25519().NewPrivateKey(b[:32])
	return NearbySecret{key, [32]byte(b[32:])}, err
}

// Public returns what the other side is shown.
func (s NearbySecret) Public() NearbyKey {
	return NearbyKey{[32]byte(s.key.PublicKey().Bytes()), s.nonce}
}

// Format keeps the private key out of output.
func (NearbySecret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "redacted") }

// Nearby is all that both sides of a meeting have said. I joins, and R invites.
type Nearby struct {
	PeerI, PeerR string // libp2p peer ids, raw bytes
	NameI, NameR string // claims
	Commit       ID     // I's, to KeyI
	KeyI, KeyR   NearbyKey
}

// str is how a text of any length stands in a preimage.
func str(s string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...)
}

// CommitNearby is the hash by which I commits to a key on a connection. Nobody else can
// use it as theirs: it names both ends.
func CommitNearby(peerI, peerR string, k NearbyKey) ID {
	return hash("p2pchat/1 nearby commit", k.Key[:], k.Nonce[:], str(peerI), str(peerR))
}

func (n *Nearby) transcript() ID {
	side := func(role Role, k NearbyKey, peer, name string) []byte {
		return slices.Concat([]byte{byte(role)}, k.Key[:], k.Nonce[:], str(peer), str(name))
	}
	return hash("p2pchat/1 nearby", n.Commit[:],
		side(Initiator, n.KeyI, n.PeerI, n.NameI), side(Responder, n.KeyR, n.PeerR, n.NameR))
}

// NearbyKeys is what two sides agreed on. Nothing may be believed of it until two people
// have seen that their screens show the same.
type NearbyKeys struct {
	transcript   ID
	mine, theirs Secret
	sas          [16]byte
	sealed       bool
}

// Agree derives role's keys. An I that shows another key than it committed to is an
// ErrSealBroken, a key that leads to nothing secret an ErrBadKey.
func (n *Nearby) Agree(role Role, s NearbySecret) (*NearbyKeys, error) {
	if n.Commit != CommitNearby(n.PeerI, n.PeerR, n.KeyI) {
		return nil, fmt.Errorf("nearby: the key is not the one that was committed to: %w", ErrSealBroken)
	}
	mine, theirs := n.KeyI, n.KeyR
	if role == Responder {
		mine, theirs = n.KeyR, n.KeyI
	}
	if mine != s.Public() || mine.Key == theirs.Key || len(n.NameI) > MaxNameSize || len(n.NameR) > MaxNameSize {
		return nil, fmt.Errorf("nearby: a key is reflected, or not this side's, or a name too long: %w", ErrBadKey)
	}
	public, err := ecdh.X25519().NewPublicKey(theirs.Key[:])
	if err != nil {
		return nil, fmt.Errorf("nearby: %w: %v", ErrBadKey, err)
	}
	shared, err := s.key.ECDH(public) // refuses points of small order
	if err != nil {
		return nil, fmt.Errorf("nearby: %w: %v", ErrBadKey, err)
	}
	t := n.transcript()
	k := &NearbyKeys{
		transcript: t, sas: [16]byte(derive(shared, t[:], 16, "p2pchat/1 nearby sas")),
		mine: deriveSecret(shared, t[:], "p2pchat/1 nearby I"), theirs: deriveSecret(shared, t[:], "p2pchat/1 nearby R"),
	}
	if role == Responder {
		k.mine, k.theirs = k.theirs, k.mine
	}
	return k, nil
}

// Words and Digits are one short authentication string in two forms, for people to
// compare. Somebody in the middle has one try at a chance of 2⁻³³ that the words agree,
// and of one in 10⁹ that the digits do.

// Words returns three words of the BIP-39 English list.
func (k *NearbyKeys) Words() [3]string {
	list := wordlists.English // what both sides have, whatever list a program sets for its phrases
	v := binary.BigEndian.Uint64(k.sas[:8]) >> (64 - 33)
	return [3]string{list[v>>22], list[v>>11&2047], list[v&2047]}
}

// Digits returns nine digits in groups of three.
func (k *NearbyKeys) Digits() string {
	v := binary.BigEndian.Uint64(k.sas[8:]) % 1e9
	return fmt.Sprintf("%03d %03d %03d", v/1e6, v/1e3%1e3, v%1e3)
}

func (k *NearbyKeys) aead(key Secret) cipher.AEAD {
	return must(cipher.NewGCM(must(aes.NewCipher(key[:]))))
}

// Seal seals this side's one box, and no second one: the key is for a single text, so
// its nonce is zero. Of I the text is empty and says that the strings match, of R it is
// the link.
func (k *NearbyKeys) Seal(text string) ([]byte, error) {
	if k.sealed {
		return nil, fmt.Errorf("nearby: a second box under one key: %w", ErrInvalid)
	}
	k.sealed = true
	return k.aead(k.mine).Seal(nil, make([]byte, 12), []byte(text), k.transcript[:]), nil
}

// Open opens the other side's box.
func (k *NearbyKeys) Open(box []byte) (string, error) {
	if len(box) > MaxLinkSize+16 {
		return "", fmt.Errorf("nearby: a box of %d bytes: %w", len(box), ErrTooLarge)
	}
	plain, err := k.aead(k.theirs).Open(nil, make([]byte, 12), box, k.transcript[:])
	if err != nil {
		return "", fmt.Errorf("nearby: %w", ErrSealBroken)
	}
	return string(plain), nil
}

// Format keeps the keys out of output.
func (*NearbyKeys) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "redacted") }
