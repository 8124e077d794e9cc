package protocol

import (
	"cmp"
	"slices"

	"github.com/p2pchat/p2pchat/protocol/authority"
)

// Tips returns the control events of an identity that nothing of the same chain
// follows, those of the longest chains first: all branches of all its devices.
func (s *Set) Tips(root Key) []ID {
	who, ok := s.people.byKey[root]
	if !ok {
		return nil
	}
	var at []int32
	for _, i := range s.graph.By(who) {
		if len(s.next(i)) == 0 {
			at = append(at, i)
		}
	}
	slices.SortFunc(at, func(i, j int32) int {
		a, b := s.nodes[i].v, s.nodes[j].v
		return cmp.Or(-cmp.Compare(a.Header().Seq, b.Header().Seq), a.id.Compare(b.id))
	})
	return s.ids(at)
}

// Next returns the control events that follow one on its chain: several where the
// chain is forked.
func (s *Set) Next(id ID) []ID {
	i, ok := s.index[id]
	if !ok {
		return nil
	}
	return s.ids(s.next(i))
}

func (s *Set) next(i int32) []int32 {
	h := s.nodes[i].v.Header()
	var out []int32
	for _, j := range s.places[place{h.Dev, h.Seq + 1}] {
		if s.nodes[j].prev == i {
			out = append(out, j)
		}
	}
	return out
}

func (s *Set) ids(at []int32) []ID {
	out := make([]ID, len(at))
	for k, i := range at {
		out[k] = s.nodes[i].v.id
	}
	return out
}

// Devices returns all devices that an identity ever certified, ascending.
func (s *Set) Devices(root Key) []Key {
	var out []Key
	for _, o := range s.owns[root] {
		out = append(out, o.dev)
	}
	slices.SortFunc(out, Key.Compare)
	return slices.Compact(out)
}

// Brought returns the effective event that brought a device's certificate into the
// group, the first there is.
func (r *Roster) Brought(root, dev Key) (ID, bool) {
	for _, o := range r.set.owns[root] {
		if o.dev == dev && r.state.Counts(o.at) {
			return r.set.nodes[o.at].v.id, true
		}
	}
	return ID{}, false
}

// Grants returns the grants to somebody in the set's order, the genesis for a
// founder.
func (s *Set) Grants(root Key) []ID {
	who, ok := s.people.byKey[root]
	if !ok {
		return nil
	}
	return s.ids(s.graph.Grants(who))
}

// About returns the control events of a kind that are aimed at somebody, in the
// set's order: grants, denials and lifts by their target, leaves by their author.
func (s *Set) About(k Kind, root Key) []ID {
	var out []ID
	for _, i := range s.kinds[k] {
		n := &s.nodes[i]
		target := n.by
		switch c := n.clear.(type) {
		case *Grant:
			target = c.Target
		case *Denial:
			target = c.Target
		case *Lift:
			target = c.Target
		}
		if target == root {
			out = append(out, n.v.id)
		}
	}
	return out
}

// Sees says whether a control event had seen another.
func (s *Set) Sees(later, earlier ID) bool {
	i, ok := s.index[later]
	j, there := s.index[earlier]
	return ok && there && s.graph.Sees(i, j)
}

// People returns everybody who ever was in the group, in the order in which they
// came.
func (r *Roster) People() []Key {
	var out []Key
	for _, who := range r.state.People() {
		out = append(out, r.set.people.keys[who])
	}
	return out
}

// Revocation returns what revoked a device of an identity.
func (r *Roster) Revocation(root, dev Key) (ID, bool) {
	who, ok := r.set.people.byKey[root]
	d, there := r.set.chains.byKey[dev]
	if !ok || !there {
		return ID{}, false
	}
	return r.id(r.state.Revoked(who, d))
}

// Values returns the effective events that set a setting, in the set's order: what a new
// value has to have seen to replace them.
func (r *Roster) Values(number uint16) []ID { return r.set.ids(r.values(number)) }

// Overrules returns the value of a setting by somebody more senior that would stay in
// force if somebody of a rank set another value now, because it restricts more.
func (r *Roster) Overrules(number uint16, value uint64, rank Rank) (ID, bool) {
	severity, ok := restricts(number, value)
	if !ok {
		return ID{}, false
	}
	s, list := r.set, r.values(number)
	best, most := authority.None, severity
	for _, i := range list {
		theirs, _ := restricts(number, r.valueAt(i))
		replaced := slices.ContainsFunc(list, func(u int32) bool { return s.graph.Sees(u, i) && s.graph.Acting(u) <= s.graph.Acting(i) })
		if s.graph.Acting(i) < rank && !replaced && theirs > most {
			best, most = i, theirs
		}
	}
	return r.id(best)
}
