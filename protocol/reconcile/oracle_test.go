package reconcile

import (
	"bytes"
	"encoding/hex"
	"math"
	"slices"
	"sync"
	"testing"

	"github.com/nbd-wtf/go-nostr"
	"github.com/nbd-wtf/go-nostr/nip77/negentropy"
	"github.com/nbd-wtf/go-nostr/nip77/negentropy/storage/vector"
	"pgregory.net/rapid"
)

// An implementation of Negentropy by others, to compare with.
func oracle(v *Vector, limit int) *negentropy.Negentropy {
	store := vector.New()
	for _, item := range v.items {
		store.Insert(nostr.Timestamp(item.Time), hex.EncodeToString(item.ID[:]))
	}
	store.Seal()
	if limit == math.MaxInt {
		limit = 0
	}
	return negentropy.New(store, limit)
}

func unhex(t *rapid.T, s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var limits = rapid.SampledFrom([]int{MinMessage, 2 * MinMessage, 64 << 10, math.MaxInt})

// We answer as it does, byte for byte, as long as there is room for the whole answer.
func TestOurAnswersAreTheOracles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPair(t, 1500)
		i, first, err := Compare(p.a, Item{}, Infinity(), math.MaxInt)
		if err != nil {
			t.Fatal(err)
		}
		if p.a.Len() >= fewItems {
			if theirs := oracle(p.a, 0).Start(); hex.EncodeToString(first) != theirs {
				t.Fatalf("the first message:\n%x, not\n%s", first, theirs)
			}
		}
		other := oracle(p.b, 0)
		if _, err := run(i, first, p.a, func(msg []byte) ([]byte, error) {
			theirs, err := other.Reconcile(hex.EncodeToString(msg))
			if err != nil {
				return nil, err
			}
			ours, err := Respond(p.b, msg, math.MaxInt)
			if err == nil && !bytes.Equal(ours, unhex(t, theirs)) {
				t.Fatalf("to %x we say\n%x, not\n%s", msg, ours, theirs)
			}
			return ours, err
		}); err != nil {
			t.Fatal(err)
		}
	})
}

// We ask and it answers.
func TestWeAskTheOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPair(t, 1500)
		limit := limits.Draw(t, "limit")
		other := oracle(p.b, limit)
		i, first, err := Compare(p.a, Item{}, Infinity(), limits.Draw(t, "ours"))
		if err != nil {
			t.Fatal(err)
		}
		o, err := run(i, first, p.a, func(msg []byte) ([]byte, error) {
			answer, err := other.Reconcile(hex.EncodeToString(msg))
			if err != nil {
				return nil, err
			}
			return unhex(t, answer), nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(o.have, p.onlyA) || !slices.Equal(o.need, p.onlyB) {
			t.Fatalf("we found %d and %d, not %d and %d", len(o.have), len(o.need), len(p.onlyA), len(p.onlyB))
		}
	})
}

// It asks and we answer.
func TestTheOracleAsksUs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPair(t, 1500)
		limit := limits.Draw(t, "limit")
		asker := oracle(p.a, limits.Draw(t, "theirs"))
		var have, need []ID
		var collecting sync.WaitGroup
		collect := func(from chan string, list *[]ID) {
			collecting.Go(func() {
				for id := range from {
					*list = append(*list, ID(must(hex.DecodeString(id))))
				}
			})
		}
		collect(asker.Haves, &have)
		collect(asker.HaveNots, &need)
		msg := asker.Start()
		for rounds := 0; msg != ""; rounds++ {
			answer, err := Respond(p.b, unhex(t, msg), limit)
			if err == nil && rounds < 1000 {
				msg, err = asker.Reconcile(hex.EncodeToString(answer))
			}
			if err != nil || rounds == 1000 {
				close(asker.Haves)
				close(asker.HaveNots)
				t.Fatalf("round %d: %v", rounds, err)
			}
		}
		collecting.Wait()
		for _, list := range []*[]ID{&have, &need} {
			slices.SortFunc(*list, func(a, b ID) int { return bytes.Compare(a[:], b[:]) })
			*list = slices.Compact(*list) // it may tell the same twice
		}
		if !slices.Equal(have, p.onlyA) || !slices.Equal(need, p.onlyB) {
			t.Fatalf("it found %d and %d, not %d and %d", len(have), len(need), len(p.onlyA), len(p.onlyB))
		}
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
