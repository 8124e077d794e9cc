package storage_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"strconv"
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
	ds, err := pebbleds.NewDatastore("db", pebbleds.WithPebbleOpts(&cockroach.Options{FS: fs, Logger: silent{}, MemTableSize: 128 << 10}))
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

// crashPoints is how many crashes there are: P2PCHAT_CRASH_POINTS=10000 for the
// published run.
func crashPoints(t *testing.T) int {
	n, err := strconv.Atoi(os.Getenv("P2PCHAT_CRASH_POINTS"))
	switch {
	case err == nil:
		return n
	case testing.Short():
		return 100
	}
	return 500
}

// perRound is how many crashes a history lives through. The next begins from nothing,
// with the next seed.
const perRound = 20

// The disk is copied as it would be after a power cut, at random moments, while
// writers write: everything acknowledged by then is in the copy, and what else is
// there is whole.
func TestPebbleCrash(t *testing.T) {
	rounds := (crashPoints(t) + perRound - 1) / perRound
	for seed := range rounds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			crashRound(t, uint64(seed))
		})
	}
}

func crashRound(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 4))
	fs := vfs.NewCrashableMem()
	ds := pebbleOn(t, fs)
	defer ds.Close()
	h := newHistory(rng)
	s := open(t, ds, storage.WithClock(h.clock.now))
	defer func() { s.Close() }()
	r := room(t, s)
	for i := range perRound {
		if i%8 == 7 { // crash after clean ends as well, and with short chains
			s.Close()
			s = open(t, ds, storage.WithClock(h.clock.now))
			r = room(t, s)
			h.writer = newHistory(rng).writer
		}
		if rng.IntN(2) == 0 {
			h.write(r)
			h.resume(r)
		}
		inFlight := h.writer[0].run(3, 5000)
		for _, v := range inFlight {
			h.try(v)
		}
		commit := r.Receive(inFlight)
		if rng.IntN(2) == 0 {
			put(t, r)
		}
		h.look(r)
		copied := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(3) * 50, RNG: rng})
		afterCrash(t, copied, h, i%10 == 6)
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
		seen.seen = maps.Clone(h.seen)
		seen.check(t, r)
		return
	}
	held := make(map[protocol.ID]bool)
	for _, e := range must(r.After(ctx, 0, storage.MaxPage)) {
		held[e.Event.ID()] = true
		if id, ok := h.seen[e.Cursor]; ok && id != e.Event.ID() {
			t.Fatalf("cursor %d names another event", e.Cursor)
		}
	}
	for id := range h.acked {
		if !held[id] {
			t.Fatal("acknowledged, and lost")
		}
	}
}
