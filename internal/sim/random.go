package sim

import (
	"math/bits"
	"slices"

	"github.com/p2pchat/p2pchat/protocol/authority"
)

// Acts is how many acts a random world has at most, messages included; those that a
// property adds come on top, and all of them fit the bits of a uint64.
const (
	Acts  = 44
	added = 16
)

// gen makes a random world: people on two sides that are split and heal, with several
// devices, some of them copied, and some who lie about what they have seen.
type gen struct {
	w     *World
	dice  Dice
	past  []uint64 // of each act, itself included
	sides [2]uint64
	people,
	devices int32 // device d is of person d % people
	hostile int // of 100 acts, how many cite what pleases them
}

// Random returns a world.
func Random(dice Dice) *World { return random(dice).w }

func random(dice Dice) *gen {
	x := &gen{w: &World{}, dice: dice, people: int32(3 + dice.IntN(5)), hostile: 10 + dice.IntN(50)}
	x.devices = x.people + int32(dice.IntN(int(x.people)))
	for f := range int32(1 + dice.IntN(3)) {
		x.w.Founders = append(x.w.Founders, f)
	}
	x.put(Act{Event: authority.Event{Op: authority.Genesis, Prev: authority.None, Target: authority.None, Auth: authority.None}}, 2)
	if dice.IntN(3) > 0 {
		x.admitAll()
	}
	for n := 6 + dice.IntN(Acts-6-len(x.w.Acts)); n > 0; n-- {
		x.step()
	}
	return x
}

var someRanks = []authority.Rank{
	authority.Owner, authority.Admin, authority.Admin, 200, authority.Moderator, authority.Moderator,
	authority.Greeter, authority.Member, authority.Member, authority.Relay,
}

// admitAll gives everybody a place, so that there is somebody to quarrel.
func (x *gen) admitAll() {
	for who := int32(len(x.w.Founders)); who < x.people; who++ {
		tip := int32(len(x.w.Acts) - 1)
		x.put(Act{Event: authority.Event{
			Op: authority.Grant, Prev: tip, Refs: []int32{tip}, Target: who, Rank: someRanks[x.dice.IntN(len(someRanks)-1)],
		}}, 2)
	}
}

// put adds an act and shows it to a side, or to both.
func (x *gen) put(a Act, side int) int {
	i, past := len(x.w.Acts), uint64(0)
	for _, c := range a.cites() {
		if !a.Says || !x.w.Acts[c].Says {
			past |= x.past[c]
		}
	}
	x.w.Acts = append(x.w.Acts, a)
	x.past = append(x.past, past|1<<i)
	if a.Says {
		return i
	}
	for s := range x.sides {
		if side == s || side == len(x.sides) {
			x.sides[s] |= x.past[i]
		}
	}
	return i
}

func (x *gen) chance(percent int) bool { return x.dice.IntN(100) < percent }

// step adds an act by somebody, who mostly is on the side where they live.
func (x *gen) step() {
	if x.chance(15) { // the sides meet
		x.sides[0] |= x.sides[1]
		x.sides[1] = x.sides[0]
	}
	dev := int32(x.dice.IntN(int(x.devices)))
	x.act(dev%x.people, dev)
}

// act adds an act by a device of somebody.
func (x *gen) act(by, dev int32) int {
	side := int(dev) % 2
	seen := x.seen(side)
	a := Act{Event: authority.Event{By: by, Dev: dev, Target: authority.None}}
	a.Prev = x.prev(&a, seen)
	if a.Prev != authority.None {
		seen |= x.past[a.Prev]
	}
	a.Refs = x.heads(seen)
	if x.chance(25) {
		a.Says = true
		a.Prev = x.prev(&a, ^uint64(0))
		return x.put(a, side)
	}
	a.Auth = x.auth(by, seen)
	x.choose(&a, seen)
	return x.put(a, side)
}

// seen is what the author has seen, or says to have seen.
func (x *gen) seen(side int) uint64 {
	n := len(x.w.Acts)
	if !x.chance(x.hostile) {
		return x.sides[side]
	}
	seen := x.past[0]
	switch x.dice.IntN(3) {
	case 0: // everything
		return x.sides[0] | x.sides[1]
	case 1: // the past only
		n = 1 + n/3
	}
	for range 1 + x.dice.IntN(3) {
		if i := x.dice.IntN(n); !x.w.Acts[i].Says {
			seen |= x.past[i]
		}
	}
	return seen
}

// heads are the acts in a set that no other of them cites.
func (x *gen) heads(seen uint64) (out []int32) {
	for rest := seen; rest != 0; {
		i := 63 - bits.LeadingZeros64(rest)
		out = append(out, int32(i))
		rest &^= x.past[i]
	}
	return out
}

// prev is the end of the author's chain as far as it was seen; or, on a copied disk,
// anything before; and now and then what is on no chain of the author's.
func (x *gen) prev(a *Act, seen uint64) int32 {
	if x.chance(1) {
		if i := int32(x.dice.IntN(len(x.w.Acts))); x.w.Acts[i].Says == a.Says {
			return i
		}
	}
	var own []int32
	for i := range x.w.Acts {
		if o := &x.w.Acts[i]; seen&(1<<i) != 0 && o.Dev == a.Dev && o.By == a.By && o.Says == a.Says {
			own = append(own, int32(i))
		}
	}
	switch {
	case len(own) == 0:
		return authority.None
	case x.chance(8):
		return own[x.dice.IntN(len(own))]
	}
	return own[len(own)-1]
}

// auth is the most senior grant that the author has seen, or another.
func (x *gen) auth(by int32, seen uint64) int32 {
	if x.chance(2) {
		if i := int32(x.dice.IntN(len(x.w.Acts))); !x.w.Acts[i].Says {
			return i // another's grant, or none at all
		}
	}
	var own []int32
	best, rank := int32(0), authority.NoRank
	for i := range x.w.Acts {
		a := &x.w.Acts[i]
		mine := i == 0 && slices.Contains(x.w.Founders, by) || i > 0 && a.Op == authority.Grant && a.Target == by
		if !mine || seen&(1<<i) == 0 {
			continue
		}
		own = append(own, int32(i))
		if a.Rank <= rank {
			best, rank = int32(i), a.Rank
		}
	}
	if len(own) > 0 && x.chance(25) {
		return own[x.dice.IntN(len(own))]
	}
	return best
}

var doings = []authority.Op{
	authority.Grant, authority.Grant, authority.Grant, authority.Grant, authority.Remove, authority.Remove, authority.Remove,
	authority.Ban, authority.Ban, authority.Unban, authority.Mute, authority.Unmute, authority.Leave, authority.Revoke, authority.Other,
}

// choose says what is done: mostly what the rank allows.
func (x *gen) choose(a *Act, seen uint64) {
	rank := x.w.Acts[a.Auth].Rank
	a.Op = doings[x.dice.IntN(len(doings))]
	if rank > authority.Greeter && !x.chance(10) {
		a.Op = doings[len(doings)-3+x.dice.IntN(3)]
	}
	switch a.Op {
	case authority.Leave:
		return
	case authority.Other:
		a.Limit = []authority.Rank{authority.Owner, authority.Moderator, authority.Greeter, authority.Member}[x.dice.IntN(4)]
		return
	case authority.Revoke:
		a.Target = a.By
		if other := a.By + x.people; other < x.devices && x.chance(50) {
			a.Target = other
		}
		if x.chance(5) { // a device that is another's: the word of a wrong root
			a.Target = int32(x.dice.IntN(int(x.devices)))
		}
	default:
		a.Target = x.target(a.Op)
		if a.Target == a.By && !x.chance(5) {
			a.Target = (a.By + 1) % x.people
		}
	}
	if a.Op == authority.Grant {
		a.Rank = someRanks[x.dice.IntN(len(someRanks))]
		if a.Rank <= rank && !x.chance(10) {
			a.Rank = rank + 100
		}
		return
	}
	a.Cut = x.cut(a, seen)
}

// target is anybody; who is granted something or let back is mostly somebody against
// whom something was done.
func (x *gen) target(op authority.Op) int32 {
	var against []int32
	for i := range x.w.Acts {
		o := &x.w.Acts[i]
		undoes := op == authority.Unban && o.Op == authority.Ban || op == authority.Unmute && o.Op == authority.Mute ||
			op == authority.Grant && (o.Op == authority.Ban || o.Op == authority.Unban || o.Op == authority.Remove)
		if undoes && !o.Says {
			against = append(against, o.Target)
		}
	}
	if len(against) > 0 && (op != authority.Grant && x.chance(85) || x.chance(35)) {
		return against[x.dice.IntN(len(against))]
	}
	return int32(x.dice.IntN(int(x.people)))
}

// cut spares all that was seen, or some of it, or nothing. Of messages nobody is asked
// whether they were seen.
func (x *gen) cut(a *Act, seen uint64) []int32 {
	var own, said []int32
	for i := range x.w.Acts {
		o := &x.w.Acts[i]
		target := o.By == a.Target
		if a.Op == authority.Revoke {
			target = o.Dev == a.Target
		}
		switch {
		case !target:
		case o.Says:
			said = append(said, int32(i))
		case seen&(1<<i) != 0 || x.chance(2):
			own = append(own, int32(i))
		}
	}
	return append(x.some(own), x.some(said)...)
}

func (x *gen) some(acts []int32) []int32 {
	if len(acts) == 0 || x.chance(20) {
		return nil
	}
	if x.chance(50) {
		return x.ends(acts)
	}
	var out []int32
	for range 1 + x.dice.IntN(2) {
		out = append(out, acts[x.dice.IntN(len(acts))])
	}
	return out
}

// ends are those of some acts that no other of them follows on its chain.
func (x *gen) ends(acts []int32) (out []int32) {
	for _, i := range acts {
		if !slices.ContainsFunc(acts, func(o int32) bool { return x.w.Acts[o].Prev == i }) {
			out = append(out, i)
		}
	}
	return out
}
