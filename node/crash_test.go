package node_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	cockroach "github.com/cockroachdb/pebble/v2"
	"github.com/ipfs/go-datastore"
	pebbleds "github.com/ipfs/go-ds-pebble"

	"github.com/p2pchat/p2pchat/internal/fixture/child"
	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

// openPebble opens the datastore that the program uses, on a real disk.
func openPebble(dir string) (*pebbleds.Datastore, error) {
	return pebbleds.NewDatastore(dir, pebbleds.WithPebbleOpts(&cockroach.Options{Logger: quietPebble{}}))
}

type quietPebble struct{}

func (quietPebble) Infof(string, ...any)  {}
func (quietPebble) Errorf(string, ...any) {}
func (quietPebble) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf(format, args...))
}

const (
	writers  = 3         // send at the same time, so that commits are shared
	writerIs = "ready "  // the writer's first line, before its group and link
	ackedIs  = "stored " // before the id of a message whose Send returned
)

// crashWriter is the child: it sends as fast as it can until it is killed, and says
// what it was promised.
func crashWriter(args []string) error {
	ctx := context.Background()
	ds, err := openPebble(args[0])
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
	fmt.Println(writerIs + group.Text(protocol.GroupPrefix) + " " + link)
	failed := make(chan error)
	for range writers {
		go func() {
			for i := 0; ; i++ {
				sent, err := n.Send(ctx, group, fmt.Sprintf("%d %s", i, strings.Repeat("x", i%500)))
				if err != nil {
					failed <- err
					return
				}
				fmt.Println(ackedIs + sent.ID.String())
			}
		}()
	}
	return <-failed
}

// Ana's process is killed at random moments while it sends as fast as it can. What
// Send returned for is on the disk, and no place of her chain is ever used twice:
// Bo, who hears of it over the network meanwhile, has no proof of a fork.
func TestKillLosesNoAcknowledgedMessage(t *testing.T) {
	cycles := 50
	if testing.Short() {
		cycles = 5
	}
	const seed = 7
	rng := rand.New(rand.NewPCG(seed, seed))
	dir := t.TempDir()
	bo := start(t, "Bo")
	var disk diskCheck
	for i := range cycles {
		ana := child.Start(t, "crash writer", dir)
		if i == 0 {
			group, link, _ := strings.Cut(strings.TrimPrefix(ana.Line(patience), writerIs), " ")
			if got := bo.join(link); got.Text(protocol.GroupPrefix) != group {
				t.Fatalf("Bo joined %s, not %s", got, group)
			} else {
				disk.group = got
			}
		}
		said := []string{""}
		for i%5 != 4 && !strings.HasPrefix(said[len(said)-1], ackedIs) { // every fifth is killed while it starts
			said = append(said, ana.Line(patience))
		}
		time.Sleep(time.Duration(rng.IntN(300)) * time.Millisecond)
		ana.Kill9()
		disk.check(t, dir, append(said, ana.Rest()...))
	}
	t.Logf("%d kills, %d acknowledged messages, chain of %d", cycles, disk.total, disk.end.Seq)

	// What Bo has of Ana is what Ana has.
	ana := child.Start(t, "crash writer", dir)
	for range 20 {
		ana.Line(patience)
	}
	bo.await(disk.group, disk.messages)
	ana.Kill9()
	disk.check(t, dir, ana.Rest())
	bo.sleep()
	store, room := openHistory(t, bo.cfg.Datastore, disk.group)
	defer store.Close()
	if forks, err := room.Forks(t.Context()); err != nil || len(forks) > 0 {
		t.Errorf("Bo has %d proofs that Ana's chain forked, %v", len(forks), err)
	}
	for _, v := range wholeChain(t, room, disk.dev, 1) {
		if !disk.has[v.ID()] {
			t.Errorf("Bo has message %d of Ana, which she does not have", v.Header().Seq)
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
	ds, err := openPebble(dir)
	if err != nil {
		t.Fatalf("after the kill: %v", err)
	}
	defer ds.Close()
	store, room := openHistory(t, ds, d.group)
	defer store.Close()
	if d.dev.IsZero() {
		d.has = make(map[protocol.ID]bool)
		for _, tip := range room.Tips() {
			if tip.Chain == protocol.Messages {
				d.dev = tip.Dev
			}
		}
	}
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
