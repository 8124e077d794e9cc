package protocol

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
)

func newReader(b []byte) *bufio.Reader { return bufio.NewReader(bytes.NewReader(b)) }

// payloadOf returns where a frame kind's payload decodes to.
func payloadOf(k FrameKind) any {
	switch k {
	case FrameHelloNonce:
		return new(HelloNonce)
	case FrameHelloTags:
		return new(HelloTags)
	case FrameHelloProof:
		return new(HelloProofs)
	case FrameLobby:
		return new(Lobby)
	case FrameRequest:
		return new(JoinRequest)
	case FrameWelcome:
		return new([]byte)
	case FrameOpen:
		return new(Open)
	case FrameHave:
		return new(Have)
	case FrameEvents, FrameRecords, FrameChunks:
		return new(Events)
	case FrameDone:
		return new(Done)
	case FrameSecrets:
		return new(BundleSecrets)
	case FrameCompare:
		return new(Compare)
	case FrameTotal:
		return new(Total)
	case FrameWant:
		return new(Want)
	case FrameKeys, FramePacked, FrameNearbyBox:
		return new([]byte)
	case FrameNearbyAsk:
		return new(struct{})
	case FrameNearbyOffer:
		return new(NearbyOffer)
	case FrameNearbyCommit:
		return new(NearbyCommit)
	case FrameNearbyKey:
		return new(NearbyKey)
	}
	return nil
}

type vectorMaker struct {
	t    testing.TB
	out  []*vector
	w    *world
	bob  *actor
	link Link
	inv  ID
}

func (m *vectorMaker) add(name, kind, about string) *vector {
	v := newVector(m.t, name, kind, about)
	m.out = append(m.out, v)
	return v
}

// event writes everything about an event that a stranger needs to make it.
func (m *vectorMaker) event(name, about string, v Verified, by *actor, ep *Epoch, plain []byte) *vector {
	h, e := v.Header(), v.Event()
	f := m.add(name, "event", about).set("group", v.Group()).set("dev_seed", by.id.dev.Seed())
	f.set("kind", h.Kind).set("dev", h.Dev).set("chain", h.Chain).set("seq", h.Seq)
	if !h.Prev.IsZero() {
		f.set("prev", h.Prev)
	}
	for _, r := range h.Refs {
		f.set("ref", r)
	}
	if !h.Auth.IsZero() {
		f.set("auth", h.Auth)
	}
	f.set("hlc", h.HLC)
	if h.Exp != 0 {
		f.set("exp", h.Exp)
	}
	if !h.To.IsZero() {
		f.set("to", h.To)
	}
	if h.N != [16]byte{} {
		f.set("epoch", h.Epoch).set("step", h.Step).set("n", h.N)
	}
	f.set("body_len", h.BodyLen).set("body_hash", h.BodyHash)
	for _, k := range slices.Sorted(mapsKeys(h.Ext)) {
		f.set("extension", fmt.Sprintf("%d %x", k, []byte(h.Ext[k])))
	}
	if e.Body != nil && h.Chain == Control {
		var b controlBody
		m.w.must(unmarshal(e.Body, &b))
		f.set("clear", []byte(b.Clear))
	}
	if ep != nil {
		rk, _, _ := m.w.set.Rekey(ep.ID)
		f.set("E", ep.E).set("eid", ep.ID).set("rekey_dev", rk.Header().Dev).set("rekey_seq", rk.Header().Seq)
		f.set("plain", plain).set("aad", aad(h))
	}
	if e.Body != nil {
		f.set("body", e.Body)
	}
	if e.Sealed != nil {
		f.set("sealed", e.Sealed)
	}
	return f.set("preimage", e.preimage(v.Group())).set("id", v.ID()).set("sig", v.Event().Sig).set("wire", v.Wire()).expect(nil)
}

func mapsKeys(m map[uint64]cbor.RawMessage) func(func(uint64) bool) {
	return func(yield func(uint64) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// wire is an event of which only the verdict matters.
func (m *vectorMaker) wire(name, about string, group ID, wire []byte) {
	_, err := Verify(group, wire)
	f := m.add(name, "event", about).set("group", group).set("wire", wire).expect(err)
	if bad := strings.Contains(name, "bad-"); bad == (err == nil) {
		m.t.Fatalf("%s: %v", name, f.get("expect"))
	}
}

func makeVectors(t testing.TB) []*vector {
	m := &vectorMaker{t: t, w: newWorld(t)}
	m.ids()
	m.identity()
	m.controls()
	m.messages()
	m.badEvents()
	m.sets()
	m.epochs()
	m.wraps()
	m.reports()
	m.plans()
	m.prekeys()
	m.answers()
	m.joining()
	m.safety()
	m.meeting()
	m.nearby()
	m.records()
	m.frontiers()
	m.frames()
	m.signatures()
	m.packs()
	return m.out
}

func (m *vectorMaker) ids() {
	id := ID(sha256.Sum256([]byte("an event")))
	for _, p := range []string{GroupPrefix, EventPrefix, PersonPrefix, DevicePrefix} {
		s := id.Text(p)
		m.add("id-"+strings.TrimSuffix(p, "_"), "id", "The text form of 32 bytes: base32 (RFC 4648), lower case, no padding, behind a prefix.\nThe short form is for screens only.").
			set("prefix", p).set("bytes", id).set("text", s).set("short", Short(s)).expect(nil)
	}
	bad := func(name, why, text string) {
		_, err := ParseID(EventPrefix, text)
		m.add("id-bad-"+name, "id", why).set("prefix", EventPrefix).set("text", text).expect(err)
	}
	bad("prefix", "A group's id where an event's belongs.", id.Text(GroupPrefix))
	bad("upper-case", "Ids are lower case.", EventPrefix+strings.ToUpper(id.Text("")))
	bad("short", "A short form names nothing.", Short(id.String()))
	bad("trailing-bits", "The last character carries four bits that are not the id's and must be zero.", id.String()[:len(id.String())-1]+"7")
}

func (m *vectorMaker) identity() {
	a, tag := m.w.ana.account, secretOf("salt")
	id := a.Identity(tag)
	m.add("account", "account", "An account and the keys that it derives for one group. The tag is the group's id, or for a founder the genesis' salt.\nroot_seed = HKDF(seed, salt=tag, \"p2pchat/1 identity\"), dev_seed = HKDF(device, salt=tag, \"p2pchat/1 device\"); both are Ed25519 seeds.").
		set("seed", a.Seed).set("device", a.Device).set("phrase", a.Phrase()).set("tag", tag).
		set("root_seed", id.root.Seed()).set("dev_seed", id.dev.Seed()).set("root", id.Root()).set("dev", id.Dev()).
		set("person", id.Root().Text(PersonPrefix)).set("device_text", id.Dev().Text(DevicePrefix)).expect(nil)
	words := strings.Fields(a.Phrase())
	m.add("phrase", "phrase", "24 words (BIP-39, English); case and spaces do not matter.").set("phrase", strings.ToUpper(strings.Join(words, "  "))).set("seed", a.Seed).expect(nil)
	m.add("phrase-bad-checksum", "phrase", "Two words exchanged.").set("phrase", strings.Join(append([]string{words[1], words[0]}, words[2:]...), " ")).expect(ErrBadPhrase)
	m.add("phrase-bad-12-words", "phrase", "A valid BIP-39 phrase of 12 words is not an account.").
		set("phrase", strings.Repeat("abandon ", 11)+"about").expect(ErrBadPhrase)

	cert := func(name, about string, c Cert, seeds bool) {
		f := m.add(name, "cert", about).set("root", c.Root).set("dev", c.Dev)
		if seeds {
			f.set("root_seed", id.root.Seed()).set("dev_seed", id.dev.Seed()).
				set("root_preimage", certPreimage(domainCertRoot, c.Root, c.Dev)).set("dev_preimage", certPreimage(domainCertDev, c.Root, c.Dev))
		}
		f.set("root_sig", c.RootSig).set("dev_sig", c.DevSig).set("cbor", marshal(c)).expect(c.Verify())
	}
	c := id.Cert()
	cert("cert", "A device certificate: root and device both sign.", c, true)
	c.DevSig[0] ^= 1
	cert("cert-bad-device-signature", "A certificate that the device did not sign: anybody could claim it.", c, false)
	c = id.Cert()
	c.RootSig = c.DevSig
	cert("cert-bad-domain", "The device's signature in the root's place.", c, false)
	small := id.Cert()
	small.Dev = Key{1} // the identity point
	cert("cert-bad-small-order", "A device key of small order, for which one signature fits many messages.", small, false)

	keys := []struct{ name, why, hex string }{
		{"ok", "A key.", hex.EncodeToString(c.Dev[:])},
		{"bad-identity", "The identity point, of order 1.", "0100000000000000000000000000000000000000000000000000000000000000"},
		{"bad-order-2", "A point of order 2.", "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"},
		{"bad-order-4", "A point of order 4.", "0000000000000000000000000000000000000000000000000000000000000000"},
		{"bad-order-8", "A point of order 8.", "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"},
		{"bad-not-canonical", "y = p+3: the encoding of a point of full order that is not the canonical one.", "f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"},
		{"bad-sign-of-zero", "x = 0 with the sign bit set: not canonical.", "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"},
		{"bad-not-on-curve", "No point has this y.", "0200000000000000000000000000000000000000000000000000000000000000"},
	}
	for _, k := range keys {
		b, _ := hex.DecodeString(k.hex)
		m.add("key-"+k.name, "key", "A public key as certificates and invites may hold one. "+k.why).set("key", b).expect(checkKey(Key(b)))
		if strings.HasPrefix(k.name, "bad") && m.out[len(m.out)-1].get("expect") == "ok" {
			m.t.Errorf("key %s is accepted", k.name)
		}
	}
	revoke := func(name, about string, r *DeviceRevoke) {
		f := m.add(name, "revoke", about).set("root_seed", id.root.Seed()).set("preimage", r.preimage()).set("sig", r.Sig).set("clear", marshal(r))
		f.expect(r.Verify())
	}
	revoke("revoke", "A root's statement that a device is no more. Signed are domain, root, device and the encoded cut, which is an empty map (a0) where there is none.", id.Revoke(c.Dev, Cut{}))
	revoke("revoke-cut", "The same with a cut: what the device did up to there stands.", id.Revoke(c.Dev, Cut{Control: []ID{{4, 5, 6}}, Messages: []CutEntry{{ID: ID{1, 2, 3}, Seq: 7}}}))
}

// controls makes an event of every control kind, in one group.
func (m *vectorMaker) controls() {
	w := m.w
	ana := w.ana
	m.event("event-genesis", "The first event. It is signed for the group 00…00, and its id is the group's.", w.genesis, ana, nil, nil)

	first := w.start(ana, "first")
	rk, _, _ := w.set.Rekey(first.ID)
	m.event("event-rekey", "The first rekey: no parents, no wraps; whoever joins gets the secret in the welcome.", rk, ana, nil, nil)

	m.link = w.link("one")
	aside := Aside{Lobby: m.link.Lobby()}
	w.hlc++
	inv, err := Draft{Group: w.group, Kind: KindInvite, Prev: ana.ctl, Refs: w.set.Heads(16, ana.auth), Auth: ana.auth, HLC: w.hlc}.
		SignControl(&Invite{Key: m.link.PublicKey(), Rank: Member, Expiry: 1_900_000_000, Uses: 3}, &aside, first, ana.id.Signer(), fixed("invite"))
	w.must(err)
	w.must(w.set.Add(inv))
	ana.ctl, m.inv = inv.Tip(), inv.ID()
	m.event("event-invite", "An invite, with its lobby secret sealed beside it for who admits.", inv, ana, first, marshal(aside))

	m.bob = w.someone("bob")
	adm := w.act(ana, KindGrant, w.admission(m.link, m.inv, m.bob, Member))
	m.bob.auth = adm.ID()
	m.event("event-grant-admission", "An admission: a grant with the newcomer's certificate and proof.", adm, ana, nil, nil)

	name := Aside{Text: "Hiking club"}
	w.hlc++
	set, err := Draft{Group: w.group, Kind: KindSetting, Prev: ana.ctl, Refs: w.set.Heads(16, ana.auth), Auth: ana.auth, HLC: w.hlc}.
		SignControl(&Setting{Number: SettingName}, &name, first, ana.id.Signer(), fixed("setting"))
	w.must(err)
	w.must(w.set.Add(set))
	ana.ctl = set.Tip()
	m.event("event-setting-name", "The group's name: a text setting, sealed.", set, ana, first, marshal(name))
	bare := set.Event()
	bare.Sealed = nil
	m.wire("event-setting-name-sealed-erased", "The same event without its sealed text: clear part, id and signature hold.", w.group, bare.Encode())

	ctl := func(file, about string, by *actor, k Kind, c Clear) Verified {
		v := w.act(by, k, c)
		m.event("event-"+file, about, v, by, nil, nil)
		return v
	}
	cut := Cut{Messages: []CutEntry{{ID: ID{9, 9, 9}, Seq: 12}}}
	carl := w.join("carl", Member)
	ctl("setting-retention", "A numeric setting: a retention of 30 seconds, which is taken for an hour.", ana, KindSetting, &Setting{Number: SettingRetention, Value: 30})
	ctl("grant-role", "A change of role: a grant without proof.", ana, KindGrant, &Grant{Target: m.bob.root(), Rank: Moderator})
	ctl("mute", "A mute with a cut at a message.", ana, KindMute, &Denial{Target: carl.root(), Cut: cut})
	ctl("unmute", "The end of a mute.", ana, KindUnmute, &Lift{Target: carl.root()})
	ctl("ban", "A ban without a cut: nothing is spared.", ana, KindBan, &Denial{Target: carl.root()})
	ctl("unban", "The end of a ban.", ana, KindUnban, &Lift{Target: carl.root()})
	ctl("remove", "A removal with a cut.", ana, KindRemove, &Denial{Target: carl.root(), Cut: cut})
	second := m.bob.second(w.group)
	ctl("device-add", "A member's second device.", m.bob, KindDeviceAdd, &DeviceAdd{Cert: second.id.Cert()})
	ctl("device-revoke", "The root's statement that the second device is no more.", m.bob, KindDeviceRevoke, m.bob.id.Revoke(second.dev(), Cut{}))
	ctl("invite-revoke", "The end of an invite.", ana, KindInviteRevoke, &InviteRevoke{Invite: m.inv})
	next, k := w.rekey(ana, "second", first)
	k.Hybrid = true
	k.Chunks = []ID{hash("", []byte("chunk one")), hash("", []byte("chunk two"))}
	ctl("rekey-parents", "A rekey that follows another: the parent's secret sealed under it, and two wrap chunks.", ana, KindRekey, k)
	ctl("successor", "The group that willing members move to.", ana, KindSuccessor, &Successor{Group: ID{4, 5, 6}})
	ctl("leave", "A member goes.", m.bob, KindLeave, &Leave{})
	_ = next

	since := &Grant{
		Target: m.bob.root(), Rank: Greeter,
		Steps: []StepStart{{Epoch: first.ID, Step: 1, Hash: CommitStep(w.group, first.ID, 1, must(first.at(1)))}},
	}
	ctl("grant-steps", "A grant that says where the reading of its target begins (history since-join).", ana, KindGrant, since)

	w.hlc++
	m.future("event-unknown-even-control", "A control kind that may be ignored and is kept.", 40, []byte{0xa1, 0x02, 0x18, 0x2a})
	m.future("event-unknown-odd-control", "A critical control kind that this version does not know: kept, and no authority events are issued while it counts.", 41, []byte{0x80})
}

func (s Secret) slice() []byte { return s[:] }

// future makes a control event of an unknown kind by ana; nothing is built on it.
func (m *vectorMaker) future(name, about string, k Kind, clear []byte) {
	w := m.w
	d := Draft{Group: w.group, Kind: k, Prev: w.ana.ctl, Refs: w.set.Heads(16, w.ana.auth), Auth: w.ana.auth, HLC: w.hlc}
	e := Event{Header: d.header(), Body: marshal(controlBody{Clear: clear})}
	e.Header.BodyLen = uint32(len(e.Body))
	v, err := e.finish(w.group, w.ana.id.Signer())
	w.must(err)
	m.event(name, about, v, w.ana, nil, nil)
}

func (m *vectorMaker) messages() {
	w, ana := m.w, m.w.ana
	ep := w.epoch
	say := func(file, about string, k Kind, c Content) Verified {
		v := w.say(ana, k, c)
		m.event("event-"+file, about, v, ana, ep, marshal(c))
		return v
	}
	sayTo := func(file, about string, k Kind, to ID, c Content) Verified {
		v := w.sayTo(ana, k, to, c)
		m.event("event-"+file, about, v, ana, ep, marshal(c))
		return v
	}
	hello := say("text", "A text, the first message of its chain.", KindText, Content{Text: "Grüezi, who comes on Sunday?"})
	say("reply", "A reply.", KindReply, Content{Text: "I do.", To: hello.ID()})
	say("reaction", "A reaction.", KindReaction, Content{Text: "👍", To: hello.ID()})
	say("edit", "A new text for an earlier message.", KindEdit, Content{Text: "Who comes on Saturday?", To: hello.ID()})
	sayTo("retract", "A retraction, with a reason. What it is about is in the header, for who cannot open it.", KindRetract, hello.ID(), Content{Text: "wrong day"})
	sayTo("expire", "The author asks everybody to drop a message.", KindExpire, hello.ID(), Content{})
	say("attachment", "A file: its key, and the hash over its ciphertext.", KindAttachment, Content{
		Text: "the map", Attachment: &Attachment{Name: "map.pdf", Type: "application/pdf", Size: 123456, Key: secretOf("file"), Hash: ID{7}},
	})

	w.hlc++
	exp, err := Draft{Group: w.group, Kind: KindText, Prev: ana.msg, Refs: w.set.Heads(8, ana.auth), Auth: ana.auth, HLC: w.hlc, Exp: 1_800_086_400}.
		SignMessage(Content{Text: "gone tomorrow"}, ep, ana.id.Signer(), fixed("exp"))
	w.must(err)
	m.event("event-text-expires", "A disappearing text that also cites the grant it acts under.", exp, ana, ep, marshal(Content{Text: "gone tomorrow"}))

	erased := hello.Event()
	erased.Erase()
	v, err := Verify(w.group, erased.Encode())
	w.must(err)
	m.event("event-text-erased", "The text after its body was erased: body_hash is in the header, body is null, id and signature are the same.", v, ana, nil, nil)

	// An unknown even field, signed.
	c := Content{Text: "from the future"}
	d := Draft{Group: w.group, Kind: KindText, Prev: Tip{Dev: ana.dev(), Chain: Messages}, Refs: w.set.Heads(8, ana.auth), HLC: w.hlc}
	e := Event{Header: d.header()}
	e.Header.Ext = map[uint64]cbor.RawMessage{100: {0x63, 'n', 'e', 'w'}, 4: {0x05}}
	w.must(ep.address(&e.Header, fixed("ext")))
	plain := pad(marshal(c))
	e.Header.BodyLen = uint32(len(plain) + gcmOverhead)
	e.Body, err = ep.seal(&e.Header, w.group, plain)
	w.must(err)
	ext, err := e.finish(w.group, ana.id.Signer())
	w.must(err)
	m.event("event-extension", "Two header fields that this version does not know, with even keys: kept, signed, and in the id.", ext, ana, ep, marshal(c))

	k := w.say(ana, Kind(90), Content{})
	m.event("event-unknown-message", "A message kind that this version does not know: kept, and shown as such.", k, ana, ep, marshal(Content{}))

	// A step later than the first.
	later := *ep
	later.S, later.Step = must(ep.at(3)), 3
	w.hlc++
	c = Content{Text: "three steps on"}
	st, err := Draft{Group: w.group, Kind: KindText, Prev: ana.msg, Refs: w.set.Heads(8, ana.auth), HLC: w.hlc}.SignMessage(c, &later, ana.id.Signer(), fixed("step"))
	w.must(err)
	m.event("event-text-step", "A text under the epoch's fourth step secret, S(3).", st, ana, ep, marshal(c))
	m.abouts(hello)
}

// abouts makes messages that say in the header what they are about, or do not.
func (m *vectorMaker) abouts(hello Verified) {
	w, ana := m.w, m.w.ana
	prev := ana.msg
	say := func(file, about string, k Kind, to ID, c Content) Verified {
		v, err := Draft{Group: w.group, Kind: k, Prev: prev, Refs: w.set.Heads(8, ana.auth), HLC: w.hlc, To: to}.
			SignMessage(c, w.epoch, ana.id.Signer(), fixed(file))
		w.must(err)
		prev = v.Tip()
		m.event("event-"+file, about, v, ana, w.epoch, marshal(c))
		return v
	}
	report := say("report", "A report. Only the moderators can open the box, and tell what it is about.", KindReport, ID{}, Content{Boxed: []byte("for the moderators")})
	say("report-close", "The end of a report: it names the report, and has its text in the box.", KindClose, report.ID(), Content{Boxed: []byte("it was a joke")})
	say("unknown-message-to", "A message kind that this version does not know, which names in its header what it is about.", Kind(90), hello.ID(), Content{})
}

// rawHeader encodes header fields in the order given, right or wrong.
func rawMap(pairs ...[]byte) []byte {
	out := []byte{0xa0 | byte(len(pairs))}
	return append(out, bytes.Join(pairs, nil)...)
}

func (m *vectorMaker) badEvents() {
	w, ana := m.w, m.w.ana
	good := w.text(ana, "a good message")
	bad := func(name, about string, wire []byte) { m.wire("event-bad-"+name, about, w.group, wire) }
	flip := func(at int) []byte { b := slices.Clone(good.Wire()); b[at] ^= 1; return b }
	sigAt := bytes.Index(good.Wire(), good.event.Sig[:])

	m.wire("event-bad-other-group", "A good message of one group, replayed into another.", ID{1}, good.Wire())
	m.wire("event-bad-other-genesis", "A good genesis, presented as another group's.", ID{1}, w.genesis.Wire())
	bad("signature", "One bit of the signature flipped.", flip(sigAt+5))
	bad("body-flipped", "One bit of the sealed body flipped: the signature covers its hash.", flip(len(good.Wire())-3))
	bad("trailing-byte", "A byte after the event.", append(slices.Clone(good.Wire()), 0))
	bad("truncated", "The last byte is missing.", good.Wire()[:len(good.Wire())-1])
	bad("empty", "No bytes at all.", nil)

	// Encoding: changed bytes of the header, which stands in the event as it is.
	head := func(f func(fields [][]byte) []byte) []byte {
		h := travels(good.event.Header, good.event.Body)
		var pairs [][]byte
		for rest := h[1:]; len(rest) > 0; {
			n := 0
			for range 2 {
				var raw cbor.RawMessage
				after, err := decMode.UnmarshalFirst(rest[n:], &raw)
				w.must(err)
				n = len(rest) - len(after)
			}
			pairs, rest = append(pairs, rest[:n:n]), rest[n:]
		}
		b := append([]byte{0x84}, f(pairs)...)
		return append(b, good.Wire()[1+len(h):]...)
	}
	at := func(pairs [][]byte, key byte) int {
		return slices.IndexFunc(pairs, func(p []byte) bool { return p[0] == key })
	}
	bad("unsorted-keys", "Header keys out of order: 3 before 1.", head(func(p [][]byte) []byte {
		p[0], p[1] = p[1], p[0]
		return rawMap(p...)
	}))
	bad("duplicate-key", "The header field 3 twice.", head(func(p [][]byte) []byte { return rawMap(slices.Insert(p, 1, p[1])...) }))
	bad("longer-integer", "The version as 18 01 where 01 is shorter.", head(func(p [][]byte) []byte {
		p[0] = []byte{1, 0x18, 1}
		return rawMap(p...)
	}))
	bad("indefinite-length", "A header map of indefinite length.", head(func(p [][]byte) []byte {
		return append(append([]byte{0xbf}, bytes.Join(p, nil)...), 0xff)
	}))
	bad("tag", "A tagged value.", head(func(p [][]byte) []byte {
		p[0] = []byte{1, 0xc1, 1}
		return rawMap(p...)
	}))
	bad("explicit-zero", "The field step is there and 0: a field that holds zero is left out.", head(func(p [][]byte) []byte {
		i := at(p, 0x17)
		return rawMap(slices.Insert(p, i, []byte{0x15, 0})...)
	}))
	bad("missing-field", "No hlc.", head(func(p [][]byte) []byte {
		i := at(p, 0x11)
		return rawMap(slices.Delete(p, i, i+1)...)
	}))
	bad("short-key", "A device key of 31 bytes.", head(func(p [][]byte) []byte {
		i := at(p, 5)
		p[i] = append([]byte{5, 0x58, 31}, p[i][3:34]...)
		return rawMap(p...)
	}))
	bad("unknown-critical", "A header field with an odd key that this version does not know.", head(func(p [][]byte) []byte {
		return rawMap(append(p, []byte{0x18, 101, 1})...)
	}))
	bad("extension-not-canonical", "An unknown even field whose value is not deterministic.", head(func(p [][]byte) []byte {
		return rawMap(append(p, []byte{0x18, 100, 0x18, 1})...)
	}))
	bad("too-deep", "An unknown even field nested too deep.", head(func(p [][]byte) []byte {
		return rawMap(append(p, []byte{0x18, 100, 0x81, 0x81, 0x81, 0x81, 0x81, 0x01})...)
	}))
	bad("too-many-extensions", "Nine unknown fields, one more than are kept.", head(func(p [][]byte) []byte {
		for i := range byte(9) {
			p = append(p, []byte{0x18, 100 + 2*i, 1})
		}
		return append([]byte{0xb8, byte(len(p))}, bytes.Join(p, nil)...)
	}))
	bad("text-key", "A header key that is a text.", head(func(p [][]byte) []byte { return rawMap(append(p, []byte{0x61, 'x', 1})...) }))
	bad("version", "Version 2.", head(func(p [][]byte) []byte {
		p[0] = []byte{1, 2}
		return rawMap(p...)
	}))

	// Well-encoded and wrong: signed by the device, so that only the rule refuses it.
	wrong := func(name, about string, from Verified, change func(e *Event)) {
		e := from.Event()
		e.Header.Refs = slices.Clone(e.Header.Refs)
		change(&e)
		if e.Body != nil && e.Header.BodyHash == from.event.Header.BodyHash {
			e.Header.BodyHash = sha256.Sum256(e.Body)
		}
		e.Sig = sign(ana.id.Signer(), e.preimage(w.group))
		bad(name, about, e.Encode())
	}
	wrong("refs-unsorted", "References in descending order.", good, func(e *Event) { e.Header.Refs = []ID{{2}, {1}} })
	wrong("refs-twice", "The same reference twice.", good, func(e *Event) { e.Header.Refs = []ID{{1}, {1}} })
	wrong("refs-too-many", "Nine references on a message.", good, func(e *Event) {
		e.Header.Refs = nil
		for i := range byte(9) {
			e.Header.Refs = append(e.Header.Refs, ID{i + 1})
		}
	})
	wrong("refs-none", "A message without references.", good, func(e *Event) { e.Header.Refs = nil })
	wrong("seq-zero", "Sequence numbers begin at 1.", good, func(e *Event) { e.Header.Seq, e.Header.Prev = 0, ID{} })
	wrong("seq-without-prev", "seq 2 and no prev.", good, func(e *Event) { e.Header.Seq, e.Header.Prev = 2, ID{} })
	wrong("prev-at-seq-1", "seq 1 and a prev.", good, func(e *Event) { e.Header.Seq, e.Header.Prev = 1, ID{1} })
	wrong("seq-too-high", "seq is 2^48.", good, func(e *Event) { e.Header.Seq = MaxSeq })
	wrong("hlc-too-high", "hlc is 2^48.", good, func(e *Event) { e.Header.HLC = MaxHLC })
	wrong("body-len", "body_len says one byte more than the body has.", good, func(e *Event) { e.Header.BodyLen++ })
	m.out = append(m.out, m.bodyAndHash(good))
	bad("to-zero", "to is there and zero.", head(func(p [][]byte) []byte {
		return rawMap(append(p, append([]byte{0x18, 29, 0x58, 32}, make([]byte, 32)...))...)
	}))
	wrong("to-on-text", "A text that says in its header what it is about.", good, func(e *Event) { e.Header.To = ID{1} })
	wrong("to-on-reply", "A reply says in its content what it is about, where only members read it.", good, func(e *Event) { e.Header.Kind, e.Header.To = KindReply, ID{1} })
	wrong("to-on-report", "What a report is about is for the moderators alone.", good, func(e *Event) { e.Header.Kind, e.Header.To = KindReport, ID{1} })
	for _, k := range []Kind{KindRetract, KindExpire, KindClose} {
		wrong("to-missing-"+strings.ReplaceAll(k.String(), ".", "-"), "A "+k.String()+" that does not say in its header what it is about.", good, func(e *Event) { e.Header.Kind = k })
	}
	wrong("no-body-no-hash", "Neither a body nor its hash.", good, func(e *Event) { e.Body, e.Header.BodyHash = nil, ID{} })
	wrong("message-without-n", "A message that is not sealed.", good, func(e *Event) { e.Header.Epoch, e.Header.N = EpochTag{}, [16]byte{} })
	wrong("chain-3", "A third chain.", good, func(e *Event) { e.Header.Chain = 3 })
	wrong("kind-0", "Kind 0, which stands for records where values are sealed.", good, func(e *Event) { e.Header.Kind, e.Header.Chain = 0, Control })
	wrong("text-on-control", "A text on the control chain.", good, func(e *Event) { e.Header.Chain = Control })
	wrong("sealed-beside-message", "Sealed text beside a message.", good, func(e *Event) { e.Sealed = []byte{1} })
	wrong("too-large", "An event of more than 65,536 bytes.", good, func(e *Event) {
		e.Body = make([]byte, MaxEventSize)
		e.Header.BodyLen = MaxEventSize
	})

	ctl, _, _ := w.set.Get(m.inv)
	wrong("control-without-auth", "A control event that cites no grant.", ctl, func(e *Event) { e.Header.Auth = ID{} })
	wrong("control-expires", "A control event that expires.", ctl, func(e *Event) { e.Header.Exp = 1 })
	wrong("to-on-control", "A control event that is about a message.", ctl, func(e *Event) { e.Header.To = ID{1} })
	wrong("sealed-hash", "Sealed text that is not the one the body names.", ctl, func(e *Event) { e.Sealed = append([]byte{}, e.Sealed...); e.Sealed[0] ^= 1 })
	body := func(name, about string, k Kind, clear []byte) {
		wrong("body-"+name, about, ctl, func(e *Event) {
			e.Header.Kind, e.Header.Epoch, e.Header.N, e.Sealed = k, EpochTag{}, [16]byte{}, nil
			e.Body = marshal(controlBody{Clear: clear})
			e.Header.BodyLen = uint32(len(e.Body))
		})
	}
	body("unknown-field", "A clear part with a field that its kind does not have: bodies are not extended, new kinds are made.", KindLeave, []byte{0xa1, 0x02, 0x01})
	body("grant-founder", "A grant of rank 0.", KindGrant, marshal(Grant{Target: Key{1}, Rank: Founder}))
	body("grant-half-admission", "An admission without a proof.", KindGrant, marshal(Grant{Target: Key{1}, Rank: Member, Invite: ID{1}}))
	body("grant-step-0", "A step 0, which is before everybody's.", KindGrant, marshal(Grant{Target: Key{1}, Rank: Member, Steps: []StepStart{{Epoch: ID{1}, Hash: ID{1}}}}))
	body("cut-unsorted", "Cut entries that are not ascending by id.", KindBan, marshal(Denial{Target: Key{1}, Cut: Cut{Messages: []CutEntry{{ID{2}, 1}, {ID{1}, 1}}}}))
	body("cut-too-long", "65 cut entries.", KindBan, marshal(Denial{Target: Key{1}, Cut: func() (c Cut) {
		for i := range byte(65) {
			c.Control = append(c.Control, ID{i})
		}
		return
	}()}))
	body("rekey-without-n", "A rekey without its sealed N.", KindRekey, marshal(Rekey{Epoch: ID{1}, Commit: ID{1}, SealedN: []byte{}}))
	body("unknown-kind-not-canonical", "A clear part of an unknown kind that is not deterministic.", 40, []byte{0x18, 0x01})
}

// bodyAndHash is an event that carries its body and the body's hash as well.
func (m *vectorMaker) bodyAndHash(good Verified) *vector {
	header := good.event.Header.encode() // with body_hash
	wire := append(append([]byte{0x84}, header...), good.Wire()[1+len(travels(good.event.Header, good.event.Body)):]...)
	_, err := Verify(m.w.group, wire)
	return newVector(m.t, "event-bad-body-and-hash", "event", "body_hash on the wire beside the body.").set("group", m.w.group).set("wire", wire).expect(err)
}

// sets makes what only a set can judge.
func (m *vectorMaker) sets() {
	w := newWorld(m.t)
	ana, bob, eve := w.ana, w.someone("bob"), w.someone("eve")
	l, in := w.invite(ana, "one", Member)
	adm := w.admission(l, in, bob, Member)
	ok := w.act(ana, KindGrant, adm)
	bob.auth = ok.ID()
	good := w.events
	set := func(name, about string, events []Verified, verdicts string, msg ...Verified) {
		f := m.add("set-"+name, "set", about+"\nEach event line is a verdict and the event; events are added in this order.").set("group", w.group)
		s := NewSet(w.group)
		for i, v := range events {
			f.set("event", strings.Fields(verdicts)[i]+" "+text(v.Wire()))
			_ = s.Add(v)
		}
		r := Eval(s)
		for _, p := range r.Members() {
			f.set("member", fmt.Sprintf("%s %d", p.Root, p.Rank))
		}
		if len(msg) == 0 {
			f.expect(nil)
			return
		}
		f.set("message", msg[0].Wire()).expect(second(r.CheckMessage(msg[0], links{})))
	}
	set("admission", "Ana invites and admits Bob.", good, "ok ok ok")
	set("waits", "What cites an event that is not there waits for it.", []Verified{good[0], good[2], good[1], good[2]}, "ok missing ok ok")
	set("bad-proof-reused", "Bob's proof admits him once.", append(slices.Clone(good), w.write(ana, KindGrant, adm)), "ok ok ok bad")
	ana.ctl = ok.Tip()
	promote := w.write(bob, KindGrant, &Grant{Target: ana.root(), Rank: Member})
	set("bad-member-grants", "A member may not grant; what cites the bad event is bad.",
		append(slices.Clone(good), promote, w.write(ana, KindSetting, &Setting{Number: SettingRate, Value: 1}, promote.ID())), "ok ok ok bad bad")
	ana.ctl = ok.Tip()
	alone := *eve
	alone.auth = w.group
	set("bad-stranger", "Eve acts under the genesis, which does not name her.", append(slices.Clone(good), w.write(&alone, KindLeave, &Leave{})), "ok ok ok bad")
	set("bad-silent-add", "Nobody is added without their own proof.", append(slices.Clone(good), w.write(ana, KindGrant, &Grant{Target: eve.root(), Rank: Member})), "ok ok ok bad")
	ana.ctl = ok.Tip()
	ep, k := w.rekey(ana, "set")
	w.epoch = ep
	rk := w.act(ana, KindRekey, k)
	good = append(slices.Clone(good), rk)
	step := func(step uint32, eid ID) *Grant {
		return &Grant{Target: bob.root(), Rank: Greeter, Steps: []StepStart{{Epoch: eid, Step: step, Hash: CommitStep(w.group, eid, step, must(ep.at(step)))}}}
	}
	tip := ana.ctl
	one := w.write(ana, KindGrant, step(1, ep.ID))
	set("steps", "Each grant goes one step further at most than those in its past.", append(slices.Clone(good), one, w.write(ana, KindGrant, step(2, ep.ID))), "ok ok ok ok ok ok")
	ana.ctl = one.Tip()
	set("bad-step-too-far", "A step that leaves out one.", append(slices.Clone(good), one, w.write(ana, KindGrant, step(3, ep.ID))), "ok ok ok ok ok bad")
	ana.ctl = tip
	set("bad-step-unknown-epoch", "A step in an epoch that no rekey in its past starts.", append(slices.Clone(good), w.write(ana, KindGrant, step(1, ID{9}))), "ok ok ok ok bad")
	ana.ctl = tip
	set("message", "Bob's grant lies in his message's past.", good, "ok ok ok ok", w.text(bob, "hello"))
	set("bad-message-stranger", "Eve is nobody here.", good, "ok ok ok ok", w.text(eve, "hello", w.set.Heads(8, ID{})...))
	bob.msg = Tip{Dev: bob.dev(), Chain: Messages}
	set("bad-message-too-early", "Bob's message cites the genesis alone: his grant is not in its past.", good, "ok ok ok ok", w.text(bob, "hello", w.group))
	phone := bob.second(w.group)
	good = append(slices.Clone(good), w.act(phone, KindDeviceAdd, &DeviceAdd{Cert: phone.id.Cert()}))
	set("device-brings-itself", "The first event of Bob's new device brings its certificate, and what it says counts.", good, "ok ok ok ok ok", w.text(phone, "restored"))
	alone = *eve
	alone.auth = bob.auth
	set("bad-device-brings-another", "The first event of a device that is not Bob's brings the certificate of one that is.",
		append(slices.Clone(good), w.write(&alone, KindDeviceAdd, &DeviceAdd{Cert: phone.id.Cert()})), "ok ok ok ok ok bad")
}

func (m *vectorMaker) epochs() {
	group, dev, e, n := ID(secretOf("group")), Key(secretOf("dev")), secretOf("E"), secretOf("N")
	eid := EpochID(group, dev, 5, e)
	ep, err := NewEpoch(group, eid, dev, 5, e)
	m.w.must(err)
	parent := &Epoch{ID: ID(secretOf("parent eid")), E: secretOf("parent E")}
	f := m.add("epoch", "epoch", "All that follows from an epoch's secret E, drawn for the control event seq of dev: the id that commits to it, the step secrets S(0), S(1), …,\nthe commitments to them, the secret of a far step, the back key and a parent's secret under it, the rendezvous key and N under it, and the commitment to N.")
	f.set("group", group).set("dev", dev).set("seq", 5).set("E", e).set("eid", eid)
	for i := range uint32(4) {
		f.set("step", must(ep.at(i)))
	}
	for i := range uint32(4) {
		f.set("step_commit", CommitStep(group, eid, i, must(ep.at(i))))
	}
	f.set("far_step", 1000).set("far_secret", must(ep.at(1000)))
	f.set("kback", ep.back()).set("parent_eid", parent.ID).set("parent_E", parent.E).set("back_seal", ep.SealParent(parent))
	f.set("krendezvous", ep.rendezvousKey()).set("N", n).set("commit", CommitN(group, n)).set("sealed_n", ep.SealN(n)).expect(nil)
	for _, c := range []struct {
		name, about string
		group       ID
		dev         Key
		seq         uint64
		e           Secret
	}{
		{"group", "The secret of an epoch of another group.", ID{1}, dev, 5, e},
		{"device", "An epoch that another device started.", group, Key{1}, 5, e},
		{"place", "An epoch of another place on the chain.", group, dev, 6, e},
		{"secret", "Another secret: a forged answer to who asks for this epoch's.", group, dev, 5, secretOf("forged")},
	} {
		_, err := NewEpoch(c.group, eid, c.dev, c.seq, c.e)
		m.add("epoch-bad-"+c.name, "epoch", c.about).set("group", c.group).set("dev", c.dev).set("seq", c.seq).set("E", c.e).set("eid", eid).expect(err)
	}

	s, nn, plain := must(ep.at(2)), [16]byte{1, 2, 3}, marshal(Content{Text: "hi"})
	k := derive(s[:], nn[:], 44, "p2pchat/1 msg", group[:], dev[:])
	m.add("message-key", "message-key", "The key and nonce of one sealed text, and the sealing of a padded plaintext under them (AES-256-GCM).").
		set("S", s).set("n", nn).set("group", group).set("dev", dev).set("key", k[:32]).set("iv", k[32:]).
		set("plain", plain).set("padded", pad(plain)).set("aad", []byte("associated data")).
		set("ct", gcm(k[:32]).Seal(nil, k[32:], pad(plain), []byte("associated data"))).expect(nil)

	f = m.add("padme-lengths", "padme", "Lengths before and after Padmé.")
	for _, n := range []int{1, 2, 3, 7, 8, 9, 10, 15, 16, 17, 31, 33, 63, 65, 100, 127, 128, 129, 255, 257, 1000, 1024, 1025, 4097, 49158, 65535} {
		f.set("length", fmt.Sprint(n, padmeLen(n)))
	}
	f.expect(nil)
	m.add("padme-pad", "padme", "0x80 and zeros up to the Padmé length of plaintext and the 0x80.").set("plain", bytes.Repeat([]byte{7}, 17)).set("padded", pad(bytes.Repeat([]byte{7}, 17))).expect(nil)
	bad := func(name, about string, b []byte) {
		_, err := unpad(b)
		m.add("padme-bad-"+name, "padme", about).set("padded", b).expect(err)
	}
	bad("no-marker", "No 0x80.", []byte{1, 2, 3, 0})
	bad("too-long", "More zeros than Padmé adds.", append(pad([]byte{1, 2, 3}), 0))
	bad("zeros", "Nothing but zeros.", make([]byte, 8))
}

func (m *vectorMaker) wraps() {
	group, author, dev, e := ID(secretOf("group")), Key(secretOf("author")), Key(secretOf("dev")), secretOf("E")
	eid := EpochID(group, author, 9, e)
	ep, err := NewEpoch(group, eid, author, 9, e)
	m.w.must(err)
	var hybridRow, plainRow Row
	for _, hybrid := range []bool{false, true} {
		name := map[bool]string{false: "x25519", true: "hybrid"}[hybrid]
		seed := secretOf("prekey " + name)
		key, err := DeriveBoxKey(hybrid, seed)
		m.w.must(err)
		wrap, err := ep.Wrap(author, dev, hybrid, key.Public())
		m.w.must(err)
		prekey := hash("", key.Public())
		if hybrid {
			hybridRow = wrap
		} else {
			plainRow = wrap
		}
		info := wrapInfo(group, eid, dev, prekey, author)
		write := func(file, about string, box []byte, want error) {
			f := m.add("wrap-"+file, "wrap", about).set("hybrid", hybrid).set("prekey_seed", seed).set("prekey", key.Public()).set("prekey_id", prekey)
			f.set("group", group).set("author", author).set("seq", 9).set("eid", eid).set("dev", dev).set("info", info).set("box", box)
			if want == nil {
				f.set("E", e)
			}
			f.expect(want)
		}
		write(name, "An epoch's secret E for one device, by HPKE in base mode. Sealing is random: open it with the key that DeriveKeyPair(prekey_seed) gives.\nThe box is the encapsulated key and the ciphertext.", wrap.Box, nil)
		broken := slices.Clone(wrap.Box)
		broken[len(broken)-1] ^= 1
		write("bad-"+name, "The last bit flipped.", broken, ErrSealBroken)
		for what, info := range map[string][]byte{
			"device": wrapInfo(group, eid, Key(secretOf("dev 2")), prekey, author), "author": wrapInfo(group, eid, dev, prekey, dev),
			"epoch": wrapInfo(group, ID(secretOf("eid")), dev, prekey, author), "group": wrapInfo(ID{1}, eid, dev, prekey, author),
		} {
			if !hybrid {
				moved, err := sealBox(false, key.Public(), info, e.slice())
				m.w.must(err)
				write("bad-"+what, "Sealed for another "+what+".", moved, ErrSealBroken)
			}
		}
		if !hybrid {
			other, err := sealBox(false, key.Public(), info, secretOf("another E").slice())
			m.w.must(err)
			write("bad-forged", "It opens, but to a secret that the epoch's id does not commit to.", other, ErrSealBroken)
		}
	}
	other := func(r Row) Row { return Row{Key(secretOf("dev 2")).Row(), r.Box} }
	for name, rows := range map[string][]Row{"": {plainRow, other(plainRow), plainRow}, "-hybrid": {hybridRow, other(hybridRow)}} {
		chunk := ChunkWraps(name != "", rows)[0]
		rows, _, err := ParseChunk(chunk)
		m.w.must(err)
		f := m.add("chunk"+name, "chunk", "A wrap chunk: rows ascending by the first 4 bytes of the device's key. A rekey lists its hash.").set("chunk", chunk).set("hash", hash("", chunk)).set("hybrid", name != "")
		for _, r := range rows {
			f.set("row", r.Dev[:])
		}
		f.expect(nil)
	}
	bad := func(name, about string, c wrapChunk) {
		m.add("chunk-bad-"+name, "chunk", about).set("chunk", marshal(c)).expect(ErrMalformed)
	}
	row := func(r Row) []byte { return append(r.Dev[:], r.Box...) }
	one, two := row(plainRow), row(other(plainRow))
	if bytes.Compare(one, two) < 0 {
		one, two = two, one
	}
	bad("unsorted", "Rows in descending order.", wrapChunk{Rows: slices.Concat(one, two)})
	bad("empty", "A chunk without rows.", wrapChunk{Rows: []byte{}})
	bad("cut", "Half a row.", wrapChunk{Rows: one[:40]})
	bad("kind", "Rows of X25519 that are said to be hybrid.", wrapChunk{Hybrid: true, Rows: one})
}

func (m *vectorMaker) prekeys() {
	seed := secretOf("prekey")
	p, err := DerivePrekey(seed)
	m.w.must(err)
	private, err := p.hybrid.key.Bytes()
	m.w.must(err)
	plain, err := p.plain.key.Bytes()
	m.w.must(err)
	hybridID, plainID := p.IDs()
	m.add("prekey", "prekey", "A prekey: the hybrid key that DeriveKeyPair(seed) gives, and its X25519 part, which is a key of its own:\nSHAKE256(private), bytes 64 to 95. Wraps name them by SHA-256.").
		set("seed", seed).set("private", private).set("public", p.Public()).set("id", hybridID).set("x25519_private", plain).set("x25519", p.plain.Public()).set("x25519_id", plainID).expect(nil)
}

func (m *vectorMaker) answers() {
	group, asker, holder := ID(secretOf("group")), Key(secretOf("asker")), Key(secretOf("holder"))
	box, err := DeriveBoxKey(true, secretOf("bob box"))
	m.w.must(err)
	list := []EpochSecret{{Epoch: ID(secretOf("epoch")), E: secretOf("E")}}
	sealed, err := SealKeys(group, asker, holder, box.Public(), list)
	m.w.must(err)
	write := func(name, about string, asker Key, data []byte) {
		got, err := OpenKeys(group, asker, holder, box, data)
		f := m.add(name, "keys", about).set("group", group).set("asker", asker).set("holder", holder).set("box_seed", secretOf("bob box")).set("box_key", box.Public()).set("answer", data)
		if err == nil {
			f.set("info", answerInfo(group, asker, holder)).set("plain", marshal(EpochSecrets{got}))
		}
		f.expect(err)
	}
	write("keys", "The answer to a key request: one epoch's secret, sealed to the request's key (hybrid HPKE; sealing is random).", asker, sealed)
	write("keys-bad-asker", "The same answer, brought to another device.", holder, sealed)
	empty, err := SealKeys(group, asker, holder, box.Public(), nil)
	m.w.must(err)
	write("keys-bad-empty", "An answer without epochs.", asker, empty)
}

func (m *vectorMaker) reports() {
	w := newWorld(m.t)
	group, author, dev := ID(secretOf("group")), Key(secretOf("author")), Key(secretOf("dev"))
	seed := secretOf("prekey of a moderator")
	p, err := DerivePrekey(seed)
	w.must(err)
	to := []Recipient{{Dev: dev, Prekey: p.Public()}}
	hybrid, _ := p.IDs()
	// The key is the first that is drawn.
	key, err := NewSecret(fixed("report"))
	w.must(err)
	write := func(name, about, what string, boxed []byte, opens error) {
		f := m.add(name, "report", about).set("what", what).set("group", group).set("author", author).set("dev", dev).set("prekey_seed", seed).set("prekey_id", hybrid)
		f.set("boxed", boxed)
		b, err := ParseReportBox(boxed)
		if err == nil {
			f.set("info", reportInfo(group, dev, hybrid, author)).set("commit", b.Commit).set("sealed", b.Sealed)
			err = opens
		}
		if err == nil {
			_, plain, openErr := openReport(what, b, group, author, key)
			w.must(openErr)
			f.set("key", key).set("plain", plain)
		}
		f.expect(err)
	}
	complaint := Complaint{Reason: "spam", Event: CarryEvent(w.text(w.ana, "buy this"))}
	boxed, err := complaint.Box(group, author, to, fixed("report"))
	w.must(err)
	write("report", "What a report carries: its key, sealed to the prekey of each recipient (hybrid HPKE; sealing is random), a commitment to the key, and the\npadded text under it. The event in it is not one of this group: opening a report does not verify it.", "report", boxed, nil)
	closing, err := Closing{Note: "told them", Verdict: Dismissed}.Box(group, author, to, fixed("report"))
	w.must(err)
	write("report-close", "What the end of a report carries.", "close", closing, nil)
	var b ReportBox
	w.must(unmarshal(boxed, &b))
	other := b
	other.Commit[0] ^= 1
	write("report-bad-commit", "The key is not the one that the box commits to.", "report", marshal(other), ErrSealBroken)
	other = b
	other.Wraps = []Wrap{b.Wraps[0], b.Wraps[0]}
	write("report-bad-devices", "One device twice.", "report", marshal(other), nil)
	other.Wraps = nil
	write("report-bad-empty", "For nobody.", "report", marshal(other), nil)
	other.Wraps = []Wrap{{Dev: dev, Prekey: hybrid, Box: b.Wraps[0].Box[1:]}}
	write("report-bad-box", "A box that is too short.", "report", marshal(other), nil)
}

func (m *vectorMaker) plans() {
	p := Plan{Seed: secretOf("plan"), Name: "Hiking club", By: "Ana"}
	salt := p.Salt()
	m.add("plan", "plan", "A plan to found a group together, and the salt of its genesis.").set("text", p.Text()).set("seed", p.Seed).set("name", p.Name).set("by", p.By).set("salt", salt).expect(nil)
	bad := func(name, about, text string) {
		_, err := ParsePlan(text)
		m.add("plan-bad-"+name, "plan", about).set("text", text).expect(err)
	}
	good := p.Text()
	bad("cut", "Cut short.", good[:len(good)-5])
	bad("scheme", "A plan under the scheme of consents.", ConsentScheme+good[len(PlanScheme):])
	bad("version", "Version 2, with a good checksum.", PlanScheme+tokenText("p2pchat/1 plan", marshal(wirePlan{V: 2, Seed: p.Seed, Name: p.Name})))
	bad("name", "Without a name.", Plan{Seed: p.Seed}.Text())

	id := account("bob").Identity(salt)
	c := Consent{Salt: salt, Cert: id.Cert(), Name: "Bob"}
	m.add("consent", "consent", "The answer of one who will be a founder too.").set("text", c.Text()).set("salt", salt).set("root_seed", id.root.Seed()).set("dev_seed", id.dev.Seed()).
		set("cert", marshal(c.Cert)).set("name", c.Name).expect(nil)
	forged := c
	forged.Cert.DevSig[0] ^= 1
	_, err := ParseConsent(forged.Text())
	m.add("consent-bad-cert", "consent", "A certificate that does not hold.").set("text", forged.Text()).expect(err)
}

func (m *vectorMaker) joining() {
	w := newWorld(m.t)
	l, _ := w.invite(w.ana, "link", Member)
	link := func(name, about string, l Link) {
		f := m.add("invite-link-"+name, "link", about).set("text", l.Text()).set("group", l.Group).set("seed", l.Seed).set("flags", l.Flags)
		for _, a := range l.Addrs {
			f.set("addr", a)
		}
		if l.Question != "" {
			f.set("question", l.Question).set("answer_to", l.AnswerTo[:])
		}
		f.set("invite_key_seed", l.InviteKey().Seed()).set("invite_key", l.PublicKey()).set("lobby", l.Lobby()).expect(nil)
	}
	link("plain", "A link without addresses, the invite key (an Ed25519 seed) and the lobby secret that its seed derives.", l)
	withAddr := l
	withAddr.Flags = 1
	peer, _ := hex.DecodeString("a503260024080112208a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c")
	withAddr.Addrs = [][]byte{append([]byte{4, 192, 168, 1, 7, 6, 0x1f, 0x90}, peer...)}
	link("address", "A link with a flag and an address, /ip4/192.168.1.7/tcp/8080/p2p/…, as a binary multiaddr.", withAddr)
	good := l.Text()
	bad := func(name, about, text string) {
		_, err := ParseLink(text)
		m.add("invite-link-bad-"+name, "link", about).set("text", text).expect(err)
	}
	bad("typo", "One character changed: the checksum tells.", strings.Replace(good, good[40:41], string('a'+(good[40]-'a'+1)%26), 1))
	bad("cut", "Cut short.", good[:len(good)-9])
	bad("scheme", "Another scheme.", "https:"+good[len(LinkScheme):])
	raw := marshal(wireLink{V: 2, Group: l.Group, Seed: l.Seed})
	bad("version", "Version 2, with a good checksum.", LinkScheme+base32Lower.EncodeToString(append(linkSum(raw), raw...)))
	asks := l
	w.must(asks.Ask("Where did we meet?", secretOf("ask")))
	link("question", "A link that asks a question, with the key that answers are sealed to.", asks)
	m.joinAnswers(w, asks)
	raw = marshal(wireLink{V: 1, Group: l.Group, Seed: l.Seed, Question: "Where did we meet?"})
	bad("question", "A question without a key for the answer.", LinkScheme+base32Lower.EncodeToString(append(linkSum(raw), raw...)))
	raw = marshal(wireLink{V: 1, Group: l.Group, Seed: l.Seed, Question: strings.Repeat("?", MaxQuestionSize+1), AnswerTo: asks.AnswerTo})
	bad("long-question", "A question of 201 bytes.", LinkScheme+base32Lower.EncodeToString(append(linkSum(raw), raw...)))
	raw = marshal(wireLink{V: 1, Group: l.Group, Seed: l.Seed, Addrs: [][]byte{{1}, {2}, {3}, {4}, {5}}})
	bad("addresses", "Five addresses.", LinkScheme+base32Lower.EncodeToString(append(linkSum(raw), raw...)))
	upper := m.add("invite-link-upper-case", "link", "QR codes carry upper case. The link's own form is lower case.").set("text", good)
	upper.set("group", l.Group).set("seed", l.Seed).set("flags", 0).set("invite_key_seed", l.InviteKey().Seed()).set("invite_key", l.PublicKey()).set("lobby", l.Lobby()).expect(nil)
	m.out = slices.DeleteFunc(m.out, func(v *vector) bool { return v == upper }) // covered by a unit test

	bob := w.someone("bob")
	r, box := w.request(l, bob, "Bob")
	m.add("join-request", "join-request", "A request to join. The proof is signed by root, device and invite key over one preimage; the whole by the device, with 64 zero bytes in the signature's place.").
		set("group", w.group).set("link_seed", l.Seed).set("root_seed", bob.id.root.Seed()).set("dev_seed", bob.id.dev.Seed()).
		set("nonce", r.Proof.Nonce).set("box_key", r.Box).set("name", r.Name).
		set("proof_preimage", joinPreimage(w.group, r.Invite, r.Cert.Root, r.Cert.Dev, r.Proof.Nonce)).
		set("request_preimage", r.preimage(w.group)).set("request", r.Encode()).expect(nil)
	badReq := func(name, about string, group ID, data []byte) {
		_, err := ParseJoinRequest(group, data)
		m.add("join-request-bad-"+name, "join-request", about).set("group", group).set("request", data).expect(err)
	}
	badReq("group", "A request for another group.", ID{1}, r.Encode())
	x := r
	x.Name = "Bobby"
	badReq("name", "The name was changed on the way.", w.group, x.Encode())
	x = r
	x.Proof.InviteSig = x.Proof.DevSig
	badReq("invite-signature", "Not signed by the invite's key.", w.group, x.Encode())
	x = r
	x.Cert.RootSig[1] ^= 1
	badReq("cert", "A certificate that does not hold.", w.group, x.Encode())
	x = r
	x.Name = strings.Repeat("x", MaxNameSize+1)
	x.Sig = sign(bob.id.dev, x.preimage(w.group))
	badReq("long-name", "A name of 129 bytes.", w.group, x.Encode())
	x = r
	x.Answer = make([]byte, maxAnswerBox+1)
	x.Sig = sign(bob.id.dev, x.preimage(w.group))
	badReq("long-answer", "A sealed answer of 561 bytes.", w.group, x.Encode())

	wel := Welcome{Grant: ID{3}, Epochs: []EpochSecret{{Epoch: ID{5}, E: secretOf("E")}, {Epoch: ID{6}, Step: 2, S: secretOf("S")}}, Secrets: []Secret{secretOf("N")}, Addrs: withAddr.Addrs, Name: "Hiking club"}
	sealed, err := wel.Seal(w.group, r, w.ana.id.Signer())
	w.must(err)
	welcome := func(name, about string, group ID, data []byte) {
		_, admitter, err := OpenWelcome(group, bob.dev(), box, data)
		f := m.add(name, "welcome", about).set("group", group).set("joiner", bob.dev()).set("box_seed", secretOf("bob box")).set("box_key", box.Public()).set("welcome", data)
		if err == nil {
			f.set("admitter", admitter).set("info", welcomeInfo(group, bob.dev(), admitter)).set("plain", marshal(wel)).set("grant", wel.Grant).set("name", wel.Name)
		}
		f.expect(err)
	}
	welcome("welcome", "A welcome, sealed to the request's key (hybrid HPKE; sealing is random) and signed by the admitter's device.", w.group, sealed)
	var s sealedWelcome
	w.must(unmarshal(sealed, &s))
	s.Box[0] ^= 1
	welcome("welcome-bad-signature", "A changed box.", w.group, marshal(s))
	welcome("welcome-bad-group", "A welcome to another group.", ID{1}, sealed)
	again, err := Welcome{Grant: ID{3}}.Seal(w.group, r, w.ana.id.Signer())
	w.must(err)
	welcome("welcome-bad-empty", "A welcome without epochs and secrets.", w.group, again)
	m.joinFiles(w, r, wel)
	m.bundles(w.group)
}

// safety are numbers that two people compare.
func (m *vectorMaker) safety() {
	group, a, b := ID(secretOf("group")), Key(secretOf("a")), Key(secretOf("b"))
	m.add("safety", "safety", "A safety number: 12 groups of 5 digits of SHA-512, the same in either order.").
		set("group", group).set("a", a).set("b", b).set("number", SafetyNumber(group, a, b)).
		set("text", SafetyScheme+SafetyNumber(group, b, a)).expect(nil)
	bad := func(name, about, text string) {
		_, err := ParseSafety(text)
		m.add("safety-bad-"+name, "safety", about).set("text", text).expect(err)
	}
	good := SafetyNumber(group, a, b)
	bad("short", "59 digits.", good[1:])
	bad("letter", "A letter.", good[:59]+"O")
	bad("scheme", "Another scheme.", LinkScheme+good)
}

// joinFiles are a request and the answer to it as files.
func (m *vectorMaker) joinFiles(w *world, r JoinRequest, wel Welcome) {
	request := r.File(w.group)
	req := func(name, about string, data []byte) {
		group, got, err := ParseRequestFile(data)
		f := m.add(name, "request-file", about).set("file", data)
		if err == nil {
			f.set("group", group).set("request", got.Encode()).set("id", got.ID())
		}
		f.expect(err)
	}
	req("request-file", "A request to join as a file: a line, and a map. Its id is SHA-256 of the request.", request)
	req("request-file-bad-group", "Its signatures are for another group.", r.File(ID{1}))
	req("request-file-bad-cut", "Cut short.", request[:len(request)-1])
	req("request-file-bad-trailing-byte", "A byte too many.", append(slices.Clone(request), 0))
	req("request-file-bad-head", "Another first line.", append([]byte("p2pchat/2 request\n"), request[len(requestHead):]...))

	frames := AppendFrame(nil, FrameDone, struct{}{})
	welcome, err := wel.SealFile(w.group, r, w.ana.id.Signer(), frames, fixed("bundle"))
	w.must(err)
	box := secretOf("bob box")
	open := func(name, about string, joiner Key, data []byte) {
		f := m.add(name, "welcome-file", about).set("joiner", joiner).set("box_seed", box).set("file", data)
		key, err := DeriveBoxKey(true, box)
		w.must(err)
		file, err := ParseWelcomeFile(data)
		if err == nil {
			var got Welcome
			if got, _, _, err = file.Open(joiner, key); err == nil {
				f.set("group", file.Group).set("request", file.Request).set("plain", marshal(got)).set("bundle_key", got.Bundle).
					set("bundle_aad", bundleInfo(file.Group, file.Request)).set("frames", frames)
			}
		}
		f.expect(err)
	}
	joiner := r.Cert.Dev
	open("welcome-file", "The answer: the id of the request, a welcome that has a key, and frames under that key.", joiner, welcome)
	open("welcome-file-bad-joiner", "For another device.", Key{2}, welcome)
	open("welcome-file-bad-cut", "Cut short.", joiner, welcome[:len(welcome)-1])
	open("welcome-file-bad-head", "A request.", joiner, request)
	change := func(name, about string, by func(*welcomeFile)) {
		var f welcomeFile
		w.must(unmarshal(welcome[len(welcomeHead):], &f))
		by(&f)
		open("welcome-file-bad-"+name, about, joiner, append([]byte(welcomeHead), marshal(f)...))
	}
	change("bundle", "A changed bundle.", func(f *welcomeFile) { f.Bundle[0] ^= 1 })
	change("request", "Said to answer another request.", func(f *welcomeFile) { f.Request[0] ^= 1 })
	change("group", "Said to be of another group.", func(f *welcomeFile) { f.Group[0] ^= 1 })
	change("no-bundle", "A welcome as it goes over a stream, without a key.", func(f *welcomeFile) {
		f.Welcome, err = wel.Seal(w.group, r, w.ana.id.Signer())
		w.must(err)
	})
}

// bundles are the head of a file between members, and a chunk of it.
func (m *vectorMaker) bundles(group ID) {
	n, seed, key := secretOf("N"), secretOf("prekey"), fixed("bundle file")
	prekey, err := DerivePrekey(seed)
	m.w.must(err)
	head, _, err := SealBundle(group, BundleReaders{Points: []Secret{n}, Prekeys: [][]byte{prekey.Public()}}, key)
	m.w.must(err)
	secret, err := NewSecret(fixed("bundle file")) // is drawn first
	m.w.must(err)
	salt := head[len(bundleLine):][:32]
	write := func(name, about string, group ID, head []byte) *vector {
		f := m.add(name, "bundle", about).set("group", group).set("N", n).set("prekey_seed", seed).set("head", head)
		_, err := openBundleVector(f, group)
		return f.expect(err)
	}
	frames := AppendFrame(nil, FrameEvents, Events{List: [][]byte{{1}}})
	list := []EpochSecret{{Epoch: ID(secretOf("epoch")), E: secretOf("E")}}
	k, opened := bundleKey(secret, group, salt), framesSecret(secret, salt)
	chunk := sha256.Sum256(k.SealChunk(5, true, frames))
	write("bundle", "The head of a bundle that opens by N, and by a prekey (sealing to it is random); the chunk that is its sixth and last, by SHA-256; and secrets in it.", group, head).
		set("secret", secret).set("frames_secret", opened).set("chunks_key", chunksKey(opened, group, salt)).set("secrets_key", secretsKey(secret, group, salt)).
		set("number", uint64(5)).set("frames", frames).set("chunk_sha256", chunk[:]).
		set("secrets", marshal(EpochSecrets{list})).set("sealed_secrets", marshal(k.SealSecrets(0, list)))
	write("bundle-bad-group", "For the members of another group.", ID{1}, head)
	write("bundle-bad-cut", "Cut short.", group, head[:200])
	write("bundle-bad-line", "Another first line.", group, append([]byte("p2pchat/2 bundle\n"), head[len(bundleLine):100]...))
	shape := slices.Clone(head[:100])
	shape[len(bundleLine)+32] = 9
	write("bundle-bad-shape", "It claims 512 hybrid boxes.", group, shape)
}

// joinAnswers are to the question of a link.
func (m *vectorMaker) joinAnswers(w *world, l Link) {
	bob := w.someone("answerer")
	answer := func(name, about string, to Link, seed Secret, plain []byte) {
		box, err := sealBox(false, to.AnswerTo[:], joinAnswerInfo(to.Group, to.PublicKey(), bob.dev()), plain)
		w.must(err)
		text, err := JoinRequest{Invite: l.PublicKey(), Cert: bob.id.Cert(), Answer: box}.OpenAnswer(l.Group, seed)
		f := m.add(name, "answer", about).set("group", l.Group).set("invite", l.PublicKey()).set("dev", bob.dev()).
			set("seed", seed).set("answer_to", to.AnswerTo[:]).set("box", box)
		if err == nil {
			f.set("info", joinAnswerInfo(l.Group, l.PublicKey(), bob.dev())).set("plain", plain).set("answer", text)
		}
		f.expect(err)
	}
	seed := secretOf("ask")
	answer("answer", "An answer to an invitation's question: padded, and sealed by X25519 HPKE to the key in the link (sealing is random).", l, seed, pad([]byte("on the Säntis")))
	answer("answer-bad-seed", "With the seed of another invite.", l, secretOf("another"), pad([]byte("on the Säntis")))
	other := l
	other.Group = ID{1}
	answer("answer-bad-group", "Sealed in another group.", other, seed, pad([]byte("on the Säntis")))
	answer("answer-bad-padding", "Not padded.", l, seed, []byte("on the Säntis"))
	answer("answer-bad-long", "501 bytes.", l, seed, pad(bytes.Repeat([]byte("x"), MaxAnswerSize+1)))
	answer("answer-bad-text", "Not UTF-8.", l, seed, pad([]byte("\xff")))
}

func (m *vectorMaker) meeting() {
	group, n, lobby := ID(secretOf("group")), secretOf("N"), secretOf("lobby")
	m.add("rendezvous", "rendezvous", "Where a group meets: HMAC-SHA256 under its rendezvous secret N, 20 bytes, in base32. An invite's lobby secret is used in the same way.").
		set("secret", n).set("topic", Topic(n)).set("dht", DHTKey(n)).expect(nil)
	h := Hello{NonceI: secretOf("nonce I"), NonceR: secretOf("nonce R"), PeerI: string(secretOf("peer I").slice()[:20]), PeerR: string(secretOf("peer R").slice()[:30])}
	dev := keyFrom(secretOf("dev"))
	p := h.Prove(group, Initiator, h.Tag(n, Responder), dev)
	m.add("hello", "hello", "Tags and a proof of a hello, bound to both nonces and both peer ids, and the tags of a lobby.").
		set("nonce_i", h.NonceI).set("nonce_r", h.NonceR).set("peer_i", []byte(h.PeerI)).set("peer_r", []byte(h.PeerR)).set("transcript_i", h.transcript(Initiator)).
		set("N", n).set("tag_i", h.Tag(n, Initiator)).set("tag_r", h.Tag(n, Responder)).
		set("lobby", lobby).set("lobby_tag_i", h.LobbyTag(lobby, Initiator)).set("lobby_tag_r", h.LobbyTag(lobby, Responder)).
		set("salt", secretOf("salt")).set("founder_tag", h.FounderTag(secretOf("salt"))).
		set("group", group).set("dev_seed", dev.Seed()).set("proof_i_preimage", h.proofPreimage(group, Initiator)).set("proof_i", marshal(p)).expect(nil)
	m.helloCerts(h, group, p)
	bad := func(name, about string, h Hello, group ID, role Role) {
		m.add("hello-bad-"+name, "hello", about).set("nonce_i", h.NonceI).set("nonce_r", h.NonceR).set("peer_i", []byte(h.PeerI)).set("peer_r", []byte(h.PeerR)).
			set("group", group).set("role", string(rune(role))).set("dev", p.Dev).set("sig", p.Sig).expect(h.Check(group, role, p))
	}
	bad("reflected", "The initiator's proof, sent back by the responder.", h, group, Responder)
	bad("group", "A proof for another group.", h, ID{1}, Initiator)
	other := h
	other.PeerR = "somebody in the middle"
	bad("peer", "A proof from a connection with somebody else.", other, group, Initiator)
	other = h
	other.NonceR = [32]byte{1}
	bad("nonce", "A proof from an earlier connection.", other, group, Initiator)
}

// helloCerts makes proofs that bring a certificate.
func (m *vectorMaker) helloCerts(h Hello, group ID, p Proof) {
	id := Account{Seed: secretOf("seed"), Device: secretOf("device")}.Identity(group)
	good, another := h.Prove(group, Initiator, p.Tag, id.Signer()), p
	good.Vouch(id.Cert())
	another.Vouch(id.Cert())
	for _, c := range []struct {
		name, about string
		p           Proof
	}{
		{"cert", "A proof with the device's certificate, for who does not know the device yet.", good},
		{"bad-cert", "A proof with another device's certificate.", another},
	} {
		m.add("hello-"+c.name, "hello-cert", c.about).set("nonce_i", h.NonceI).set("nonce_r", h.NonceR).set("peer_i", []byte(h.PeerI)).set("peer_r", []byte(h.PeerR)).
			set("group", group).set("proof_i", marshal(c.p)).expect(h.Check(group, Initiator, c.p))
	}
}

func (m *vectorMaker) records() {
	w, ana := m.w, m.w.ana
	rec := func(name, about string, r Record) (*vector, VerifiedRecord) {
		v, err := r.Sign(w.group, ana.id.Signer())
		w.must(err)
		f := m.add(name, "record", about).set("group", w.group).set("dev_seed", ana.id.dev.Seed()).set("record_type", int(r.Type)).set("number", r.Number)
		if r.Expiry != 0 {
			f.set("expiry", r.Expiry)
		}
		return f.set("value", r.Value).set("preimage", v.Record().preimage(w.group)).set("record", v.Wire()), v
	}
	key, err := DeriveBoxKey(true, secretOf("prekey"))
	w.must(err)
	f, prekey := rec("record-prekey", "A prekey record: a hybrid HPKE public key; the number is the week since 1970.", Record{Type: RecordPrekey, Number: 2976, Expiry: 1_803_000_000, Value: key.Public()})
	f.expect(nil)

	n := [16]byte{8, 8, 8}
	k := RecordKey{Dev: ana.dev(), Type: RecordProfile, Number: 3}
	value, err := w.epoch.SealProfile(k, Profile{Name: "Ana"}, bytes.NewReader(n[:]))
	w.must(err)
	rk, _, _ := w.set.Rekey(w.epoch.ID)
	f, _ = rec("record-profile", "A profile record: a name, sealed like a message under a header of kind 0 whose chain is the record's type and whose seq is its number.", Record{Type: RecordProfile, Number: 3, Value: value})
	f.set("name", "Ana").set("n", n).set("E", w.epoch.E).set("eid", w.epoch.ID).set("rekey_dev", rk.Header().Dev).set("rekey_seq", rk.Header().Seq).
		set("aad", aad(valueHeader(k, &sealedValue{Epoch: w.epoch.Tag(), N: n}))).expect(nil)

	f, _ = rec("record-frontier", "A frontier record; see frontier.", Record{Type: RecordFrontier, Number: 7, Value: frontierOf(1_790_000_000_000, 1_790_003_600_000).Value()})
	f.expect(nil)

	bad := func(name, about string, group ID, wire []byte) {
		_, err := VerifyRecord(group, wire)
		m.add("record-bad-"+name, "record", about).set("group", group).set("record", wire).expect(err)
	}
	bad("group", "A record of another group.", ID{1}, prekey.Wire())
	r := prekey.Record()
	r.Number++
	bad("number", "The number was raised on the way.", w.group, marshal(r))
	r = Record{Dev: ana.dev(), Type: RecordPrekey, Number: 1, Value: make([]byte, MaxRecordSize+1)}
	r.Sig = sign(ana.id.Signer(), r.preimage(w.group))
	bad("long", "A value of 2,049 bytes.", w.group, marshal(r))
	bad("trailing-byte", "A byte after the record.", w.group, append(slices.Clone(prekey.Wire()), 0))
}

func (m *vectorMaker) frames() {
	w := m.w
	id, dev := ID(secretOf("id")), Key(secretOf("dev"))
	tag := HelloTag(id[:16])
	tags := HelloTags{}
	for i := range byte(MaxHelloTags) {
		tags.Tags = append(tags.Tags, HelloTag{i, 1})
	}
	bob := w.someone("bob")
	req, _ := w.request(w.link("frame"), bob, "Bob")
	frames := []struct {
		name, about string
		kind        FrameKind
		payload     any
	}{
		{"hello-nonce", "Opens a hello or a join.", FrameHelloNonce, HelloNonce{id}},
		{"hello-tags", "64 tags, ascending.", FrameHelloTags, tags},
		{"hello-proofs", "One proof.", FrameHelloProof, HelloProofs{[]Proof{{Tag: tag, Dev: dev, Sig: Signature{1}}}}},
		{"hello-no-proofs", "No group in common.", FrameHelloProof, HelloProofs{}},
		{"lobby", "Knowledge of an invite's lobby.", FrameLobby, Lobby{Tag: tag}},
		{"request", "A join request.", FrameRequest, req},
		{"welcome", "A sealed welcome, as a byte string.", FrameWelcome, []byte{1, 2, 3}},
		{"refused", "A refusal: a person has to approve first.", FrameRefused, Refusal{RefusedApproval}},
		{"open", "Opens a sync.", FrameOpen, Open{Group: id, Control: ID{1}, Records: ID{2}, Count: 3, Sum: ID{4}}},
		{"open-empty", "Of who holds no messages.", FrameOpen, Open{Group: id, Control: ID{1}, Records: ID{2}}},
		{"open-addresses", "The responder's Open, with a member's address.", FrameOpen, Open{Group: id, Control: ID{1}, Records: ID{2}, Addrs: [][]byte{{4, 127, 0, 0, 1, 6, 0x1f, 0x90}}}},
		{"have", "What its sender holds; another follows.", FrameHave, Have{
			Tips: []Tip{{Dev: dev, Chain: Control, Seq: 3, ID: id}}, Records: []RecordKey{{Dev: dev, Type: RecordProfile, Number: 1}}, More: true,
		}},
		{"have-asks", "The last Have, of who asks for messages since a time, and of these the second of three parts.", FrameHave, Have{Since: 1700000000000, Part: 1, Parts: 3}},
		{"have-nothing", "A Have of somebody who holds nothing.", FrameHave, Have{}},
		{"events", "One event.", FrameEvents, Events{[][]byte{w.genesis.Wire()}}},
		{"records", "Records.", FrameRecords, Events{[][]byte{{1}, {2}}}},
		{"done", "The end.", FrameDone, Done{}},
		{"done-same", "The end of a sync between two who hold the same.", FrameDone, Done{Same: true}},
		{"compare", "A message of Negentropy: all that there is has the fingerprint of nothing.", FrameCompare, Compare{append([]byte{0x61, 0, 0, 1}, make([]byte, 16)...)}},
		{"total", "So many messages follow.", FrameTotal, Total{100_000}},
		{"chunks", "Wrap chunks.", FrameChunks, Events{[][]byte{{1}, {2}}}},
		{"want", "A request for chunks, and for the secrets of epochs.", FrameWant, Want{Group: id, Chunks: []ID{{1}, {2}}, Epochs: []ID{{3}}, Box: []byte{1, 2, 3}}},
		{"want-bodies", "A request for messages whose bodies are missing.", FrameWant, Want{Group: id, Bodies: []ID{{4}, {5}}}},
		{"want-chunks", "A request for a chunk alone.", FrameWant, Want{Group: id, Chunks: []ID{{1}}}},
		{"keys", "Sealed epoch secrets, as a byte string.", FrameKeys, []byte{1, 2, 3}},
		{"secrets", "Sealed epoch secrets in a bundle.", FrameSecrets, BundleSecrets{Number: 1, Box: []byte{1, 2, 3}}},
		{"packed", "A pack of events, as a byte string.", FramePacked, []byte{1, 2, 3}},
		{"nearby-ask", "Asks who invites here.", FrameNearbyAsk, struct{}{}},
		{"nearby-offer", "Who invites.", FrameNearbyOffer, NearbyOffer{Name: "Ana"}},
		{"nearby-commit", "Asks to compare.", FrameNearbyCommit, NearbyCommit{Commit: id, Name: "Bo"}},
		{"nearby-key", "A key and a nonce.", FrameNearbyKey, NearbyKey{Key: id, Nonce: [32]byte{1}}},
		{"nearby-box", "A sealed box, as a byte string.", FrameNearbyBox, []byte{1, 2, 3}},
		{"unknown-critical", "An odd kind that this version does not know: the reader ends the stream.", 4095, Refusal{1}},
	}
	for _, x := range frames {
		b := AppendFrame(nil, x.kind, x.payload)
		m.add("frame-"+x.name, "frame", "A frame with its length before it. "+x.about).set("kind", int(x.kind)).set("payload", marshal(x.payload)).set("frame", b).expect(nil)
	}
	tips := []Tip{{Dev: Key{1}, Chain: Control, Seq: 9, ID: ID{1}}, {Dev: Key{1}, Chain: Messages, Seq: 700, ID: ID{2}}, {Dev: Key{2}, Chain: Control, Seq: 1, ID: ID{3}}}
	keys := []RecordKey{{Dev: Key{1}, Type: RecordPrekey, Number: 2976}, {Dev: Key{1}, Type: RecordProfile, Number: 1}}
	d := m.add("digest", "digest", "The digests of a sync's Open: over three tips, and over two record keys, in order.")
	for _, x := range tips {
		d.set("tip", marshal(x))
	}
	for _, x := range keys {
		d.set("record_key", marshal(x))
	}
	d.set("tips", DigestTips(tips)).set("records", DigestRecords(keys)).expect(nil)
	g := Gossip{List: [][]byte{w.genesis.Wire()}}
	peers := [][]byte{{0, 1, 2, 3}, {0, 4, 5, 6}}
	told := []PeerTag{TagOf(peers[0]), TagOf(peers[1])}
	slices.SortFunc(told, PeerTag.Compare)
	g.Tell(told)
	m.add("gossip", "gossip", "A gossip frame without its length: one event, and two peers that were told of it, by their binary ids.").
		set("peer", peers[0]).set("peer", peers[1]).set("frame", EncodeFrame(FrameEvents, g)).expect(nil)
	m.add("gossip-alone", "gossip", "A gossip frame that does not say who was told.").set("frame", EncodeFrame(FrameEvents, Gossip{List: g.List})).expect(nil)
	unsorted := Gossip{List: g.List, Told: []byte{1, 2, 3, 1, 2, 2}}
	m.add("gossip-bad-order", "gossip", "The tags do not ascend.").set("frame", EncodeFrame(FrameEvents, unsorted)).expect(ErrMalformed)
	m.add("gossip-bad-cut", "gossip", "A tag is cut short.").set("frame", EncodeFrame(FrameEvents, Gossip{List: g.List, Told: []byte{1, 2}})).expect(ErrMalformed)
	m.add("gossip-bad-empty", "gossip", "Nothing is in it.").set("frame", EncodeFrame(FrameEvents, Gossip{})).expect(ErrMalformed)
	m.add("digest-nothing", "digest", "The digests of nothing.").set("tips", DigestTips(nil)).set("records", DigestRecords(nil)).expect(nil)

	skipped := append(AppendFrame(nil, 4096, Refusal{1}), AppendFrame(nil, FrameDone, struct{}{})...)
	f, err := ReadFrame(newReader(skipped))
	if err != nil || f.Kind != FrameDone {
		m.t.Fatalf("an even kind is not skipped: %v", err)
	}
	bad := func(name, about string, b []byte) {
		f, err := ReadFrame(newReader(b))
		if err == nil {
			err = f.Decode(f.Kind, payloadOf(f.Kind))
		}
		v := m.add("frame-bad-"+name, "frame", about).set("frame", b)
		if f.Kind != 0 {
			v.set("kind", int(f.Kind)).set("payload", []byte(f.Payload))
		}
		v.expect(err)
	}
	bad("too-large", "A length of 66,049.", []byte{0x81, 0x84, 0x04})
	bad("version", "Version 2.", []byte{4, 0x83, 2, 1, 0xa0})
	bad("array", "Two elements.", []byte{3, 0x82, 1, 1})
	bad("payload", "A nonce of 31 bytes.", AppendFrame(nil, FrameHelloNonce, map[int][]byte{1: make([]byte, 31)}))
	bad("payload-field", "A payload with a field that its kind does not have.", AppendFrame(nil, FrameDone, map[int]int{2: 1}))
}

// signatures are where implementations of Ed25519 differ. ZIP-215 decides.
func (m *vectorMaker) signatures() {
	cases := []struct{ msg, key, sig, why string }{ // "Taming the many EdDSAs", Chalkias, Garillot, Nikolaenko, 2020
		{"8c93255d71dcab10e8f379c26200f3c7bd5f09d9bc3068d3ef4edeb4853022b6", "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa", "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a0000000000000000000000000000000000000000000000000000000000000000", "key and R of small order, S = 0"},
		{"9bd9f44f4dcc75bd531b56b2cd280b0bb38fc1cd6d1230e14861d861de092e79", "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa", "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43a5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04", "key of small order"},
		{"aebf3f2601a0c8c5d39cc7d8911642f740b78168218da8471772b35f9d35b9ab", "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43", "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa8c4bd45aecaca5b24fb97bc10ac27ac8751a7dfe1baff8b953ec9f5833ca260e", "R of small order"},
		{"9bd9f44f4dcc75bd531b56b2cd280b0bb38fc1cd6d1230e14861d861de092e79", "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d", "9046a64750444938de19f227bb80485e92b83fdb4b6506c160484c016cc1852f87909e14428a7a1d62e9f22f3d3ad7802db02eb2e688b6c52fcd6648a98bd009", "key and R of mixed order, holds with and without the cofactor"},
		{"e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec4011eaccd55b53f56c", "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d", "160a1cb0dc9c0258cd0a7d23e94d8fa878bcb1925f2c64246b2dee1796bed5125ec6bc982a269b723e0668e540911a9a6a58921d6925e434ab10aa7940551a09", "key and R of mixed order, holds with the cofactor only"},
		{"e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec4011eaccd55b53f56c", "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d", "21122a84e0b5fca4052f5b1235c80a537878b38f3142356b2c2384ebad4668b7e40bc836dac0f71076f9abe3a53f9c03c1ceeeddb658d0030494ace586687405", "key of mixed order, R of order L, holds with the cofactor only"},
		{"85e241a07d148b41e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec40", "442aad9f089ad9e14647b1ef9099a1ff4798d78589e66f28eca69c11f582a623", "e96f66be976d82e60150baecff9906684aebb1ef181f67a7189ac78ea23b6c0e547f7690a0e2ddcd04d87dbc3490dc19b3b3052f7ff0538cb68afb369ba3a514", "S >= L"},
		{"85e241a07d148b41e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec40", "442aad9f089ad9e14647b1ef9099a1ff4798d78589e66f28eca69c11f582a623", "8ce5b96c8f26d0ab6c47958c9e68b937104cd36e13c33566acd2fe8d38aa19427e71f98a473474f2f13f06f97c20d58cc3f54b8bd0d272f42b695dd7e89a8c22", "S far above L"},
		{"9bedc267423725d473888631ebf45988bad3db83851ee85c85e241a07d148b41", "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43", "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff03be9678ac102edcd92b0210bb34d7428d12ffc5df5f37e359941266a4e35f0f", "R not canonical, hashed in its canonical form"},
		{"9bedc267423725d473888631ebf45988bad3db83851ee85c85e241a07d148b41", "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43", "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffca8c5b64cd208982aa38d4936621a4775aa233aa0505711d8fdcfdaa943d4908", "R not canonical, hashed as it is"},
		{"e96b7021eb39c1a163b6da4e3093dcd3f21387da4cc4572be588fafae23c155b", "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", "a9d55260f765261eb9b84e106f665e00b867287a761990d7135963ee0a7d59dca5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04", "key not canonical, hashed in its canonical form"},
		{"39a591f5321bbe07fd5a23dc2f39d025d74526615746727ceefd6e82ae65c06f", "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", "a9d55260f765261eb9b84e106f665e00b867287a761990d7135963ee0a7d59dca5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04", "key not canonical, hashed as it is"},
	}
	unhex := func(s string) []byte { b, err := hex.DecodeString(s); m.w.must(err); return b }
	sig := func(name, why string, key, msg, s []byte) {
		var err error
		if !verifySig(Key(key), msg, Signature(s)) {
			err = ErrBadSignature
		}
		m.add(name, "signature", "Ed25519 by the rule of ZIP-215, alone and in a batch: "+why).set("key", key).set("msg", msg).set("sig", s).expect(err)
	}
	for i, c := range cases {
		sig(fmt.Sprintf("signature-speccheck-%02d", i), c.why+".\nCase "+fmt.Sprint(i)+" of \"Taming the many EdDSAs\" (Chalkias, Garillot, Nikolaenko, 2020).", unhex(c.key), unhex(c.msg), unhex(c.sig))
	}

	// A whole event whose signature only the cofactored equation accepts: R = rB + T
	// with T of order 8, made with the key of a regular device.
	w := newWorld(m.t)
	v := w.text(w.ana, "signed with an R of mixed order")
	e := v.Event()
	e.Sig = mixedOrder(w, w.ana, e.preimage(w.group))
	m.wire("event-signature-mixed-order", "An event whose R has a component of order 8. Verifiers without the cofactor refuse it, so that single and batch verification could disagree; here it is valid, always.", w.group, e.Encode())
}

func mixedOrder(w *world, a *actor, msg []byte) Signature {
	h := sha512.Sum512(a.id.dev.Seed())
	h[0] &= 248
	h[31] = h[31]&63 | 64
	sk, err := new(scalar.Scalar).SetBytesModOrder(h[:32])
	w.must(err)
	nonce := sha512.Sum512(append([]byte("nonce"), msg...))
	r, err := new(scalar.Scalar).SetBytesModOrderWide(nonce[:])
	w.must(err)
	var big curve.EdwardsPoint
	big.MulBasepoint(curve.ED25519_BASEPOINT_TABLE, r)
	big.Add(&big, curve.EIGHT_TORSION[1])
	var c curve.CompressedEdwardsY
	c.SetEdwardsPoint(&big)
	dev := a.dev()
	kh := sha512.New()
	kh.Write(c[:])
	kh.Write(dev[:])
	kh.Write(msg)
	k, err := new(scalar.Scalar).SetBytesModOrderWide(kh.Sum(nil))
	w.must(err)
	var s scalar.Scalar
	s.Mul(k, sk)
	s.Add(&s, r)
	var out Signature
	copy(out[:32], c[:])
	w.must(s.ToBytes(out[32:]))
	return out
}
