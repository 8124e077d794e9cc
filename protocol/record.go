package protocol

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"fmt"
	"io"
	"slices"
	"time"
	"unicode/utf8"
)

// RecordType says what a record holds.
type RecordType uint16

// The record types.
const (
	RecordPrekey   RecordType = 1 // a device's HPKE key for wraps
	RecordProfile  RecordType = 2 // a sealed display name
	RecordReadMark RecordType = 4 // how far a device has read, sealed
	RecordFrontier RecordType = 6 // what a device has stored, as a Frontier
)

// Record is a small signed value of a device, outside the DAG: the newest number
// of each (device, type) replaces the others.
type Record struct {
	Dev    Key        `cbor:"1,keyasint"`
	Type   RecordType `cbor:"3,keyasint"`
	Number uint64     `cbor:"5,keyasint"`
	Expiry uint64     `cbor:"7,keyasint,omitzero"` // Unix seconds; 0 is never
	Value  []byte     `cbor:"9,keyasint"`
	Sig    Signature  `cbor:"11,keyasint"`
}

// RecordKey says which record replaces which.
type RecordKey struct {
	Dev    Key        `cbor:"1,keyasint"`
	Type   RecordType `cbor:"3,keyasint"`
	Number uint64     `cbor:"5,keyasint"`
}

// VerifiedRecord is a record that its device signed for its group.
type VerifiedRecord struct {
	record Record
	wire   []byte
}

// Record returns the record. Callers do not change what it points to.
func (v VerifiedRecord) Record() Record { return v.record }

// Wire returns the record's bytes.
func (v VerifiedRecord) Wire() []byte { return v.wire }

// Key returns device, type and number.
func (v VerifiedRecord) Key() RecordKey {
	return RecordKey{v.record.Dev, v.record.Type, v.record.Number}
}

// Compare orders keys by device, type and number.
func (k RecordKey) Compare(o RecordKey) int {
	return cmp.Or(k.Dev.Compare(o.Dev), cmp.Compare(k.Type, o.Type), cmp.Compare(k.Number, o.Number))
}

// Newer says whether v replaces o. Of two with one number, which only a copied
// device signs, the lower bytes stay, so that all members keep the same.
func (v VerifiedRecord) Newer(o VerifiedRecord) bool {
	return cmp.Or(cmp.Compare(v.record.Number, o.record.Number), -bytes.Compare(v.wire, o.wire)) > 0
}

func (r Record) preimage(group ID) []byte {
	r.Sig = Signature{}
	return slices.Concat([]byte("p2pchat/1 record"), group[:], marshal(r))
}

// Sign finishes a record.
func (r Record) Sign(group ID, key ed25519.PrivateKey) (VerifiedRecord, error) {
	r.Dev = publicKey(key)
	r.Sig = sign(key, r.preimage(group))
	return VerifyRecord(group, marshal(r))
}

// VerifyRecord reads a record and checks its signature.
func VerifyRecord(group ID, wire []byte) (VerifiedRecord, error) {
	var r Record
	if err := unmarshal(wire, &r); err != nil {
		return VerifiedRecord{}, fmt.Errorf("record: %w", err)
	}
	if r.Type == 0 || r.Type > MaxRecordType {
		return VerifiedRecord{}, fmt.Errorf("record: %w", malformed("type %d: from 1 to %d", r.Type, MaxRecordType))
	}
	if len(r.Value) == 0 || len(r.Value) > MaxRecordSize || r.Number >= MaxSeq {
		return VerifiedRecord{}, fmt.Errorf("record: %w", malformed("value of %d bytes or number %d", len(r.Value), r.Number))
	}
	if !verifySig(r.Dev, r.preimage(group), r.Sig) {
		return VerifiedRecord{}, fmt.Errorf("record: %w", ErrBadSignature)
	}
	return VerifiedRecord{r, wire}, nil
}

// PrekeyWeek is the number of the prekey record of a time: the weeks since 1970.
func PrekeyWeek(t time.Time) uint64 { return uint64(max(0, t.Unix())) / weekSeconds }

// PrekeyStart returns when the week of a prekey begins.
func PrekeyStart(week uint64) time.Time { return time.Unix(int64(week*weekSeconds), 0) }

const weekSeconds = 7 * 24 * 60 * 60

// Prekey returns the key of a prekey record where it may be wrapped to at a time.
// One from further ahead than the next week is not: its number could never be
// replaced, and who made it has a broken clock or means harm.
func (r Record) Prekey(now time.Time) ([]byte, bool) {
	week := PrekeyWeek(now)
	ok := r.Type == RecordPrekey && r.Number <= week+1 && r.Number+PrekeyWeeks >= week &&
		(r.Expiry == 0 || uint64(max(0, now.Unix())) <= r.Expiry)
	return r.Value, ok
}

// Kept returns the key of a prekey record whose private half its device still has, if it
// was away: who wraps an epoch takes a fresher one, see [Record.Prekey].
func (r Record) Kept(now time.Time) ([]byte, bool) {
	ok := r.Type == RecordPrekey && r.Number <= PrekeyWeek(now)+1 && (r.Expiry == 0 || uint64(max(0, now.Unix())) <= r.Expiry)
	return r.Value, ok
}

// Profile is how a device's owner wants to be called.
type Profile struct {
	Name string `cbor:"1,keyasint"`
}

// sealedValue is a record's value under an epoch.
type sealedValue struct {
	Epoch EpochTag `cbor:"1,keyasint"`
	Step  uint32   `cbor:"3,keyasint,omitzero"`
	N     [16]byte `cbor:"5,keyasint"`
	Box   []byte   `cbor:"7,keyasint"`
}

// valueHeader lends a record the header whose key derivation and associated data
// messages use; no event has kind 0.
func valueHeader(k RecordKey, v *sealedValue) *Header {
	return &Header{V: Version, Kind: Kind(0), Dev: k.Dev, Chain: Chain(k.Type), Seq: k.Number, Epoch: v.Epoch, Step: v.Step, N: v.N}
}

// SealProfile makes the value of a profile record.
func (ep *Epoch) SealProfile(k RecordKey, p Profile, random io.Reader) ([]byte, error) {
	if len(p.Name) > MaxNameSize || !utf8.ValidString(p.Name) {
		return nil, fmt.Errorf("name: %w: at most %d bytes of UTF-8", ErrTooLarge, MaxNameSize)
	}
	v := sealedValue{Epoch: ep.Tag(), Step: ep.seals()}
	if _, err := io.ReadFull(random, v.N[:]); err != nil {
		return nil, err
	}
	box, err := ep.seal(valueHeader(k, &v), ep.Group, pad(marshal(p)))
	v.Box = box
	return marshal(v), err
}

// ProfileEpoch says under which epoch a profile record is sealed, and at which step.
func ProfileEpoch(r Record) (tag EpochTag, step uint32, err error) {
	var v sealedValue
	err = unmarshal(r.Value, &v)
	return v.Epoch, v.Step, err
}

// Seals says whether what is sealed under the epoch now is sealed at a step.
func (ep *Epoch) Seals(tag EpochTag, step uint32) bool { return ep.Tag() == tag && ep.seals() == step }

// OpenProfile opens a profile record.
func (ep *Epoch) OpenProfile(r VerifiedRecord) (Profile, error) {
	var p Profile
	var v sealedValue
	if err := unmarshal(r.record.Value, &v); err != nil {
		return p, fmt.Errorf("profile: %w", err)
	}
	h := valueHeader(r.Key(), &v)
	c, iv, err := ep.aead(h, ep.Group)
	if err != nil {
		return p, fmt.Errorf("profile: %w", err)
	}
	plain, err := c.Open(nil, iv, v.Box, aad(h))
	if err != nil {
		return p, fmt.Errorf("profile: %w", ErrSealBroken)
	}
	if plain, err = unpad(plain); err != nil {
		return p, fmt.Errorf("profile: %w", err)
	}
	if err := unmarshal(plain, &p); err != nil {
		return p, fmt.Errorf("profile: %w", err)
	}
	if len(p.Name) > MaxNameSize {
		return Profile{}, fmt.Errorf("profile: name: %w", ErrTooLarge)
	}
	return p, nil
}
