package sim

import (
	"slices"

	"github.com/p2pchat/p2pchat/protocol/authority"
)

// Oracle is the rule once more, written from the pseudo-code of the specification and
// not from the code: sets of numbers, every past spelt out, no index, no shortcut. It
// is there to be compared with, and slow.
type Oracle struct {
	w     *World
	there func(act int) bool
	past  []map[int]bool
	valid []bool           // static(e)
	rank  []authority.Rank // r(e)
	eff   []bool           // eff(e)
	den   []int            // Den: effective removes and bans
	unb   []int            // Unb
	lv    []int            // Lv
	mut   []int            // effective mutes
	unm   []int            // effective unmutes
	rev   []int            // revocations
	about map[int32][]int  // grants by target, the genesis for founders
}

// nobody stands for e = nil: is the grant live now?
const nobody = -1

// NewOracle judges a world, or the part of it that is there.
func NewOracle(w *World, there func(act int) bool) *Oracle {
	n := len(w.Acts)
	o := &Oracle{
		w: w, there: there, past: make([]map[int]bool, n), valid: make([]bool, n),
		rank: make([]authority.Rank, n), eff: make([]bool, n), about: make(map[int32][]int),
	}
	for i := range w.Acts {
		if !there(i) {
			continue
		}
		o.past[i] = o.closure(i)
		o.valid[i] = o.static(i)
		if o.valid[i] && w.Acts[i].Op == authority.Revoke {
			o.rev = append(o.rev, i)
		}
	}
	for _, f := range w.Founders {
		o.about[f] = []int{0}
	}
	for i := range w.Acts {
		if a := &w.Acts[i]; o.valid[i] && a.Op == authority.Grant {
			o.about[a.Target] = append(o.about[a.Target], i)
		}
	}
	o.eval()
	return o
}

func (o *Oracle) closure(i int) map[int]bool {
	past := make(map[int]bool)
	a := &o.w.Acts[i]
	if a.Says { // its prev is a message, which is nothing to authority
		a = &Act{Event: authority.Event{Refs: a.Refs, Prev: authority.None}}
	}
	for _, c := range a.cites() {
		past[int(c)] = true
		for p := range o.past[c] {
			past[p] = true
		}
	}
	return past
}

func (o *Oracle) isFounder(who int32) bool { return slices.Contains(o.w.Founders, who) }

// isGrantTo says whether an act is a grant to somebody.
func (o *Oracle) isGrantTo(g int, who int32) bool {
	if g == 0 {
		return o.isFounder(who)
	}
	a := &o.w.Acts[g]
	return !a.Says && a.Op == authority.Grant && a.Target == who
}

// granted is g.rank.
func (o *Oracle) granted(g int) authority.Rank {
	if g == 0 {
		return authority.Founder
	}
	return o.w.Acts[g].Rank
}

// static is what depends on an event and its past alone. Of a message it is whether
// all that it cites is there.
func (o *Oracle) static(i int) bool {
	a := &o.w.Acts[i]
	if i == 0 {
		return o.isFounder(a.By)
	}
	for _, c := range a.cites() {
		if !a.Says && !o.valid[c] || a.Says && !o.w.Acts[c].Says && !o.valid[c] {
			return false
		}
	}
	if a.Says {
		return true
	}
	if a.Auth == authority.None || !o.past[i][int(a.Auth)] || !o.isGrantTo(int(a.Auth), a.By) {
		return false
	}
	o.rank[i] = o.granted(int(a.Auth))
	return o.chained(i) && o.allowed(i) && o.aims(i) && o.cuts(i)
}

// chained: prev is before it on the same chain, and who is a member or less has a
// short one.
func (o *Oracle) chained(i int) bool {
	a, length := &o.w.Acts[i], 1
	if a.Prev != authority.None {
		if p := &o.w.Acts[a.Prev]; p.By != a.By || p.Dev != a.Dev {
			return false
		}
	}
	for p := a.Prev; p > 0; p = o.w.Acts[p].Prev {
		length++
	}
	return o.rank[i] < 1000 || length <= 64
}

func (o *Oracle) allowed(i int) bool {
	a, r := &o.w.Acts[i], o.rank[i]
	switch a.Op {
	case authority.Grant:
		return r <= 400
	case authority.Remove, authority.Ban, authority.Unban, authority.Mute, authority.Unmute:
		return r <= 300
	case authority.Leave, authority.Revoke:
		return r <= 5000
	case authority.Other:
		return r <= a.Limit
	}
	return false
}

// aims: the target is not the author, and what is granted is junior.
func (o *Oracle) aims(i int) bool {
	a := &o.w.Acts[i]
	switch a.Op {
	case authority.Grant:
		return a.Target != a.By && a.Rank > o.rank[i] && a.Rank <= 5000
	case authority.Remove, authority.Ban, authority.Unban, authority.Mute, authority.Unmute:
		return a.Target != a.By
	}
	return true
}

// cuts: control entries are the target's own events and lie in the past.
func (o *Oracle) cuts(i int) bool {
	a := &o.w.Acts[i]
	for _, c := range a.Cut {
		if t := &o.w.Acts[c]; !t.Says {
			own := t.By == a.Target
			if a.Op == authority.Revoke {
				own = t.By == a.By && t.Dev == a.Target
			}
			if !own || !o.past[i][int(c)] {
				return false
			}
		}
	}
	return true
}

// eval is Eval(S).
func (o *Oracle) eval() {
	var ranks []authority.Rank
	for i := range o.w.Acts {
		if o.control(i) {
			ranks = append(ranks, o.rank[i])
		}
	}
	slices.Sort(ranks)
	for _, r := range slices.Compact(ranks) {
		for i := range o.w.Acts {
			if a := &o.w.Acts[i]; o.control(i) && o.rank[i] == r {
				o.eff[i] = i == 0 || a.Op == authority.Revoke ||
					o.eff[a.Auth] && o.stands(int(a.Auth), i, a.By)
				if o.eff[i] && a.Op == authority.Leave {
					o.lv = append(o.lv, i)
				}
			}
		}
		for i := range o.w.Acts {
			if o.control(i) && o.rank[i] == r && o.eff[i] {
				o.note(i)
			}
		}
	}
}

func (o *Oracle) control(i int) bool { return o.valid[i] && !o.w.Acts[i].Says }

func (o *Oracle) note(i int) {
	switch o.w.Acts[i].Op {
	case authority.Remove, authority.Ban:
		o.den = append(o.den, i)
	case authority.Unban:
		o.unb = append(o.unb, i)
	case authority.Mute:
		o.mut = append(o.mut, i)
	case authority.Unmute:
		o.unm = append(o.unm, i)
	}
}

// bears says whether a denial is on a grant to somebody.
func (o *Oracle) bears(d, g int, who int32) bool {
	return o.w.Acts[d].Target == who && o.rank[d] < o.granted(g)
}

// stands is stands(g, e), for a grant to who.
func (o *Oracle) stands(g, e int, who int32) bool {
	for _, d := range o.den {
		if !o.bears(d, g, who) {
			continue
		}
		if o.past[g][d] {
			if !o.knowing(g, d) {
				return false
			}
		} else if e == nobody || !o.w.spares(o.w.Acts[d].Cut, e) {
			return false
		}
	}
	for _, l := range o.lv {
		if o.w.Acts[l].By == who && o.rank[l] <= o.granted(g) && !o.past[g][l] && (e == nobody || o.past[e][l]) {
			return false
		}
	}
	return e == nobody || o.unrevoked(g, e, who)
}

// knowing: the grant has seen the denial and may give the place back.
func (o *Oracle) knowing(g, d int) bool {
	if o.w.Acts[d].Op == authority.Remove || o.rank[g] <= o.rank[d] {
		return true
	}
	for _, u := range o.unb {
		if o.w.Acts[u].Target == o.w.Acts[d].Target && o.past[u][d] && o.past[g][u] && o.rank[u] <= o.rank[d] {
			return true
		}
	}
	return false
}

// unrevoked: the device was not revoked before this, or a senior's denial decides.
func (o *Oracle) unrevoked(g, e int, who int32) bool {
	for _, d := range o.den {
		if o.bears(d, g, who) && o.rank[d] <= 100 && !o.past[g][d] && o.w.spares(o.w.Acts[d].Cut, e) {
			return true
		}
	}
	for _, r := range o.rev {
		if a := &o.w.Acts[r]; a.By == who && a.Target == o.w.Acts[e].Dev && !o.w.spares(a.Cut, e) {
			return false
		}
	}
	return true
}

// Verdict is what became of an act.
func (o *Oracle) Verdict(act int) authority.Verdict {
	a := &o.w.Acts[act]
	counts := o.eff[act]
	if a.Says {
		counts = o.Speaks(act, true) != authority.NoRank
	}
	switch {
	case !o.valid[act]:
		return authority.Invalid
	case counts:
		return authority.Effective
	}
	return authority.Undone
}

// Speaks returns the rank under which a message counts, or NoRank.
func (o *Oracle) Speaks(m int, mutes bool) authority.Rank {
	best := authority.NoRank
	for _, g := range o.about[o.w.Acts[m].By] {
		if rank := o.granted(g); rank < 5000 && o.Rests(g, m, mutes) {
			best = min(best, rank)
		}
	}
	return best
}

// Rests says whether a message may rest on a grant.
func (o *Oracle) Rests(g, m int, mutes bool) bool {
	who := o.w.Acts[m].By
	return o.valid[m] && o.eff[g] && o.past[m][g] && o.stands(g, m, who) && !(mutes && o.muted(g, m, who))
}

// muted: a mute is lifted by an unmute that the message has seen, and by nothing else.
func (o *Oracle) muted(g, m int, who int32) bool {
	for _, d := range o.mut {
		if !o.bears(d, g, who) {
			continue
		}
		heard := o.w.spares(o.w.Acts[d].Cut, m)
		for _, u := range o.unm {
			heard = heard || o.w.Acts[u].Target == who && o.rank[u] <= o.rank[d] && o.past[u][d] && o.past[m][u]
		}
		if !heard {
			return true
		}
	}
	return false
}

// Live says whether a grant to somebody gives them a place now.
func (o *Oracle) Live(g int, who int32) bool { return o.eff[g] && o.stands(g, nobody, who) }

// Rank is rank(T).
func (o *Oracle) Rank(who int32) authority.Rank {
	best := authority.NoRank
	for _, g := range o.about[who] {
		if o.Live(g, who) {
			best = min(best, o.granted(g))
		}
	}
	return best
}

// Removed says whether somebody once belonged and is kept out by others, under every
// grant that counts; by says whether a denial is to be taken into account.
func (o *Oracle) Removed(who int32, by func(d int) bool) bool {
	any := false
	for _, g := range o.about[who] {
		if !o.eff[g] {
			continue
		}
		any = true
		if !slices.ContainsFunc(o.den, func(d int) bool {
			return by(d) && o.bears(d, g, who) && !(o.past[g][d] && o.knowing(g, d))
		}) {
			return false
		}
	}
	return any
}
