package protocol

import (
	"cmp"
	"slices"

	"github.com/p2pchat/p2pchat/protocol/authority"
)

// Roster is who belongs to a group, with what rank, and what else follows from the
// control set. Only [Eval] makes one.
type Roster struct {
	set      *Set
	state    *authority.State
	firmness *firmness // nil where it was not asked for
}

// Standing is one identity's place in a roster.
type Standing struct {
	Root    Key
	Rank    Rank
	Grant   ID    // what it acts under: its most senior live grant
	Devices []Key // ascending; without revoked ones
}

// Eval derives the roster from a set of control events: a pure function of the set,
// whatever the order of arrival. The rule is that of [authority.Eval].
func Eval(s *Set) *Roster {
	return &Roster{set: s, state: authority.Eval(s.graph)}
}

// Extend takes in what the set has gained since: the same as [Eval], cheaper.
func (r *Roster) Extend() { r.state.Extend() }

// Standing returns an identity's place in the group.
func (r *Roster) Standing(root Key) (Standing, bool) {
	s := Standing{Root: root, Rank: NoRank}
	who, ok := r.set.people.byKey[root]
	if !ok {
		return s, false
	}
	for _, i := range r.state.Live(who) {
		id, rank := r.set.nodes[i].v.id, r.set.graph.Granted(i)
		// The most senior grant counts. Of equals the first by id: any of them would do,
		// and all nodes name the same.
		if cmp.Or(cmp.Compare(rank, s.Rank), id.Compare(s.Grant)) < 0 {
			s.Rank, s.Grant = rank, id
		}
	}
	if s.Rank == NoRank {
		return s, false
	}
	for _, o := range r.set.seats[root] {
		if owner, ok := r.owner(o.dev); ok && owner == root {
			s.Devices = append(s.Devices, o.dev)
		}
	}
	slices.SortFunc(s.Devices, Key.Compare)
	return s, true
}

// Rank returns somebody's rank, NoRank for who is not in the group.
func (r *Roster) Rank(root Key) Rank {
	who, ok := r.set.people.byKey[root]
	if !ok {
		return NoRank
	}
	return r.state.Rank(who)
}

// owner returns whose a device is now. One that two identities certify, which needs
// its own signature on both, is the more senior's, then the lower root's.
func (r *Roster) owner(dev Key) (root Key, ok bool) {
	best := NoRank
	for _, o := range r.set.certs[dev] {
		rank := r.Rank(o.root)
		if rank == NoRank || !r.state.Counts(o.at) || r.revoked(o.root, dev) || !r.set.seated(o.root, dev) {
			continue
		}
		if cmp.Or(cmp.Compare(rank, best), o.root.Compare(root)) < 0 {
			root, best, ok = o.root, rank, true
		}
	}
	return root, ok
}

func (r *Roster) revoked(root, dev Key) bool {
	return r.state.Revoked(r.set.people.byKey[root], r.set.chains.find(dev)) != authority.None
}

// Owner returns whose a device is, of those who are in the group.
func (r *Roster) Owner(dev Key) (Standing, bool) {
	root, ok := r.owner(dev)
	if !ok {
		return Standing{Rank: NoRank}, false
	}
	return r.Standing(root)
}

// Whose returns the identity that a device signs for, in the group or not.
func (r *Roster) Whose(dev Key) (Key, bool) {
	if root, ok := r.owner(dev); ok {
		return root, true
	}
	list := r.set.certs[dev]
	if len(list) == 0 {
		return Key{}, false
	}
	return slices.MinFunc(list, func(a, b owned) int { return a.root.Compare(b.root) }).root, true
}

// Members returns everybody in the group, the most senior first.
func (r *Roster) Members() []Standing {
	var out []Standing
	for _, who := range r.state.People() {
		if s, ok := r.Standing(r.set.people.keys[who]); ok {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b Standing) int { return cmp.Or(cmp.Compare(a.Rank, b.Rank), a.Root.Compare(b.Root)) })
	return out
}

// Effective says whether an event of the set counts.
func (r *Roster) Effective(id ID) bool {
	i, ok := r.set.index[id]
	return ok && r.state.Counts(i)
}

// Cause returns what undid an event of the set: the denial, leave or revocation that
// its author, or somebody it rests on, fell to.
func (r *Roster) Cause(id ID) (ID, bool) {
	i, ok := r.set.index[id]
	if !ok {
		return ID{}, false
	}
	return r.id(r.state.Cause(i))
}

// Ended returns what ended somebody's place in the group: who removed them or who
// admitted them, or that they left.
func (r *Roster) Ended(root Key) (ID, bool) {
	who, ok := r.set.people.byKey[root]
	if !ok {
		return ID{}, false
	}
	if id, ok := r.id(r.state.Ended(who)); ok {
		return id, true
	}
	return r.id(r.state.Voided(who))
}

// Muted returns the mute that keeps somebody from speaking now.
func (r *Roster) Muted(root Key) (ID, bool) {
	who, ok := r.set.people.byKey[root]
	if !ok {
		return ID{}, false
	}
	return r.id(r.state.Muted(who))
}

// Banned returns the effective bans on somebody who is not in the group that no unban
// has lifted: who is banned comes back by a grant of somebody as senior as they, or by
// an unban first.
func (r *Roster) Banned(root Key) []ID {
	var out []ID
	who, ok := r.set.people.byKey[root]
	if !ok || r.state.Rank(who) != NoRank {
		return nil
	}
	for _, i := range r.state.Bans(who) {
		out = append(out, r.set.nodes[i].v.id)
	}
	return out
}

func (r *Roster) id(i int32) (ID, bool) {
	if i == authority.None {
		return ID{}, false
	}
	return r.set.nodes[i].v.id, true
}

// effective returns the effective events of a kind in the set's order.
func (r *Roster) effective(k Kind) []ID {
	var out []ID
	for _, i := range r.set.kinds[k] {
		if r.state.Counts(i) {
			out = append(out, r.set.nodes[i].v.id)
		}
	}
	return out
}

// Invites returns the effective invites that are not revoked, in the set's order.
func (r *Roster) Invites() []ID {
	revoked := make(map[ID]bool)
	for _, id := range r.effective(KindInviteRevoke) {
		_, c, _ := r.set.Get(id)
		revoked[c.(*InviteRevoke).Invite] = true
	}
	return slices.DeleteFunc(r.effective(KindInvite), func(id ID) bool { return revoked[id] })
}

// standing returns the grants to an identity that have in their past every effective
// removal, ban and leave of it: what was said while it was out, it does not get to
// read.
func (r *Roster) standing(root Key) []int32 {
	who, ok := r.set.people.byKey[root]
	if !ok {
		return nil
	}
	ends := r.state.Departures(who)
	var out []int32
	for _, g := range r.set.graph.Grants(who) {
		if r.state.Counts(g) && !slices.ContainsFunc(ends, func(end int32) bool { return !r.set.graph.Sees(g, end) }) {
			out = append(out, g)
		}
	}
	return out
}

// Invites returns all invites of the set in its order, also those that are over.
func (s *Set) Invites() []ID { return s.ids(s.kinds[KindInvite]) }

// Spent says whether a grant of the set rests on a join proof: no other can then.
func (s *Set) Spent(p JoinProof) bool { return len(s.nonces[p.Nonce]) > 0 }

// Rekeys returns the effective rekeys in the set's order.
func (r *Roster) Rekeys() []ID { return r.effective(KindRekey) }

// Rekeys returns all rekeys of the set in its order. Also those of who was removed
// open what others sealed under their epochs before they heard.
func (s *Set) Rekeys() []ID { return s.ids(s.kinds[KindRekey]) }

// Successors returns the effective proposals to move to another group.
func (r *Roster) Successors() []ID { return r.effective(KindSuccessor) }

// Frozen returns the effective events of critical kinds that this version does not
// know, by those who have a say in others' standing. While there is one, no authority
// events may be issued: a newer program may have changed what they mean. What members
// and greeters issue cannot have, and would let anybody stop a group's moderators.
func (r *Roster) Frozen() []ID {
	var out []ID
	for k, list := range r.set.kinds {
		if k.Known() || !k.Critical() {
			continue
		}
		for _, i := range list {
			if r.state.Counts(i) && r.set.graph.Acting(i) <= Moderator {
				out = append(out, r.set.nodes[i].v.id)
			}
		}
	}
	slices.SortFunc(out, ID.Compare)
	return out
}

// Admissions counts the effective grants that answer an invite.
func (r *Roster) Admissions(invite ID) int {
	count := 0
	for _, i := range r.set.kinds[KindGrant] {
		if r.set.nodes[i].clear.(*Grant).Invite == invite && r.state.Counts(i) {
			count++
		}
	}
	return count
}

// Acting returns the rank under which an event of the set was made.
func (r *Roster) Acting(id ID) Rank {
	i, ok := r.set.index[id]
	if !ok {
		return NoRank
	}
	return r.set.graph.Acting(i)
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
