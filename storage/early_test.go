package storage_test

import (
	"context"
	"maps"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipfs/go-datastore"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

// slow is a disk that takes its time.
type slow struct {
	*torn
	armed   atomic.Bool
	syncing chan map[datastore.Key][]byte // what a power cut would leave
	release chan struct{}
}

func (d *slow) Sync(ctx context.Context, k datastore.Key) error {
	d.mu.Lock()
	left := maps.Clone(d.durable)
	d.mu.Unlock()
	if d.armed.Load() {
		d.syncing <- left
		<-d.release
	}
	return d.torn.Sync(ctx, k)
}

// What others made is shown before the disk has it, what is made here is not. Where a
// power cut takes it back, its cursor is not given to anything else.
func TestShownBeforeSync(t *testing.T) {
	disk := &slow{torn: newTorn(rand.New(rand.NewPCG(1, 1)), make(map[datastore.Key][]byte), -1), syncing: make(chan map[datastore.Key][]byte), release: make(chan struct{})}
	r := room(t, open(t, disk))
	d, own := newDevice(), newDevice()
	put(t, r, d.run(2, 100)...) // the first reserves cursors
	changed := r.Changed()
	disk.armed.Store(true)
	shown := d.at(200)
	commit := r.Receive([]protocol.Verified{shown})
	r.Append([]protocol.Verified{own.at(201)})
	left := <-disk.syncing
	<-changed
	e, err := r.Get(ctx, shown.ID())
	if err != nil {
		t.Fatal(err)
	}
	if got := scan(t, r); len(got) != 3 {
		t.Fatalf("%d are shown", len(got))
	}
	timeout, cancel := context.WithCancel(ctx)
	cancel()
	if commit.Wait(timeout) == nil {
		t.Fatal("it is called durable before it is")
	}
	s := must(storage.Open(ctx, newTorn(rand.New(rand.NewPCG(1, 1)), left, -1)))
	defer s.Close()
	after := room(t, s)
	other := newDevice().at(300)
	put(t, after, other)
	if got := must(after.Get(ctx, other.ID())).Cursor; got <= e.Cursor || after.Count() != 3 {
		t.Fatalf("cursor %d after %d, %d events", got, e.Cursor, after.Count())
	}
	if got := must(after.After(ctx, e.Cursor-1, 10)); len(got) != 1 || got[0].Event.ID() != other.ID() {
		t.Fatalf("a follower reads %d", len(got))
	}
	if n := len(scan(t, r)); n != 3 {
		t.Fatalf("%d are shown: one of them was made here", n)
	}
	disk.armed.Store(false)
	close(disk.release)
	if err := commit.Wait(ctx); err != nil {
		t.Fatal(err)
	}
}

// syncs counts a disk's fsyncs.
type syncs struct {
	datastore.Batching
	count atomic.Int64
}

func (d *syncs) Sync(ctx context.Context, k datastore.Key) error {
	d.count.Add(1)
	return d.Batching.Sync(ctx, k)
}

// What others made is not synced one by one: it waits for what is made here, or for
// somebody who has to know, and then not long.
func TestWhatOthersMadeSharesASync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &syncs{Batching: memory(nil)}
		s := must(storage.Open(ctx, disk))
		defer s.Close()
		r := room(t, s)
		d, own := newDevice(), newDevice()
		put(t, r, d.run(2, 100)...) // the first reserves cursors, and makes a checkpoint
		put(t, r, own.at(101))
		receive := func(count int) (last *storage.Commit) {
			t.Helper()
			for range count {
				v := d.at(200)
				last = r.Receive([]protocol.Verified{v})
				synctest.Wait()
				if _, err := r.Get(ctx, v.ID()); err != nil {
					t.Fatal("it is not shown:", err)
				}
			}
			return last
		}
		for what, done := range map[string]func(last *storage.Commit) error{
			"somebody asks":          func(last *storage.Commit) error { return last.Wait(ctx) },
			"something is made here": func(*storage.Commit) error { return r.Append([]protocol.Verified{own.at(300)}).Wait(ctx) },
			"a moment passes":        func(*storage.Commit) error { time.Sleep(time.Second); return nil },
		} {
			before := disk.count.Load()
			last := receive(10)
			if n := disk.count.Load() - before; n != 0 {
				t.Errorf("%s: %d syncs before", what, n)
			}
			if err := done(last); err != nil {
				t.Error(what, err)
			}
			synctest.Wait()
			if n := disk.count.Load() - before; n != 1 {
				t.Errorf("%s: %d syncs for 10 events", what, n)
			}
			giveUp, cancel := context.WithCancel(ctx)
			cancel()
			if err := last.Wait(giveUp); err != nil {
				t.Errorf("%s, and it is not durable: %v", what, err)
			}
		}
	})
}
