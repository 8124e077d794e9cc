package node_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/ipfs/go-datastore"

	"github.com/p2pchat/p2pchat/node"

	"github.com/p2pchat/p2pchat/storage"
)

// A stuckDisk keeps a commit of an event waiting until it is let go, and fails it then.
type stuckDisk struct {
	datastore.Batching
	stuck chan chan struct{} // the next is kept until the channel is closed
}

func (d *stuckDisk) Batch(c context.Context) (datastore.Batch, error) {
	b, err := d.Batching.Batch(c)
	return &stuckBatch{Batch: b, disk: d}, err
}

type stuckBatch struct {
	datastore.Batch
	disk  *stuckDisk
	event bool // it has one
}

func (b *stuckBatch) Put(c context.Context, k datastore.Key, v []byte) error {
	b.event = b.event || strings.HasPrefix(k.String(), "/e/")
	return b.Batch.Put(c, k, v)
}

func (b *stuckBatch) Commit(c context.Context) error {
	if !b.event {
		return b.Batch.Commit(c)
	}
	select {
	case release := <-b.disk.stuck:
		<-release
		return errDisk
	default:
		return b.Batch.Commit(c)
	}
}

// A writer gives up before the disk fails: what is not stored is told to nobody, or what
// is said next in its place would fork the chain.
func TestWhoGaveUpIsNotToldWhenTheDiskFails(t *testing.T) {
	disk := &stuckDisk{Batching: storage.NewMemory(), stuck: make(chan chan struct{}, 1)}
	ana, bo := start(t, "Ana", func(c *node.Config) { c.Datastore = disk }), start(t, "Bo")
	club := ana.create("club")
	bo.join(ana.invite(club, node.InviteOptions{}))
	ana.send(club, "one")
	bo.await(club, 1)
	agree(t, club, 1, ana, bo)
	release := make(chan struct{})
	disk.stuck <- release
	giveUp, cancel := context.WithCancel(ctx(t))
	gone := make(chan error)
	go func() {
		_, err := ana.Send(giveUp, club, "two")
		gone <- err
	}()
	eventually(t, "the disk has it", func() bool { return len(disk.stuck) == 0 })
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	close(release)
	eventually(t, "the disk takes another", func() bool { _, err := ana.Send(ctx(t), club, "three"); return err == nil })
	bo.await(club, 2)
	agree(t, club, 2, ana, bo)
	bo.reads(club, "one", "three")
	if forks := bo.forks(club); len(forks) > 0 {
		t.Errorf("Bo sees forks: %q", forks)
	}
}
