package protocol

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// LinkScheme is what every invite link begins with.
const LinkScheme = "p2pchat:"

// ErrBadLink says that an invite link is damaged or not one.
var ErrBadLink = errors.New("not a valid invite link")

// Link is an invitation as text. The seed derives the invite's signing key and
// its lobby, and nothing of the group: a leaked link does not expose the members'
// topic.
type Link struct {
	Group ID
	Seed  Secret
	Flags uint8
	Addrs [][]byte // up to four multiaddrs in binary form, each ending in a peer id

	// Question is what who joins has to answer, and AnswerTo the key that the answer
	// is sealed to; both or neither.
	Question string
	AnswerTo [32]byte
}

// wireLink is the encoding of a Link, before base32 and behind a checksum.
type wireLink struct {
	V     uint64   `cbor:"1,keyasint"`
	Group ID       `cbor:"3,keyasint"`
	Seed  [32]byte `cbor:"5,keyasint"`
	Flags uint8    `cbor:"6,keyasint,omitzero"`
	Addrs [][]byte `cbor:"8,keyasint,omitempty"`

	Question string   `cbor:"10,keyasint,omitempty"`
	AnswerTo [32]byte `cbor:"12,keyasint,omitzero"`
}

const linkSumLen = 4

func linkSum(b []byte) []byte {
	id := hash("p2pchat/1 link", b)
	return id[:linkSumLen]
}

// Text returns the link as one word.
func (l Link) Text() string {
	b := marshal(wireLink{
		V: Version, Group: l.Group, Seed: l.Seed, Flags: l.Flags, Addrs: l.Addrs, Question: l.Question, AnswerTo: l.AnswerTo,
	})
	return LinkScheme + base32Lower.EncodeToString(append(linkSum(b), b...))
}

// ParseLink reads a link. A truncated or mistyped one is told by its checksum.
func ParseLink(text string) (Link, error) {
	text = strings.TrimSpace(text)
	if len(text) > MaxLinkSize {
		return Link{}, fmt.Errorf("%w: %d characters, at most %d", ErrBadLink, len(text), MaxLinkSize)
	}
	if len(text) < len(LinkScheme) || !strings.EqualFold(text[:len(LinkScheme)], LinkScheme) {
		return Link{}, fmt.Errorf("%w: it does not begin with %q", ErrBadLink, LinkScheme)
	}
	body := strings.ToLower(text[len(LinkScheme):]) // QR codes carry upper case
	b, err := base32Lower.DecodeString(body)
	if err != nil || len(b) < linkSumLen || base32Lower.EncodeToString(b) != body ||
		subtle.ConstantTimeCompare(linkSum(b[linkSumLen:]), b[:linkSumLen]) != 1 {
		return Link{}, fmt.Errorf("%w: it is cut short or mistyped", ErrBadLink)
	}
	var w wireLink
	if err := unmarshal(b[linkSumLen:], &w); err != nil {
		return Link{}, fmt.Errorf("%w: %w", ErrBadLink, err)
	}
	switch {
	case w.V != Version:
		return Link{}, fmt.Errorf("%w: version %d: %w", ErrBadLink, w.V, ErrUnknownCritical)
	case w.Group.IsZero() || w.Seed == [32]byte{} || len(w.Addrs) > MaxLinkAddrs:
		return Link{}, fmt.Errorf("%w: a field is missing or too long", ErrBadLink)
	case len(w.Question) > MaxQuestionSize || (w.Question == "") != (w.AnswerTo == [32]byte{}):
		return Link{}, fmt.Errorf("%w: a question that is too long, or without a key for the answer", ErrBadLink)
	}
	return Link{Group: w.Group, Seed: w.Seed, Flags: w.Flags, Addrs: w.Addrs, Question: w.Question, AnswerTo: w.AnswerTo}, nil
}

// InviteKey is the signing key that a link's seed derives.
func (l Link) InviteKey() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(derive(l.Seed[:], l.Group[:], ed25519.SeedSize, "p2pchat/1 invite"))
}

// PublicKey is the key that the invite event carries.
func (l Link) PublicKey() Key { return publicKey(l.InviteKey()) }

// Lobby is the secret by which joiners and admitters find each other.
func (l Link) Lobby() Secret { return deriveSecret(l.Seed[:], l.Group[:], "p2pchat/1 lobby") }

// JoinProof is a newcomer's consent, usable once: signed by the identity's root,
// its device and the invite's key.
type JoinProof struct {
	Nonce     [16]byte  `cbor:"1,keyasint"`
	RootSig   Signature `cbor:"3,keyasint"`
	DevSig    Signature `cbor:"5,keyasint"`
	InviteSig Signature `cbor:"7,keyasint"`
}

func joinPreimage(group ID, invite, root, dev Key, nonce [16]byte) []byte {
	return slices.Concat([]byte("p2pchat/1 join"), group[:], invite[:], root[:], dev[:], nonce[:])
}

// Verify checks the three signatures.
func (p *JoinProof) Verify(group ID, invite Key, c Cert) error {
	pre := joinPreimage(group, invite, c.Root, c.Dev, p.Nonce)
	if !verifySig(c.Root, pre, p.RootSig) || !verifySig(c.Dev, pre, p.DevSig) || !verifySig(invite, pre, p.InviteSig) {
		return fmt.Errorf("join proof: %w", ErrBadSignature)
	}
	return nil
}

// JoinRequest asks an admitter for admission, over a stream or as a file.
type JoinRequest struct {
	V      uint64    `cbor:"1,keyasint"`
	Invite Key       `cbor:"3,keyasint"`
	Cert   Cert      `cbor:"5,keyasint"`
	Proof  JoinProof `cbor:"7,keyasint"`
	Box    []byte    `cbor:"9,keyasint"`            // hybrid HPKE key for the welcome, used once
	Name   string    `cbor:"10,keyasint,omitempty"` // how the newcomer calls itself
	Sig    Signature `cbor:"11,keyasint"`           // by the device, over all of it
	Answer []byte    `cbor:"12,keyasint,omitempty"` // to the link's question, sealed: see [JoinRequest.OpenAnswer]
}

func (r JoinRequest) preimage(group ID) []byte {
	r.Sig = Signature{}
	return slices.Concat([]byte("p2pchat/1 request"), group[:], marshal(r))
}

// Request makes a join request by an identity. The welcome will be sealed to box, a key
// for this request alone; an answer is to the link's question, if it asks one.
func (l Link) Request(id Identity, box BoxKey, name, answer string, random io.Reader) (JoinRequest, error) {
	r := JoinRequest{V: Version, Invite: l.PublicKey(), Cert: id.Cert(), Box: box.Public(), Name: name}
	if answer != "" {
		var err error
		if r.Answer, err = l.sealAnswer(id.Dev(), answer); err != nil {
			return JoinRequest{}, err
		}
	}
	if _, err := io.ReadFull(random, r.Proof.Nonce[:]); err != nil {
		return JoinRequest{}, err
	}
	pre := joinPreimage(l.Group, r.Invite, r.Cert.Root, r.Cert.Dev, r.Proof.Nonce)
	r.Proof.RootSig, r.Proof.DevSig, r.Proof.InviteSig = sign(id.root, pre), sign(id.dev, pre), sign(l.InviteKey(), pre)
	r.Sig = sign(id.dev, r.preimage(l.Group))
	return r, nil
}

// Encode returns the request's bytes.
func (r JoinRequest) Encode() []byte { return marshal(r) }

// ParseJoinRequest reads a request and checks everything that can be checked
// without knowing whether the invite is live.
func ParseJoinRequest(group ID, data []byte) (JoinRequest, error) {
	var r JoinRequest
	if err := unmarshal(data, &r); err != nil {
		return r, fmt.Errorf("join request: %w", err)
	}
	if r.V != Version || len(r.Name) > MaxNameSize || !utf8.ValidString(r.Name) {
		return r, fmt.Errorf("join request: %w", malformed("version or name"))
	}
	if len(r.Answer) > maxAnswerBox {
		return r, fmt.Errorf("join request: the answer: %w", ErrTooLarge)
	}
	if err := r.Cert.Verify(); err != nil {
		return r, fmt.Errorf("join request: %w", err)
	}
	if _, err := kem(true).NewPublicKey(r.Box); err != nil {
		return r, fmt.Errorf("join request: key for the welcome: %w", ErrBadKey)
	}
	if err := r.Proof.Verify(group, r.Invite, r.Cert); err != nil {
		return r, err
	}
	if !verifySig(r.Cert.Dev, r.preimage(group), r.Sig) {
		return r, fmt.Errorf("join request: %w", ErrBadSignature)
	}
	return r, nil
}

// Welcome is what an admitted newcomer needs to read the group and to find it.
type Welcome struct {
	Grant   ID            `cbor:"1,keyasint"`           // the admission
	Epochs  []EpochSecret `cbor:"3,keyasint"`           // the live epochs
	Secrets []Secret      `cbor:"5,keyasint"`           // rendezvous secrets, the newest first
	Addrs   [][]byte      `cbor:"6,keyasint,omitempty"` // members' multiaddrs
	Name    string        `cbor:"8,keyasint,omitempty"` // the group's name
	Bundle  Secret        `cbor:"9,keyasint,omitzero"`  // in a file: key of the events that come along
}

// EpochSecret hands over an epoch: its secret, or a later step where history begins
// with the newcomer, and then the rendezvous secret, which E would open.
type EpochSecret struct {
	Epoch ID     `cbor:"1,keyasint"`
	E     Secret `cbor:"3,keyasint,omitzero"`
	Step  uint32 `cbor:"5,keyasint,omitzero"`
	S     Secret `cbor:"7,keyasint,omitzero"`
	N     Secret `cbor:"9,keyasint,omitzero"`
}

// Encode returns the secret's bytes, for the disk.
func (s EpochSecret) Encode() []byte { return marshal(s) }

// ParseEpochSecret reads what Encode wrote.
func ParseEpochSecret(data []byte) (s EpochSecret, err error) {
	if err = unmarshal(data, &s); err == nil && s.E.IsZero() == (s.Step == 0) {
		err = malformed("an epoch's secret is E, or a later step")
	}
	return s, err
}

// sealedWelcome is a Welcome on the wire.
type sealedWelcome struct {
	V   uint64    `cbor:"1,keyasint"`
	Dev Key       `cbor:"3,keyasint"` // the admitter's device
	Box []byte    `cbor:"5,keyasint"`
	Sig Signature `cbor:"7,keyasint"`
}

func welcomeInfo(group ID, joiner, admitter Key) []byte {
	return slices.Concat([]byte("p2pchat/1 welcome"), group[:], joiner[:], admitter[:])
}

// Seal seals a welcome to a request's key and signs it by the admitter's device.
func (w Welcome) Seal(group ID, r JoinRequest, admitter ed25519.PrivateKey) ([]byte, error) {
	dev := publicKey(admitter)
	info := welcomeInfo(group, r.Cert.Dev, dev)
	box, err := sealBox(true, r.Box, info, marshal(w))
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(box)
	return marshal(sealedWelcome{V: Version, Dev: dev, Box: box, Sig: sign(admitter, append(info, sum[:]...))}), nil
}

// OpenWelcome opens a welcome for a joiner's device. The admitter it returns is a
// claim until the group's control set shows that it may admit.
func OpenWelcome(group ID, joiner Key, key BoxKey, data []byte) (w Welcome, admitter Key, err error) {
	var s sealedWelcome
	if err := unmarshal(data, &s); err != nil {
		return w, admitter, fmt.Errorf("welcome: %w", err)
	}
	info := welcomeInfo(group, joiner, s.Dev)
	sum := sha256.Sum256(s.Box)
	if s.V != Version || !verifySig(s.Dev, slices.Concat(info, sum[:]), s.Sig) {
		return w, admitter, fmt.Errorf("welcome: %w", ErrBadSignature)
	}
	plain, err := openBox(key, info, s.Box)
	if err != nil {
		return w, admitter, fmt.Errorf("welcome: %w", err)
	}
	if err := unmarshal(plain, &w); err != nil {
		return w, admitter, fmt.Errorf("welcome: %w", err)
	}
	if len(w.Epochs) == 0 || len(w.Epochs) > MaxWelcomeEpochs || len(w.Secrets) == 0 ||
		len(w.Secrets) > MaxWelcomeSecrets || len(w.Addrs) > MaxWelcomeAddrs || len(w.Name) > MaxNameSize {
		return w, admitter, fmt.Errorf("welcome: %w", malformed("a list is empty or too long"))
	}
	return w, s.Dev, nil
}
