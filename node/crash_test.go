package node_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-datastore"

	"github.com/p2pchat/p2pchat/internal/fixture/child"
	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
	"github.com/p2pchat/p2pchat/storage/disk"
)

const (
	writers = 3         // send at the same time, so that commits are shared
	readyIs = "ready "  // the child's first line, before its group, its device and a link
	ackedIs = "stored " // before the id of a message whose Send returned
	wholeIs = "whole "  // before how many messages of Bo an Import had when it returned
	viewIs  = "view "   // before what somebody reads
)

// What the child does until it is killed.
var tasks = map[string]func(ctx context.Context, n *node.Node, group protocol.ID, args []string) error{
	"send": sendAway, "receive": standBy, "sync": standBy, "import": importAway, "retract": retractAway, "rotate": rotateAway, "show": showAway,
}

// crashChild is the child: a node on a real disk, which does its task as fast as it can
// until it is killed, and says what it was promised.
func crashChild(args []string) error {
	ctx := context.Background()
	ds, err := disk.Open(args[0], disk.Options{})
	if err != nil {
		return err
	}
	n, err := node.New(ctx, node.Config{
		Name: "Ana", Datastore: ds, Listen: []string{"/ip4/127.0.0.1/tcp/0"}, DisableMDNS: true,
	})
	if err != nil {
		return err
	}
	group, link := protocol.ID{}, ""
	if all := n.Groups(); len(all) > 0 {
		group = all[0].ID
	} else {
		if group, err = n.CreateGroup(ctx, "club"); err != nil {
			return err
		}
		if link, err = n.Invite(ctx, group, node.InviteOptions{}); err != nil {
			return err
		}
	}
	dev := n.Device(group)
	fmt.Println(readyIs + group.Text(protocol.GroupPrefix) + " " + hex.EncodeToString(dev[:]) + " " + link)
	return tasks[args[1]](ctx, n, group, args[2:])
}

func say(ctx context.Context, n *node.Node, group protocol.ID, i int) (protocol.ID, error) {
	sent, err := n.Send(ctx, group, fmt.Sprintf("%d %s", i, strings.Repeat("x", i%500)))
	if err == nil {
		fmt.Println(ackedIs + sent.ID.String())
	}
	return sent.ID, err
}

func sendAway(ctx context.Context, n *node.Node, group protocol.ID, _ []string) error {
	failed := make(chan error)
	for range writers {
		go func() {
			for i := 0; ; i++ {
				if _, err := say(ctx, n, group, i); err != nil {
					failed <- err
					return
				}
			}
		}()
	}
	return <-failed
}

func standBy(context.Context, *node.Node, protocol.ID, []string) error { select {} }

func importAway(ctx context.Context, n *node.Node, group protocol.ID, args []string) error {
	for i := 0; ; i++ {
		file, err := os.Open(args[0])
		if err != nil {
			return err
		}
		res, err := n.Import(ctx, file)
		if err != nil {
			return err
		}
		if file.Close(); res.Whole() {
			fmt.Println(wholeIs + args[1])
		}
		if _, err := say(ctx, n, group, i); err != nil {
			return err
		}
	}
}

func retractAway(ctx context.Context, n *node.Node, group protocol.ID, _ []string) error {
	for i := 0; ; i++ {
		id, err := say(ctx, n, group, i)
		if err != nil {
			return err
		}
		if i%2 == 0 {
			if _, err := n.Retract(ctx, group, id, ""); err != nil {
				return err
			}
		}
	}
}

// rotateAway changes where the group meets a few times only: who misses too many changes
// is met by an invite.
func rotateAway(ctx context.Context, n *node.Node, group protocol.ID, _ []string) error {
	for i := 0; ; i++ {
		if err := n.Rotate(ctx, group, i%2 == 0 && i < 16, nil); err != nil {
			return err
		}
		if _, err := say(ctx, n, group, i); err != nil {
			return err
		}
	}
}

func showAway(ctx context.Context, n *node.Node, group protocol.ID, _ []string) error {
	for {
		view, err := viewOf(ctx, n, group)
		if err != nil {
			return err
		}
		fmt.Println(viewIs + view)
		time.Sleep(100 * time.Millisecond)
	}
}

// viewOf sums up what somebody reads, in its order.
func viewOf(ctx context.Context, n *node.Node, group protocol.ID) (string, error) {
	lines, _, err := n.Last(ctx, group, 0)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	for _, m := range lines {
		fmt.Fprintln(h, m.ID, m.Kind, m.From.Key, m.Text, m.Unreadable, m.Retracted)
	}
	return fmt.Sprintf("%d lines %x", len(lines), h.Sum(nil)[:8]), nil
}

// Ana's process is killed at random moments: while it starts, sends, hears what Bo says,
// catches up with what he said while she was away, reads a file of his, takes back what
// she said, and rotates. What Send or Import returned for is on the disk, no place of her
// chain is ever used twice, and in the end both read the same. P2PCHAT_KILLS says how
// often she is killed.
func TestKillLosesNothingThatWasAcknowledged(t *testing.T) {
	cycles := 50
	if testing.Short() {
		cycles = 8
	}
	if text := os.Getenv("P2PCHAT_KILLS"); text != "" {
		cycles = int(parse(t, text))
	}
	const seed = 7
	k := &killing{t: t, rng: rand.New(rand.NewPCG(seed, seed)), dir: t.TempDir(), bo: start(t, "Bo")}
	k.file = filepath.Join(t.TempDir(), "bundle")
	k.begin()
	for i := range cycles {
		k.cycle([]string{"send", "receive", "sync", "import", "retract", "rotate"}[i%6])
	}
	t.Logf("%d kills, of them %d before it ran; %d acknowledged messages, chain of %d, %d files imported whole", cycles, k.early, k.disk.total, k.disk.end.Seq, k.wholes)
	k.end()
}

// killing is a run of kills.
type killing struct {
	t         *testing.T
	rng       *rand.Rand
	dir, file string
	bo        *person
	said      int // by Bo
	disk      diskCheck
	early     int
	wholes    int
}

func (k *killing) begin() {
	ana := child.Start(k.t, "crash child", k.dir, "receive")
	f := strings.Fields(strings.TrimPrefix(ana.Line(patience), readyIs))
	k.disk.group = k.bo.join(f[2])
	if k.disk.group.Text(protocol.GroupPrefix) != f[0] {
		k.t.Fatalf("Bo joined %s, not %s", k.disk.group, f[0])
	}
	dev, err := hex.DecodeString(f[1])
	if err != nil {
		k.t.Fatal(err)
	}
	k.disk.dev, k.disk.has = protocol.Key(dev), make(map[protocol.ID]bool)
	ana.Kill9()
	k.disk.check(k.t, k.dir, ana.Rest())
}

func (k *killing) boSays(count int) {
	for range count {
		k.said++
		k.bo.send(k.disk.group, fmt.Sprintf("Bo %d", k.said))
	}
}

// cycle starts Ana with a task, kills her, and looks at her disk.
func (k *killing) cycle(task string) {
	args := []string{k.dir, task}
	switch task {
	case "sync":
		k.boSays(300)
	case "import": // and Bo is not to be reached
		k.boSays(100)
		k.export()
		k.bo.sleep()
		args = append(args, k.file, strconv.Itoa(k.said))
	}
	ana := child.Start(k.t, "crash child", args...)
	if k.rng.IntN(8) == 0 {
		k.early++
	} else {
		ana.Line(patience)
	}
	for end := time.Now().Add(time.Duration(k.rng.IntN(300)) * time.Millisecond); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if task == "receive" {
			k.boSays(1)
		}
	}
	ana.Kill9()
	said := ana.Rest()
	k.disk.check(k.t, k.dir, said)
	k.checkImport(said)
	if k.bo.Node == nil {
		k.bo.wake()
	}
}

func (k *killing) export() {
	f, err := os.Create(k.file)
	if err != nil {
		k.t.Fatal(err)
	}
	if _, err := k.bo.Export(ctx(k.t), k.disk.group, f, node.ExportOptions{}); err != nil {
		k.t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		k.t.Fatal(err)
	}
}

// checkImport: what Import returned for is on the disk.
func (k *killing) checkImport(said []string) {
	i := slices.IndexFunc(said, func(line string) bool { return strings.HasPrefix(line, wholeIs) })
	if i < 0 {
		return
	}
	k.wholes++
	want, err := strconv.Atoi(strings.TrimPrefix(said[i], wholeIs))
	if err != nil {
		k.t.Fatal(err)
	}
	ds, err := disk.Open(k.dir, disk.Options{})
	if err != nil {
		k.t.Fatal(err)
	}
	defer ds.Close()
	store, room := openHistory(k.t, ds, k.disk.group)
	defer store.Close()
	k.bo.wake()
	if have := len(wholeChain(k.t, room, k.bo.Device(k.disk.group), 1)); have < want {
		k.t.Errorf("an import of %d messages was acknowledged, and %d are on the disk", want, have)
	}
}

// end lets Ana run until both read the same, and looks for forks.
func (k *killing) end() {
	ana := child.Start(k.t, "crash child", k.dir, "show")
	ana.Line(patience)
	hers, his := "", ""
	k.t.Cleanup(func() {
		if k.t.Failed() {
			k.t.Logf("Ana last read %q, Bo %q", hers, his)
		}
	})
	eventually(k.t, "Ana and Bo read the same", func() bool {
		view, err := viewOf(ctx(k.t), k.bo.Node, k.disk.group)
		hers, his = ana.Line(patience), viewIs+view
		return err == nil && hers == his
	})
	ana.Kill9()
	k.disk.check(k.t, k.dir, ana.Rest())
	k.bo.sleep()
	store, room := openHistory(k.t, k.bo.cfg.Datastore, k.disk.group)
	defer store.Close()
	if forks, err := room.Forks(k.t.Context()); err != nil || len(forks) > 0 {
		k.t.Errorf("Bo has %d proofs that Ana's chain forked, %v", len(forks), err)
	}
	all := wholeChain(k.t, room, k.disk.dev, 1)
	if len(all) != k.disk.messages {
		k.t.Errorf("Bo has %d messages of Ana, she has %d", len(all), k.disk.messages)
	}
	for _, v := range all {
		if !k.disk.has[v.ID()] {
			k.t.Errorf("Bo has message %d of Ana, which she does not have", v.Header().Seq)
		}
	}
}

// diskCheck follows a chain on disk from kill to kill.
type diskCheck struct {
	group    protocol.ID
	dev      protocol.Key
	end      protocol.Tip         // as it was after the last kill
	has      map[protocol.ID]bool // all messages ever seen on disk
	messages int
	total    int // acknowledged
}

func (d *diskCheck) check(t *testing.T, dir string, said []string) {
	t.Helper()
	ds, err := disk.Open(dir, disk.Options{})
	if err != nil {
		t.Fatalf("after the kill: %v", err)
	}
	defer ds.Close()
	store, room := openHistory(t, ds, d.group)
	defer store.Close()
	for _, v := range wholeChain(t, room, d.dev, d.end.Seq+1) {
		if h := v.Header(); h.Seq != d.end.Seq+1 || h.Prev != d.end.ID {
			t.Fatalf("after message %d comes %d, which follows %s and not %s", d.end.Seq, h.Seq, h.Prev, d.end.ID)
		}
		d.end = v.Tip()
		d.has[v.ID()] = true
		d.messages++
	}
	for _, line := range said {
		if text, ok := strings.CutPrefix(line, ackedIs); ok {
			d.total++
			if id, err := protocol.ParseID(protocol.EventPrefix, text); err != nil || !d.has[id] {
				t.Errorf("message %s was acknowledged and is lost (%v)", text, err)
			}
		}
	}
	if forks, err := room.Forks(t.Context()); err != nil || len(forks) > 0 {
		t.Errorf("Ana's own disk holds %d fork proofs, %v", len(forks), err)
	}
}

func openHistory(t *testing.T, ds datastore.Batching, group protocol.ID) (*storage.Store, *storage.Room) {
	t.Helper()
	store, err := storage.Open(t.Context(), ds)
	if err != nil {
		t.Fatal(err)
	}
	room, err := store.Room(t.Context(), group)
	if err != nil {
		t.Fatal(errors.Join(err, store.Close()))
	}
	return store, room
}

func wholeChain(t *testing.T, room *storage.Room, dev protocol.Key, from uint64) []protocol.Verified {
	t.Helper()
	var all []protocol.Verified
	for {
		page, err := room.Chain(t.Context(), dev, protocol.Messages, from, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			return all
		}
		all = slices.Concat(all, page)
		from = page[len(page)-1].Header().Seq + 1
	}
}
