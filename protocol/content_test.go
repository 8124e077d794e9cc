package protocol

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// What is taken off a copy is what Verify sees missing, and nothing else.
func TestErased(t *testing.T) {
	w := newWorld(t)
	v := w.text(w.ana, "hello")
	want := v.Event()
	want.Erase()
	for _, got := range []Verified{v.Erased(), v.Erased().Erased()} {
		again, err := Verify(w.group, got.Wire())
		w.must(err)
		if got.Whole() || got.ID() != v.ID() || again.ID() != v.ID() || !bytes.Equal(got.Wire(), want.Encode()) {
			t.Fatalf("erased: %v", got.Event())
		}
	}
	if !v.Whole() || !bytes.Contains(v.Wire(), v.Event().Body) {
		t.Fatal("erasing a copy changed the event")
	}
}

// What a message is about is in the header for those kinds that members act on
// without opening them, and only for those.
func TestAboutInHeader(t *testing.T) {
	w := newWorld(t)
	ep := w.start(w.ana, "first")
	contents := map[Kind]Content{
		KindText: {Text: "x"}, KindReply: {Text: "x", To: ID{1}}, KindReaction: {Text: "x", To: ID{1}}, KindEdit: {Text: "x", To: ID{1}},
		KindRetract: {}, KindAttachment: {Attachment: &Attachment{Name: "x"}}, KindExpire: {},
		KindReport: {Boxed: []byte("x")}, KindClose: {Boxed: []byte("x")}, 200: {},
	}
	for k := KindText; k < 210; k++ {
		c, listed := contents[k]
		if listed != (k.Known() || k == 200) {
			t.Fatalf("%s is not in the table", k)
		}
		required := k == KindRetract || k == KindExpire || k == KindClose
		for _, to := range []ID{{}, {1}} {
			v, err := Draft{Group: w.group, Kind: k, Prev: w.ana.msg, Refs: []ID{w.group}, HLC: 1, To: to}.SignMessage(c, ep, w.ana.id.Signer(), w.random)
			if fits := !k.Known() || required != to.IsZero(); fits != (err == nil) || !fits && !errors.Is(err, ErrMalformed) {
				t.Fatalf("%s with to %v: %v", k, !to.IsZero(), err)
			}
			if err == nil {
				checkTo(t, w, v, to)
			}
		}
	}
	_, err := Draft{Group: w.group, Kind: KindLeave, Prev: w.ana.ctl, Refs: []ID{w.group}, Auth: w.group, HLC: 1, To: ID{1}}.
		SignControl(&Leave{}, nil, nil, w.ana.id.Signer(), w.random)
	if !errors.Is(err, ErrMalformed) {
		t.Fatalf("on the control chain: %v", err)
	}
}

// checkTo reads what an event is about back, with its body and without it.
func checkTo(t *testing.T, w *world, v Verified, to ID) {
	t.Helper()
	for _, wire := range [][]byte{v.Wire(), v.Erased().Wire()} {
		got, err := Verify(w.group, wire)
		w.must(err)
		stored, err := Stored(w.group, wire)
		w.must(err)
		if got.ID() != v.ID() || stored.ID() != v.ID() || got.Header().To != to || stored.Header().To != to {
			t.Fatalf("%s: about %s, read %s and %s", v.Header().Kind, to, got.Header().To, stored.Header().To)
		}
	}
}

// What is decoded by hand is what the library decodes; the rest is left to it.
func TestTextsAreDecodedByHand(t *testing.T) {
	for _, n := range []int{1, 23, 24, 255, 256, 300, MaxTextSize} {
		text := strings.Repeat("x", n)
		if got, ok := decodeText(marshal(Content{Text: text})); !ok || got != text {
			t.Errorf("%d bytes: %d, %v", n, len(got), ok)
		}
	}
	for name, plain := range map[string][]byte{
		"nothing": {}, "no field": {0xa0}, "no text": {0xa1, 1}, "an empty one": {0xa1, 1, 0x60},
		"a length too long": {0xa1, 1, 0x78, 1, 'x'}, "bytes": {0xa1, 1, 0x41, 'x'}, "cut": {0xa1, 1, 0x62, 'x'},
		"more after it": {0xa1, 1, 0x61, 'x', 0}, "not UTF-8": {0xa1, 1, 0x61, 0xff}, "of no end": {0xa1, 1, 0x7f, 0x61, 'x', 0xff},
		"another field": {0xa1, 2, 0x61, 'x'}, "two": marshal(Content{Text: "x", To: ID{1}}),
	} {
		if got, ok := decodeText(plain); ok {
			t.Errorf("%s: %q", name, got)
		}
	}
}
