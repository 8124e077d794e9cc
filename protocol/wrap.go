package protocol

import (
	"crypto/hpke"
	"crypto/sha256"
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
