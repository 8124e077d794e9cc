package protocol

import (
	"cmp"
	"slices"
	"time"

	"github.com/p2pchat/p2pchat/protocol/authority"
)

// View is from where somebody looks at the epochs of a group.
type View struct {
	Held   func(eid, rekey ID) bool // whether the secret is here, and that of this rekey
	Forged func(grant, eid ID) bool // whether a grant is known to commit to a wrong step; nil is no
	Spent  func(eid ID) bool        // whether [EpochMessages] are known under it; nil is no
	Now    uint64                   // what time it is, in milliseconds
	Grace  time.Duration            // for how long a leave or a revocation may be missing
	Hard   bool                     // leaves and revocations may be missing for ever
}

// Candidate is an epoch somebody could send under.
type Candidate struct {
	ID      ID
	Rekey   ID
	Parents []ID
	Rank    Rank   // of the rekey's author
	Depth   int    // longest way to the first epoch
	HLC     uint64 // when the rekey says that it was made
	Held    bool   // the secret is here
	Current bool   // everybody who went lies in the rekey's past
	Needed  bool   // by a senior, or there was none to send under
	Due     bool   // another is to follow it: it is old, of a time to come, or spent
}

// look is one look at the epochs of a group.
type look struct {
	*Roster
	View
	endings []int32 // effective, in the set's order
	ended   authority.Past
	joined  []int32 // live admissions, where history begins with joining
	entered authority.Past
	needed  []seen // the rekeys that were needed, in the set's order
}

type seen struct {
	at  int32
	eid ID
	hlc uint64
}

// Candidates returns the epochs of the group for [Usable]. An epoch is current if its
// rekey has seen everybody go who went, and, where history begins with joining, everybody
// come who came, or they say from which step on they read it; leaves and revocations younger than the grace
// may be missing, so that not every leave starts an epoch at once.
//
// A rekey is needed if its author is a moderator or more senior, or if its past has no
// other needed one that is current as far as that past tells, younger than [EpochAge]
// and not spent. Of those that are not, anybody may make as many as they like: others
// open what was sealed under them, and send under what they sent under before.
func (r *Roster) Candidates(v View) []Candidate {
	s := r.set
	endings := slices.DeleteFunc(r.state.Endings(), func(i int32) bool { return !r.firm().has(i) }) // what is not firm nobody cites
	l := look{Roster: r, View: v, endings: endings}
	l.ended = authority.Positions(l.endings)
	if r.History() == HistorySinceJoin && !v.Hard {
		l.joined = r.liveAdmissions()
		l.entered = authority.Positions(l.joined)
	}
	whole := l.ended.Union(l.entered)
	depth := make(map[ID]int)
	var out []Candidate
	for _, i := range s.kinds[KindRekey] {
		if !r.state.Counts(i) {
			continue
		}
		k := s.nodes[i].clear.(*Rekey)
		c := Candidate{ID: k.Epoch, Rekey: s.nodes[i].v.id, Rank: s.graph.Acting(i), HLC: s.nodes[i].v.Header().HLC}
		c.Held = v.Held(c.ID, c.Rekey)
		c.Current = l.current(i, whole, v.Now, v.Grace)
		c.Needed = c.Rank <= Moderator || l.need(i)
		c.Due = aged(c.HLC, v.Now, v.Now) || v.Spent != nil && v.Spent(c.ID)
		if c.Needed {
			l.needed = append(l.needed, seen{i, c.ID, c.HLC})
		}
		for _, p := range k.Parents {
			c.Parents = append(c.Parents, p.Epoch)
			c.Depth = max(c.Depth, depth[p.Epoch]+1)
		}
		if c.Held || len(s.epochs[c.ID]) == 1 { // a false claim says nothing about the epoch
			depth[c.ID] = c.Depth
		}
		out = append(out, c)
	}
	return out
}

// current says whether a rekey has seen everybody go who went, as far as some past
// tells, at a time.
func (l *look) current(rekey int32, within authority.Past, at uint64, grace time.Duration) bool {
	down := l.set.graph.Past(rekey)
	if l.ended.Lacks(within, down) && slices.ContainsFunc(l.endings, func(e int32) bool {
		return within.Has(e) && !down.Has(e) && l.presses(e, at, grace)
	}) {
		return false
	}
	return !l.entered.Lacks(within, down) || !slices.ContainsFunc(l.joined, func(g int32) bool {
		return within.Has(g) && !down.Has(g) && !l.steps(g, rekey)
	})
}

// steps says whether an admission names the step from which on its target reads a
// rekey's epoch.
func (l *look) steps(grant, rekey int32) bool {
	eid := l.set.nodes[rekey].clear.(*Rekey).Epoch
	return l.set.stepOf(grant, eid).Step > 0 && (l.Forged == nil || !l.Forged(l.set.nodes[grant].v.id, eid))
}

// liveAdmissions returns the admissions under which somebody reads now.
func (r *Roster) liveAdmissions() []int32 {
	var out []int32
	for _, i := range r.set.kinds[KindGrant] {
		g := r.set.nodes[i].clear.(*Grant)
		if g.Proof != nil && g.Rank < Relay && slices.Contains(r.state.Live(r.set.people.byKey[g.Target]), i) {
			out = append(out, i)
		}
	}
	return out
}

// need says whether somebody who was to send with a rekey's past had to start an epoch.
// It goes by what the rekey says about the time, but never by a time to come.
func (l *look) need(rekey int32) bool {
	at := min(l.set.nodes[rekey].v.Header().HLC, l.Now)
	past := l.set.graph.Past(rekey)
	for _, q := range slices.Backward(l.needed) {
		fresh := !aged(q.hlc, at, l.Now) && (l.Spent == nil || !l.Spent(q.eid))
		if fresh && l.set.graph.Sees(rekey, q.at) && l.current(q.at, past, at, 0) {
			return false
		}
	}
	return true
}

const skew = uint64(MaxClockSkew / time.Millisecond)

// aged says whether a rekey of a time was due for another at a time. One from a time to
// come is: it would be for years.
func aged(made, at, now uint64) bool {
	return made > now+skew || made+uint64(EpochAge/time.Millisecond) <= at
}

// presses says whether the end of somebody's place has to lie in a rekey's past at a
// time. What somebody did to their own place may be missing for the grace; for a day,
// where it is not the first such act in a day.
func (l *look) presses(e int32, at uint64, grace time.Duration) bool {
	if k := l.set.nodes[e].v.Header().Kind; k != KindLeave && k != KindDeviceRevoke {
		return true
	}
	if l.Hard {
		return false
	}
	told := l.told(e)
	if told > l.Now+skew {
		return true // or it would be missing for years
	}
	if l.repeats(e) {
		grace = max(grace, RepeatGrace)
	}
	return told+uint64(grace/time.Millisecond) <= at
}

// told is when somebody did what ended their own place: not before somebody else gave
// it to them, whatever they say.
func (l *look) told(e int32) uint64 {
	n := &l.set.nodes[e]
	return max(n.v.Header().HLC, l.set.nodes[n.auth].v.Header().HLC)
}

// repeats says whether an identity ended a place of its own less than a day before.
func (l *look) repeats(e int32) bool {
	return slices.ContainsFunc(l.set.graph.By(l.set.people.find(l.set.nodes[e].by)), func(o int32) bool {
		k := l.set.nodes[o].v.Header().Kind
		return (k == KindLeave || k == KindDeviceRevoke) && l.set.graph.Sees(e, o) &&
			l.told(e) < l.told(o)+uint64(RepeatGrace/time.Millisecond)
	})
}

// Usable chooses the epoch to send under, of many. Of those that are held and current
// the needed ones, or all where none is; then those that no other of them follows; then
// the most senior author's, the deepest, the one with the lowest id. Where another is
// due to follow that, and one does which was not needed, that is taken: or who rotates
// would go on to do so, because the next is not needed either as long as there is one
// that only others hold, or that only others think new. No answer means that an epoch
// has to be started.
func Usable(all []Candidate) (ID, bool) {
	c := usable(all)
	if c == nil {
		return ID{}, false
	}
	return c.ID, true
}

func usable(all []Candidate) *Candidate {
	byID := make(map[ID]*Candidate, len(all))
	var fit []*Candidate
	for i := range all {
		c := &all[i]
		if byID[c.ID] == nil || c.Held { // not who only claims to start it
			byID[c.ID] = c
		}
		if c.Held && c.Current {
			fit = append(fit, c)
		}
	}
	best := prefer(byID, filter(fit, func(c *Candidate) bool { return c.Needed }))
	if best == nil {
		best = prefer(byID, fit)
	}
	if best == nil || !best.Due {
		return best
	}
	follows := map[ID]bool{best.ID: true}
	for _, c := range all { // parents come first
		follows[c.ID] = follows[c.ID] || slices.ContainsFunc(c.Parents, func(p ID) bool { return follows[p] })
	}
	later := filter(fit, func(c *Candidate) bool { return c != best && follows[c.ID] })
	if next := prefer(byID, filter(later, func(c *Candidate) bool { return !c.Due })); next != nil {
		return next
	}
	return cmp.Or(prefer(byID, later), best)
}

func filter(list []*Candidate, keep func(*Candidate) bool) (out []*Candidate) {
	for _, c := range list {
		if keep(c) {
			out = append(out, c)
		}
	}
	return out
}

// prefer takes the most senior author's, the deepest, the one with the lowest id of those
// that no other follows.
func prefer(byID map[ID]*Candidate, list []*Candidate) *Candidate {
	followed := make(map[ID]bool)
	for _, c := range list {
		markAncestors(c.Parents, byID, followed)
	}
	list = filter(list, func(c *Candidate) bool { return !followed[c.ID] })
	if len(list) == 0 {
		return nil
	}
	return slices.MinFunc(list, func(a, b *Candidate) int {
		return cmp.Or(cmp.Compare(a.Rank, b.Rank), cmp.Compare(b.Depth, a.Depth), a.ID.Compare(b.ID))
	})
}

func markAncestors(from []ID, byID map[ID]*Candidate, seen map[ID]bool) {
	for len(from) > 0 {
		id := from[len(from)-1]
		from = from[: len(from)-1 : len(from)-1]
		if c := byID[id]; c != nil && !seen[id] {
			seen[id] = true
			from = append(from, c.Parents...)
		}
	}
}
