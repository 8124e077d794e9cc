package protocol

import (
	"cmp"
	"iter"
	"maps"
	"slices"

	"github.com/p2pchat/p2pchat/protocol/authority"
)

// Who copies a device, or was removed and goes on, can make more control events than
// anybody keeps, and give each member others. So what a group must come to hold alike
// is its firm events. Of the rest, the loose events, each node holds some, and which is
// nobody's business: they are not cited and not compared. A node says only that there is
// a crowd, so that all come to see one.
//
// The core is the least set that holds with an event what it cites, and any event that
// begins its chain or comes after one of the core on it, if
//   - no other event that is not of the core comes after the same one, and
//   - it has an effect, or at most MaxIdle events by its author have none and are not of
//     the core.
//
// Firm is the core, and of each fork in it the branches' first events where at most
// MaxCrowd are not of the core, with what they cite. Each event that joins the core only
// makes it easier for others, so the order in which one looks does not matter.

// firmness is what is firm in a set, as a roster sees it.
type firmness struct {
	events   int            // of the set
	all      bool           // everything is core
	core     authority.Past // of the core
	past     authority.Past // what is firm
	branches map[fork]int   // events after one of the core that are not of the core
	idle     map[int32]int  // events without effect that are not, by identity
	ends     []Tip
}

// fork is an event of a device's chain that several may follow; None is the beginning.
type fork struct {
	dev  Key
	prev int32
}

func forkAt(n *node) fork { return fork{n.v.Header().Dev, n.prev} }

func (f *firmness) has(i int32) bool { return f.all || f.past.Has(i) }

func (f *firmness) inCore(i int32) bool { return f.all || i == authority.None || f.core.Has(i) }

// firm finds what is firm. It remembers the answer until the set grows.
func (r *Roster) firm() *firmness {
	r.state.Extend()
	if r.firmness == nil || r.firmness.events != len(r.set.nodes) {
		r.firmness = r.findFirm()
	}
	return r.firmness
}

func (r *Roster) findFirm() *firmness {
	s := r.set
	f := &firmness{events: len(s.nodes), idle: r.idlers()}
	if len(s.forked) == 0 && len(f.idle) == 0 {
		f.all = true
		return f
	}
	suspects := r.suspects(f)
	for grown := true; grown; {
		grown = false
		f.count(r, suspects)
		rest := suspects[:0]
		for _, i := range suspects {
			if !f.core.Has(i) && f.admits(r, i, 1) {
				f.core = f.core.Union(s.graph.Past(i))
				grown = true
			}
			if !f.core.Has(i) {
				rest = append(rest, i)
			}
		}
		suspects = rest
	}
	f.past = f.core
	for _, i := range suspects {
		if f.admits(r, i, MaxCrowd) {
			f.past = f.past.Union(s.graph.Past(i))
		}
	}
	return f
}

// idlers counts the events without effect of those who have more of them than is told.
func (r *Roster) idlers() map[int32]int {
	idle := make(map[int32]int)
	for i := range r.set.nodes {
		if !r.state.Counts(int32(i)) {
			idle[r.set.graph.At(int32(i)).By]++
		}
	}
	maps.DeleteFunc(idle, func(_ int32, n int) bool { return n <= MaxIdle })
	return idle
}

// suspects returns the events that may not be of the core: branches of a fork, what
// comes after them, and what has no effect. All others, and what they cite, are.
func (r *Roster) suspects(f *firmness) []int32 {
	s := r.set
	branches := make(map[fork]int)
	for _, at := range s.forked {
		for _, i := range s.places[at] {
			branches[forkAt(&s.nodes[i])]++
		}
	}
	var list []int32
	suspect := make([]bool, len(s.nodes))
	for i := range s.nodes {
		n, at := &s.nodes[i], int32(i)
		switch {
		case n.prev != authority.None && suspect[n.prev]:
		case f.idle[s.graph.At(at).By] > 0 && !r.state.Counts(at):
		case len(branches) > 0 && branches[forkAt(n)] > 1:
		default:
			continue
		}
		suspect[i] = true
		list = append(list, at)
	}
	for i := int32(len(s.nodes)) - 1; i >= 0; i-- {
		if !suspect[i] && !f.core.Has(i) {
			f.core = f.core.Union(s.graph.Past(i))
		}
	}
	return list
}

// count counts what is not of the core yet.
func (f *firmness) count(r *Roster, suspects []int32) {
	f.branches, f.idle = make(map[fork]int), make(map[int32]int)
	for _, i := range suspects {
		if f.core.Has(i) {
			continue
		}
		f.branches[forkAt(&r.set.nodes[i])]++
		if !r.state.Counts(i) {
			f.idle[r.set.graph.At(i).By]++
		}
	}
}

// admits says whether an event needs nobody to cite it, where a fork may have so many
// branches that nobody cites.
func (f *firmness) admits(r *Roster, i int32, branches int) bool {
	n := &r.set.nodes[i]
	return f.inCore(n.prev) && f.branches[forkAt(n)] <= branches &&
		(r.state.Counts(i) || f.idle[r.set.graph.At(i).By] <= MaxIdle)
}

// Firm says whether an event of the set is firm: all who belong to the group come to
// hold it.
func (r *Roster) Firm(id ID) bool {
	i, ok := r.set.index[id]
	return ok && r.firm().has(i)
}

// Heads returns what a new event refers to, ascending: the firm events that no firm one
// cites, those of the most senior authors if there are more than most. Each of must, such
// as the author's grant or what the event lifts, is in their past, as far as most allows;
// firm or not.
func (r *Roster) Heads(most int, must ...ID) []ID {
	s, heads := r.set, r.heads()
	slices.SortFunc(heads, func(i, j int32) int {
		return cmp.Or(cmp.Compare(s.graph.Acting(i), s.graph.Acting(j)), s.nodes[i].v.id.Compare(s.nodes[j].v.id))
	})
	var out []int32
	for _, id := range must {
		target, ok := s.index[id]
		carries := func(i int32) bool { return i == target || s.graph.Sees(i, target) }
		if !ok || len(out) == most || slices.ContainsFunc(out, carries) {
			continue
		}
		if k := slices.IndexFunc(heads, carries); k >= 0 {
			target = heads[k]
		}
		out = append(out, target)
	}
	for _, i := range heads {
		if len(out) < most && !slices.Contains(out, i) {
			out = append(out, i)
		}
	}
	ids := s.ids(out)
	slices.SortFunc(ids, ID.Compare)
	return ids
}

// heads returns the firm events that no firm one cites.
func (r *Roster) heads() []int32 {
	s, f := r.set, r.firm()
	var out []int32
	if f.all {
		for id := range s.heads {
			out = append(out, s.index[id])
		}
		return out
	}
	var seen authority.Past
	for i := int32(len(s.nodes)) - 1; i >= 0; i-- { // what cites an event comes after it
		if f.past.Has(i) && !seen.Has(i) {
			out = append(out, i)
			seen = seen.Union(s.graph.Past(i))
		}
	}
	return out
}

// Ends returns the last firm event of each branch of each control chain, and a mark for
// each crowd, in the order of [Tip.Compare]: what nodes compare.
func (r *Roster) Ends() []Tip {
	s, f := r.set, r.firm()
	if f.ends != nil {
		return f.ends
	}
	follows := make([]bool, len(s.nodes)) // a firm event follows it on its chain
	for i := range s.nodes {
		if prev := s.nodes[i].prev; prev != authority.None && f.has(int32(i)) {
			follows[prev] = true
		}
	}
	for i := range s.nodes {
		if f.has(int32(i)) && !follows[i] {
			f.ends = append(f.ends, s.nodes[i].v.Tip())
		}
	}
	if !f.all {
		f.ends = append(f.ends, r.marks(f)...)
	}
	slices.SortFunc(f.ends, Tip.Compare)
	return f.ends
}

// marks returns a tip for each crowd, which names no event.
func (r *Roster) marks(f *firmness) []Tip {
	s := r.set
	var out []Tip
	for at, n := range f.branches {
		if n <= MaxCrowd || !f.inCore(at.prev) {
			continue
		}
		var prev ID
		seq := uint64(1)
		if at.prev != authority.None {
			v := s.nodes[at.prev].v
			prev, seq = v.id, v.Header().Seq+1
		}
		out = append(out, Tip{Dev: at.dev, Chain: Control, Seq: seq, ID: hash("p2pchat/1 crowd", at.dev[:], prev[:])})
	}
	for who, n := range f.idle {
		if n > MaxIdle {
			root := s.people.keys[who]
			out = append(out, Tip{Dev: root, Chain: Control, ID: hash("p2pchat/1 idle", root[:])})
		}
	}
	return out
}

// Surplus says whether a control event that is not in the set is one more of a crowd of
// which enough is held, or follows one that is loose: it is to be refused, unless what is
// not cites it.
func (r *Roster) Surplus(v Verified) bool {
	f, h := r.firm(), v.Header()
	if f.all {
		return false
	}
	at := fork{h.Dev, authority.None}
	if !h.Prev.IsZero() {
		prev, held := r.set.index[h.Prev]
		if !held {
			return false
		}
		at.prev = prev
	}
	if !f.inCore(at.prev) || f.branches[at] >= KeepCrowd {
		return true
	}
	for _, n := range f.idle {
		if n >= KeepIdle {
			return r.idles(v)
		}
	}
	return false
}

// idles says whether an event would have no effect, and its author has enough of those.
func (r *Roster) idles(v Verified) bool {
	s := r.set
	n, err := s.resolve(v)
	if err != nil || n.v.Header().Kind == KindGenesis {
		return false
	}
	people, chains := len(s.people.keys), len(s.chains.keys)
	c, err := s.check(&n)
	who := s.people.find(n.by)
	s.people.trim(people)
	s.chains.trim(chains)
	return err == nil && r.firm().idle[who] >= KeepIdle && !r.state.WouldCount(c)
}

// Draws says whether an event that waits for others, were it here, would make them firm,
// or is a message that may count: then they are let in, though they are surplus.
func (r *Roster) Draws(v Verified) bool {
	f, h := r.firm(), v.Header()
	if h.Chain == Messages {
		_, member := r.Owner(h.Dev)
		return member
	}
	at := fork{h.Dev, authority.None}
	if !h.Prev.IsZero() {
		prev, held := r.set.index[h.Prev]
		if !held || !f.inCore(prev) {
			return false
		}
		at.prev = prev
	}
	if f.branches[at] >= MaxCrowd {
		return false
	}
	root, known := r.Whose(h.Dev)
	return known && f.idle[r.set.people.find(root)] < MaxIdle
}

// Lacking yields, each after what it cites, the firm events that somebody lacks who holds
// some ends, and of what makes up a crowd that they do not know of, what is here. Where
// within is not nil, it yields what they lack of that instead.
func (r *Roster) Lacking(theirs []Tip, within *Past) iter.Seq[Verified] {
	s, f := r.set, r.firm()
	var have authority.Past
	for _, t := range theirs {
		if i, ok := s.index[t.ID]; ok && !have.Has(i) {
			have = have.Union(s.graph.Past(i))
		}
	}
	nodes, send, all := s.nodes, f.past, f.all && within == nil
	switch {
	case within != nil:
		send = within.all
	case !f.all:
		for who := range r.contested(f, theirs) {
			for _, i := range s.graph.By(who) {
				if !send.Has(i) {
					send = send.Union(s.graph.Past(i))
				}
			}
		}
	}
	return func(yield func(Verified) bool) {
		for i := range nodes {
			if at := int32(i); (all || send.Has(at)) && !have.Has(at) && !yield(nodes[i].v) {
				return
			}
		}
	}
}

// contested returns whose crowds somebody does not know of: they do not mark them, or
// compare what is loose here.
func (r *Roster) contested(f *firmness, theirs []Tip) map[int32]bool {
	s, out := r.set, make(map[int32]bool)
	told := make(map[Tip]bool, len(theirs))
	owners := func(dev Key) {
		for _, o := range s.certs[dev] {
			out[s.people.find(o.root)] = true
		}
	}
	for _, t := range theirs {
		told[t] = true
		if i, ok := s.index[t.ID]; t.Chain == Control && (!ok || !f.has(i)) {
			owners(t.Dev)
		}
	}
	for _, m := range r.marks(f) {
		if told[m] {
			continue
		}
		if owners(m.Dev); m.Seq == 0 {
			out[s.people.find(m.Dev)] = true
		}
	}
	return out
}

// Cited returns the loose control events that a message cites, and what they cite: who
// is given the message needs them.
func (r *Roster) Cited(v Verified) []Verified {
	s, f := r.set, r.firm()
	if f.all || !slices.ContainsFunc(v.Header().Refs, func(id ID) bool { i, ok := s.index[id]; return ok && !f.has(i) }) {
		return nil
	}
	past, err := s.Past(v.Header().Refs)
	if err != nil {
		return nil
	}
	var out []Verified
	for i := range s.nodes {
		if at := int32(i); past.all.Has(at) && !f.has(at) {
			out = append(out, s.nodes[i].v)
		}
	}
	return out
}
