package protocol

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// Events that travel together have much in common: the device, its grant, what they
// cite, the epoch. Packed, they leave out what repeats: a message of a run is its
// sealed body, its signature, its random N and some bytes. Control events, and events
// with fields that this version does not know, are packed as they are.

// What an item of a pack leaves out or has beside what all have.
const (
	packFollows  = 1 << iota // seq and prev: the next of its device, or the first of its chain
	packSameAuth             // as the device's last; none, if it is its first
	packSameKind             // as the last message, like the two that follow
	packSameRefs
	packSameEpoch // and step
	packBody      // instead of body_hash
	packExp
	packTo
)

// How an item begins; the devices of a pack are numbered from packDevice on.
const (
	packWhole  = 0 // the event's bytes follow, their length before them
	packNew    = 1 // a device that the pack has not had so far
	packDevice = 2
)

// packState is what packer and unpacker know after each item.
type packState struct {
	last    Header // of the last message, in whose place stands nothing at first
	numbers map[Key]int
	devices []packedDevice
}

// packedDevice is what a pack has told of a device.
type packedDevice struct {
	dev  Key
	auth ID
	seq  uint64
	id   ID
}

// packedUsual is about what a short message takes: room is made for as many.
const packedUsual = 256

// append appends an event as an item and takes it into account.
func (s *packState) append(dst []byte, e *Event, id ID, wire []byte) []byte {
	h := &e.Header
	if h.Chain != Messages || len(h.Ext) > 0 {
		dst = binary.AppendUvarint(append(dst, packWhole), uint64(len(wire)))
		return append(dst, wire...)
	}
	number, known := s.numbers[h.Dev]
	if !known {
		number = s.enter(h.Dev)
		dst = append(append(dst, packNew), h.Dev[:]...)
	} else {
		dst = binary.AppendUvarint(dst, uint64(packDevice+number))
	}
	d := &s.devices[number]
	flags := s.flags(e, d)
	dst = append(dst, flags)
	if flags&packFollows == 0 {
		dst = binary.AppendUvarint(dst, h.Seq)
		if h.Seq > 1 {
			dst = append(dst, h.Prev[:]...)
		}
	}
	if flags&packSameAuth == 0 {
		dst = append(dst, h.Auth[:]...)
	}
	if flags&packSameKind == 0 {
		dst = binary.AppendUvarint(dst, uint64(h.Kind))
	}
	if flags&packSameRefs == 0 {
		dst = binary.AppendUvarint(dst, uint64(len(h.Refs)))
		for i := range h.Refs {
			dst = append(dst, h.Refs[i][:]...)
		}
	}
	if flags&packSameEpoch == 0 {
		dst = binary.AppendUvarint(append(dst, h.Epoch[:]...), uint64(h.Step))
	}
	if flags&packExp != 0 {
		dst = binary.AppendUvarint(dst, h.Exp)
	}
	if flags&packTo != 0 {
		dst = append(dst, h.To[:]...)
	}
	dst = binary.AppendVarint(dst, int64(h.HLC)-int64(s.last.HLC))
	dst = append(append(dst, h.N[:]...), e.Sig[:]...)
	dst = binary.AppendUvarint(dst, uint64(h.BodyLen))
	if e.Body != nil {
		dst = append(dst, e.Body...)
	} else {
		dst = append(dst, h.BodyHash[:]...)
	}
	s.took(h, d, id)
	return dst
}

// enter numbers a device that is new to the pack.
func (s *packState) enter(dev Key) int {
	if s.numbers == nil {
		s.numbers = make(map[Key]int)
	}
	s.numbers[dev] = len(s.devices)
	s.devices = append(s.devices, packedDevice{dev: dev})
	return len(s.devices) - 1
}

func (s *packState) took(h *Header, d *packedDevice, id ID) {
	s.last = *h
	d.auth, d.seq, d.id = h.Auth, h.Seq, id
}

func (s *packState) flags(e *Event, d *packedDevice) (flags byte) {
	h := &e.Header
	for i, on := range [...]bool{
		h.Seq == d.seq+1 && h.Prev == d.id,
		h.Auth == d.auth,
		h.Kind == s.last.Kind,
		equalIDs(h.Refs, s.last.Refs),
		h.Epoch == s.last.Epoch && h.Step == s.last.Step,
		e.Body != nil,
		h.Exp != 0,
		!h.To.IsZero(),
	} {
		if on {
			flags |= 1 << i
		}
	}
	return flags
}

func equalIDs(a, b []ID) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// Packer packs events one after another.
type Packer struct {
	state packState
	out   []byte
	count int
}

// Add packs an event, unless that would make the pack longer than so many bytes, or
// have more than MaxPacked events; it says whether it did. An empty pack takes any
// event within MaxPackSize.
func (p *Packer) Add(v Verified, most int) bool {
	if p.count >= MaxPacked {
		return false
	}
	h := &v.event.Header
	number, known := p.state.numbers[h.Dev]
	var device packedDevice
	if known {
		device = p.state.devices[number]
	}
	last, devices, size := p.state.last, len(p.state.devices), len(p.out)
	p.out = p.state.append(p.out, &v.event, v.id, v.wire)
	if len(p.out) <= most {
		p.count++
		return true
	}
	p.out, p.state.last = p.out[:size], last
	if known {
		p.state.devices[number] = device
	} else if len(p.state.devices) > devices {
		p.state.devices = p.state.devices[:devices]
		delete(p.state.numbers, h.Dev)
	}
	return false
}

// Len returns how many events are packed.
func (p *Packer) Len() int { return p.count }

// Bytes returns the pack; nothing is added afterwards.
func (p *Packer) Bytes() []byte { return p.out }

// Pack packs events, however many bytes and events that makes: what goes to others
// goes through a [Packer].
func Pack(events []Verified) []byte {
	var s packState
	var out []byte
	for i := range events {
		out = s.append(out, &events[i].event, events[i].id, events[i].wire)
	}
	return out
}

// Unpack reads the events of a pack. Like [Decode] it is strict: a pack has one form.
// An event that only a newer version can read is among the others, and fails when it
// is verified. Nothing that is returned refers to data.
func Unpack(group ID, data []byte) ([]Unverified, error) {
	if len(data) > MaxPackSize {
		return nil, fmt.Errorf("a pack of %d bytes: %w: at most %d", len(data), ErrTooLarge, MaxPackSize)
	}
	u := unpacker{packReader: packReader{in: data}, group: group}
	u.out = make([]Unverified, 0, min(1+len(data)/packedUsual, MaxPacked))
	for len(u.in) > 0 {
		if len(u.out) == MaxPacked {
			return nil, fmt.Errorf("a pack of more than %d events: %w", MaxPacked, ErrTooLarge)
		}
		before := u.in
		e, err := u.item()
		if err != nil {
			return nil, fmt.Errorf("event %d of a pack: %w", len(u.out)+1, err)
		}
		item := before[:len(before)-len(u.in)]
		// Writing it again takes it into account, and refuses every other form.
		u.again = u.state.append(u.again[:0], &e.v.event, e.v.id, e.v.wire)
		if !bytes.Equal(u.again, item) {
			return nil, fmt.Errorf("event %d of a pack: %w", len(u.out)+1, malformed("it is not packed as it has to be"))
		}
		u.out = append(u.out, e)
	}
	return u.out, nil
}

type unpacker struct {
	packReader
	group ID
	state packState
	out   []Unverified
	again []byte
}

// item reads one event. A whole one may be of a version that is not known here.
func (u *unpacker) item() (Unverified, error) {
	lead := u.uvarint()
	if lead == packWhole {
		wire := bytes.Clone(u.bytes(u.uvarint()))
		if u.short {
			return Unverified{}, malformed("it ends early")
		}
		e, err := DecodeFor(u.group, wire)
		if errors.Is(err, ErrUnknownCritical) {
			return Unverified{v: Verified{wire: wire}, err: err}, nil
		}
		return e, err
	}
	e := u.message(lead)
	if u.short {
		return Unverified{}, malformed("it ends early, or names a device that the pack does not have")
	}
	if err := e.check(); err != nil {
		return Unverified{}, err
	}
	return u.claim(e)
}

// claim makes of an event what is verified. Its body is that of the wire form, so that
// it is in memory once.
func (u *unpacker) claim(e Event) (Unverified, error) {
	wire := e.Encode()
	if len(wire) > MaxEventSize {
		return Unverified{}, fmt.Errorf("event of %d bytes: %w: at most %d", len(wire), ErrTooLarge, MaxEventSize)
	}
	if e.Body != nil {
		e.Body = wire[len(wire)-1-len(e.Body) : len(wire)-1 : len(wire)-1] // before the null of what is sealed
		e.Header.BodyHash = sha256.Sum256(e.Body)
	}
	pre := e.preimage(u.group)
	return Unverified{v: Verified{event: e, id: sha256.Sum256(pre), group: u.group, wire: wire}, pre: pre}, nil
}

// message reads a message behind the number of its device.
func (u *unpacker) message(lead uint64) Event {
	h := Header{V: Version, Chain: Messages}
	var d packedDevice
	switch number := lead - packDevice; {
	case lead == packNew:
		h.Dev = Key(u.fixed(32))
	case number < uint64(len(u.state.devices)):
		d = u.state.devices[number]
		h.Dev = d.dev
	default:
		u.short = true
	}
	flags, last := u.fixed(1)[0], &u.state.last
	if h.Seq, h.Prev = d.seq+1, d.id; flags&packFollows == 0 {
		if h.Seq, h.Prev = u.uvarint(), (ID{}); h.Seq > 1 {
			h.Prev = ID(u.fixed(32))
		}
	}
	if h.Auth = d.auth; flags&packSameAuth == 0 {
		h.Auth = ID(u.fixed(32))
	}
	if h.Kind = last.Kind; flags&packSameKind == 0 {
		h.Kind = Kind(u.uvarint()) // of a larger number the rest is lost, and so it is refused
	}
	if h.Refs = last.Refs; flags&packSameRefs == 0 {
		h.Refs = u.ids()
	}
	if h.Epoch, h.Step = last.Epoch, last.Step; flags&packSameEpoch == 0 {
		h.Epoch, h.Step = EpochTag(u.fixed(16)), uint32(u.uvarint())
	}
	if flags&packExp != 0 {
		h.Exp = u.uvarint()
	}
	if flags&packTo != 0 {
		h.To = ID(u.fixed(32))
	}
	h.HLC = uint64(int64(last.HLC) + u.varint())
	h.N = [16]byte(u.fixed(16))
	e := Event{Sig: Signature(u.fixed(64))}
	size := u.uvarint()
	h.BodyLen = uint32(size)
	if flags&packBody == 0 {
		h.BodyHash = ID(u.fixed(32))
	} else {
		e.Body = u.bytes(size)
	}
	e.Header = h
	return e
}

// packReader reads a pack. Past its end it reads zeros, and says so.
type packReader struct {
	in    []byte
	short bool
}

func (r *packReader) bytes(n uint64) []byte {
	if n > uint64(len(r.in)) {
		r.short, r.in = true, nil
		return nil
	}
	b := r.in[:n:n]
	r.in = r.in[n:]
	return b
}

func (r *packReader) fixed(n int) []byte {
	if b := r.bytes(uint64(n)); b != nil {
		return b
	}
	return make([]byte, n)
}

func (r *packReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.in)
	if n <= 0 {
		r.short, r.in, n = true, nil, 0
	}
	r.in = r.in[n:]
	return v
}

func (r *packReader) varint() int64 {
	v, n := binary.Varint(r.in)
	if n <= 0 {
		r.short, r.in, n = true, nil, 0
	}
	r.in = r.in[n:]
	return v
}

func (r *packReader) ids() []ID {
	n := r.uvarint()
	if n > MaxMessageRefs {
		r.short = true
		return nil
	}
	list := make([]ID, n)
	for i := range list {
		list[i] = ID(r.fixed(32))
	}
	return list
}
