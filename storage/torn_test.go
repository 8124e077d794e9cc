package storage_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	"pgregory.net/rapid"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

var errDead = errors.New("the process is dead")

// torn is a datastore whose batches are not atomic and whose writes are durable
// only once synced. It dies at a chosen call of Commit or Sync; what it has not
// synced by then is kept or lost write by write.
type torn struct {
	datastore.Batching // what readers see

	mu      sync.Mutex
	rng     *rand.Rand
	durable map[datastore.Key][]byte
	dirty   map[datastore.Key][]byte // nil is a delete
	life    int                      // calls until it dies
	dead    bool
	fail    func() error // what a commit fails with, having written some of it
	lose    func() error // what a sync fails with
}

func newTorn(rng *rand.Rand, disk map[datastore.Key][]byte, life int) *torn {
	own := rand.New(rand.NewPCG(rng.Uint64(), 0)) // the committer's, not the test's
	d := &torn{Batching: memory(nil), rng: own, durable: maps.Clone(disk), dirty: make(map[datastore.Key][]byte), life: life}
	for k, v := range disk {
		_ = d.Batching.Put(ctx, k, v)
	}
	return d
}

// tick counts down to the crash, and crashes.
func (d *torn) tick() error {
	if d.dead {
		return errDead
	}
	if d.life--; d.life != 0 {
		return nil
	}
	d.dead = true
	d.keep(0.5)
	return errDead
}

// keep makes a part of the dirty writes durable.
func (d *torn) keep(share float64) {
	for k, v := range d.dirty {
		switch {
		case d.rng.Float64() > share:
		case v == nil:
			delete(d.durable, k)
		default:
			d.durable[k] = v
		}
	}
	clear(d.dirty)
}

func (d *torn) Sync(context.Context, datastore.Key) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.tick(); err != nil {
		return err
	}
	if d.lose != nil {
		if err := d.lose(); err != nil {
			return err
		}
	}
	d.keep(1)
	return nil
}

func (d *torn) Get(ctx context.Context, k datastore.Key) ([]byte, error) {
	if d.isDead() {
		return nil, errDead
	}
	return d.Batching.Get(ctx, k)
}

func (d *torn) Query(ctx context.Context, q query.Query) (query.Results, error) {
	if d.isDead() {
		return nil, errDead
	}
	return d.Batching.Query(ctx, q)
}

func (d *torn) isDead() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dead
}

func (d *torn) Put(ctx context.Context, k datastore.Key, v []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dirty[k] = v
	return d.Batching.Put(ctx, k, v)
}

func (d *torn) Batch(context.Context) (datastore.Batch, error) {
	return &tornBatch{d, make(map[datastore.Key][]byte)}, nil
}

type tornBatch struct {
	d   *torn
	ops map[datastore.Key][]byte
}

func (b *tornBatch) Put(_ context.Context, k datastore.Key, v []byte) error {
	b.ops[k] = append([]byte{}, v...)
	return nil
}

func (b *tornBatch) Delete(_ context.Context, k datastore.Key) error { b.ops[k] = nil; return nil }

func (b *tornBatch) Commit(ctx context.Context) error {
	d := b.d
	d.mu.Lock()
	defer d.mu.Unlock()
	var failure error
	if d.fail != nil {
		failure = d.fail()
	}
	for k, v := range b.ops {
		if failure != nil && d.rng.IntN(2) == 0 {
			continue
		}
		d.dirty[k] = v
		if v == nil {
			_ = d.Batching.Delete(ctx, k)
		} else {
			_ = d.Batching.Put(ctx, k, v)
		}
	}
	return errors.Join(failure, d.tick())
}

// life of a node that crashes again and again.
type history struct {
	rng    *rand.Rand
	writer []*device
	tried  map[protocol.ID]protocol.Verified
	acked  map[protocol.ID]bool
	seen   map[uint64]protocol.ID // what a follower was shown
	bare   map[protocol.ID]bool   // erased and acknowledged
	either map[protocol.ID]bool   // whole or erased: nobody was told which
	when   map[protocol.ID]int64  // it was appended
	clock  *clock

	follower uint64 // its cursor
}

// write appends from random devices, forks and bad clocks among them.
func (h *history) write(r *storage.Room) {
	type sent struct {
		events []protocol.Verified
		commit *storage.Commit
	}
	var all []sent
	for range 1 + h.rng.IntN(8) {
		d := h.writer[h.rng.IntN(len(h.writer))]
		if h.rng.IntN(8) == 0 {
			d = d.clone()
		}
		var events []protocol.Verified
		for range 1 + h.rng.IntN(3) {
			hlc := 1000 + h.rng.Uint64N(50)
			switch h.rng.IntN(6) {
			case 0:
				events = append(events, d.leave(hlc))
			case 1:
				events = append(events, d.about(protocol.KindRetract, protocol.ID{byte(h.rng.IntN(4)) + 1}, hlc))
			default:
				events = append(events, d.at(hlc))
			}
		}
		h.scramble(&events)
		h.clock.turn(h.rng.Int64N(200))
		for _, v := range events {
			h.try(v)
		}
		how := r.Append
		if h.rng.IntN(2) == 0 {
			how = r.Receive
		}
		all = append(all, sent{events, how(events)})
	}
	h.look(r)
	for _, s := range all {
		if s.commit.Wait(ctx) == nil {
			for _, v := range s.events {
				h.acked[v.ID()] = true
			}
		}
	}
	h.look(r)
	h.erase(r)
}

// writeLate receives one thing after another and waits for none: what is written is not
// synced yet.
func (h *history) writeLate(r *storage.Room) {
	for range 1 + h.rng.IntN(4) {
		events := h.writer[h.rng.IntN(len(h.writer))].run(1+h.rng.IntN(3), 1000+h.rng.Uint64N(50))
		h.scramble(&events)
		h.clock.turn(h.rng.Int64N(200))
		for _, v := range events {
			h.try(v)
		}
		changed := r.Changed()
		if !r.Receive(events).Failed() {
			select {
			case <-changed:
			case <-time.After(2 * time.Millisecond): // it died
			}
		}
		h.look(r)
	}
}

// look follows the log, durable or not.
func (h *history) look(r *storage.Room) {
	entries, _ := r.After(ctx, h.follower, storage.MaxPage)
	for _, e := range entries {
		h.seen[e.Cursor], h.follower = e.Event.ID(), e.Cursor
	}
}

// scramble makes holes in what is written, if it is messages: one comes too late, or not
// at all.
func (h *history) scramble(events *[]protocol.Verified) {
	list := *events
	control := func(v protocol.Verified) bool { return v.Header().Chain == protocol.Control }
	if len(list) < 2 || slices.ContainsFunc(list, control) {
		return
	}
	switch h.rng.IntN(4) {
	case 0:
		slices.Reverse(list)
	case 1:
		*events = slices.Delete(list, 0, 1)
	}
}

// try notes that an event is about to be appended. Two copies of a device may write
// the same control event: it then came at either time.
func (h *history) try(v protocol.Verified) {
	_, twice := h.tried[v.ID()]
	h.tried[v.ID()], h.when[v.ID()] = v, h.clock.seconds()
	if twice {
		delete(h.when, v.ID())
	}
}

// erase erases some of what was written, and what is being written, and restores
// some of it.
func (h *history) erase(r *storage.Room) {
	var picked []protocol.Verified
	entries, _ := r.After(ctx, 0, storage.MaxPage)
	for _, e := range entries {
		if e.Event.Header().Chain == protocol.Messages && h.rng.IntN(8) == 0 {
			picked = append(picked, h.tried[e.Event.ID()])
		}
	}
	v := h.writer[0].at(1000 + h.rng.Uint64N(50))
	h.try(v)
	commits := []*storage.Commit{r.Append([]protocol.Verified{v}), r.Erase(append(ids(picked...), v.ID())...)}
	picked = append(picked, v)
	back := picked[:h.rng.IntN(len(picked)+1)]
	for _, v := range back {
		commits = append(commits, r.Restore(v))
	}
	acked := true
	for _, c := range commits {
		acked = c.Wait(ctx) == nil && acked
	}
	if acked {
		h.acked[v.ID()] = true
	}
	for i, v := range picked {
		h.either[v.ID()] = !acked
		h.bare[v.ID()] = acked && i >= len(back)
	}
}

// checkCopies holds after a crash: of each event there is the whole copy or the
// erased one, the one that was acknowledged if one was.
func (h *history) checkCopies(t tester, held []protocol.Verified) {
	t.Helper()
	for _, v := range held {
		tried, bare := h.tried[v.ID()], h.bare[v.ID()]
		if !v.Whole() {
			tried, bare = tried.Erased(), !bare
		}
		if !bytes.Equal(v.Wire(), tried.Wire()) || bare && !h.either[v.ID()] {
			t.Fatalf("seq %d: whole %v, erased for good %v", v.Header().Seq, v.Whole(), h.bare[v.ID()])
		}
	}
}

// checkArrivals holds after a crash: of what was acknowledged, when it came is
// known to five minutes.
func (h *history) checkArrivals(t tester, r *storage.Room) {
	t.Helper()
	for _, e := range must(r.After(ctx, 0, storage.MaxPage)) {
		when, known := h.when[e.Event.ID()]
		if since := when - r.Arrived(e.Cursor).Unix(); known && h.acked[e.Event.ID()] && (since < 0 || since >= 300) {
			t.Fatalf("cursor %d: the mark is %d seconds old", e.Cursor, since)
		}
	}
}

// check holds after a crash: what was acknowledged is there by every path, and of
// the rest each is there wholly or not at all.
func (h *history) check(t tester, r *storage.Room) {
	t.Helper()
	var held []protocol.Verified
	for _, e := range must(r.After(ctx, 0, storage.MaxPage)) {
		held = append(held, e.Event)
		if id, ok := h.seen[e.Cursor]; ok && id != e.Event.ID() {
			t.Fatalf("cursor %d names another event", e.Cursor)
		}
		h.seen[e.Cursor] = e.Event.ID()
	}
	if int(r.Count()) != len(held) {
		t.Fatalf("count %d of %d", r.Count(), len(held))
	}
	found(t, r, held)
	checkSet(t, r, rand.New(rand.NewPCG(uint64(len(held)), 0)))
	checkHoles(t, r, slices.Collect(maps.Values(h.tried)))
	h.checkCopies(t, held)
	checkAbout(t, r, held, true)
	h.checkArrivals(t, r)
	got := display(t, r, 1000)
	in := make(map[protocol.ID]bool)
	controls := 0
	for _, v := range held {
		in[v.ID()] = true
		if v.Header().Chain == protocol.Control {
			controls++
		}
	}
	if n := len(must(r.Control(ctx))); n != controls {
		t.Fatalf("%d control events of %d", n, controls)
	}
	for id := range h.acked {
		if !in[id] {
			t.Fatalf("acknowledged, and lost: seq %d", h.tried[id].Header().Seq)
		}
	}
	for id := range h.tried {
		if _, err := r.Get(ctx, id); in[id] != (err == nil) {
			t.Fatalf("half there: %v", err)
		}
	}
	if len(got) != len(held) {
		t.Fatalf("%d displayed of %d", len(got), len(held))
	}
	// A room that never crashed shows the same.
	s := must(storage.Open(ctx, memory(nil)))
	defer s.Close()
	fresh := room(t, s)
	if err := fresh.Receive(held).Wait(ctx); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, display(t, fresh, 1000)) {
		t.Fatal("the crash changed the display order")
	}
	if !slices.Equal(r.Tips(), fresh.Tips()) {
		t.Fatal("the crash changed the tips")
	}
}

// resume continues each device's chains after what was kept.
func (h *history) resume(r *storage.Room) {
	for _, d := range h.writer {
		for _, tip := range []*protocol.Tip{&d.prev, &d.ctl} {
			at, ok := r.Tip(tip.Dev, tip.Chain)
			if !ok {
				at = protocol.Tip{Dev: tip.Dev, Chain: tip.Chain}
			}
			*tip = at
		}
	}
}

func newHistory(rng *rand.Rand) *history {
	return &history{
		rng: rng, writer: []*device{newDevice(), newDevice(), newDevice()}, tried: make(map[protocol.ID]protocol.Verified),
		acked: make(map[protocol.ID]bool), seen: make(map[uint64]protocol.ID),
		bare: make(map[protocol.ID]bool), either: make(map[protocol.ID]bool),
		when: make(map[protocol.ID]int64), clock: new(clock),
	}
}

func TestTornBatches(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		h := newHistory(rng)
		disk := make(map[datastore.Key][]byte)
		for range 4 {
			d := newTorn(rng, disk, 2+rng.IntN(24))
			if s, err := storage.Open(ctx, d, storage.WithClock(h.clock.now)); err == nil {
				if r, err := s.Room(ctx, group); err == nil {
					h.resume(r)
					for !d.isDead() {
						if rng.IntN(2) == 0 {
							h.writeLate(r)
						} else {
							h.write(r)
						}
					}
				}
				s.Close()
			}
			disk = d.durable
			calm := newTorn(rng, disk, -1)
			s := must(storage.Open(ctx, calm))
			h.check(t, room(t, s))
			for id := range h.bare {
				if h.bare[id] && onDisk(calm, h.tried[id]) {
					t.Fatal("erased, and on disk")
				}
			}
			s.Close()
			if rng.IntN(2) == 0 { // otherwise the next life repairs by itself
				disk = calm.durable
			}
		}
	})
}

// A full disk costs what was not stored, and nothing else.
func TestFullDisk(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { fullDisk(t, seed) })
	}
}

func fullDisk(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	h := newHistory(rng)
	d := newTorn(rng, make(map[datastore.Key][]byte), -1)
	s := open(t, d, storage.WithClock(h.clock.now))
	r := room(t, s)
	full := false
	fail := func() error {
		if full {
			return &errFull{}
		}
		return nil
	}
	if seed%2 == 0 {
		d.fail = fail
	} else {
		d.lose = fail
	}
	set := func(v bool) { d.mu.Lock(); full = v; d.mu.Unlock() }
	for range 4 {
		h.write(r)
		h.writeLate(r)
		tip := writtenTip(r, h.writer[0].prev.Dev)
		set(true)
		h.write(r)
		stray := newDevice().at(1)
		h.tried[stray.ID()] = stray
		err := r.Receive([]protocol.Verified{stray}).Wait(ctx)
		if !errors.Is(err, storage.ErrNotStored) || !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("append: %v", err)
		}
		if got, _ := r.Tip(tip.Dev, tip.Chain); got.Seq < tip.Seq || tip.Seq > 0 && r.Free(tip.Dev, tip.Seq) {
			t.Fatalf("on a full disk the chain ends at %d, free %v, not at %d", got.Seq, r.Free(tip.Dev, tip.Seq), tip.Seq)
		}
		if err := s.Put(ctx, "a", "b", nil); !errors.Is(err, storage.ErrNotStored) || !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("put: %v", err)
		}
		if err := r.Append(nil).Wait(ctx); err != nil && !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("append of nothing: %v", err)
		}
		if err := s.Failing(); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("on a full disk the store says %v", err)
		}
		set(false)
		h.resume(r)
		v := h.writer[0].at(2000)
		h.tried[v.ID()], h.acked[v.ID()] = v, true
		put(t, r, v)
		if err := s.Failing(); err != nil {
			t.Fatalf("with space again the store says %v", err)
		}
		h.check(t, r)
	}
}

// writtenTip is the end of a chain of messages as far as it is written: on a busy machine some
// of it is still on its way, and a full disk takes that.
func writtenTip(r *storage.Room, dev protocol.Key) (end protocol.Tip) {
	for _, t := range r.Tips() {
		if t.Dev == dev && t.Chain == protocol.Messages && t.Seq > end.Seq {
			end = t
		}
	}
	return end
}

type errFull struct{}

func (*errFull) Error() string { return "write: no space left on device" }
func (*errFull) Unwrap() error { return syscall.ENOSPC }
