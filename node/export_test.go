package node

import (
	"context"
	"maps"
	"slices"

	"github.com/p2pchat/p2pchat/protocol"
)

// What tests outside the package do to a room's keys.

// Rotate starts an epoch whose secret is wrapped for the devices that to allows.
func (n *Node) Rotate(ctx context.Context, group protocol.ID, fresh bool, to func(dev protocol.Key) bool) error {
	r, err := n.room(group)
	if err != nil {
		return err
	}
	return r.rotate(ctx, fresh, to)
}

// CreateSinceJoin starts a group whose newcomers read from their admission on.
func (n *Node) CreateSinceJoin(ctx context.Context, name string) (protocol.ID, error) {
	return n.createGroup(ctx, name, protocol.HistorySinceJoin)
}

// Forget drops the epochs that a room holds, as if their keys had never come.
func (n *Node) Forget(group protocol.ID) {
	r, _ := n.room(group)
	r.mu.Lock()
	defer r.mu.Unlock()
	points := r.arrange()
	seeds := r.keys.prekeys
	r.keys = newKeyring()
	r.keys.prekeys = seeds
	r.meta.Secrets = points
}

// Device returns this node's device in a group.
func (n *Node) Device(group protocol.ID) protocol.Key {
	r, _ := n.room(group)
	return r.me.Dev()
}

// Epochs returns the epochs that the group's rekeys start, the oldest first, and how
// many of them are held.
func (n *Node) Epochs(group protocol.ID) (all []protocol.ID, held int) {
	r, _ := n.room(group)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range r.current().Rekeys() {
		w := r.wantedOf(id)
		all = append(all, w.eid)
		if r.keys.held(w.eid) {
			held++
		}
	}
	return all, held
}

// Rekey returns the rekey of the newest epoch, and its place on its chain.
func (n *Node) Rekey(group protocol.ID) (*protocol.Rekey, uint64) {
	r, _ := n.room(group)
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.wantedOf(r.current().Rekeys()[len(r.current().Rekeys())-1])
	return w.rekey, w.seq
}

// Seeds returns what this node's prekeys are made from.
func (n *Node) Seeds(group protocol.ID) []protocol.Secret {
	r, _ := n.room(group)
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Values(r.keys.prekeys))
}

// Chunk returns a wrap chunk from the store.
func (n *Node) Chunk(ctx context.Context, group, id protocol.ID) ([]byte, bool) {
	r, _ := n.room(group)
	return r.chunk(ctx, id)
}

// Meets returns the rendezvous secrets of a group.
func (n *Node) Meets(group protocol.ID) []protocol.Secret {
	r, _ := n.room(group)
	return r.rendezvous()
}

// Hears returns the topics that a group listens on.
func (n *Node) Hears(group protocol.ID) []string {
	r, _ := n.room(group)
	return r.topicNames()
}

// Prekeys returns the devices that have published a prekey, ascending.
func (n *Node) Prekeys(group protocol.ID) []protocol.Key {
	r, _ := n.room(group)
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []protocol.Key
	for slot := range r.records {
		if slot.kind == protocol.RecordPrekey {
			out = append(out, slot.dev)
		}
	}
	slices.SortFunc(out, protocol.Key.Compare)
	return out
}

// Usable returns the epoch that a message would be sealed under.
func (n *Node) Usable(group protocol.ID) (protocol.ID, bool) {
	r, _ := n.room(group)
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.usable(r.grace())
}

// Hide has this node answer no key requests.
func (n *Node) Hide(protocol.ID) { n.host.RemoveStreamHandler(keyProtocol) }
