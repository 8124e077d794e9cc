package protocol

import (
	"slices"

	"github.com/p2pchat/p2pchat/protocol/authority"
)

// enter takes an event in whose references are all here, if it may be: what decides
// depends on the event and its past alone and is therefore final. The conditions of
// the authority rule are in [authority.Graph.Check], those that need keys,
// signatures and the meaning of bodies here.
func (s *Set) enter(n *node) error {
	h := n.v.Header()
	if h.Kind == KindGenesis {
		return s.found(n)
	}
	if s.graph.Len() == 0 {
		return invalid("a control event before the genesis")
	}
	people, chains := len(s.people.keys), len(s.chains.keys)
	c, err := s.check(n)
	if err != nil {
		s.people.trim(people) // who invents people must not fill memory
		s.chains.trim(chains)
		return err
	}
	s.graph.Insert(c)
	s.insert(n)
	return nil
}

func (s *Set) check(n *node) (c authority.Checked, err error) {
	if err := s.nameAuthor(n); err != nil {
		return c, err
	}
	e, err := s.event(n)
	if err != nil {
		return c, err
	}
	if c, err = s.graph.Check(e); err != nil {
		return c, invalid("%v", err)
	}
	if err := s.certified(n, &c); err != nil {
		return c, err
	}
	return c, s.static(n, &c)
}

// found starts the graph.
func (s *Set) found(n *node) error {
	g, ok := n.clear.(*Genesis)
	if !ok || n.v.id != s.group {
		return invalid("not this group's genesis")
	}
	var founders []int32
	for i := range g.Founders {
		if err := s.signed(g.Founders[i].Verify); err != nil {
			return invalid("founder %d: %v", i+1, err)
		}
		founders = append(founders, s.people.of(g.Founders[i].Root))
	}
	i := slices.IndexFunc(g.Founders, func(c Cert) bool { return c.Dev == n.v.Header().Dev })
	if i < 0 {
		return invalid("its author is not one of the founders")
	}
	n.by = g.Founders[i].Root
	if err := s.graph.Found(founders, s.people.of(n.by), s.chains.of(n.v.Header().Dev)); err != nil {
		return invalid("%v", err)
	}
	s.insert(n)
	return nil
}

// nameAuthor finds whose act it is: who the grant in auth is to; of the founders who
// certified the device, as far as the past tells, the one with the lowest root.
func (s *Set) nameAuthor(n *node) error {
	switch c := s.nodes[n.auth].clear.(type) {
	case *Genesis:
		if cert, ok := bringsItself(n); ok && isFounder(c, cert.Root) {
			n.by = cert.Root
			return nil
		}
		past, found := s.graph.Seen(n.refs, n.prev), false
		for _, o := range s.certs[n.v.Header().Dev] {
			if isFounder(c, o.root) && past.Has(o.at) && (!found || o.root.Compare(n.by) < 0) {
				n.by, found = o.root, true
			}
		}
		if !found {
			return invalid("the grant it acts under is another's")
		}
		return nil
	case *Grant:
		n.by = c.Target
		return nil
	}
	return invalid("what it acts under is not a grant")
}

// bringsItself says whether an event is the first of a device and brings that device's
// own certificate: nobody of the identity may be there to bring it, after a restore.
func bringsItself(n *node) (Cert, bool) {
	add, ok := n.clear.(*DeviceAdd)
	if !ok || n.prev != authority.None || add.Cert.Dev != n.v.Header().Dev {
		return Cert{}, false
	}
	return add.Cert, true
}

// certified checks that the past says that the device is the author's, or the event
// itself does: the root's signature on it is checked with the others.
func (s *Set) certified(n *node, c *authority.Checked) error {
	if cert, ok := bringsItself(n); ok && cert.Root == n.by {
		return nil
	}
	for _, o := range s.certs[n.v.Header().Dev] {
		if o.root == n.by && c.Past().Has(o.at) {
			return nil
		}
	}
	return invalid("the grant it acts under is another's")
}

// event is the node as the authority rule sees it.
func (s *Set) event(n *node) (authority.Event, error) {
	h := n.v.Header()
	e := authority.Event{
		Op: ops[h.Kind], By: s.people.of(n.by), Dev: s.chains.of(h.Dev), Prev: n.prev, Refs: n.refs,
		Auth: n.auth, Target: authority.None, Limit: MayIssue(h.Kind),
	}
	if n.prev != authority.None && s.nodes[n.prev].v.Header().Seq+1 != h.Seq {
		return e, invalid("prev is not the event before it on its chain")
	}
	var err error
	switch c := n.clear.(type) {
	case *Rekey:
		e.Free = h.Seq > MaxMemberControl && s.renews(n)
	case *Leave:
		e.Free = h.Seq > MaxMemberControl && !s.before(n, func(at int32, c Clear) bool {
			_, left := c.(*Leave)
			return left && s.graph.Sees(at, n.auth)
		})
	case *Grant:
		e.Target, e.Rank = s.people.of(c.Target), c.Rank
	case *Denial:
		e.Target = s.people.of(c.Target)
		e.Cut, err = s.positions(c.Cut.Control)
	case *Lift:
		e.Target = s.people.of(c.Target)
	case *DeviceRevoke:
		e.Target = s.chains.of(c.Dev)
		e.Cut, err = s.positions(c.Cut.Control)
		e.Free = h.Seq > MaxMemberControl && !s.before(n, func(_ int32, o Clear) bool {
			r, ok := o.(*DeviceRevoke)
			return ok && r.Dev == c.Dev
		})
	}
	return e, err
}

// renews says whether a rekey answers to something that the last one on its chain had
// not seen: somebody came or went. Such rekeys do not count toward the end of a
// member's chain, for who could not start an epoch could not speak. There are no more
// of them, a chain, than people who come and go.
func (s *Set) renews(n *node) bool {
	last := n.prev
	for last != authority.None && s.nodes[last].v.Header().Kind != KindRekey {
		last = s.nodes[last].prev
	}
	if last == authority.None {
		return true
	}
	past := s.graph.Seen(n.refs, n.prev)
	for _, k := range []Kind{KindGrant, KindRemove, KindBan, KindLeave, KindDeviceRevoke} {
		if slices.ContainsFunc(s.kinds[k], func(i int32) bool { return past.Has(i) && !s.graph.Sees(last, i) }) {
			return true
		}
	}
	return false
}

// before says whether an event further back on a node's chain is such a one.
func (s *Set) before(n *node, such func(at int32, c Clear) bool) bool {
	for i := n.prev; i != authority.None; i = s.nodes[i].prev {
		if such(i, s.nodes[i].clear) {
			return true
		}
	}
	return false
}

// positions finds the control events of a cut. They lie in the past of who cites
// them, so one that is not here is no reason to wait.
func (s *Set) positions(ids []ID) ([]int32, error) {
	out := make([]int32, len(ids))
	for i, id := range ids {
		at, ok := s.index[id]
		if !ok {
			return nil, invalid("a cut at an event that is not in its past")
		}
		out[i] = at
	}
	return out, nil
}

// static is the conditions on the bodies of control events.
func (s *Set) static(n *node, c *authority.Checked) error {
	switch b := n.clear.(type) {
	case *Grant:
		return s.staticGrant(n, b, c)
	case *DeviceAdd:
		if s.devicesIn(c.Past(), b.Cert) >= MaxDevices {
			return invalid("an identity has at most %d devices", MaxDevices)
		}
		return staticOwn(n, b.Cert.Root, s.signed(b.Cert.Verify))
	case *DeviceRevoke:
		if s.revokesIn(c.Past(), n.by) >= MaxRevokes {
			return invalid("an identity revokes devices at most %d times", MaxRevokes)
		}
		return staticOwn(n, b.Root, s.signed(b.Verify))
	case *Invite:
		if b.Rank <= c.Acting() {
			return invalid("an invite to rank %s by a %s: only to ranks junior to one's own", b.Rank, c.Acting())
		}
		if checkKey(b.Key) != nil {
			return invalid("an invite with a key of small order or not canonical")
		}
	case *InviteRevoke:
		if i, ok := s.index[b.Invite]; !ok || !c.Past().Has(i) || s.nodes[i].v.Header().Kind != KindInvite {
			return invalid("it revokes an invite that is not in its past")
		}
	case *Rekey:
		return s.staticRekey(c, b)
	}
	return nil
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

// staticGrant: whoever is not in the group, as far as its author knew, comes with a
// fresh proof of its own consent. So nobody is added silently, and who left or was
// removed comes back by asking.
func (s *Set) staticGrant(n *node, g *Grant, c *authority.Checked) error {
	for _, st := range g.Steps {
		if !slices.ContainsFunc(s.epochs[st.Epoch], c.Past().Has) {
			return invalid("a step in an epoch that is not in its past")
		}
		if last := s.lastStep(st.Epoch, c.Past()); st.Step > min(last+1, maxStep) {
			return invalid("step %d of an epoch whose last is %d: one further at most", st.Step, last)
		}
	}
	switch {
	case g.Proof != nil && slices.ContainsFunc(s.nonces[g.Proof.Nonce], c.Past().Has):
		return invalid("a join proof that was used before")
	case g.Proof != nil:
		return s.staticAdmission(n, g, c)
	case c.Acting() >= Greeter:
		return invalid("a %s may only admit", c.Acting())
	case !s.trusted && !s.knows(n, g, c.Past()):
		return invalid("a grant to somebody who is not in the group, without that person's own proof")
	}
	return nil
}

// lastStep returns the step of an epoch that the admissions in a past go to. As each goes
// one further at most, nobody makes others walk far by one event.
func (s *Set) lastStep(eid ID, past authority.Past) (last uint32) {
	for _, i := range s.steps[eid] {
		if past.Has(i) {
			last = max(last, s.stepOf(i, eid).Step)
		}
	}
	return last
}

// stepOf returns what a grant says about an epoch.
func (s *Set) stepOf(grant int32, eid ID) (st StepStart) {
	if g, ok := s.nodes[grant].clear.(*Grant); ok {
		if i, ok := slices.BinarySearchFunc(g.Steps, eid, func(x StepStart, id ID) int { return x.Epoch.Compare(id) }); ok {
			return g.Steps[i]
		}
	}
	return st
}

// knows says whether the target of a grant was in the group. A demotion is a removal
// and a grant that follows it on its author's chain: then the past of the removal is
// asked.
func (s *Set) knows(n *node, g *Grant, past authority.Past) bool {
	who := s.people.of(g.Target)
	if n.prev != authority.None {
		before := &s.nodes[n.prev]
		if d, ok := before.clear.(*Denial); ok && before.v.Header().Kind == KindRemove && d.Target == g.Target {
			past = s.graph.Before(n.prev)
		}
	}
	return s.graph.Lives(who, past)
}

// devicesIn counts the other devices that a past certifies for an identity.
func (s *Set) devicesIn(past authority.Past, c Cert) int {
	others := make(map[Key]bool)
	for _, o := range s.owns[c.Root] {
		if o.dev != c.Dev && past.Has(o.at) {
			others[o.dev] = true
		}
	}
	return len(others)
}

// revokesIn counts the revocations by an identity in a past.
func (s *Set) revokesIn(past authority.Past, by Key) (count int) {
	for _, i := range s.kinds[KindDeviceRevoke] {
		if s.nodes[i].by == by && past.Has(i) {
			count++
		}
	}
	return count
}

func (s *Set) staticAdmission(n *node, g *Grant, c *authority.Checked) error {
	i, ok := s.index[g.Invite]
	if !ok || !c.Past().Has(i) {
		return invalid("an admission by an invite that is not in its past")
	}
	in, ok := s.nodes[i].clear.(*Invite)
	switch {
	case !ok:
		return invalid("an admission by what is not an invite")
	case in.Rank != g.Rank:
		return invalid("an admission to rank %s by an invite to %s", g.Rank, in.Rank)
	case s.devicesIn(c.Past(), *g.Cert) >= MaxDevices:
		return invalid("an identity has at most %d devices", MaxDevices)
	case in.IssuerAdmits && s.nodes[i].by != n.by:
		return invalid("only who issued the invite admits by it")
	}
	if _, ok := s.proved[n.v.id]; ok {
		return nil
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

func (s *Set) staticRekey(c *authority.Checked, r *Rekey) error {
	starts := func(eid ID) bool { return slices.ContainsFunc(s.epochs[eid], c.Past().Has) }
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
