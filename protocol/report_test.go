package protocol

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func recipients(t testing.TB, count int) ([]Recipient, []Prekey) {
	t.Helper()
	var to []Recipient
	var keys []Prekey
	for i := range count {
		name := string(rune('a' + i))
		p, err := DerivePrekey(secretOf("moderator " + name))
		if err != nil {
			t.Fatal(err)
		}
		to, keys = append(to, Recipient{Dev: Key(secretOf("device " + name)), Prekey: p.Public()}), append(keys, p)
	}
	return to, keys
}

func TestAReportIsForItsRecipients(t *testing.T) {
	w := newWorld(t)
	bob := w.join("bob", Member)
	said := w.text(bob, "buy this")
	to, keys := recipients(t, 2)
	c := Complaint{Reason: "spam", Event: CarryEvent(said)}
	data, err := c.Box(w.group, w.ana.dev(), to, fixed("report"))
	w.must(err)
	b, err := ParseReportBox(data)
	w.must(err)
	for i, r := range to {
		key, err := b.Unlock(w.group, w.ana.dev(), r.Dev, keys[i])
		w.must(err)
		got, err := b.Complaint(w.group, w.ana.dev(), key)
		w.must(err)
		v, err := Verify(w.group, got.Event)
		if err != nil || v.ID() != said.ID() || got.Reason != "spam" {
			t.Errorf("recipient %d reads %q about %s, %v", i, got.Reason, v.ID(), err)
		}
		if _, err := b.Closing(w.group, w.ana.dev(), key); !errors.Is(err, ErrMalformed) {
			t.Errorf("a report read as its end answers %v", err)
		}
		if _, err := b.Complaint(ID{1}, w.ana.dev(), key); !errors.Is(err, ErrSealBroken) {
			t.Errorf("in another group it answers %v", err)
		}
		if _, err := b.Unlock(w.group, bob.dev(), r.Dev, keys[i]); !errors.Is(err, ErrSealBroken) {
			t.Errorf("by another author it answers %v", err)
		}
	}
	if _, err := b.Unlock(w.group, w.ana.dev(), bob.dev(), keys[0]); !errors.Is(err, ErrNoKey) {
		t.Errorf("who it is not for gets %v", err)
	}
}

// A reporter must not show two moderators different things: GCM alone would let one
// ciphertext open under two keys.
func TestAReportCommitsToItsKey(t *testing.T) {
	group, author := ID{1}, Key{2}
	to, keys := recipients(t, 2)
	data, err := Closing{Verdict: Resolved}.Box(group, author, to, fixed("closing"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := ParseReportBox(data)
	if err != nil {
		t.Fatal(err)
	}
	for i := range b.Wraps {
		if w := &b.Wraps[i]; w.Dev == to[1].Dev {
			other := secretOf("another key")
			if w.Box, err = sealBox(true, to[1].Prekey, reportInfo(group, w.Dev, w.Prekey, author), other[:]); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := b.Unlock(group, author, to[0].Dev, keys[0]); err != nil {
		t.Error(err)
	}
	if _, err := b.Unlock(group, author, to[1].Dev, keys[1]); !errors.Is(err, ErrSealBroken) {
		t.Errorf("another key opens: %v", err)
	}
}

// The largest report fits a message.
func TestTheLargestReportFits(t *testing.T) {
	w := newWorld(t)
	w.start(w.ana, "first")
	to, _ := recipients(t, MaxReportBoxes)
	c := Complaint{Reason: strings.Repeat("x", MaxReasonSize), Event: make([]byte, MaxReportedSize)}
	data, err := c.Box(w.group, w.ana.dev(), to, fixed("report"))
	w.must(err)
	w.say(w.ana, KindReport, Content{Boxed: data})

	long := w.text(w.ana, strings.Repeat("x", MaxReportedSize))
	carried, err := Verify(w.group, CarryEvent(long))
	if err != nil || carried.ID() != long.ID() || carried.Whole() {
		t.Errorf("a large message is carried as %d bytes, %v", len(carried.Wire()), err)
	}
	if _, err := c.Box(w.group, w.ana.dev(), append(to, Recipient{Dev: Key{9}, Prekey: to[0].Prekey}), fixed("report")); !errors.Is(err, ErrMalformed) {
		t.Errorf("one recipient too many answers %v", err)
	}
	for _, bad := range []Complaint{{Event: nil}, {Event: make([]byte, MaxReportedSize+1)}, {Reason: strings.Repeat("x", MaxReasonSize+1), Event: []byte{1}}, {Reason: "\xff", Event: []byte{1}}} {
		if _, err := bad.Box(w.group, w.ana.dev(), to, fixed("report")); err == nil {
			t.Errorf("a reason of %d bytes about %d bytes is sealed", len(bad.Reason), len(bad.Event))
		}
	}
}

func TestFoundersTokens(t *testing.T) {
	p := Plan{Seed: secretOf("plan"), Name: "Hiking club", By: "Ana"}
	got, err := ParsePlan("  " + strings.ToUpper(p.Text()) + "\n")
	if err != nil || got != p {
		t.Errorf("the plan is read as %+v, %v", got, err)
	}
	salt := p.Salt()
	c := Consent{Salt: salt, Cert: account("bob").Identity(salt).Cert(), Name: "Bob"}
	back, err := ParseConsent(c.Text())
	if err != nil || back != c {
		t.Errorf("the consent is read as %+v, %v", back, err)
	}
	forged := c
	forged.Cert.Root = c.Cert.Dev
	for _, bad := range []string{"", PlanScheme, p.Text()[:40], p.Text() + "a", forged.Text(), Consent{Cert: c.Cert}.Text()} {
		if _, err := ParsePlan(bad); !errors.Is(err, ErrBadPlan) {
			t.Errorf("plan %q answers %v", bad, err)
		}
		if _, err := ParseConsent(bad); !errors.Is(err, ErrBadPlan) {
			t.Errorf("consent %q answers %v", bad, err)
		}
	}
	if _, err := ParsePlan(PlanScheme + strings.TrimPrefix(c.Text(), ConsentScheme)); !errors.Is(err, ErrBadPlan) {
		t.Errorf("a consent as a plan answers %v", err)
	}
	h := Hello{NonceI: secretOf("i"), NonceR: secretOf("r"), PeerI: "i", PeerR: "r"}
	other := h
	other.NonceI = secretOf("another")
	if a, b := h.FounderTag(salt), other.FounderTag(salt); bytes.Equal(a[:], b[:]) {
		t.Error("a founder's tag is the same on two connections")
	}
}

func TestWhatIsNoPrekey(t *testing.T) {
	to, _ := recipients(t, 1)
	good := to[0].Prekey
	if err := CheckPrekey(good); err != nil {
		t.Error(err)
	}
	low := bytes.Clone(good)
	clear(low[hybridPQ:]) // a point of small order
	for _, bad := range [][]byte{nil, good[1:], low, bytes.Repeat([]byte{0xff}, len(good))} {
		if err := CheckPrekey(bad); !errors.Is(err, ErrBadKey) {
			t.Errorf("%d bytes: %v", len(bad), err)
		}
	}
}
