package reconcile

// MinMessage is the smallest limit on messages, in bytes, that leaves room for what a
// range is split into.
const MinMessage = 4096

const (
	buckets  = 16          // a range is split into so many
	fewItems = 2 * buckets // with fewer than this, a responder lists them
	reserved = 200         // bytes of a message kept for what tells of its rest
)

// split writes fingerprints of so many equal parts of a range that holds the items from
// one number up to another, and tells where each part ends.
func (w *writer) split(set Set, lo, hi, parts int, to bound, each func(bound)) error {
	size, more := (hi-lo)/parts, (hi-lo)%parts
	for i := range parts {
		next := lo + size
		if i < more {
			next++
		}
		end := to
		if i < parts-1 {
			var err error
			if end, err = boundAt(set, next); err != nil {
				return err
			}
		}
		f, err := FingerprintOf(set, lo, next)
		if err != nil {
			return err
		}
		w.fingerprint(end, f)
		each(end)
		lo = next
	}
	return nil
}

// boundAt returns the shortest bound before the item of a number, which is not 0.
func boundAt(set Set, number int) (bound, error) {
	two := make([]Item, 0, 2)
	if err := set.Items(number-1, number+1, func(item Item) error {
		two = append(two, item)
		return nil
	}); err != nil {
		return bound{}, err
	}
	return between(two[0], two[1]), nil
}

// numbers returns between which numbers the items of a range are.
func numbers(set Set, from, to bound) (lo, hi int, err error) {
	if lo, err = set.Find(from.Item); err != nil {
		return 0, 0, err
	}
	if to.Item == Infinity() {
		return lo, set.Len(), nil
	}
	hi, err = set.Find(to.Item)
	return lo, hi, err
}

// Respond answers a message of an [Initiator] in at most limit bytes. It remembers
// nothing: what has no room in the answer the initiator asks again. An answer to a
// message of another version of the protocol says only which version this is.
func Respond(set Set, msg []byte, limit int) ([]byte, error) {
	if len(msg) == 0 || msg[0]&0xf0 != version&0xf0 {
		return nil, malformed("no message of any version of Negentropy")
	}
	w := newWriter()
	if msg[0] != version {
		return w.out, nil
	}
	limit = max(limit, MinMessage) - reserved
	for r := (reader{in: msg[1:]}); len(r.in) > 0; {
		s, err := r.next()
		if err != nil {
			return nil, err
		}
		if s.mode == modeSkip {
			continue
		}
		if fits, err := w.answer(set, s, limit); err != nil {
			return nil, err
		} else if !fits {
			return w.out, w.rest(set)
		}
	}
	return w.out, nil
}

// answer writes what the set holds in a range, unless the other side holds the same. It
// says whether all of it had room.
func (w *writer) answer(set Set, s stretch, limit int) (bool, error) {
	lo, hi, err := numbers(set, s.from, s.to)
	if err != nil {
		return false, err
	}
	if s.mode == modeFingerprint {
		own, err := FingerprintOf(set, lo, hi)
		if err != nil || own == s.fingerprint {
			return true, err
		}
	}
	w.skip(s.from)
	if s.mode == modeList || hi-lo < fewItems {
		return w.listWithin(set, lo, hi, s.to, limit)
	}
	before := *w
	if err := w.split(set, lo, hi, buckets, s.to, func(bound) {}); err != nil {
		return false, err
	}
	if len(w.out) <= limit {
		return true, nil
	}
	before.out = w.out[:len(before.out)]
	*w = before
	return false, nil
}

// listWithin lists as many items of a range as have room.
func (w *writer) listWithin(set Set, lo, hi int, to bound, limit int) (bool, error) {
	room := (limit - len(w.out)) / len(ID{})
	if hi-lo <= room {
		return true, w.list(to, set, lo, hi)
	}
	if room <= 0 {
		return false, nil
	}
	end, err := boundAt(set, lo+room)
	if err != nil {
		return false, err
	}
	return false, w.list(end, set, lo, lo+room)
}

// rest ends a message with a fingerprint of all that it says nothing of.
func (w *writer) rest(set Set) error {
	lo, err := set.Find(w.upto.Item)
	if err != nil {
		return err
	}
	f, err := FingerprintOf(set, lo, set.Len())
	if err != nil {
		return err
	}
	w.fingerprint(bound{Item: Infinity()}, f)
	return nil
}
