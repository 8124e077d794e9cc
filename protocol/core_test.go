package protocol

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestSecretsPrintRedacted(t *testing.T) {
	s := secretOf("printing")
	box, err := DeriveBoxKey(false, s)
	if err != nil {
		t.Fatal(err)
	}
	a := account("printing")
	holders := map[string]any{
		"secret": s, "pointer": &s, "list": []Secret{s}, "account": a, "identity": a.Identity(s),
		"epoch": Epoch{E: s, S: s}, "link": Link{Seed: s}, "box key": box, "attachment": Attachment{Key: s},
		"welcome": Welcome{Secrets: []Secret{s}}, "aside": Aside{Lobby: s}, "map": map[string]Secret{"n": s},
	}
	forbidden := func(b []byte) []string {
		var dec strings.Builder
		for _, x := range b[:8] {
			fmt.Fprintf(&dec, "%d ", x)
		}
		return []string{fmt.Sprintf("%x", b[:6]), fmt.Sprintf("%X", b[:6]), strings.TrimSpace(dec.String()), strings.ReplaceAll(strings.TrimSpace(dec.String()), " ", ","), string(b[:6])}
	}
	private, err := box.key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	var leaks []string
	for _, b := range [][]byte{s[:], a.Seed[:], a.Device[:], a.Identity(s).root, a.Identity(s).dev, private} {
		leaks = append(leaks, forbidden(b)...)
	}
	check := func(what, out string) {
		t.Helper()
		for _, l := range leaks {
			if strings.Contains(out, l) {
				t.Errorf("%s tells the secret: %.200s", what, out)
			}
		}
	}
	for name, h := range holders {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%q", "%d"} {
			check(name+" with "+verb, fmt.Sprintf(verb, h))
		}
		if b, err := json.Marshal(h); err == nil {
			check(name+" as JSON", string(b))
		}
		var log bytes.Buffer
		for _, handler := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
			slog.New(handler).Info("log", "value", h)
		}
		check(name+" in a log", log.String())
	}
	if got := fmt.Sprintf("%v %x", s, s); got != "redacted redacted" {
		t.Error(got)
	}
}

func TestPadme(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, MaxEventSize).Draw(t, "n")
		p := padmeLen(n)
		if p < n || n > 8 && float64(p-n) > 0.12*float64(n) || padmeLen(p) != p || padmeLen(n+1) < p {
			t.Fatalf("%d pads to %d", n, p)
		}
		b := bytes.Repeat([]byte{byte(n)}, n-1)
		got, err := unpad(pad(b))
		if err != nil || !bytes.Equal(got, b) {
			t.Fatalf("padding of %d bytes: %v", n, err)
		}
	})
}

func TestClock(t *testing.T) {
	now := time.UnixMilli(1_800_000_000_000)
	var c Clock
	if got := c.Next(now); got != 1_800_000_000_000 {
		t.Errorf("at first it is the time: %d", got)
	}
	if a, b := c.Next(now), c.Next(now.Add(-9*time.Minute)); b != a+1 {
		t.Errorf("it goes back: %d, %d", a, b)
	}
	c.Observe(1_800_000_300_000, now) // five minutes ahead
	if got := c.Next(now); got != 1_800_000_300_001 {
		t.Errorf("it is behind what it has seen: %d", got)
	}
	far := uint64(time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli())
	c.Observe(far, now)
	if got := c.Next(now); got >= far {
		t.Error("a clock that stands in 2040 drags this one")
	}
	c = Clock{}
	ahead := c.Next(now.Add(24 * time.Hour))
	if got := c.Next(now); got != millis(now) {
		t.Errorf("a clock that is put back by a day goes on at %d, %d ahead of what it is", got, ahead-millis(now))
	}
	if got := c.Next(now.Add(-time.Minute)); got <= millis(now) {
		t.Errorf("a clock that is put back by a minute goes on at %d, before what was written", got)
	}
	if got := (&Clock{}).Next(time.Unix(-5, 0)); got == 0 || got >= MaxHLC {
		t.Errorf("before 1970: %d", got)
	}
	if got := (&Clock{}).Next(time.Unix(1<<55, 0)); got >= MaxHLC {
		t.Errorf("in the far future: %d", got)
	}
}

func TestVerifyBatchIsVerify(t *testing.T) {
	w := newWorld(t)
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		var wires [][]byte
		for range rng.IntN(20) {
			v := w.text(w.ana, "hello")
			wire := slices.Clone(v.Wire())
			switch rng.IntN(5) {
			case 0:
				wire[rng.IntN(len(wire))] ^= 1 << rng.IntN(8)
			case 1:
				wire = wire[:rng.IntN(len(wire))]
			case 2:
				e := v.Event()
				e.Sig = mixedOrder(w, w.ana, e.preimage(w.group))
				wire = e.Encode()
			}
			wires = append(wires, wire)
		}
		got, errs := VerifyBatch(w.group, wires, fixed("batch"))
		for i, wire := range wires {
			v, err := Verify(w.group, wire)
			if (err == nil) != (errs[i] == nil) || v.ID() != got[i].ID() || err != nil && !got[i].IsZero() {
				t.Fatalf("%d: alone %v, in a batch %v", i, err, errs[i])
			}
		}
	})
}

func TestUsable(t *testing.T) {
	id := func(b byte) ID { return ID{b} }
	held := func(c Candidate) Candidate { c.Held, c.Current = true, true; return c }
	for _, c := range []struct {
		story string
		all   []Candidate
		want  ID
		ok    bool
	}{
		{"there is no epoch", nil, ID{}, false},
		{"the only one", []Candidate{held(Candidate{ID: id(1)})}, id(1), true},
		{"its secret is not here", []Candidate{{ID: id(1), Current: true}}, ID{}, false},
		{"somebody was removed since", []Candidate{{ID: id(1), Held: true}}, ID{}, false},
		{"a descendant replaces it, though its author is junior", []Candidate{
			held(Candidate{ID: id(1)}), held(Candidate{ID: id(2), Parents: []ID{id(1)}, Rank: Member, Depth: 1}),
		}, id(2), true},
		{"but not one whose secret is not here", []Candidate{
			held(Candidate{ID: id(1)}), {ID: id(2), Parents: []ID{id(1)}, Depth: 1, Current: true},
		}, id(1), true},
		{"it reaches through one that is not here", []Candidate{
			held(Candidate{ID: id(1)}), {ID: id(2), Parents: []ID{id(1)}}, held(Candidate{ID: id(3), Parents: []ID{id(2)}, Rank: Member}),
		}, id(3), true},
		{"of forked ones, the most senior author's", []Candidate{
			held(Candidate{ID: id(1), Rank: Member, Depth: 5}), held(Candidate{ID: id(2), Rank: Admin}),
		}, id(2), true},
		{"then the deepest", []Candidate{
			held(Candidate{ID: id(1), Rank: Admin}), held(Candidate{ID: id(2), Rank: Admin, Depth: 1}),
		}, id(2), true},
		{"then the lowest id", []Candidate{
			held(Candidate{ID: id(2), Rank: Admin}), held(Candidate{ID: id(1), Rank: Admin}),
		}, id(1), true},
		{"parents in a circle, which nobody honest makes, do not hang it", []Candidate{
			held(Candidate{ID: id(1), Parents: []ID{id(2)}}), held(Candidate{ID: id(2), Parents: []ID{id(1)}}), held(Candidate{ID: id(3), Rank: Member}),
		}, id(3), true},
	} {
		for range 3 {
			got, ok := Usable(c.all)
			if got != c.want || ok != c.ok {
				t.Errorf("%s: got %s, %v", c.story, got, ok)
			}
			slices.Reverse(c.all)
		}
	}
}

func TestEpochsOfARosterFork(t *testing.T) {
	w := newWorld(t)
	bob := w.join("bob", Member)
	first := w.start(w.ana, "first")
	w.act(w.join("carl", Member), KindLeave, &Leave{}) // so that bob may start one
	heads := w.set.Heads(16, bob.auth)
	_, a := w.rekey(w.ana, "ana's", first)
	_, b := w.rekey(bob, "bob's", first)
	w.act(w.ana, KindRekey, a, heads...)
	w.act(bob, KindRekey, b, heads...)
	all := func(ID, ID) bool { return true }
	if got, _ := Usable(Eval(w.set).Candidates(View{Held: all, Now: w.hlc})); got != a.Epoch {
		t.Error("the founder's is not chosen")
	}
	if got, _ := Usable(Eval(w.set).Candidates(View{Held: func(eid, _ ID) bool { return eid != a.Epoch }, Now: w.hlc})); got != b.Epoch {
		t.Error("bob's is not used by who has only that")
	}
	w.act(w.join("dora", Member), KindLeave, &Leave{})
	third, c := w.rekey(bob, "merged", &Epoch{ID: a.Epoch}, &Epoch{ID: b.Epoch})
	w.act(bob, KindRekey, c)
	if got, _ := Usable(Eval(w.set).Candidates(View{Held: all, Now: w.hlc})); got != third.ID {
		t.Error("what merges both is not chosen")
	}
}

// What is done by hand for speed is HKDF as the standard library has it.
func TestKeysAreTheLibrarys(t *testing.T) {
	long := bytes.Repeat([]byte("p2pchat"), 100)
	for _, keyLen := range []int{0, 1, 16, 32, 63, 64} {
		for _, n := range []int{0, 1, 15, 55, 56, 64, 119, 191, 192, 193, len(long)} {
			h := hmac.New(sha256.New, long[:keyLen])
			h.Write(long[:n])
			if got := shortMAC(long[:keyLen], long[:n/3], nil, long[n/3:n]); !bytes.Equal(got[:], h.Sum(nil)) {
				t.Fatalf("the MAC of %d bytes under a key of %d is another", n, keyLen)
			}
		}
	}
	s, h := secretOf("S"), Header{Dev: Key{1, 2}, N: [16]byte{3, 4}}
	key, more := messageKey(s, &h, ID{5})
	if got := append(key[:], more[:12]...); !bytes.Equal(got, derive(s[:], h.N[:], 44, "p2pchat/1 msg", append([]byte{5}, make([]byte, 31)...), h.Dev[:])) {
		t.Error("a message's key is another")
	}
	if walk(s, 1) != Secret(must(hkdf.Expand(sha256.New, s[:], "p2pchat/1 step", 32))) {
		t.Error("a step is another")
	}
}

func TestStepsOnlyGoForward(t *testing.T) {
	e := secretOf("E")
	full, err := NewEpoch(ID{1}, EpochID(ID{1}, Key{2}, 3, e), Key{2}, 3, e)
	if err != nil {
		t.Fatal(err)
	}
	s2 := must(full.at(2))
	part := &Epoch{Group: ID{1}, ID: full.ID, Step: 2, S: s2}
	if must(part.at(5)) != must(full.at(5)) {
		t.Error("a later step differs for who came later")
	}
	if _, err := part.at(1); !errors.Is(err, ErrNoKey) {
		t.Errorf("an earlier step: %v", err)
	}
	if _, err := part.at(2 + maxStep + 1); !errors.Is(err, ErrNoKey) {
		t.Errorf("a step too far: %v", err)
	}
	if _, err := NewEpoch(ID{1}, full.ID, Key{2}, 4, e); !errors.Is(err, ErrSealBroken) {
		t.Errorf("an epoch at another place: %v", err)
	}
}

func TestTheRendezvousSecretIsTheOneCommittedTo(t *testing.T) {
	w := newWorld(t)
	ep, k := w.rekey(w.ana, "first")
	if n, err := ep.OpenN(k.SealedN, k.Commit); err != nil || n != secretOf("N first") {
		t.Fatal(n, err)
	}
	if _, err := ep.OpenN(k.SealedN, ID{1}); !errors.Is(err, ErrSealBroken) {
		t.Errorf("another commitment: %v", err)
	}
	other, _ := w.rekey(w.ana, "second")
	if _, err := other.OpenN(k.SealedN, k.Commit); !errors.Is(err, ErrSealBroken) {
		t.Errorf("under another epoch: %v", err)
	}
}

// Kind 0 lends records their associated data; were it an event, a record's sealed
// value and an event's could trade places.
func TestNoEventHasKind0(t *testing.T) {
	w := newWorld(t)
	d := Draft{Group: w.group, Kind: 0, Prev: w.ana.ctl, Refs: []ID{w.group}, Auth: w.group, HLC: 1}
	e := Event{Header: d.header(), Body: marshal(controlBody{Clear: []byte{0xa0}})}
	e.Header.BodyLen = uint32(len(e.Body))
	if _, err := e.finish(w.group, w.ana.id.Signer()); !errors.Is(err, ErrMalformed) {
		t.Error(err)
	}
}

func TestMessagesOpenOnlyAsTheyWereSealed(t *testing.T) {
	w := newWorld(t)
	v := w.text(w.ana, "hello")
	if c, err := w.epoch.OpenMessage(v); err != nil || c.Text != "hello" {
		t.Fatal(c, err)
	}
	other := *w.epoch
	other.ID = ID{1}
	if _, err := other.OpenMessage(v); !errors.Is(err, ErrNoKey) {
		t.Errorf("under another epoch: %v", err)
	}
	// Ana herself puts her sealed text under another header: it does not open there.
	e := v.Event()
	e.Header.HLC++
	moved, err := e.finish(w.group, w.ana.id.Signer())
	w.must(err)
	if _, err := w.epoch.OpenMessage(moved); !errors.Is(err, ErrSealBroken) {
		t.Errorf("under another header: %v", err)
	}
	e = v.Event()
	e.Erase()
	erased, err := Verify(w.group, e.Encode())
	w.must(err)
	if _, err := w.epoch.OpenMessage(erased); !errors.Is(err, ErrErased) {
		t.Errorf("erased: %v", err)
	}
}

func TestContentFitsItsKind(t *testing.T) {
	w := newWorld(t)
	w.start(w.ana, "first")
	file := &Attachment{Name: "x", Hash: ID{1}}
	for _, c := range []struct {
		k    Kind
		c    Content
		want error
	}{
		{KindText, Content{}, ErrNotText},
		{KindText, Content{Text: "\xff"}, ErrNotText},
		{KindText, Content{Text: "x", To: ID{1}}, ErrMalformed},
		{KindText, Content{Text: strings.Repeat("x", MaxTextSize+1)}, ErrTooLarge},
		{KindText, Content{Text: strings.Repeat("x", MaxTextSize)}, nil},
		{KindReply, Content{Text: "x"}, ErrMalformed},
		{KindReaction, Content{To: ID{1}}, ErrMalformed},
		{KindRetract, Content{Text: "why", To: ID{1}}, ErrMalformed},
		{KindRetract, Content{Text: "why"}, nil},
		{KindExpire, Content{}, nil},
		{KindExpire, Content{Boxed: []byte("x")}, ErrMalformed},
		{KindText, Content{Text: "x", Boxed: []byte("x")}, ErrMalformed},
		{KindAttachment, Content{Attachment: file, Boxed: []byte("x")}, ErrMalformed},
		{KindAttachment, Content{Text: "x"}, ErrMalformed},
		{KindAttachment, Content{Attachment: file}, nil},
		{KindAttachment, Content{Attachment: &Attachment{Name: strings.Repeat("x", MaxNameSize+1)}}, ErrMalformed},
		{KindReport, Content{}, ErrMalformed},
		{KindReport, Content{Text: "x", Boxed: []byte("x")}, ErrMalformed},
		{KindReport, Content{To: ID{1}, Boxed: []byte("x")}, ErrMalformed},
		{KindReport, Content{Boxed: make([]byte, MaxTextSize)}, nil},
		{KindReport, Content{Boxed: make([]byte, MaxTextSize+1)}, ErrTooLarge},
		{KindClose, Content{Text: "x"}, ErrMalformed},
		{KindClose, Content{Boxed: []byte("x")}, nil},
	} {
		d := Draft{Group: w.group, Kind: c.k, Prev: w.ana.msg, Refs: []ID{w.group}, HLC: 1}
		if c.k.aboutInHeader() {
			d.To = ID{1}
		}
		if _, err := d.SignMessage(c.c, w.epoch, w.ana.id.Signer(), w.random); !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("%s %.60v: got %v, want %v", c.k, c.c, err, c.want)
		}
	}
}

func TestLinks(t *testing.T) {
	l := Link{Group: ID{1}, Seed: secretOf("seed"), Addrs: [][]byte{{1, 2}, {3}}}
	for _, text := range []string{l.Text(), "  " + l.Text() + "\n", strings.ToUpper(l.Text())} {
		got, err := ParseLink(text)
		if err != nil || got.Text() != l.Text() {
			t.Errorf("%q: %v", text, err)
		}
	}
	for at := range l.Text() {
		if _, err := ParseLink(l.Text()[:at]); !errors.Is(err, ErrBadLink) {
			t.Errorf("cut at %d: %v", at, err)
		}
	}
	if _, err := ParseLink(LinkScheme + strings.Repeat("a", MaxLinkSize)); !errors.Is(err, ErrBadLink) {
		t.Error(err)
	}
	if bytes.Contains([]byte(l.Text()), []byte(" ")) || l.Lobby() == (Link{Group: ID{2}, Seed: l.Seed}).Lobby() {
		t.Error("a link has spaces, or its lobby does not depend on the group")
	}
}

func TestRecordsReplaceEachOther(t *testing.T) {
	w := newWorld(t)
	rec := func(n uint64, value string) VerifiedRecord {
		v, err := Record{Type: RecordProfile, Number: n, Value: []byte(value)}.Sign(w.group, w.ana.id.Signer())
		w.must(err)
		return v
	}
	a, b, c := rec(1, "a"), rec(2, "b"), rec(2, "c")
	if !b.Newer(a) || a.Newer(b) || a.Newer(a) || b.Newer(c) == c.Newer(b) {
		t.Error("the newer of two is not told, or not by all in the same way")
	}
}

func TestHelloTagsHideHowManyGroups(t *testing.T) {
	h := Hello{PeerI: "i", PeerR: "r"}
	n := []Secret{secretOf("1"), secretOf("2")}
	tags, err := h.Tags(n, Initiator, fixed("tags"))
	if err != nil || len(tags) != MaxHelloTags {
		t.Fatal(len(tags), err)
	}
	for _, s := range n {
		if !slices.Contains(tags, h.Tag(s, Initiator)) || slices.Contains(tags, h.Tag(s, Responder)) {
			t.Error("a tag is missing, or the other role's is there")
		}
	}
	if !slices.IsSortedFunc(tags, func(a, b HelloTag) int { return bytes.Compare(a[:], b[:]) }) {
		t.Error("not sorted")
	}
}

func TestWrapsFindTheirDevices(t *testing.T) {
	author := Key{9}
	e := secretOf("E")
	ep, err := NewEpoch(ID{1}, EpochID(ID{1}, author, 4, e), author, 4, e)
	if err != nil {
		t.Fatal(err)
	}
	for _, hybrid := range []bool{false, true} {
		key, err := DeriveBoxKey(hybrid, secretOf("prekey"))
		if err != nil {
			t.Fatal(err)
		}
		one, err := ep.Wrap(author, Key{1}, hybrid, key.Public())
		if err != nil {
			t.Fatal(err)
		}
		if want := map[bool]int{false: 80, true: 1168}[hybrid]; len(one.Box) != want {
			t.Errorf("a wrap of %d bytes, want %d", len(one.Box), want)
		}
		var rows []Row
		for i := range 300 {
			x := one
			x.Dev = Key{byte(300 - i), byte((300 - i) >> 8)}.Row()
			rows = append(rows, x, x) // two devices whose keys begin alike
		}
		seen, place := 0, 1
		for _, chunk := range ChunkWraps(hybrid, rows) {
			got, h, err := ParseChunk(chunk)
			if err != nil || h != hybrid {
				t.Fatal(err)
			}
			seen += len(got)
			mine, at := FindRows(got, Key{150})
			if len(mine) > 0 {
				at = 0
			}
			if at > place || len(mine) > 2 {
				t.Errorf("%d rows, and others in direction %d after %d", len(mine), at, place)
			}
			place = at
		}
		if seen != len(rows) || place != -1 && hybrid {
			t.Errorf("%d of %d rows are in the chunks", seen, len(rows))
		}
		if _, err := rows[0].Unwrap(Key{2}, key, ID{1}, ep.ID, author, 4); !errors.Is(err, ErrSealBroken) {
			t.Error("a wrap for another device opens")
		}
		if got, err := one.Unwrap(Key{1}, key, ID{1}, ep.ID, author, 4); err != nil || got.E != e {
			t.Errorf("a wrap does not open: %v", err)
		}
	}
}

// The largest of each thing that has a limit fits what carries it.
func TestLimitsFitFrames(t *testing.T) {
	tip := Tip{Dev: Key{1}, Chain: Messages, Seq: MaxSeq - 1, ID: ID{1}}
	h := Have{Tips: slices.Repeat([]Tip{tip}, MaxFrontier), More: true}
	if n := len(AppendFrame(nil, FrameHave, h)); n > MaxFrameSize {
		t.Errorf("a Have of %d bytes", n)
	}
	if n := len(AppendFrame(nil, FrameEvents, Events{[][]byte{make([]byte, MaxEventSize)}})); n > MaxFrameSize {
		t.Errorf("an event in %d bytes", n)
	}
	if n := len(AppendFrame(nil, FrameHelloProof, HelloProofs{make([]Proof, MaxHelloTags)})); n > MaxFrameSize {
		t.Errorf("proofs in %d bytes", n)
	}
	w := newWorld(t)
	l := w.link("x")
	r, _ := w.request(l, w.someone("bob"), strings.Repeat("x", MaxNameSize))
	wel := Welcome{Grant: ID{1}, Addrs: slices.Repeat([][]byte{make([]byte, 128)}, MaxWelcomeAddrs), Name: r.Name}
	for range MaxWelcomeEpochs {
		wel.Epochs = append(wel.Epochs, EpochSecret{Epoch: ID{1}, E: secretOf("E"), Step: 1 << 31, S: secretOf("S")})
	}
	wel.Secrets = slices.Repeat([]Secret{secretOf("N")}, MaxWelcomeSecrets)
	sealed, err := wel.Seal(w.group, r, w.ana.id.Signer())
	w.must(err)
	if n := len(AppendFrame(nil, FrameWelcome, sealed)); n > MaxFrameSize {
		t.Errorf("a welcome of %d bytes", n)
	}
}

func TestGenesisIsTheGroup(t *testing.T) {
	w := newWorld(t)
	if w.genesis.ID() != w.group || ID(sha256.Sum256(w.genesis.event.preimage(ID{7}))) != w.group {
		t.Error("the group's id is not the genesis'")
	}
}
