package storage

import (
	"cmp"
	"slices"

	"github.com/p2pchat/p2pchat/protocol"
)

// Messages may come before those they link to: who joins reads the newest page first.
// So a chain of messages may have holes. What is missing there is known from both
// sides: by its places, and by the ids that stored events link to.

// held is what a room holds of a chain. It is replaced and never changed: what is
// appended, what is committed and what is on its way to the disk share its slices.
type held struct {
	tips  []tip    // events that no stored one follows, the longest first
	holes []span   // places below the longest where nothing is stored, ascending
	wants []want   // what stored events link to and is not stored, by seq and id
	falls []uint64 // places with a lower time than the one before them
}

// span is places of a chain, both ends included.
type span struct {
	_        struct{} `cbor:",toarray"`
	From, To uint64
}

// want is an event that is missing, and the lowest time of those that link to it.
type want struct {
	_   struct{} `cbor:",toarray"`
	Seq uint64
	ID  protocol.ID
	HLC uint64
}

func (w want) compare(o want) int {
	return cmp.Or(cmp.Compare(w.Seq, o.Seq), w.ID.Compare(o.ID))
}

// end returns the highest seq, 0 if there is none.
func (h *held) end() uint64 {
	if len(h.tips) == 0 {
		return 0
	}
	return h.tips[0].Seq
}

// hole returns the index of the hole that a place lies in.
func (h *held) hole(seq uint64) (int, bool) {
	return slices.BinarySearchFunc(h.holes, seq, func(s span, seq uint64) int {
		switch {
		case s.To < seq:
			return -1
		case s.From > seq:
			return 1
		}
		return 0
	})
}

// free says whether nothing is stored at a place, without asking the disk.
func (h *held) free(seq uint64) bool {
	_, in := h.hole(seq)
	return in || seq > h.end()
}

// next returns the first place from one on that is not in a hole.
func (h *held) next(seq uint64) uint64 {
	if i, in := h.hole(seq); in {
		return h.holes[i].To + 1
	}
	return seq
}

// last returns the last place up to one that is not in a hole, or nothing.
func (h *held) last(seq uint64) uint64 {
	seq = min(seq, h.end())
	if i, in := h.hole(seq); in {
		return h.holes[i].From - 1
	}
	return seq
}

// occupy notes that something is stored at a free place. It is called before the
// tips change.
func (h *held) occupy(seq uint64) {
	i, in := h.hole(seq)
	if !in {
		if end := h.end(); seq > end+1 {
			h.holes = append(slices.Clip(h.holes), span{From: end + 1, To: seq - 1})
		}
		return
	}
	var rest []span
	if s := h.holes[i]; s.From < seq {
		rest = append(rest, span{From: s.From, To: seq - 1})
	}
	if s := h.holes[i]; s.To > seq {
		rest = append(rest, span{From: seq + 1, To: s.To})
	}
	h.holes = slices.Concat(h.holes[:i], rest, h.holes[i+1:])
}

// wanted returns the want of an event, if one that is stored links to it.
func (h *held) wanted(seq uint64, id protocol.ID) (want, bool) {
	i, ok := slices.BinarySearchFunc(h.wants, want{Seq: seq, ID: id}, want.compare)
	if !ok {
		return want{}, false
	}
	return h.wants[i], true
}

// miss notes that an event which links to what is not stored is stored.
func (h *held) miss(w want) {
	i, ok := slices.BinarySearchFunc(h.wants, w, want.compare)
	if ok {
		w.HLC = min(w.HLC, h.wants[i].HLC)
		h.wants = slices.Clone(h.wants)
		h.wants[i] = w
		return
	}
	h.wants = slices.Insert(slices.Clone(h.wants), i, w)
}

// found forgets a want.
func (h *held) found(w want) {
	h.wants = slices.DeleteFunc(slices.Clone(h.wants), func(o want) bool { return o.compare(w) == 0 })
}

// missing returns how many events at least are not stored.
func (h *held) missing() uint64 {
	n := uint64(0)
	for _, s := range h.holes {
		n += s.To - s.From + 1
	}
	return max(n, uint64(len(h.wants))) // the branch of a fork may miss what the other has
}

// Gap says what is missing of a device's chain of messages.
type Gap struct {
	Dev     protocol.Key
	Max     uint64 // the highest seq that is stored
	Missing uint64 // how many events before it are not, at least
}

// Gaps returns the chains of messages of which something is missing before what is
// committed, by device. A copy without its body is not missing.
func (r *Room) Gaps() []Gap {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []Gap
	for k, h := range r.durable {
		if len(h.wants) > 0 {
			list = append(list, Gap{Dev: k.dev, Max: h.end(), Missing: h.missing()})
		}
	}
	slices.SortFunc(list, func(a, b Gap) int { return a.Dev.Compare(b.Dev) })
	return list
}

// MissingBefore returns how many places of a chain right before a stored message hold
// nothing: at least one where what the message links to is not stored, else none.
func (r *Room) MissingBefore(v protocol.Verified) uint64 {
	h := v.Header()
	r.mu.Lock()
	defer r.mu.Unlock()
	chain, ok := r.durable[chainKey{h.Dev, h.Chain}]
	if !ok || h.Seq < 2 {
		return 0
	}
	if _, wanted := chain.wanted(h.Seq-1, h.Prev); !wanted {
		return 0
	}
	if i, in := chain.hole(h.Seq - 1); in {
		return h.Seq - chain.holes[i].From
	}
	return 1 // the branch of a fork
}

// Wanted says whether an event that is not stored comes right before one that is,
// appended or committed: it fills a hole.
func (r *Room) Wanted(t protocol.Tip) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.chains[chainKey{t.Dev, t.Chain}]
	_, ok := h.wanted(t.Seq, t.ID)
	return ok
}

// Free says whether it is known, without asking the disk, that nothing is stored at a
// place of a device's chain of messages, appended or committed.
func (r *Room) Free(dev protocol.Key, seq uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.chains[chainKey{dev, protocol.Messages}]
	return h.free(seq)
}

// recount finds the chains with holes and counts what they want. The caller holds mu.
func (r *Room) recount() {
	r.wanting, r.holed = 0, make(map[chainKey]bool)
	for k, h := range r.chains {
		if len(h.wants) > 0 {
			r.holed[k] = true
			r.wanting += len(h.wants)
		}
	}
}

// take over what becomes of a chain. The caller holds mu.
func (r *Room) hold(k chainKey, h held) {
	if n := len(r.chains[k].wants); n > 0 || len(h.wants) > 0 {
		r.wanting += len(h.wants) - n
		delete(r.holed, k)
		if len(h.wants) > 0 {
			r.holed[k] = true
		}
	}
	r.chains[k] = h
}
