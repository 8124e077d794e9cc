package protocol

import (
	"cmp"
	"slices"
)

// Roster is who belongs to a group, with what rank, and what else follows from the
// control set. Only [Eval] makes one.
type Roster struct {
	set       *Set
	effective []bool // by position in the set
	people    map[Key]*Standing
	devices   map[Key]Key // device to identity
	invites   []ID
	settings  map[uint16]ID
	rekeys    []ID
	frozen    []ID
}

// Standing is one identity's place in a roster.
type Standing struct {
	Root    Key
	Rank    Rank
	Grant   ID    // what it acts under: its most senior live grant
	Devices []Key // ascending
}

// Eval derives the roster from a set of control events: a pure function of the
// set, whatever the order of arrival.
//
// It evaluates genesis, grants, invites, settings and rekeys. Removal, bans,
// leaves and revocations are checked, stored and passed on, and take effect when
// the rule for them is built; see "The authority rule" in docs/spec/p2pchat-1.md.
func Eval(s *Set) *Roster {
	r := &Roster{
		set: s, effective: make([]bool, len(s.nodes)), people: make(map[Key]*Standing),
		devices: make(map[Key]Key), settings: make(map[uint16]ID),
	}
	for _, rank := range s.ranks() {
		for i := range s.nodes { // a topological order
			if n := &s.nodes[i]; n.rank == rank && (i == 0 || r.effective[n.auth]) {
				r.effective[i] = true
			}
		}
	}
	for i := range s.nodes {
		if r.effective[i] {
			r.apply(&s.nodes[i])
		}
	}
	r.choose()
	for dev, list := range s.certs {
		for _, o := range list {
			r.own(dev, o)
		}
	}
	for _, p := range r.people {
		slices.SortFunc(p.Devices, Key.Compare)
	}
	return r
}

// ranks returns the ranks at which somebody acted, ascending: what is effective at
// one depends on more senior ones and on causally earlier events only.
func (s *Set) ranks() []Rank {
	seen := make(map[Rank]bool)
	var ranks []Rank
	for i := range s.nodes {
		if r := s.nodes[i].rank; !seen[r] {
			seen[r] = true
			ranks = append(ranks, r)
		}
	}
	slices.Sort(ranks)
	return ranks
}

func (r *Roster) apply(n *node) {
	id := n.v.id
	switch c := n.clear.(type) {
	case *Genesis:
		for _, f := range c.Founders {
			r.grant(f.Root, Founder, id)
		}
	case *Grant:
		r.grant(c.Target, c.Rank, id)
	case *Invite:
		r.invites = append(r.invites, id)
	case *Rekey:
		r.rekeys = append(r.rekeys, id)
	case *Unknown:
		if n.v.Header().Kind.Critical() {
			r.frozen = append(r.frozen, id)
		}
	}
}

func (r *Roster) grant(root Key, rank Rank, id ID) {
	p := r.people[root]
	if p == nil {
		r.people[root] = &Standing{Root: root, Rank: rank, Grant: id}
		return
	}
	// The most senior grant counts. Of equals the first by id: any of them would do,
	// and all nodes name the same.
	if c := cmp.Or(cmp.Compare(rank, p.Rank), id.Compare(p.Grant)); c < 0 {
		p.Rank, p.Grant = rank, id
	}
}

// choose picks the event that holds each setting's value: of those that no other
// value of the setting follows, the one by the most senior author, then with the
// latest clock, then with the lowest id. Comparing pairs instead would go in
// circles: B follows A, A is senior to C, C is senior to B.
func (r *Roster) choose() {
	s, values := r.set, make(map[uint16][]int32)
	for i := range s.nodes {
		if c, ok := s.nodes[i].clear.(*Setting); ok && r.effective[i] {
			values[c.Number] = append(values[c.Number], int32(i))
		}
	}
	for number, list := range values {
		var before []int32
		for _, i := range list {
			before = append(before, s.nodes[i].cites...)
		}
		followed := make(map[int32]bool)
		s.walk(before, func(i int32) bool {
			followed[i] = true
			return i > list[0] // positions below the first value hold no other
		})
		list = slices.DeleteFunc(list, func(i int32) bool { return followed[i] })
		best := slices.MinFunc(list, func(i, j int32) int {
			a, b := &s.nodes[i], &s.nodes[j]
			return cmp.Or(cmp.Compare(a.rank, b.rank), -cmp.Compare(a.v.Header().HLC, b.v.Header().HLC), a.v.id.Compare(b.v.id))
		})
		r.settings[number] = s.nodes[best].v.id
	}
}

// own takes a device into its identity, where the event that brings its
// certificate is effective. A device that two identities certify, which needs its
// own signature on both, is the more senior's, then the lower root's.
func (r *Roster) own(dev Key, o owned) {
	p := r.people[o.root]
	if p == nil || !r.effective[o.at] {
		return
	}
	if old, ok := r.devices[dev]; ok {
		if old == o.root {
			return
		}
		q := r.people[old]
		if cmp.Or(cmp.Compare(q.Rank, p.Rank), q.Root.Compare(p.Root)) < 0 {
			return
		}
		q.Devices = slices.DeleteFunc(q.Devices, func(k Key) bool { return k == dev })
	}
	r.devices[dev] = o.root
	p.Devices = append(p.Devices, dev)
}

// Standing returns an identity's place in the group.
func (r *Roster) Standing(root Key) (Standing, bool) {
	if p := r.people[root]; p != nil {
		return *p, true
	}
	return Standing{Root: root, Rank: NoRank}, false
}

// Owner returns whose a device is.
func (r *Roster) Owner(dev Key) (Standing, bool) {
	root, ok := r.devices[dev]
	if !ok {
		return Standing{Rank: NoRank}, false
	}
	return *r.people[root], true
}

// Members returns everybody in the group, the most senior first.
func (r *Roster) Members() []Standing {
	out := make([]Standing, 0, len(r.people))
	for _, p := range r.people {
		out = append(out, *p)
	}
	slices.SortFunc(out, func(a, b Standing) int { return cmp.Or(cmp.Compare(a.Rank, b.Rank), a.Root.Compare(b.Root)) })
	return out
}

// Effective says whether an event of the set counts.
func (r *Roster) Effective(id ID) bool {
	i, ok := r.set.index[id]
	return ok && r.counts(i)
}

// counts is Effective by position. The set may have grown since the roster was
// made; what came later does not count yet.
func (r *Roster) counts(i int32) bool { return int(i) < len(r.effective) && r.effective[i] }

// Invites returns the effective invites in the set's order.
func (r *Roster) Invites() []ID { return r.invites }

// Rekeys returns the effective rekeys in the set's order.
func (r *Roster) Rekeys() []ID { return r.rekeys }

// Setting returns the event that holds a setting's value.
func (r *Roster) Setting(number uint16) (ID, bool) { id, ok := r.settings[number]; return id, ok }

// Frozen returns the effective events of critical kinds that this version does not
// know. While there is one, no authority events may be issued: a newer program may
// have changed what they mean.
func (r *Roster) Frozen() []ID { return r.frozen }

// Admissions counts the effective grants that answer an invite.
func (r *Roster) Admissions(invite ID) int {
	count := 0
	for i := range r.effective {
		if g, ok := r.set.nodes[i].clear.(*Grant); ok && r.effective[i] && g.Invite == invite {
			count++
		}
	}
	return count
}

// CheckMessage says whether a message counts: some effective grant to its author
// lies in its past. A *MissingError means that control events it cites are not
// here yet.
func (r *Roster) CheckMessage(v Verified) error {
	h := v.Header()
	if v.group != r.set.group || h.Chain != Messages {
		return invalid("not a message of this group")
	}
	past, err := r.set.Past(h.Refs)
	if err != nil {
		return err
	}
	for _, o := range r.set.certs[h.Dev] {
		if past.at(o.at) && r.counts(o.at) && r.granted(past, o.root) {
			return nil
		}
	}
	return invalid("message %s: %w", v.id, ErrNotMember)
}

// granted says whether an effective grant to an identity lies in a past. Relays
// carry messages and write none.
func (r *Roster) granted(past *Past, root Key) bool {
	p := r.people[root]
	if p == nil || p.Rank >= Relay {
		return false
	}
	if past.Has(p.Grant) {
		return true
	}
	for i := range r.effective {
		if g, ok := r.set.nodes[i].clear.(*Grant); ok && r.effective[i] && g.Target == root && g.Rank < Relay && past.at(int32(i)) {
			return true
		}
	}
	return false
}

// Candidates returns the epochs of the group for [Usable]. held says which secrets
// are here.
func (r *Roster) Candidates(held func(eid ID) bool) []Candidate {
	s := r.set
	depth := make(map[ID]int)
	out := make([]Candidate, 0, len(r.rekeys))
	for _, id := range r.rekeys {
		n := &s.nodes[s.index[id]]
		k := n.clear.(*Rekey)
		c := Candidate{ID: k.Epoch, Rank: n.rank, Held: held(k.Epoch), Current: true}
		for _, p := range k.Parents {
			c.Parents = append(c.Parents, p.Epoch)
			c.Depth = max(c.Depth, depth[p.Epoch]+1)
		}
		depth[k.Epoch] = c.Depth
		out = append(out, c)
	}
	return out
}

// Rekey returns the rekey that starts an epoch. Where several claim to, it is the
// one with the lowest id; only [NewEpoch], which needs the secret, tells the true
// one: see [Set.Claims].
func (s *Set) Rekey(eid ID) (Verified, *Rekey, bool) {
	claims := s.Claims(eid)
	if len(claims) == 0 {
		return Verified{}, nil, false
	}
	v, c, _ := s.Get(claims[0])
	return v, c.(*Rekey), true
}

// Claims returns the rekeys that say they start an epoch, ascending by id.
func (s *Set) Claims(eid ID) []ID {
	var ids []ID
	for _, i := range s.epochs[eid] {
		ids = append(ids, s.nodes[i].v.id)
	}
	slices.SortFunc(ids, ID.Compare)
	return ids
}
