package node_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
)

// shut returns who cannot open a bundle, as its author knows, and the bundle.
func (p *person) shut(group protocol.ID) (names []string, file []byte) {
	p.t.Helper()
	var b bytes.Buffer
	res, err := p.Export(ctx(p.t), group, &b, node.ExportOptions{})
	if err != nil {
		p.t.Fatalf("%s exports: %v", p.cfg.Name, err)
	}
	for _, who := range res.CannotOpen {
		names = append(names, who.Name)
	}
	return names, b.Bytes()
}

// Cleo joined by files, so that nobody has a key of hers. She opens what is written by the
// secret of her welcome; once somebody is removed she does not, and the export says so,
// until a file of hers has come.
func TestAnExportSaysWhoCannotOpenIt(t *testing.T) {
	ana, bo, cleo := start(t, "Ana", apart(t, 1)), start(t, "Bo", apart(t, 1)), start(t, "Cleo", apart(t, 2))
	club := ana.create("club")
	bo.join(ana.invite(club, node.InviteOptions{}))
	cleo.joinsByFile(ana, club, protocol.Member)
	ana.send(club, "hello")
	names, file := ana.shut(club)
	if len(names) > 0 {
		t.Errorf("before anybody has gone, %q cannot open it", names)
	}
	cleo.wholly(file)

	did(t)(ana.Expel(ctx(t), club, "Bo", node.ExpelOptions{}))
	ana.send(club, "Bo is out")
	names, file = ana.shut(club)
	if !slices.Equal(names, []string{"Cleo"}) {
		t.Errorf("%q cannot open it", names)
	}
	_, err := cleo.Import(ctx(t), bytes.NewReader(file))
	refused(t, err, node.ErrNotForYou, "has had no file of yours yet")
	_, err = ana.Export(ctx(t), club, new(bytes.Buffer), node.ExportOptions{For: "Cleo"})
	refused(t, err, node.ErrNoKey, "no key of Cleo has come here yet")
	if strings.Contains(err.Error(), "epoch") {
		t.Errorf("an export without a key speaks of an epoch: %v", err)
	}

	ana.wholly(cleo.exports(club, node.ExportOptions{}))
	names, file = ana.shut(club)
	if len(names) > 0 {
		t.Errorf("with a key of each, %q cannot open it", names)
	}
	cleo.wholly(file)
}

// Who was silent for long has no key here that is fresh, and opens a bundle all the same
// by the secret that came with a wrap. After another removal that is over.
func TestASilentMemberOpensByWhatWasWrapped(t *testing.T) {
	now := time.Now()
	late := func(cfg *node.Config) { node.WithClock(cfg, func() time.Time { return now }) }
	ana, bo, cleo := start(t, "Ana", apart(t, 1), late), start(t, "Bo", apart(t, 1)), start(t, "Cleo", apart(t, 1))
	club := ana.create("club")
	for _, p := range []*person{bo, cleo} {
		p.join(ana.invite(club, node.InviteOptions{}))
		eventually(t, "Ana has their key", func() bool { return slices.Contains(ana.Prekeys(club), p.Device(club)) })
	}
	cleo.sleep()
	did(t)(ana.Expel(ctx(t), club, "Bo", node.ExpelOptions{}))
	ana.sleep()
	now = now.Add(60 * 24 * time.Hour)
	ana.wake()
	if names, _ := ana.shut(club); len(names) > 0 {
		t.Errorf("%q cannot open it", names)
	}
	_, err := ana.Export(ctx(t), club, new(bytes.Buffer), node.ExportOptions{For: "Cleo"})
	refused(t, err, node.ErrNoKey, "the newest key of Cleo that is here is more than five weeks old")

	ana.rotate(club, true, nil)
	if names, _ := ana.shut(club); len(names) > 0 {
		t.Errorf("by what was drawn before, nobody who has gone opens it, and %q does not", names)
	}
	dan := start(t, "Dan", apart(t, 1), late)
	dan.join(ana.invite(club, node.InviteOptions{}))
	did(t)(ana.Expel(ctx(t), club, "Dan", node.ExpelOptions{}))
	if names, _ := ana.shut(club); !slices.Equal(names, []string{"Cleo"}) {
		t.Errorf("after another has gone, %q cannot open it", names)
	}
}
