package protocol

import (
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/p2pchat/p2pchat/protocol/authority"
)

// ErrInvalid says that an event is well signed and yet not allowed: what it cites
// does not give its author the right. It stays so whatever arrives later.
var ErrInvalid = errors.New("not allowed")

// MissingError says which events something waits for.
type MissingError struct{ IDs []ID }

func (e *MissingError) Error() string {
	return fmt.Sprintf("waits for %d events, the first is %s", len(e.IDs), e.IDs[0])
}

// Set is the control events of one group, each statically valid and with all it
// refers to: the whole input of [Eval]. It says nothing about who is a member now.
type Set struct {
	group  ID
	nodes  []node           // in an order in which everything comes after what it cites
	graph  *authority.Graph // the same positions
	people numbers          // identities, as the graph counts them
	chains numbers          // devices
	index  map[ID]int32
	heads  map[ID]struct{}
	places map[place][]int32 // by place on a chain; two at one place are a fork
	forked []place           // places with several events
	certs  map[Key][]owned   // by device
	owns   map[Key][]owned   // by identity
	seats  map[Key][]seat    // by identity: the devices that a roster counts
	nonces map[[16]byte][]int32
	kinds  map[Kind][]int32
	epochs map[ID][]int32 // rekeys by epoch id: only one is true, but who lacks the secret cannot tell
	steps  map[ID][]int32 // grants by epoch in whose steps their targets begin to read
	bad    map[ID]struct{}
	forks  []ForkProof
	pasts  map[string]*Past

	trusted bool            // signatures inside events were checked before they were stored
	proved  map[ID]struct{} // admissions whose signatures are known to hold: see Prove
}

// node is a control event and what static checks found out about it.
type node struct {
	v     Verified
	clear Clear
	refs  []int32
	prev  int32 // or authority.None
	by    Key   // the author's identity
	auth  int32 // the grant it acts under; the genesis cites itself
}

// numbers gives keys the numbers that the authority rule knows them by.
type numbers struct {
	byKey map[Key]int32
	keys  []Key
}

func (n *numbers) of(k Key) int32 {
	i, ok := n.byKey[k]
	if !ok {
		i = int32(len(n.keys))
		n.byKey[k] = i
		n.keys = append(n.keys, k)
	}
	return i
}

// find returns the number of a key that has one, and otherwise one that none has.
func (n *numbers) find(k Key) int32 {
	if i, ok := n.byKey[k]; ok {
		return i
	}
	return authority.None
}

// trim forgets the numbers that were given last.
func (n *numbers) trim(count int) {
	for _, k := range n.keys[count:] {
		delete(n.byKey, k)
	}
	n.keys = n.keys[:count]
}

type place struct {
	dev Key
	seq uint64
}

// owned says that a certificate stands in an event.
type owned struct {
	root, dev Key
	at        int32
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
		group: group, graph: new(authority.Graph), people: numbers{byKey: make(map[Key]int32)}, chains: numbers{byKey: make(map[Key]int32)},
		index: make(map[ID]int32), heads: make(map[ID]struct{}), places: make(map[place][]int32),
		certs: make(map[Key][]owned), owns: make(map[Key][]owned), seats: make(map[Key][]seat), nonces: make(map[[16]byte][]int32),
		kinds: make(map[Kind][]int32), epochs: make(map[ID][]int32), steps: make(map[ID][]int32), bad: make(map[ID]struct{}), pasts: make(map[string]*Past),
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
// refers to, to have all of the set in its past. No more than most are returned; the
// events of must that are here are in their past, as many as fit.
func (s *Set) Heads(most int, must ...ID) []ID {
	heads := make([]ID, 0, len(s.heads))
	for id := range s.heads {
		heads = append(heads, id)
	}
	slices.SortFunc(heads, ID.Compare)
	if len(heads) <= most {
		return heads
	}
	// Keep those that carry the author's grant and device; the rest are merged by later
	// events.
	kept := 0
	for _, id := range must {
		if target, ok := s.index[id]; ok {
			carries := func(head ID) bool { at := s.index[head]; return at == target || s.graph.Sees(at, target) }
			i := slices.IndexFunc(heads, carries)
			if i >= kept && kept < most {
				heads[kept], heads[i] = heads[i], heads[kept]
				kept++
			}
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
		err = s.enter(&n)
	}
	var missing *MissingError
	switch {
	case err == nil:
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
	n := node{v: v, prev: authority.None}
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
		n.refs = append(n.refs, cite(id))
	}
	if !h.Prev.IsZero() {
		n.prev = cite(h.Prev)
	}
	if !h.Auth.IsZero() {
		n.auth = cite(h.Auth)
	}
	if n.auth < 0 || n.prev < 0 && !h.Prev.IsZero() || slices.Contains(n.refs, -1) {
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

// insert keeps a node that the graph has taken in.
func (s *Set) insert(n *node) {
	i := int32(len(s.nodes))
	s.nodes = append(s.nodes, *n)
	s.index[n.v.id] = i
	h := n.v.Header()
	for _, id := range h.Refs {
		delete(s.heads, id)
	}
	delete(s.heads, h.Prev)
	s.heads[n.v.id] = struct{}{}
	at := place{h.Dev, h.Seq}
	for _, other := range s.places[at] {
		if f, ok := Fork(s.nodes[other].v, n.v); ok && len(s.forks) < maxForks {
			s.forks = append(s.forks, f)
		}
	}
	s.places[at] = append(s.places[at], i)
	if len(s.places[at]) == 2 {
		s.forked = append(s.forked, at)
	}
	for _, c := range certsIn(n.clear) {
		o := owned{c.Root, c.Dev, i}
		s.certs[c.Dev] = append(s.certs[c.Dev], o)
		s.owns[c.Root] = append(s.owns[c.Root], o)
		s.seat(c, n.v)
	}
	s.kinds[h.Kind] = append(s.kinds[h.Kind], i)
	switch c := n.clear.(type) {
	case *Rekey:
		s.epochs[c.Epoch] = append(s.epochs[c.Epoch], i)
	case *Grant:
		for _, st := range c.Steps {
			s.steps[st.Epoch] = append(s.steps[st.Epoch], i)
		}
		if c.Proof != nil {
			s.nonces[c.Proof.Nonce] = append(s.nonces[c.Proof.Nonce], i)
		}
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

// Past is the closure of some heads: what an author had seen.
type Past struct {
	set *Set
	all authority.Past
}

// Has says whether an event lies in the past.
func (p *Past) Has(id ID) bool {
	i, ok := p.set.index[id]
	return ok && p.all.Has(i)
}

// PastOf returns what the author of a draft has seen.
func (s *Set) PastOf(d Draft) (*Past, error) {
	heads := slices.Clone(d.Refs)
	if d.Prev.Seq > 0 {
		heads = append(heads, d.Prev.ID)
	}
	return s.Past(heads)
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
	p := &Past{set: s, all: s.graph.Past(from...)}
	if len(s.pasts) >= maxPasts {
		clear(s.pasts)
	}
	s.pasts[string(key)] = p
	return p, nil
}
