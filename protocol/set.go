package protocol

import (
	"errors"
	"fmt"
	"iter"
	"slices"
)

// ErrInvalid says that an event is well signed and yet not allowed: what it cites
// does not give its author the right. It stays so whatever arrives later.
var ErrInvalid = errors.New("not allowed")

// ErrNotMember says that a message's author had no grant when it was written.
var ErrNotMember = errors.New("its author is not a member")

// MissingError says which events something waits for.
type MissingError struct{ IDs []ID }

func (e *MissingError) Error() string {
	return fmt.Sprintf("waits for %d events, the first is %s", len(e.IDs), e.IDs[0])
}

// Set is the control events of one group, each statically valid and with all it
// refers to: the whole input of [Eval]. It says nothing about who is a member now.
type Set struct {
	group  ID
	nodes  []node // in an order in which everything comes after what it cites
	index  map[ID]int32
	heads  map[ID]struct{}
	places map[place][]int32 // by place on a chain; two at one place are a fork
	certs  map[Key][]owned
	epochs map[ID][]int32 // rekeys by epoch id: only one is true, but who lacks the secret cannot tell
	bad    map[ID]struct{}
	forks  []ForkProof
	seen   []uint32 // scratch of walk: the walk that last visited a node
	walks  uint32
	pasts  map[string]*Past

	trusted bool // signatures inside events were checked before they were stored
}

// node is a control event and what static checks found out about it.
type node struct {
	v     Verified
	clear Clear
	cites []int32 // refs and prev
	by    Key     // the author's identity
	rank  Rank    // of the grant it acts under
	auth  int32   // that grant; the genesis cites itself
}

type place struct {
	dev Key
	seq uint64
}

// owned says that a certificate for a device stands in an event.
type owned struct {
	root Key
	at   int32
}

// maxBad bounds how many invalid ids are remembered, so that what cites one is
// refused at once rather than waited for. Forgetting one costs only that wait.
const maxBad = 4096

// maxForks bounds the fork proofs a set keeps: one is enough to show a person.
const maxForks = 256

// maxPasts bounds the remembered closures; nearly all messages cite the same heads.
const maxPasts = 64

// NewSet returns the empty set of a group.
func NewSet(group ID) *Set {
	return &Set{
		group: group, index: make(map[ID]int32), heads: make(map[ID]struct{}), places: make(map[place][]int32),
		certs: make(map[Key][]owned), epochs: make(map[ID][]int32), bad: make(map[ID]struct{}), pasts: make(map[string]*Past),
	}
}

// Group returns the group's id.
func (s *Set) Group() ID { return s.group }

// Len returns how many events the set holds.
func (s *Set) Len() int { return len(s.nodes) }

// Has says whether the set holds an event.
func (s *Set) Has(id ID) bool { _, ok := s.index[id]; return ok }

// Get returns an event and its clear part.
func (s *Set) Get(id ID) (Verified, Clear, bool) {
	i, ok := s.index[id]
	if !ok {
		return Verified{}, nil, false
	}
	return s.nodes[i].v, s.nodes[i].clear, true
}

// Author returns the identity that an event of the set is by.
func (s *Set) Author(id ID) (Key, bool) {
	i, ok := s.index[id]
	if !ok {
		return Key{}, false
	}
	return s.nodes[i].by, true
}

// Forks returns the fork proofs among the set's events.
func (s *Set) Forks() []ForkProof { return slices.Clone(s.forks) }

// Heads returns the events that no other cites, ascending: what a new event
// refers to, to have all of the set in its past. No more than most are returned;
// must, where it is not zero, is in their past.
func (s *Set) Heads(most int, must ID) []ID {
	heads := make([]ID, 0, len(s.heads))
	for id := range s.heads {
		heads = append(heads, id)
	}
	slices.SortFunc(heads, ID.Compare)
	if len(heads) <= most {
		return heads
	}
	// Keep one that carries the author's grant; the rest are merged by later events.
	target, ok := s.index[must]
	for i, id := range heads {
		if ok && s.reaches([]int32{s.index[id]}, target) {
			heads[0], heads[i] = heads[i], heads[0]
			break
		}
	}
	heads = heads[:most]
	slices.SortFunc(heads, ID.Compare)
	return heads
}

// Add takes in a control event. A *MissingError means that it has to wait, and
// ErrErased that this copy came without its body; any other error is final. Adding an event twice changes nothing.
func (s *Set) Add(v Verified) error {
	if s.Has(v.id) {
		return nil
	}
	if _, ok := s.bad[v.id]; ok {
		return fmt.Errorf("event %s: %w", v.id, ErrInvalid)
	}
	n, err := s.resolve(v)
	if err == nil {
		err = s.static(&n)
	}
	var missing *MissingError
	switch {
	case err == nil:
		s.insert(n)
	case errors.Is(err, ErrErased):
		// Anybody can take the body off an event; its id must not become bad by that.
		err = fmt.Errorf("%s %s: %w", v.Header().Kind, v.id, err)
	case !errors.As(err, &missing):
		s.remember(v.id)
		err = fmt.Errorf("%s %s: %w", v.Header().Kind, v.id, err)
	}
	return err
}

// Restore takes in a control event that was in this set when it was stored. It
// resolves what the event cites again and trusts its signatures.
func (s *Set) Restore(v Verified) error {
	s.trusted = true
	defer func() { s.trusted = false }()
	return s.Add(v)
}

// All yields the events in an order in which each comes after what it cites. The
// set may grow meanwhile; what is added then is not yielded.
func (s *Set) All() iter.Seq[Verified] {
	nodes := s.nodes
	return func(yield func(Verified) bool) {
		for i := range nodes {
			if !yield(nodes[i].v) {
				return
			}
		}
	}
}

func (s *Set) remember(id ID) {
	if len(s.bad) >= maxBad {
		clear(s.bad)
	}
	s.bad[id] = struct{}{}
}

// resolve finds what an event cites.
func (s *Set) resolve(v Verified) (node, error) {
	h := v.Header()
	n := node{v: v}
	if v.group != s.group || h.Chain != Control {
		return n, invalid("not a control event of this group")
	}
	var missing []ID
	cite := func(id ID) int32 {
		i, ok := s.index[id]
		if _, bad := s.bad[id]; bad {
			i = -1
		} else if !ok {
			missing = append(missing, id)
		}
		return i
	}
	for _, id := range h.Refs {
		n.cites = append(n.cites, cite(id))
	}
	if !h.Prev.IsZero() {
		n.cites = append(n.cites, cite(h.Prev))
	}
	if !h.Auth.IsZero() {
		n.auth = cite(h.Auth)
	}
	if n.auth < 0 || slices.Contains(n.cites, -1) {
		return n, invalid("it cites an event that is not allowed")
	}
	if len(missing) > 0 {
		return n, &MissingError{missing}
	}
	if v.event.Body == nil {
		return n, fmt.Errorf("its clear part: %w", ErrErased)
	}
	c, err := ParseClear(v)
	if err != nil {
		return n, invalid("its clear part: %v", err)
	}
	n.clear = c
	return n, nil
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...)
}

func (s *Set) insert(n node) {
	i := int32(len(s.nodes))
	s.nodes = append(s.nodes, n)
	s.seen = append(s.seen, 0)
	s.index[n.v.id] = i
	for _, c := range n.cites {
		delete(s.heads, s.nodes[c].v.id)
	}
	s.heads[n.v.id] = struct{}{}
	h := n.v.Header()
	at := place{h.Dev, h.Seq}
	for _, other := range s.places[at] {
		if f, ok := Fork(s.nodes[other].v, n.v); ok && len(s.forks) < maxForks {
			s.forks = append(s.forks, f)
		}
	}
	s.places[at] = append(s.places[at], i)
	for _, c := range certsIn(n.clear) {
		s.certs[c.Dev] = append(s.certs[c.Dev], owned{c.Root, i})
	}
	if r, ok := n.clear.(*Rekey); ok {
		s.epochs[r.Epoch] = append(s.epochs[r.Epoch], i)
	}
}

// certsIn returns the certificates an event brings.
func certsIn(c Clear) []Cert {
	switch c := c.(type) {
	case *Genesis:
		return c.Founders
	case *Grant:
		if c.Cert != nil {
			return []Cert{*c.Cert}
		}
	case *DeviceAdd:
		return []Cert{c.Cert}
	}
	return nil
}

// walk visits the past of some events, themselves included, and stops where visit
// says no.
func (s *Set) walk(from []int32, visit func(i int32) bool) {
	s.walks++
	stack := slices.Clone(from)
	for len(stack) > 0 {
		i := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if s.seen[i] == s.walks {
			continue
		}
		s.seen[i] = s.walks
		if visit(i) {
			stack = append(stack, s.nodes[i].cites...)
		}
	}
}

// reaches says whether target is in the past of some events, or one of them.
// Everything comes after what it cites, so nothing before target leads to it.
func (s *Set) reaches(from []int32, target int32) bool {
	if target == 0 && len(from) > 0 {
		return true // everything descends from the genesis
	}
	found := false
	s.walk(from, func(i int32) bool {
		found = found || i == target
		return !found && i > target
	})
	return found
}

// Past is the closure of some heads: what an author had seen.
type Past struct {
	set  *Set
	has  []uint64 // a bit an event of the set
	size int
}

// Has says whether an event lies in the past.
func (p *Past) Has(id ID) bool {
	i, ok := p.set.index[id]
	return ok && p.at(i)
}

func (p *Past) at(i int32) bool {
	return int(i)>>6 < len(p.has) && p.has[i>>6]&(1<<(i&63)) != 0
}

// Past returns the closure of heads, or which of them are missing.
func (s *Set) Past(heads []ID) (*Past, error) {
	var key []byte
	for _, id := range heads {
		key = append(key, id[:]...)
	}
	if p, ok := s.pasts[string(key)]; ok {
		return p, nil
	}
	from := make([]int32, 0, len(heads))
	var missing []ID
	for _, id := range heads {
		if i, ok := s.index[id]; ok {
			from = append(from, i)
		} else if _, bad := s.bad[id]; bad {
			return nil, invalid("it cites an event that is not allowed")
		} else {
			missing = append(missing, id)
		}
	}
	if len(missing) > 0 {
		return nil, &MissingError{missing}
	}
	p := &Past{set: s, has: make([]uint64, (len(s.nodes)+63)/64)}
	s.walk(from, func(i int32) bool {
		p.has[i>>6] |= 1 << (i & 63)
		p.size++
		return true
	})
	if len(s.pasts) >= maxPasts {
		clear(s.pasts)
	}
	s.pasts[string(key)] = p
	return p, nil
}
