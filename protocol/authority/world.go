package authority

import (
	"errors"
	"fmt"
	"slices"
)

// World is a group's control events with names for numbers, in any order: what two
// implementations of the rule are compared on.
type World struct {
	Founders []string     `json:"founders"`
	Events   []WorldEvent `json:"events"`
}

// WorldEvent is one event of a [World].
type WorldEvent struct {
	ID     string   `json:"id"`
	Kind   string   `json:"kind"` // genesis, grant, remove, ban, unban, mute, unmute, leave, device.revoke; others change nobody's standing
	By     string   `json:"by"`
	Dev    string   `json:"dev,omitempty"` // where it is left out, the device is called as its identity
	Prev   string   `json:"prev,omitempty"`
	Refs   []string `json:"refs,omitempty"`
	Auth   string   `json:"auth,omitempty"`
	Target string   `json:"target,omitempty"` // an identity; for device.revoke one of its devices
	Rank   Rank     `json:"rank,omitempty"`
	Cut    []string `json:"cut,omitempty"` // a name that is no event's is a message's
}

// Verdict is what became of an event.
type Verdict string

// The verdicts.
const (
	Effective Verdict = "effective"
	Undone    Verdict = "undone"  // valid, and without effect
	Invalid   Verdict = "invalid" // not allowed by its own past, for ever
)

// Judgement is what follows from a [World].
type Judgement struct {
	Roster map[string]Rank    `json:"roster"`
	Events map[string]Verdict `json:"events"`
}

// otherKinds are the kinds of a world that change nobody's standing, with the most
// junior rank that each is allowed at.
var otherKinds = map[string]Rank{
	"setting": Moderator, "invite": Greeter, "invite.revoke": Greeter, "rekey": Member, "device.add": Member, "successor": Owner,
}

// Judge applies the rule to a world. An error means that the world is not one: an id
// used twice, a kind that there is not, or a second genesis, which would leave it to
// the order of events whose group it is. An event that cites what is not there, or
// itself by a circle, is invalid.
func (w *World) Judge() (Judgement, error) {
	r, err := w.read()
	if err != nil {
		return Judgement{}, err
	}
	out := Judgement{Roster: make(map[string]Rank), Events: make(map[string]Verdict)}
	for i := range w.Events {
		out.Events[w.Events[i].ID] = Invalid
	}
	if r.graph == nil {
		return out, nil
	}
	s := Eval(r.graph)
	for id, i := range r.events {
		out.Events[id] = Undone
		if s.Counts(i) {
			out.Events[id] = Effective
		}
	}
	for name, who := range r.people {
		if rank := s.Rank(who); rank != NoRank {
			out.Roster[name] = rank
		}
	}
	return out, nil
}

// reader turns names into numbers.
type reader struct {
	byID    map[string]*WorldEvent
	graph   *Graph // nil without a valid genesis
	events  map[string]int32
	people  map[string]int32
	devices map[string]int32 // by identity and device: a device that two claim is two
}

// read builds the graph of what is valid.
func (w *World) read() (*reader, error) {
	r := &reader{
		byID: make(map[string]*WorldEvent, len(w.Events)), events: make(map[string]int32),
		people: make(map[string]int32), devices: make(map[string]int32),
	}
	genesis := ""
	for i := range w.Events {
		e := &w.Events[i]
		if _, known := kindOp(e.Kind); !known {
			return nil, fmt.Errorf("event %q: unknown kind %q", e.ID, e.Kind)
		}
		if r.byID[e.ID] != nil || e.ID == "" {
			return nil, fmt.Errorf("event %q: its id is empty or used twice", e.ID)
		}
		if e.Kind == "genesis" {
			if genesis != "" {
				return nil, fmt.Errorf("event %q: a second genesis, besides %q", e.ID, genesis)
			}
			genesis = e.ID
		}
		if e.Dev == "" {
			e.Dev = e.By
		}
		r.byID[e.ID] = e
	}
	for _, id := range r.order(w.Events) {
		if i, err := r.add(w.Founders, r.byID[id]); err == nil {
			r.events[id] = i
		}
	}
	return r, nil
}

func kindOp(kind string) (Op, bool) {
	if i := slices.Index(opNames[:], kind); i > 0 {
		return Op(i), true
	}
	_, ok := otherKinds[kind]
	return Other, ok
}

func (e *WorldEvent) cites() []string {
	out := slices.Clone(e.Refs)
	if e.Prev != "" {
		out = append(out, e.Prev)
	}
	return out
}

// order lists the ids so that each comes after what it cites, as far as that is
// there and not in a circle.
func (r *reader) order(events []WorldEvent) []string {
	waits, cited := make(map[string]int), make(map[string][]string)
	var ready, out []string
	for i := range events {
		e := &events[i]
		cites := e.cites()
		slices.Sort(cites)
		cites = slices.Compact(cites)
		for _, c := range cites {
			cited[c] = append(cited[c], e.ID)
		}
		if waits[e.ID] = len(cites); len(cites) == 0 {
			ready = append(ready, e.ID)
		}
	}
	for len(ready) > 0 {
		id := ready[0]
		ready, out = ready[1:], append(out, id)
		for _, next := range cited[id] {
			if waits[next]--; waits[next] == 0 {
				ready = append(ready, next)
			}
		}
	}
	return out
}

var errAbsent = errors.New("it cites what is not there")

func (r *reader) add(founders []string, e *WorldEvent) (int32, error) {
	if e.Kind == "genesis" && r.graph == nil && len(e.cites()) == 0 {
		var numbers []int32
		for _, f := range founders {
			numbers = append(numbers, number(r.people, f))
		}
		g, err := NewGraph(numbers, number(r.people, e.By), r.device(e.By, e.Dev))
		if err == nil {
			r.graph = g
		}
		return 0, err
	}
	op, _ := kindOp(e.Kind)
	n := Event{
		Op: op, By: number(r.people, e.By), Dev: r.device(e.By, e.Dev), Prev: None, Target: None,
		Rank: e.Rank, Limit: otherKinds[e.Kind],
	}
	if err := r.cite(e, &n); err != nil {
		return None, err
	}
	if r.graph == nil {
		return None, errAbsent
	}
	switch {
	case e.Target == "" && (op.targets() || op == Revoke):
		return None, fmt.Errorf("a %s of nobody", op)
	case op == Revoke:
		n.Target = r.device(e.By, e.Target)
	case e.Target != "":
		n.Target = number(r.people, e.Target)
	}
	return r.graph.Add(n)
}

func (r *reader) device(by, dev string) int32 { return number(r.devices, by+"\x00"+dev) }

// cite resolves what an event names.
func (r *reader) cite(e *WorldEvent, n *Event) error {
	for _, id := range e.Refs {
		i, ok := r.events[id]
		if !ok {
			return errAbsent
		}
		n.Refs = append(n.Refs, i)
	}
	var ok bool
	if n.Auth, ok = r.events[e.Auth]; !ok {
		return errAbsent
	}
	if e.Prev != "" {
		if n.Prev, ok = r.events[e.Prev]; !ok {
			return errAbsent
		}
	}
	for _, id := range e.Cut {
		if i, ok := r.events[id]; ok {
			n.Cut = append(n.Cut, i)
		} else if r.byID[id] != nil {
			return errAbsent // a control event that is not in its past
		}
	}
	return nil
}

// number gives a name its number.
func number(names map[string]int32, name string) int32 {
	n, ok := names[name]
	if !ok {
		n = int32(len(names))
		names[name] = n
	}
	return n
}
