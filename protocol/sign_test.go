package protocol

import (
	"fmt"
	"slices"
	"testing"

	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
)

// In a sum without weights, what is added to one signature and taken off another would
// cancel out.
func TestBatchIsWeighted(t *testing.T) {
	for _, keys := range []int{1, 2} {
		var b sigBatch
		for i := range 6 {
			key := keyFrom(secretOf(fmt.Sprint("signer", i%keys)))
			msg := []byte{byte(i)}
			b.add(publicKey(key), msg, sign(key, msg))
		}
		if !b.allHold(fixed("weights")) {
			t.Fatal("good signatures do not hold together")
		}
		for i, shift := range map[int]func(s, by *scalar.Scalar){
			1: func(s, by *scalar.Scalar) { s.Add(s, by) },
			3: func(s, by *scalar.Scalar) { s.Sub(s, by) },
		} {
			var s scalar.Scalar
			sig := &b.sigs[i].sig
			if _, err := s.SetCanonicalBytes(sig[32:]); err != nil {
				t.Fatal(err)
			}
			shift(&s, scalar.One())
			if err := s.ToBytes(sig[32:]); err != nil {
				t.Fatal(err)
			}
		}
		if got, want := b.verify(fixed("weights")), []bool{true, false, true, false, true, true}; !slices.Equal(got, want) {
			t.Errorf("%d keys: %v hold, not %v", keys, got, want)
		}
	}
}

func TestBatchWithoutRandomness(t *testing.T) {
	var b sigBatch
	key := keyFrom(secretOf("signer"))
	b.add(publicKey(key), []byte("good"), sign(key, []byte("good")))
	b.add(publicKey(key), []byte("bad"), sign(key, []byte("good")))
	if got := b.verify(empty{}); !got[0] || got[1] {
		t.Error(got)
	}
}

// empty is a random source that has run dry.
type empty struct{}

func (empty) Read([]byte) (int, error) { return 0, fmt.Errorf("empty") }
