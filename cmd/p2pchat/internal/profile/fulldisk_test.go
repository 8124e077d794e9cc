package profile

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/p2pchat/p2pchat/internal/fixture/need"
	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage/disk"
)

// A volume is a small file system that can be filled.
type volume struct {
	t   *testing.T
	dir string
}

func newVolume(t *testing.T, size string) volume {
	t.Helper()
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		need.Missing(t, "root on Linux, to mount a small tmpfs")
	}
	d := volume{t, t.TempDir()}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+size, "tmpfs", d.dir).CombinedOutput(); err != nil {
		need.Missing(t, "the right to mount a tmpfs: "+string(out))
	}
	t.Cleanup(func() { _ = exec.Command("umount", d.dir).Run() })
	return d
}

// fill leaves less than a store needs, and a little.
func (d volume) fill() {
	free, err := disk.Free(d.dir)
	if err != nil {
		d.t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(d.dir, "filler"))
	if err != nil {
		d.t.Fatal(err)
	}
	if _, err := io.CopyN(f, zeros{}, int64(free)-disk.MinFree/2); err != nil {
		d.t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		d.t.Fatal(err)
	}
}

func (d volume) empty() {
	if err := os.Remove(filepath.Join(d.dir, "filler")); err != nil {
		d.t.Fatal(err)
	}
}

// member is a node of a group.
type member struct {
	*node.Node
	t   *testing.T
	ctx context.Context
	cfg node.Config
}

func newMember(t *testing.T, ctx context.Context, name string, s *disk.Store) *member {
	t.Helper()
	account, err := protocol.NewAccount(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	m := &member{t: t, ctx: ctx, cfg: node.Config{Account: account, Name: name, Listen: []string{"/ip4/127.0.0.1/tcp/0"}, DisableMDNS: true}}
	if s != nil {
		m.cfg.Datastore = s
	}
	m.start()
	t.Cleanup(func() { _ = m.Close() })
	return m
}

func (m *member) start() {
	m.t.Helper()
	var err error
	if m.Node, err = node.New(m.ctx, m.cfg); err != nil {
		m.t.Fatal(err)
	}
}

func (m *member) say(club protocol.ID, text string) {
	m.t.Helper()
	if _, err := m.Send(m.ctx, club, text); err != nil {
		m.t.Fatal(err)
	}
}

// texts is what a member reads.
func (m *member) texts(club protocol.ID) (out []string) {
	m.t.Helper()
	lines, _, err := m.Last(m.ctx, club, 0)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, l := range lines {
		if l.Kind == "text" {
			out = append(out, l.Text+l.Unreadable)
		}
	}
	return out
}

// Ana's disk is full while she sends, hears what Bo says, is to catch up, imports a file,
// and bans somebody, which rotates: everything that she does says that it is, nothing of
// what was there is lost, and with space again all of it works, and what Bo said comes.
func TestANodeOnAFullDisk(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	d := newVolume(t, "64m")
	home := filepath.Join(d.dir, "ana")
	create(t, home)
	s := open(t, home)
	ana, bo, cleo := newMember(t, ctx, "Ana", s), newMember(t, ctx, "Bo", nil), newMember(t, ctx, "Cleo", nil)
	club, err := ana.CreateGroup(ctx, "club")
	if err != nil {
		t.Fatal(err)
	}
	link, err := ana.Invite(ctx, club, node.InviteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []*member{bo, cleo} {
		if _, err := m.Join(ctx, link); err != nil {
			t.Fatal(err)
		}
	}
	ana.say(club, "before")
	if err := ana.WaitSync(ctx, club); err != nil {
		t.Fatal(err)
	}
	before := ana.texts(club)

	d.fill()
	for i := range 30 {
		bo.say(club, fmt.Sprint(i))
	}
	var file bytes.Buffer
	if _, err := bo.Export(ctx, club, &file, node.ExportOptions{}); err != nil {
		t.Fatal(err)
	}
	_, sent := ana.Send(ctx, club, "while it is full")
	_, banned := ana.Expel(ctx, club, "Cleo", node.ExpelOptions{})
	res, imported := ana.Import(ctx, bytes.NewReader(file.Bytes()))
	for name, err := range map[string]error{"send": sent, "ban": banned, "import": imported} {
		if !errors.Is(err, disk.ErrFull) {
			t.Errorf("%s on a full disk: %v; %+v", name, err, res)
		}
	}
	if got := ana.texts(club); !slices.Equal(got, before) {
		t.Errorf("on a full disk Ana reads %q, not %q", got, before)
	}
	if g, err := ana.GroupStatus(club); err != nil || !errors.Is(g.Failing, disk.ErrFull) || !errors.Is(ana.Status().Failing, disk.ErrFull) {
		t.Errorf("on a full disk Ana's status says %v, %v; %v", ana.Status().Failing, g.Failing, err)
	}
	if err := Space(home); !errors.Is(err, disk.ErrFull) {
		t.Errorf("on a full disk there is space: %v", err)
	}

	d.empty()
	res, err = ana.Import(ctx, bytes.NewReader(file.Bytes()))
	if err != nil || !res.Whole() {
		t.Errorf("import with space again: %+v, %v", res, err)
	}
	if err := errors.Join(ana.Status().Failing, Space(home)); err != nil {
		t.Errorf("with space again Ana's status says %v", err)
	}
	ana.say(club, "and on")
	if _, err := ana.Expel(ctx, club, "Cleo", node.ExpelOptions{}); err != nil {
		t.Errorf("ban with space again: %v", err)
	}
	bo.say(club, "to whom it is rotated")
	same := func() bool { a, b := ana.texts(club), bo.texts(club); return len(a) == 33 && slices.Equal(a, b) }
	for !same() {
		if ctx.Err() != nil {
			t.Fatalf("Ana reads %q, Bo %q", ana.texts(club), bo.texts(club))
		}
		time.Sleep(10 * time.Millisecond)
	}
	want := ana.texts(club)
	if err := errors.Join(ana.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	s = open(t, home)
	defer func() { _ = errors.Join(ana.Close(), s.Close()) }()
	ana.cfg.Datastore = s
	ana.start()
	if got := ana.texts(club); !slices.Equal(got, want) {
		t.Errorf("after a restart Ana reads %q, not %q", got, want)
	}
}

// Who joins on a full disk is told that it is, at once and not that nobody answers.
func TestJoinOnAFullDisk(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	d := newVolume(t, "64m")
	home := filepath.Join(d.dir, "ana")
	create(t, home)
	s := open(t, home)
	defer func() { _ = s.Close() }()
	ana, bo := newMember(t, ctx, "Ana", s), newMember(t, ctx, "Bo", nil)
	defer func() { _ = ana.Close() }()
	club, err := bo.CreateGroup(ctx, "club")
	if err != nil {
		t.Fatal(err)
	}
	link, err := bo.Invite(ctx, club, node.InviteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	bo.say(club, "hello")
	d.fill()
	if _, err := ana.Join(ctx, link); !errors.Is(err, disk.ErrFull) {
		t.Errorf("on a full disk Join says %v", err)
	}
	d.empty()
	if _, err := ana.Join(ctx, link); err != nil {
		t.Fatalf("with space again: %v", err)
	}
	for !slices.Equal(ana.texts(club), []string{"hello"}) {
		if ctx.Err() != nil {
			t.Fatalf("Ana reads %q", ana.texts(club))
		}
		time.Sleep(10 * time.Millisecond)
	}
}
