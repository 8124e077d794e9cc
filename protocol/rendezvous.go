package protocol

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
)

// Where a group meets is derived from its rendezvous secret N, never from its id,
// so that neither the network nor who once saw the id can find it.

func mac(key Secret, parts ...[]byte) []byte {
	h := hmac.New(sha256.New, key[:])
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

// Topic returns the pubsub topic of a rendezvous secret.
func Topic(n Secret) string { return base32Lower.EncodeToString(mac(n, []byte("topic"))[:20]) }

// DHTKey returns the DHT rendezvous of a secret: a group's N, or an invite's lobby.
func DHTKey(n Secret) string { return base32Lower.EncodeToString(mac(n, []byte("dht"))[:20]) }

// HelloTag proves knowledge of a rendezvous secret in one hello.
type HelloTag [16]byte

// Hello is what both sides of a connection know after exchanging nonces. It binds
// everything that follows to this connection.
type Hello struct {
	NonceI, NonceR [32]byte // the initiator's and the responder's
	PeerI, PeerR   string   // their libp2p peer ids, raw bytes
}

// Role says which side of a hello speaks.
type Role byte

// The roles.
const (
	Initiator Role = 'I'
	Responder Role = 'R'
)

func (h *Hello) transcript(role Role) []byte {
	b := []byte{byte(role)}
	b = append(append(b, h.NonceI[:]...), h.NonceR[:]...)
	for _, p := range []string{h.PeerI, h.PeerR} {
		b = binary.BigEndian.AppendUint16(b, uint16(len(p)))
		b = append(b, p...)
	}
	return b
}

// Tag returns the tag by which role shows that it knows n.
func (h *Hello) Tag(n Secret, role Role) HelloTag {
	return HelloTag(mac(n, []byte("hello"), h.transcript(role))[:16])
}

// Tags returns role's tags for all its secrets, padded with noise to MaxHelloTags
// and sorted, so that they tell a stranger not even how many groups there are.
func (h *Hello) Tags(secrets []Secret, role Role, random io.Reader) ([]HelloTag, error) {
	tags := make([]HelloTag, MaxHelloTags)
	for i := range tags {
		if i < len(secrets) {
			tags[i] = h.Tag(secrets[i], role)
		} else if _, err := io.ReadFull(random, tags[i][:]); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(tags, func(a, b HelloTag) int { return bytes.Compare(a[:], b[:]) })
	return tags, nil
}

// Proof says which device of a group speaks, bound to this connection.
type Proof struct {
	Tag HelloTag  `cbor:"1,keyasint"` // the other side's tag that this answers
	Dev Key       `cbor:"3,keyasint"`
	Sig Signature `cbor:"5,keyasint"`
	// Cert is the device's certificate in CBOR, where the other side may not know it yet:
	// a restored profile is a new device, and who came since can be told so by nobody
	// else.
	Cert []byte `cbor:"6,keyasint,omitempty"`
}

// Vouch adds the device's certificate.
func (p *Proof) Vouch(c Cert) { p.Cert = marshal(c) }

// Vouched returns the certificate that came with a proof which passed Check.
func (p *Proof) Vouched() (c Cert, ok bool) {
	return c, len(p.Cert) > 0 && unmarshal(p.Cert, &c) == nil
}

func (h *Hello) proofPreimage(group ID, role Role) []byte {
	return slices.Concat([]byte("p2pchat/1 hello"), group[:], h.transcript(role))
}

// Prove signs the proof for a group in which the other side's tag was recognised.
func (h *Hello) Prove(group ID, role Role, theirs HelloTag, key ed25519.PrivateKey) Proof {
	return Proof{Tag: theirs, Dev: publicKey(key), Sig: sign(key, h.proofPreimage(group, role))}
}

// Check verifies a proof by role for a group.
func (h *Hello) Check(group ID, role Role, p Proof) error {
	if !verifySig(p.Dev, h.proofPreimage(group, role), p.Sig) {
		return fmt.Errorf("hello of %s: %w", p.Dev.Text(DevicePrefix), ErrBadSignature)
	}
	if len(p.Cert) == 0 {
		return nil
	}
	c, ok := p.Vouched()
	if !ok || c.Dev != p.Dev {
		return fmt.Errorf("hello of %s: %w: malformed, or another device's", p.Dev.Text(DevicePrefix), ErrBadCert)
	}
	if err := c.Verify(); err != nil {
		return fmt.Errorf("hello of %s: %w", p.Dev.Text(DevicePrefix), err)
	}
	return nil
}

// LobbyTag proves knowledge of an invite's lobby secret: by the joiner with
// Initiator, by who admits with Responder.
func (h *Hello) LobbyTag(lobby Secret, role Role) HelloTag {
	return HelloTag(mac(lobby, []byte("lobby"), h.transcript(role))[:16])
}

// FounderTag shows who agreed to found a group, and nobody else, that this is the one:
// it knows the salt of the genesis.
func (h *Hello) FounderTag(salt [32]byte) HelloTag {
	return HelloTag(mac(Secret(salt), []byte("founder"), h.transcript(Responder))[:16])
}
