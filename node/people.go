package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pchat/p2pchat/protocol"
)

// Groups returns the groups this node is in, by name.
func (n *Node) Groups() []Group {
	var out []Group
	for _, r := range n.allRooms() {
		out = append(out, n.describe(r))
	}
	slices.SortStableFunc(out, func(a, b Group) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Group describes one group.
func (n *Node) Group(group protocol.ID) (Group, error) {
	r, err := n.room(group)
	if err != nil {
		return Group{}, err
	}
	return n.describe(r), nil
}

func (n *Node) describe(r *room) Group {
	online := len(n.members(r))
	r.mu.Lock()
	defer r.mu.Unlock()
	me, _ := r.current().Standing(r.me.Root())
	_, left := r.leftBy(r.me.Root())
	_, revoked := r.current().Revocation(r.me.Root(), r.me.Dev())
	retention, _ := r.current().Retention()
	return Group{
		ID: r.group, Name: r.name(), Rank: me.Rank, Me: r.me.Root(),
		Members: len(r.current().Members()), Online: online, Left: left && me.Rank == protocol.NoRank, Revoked: revoked,
		Retention: retention,
	}
}

// Find resolves what a person typed for a group: its name if unique, a short id or
// the id.
func (n *Node) Find(ref string) (protocol.ID, error) {
	if err := n.alive(); err != nil {
		return protocol.ID{}, err
	}
	groups := n.Groups()
	if i := slices.IndexFunc(groups, func(g Group) bool { return g.ID.Text(protocol.GroupPrefix) == ref }); i >= 0 {
		return groups[i].ID, nil // an id is an id, whatever others call their groups
	}
	var found []Group
	for _, g := range groups {
		id := g.ID.Text(protocol.GroupPrefix)
		short := strings.HasPrefix(ref, protocol.GroupPrefix) && len(ref) >= len(protocol.GroupPrefix)+4 && strings.HasPrefix(id, ref)
		if short || g.Name == ref && !strings.HasPrefix(ref, protocol.GroupPrefix) {
			found = append(found, g)
		}
	}
	switch len(found) {
	case 0:
		return protocol.ID{}, fmt.Errorf("%w: %q", ErrUnknownGroup, ref)
	case 1:
		return found[0].ID, nil
	}
	return protocol.ID{}, fmt.Errorf("%w: %q; use the id: %s or %s", ErrAmbiguous, ref,
		protocol.Short(found[0].ID.Text(protocol.GroupPrefix)), protocol.Short(found[1].ID.Text(protocol.GroupPrefix)))
}

// Members returns the group's roster, the most senior first, then by name.
func (n *Node) Members(group protocol.ID) ([]Member, error) {
	r, err := n.room(group)
	if err != nil {
		return nil, err
	}
	online := make(map[protocol.Key]bool)
	for _, p := range n.members(r) {
		dev, _ := n.peers.proved(p, group)
		online[dev] = true
	}
	forked := n.forked(r)
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []Member
	for _, s := range r.current().Members() {
		m := Member{
			Person: r.personOf(s.Root), Rank: s.Rank, Devices: s.Devices,
			Me: s.Root == r.me.Root(), Blocked: r.blocked[s.Root],
		}
		m.Verified = r.verification(m.Person)
		_, m.Muted = r.current().Muted(s.Root)
		if d, ok := r.acts.unmutes[s.Root]; ok && m.Muted && slices.Contains(r.mutesOn(s.Root), d.Mute) {
			m.MutedUntil = time.UnixMilli(d.Until)
		}
		m.Forked = slices.ContainsFunc(s.Devices, func(d protocol.Key) bool { return forked[d] })
		m.Online = m.Me || slices.ContainsFunc(s.Devices, func(d protocol.Key) bool { return online[d] })
		out = append(out, m)
	}
	slices.SortStableFunc(out, func(a, b Member) int {
		return cmp.Or(cmp.Compare(a.Rank, b.Rank), strings.Compare(a.Name, b.Name))
	})
	return out, nil
}

// forked returns the devices that signed two events for one place.
func (n *Node) forked(r *room) map[protocol.Key]bool {
	proofs, err := r.log.Forks(n.ctx)
	if err != nil {
		n.log.Warn("forks", "err", err) // the rest is worth knowing
	}
	out := make(map[protocol.Key]bool)
	for _, f := range proofs {
		out[f.A.Header().Dev] = true
	}
	return out
}

// Former returns who was in the group and is not, by name, with how they went.
func (n *Node) Former(group protocol.ID) ([]Member, error) {
	r, err := n.room(group)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []Member
	for _, root := range r.gonePeople() {
		m := Member{
			Person: r.personOf(root), Rank: protocol.NoRank, Devices: r.set.Devices(root),
			Me: root == r.me.Root(), Blocked: r.blocked[root],
		}
		if id, ok := r.went(root); ok {
			a := r.act(id)
			m.Went = &a
			m.Lifted = a.Kind == protocol.KindBan.String() && len(r.current().Banned(root)) == 0
		}
		out = append(out, m)
	}
	slices.SortStableFunc(out, func(a, b Member) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), a.Key.Compare(b.Key))
	})
	return out, nil
}

// went returns how somebody went: their leave rather than the remove that sealed it; a
// removal; or what undid their admission. The caller holds mu.
func (r *room) went(root protocol.Key) (protocol.ID, bool) {
	if end, ok := r.current().Ended(root); ok {
		leave, left := r.leftBy(root)
		if v, _, _ := r.set.Get(end); left && v.Header().Kind == protocol.KindRemove && r.set.Sees(end, leave) {
			return leave, true
		}
		return end, true
	}
	for _, g := range slices.Backward(r.set.Grants(root)) {
		if id, ok := r.current().Cause(g); ok {
			return id, true
		}
	}
	return protocol.ID{}, false
}

// Block hides what a person writes, on this node only, or shows it again. who is a
// name or a usr_ id, short or whole; a zero group means any group.
func (n *Node) Block(ctx context.Context, group protocol.ID, who string, blocked bool) (Person, error) {
	if err := n.alive(); err != nil {
		return Person{}, err
	}
	p, r, err := n.someone(group, who, (*room).others)
	if errors.Is(err, ErrUnknownName) {
		p, r, err = n.someone(group, who, (*room).gonePeople) // what they wrote is still here
	}
	if err != nil {
		return Person{}, err
	}
	return p, r.block(ctx, p.Key, blocked)
}

// someone finds a person in a group, or in any, among those that list returns.
func (n *Node) someone(group protocol.ID, who string, list func(*room) []protocol.Key) (Person, *room, error) {
	var people []Person
	var rooms []*room // of each of them
	for _, r := range n.allRooms() {
		if !group.IsZero() && r.group != group {
			continue
		}
		r.mu.Lock()
		for _, p := range r.peopleOf(list(r)) {
			people, rooms = append(people, p), append(rooms, r)
		}
		r.mu.Unlock()
	}
	i, err := pick(who, people)
	if err != nil {
		return Person{}, nil, err
	}
	return people[i], rooms[i], nil
}

// pick finds whom a person typed: a name, if only one of those it can mean has it, or
// a usr_ key, short or whole. A name that begins like a key is never asked for.
func pick(who string, people []Person) (int, error) {
	key := strings.HasPrefix(who, protocol.PersonPrefix)
	var found []int
	for i, p := range people {
		id := p.Key.Text(protocol.PersonPrefix)
		short := key && len(who) >= len(protocol.PersonPrefix)+4 && strings.HasPrefix(id, who)
		if short || !key && who != "" && p.Name == who {
			found = append(found, i)
		}
	}
	switch len(found) {
	case 0:
		return 0, fmt.Errorf("%w: %q; a key works too, whole or its first letters, at least four behind %s", ErrUnknownName, who, protocol.PersonPrefix)
	case 1:
		return found[0], nil
	}
	a, b := people[found[0]], people[found[1]]
	return 0, fmt.Errorf("%w: %q is %s and %s; use the key", ErrAmbiguous, who, a.short(), b.short())
}

// choose is pick for who needs the person.
func choose(who string, people []Person) (Person, error) {
	i, err := pick(who, people)
	if err != nil {
		return Person{}, err
	}
	return people[i], nil
}

func (p Person) short() string { return protocol.Short(p.Key.Text(protocol.PersonPrefix)) }

// label is how an error names a person.
func (p Person) label() string { return cmp.Or(p.Name, p.short()) }

func (r *room) blockKey(who protocol.Key) string {
	return r.group.Text("") + "." + who.Text("")
}

func (r *room) block(ctx context.Context, who protocol.Key, blocked bool) error {
	var err error
	if blocked {
		err = r.n.store.Put(ctx, spaceBlocked, r.blockKey(who), []byte{1})
	} else {
		err = r.n.store.Delete(ctx, spaceBlocked, r.blockKey(who))
	}
	if err != nil {
		return fmt.Errorf("block: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.blocked[who] = blocked
	return nil
}

func (r *room) loadBlocked(ctx context.Context) error {
	r.blocked = make(map[protocol.Key]bool)
	stored, err := r.n.store.List(ctx, spaceBlocked)
	if err != nil {
		return err
	}
	for key := range stored {
		group, who, _ := strings.Cut(key, ".")
		if id, err := protocol.ParseID("", who); err == nil && group == r.group.Text("") {
			r.blocked[protocol.Key(id)] = true
		}
	}
	return nil
}

// Peers returns who this node is connected to or remembers.
func (n *Node) Peers() []Peer {
	var out []Peer
	for _, p := range n.peers.all() {
		q := Peer{ID: p.String(), Connected: true, Addrs: n.disc.remoteAddrs(p)}
		n.peers.with(p, func(s *peerState) { q.Found = s.found })
		for _, r := range n.allRooms() {
			dev, ok := n.peers.proved(p, r.group)
			if !ok || !r.isMember(dev) {
				continue
			}
			r.mu.Lock()
			name := r.person(dev).Name
			r.mu.Unlock()
			q.Groups = append(q.Groups, r.group)
			if name != "" && !slices.Contains(q.Names, name) {
				q.Names = append(q.Names, name)
			}
		}
		out = append(out, q)
	}
	return append(out, n.disc.awayPeers()...)
}

// remoteAddrs returns the addresses of the connections that stand.
func (d *discovery) remoteAddrs(p peer.ID) []string {
	var out []string
	for _, c := range d.n.host.Network().ConnsToPeer(p) {
		out = append(out, c.RemoteMultiaddr().String())
	}
	return out
}

func (d *discovery) awayPeers() []Peer {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []Peer
	for p, e := range d.book {
		if d.n.host.Network().Connectedness(p) != network.Connected {
			out = append(out, Peer{ID: p.String(), Addrs: e.Addrs, Found: "known"})
		}
	}
	slices.SortFunc(out, func(a, b Peer) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// Status says how the node is doing.
func (n *Node) Status() Status {
	s := Status{PeerID: n.host.ID().String(), MDNS: n.disc.mdnsState(), DHT: n.disc.dhtState(), Failing: n.store.Failing()}
	for _, a := range n.disc.own() {
		s.Listen = append(s.Listen, a.String())
	}
	for _, p := range n.peers.all() {
		n.peers.with(p, func(ps *peerState) {
			if len(ps.proofs) > 0 {
				s.Peers++
			}
		})
	}
	for _, r := range n.allRooms() {
		s.Groups = append(s.Groups, n.groupStatus(r))
	}
	return s
}

// WaitPeers waits until a member of the group is connected, or ctx ends, and returns
// how many are.
func (n *Node) WaitPeers(ctx context.Context, group protocol.ID) int {
	r, err := n.room(group)
	if err != nil {
		return 0
	}
	for {
		changed := n.peers.changes()
		if count := len(n.members(r)); count > 0 {
			return count
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0
		case <-n.ctx.Done():
			return 0
		}
	}
}

// WaitSync waits until every connected member of the group holds exactly what this
// node holds, and was asked for the texts that are missing here, if any are.
func (n *Node) WaitSync(ctx context.Context, group protocol.ID) error {
	r, err := n.room(group)
	if err != nil {
		return err
	}
	if n.store.Failing() != nil {
		n.peers.disagree(group) // what they have said since may have come, and not been stored
	}
	for {
		behind := 0
		changed := n.peers.changes()
		mine := r.whole()
		for _, p := range n.members(r) {
			n.peers.with(p, func(s *peerState) {
				if s.equal[group] != mine {
					behind++
				}
			})
		}
		if behind == 0 && !r.awaitsTexts() {
			return nil
		}
		r.poke()
		select {
		case <-changed:
		case <-time.After(syncTick):
		case <-n.ctx.Done():
			return ErrClosed
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("%d members are not known to have everything yet", behind), ctx.Err())
		}
	}
}
