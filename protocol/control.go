package protocol

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"
)

// Clear is the part of a control event that every holder can read: a *Genesis,
// *Grant, *Denial, *Lift, *Leave, *DeviceAdd, *DeviceRevoke, *Invite,
// *InviteRevoke, *Setting, *Rekey, *Successor or *Unknown.
type Clear interface{ check() error }

// History says what a newcomer may read.
type History uint8

// The history policies.
const (
	HistoryAll       History = 1 // newcomers read everything
	HistorySinceJoin History = 2 // newcomers read what is sent after they join
)

// Genesis starts a group and names its founders.
type Genesis struct {
	Salt     [32]byte `cbor:"1,keyasint"` // random; founders derive their identity from it, since the group's id comes later
	Founders []Cert   `cbor:"3,keyasint"` // one to seven, ascending by root, all of rank 0
	History  History  `cbor:"5,keyasint"`
}

// Grant gives somebody a rank. A first grant is an admission and carries the
// newcomer's own proof, so that nobody is added silently.
type Grant struct {
	Target Key         `cbor:"1,keyasint"`            // the identity's root
	Rank   Rank        `cbor:"3,keyasint"`            // strictly junior to the author's
	Invite ID          `cbor:"5,keyasint,omitzero"`   // the invite event an admission answers
	Cert   *Cert       `cbor:"7,keyasint,omitempty"`  // the newcomer's device
	Proof  *JoinProof  `cbor:"9,keyasint,omitempty"`  // the newcomer's consent
	Steps  []StepStart `cbor:"11,keyasint,omitempty"` // where the newcomer's reading begins in each live epoch (history since-join)
}

// StepStart says from which step on a newcomer reads an epoch. Who has seen it seals
// there or later.
type StepStart struct {
	Epoch ID     `cbor:"1,keyasint"`
	Step  uint32 `cbor:"3,keyasint"` // at least 1
	Hash  ID     `cbor:"5,keyasint"` // [CommitStep] of the secret at Step
}

// Cut is what a denial spares of its target's acts: the events it names and those
// before them on their chains, by the links of the chain and never by number. A chain
// that is not named is not spared.
type Cut struct {
	Control  []ID       `cbor:"5,keyasint,omitempty"` // in the denial's past; ascending
	Messages []CutEntry `cbor:"7,keyasint,omitempty"` // ascending by id
}

// CutEntry names the last message of a chain that a denial spares. The number says
// what may be before it until the message itself is here.
type CutEntry struct {
	ID  ID     `cbor:"1,keyasint"`
	Seq uint64 `cbor:"3,keyasint"`
}

// Denial is a remove, a ban or a mute.
type Denial struct {
	Target Key `cbor:"1,keyasint"`
	Cut
}

// Lift is an unban or an unmute.
type Lift struct {
	Target Key `cbor:"1,keyasint"`
}

// Leave says that its author goes.
type Leave struct{}

// DeviceAdd brings a further device of its author's identity.
type DeviceAdd struct {
	Cert Cert `cbor:"1,keyasint"`
}

// DeviceRevoke ends a device. The statement is the root's, whoever brings it.
type DeviceRevoke struct {
	Root Key `cbor:"1,keyasint"`
	Dev  Key `cbor:"3,keyasint"`
	Cut
	Sig Signature `cbor:"9,keyasint"`
}

// Invite lets holders of a seed ask to join.
type Invite struct {
	Key          Key    `cbor:"1,keyasint"`           // derived from the link's seed
	Rank         Rank   `cbor:"3,keyasint"`           // what who joins by it becomes
	Expiry       uint64 `cbor:"5,keyasint,omitzero"`  // Unix seconds, judged by the admitter's clock; 0 is never
	Uses         uint32 `cbor:"7,keyasint,omitzero"`  // how many may join by it; 0 is any number
	Approve      bool   `cbor:"9,keyasint,omitzero"`  // a person has to say yes
	IssuerAdmits bool   `cbor:"11,keyasint,omitzero"` // only the issuer's devices admit, so that uses are exact
}

// InviteRevoke ends an invite. Admissions concurrent with it stand.
type InviteRevoke struct {
	Invite ID `cbor:"1,keyasint"`
}

// Setting changes one of the group's settings.
type Setting struct {
	Number uint16 `cbor:"1,keyasint"`
	Value  uint64 `cbor:"3,keyasint,omitzero"`
}

// Rekey starts an epoch.
type Rekey struct {
	Epoch   ID       `cbor:"1,keyasint"`
	Parents []Parent `cbor:"3,keyasint,omitempty"` // ascending by epoch
	Commit  ID       `cbor:"5,keyasint"`           // commits to the rendezvous secret N
	SealedN []byte   `cbor:"7,keyasint"`           // N under the epoch's secret, 48 bytes
	Chunks  []ID     `cbor:"9,keyasint,omitempty"` // SHA-256 of each wrap chunk, in the order of devices
	Hybrid  bool     `cbor:"11,keyasint,omitzero"` // wraps are MLKEM768-X25519, not X25519
}

// Parent is an epoch that a rekey follows. Where history is open, its secret is
// sealed under the new one.
type Parent struct {
	Epoch ID     `cbor:"1,keyasint"`
	Back  []byte `cbor:"3,keyasint,omitempty"`
}

// Successor names the group that willing members move to; the link is sealed.
type Successor struct {
	Group ID `cbor:"1,keyasint"`
}

// Unknown is the clear part of a kind that this version does not know.
type Unknown struct{ Raw cbor.RawMessage }

// Aside is the sealed text beside a control event.
type Aside struct {
	Text  string `cbor:"1,keyasint,omitempty"` // a name, topic, rule, reason or question
	Lobby Secret `cbor:"3,keyasint,omitzero"`  // an invite's lobby secret, for who admits
	Ask   Secret `cbor:"5,keyasint,omitzero"`  // seed of the key that answers to an invite's question are sealed to
}

// controlBody is the body of a control event.
type controlBody struct {
	Clear      cbor.RawMessage `cbor:"1,keyasint"`
	SealedHash ID              `cbor:"3,keyasint,omitzero"`
	SealedLen  uint32          `cbor:"5,keyasint,omitzero"`
}

func newClear(k Kind) Clear {
	switch k {
	case KindGenesis:
		return new(Genesis)
	case KindGrant:
		return new(Grant)
	case KindRemove, KindBan, KindMute:
		return new(Denial)
	case KindUnban, KindUnmute:
		return new(Lift)
	case KindLeave:
		return new(Leave)
	case KindDeviceAdd:
		return new(DeviceAdd)
	case KindDeviceRevoke:
		return new(DeviceRevoke)
	case KindInvite:
		return new(Invite)
	case KindInviteRevoke:
		return new(InviteRevoke)
	case KindSetting:
		return new(Setting)
	case KindRekey:
		return new(Rekey)
	case KindSuccessor:
		return new(Successor)
	}
	return nil
}

func decodeControl(k Kind, body []byte) (controlBody, error) {
	var b controlBody
	if err := unmarshal(body, &b); err != nil {
		return b, fmt.Errorf("%s body: %w", k, err)
	}
	c := newClear(k)
	if c == nil {
		return b, canonical(b.Clear)
	}
	if err := unmarshal(b.Clear, c); err != nil {
		return b, fmt.Errorf("%s body: %w", k, err)
	}
	if err := c.check(); err != nil {
		return b, fmt.Errorf("%s body: %w", k, err)
	}
	return b, nil
}

// ParseClear returns the clear part of a control event, nil if it was erased.
func ParseClear(v Verified) (Clear, error) {
	e := &v.event
	if e.Header.Chain != Control || e.Body == nil {
		return nil, malformed("event %s has no clear part", v.id)
	}
	var b controlBody
	if err := unmarshal(e.Body, &b); err != nil {
		return nil, err
	}
	c := newClear(e.Header.Kind)
	if c == nil {
		return &Unknown{b.Clear}, nil
	}
	return c, unmarshal(b.Clear, c)
}

func (b *controlBody) checkSealed(e *Event) error {
	h := &e.Header
	sealed := b.SealedLen != 0
	switch {
	case sealed == b.SealedHash.IsZero(), sealed != (h.Epoch != EpochTag{}), sealed == (h.N == [16]byte{}):
		return malformed("sealed text, its hash, its length, epoch and n do not fit")
	case sealed && h.Kind == KindGenesis:
		return malformed("a genesis with sealed text")
	case b.SealedLen > MaxEventSize:
		return malformed("sealed_len %d", b.SealedLen)
	case e.Sealed != nil && (uint64(len(e.Sealed)) != uint64(b.SealedLen) || sha256.Sum256(e.Sealed) != b.SealedHash):
		return malformed("sealed text does not fit its hash")
	}
	return nil
}

// SignControl finishes a control event, with sealed text where aside and key are
// not nil.
func (d Draft) SignControl(c Clear, aside *Aside, epoch *Epoch, key ed25519.PrivateKey, random io.Reader) (Verified, error) {
	e := Event{Header: d.header()}
	if err := c.check(); err != nil {
		return Verified{}, fmt.Errorf("%s: %w", d.Kind, err)
	}
	if aside == nil {
		e.Body = marshal(controlBody{Clear: marshal(c)})
		e.Header.BodyLen = uint32(len(e.Body))
		return e.finish(d.Group, key)
	}
	if !utf8.ValidString(aside.Text) || len(aside.Text) > MaxTextSize {
		return Verified{}, fmt.Errorf("%s: its text is not UTF-8 or over %d bytes: %w", d.Kind, MaxTextSize, ErrTooLarge)
	}
	plain := pad(marshal(aside))
	b := controlBody{Clear: marshal(c), SealedHash: ID{1}, SealedLen: uint32(len(plain) + gcmOverhead)}
	if err := epoch.address(&e.Header, random); err != nil {
		return Verified{}, err
	}
	e.Header.BodyLen = uint32(len(marshal(b)))
	sealed, err := epoch.seal(&e.Header, d.Group, plain)
	if err != nil {
		return Verified{}, err
	}
	b.SealedHash = sha256.Sum256(sealed)
	e.Body, e.Sealed = marshal(b), sealed
	return e.finish(d.Group, key)
}

// OpenAside opens the sealed text beside a control event.
func (ep *Epoch) OpenAside(v Verified) (Aside, error) {
	var a Aside
	plain, err := ep.open(v, v.event.Sealed)
	if err != nil {
		return a, err
	}
	if err := unmarshal(plain, &a); err != nil {
		return a, fmt.Errorf("sealed text of %s: %w", v.id, err)
	}
	return a, nil
}

func (g *Genesis) check() error {
	switch {
	case len(g.Founders) == 0 || len(g.Founders) > MaxFounders:
		return malformed("%d founders: from 1 to %d", len(g.Founders), MaxFounders)
	case !strictlyAscending(g.Founders, func(a, b Cert) int { return a.Root.Compare(b.Root) }):
		return malformed("founders are not in ascending order")
	case g.History != HistoryAll && g.History != HistorySinceJoin:
		return malformed("history policy %d", g.History)
	}
	return nil
}

func (g *Grant) check() error {
	admission := g.Proof != nil
	switch {
	case g.Target.IsZero():
		return malformed("a grant to nobody")
	case g.Rank == Founder || g.Rank > Relay:
		return malformed("a grant of rank %d", g.Rank)
	case admission != (g.Cert != nil) || admission == g.Invite.IsZero():
		return malformed("an admission has an invite, a certificate and a proof, or none of them")
	case admission && g.Cert.Root != g.Target:
		return malformed("the certificate is not the target's")
	case len(g.Steps) > MaxWelcomeEpochs || !strictlyAscending(g.Steps, func(a, b StepStart) int { return a.Epoch.Compare(b.Epoch) }):
		return malformed("steps are too many or not in ascending order")
	case slices.ContainsFunc(g.Steps, func(s StepStart) bool { return s.Step == 0 || s.Hash.IsZero() }):
		return malformed("a step 0 or without its hash")
	}
	return nil
}

func (c *Cut) check() error {
	if len(c.Control) > MaxCut || len(c.Messages) > MaxCut {
		return malformed("%d and %d cut entries: at most %d", len(c.Control), len(c.Messages), MaxCut)
	}
	if !strictlyAscending(c.Control, ID.Compare) || !strictlyAscending(c.Messages, func(a, b CutEntry) int { return a.ID.Compare(b.ID) }) {
		return malformed("cut entries are not in ascending order")
	}
	for _, c := range c.Messages {
		if c.Seq == 0 || c.Seq >= MaxSeq {
			return malformed("cut entry with seq %d", c.Seq)
		}
	}
	return nil
}

func (d *Denial) check() error {
	if d.Target.IsZero() {
		return malformed("a denial of nobody")
	}
	return d.Cut.check()
}

func (l *Lift) check() error {
	if l.Target.IsZero() {
		return malformed("a lift for nobody")
	}
	return nil
}

func (*Leave) check() error     { return nil }
func (*DeviceAdd) check() error { return nil }

func (r *DeviceRevoke) check() error { return r.Cut.check() }

func (i *Invite) check() error {
	if i.Key.IsZero() || i.Rank == Founder || i.Rank > Relay {
		return malformed("an invite without a key, or of rank %d", i.Rank)
	}
	return nil
}

func (r *InviteRevoke) check() error {
	if r.Invite.IsZero() {
		return malformed("a revocation of no invite")
	}
	return nil
}

func (*Setting) check() error { return nil }

func (r *Rekey) check() error {
	switch {
	case r.Epoch.IsZero() || r.Commit.IsZero() || len(r.SealedN) != 32+gcmOverhead:
		return malformed("a rekey without epoch, commitment or sealed secret")
	case len(r.Parents) > MaxParents || !strictlyAscending(r.Parents, func(a, b Parent) int { return a.Epoch.Compare(b.Epoch) }):
		return malformed("parents are too many or not in ascending order")
	case len(r.Chunks) > MaxChunks:
		return malformed("%d wrap chunks: at most %d", len(r.Chunks), MaxChunks)
	}
	for _, p := range r.Parents {
		if len(p.Back) != 0 && len(p.Back) != 32+gcmOverhead {
			return malformed("a back-seal of %d bytes", len(p.Back))
		}
	}
	return nil
}

func (s *Successor) check() error {
	if s.Group.IsZero() {
		return malformed("a successor without a group")
	}
	return nil
}

func (*Unknown) check() error { return nil }
