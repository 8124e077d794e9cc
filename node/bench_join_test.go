package node

import (
	"context"
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

// BenchmarkJoinCrowd is how long a newcomer takes from a link to the whole member list,
// in a group of one and in one of 10,000 control events; and what verifying that many
// events alone takes, which is the least it can be.
//
//	go test ./node -run '^$' -bench JoinCrowd -benchtime 3x
func BenchmarkJoinCrowd(b *testing.B) {
	for _, members := range []int{1, 10_000} {
		b.Run(fmt.Sprint(members), func(b *testing.B) {
			cfg, group := crowdOf(b, members)
			ana, err := New(b.Context(), cfg)
			if err != nil {
				b.Fatal(err)
			}
			defer ana.Close()
			var verify, admitted, joined time.Duration
			for b.Loop() {
				b.StopTimer()
				verify += verifyControl(b, ana.rooms[group])
				link, err := ana.Invite(b.Context(), group, InviteOptions{Uses: 1})
				if err != nil {
					b.Fatal(err)
				}
				want, err := ana.Members(group)
				if err != nil {
					b.Fatal(err)
				}
				bo := newcomer(b)
				b.StartTimer()
				began := time.Now()
				if _, err := bo.Join(b.Context(), link); err != nil {
					b.Fatal(err)
				}
				admitted += time.Since(began)
				for {
					if have, err := bo.Members(group); err == nil && len(have) > len(want) {
						break
					}
					time.Sleep(time.Millisecond)
				}
				joined += time.Since(began)
				b.StopTimer()
				_ = bo.Close()
				b.StartTimer()
			}
			per := func(d time.Duration) float64 { return d.Seconds() * 1000 / float64(b.N) }
			b.ReportMetric(per(admitted), "ms-to-admitted")
			b.ReportMetric(per(joined), "ms-to-all-members")
			b.ReportMetric(per(verify), "ms-verifying-alone")
			b.ReportMetric(float64(joined)/float64(verify), "x-verifying")
		})
	}
}

// verifyControl verifies all control events that a room holds, in batches, as sync does.
func verifyControl(b *testing.B, r *room) time.Duration {
	b.Helper()
	var wires [][]byte
	r.mu.Lock()
	for v := range r.set.All() {
		wires = append(wires, v.Wire())
	}
	r.mu.Unlock()
	began := time.Now()
	for len(wires) > 0 {
		n := min(len(wires), 1024)
		if _, errs := protocol.VerifyBatch(r.group, wires[:n], rand.Reader); errs[0] != nil {
			b.Fatal(errs[0])
		}
		wires = wires[n:]
	}
	return time.Since(began)
}

func newcomer(b *testing.B) *Node {
	b.Helper()
	account, err := protocol.NewAccount(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	n, err := New(context.Background(), Config{
		Account: account, Name: "bo", Datastore: storage.NewMemory(),
		Listen: []string{"/ip4/127.0.0.1/tcp/0"}, DisableMDNS: true,
	})
	if err != nil {
		b.Fatal(err)
	}
	return n
}
