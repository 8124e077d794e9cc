package storage_test

import (
	"crypto/rand"
	"encoding/base64"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	cockroach "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
	pebbleds "github.com/ipfs/go-ds-pebble"

	"github.com/p2pchat/p2pchat/protocol"
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

// fill writes a history of n messages by 50 devices, 300 bytes each.
func fill(b *testing.B, r *storage.Room, n int) *device {
	b.Helper()
	var devices []*device
	for range 50 {
		d := newDevice()
		if len(devices) > 0 {
			d.epoch = devices[0].epoch
		}
		devices = append(devices, d)
	}
	const chunk = 500
	for i := 0; i < n; i += chunk {
		events := make([]protocol.Verified, chunk)
		var wg sync.WaitGroup
		for part := range 2 {
			wg.Go(func() {
				for j := part; j < chunk; j += 2 {
					events[j] = devices[j%50].say(uint64(1_700_000_000_000+(i+j)*700), text())
				}
			})
		}
		wg.Wait()
		put(b, r, events...)
	}
	return devices[0]
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
// repeat most of a header, compress each other.
func zstd() *cockroach.Options {
	o := &cockroach.Options{}
	for i := range o.Levels {
		o.Levels[i].BlockSize = 32 << 10
		o.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.ZstdCompression }
	}
	return o
}

func benchHistory(b *testing.B, o *cockroach.Options) {
	dir, n := b.TempDir(), benchEvents()
	ds := must(pebbleds.NewDatastore(dir, pebbleds.WithPebbleOpts(o)))
	defer func() { ds.Close() }()
	s := open(b, ds)
	d := fill(b, room(b, s), n)
	s.Close()
	if err := ds.DB.Compact(ctx, []byte("/"), []byte("0"), true); err != nil {
		b.Fatal(err)
	}
	ds.Close()
	b.Run("disk", func(b *testing.B) {
		b.ReportMetric(float64(diskBytes(b, dir))/float64(n), "bytes/message")
		b.ReportMetric(0, "ns/op")
	})
	ds = must(pebbleds.NewDatastore(dir, pebbleds.WithPebbleOpts(o)))
	s = open(b, ds)
	b.Run("open", func(b *testing.B) {
		for b.Loop() {
			s := must(storage.Open(ctx, ds))
			room(b, s)
			s.Close()
		}
	})
	r := room(b, s)
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
			must(r.Chain(ctx, d.prev.Dev, protocol.Messages, 1, 1000))
		}
	})
	b.Run("get", func(b *testing.B) {
		for b.Loop() {
			must(r.Get(ctx, d.prev.ID))
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
