package protocol

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
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

// Keys and points R of small order, in every encoding that ZIP-215 takes: with S = 0 each
// pair holds, alone and with all the others.
func TestSmallOrderAloneAndInABatch(t *testing.T) {
	zeros, ones := strings.Repeat("00", 30), strings.Repeat("ff", 30)
	eighth, other := "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc", "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03"
	var points []Key
	for _, text := range []string{
		"01" + zeros + "00", "01" + zeros + "80", "ec" + ones + "7f", "ec" + ones + "ff", "00" + zeros + "00", "00" + zeros + "80",
		eighth + "05", eighth + "85", other + "7a", other + "fa",
		"ed" + ones + "7f", "ed" + ones + "ff", "ee" + ones + "7f", "ee" + ones + "ff",
	} {
		b, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		points = append(points, Key(b))
	}
	var b sigBatch
	for _, key := range points {
		for _, r := range points {
			var sig Signature
			copy(sig[:], r[:])
			if !verifySig(key, []byte("Zcash"), sig) {
				t.Errorf("key %x and R %x do not hold alone", key, r)
			}
			b.add(key, []byte("Zcash"), sig)
		}
	}
	if !b.allHold(fixed("weights")) {
		t.Error("they do not hold together")
	}
	b.sigs[7].sig[32] = 1 // S = 1
	for i, ok := range b.verify(fixed("weights")) {
		if ok != (i != 7) {
			t.Errorf("number %d: %v", i, ok)
		}
	}
}

// empty is a random source that has run dry.
type empty struct{}

func (empty) Read([]byte) (int, error) { return 0, fmt.Errorf("empty") }
