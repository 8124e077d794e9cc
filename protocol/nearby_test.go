package protocol

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// nearbyOf is a meeting of Ana, who invites, and Bo.
func nearbyOf(t testing.TB) (n Nearby, bo, ana NearbySecret) {
	t.Helper()
	bo, err := NewNearbySecret(fixed("nearby bo"))
	if err != nil {
		t.Fatal(err)
	}
	if ana, err = NewNearbySecret(fixed("nearby ana")); err != nil {
		t.Fatal(err)
	}
	n = Nearby{PeerI: "peer of bo", PeerR: "peer of ana", NameI: "Bo", NameR: "Ana", KeyI: bo.Public(), KeyR: ana.Public()}
	n.Commit = CommitNearby(n.PeerI, n.PeerR, n.KeyI)
	return n, bo, ana
}

func TestNearbyBothSeeTheSame(t *testing.T) {
	n, bo, ana := nearbyOf(t)
	i, err := n.Agree(Initiator, bo)
	if err != nil {
		t.Fatal(err)
	}
	r, err := n.Agree(Responder, ana)
	if err != nil {
		t.Fatal(err)
	}
	if i.Words() != r.Words() || i.Digits() != r.Digits() {
		t.Errorf("%v %s and %v %s", i.Words(), i.Digits(), r.Words(), r.Digits())
	}
	yes, err := i.Seal("")
	if err != nil {
		t.Fatal(err)
	}
	if text, err := r.Open(yes); err != nil || text != "" {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := i.Open(yes); !errors.Is(err, ErrSealBroken) {
		t.Errorf("one's own box, sent back, opens: %v", err)
	}
	link, err := r.Seal("p2pchat:abc")
	if err != nil {
		t.Fatal(err)
	}
	if text, err := i.Open(link); err != nil || text != "p2pchat:abc" {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := r.Seal("another"); !errors.Is(err, ErrInvalid) {
		t.Errorf("a second box under one key: %v", err)
	}
	if _, err := i.Open(make([]byte, MaxLinkSize+17)); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
}

// Whatever of a meeting is not the same for both sides, the strings are not.
func TestNearbyStringsBindEverything(t *testing.T) {
	good, bo, _ := nearbyOf(t)
	keys, err := good.Agree(Initiator, bo)
	if err != nil {
		t.Fatal(err)
	}
	eve, err := NewNearbySecret(fixed("eve"))
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Nearby, *NearbySecret){
		"the inviter's key":      func(n *Nearby, _ *NearbySecret) { n.KeyR = eve.Public() },
		"the inviter's nonce":    func(n *Nearby, _ *NearbySecret) { n.KeyR.Nonce[0] ^= 1 },
		"the inviter's peer id":  func(n *Nearby, _ *NearbySecret) { n.PeerR = "peer of eve" },
		"the joiner's peer id":   func(n *Nearby, _ *NearbySecret) { n.PeerI = "peer of eve" },
		"the joiner's name":      func(n *Nearby, _ *NearbySecret) { n.NameI = "B" },
		"the inviter's name":     func(n *Nearby, _ *NearbySecret) { n.NameR = "An" },
		"where a name ends":      func(n *Nearby, _ *NearbySecret) { n.PeerR, n.NameR = n.PeerR+"A", "na" },
		"the joiner's own nonce": func(n *Nearby, bo *NearbySecret) { bo.nonce[0] ^= 1; n.KeyI = bo.Public() },
	} {
		n, mine := good, bo
		change(&n, &mine)
		n.Commit = CommitNearby(n.PeerI, n.PeerR, n.KeyI)
		other, err := n.Agree(Initiator, mine)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if other.Words() == keys.Words() || other.Digits() == keys.Digits() || other.mine == keys.mine || other.theirs == keys.theirs {
			t.Errorf("%s can change and the strings stay", name)
		}
	}
}

func TestNearbyKeysPrintNothing(t *testing.T) {
	n, bo, _ := nearbyOf(t)
	k, err := n.Agree(Initiator, bo)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{bo, k} {
		if s := text(v); !strings.Contains(s, "redacted") {
			t.Errorf("%T prints %s", v, s)
		}
	}
}

func (m *vectorMaker) nearby() {
	n, bo, ana := nearbyOf(m.t)
	add := func(name, about string, n Nearby, role Role, s NearbySecret) *vector {
		return m.add(name, "nearby", about).set("peer_i", []byte(n.PeerI)).set("peer_r", []byte(n.PeerR)).set("name_i", n.NameI).set("name_r", n.NameR).
			set("private", s.key.Bytes()).set("nonce", s.nonce).set("role", string(rune(role))).set("commit", n.Commit).
			set("key_i", n.KeyI.Key).set("nonce_i", n.KeyI.Nonce).set("key_r", n.KeyR.Key).set("nonce_r", n.KeyR.Nonce)
	}
	i, err := n.Agree(Initiator, bo)
	m.w.must(err)
	r, err := n.Agree(Responder, ana)
	m.w.must(err)
	yes, err := i.Seal("")
	m.w.must(err)
	link, err := r.Seal("p2pchat:…")
	m.w.must(err)
	all := func(v *vector, k *NearbyKeys, text string, mine, theirs []byte) {
		v.set("transcript", k.transcript).set("send", k.mine).set("receive", k.theirs).set("words", strings.Join(k.arrayOfWords(), " ")).set("digits", k.Digits()).
			set("text", text).set("box", mine).set("their_box", theirs).expect(nil)
	}
	all(add("nearby-joiner", "A meeting, seen by I, who joins: the string to compare, the keys of both directions, and I's box, which says that the strings match.", n, Initiator, bo), i, "", yes, link)
	all(add("nearby-inviter", "The same meeting, seen by R, who invites: its box holds the link.", n, Responder, ana), r, "p2pchat:…", link, yes)

	bad := func(name, about string, n Nearby) {
		_, err := n.Agree(Responder, ana)
		add("nearby-bad-"+name, about, n, Responder, ana).expect(err)
	}
	other := n
	other.KeyI.Key[0] ^= 1
	bad("key", "I shows another key than it committed to, chosen once it saw R's.", other)
	other = n
	other.PeerI = "peer of eve"
	bad("replayed", "Somebody else's commitment, with the key that it hides: it names other peers.", other)
	other = n
	other.KeyI = n.KeyR
	other.Commit = CommitNearby(other.PeerI, other.PeerR, other.KeyI)
	bad("reflected", "R's own key, sent back.", other)
	other = n
	other.KeyI.Key = [32]byte{}
	other.Commit = CommitNearby(other.PeerI, other.PeerR, other.KeyI)
	bad("small-order", "A key of small order.", other)
	other = n
	other.NameI = strings.Repeat("x", MaxNameSize+1)
	bad("name", "A name of 129 bytes.", other)
}

func (k *NearbyKeys) arrayOfWords() []string { w := k.Words(); return w[:] }

func checkNearbyVector(v *vector) error {
	n := Nearby{
		PeerI: string(v.bytes("peer_i")), PeerR: string(v.bytes("peer_r")), NameI: v.get("name_i"), NameR: v.get("name_r"), Commit: v.b32("commit"),
		KeyI: NearbyKey{v.b32("key_i"), v.b32("nonce_i")}, KeyR: NearbyKey{v.b32("key_r"), v.b32("nonce_r")},
	}
	s, err := NewNearbySecret(bytes.NewReader(append(v.bytes("private"), v.bytes("nonce")...)))
	if err != nil {
		return err
	}
	k, err := n.Agree(Role(v.get("role")[0]), s)
	if err != nil {
		return err
	}
	v.want("commit", CommitNearby(n.PeerI, n.PeerR, n.KeyI))
	v.want("transcript", k.transcript)
	v.want("send", k.mine)
	v.want("receive", k.theirs)
	v.want("words", strings.Join(k.arrayOfWords(), " "))
	v.want("digits", k.Digits())
	box, err := k.Seal(v.get("text"))
	if err != nil {
		return err
	}
	v.want("box", box)
	_, err = k.Open(v.bytes("their_box"))
	return err
}

func FuzzNearby(f *testing.F) {
	seeds(f, "nearby", "box", "their_box", "commit")
	seeds(f, "frame", "frame")
	good, bo, ana := nearbyOf(f)
	keys, err := good.Agree(Responder, ana)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if text, err := keys.Open(data); err == nil && len(text)+16 != len(data) {
			t.Fatal("a box of another length than its text")
		}
		if fr, err := ReadFrame(newReader(data)); err == nil {
			for k := FrameNearbyAsk; k <= FrameNearbyBox; k += 2 {
				p := payloadOf(k)
				if fr.Kind = k; fr.Decode(k, p) == nil && !bytes.Equal(marshal(p), fr.Payload) {
					t.Fatalf("payload of kind %d encodes to other bytes", k)
				}
			}
		}
		if len(data) < 64 {
			return
		}
		n := good // whatever key somebody shows after a commitment of theirs
		n.KeyI = NearbyKey{[32]byte(data[:32]), [32]byte(data[32:64])}
		n.NameI = string(data[64:])
		if _, err := n.Agree(Responder, ana); n.KeyI != bo.Public() && !errors.Is(err, ErrSealBroken) {
			t.Fatalf("a key that was not committed to: %v", err)
		}
		n.Commit = CommitNearby(n.PeerI, n.PeerR, n.KeyI)
		if k, err := n.Agree(Responder, ana); err == nil && (k.mine.IsZero() || k.Words() == [3]string{}) {
			t.Fatal("no keys")
		}
	})
}
