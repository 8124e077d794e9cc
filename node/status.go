package node

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/p2pchat/p2pchat/protocol"
)

// GroupStatus says how complete one group is here.
func (n *Node) GroupStatus(group protocol.ID) (GroupStatus, error) {
	r, err := n.room(group)
	if err != nil {
		return GroupStatus{}, err
	}
	return n.groupStatus(r), nil
}

func (n *Node) groupStatus(r *room) GroupStatus {
	g := GroupStatus{Group: n.describe(r), Events: r.log.Count(), Kept: r.kept(), Contacts: n.contactsOf(r), Failing: n.store.Failing()}
	g.Doubts, _ = n.Doubts(r.group)
	forks, err := r.log.Forks(n.ctx)
	if err != nil {
		n.log.Warn("forks", "err", err)
	}
	gaps, ahead := r.log.Gaps(), n.someAhead(r)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range forks {
		if who := r.person(f.A.Header().Dev); !slices.Contains(g.Forks, who) {
			g.Forks = append(g.Forks, who)
		}
	}
	for _, gap := range gaps {
		g.Missing = addMissing(g.Missing, r.person(gap.Dev), gap.Missing)
	}
	g.WithoutText = r.meta.Owed
	g.Parked, g.Renewed, g.LastSync = r.parked.len(), !r.meta.Device.IsZero(), r.synced
	for _, c := range g.Contacts {
		if c.Compared.After(g.LastSync) && !ahead { // before this program was started
			g.LastSync = c.Compared
		}
	}
	return g
}

// addMissing adds what one device of a person lacks to what others do.
func addMissing(list []Missing, who Person, messages uint64) []Missing {
	for i := range list {
		if list[i].Key == who.Key {
			list[i].Messages += messages
			return list
		}
	}
	return append(list, Missing{who, messages})
}

// contactsOf returns when the other members were met, those online first, then those
// seen last.
func (n *Node) contactsOf(r *room) []Contact {
	ways, vain := make(map[protocol.Key]string), make(map[protocol.Key]bool) // by device
	for _, p := range n.members(r) {
		if dev, ok := n.peers.proved(p, r.group); ok {
			ahead, no := n.claims(r, p)
			ways[dev], vain[dev] = n.via(p), ahead && no
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []Contact
	for _, s := range r.current().Members() {
		if s.Root == r.me.Root() {
			continue
		}
		c := Contact{Person: r.personOf(s.Root)}
		for _, dev := range s.Devices {
			if way := ways[dev]; way != "" {
				c.Online, c.Seen = true, n.now()
				c.Via, c.Withholds = better(c.Via, way), c.Withholds || vain[dev]
			}
			r.contacts.look(dev, func(k *contact) {
				c.Seen, c.Compared = later(c.Seen, k.Seen), later(c.Compared, k.Compared)
			})
		}
		out = append(out, c)
	}
	slices.SortStableFunc(out, func(a, b Contact) int {
		if a.Online != b.Online {
			return cmp.Compare(b.Via, a.Via) // who is away has none
		}
		if !a.Online {
			if c := b.Seen.Compare(a.Seen); c != 0 {
				return c
			}
		}
		return strings.Compare(a.Name, b.Name)
	})
	return out
}

// better returns the better of two ways.
func better(a, b string) string {
	for _, way := range []string{ViaLAN, ViaDirect} {
		if a == way || b == way {
			return way
		}
	}
	return cmp.Or(a, b)
}

// later returns the later of two times, the second in Unix seconds and none if it is 0.
func later(t time.Time, unix int64) time.Time {
	if u := time.Unix(unix, 0); unix > 0 && u.After(t) {
		return u
	}
	return t
}
