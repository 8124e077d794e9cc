package protocol

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// FrameKind says what a frame of a stream holds. Odd kinds are critical: who does
// not know one ends the stream; even ones may be skipped.
type FrameKind uint16

// The frame kinds.
const (
	FrameHelloNonce FrameKind = 1  // hello, join: HelloNonce
	FrameHelloTags  FrameKind = 3  // hello: HelloTags
	FrameHelloProof FrameKind = 5  // hello: HelloProofs
	FrameLobby      FrameKind = 7  // join: Lobby
	FrameRequest    FrameKind = 9  // join: JoinRequest
	FrameWelcome    FrameKind = 11 // join: a sealed welcome
	FrameRefused    FrameKind = 13 // any: Refusal
	FrameOpen       FrameKind = 17 // sync: Open
	FrameHave       FrameKind = 19 // sync: Have
	FrameEvents     FrameKind = 21 // sync: Events
	FrameRecords    FrameKind = 23 // sync: Events, of records
	FrameDone       FrameKind = 25 // sync, keys: nothing
	FrameChunks     FrameKind = 27 // keys, gossip: Events, of wrap chunks
	FrameWant       FrameKind = 29 // keys: Want
	FrameKeys       FrameKind = 31 // keys: sealed epoch secrets
	FrameSecrets    FrameKind = 39 // bundle: BundleSecrets
	FramePacked     FrameKind = 33 // sync: events, as Pack packs them
	FrameCompare    FrameKind = 35 // sync: Compare
	FrameTotal      FrameKind = 37 // sync: Total
)

// Frame is the unit of every p2pchat stream.
type Frame struct {
	_       struct{} `cbor:",toarray"`
	V       uint64
	Kind    FrameKind
	Payload cbor.RawMessage
}

// HelloNonce opens a hello or a join.
type HelloNonce struct {
	Nonce [32]byte `cbor:"1,keyasint"`
}

// HelloTags lists one side's tags: always MaxHelloTags of them, ascending.
type HelloTags struct {
	Tags []HelloTag `cbor:"1,keyasint"`
}

// HelloProofs lists one side's proofs, for the groups that both are in.
type HelloProofs struct {
	Proofs []Proof `cbor:"1,keyasint,omitempty"`
}

// Lobby shows knowledge of an invite's lobby secret.
type Lobby struct {
	Tag     HelloTag `cbor:"1,keyasint"`
	Founder HelloTag `cbor:"3,keyasint,omitzero"` // by who admits: see [Hello.FounderTag]
}

// Refusal says why a stream ends.
type Refusal struct {
	Code uint64 `cbor:"1,keyasint"`
}

// Refusal codes.
const (
	RefusedUnknown  = 1 // no such invite here, or not a member
	RefusedExpired  = 2
	RefusedUsedUp   = 3
	RefusedApproval = 4 // a person has to approve first
	RefusedBusy     = 5 // try again, or elsewhere
	RefusedInvalid  = 6 // the request is malformed or its signatures do not hold
	RefusedBanned   = 7 // an unban is needed first
	RefusedDenied   = 8 // a person said no
	RefusedRevoked  = 9 // the invite was called off

	RefusedElsewhere = 10 // who was asked may not admit by this invite; others may
)

// Open opens a sync of one group: what its sender holds, in short. Where all of it is
// equal there is nothing to do.
type Open struct {
	Group   ID     `cbor:"1,keyasint"`
	Control ID     `cbor:"3,keyasint"`          // SHA-256 over all tips of control chains in order
	Records ID     `cbor:"5,keyasint"`          // SHA-256 over all record keys in order
	Count   uint64 `cbor:"7,keyasint,omitzero"` // messages
	Sum     ID     `cbor:"9,keyasint,omitzero"` // the sum of their ids, as little-endian numbers

	Addrs [][]byte `cbor:"6,keyasint,omitempty"` // members' multiaddrs, from the responder, once a connection
}

// Digest stands for all that an Open says is held.
func (o Open) Digest() ID {
	return digest([]any{o.Control, o.Records, o.Count, o.Sum})
}

// Have lists what its sender holds beside messages: the newest event of every branch of
// every control chain, and the newest record of every device and type. The last one says
// which messages are asked for.
type Have struct {
	Tips    []Tip       `cbor:"1,keyasint,omitempty"`
	Records []RecordKey `cbor:"3,keyasint,omitempty"`
	More    bool        `cbor:"5,keyasint,omitzero"`  // another Have follows
	Since   uint64      `cbor:"7,keyasint,omitzero"`  // Unix milliseconds: no messages from before
	Part    uint64      `cbor:"9,keyasint,omitzero"`  // of the days since 1970, those that give this
	Parts   uint64      `cbor:"11,keyasint,omitzero"` // modulo this: others are asked for the rest; 0 is all
}

// Asks says whether a message of a time is asked for.
func (h Have) Asks(hlc uint64) bool {
	return hlc >= h.Since && (h.Parts == 0 || hlc/uint64(PartSpan/time.Millisecond)%h.Parts == h.Part)
}

// Check says whether a Have asks for something that there can be.
func (h Have) Check() error {
	if h.Parts > MaxParts || h.Parts == 0 && h.Part != 0 || h.Parts > 0 && h.Part >= h.Parts {
		return malformed("part %d of %d", h.Part, h.Parts)
	}
	return nil
}

// Compare carries a message of the Negentropy protocol, by which R finds out which
// messages I lacks.
type Compare struct {
	Message []byte `cbor:"1,keyasint"`
}

// Total says how many messages more will follow, as far as R knows.
type Total struct {
	Events uint64 `cbor:"1,keyasint"`
}

// Done ends a sync.
type Done struct {
	Same bool `cbor:"1,keyasint,omitzero"` // of what was compared, both hold the same
}

// Events carries events or records in an order in which each comes after what it
// refers to.
type Events struct {
	List [][]byte `cbor:"1,keyasint,omitempty"`
}

// Want asks a member for what is missing here: wrap chunks, which anybody may pass on,
// secrets of epochs, which only members get, and messages of which there is an erased
// copy only.
type Want struct {
	Group  ID     `cbor:"1,keyasint"`
	Chunks []ID   `cbor:"3,keyasint,omitempty"` // SHA-256 of each
	Epochs []ID   `cbor:"5,keyasint,omitempty"`
	Box    []byte `cbor:"7,keyasint,omitempty"` // hybrid HPKE key for the answer, used once
	Bodies []ID   `cbor:"9,keyasint,omitempty"` // events
}

// Check says whether a request keeps to its bounds.
func (w Want) Check() error {
	switch {
	case len(w.Chunks) > MaxWantChunks || len(w.Epochs) > MaxWantEpochs || len(w.Bodies) > MaxWantChunks:
		return fmt.Errorf("a request for %d chunks, %d epochs and %d bodies: %w", len(w.Chunks), len(w.Epochs), len(w.Bodies), ErrTooLarge)
	case (len(w.Epochs) == 0) != (len(w.Box) == 0):
		return malformed("a request has epochs and a key for the answer, or neither")
	}
	return nil
}

// AppendFrame appends a frame: its length as an unsigned varint (LEB128), then the
// array of version, kind and payload.
func AppendFrame(dst []byte, kind FrameKind, payload any) []byte {
	b := EncodeFrame(kind, payload)
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

// EncodeFrame returns a frame without its length, as gossip carries it.
func EncodeFrame(kind FrameKind, payload any) []byte {
	return marshal(Frame{V: Version, Kind: kind, Payload: marshal(payload)})
}

// ReadFrame reads the next frame, skipping those that may be ignored.
func ReadFrame(r *bufio.Reader) (Frame, error) {
	for {
		n, err := binary.ReadUvarint(r)
		if err != nil {
			return Frame{}, err
		}
		if n > MaxFrameSize {
			return Frame{}, fmt.Errorf("frame of %d bytes: %w: at most %d", n, ErrTooLarge, MaxFrameSize)
		}
		buf := make([]byte, n)
		if _, err := io.ReadFull(r, buf); err != nil {
			return Frame{}, fmt.Errorf("frame: %w", err)
		}
		f, err := ParseFrame(buf)
		if err != nil || f.Kind%2 == 1 {
			return f, err
		}
	}
}

// ParseFrame reads a frame behind its length.
func ParseFrame(data []byte) (Frame, error) {
	var f Frame
	if err := unmarshal(data, &f); err != nil {
		return f, fmt.Errorf("frame: %w", err)
	}
	if f.V != Version {
		return f, fmt.Errorf("frame of version %d: %w", f.V, ErrUnknownCritical)
	}
	return f, nil
}

// Decode reads the payload of a frame that must be of a kind. A refusal in its
// place is returned as a *RefusedError.
func (f Frame) Decode(kind FrameKind, payload any) error {
	switch f.Kind {
	case kind:
		if err := unmarshal(f.Payload, payload); err != nil {
			return fmt.Errorf("frame kind %d: %w", kind, err)
		}
		return nil
	case FrameRefused:
		var r Refusal
		if err := unmarshal(f.Payload, &r); err != nil {
			return fmt.Errorf("refusal: %w", err)
		}
		return &RefusedError{r.Code}
	}
	return malformed("frame kind %d where %d belongs", f.Kind, kind)
}

// RefusedError says that the other side ended a stream, and why.
type RefusedError struct{ Code uint64 }

func (e *RefusedError) Error() string {
	switch e.Code {
	case RefusedUnknown:
		return "refused: the invite or the membership is not known there"
	case RefusedExpired:
		return "refused: this invitation has expired"
	case RefusedUsedUp:
		return "refused: this invitation was used as often as it may be"
	case RefusedApproval:
		return "refused: a person has to approve first"
	case RefusedBusy:
		return "refused: busy, try again"
	case RefusedBanned:
		return "refused: you are banned; a moderator can lift that"
	case RefusedDenied:
		return "refused: a person said no"
	case RefusedRevoked:
		return "refused: this invitation was revoked"
	case RefusedElsewhere:
		return "refused: who was asked may not admit by this invitation"
	}
	return "refused: the request is not valid"
}

// DigestTips returns the digest of control tips in order, as Open carries it.
func DigestTips(tips []Tip) ID { return digest(tips) }

// DigestRecords returns the digest of record keys in order, as Open carries it.
func DigestRecords(keys []RecordKey) ID { return digest(keys) }

func digest[T any](list []T) ID {
	h := sha256.New()
	h.Write([]byte("p2pchat/1 digest"))
	for _, v := range list {
		h.Write(marshal(v))
	}
	return ID(h.Sum(nil))
}
