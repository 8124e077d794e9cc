package protocol

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/vectors again; a change of them is a change of the protocol")

const vectorDir = "testdata/vectors"

// vector is one case: a text file of "key: value" lines with comments.
type vector struct {
	t     testing.TB
	name  string
	about string
	lines [][2]string
	wants map[string]bool // what the check computed again
}

// sentinels are the errors that a vector may expect, by name.
var sentinels = map[string]error{
	"ErrMalformed": ErrMalformed, "ErrTooLarge": ErrTooLarge, "ErrUnknownCritical": ErrUnknownCritical,
	"ErrBadSignature": ErrBadSignature, "ErrBadKey": ErrBadKey, "ErrBadCert": ErrBadCert, "ErrBadID": ErrBadID,
	"ErrBadLink": ErrBadLink, "ErrBadPhrase": ErrBadPhrase, "ErrInvalid": ErrInvalid, "ErrNotMember": ErrNotMember,
	"ErrSealBroken": ErrSealBroken, "ErrNoKey": ErrNoKey, "ErrErased": ErrErased, "ErrNotText": ErrNotText,
	"ErrBadPlan": ErrBadPlan, "ErrBadFile": ErrBadFile, "ErrBadSafety": ErrBadSafety,
}

func newVector(t testing.TB, name, kind, about string) *vector {
	v := &vector{t: t, name: name, about: about}
	return v.set("type", kind)
}

func (v *vector) set(key string, value any) *vector {
	v.lines = append(v.lines, [2]string{key, text(value)})
	return v
}

// text is how a value stands in a vector.
func text(value any) string {
	switch x := value.(type) {
	case string:
		return x
	case []byte:
		return hex.EncodeToString(x)
	case ID:
		return hex.EncodeToString(x[:])
	case Key:
		return hex.EncodeToString(x[:])
	case Signature:
		return hex.EncodeToString(x[:])
	case Secret:
		return hex.EncodeToString(x[:])
	case [16]byte:
		return hex.EncodeToString(x[:])
	case [32]byte:
		return hex.EncodeToString(x[:])
	case EpochTag:
		return hex.EncodeToString(x[:])
	case HelloTag:
		return hex.EncodeToString(x[:])
	case Kind:
		return strconv.Itoa(int(x))
	case Chain:
		return strconv.Itoa(int(x))
	}
	return fmt.Sprint(value)
}

func (v *vector) expect(err error) *vector {
	want := "ok"
	for name, s := range sentinels {
		if errors.Is(err, s) {
			// The most telling of those that are wrapped: a link's error holds what is
			// wrong inside it as well.
			if want == "ok" || name > strings.TrimPrefix(want, "error ") {
				want = "error " + name
			}
		}
	}
	if err != nil && want == "ok" {
		v.t.Fatalf("%s: %v has no name", v.name, err)
	}
	return v.set("expect", want)
}

func (v *vector) file() []byte {
	var b bytes.Buffer
	for l := range strings.SplitSeq(strings.TrimSpace(v.about), "\n") {
		fmt.Fprintf(&b, "# %s\n", strings.TrimSpace(l))
	}
	for _, l := range v.lines {
		fmt.Fprintln(&b, strings.TrimRight(l[0]+": "+l[1], " "))
	}
	return b.Bytes()
}

func parseVector(t testing.TB, path string) *vector {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	v := &vector{t: t, name: filepath.Base(path), wants: map[string]bool{}}
	for l := range strings.SplitSeq(strings.TrimRight(string(raw), "\n"), "\n") {
		if strings.HasPrefix(l, "#") {
			continue
		}
		key, value, ok := strings.Cut(l, ":")
		if !ok {
			t.Fatalf("%s: line %q", v.name, l)
		}
		v.lines = append(v.lines, [2]string{key, strings.TrimPrefix(value, " ")})
	}
	return v
}

func (v *vector) list(key string) []string {
	var out []string
	for _, l := range v.lines {
		if l[0] == key {
			out = append(out, l[1])
		}
	}
	return out
}

func (v *vector) has(key string) bool { return len(v.list(key)) > 0 }

func (v *vector) get(key string) string {
	v.t.Helper()
	l := v.list(key)
	if len(l) == 0 {
		v.t.Fatalf("%s has no %s", v.name, key)
	}
	return l[0]
}

func (v *vector) bytes(key string) []byte { v.t.Helper(); return v.unhex(v.get(key)) }

func (v *vector) unhex(s string) []byte {
	v.t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		v.t.Fatalf("%s: %v", v.name, err)
	}
	return b
}

func (v *vector) b32(key string) [32]byte { v.t.Helper(); return [32]byte(v.bytes(key)) }
func (v *vector) b16(key string) [16]byte { v.t.Helper(); return [16]byte(v.bytes(key)) }

func (v *vector) num(key string) uint64 {
	v.t.Helper()
	n, err := strconv.ParseUint(v.get(key), 10, 64)
	if err != nil {
		v.t.Fatalf("%s: %s: %v", v.name, key, err)
	}
	return n
}

// opt is num for a field that may be absent.
func (v *vector) opt(key string) uint64 {
	if !v.has(key) {
		return 0
	}
	return v.num(key)
}

// want says that the file's value is the one computed.
func (v *vector) want(key string, got any) {
	v.t.Helper()
	v.wants[key] = true
	if w, g := v.get(key), text(got); w != g {
		v.t.Errorf("%s: %s\n in the file  %s\n computed     %s", v.name, key, w, g)
	}
}

// TestVectors recomputes every vector from its inputs.
func TestVectors(t *testing.T) {
	paths, err := filepath.Glob(vectorDir + "/*.txt")
	if err != nil || len(paths) < 100 {
		t.Fatalf("%d vectors in %s, %v", len(paths), vectorDir, err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			v := parseVector(t, path)
			check := vectorChecks[v.get("type")]
			if check == nil {
				t.Fatalf("no check for the type %s", v.get("type"))
			}
			err := check(v)
			name, bad := strings.CutPrefix(v.get("expect"), "error ")
			switch {
			case bad && (sentinels[name] == nil || !errors.Is(err, sentinels[name])):
				t.Errorf("got %v, want %s", err, name)
			case !bad && err != nil:
				t.Errorf("got %v, want no error", err)
			}
		})
	}
}

// TestVectorsAreCurrent makes the vectors again and compares. What HPKE sealed is
// random; its files are kept and only checked by TestVectors.
func TestVectorsAreCurrent(t *testing.T) {
	made := map[string]bool{}
	for _, v := range makeVectors(t) {
		path := filepath.Join(vectorDir, v.name+".txt")
		if made[v.name] {
			t.Fatalf("two vectors named %s", v.name)
		}
		made[v.name] = true
		old, err := os.ReadFile(path)
		sealed := v.get("type") == "wrap" || v.get("type") == "chunk" || v.get("type") == "report" || v.get("type") == "welcome" || v.get("type") == "welcome-file" || v.get("type") == "answer" || v.get("type") == "keys" || v.get("type") == "bundle"
		switch {
		case err == nil && (sealed || bytes.Equal(old, v.file())):
		case *update:
			if err := os.MkdirAll(vectorDir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, v.file(), 0o644); err != nil {
				t.Fatal(err)
			}
		default:
			t.Errorf("%s is not what this version makes (%v).\nA change of a vector is a change of the protocol; if it is meant: go test ./protocol -run Vectors -update", path, err)
		}
	}
	paths, _ := filepath.Glob(vectorDir + "/*.txt")
	for _, path := range paths {
		if name := strings.TrimSuffix(filepath.Base(path), ".txt"); !made[name] {
			t.Errorf("%s is made by nothing", path)
		}
	}
}

// vectorChecks recompute a vector by its type. Mismatches are reported, the error
// is what the input itself gives.
var vectorChecks = map[string]func(v *vector) error{
	"id": func(v *vector) error {
		id, err := ParseID(v.get("prefix"), v.get("text"))
		if err == nil {
			v.want("bytes", id)
			v.want("text", id.Text(v.get("prefix")))
			v.want("short", Short(v.get("text")))
		}
		return err
	},
	"event":        checkEventVector,
	"set":          checkSetVector,
	"epoch":        checkEpochVector,
	"message-key":  checkMessageKeyVector,
	"wrap":         checkWrapVector,
	"chunk":        checkChunkVector,
	"prekey":       checkPrekeyVector,
	"keys":         checkKeysVector,
	"report":       checkReportVector,
	"plan":         checkPlanVector,
	"consent":      checkConsentVector,
	"padme":        checkPadmeVector,
	"link":         checkLinkVector,
	"join-request": checkJoinVector,
	"answer":       checkAnswerVector,
	"safety": func(v *vector) error {
		number, err := ParseSafety(v.get("text"))
		if err == nil {
			v.want("number", number)
			v.want("number", SafetyNumber(v.b32("group"), v.b32("a"), v.b32("b")))
			v.want("text", SafetyScheme+SafetyNumber(v.b32("group"), v.b32("b"), v.b32("a")))
		}
		return err
	},
	"request-file": func(v *vector) error {
		group, r, err := ParseRequestFile(v.bytes("file"))
		if err == nil {
			v.want("group", group)
			v.want("request", r.Encode())
			v.want("id", r.ID())
			v.want("file", r.File(group))
		}
		return err
	},
	"welcome-file": checkWelcomeFileVector,
	"bundle":       checkBundleVector,
	"welcome":      checkWelcomeVector,
	"hello":        checkHelloVector,
	"nearby":       checkNearbyVector,
	"hello-cert":   checkHelloCertVector,
	"rendezvous": func(v *vector) error {
		n := Secret(v.b32("secret"))
		v.want("topic", Topic(n))
		v.want("dht", DHTKey(n))
		return nil
	},
	"gossip": func(v *vector) error {
		f, err := ParseFrame(v.unhex(v.list("frame")[0]))
		if err != nil {
			return err
		}
		var g Gossip
		if err := f.Decode(FrameEvents, &g); err != nil {
			return err
		}
		if err := g.Check(); err != nil {
			return err
		}
		var tags []PeerTag
		for _, p := range v.list("peer") {
			tags = append(tags, TagOf(v.unhex(p)))
		}
		if len(tags) > 0 && (!g.Reached(tags) || g.Reached(append(tags, PeerTag{}))) {
			return errors.New("told is not whom it should be")
		}
		return nil
	},
	"digest": func(v *vector) error {
		var tips []Tip
		var keys []RecordKey
		for _, b := range v.list("tip") {
			var x Tip
			if err := unmarshal(v.unhex(b), &x); err != nil {
				return err
			}
			tips = append(tips, x)
		}
		for _, b := range v.list("record_key") {
			var x RecordKey
			if err := unmarshal(v.unhex(b), &x); err != nil {
				return err
			}
			keys = append(keys, x)
		}
		v.want("tips", DigestTips(tips))
		v.want("records", DigestRecords(keys))
		return nil
	},
	"record":   checkRecordVector,
	"frontier": checkFrontierVector,
	"frame":    checkFrameVector,
	"pack":     checkPackVector,
	"account":  checkAccountVector,
	"phrase": func(v *vector) error {
		seed, err := ParsePhrase(v.get("phrase"))
		if err == nil {
			v.want("seed", seed)
		}
		return err
	},
	"cert": func(v *vector) error {
		c := Cert{Root: v.b32("root"), Dev: v.b32("dev"), RootSig: Signature(v.bytes("root_sig")), DevSig: Signature(v.bytes("dev_sig"))}
		v.want("cbor", marshal(c))
		if v.has("root_seed") {
			again := Identity{root: keyFrom(v.b32("root_seed")), dev: keyFrom(v.b32("dev_seed"))}.Cert()
			v.want("cbor", marshal(again))
			v.want("root_preimage", certPreimage(domainCertRoot, c.Root, c.Dev))
			v.want("dev_preimage", certPreimage(domainCertDev, c.Root, c.Dev))
		}
		return c.Verify()
	},
	"revoke": func(v *vector) error {
		var r DeviceRevoke
		if err := unmarshal(v.bytes("clear"), &r); err != nil {
			return err
		}
		v.want("preimage", r.preimage())
		if v.has("root_seed") {
			v.want("sig", sign(keyFrom(v.b32("root_seed")), r.preimage()))
		}
		return r.Verify()
	},
	"key":       func(v *vector) error { return checkKey(v.b32("key")) },
	"signature": checkSignatureVector,
}

// checkSignatureVector verifies one by one, in a batch of its own, and in a batch
// with good ones: the answers must be one.
func checkSignatureVector(v *vector) error {
	key, msg, sig := Key(v.b32("key")), v.bytes("msg"), Signature(v.bytes("sig"))
	ok := verifySig(key, msg, sig)
	for _, others := range []int{0, 1, 70} {
		b := newSigBatch(1)
		good := keyFrom(secretOf("good"))
		for i := range others {
			m := []byte{byte(i)}
			b.add(publicKey(good), m, sign(good, m))
		}
		b.add(key, msg, sig)
		b.add(key, msg, sig) // the parts of one key are one term
		for i, got := range b.verify(fixed("batch")) {
			if i < others && !got || i >= others && got != ok {
				v.t.Errorf("%s: %v alone, and %v at %d of a batch of %d", v.name, ok, got, i, others+1)
			}
		}
	}
	if !ok {
		return ErrBadSignature
	}
	return nil
}

func (v *vector) epochOf() *Epoch {
	v.t.Helper()
	ep, err := NewEpoch(v.b32("group"), v.b32("eid"), v.b32("rekey_dev"), v.num("rekey_seq"), v.b32("E"))
	if err != nil {
		v.t.Fatal(err)
	}
	ep.S = must(ep.at(uint32(v.opt("step"))))
	ep.Step = uint32(v.opt("step"))
	return ep
}

func (v *vector) header() Header {
	h := Header{
		V: Version, Exp: v.opt("exp"), Kind: Kind(v.num("kind")), Dev: v.b32("dev"), Chain: Chain(v.num("chain")),
		Seq: v.num("seq"), HLC: v.num("hlc"), Step: uint32(v.opt("step")), BodyLen: uint32(v.num("body_len")), BodyHash: v.b32("body_hash"),
	}
	for _, r := range v.list("ref") {
		h.Refs = append(h.Refs, ID(v.unhex(r)))
	}
	if v.has("prev") {
		h.Prev = v.b32("prev")
	}
	if v.has("auth") {
		h.Auth = v.b32("auth")
	}
	if v.has("to") {
		h.To = v.b32("to")
	}
	if v.has("n") {
		h.Epoch, h.N = v.b16("epoch"), v.b16("n")
	}
	return h
}

func checkEventVector(v *vector) error {
	group, wire := ID(v.b32("group")), v.bytes("wire")
	got, err := Verify(group, wire)
	batch, errs := VerifyBatch(group, [][]byte{wire}, fixed("batch"))
	if fmt.Sprint(err == nil, got.ID()) != fmt.Sprint(errs[0] == nil, batch[0].ID()) {
		v.t.Errorf("%s: one by one %v, in a batch %v", v.name, err, errs[0])
	}
	if err != nil || !v.has("kind") {
		return err
	}
	e := Event{Header: v.header(), Sig: Signature(v.bytes("sig"))}
	if v.has("extension") {
		e.Header.Ext = got.Header().Ext
	}
	if v.has("body") {
		e.Body = v.bytes("body")
	}
	if v.has("sealed") {
		e.Sealed = v.bytes("sealed")
	}
	v.want("preimage", e.preimage(group))
	v.want("id", hash("", e.preimage(group)))
	v.want("id", got.ID())
	v.want("wire", e.Encode())
	if v.has("dev_seed") {
		v.want("sig", sign(keyFrom(v.b32("dev_seed")), e.preimage(group)))
	}
	if v.has("clear") {
		c, err := ParseClear(got)
		if err != nil {
			return err
		}
		if u, ok := c.(*Unknown); ok {
			c = nil
			v.want("clear", []byte(u.Raw))
		} else {
			v.want("clear", marshal(c))
		}
	}
	if !v.has("plain") {
		return nil
	}
	ep := v.epochOf()
	v.want("aad", aad(&e.Header))
	box, err := ep.seal(&e.Header, group, pad(v.bytes("plain")))
	if err != nil {
		return err
	}
	if e.Header.Chain == Messages {
		v.want("body", box)
		c, err := ep.OpenMessage(got)
		if e.Header.Kind.Known() {
			v.want("plain", marshal(c))
		}
		return err
	}
	v.want("sealed", box)
	a, err := ep.OpenAside(got)
	v.want("plain", marshal(a))
	return err
}

func checkSetVector(v *vector) error {
	set := NewSet(v.b32("group"))
	for _, l := range v.list("event") {
		want, wire, _ := strings.Cut(l, " ")
		e, err := Verify(set.group, v.unhex(wire))
		if err != nil {
			return err
		}
		var missing *MissingError
		switch err = set.Add(e); {
		case want == "ok" && err != nil, want == "missing" && !errors.As(err, &missing), want == "bad" && !errors.Is(err, ErrInvalid):
			v.t.Errorf("%s: event %s: got %v, want %s", v.name, e.ID(), err, want)
		}
	}
	roster := Eval(set)
	var got []string
	for _, m := range roster.Members() {
		got = append(got, fmt.Sprintf("%s %d", m.Root, m.Rank))
	}
	if want := v.list("member"); strings.Join(want, "\n") != strings.Join(got, "\n") {
		v.t.Errorf("%s: members\n%s\nwant\n%s", v.name, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if !v.has("message") {
		return nil
	}
	m, err := Verify(set.group, v.bytes("message"))
	_, speaks := roster.CheckMessage(m, links{})
	return cmp.Or(err, speaks)
}

func checkEpochVector(v *vector) error {
	group, e := ID(v.b32("group")), Secret(v.b32("E"))
	eid := EpochID(group, v.b32("dev"), v.num("seq"), e)
	ep, err := NewEpoch(group, v.b32("eid"), v.b32("dev"), v.num("seq"), e)
	if err != nil {
		return err
	}
	v.want("eid", eid)
	for i, s := range v.list("step") {
		if got := text(must(ep.at(uint32(i)))); got != s {
			v.t.Errorf("%s: step %d is %s", v.name, i, got)
		}
	}
	for i, c := range v.list("step_commit") {
		if got := text(CommitStep(group, eid, uint32(i), must(ep.at(uint32(i))))); got != c {
			v.t.Errorf("%s: the commitment to step %d is %s", v.name, i, got)
		}
	}
	v.want("far_secret", must(ep.until(2000).at(uint32(v.num("far_step")))))
	v.want("kback", ep.back())
	v.want("krendezvous", ep.rendezvousKey())
	v.want("commit", CommitN(group, v.b32("N")))
	v.want("sealed_n", ep.SealN(v.b32("N")))
	if n, err := ep.OpenN(v.bytes("sealed_n"), v.b32("commit")); err != nil || n != v.b32("N") {
		v.t.Errorf("%s: sealed_n: %v", v.name, err)
	}
	parent := &Epoch{ID: v.b32("parent_eid"), E: v.b32("parent_E")}
	v.want("back_seal", ep.SealParent(parent))
	if s, err := ep.OpenParent(parent.ID, v.bytes("back_seal")); err != nil || s != parent.E {
		v.t.Errorf("%s: back_seal: %v", v.name, err)
	}
	return nil
}

func checkMessageKeyVector(v *vector) error {
	s, n, group, dev := v.b32("S"), v.b16("n"), v.b32("group"), v.b32("dev")
	k := derive(s[:], n[:], 44, "p2pchat/1 msg", group[:], dev[:])
	v.want("key", k[:32])
	v.want("iv", k[32:])
	v.want("padded", pad(v.bytes("plain")))
	v.want("ct", gcm(k[:32]).Seal(nil, k[32:], v.bytes("padded"), v.bytes("aad")))
	return nil
}

func checkWrapVector(v *vector) error {
	box, err := DeriveBoxKey(v.get("hybrid") == "true", v.b32("prekey_seed"))
	if err != nil {
		return err
	}
	v.want("prekey", box.Public())
	v.want("prekey_id", hash("", box.Public()))
	info := wrapInfo(v.b32("group"), v.b32("eid"), v.b32("dev"), v.b32("prekey_id"), v.b32("author"))
	v.want("info", info)
	w := Row{Dev: Key(v.b32("dev")).Row(), Box: v.bytes("box")}
	ep, err := w.Unwrap(v.b32("dev"), box, v.b32("group"), v.b32("eid"), v.b32("author"), v.num("seq"))
	if err == nil {
		v.want("E", ep.E)
	}
	return err
}

func checkChunkVector(v *vector) error {
	data := v.bytes("chunk")
	rows, hybrid, err := ParseChunk(data)
	if err != nil {
		return err
	}
	v.want("hash", hash("", data))
	v.want("hybrid", hybrid)
	for i, dev := range v.list("row") {
		if got := text(rows[i].Dev[:]); got != dev {
			v.t.Errorf("%s: row %d is of %s", v.name, i, got)
		}
	}
	if again := ChunkWraps(hybrid, rows); len(again) != 1 || !bytes.Equal(again[0], data) {
		v.t.Errorf("%s: chunked again it is not the same", v.name)
	}
	return nil
}

func checkPrekeyVector(v *vector) error {
	p, err := DerivePrekey(v.b32("seed"))
	if err != nil {
		return err
	}
	hybrid, plain := p.IDs()
	v.want("public", p.Public())
	v.want("id", hybrid)
	v.want("x25519_id", plain)
	part, err := PrekeyPart(p.Public(), false)
	v.want("x25519", part)
	for name, k := range map[string]BoxKey{"private": p.hybrid, "x25519_private": p.plain} {
		b, err := k.key.Bytes()
		if err != nil {
			return err
		}
		v.want(name, b)
	}
	return err
}

func checkKeysVector(v *vector) error {
	box, err := DeriveBoxKey(true, v.b32("box_seed"))
	if err != nil {
		return err
	}
	v.want("box_key", box.Public())
	list, err := OpenKeys(v.b32("group"), v.b32("asker"), v.b32("holder"), box, v.bytes("answer"))
	if err == nil {
		v.want("info", answerInfo(v.b32("group"), v.b32("asker"), v.b32("holder")))
		v.want("plain", marshal(EpochSecrets{list}))
	}
	return err
}

// openReport opens what a box holds and returns it, and its encoding.
func openReport(what string, b ReportBox, group ID, author Key, key Secret) (any, []byte, error) {
	if what == "close" {
		c, err := b.Closing(group, author, key)
		return c, marshal(c), err
	}
	c, err := b.Complaint(group, author, key)
	return c, marshal(c), err
}

func checkReportVector(v *vector) error {
	b, err := ParseReportBox(v.bytes("boxed"))
	if err != nil {
		return err
	}
	p, err := DerivePrekey(v.b32("prekey_seed"))
	if err != nil {
		return err
	}
	group, author, dev := ID(v.b32("group")), Key(v.b32("author")), Key(v.b32("dev"))
	id, _ := b.Prekey(dev)
	v.want("prekey_id", id)
	v.want("info", reportInfo(group, dev, id, author))
	v.want("commit", b.Commit)
	v.want("sealed", b.Sealed)
	key, err := b.Unlock(group, author, dev, p)
	if err != nil {
		return err
	}
	v.want("key", key)
	v.want("commit", commitReport(group, author, key))
	_, plain, err := openReport(v.get("what"), b, group, author, key)
	v.want("plain", plain)
	v.want("sealed", sealReport(group, author, key, plain))
	return err
}

func checkPlanVector(v *vector) error {
	p, err := ParsePlan(v.get("text"))
	if err != nil {
		return err
	}
	v.want("seed", p.Seed)
	v.want("name", p.Name)
	v.want("by", p.By)
	v.want("salt", p.Salt())
	v.want("text", p.Text())
	return nil
}

func checkConsentVector(v *vector) error {
	c, err := ParseConsent(v.get("text"))
	if err != nil {
		return err
	}
	again := Identity{root: keyFrom(v.b32("root_seed")), dev: keyFrom(v.b32("dev_seed"))}.Cert()
	v.want("cert", marshal(again))
	v.want("cert", marshal(c.Cert))
	v.want("salt", c.Salt)
	v.want("name", c.Name)
	v.want("text", c.Text())
	return nil
}

func checkPadmeVector(v *vector) error {
	if v.has("padded") {
		plain, err := unpad(v.bytes("padded"))
		if err == nil {
			v.want("plain", plain)
			v.want("padded", pad(plain))
		}
		return err
	}
	for _, l := range v.list("length") {
		var n, want int
		if _, err := fmt.Sscan(l, &n, &want); err != nil || padmeLen(n) != want {
			v.t.Errorf("%s: %d pads to %d, want %d (%v)", v.name, n, padmeLen(n), want, err)
		}
	}
	return nil
}

func checkLinkVector(v *vector) error {
	l, err := ParseLink(v.get("text"))
	if err != nil {
		return err
	}
	v.want("text", l.Text())
	v.want("group", l.Group)
	v.want("seed", l.Seed)
	v.want("flags", l.Flags)
	for i, a := range v.list("addr") {
		if text(l.Addrs[i]) != a {
			v.t.Errorf("%s: address %d", v.name, i)
		}
	}
	if v.has("question") {
		v.want("question", l.Question)
		v.want("answer_to", l.AnswerTo[:])
	}
	v.want("invite_key_seed", l.InviteKey().Seed())
	v.want("invite_key", l.PublicKey())
	v.want("lobby", l.Lobby())
	return nil
}

func checkAnswerVector(v *vector) error {
	key, err := AnswerKey(v.b32("seed"))
	if err != nil {
		return err
	}
	r := JoinRequest{Invite: v.b32("invite"), Cert: Cert{Dev: v.b32("dev")}, Answer: v.bytes("box")}
	text, err := r.OpenAnswer(v.b32("group"), v.b32("seed"))
	if err != nil {
		return err
	}
	v.want("answer_to", key.Public())
	v.want("info", joinAnswerInfo(v.b32("group"), v.b32("invite"), v.b32("dev")))
	v.want("plain", pad([]byte(text)))
	v.want("answer", text)
	return nil
}

func checkJoinVector(v *vector) error {
	group := ID(v.b32("group"))
	r, err := ParseJoinRequest(group, v.bytes("request"))
	if err != nil {
		return err
	}
	l := Link{Group: group, Seed: v.b32("link_seed")}
	root, dev, nonce := keyFrom(v.b32("root_seed")), keyFrom(v.b32("dev_seed")), v.b16("nonce")
	pre := joinPreimage(group, l.PublicKey(), publicKey(root), publicKey(dev), nonce)
	v.want("proof_preimage", pre)
	again := JoinRequest{
		V: Version, Invite: l.PublicKey(), Cert: Identity{root: root, dev: dev}.Cert(), Box: v.bytes("box_key"), Name: v.get("name"),
		Proof: JoinProof{Nonce: nonce, RootSig: sign(root, pre), DevSig: sign(dev, pre), InviteSig: sign(l.InviteKey(), pre)},
	}
	v.want("request_preimage", again.preimage(group))
	again.Sig = sign(dev, again.preimage(group))
	v.want("request", again.Encode())
	v.want("request", r.Encode())
	return nil
}

func checkWelcomeVector(v *vector) error {
	box, err := DeriveBoxKey(true, v.b32("box_seed"))
	if err != nil {
		return err
	}
	v.want("box_key", box.Public())
	w, admitter, err := OpenWelcome(v.b32("group"), v.b32("joiner"), box, v.bytes("welcome"))
	if err != nil {
		return err
	}
	v.want("admitter", admitter)
	v.want("info", welcomeInfo(v.b32("group"), v.b32("joiner"), admitter))
	v.want("plain", marshal(w))
	v.want("grant", w.Grant)
	v.want("name", w.Name)
	return nil
}

func checkWelcomeFileVector(v *vector) error {
	key, err := DeriveBoxKey(true, v.b32("box_seed"))
	if err != nil {
		return err
	}
	f, err := ParseWelcomeFile(v.bytes("file"))
	if err != nil {
		return err
	}
	w, _, frames, err := f.Open(v.b32("joiner"), key)
	if err != nil {
		return err
	}
	v.want("group", f.Group)
	v.want("request", f.Request)
	v.want("plain", marshal(w))
	v.want("bundle_key", w.Bundle)
	v.want("bundle_aad", bundleInfo(f.Group, f.Request))
	v.want("frames", frames)
	return nil
}

// openBundleVector opens a head in both ways.
func openBundleVector(v *vector, group ID) (by [2]BundleKey, err error) {
	prekey, err := DerivePrekey(v.b32("prekey_seed"))
	if err != nil {
		return by, err
	}
	h, err := ReadBundleHead(bytes.NewReader(v.bytes("head")))
	if err != nil {
		return by, err
	}
	point, ok := h.OpenPoint(group, v.b32("N"))
	box, boxed := h.OpenBox(group, prekey)
	if !ok || !boxed || h.Damaged {
		return by, ErrSealBroken
	}
	return [2]BundleKey{point, box}, nil
}

func checkBundleVector(v *vector) error {
	group := ID(v.b32("group"))
	by, err := openBundleVector(v, group)
	if err != nil {
		return err
	}
	secret, salt := Secret(v.b32("secret")), v.bytes("head")[len(bundleLine):][:32]
	opened := framesSecret(secret, salt)
	v.want("frames_secret", opened)
	v.want("chunks_key", chunksKey(opened, group, salt))
	v.want("secrets_key", secretsKey(secret, group, salt))
	for _, k := range by {
		chunk := k.SealChunk(v.num("number"), true, v.bytes("frames"))
		sum := sha256.Sum256(chunk)
		v.want("chunk_sha256", sum[:])
		if at, last, _, err := k.OpenChunk(0, chunk); err != nil || at != v.num("number") || !last {
			return fmt.Errorf("the chunk opens as number %d, the last: %v; %w", at, last, err)
		}
	}
	var sealed BundleSecrets
	if err := unmarshal(v.bytes("sealed_secrets"), &sealed); err != nil {
		return err
	}
	list, err := by[1].OpenSecrets(sealed)
	v.want("secrets", marshal(EpochSecrets{list}))
	return err
}

func checkHelloVector(v *vector) error {
	h := Hello{NonceI: v.b32("nonce_i"), NonceR: v.b32("nonce_r"), PeerI: string(v.bytes("peer_i")), PeerR: string(v.bytes("peer_r"))}
	if !v.has("transcript_i") {
		role := Role(v.get("role")[0])
		return h.Check(v.b32("group"), role, Proof{Dev: v.b32("dev"), Sig: Signature(v.bytes("sig"))})
	}
	n := Secret(v.b32("N"))
	v.want("transcript_i", h.transcript(Initiator))
	v.want("tag_i", h.Tag(n, Initiator))
	v.want("tag_r", h.Tag(n, Responder))
	v.want("lobby_tag_i", h.LobbyTag(v.b32("lobby"), Initiator))
	v.want("lobby_tag_r", h.LobbyTag(v.b32("lobby"), Responder))
	v.want("founder_tag", h.FounderTag(v.b32("salt")))
	dev := keyFrom(v.b32("dev_seed"))
	p := h.Prove(v.b32("group"), Initiator, h.Tag(n, Responder), dev)
	v.want("proof_i_preimage", h.proofPreimage(v.b32("group"), Initiator))
	v.want("proof_i", marshal(p))
	return h.Check(v.b32("group"), Initiator, p)
}

func checkHelloCertVector(v *vector) error {
	h := Hello{NonceI: v.b32("nonce_i"), NonceR: v.b32("nonce_r"), PeerI: string(v.bytes("peer_i")), PeerR: string(v.bytes("peer_r"))}
	var p Proof
	if err := unmarshal(v.bytes("proof_i"), &p); err != nil {
		return err
	}
	if _, ok := p.Vouched(); !ok {
		return errors.New("the proof has no certificate")
	}
	return h.Check(v.b32("group"), Initiator, p)
}

func checkRecordVector(v *vector) error {
	group := ID(v.b32("group"))
	r, err := VerifyRecord(group, v.bytes("record"))
	if err != nil || !v.has("dev_seed") {
		return err
	}
	again, err := Record{
		Type: RecordType(v.num("record_type")), Number: v.num("number"), Expiry: v.opt("expiry"), Value: v.bytes("value"),
	}.Sign(group, keyFrom(v.b32("dev_seed")))
	if err != nil {
		return err
	}
	v.want("record", again.Wire())
	v.want("preimage", r.Record().preimage(group))
	if !v.has("name") {
		return nil
	}
	ep := v.epochOf()
	n := v.bytes("n")
	value, err := ep.SealProfile(r.Key(), Profile{Name: v.get("name")}, bytes.NewReader(n))
	if err != nil {
		return err
	}
	v.want("value", value)
	v.want("aad", aad(valueHeader(r.Key(), &sealedValue{Epoch: ep.Tag(), N: [16]byte(n)})))
	p, err := ep.OpenProfile(r)
	v.want("name", p.Name)
	return err
}

func checkFrameVector(v *vector) error {
	data := v.bytes("frame")
	f, err := ReadFrame(newReader(data))
	if err != nil {
		return err
	}
	v.want("kind", int(f.Kind))
	v.want("payload", []byte(f.Payload))
	v.want("frame", AppendFrame(nil, f.Kind, f.Payload))
	if p := payloadOf(f.Kind); p != nil {
		return f.Decode(f.Kind, p)
	}
	return nil
}

func checkAccountVector(v *vector) error {
	a := Account{Seed: v.b32("seed"), Device: v.b32("device")}
	v.want("phrase", a.Phrase())
	id := a.Identity(v.b32("tag"))
	v.want("root_seed", id.root.Seed())
	v.want("dev_seed", id.dev.Seed())
	v.want("root", id.Root())
	v.want("dev", id.Dev())
	v.want("person", id.Root().Text(PersonPrefix))
	v.want("device_text", id.Dev().Text(DevicePrefix))
	return nil
}
