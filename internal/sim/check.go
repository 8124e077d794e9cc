package sim

import (
	"fmt"
	"slices"

	"github.com/p2pchat/p2pchat/protocol/authority"
)

// Check makes the world of a seed and returns what is wrong about it: nothing, one
// hopes.
func Check(seed uint64) []string { return CheckDice(Seeded(seed)) }

// CheckDice is Check for any dice.
func CheckDice(dice Dice) []string {
	c := &checker{gen: random(dice)}
	d, err := c.w.Deliver(c.w.Order(dice), func(step int) bool { return dice.IntN(3) == 0 })
	if err != nil {
		return []string{err.Error()}
	}
	c.d = d
	c.agree("", d, c.oracle())
	c.holders()
	c.removals()
	c.orders()
	c.part()
	for range 3 {
		c.seniors()
	}
	c.inert()
	c.banned()
	c.silent()
	c.agree("after all that was added", d, c.oracle())
	return c.wrong
}

type checker struct {
	*gen
	d     *Delivery
	wrong []string
}

func (c *checker) fail(format string, args ...any) {
	c.wrong = append(c.wrong, fmt.Sprintf(format, args...))
}

func (c *checker) oracle() *Oracle { return NewOracle(c.w, func(int) bool { return true }) }

// agree compares the rule with the oracle, and what follows from a state with itself.
func (c *checker) agree(when string, d *Delivery, o *Oracle) {
	for i := range c.w.Acts {
		if !o.there(i) {
			continue
		}
		if got, want := d.Verdict(i), o.Verdict(i); got != want {
			c.fail("%s: the rule says %s of %s, the oracle %s", when, got, c.w.Name(i), want)
		}
		switch {
		case c.w.Acts[i].Says:
			c.message(when, d, o, i)
		case d.At[i] != authority.None && !d.State.Counts(d.At[i]):
			if by := d.State.Cause(d.At[i]); by == authority.None || !d.State.Counts(by) {
				c.fail("%s: %s was undone by %d, which does not count", when, c.w.Name(i), by)
			}
		}
	}
	for who := range c.people {
		c.person(when, d, o, who)
	}
}

func (c *checker) person(when string, d *Delivery, o *Oracle, who int32) {
	rank := o.Rank(who)
	if got := d.State.Rank(who); got != rank {
		c.fail("%s: the rule makes p%d a %s, the oracle a %s", when, who, got, rank)
	}
	once := slices.ContainsFunc(o.about[who], func(g int) bool { return o.eff[g] })
	if ended := d.State.Ended(who); once && rank == authority.NoRank && ended == authority.None {
		c.fail("%s: nothing ended what p%d was", when, who)
	}
	// Who may speak now is who would be heard if they did, on a new device.
	m := authority.Message{By: who, Dev: c.devices, Past: c.d.Graph.Past(c.tips()...), Spared: func(int32) bool { return false }}
	if d != c.d || when != "" {
		return
	}
	_, _, heard := d.State.Judge(&m, true)
	free := rank < authority.Relay && d.State.Muted(who) == authority.None
	if heard != free {
		c.fail("p%d would be heard: %v; muted by %d as a %s", who, heard, d.State.Muted(who), rank)
	}
}

// tips are the positions that no other cites, or simply all of them.
func (c *checker) tips() (out []int32) {
	for i := range c.d.Graph.Len() {
		out = append(out, int32(i))
	}
	return out
}

func (c *checker) message(when string, d *Delivery, o *Oracle, i int) {
	m, ok := d.Message(i)
	if !ok {
		return
	}
	for _, mutes := range []bool{true, false} {
		right, _, heard := d.State.Judge(&m, mutes)
		if want := o.Speaks(i, mutes); right.Rank != want || heard != (want != authority.NoRank) {
			c.fail("%s: the rule hears %s as %s, the oracle as %s", when, c.w.Name(i), right.Rank, want)
		}
	}
	for g := range c.w.Acts {
		if at := d.At[g]; at != authority.None && o.isGrantTo(g, m.By) && d.State.Stands(at, &m) != o.Rests(g, i, true) {
			c.fail("%s: %s rests on %s: %v", when, c.w.Name(i), c.w.Name(g), d.State.Stands(at, &m))
		}
	}
}

// holders: no impostors. What is in the graph acts under a grant to its author that it
// has seen, and has that grant's rank.
func (c *checker) holders() {
	for i, at := range c.d.At {
		if at <= 0 {
			continue
		}
		a := &c.w.Acts[i]
		held := a.Auth == 0 && slices.Contains(c.w.Founders, a.By) || a.Auth > 0 && c.w.Acts[a.Auth].Op == authority.Grant && c.w.Acts[a.Auth].Target == a.By
		if !held || !c.d.Graph.Sees(at, c.d.At[a.Auth]) || c.d.Graph.Acting(at) != c.w.Acts[a.Auth].Rank {
			c.fail("%s acts under %s as a %s", c.w.Name(i), c.w.Name(int(a.Auth)), c.d.Graph.Acting(at))
		}
	}
}

// removals: where a denial counts, no grant junior to it that has not seen it is live,
// and nothing is done under one but what the denial spares.
func (c *checker) removals() {
	g, s := c.d.Graph, c.d.State
	for i, at := range c.d.At {
		a := &c.w.Acts[i]
		if at == authority.None || !s.Counts(at) || a.Op != authority.Remove && a.Op != authority.Ban {
			continue
		}
		falls := func(grant int32) bool {
			return grant > 0 && g.At(grant).Target == a.Target && g.At(grant).Rank > g.Acting(at) && !g.Sees(grant, at)
		}
		if slices.ContainsFunc(s.Live(a.Target), falls) {
			c.fail("%s takes p%d's place, who keeps it", c.w.Name(i), a.Target)
		}
		for j, e := range c.d.At {
			if e > 0 && s.Counts(e) && c.w.Acts[j].By == a.Target && c.w.Acts[j].Op != authority.Revoke && falls(g.At(e).Auth) && !c.w.spares(a.Cut, j) {
				c.fail("%s takes p%d's place, and %s counts", c.w.Name(i), a.Target, c.w.Name(j))
			}
		}
	}
}

// orders: what arrives in another order, or as a world of names, comes to the same.
func (c *checker) orders() {
	order := c.w.Order(c.dice)
	other, _ := c.w.Deliver(order, func(int) bool { return c.dice.IntN(2) == 0 })
	nothing, _ := c.w.Deliver(order, func(int) bool { return false })
	named := c.w.Named()
	for i := len(named.Events) - 1; i > 0; i-- {
		j := c.dice.IntN(i + 1)
		named.Events[i], named.Events[j] = named.Events[j], named.Events[i]
	}
	judged, err := named.Judge()
	if err != nil {
		c.fail("as a world of names: %v", err)
		return
	}
	for i := range c.w.Acts {
		want := c.d.Verdict(i)
		if got := other.Verdict(i); got != want {
			c.fail("%s is %s in one order, %s in another", c.w.Name(i), want, got)
		}
		if got := nothing.Verdict(i); got != want {
			c.fail("%s is %s step by step, %s from nothing", c.w.Name(i), want, got)
		}
		if got := judged.Events[c.w.Name(i)]; !c.w.Acts[i].Says && got != want {
			c.fail("%s is %s by numbers, %s by names", c.w.Name(i), want, got)
		}
	}
	for who := range c.people {
		want := c.d.State.Rank(who)
		got, ok := judged.Roster[c.w.Person(who)]
		if !ok {
			got = authority.NoRank
		}
		if got != want || other.State.Rank(who) != want || nothing.State.Rank(who) != want {
			c.fail("p%d is %s, %s by names, %s in another order, %s from nothing", who, want, got, other.State.Rank(who), nothing.State.Rank(who))
		}
	}
}

// part: what somebody could know who has seen a part is what the part alone comes to.
func (c *checker) part() {
	head := c.dice.IntN(len(c.w.Acts))
	if c.d.At[head] == authority.None {
		return
	}
	past := c.past[head]
	o := NewOracle(c.w, func(act int) bool { return past&(1<<act) != 0 })
	s := authority.EvalPast(c.d.Graph, c.d.Graph.Past(c.d.At[head]))
	for i := range c.w.Acts {
		if past&(1<<i) != 0 && s.Counts(c.d.At[i]) != o.eff[i] {
			c.fail("seen from %s: %s counts: %v", c.w.Name(head), c.w.Name(i), s.Counts(c.d.At[i]))
		}
	}
	for who := range c.people {
		if got, want := s.Rank(who), o.Rank(who); got != want {
			c.fail("seen from %s: p%d is %s, the oracle says %s", c.w.Name(head), who, got, want)
		}
	}
}

// snapshot is all that one says of what is there.
type snapshot struct {
	verdicts []authority.Verdict
	ranks    []authority.Rank
}

func (c *checker) snap() (s snapshot) {
	for i := range c.w.Acts {
		s.verdicts = append(s.verdicts, c.d.Verdict(i))
	}
	for who := range c.people {
		s.ranks = append(s.ranks, c.d.State.Rank(who))
	}
	return s
}

// add delivers the acts that are new.
func (c *checker) add() {
	for i := len(c.d.At); i < len(c.w.Acts); i++ {
		_ = c.d.Add(i)
		c.d.State.Extend()
	}
}

func (c *checker) full() bool { return len(c.w.Acts) >= Acts+added }

// seniors: an event of rank r changes the verdict of no event of rank r or more senior,
// and nobody's rank that is r or more senior; but leaving and the root's word about a
// device are about oneself.
func (c *checker) seniors() {
	if c.full() {
		return
	}
	before := c.snap()
	c.step()
	c.add()
	i := len(c.w.Acts) - 1
	if c.d.At[i] == authority.None {
		return
	}
	a := &c.w.Acts[i]
	r := c.d.Graph.Acting(c.d.At[i])
	if a.Op == authority.Revoke {
		r = c.touched(a, r)
	}
	after := c.snap()
	for j, was := range before.verdicts {
		if o := &c.w.Acts[j]; c.d.At[j] == authority.None || o.Says || a.Op == authority.Revoke && o.By == a.By {
			continue
		}
		if is := after.verdicts[j]; is != was && c.d.Graph.Acting(c.d.At[j]) <= r {
			c.fail("%s of rank %d turns %s of rank %d from %s to %s", c.w.Name(i), r, c.w.Name(j), c.d.Graph.Acting(c.d.At[j]), was, is)
		}
	}
	for who, was := range before.ranks {
		if is := after.ranks[who]; is != was && min(is, was) <= r && int32(who) != a.By {
			c.fail("%s of rank %d turns p%d from %s into %s", c.w.Name(i), r, who, was, is)
		}
	}
}

// touched is the most senior rank under which a revoked device acted: only what is
// junior to that can rest on it.
func (c *checker) touched(a *Act, own authority.Rank) authority.Rank {
	r := authority.NoRank
	for j := range c.w.Acts {
		if o := &c.w.Acts[j]; c.d.At[j] != authority.None && o.Dev == a.Target && o.By == a.By {
			r = min(r, c.d.Graph.Acting(c.d.At[j]))
		}
	}
	return r
}

// inert: whatever the removed and those whom they then admit do, changes nothing for
// anybody else; and what is hidden stays hidden.
func (c *checker) inert() {
	o := c.oracle()
	who := int32(c.dice.IntN(int(c.people)))
	for range c.people {
		if o.Rank(who) == authority.NoRank && o.Removed(who, func(int) bool { return true }) {
			break
		}
		who = (who + 1) % c.people
	}
	if c.full() || !o.Removed(who, func(int) bool { return true }) {
		return
	}
	// A revocation is the root's, and undoes what the device once did, unless an
	// admin's denial bears on every grant, with a cut of its own.
	sealed := o.sealed(who)
	before := c.snap()
	c.intrude(who, sealed)
	after := c.snap()
	for j, was := range before.verdicts {
		if is := after.verdicts[j]; is != was {
			c.fail("p%d is removed, and turns %s from %s to %s", who, c.w.Name(j), was, is)
		}
	}
	for p, was := range before.ranks {
		if is := after.ranks[p]; is != was {
			c.fail("p%d is removed, and turns p%d from %s into %s", who, p, was, is)
		}
	}
	for p := c.people; p < c.people+2; p++ {
		if is := c.d.State.Rank(p); is != authority.NoRank {
			c.fail("p%d is removed, and makes somebody a %s", who, is)
		}
	}
}

// sealed says whether the cut of an admin or their senior decides about all that
// somebody did.
func (o *Oracle) sealed(who int32) bool {
	for _, g := range o.about[who] {
		if o.eff[g] && !slices.ContainsFunc(o.den, func(d int) bool {
			return o.bears(d, g, who) && o.rank[d] <= 100 && !o.past[g][d]
		}) {
			return false
		}
	}
	return true
}

// intrude adds acts of somebody and of two puppets whom they admit.
func (c *checker) intrude(who int32, revokes bool) {
	gang := []int32{who}
	for n := 1 + c.dice.IntN(4); n > 0; n-- {
		by := gang[c.dice.IntN(len(gang))]
		dev := by
		if by < c.people && by+c.people < c.devices && c.chance(50) {
			dev = by + c.people
		}
		if by >= c.people {
			dev = 1000 + by
		}
		i := c.act(by, dev)
		a := &c.w.Acts[i]
		switch {
		case a.Op == authority.Revoke && (!revokes || a.By != who):
			a.Op, a.Target, a.Limit, a.Cut = authority.Other, authority.None, authority.Member, nil
		case a.Op == authority.Grant && len(gang) < 3:
			a.Target = c.people + int32(len(gang)-1)
			gang = append(gang, a.Target)
		}
		c.add()
	}
}

// banned: a ban that nobody lifted holds, whatever those do who are junior to it.
func (c *checker) banned() {
	o := c.oracle()
	for _, d := range o.den {
		t := c.w.Acts[d].Target
		lifted := slices.ContainsFunc(o.unb, func(u int) bool { return c.w.Acts[u].Target == t && o.past[u][d] && o.rank[u] <= o.rank[d] }) ||
			slices.ContainsFunc(o.about[t], func(g int) bool { return o.eff[g] && o.past[g][d] && o.knowing(g, d) })
		if c.w.Acts[d].Op != authority.Ban || lifted || o.Rank(t) != authority.NoRank || o.rank[d] >= authority.Greeter {
			continue
		}
		for range 3 {
			c.junior(o.rank[d]+1, t)
		}
		if rank := c.d.State.Rank(t); rank != authority.NoRank {
			c.fail("p%d was banned by %s, and is made a %s by juniors", t, c.w.Name(d), rank)
		}
		return
	}
}

// junior adds an act by somebody of a rank or junior to it, mostly for the good of
// somebody.
func (c *checker) junior(rank authority.Rank, friend int32) {
	if c.full() {
		return
	}
	i, sides := len(c.w.Acts), c.sides
	c.step()
	a := &c.w.Acts[i]
	if a.Says || a.Op == authority.Revoke || a.Auth == 0 || c.w.Acts[a.Auth].Rank < rank {
		c.w.Acts, c.past, c.sides = c.w.Acts[:i], c.past[:i], sides
		return
	}
	if a.Op == authority.Grant && a.By != friend && c.chance(70) {
		a.Target = friend
	}
	c.add()
}

// silent: a message that is hidden stays so, whatever those do who are not senior to
// what hides it.
func (c *checker) silent() {
	for i := range c.w.Acts {
		if !c.w.Acts[i].Says || c.d.Verdict(i) != authority.Undone {
			continue
		}
		r, ok := c.hides(i)
		if !ok {
			continue
		}
		for range 2 {
			c.junior(max(r, 1), c.w.Acts[i].By)
		}
		if c.d.Verdict(i) != authority.Undone {
			c.fail("%s was hidden by rank %d, and is seen again by the work of juniors", c.w.Name(i), r)
		}
		return
	}
}

// hides returns the most junior rank of what hides a message under each grant, of
// several the most senior; false where it is a revocation alone, which an admin's denial
// may replace.
func (c *checker) hides(i int) (authority.Rank, bool) {
	o, worst := c.oracle(), authority.Founder
	for _, g := range o.about[c.w.Acts[i].By] {
		if !o.past[i][g] {
			continue
		}
		rank := o.silences(g, i)
		if !o.eff[g] {
			rank = authority.NoRank
			if by := c.d.State.Cause(c.d.At[g]); c.d.Graph.At(by).Op != authority.Revoke {
				rank = c.d.Graph.Acting(by)
			}
		}
		if rank == authority.NoRank {
			return 0, false
		}
		worst = max(worst, rank)
	}
	return worst, true
}

// silences returns the most senior rank of the denials, mutes and leaves that keep a
// message from resting on a grant, or NoRank.
func (o *Oracle) silences(g, m int) authority.Rank {
	who, senior := o.w.Acts[m].By, authority.NoRank
	for _, d := range o.den {
		if !o.bears(d, g, who) {
			continue
		}
		if o.past[g][d] && !o.knowing(g, d) || !o.past[g][d] && !o.w.spares(o.w.Acts[d].Cut, m) {
			senior = min(senior, o.rank[d])
		}
	}
	for _, d := range o.mut {
		if one := (&Oracle{w: o.w, past: o.past, rank: o.rank, mut: []int{d}, unm: o.unm}); one.muted(g, m, who) {
			senior = min(senior, o.rank[d])
		}
	}
	for _, l := range o.lv {
		if o.w.Acts[l].By == who && o.rank[l] <= o.granted(g) && !o.past[g][l] && o.past[m][l] {
			senior = min(senior, o.rank[l])
		}
	}
	return senior
}
