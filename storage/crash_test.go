package storage_test

import (
	"math/rand/v2"
	"testing"

	cockroach "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/ipfs/go-datastore"
	pebbleds "github.com/ipfs/go-ds-pebble"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

func pebbleOn(t testing.TB, fs vfs.FS) *pebbleds.Datastore {
	t.Helper()
	ds, err := pebbleds.NewDatastore("db", pebbleds.WithPebbleOpts(&cockroach.Options{FS: fs, Logger: silent{}}))
	if err != nil {
		t.Fatal(err)
	}
	return ds
}

type silent struct{}

func (silent) Infof(string, ...any)  {}
func (silent) Errorf(string, ...any) {}
func (silent) Fatalf(format string, args ...any) {
	panic(format)
}

// The disk is copied as it would be after a power cut, at random moments, while
// writers write: everything acknowledged by then is in the copy.
func TestPebbleCrash(t *testing.T) {
	rounds := 8
	if testing.Short() {
		rounds = 1
	}
	for round := range rounds {
		crashRound(t, rand.New(rand.NewPCG(uint64(round), 4)), 40)
	}
}

func crashRound(t *testing.T, rng *rand.Rand, points int) {
	fs := vfs.NewCrashableMem()
	ds := pebbleOn(t, fs)
	defer ds.Close()
	h := newHistory(rng)
	s := open(t, ds, storage.WithClock(h.clock.now))
	defer func() { s.Close() }()
	r := room(t, s)
	for i := range points {
		if i%20 == 19 { // crash after clean ends as well, and with short chains
			s.Close()
			s = open(t, ds, storage.WithClock(h.clock.now))
			r = room(t, s)
			h.writer = newHistory(rng).writer
		}
		for range rng.IntN(3) {
			h.write(r)
			h.resume(r)
		}
		inFlight := h.writer[0].run(3, 5000)
		for _, v := range inFlight {
			h.tried[v.ID()] = v
		}
		commit := r.Append(inFlight)
		if rng.IntN(2) == 0 {
			put(t, r)
		}
		copied := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(3) * 50, RNG: rng})
		afterCrash(t, copied, h, i%20 == 10)
		if err := commit.Wait(ctx); err != nil {
			t.Fatal(err)
		}
		for _, v := range inFlight {
			h.acked[v.ID()] = true
		}
		h.resume(r)
	}
}

func afterCrash(t *testing.T, fs vfs.FS, h *history, thorough bool) {
	t.Helper()
	ds := pebbleOn(t, fs)
	defer ds.Close()
	s := must(storage.Open(ctx, datastore.Batching(ds)))
	defer s.Close()
	r := room(t, s)
	if thorough {
		seen := *h
		seen.seen = make(map[uint64]protocol.ID)
		seen.check(t, r)
		return
	}
	held := make(map[protocol.ID]bool)
	for _, e := range must(r.After(ctx, 0, storage.MaxPage)) {
		held[e.Event.ID()] = true
	}
	for id := range h.acked {
		if !held[id] {
			t.Fatal("acknowledged, and lost")
		}
	}
}
