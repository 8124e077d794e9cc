package sim

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/p2pchat/p2pchat/protocol/authority"
)

// Story is a world told in words, with what has to follow from it. The language is
// described in protocol/testdata/scenarios/README.md.
type Story struct {
	World   *World
	Expects []Expect
}

// Expect is what those have to find who hold some of the acts.
type Expect struct {
	Line   string // as it was written
	Acts   []int  // that are there
	Roster []string
	Undone map[string]string // what undid it, or nothing where that is left open
	Hidden map[string]string
	Gone   map[string]string
	Muted  map[string]string
	Bad    []string // invalid
	Counts []string
}

// ParseStory reads a story.
func ParseStory(text string) (*Story, error) {
	p := &teller{
		told: map[string]*sentence{}, seen: map[string]map[string]bool{}, index: map[string]int32{},
		people: map[string]int32{}, devices: map[string]int32{}, cites: map[string][]string{}, s: &Story{World: &World{}},
	}
	for number, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if err := p.line(line); err != nil {
			return nil, fmt.Errorf("line %d: %w", number+1, err)
		}
	}
	if err := p.happen(); err != nil {
		return nil, err
	}
	return p.s, p.finish()
}

// teller is a story that is being read.
type teller struct {
	s       *Story
	cites   map[string][]string // by the arrows
	told    map[string]*sentence
	order   []string
	seen    map[string]map[string]bool // of each act, what its author had seen, itself included
	index   map[string]int32
	people  map[string]int32
	devices map[string]int32
	stages  [][]string // what is seen in each expectation, nil for all
}

// sentence is what an act says of itself.
type sentence struct {
	actor, device, verb string
	rest                []string
	options             map[string][]string // under, cut, prev
}

func (p *teller) line(line string) error {
	head, rest, colon := strings.Cut(line, ":")
	rest = strings.TrimSpace(rest)
	switch {
	case strings.Contains(line, "->"):
		return p.arrows(line)
	case !colon:
		return fmt.Errorf("%q is neither arrows nor NAME: what happens", line)
	case head == "founders":
		for _, name := range list(rest) {
			p.s.World.Founders = append(p.s.World.Founders, p.person(name))
		}
		return p.tell("G", list(rest)[0]+" founds")
	case head == "expect":
		return p.expect(line, nil)
	case strings.HasPrefix(head, "expect, having seen "):
		return p.expect(line, strings.Fields(strings.TrimPrefix(head, "expect, having seen ")))
	case len(p.s.Expects) > 0:
		return p.s.Expects[len(p.s.Expects)-1].line(head, rest)
	}
	return p.tell(head, rest)
}

func list(text string) (out []string) {
	for _, one := range strings.Split(text, ",") {
		if one = strings.TrimSpace(one); one != "" {
			out = append(out, one)
		}
	}
	return out
}

// arrows reads a line of the graph: G -> A -> B | -> C.
func (p *teller) arrows(line string) error {
	var start []string
	for i, part := range strings.Split(line, "|") {
		groups := strings.Split(part, "->")
		if len(groups) < 2 {
			return fmt.Errorf("no arrow in %q", part)
		}
		from := strings.Fields(groups[0])
		if i == 0 {
			start = from
		}
		if len(from) == 0 {
			from = start
		}
		for _, group := range groups[1:] {
			to := strings.Fields(group)
			if len(from) == 0 || len(to) == 0 {
				return fmt.Errorf("an arrow from or to nothing in %q", part)
			}
			for _, t := range to {
				p.cites[t] = append(p.cites[t], from...)
			}
			from = to
		}
	}
	return nil
}

func (p *teller) tell(name, text string) error {
	if p.told[name] != nil {
		return fmt.Errorf("%s is told twice", name)
	}
	words := strings.Fields(text)
	s := &sentence{options: map[string][]string{}}
	var into string
	var said []string
	for _, w := range words {
		switch {
		case w == "under" || w == "cut" || w == "prev":
			into = w
			s.options[w] = []string{}
		case into != "":
			if w != "none" {
				s.options[into] = append(s.options[into], w)
			}
		default:
			said = append(said, w)
		}
	}
	if len(said) < 2 {
		return fmt.Errorf("%q: who does what?", text)
	}
	s.actor, s.device = said[0], "phone"
	if of, ok := strings.CutSuffix(said[0], "'s"); ok && len(said) > 2 {
		s.actor, s.device, said = of, said[1], said[1:]
	}
	s.verb, s.rest = said[1], said[2:]
	if s.verb == "says" {
		if before := p.lastSaid(s); before != "" && s.options["prev"] == nil {
			s.options["prev"] = []string{before}
		}
	}
	p.told[name] = s
	p.order = append(p.order, name)
	return nil
}

// lastSaid is the message before on a chain, in the order of the telling.
func (p *teller) lastSaid(s *sentence) (name string) {
	for _, n := range p.order {
		if o := p.told[n]; o.verb == "says" && o.actor == s.actor && o.device == s.device {
			name = n
		}
	}
	return name
}

func (p *teller) person(name string) int32 {
	if _, ok := p.people[name]; !ok {
		p.people[name] = int32(len(p.people))
		p.s.World.People = append(p.s.World.People, name)
	}
	return p.people[name]
}

func (p *teller) device(of, name string) int32 {
	name = of + "'s " + name
	if _, ok := p.devices[name]; !ok {
		p.devices[name] = int32(len(p.devices))
		p.s.World.Devices = append(p.s.World.Devices, name)
	}
	return p.devices[name]
}

// happen makes the acts, each after what it cites.
func (p *teller) happen() error {
	if len(p.s.World.Founders) == 0 {
		return errors.New("no founders")
	}
	for name := range p.cites {
		if p.told[name] == nil {
			return fmt.Errorf("an arrow to %s, which is not told", name)
		}
	}
	for len(p.seen) < len(p.order) {
		next := slices.IndexFunc(p.order, func(name string) bool { return p.seen[name] == nil && p.ready(name) })
		if next < 0 {
			return errors.New("the arrows go in a circle, or come from what is not told")
		}
		if err := p.make(p.order[next]); err != nil {
			return fmt.Errorf("%s: %w", p.order[next], err)
		}
	}
	return nil
}

func (p *teller) ready(name string) bool {
	for _, c := range append(slices.Clone(p.cites[name]), p.told[name].options["prev"]...) {
		if p.seen[c] == nil {
			return false
		}
	}
	return name == "G" || len(p.index) > 0
}

func (p *teller) make(name string) error {
	s := p.told[name]
	if name != "G" && len(p.cites[name]) == 0 {
		return errors.New("no arrow leads to it")
	}
	seen := map[string]bool{}
	for _, c := range append(slices.Clone(p.cites[name]), s.options["prev"]...) {
		for n := range p.seen[c] {
			seen[n] = true
		}
	}
	a := Act{Event: authority.Event{
		By: p.person(s.actor), Dev: p.device(s.actor, s.device),
		Prev: authority.None, Auth: authority.None, Target: authority.None,
	}, Says: s.verb == "says"}
	if err := p.links(s, name, &a, seen); err != nil {
		return err
	}
	if err := p.does(s, &a); err != nil {
		return err
	}
	if a.Op != authority.Genesis && !a.Says {
		if err := p.powers(s, &a, seen); err != nil {
			return err
		}
	}
	seen[name] = true
	p.seen[name], p.index[name] = seen, int32(len(p.s.World.Acts))
	p.s.World.Acts = append(p.s.World.Acts, a)
	p.s.World.Names = append(p.s.World.Names, name)
	return nil
}

// links sets what an act cites, and its place on a chain.
func (p *teller) links(s *sentence, name string, a *Act, seen map[string]bool) error {
	for _, c := range p.cites[name] {
		i := p.index[c]
		if act := &p.s.World.Acts[i]; act.Says { // seen with all that it cites
			a.Refs = append(a.Refs, act.Refs...)
		} else {
			a.Refs = append(a.Refs, i)
		}
	}
	slices.Sort(a.Refs)
	a.Refs = slices.Compact(a.Refs)
	if to, ok := s.options["prev"]; ok {
		if len(to) > 1 {
			return errors.New("one act is before it on its chain, or none")
		}
		if len(to) == 1 {
			a.Prev = p.index[to[0]]
		}
		return nil
	}
	for i := range p.s.World.Acts {
		if o := &p.s.World.Acts[i]; seen[p.s.World.Names[i]] && !o.Says && !a.Says && o.Dev == a.Dev {
			a.Prev = int32(i)
		}
	}
	return nil
}

// does reads the verb.
func (p *teller) does(s *sentence, a *Act) error {
	others := map[string]authority.Rank{
		"sets": authority.Moderator, "invites": authority.Greeter, "rekeys": authority.Member, "succeeds": authority.Owner,
	}
	aimed := map[string]authority.Op{
		"grants": authority.Grant, "removes": authority.Remove, "bans": authority.Ban, "mutes": authority.Mute, "unmutes": authority.Unmute,
	}
	words := s.rest
	switch limit, other := others[s.verb]; {
	case s.verb == "says":
		return nil
	case s.verb == "founds":
		a.Op = authority.Genesis
		return nil
	case s.verb == "leaves":
		a.Op = authority.Leave
		return nil
	case other:
		a.Op, a.Limit = authority.Other, limit
		return nil
	case s.verb == "revokes" && len(words) == 2 && strings.HasSuffix(words[0], "'s"):
		a.Op, a.Target = authority.Revoke, p.device(strings.TrimSuffix(words[0], "'s"), words[1])
		return nil
	case s.verb == "lifts" && len(words) == 4: // the ban of bo
		a.Op, words = authority.Unban, words[3:]
	default:
		a.Op = aimed[s.verb]
	}
	if a.Op == authority.Other || len(words) == 0 {
		return fmt.Errorf("%s %s %s: what is that?", s.actor, s.verb, strings.Join(s.rest, " "))
	}
	a.Target = p.person(words[0])
	if a.Op == authority.Grant {
		var err error
		a.Rank, err = parseRank(words[1:])
		return err
	}
	return nil
}

func parseRank(words []string) (authority.Rank, error) {
	if len(words) == 1 {
		if r, ok := authority.Named(words[0]); ok {
			return r, nil
		}
		var r uint16
		if _, err := fmt.Sscanf(words[0], "%d", &r); err == nil {
			return authority.Rank(r), nil
		}
	}
	return 0, fmt.Errorf("%q is no rank", words)
}

// powers sets the grant an event acts under and what it spares.
func (p *teller) powers(s *sentence, a *Act, seen map[string]bool) error {
	under, told := s.options["under"]
	if told && len(under) != 1 {
		return errors.New("under which grant?")
	}
	if told {
		if p.seen[under[0]] == nil {
			return fmt.Errorf("under %s, which is not told before", under[0])
		}
		a.Auth = p.index[under[0]]
	} else if a.Auth = p.senior(a.By, seen); a.Auth == authority.None {
		return fmt.Errorf("%s has no grant in its past: say under which it acts", s.actor)
	}
	if cut, told := s.options["cut"]; told {
		for _, c := range cut {
			if p.seen[c] == nil {
				return fmt.Errorf("a cut at %s, which is not told before", c)
			}
			a.Cut = append(a.Cut, p.index[c])
		}
		return nil
	}
	if a.Op == authority.Remove || a.Op == authority.Ban || a.Op == authority.Mute || a.Op == authority.Revoke {
		a.Cut = p.tips(a, seen)
	}
	return nil
}

// senior is the most senior grant that somebody had seen.
func (p *teller) senior(who int32, seen map[string]bool) int32 {
	best, rank := authority.None, authority.NoRank
	for i := range p.s.World.Acts {
		o := &p.s.World.Acts[i]
		mine := i == 0 && slices.Contains(p.s.World.Founders, who) || o.Op == authority.Grant && o.Target == who
		if mine && seen[p.s.World.Names[i]] && o.Rank <= rank {
			best, rank = int32(i), o.Rank
		}
	}
	return best
}

// tips are the ends of the target's chains, as far as they were seen.
func (p *teller) tips(a *Act, seen map[string]bool) (out []int32) {
	acts := p.s.World.Acts
	theirs := func(i int) bool {
		o := &acts[i]
		return seen[p.s.World.Names[i]] && (a.Op != authority.Revoke && o.By == a.Target || a.Op == authority.Revoke && o.Dev == a.Target)
	}
	for i := range acts {
		followed := false
		for j := range acts {
			followed = followed || theirs(j) && acts[j].Prev == int32(i)
		}
		if theirs(i) && !followed {
			out = append(out, int32(i))
		}
	}
	return out
}

// Expectations.

func (p *teller) expect(line string, seen []string) error {
	p.s.Expects = append(p.s.Expects, Expect{Line: line})
	p.stages = append(p.stages, seen)
	return nil
}

func (e *Expect) line(key, rest string) error {
	var err error
	switch key {
	case "roster":
		e.Roster = list(rest)
		slices.Sort(e.Roster)
	case "invalid":
		e.Bad = strings.Fields(strings.ReplaceAll(rest, ",", " "))
	case "counts":
		e.Counts = strings.Fields(strings.ReplaceAll(rest, ",", " "))
	case "undone":
		e.Undone, err = causes(rest)
	case "hidden":
		e.Hidden, err = causes(rest)
	case "gone":
		e.Gone, err = causes(rest)
	case "muted":
		e.Muted, err = causes(rest)
	default:
		err = fmt.Errorf("%s: not among roster, counts, undone, invalid, hidden, gone, muted", key)
	}
	return err
}

// causes reads "C because B, D E".
func causes(text string) (map[string]string, error) {
	out := map[string]string{}
	for _, one := range list(text) {
		what, why, _ := strings.Cut(one, " because ")
		for _, name := range strings.Fields(what) {
			if _, twice := out[name]; twice {
				return nil, fmt.Errorf("%s is there twice", name)
			}
			out[name] = strings.TrimSpace(why)
		}
	}
	return out, nil
}

// finish says which acts are there in each expectation, and that it names only those.
func (p *teller) finish() error {
	if len(p.s.Expects) == 0 {
		return errors.New("nothing is expected")
	}
	for n := range p.s.Expects {
		e := &p.s.Expects[n]
		there := map[string]bool{}
		for _, name := range p.stages[n] {
			if p.seen[name] == nil {
				return fmt.Errorf("%s: %s is not told", e.Line, name)
			}
			for s := range p.seen[name] {
				there[s] = true
			}
		}
		for i, name := range p.s.World.Names {
			if p.stages[n] == nil || there[name] {
				there[name] = true
				e.Acts = append(e.Acts, i)
			}
		}
		if err := e.known(there, p.people); err != nil {
			return fmt.Errorf("%s: %w", e.Line, err)
		}
	}
	return nil
}

func (e *Expect) known(acts map[string]bool, people map[string]int32) error {
	for _, names := range []map[string]string{e.Undone, e.Hidden} {
		for name, why := range names {
			if !acts[name] || why != "" && !acts[why] {
				return fmt.Errorf("%s or what undid it is not there", name)
			}
		}
	}
	for _, names := range []map[string]string{e.Gone, e.Muted} {
		for name, why := range names {
			if _, ok := people[name]; !ok || why != "" && !acts[why] {
				return fmt.Errorf("%s, or because of what, is not there", name)
			}
		}
	}
	for _, name := range append(slices.Clone(e.Bad), e.Counts...) {
		if !acts[name] {
			return fmt.Errorf("%s is not there", name)
		}
	}
	return nil
}

// Check returns where a delivery of the acts that are there differs from what is
// expected: what is not mentioned has to count, and who is not has to be no one.
func (e *Expect) Check(d *Delivery) (wrong []string) {
	fail := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	for _, i := range e.Acts {
		name, want := d.World.Name(i), authority.Effective
		_, undone := e.Undone[name]
		_, hidden := e.Hidden[name]
		switch says := d.World.Acts[i].Says; {
		case undone && says || hidden && !says:
			fail("messages are hidden, events undone: %s", name)
		case undone || hidden:
			want = authority.Undone
		case slices.Contains(e.Bad, name):
			want = authority.Invalid
		}
		if got := d.Verdict(i); got != want {
			fail("%s is %s, not %s", name, got, want)
		} else if why := e.Undone[name] + e.Hidden[name]; why != "" && d.cause(i) != why {
			fail("%s is undone because of %s, not of %s", name, d.cause(i), why)
		}
	}
	if got := d.roster(); e.Roster != nil && !slices.Equal(got, e.Roster) {
		fail("the roster is %q, not %q", got, e.Roster)
	}
	return append(wrong, e.people(d)...)
}

// people compares what is said of people.
func (e *Expect) people(d *Delivery) (wrong []string) {
	for who, name := range d.World.People {
		if why, ok := e.Gone[name]; ok {
			if got := d.named(d.State.Ended(int32(who))); got != why || d.State.Rank(int32(who)) != authority.NoRank {
				wrong = append(wrong, fmt.Sprintf("%s is a %s, ended by %s, not gone because of %s", name, d.State.Rank(int32(who)), got, why))
			}
		}
		if got := d.named(d.State.Muted(int32(who))); got != e.Muted[name] {
			wrong = append(wrong, fmt.Sprintf("%s is muted by %q, not %q", name, got, e.Muted[name]))
		}
	}
	return wrong
}

func (d *Delivery) named(at int32) string {
	if at == authority.None {
		return ""
	}
	return d.World.Name(d.acts[at])
}

func (d *Delivery) cause(act int) string {
	if d.World.Acts[act].Says {
		m, _ := d.Message(act)
		_, by, _ := d.State.Judge(&m, true)
		return d.named(by)
	}
	return d.named(d.State.Cause(d.At[act]))
}

func (d *Delivery) roster() (out []string) {
	for who, name := range d.World.People {
		if rank := d.State.Rank(int32(who)); rank != authority.NoRank {
			out = append(out, name+" "+strings.TrimPrefix(rank.String(), "rank "))
		}
	}
	slices.Sort(out)
	return out
}
