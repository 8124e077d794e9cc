package protocol

import (
	"fmt"
	"testing"
)

// A batch finds the good admissions good and no other, and what is added after it is what
// is added without it.
func TestABatchProvesWhatAddWould(t *testing.T) {
	w := newWorld(t)
	l, in := w.invite(w.ana, "one", Member)
	spoil := map[int]func(*Grant){
		2: func(g *Grant) { g.Cert.RootSig[5] ^= 1 },
		3: func(g *Grant) { g.Cert.DevSig[5] ^= 1 },
		5: func(g *Grant) { g.Proof.RootSig[5] ^= 1 },
		6: func(g *Grant) { g.Proof.InviteSig[5] ^= 1 },
		8: func(g *Grant) { g.Proof.Nonce[5] ^= 1 },
	}
	before := len(w.events)
	for i := range 12 {
		g := w.admission(l, in, w.someone(fmt.Sprint("bob", i)), Member)
		if f := spoil[i]; f != nil {
			f(g)
			w.refuse("", w.ana, KindGrant, g)
		} else {
			w.act(w.ana, KindGrant, g)
		}
	}
	for _, batch := range []bool{false, true} {
		s := NewSet(w.group)
		for _, v := range w.events[:before] {
			w.must(s.Add(v))
		}
		if batch {
			s.Prove(w.events[before:], w.random)
			if len(s.proved) != 12-len(spoil) {
				t.Errorf("%d admissions proved, %d are good", len(s.proved), 12-len(spoil))
			}
		}
		for i, v := range w.events[before:] {
			if err := s.Add(v); (err == nil) != (spoil[i] == nil) {
				t.Errorf("batch %v: admission %d: %v", batch, i, err)
			}
		}
	}
}
