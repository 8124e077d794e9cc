package protocol

import (
	"bytes"
	"crypto/ecdh"
	"crypto/hpke"
	"crypto/sha256"
	"crypto/sha3"
	"fmt"
	"io"
	"slices"
)

// HybridMost is the largest group, in devices, whose epochs are wrapped with the
// hybrid KEM: 1,168 bytes a wrap against 80.
const HybridMost = 256

// kem returns MLKEM768-X25519, safe while either of its parts is, or X25519.
func kem(hybrid bool) hpke.KEM {
	if hybrid {
		return hpke.MLKEM768X25519()
	}
	return must(hpke.NewKEM(0x0020)) // DHKEM(X25519, HKDF-SHA256), RFC 9180 §7.1
}

// BoxKey is a private HPKE key: a prekey, or a joiner's key for its welcome.
type BoxKey struct {
	key    hpke.PrivateKey
	hybrid bool
}

// NewBoxKey draws a key.
func NewBoxKey(hybrid bool) (BoxKey, error) {
	k, err := kem(hybrid).GenerateKey()
	return BoxKey{k, hybrid}, err
}

// DeriveBoxKey makes a key from a seed (RFC 9180 DeriveKeyPair).
func DeriveBoxKey(hybrid bool, seed Secret) (BoxKey, error) {
	k, err := kem(hybrid).DeriveKeyPair(seed[:])
	return BoxKey{k, hybrid}, err
}

// Public returns the public key.
func (k BoxKey) Public() []byte { return k.key.PublicKey().Bytes() }

// Format keeps the private key out of output.
func (BoxKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "redacted") }

// openBox is HPKE base mode, AES-256-GCM.
func openBox(k BoxKey, info, box []byte) ([]byte, error) {
	plain, err := hpke.Open(k.key, hpke.HKDFSHA256(), hpke.AES256GCM(), info, box)
	if err != nil {
		return nil, ErrSealBroken
	}
	return plain, nil
}

func sealBox(hybrid bool, public, info, plain []byte) ([]byte, error) {
	pk, err := kem(hybrid).NewPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("public key for a seal: %w", ErrBadKey)
	}
	return hpke.Seal(pk, hpke.HKDFSHA256(), hpke.AES256GCM(), info, plain)
}

// Wrap is an epoch's secret for one device.
type Wrap struct {
	Dev    Key    `cbor:"1,keyasint"`
	Prekey ID     `cbor:"3,keyasint"` // SHA-256 of the prekey it is sealed to
	Box    []byte `cbor:"5,keyasint"`
}

func wrapInfo(group, eid ID, dev Key, prekey ID, author Key) []byte {
	info := []byte("p2pchat/1 wrap")
	for _, part := range [][]byte{group[:], eid[:], dev[:], prekey[:], author[:]} {
		info = append(info, part...)
	}
	return info
}

// Wrap seals the epoch's secret to a device's prekey.
func (ep *Epoch) Wrap(author, dev Key, hybrid bool, prekey []byte) (Wrap, error) {
	id := ID(sha256.Sum256(prekey))
	box, err := sealBox(hybrid, prekey, wrapInfo(ep.Group, ep.ID, dev, id, author), ep.E[:])
	return Wrap{Dev: dev, Prekey: id, Box: box}, err
}

// Unwrap opens a wrap into the epoch that dev's control event seq started.
func (w Wrap) Unwrap(group, eid ID, author Key, seq uint64, key BoxKey) (*Epoch, error) {
	plain, err := openBox(key, wrapInfo(group, eid, w.Dev, w.Prekey, author), w.Box)
	if err != nil || len(plain) != 32 {
		return nil, fmt.Errorf("wrap for %s: %w", w.Dev.Text(DevicePrefix), ErrSealBroken)
	}
	return NewEpoch(group, eid, author, seq, Secret(plain))
}

// wrapChunk is a run of wraps, ascending by device.
type wrapChunk struct {
	Wraps []Wrap `cbor:"1,keyasint"`
}

// ChunkWraps sorts wraps by device and packs them into chunks of at most
// MaxChunkSize bytes, so that a device fetches its own and not all. A rekey lists
// the chunks' hashes.
func ChunkWraps(wraps []Wrap) [][]byte {
	wraps = slices.Clone(wraps)
	slices.SortFunc(wraps, func(a, b Wrap) int { return a.Dev.Compare(b.Dev) })
	const overhead = 96 // map heads, device, prekey id, lengths
	var chunks [][]byte
	start, size := 0, 16
	for i, w := range wraps {
		if n := len(w.Box) + overhead; size+n > MaxChunkSize && i > start {
			chunks = append(chunks, marshal(wrapChunk{wraps[start:i]}))
			start, size = i, 16+n
		} else {
			size += n
		}
	}
	if start < len(wraps) {
		chunks = append(chunks, marshal(wrapChunk{wraps[start:]}))
	}
	return chunks
}

// ParseChunk reads the wraps of a chunk whose hash the rekey lists.
func ParseChunk(data []byte) ([]Wrap, error) {
	if len(data) > MaxChunkSize {
		return nil, fmt.Errorf("wrap chunk of %d bytes: %w", len(data), ErrTooLarge)
	}
	var c wrapChunk
	if err := unmarshal(data, &c); err != nil {
		return nil, fmt.Errorf("wrap chunk: %w", err)
	}
	if !strictlyAscending(c.Wraps, func(a, b Wrap) int { return a.Dev.Compare(b.Dev) }) {
		return nil, malformed("wrap chunk: devices are not in ascending order")
	}
	return c.Wraps, nil
}

// hybridPQ is the length of the ML-KEM-768 key that a hybrid public key begins
// with; 32 bytes of X25519 follow (draft-ietf-hpke-pq).
const hybridPQ = 1184

// PrekeyPart returns the key in a prekey record's value that a wrap is sealed to:
// all of it, or its X25519 part where a group is too large for hybrid wraps.
func PrekeyPart(public []byte, hybrid bool) ([]byte, error) {
	switch {
	case len(public) != hybridPQ+32:
		return nil, fmt.Errorf("prekey of %d bytes: %w", len(public), ErrBadKey)
	case hybrid:
		return public, nil
	}
	return public[hybridPQ:], nil
}

// Prekey is the private half of what a device offers to wrappers: a hybrid key,
// whose X25519 part is a key of its own. One published key so serves groups of
// every size.
type Prekey struct{ hybrid, plain BoxKey }

// DerivePrekey makes a prekey from a random seed, which is what is kept of it.
func DerivePrekey(seed Secret) (Prekey, error) {
	hybrid, err := DeriveBoxKey(true, seed)
	if err != nil {
		return Prekey{}, err
	}
	private, err := hybrid.key.Bytes()
	if err != nil {
		return Prekey{}, err
	}
	// The private key is a seed too: SHAKE256 stretches it to 64 bytes for ML-KEM
	// and 32 for X25519.
	x := sha3.SumSHAKE256(private, 64+32)
	t, err := ecdh.X25519().NewPrivateKey(x[64:])
	if err != nil {
		return Prekey{}, err
	}
	plain, err := hpke.NewDHKEMPrivateKey(t)
	if err != nil {
		return Prekey{}, err
	}
	p := Prekey{hybrid, BoxKey{plain, false}}
	if !bytes.Equal(p.plain.Public(), p.Public()[hybridPQ:]) {
		return Prekey{}, fmt.Errorf("prekey: its X25519 part is not the one it publishes: %w", ErrBadKey)
	}
	return p, nil
}

// Public returns what the device publishes.
func (p Prekey) Public() []byte { return p.hybrid.Public() }

// IDs returns the names that wraps call the two keys by.
func (p Prekey) IDs() (hybrid, plain ID) {
	return sha256.Sum256(p.hybrid.Public()), sha256.Sum256(p.plain.Public())
}

// Unwrap is [Wrap.Unwrap] with the key that the wrap names.
func (p Prekey) Unwrap(w Wrap, group, eid ID, author Key, seq uint64) (*Epoch, error) {
	hybrid, plain := p.IDs()
	switch w.Prekey {
	case hybrid:
		return w.Unwrap(group, eid, author, seq, p.hybrid)
	case plain:
		return w.Unwrap(group, eid, author, seq, p.plain)
	}
	return nil, fmt.Errorf("wrap for another prekey of %s: %w", w.Dev.Text(DevicePrefix), ErrNoKey)
}

// Format keeps the private keys out of output.
func (Prekey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "redacted") }

// keyAnswer is what a key request is answered with.
type keyAnswer struct {
	Epochs []EpochSecret `cbor:"1,keyasint"`
}

func answerInfo(group ID, asker, holder Key) []byte {
	return slices.Concat([]byte("p2pchat/1 keys"), group[:], asker[:], holder[:])
}

// SealKeys seals epoch secrets to the key of a request. The devices are those that
// the hello on the connection proved.
func SealKeys(group ID, asker, holder Key, box []byte, list []EpochSecret) ([]byte, error) {
	return sealBox(true, box, answerInfo(group, asker, holder), marshal(keyAnswer{list}))
}

// OpenKeys opens the answer to a key request. What it says is a claim: [NewEpoch]
// checks each secret against its rekey.
func OpenKeys(group ID, asker, holder Key, key BoxKey, data []byte) ([]EpochSecret, error) {
	plain, err := openBox(key, answerInfo(group, asker, holder), data)
	if err != nil {
		return nil, fmt.Errorf("key answer: %w", err)
	}
	var a keyAnswer
	if err := unmarshal(plain, &a); err != nil {
		return nil, fmt.Errorf("key answer: %w", err)
	}
	if len(a.Epochs) == 0 || len(a.Epochs) > MaxWantEpochs {
		return nil, fmt.Errorf("key answer: %w", malformed("%d epochs: from 1 to %d", len(a.Epochs), MaxWantEpochs))
	}
	return a.Epochs, nil
}
