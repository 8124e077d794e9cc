package reconcile

import (
	"errors"
	"slices"
)

// MaxRounds bounds how often one comparison goes back and forth. Sets of a million that
// differ in a thousand places take some ten rounds; only sets with hardly anything in
// common take more, and what one comparison has not found the next one finds.
const MaxRounds = 64

// maxOpen bounds the ranges that are still to be compared. An honest answer of 64 KiB
// adds no more than some 3,000, and who is asked about them answers as fast.
const maxOpen = 1 << 16

// smallPart is how many items a range holds that an [Initiator] has the other side list:
// the ids of more cost more than fingerprints of them do.
const smallPart = 4

// ErrRounds says that a comparison took more than [MaxRounds].
var ErrRounds = errors.New("the comparison takes too many rounds: what is left is for the next one")

// Initiator asks another side what it holds of a range, message by message, and so finds
// out what each lacks. The set may change meanwhile: what comes into it may be missed.
type Initiator struct {
	limit  int
	all    bool
	rounds int
	open   []span // still to ask about, ascending
	asked  []span // what the last message asks about, ascending
}

// span is a range of which it is not known whether both sides hold the same.
type span struct {
	from, to  bound
	undivided bool // it was asked about before, and had no answer
}

// Found is what one answer told.
type Found struct {
	Have  []Difference // what the other side lacks, ascending
	Need  []ID         // what the other side holds and this one does not, as far as it was listed
	Lacks bool         // whether the other side holds anything that this one does not
}

// Difference is a range of which the other side holds the items in Except, which are in
// their order in the set, and none of the others.
type Difference struct {
	From, To Item // from From up to, not including, To
	Count    int  // of items that the other side lacks
	Except   []ID
}

// Give returns an Initiator that finds out which items of set, from an item up to, not
// including, another, the other side lacks; Infinity is after all. What itself lacks
// it learns by the way and not wholly: ranges in which it holds nothing are not looked
// into, so that many ids which it has no use for do not travel. The message, of at most
// limit bytes, goes to the other side's [Respond]; nil means that there is nothing to
// ask, as the set holds nothing there.
func Give(set Set, from, to Item, limit int) (*Initiator, []byte, error) {
	return start(set, from, to, limit, false)
}

// Compare is Give for who wants to know both wholly: what the other side lacks, and
// what itself lacks.
func Compare(set Set, from, to Item, limit int) (*Initiator, []byte, error) {
	return start(set, from, to, limit, true)
}

func start(set Set, from, to Item, limit int, all bool) (*Initiator, []byte, error) {
	i := &Initiator{limit: max(limit, MinMessage), all: all}
	if from.Compare(to) < 0 {
		i.open = []span{{from: boundOf(from), to: boundOf(to)}}
	}
	msg, err := i.message(set)
	return i, msg, err
}

// Next takes in the answer to the last message and returns the next one; nil says that
// the comparison is complete. With ErrRounds, what was found is good too.
func (i *Initiator) Next(set Set, answer []byte) ([]byte, Found, error) {
	found, err := i.read(set, answer)
	if err != nil {
		return nil, Found{}, err
	}
	if len(i.open) > maxOpen {
		return nil, found, malformed("more than %d ranges", maxOpen)
	}
	if i.rounds++; i.rounds >= MaxRounds && len(i.open) > 0 {
		return nil, found, ErrRounds
	}
	msg, err := i.message(set)
	return msg, found, err
}

// message asks about as many of the open ranges as have room.
func (i *Initiator) message(set Set) ([]byte, error) {
	const most = buckets*(len(Fingerprint{})+len(ID{})+16) + reserved
	w := newWriter()
	i.asked = nil
	n := 0
	for ; n < len(i.open) && len(w.out)+most <= i.limit; n++ {
		s := i.open[n]
		lo, hi, err := numbers(set, s.from, s.to)
		if err != nil {
			return nil, err
		}
		if lo == hi && !i.all {
			continue
		}
		parts := buckets
		switch {
		case s.undivided:
			parts = 1
		case hi-lo < fewItems:
			parts = max((hi-lo)/smallPart, 1)
		}
		w.skip(s.from)
		from := s.from
		if err := w.split(set, lo, hi, parts, s.to, func(to bound) {
			i.asked = append(i.asked, span{from: from, to: to})
			from = to
		}); err != nil {
			return nil, err
		}
	}
	i.open = slices.Delete(i.open, 0, n)
	if len(i.asked) == 0 {
		return nil, nil
	}
	return w.out, nil
}

// read takes in an answer. Of what was asked, that of which it says nothing is equal;
// the rest is settled by a list, or opened again.
func (i *Initiator) read(set Set, answer []byte) (Found, error) {
	var found Found
	if len(answer) == 0 || answer[0] != version {
		return found, malformed("an answer in another version of Negentropy")
	}
	var again []span
	asked := i.asked
	for r := (reader{in: answer[1:]}); len(r.in) > 0; {
		s, err := r.next()
		if err != nil {
			return found, err
		}
		for len(asked) > 0 && !s.from.before(asked[0].to) {
			asked = asked[1:]
		}
		switch s.mode {
		case modeList:
			if len(asked) == 0 || s.from.before(asked[0].from) || asked[0].to.before(s.to) {
				return found, malformed("a list of what was not asked for")
			}
			err = found.list(set, s)
		case modeFingerprint:
			again, err = i.compare(set, s, asked, again, &found)
		}
		if err != nil {
			return found, err
		}
	}
	i.open = append(again, i.open...)
	return found, nil
}

// compare looks at a fingerprint. One within a range that was asked about is an answer.
// One of a whole range or several says that the message had no room for the answer.
func (i *Initiator) compare(set Set, s stretch, asked, again []span, found *Found) ([]span, error) {
	for _, a := range asked {
		if !a.from.before(s.to) {
			break
		}
		part := span{from: a.from, to: a.to, undivided: true}
		if part.from.before(s.from) {
			part.from, part.undivided = s.from, false
		}
		if s.to.before(part.to) {
			part.to, part.undivided = s.to, false
		}
		lo, hi, err := numbers(set, part.from, part.to)
		switch {
		case err != nil:
			return again, err
		case lo == hi && !i.all:
			found.Lacks = true
		case part.undivided || s.from.before(part.from) || part.to.before(s.to):
			again = append(again, part)
		default:
			own, err := FingerprintOf(set, lo, hi)
			if err != nil {
				return again, err
			}
			if own != s.fingerprint {
				again = append(again, part)
			}
		}
	}
	return again, nil
}

// errEnough ends a visit early.
var errEnough = errors.New("enough")

// list compares a range with a list of all that the other side holds in it.
func (f *Found) list(set Set, s stretch) error {
	lo, hi, err := numbers(set, s.from, s.to)
	if err != nil {
		return err
	}
	theirs := make(map[ID]struct{}, len(s.ids)/len(ID{}))
	for ids := s.ids; len(ids) > 0; ids = ids[len(ID{}):] {
		theirs[ID(ids[:len(ID{})])] = struct{}{}
	}
	if len(theirs) != len(s.ids)/len(ID{}) {
		return malformed("an id is listed twice")
	}
	d := Difference{From: s.from.Item, To: s.to.Item}
	if len(theirs) > 0 {
		if err := set.Items(lo, hi, func(item Item) error {
			if _, ok := theirs[item.ID]; ok {
				delete(theirs, item.ID)
				d.Except = append(d.Except, item.ID)
			}
			if len(theirs) == 0 {
				return errEnough
			}
			return nil
		}); err != nil && !errors.Is(err, errEnough) {
			return err
		}
	}
	for ids := s.ids; len(ids) > 0 && len(theirs) > 0; ids = ids[len(ID{}):] {
		if id := ID(ids[:len(ID{})]); has(theirs, id) {
			f.Need, f.Lacks = append(f.Need, id), true
		}
	}
	if d.Count = hi - lo - len(d.Except); d.Count > 0 {
		f.have(d)
	}
	return nil
}

func has(set map[ID]struct{}, id ID) bool { _, ok := set[id]; return ok }

// have adds a difference, to the last one if that ends where this begins.
func (f *Found) have(d Difference) {
	if n := len(f.Have); n > 0 && f.Have[n-1].To == d.From {
		last := &f.Have[n-1]
		last.To = d.To
		last.Count += d.Count
		last.Except = append(last.Except, d.Except...)
		return
	}
	f.Have = append(f.Have, d)
}
