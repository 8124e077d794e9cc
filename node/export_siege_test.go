package node

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/protocol/reconcile"
)

// What a changed program would do with its own keys, and what tests see of how nodes
// deal with it.

// A Forgery is a message that this node's own program would not write.
type Forgery struct {
	After protocol.Tip  // what it follows; zero begins the chain
	Refs  []protocol.ID // what it has seen; nil is what the group's roster is now
	HLC   uint64        // zero is now
	Text  string
}

// Forge signs a message, and neither checks nor keeps it.
func (n *Node) Forge(group protocol.ID, f Forgery) protocol.Verified {
	r, _ := n.room(group)
	r.mu.Lock()
	defer r.mu.Unlock()
	d := protocol.Draft{Group: group, Kind: protocol.KindText, Prev: f.After, Refs: f.Refs, HLC: f.HLC}
	if d.Prev.Seq == 0 {
		d.Prev = protocol.Tip{Dev: r.me.Dev(), Chain: protocol.Messages}
	}
	if d.Refs == nil {
		d.Refs = r.set.Heads(protocol.MaxMessageRefs, protocol.ID{})
	}
	if d.HLC == 0 {
		d.HLC = r.clock.Next(r.n.now())
	}
	var ep *protocol.Epoch
	if id, ok := r.usable(); ok {
		ep = r.keys.Epoch(id)
	}
	for _, id := range r.set.Rekeys() {
		if ep == nil {
			ep = r.keys.Epoch(r.wantedOf(id).eid)
		}
	}
	me := r.me.identity()
	if f.After.Seq > 0 && f.After.Dev != me.Dev() { // it heard its own forgeries, and is another device by now
		me = n.account.Identity(r.meta.Tag)
	}
	v, err := d.SignMessage(protocol.Content{Text: f.Text}, ep, me.Signer(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return v
}

// Heads returns what a message written now would have seen.
func (n *Node) Heads(group protocol.ID) []protocol.ID {
	r, _ := n.room(group)
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.set.Heads(protocol.MaxMessageRefs, protocol.ID{})
}

// End returns the end of this device's chain of messages, as it is here.
func (n *Node) End(group protocol.ID) protocol.Tip {
	r, _ := n.room(group)
	t, _ := r.log.Tip(r.me.Dev(), protocol.Messages)
	return t
}

// Plant stores events that nobody has judged, as a changed program keeps what it wrote.
func (n *Node) Plant(ctx context.Context, group protocol.ID, events ...protocol.Verified) error {
	r, _ := n.room(group)
	return r.log.Receive(events).Wait(ctx)
}

// Whole returns the digest of what a node says it holds.
func (n *Node) Whole(group protocol.ID) protocol.ID {
	r, _ := n.room(group)
	return r.whole()
}

// Told returns what a node's digest is of.
func (n *Node) Told(group protocol.ID) (tips []protocol.Tip, messages []protocol.ID) {
	r, _ := n.room(group)
	r.mu.Lock()
	tips = r.tips()
	r.mu.Unlock()
	_ = r.told(n.ctx, func(set reconcile.Set) error {
		return set.Items(0, set.Len(), func(it reconcile.Item) error {
			messages = append(messages, it.ID)
			return nil
		})
	})
	return tips, messages
}

// Rest says until when what of a chain others are not told of is not found anew.
func (n *Node) Rest(group protocol.ID, until time.Time) {
	r, _ := n.room(group)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, u := range r.untold.by {
		u.due = until
	}
}

// Linked returns how many messages that do not count wait for one that does, and
// their bytes.
func (n *Node) Linked(group protocol.ID) (events, bytes int) {
	r, _ := n.room(group)
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.links.events), r.links.bytes
}

// Parked returns how many events wait for what they refer to, and their bytes.
func (n *Node) Parked(group protocol.ID) (events, bytes int) {
	r, _ := n.room(group)
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.parked.all.events, r.parked.all.bytes
}

// Sweep erases what has not counted for long.
func (n *Node) Sweep(ctx context.Context, group protocol.ID) error {
	r, _ := n.room(group)
	return r.sweep(ctx)
}

// RecordKeys returns the keys of the records that are here.
func (n *Node) RecordKeys(group protocol.ID) []protocol.RecordKey {
	r, _ := n.room(group)
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.recordKeys()
}

// ForgeLeave signs a leave at the first place of this device's control chain, and
// neither checks nor keeps it.
func (n *Node) ForgeLeave(group protocol.ID, hlc uint64) protocol.Verified {
	r, _ := n.room(group)
	r.mu.Lock()
	defer r.mu.Unlock()
	me, _ := r.current().Standing(r.me.Root())
	d := protocol.Draft{
		Group: group, Kind: protocol.KindLeave, Prev: protocol.Tip{Dev: r.me.Dev(), Chain: protocol.Control},
		Refs: r.set.Heads(protocol.MaxControlRefs, me.Grant), Auth: me.Grant, HLC: hlc,
	}
	v, err := d.SignControl(&protocol.Leave{}, nil, nil, r.me.Signer(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return v
}

// ControlOf returns how many control events of a device are in the set.
func (n *Node) ControlOf(group protocol.ID, dev protocol.Key) (count int) {
	r, _ := n.room(group)
	r.mu.Lock()
	defer r.mu.Unlock()
	for v := range r.set.All() {
		if v.Header().Dev == dev {
			count++
		}
	}
	return count
}

// Behind returns how many members are not known to hold what this node holds.
func (n *Node) Behind(group protocol.ID) (count int) {
	r, _ := n.room(group)
	mine := r.whole()
	for _, p := range n.members(r) {
		n.peers.with(p, func(s *peerState) {
			if s.equal[group] != mine {
				count++
			}
		})
	}
	return count
}
