package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/p2pchat/p2pchat/protocol"
)

// How far back a node fetches messages by itself is its person's choice, group by group.
// What is older comes on demand, and what is here stays.

// SetHistoryWindow says how far back messages of a group are fetched unasked: those
// of the last d. 0 is all of them, which is what a group begins with.
func (n *Node) SetHistoryWindow(ctx context.Context, group protocol.ID, d time.Duration) error {
	r, err := n.room(group)
	if err != nil {
		return err
	}
	if d < 0 || d > 0 && d < time.Second {
		return fmt.Errorf("a window of %v: at least a second, or 0 for everything", d)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.meta.Window
	r.meta.Window = uint64(d / time.Second)
	if err := r.saveMeta(ctx); err != nil {
		r.meta.Window = before
		return err
	}
	n.peers.disagree(group)
	r.poke()
	return nil
}

// HistoryWindow returns how far back messages of a group are fetched unasked; 0 is all.
func (n *Node) HistoryWindow(group protocol.ID) (time.Duration, error) {
	r, err := n.room(group)
	if err != nil {
		return 0, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Duration(r.meta.Window) * time.Second, nil
}

// since returns from when on messages are fetched unasked, in Unix milliseconds.
func (r *room) since() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.meta.Window == 0 {
		return 0
	}
	return uint64(max(0, r.n.now().Add(-time.Duration(r.meta.Window)*time.Second).UnixMilli()))
}

// SyncAll fetches all messages of a group that connected members have, however old, and
// returns when they are here. [Node.WatchProgress] says how far it is. An error wraps
// ErrNoPeer where nobody is connected, and else says why not all came from somebody who was;
// what others sent is here all the same. Who does not keep to the protocol is passed over.
func (n *Node) SyncAll(ctx context.Context, group protocol.ID) error {
	r, err := n.room(group)
	if err != nil {
		return err
	}
	members := n.members(r)
	if len(members) == 0 {
		return fmt.Errorf("%w: nobody of the group is connected", ErrNoPeer)
	}
	var all sync.WaitGroup
	errs := make([]error, len(members))
	for i, p := range members {
		all.Go(func() { errs[i] = n.pull(ctx, r, p, request{}) })
	}
	all.Wait()
	if !slices.Contains(errs, nil) {
		return errors.Join(errs...)
	}
	return errors.Join(slices.DeleteFunc(errs, unruly)...)
}
