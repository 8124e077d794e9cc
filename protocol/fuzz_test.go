package protocol

import (
	"bytes"
	"path/filepath"
	"slices"
	"testing"
)

// seeds adds all values of some keys of the vectors, hex or text.
func seeds(f *testing.F, typ string, keys ...string) {
	paths, _ := filepath.Glob(vectorDir + "/*.txt")
	for _, p := range paths {
		v := parseVector(f, p)
		if v.get("type") != typ {
			continue
		}
		for _, k := range keys {
			for _, x := range v.list(k) {
				if len(x) > 1<<14 {
					continue
				}
				if k == "text" {
					f.Add([]byte(x))
				} else {
					f.Add(v.unhex(x))
				}
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	seeds(f, "event", "wire")
	f.Fuzz(func(t *testing.T, data []byte) {
		sameDecoded(t, data)
		e, err := Decode(data)
		_, verr := Verify(ID{1}, data)
		_, errs := VerifyBatch(ID{1}, [][]byte{data, data}, fixed("batch"))
		if (verr == nil) != (errs[0] == nil) {
			t.Fatalf("alone %v, in a batch %v", verr, errs[0])
		}
		if err != nil {
			return
		}
		if !bytes.Equal(e.Encode(), data) {
			t.Fatal("it encodes to other bytes")
		}
		v, err := Stored(ID{1}, data)
		if err != nil {
			return // the genesis of another group
		}
		if e.Header.Chain == Control && e.Body != nil {
			if _, err := ParseClear(v); err != nil {
				t.Fatalf("it decodes, and its clear part does not: %v", err)
			}
		}
		id := e.Header
		e.Erase()
		again, err := Decode(e.Encode())
		if err != nil || again.Header.BodyHash != id.BodyHash {
			t.Fatalf("erased: %v", err)
		}
		s := NewSet(ID{1})
		_ = s.Add(v)
		_ = (&Epoch{ID: ID(append(id.Epoch[:], make([]byte, 16)...))}).Tag()
	})
}

func FuzzControlBody(f *testing.F) {
	seeds(f, "event", "body")
	f.Fuzz(func(t *testing.T, data []byte) {
		for k := Kind(1); k < KindText; k++ {
			b, err := decodeControl(k, data)
			if err != nil {
				continue
			}
			if !bytes.Equal(marshal(b), data) {
				t.Fatalf("%s: it encodes to other bytes", k)
			}
			if c := newClear(k); c != nil {
				if err := unmarshal(b.Clear, c); err != nil || !bytes.Equal(marshal(c), b.Clear) {
					t.Fatalf("%s: %v", k, err)
				}
			}
		}
	})
}

func FuzzFrame(f *testing.F) {
	seeds(f, "frame", "frame")
	f.Fuzz(func(t *testing.T, data []byte) {
		r := newReader(data)
		for {
			fr, err := ReadFrame(r)
			if err != nil {
				return
			}
			if got, err := ParseFrame(marshal(fr)); err != nil || got.Kind != fr.Kind || !bytes.Equal(got.Payload, fr.Payload) {
				t.Fatalf("it encodes to another frame: %v", err)
			}
			for k := FrameHelloNonce; k <= FrameSecrets; k++ {
				p := payloadOf(k)
				if p == nil {
					continue
				}
				if fr.Kind = k; fr.Decode(k, p) == nil && !bytes.Equal(marshal(p), fr.Payload) {
					t.Fatalf("payload of kind %d encodes to other bytes", k)
				}
			}
		}
	})
}

func FuzzLink(f *testing.F) {
	seeds(f, "link", "text")
	f.Fuzz(func(t *testing.T, data []byte) {
		// The checksum would keep the fuzzer out: it works behind it as well.
		for _, text := range []string{string(data), LinkScheme + base32Lower.EncodeToString(append(linkSum(data), data...))} {
			l, err := ParseLink(text)
			if err != nil {
				continue
			}
			again, err := ParseLink(l.Text())
			if err != nil || again.Text() != l.Text() {
				t.Fatalf("%q parses, and its own text does not: %v", text, err)
			}
		}
	})
}

func FuzzJoinRequest(f *testing.F) {
	seeds(f, "join-request", "request")
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseJoinRequest(ID{1}, data)
		if err == nil && !bytes.Equal(r.Encode(), data) {
			t.Fatal("it encodes to other bytes")
		}
		var raw JoinRequest
		if unmarshal(data, &raw) == nil {
			_, _ = Welcome{}.Seal(ID{1}, raw, keyFrom(secretOf("admitter")))
		}
	})
}

func FuzzWelcome(f *testing.F) {
	seeds(f, "welcome", "welcome", "plain")
	box, err := DeriveBoxKey(true, secretOf("bob box"))
	if err != nil {
		f.Fatal(err)
	}
	admitter := keyFrom(secretOf("admitter"))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _, _ = OpenWelcome(ID{1}, Key{2}, box, data)
		// And as what a dishonest admitter seals.
		info := welcomeInfo(ID{1}, Key{2}, publicKey(admitter))
		b, err := sealBox(true, box.Public(), info, data)
		if err != nil {
			t.Fatal(err)
		}
		sum := hash("", b)
		w, _, err := OpenWelcome(ID{1}, Key{2}, box, marshal(sealedWelcome{V: Version, Dev: publicKey(admitter), Box: b, Sig: sign(admitter, slices.Concat(info, sum[:]))}))
		if err == nil && !bytes.Equal(marshal(w), data) {
			t.Fatal("it encodes to other bytes")
		}
	})
}

func FuzzRequestFile(f *testing.F) {
	seeds(f, "request-file", "file")
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, file := range [][]byte{data, append([]byte(requestHead), data...)} {
			group, r, err := ParseRequestFile(file)
			if err == nil && !bytes.Equal(r.File(group), file) {
				t.Fatal("it encodes to other bytes")
			}
		}
	})
}

func FuzzWelcomeFile(f *testing.F) {
	seeds(f, "welcome-file", "file")
	box, err := DeriveBoxKey(true, secretOf("bob box"))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, file := range [][]byte{data, append([]byte(welcomeHead), data...)} {
			w, err := ParseWelcomeFile(file)
			if err != nil {
				continue
			}
			again := append([]byte(welcomeHead), marshal(welcomeFile{w.Group, w.Request, w.sealed, w.bundle})...)
			if !bytes.Equal(again, file) {
				t.Fatal("it encodes to other bytes")
			}
			_, _, _, _ = w.Open(Key{2}, box)
		}
	})
}

func FuzzBundleHead(f *testing.F) {
	seeds(f, "bundle", "head")
	prekey, err := DerivePrekey(secretOf("prekey"))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, file := range [][]byte{data, append([]byte(bundleLine), data...)} {
			h, err := ReadBundleHead(bytes.NewReader(file))
			if err != nil {
				continue
			}
			h.OpenPoint(ID{1}, secretOf("N"))
			h.OpenBox(ID{1}, prekey)
		}
	})
}

// What is in a chunk is whatever a member sealed.
func FuzzChunkFrames(f *testing.F) {
	seeds(f, "bundle", "frames")
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := ChunkFrames(data)
		if err != nil {
			return
		}
		size := 0
		for _, frame := range list {
			size += len(frame.Payload)
		}
		if size > len(data) {
			t.Fatalf("%d bytes of frames in %d", size, len(data))
		}
	})
}

// What a stranger answers to a question is whatever they sealed.
func FuzzAnswer(f *testing.F) {
	seeds(f, "answer", "box", "plain")
	link := Link{Group: ID{1}, Seed: secretOf("link")}
	if err := link.Ask("Who?", secretOf("ask")); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := JoinRequest{Invite: link.PublicKey(), Cert: Cert{Dev: Key{2}}, Answer: data}
		_, _ = r.OpenAnswer(link.Group, secretOf("ask"))
		var err error
		if r.Answer, err = sealBox(false, link.AnswerTo[:], joinAnswerInfo(link.Group, r.Invite, r.Cert.Dev), data); err != nil {
			t.Fatal(err)
		}
		if text, err := r.OpenAnswer(link.Group, secretOf("ask")); err == nil && !bytes.Equal(pad([]byte(text)), data) {
			t.Fatal("an answer that no program seals")
		}
	})
}

// Both ends of a hello are a stranger's: what is checked is bound to the connection.
func FuzzHello(f *testing.F) {
	seeds(f, "frame", "frame")
	seeds(f, "hello", "sig")
	h := Hello{PeerI: "initiator", PeerR: "responder"}
	f.Fuzz(func(t *testing.T, data []byte) {
		var proofs HelloProofs
		if unmarshal(data, &proofs) == nil && !bytes.Equal(marshal(proofs), data) {
			t.Fatal("it encodes to other bytes")
		}
		var p Proof
		copy(p.Sig[:], data)
		copy(p.Dev[:], data[min(len(data), 64):])
		for _, p := range append(proofs.Proofs, p) {
			if checkKey(p.Dev) != nil {
				continue // no member has such a key, for which any signature may hold
			}
			if h.Check(ID{1}, Initiator, p) == nil && h.Check(ID{1}, Responder, p) == nil {
				t.Fatal("a proof that holds for both ends")
			}
		}
	})
}

func FuzzSafety(f *testing.F) {
	seeds(f, "safety", "text")
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := ParseSafety(string(data))
		if err != nil {
			return
		}
		if again, err := ParseSafety(SafetyScheme + n); err != nil || again != n || len(n) != 60 {
			t.Fatalf("it reads back as another number: %v", err)
		}
	})
}

func FuzzRecord(f *testing.F) {
	seeds(f, "record", "record", "value")
	seeds(f, "frontier", "value")
	w := newWorld(f)
	ep := w.start(w.ana, "first")
	f.Fuzz(func(t *testing.T, data []byte) {
		if v, err := VerifyRecord(w.group, data); err == nil && !bytes.Equal(marshal(v.Record()), data) {
			t.Fatal("it encodes to other bytes")
		}
		v, err := Record{Type: RecordProfile, Number: 3, Value: data}.Sign(w.group, w.ana.id.Signer())
		if err == nil {
			_, _, _ = ProfileEpoch(v.Record())
			_, _ = ep.OpenProfile(v)
		}
		if f, err := (Record{Type: RecordFrontier, Value: data}).Frontier(); err == nil && !bytes.Equal(f.Value(), data) {
			t.Fatal("a frontier encodes to other bytes")
		}
	})
}

func FuzzChunk(f *testing.F) {
	seeds(f, "chunk", "chunk")
	f.Fuzz(func(t *testing.T, data []byte) {
		rows, hybrid, err := ParseChunk(data)
		if err != nil {
			return
		}
		if again := ChunkWraps(hybrid, rows); len(again) != 1 || !bytes.Equal(again[0], data) {
			t.Fatal("it encodes to other bytes")
		}
		dev := Key(slices.Concat(rows[0].Dev[:], make([]byte, 28)))
		if found, _ := FindRows(rows, dev); len(found) == 0 {
			t.Fatal("the first device has no row")
		}
		box, _ := DeriveBoxKey(hybrid, secretOf("prekey"))
		if _, err := rows[0].Unwrap(dev, box, ID{1}, ID{2}, Key{3}, 4); err == nil {
			t.Fatal("a row that nobody sealed opens")
		}
	})
}

func FuzzKeyAnswer(f *testing.F) {
	seeds(f, "keys", "answer", "plain")
	box, err := DeriveBoxKey(true, secretOf("bob box"))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = OpenKeys(ID{1}, Key{2}, Key{3}, box, data)
		// And as what a dishonest holder seals.
		b, err := sealBox(true, box.Public(), answerInfo(ID{1}, Key{2}, Key{3}), data)
		if err != nil {
			t.Fatal(err)
		}
		list, err := OpenKeys(ID{1}, Key{2}, Key{3}, box, b)
		if err == nil && !bytes.Equal(marshal(EpochSecrets{list}), data) {
			t.Fatal("it encodes to other bytes")
		}
	})
}

func FuzzUnpad(f *testing.F) {
	seeds(f, "padme", "padded")
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := unpad(data)
		if err == nil && !bytes.Equal(pad(b), data) {
			t.Fatal("padding is not what pad makes")
		}
	})
}

func FuzzReportBox(f *testing.F) {
	seeds(f, "report", "boxed")
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := ParseReportBox(data)
		if err != nil {
			return
		}
		if !bytes.Equal(marshal(b), data) {
			t.Fatal("it encodes to other bytes")
		}
		for _, w := range b.Wraps {
			if id, ok := b.Prekey(w.Dev); !ok || id != w.Prekey {
				t.Fatal("a device without its prekey")
			}
		}
	})
}

// What is sealed in a report is the reporter's to choose.
func FuzzReportPlain(f *testing.F) {
	seeds(f, "report", "plain")
	f.Fuzz(func(t *testing.T, data []byte) {
		group, author, key := ID{1}, Key{2}, Secret{3}
		b := ReportBox{Commit: commitReport(group, author, key), Sealed: sealReport(group, author, key, data)}
		if c, err := b.Complaint(group, author, key); err == nil {
			if !bytes.Equal(marshal(c), data) || c.check() != nil {
				t.Fatal("a report that no program makes")
			}
			_, _ = Verify(group, c.Event)
		}
		if c, err := b.Closing(group, author, key); err == nil && !bytes.Equal(marshal(c), data) {
			t.Fatal("an end that encodes to other bytes")
		}
	})
}

func FuzzPlan(f *testing.F) {
	seeds(f, "plan", "text")
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, text := range []string{string(data), PlanScheme + tokenText("p2pchat/1 plan", data)} {
			p, err := ParsePlan(text)
			if err != nil {
				continue
			}
			if again, err := ParsePlan(p.Text()); err != nil || again != p {
				t.Fatalf("it reads back as another plan: %v", err)
			}
		}
	})
}

func FuzzConsent(f *testing.F) {
	seeds(f, "consent", "text")
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, text := range []string{string(data), ConsentScheme + tokenText("p2pchat/1 consent", data)} {
			c, err := ParseConsent(text)
			if err != nil {
				continue
			}
			if again, err := ParseConsent(c.Text()); err != nil || again != c {
				t.Fatalf("it reads back as another consent: %v", err)
			}
		}
	})
}

func FuzzUnpack(f *testing.F) {
	seeds(f, "pack", "pack")
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := Unpack(ID{1}, data)
		if err != nil {
			return
		}
		var events []Verified
		for _, u := range got {
			if e, err := Decode(u.v.Wire()); u.err == nil && (err != nil || !bytes.Equal(e.Encode(), u.v.Wire())) {
				t.Fatalf("it unpacks, and does not decode: %v", err)
			}
			events = append(events, u.v)
		}
		if !bytes.Equal(Pack(events), data) {
			t.Fatal("it packs to other bytes")
		}
	})
}
