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

// decoded is an event on its way to being Verified.
type decoded struct {
	v   Verified
	pre []byte
}

func decodeFor(group ID, wire []byte) (decoded, error) {
	e, err := Decode(wire)
	if err != nil {
		return decoded{}, err
	}
	pre := e.preimage(group)
	id := ID(sha256.Sum256(pre))
	if e.Header.Kind == KindGenesis && id != group {
		return decoded{}, fmt.Errorf("event %s: %w: the genesis of another group", id, ErrInvalid)
	}
	return decoded{Verified{event: e, id: id, group: group, wire: wire}, pre}, nil
}

// DecodeFor decodes an event of a group, for who wants to know whose it is before the
// signature is paid for.
func DecodeFor(group ID, wire []byte) (Unverified, error) {
	d, err := decodeFor(group, wire)
	return Unverified{d: d}, err
}

// Verify decodes an event of a group and checks its signature.
func Verify(group ID, wire []byte) (Verified, error) {
	d, err := decodeFor(group, wire)
	if err != nil {
		return Verified{}, err
	}
	return d.verify()
}

func (d decoded) verify() (Verified, error) {
	if !verifySig(d.v.event.Header.Dev, d.pre, d.v.event.Sig) {
		return Verified{}, fmt.Errorf("event %s: %w: changed on the way, or made for another group", d.v.id, ErrBadSignature)
	}
	return d.v, nil
}

// VerifyBatch is Verify for many events at about a third of the cost of each. The
// results are in the order of wires; where an error is not nil its event is zero.
func VerifyBatch(group ID, wires [][]byte, random io.Reader) ([]Verified, []error) {
	list, errs := make([]decoded, len(wires)), make([]error, len(wires))
	for i, wire := range wires {
		list[i], errs[i] = decodeFor(group, wire)
	}
	return verifyDecoded(list, errs, random)
}

// verifyDecoded checks the signatures of those without an error.
func verifyDecoded(list []decoded, errs []error, random io.Reader) ([]Verified, []error) {
	out := make([]Verified, len(list))
	if len(list) == 1 && errs[0] == nil { // cheaper than a batch of one
		out[0], errs[0] = list[0].verify()
		return out, errs
	}
	batch := newSigBatch(len(list))
	at := make([]int, 0, len(list))
	for i := range list {
		if errs[i] != nil {
			continue
		}
		out[i] = list[i].v
		at = append(at, i)
		batch.add(out[i].event.Header.Dev, list[i].pre, out[i].event.Sig)
	}
	if len(at) == 0 {
		return out, errs
	}
	for j, ok := range batch.verify(random) {
		if i := at[j]; !ok {
			errs[i] = fmt.Errorf("event %s: %w", out[i].id, ErrBadSignature)
			out[i] = Verified{}
		}
	}
	return out, errs
}

// Stored reads back an event that was Verified before this program stored it. The
// caller vouches for that: neither the signature nor the form is checked again.
func Stored(group ID, wire []byte) (Verified, error) {
	e, ok := decodePlain(wire)
	if !ok {
		d, err := decodeFor(group, wire)
		return d.v, err
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
