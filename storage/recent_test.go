package storage_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"

	"github.com/p2pchat/p2pchat/storage"
)

// reads counts gets and queries.
type reads struct {
	datastore.Batching
	n atomic.Int64
}

func (r *reads) Get(ctx context.Context, k datastore.Key) ([]byte, error) {
	r.n.Add(1)
	return r.Batching.Get(ctx, k)
}

func (r *reads) Query(ctx context.Context, q query.Query) (query.Results, error) {
	r.n.Add(1)
	return r.Batching.Query(ctx, q)
}

// after reads the log from a cursor to its end, and says whether that took the disk.
func (r *reads) after(t *testing.T, room *storage.Room, cursor uint64) (list []storage.Entry, disk bool) {
	t.Helper()
	before := r.n.Load()
	for {
		page, err := room.After(ctx, cursor, 100)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			return list, r.n.Load() > before
		}
		list, cursor = append(list, page...), page[len(page)-1].Cursor
	}
}

func sameEntries(a, b []storage.Entry) bool {
	return slices.EqualFunc(a, b, func(a, b storage.Entry) bool {
		return a.Cursor == b.Cursor && a.Event.ID() == b.Event.ID() && bytes.Equal(a.Event.Wire(), b.Event.Wire())
	})
}

// What was committed a moment ago is read as the disk has it, without the disk: erased,
// put back, or come again because the disk lost it.
func TestFollowingTakesNoDisk(t *testing.T) {
	ds := &reads{Batching: memory(t)}
	s := open(t, ds)
	r := room(t, s)
	ana := newDevice()
	all := ana.run(150, 1)
	for _, v := range all {
		put(t, r, v)
	}
	check := func(when string, fromDisk bool) {
		t.Helper()
		list, disk := ds.after(t, r, 0)
		again := open(t, ds.Batching)
		if want, _ := ds.after(t, room(t, again), 0); !sameEntries(list, want) || disk != fromDisk {
			t.Fatalf("%s: %d entries, %d on the disk, which was read: %v", when, len(list), len(want), disk)
		}
	}
	check("stored", false)
	mustCommit(t, r.Erase(all[0].ID(), all[70].ID(), all[149].ID()))
	check("erased", false)
	if list, _ := ds.after(t, r, 0); list[70].Event.Whole() {
		t.Fatal("what is erased is still here")
	}
	mustCommit(t, r.Restore(all[70]))
	check("put back", false)
	if err := ds.Put(ctx, datastore.RawKey(logKey(t, ds, all[5])), []byte("garbage")); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Get(ctx, all[5].ID()); !errors.Is(err, storage.ErrDamaged) {
		t.Fatal(err)
	}
	put(t, r, all[5])
	check("come again", false)
	long := ana.say(1000, strings.Repeat("x", 4000))
	put(t, r, long.Erased())
	check("come erased", false)
	mustCommit(t, r.Restore(long))
	check("put back, and long", true)
}

// What is long, or came long ago, is read from the disk.
func TestRecentEntriesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ds := &reads{Batching: memory(t)}
		s := open(t, ds)
		r := room(t, s)
		ana := newDevice()
		all := ana.run(50, 1)
		put(t, r, append(all, ana.say(100, strings.Repeat("x", 4000)))...)
		put(t, r, ana.run(50, 200)...)
		if list, disk := ds.after(t, r, 0); len(list) != 101 || !disk {
			t.Fatalf("%d of 101, from the disk: %v", len(list), disk)
		}
		if list, disk := ds.after(t, r, 51); len(list) != 50 || disk {
			t.Fatalf("%d of the newest, from the disk: %v", len(list), disk)
		}
		time.Sleep(time.Minute)
		if list, disk := ds.after(t, r, 51); len(list) != 50 || !disk {
			t.Fatalf("%d after a minute, from the disk: %v", len(list), disk)
		}
		put(t, r, ana.at(300))
		if list, disk := ds.after(t, r, 101); len(list) != 1 || disk {
			t.Fatalf("%d after it woke, from the disk: %v", len(list), disk)
		}
	})
}

func mustCommit(t *testing.T, c *storage.Commit) {
	t.Helper()
	if err := c.Wait(ctx); err != nil {
		t.Fatal(err)
	}
}
