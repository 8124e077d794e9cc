package protocol

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/fxamacker/cbor/v2"
)

// Version is the protocol version this package speaks.
const Version = 1

// ErrTooLarge says that something is over its limit in bytes or entries.
var ErrTooLarge = errors.New("too large")

// ErrUnknownCritical says that an event uses a critical kind or field that this
// version does not know: a newer program is needed.
var ErrUnknownCritical = errors.New("needs a newer version of p2pchat")

// Header is the signed part of an event. Odd keys are critical, even ones may be
// ignored by who does not know them and are kept.
type Header struct {
	V        uint64   `cbor:"1,keyasint"`
	Exp      uint64   `cbor:"2,keyasint,omitzero"`   // Unix seconds after which everybody may drop the body
	Kind     Kind     `cbor:"3,keyasint"`            // what it is
	Dev      Key      `cbor:"5,keyasint"`            // the device that signed
	Chain    Chain    `cbor:"7,keyasint"`            // which of the device's two logs
	Seq      uint64   `cbor:"9,keyasint"`            // counts from 1
	Prev     ID       `cbor:"11,keyasint,omitzero"`  // the event before it on the chain, absent at seq 1
	Refs     []ID     `cbor:"13,keyasint,omitempty"` // control heads the author had seen, ascending
	Auth     ID       `cbor:"15,keyasint,omitzero"`  // the grant (or genesis) the author acts under
	HLC      uint64   `cbor:"17,keyasint"`           // hybrid logical clock, Unix milliseconds
	Epoch    EpochTag `cbor:"19,keyasint,omitzero"`  // the epoch the sealed part is under
	Step     uint32   `cbor:"21,keyasint,omitzero"`  // the epoch's ratchet step
	N        [16]byte `cbor:"23,keyasint,omitzero"`  // random, makes the message key unique
	BodyLen  uint32   `cbor:"25,keyasint"`           // length of the body in bytes
	BodyHash ID       `cbor:"27,keyasint,omitzero"`  // SHA-256 of the body; on the wire only where the body is not
	To       ID       `cbor:"29,keyasint,omitzero"`  // the message it is about, where who cannot open it must know

	// Ext holds unknown fields with even keys as they came.
	Ext map[uint64]cbor.RawMessage `cbor:"-"`
}

// Event is a signed event as it travels: a header, its signature, and the body,
// which may have been erased. A control event's body is clear, with sealed text
// beside it; a message's body is sealed as a whole.
type Event struct {
	Header Header
	Sig    Signature
	Body   []byte // nil where it was erased or left out
	Sealed []byte // a control event's sealed text; nil where there is none
}

// wireEvent is the encoding of an Event.
type wireEvent struct {
	_      struct{} `cbor:",toarray"`
	Header cbor.RawMessage
	Sig    Signature
	Body   []byte
	Sealed []byte
}

// headerRoom is what most headers have room in.
const headerRoom = 384

func (h *Header) encode() []byte { return h.appendTo(make([]byte, 0, headerRoom)) }

// appendTo appends the header's bytes. Extensions take the slow way.
func (h *Header) appendTo(dst []byte) []byte {
	if len(h.Ext) == 0 {
		return h.appendPlain(dst)
	}
	m := h.known()
	maps.Copy(m, h.Ext)
	return append(dst, marshal(m)...)
}

// known returns the fields that this version knows.
func (h *Header) known() (m map[uint64]cbor.RawMessage) {
	c := *h // so that only those with extensions are on the heap
	if err := decMode.Unmarshal(marshal(&c), &m); err != nil {
		panic(err) // what marshal made decodes
	}
	return m
}

// Encode returns the event's bytes for wire and disk.
func (e *Event) Encode() []byte {
	h := e.Header
	if e.Body != nil {
		h.BodyHash = ID{} // it follows from the body
	}
	out := make([]byte, 0, headerRoom+len(e.Sig)+len(e.Body)+len(e.Sealed)+16)
	out = appendBytes(h.appendTo(appendHead(out, cborArray, 4)), e.Sig[:])
	return appendBytesOrNull(appendBytesOrNull(out, e.Body), e.Sealed)
}

// Erase drops the body and the sealed text. Chain, id and signature still hold.
func (e *Event) Erase() { e.Body, e.Sealed = nil, nil }

// Decode reads an event, which refers to data from then on. It says only that the bytes
// are well formed; [Verify] says whose they are. What decodes encodes to the same bytes.
func Decode(data []byte) (Event, error) {
	if len(data) > MaxEventSize {
		return Event{}, fmt.Errorf("event of %d bytes: %w: at most %d", len(data), ErrTooLarge, MaxEventSize)
	}
	e, ok := decodePlain(data)
	if !ok {
		var err error
		if e, err = decodeExtended(data); err != nil {
			return Event{}, fmt.Errorf("event: %w", err)
		}
	}
	if err := e.check(); err != nil {
		return Event{}, fmt.Errorf("event: %w", err)
	}
	if e.Body != nil {
		e.Header.BodyHash = sha256.Sum256(e.Body)
	}
	return e, nil
}

// decodeExtended reads an event with extensions, and says of another what is wrong.
func decodeExtended(data []byte) (Event, error) {
	var w wireEvent
	if err := unmarshal(data, &w); err != nil {
		return Event{}, err
	}
	h, err := decodeHeader(w.Header)
	return Event{Header: h, Sig: w.Sig, Body: w.Body, Sealed: w.Sealed}, err
}

func decodeHeader(raw []byte) (Header, error) {
	var h Header
	if err := decMode.Unmarshal(raw, &h); err != nil {
		return h, fmt.Errorf("header: %w: %v", ErrMalformed, err)
	}
	var m map[uint64]cbor.RawMessage
	if err := decMode.Unmarshal(raw, &m); err != nil {
		return h, fmt.Errorf("header: %w: %v", ErrMalformed, err)
	}
	known := h.known()
	h.Ext = make(map[uint64]cbor.RawMessage)
	for k, v := range m {
		if _, ok := known[k]; ok {
			continue
		}
		switch {
		case knownField(k):
			return h, malformed("header field %d holds its zero value", k)
		case k%2 == 1:
			return h, fmt.Errorf("header field %d: %w", k, ErrUnknownCritical)
		}
		if err := canonical(v); err != nil {
			return h, fmt.Errorf("header field %d: %w", k, err)
		}
		h.Ext[k] = v
	}
	if len(h.Ext) > MaxExtensions {
		return h, fmt.Errorf("header: %d extensions: %w", len(h.Ext), ErrTooLarge)
	}
	if !bytes.Equal(h.encode(), raw) {
		return h, fmt.Errorf("header: %w: not deterministic CBOR", ErrMalformed)
	}
	return h, nil
}

// knownField says whether this version knows a header field; see [Header].
func knownField(k uint64) bool { return k == 2 || k%2 == 1 && k <= 29 }

// check holds what must be true of an event on its own.
func (e *Event) check() error {
	h := &e.Header
	switch {
	case h.V != Version:
		return fmt.Errorf("version %d: %w", h.V, ErrUnknownCritical)
	case h.Seq == 0 || h.Seq >= MaxSeq:
		return malformed("seq %d", h.Seq)
	case (h.Seq == 1) != h.Prev.IsZero():
		return malformed("seq %d and prev do not fit", h.Seq)
	case h.HLC >= MaxHLC:
		return malformed("hlc %d is 2^48 or more", h.HLC)
	case !strictlyAscending(h.Refs, ID.Compare):
		return malformed("refs are not in ascending order")
	case h.Dev.IsZero():
		return malformed("no device")
	case h.Kind == 0:
		return malformed("kind 0, which stands for records")
	case (e.Body == nil) == h.BodyHash.IsZero():
		return malformed("body and body_hash: exactly one of them is there")
	case e.Body != nil && uint64(len(e.Body)) != uint64(h.BodyLen):
		return malformed("body is %d bytes and body_len says %d", len(e.Body), h.BodyLen)
	case h.BodyLen > MaxEventSize:
		return malformed("body_len %d", h.BodyLen)
	case h.Epoch == (EpochTag{}) && (h.Step != 0 || h.N != [16]byte{}):
		return malformed("step or n without an epoch")
	}
	switch h.Chain {
	case Control:
		return e.checkControl()
	case Messages:
		return e.checkMessage()
	}
	return malformed("chain %d", h.Chain)
}

func (e *Event) checkMessage() error {
	h := &e.Header
	switch {
	case h.Kind < KindText:
		return malformed("kind %s on the message chain", h.Kind)
	case len(h.Refs) == 0 || len(h.Refs) > MaxMessageRefs:
		return malformed("%d refs on a message: from 1 to %d", len(h.Refs), MaxMessageRefs)
	case h.Epoch == (EpochTag{}) || h.N == [16]byte{}:
		return malformed("a message without an epoch or n")
	case h.BodyLen < gcmOverhead+1:
		return malformed("a message body of %d bytes", h.BodyLen)
	case e.Sealed != nil:
		return malformed("sealed text beside a message")
	case h.Kind.Known() && h.To.IsZero() == h.Kind.aboutInHeader():
		return malformed("to in the header does not fit a %s", h.Kind)
	}
	return nil
}

func (e *Event) checkControl() error {
	h := &e.Header
	genesis := h.Kind == KindGenesis
	switch {
	case h.Kind >= KindText:
		return malformed("kind %s on the control chain", h.Kind)
	case len(h.Refs) > MaxControlRefs:
		return malformed("%d refs: at most %d", len(h.Refs), MaxControlRefs)
	case genesis && (len(h.Refs) != 0 || !h.Auth.IsZero() || h.Seq != 1):
		return malformed("a genesis with refs, auth or a seq other than 1")
	case !genesis && (len(h.Refs) == 0 || h.Auth.IsZero()):
		return malformed("a control event without refs or auth")
	case h.Exp != 0:
		return malformed("a control event that expires")
	case !h.To.IsZero():
		return malformed("a control event about a message")
	case e.Body == nil && e.Sealed != nil:
		return malformed("sealed text without its body")
	}
	if e.Body == nil {
		return nil // whether it may be missing is the store's and sync's business
	}
	c, err := decodeControl(h.Kind, e.Body)
	if err != nil {
		return err
	}
	return c.checkSealed(e)
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
}

func strictlyAscending[T any](list []T, compare func(a, b T) int) bool {
	for i := 1; i < len(list); i++ {
		if compare(list[i-1], list[i]) >= 0 {
			return false
		}
	}
	return true
}

// preimage is what is signed, and hashed into the id: a domain, the group, and
// the header with the body's hash. So no event can be replayed into another group.
func (e *Event) preimage(group ID) []byte {
	return e.appendPreimage(make([]byte, 0, preimageRoom), group)
}

func (e *Event) appendPreimage(dst []byte, group ID) []byte {
	if e.Header.Kind == KindGenesis {
		group = ID{}
	}
	return e.Header.appendTo(append(append(dst, domainEvent...), group[:]...))
}

// preimageRoom is what most preimages have room in.
const preimageRoom = len(domainEvent) + len(ID{}) + headerRoom

const domainEvent = "p2pchat/1 event"

// Tip is a place on a device's chain: the last event somebody holds of it.
type Tip struct {
	Dev   Key    `cbor:"1,keyasint"`
	Chain Chain  `cbor:"3,keyasint"`
	Seq   uint64 `cbor:"5,keyasint"`
	ID    ID     `cbor:"7,keyasint"`
}

// Compare orders tips by device, chain, seq and id.
func (t Tip) Compare(o Tip) int {
	return cmp.Or(t.Dev.Compare(o.Dev), cmp.Compare(t.Chain, o.Chain), cmp.Compare(t.Seq, o.Seq), t.ID.Compare(o.ID))
}

// Draft is what an author decides about an event; [Draft.SignMessage] and [Draft.SignControl] make the rest.
type Draft struct {
	Group ID
	Kind  Kind
	Prev  Tip  // the author's chain so far; Dev and Chain always set, Seq 0 at its start
	Refs  []ID // control heads
	Auth  ID
	HLC   uint64
	Exp   uint64
	To    ID // the message it is about, for the kinds that say so in the header
}

func (d *Draft) header() Header {
	refs := slices.Clone(d.Refs)
	slices.SortFunc(refs, ID.Compare)
	return Header{
		V: Version, Exp: d.Exp, Kind: d.Kind, Dev: d.Prev.Dev, Chain: d.Prev.Chain, Seq: d.Prev.Seq + 1,
		Prev: d.Prev.ID, Refs: slices.Compact(refs), Auth: d.Auth, HLC: d.HLC, To: d.To,
	}
}

// Unsigned is an event that lacks its signature only. The one after it on its chain can
// be made already: an id does not depend on the signature.
type Unsigned struct {
	event    Event
	preimage []byte
	group    ID // zero for a genesis
	id       ID
}

// complete hashes the body, and with it the event.
func (e *Event) complete(group ID) Unsigned {
	e.Header.BodyHash = sha256.Sum256(e.Body)
	pre := e.preimage(group)
	return Unsigned{event: *e, preimage: pre, group: group, id: sha256.Sum256(pre)}
}

// finish hashes and signs.
func (e *Event) finish(group ID, key ed25519.PrivateKey) (Verified, error) {
	return e.complete(group).Sign(key)
}

// Tip is the event's place on its chain.
func (u Unsigned) Tip() Tip {
	h := &u.event.Header
	return Tip{Dev: h.Dev, Chain: h.Chain, Seq: h.Seq, ID: u.id}
}

// Sign signs with the key of the device, and checks its own work: an author must not
// publish what others would refuse.
func (u Unsigned) Sign(key ed25519.PrivateKey) (Verified, error) {
	e := u.event
	e.Sig = sign(key, u.preimage)
	wire := e.Encode()
	if len(wire) > MaxEventSize {
		return Verified{}, fmt.Errorf("event of %d bytes: %w: at most %d", len(wire), ErrTooLarge, MaxEventSize)
	}
	if _, err := Decode(wire); err != nil {
		return Verified{}, err
	}
	if e.Header.Kind == KindGenesis {
		u.group = u.id
	}
	return Verified{event: e, id: u.id, group: u.group, wire: wire}, nil
}
