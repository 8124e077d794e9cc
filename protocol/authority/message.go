package authority

import "slices"

// Message is a message as the rule sees it.
type Message struct {
	By   int32 // its author's identity
	Dev  int32
	Past Past // of the control events it cites, those included
	// Spared says whether the message is at or before what a denial, mute or
	// revocation spares on its chain of messages.
	Spared func(by int32) bool
}

// Undone returns what undid a grant to the author that the message has seen, where
// none of them counts: whoever gave the place had none to give. None where there was
// no grant.
func (s *State) Undone(m *Message) int32 {
	for _, grant := range s.g.grants[m.By] {
		if m.Past.Has(grant) && !s.Counts(grant) {
			return s.Cause(grant)
		}
	}
	return None
}

// Unquestioned says whether nothing was ever done about somebody or their device
// that could keep a message from counting.
func (s *State) Unquestioned(who, dev int32) bool {
	for _, grant := range s.g.grants[who] {
		if !s.Counts(grant) {
			return false
		}
	}
	return len(s.denials[who])+len(s.mutes[who])+len(s.leaves[who])+len(s.revokes[dev]) == 0
}

// Right is what a message rests on: a grant under which it counts.
type Right struct {
	Grant int32
	Rank  Rank
}

// Judge says under which grant a message counts: the most senior effective one in
// its past that stands for it. Otherwise it says what it fell to: a denial, a mute, a
// leave or a revocation, or None where there was no grant. muted is whether mutes are
// to be heeded.
func (s *State) Judge(m *Message, muted bool) (right Right, fell int32, ok bool) {
	right, fell = Right{None, NoRank}, None
	for _, grant := range s.g.grants[m.By] {
		rank := s.g.Granted(grant)
		if !s.Counts(grant) || !m.Past.Has(grant) || rank >= min(right.Rank, Relay) {
			continue
		}
		if by := s.silenced(grant, m, muted); by != None {
			fell = by
			continue
		}
		right = Right{grant, rank}
	}
	return right, fell, right.Grant != None
}

// Stands says whether a message may rest on a grant: a right beyond plain speaking.
func (s *State) Stands(grant int32, m *Message) bool {
	holder := grant == 0 || s.g.nodes[grant].Target == m.By
	return holder && s.Counts(grant) && m.Past.Has(grant) && s.silenced(grant, m, true) == None
}

// silenced is stands(g, m) turned round, for a message: the cuts are those on the
// chain of messages. A mute is about messages only; who has seen its lifting speaks
// again, without a new grant.
func (s *State) silenced(grant int32, m *Message, muted bool) int32 {
	g, rank := s.g, s.g.Granted(grant)
	replaced := false
	for _, d := range s.denials[m.By] {
		switch {
		case g.nodes[d].rank >= rank:
		case g.Sees(grant, d):
			if !s.regranted(grant, d) {
				return d
			}
		case !m.Spared(d):
			return d
		default:
			replaced = replaced || g.nodes[d].rank <= Admin
		}
	}
	if muted {
		for _, d := range s.mutes[m.By] {
			if g.nodes[d].rank < rank && !s.unmuted(d, m) {
				return d
			}
		}
	}
	for _, l := range s.leaves[m.By] {
		if g.nodes[l].rank <= rank && !g.Sees(grant, l) && m.Past.Has(l) {
			return l
		}
	}
	if !replaced {
		for _, r := range s.revokes[m.Dev] {
			if g.nodes[r].By == m.By && !m.Spared(r) {
				return r
			}
		}
	}
	return None
}

// unmuted says whether a message is heard in spite of a mute: it is spared, or has
// seen the lifting. A new grant does not do: who leaves and joins again stays muted.
func (s *State) unmuted(d int32, m *Message) bool {
	g := s.g
	for _, u := range s.unmutes[m.By] {
		if g.nodes[u].rank <= g.nodes[d].rank && g.Sees(u, d) && m.Past.Has(u) {
			return true
		}
	}
	return m.Spared(d)
}

// Muted returns the mute that keeps somebody from speaking now under every live
// grant that lets them speak at all, or None.
func (s *State) Muted(who int32) int32 {
	mute := None
	for _, grant := range s.Live(who) {
		rank, free := s.g.Granted(grant), true
		if rank >= Relay {
			continue
		}
		for _, d := range s.mutes[who] {
			if s.g.nodes[d].rank < rank && !s.lifted(d) {
				mute, free = d, false
			}
		}
		if free {
			return None
		}
	}
	return mute
}

func (s *State) lifted(d int32) bool {
	g := s.g
	for _, u := range s.unmutes[g.nodes[d].Target] {
		if g.nodes[u].rank <= g.nodes[d].rank && g.Sees(u, d) {
			return true
		}
	}
	return false
}

// Revoked returns the revocation of an identity's device, or None.
func (s *State) Revoked(who, dev int32) int32 {
	for _, r := range s.revokes[dev] {
		if s.g.nodes[r].By == who {
			return r
		}
	}
	return None
}

// Bans returns the effective bans on somebody that no unban as senior has lifted: a
// grant that has seen them needs their rank.
func (s *State) Bans(who int32) []int32 {
	var out []int32
	for _, d := range s.denials[who] {
		lifted := slices.ContainsFunc(s.unbans[who], func(u int32) bool {
			return s.g.Sees(u, d) && s.g.nodes[u].rank <= s.g.nodes[d].rank
		})
		if s.g.nodes[d].Op == Ban && !lifted {
			out = append(out, d)
		}
	}
	return out
}

// Departures returns the effective removes, bans and leaves of somebody.
func (s *State) Departures(who int32) []int32 {
	return slices.Concat(s.denials[who], s.leaves[who])
}

// Endings returns the effective removes, bans and leaves, and all revocations: what
// a new epoch has to have seen.
func (s *State) Endings() []int32 {
	var out []int32
	for _, i := range s.g.endings {
		if s.Counts(i) {
			out = append(out, i)
		}
	}
	return out
}
