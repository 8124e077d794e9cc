package node

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/p2pchat/p2pchat/protocol"
)

// discovery finds peers: those remembered, those on the LAN, those the DHT knows,
// those a link or a member names.
type discovery struct {
	n *Node

	mu    sync.Mutex
	how   map[peer.ID]string           // how a peer was found, until it connects
	lan   map[peer.ID][]ma.Multiaddr   // peers that mDNS named
	book  map[peer.ID]remembered       // members met before
	dials map[peer.ID]bool             // running
	seeks map[string]int               // DHT keys somebody waits for
	looks int                          // who looks for people in the same room
	mdns  string                       // its state in words
	dht   atomic.Pointer[communityDHT] // nil while off
}

// remembered is an entry of the address book.
type remembered struct {
	Addrs []string  `json:"addrs"`
	Seen  time.Time `json:"seen"`
}

func newDiscovery(n *Node) *discovery {
	return &discovery{
		n: n, how: make(map[peer.ID]string), book: make(map[peer.ID]remembered), lan: make(map[peer.ID][]ma.Multiaddr), dials: make(map[peer.ID]bool),
		seeks: make(map[string]int), mdns: "off",
	}
}

// openDiscovery starts everything that finds peers.
func (n *Node) openDiscovery(ctx context.Context) error {
	d := n.disc
	if err := d.loadBook(ctx); err != nil {
		return err
	}
	for _, r := range n.allRooms() {
		r.start()
	}
	n.watchConnections()
	if err := d.openDHT(); err != nil {
		return err
	}
	if !n.cfg.DisableMDNS {
		d.openMDNS()
	}
	n.spawn(d.redial)
	return nil
}

func (d *discovery) loadBook(ctx context.Context) error {
	stored, err := d.n.store.List(ctx, spacePeers)
	if err != nil {
		return fmt.Errorf("read the address book: %w", err)
	}
	for key, value := range stored {
		id, err := peer.Decode(key)
		var entry remembered
		if err != nil || json.Unmarshal(value, &entry) != nil {
			continue // an address is only a hint
		}
		d.mu.Lock()
		d.book[id] = entry
		d.mu.Unlock()
	}
	return nil
}

// remember keeps the addresses of a member that is connected now.
func (d *discovery) remember(p peer.ID, now time.Time) { d.keep(p, d.addrs(p), now) }

// keep puts a peer into the address book. Who was only heard of goes first where it is
// full, and takes nobody's place.
func (d *discovery) keep(p peer.ID, addrs []ma.Multiaddr, seen time.Time) {
	entry := remembered{Seen: seen.UTC()}
	for _, a := range addrs {
		entry.Addrs = append(entry.Addrs, a.String())
	}
	if len(addrs) == 0 || p == d.n.host.ID() {
		return
	}
	value, err := json.Marshal(entry)
	if err != nil {
		return
	}
	d.mu.Lock()
	if _, known := d.book[p]; known && seen.IsZero() {
		d.mu.Unlock()
		return
	}
	d.book[p] = entry
	oldest := p
	if len(d.book) > rememberedPeers {
		for q, e := range d.book {
			if e.Seen.Before(d.book[oldest].Seen) {
				oldest = q
			}
		}
		delete(d.book, oldest)
	}
	_, kept := d.book[p]
	d.mu.Unlock()
	if !kept {
		return
	}
	d.n.spawn(func(ctx context.Context) { // the caller may be a stream or a notification
		if oldest != p {
			_ = d.n.store.Delete(ctx, spacePeers, oldest.String())
		}
		if err := d.n.store.Put(ctx, spacePeers, p.String(), value); err != nil && ctx.Err() == nil {
			d.n.log.Warn("address book", "err", err)
		}
	})
}

// found is told of a peer and connects to it.
func (d *discovery) found(info peer.AddrInfo, how string) {
	info.Addrs = d.within(info.Addrs)
	if info.ID == d.n.host.ID() || len(info.Addrs) == 0 {
		return
	}
	if how == "mdns" {
		d.sighted(info)
	}
	d.n.host.Peerstore().AddAddrs(info.ID, info.Addrs[:min(len(info.Addrs), addrsPerPeer)], peerstore.TempAddrTTL)
	d.dial(info.ID, how)
}

// within leaves the addresses that may be dialled: with the DHT off, those of the
// local subnets. The node's own host has a gater for this; a lent one may not.
func (d *discovery) within(addrs []ma.Multiaddr) []ma.Multiaddr {
	if d.n.cfg.DHT != DHTOff {
		return addrs
	}
	return slices.DeleteFunc(slices.Clone(addrs), func(a ma.Multiaddr) bool { return !local(a) })
}

// sighted remembers a peer of the LAN: multicast names it once in a long while, and a
// join may need it later.
func (d *discovery) sighted(info peer.AddrInfo) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.lan) < lanPeers || d.lan[info.ID] != nil {
		d.lan[info.ID] = info.Addrs
	}
}

// dial connects to a peer whose addresses are in the peerstore, unless it is
// connected or being dialled.
func (d *discovery) dial(p peer.ID, how string) {
	if d.n.host.Network().Connectedness(p) == network.Connected {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dials[p] || len(d.dials) >= dialMost {
		return
	}
	d.dials[p], d.how[p] = true, how
	d.n.spawn(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, helloTimeout)
		defer cancel()
		err := d.n.host.Connect(ctx, peer.AddrInfo{ID: p})
		if err != nil {
			d.n.log.Debug("dial", "peer", p, "found", how, "err", err)
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.dials, p)
		if err != nil {
			delete(d.how, p)
		}
	})
}

// foundBy says how a peer that connects now was found.
func (d *discovery) foundBy(p peer.ID, outbound bool) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	how, ok := d.how[p]
	switch {
	case !outbound:
		return "inbound"
	case ok:
		return how
	case d.dht.Load() != nil: // it dials by itself what it asks
		return "dht"
	}
	return "host"
}

func (d *discovery) lost(p peer.ID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.how, p)
}

// redial tries remembered members that are away, the last seen first.
func (d *discovery) redial(ctx context.Context) {
	tick := time.NewTicker(dialEvery)
	defer tick.Stop()
	for n := 0; ; n++ {
		d.dialAway(n%dialAfresh == 0)
		for _, info := range d.neighbours() {
			d.found(info, "mdns")
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// dialAway dials remembered members that are away. Afresh, it forgets how often that was
// in vain: the swarm waits longer from one to the next, up to five minutes, on both sides,
// and so long would two sit side by side on a network that is back.
func (d *discovery) dialAway(afresh bool) {
	s, ok := d.n.host.Network().(*swarm.Swarm)
	for _, p := range d.away() {
		if afresh && ok {
			s.Backoff().Clear(p)
		}
		d.dial(p, "known")
	}
}

// lookAround has who is on the LAN dialled again until stop is called.
func (d *discovery) lookAround() (stop func()) {
	add := func(by int) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.looks += by
	}
	add(1)
	return func() { add(-1) }
}

// neighbours returns who the LAN named and is not connected, while a join looks for
// somebody who may admit, or for somebody in the same room.
func (d *discovery) neighbours() []peer.AddrInfo {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []peer.AddrInfo
	for p, addrs := range d.lan {
		if len(d.seeks)+d.looks > 0 && d.n.host.Network().Connectedness(p) != network.Connected {
			out = append(out, peer.AddrInfo{ID: p, Addrs: addrs})
		}
	}
	return out
}

func (d *discovery) away() []peer.ID {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := slices.SortedFunc(maps.Keys(d.book), func(a, b peer.ID) int { return d.book[b].Seen.Compare(d.book[a].Seen) })
	var out []peer.ID
	for _, p := range all {
		if len(out) >= dialMost {
			break
		}
		if d.n.host.Network().Connectedness(p) == network.Connected {
			continue
		}
		for _, a := range d.book[p].Addrs {
			if m, err := ma.NewMultiaddr(a); err == nil {
				m, _ = peer.SplitAddr(m)
				if len(d.within([]ma.Multiaddr{m})) == 0 {
					continue
				}
				d.n.host.Peerstore().AddAddr(p, m, peerstore.TempAddrTTL)
			}
		}
		out = append(out, p)
	}
	return out
}

// own returns this node's addresses as others can use them, each ending in its peer
// id: those of networks first, loopback only where there is nothing else.
func (d *discovery) own() []ma.Multiaddr {
	return usable(peer.AddrInfo{ID: d.n.host.ID(), Addrs: d.n.host.Addrs()})
}

// addrs returns a connected peer's addresses in the same form.
func (d *discovery) addrs(p peer.ID) []ma.Multiaddr {
	info := peer.AddrInfo{ID: p, Addrs: d.n.host.Peerstore().Addrs(p)}
	return usable(info)
}

func usable(info peer.AddrInfo) []ma.Multiaddr {
	info.Addrs = slices.Clone(info.Addrs)
	reach := func(a ma.Multiaddr) int {
		switch {
		case manet.IsIPLoopback(a):
			return 2
		case manet.IsIP6LinkLocal(a):
			return 1
		}
		return 0
	}
	slices.SortStableFunc(info.Addrs, func(a, b ma.Multiaddr) int { return reach(a) - reach(b) })
	if len(info.Addrs) > 0 && reach(info.Addrs[0]) < 2 {
		info.Addrs = slices.DeleteFunc(info.Addrs, func(a ma.Multiaddr) bool { return reach(a) == 2 })
	}
	info.Addrs = info.Addrs[:min(len(info.Addrs), addrsPerPeer)]
	out, err := peer.AddrInfoToP2pAddrs(&info)
	if err != nil {
		return nil
	}
	return out
}

// keys returns the DHT keys by which this node's groups and open invites are found.
func (d *discovery) keys() []string {
	var out []string
	for _, r := range d.n.allRooms() {
		for _, s := range r.announced() {
			out = append(out, protocol.DHTKey(s))
		}
	}
	now := uint64(d.n.now().Unix())
	for _, in := range d.n.openInvites() {
		if in.body.Expiry == 0 || in.body.Expiry > now {
			out = append(out, protocol.DHTKey(in.lobby))
		}
	}
	return out
}

// seek looks a key up in the DHT until stop is called.
func (d *discovery) seek(key string) (stop func()) {
	d.mu.Lock()
	d.seeks[key]++
	d.mu.Unlock()
	d.refresh()
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.seeks[key]--; d.seeks[key] == 0 {
			delete(d.seeks, key)
		}
	}
}

// refresh has the DHT announce and look at once: keys have changed.
func (d *discovery) refresh() {
	if c := d.dht.Load(); c != nil {
		c.poke()
	}
}
