package protocol

import (
	"encoding/binary"
	"testing"
)

// BenchmarkWrap is what a rotation costs its author, by the number of devices.
func BenchmarkWrap(b *testing.B) {
	e := secretOf("E")
	eid := EpochID(ID{1}, Key{2}, 3, e)
	ep, err := NewEpoch(ID{1}, eid, Key{2}, 3, e)
	if err != nil {
		b.Fatal(err)
	}
	p, err := DerivePrekey(secretOf("prekey"))
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		devices int
	}{{"256", 256}, {"1000", 1000}} {
		b.Run(c.name, func(b *testing.B) {
			hybrid := c.devices <= HybridMost
			part, err := PrekeyPart(p.Public(), hybrid)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				var wraps []Wrap
				for i := range c.devices {
					var dev Key
					binary.BigEndian.PutUint32(dev[:], uint32(i))
					w, err := ep.Wrap(Key{2}, dev, hybrid, part)
					if err != nil {
						b.Fatal(err)
					}
					wraps = append(wraps, w)
				}
				size := 0
				for _, c := range ChunkWraps(wraps) {
					size += len(c)
				}
				b.ReportMetric(float64(size), "wire-B/op")
			}
		})
	}
}
