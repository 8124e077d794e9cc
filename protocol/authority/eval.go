package authority

import "slices"

// State is what follows from a graph: which events count, and who has which rank.
type State struct {
	g       *Graph
	counts  []bool
	denials map[int32][]int32 // effective removes and bans, by target
	unbans  map[int32][]int32
	mutes   map[int32][]int32
	unmutes map[int32][]int32
	leaves  map[int32][]int32 // by identity
	revokes map[int32][]int32 // by device: all there are
}

// Eval judges a graph from nothing.
func Eval(g *Graph) *State {
	s := &State{g: g}
	s.eval(nil)
	return s
}

// EvalPast judges what lies in a past: what its author could know.
func EvalPast(g *Graph, past Past) *State {
	s := &State{g: g}
	s.eval(&past)
	return s
}

// Lives says whether somebody had a place in the group as far as a past tells.
func (g *Graph) Lives(who int32, past Past) bool {
	granted := slices.ContainsFunc(g.grants[who], past.Has)
	if !granted || !slices.ContainsFunc(g.endings, past.Has) {
		return granted // nothing that could have undone it
	}
	return EvalPast(g, past).Rank(who) != NoRank
}

// eval is Eval(S) of the package's documentation.
func (s *State) eval(within *Past) {
	s.counts = make([]bool, len(s.g.nodes))
	s.denials, s.unbans = make(map[int32][]int32), make(map[int32][]int32)
	s.mutes, s.unmutes = make(map[int32][]int32), make(map[int32][]int32)
	s.leaves, s.revokes = make(map[int32][]int32), make(map[int32][]int32)
	for _, i := range s.g.endings {
		if n := &s.g.nodes[i]; n.Op == Revoke && (within == nil || within.Has(i)) {
			s.revokes[n.Target] = append(s.revokes[n.Target], i)
		}
	}
	for _, r := range s.g.ranks {
		for _, i := range s.g.byRank[r] { // positions are a topological order
			if within != nil && !within.Has(i) {
				continue
			}
			s.counts[i] = s.holds(i)
			if s.counts[i] && s.g.nodes[i].Op == Leave {
				s.note(i)
			}
		}
		for _, i := range s.g.byRank[r] {
			if s.counts[i] && s.g.nodes[i].Op != Leave {
				s.note(i)
			}
		}
	}
}

// holds is eff(e). A revocation is the root's word and needs nobody's leave.
func (s *State) holds(i int32) bool {
	n := &s.g.nodes[i]
	return i == 0 || n.Op == Revoke || s.counts[n.Auth] && s.against(n.Auth, i) == None
}

// WouldCount says whether an event that is not in the graph yet would be effective. It
// is in nobody's past, so no cut spares it.
func (s *State) WouldCount(c Checked) bool {
	g, n := s.g, c.n
	n.branch = None
	g.nodes = append(g.nodes, n)
	defer func() { g.nodes = g.nodes[:len(g.nodes)-1] }()
	return s.holds(int32(len(g.nodes) - 1))
}

// note adds an effective event to what others are judged by.
func (s *State) note(i int32) {
	n := &s.g.nodes[i]
	switch n.Op {
	case Remove, Ban:
		s.denials[n.Target] = append(s.denials[n.Target], i)
	case Unban:
		s.unbans[n.Target] = append(s.unbans[n.Target], i)
	case Mute:
		s.mutes[n.Target] = append(s.mutes[n.Target], i)
	case Unmute:
		s.unmutes[n.Target] = append(s.unmutes[n.Target], i)
	case Leave:
		s.leaves[n.By] = append(s.leaves[n.By], i)
	}
}

// holder is whose grant it is: the genesis is that of the founder who acts.
func (g *Graph) holder(grant, e int32) int32 {
	if grant == 0 {
		return g.nodes[e].By
	}
	return g.nodes[grant].Target
}

// Granted returns the rank that a grant, or the genesis, gives.
func (g *Graph) Granted(grant int32) Rank {
	if grant == 0 {
		return Founder
	}
	return g.nodes[grant].Rank
}

// against is stands(g, e) turned round: what an act under a grant fails by, or None
// where it stands.
func (s *State) against(grant, e int32) int32 {
	g := s.g
	who, rank := g.holder(grant, e), g.Granted(grant)
	replaced := false // whether a denial's cut decides instead of a revocation's
	for _, d := range s.denials[who] {
		switch {
		case g.nodes[d].rank >= rank:
		case g.Sees(grant, d):
			if !s.regranted(grant, d) {
				return d
			}
		case !g.spared(e, g.nodes[d].Cut):
			return d
		default:
			replaced = replaced || g.nodes[d].rank <= Admin
		}
	}
	for _, l := range s.leaves[who] {
		if g.nodes[l].rank <= rank && !g.Sees(grant, l) && g.Sees(e, l) {
			return l
		}
	}
	if !replaced {
		for _, r := range s.revokes[g.nodes[e].Dev] {
			if g.nodes[r].By == who && !g.spared(e, g.nodes[r].Cut) {
				return r
			}
		}
	}
	return None
}

// regranted says whether a grant that has seen a denial gives the place back.
func (s *State) regranted(grant, d int32) bool {
	g := s.g
	return g.nodes[d].Op == Remove || g.nodes[grant].rank <= g.nodes[d].rank ||
		slices.ContainsFunc(s.unbans[g.nodes[d].Target], func(u int32) bool {
			return g.Sees(u, d) && g.Sees(grant, u) && g.nodes[u].rank <= g.nodes[d].rank
		})
}

// ends is stands(g, nil) turned round: what ended a grant to somebody, or None where
// it is live.
func (s *State) ends(grant, who int32) int32 {
	g, rank := s.g, s.g.Granted(grant)
	for _, d := range s.denials[who] {
		if g.nodes[d].rank < rank && !(g.Sees(grant, d) && s.regranted(grant, d)) {
			return d
		}
	}
	for _, l := range s.leaves[who] {
		if g.nodes[l].rank <= rank && !g.Sees(grant, l) {
			return l
		}
	}
	return None
}

// Extend takes in what the graph has gained since: the same as evaluating it from
// nothing, at the price of the new events alone unless one of them undoes something.
func (s *State) Extend() {
	for i := int32(len(s.counts)); int(i) < len(s.g.nodes); i++ {
		counts := s.holds(i)
		if counts && s.disturbs(i) {
			s.eval(nil)
			return
		}
		if s.counts = append(s.counts, counts); counts {
			s.note(i)
		}
		if n := &s.g.nodes[i]; n.Op == Revoke {
			s.revokes[n.Target] = append(s.revokes[n.Target], i)
		}
	}
}

// disturbs says whether a new event that counts may change what is known of older ones
// (one that does not costs nothing, or who was removed could make everybody evaluate
// the graph again and again). None of them has it in its past: so only a denial or a
// revocation can, through acts that its cut does not spare, or through its cut's taking
// the place of a revocation's.
func (s *State) disturbs(i int32) bool {
	g, n := s.g, &s.g.nodes[i]
	switch {
	case n.Op == Revoke:
		return slices.ContainsFunc(g.byDevice[n.Target], func(e int32) bool { return e < i && !g.spared(e, n.Cut) })
	case n.Op.denies():
		return slices.ContainsFunc(g.byIdentity[n.Target], func(e int32) bool {
			return e < i && g.nodes[e].rank > n.rank && (!g.spared(e, n.Cut) || n.rank <= Admin && len(s.revokes[g.nodes[e].Dev]) > 0)
		})
	}
	return false
}

// Counts says whether an event is effective.
func (s *State) Counts(i int32) bool { return int(i) < len(s.counts) && s.counts[i] }

// Cause returns what undid an event: the denial, leave or revocation that its author
// or the author of a grant it rests on fell to. None where it counts.
func (s *State) Cause(i int32) int32 {
	for !s.Counts(i) {
		auth := s.g.nodes[i].Auth
		if s.Counts(auth) {
			return s.against(auth, i)
		}
		i = auth
	}
	return None
}

// Live returns the effective grants that give somebody a place now. The genesis is
// one for a founder.
func (s *State) Live(who int32) []int32 {
	var live []int32
	for _, i := range s.g.grants[who] {
		if s.Counts(i) && s.ends(i, who) == None {
			live = append(live, i)
		}
	}
	return live
}

// Rank returns the most senior rank somebody has, or NoRank.
func (s *State) Rank(who int32) Rank {
	best := NoRank
	for _, i := range s.Live(who) {
		best = min(best, s.g.Granted(i))
	}
	return best
}

// Ended returns what ended somebody's most senior effective grant that is not live,
// or None: by whom they were removed, or that they left. Of grants of one rank it is
// about one that has seen the others: a ban that was lifted since is no answer.
func (s *State) Ended(who int32) int32 {
	best, last, by := NoRank, None, None
	for _, i := range s.g.grants[who] {
		rank := s.g.Granted(i)
		if !s.Counts(i) || rank > best || rank == best && !s.g.Sees(i, last) {
			continue
		}
		if end := s.ends(i, who); end != None {
			best, last, by = rank, i, end
		}
	}
	return by
}

// Voided returns what undid a grant to somebody that does not count, or None.
func (s *State) Voided(who int32) int32 {
	for _, i := range s.g.grants[who] {
		if !s.Counts(i) {
			return s.Cause(i)
		}
	}
	return None
}

// People returns everybody who ever was granted something, founders included.
func (s *State) People() []int32 {
	out := make([]int32, 0, len(s.g.grants))
	for who := range s.g.grants {
		out = append(out, who)
	}
	slices.Sort(out)
	return out
}
