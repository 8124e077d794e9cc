package keysim

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"math/rand/v2"

	"github.com/p2pchat/p2pchat/protocol"
)

// box is what HPKE is taken to do: it opens for the key that it is for and under the
// names that it was made with, and for nobody else.
type box struct {
	eid         protocol.ID
	author, dev protocol.Key
	prekey      protocol.ID
	e           protocol.Secret
	leak        bool          // made by somebody who was in, for somebody who was not
	real        *protocol.Row // the same by HPKE, where that is done
}

// plainBox is the length of a box of X25519, which is as good as a longer one here.
const plainBox = 80

// wrap seals an epoch's secret to a device's prekey.
func (w *world) wrap(ep *protocol.Epoch, author, dev protocol.Key, prekey []byte, leak bool) (protocol.Row, error) {
	b := &box{eid: ep.ID, author: author, dev: dev, prekey: sha256.Sum256(prekey), e: ep.E, leak: leak}
	if w.real {
		real, err := ep.Wrap(author, dev, true, prekey)
		if err != nil {
			return protocol.Row{}, err
		}
		b.real = &real
	}
	row := w.garbage(dev)
	w.boxes[string(row.Box)] = b
	w.tally.Wraps++
	return row, nil
}

// garbage is a row with a box that nothing is in.
func (w *world) garbage(dev protocol.Key) protocol.Row {
	row := protocol.Row{Dev: dev.Row(), Box: make([]byte, plainBox)}
	_, _ = w.random.Read(row.Box)
	return row
}

var errNotOurs = errors.New("the box does not open")

// unwrap opens a row for a device with a prekey, as [protocol.Prekey.Unwrap] does.
func (w *world) unwrap(row protocol.Row, key *prekey, dev protocol.Key, eid protocol.ID, author protocol.Key, seq uint64) (*protocol.Epoch, error) {
	b := w.boxes[string(row.Box)]
	var ep *protocol.Epoch
	err := errNotOurs
	if b != nil && b.eid == eid && b.author == author && b.dev == dev && b.prekey == key.id {
		ep, err = protocol.NewEpoch(w.group, eid, author, seq, b.e)
	}
	if b == nil || b.real == nil {
		return ep, err
	}
	real, realErr := key.real.Unwrap(*b.real, true, dev, w.group, eid, author, seq)
	if (err == nil) != (realErr == nil) || err == nil && real.E != ep.E {
		w.fail("a wrap opens by HPKE: %v, and should: %v", realErr, err)
	}
	return ep, err
}

// true says whether a secret is an epoch's.
func (w *world) true(s protocol.EpochSecret) bool {
	start := w.starts[s.Epoch]
	switch {
	case start == nil:
		return false
	case !s.E.IsZero():
		return s.E == start.ep.E
	}
	return s.S == stepOf(start.ep, s.Step)
}

func (w *world) genuine(ep *protocol.Epoch) bool {
	return w.true(protocol.EpochSecret{Epoch: ep.ID, E: ep.E, Step: ep.Step, S: ep.S})
}

// stepOf walks to a step, as the specification says.
func stepOf(ep *protocol.Epoch, step uint32) protocol.Secret {
	s, err := hkdf.Key(sha256.New, ep.E[:], ep.Group[:], "p2pchat/1 step0", 32)
	for range step {
		s, err = hkdf.Expand(sha256.New, s, "p2pchat/1 step", 32)
	}
	if err != nil {
		panic(err) // 32 bytes are not too many
	}
	return protocol.Secret(s)
}

// newPrekey draws a prekey and returns what is published of it.
func (w *world) newPrekey(week uint64) (*prekey, []byte) {
	k := &prekey{week: week, seed: w.secret()}
	var public []byte
	if w.real {
		var err error
		if k.real, err = protocol.DerivePrekey(k.seed); err != nil {
			panic(err) // every seed is one
		}
		public = k.real.Public()
	} else {
		public = make([]byte, publicPrekey)
		_, _ = rand.NewChaCha8(k.seed).Read(public)
	}
	k.id = sha256.Sum256(public)
	return k, public
}

// publicPrekey is the length of what a prekey record holds.
const publicPrekey = 1216

// handOver gives secrets to a device that asked a holder, as an answer sealed to its
// request does.
func (w *world) handOver(asker, holder *device, list []protocol.EpochSecret) []protocol.EpochSecret {
	if !w.real || len(list) == 0 {
		return list
	}
	box, err := protocol.NewBoxKey(true)
	if err != nil {
		panic(err)
	}
	other, err := protocol.NewBoxKey(true)
	if err != nil {
		panic(err)
	}
	sealed, err := protocol.SealKeys(w.group, asker.id.Dev(), holder.id.Dev(), box.Public(), list)
	if err != nil {
		w.fail("an answer: %v", err)
		return nil
	}
	if _, err := protocol.OpenKeys(w.group, asker.id.Dev(), holder.id.Dev(), other, sealed); err == nil {
		w.fail("an answer opens for another key")
	}
	out, err := protocol.OpenKeys(w.group, asker.id.Dev(), holder.id.Dev(), box, sealed)
	if err != nil || len(out) != len(list) || !bytes.Equal(out[0].E[:], list[0].E[:]) {
		w.fail("an answer does not open: %v", err)
	}
	return out
}
