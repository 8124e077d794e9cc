package node

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/p2pchat/p2pchat/protocol"
)

// contact is what this node remembers of another device in a group.
type contact struct {
	Seen     int64  `cbor:"1,keyasint,omitempty"` // when it was last connected, in Unix seconds
	Compared int64  `cbor:"3,keyasint,omitempty"` // when nothing was missing here that it had
	Spans    []span `cbor:"5,keyasint,omitempty"` // what it is known to have

	dirty bool // it is not on disk as it is
}

// span is what another device is known to have: what was here up to a cursor, of a span
// of time.
type span struct {
	From   uint64 `cbor:"1,keyasint,omitempty"` // an hlc
	Before uint64 `cbor:"3,keyasint"`
	Cursor uint64 `cbor:"5,keyasint"`
}

// covers says whether a span holds all that another one does.
func (s span) covers(o span) bool {
	return s.From <= o.From && s.Before >= o.Before && s.Cursor >= o.Cursor
}

// has says whether the device is known to have a message.
func (c *contact) has(hlc, cursor uint64) bool {
	return slices.ContainsFunc(c.Spans, func(s span) bool { return s.From <= hlc && hlc < s.Before && cursor <= s.Cursor })
}

// learn adds to what the device is known to have. Of more spans than are kept those
// with the oldest messages go.
func (c *contact) learn(s span) {
	if slices.ContainsFunc(c.Spans, func(o span) bool { return o.covers(s) }) {
		return
	}
	c.Spans = append(slices.DeleteFunc(c.Spans, s.covers), s)
	if len(c.Spans) > spansMost {
		oldest := slices.MinFunc(c.Spans, func(a, b span) int { return int(min(a.Before, protocol.MaxHLC)) - int(min(b.Before, protocol.MaxHLC)) })
		c.Spans = slices.DeleteFunc(c.Spans, func(o span) bool { return o == oldest })
	}
	c.dirty = true
}

// contacts is what a room remembers of the devices of its members. Its mutex is held
// for moments and while no other is asked for.
type contacts struct {
	mu    sync.Mutex
	of    map[protocol.Key]*contact
	saved time.Time
}

// with calls f with what is remembered of a device.
func (cs *contacts) with(dev protocol.Key, f func(*contact)) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c := cs.of[dev]
	if c == nil {
		if len(cs.of) >= contactsMost {
			return
		}
		if cs.of == nil {
			cs.of = make(map[protocol.Key]*contact)
		}
		c = new(contact)
		cs.of[dev] = c
	}
	f(c)
}

// look calls f with what is remembered of a device, if anything is.
func (cs *contacts) look(dev protocol.Key, f func(*contact)) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if c := cs.of[dev]; c != nil {
		f(c)
	}
}

// saw notes that a device was connected at a time.
func (cs *contacts) saw(dev protocol.Key, at time.Time) {
	cs.with(dev, func(c *contact) {
		if s := at.Unix(); s > c.Seen {
			c.Seen, c.dirty = s, true
		}
	})
}

// seen notes that a peer is here. Whoever knows the group's secret proves to be as many
// devices as they like: only members' are remembered.
func (r *room) seen(p peer.ID) {
	if dev, ok := r.memberAt(p); ok {
		r.contacts.saw(dev, r.n.now())
	}
}

// compared notes that nothing is missing here that a peer had, and, where it had nothing
// else either, of what that was found.
func (r *room) compared(p peer.ID, same *span) {
	dev, ok := r.memberAt(p)
	if !ok {
		return
	}
	now := r.n.now()
	r.contacts.with(dev, func(c *contact) {
		c.Seen, c.Compared, c.dirty = now.Unix(), now.Unix(), true
		if same != nil {
			c.learn(*same)
		}
	})
}

// saveContacts stores what is remembered of devices, now and then.
func (r *room) saveContacts(ctx context.Context, now time.Time, every time.Duration) {
	list := r.contacts.unsaved(now, every)
	for dev, c := range list {
		b, err := cbor.Marshal(c)
		if err == nil {
			err = r.n.store.Put(ctx, contactSpace(r.group), dev.Text(""), b)
		}
		if err != nil {
			r.contacts.unsave(list) // as when the node closes: it stores them once more
			r.n.log.Warn("who was met is not stored", "err", err)
			return
		}
	}
}

// lastSeen notes who is here while the node closes, and stores it. Of a newcomer's first
// contact it is all there is until something was compared: they were met before the
// roster was here that says that they are members.
func (r *room) lastSeen(ctx context.Context) {
	for _, p := range r.n.members(r) {
		r.seen(p)
	}
	r.saveContacts(ctx, r.n.now(), 0)
}

// unsaved returns copies of what is to be stored, if it is time to.
func (cs *contacts) unsaved(now time.Time, every time.Duration) map[protocol.Key]contact {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if now.Sub(cs.saved) < every {
		return nil
	}
	cs.saved = now
	out := make(map[protocol.Key]contact)
	for dev, c := range cs.of {
		if c.dirty {
			c.dirty = false
			out[dev] = contact{Seen: c.Seen, Compared: c.Compared, Spans: slices.Clone(c.Spans)}
		}
	}
	return out
}

// unsave has contacts stored again next time.
func (cs *contacts) unsave(list map[protocol.Key]contact) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for dev := range list {
		cs.of[dev].dirty = true
	}
}

// loadContacts reads back what was remembered. What is damaged is forgotten.
func (r *room) loadContacts(ctx context.Context) error {
	stored, err := r.n.store.List(ctx, contactSpace(r.group))
	if err != nil {
		return err
	}
	for key, value := range stored {
		var c contact
		id, err := protocol.ParseID("", key)
		if err != nil || cbor.Unmarshal(value, &c) != nil || len(c.Spans) > spansMost {
			r.n.log.Warn("what is remembered of a device is damaged", "device", key)
			continue
		}
		r.contacts.with(protocol.Key(id), func(o *contact) { *o = c })
	}
	return nil
}

// parted notes when the devices of a peer that goes were last here.
func (n *Node) parted(p peer.ID) {
	for _, r := range n.allRooms() {
		r.seen(p)
	}
}

// The ways to a peer, the best first.
const (
	ViaLAN    = "lan"     // an address of a private network, or of this machine
	ViaDirect = "direct"  // any other address
	ViaRelay  = "relayed" // through somebody else
)

// via says how a peer is connected, by the best of its connections; empty if it is not.
func (n *Node) via(p peer.ID) (best string) {
	for _, c := range n.host.Network().ConnsToPeer(p) {
		switch way := viaOf(c); {
		case way == ViaLAN:
			return way
		case best == "" || way == ViaDirect:
			best = way
		}
	}
	return best
}

func viaOf(c network.Conn) string {
	addr := c.RemoteMultiaddr()
	if _, err := addr.ValueForProtocol(ma.P_CIRCUIT); err == nil || c.Stat().Limited {
		return ViaRelay
	}
	if manet.IsPrivateAddr(addr) || manet.IsIPLoopback(addr) || manet.IsIP6LinkLocal(addr) {
		return ViaLAN
	}
	return ViaDirect
}
