//go:build linux

package node_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"

	pubsub "github.com/libp2p/go-libp2p-pubsub"

	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage/disk"
)

// benchProfile measures profiles with a history: how fast they are written to, their
// size, how soon a node is ready with one and what it needs at rest, how soon the newest
// lines are read, and how long others take to fetch what they lack.
func benchProfile(b *testing.B, t *table) {
	f := benchFixture(b, benchHistory())
	t.began = readBusy() // making it is not what is measured
	size := strconv.Itoa(f.count)
	part := func(name string, run func(b *testing.B)) { t.run(b, name, run) }
	part("sends", func(b *testing.B) {
		t.set(b, p2pchat, "one fsync of this disk", oneSync(b), "ms")
		n, end := mustAlone(b, f.profile(b, "ana"))
		defer end()
		benchSends(b, t, n, f.club, 1, 2000)
		benchSends(b, t, n, f.club, 64, 40_000)
	})
	part("disk", func(b *testing.B) {
		dir := f.profile(b, "ana")
		t.set(b, p2pchat, "disk a message of "+size, float64(diskBytes(b, dir))/float64(f.count), "bytes")
		t.set(b, p2pchat, "disk a message of "+size+", compacted", float64(compacted(b, dir))/float64(f.count), "bytes")
	})
	part("start", func(b *testing.B) { benchIdle(b, t, f.profile(b, "ana"), size) })
	part("first", func(b *testing.B) { benchFirst(b, t, &f) })
	part("newest", func(b *testing.B) { benchNewest(b, t, f.profile(b, "ana"), f.club, size) })
	part("catch-up/p2pchat", func(b *testing.B) { benchCatchUp(b, t, f.profile(b, "ana"), f.club, f.count) })
	part("catch-up/stream", func(b *testing.B) { benchStream(b, t, f.profile(b, "ana"), f.club, f.count) })
	for _, which := range []string{"newest", "scattered"} {
		part("resync/"+which, func(b *testing.B) { benchResync(b, t, &f, which) })
	}
}

// aloneNode runs a node on a profile that meets nobody by itself.
func aloneNode(dir string) (n *node.Node, end func(), err error) {
	ds, err := disk.Open(dir, disk.Options{})
	if err != nil {
		return nil, nil, err
	}
	n, err = node.New(context.Background(), node.Config{
		Name: "Ana", Datastore: ds, DisableMDNS: true, GossipRate: -1,
		Listen: []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"},
	})
	if err != nil {
		_ = ds.Close()
		return nil, nil, err
	}
	return n, func() { _ = n.Close(); _ = ds.Close() }, nil
}

func mustAlone(b *testing.B, dir string) (*node.Node, func()) {
	b.Helper()
	n, end, err := aloneNode(dir)
	if err != nil {
		b.Fatal(err)
	}
	return n, end
}

// benchSends has some writers say a number of messages: sealed, signed and on disk.
func benchSends(b *testing.B, t *table, n *node.Node, club protocol.ID, writers, count int) {
	var m meter
	var all sync.WaitGroup
	start, began := m.read(), time.Now()
	for w := range writers {
		all.Go(func() {
			for i := w; i < count; i += writers {
				if _, err := n.Send(b.Context(), club, line(i)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	took, use := time.Since(began), m.read().since(start)
	what := fmt.Sprintf("durable sends, %d at once", writers)
	t.set(b, p2pchat, what, float64(count)/took.Seconds(), "messages/s")
	t.set(b, p2pchat, what+", CPU a message", use.each(use.cpu.Seconds()*1e6, int64(count)), "µs")
}

// oneSync is what making one message durable costs at least: the median over some
// writes and fsyncs of a file that grows, as pebble's log does.
func oneSync(b *testing.B) float64 {
	f, err := os.Create(filepath.Join(b.TempDir(), "log"))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	var took []float64
	for range 200 {
		began := time.Now()
		if _, err := f.WriteString(filler); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
		took = append(took, milli(time.Since(began)))
	}
	return median(took)
}

// diskBytes is all that a directory holds.
func diskBytes(b *testing.B, dir string) (total int64) {
	b.Helper()
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return total
}

func compacted(b *testing.B, dir string) int64 {
	ds, err := disk.Open(dir, disk.Options{})
	if err != nil {
		b.Fatal(err)
	}
	err = ds.CollectGarbage(b.Context())
	if err := ds.Close(); err != nil {
		b.Fatal(err)
	}
	if err != nil {
		b.Fatal(err)
	}
	return diskBytes(b, dir)
}

func benchNewest(b *testing.B, t *table, dir string, club protocol.ID, size string) {
	n, end := mustAlone(b, dir)
	defer end()
	var took []time.Duration
	var m meter
	quiet(&m)
	start := m.read()
	for range 1000 {
		began := time.Now()
		if list, _, err := n.Last(b.Context(), club, 100); err != nil || len(list) != 100 {
			b.Fatal(len(list), err)
		}
		took = append(took, time.Since(began))
	}
	t.set(b, p2pchat, "newest 100 of "+size+", CPU", m.read().since(start).cpu.Seconds()*1e3/float64(len(took)), "ms")
	slices.Sort(took)
	t.set(b, p2pchat, "newest 100 of "+size+", p50", quantile(took, 0.50), "ms")
	t.set(b, p2pchat, "newest 100 of "+size+", p99", quantile(took, 0.99), "ms")
}

// quiet waits until this process does nothing by itself: pebble may still be merging what
// the fixture wrote.
func quiet(m *meter) {
	const rest = 300 * time.Millisecond
	for at := m.read(); ; {
		time.Sleep(rest)
		now := m.read()
		if now.since(at).cpu < rest/20 {
			return
		}
		at = now
	}
}

// benchCatchUp has a newcomer fetch everything, over TCP on loopback.
func benchCatchUp(b *testing.B, t *table, dir string, club protocol.ID, count int) {
	c := &crowd{B: b}
	peer := func(name, dir string) *node.Node {
		n, err := node.New(b.Context(), node.Config{
			Name: name, Host: newBenchHost(b, &c.meter), Datastore: benchDatastore(b, dir), DisableMDNS: true,
		})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = n.Close() })
		return n
	}
	ana, bo := peer("Ana", dir), peer("Bo", b.TempDir())
	link, err := ana.Invite(b.Context(), club, node.InviteOptions{})
	if err != nil {
		b.Fatal(err)
	}
	start, began := c.meter.read(), time.Now()
	if _, err := bo.Join(b.Context(), link); err != nil {
		b.Fatal(err)
	}
	page, _, err := bo.Last(b.Context(), club, 100)
	if err != nil || len(page) != 100 {
		b.Fatal(len(page), err)
	}
	t.set(b, p2pchat, fmt.Sprintf("join of %d until the newest 100 are read", count), milli(time.Since(began)), "ms")
	have := 0
	for m, err := range bo.Follow(b.Context(), club, 0) {
		if err != nil {
			b.Fatal(err)
		}
		if m.Kind == "text" {
			have++
		}
		if have == count {
			break
		}
	}
	took, use := time.Since(began), c.meter.read().since(start)
	what := fmt.Sprintf("catch-up of %d by a newcomer", count)
	t.set(b, p2pchat, what, took.Seconds(), "s")
	t.set(b, p2pchat, what+", CPU a message", use.each(use.cpu.Seconds()*1e6, int64(count)), "µs")
	t.set(b, p2pchat, what+", wire a message", use.each(float64(use.wire), int64(count)), "bytes")
}

// idleEnv tells BenchmarkIdle what to be: the directory of a profile, or "plain"
// for a host that only runs GossipSub.
const idleEnv = "P2PCHAT_BENCH_IDLE"

// benchIdle starts processes that do nothing, and reads what that takes.
func benchIdle(b *testing.B, t *table, dir, size string) {
	for _, s := range []struct{ system, part string }{{p2pchat, dir}, {gossipsub, "plain"}} {
		var ready, built, rss, anon []float64
		for range 5 {
			r := idle(b, s.part)
			ready, built, rss, anon = append(ready, r[0]), append(built, r[1]), append(rss, r[2]), append(anon, r[3])
		}
		t.set(b, s.system, "start of a process to ready, "+size+" held", median(ready), "ms")
		t.set(b, s.system, "of it opening the store and node", median(built), "ms")
		t.set(b, s.system, "memory at rest, "+size+" held, RSS", median(rss), "MB")
		t.set(b, s.system, "memory at rest, "+size+" held, anonymous", median(anon), "MB")
	}
}

// idle runs one such process: it says how long it took to open things, then what
// memory it has.
func idle(b *testing.B, part string) (out [4]float64) {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.CommandContext(b.Context(), self, "-test.run=^$", "-test.bench=^BenchmarkIdle$", "-test.benchtime=1x")
	cmd.Env = append(os.Environ(), idleEnv+"="+part)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	lines, found := bufio.NewScanner(stdout), 0
	for found < 2 && lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), "ready "); ok {
			out[0], found = milli(time.Since(began)), 1
			fmt.Sscan(text, &out[1])
		} else if text, ok := strings.CutPrefix(lines.Text(), "memory "); ok {
			fmt.Sscan(text, &out[2], &out[3])
			found = 2
		}
	}
	_ = stdin.Close()
	_, _ = io.Copy(io.Discard, stdout)
	if err := cmd.Wait(); err != nil || found != 2 {
		b.Fatal("the idle process: ", err)
	}
	return out
}

// meetEnv tells BenchmarkIdle whom to connect with: it hears one message and ends.
const meetEnv = "P2PCHAT_BENCH_MEET"

// benchFirst starts processes that connect with a node which talks all the time, and times
// the first message that each shows.
func benchFirst(b *testing.B, t *table, f *fixture) {
	ana, c := f.profile(b, "ana"), &crowd{B: b}
	talk := func(part string, other host.Host, say func(text string) error) float64 {
		stop, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				case <-time.After(5 * time.Millisecond):
				}
				if err := say(line(i)); err != nil {
					b.Error(err)
					return
				}
			}
		}()
		var took []float64
		for range 5 {
			took = append(took, firstHeard(b, part, fmt.Sprintf("%s/p2p/%s", other.Addrs()[0], other.ID())))
		}
		close(stop)
		<-done
		return median(took)
	}
	what := fmt.Sprintf("start of a process to first message heard, %d held", f.count)
	bo, end := someone(b, &c.meter, "Bo", f.profile(b, "bo"), nil)
	t.set(b, p2pchat, what, talk(ana, bo.Host(), func(text string) error {
		_, err := bo.Send(b.Context(), f.club, text)
		return err
	}), "ms")
	end()
	h := newBenchHost(b, &c.meter)
	ps, err := pubsub.NewGossipSub(b.Context(), h)
	if err != nil {
		b.Fatal(err)
	}
	topic, err := ps.Join("club")
	if err != nil {
		b.Fatal(err)
	}
	if _, err := topic.Subscribe(); err != nil {
		b.Fatal(err)
	}
	t.set(b, gossipsub, what, talk("plain", h, func(text string) error { return topic.Publish(b.Context(), []byte(text)) }), "ms")
}

func firstHeard(b *testing.B, part, addr string) float64 {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.CommandContext(b.Context(), self, "-test.run=^$", "-test.bench=^BenchmarkIdle$", "-test.benchtime=1x")
	cmd.Env = append(os.Environ(), idleEnv+"="+part, meetEnv+"="+addr)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	var took float64
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if lines.Text() == "heard" {
			took = milli(time.Since(began))
		}
	}
	if err := cmd.Wait(); err != nil || took == 0 {
		b.Fatal("the process that meets another: ", err)
	}
	return took
}

// BenchmarkIdle is the process that idle starts; by itself it does nothing.
func BenchmarkIdle(b *testing.B) {
	part := os.Getenv(idleEnv)
	if part == "" {
		b.Skip("a part of BenchmarkGoals")
	}
	began := time.Now()
	who, end, err := startIdle(b.Context(), part)
	if err != nil {
		b.Fatal(err)
	}
	defer end()
	if addr := os.Getenv(meetEnv); addr != "" {
		if err := who.hearFrom(b.Context(), addr); err != nil {
			b.Fatal(err)
		}
		fmt.Printf("\nheard\n")
		return
	}
	fmt.Printf("\nready %f\n", milli(time.Since(began)))
	time.Sleep(2 * time.Second) // what starting left behind
	runtime.GC()
	debug.FreeOSMemory()
	fmt.Printf("memory %f %f\n", statusMB(b, "VmRSS"), statusMB(b, "RssAnon"))
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// idler is what such a process runs: a node, or a host with a topic.
type idler struct {
	host host.Host
	node *node.Node
	sub  *pubsub.Subscription
}

// hearFrom connects with somebody and waits for a message.
func (i idler) hearFrom(ctx context.Context, addr string) error {
	info, err := peer.AddrInfoFromString(addr)
	if err != nil {
		return err
	}
	if i.node == nil {
		if err := i.host.Connect(ctx, *info); err != nil {
			return err
		}
		_, err := i.sub.Next(ctx)
		return err
	}
	club := i.node.Groups()[0].ID
	_, cursor, err := i.node.Last(ctx, club, 1)
	if err != nil {
		return err
	}
	if err := i.host.Connect(ctx, *info); err != nil {
		return err
	}
	for m, err := range i.node.Follow(ctx, club, cursor) {
		if err != nil || m.Kind == "text" {
			return err
		}
	}
	return ctx.Err()
}

func startIdle(ctx context.Context, part string) (who idler, end func(), err error) {
	if part != "plain" {
		n, end, err := aloneNode(part)
		if err != nil {
			return who, nil, err
		}
		return idler{host: n.Host(), node: n}, end, nil
	}
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"),
		libp2p.Security(noise.ID, noise.New), libp2p.Transport(tcp.NewTCPTransport, tcp.DisableReuseport()),
		libp2p.Transport(libp2pquic.NewTransport), libp2p.DisableRelay(), libp2p.DisableMetrics())
	if err != nil {
		return who, nil, err
	}
	end = func() { _ = h.Close() }
	ps, err := pubsub.NewGossipSub(ctx, h)
	if err != nil {
		return who, end, err
	}
	topic, err := ps.Join("club")
	if err != nil {
		return who, end, err
	}
	sub, err := topic.Subscribe()
	return idler{host: h, sub: sub}, end, err
}

// statusMB reads a line of /proc/self/status in megabytes.
func statusMB(b *testing.B, name string) float64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			kb, err := strconv.ParseFloat(strings.Fields(value)[0], 64)
			if err != nil {
				b.Fatal(err)
			}
			return kb * 1024 / 1e6
		}
	}
	b.Fatalf("no %s in /proc/self/status", name)
	return 0
}
