package node

import (
	"crypto/ed25519"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

// BenchmarkReceive is what a received message of 300 bytes costs, part by part, in
// batches of 64 as sync brings them: its signature, being judged and taken into the log,
// waiting until it is durable (here: in memory), and opening it to be shown. As gossip
// brings it, the signature is verified alone. Ratios are to one Ed25519 verification of
// the standard library.
//
//	go test ./node -run '^$' -bench Receive
func BenchmarkReceive(b *testing.B) {
	const batch = 64
	bo, group, wires := letters(b, 64*batch)
	r := bo.rooms[group]
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	msg := wires[0][:250]
	sig := ed25519.Sign(key, msg)
	var plain, alone, batched, taken, durable, opened time.Duration
	done := 0
	for b.Loop() {
		if len(wires) < batch {
			b.Fatal("run fewer: -benchtime 60x at most")
		}
		next := wires[:batch]
		wires = wires[batch:]
		clock := time.Now()
		lap := func(d *time.Duration) {
			now := time.Now()
			*d += now.Sub(clock)
			clock = now
		}
		for range next {
			ed25519.Verify(pub, msg, sig)
		}
		lap(&plain)
		for _, w := range next {
			if _, err := protocol.Verify(group, w); err != nil {
				b.Fatal(err)
			}
		}
		lap(&alone)
		events, errs := protocol.VerifyBatch(group, next, rand.Reader)
		lap(&batched)
		if errs[0] != nil {
			b.Fatal(errs[0])
		}
		in := r.ingest("", events)
		lap(&taken)
		if in.stored != batch {
			b.Fatalf("%d of %d stored", in.stored, batch)
		}
		if err := in.commit.Wait(b.Context()); err != nil {
			b.Fatal(err)
		}
		lap(&durable)
		for _, v := range events {
			if m, ok := r.line(storage.Entry{Event: v}); !ok || m.Unreadable != "" {
				b.Fatal(m, ok)
			}
		}
		lap(&opened)
		done += batch
	}
	for _, part := range []struct {
		what string
		took time.Duration
	}{{"verify-alone", alone}, {"verify", batched}, {"judge", taken}, {"store", durable}, {"open", opened}} {
		b.ReportMetric(float64(part.took.Nanoseconds())/float64(done)/1000, part.what+"-µs")
		b.ReportMetric(float64(part.took)/float64(plain), part.what+"-x-ed25519")
	}
}

// letters has Ana write to a group in which Bo is, while he is away, and returns Bo and
// what she wrote.
func letters(b *testing.B, count int) (bo *Node, group protocol.ID, wires [][]byte) {
	b.Helper()
	cfg, group := crowdOf(b, 1)
	cfg.GossipRate = -1
	ana, err := New(b.Context(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer ana.Close()
	link, err := ana.Invite(b.Context(), group, InviteOptions{})
	if err != nil {
		b.Fatal(err)
	}
	bo = newcomer(b)
	if _, err := bo.Join(b.Context(), link); err != nil {
		b.Fatal(err)
	}
	away := bo.cfg
	_ = bo.Close()
	text := strings.Repeat("300 bytes ", 30)
	for range count {
		if _, err := ana.Send(b.Context(), group, text); err != nil {
			b.Fatal(err)
		}
	}
	all, err := ana.rooms[group].log.After(b.Context(), 0, 10*count)
	if err != nil {
		b.Fatal(err)
	}
	_ = ana.Close()
	if bo, err = New(b.Context(), away); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = bo.Close() })
	var control []protocol.Verified
	for _, e := range all {
		if e.Event.Header().Chain == protocol.Control {
			control = append(control, e.Event)
		} else {
			wires = append(wires, e.Event.Wire())
		}
	}
	bo.rooms[group].ingest("", control)
	return bo, group, wires
}
