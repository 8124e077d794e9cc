package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/p2pchat/p2pchat/protocol/authority"
)

// Act is a control event or a message. Refs, Prev, Auth and Cut are places in
// [World.Acts]; a cut may hold messages too.
type Act struct {
	authority.Event
	Says bool // a message; of the event there are By, Dev, Prev and Refs
}

// World is what was done in a group, rightly or not: each act after those it cites.
// The first is the genesis.
type World struct {
	Founders []int32
	Acts     []Act
	Names    []string // of the acts, where a story gives them
	People   []string // likewise
	Devices  []string // likewise
}

// Name returns what an act is called.
func (w *World) Name(act int) string {
	if act < len(w.Names) {
		return w.Names[act]
	}
	return fmt.Sprintf("e%d", act)
}

// Person returns what somebody is called.
func (w *World) Person(who int32) string {
	if int(who) < len(w.People) {
		return w.People[who]
	}
	return fmt.Sprintf("p%d", who)
}

func (w *World) device(dev int32) string {
	if int(dev) < len(w.Devices) {
		return w.Devices[dev]
	}
	return fmt.Sprintf("d%d", dev)
}

// spares says whether an act is at or before a cut on its chain, by the links.
func (w *World) spares(cut []int32, act int) bool {
	for _, end := range cut {
		for ; end != authority.None; end = w.Acts[end].Prev {
			if int(end) == act {
				return true
			}
		}
	}
	return false
}

// cites returns the acts that have to be there before an act.
func (a *Act) cites() []int32 {
	if a.Prev == authority.None {
		return a.Refs
	}
	return append(slices.Clone(a.Refs), a.Prev)
}

// Orders of delivery.

// Order returns a random order in which each act comes after what it cites.
func (w *World) Order(dice Dice) []int {
	waits, cited := make([]int, len(w.Acts)), make([][]int, len(w.Acts))
	for i := range w.Acts {
		for _, c := range w.Acts[i].cites() {
			waits[i]++
			cited[c] = append(cited[c], i)
		}
	}
	ready, out := []int{0}, make([]int, 0, len(w.Acts))
	for len(ready) > 0 {
		at := dice.IntN(len(ready))
		i := ready[at]
		ready = slices.Delete(ready, at, at+1)
		out = append(out, i)
		for _, next := range cited[i] {
			if waits[next]--; waits[next] == 0 {
				ready = append(ready, next)
			}
		}
	}
	return out
}

// Dice is where chance comes from: a seed, or what a property test draws.
type Dice interface{ IntN(n int) int }

// Seeded returns the dice of a seed.
func Seeded(seed uint64) Dice { return rand.New(rand.NewPCG(seed, 0x70327063686174)) }

// Delivery is the real rule, fed with acts as they come.
type Delivery struct {
	World *World
	Graph *authority.Graph
	State *authority.State
	At    []int32 // the position of each act in the graph; None for invalid ones, messages, and what is not there yet
	acts  []int   // the act at each position
	heard []bool  // the messages that are there
}

// Begin delivers the genesis.
func (w *World) Begin() (*Delivery, error) {
	g, err := authority.NewGraph(w.Founders, w.Acts[0].By, w.Acts[0].Dev)
	if err != nil {
		return nil, err
	}
	d := &Delivery{World: w, Graph: g, acts: []int{0}}
	d.grow()
	d.At[0] = 0
	d.State = authority.Eval(g)
	return d, nil
}

func (d *Delivery) grow() {
	for len(d.At) < len(d.World.Acts) {
		d.At, d.heard = append(d.At, authority.None), append(d.heard, false)
	}
}

// Add delivers an act. The state is brought up to date by [Delivery.Extend].
func (d *Delivery) Add(act int) error {
	d.grow()
	if act == 0 {
		return nil
	}
	a := &d.World.Acts[act]
	e := a.Event
	var ok bool
	if e.Refs, ok = d.positions(a.Refs); !ok {
		return fmt.Errorf("%s cites what is not there", d.World.Name(act))
	}
	if a.Says {
		d.heard[act] = true
		return nil
	}
	for _, one := range []*int32{&e.Prev, &e.Auth} {
		if *one != authority.None {
			if *one = d.At[*one]; *one == authority.None {
				return fmt.Errorf("%s cites what is not there", d.World.Name(act))
			}
		}
	}
	control := slices.DeleteFunc(slices.Clone(a.Cut), func(c int32) bool { return d.World.Acts[c].Says })
	if e.Cut, ok = d.positions(control); !ok {
		return fmt.Errorf("%s has a cut at what is not there", d.World.Name(act))
	}
	at, err := d.Graph.Add(e)
	if err != nil {
		return fmt.Errorf("%s: %w", d.World.Name(act), err)
	}
	d.At[act] = at
	d.acts = append(d.acts, act)
	return nil
}

func (d *Delivery) positions(acts []int32) ([]int32, bool) {
	out := make([]int32, len(acts))
	for i, a := range acts {
		if out[i] = d.At[a]; out[i] == authority.None {
			return nil, false
		}
	}
	return out, true
}

// Deliver brings all acts in an order. Where extend says so for a step, the state is
// brought up to date there; at the end it is evaluated from nothing if it never says so.
func (w *World) Deliver(order []int, extend func(step int) bool) (*Delivery, error) {
	d, err := w.Begin()
	if err != nil {
		return nil, err
	}
	ever := false
	for step, act := range order {
		_ = d.Add(act) // what is invalid is part of most worlds
		if extend(step) {
			d.State.Extend()
			ever = true
		}
	}
	if ever {
		d.State.Extend()
	} else {
		d.State = authority.Eval(d.Graph)
	}
	return d, nil
}

// Act returns the act at a position of the graph.
func (d *Delivery) Act(at int32) int {
	if at == authority.None {
		return -1
	}
	return d.acts[at]
}

// Message returns a message as the rule sees it.
func (d *Delivery) Message(act int) (m authority.Message, ok bool) {
	a := &d.World.Acts[act]
	refs, ok := d.positions(a.Refs)
	return authority.Message{
		By: a.By, Dev: a.Dev, Past: d.Graph.Past(refs...),
		Spared: func(by int32) bool { return d.World.spares(d.World.Acts[d.acts[by]].Cut, act) },
	}, ok
}

// Verdict is what became of an act: for a message, whether it counts.
func (d *Delivery) Verdict(act int) authority.Verdict {
	if d.World.Acts[act].Says {
		m, ok := d.Message(act)
		if !ok {
			return authority.Invalid
		}
		if _, _, ok := d.State.Judge(&m, true); ok {
			return authority.Effective
		}
		return authority.Undone
	}
	switch at := d.At[act]; {
	case at == authority.None:
		return authority.Invalid
	case d.State.Counts(at):
		return authority.Effective
	}
	return authority.Undone
}

// Named returns the world with names for numbers, without its messages.
func (w *World) Named() *authority.World {
	out := &authority.World{}
	for _, f := range w.Founders {
		out.Founders = append(out.Founders, w.Person(f))
	}
	for i := range w.Acts {
		if !w.Acts[i].Says {
			out.Events = append(out.Events, w.named(i))
		}
	}
	return out
}

func (w *World) named(act int) authority.WorldEvent {
	a := &w.Acts[act]
	names := func(acts []int32) (out []string) {
		for _, i := range acts {
			out = append(out, w.Name(int(i)))
		}
		return out
	}
	e := authority.WorldEvent{
		ID: w.Name(act), Kind: a.Op.String(), By: w.Person(a.By), Dev: w.device(a.Dev),
		Refs: names(a.Refs), Rank: a.Rank, Cut: names(a.Cut),
	}
	if a.Prev != authority.None {
		e.Prev = w.Name(int(a.Prev))
	}
	if act != 0 && a.Auth != authority.None {
		e.Auth = w.Name(int(a.Auth))
	}
	switch {
	case a.Op == authority.Revoke:
		e.Target = w.device(a.Target)
	case a.Target != authority.None:
		e.Target = w.Person(a.Target)
	}
	if a.Op == authority.Other {
		e.Kind = kindOf(a.Limit)
	}
	return e
}

// kindOf returns a kind of a [authority.World] that is allowed down to a rank.
func kindOf(limit authority.Rank) string {
	switch limit {
	case authority.Owner:
		return "successor"
	case authority.Moderator:
		return "setting"
	case authority.Greeter:
		return "invite"
	}
	return "rekey"
}
