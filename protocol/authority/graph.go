package authority

import (
	"errors"
	"fmt"
	"slices"
)

// MaxMemberChain is how many events the control chain of a device may have that acts
// as member or more junior, so that who was removed cannot grow the log for ever:
// beyond that only those that are [Event.Free].
const MaxMemberChain = 64

// Event is a control event as the rule sees it. Events, identities and devices are
// numbers: events by their position in the graph, the others as the caller counts
// them.
type Event struct {
	Op     Op
	By     int32   // the author's identity
	Dev    int32   // the author's device, whose chain it is on
	Prev   int32   // the event before it on that chain, or None
	Refs   []int32 // what else the author had seen
	Auth   int32   // the grant it acts under, or the genesis
	Target int32   // the identity it is about; a device for Revoke
	Rank   Rank    // what a grant grants
	Limit  Rank    // the most junior rank that an Other event is allowed at
	Free   bool    // it does not count toward the end of a member's chain
	Cut    []int32 // what a denial or a revocation spares: these events and those before them on their chains
}

// None is no event.
const None int32 = -1

// Graph is a set of statically valid control events, each after what it cites. The
// first is the genesis; the zero value waits for it.
type Graph struct {
	founders   []int32
	nodes      []node
	byRank     map[Rank][]int32
	ranks      []Rank // ascending
	byIdentity map[int32][]int32
	byDevice   map[int32][]int32
	grants     map[int32][]int32 // by target
	endings    []int32           // removes, bans, leaves, revocations
	branches   []chainBranch
}

type node struct {
	Event
	rank   Rank // of the author, acting
	seq    int32
	branch int32
	down   Past // its past and itself
}

// chainBranch is a run of a chain without forks: it begins after from, which is on
// another branch.
type chainBranch struct{ from, tip int32 }

// NewGraph returns the graph of a group that has its genesis only.
func NewGraph(founders []int32, by, dev int32) (*Graph, error) {
	g := new(Graph)
	return g, g.Found(founders, by, dev)
}

// Found puts the genesis into an empty graph.
func (g *Graph) Found(founders []int32, by, dev int32) error {
	if !slices.Contains(founders, by) {
		return errors.New("the genesis is not by one of the founders")
	}
	*g = Graph{
		founders: founders, byRank: make(map[Rank][]int32), byIdentity: make(map[int32][]int32),
		byDevice: make(map[int32][]int32), grants: make(map[int32][]int32),
	}
	for _, f := range founders {
		g.grants[f] = []int32{0}
	}
	g.insert(node{Event: Event{Op: Genesis, By: by, Dev: dev, Prev: None, Target: None}})
	return nil
}

// Len returns how many events the graph has.
func (g *Graph) Len() int { return len(g.nodes) }

// At returns an event.
func (g *Graph) At(i int32) *Event { return &g.nodes[i].Event }

// By returns the events of an identity.
func (g *Graph) By(who int32) []int32 { return g.byIdentity[who] }

// Grants returns the grants to an identity, the genesis for a founder.
func (g *Graph) Grants(who int32) []int32 { return g.grants[who] }

// Acting returns the rank under which an event was made.
func (g *Graph) Acting(i int32) Rank { return g.nodes[i].rank }

// Sees says whether an event lies in another's past.
func (g *Graph) Sees(later, earlier int32) bool {
	return later != earlier && g.nodes[later].down.Has(earlier)
}

// Past returns what the authors of some events had seen, those events included.
func (g *Graph) Past(heads ...int32) Past {
	var p Past
	for _, h := range heads {
		if !p.Has(h) {
			p = p.Union(g.nodes[h].down)
		}
	}
	return p
}

// Before returns the past of an event.
func (g *Graph) Before(i int32) Past {
	return g.Seen(g.nodes[i].Refs, g.nodes[i].Prev)
}

// Seen returns the past of an event that cites others.
func (g *Graph) Seen(refs []int32, prev int32) Past {
	p := g.Past(refs...)
	if prev != None && !p.Has(prev) {
		p = p.Union(g.nodes[prev].down)
	}
	return p
}

// Checked is an event that may enter the graph it was checked for.
type Checked struct{ n node }

// Past returns the event's past.
func (c *Checked) Past() Past { return c.n.down }

// Acting returns the rank under which it was made.
func (c *Checked) Acting() Rank { return c.n.rank }

// Check checks what depends on an event and its past alone, and is therefore final.
func (g *Graph) Check(e Event) (Checked, error) {
	c := Checked{node{Event: e, seq: 1, down: g.Seen(e.Refs, e.Prev)}}
	if e.Prev != None {
		c.n.seq = g.nodes[e.Prev].seq + 1
	}
	return c, g.static(&c.n)
}

// Insert gives a checked event the next position.
func (g *Graph) Insert(c Checked) int32 { return g.insert(c.n) }

// Add checks and inserts.
func (g *Graph) Add(e Event) (int32, error) {
	c, err := g.Check(e)
	if err != nil {
		return None, err
	}
	return g.Insert(c), nil
}

// static is the conditions on an event that enters the graph. n.down is its past.
func (g *Graph) static(n *node) error {
	if len(g.nodes) == 0 || n.Op == Genesis {
		return errors.New("a group has one genesis, and it is the first event")
	}
	if n.Prev != None && (g.nodes[n.Prev].Dev != n.Dev || g.nodes[n.Prev].By != n.By) {
		return errors.New("prev is not the event before it on its chain")
	}
	if err := g.author(n); err != nil {
		return err
	}
	if n.rank >= Member && n.seq > MaxMemberChain && !n.Free {
		return fmt.Errorf("control event %d of a %s: at most %d", n.seq, n.rank, MaxMemberChain)
	}
	limit := n.Op.limit()
	if n.Op == Other {
		limit = n.Limit
	}
	if n.rank > limit {
		return fmt.Errorf("a %s may not do this: it needs the role %s or a more senior one", n.rank, limit)
	}
	if n.Op.targets() && n.Target == n.By {
		return errors.New("its target is its author")
	}
	if n.Op == Grant && (n.Rank <= n.rank || n.Rank > Relay) {
		return fmt.Errorf("a grant of rank %s by a %s: only ranks junior to one's own, down to relay", n.Rank, n.rank)
	}
	return g.cut(n)
}

// author checks that the grant an event acts under is in its past and names its
// author, and takes the rank from it.
func (g *Graph) author(n *node) error {
	if n.Auth < 0 || !n.down.Has(n.Auth) {
		return errors.New("the grant it acts under is not in its past")
	}
	auth := &g.nodes[n.Auth]
	switch {
	case auth.Op == Genesis && slices.Contains(g.founders, n.By):
		n.rank = Founder
	case auth.Op == Grant && auth.Target == n.By:
		n.rank = auth.Rank
	case auth.Op == Genesis || auth.Op == Grant:
		return errors.New("the grant it acts under is another's")
	default:
		return errors.New("what it acts under is not a grant")
	}
	return nil
}

// cut checks that what a denial spares is its target's own and was seen.
func (g *Graph) cut(n *node) error {
	for _, c := range n.Cut {
		switch {
		case c < 0 || !n.down.Has(c):
			return errors.New("a cut at an event that is not in its past")
		case n.Op == Revoke && (g.nodes[c].Dev != n.Target || g.nodes[c].By != n.By), n.Op != Revoke && g.nodes[c].By != n.Target:
			return errors.New("a cut at an event that is not the target's")
		}
	}
	return nil
}

func (g *Graph) insert(n node) int32 {
	i := int32(len(g.nodes))
	n.down = n.down.with(i)
	n.branch = g.extend(n.Prev, i)
	g.nodes = append(g.nodes, n)
	if _, ok := g.byRank[n.rank]; !ok {
		at, _ := slices.BinarySearch(g.ranks, n.rank)
		g.ranks = slices.Insert(g.ranks, at, n.rank)
	}
	g.byRank[n.rank] = append(g.byRank[n.rank], i)
	g.byIdentity[n.By] = append(g.byIdentity[n.By], i)
	g.byDevice[n.Dev] = append(g.byDevice[n.Dev], i)
	if n.Op == Grant {
		g.grants[n.Target] = append(g.grants[n.Target], i)
	}
	if n.Op.denies() || n.Op == Leave || n.Op == Revoke {
		g.endings = append(g.endings, i)
	}
	return i
}

// extend puts an event on the branch of the one before it, or on a new one where
// that has a successor already.
func (g *Graph) extend(prev, i int32) int32 {
	if prev != None {
		if b := g.nodes[prev].branch; g.branches[b].tip == prev {
			g.branches[b].tip = i
			return b
		}
	}
	g.branches = append(g.branches, chainBranch{from: prev, tip: i})
	return int32(len(g.branches) - 1)
}

// precedes says whether an event is another or comes before it on the same chain: by
// the links of the chain, since a forked one has several events at one place.
func (g *Graph) precedes(e, end int32) bool {
	for end != None && g.nodes[end].seq >= g.nodes[e].seq {
		if g.nodes[end].branch == g.nodes[e].branch {
			return true
		}
		end = g.branches[g.nodes[end].branch].from
	}
	return false
}

// spared says whether an event is at or before a cut on its chain.
func (g *Graph) spared(e int32, cut []int32) bool {
	return slices.ContainsFunc(cut, func(c int32) bool { return g.precedes(e, c) })
}
