package node_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"

	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
)

// exports writes a bundle.
func (p *person) exports(group protocol.ID, o node.ExportOptions) []byte {
	p.t.Helper()
	var b bytes.Buffer
	res, err := p.Export(ctx(p.t), group, &b, o)
	if err != nil || res.Bytes != int64(b.Len()) {
		p.t.Fatalf("%s exports: %+v, %v", p.cfg.Name, res, err)
	}
	return b.Bytes()
}

// imports reads a bundle.
func (p *person) imports(file []byte) node.ImportResult {
	p.t.Helper()
	res, err := p.Import(ctx(p.t), bytes.NewReader(file))
	if err != nil {
		p.t.Fatalf("%s imports: %+v, %v", p.cfg.Name, res, err)
	}
	return res
}

// wholly reads a bundle of which nothing is missing.
func (p *person) wholly(file []byte) node.ImportResult {
	p.t.Helper()
	res := p.imports(file)
	if !res.Whole() {
		p.t.Errorf("%s imports %+v", p.cfg.Name, res)
	}
	return res
}

// apart gives nodes hosts that connect to no others than those of their half.
func apart(t *testing.T, half byte) func(*node.Config) {
	return func(cfg *node.Config) {
		h, err := libp2p.New(libp2p.PrivateNetwork(bytes.Repeat([]byte{half}, 32)), libp2p.Transport(tcp.NewTCPTransport),
			libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.DisableRelay(), libp2p.DisableMetrics())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = h.Close() })
		cfg.Host = h
	}
}

// joinsByFile joins by a request and its answer, so that neither side has an address of
// the other.
func (p *person) joinsByFile(by *person, group protocol.ID, rank protocol.Rank) {
	p.t.Helper()
	link, err := protocol.ParseLink(by.invite(group, node.InviteOptions{Rank: rank}))
	if err != nil {
		p.t.Fatal(err)
	}
	link.Addrs = nil
	if _, err := p.JoinByFile(ctx(p.t), by.answers(p.asksByFile(link.Text(), ""), true)); err != nil {
		p.t.Fatalf("%s joins: %v", p.cfg.Name, err)
	}
}

// Two halves of a group that never connect have the same messages, roster and keys in the
// end: a ban and a rotation on one side, messages, a role, an admission and a rotation on
// the other.
func TestTwoHalvesMeetInFiles(t *testing.T) {
	here, there := apart(t, 1), apart(t, 2)
	ana, bo, mal := start(t, "Ana", here), start(t, "Bo", here), start(t, "Mal", here)
	cleo, dan := start(t, "Cleo", there), start(t, "Dan", there)
	club := ana.create("club")
	bo.join(ana.invite(club, node.InviteOptions{}))
	mal.join(ana.invite(club, node.InviteOptions{}))
	cleo.joinsByFile(ana, club, protocol.Admin)
	dan.join(cleo.invite(club, node.InviteOptions{}))
	eventually(t, "Cleo has Dan's key", func() bool { return slices.Contains(cleo.Prekeys(club), dan.Device(club)) })

	ana.wholly(cleo.exports(club, node.ExportOptions{}))
	bo.knows(club, 5)
	did(t)(ana.Expel(ctx(t), club, "Mal", node.ExpelOptions{}))
	ana.send(club, "Mal is out")
	bo.await(club, 1)
	bo.send(club, "good")
	ana.await(club, 2)
	did(t)(cleo.SetRole(ctx(t), club, "Dan", protocol.Moderator, ""))
	cleo.rotate(club, true, nil)
	cleo.send(club, "hello from here")
	dan.await(club, 1)
	dan.send(club, "and me")
	cleo.await(club, 2)

	one, other := bo.exports(club, node.ExportOptions{}), dan.exports(club, node.ExportOptions{})
	if res := cleo.wholly(one); res.Group != club || res.New == 0 || res.Locked > 0 {
		t.Errorf("Cleo's import says %+v", res)
	}
	ana.wholly(other)
	for _, p := range []*person{ana, bo, cleo, dan} {
		p.await(club, 4)
		p.sees(club, "Dan", protocol.Moderator)
		p.sees(club, "Mal", protocol.NoRank)
	}
	agree(t, club, 4, ana, bo, cleo, dan)
	if res := cleo.wholly(one); res.New != 0 || res.Known == 0 {
		t.Errorf("the second time it says %+v", res)
	}

	dan.send(club, "after both")
	ana.wholly(dan.exports(club, node.ExportOptions{Since: time.Now().Add(-time.Hour)}))
	bo.await(club, 5)
	bo.send(club, "for Dan alone")
	file := bo.exports(club, node.ExportOptions{For: "Dan"})
	dan.wholly(file)
	for _, p := range []*person{ana, cleo, dan} {
		p.await(club, 6)
	}
	agree(t, club, 6, ana, bo, cleo, dan)
	for _, p := range []*person{mal, cleo} {
		_, err := p.Import(ctx(t), bytes.NewReader(file))
		refused(t, err, node.ErrNotForYou, "")
	}
	_, err := mal.Import(ctx(t), bytes.NewReader(ana.exports(club, node.ExportOptions{})))
	refused(t, err, node.ErrNotForYou, "after you were out")
}

// Where history begins with joining, a bundle for everybody has no secrets that some may
// not have, and the wraps in it open what was wrapped for who reads it.
func TestBundlesWhereHistoryBeginsWithJoining(t *testing.T) {
	ana, bo := start(t, "Ana", apart(t, 1)), start(t, "Bo", apart(t, 2))
	club, err := ana.CreateSinceJoin(ctx(t), "club")
	if err != nil {
		t.Fatal(err)
	}
	ana.send(club, "before Bo")
	bo.joinsByFile(ana, club, protocol.Member)
	ana.wholly(bo.exports(club, node.ExportOptions{}))
	ana.rotate(club, true, nil)
	ana.send(club, "after Bo")
	bo.wholly(ana.exports(club, node.ExportOptions{}))
	if got := bo.texts(club); len(got) != 2 || got[0] == "before Bo" || got[1] != "after Bo" {
		t.Errorf("Bo reads %q", got)
	}

	// A rekey that has no wrap for Bo, and somebody who may not have all of the epoch: the
	// file for Bo alone has what he may have.
	ana.rotate(club, true, func(protocol.Key) bool { return false })
	ana.send(club, "without a wrap")
	cleo := start(t, "Cleo", apart(t, 1))
	cleo.join(ana.invite(club, node.InviteOptions{}))
	eventually(t, "Ana has Cleo's key", func() bool { return slices.Contains(ana.Prekeys(club), cleo.Device(club)) })
	file := ana.exports(club, node.ExportOptions{})
	if res := bo.wholly(file); res.Locked != 1 {
		t.Errorf("the import says %+v", res)
	}
	bo.wholly(ana.exports(club, node.ExportOptions{For: "Bo"}))
	if got := bo.texts(club); len(got) != 3 || got[0] == "before Bo" || got[2] != "without a wrap" {
		t.Errorf("Bo reads %q", got)
	}
}

// What is said while a file is written cites what is not in it, and so is not in it either.
func TestAMessageDuringAnExport(t *testing.T) {
	club, ana, bo := apartTwo(t)
	ana.send(club, "before")
	for i := range 6 { // control events of more than a chunk
		rules := strings.Repeat(string(rune('a'+i)), 16<<10)
		if _, err := ana.Set(ctx(t), club, node.Settings{Rules: &rules}); err != nil {
			t.Fatal(err)
		}
	}
	var file bytes.Buffer
	once := false
	_, err := ana.Export(ctx(t), club, writer(func(b []byte) (int, error) {
		if file.Write(b); file.Len() > protocol.BundleChunk && !once {
			once = true
			ana.topic(club, "news")
			ana.send(club, "during")
		}
		return len(b), nil
	}), node.ExportOptions{})
	if err != nil || !once {
		t.Fatalf("export: %v, %d bytes", err, file.Len())
	}
	bo.wholly(file.Bytes())
	if got := bo.texts(club); !slices.Equal(got, []string{"before"}) {
		t.Errorf("Bo reads %q", got)
	}
	bo.wholly(ana.exports(club, node.ExportOptions{}))
	if got := bo.texts(club); !slices.Equal(got, []string{"before", "during"}) {
		t.Errorf("of a later file Bo reads %q", got)
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }

// Whoever watches is told how far a file has come.
func TestBundleProgress(t *testing.T) {
	club, ana, bo := apartTwo(t)
	ana.send(club, "hello")
	file := ana.exports(club, node.ExportOptions{})
	watch, stop := context.WithCancel(ctx(t))
	defer stop()
	seen := make(chan node.Progress, 16)
	ready := make(chan struct{})
	go func() {
		defer close(seen)
		close(ready)
		for p := range bo.WatchProgress(watch, club) {
			if p.Done {
				seen <- p
				return
			}
		}
	}()
	<-ready
	eventually(t, "the import is told", func() bool {
		bo.wholly(file)
		select {
		case p := <-seen:
			return p.What == "import" && p.Bytes > 0 && p.Size == uint64(len(file)) && p.Events > 0
		default:
			return false
		}
	})
}

// Who got messages without their texts, from somebody who had no room for them, reads them
// from the file of somebody who has: but not what was taken back meanwhile.
func TestAFilePutsTextsBack(t *testing.T) {
	ana, bo := start(t, "Ana", apart(t, 1)), start(t, "Bo", apart(t, 2))
	club := ana.create("club")
	long := strings.Repeat("x", 40<<10)
	for i := range 30 {
		ana.say(club, fmt.Sprint(i, long))
	}
	sorry := ana.say(club, "sorry")
	full := ana.exports(club, node.ExportOptions{})
	did(t)(ana.Retract(ctx(t), club, sorry, ""))
	if err := ana.Keep(ctx(t), club, 1<<20); err != nil {
		t.Fatal(err)
	}
	ana.sweep(club)
	bo.joinsByFile(ana, club, protocol.Member)
	without := 0
	for _, text := range bo.texts(club) {
		if !strings.HasSuffix(text, long) {
			without++
		}
	}
	if without < 5 {
		t.Fatalf("%d texts are missing at Bo's", without)
	}
	kept := func() uint64 {
		k, err := bo.Kept(club)
		if err != nil {
			t.Fatal(err)
		}
		return k.Bytes
	}
	here := uint64(30-without+1) * 40 << 10
	eventually(t, "the texts that came are counted", func() bool { return kept() >= here })
	res := bo.wholly(full)
	if res.New != 0 || res.Filled != without-1 {
		t.Errorf("of %d texts missing, one of them taken back: %+v", without, res)
	}
	for i, text := range bo.texts(club)[:30] {
		if text != fmt.Sprint(i, long) {
			t.Errorf("message %d has a text of %d bytes", i, len(text))
		}
	}
	if bo.held(club, sorry) != "erased" {
		t.Error("what was taken back is here again")
	}
	eventually(t, "the texts put back are counted", func() bool { return kept() >= here+uint64(res.Filled)*40<<10 })
	if res := bo.wholly(full); res.Filled != 0 {
		t.Errorf("put back twice: %+v", res)
	}
}

// A file has each chain in its order, so that who reads it keeps no account of holes.
func TestABundleHasChainsInOrder(t *testing.T) {
	club, ana, _ := apartTwo(t)
	ana.past(club, 2500, 1, "m")
	file := bytes.NewReader(ana.exports(club, node.ExportOptions{}))
	head, err := protocol.ReadBundleHead(file)
	if err != nil {
		t.Fatal(err)
	}
	key, ok := head.OpenPoint(club, ana.Meets(club)[0])
	if !ok {
		t.Fatal("Ana does not open it")
	}
	last, chunk := uint64(0), make([]byte, protocol.BundleChunk)
	for n := uint64(0); ; n++ {
		if _, err := io.ReadFull(file, chunk); err != nil {
			break
		}
		_, _, plain, err := key.OpenChunk(n, chunk)
		if err != nil {
			t.Fatal(err)
		}
		frames, err := protocol.ChunkFrames(plain)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range frames {
			var packed []byte
			if f.Kind != protocol.FramePacked {
				continue
			}
			if err := f.Decode(f.Kind, &packed); err != nil {
				t.Fatal(err)
			}
			list, err := protocol.Unpack(club, packed)
			if err != nil {
				t.Fatal(err)
			}
			events, _ := protocol.VerifyUnpacked(list, newRandom())
			for _, v := range events {
				if h := v.Header(); h.Seq != last+1 {
					t.Fatalf("seq %d after %d", h.Seq, last)
				}
				last++
			}
		}
	}
	if last != 2500 {
		t.Errorf("it has %d messages", last)
	}
}
