package protocol

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"testing"

	"github.com/hdevalence/ed25519consensus"
)

// BenchmarkSignatures compares what docs/decisions/0001-ed25519.md chose from:
//
//	go test ./protocol -run '^$' -bench Signatures -benchtime 2s -count 3
//
// ns/sig is the cost of one signature of a message as long as an event's preimage.
func BenchmarkSignatures(b *testing.B) {
	const most = 1024
	keys, msgs, sigs := make([]Key, most), make([][]byte, most), make([]Signature, most)
	for i := range most {
		key := keyFrom(secretOf(fmt.Sprint("signer", i%50))) // a group's devices sign more than once
		keys[i], msgs[i] = publicKey(key), []byte(fmt.Sprintf("%0250d", i))
		sigs[i] = sign(key, msgs[i])
	}
	run := func(name string, n int, verify func() bool) {
		b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
			for b.Loop() {
				if !verify() {
					b.Fatal("a good signature does not hold")
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/sig")
		})
	}
	i := 0
	next := func() int { i = (i + 1) % most; return i }
	run("std", 1, func() bool { i := next(); return ed25519.Verify(keys[i][:], msgs[i], sigs[i][:]) })
	run("ed25519consensus", 1, func() bool { i := next(); return ed25519consensus.Verify(keys[i][:], msgs[i], sigs[i][:]) })
	run("voi", 1, func() bool { i := next(); return verifySig(keys[i], msgs[i], sigs[i]) })
	for _, n := range []int{64, most} {
		run("ed25519consensus-batch", n, func() bool {
			v := ed25519consensus.NewPreallocatedBatchVerifier(n)
			for i := range n {
				v.Add(keys[i][:], msgs[i], sigs[i][:])
			}
			return v.Verify()
		})
		run("voi-batch", n, func() bool {
			v := newSigBatch(n)
			for i := range n {
				v.add(keys[i], msgs[i], sigs[i])
			}
			ok := true
			for _, x := range v.verify(rand.Reader) {
				ok = ok && x
			}
			return ok
		})
	}
}
