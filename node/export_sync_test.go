package node

import (
	"context"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/protocol/reconcile"
)

// Wires returns the messages of a group as they travel, in the order of their times.
func (n *Node) Wires(ctx context.Context, group protocol.ID) (wires [][]byte, err error) {
	r, err := n.room(group)
	if err != nil {
		return nil, err
	}
	for from := (reconcile.Item{}); ; {
		page, err := r.log.Between(ctx, from, reconcile.Infinity(), 1000, false)
		if err != nil || len(page) == 0 {
			return wires, err
		}
		for _, e := range page {
			wires = append(wires, e.Event.Wire())
		}
		from = itemOf(page[len(page)-1].Event)
		from.ID[31]++ // the next: ids that end in 255 would come twice, and do no harm
	}
}

// Missing returns how many messages are known to be missing before some that are here.
func (n *Node) Missing(group protocol.ID) (missing uint64) {
	r, _ := n.room(group)
	for _, g := range r.log.Gaps() {
		missing += g.Missing
	}
	return missing
}

// Hold keeps a room's writers waiting until release is called; waiting says how many do.
func (n *Node) Hold(group protocol.ID) (waiting func() int, release func()) {
	r, _ := n.room(group)
	r.mu.Lock()
	waiting = func() int {
		r.says.mu.Lock()
		defer r.says.mu.Unlock()
		return len(r.says.list)
	}
	return waiting, r.mu.Unlock
}

// SayRetraction takes back what may not be there.
func (n *Node) SayRetraction(ctx context.Context, group, id protocol.ID) error {
	r, _ := n.room(group)
	_, err := r.tell(ctx, words{kind: protocol.KindRetract, to: id})
	return err
}

// MessageSet shows the set of a group's messages, as it is compared.
func (n *Node) MessageSet(ctx context.Context, group protocol.ID, visit func(reconcile.Set) error) error {
	r, _ := n.room(group)
	return r.log.Messages(ctx, visit)
}

// Contacts returns of how many devices a node remembers when they were here.
func (n *Node) Contacts(group protocol.ID) int {
	r, _ := n.room(group)
	r.contacts.mu.Lock()
	defer r.contacts.mu.Unlock()
	return len(r.contacts.of)
}

// SaveContacts stores what a node remembers of devices.
func (n *Node) SaveContacts(ctx context.Context, group protocol.ID) {
	r, _ := n.room(group)
	r.saveContacts(ctx, n.now(), 0)
}

// Ahead notes whether a peer holds messages that are not here.
func (n *Node) Ahead(group protocol.ID, p peer.ID, is bool) {
	r, _ := n.room(group)
	n.ahead(r, p, is)
}

// Compared notes that a peer holds nothing that is not here.
func (n *Node) Compared(group protocol.ID, p peer.ID) {
	r, _ := n.room(group)
	r.compared(p, nil)
	r.caughtUp(p)
}

// Budget returns how many messages of a device gossip may bring now; below 0 is as many
// as it likes.
func (n *Node) Budget(group protocol.ID, dev protocol.Key) float64 {
	r, _ := n.room(group)
	r.mu.Lock()
	defer r.mu.Unlock()
	if b := r.buckets[string(dev[:])]; b != nil {
		return b.TokensAt(n.now())
	}
	return -1
}

// Untold is what was found of a device that others are not told of: the same as long as
// it is not found anew, which it may not be before a time.
func (n *Node) Untold(group protocol.ID, dev protocol.Key, due time.Time) any {
	r, _ := n.room(group)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refreshUntold()
	u := r.untold.by[dev]
	u.due = due
	return u
}
