package node_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-datastore"

	"github.com/p2pchat/p2pchat/internal/fixture/planted"
	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

// apartTwo are two members who know each other's keys and never meet.
func apartTwo(t *testing.T) (club protocol.ID, ana, bo *person) {
	t.Helper()
	ana, bo = start(t, "Ana", apart(t, 1)), start(t, "Bo", apart(t, 2))
	club = ana.create("a planted group name")
	bo.joinsByFile(ana, club, protocol.Member)
	ana.wholly(bo.exports(club, node.ExportOptions{}))
	return club, ana, bo
}

// twin is somebody in the state that a person who sleeps left the disk in.
func (p *person) twin() *person {
	p.t.Helper()
	ds := storage.NewMemory()
	for key, value := range dump(p.t, p.cfg.Datastore) {
		if err := ds.Put(p.t.Context(), datastore.NewKey(key), value); err != nil {
			p.t.Fatal(err)
		}
	}
	return start(p.t, p.cfg.Name, func(cfg *node.Config) {
		*cfg = p.cfg
		cfg.Datastore, cfg.Host = ds, nil
	})
}

// Of a file that is damaged everything is kept that can be, it is said what is not, and
// the whole file brings the rest.
func TestDamagedBundles(t *testing.T) {
	club, ana, bo := apartTwo(t)
	ana.topic(club, "the ridge") // what the messages cite
	const count = 120
	for i := range count {
		ana.send(club, fmt.Sprint(i, strings.Repeat("x", 2000)))
	}
	file := ana.exports(club, node.ExportOptions{})
	chunks := (len(file) - 19_000) / protocol.BundleChunk
	head := len(file) - chunks*protocol.BundleChunk
	at := func(chunk int) int { return head + chunk*protocol.BundleChunk }
	chunk := func(i int) []byte { return file[at(i):at(i+1)] }
	flip := func(at int) []byte {
		out := bytes.Clone(file)
		out[at] ^= 4
		return out
	}
	if chunks < 5 {
		t.Fatalf("the file has %d chunks: the test shows nothing", chunks)
	}
	bo.sleep()
	check := func(name string, data []byte, want node.ImportResult, least int) {
		t.Helper()
		p := bo.twin()
		got := p.imports(data)
		if got.Damaged != want.Damaged || got.CutShort != want.CutShort || got.Trailing != want.Trailing || got.Refused > 0 {
			t.Errorf("%s: %+v", name, got)
		}
		waiting := 0
		for _, l := range got.Waiting {
			waiting += l.Events
		}
		if have := len(p.texts(club)); have < least || have+waiting > count {
			t.Errorf("%s: %d texts, of at least %d, and %d wait", name, have, least, waiting)
		}
		if want.Damaged == 0 && !want.CutShort && waiting > 0 {
			t.Errorf("%s: %d wait", name, waiting)
		}
		p.wholly(file)
		if have := len(p.texts(club)); have != count {
			t.Errorf("%s: %d texts after the whole file", name, have)
		}
		p.sleep()
	}
	perChunk := protocol.BundleRoom / 2600 // texts, at least, behind the first chunk
	for i := range chunks {
		before := max(0, i-1) * perChunk
		check(fmt.Sprint("cut before chunk ", i), file[:at(i)], node.ImportResult{CutShort: true}, before)
		check(fmt.Sprint("flipped in chunk ", i), flip(at(i)+100), node.ImportResult{CutShort: i == chunks-1, Damaged: 1}, before)
	}
	misplaced := bytes.Clone(file)
	for i := range chunks {
		misplaced[at(i)+3] ^= 4
	}
	check("the places of all chunks changed", misplaced, node.ImportResult{}, count)
	check("cut in a chunk", file[:at(2)+9], node.ImportResult{CutShort: true, Damaged: 1}, perChunk)
	check("a chunk twice", slices.Concat(file[:at(2)], chunk(1), file[at(2):]), node.ImportResult{}, count)
	check("two chunks swapped", slices.Concat(file[:at(1)], chunk(2), chunk(1), file[at(3):]), node.ImportResult{}, count)
	check("a foreign chunk", slices.Concat(file[:at(1)], make([]byte, protocol.BundleChunk), file[at(1):]), node.ImportResult{}, count)
	check("more behind it", append(bytes.Clone(file), 0), node.ImportResult{Trailing: true}, count)
	check("a point changed", flip(60), node.ImportResult{Damaged: 1}, count)
	p := bo.twin()
	for _, bad := range [][]byte{flip(20), file[:head-1], file[:9], nil, []byte("hello\n")} {
		if res, err := p.Import(ctx(t), bytes.NewReader(bad)); !errors.Is(err, node.ErrBadFile) {
			t.Errorf("a bad head gives %+v, %v", res, err)
		}
	}
	pulled := errors.New("the stick is out")
	res, err := p.Import(ctx(t), io.MultiReader(bytes.NewReader(file[:at(3)]), &failing{pulled}))
	if !errors.Is(err, pulled) || res.New == 0 || len(p.texts(club)) < perChunk {
		t.Errorf("a stick that is pulled gives %+v, %v", res, err)
	}
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }

// Files of some days each come in any order, and whoever has them all has everything.
func TestBundlesInAnyOrder(t *testing.T) {
	club, ana, bo := apartTwo(t)
	for i := range 3 {
		ana.send(club, fmt.Sprint("first ", i))
	}
	first := ana.exports(club, node.ExportOptions{})
	time.Sleep(2 * time.Millisecond) // times count milliseconds
	since := time.Now()
	ana.topic(club, "the ridge")
	for i := range 3 {
		ana.send(club, fmt.Sprint("second ", i))
	}
	second := ana.exports(club, node.ExportOptions{Since: since})
	var out bytes.Buffer
	if res, err := ana.Export(ctx(t), club, &out, node.ExportOptions{}); err != nil || res.Events <= 3+3+3 {
		t.Fatalf("all is %+v, %v", res, err)
	}
	some, err := ana.Export(ctx(t), club, new(bytes.Buffer), node.ExportOptions{Since: since})
	if all, _ := ana.Export(ctx(t), club, new(bytes.Buffer), node.ExportOptions{}); err != nil || all.Events != some.Events+3 {
		t.Errorf("%d events since then, of %d: %v", some.Events, all.Events, err)
	}
	if res := bo.imports(second); len(res.Waiting) == 0 || len(bo.texts(club)) != 3 {
		t.Errorf("without what came before: %+v, and %q", res, bo.texts(club))
	}
	bo.wholly(first)
	bo.wholly(second)
	agree(t, club, 6, ana, bo)
}

// Who finds a bundle sees nothing in it, and opens nothing of it.
func TestABundleTellsAStrangerNothing(t *testing.T) {
	club, ana, bo := apartTwo(t)
	ana.send(club, "planted words that only members may read")
	secrets := planted.Secrets{}
	for _, p := range []*person{ana, bo} {
		for name, s := range p.SecretsOf(club) {
			secrets.Add(p.cfg.Name+": "+name, s)
		}
		dev, root := p.Device(club), p.Root(club)
		secrets.Add(p.cfg.Name+"'s device", dev[:])
		secrets.Add(p.cfg.Name+"'s identity", root[:])
	}
	secrets.Add("group", club[:])
	secrets.Add("group name", []byte("a planted group name"))
	secrets.Add("text", []byte("planted words that only members may read"))
	all, one := ana.exports(club, node.ExportOptions{}), ana.exports(club, node.ExportOptions{For: "Bo"})
	for _, file := range [][]byte{all, one} {
		if found := secrets.In(file); len(found) > 0 {
			t.Errorf("the file has %q", found)
		}
	}
	if len(all) != len(one) {
		t.Errorf("it tells for how many it is: %d and %d bytes", len(all), len(one))
	}
	eve := start(t, "Eve")
	eve.create("another")
	for _, file := range [][]byte{all, one} {
		_, err := eve.Import(ctx(t), bytes.NewReader(file))
		refused(t, err, node.ErrNotForYou, "")
	}
	_, err := ana.Export(ctx(t), club, io.Discard, node.ExportOptions{For: "Zoe"})
	refused(t, err, node.ErrUnknownName, "Zoe")
}

// forge makes a bundle of a group's as a member can who means harm.
func forge(t *testing.T, n *node.Node, group protocol.ID, chunks ...[]byte) []byte {
	t.Helper()
	out, key, err := protocol.SealBundle(group, protocol.BundleReaders{Points: n.Meets(group)}, newRandom())
	if err != nil {
		t.Fatal(err)
	}
	for i, plain := range chunks {
		out = append(out, key.SealChunk(uint64(i), i == len(chunks)-1, plain)...)
	}
	return out
}

// A member writes what is wrong into a bundle: it is left out, and the rest is not.
func TestABundleByWhoMeansHarm(t *testing.T) {
	club, ana, bo := apartTwo(t)
	frame := func(kind protocol.FrameKind, payload any) []byte { return protocol.AppendFrame(nil, kind, payload) }
	events := func(wires ...[]byte) []byte { return frame(protocol.FrameEvents, protocol.Events{List: wires}) }
	good := ana.line(club, protocol.Tip{}, 3, "good")
	bad := bytes.Clone(good[2].Wire())
	bad[len(bad)-1] ^= 1
	foreign := ana.line(ana.create("another"), protocol.Tip{}, 1, "elsewhere")
	res := bo.imports(forge(t, ana.Node, club,
		events(good[0].Wire(), bad, []byte("no event"), foreign[0].Wire()),
		events([]byte{}, good[1].Wire()),
		slices.Concat(events(good[2].Wire()), []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}),
		slices.Concat(
			frame(protocol.FrameRecords, protocol.Events{List: [][]byte{[]byte("no record")}}),
			frame(protocol.FrameChunks, protocol.Events{List: [][]byte{[]byte("no chunk")}}),
			frame(protocol.FrameSecrets, protocol.BundleSecrets{Box: []byte("no secrets")}),
			frame(protocol.FrameKind(1001), struct{}{}), frame(protocol.FrameKind(1000), struct{}{}),
			frame(protocol.FrameHave, protocol.Have{})),
	))
	if res.New != 3 || res.Refused != 3+1+1+1+1+1 || res.Damaged > 0 || res.CutShort {
		t.Errorf("the import says %+v", res)
	}
	agree(t, club, 3, bo)

	// What waits for ever is counted, and does not fill the memory.
	line := ana.line(club, protocol.Tip{}, 700, strings.Repeat("y", 3000))
	var chunks [][]byte
	for part := range slices.Chunk(line[1:], 15) {
		var wires [][]byte
		for _, v := range part {
			wires = append(wires, v.Wire())
		}
		chunks = append(chunks, events(wires...))
	}
	file := forge(t, ana.Node, club, chunks...)
	line, chunks = nil, nil
	before := heap()
	res = bo.imports(file)
	if grown := heap() - before; grown > 4<<20 {
		t.Errorf("%d bytes stay in memory", grown)
	}
	if res.New == 0 && (len(res.Waiting) != 1 || res.Waiting[0].Events != 699) {
		t.Errorf("the import says %+v", res)
	}
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func (p *person) topic(group protocol.ID, text string) {
	p.t.Helper()
	if _, err := p.Set(ctx(p.t), group, node.Settings{Topic: &text}); err != nil {
		p.t.Fatal(err)
	}
}

// FuzzImport reads what anybody may write into a file, and what a member may seal.
func FuzzImport(f *testing.F) {
	account, err := protocol.NewAccount(newRandom())
	if err != nil {
		f.Fatal(err)
	}
	n, err := node.New(f.Context(), node.Config{
		Account: account, Name: "Ana", Datastore: storage.NewMemory(),
		Listen: []string{"/ip4/127.0.0.1/tcp/0"}, DisableMDNS: true,
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = n.Close() })
	club, err := n.CreateGroup(f.Context(), "club")
	if err != nil {
		f.Fatal(err)
	}
	var all bytes.Buffer
	if _, err := n.Export(f.Context(), club, &all, node.ExportOptions{}); err != nil {
		f.Fatal(err)
	}
	head := all.Bytes()[:all.Len()-protocol.BundleChunk]
	f.Add([]byte("p2pchat/1 bundle\n"), protocol.AppendFrame(nil, protocol.FrameEvents, protocol.Events{List: [][]byte{{1}}}))
	f.Add(head, protocol.AppendFrame(nil, protocol.FrameSecrets, protocol.BundleSecrets{Box: []byte{1}}))
	f.Add(all.Bytes(), protocol.AppendFrame(nil, protocol.FrameChunks, protocol.Events{List: [][]byte{{1}}}))
	f.Fuzz(func(t *testing.T, data, plain []byte) {
		for _, file := range [][]byte{data, slices.Concat(head, data), forge(t, n, club, plain[:min(len(plain), protocol.BundleRoom)])} {
			res, err := n.Import(t.Context(), bytes.NewReader(file))
			if err == nil && res.New > 0 {
				t.Errorf("something new: %+v", res)
			}
		}
	})
}
