package protocol

import "slices"

// static holds what depends on an event and its past alone, and is therefore
// final: whatever arrives later, it cannot become true or false.
func (s *Set) static(n *node) error {
	h := n.v.Header()
	if h.Kind == KindGenesis {
		return s.staticGenesis(n)
	}
	if err := s.staticAuthor(n); err != nil {
		return err
	}
	if err := s.staticChain(n); err != nil {
		return err
	}
	if n.rank >= Member && h.Seq > MaxMemberControl {
		return invalid("control event %d of a %s: at most %d", h.Seq, n.rank, MaxMemberControl)
	}
	if !h.Kind.Known() {
		// An unknown kind is kept: what it means is for a newer version to say, and
		// whether the group may still be administered for [Roster.Frozen].
		return nil
	}
	if limit := MayIssue(h.Kind); n.rank > limit {
		return invalid("a %s may not issue a %s: it needs %s or more senior", n.rank, h.Kind, limit)
	}
	switch c := n.clear.(type) {
	case *Grant:
		return s.staticGrant(n, c)
	case *Denial:
		return s.staticDenial(n, c)
	case *Lift:
		return notSelf(n, c.Target)
	case *DeviceAdd:
		if s.devicesOf(n, c.Cert) >= MaxDevices {
			return invalid("an identity has at most %d devices", MaxDevices)
		}
		return staticOwn(n, c.Cert.Root, s.signed(c.Cert.Verify))
	case *DeviceRevoke:
		return staticOwn(n, c.Root, s.signed(c.Verify))
	case *Invite:
		if c.Rank <= n.rank {
			return invalid("an invite to rank %s by a %s: only to ranks junior to one's own", c.Rank, n.rank)
		}
		if checkKey(c.Key) != nil {
			return invalid("an invite with a key of small order or not canonical")
		}
	case *InviteRevoke:
		if i, ok := s.index[c.Invite]; !ok || !s.reaches(n.cites, i) || s.nodes[i].v.Header().Kind != KindInvite {
			return invalid("it revokes an invite that is not in its past")
		}
	case *Rekey:
		return s.staticRekey(n, c)
	}
	return nil
}

func (s *Set) staticGenesis(n *node) error {
	g, ok := n.clear.(*Genesis)
	if !ok || n.v.id != s.group {
		return invalid("not this group's genesis")
	}
	for i := range g.Founders {
		if err := s.signed(g.Founders[i].Verify); err != nil {
			return invalid("founder %d: %v", i+1, err)
		}
	}
	i := slices.IndexFunc(g.Founders, func(c Cert) bool { return c.Dev == n.v.Header().Dev })
	if i < 0 {
		return invalid("its author is not one of the founders")
	}
	n.by, n.rank, n.auth = g.Founders[i].Root, Founder, 0
	return nil
}

// staticAuthor finds whose act it is: the grant in auth names the identity and the
// rank, and a certificate in the past says that the device is that identity's.
func (s *Set) staticAuthor(n *node) error {
	if !s.reaches(n.cites, n.auth) {
		return invalid("the grant it acts under is not in its past")
	}
	dev := n.v.Header().Dev
	switch c := s.nodes[n.auth].clear.(type) {
	case *Genesis:
		n.rank = Founder
		for _, o := range s.certs[dev] {
			if isFounder(c, o.root) && s.reaches(n.cites, o.at) {
				n.by = o.root
				return nil
			}
		}
	case *Grant:
		n.rank, n.by = c.Rank, c.Target
		for _, o := range s.certs[dev] {
			if o.root == c.Target && s.reaches(n.cites, o.at) {
				return nil
			}
		}
	default:
		return invalid("what it acts under is not a grant")
	}
	return invalid("the grant it acts under is another's")
}

// signed runs a check of signatures, but for events that passed it before they were
// stored.
func (s *Set) signed(check func() error) error {
	if s.trusted {
		return nil
	}
	return check()
}

func isFounder(g *Genesis, root Key) bool {
	return slices.ContainsFunc(g.Founders, func(c Cert) bool { return c.Root == root })
}

// staticChain checks that prev is the event before it on the same chain.
func (s *Set) staticChain(n *node) error {
	h := n.v.Header()
	if h.Seq == 1 {
		return nil
	}
	p := s.nodes[s.index[h.Prev]].v.Header()
	if p.Dev != h.Dev || p.Seq+1 != h.Seq {
		return invalid("prev is not the event before it on its chain")
	}
	return nil
}

func notSelf(n *node, target Key) error {
	if target == n.by {
		return invalid("its target is its author")
	}
	return nil
}

// staticOwn is for root statements, which concern their author's own devices.
func staticOwn(n *node, root Key, err error) error {
	if root != n.by {
		return invalid("a device of another identity")
	}
	if err != nil {
		return invalid("%v", err)
	}
	return nil
}

// staticGrant: only junior ranks are given, and whoever was not in the group
// before comes with a fresh proof of its own consent.
func (s *Set) staticGrant(n *node, g *Grant) error {
	if err := notSelf(n, g.Target); err != nil {
		return err
	}
	if g.Rank <= n.rank {
		return invalid("a grant of rank %s by a %s: only ranks junior to one's own", g.Rank, n.rank)
	}
	known, used := isFounder(s.nodes[0].clear.(*Genesis), g.Target), false
	s.walk(n.cites, func(i int32) bool {
		if o, ok := s.nodes[i].clear.(*Grant); ok {
			known = known || o.Target == g.Target
			used = used || g.Proof != nil && o.Proof != nil && o.Proof.Nonce == g.Proof.Nonce
		}
		return true
	})
	switch {
	case g.Proof != nil && used:
		return invalid("a join proof that was used before")
	case g.Proof != nil:
		return s.staticAdmission(n, g)
	case n.rank >= Greeter:
		return invalid("a %s may only admit", n.rank)
	case !known:
		return invalid("a first grant without the newcomer's proof")
	}
	return nil
}

// devicesOf counts the other devices that the past certifies for an identity.
func (s *Set) devicesOf(n *node, c Cert) int {
	others := make(map[Key]bool)
	s.walk(n.cites, func(i int32) bool {
		for _, known := range certsIn(s.nodes[i].clear) {
			if known.Root == c.Root && known.Dev != c.Dev {
				others[known.Dev] = true
			}
		}
		return true
	})
	return len(others)
}

func (s *Set) staticAdmission(n *node, g *Grant) error {
	i, ok := s.index[g.Invite]
	if !ok || !s.reaches(n.cites, i) {
		return invalid("an admission by an invite that is not in its past")
	}
	in, ok := s.nodes[i].clear.(*Invite)
	switch {
	case !ok:
		return invalid("an admission by what is not an invite")
	case in.Rank != g.Rank:
		return invalid("an admission to rank %s by an invite to %s", g.Rank, in.Rank)
	case s.devicesOf(n, *g.Cert) >= MaxDevices:
		return invalid("an identity has at most %d devices", MaxDevices)
	case in.IssuerAdmits && s.nodes[i].by != n.by:
		return invalid("only who issued the invite admits by it")
	}
	return s.signed(func() error {
		if err := g.Cert.Verify(); err != nil {
			return invalid("%v", err)
		}
		if err := g.Proof.Verify(s.group, in.Key, *g.Cert); err != nil {
			return invalid("%v", err)
		}
		return nil
	})
}

// staticDenial: entries of a cut that lie in the past are the target's own. What
// is not in the past is taken for a message.
func (s *Set) staticDenial(n *node, d *Denial) error {
	if err := notSelf(n, d.Target); err != nil {
		return err
	}
	for _, c := range d.Cut {
		if i, ok := s.index[c.ID]; ok && s.reaches(n.cites, i) {
			if e := s.nodes[i]; e.by != d.Target || e.v.Header().Seq != c.Seq {
				return invalid("a cut at an event that is not the target's")
			}
		}
	}
	return nil
}

func (s *Set) staticRekey(n *node, r *Rekey) error {
	starts := func(eid ID) bool {
		return slices.ContainsFunc(s.epochs[eid], func(i int32) bool { return s.reaches(n.cites, i) })
	}
	if starts(r.Epoch) {
		return invalid("an epoch that is in its past")
	}
	for _, p := range r.Parents {
		if !starts(p.Epoch) {
			return invalid("a parent epoch that is not in its past")
		}
	}
	return nil
}
