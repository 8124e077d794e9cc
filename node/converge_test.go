package node_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
)

// People come and go and write in several groups at once. When all are back, each
// group is the same for all of its members: every text once, in one order. What they
// do follows from the seed (P2PCHAT_SEED); what the network does with it does not.
func TestWhoeverComesAndGoesAllConverge(t *testing.T) {
	seed := rand.Uint64N(1 << 32)
	if text := os.Getenv("P2PCHAT_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("P2PCHAT_SEED=%d", seed)
	steps := 400
	if testing.Short() {
		steps = 80
	}
	town := newTown(t, rand.New(rand.NewPCG(seed, 1)))
	for range steps {
		town.step()
	}
	for _, p := range town.people {
		if p.Node == nil {
			p.wake()
		}
	}
	for _, g := range town.groups {
		for _, p := range g.members {
			p.await(g.id, len(g.texts))
		}
		agree(t, g.id, len(g.texts), g.members...)
		want := slices.Sorted(slices.Values(g.texts))
		if got := slices.Sorted(slices.Values(g.members[0].texts(g.id))); !slices.Equal(got, want) {
			t.Errorf("group %s does not hold what was written", g.id)
		}
		for _, p := range g.members {
			inOrder(t, p, g.id)
		}
	}
}

// inOrder fails unless each author's texts, which are numbered, follow each other.
func inOrder(t *testing.T, p *person, group protocol.ID) {
	t.Helper()
	last := make(map[string]int)
	for _, text := range p.texts(group) {
		var author string
		var number int
		if _, err := fmt.Sscanf(text, "%s %d", &author, &number); err != nil {
			t.Fatal(text, err)
		}
		if number <= last[author] {
			t.Errorf("%s reads %q after %d", p.cfg.Name, text, last[author])
		}
		last[author] = number
	}
}

// A town is people with groups; some are in several.
type town struct {
	t      *testing.T
	rng    *rand.Rand
	people []*person
	groups []*townGroup
	said   int
}

type townGroup struct {
	id      protocol.ID
	members []*person
	texts   []string // all that was written
}

func newTown(t *testing.T, rng *rand.Rand) *town {
	w := &town{t: t, rng: rng}
	for _, name := range []string{"Ana", "Bo", "Cleo", "Dan", "Eva"} {
		w.people = append(w.people, start(t, name, func(cfg *node.Config) { cfg.GossipRate = 3 })) // so that gossip drops some
	}
	for i, members := range [][]int{{0, 1, 2, 3}, {2, 3, 4}, {4, 0}} {
		g := &townGroup{}
		for _, m := range members {
			g.members = append(g.members, w.people[m])
		}
		g.id = g.members[0].create(fmt.Sprintf("group %d", i))
		link := g.members[0].invite(g.id, node.InviteOptions{})
		for _, p := range g.members[1:] {
			p.join(link)
		}
		w.groups = append(w.groups, g)
	}
	return w
}

// step has somebody do something.
func (w *town) step() {
	p := w.people[w.rng.IntN(len(w.people))]
	switch {
	case w.rng.IntN(12) == 0 && p.Node != nil:
		p.sleep()
	case p.Node == nil && w.rng.IntN(3) == 0:
		p.wake()
	case p.Node != nil:
		w.write(p)
	}
}

func (w *town) write(p *person) {
	var in []*townGroup
	for _, g := range w.groups {
		if slices.Contains(g.members, p) {
			in = append(in, g)
		}
	}
	g := in[w.rng.IntN(len(in))]
	for range 1 + w.rng.IntN(10) {
		w.said++
		text := fmt.Sprintf("%s %d", p.cfg.Name, w.said)
		p.send(g.id, text)
		g.texts = append(g.texts, text)
	}
}
