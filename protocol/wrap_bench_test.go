package protocol

import (
	"crypto/ecdh"
	"crypto/mlkem"
	"encoding/binary"
	"fmt"
	"testing"
	"time"
)

// BenchmarkRotation is what a rotation costs its author on one processor, by the number
// of devices: time, bytes, and how much longer it takes than the bare operations of the
// KEM, which are two multiplications on the curve a device, and an encapsulation where it
// is hybrid.
func BenchmarkRotation(b *testing.B) {
	e := secretOf("E")
	ep, err := NewEpoch(ID{1}, EpochID(ID{1}, Key{2}, 3, e), Key{2}, 3, e)
	if err != nil {
		b.Fatal(err)
	}
	p, err := DerivePrekey(secretOf("prekey"))
	if err != nil {
		b.Fatal(err)
	}
	for _, devices := range []int{32, 256, 1000, 5000} {
		b.Run(fmt.Sprint("devices=", devices), func(b *testing.B) {
			hybrid := devices <= HybridMost
			part, err := PrekeyPart(p.Public(), hybrid)
			if err != nil {
				b.Fatal(err)
			}
			bare := bareKEM(b, p.Public(), hybrid, devices)
			size := 0
			for b.Loop() {
				rows := make([]Row, devices)
				for i := range rows {
					var dev Key
					binary.BigEndian.PutUint32(dev[:], uint32(i))
					if rows[i], err = ep.Wrap(Key{2}, dev, hybrid, part); err != nil {
						b.Fatal(err)
					}
				}
				size = 0
				for _, c := range ChunkWraps(hybrid, rows) {
					size += len(c)
				}
			}
			b.ReportMetric(float64(size), "wire-B")
			b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(bare), "times-bare-KEM")
		})
	}
}

// bareKEM measures the operations that no wrap can do without.
func bareKEM(b *testing.B, public []byte, hybrid bool, devices int) time.Duration {
	b.Helper()
	theirs, err := ecdh.X25519().NewPublicKey(public[hybridPQ:])
	if err != nil {
		b.Fatal(err)
	}
	pq, err := mlkem.NewEncapsulationKey768(public[:hybridPQ])
	if err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	for i := range devices {
		s := secretOf(fmt.Sprint(i))
		mine, err := ecdh.X25519().NewPrivateKey(s[:])
		if err != nil {
			b.Fatal(err)
		}
		mine.PublicKey()
		if _, err := mine.ECDH(theirs); err != nil {
			b.Fatal(err)
		}
		if hybrid {
			pq.Encapsulate()
		}
	}
	return time.Since(began)
}
