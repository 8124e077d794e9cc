package protocol

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// ErrNoKey says that the epoch's secret needed to open something is not held.
var ErrNoKey = errors.New("no key for this epoch")

// ErrSealBroken says that a sealed text does not open: it was changed, or sealed
// under another key.
var ErrSealBroken = errors.New("sealed text does not open")

const gcmOverhead = 16

// maxStep bounds the steps one ratchet walk takes: an admission is one step, and
// opening must not become a way to burn a processor.
const maxStep = 1 << 16

// Epoch is one random secret that a group's members share for a while, and what
// follows from it. Forked epochs are normal. An Epoch is not changed: what is sealed
// under it may be opened while another admission moves the group on.
type Epoch struct {
	Group ID
	ID    ID     // commits to E, the rekey's author and its place
	E     Secret // zero where only a later step was handed over
	Step  uint32 // the first step this holder can open
	S     Secret // the secret at Step

	last   *uint32  // the step that the admissions which are here go to; nil is any
	sealAt uint32   // the step to seal at, where last is not nil
	top    Secret   // the secret there
	marks  []Secret // those at Step, Step+markEvery, ..., so that no step is far from one
}

// markEvery is how many steps lie between two marks: a walk from one costs less than
// the signature check of a message, and the marks of 65,536 steps are 32 KiB.
const markEvery = 64

// until returns the epoch as who has admissions up to a step holds it: sealing at
// that step, and opening none beyond, where nobody honest seals.
func (ep *Epoch) until(last uint32) *Epoch {
	c := *ep
	last = max(last, ep.Step)
	if c.marks == nil {
		c.marks = []Secret{c.S}
	}
	for {
		next := uint32(len(c.marks)) * markEvery
		if c.Step+next > last || next > maxStep {
			break
		}
		c.marks = append(slices.Clip(c.marks), walk(c.marks[len(c.marks)-1], markEvery))
	}
	c.last = &last
	return c.sealing(last)
}

// sealing returns the epoch as who seals at a step holds it, or at the nearest that it
// can.
func (ep *Epoch) sealing(step uint32) *Epoch {
	c := *ep
	c.sealAt = min(max(step, c.Step), *c.last)
	c.top, _ = c.find(c.sealAt)
	return &c
}

func walk(s Secret, steps uint32) Secret {
	for range steps {
		s = shortMAC(s[:], []byte("p2pchat/1 step"), []byte{1}) // the first block of HKDF-Expand
	}
	return s
}

// seals is the step at which this holder seals.
func (ep *Epoch) seals() uint32 {
	if ep.last != nil {
		return ep.sealAt
	}
	return ep.Step
}

// EpochID returns the id of the epoch that dev starts with its control event seq.
func EpochID(group ID, dev Key, seq uint64, e Secret) ID {
	return hash("p2pchat/1 epoch", group[:], dev[:], binary.BigEndian.AppendUint64(nil, seq), e[:])
}

// NewEpoch returns the epoch of a rekey, and checks that the secret is the one
// the rekey committed to.
func NewEpoch(group, eid ID, dev Key, seq uint64, e Secret) (*Epoch, error) {
	if EpochID(group, dev, seq, e) != eid {
		return nil, fmt.Errorf("epoch %s: the secret is not the one it commits to: %w", eid.Text("ep_"), ErrSealBroken)
	}
	return &Epoch{Group: group, ID: eid, E: e, S: deriveSecret(e[:], group[:], "p2pchat/1 step0")}, nil
}

// Tag returns the epoch's short name for headers.
func (ep *Epoch) Tag() EpochTag { return EpochTag(ep.ID[:16]) }

// at returns the secret of a step.
func (ep *Epoch) at(step uint32) (Secret, error) {
	switch {
	case ep.last != nil && step > *ep.last:
		return Secret{}, fmt.Errorf("step %d of an epoch whose admissions go to %d: %w", step, *ep.last, ErrNoKey)
	case ep.last != nil && step == ep.sealAt:
		return ep.top, nil
	}
	s, ok := ep.find(step)
	if !ok {
		return Secret{}, fmt.Errorf("step %d of an epoch held from step %d: %w", step, ep.Step, ErrNoKey)
	}
	return s, nil
}

// find walks to a step from the mark before it.
func (ep *Epoch) find(step uint32) (Secret, bool) {
	if step < ep.Step || step-ep.Step > maxStep {
		return Secret{}, false
	}
	if len(ep.marks) == 0 {
		return walk(ep.S, step-ep.Step), true
	}
	from := min((step-ep.Step)/markEvery, uint32(len(ep.marks)-1))
	return walk(ep.marks[from], step-ep.Step-from*markEvery), true
}

// CommitStep is the commitment to an epoch's secret at a step, in the admission of who
// gets it.
func CommitStep(group, eid ID, step uint32, s Secret) ID {
	return hash("p2pchat/1 step commit", group[:], eid[:], binary.BigEndian.AppendUint32(nil, step), s[:])
}

// address writes epoch, step and a fresh n into a header.
func (ep *Epoch) address(h *Header, random io.Reader) error {
	h.Epoch, h.Step = ep.Tag(), ep.seals()
	_, err := io.ReadFull(random, h.N[:])
	return err
}

// aead returns the cipher and nonce for one event: unique by n and device.
func (ep *Epoch) aead(h *Header, group ID) (cipher.AEAD, []byte, error) {
	if h.Epoch != ep.Tag() {
		return nil, nil, ErrNoKey
	}
	s, err := ep.at(h.Step)
	if err != nil {
		return nil, nil, err
	}
	key, more := messageKey(s, h, group)
	return gcm(key[:]), more[:12], nil
}

const domainMessage = "p2pchat/1 msg"

// messageKey is the first two blocks of HKDF (RFC 5869) of an epoch's secret: the key of
// one event, and its nonce in front of the other.
func messageKey(s Secret, h *Header, group ID) (key, more [sha256.Size]byte) {
	prk := shortMAC(h.N[:], s[:])
	key = shortMAC(prk[:], []byte(domainMessage), group[:], h.Dev[:], []byte{1})
	more = shortMAC(prk[:], key[:], []byte(domainMessage), group[:], h.Dev[:], []byte{2})
	return key, more
}

func gcm(key []byte) cipher.AEAD { return must(cipher.NewGCM(must(aes.NewCipher(key)))) }

// aad is the header without the body's hash, which is not known while sealing.
func aad(h *Header) []byte {
	c := *h
	c.BodyHash = ID{}
	return c.encode()
}

// seal encrypts padded plaintext for a header that [Epoch.address] wrote and
// whose BodyLen is final.
func (ep *Epoch) seal(h *Header, group ID, plain []byte) ([]byte, error) {
	c, iv, err := ep.aead(h, group)
	if err != nil {
		return nil, err
	}
	return c.Seal(plain[:0], iv, plain, aad(h)), nil
}

func (ep *Epoch) open(v Verified, sealed []byte) ([]byte, error) {
	if sealed == nil {
		return nil, fmt.Errorf("event %s: %w", v.id, ErrErased)
	}
	h := &v.event.Header
	c, iv, err := ep.aead(h, ep.Group)
	if err != nil {
		return nil, fmt.Errorf("event %s: %w", v.id, err)
	}
	plain, err := c.Open(nil, iv, sealed, aad(h))
	if err != nil {
		return nil, fmt.Errorf("event %s: %w", v.id, ErrSealBroken)
	}
	return unpad(plain)
}

// back is the key that a parent's secret is sealed under, for newcomers to an
// open history.
func (ep *Epoch) back() []byte { return derive(ep.E[:], ep.Group[:], 32, "p2pchat/1 back") }

// SealParent seals a parent epoch's secret under ep. The key serves ep alone and
// the nonce names the parent, so no pair is used for two plaintexts.
func (ep *Epoch) SealParent(parent *Epoch) []byte {
	return gcm(ep.back()).Seal(nil, parent.ID[:12], parent.E[:], append(ep.ID[:], parent.ID[:]...))
}

// OpenParent opens what SealParent sealed. The caller checks the secret against
// the parent's own rekey with [NewEpoch].
func (ep *Epoch) OpenParent(parent ID, sealed []byte) (Secret, error) {
	return openSecret(gcm(ep.back()), parent[:12], sealed, append(ep.ID[:], parent[:]...))
}

// SealN seals the rendezvous secret under the epoch's secret: whoever gets E by
// whichever way has N too, and a wrap stays as small as E.
func (ep *Epoch) SealN(n Secret) []byte {
	return gcm(ep.rendezvousKey()).Seal(nil, make([]byte, 12), n[:], ep.ID[:])
}

// OpenN opens what SealN sealed and checks it against the rekey's commitment.
func (ep *Epoch) OpenN(sealed []byte, commit ID) (Secret, error) {
	n, err := openSecret(gcm(ep.rendezvousKey()), make([]byte, 12), sealed, ep.ID[:])
	if err == nil && CommitN(ep.Group, n) != commit {
		return Secret{}, fmt.Errorf("rendezvous secret of epoch %s: %w", ep.ID.Text("ep_"), ErrSealBroken)
	}
	return n, err
}

func (ep *Epoch) rendezvousKey() []byte {
	return derive(ep.E[:], ep.Group[:], 32, "p2pchat/1 rendezvous")
}

// CommitN is the commitment to a rendezvous secret in a rekey.
func CommitN(group ID, n Secret) ID { return hash("p2pchat/1 n", group[:], n[:]) }

func openSecret(c cipher.AEAD, nonce, sealed, aad []byte) (Secret, error) {
	b, err := c.Open(nil, nonce, sealed, aad)
	if err != nil || len(b) != 32 {
		return Secret{}, ErrSealBroken
	}
	return Secret(b), nil
}
