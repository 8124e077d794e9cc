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
// hybrid KEM: 1,172 bytes a device against 84.
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

// Wrap is a key for one device, in a report.
type Wrap struct {
	Dev    Key    `cbor:"1,keyasint"`
	Prekey ID     `cbor:"3,keyasint"` // SHA-256 of the prekey it is sealed to
	Box    []byte `cbor:"5,keyasint"`
}

// Row is an epoch's secret for one device. Which of the device's prekeys it is sealed
// to, the device finds out by trying the few that it has.
type Row struct {
	Dev RowTag
	Box []byte
}

// RowTag is the beginning of a device's key. Where two devices share it each tries both
// rows: somebody who makes such keys on purpose costs another a moment.
type RowTag [4]byte

// Row returns the name of a device's rows.
func (k Key) Row() RowTag { return RowTag(k[:4]) }

func (t RowTag) compare(o RowTag) int { return bytes.Compare(t[:], o[:]) }

// boxSize is the length of a row's box: the encapsulated key and the sealed secret.
func boxSize(hybrid bool) int {
	if hybrid {
		return 1120 + 32 + gcmOverhead
	}
	return 32 + 32 + gcmOverhead
}

func wrapInfo(group, eid ID, dev Key, prekey ID, author Key) []byte {
	info := []byte("p2pchat/1 wrap")
	for _, part := range [][]byte{group[:], eid[:], dev[:], prekey[:], author[:]} {
		info = append(info, part...)
	}
	return info
}

// Wrap seals the epoch's secret to a device's prekey.
func (ep *Epoch) Wrap(author, dev Key, hybrid bool, prekey []byte) (Row, error) {
	id := ID(sha256.Sum256(prekey))
	box, err := sealBox(hybrid, prekey, wrapInfo(ep.Group, ep.ID, dev, id, author), ep.E[:])
	return Row{Dev: dev.Row(), Box: box}, err
}

// Unwrap opens a row for a device into the epoch that author's control event seq started.
func (w Row) Unwrap(dev Key, key BoxKey, group, eid ID, author Key, seq uint64) (*Epoch, error) {
	id := ID(sha256.Sum256(key.Public()))
	plain, err := openBox(key, wrapInfo(group, eid, dev, id, author), w.Box)
	if err != nil || len(plain) != 32 {
		return nil, fmt.Errorf("wrap for %s: %w", dev.Text(DevicePrefix), ErrSealBroken)
	}
	return NewEpoch(group, eid, author, seq, Secret(plain))
}

// wrapChunk is a run of rows, ascending by device.
type wrapChunk struct {
	Hybrid bool   `cbor:"1,keyasint,omitzero"`
	Rows   []byte `cbor:"3,keyasint"`
}

// ChunkWraps sorts rows by device and packs them into chunks of at most MaxChunkSize
// bytes, so that a device fetches its own and not all. A rekey lists the chunks' hashes.
func ChunkWraps(hybrid bool, rows []Row) [][]byte {
	rows = slices.SortedStableFunc(slices.Values(rows), func(a, b Row) int { return a.Dev.compare(b.Dev) })
	const overhead = 16 // heads of the map and of its values
	most := (MaxChunkSize - overhead) / (len(RowTag{}) + boxSize(hybrid))
	var chunks [][]byte
	for part := range slices.Chunk(rows, most) {
		c := wrapChunk{Hybrid: hybrid}
		for _, row := range part {
			c.Rows = append(append(c.Rows, row.Dev[:]...), row.Box...)
		}
		chunks = append(chunks, marshal(c))
	}
	return chunks
}

// ParseChunk reads the rows of a chunk whose hash the rekey lists.
func ParseChunk(data []byte) (rows []Row, hybrid bool, err error) {
	if len(data) > MaxChunkSize {
		return nil, false, fmt.Errorf("wrap chunk of %d bytes: %w", len(data), ErrTooLarge)
	}
	var c wrapChunk
	if err := unmarshal(data, &c); err != nil {
		return nil, false, fmt.Errorf("wrap chunk: %w", err)
	}
	size := len(RowTag{}) + boxSize(c.Hybrid)
	if len(c.Rows) == 0 || len(c.Rows)%size != 0 {
		return nil, false, malformed("wrap chunk: %d bytes are not rows of %d", len(c.Rows), size)
	}
	for b := range slices.Chunk(c.Rows, size) {
		rows = append(rows, Row{Dev: RowTag(b[:4]), Box: b[4:]})
	}
	if !slices.IsSortedFunc(rows, func(a, b Row) int { return a.Dev.compare(b.Dev) }) {
		return nil, false, malformed("wrap chunk: devices are not in ascending order")
	}
	return rows, c.Hybrid, nil
}

// FindRows returns a device's rows in a chunk. place says where else there may be some:
// below 0 in an earlier chunk, above 0 in a later one, 0 nowhere.
func FindRows(rows []Row, dev Key) (found []Row, place int) {
	tag := dev.Row()
	i, ok := slices.BinarySearchFunc(rows, tag, func(x Row, t RowTag) int { return x.Dev.compare(t) })
	switch {
	case ok:
		for _, row := range rows[i:] {
			if row.Dev == tag {
				found = append(found, row)
			}
		}
	case i == 0:
		place = -1
	case i == len(rows):
		place = 1
	}
	return found, place
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

// IDs returns the names of the two keys, which wraps are bound to.
func (p Prekey) IDs() (hybrid, plain ID) {
	return sha256.Sum256(p.hybrid.Public()), sha256.Sum256(p.plain.Public())
}

// Unwrap is [Row.Unwrap] with the key of a chunk's kind.
func (p Prekey) Unwrap(w Row, hybrid bool, dev Key, group, eid ID, author Key, seq uint64) (*Epoch, error) {
	if hybrid {
		return w.Unwrap(dev, p.hybrid, group, eid, author, seq)
	}
	return w.Unwrap(dev, p.plain, group, eid, author, seq)
}

// Format keeps the private keys out of output.
func (Prekey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "redacted") }

// EpochSecrets are what a key request is answered with, and what a bundle hands over.
type EpochSecrets struct {
	Epochs []EpochSecret `cbor:"1,keyasint"`
}

func answerInfo(group ID, asker, holder Key) []byte {
	return slices.Concat([]byte("p2pchat/1 keys"), group[:], asker[:], holder[:])
}

// SealKeys seals epoch secrets to the key of a request. The devices are those that
// the hello on the connection proved.
func SealKeys(group ID, asker, holder Key, box []byte, list []EpochSecret) ([]byte, error) {
	return sealBox(true, box, answerInfo(group, asker, holder), marshal(EpochSecrets{list}))
}

// OpenKeys opens the answer to a key request. What it says is a claim: [NewEpoch]
// checks each secret against its rekey.
func OpenKeys(group ID, asker, holder Key, key BoxKey, data []byte) ([]EpochSecret, error) {
	plain, err := openBox(key, answerInfo(group, asker, holder), data)
	if err != nil {
		return nil, fmt.Errorf("key answer: %w", err)
	}
	var a EpochSecrets
	if err := unmarshal(plain, &a); err != nil {
		return nil, fmt.Errorf("key answer: %w", err)
	}
	if len(a.Epochs) == 0 || len(a.Epochs) > MaxWantEpochs {
		return nil, fmt.Errorf("key answer: %w", malformed("%d epochs: from 1 to %d", len(a.Epochs), MaxWantEpochs))
	}
	return a.Epochs, nil
}
