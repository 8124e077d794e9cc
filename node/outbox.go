package node

import (
	"slices"
	"sync"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

// outbox holds what this device said and has not told yet. What is on disk when
// somebody gets to publish leaves as one gossip message: a message said alone waits
// for nothing, and many said at once cost others one frame.
type outbox struct {
	turn sync.Mutex // held while a frame is handed to pubsub

	mu   sync.Mutex
	last uint64   // ticket of the newest
	done uint64   // up to which ticket all is on disk, or failed
	said []ticket // not told yet, in the order in which it was said
}

// ticket is a message by when it was said.
type ticket struct {
	number uint64
	event  protocol.Verified
	commit *storage.Commit
}

// say takes a message in that is on its way to the disk. The caller holds the room's
// mutex: the order is that of the chain.
func (o *outbox) say(v protocol.Verified, commit *storage.Commit) uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.last++
	o.said = append(o.said, ticket{o.last, v, commit})
	return o.last
}

// prune takes out what was not stored.
func (o *outbox) prune() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.pruneLocked()
}

// pruneLocked is prune for who holds mu. A message that is not stored is told to nobody,
// whether or not its writer is still there to hear of it: another takes its place.
func (o *outbox) pruneLocked() {
	o.said = slices.DeleteFunc(o.said, func(t ticket) bool { return t.commit.Failed() })
}

// stored notes that a message is on disk, and with it those said before.
func (o *outbox) stored(number uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.done = max(o.done, number)
}

// next takes out what a frame holds of the oldest that are on disk; nothing once the
// message of a ticket is out.
func (o *outbox) next(number uint64) []protocol.Verified {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.told(number) { // as for most of many writers
		return nil
	}
	if o.pruneLocked(); o.told(number) { // up to done they are settled
		return nil
	}
	n, size := 0, 0
	for _, t := range o.said {
		if size += len(t.event.Wire()); t.number > o.done || n == protocol.MaxGossip || n > 0 && size > gossipFrame {
			break
		}
		n++
	}
	out := make([]protocol.Verified, n)
	for i, t := range o.said[:n] {
		out[i] = t.event
	}
	o.said = slices.Delete(o.said, 0, n)
	return out
}

// told says whether the message of a ticket is out, and all before it. The caller holds mu.
func (o *outbox) told(number uint64) bool { return len(o.said) == 0 || o.said[0].number > number }

// tellStored hands a message that is on disk to gossip, and what was said before it.
// What is over the budget that others grant this device is not told: they would not
// pass it on, and sync brings it.
func (r *room) tellStored(number uint64) {
	r.out.stored(number)
	r.out.turn.Lock()
	defer r.out.turn.Unlock()
	for frame := r.out.next(number); len(frame) > 0; frame = r.out.next(number) {
		var list [][]byte
		for _, v := range frame {
			if r.allowGossip(v.Header().Dev, r.n.host.ID(), 1) {
				list = append(list, v.Wire())
			}
		}
		if len(list) > 0 {
			r.publish(protocol.FrameEvents, list)
			r.stir()
		}
		if len(list) < len(frame) {
			r.poke()
		}
	}
}
