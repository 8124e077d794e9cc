package protocol

import (
	"crypto/sha256"
	"fmt"
	"io"
)

// Verified is an event that its device signed for its group. Only verification
// makes one, and only a Verified reaches a Set, the store, the API and the
// screen. Whether its author belongs to the group is for the [Set] to say.
type Verified struct {
	event Event
	id    ID
	group ID
	wire  []byte
}

// ID returns the event's id.
func (v Verified) ID() ID { return v.id }

// Group returns the group the event was made for.
func (v Verified) Group() ID { return v.group }

// Header returns the signed header. Callers do not change what it points to.
func (v Verified) Header() *Header { return &v.event.Header }

// Event returns the event. Callers do not change what it points to.
func (v Verified) Event() Event { return v.event }

// Wire returns the event's bytes. Callers do not change them.
func (v Verified) Wire() []byte { return v.wire }

// Tip returns the event's place on its chain.
func (v Verified) Tip() Tip {
	h := &v.event.Header
	return Tip{Dev: h.Dev, Chain: h.Chain, Seq: h.Seq, ID: v.id}
}

// Whole says whether nothing of the event is left out: a message's body, a control
// event's sealed text. Anybody can take them off a copy without breaking the
// signature, so a copy that is not whole must not take the place of one that is.
func (v Verified) Whole() bool {
	e := &v.event
	if e.Body == nil || e.Header.Chain == Messages {
		return e.Body != nil
	}
	return e.Sealed != nil || e.Header.Epoch == EpochTag{}
}

// Erased returns the copy without body and sealed text, which keeps id, signature
// and place.
func (v Verified) Erased() Verified {
	v.event.Erase()
	v.wire = v.event.Encode()
	return v
}

// IsZero says whether v is no event at all.
func (v Verified) IsZero() bool { return v.id.IsZero() }

// Unverified is an event, of a pack or decoded by itself, that is well formed and of
// which nobody has checked yet who signed it. [VerifyUnpacked] does.
type Unverified struct {
	v   Verified // once it is
	pre []byte   // what is signed
	err error    // it cannot be verified
}

// ID returns the event's id, which says nothing about who made it; it is zero where
// this version cannot read the event.
func (u Unverified) ID() ID { return u.v.id }

// Dev returns the device that is said to have signed.
func (u Unverified) Dev() Key { return u.v.event.Header.Dev }

// Tip is [Verified.Tip], as it is said to be.
func (u Unverified) Tip() Tip { return u.v.Tip() }

// Whole is [Verified.Whole].
func (u Unverified) Whole() bool { return u.v.Whole() }

// DecodeFor decodes an event of a group, for who wants to know whose it is before the
// signature is paid for.
func DecodeFor(group ID, wire []byte) (Unverified, error) {
	e, err := Decode(wire)
	if err != nil {
		return Unverified{err: err}, err
	}
	pre := e.preimage(group)
	id := ID(sha256.Sum256(pre))
	if e.Header.Kind == KindGenesis && id != group {
		err := fmt.Errorf("event %s: %w: the genesis of another group", id, ErrInvalid)
		return Unverified{err: err}, err
	}
	return Unverified{v: Verified{event: e, id: id, group: group, wire: wire}, pre: pre}, nil
}

// Verify decodes an event of a group and checks its signature.
func Verify(group ID, wire []byte) (Verified, error) {
	u, err := DecodeFor(group, wire)
	if err != nil {
		return Verified{}, err
	}
	return u.verify()
}

func (u *Unverified) verify() (Verified, error) {
	if !verifySig(u.v.event.Header.Dev, u.pre, u.v.event.Sig) {
		return Verified{}, fmt.Errorf("event %s: %w: changed on the way, or made for another group", u.v.id, ErrBadSignature)
	}
	return u.v, nil
}

// VerifyBatch is Verify for many events at about a third of the cost of each. The
// results are in the order of wires; where an error is not nil its event is zero.
func VerifyBatch(group ID, wires [][]byte, random io.Reader) ([]Verified, []error) {
	list := make([]Unverified, len(wires))
	for i, wire := range wires {
		list[i], _ = DecodeFor(group, wire) // which keeps the error
	}
	return VerifyUnpacked(list, random)
}

// VerifyUnpacked checks who signed the events of one or more packs, in batches, which
// cost a third of each alone. The results are in the order of events; where an error
// is not nil its event is zero.
func VerifyUnpacked(list []Unverified, random io.Reader) ([]Verified, []error) {
	out, errs := make([]Verified, len(list)), make([]error, len(list))
	if len(list) == 1 && list[0].err == nil { // cheaper than a batch of one
		out[0], errs[0] = list[0].verify()
		return out, errs
	}
	batch := newSigBatch(len(list))
	at := make([]int, 0, len(list))
	for i := range list {
		u := &list[i]
		if errs[i] = u.err; u.err == nil {
			at = append(at, i)
			batch.add(u.v.event.Header.Dev, u.pre, u.v.event.Sig)
		}
	}
	for j, ok := range batch.verify(random) {
		if i := at[j]; ok {
			out[i] = list[i].v
		} else {
			errs[i] = fmt.Errorf("event %s: %w", list[i].v.id, ErrBadSignature)
		}
	}
	return out, errs
}

// Stored reads back an event that was Verified before this program stored it. The
// caller vouches for that: neither the signature nor the form is checked again.
func Stored(group ID, wire []byte) (Verified, error) {
	e, ok := decodePlain(wire)
	if !ok {
		u, err := DecodeFor(group, wire)
		return u.v, err
	}
	if e.Body != nil {
		e.Header.BodyHash = sha256.Sum256(e.Body)
	}
	var room [preimageRoom]byte
	return Verified{event: e, id: sha256.Sum256(e.appendPreimage(room[:0], group)), group: group, wire: wire}, nil
}

// ForkProof is two different events of one device at one place of one chain. It
// shows a copied device or a dishonest one. It is stored, gossiped and shown;
// nobody is banned by it without a person's decision.
type ForkProof struct{ A, B Verified }

// Fork returns the proof if two events fork a chain.
func Fork(a, b Verified) (ForkProof, bool) {
	x, y := a.Tip(), b.Tip()
	if a.group != b.group || x.ID == y.ID {
		return ForkProof{}, false
	}
	x.ID, y.ID = ID{}, ID{}
	if x != y {
		return ForkProof{}, false
	}
	if b.id.Compare(a.id) < 0 {
		a, b = b, a
	}
	return ForkProof{a, b}, true
}
