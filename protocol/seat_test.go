package protocol

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// One member brings more devices than anybody has, none of which has seen another. The
// roster counts some, the same whatever came first, and always the one that was admitted.
func TestAMemberHasFewDevices(t *testing.T) {
	w := newWorld(t)
	mal := w.join("mal", Member)
	var flood []Verified
	for i := range 4 * MaxSeated {
		b := mal.second(w.group)
		b.become(Account{Seed: mal.account.Seed, Device: secretOf(fmt.Sprint("device", i))}.Identity(w.group))
		w.hlc -= uint64(i % 3) // they say that they came at any time
		flood = append(flood, w.write(b, KindDeviceAdd, &DeviceAdd{Cert: b.id.Cert()}, mal.auth))
	}
	var first []Key
	for seed := range uint64(8) {
		h, rng := &holder{set: NewSet(w.group), waiting: map[ID][]Verified{}, refused: map[ID]bool{}}, rand.New(rand.NewPCG(seed, 1))
		h.roster = Eval(h.set)
		for _, v := range w.events[:len(w.events)-len(flood)] {
			w.must(h.set.Add(v))
		}
		rng.Shuffle(len(flood), func(i, j int) { flood[i], flood[j] = flood[j], flood[i] })
		for _, v := range flood {
			h.take(v)
		}
		h.roster.Extend()
		s, ok := h.roster.Standing(mal.root())
		if !ok || len(s.Devices) != MaxSeated || !slices.Contains(s.Devices, mal.dev()) {
			t.Fatalf("%d devices, and %v that the first is one of them", len(s.Devices), slices.Contains(s.Devices, mal.dev()))
		}
		if first == nil {
			first = s.Devices
		}
		if !slices.Equal(s.Devices, first) {
			t.Error("which they are depends on what came first")
		}
		owned := 0
		for _, v := range flood {
			if o, ok := h.roster.Owner(v.Header().Dev); ok && slices.Contains(o.Devices, v.Header().Dev) {
				owned++
			} else if ok {
				t.Error("a device is somebody's who has it not")
			}
		}
		if owned != MaxSeated-1 {
			t.Errorf("%d of them are the member's", owned)
		}
	}
}
