package node

import (
	"context"
	"fmt"
	"time"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

// Receipts say which members have a message stored, as far as it is known here: they
// compared what they hold with this node, or their devices said what they have. Nobody
// says what was read.
type Receipts struct {
	ID      protocol.ID
	Stored  int // of Members, those who have it
	Members []Receipt
	// Hidden says why the message does not count: nobody is asked whether they have it.
	Hidden string
}

// Receipt is that of one member other than the author.
type Receipt struct {
	Member
	Stored bool // a device of theirs has it; false is: not known to
}

// Receipts returns who has a message.
func (n *Node) Receipts(ctx context.Context, group, id protocol.ID) (Receipts, error) {
	r, err := n.room(group)
	if err != nil {
		return Receipts{}, err
	}
	if _, err := r.messageHere(ctx, id); err != nil {
		return Receipts{}, fmt.Errorf("receipts: %w", err)
	}
	e, err := r.log.Get(ctx, id)
	if err != nil {
		return Receipts{}, fmt.Errorf("receipts: %w", err)
	}
	members, err := n.Members(group)
	if err != nil {
		return Receipts{}, err
	}
	if err := r.compareFrontiers(ctx, devicesOf(members)); err != nil {
		return Receipts{}, fmt.Errorf("receipts: %w", err)
	}
	out := Receipts{ID: id}
	r.mu.Lock()
	author := r.person(e.Event.Header().Dev).Key
	if _, err := r.judge(e.Event); err != nil {
		out.Hidden = hiddenBy(err)
	}
	r.mu.Unlock()
	for _, m := range members {
		if m.Key == author || m.Rank >= protocol.Relay {
			continue
		}
		has := out.Hidden == "" && r.storedBy(m, e)
		out.Members = append(out.Members, Receipt{m, has})
		if has {
			out.Stored++
		}
	}
	return out, nil
}

// AwaitReceipts waits until all members who are connected are known to have a message,
// or ctx ends, and returns who has it.
func (n *Node) AwaitReceipts(ctx context.Context, group, id protocol.ID) (Receipts, error) {
	r, err := n.room(group)
	if err != nil {
		return Receipts{}, err
	}
	for {
		changed := n.peers.changes()
		out, err := n.Receipts(n.ctx, group, id) // what is known is worth returning when ctx has ended
		if err != nil || ctx.Err() != nil {
			return out, err
		}
		waits := false
		for _, m := range out.Members {
			waits = waits || m.Online && !m.Stored
		}
		if !waits || out.Hidden != "" {
			return out, nil
		}
		r.poke()
		select {
		case <-changed:
		case <-time.After(syncTick):
		case <-ctx.Done():
		case <-n.ctx.Done():
			return out, ErrClosed
		}
	}
}

// MarkStored fills in Stored and StoredOf of those lines that this person wrote.
func (n *Node) MarkStored(ctx context.Context, group protocol.ID, lines []Message) error {
	r, err := n.room(group)
	if err != nil {
		return err
	}
	members, err := n.Members(group)
	if err != nil {
		return err
	}
	if err := r.compareFrontiers(ctx, devicesOf(members)); err != nil {
		return err
	}
	me := r.me.Root()
	for i := range lines {
		m := &lines[i]
		if m.From.Key != me || m.Hidden != "" {
			continue
		}
		e, err := r.log.Get(ctx, m.ID)
		if err != nil {
			return err
		}
		if e.Event.Header().Chain == protocol.Control {
			continue
		}
		for _, who := range members {
			if who.Key == me || who.Rank >= protocol.Relay {
				continue
			}
			m.StoredOf++
			if r.storedBy(who, e) {
				m.Stored++
			}
		}
	}
	return nil
}

func devicesOf(members []Member) map[protocol.Key]bool {
	out := make(map[protocol.Key]bool)
	for _, m := range members {
		for _, d := range m.Devices {
			out[d] = true
		}
	}
	return out
}

// storedBy says whether a device of a member is known to have a message.
func (r *room) storedBy(m Member, e storage.Entry) (yes bool) {
	if m.Me {
		return true
	}
	for _, d := range m.Devices {
		r.contacts.look(d, func(c *contact) { yes = yes || c.has(e.Event.Header().HLC, e.Cursor) })
	}
	return yes
}

// SetSilent has this device not say any more what it has stored, or say it again. Who
// compares what they hold with it learns it all the same.
func (n *Node) SetSilent(ctx context.Context, group protocol.ID, silent bool) error {
	r, err := n.room(group)
	if err != nil {
		return err
	}
	r.mu.Lock()
	was := r.meta.Silent
	r.meta.Silent = silent
	err = r.saveMeta(ctx)
	if err != nil {
		r.meta.Silent = was
	}
	r.frontier.checked, r.frontier.since = 0, time.Time{}
	_, said := r.records[recordSlot{r.me.Dev(), protocol.RecordFrontier}]
	r.mu.Unlock()
	if err != nil {
		return fmt.Errorf("receipts: %w", err)
	}
	if silent && !was && said {
		return r.sayFrontier(ctx, protocol.Frontier{})
	}
	return nil
}

// Silent says whether this device keeps to itself what it has stored.
func (n *Node) Silent(group protocol.ID) (bool, error) {
	r, err := n.room(group)
	if err != nil {
		return false, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.meta.Silent, nil
}
