package node_test

import (
	"bytes"
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
	eventually(t, "Cleo has a key", func() bool { return len(cleo.Prekeys(club)) >= 2 })

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
