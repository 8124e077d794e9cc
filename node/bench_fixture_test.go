//go:build linux

package node_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage/disk"
)

// A fixture is a group with a long history, made once for all benchmarks that read one:
// the profiles of Ana, who wrote it, and Bo, who fetched it from her, and what Cleo wrote
// meanwhile, all over that time, which neither has. Benchmarks open copies.
type fixture struct {
	dir   string
	count int
	club  protocol.ID
}

// benchStep is how far apart the messages of a fixture are.
const benchStep = 100 * time.Millisecond

// benchApart is how many messages Cleo wrote, and how many are missing elsewhere.
const benchApart = 1000

// benchFixture returns the fixture of a size, and makes it where there is none. It is
// kept in P2PCHAT_BENCH_FIXTURE, or else in the user's cache.
func benchFixture(b *testing.B, count int) fixture {
	b.Helper()
	root := os.Getenv("P2PCHAT_BENCH_FIXTURE")
	if root == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			b.Fatal("a place for the fixture: ", err)
		}
		root = filepath.Join(cache, "p2pchat-bench")
	}
	f := fixture{dir: filepath.Join(root, strconv.Itoa(count)), count: count}
	id, err := os.ReadFile(filepath.Join(f.dir, "group"))
	if err != nil {
		began := time.Now()
		f.make(b)
		id, err = os.ReadFile(filepath.Join(f.dir, "group"))
		b.Logf("%s: %.0f MB, made in %.0f s", f.dir, float64(diskBytes(b, f.dir))/1e6, time.Since(began).Seconds())
	}
	if err != nil || len(id) != len(f.club) {
		b.Fatal("the fixture in ", f.dir, " is damaged; delete it")
	}
	f.club = protocol.ID(id)
	return f
}

// BenchmarkFixture makes the fixture, if it is not there.
func BenchmarkFixture(b *testing.B) {
	f := benchFixture(b, benchHistory())
	fmt.Printf("\n%s: %.0f MB\n", f.dir, float64(diskBytes(b, f.dir))/1e6)
	b.ReportMetric(0, "ns/op")
}

// make builds a fixture beside its place and moves it there, so that one is whole or not
// there.
func (f *fixture) make(b *testing.B) {
	if err := os.MkdirAll(filepath.Dir(f.dir), 0o700); err != nil {
		b.Fatal(err)
	}
	place := f.dir
	var err error
	if f.dir, err = os.MkdirTemp(filepath.Dir(place), "building-"); err != nil {
		b.Fatal(err)
	}
	building := f.dir
	b.Cleanup(func() { _ = os.RemoveAll(building) }) // what a failure left
	tick, began := atomic.Int64{}, time.Now().Add(-time.Duration(f.count)*benchStep)
	clock := func() time.Time { return began.Add(time.Duration(tick.Load()) * benchStep) }
	f.found(b, clock)
	f.write(b, clock, &tick)
	f.fetch(b, clock)
	if err := os.WriteFile(filepath.Join(f.dir, "group"), f.club[:], 0o600); err != nil {
		b.Fatal(err)
	}
	if err := os.Rename(f.dir, place); err != nil {
		b.Fatal(err)
	}
	f.dir = place
}

// someone runs a node on a directory, on a host that nobody has met before.
func someone(b *testing.B, m *meter, name, dir string, clock func() time.Time) (n *node.Node, end func()) {
	b.Helper()
	ds, err := disk.Open(dir, disk.Options{})
	if err != nil {
		b.Fatal(err)
	}
	cfg := node.Config{Name: name, Host: newBenchHost(b, m), Datastore: ds, DisableMDNS: true, GossipRate: -1}
	if clock != nil {
		node.WithClock(&cfg, clock)
	}
	if n, err = node.New(b.Context(), cfg); err != nil {
		b.Fatal(err)
	}
	end = sync.OnceFunc(func() { _ = n.Close(); _ = cfg.Host.Close(); _ = ds.Close() })
	b.Cleanup(end)
	return n, end
}

func meet(b *testing.B, a, c *node.Node) {
	b.Helper()
	if err := a.Host().Connect(b.Context(), peer.AddrInfo{ID: c.Host().ID(), Addrs: c.Host().Addrs()}); err != nil {
		b.Fatal(err)
	}
}

func (f *fixture) path(name string) string { return filepath.Join(f.dir, name) }

// found makes the group.
func (f *fixture) found(b *testing.B, clock func() time.Time) {
	var m meter
	ana, end := someone(b, &m, "Ana", f.path("ana"), clock)
	defer end()
	var err error
	if f.club, err = ana.CreateGroup(b.Context(), "club"); err != nil {
		b.Fatal(err)
	}
	link, err := ana.Invite(b.Context(), f.club, node.InviteOptions{})
	if err != nil {
		b.Fatal(err)
	}
	for _, name := range []string{"bo", "cleo"} {
		n, end := someone(b, &m, name, f.path(name), clock)
		defer end()
		if _, err := n.Join(b.Context(), link); err != nil {
			b.Fatal(err)
		}
		meet(b, ana, n)
		if err := n.WaitSync(b.Context(), f.club); err != nil {
			b.Fatal(err)
		}
	}
	if err := ana.WaitSync(b.Context(), f.club); err != nil {
		b.Fatal(err)
	}
}

// write has Ana write the history, and Cleo some lines that nobody hears of.
func (f *fixture) write(b *testing.B, clock func() time.Time, tick *atomic.Int64) {
	var m meter
	ana, endAna := someone(b, &m, "Ana", f.path("ana"), clock)
	defer endAna()
	cleo, endCleo := someone(b, &m, "Cleo", f.path("cleo"), clock)
	defer endCleo()
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			for {
				i := tick.Add(1)
				if i > int64(f.count) {
					return
				}
				if _, err := ana.Send(b.Context(), f.club, line(int(i))); err != nil {
					b.Error(err)
					return
				}
				if i%int64(max(1, f.count/benchApart)) != 0 {
					continue
				}
				if _, err := cleo.Send(b.Context(), f.club, line(int(i))); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	if b.Failed() {
		b.FailNow()
	}
	f.keepWires(b, cleo)
	endCleo()
	if err := os.RemoveAll(f.path("cleo")); err != nil {
		b.Fatal(err)
	}
}

// line is a text of the payload's size.
func line(i int) string { return (fmt.Sprintf("%09d ", i) + filler)[:payload] }

// keepWires keeps what somebody wrote.
func (f *fixture) keepWires(b *testing.B, n *node.Node) {
	wires, err := n.Wires(b.Context(), f.club)
	if err != nil || len(wires) < benchApart {
		b.Fatal(len(wires), err)
	}
	var out []byte
	for _, w := range wires {
		out = append(binary.AppendUvarint(out, uint64(len(w))), w...)
	}
	if err := os.WriteFile(f.path("apart"), out, 0o600); err != nil {
		b.Fatal(err)
	}
}

// apart returns what Cleo wrote.
func (f *fixture) apart(b *testing.B) (events []protocol.Verified) {
	b.Helper()
	file, err := os.Open(f.path("apart"))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	in := bufio.NewReader(file)
	for range benchApart {
		size, err := binary.ReadUvarint(in)
		if err != nil {
			b.Fatal(err)
		}
		wire := make([]byte, size)
		if _, err := io.ReadFull(in, wire); err != nil {
			b.Fatal(err)
		}
		v, err := protocol.Verify(f.club, wire)
		if err != nil {
			b.Fatal(err)
		}
		events = append(events, v)
	}
	return events
}

// fetch has Bo fetch all that Ana has.
func (f *fixture) fetch(b *testing.B, clock func() time.Time) {
	var m meter
	ana, endAna := someone(b, &m, "Ana", f.path("ana"), clock)
	defer endAna()
	bo, endBo := someone(b, &m, "Bo", f.path("bo"), clock)
	defer endBo()
	meet(b, ana, bo)
	hear(b, bo, f.club, 0, f.count)
	if err := bo.WaitSync(b.Context(), f.club); err != nil {
		b.Fatal(err)
	}
}

// hear waits until somebody has so many texts after a cursor, and returns the last one's.
func hear(b *testing.B, n *node.Node, club protocol.ID, cursor uint64, count int) uint64 {
	b.Helper()
	for m, err := range n.Follow(b.Context(), club, cursor) {
		if err != nil {
			b.Fatal(err)
		}
		if m.Kind == "text" {
			count--
		}
		if count <= 0 {
			return m.Cursor
		}
	}
	b.Fatal("the lines end")
	return 0
}

// profile returns a copy of somebody's profile to write to. Tables are never written to
// once they are there, so that they are linked where that can be.
func (f *fixture) profile(b *testing.B, name string) string {
	b.Helper()
	from := f.path(name)
	to, err := os.MkdirTemp(filepath.Dir(f.dir), "copy-") // links do not leave the disk
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = os.RemoveAll(to) })
	err = filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		place := filepath.Join(to, strings.TrimPrefix(path, from))
		if filepath.Ext(path) == ".sst" && os.Link(path, place) == nil {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(place, b, 0o600)
	})
	if err != nil {
		b.Fatal(err)
	}
	return to
}
