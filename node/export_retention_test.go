package node

import (
	"context"
	"time"

	"github.com/p2pchat/p2pchat/protocol"
)

// SweepBodies erases what is due now.
func (n *Node) SweepBodies(ctx context.Context, group protocol.ID) error {
	r, _ := n.room(group)
	if err := r.catchUp(ctx); err != nil {
		return err
	}
	return r.sweepBodies(ctx)
}

// SaveDocket writes down what the docket and the shelves know.
func (n *Node) SaveDocket(ctx context.Context, group protocol.ID) error {
	r, _ := n.room(group)
	if err := r.catchUp(ctx); err != nil {
		return err
	}
	r.docket.mu.Lock()
	defer r.docket.mu.Unlock()
	return r.saveDocket(ctx)
}

// Shelves returns how many shelves a room has, and how many of them are on disk.
func (n *Node) Shelves(ctx context.Context, group protocol.ID) (all, saved int, err error) {
	r, _ := n.room(group)
	err = r.catchUp(ctx)
	return len(r.shelves.list), r.shelves.saved, err
}

// Digest is of what a node holds of a group.
func (n *Node) Digest(group protocol.ID) protocol.ID {
	r, _ := n.room(group)
	return r.open().Sum
}

// Misses returns of how many messages a node is to ask for the body.
func (n *Node) Misses(group protocol.ID) int {
	r, _ := n.room(group)
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.bodiless)
}

// FetchTexts does what the keeper does now and then, and waits for its end.
func (n *Node) FetchTexts(ctx context.Context, group protocol.ID) {
	r, _ := n.room(group)
	r.fetchTexts(ctx)
	for ctx.Err() == nil {
		r.mu.Lock()
		running := r.texts.running
		r.mu.Unlock()
		if !running {
			return
		}
		time.Sleep(time.Millisecond)
	}
}
