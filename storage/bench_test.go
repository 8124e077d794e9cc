package storage_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"io/fs"
	mrand "math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	cockroach "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
	pebbleds "github.com/ipfs/go-ds-pebble"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/protocol/reconcile"
	"github.com/p2pchat/p2pchat/storage"
)

// text draws a message of 300 bytes; sealed, it cannot be compressed anyway.
func text() string {
	b := make([]byte, 225)
	_, _ = rand.Read(b)
	return base64.StdEncoding.EncodeToString(b)
}

// BenchmarkAppend measures durable appends, signing and sealing included.
func BenchmarkAppend(b *testing.B) {
	for _, c := range []struct {
		name    string
		writers int
		options []pebbleds.Option
	}{
		{"writers=1", 1, nil},
		{"writers=64", 64, nil},
		{"writers=64/pebble.Sync", 64, []pebbleds.Option{pebbleds.WithPebbleWriteOptions(cockroach.Sync)}},
	} {
		b.Run(c.name, func(b *testing.B) {
			ds := must(pebbleds.NewDatastore(b.TempDir(), c.options...))
			b.Cleanup(func() { ds.Close() })
			r := room(b, open(b, ds))
			b.ResetTimer()
			var wg sync.WaitGroup
			for w := range c.writers {
				n := b.N / c.writers
				if w == 0 {
					n += b.N % c.writers
				}
				d, line := newDevice(), text()
				wg.Go(func() {
					for i := range n {
						if err := r.Append([]protocol.Verified{d.say(uint64(1_700_000_000_000+i), line)}).Wait(ctx); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
		})
	}
}

// history size: P2PCHAT_BENCH_EVENTS=1000000 for the published figures.
func benchEvents() int {
	if n, err := strconv.Atoi(os.Getenv("P2PCHAT_BENCH_EVENTS")); err == nil {
		return n
	}
	return 100_000
}

// forger makes messages of a device whose signatures are noise: nothing in storage
// checks them, and signing a million takes a minute. Their seqs begin at firstForged.
type forger struct {
	wire           []byte // of one message, whose fields are put in place
	prev, seq, hlc int
	noise          [][2]int // what cannot be compressed: body and signature
	next           uint64
}

const firstForged = 1<<16 + 1 // from here on all seqs have one length

func newForger(d *device, rng *mrand.ChaCha8) *forger {
	const hlc = 1_700_000_000_000
	d.prev.Seq = firstForged - 1
	_, _ = rng.Read(d.prev.ID[:])
	v := d.say(hlc, text())
	e, wire := v.Event(), v.Wire()
	at := func(b []byte) int { return bytes.Index(wire, b) }
	f := &forger{
		wire: wire, next: firstForged, prev: at(e.Header.Prev[:]),
		seq: at(binary.BigEndian.AppendUint32([]byte{0x1a}, firstForged)) + 1,
		hlc: at(binary.BigEndian.AppendUint64([]byte{0x1b}, hlc)) + 1,
	}
	for _, b := range [][]byte{e.Sig[:], e.Header.N[:], e.Body} {
		f.noise = append(f.noise, [2]int{at(b), len(b)})
	}
	return f
}

// say makes the next message.
func (f *forger) say(hlc uint64, rng *mrand.ChaCha8) protocol.Verified {
	wire := slices.Clone(f.wire)
	binary.BigEndian.PutUint32(wire[f.seq:], uint32(f.next))
	binary.BigEndian.PutUint64(wire[f.hlc:], hlc)
	for _, n := range f.noise {
		_, _ = rng.Read(wire[n[0] : n[0]+n[1]])
	}
	v := must(protocol.Stored(group, wire))
	id := v.ID()
	copy(f.wire[f.prev:], id[:])
	f.next++
	return v
}

// fill writes a history of n messages by 50 devices, 300 bytes each, and returns a
// device and its newest message.
func fill(b *testing.B, r *storage.Room, n int) (dev protocol.Key, last protocol.ID) {
	b.Helper()
	rng := mrand.NewChaCha8([32]byte{1})
	var devices []*forger
	var epoch *protocol.Epoch
	for range 50 {
		d := newDevice()
		if epoch == nil {
			epoch = d.epoch
		}
		d.epoch = epoch
		devices = append(devices, newForger(d, rng))
	}
	const chunk = 500
	for i := 0; i < n; i += chunk {
		var events []protocol.Verified
		for j := range chunk {
			events = append(events, devices[j%50].say(uint64(1_700_000_000_000+(i+j)*700), rng))
		}
		put(b, r, events...)
		dev, last = events[0].Header().Dev, events[0].ID()
	}
	return dev, last
}

func diskBytes(b *testing.B, dir string) (total int64) {
	b.Helper()
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil && filepath.Ext(e.Name()) == ".sst" {
			total += info.Size()
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return total
}

// BenchmarkHistory measures reading and opening a long history, and its size.
func BenchmarkHistory(b *testing.B) {
	for _, c := range []struct {
		name string
		opts *cockroach.Options
	}{{"default", nil}, {"zstd", zstd()}} {
		b.Run(c.name, func(b *testing.B) { benchHistory(b, c.opts) })
	}
}

// zstd is what a driver should be given: blocks long enough that neighbours, which
// repeat most of a header, compress each other, where nearly all of them end.
func zstd() *cockroach.Options {
	o := &cockroach.Options{}
	for i := range o.Levels {
		o.Levels[i].BlockSize = 32 << 10
	}
	o.Levels[len(o.Levels)-1].Compression = func() *sstable.CompressionProfile { return sstable.ZstdCompression }
	return o
}

func benchHistory(b *testing.B, o *cockroach.Options) {
	dir, n := b.TempDir(), benchEvents()
	ds := must(pebbleds.NewDatastore(dir, pebbleds.WithPebbleOpts(o)))
	defer func() { ds.Close() }()
	s := open(b, ds)
	began := time.Now()
	dev, last := fill(b, room(b, s), n)
	s.Close()
	b.Run("fill", func(b *testing.B) {
		b.ReportMetric(time.Since(began).Seconds()*1e6/float64(n), "µs/message")
		b.ReportMetric(0, "ns/op")
	})
	if err := ds.DB.Compact(ctx, []byte("/"), []byte("0"), true); err != nil {
		b.Fatal(err)
	}
	ds.Close()
	b.Run("disk", func(b *testing.B) {
		b.ReportMetric(float64(diskBytes(b, dir))/float64(n), "bytes/message")
		b.ReportMetric(0, "ns/op")
	})
	ds = must(pebbleds.NewDatastore(dir, pebbleds.WithPebbleOpts(o)))
	before := heap()
	s = open(b, ds)
	r := room(b, s)
	memory := func(when string) {
		b.Run("memory "+when, func(b *testing.B) {
			b.ReportMetric(float64(heap()-before), "heap-bytes")
			b.ReportMetric(0, "ns/op")
		})
	}
	memory("opened")
	b.Run("open", func(b *testing.B) {
		for b.Loop() {
			s := must(storage.Open(ctx, ds))
			room(b, s)
			s.Close()
		}
	})
	benchSet(b, r, n)
	memory("looked at everywhere")
	b.Run("newest100", func(b *testing.B) {
		for b.Loop() {
			if page, _, err := r.Newest(ctx, 100, storage.Position{}); err != nil || len(page) != 100 {
				b.Fatal(len(page), err)
			}
		}
	})
	b.Run("scroll100", func(b *testing.B) {
		var at storage.Position
		for b.Loop() {
			page, next, err := r.Newest(ctx, 100, at)
			if err != nil {
				b.Fatal(err)
			}
			if at = next; len(page) < 100 {
				at = storage.Position{}
			}
		}
	})
	b.Run("after1000", func(b *testing.B) {
		for b.Loop() {
			must(r.After(ctx, uint64(n/2), 1000))
		}
	})
	b.Run("chain1000", func(b *testing.B) {
		for b.Loop() {
			must(r.Chain(ctx, dev, protocol.Messages, 1, 1000))
		}
	})
	b.Run("get", func(b *testing.B) {
		for b.Loop() {
			must(r.Get(ctx, last))
		}
	})
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// benchSet measures what reconciliation asks of a long history.
func benchSet(b *testing.B, r *storage.Room, n int) {
	look := func(b *testing.B, f func(reconcile.Set)) {
		err := r.Messages(ctx, func(set reconcile.Set) error {
			for b.Loop() {
				f(set)
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	rng := mrand.New(mrand.NewPCG(1, 1))
	b.Run("sum of all", func(b *testing.B) {
		look(b, func(set reconcile.Set) { must(set.Sum(0, set.Len())) })
	})
	b.Run("sum of the newest", func(b *testing.B) {
		look(b, func(set reconcile.Set) {
			from := n - 1 - rng.IntN(min(n-1, 5000))
			must(set.Sum(from, n-rng.IntN(n-from)))
		})
	})
	b.Run("sum anywhere", func(b *testing.B) {
		look(b, func(set reconcile.Set) { from := rng.IntN(n); must(set.Sum(from, from+rng.IntN(n-from))) })
	})
	b.Run("between256", func(b *testing.B) {
		for b.Loop() {
			from := uint64(1_700_000_000_000 + rng.IntN(n-256)*700)
			list, err := r.Between(ctx, reconcile.Item{Time: from}, reconcile.Item{Time: protocol.MaxHLC}, 256, false)
			if err != nil || len(list) != 256 {
				b.Fatal(len(list), err)
			}
		}
	})
}

// BenchmarkControl measures loading 10,000 control events.
func BenchmarkControl(b *testing.B) {
	r := room(b, open(b, pebble(b)))
	for range 100 {
		d := newDevice()
		var events []protocol.Verified
		for i := range 100 {
			events = append(events, d.leave(uint64(i)))
		}
		put(b, r, events...)
	}
	for b.Loop() {
		if list := must(r.Control(ctx)); len(list) != 10_000 {
			b.Fatal(len(list))
		}
	}
}
