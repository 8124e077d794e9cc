//go:build linux

package node_test

import (
	"bufio"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pchat/p2pchat/protocol"
)

// BenchmarkCatchUp has a newcomer fetch a group's whole history over TCP on loopback, and
// the same events sent over a bare stream and verified only. Both ends share the machine.
//
//	go test ./node -run '^$' -bench CatchUp -benchtime 1x
//
// P2PCHAT_BENCH_MESSAGES says how many messages.
func BenchmarkCatchUp(b *testing.B) {
	f := benchFixture(b, benchHistory())
	t := &table{began: readBusy()}
	b.Run("stream", func(b *testing.B) { benchStream(b, t, f.profile(b, "ana"), f.club, f.count) })
	b.Run("sync", func(b *testing.B) { benchCatchUp(b, t, f.profile(b, "ana"), f.club, f.count) })
	t.print(os.Stdout)
}

// benchStream is the floor: the events in frames of 64 KiB over a libp2p stream, each
// signature checked, in batches and on all cores, and nothing kept.
func benchStream(b *testing.B, t *table, dir string, club protocol.ID, count int) {
	n, end := mustAlone(b, dir)
	wires, err := n.Wires(b.Context(), club)
	end()
	if err != nil || len(wires) < count {
		b.Fatal(len(wires), err)
	}
	c := &crowd{B: b}
	from, to := newBenchHost(b, &c.meter), newBenchHost(b, &c.meter)
	done := make(chan error, 1)
	to.SetStreamHandler("/bare", func(s network.Stream) { done <- verifyStream(s, club, len(wires)) })
	if err := from.Connect(b.Context(), peer.AddrInfo{ID: to.ID(), Addrs: to.Addrs()}); err != nil {
		b.Fatal(err)
	}
	start, began := c.meter.read(), time.Now()
	s, err := from.NewStream(b.Context(), to.ID(), "/bare")
	if err != nil {
		b.Fatal(err)
	}
	out := bufio.NewWriterSize(s, 64<<10)
	for _, w := range wires {
		_, _ = out.Write(append(binary.AppendUvarint(nil, uint64(len(w))), w...))
	}
	if err := out.Flush(); err != nil {
		b.Fatal(err)
	}
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	took, use := time.Since(began), c.meter.read().since(start)
	what := fmt.Sprintf("catch-up of %d by a newcomer", count)
	t.set(b, bareStream, what, took.Seconds(), "s")
	t.set(b, bareStream, what+", CPU a message", use.each(use.cpu.Seconds()*1e6, int64(count)), "µs")
	t.set(b, bareStream, what+", wire a message", use.each(float64(use.wire), int64(count)), "bytes")
}

func verifyStream(s network.Stream, club protocol.ID, count int) error {
	in := bufio.NewReaderSize(s, 64<<10)
	batches, errs := make(chan [][]byte), make(chan error, runtime.NumCPU())
	for range runtime.NumCPU() {
		go func() {
			var first error
			for wires := range batches {
				_, list := protocol.VerifyBatch(club, wires, rand.Reader)
				for _, err := range list {
					if first == nil {
						first = err
					}
				}
			}
			errs <- first
		}()
	}
	var batch [][]byte
	for ; count > 0; count-- {
		size, err := binary.ReadUvarint(in)
		if err != nil {
			return err
		}
		wire := make([]byte, size)
		if _, err := io.ReadFull(in, wire); err != nil {
			return err
		}
		if batch = append(batch, wire); len(batch) == 512 || count == 1 {
			batches <- batch
			batch = nil
		}
	}
	close(batches)
	for range runtime.NumCPU() {
		if err := <-errs; err != nil {
			return err
		}
	}
	return nil
}
