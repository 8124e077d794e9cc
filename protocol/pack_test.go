package protocol

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"pgregory.net/rapid"
)

// talk lets some people of a world write in turns, each of n texts so long.
func (w *world) talk(n, size int, people ...*actor) []Verified {
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	var said []Verified
	for range n {
		w.hlc += rng.Uint64N(60_000) // somebody every half a minute
		said = append(said, w.text(people[rng.IntN(len(people))], strings.Repeat("x", size)))
	}
	return said
}

// someOfEach returns events of every shape that a pack treats in its own way.
func someOfEach(t testing.TB) (*world, []Verified) {
	w := newWorld(t)
	bob, eve := w.join("bob", Member), w.join("eve", Member)
	w.start(w.ana, "first")
	pool := w.talk(12, 20, w.ana, bob, eve)
	pool = append(pool, w.sayTo(bob, KindRetract, pool[0].ID(), Content{}))
	w.start(w.ana, "second", w.epoch)
	pool = append(pool, w.talk(6, 20, w.ana, bob)...)
	under := Draft{Group: w.group, Kind: KindText, Prev: bob.msg, Refs: w.set.Heads(8, bob.auth), Auth: bob.auth, HLC: w.hlc - 9, Exp: 1_800_086_400}
	for range 2 {
		v, err := under.SignMessage(Content{Text: "gone tomorrow"}, w.epoch, bob.id.Signer(), w.random)
		w.must(err)
		pool = append(pool, v)
		under.Prev = v.Tip()
	}
	pool = append(pool, w.extended(eve))
	for _, v := range pool[3:8] {
		pool = append(pool, v.Erased())
	}
	return w, append(pool, w.events...)
}

// extended is a message with a field that this version does not know.
func (w *world) extended(a *actor) Verified {
	d := Draft{Group: w.group, Kind: KindText, Prev: a.msg, Refs: w.set.Heads(8, a.auth), HLC: w.hlc}
	e := Event{Header: d.header()}
	e.Header.Ext = map[uint64]cbor.RawMessage{100: {0x05}}
	w.must(w.epoch.address(&e.Header, w.random))
	e.Body = make([]byte, 40)
	e.Header.BodyLen = uint32(len(e.Body))
	v, err := e.finish(w.group, a.id.Signer())
	w.must(err)
	return v
}

func TestWhatIsPackedUnpacks(t *testing.T) {
	w, pool := someOfEach(t)
	rapid.Check(t, func(t *rapid.T) {
		events := rapid.SliceOfN(rapid.SampledFrom(pool), 0, 40).Draw(t, "events")
		if rapid.Bool().Draw(t, "a run") {
			at := rapid.IntRange(0, len(pool)-1).Draw(t, "at")
			events = append(events, pool[at:]...)
		}
		pack := Pack(events)
		got, err := Unpack(w.group, pack)
		if err != nil || len(got) != len(events) {
			t.Fatalf("%d events of %d: %v", len(got), len(events), err)
		}
		clear(pack) // nothing may refer to it
		for i, v := range events {
			if got[i].ID() != v.ID() || !bytes.Equal(got[i].v.Wire(), v.Wire()) {
				t.Fatalf("event %d has become another", i)
			}
			if e := got[i].v.Event(); !bytes.Equal(e.Encode(), v.Wire()) {
				t.Fatalf("event %d has other fields", i)
			}
		}
		verified, errs := VerifyUnpacked(got, fixed("batch"))
		for i := range verified {
			if errs[i] != nil || verified[i].ID() != events[i].ID() || verified[i].Group() != w.group {
				t.Fatalf("event %d: %v", i, errs[i])
			}
		}
	})
}

// A packer makes what Pack makes, and an event that had no room leaves no trace.
func TestPackerStopsInTime(t *testing.T) {
	_, pool := someOfEach(t)
	rapid.Check(t, func(t *rapid.T) {
		var p Packer
		var in []Verified
		for _, v := range rapid.SliceOfN(rapid.SampledFrom(pool), 0, 40).Draw(t, "events") {
			most := rapid.IntRange(0, 6000).Draw(t, "most")
			before := len(p.Bytes())
			if p.Add(v, most) {
				in = append(in, v)
			}
			if len(p.Bytes()) != before && len(p.Bytes()) > most {
				t.Fatalf("%d bytes, at most %d", len(p.Bytes()), most)
			}
		}
		if p.Len() != len(in) || !bytes.Equal(p.Bytes(), Pack(in)) {
			t.Fatal("it is not what Pack makes of the same events")
		}
	})
}

func TestPackersAndUnpackersBounds(t *testing.T) {
	w := newWorld(t)
	e := w.text(w.ana, "hello").Erased()
	var p Packer
	for p.Add(e, MaxPackSize) {
	}
	if p.Len() < 100 || p.Len() > MaxPacked {
		t.Fatalf("%d events", p.Len())
	}
	if _, err := Unpack(w.group, p.Bytes()); err != nil {
		t.Fatal(err)
	}
	if _, err := Unpack(w.group, make([]byte, MaxPackSize+1)); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
	largest := Event{Header: e.event.Header, Body: make([]byte, MaxEventSize-400)}
	largest.Header.BodyLen = uint32(len(largest.Body))
	for len(largest.Encode()) < MaxEventSize {
		largest.Body = append(largest.Body, 0)
		largest.Header.BodyLen++
	}
	v := Verified{event: largest, wire: largest.Encode()}
	if pack := Pack([]Verified{v}); len(pack) > MaxPackSize || len(AppendFrame(nil, FramePacked, pack)) > MaxFrameSize+4 {
		t.Errorf("a pack of one event of %d bytes has %d", len(v.wire), len(pack))
	}
	largest.Body = append(largest.Body, 0)
	largest.Header.BodyLen++
	if _, err := Unpack(w.group, Pack([]Verified{{event: largest}})); !errors.Is(err, ErrTooLarge) {
		t.Errorf("an event of %d bytes: %v", len(largest.Encode()), err)
	}
}

// The reason for packs: what a message of 300 bytes costs, in a run of several people.
func TestPackedMessagesAreSmall(t *testing.T) {
	w := newWorld(t)
	people := []*actor{w.ana}
	for i := range 9 {
		people = append(people, w.join(fmt.Sprint("member ", i), Member))
	}
	said := w.talk(256, 300, people...)
	wire := 0
	for _, v := range said {
		wire += len(v.Wire())
	}
	pack := Pack(said)
	t.Logf("%d bytes a message, %d alone, %d of them the sealed body", len(pack)/len(said), wire/len(said), said[0].Header().BodyLen)
	if len(pack) > 470*len(said) {
		t.Errorf("%d bytes a message", len(pack)/len(said))
	}
}

// There is one way to pack events, and a pack that ends early is none.
func TestPacksHaveOneForm(t *testing.T) {
	w, _ := someOfEach(t)
	two := w.talk(2, 20, w.ana)
	whole := append([]byte{packWhole, 0xff, 0x02}, two[0].Wire()...)
	whole[1], whole[2] = byte(len(two[0].Wire()))|0x80, byte(len(two[0].Wire())>>7)
	first := Pack(two[:1])
	for name, data := range map[string][]byte{
		"a message as it is":                whole,
		"a device told twice":               append(slices.Clone(first), Pack(two[1:])...),
		"a device that the pack has not":    append(slices.Clone(first), 3),
		"a device far off":                  {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1},
		"nothing behind a whole one's head": {packWhole, 10},
		"a varint that does not end":        {0xff},
		"a varint that is longer":           {packWhole, 0x80, 0x00},
	} {
		if _, err := Unpack(w.group, data); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	pack := Pack(two)
	for n := 1; n < len(pack); n++ {
		if got, err := Unpack(w.group, pack[:n]); err == nil && n != len(first) {
			t.Fatalf("%d bytes of %d: %d events", n, len(pack), len(got))
		}
	}
}

func TestWhoseEventsArePacked(t *testing.T) {
	w, _ := someOfEach(t)
	said := w.talk(5, 20, w.ana)
	future := said[2].Event()
	future.Header.V = 2
	said[2] = Verified{event: Event{Header: Header{Chain: Control}}, wire: future.Encode()}
	forged := said[3].Event()
	forged.Sig[7] ^= 1
	said[3].event = forged
	got, err := Unpack(w.group, Pack(said))
	if err != nil {
		t.Fatal(err)
	}
	verified, errs := VerifyUnpacked(got, fixed("batch"))
	for i, want := range []error{nil, nil, ErrUnknownCritical, ErrBadSignature, nil} {
		if !errors.Is(errs[i], want) || verified[i].IsZero() != (want != nil) {
			t.Errorf("event %d: %v, not %v", i, errs[i], want)
		}
	}
	others := newWorld(t)
	others.group[0] ^= 1
	if got, err = Unpack(others.group, Pack(said[:1])); err != nil {
		t.Fatal(err)
	}
	if _, errs := VerifyUnpacked(got, fixed("batch")); !errors.Is(errs[0], ErrBadSignature) {
		t.Errorf("in another group: %v", errs[0])
	}
}

// Headers are encoded by hand; they are what the CBOR library makes of them.
func TestHeadersAreDeterministicCBOR(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := func(name string) (id ID) {
			if rapid.Bool().Draw(t, name) {
				id[rapid.IntRange(0, 31).Draw(t, "byte")] = 1
			}
			return id
		}
		num := func(name string) uint64 {
			return rapid.Uint64().Draw(t, name) >> rapid.IntRange(0, 64).Draw(t, name+" shift")
		}
		h := Header{
			V: num("v"), Exp: num("exp"), Kind: Kind(num("kind")), Dev: Key(id("dev")), Chain: Chain(num("chain")), Seq: num("seq"),
			Prev: id("prev"), Auth: id("auth"), HLC: num("hlc"), Step: uint32(num("step")), BodyLen: uint32(num("len")), BodyHash: id("hash"), To: id("to"),
		}
		a, b := id("epoch"), id("n")
		copy(h.Epoch[:], a[:])
		copy(h.N[:], b[:])
		for range rapid.IntRange(0, 30).Draw(t, "refs") {
			h.Refs = append(h.Refs, id("ref"))
		}
		if got, want := h.encode(), marshal(&h); !bytes.Equal(got, want) {
			t.Fatalf("%x, not %x", got, want)
		}
		e := Event{Header: h, Body: rapid.SliceOfN(rapid.Byte(), -1, 300).Draw(t, "body")}
		for _, e.Sealed = range [][]byte{nil, {}, {1}} {
			if got, want := e.Encode(), marshal(wireEvent{Header: travels(h, e.Body), Sig: e.Sig, Body: e.Body, Sealed: e.Sealed}); !bytes.Equal(got, want) {
				t.Fatalf("%x, not %x", got, want)
			}
			wire := e.Encode()
			sameDecoded(t, wire)
			wire[rapid.IntRange(0, len(wire)-1).Draw(t, "at")] = rapid.Byte().Draw(t, "other")
			sameDecoded(t, wire)
		}
	})
}

// sameDecoded holds the decoder by hand to the one by the CBOR library, which is to get
// only those events that have extensions.
func sameDecoded(t interface{ Fatalf(string, ...any) }, wire []byte) {
	if len(wire) > MaxEventSize {
		return
	}
	got, ok := decodePlain(wire)
	want, err := decodeExtended(wire)
	extended := len(want.Header.Ext) > 0
	want.Header.Ext = nil
	if ok != (err == nil && !extended) || ok && !reflect.DeepEqual(got, want) {
		t.Fatalf("%x decodes to %+v, %v by hand, and to %+v, %v, extended %v", wire, got, ok, want, err, extended)
	}
}

// travels is a header as it travels: the body's hash only where the body is not.
func travels(h Header, body []byte) []byte {
	if body != nil {
		h.BodyHash = ID{}
	}
	return marshal(&h)
}

// BenchmarkUnpack is what one core does on the way from a frame to the store:
//
//	go test ./protocol -run '^$' -bench Unpack -benchtime 1s -cpu 1
func BenchmarkUnpack(b *testing.B) {
	w := newWorld(b)
	people := []*actor{w.ana}
	for i := range 49 {
		people = append(people, w.join(fmt.Sprint("member ", i), Member))
	}
	said := w.talk(1024, 300, people...)
	var packs [][]byte
	for s := range slices.Chunk(said, 128) {
		packs = append(packs, Pack(s))
	}
	unpack := func(b *testing.B, n int) (all []Unverified) {
		for _, p := range packs[:n/128] {
			got, err := Unpack(w.group, p)
			if err != nil {
				b.Fatal(err)
			}
			all = append(all, got...)
		}
		return all
	}
	per := func(b *testing.B, n int) {
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/event")
	}
	b.Run("unpack", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			unpack(b, 1024)
		}
		per(b, 1024)
	})
	for _, n := range []int{512, 1024} {
		b.Run(fmt.Sprint("and-verify/", n), func(b *testing.B) {
			for b.Loop() {
				_, errs := VerifyUnpacked(unpack(b, n), fixed("batch"))
				if i := slices.IndexFunc(errs, func(err error) bool { return err != nil }); i >= 0 {
					b.Fatal(errs[i])
				}
			}
			per(b, n)
		})
	}
	b.Run("pack", func(b *testing.B) {
		for b.Loop() {
			Pack(said)
		}
		per(b, len(said))
	})
	b.Run("read back", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			for _, v := range said {
				if _, err := Stored(w.group, v.Wire()); err != nil {
					b.Fatal(err)
				}
			}
		}
		per(b, len(said))
	})
}
