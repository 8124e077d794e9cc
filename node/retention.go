package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

// Why the body of a message is not kept; see [Message].
const (
	GoneExpired   = "expired"   // its author let it live until then
	GoneRetention = "retention" // the group keeps none that old
	GoneSize      = "size"      // this node has no room for it: see [Node.Keep]
	GoneAbsent    = "absent"    // whoever sent it has not kept it; it is asked for
)

// keepRule is what a room knows about how long bodies are kept here beyond what its
// events say.
type keepRule struct {
	Limit uint64 `cbor:"1,keyasint,omitzero"` // bytes of bodies to keep; 0 is any number
	Mark  uint64 `cbor:"3,keyasint,omitzero"` // what is not newer was let go for the limit, Unix milliseconds
	// Setting is the retention in force, and Since when this node heard of it, in Unix
	// milliseconds: who set it by mistake has retentionGrace to undo it.
	Setting protocol.ID `cbor:"5,keyasint,omitzero"`
	Since   uint64      `cbor:"7,keyasint,omitzero"`
}

// keeping is a room's rule, and what follows from its events.
type keeping struct {
	keepRule
	unsaved   bool
	retention time.Duration
	stamp     int
	set       *protocol.Set // retention and Setting are by this set at the stamp
}

// spaceKeeps holds each group's keepRule by its id.
const spaceKeeps = "keeps"

func (r *room) loadKeep(ctx context.Context) error {
	b, err := r.n.store.Get(ctx, spaceKeeps, r.group.Text(""))
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	if err == nil {
		err = cbor.Unmarshal(b, &r.rule.keepRule)
	}
	if err != nil {
		return fmt.Errorf("how much is kept: %w", err)
	}
	return nil
}

// saveKeep writes the rule down.
func (r *room) saveKeep(ctx context.Context) error {
	r.mu.Lock()
	rule := r.rule.keepRule
	r.rule.unsaved = false
	r.mu.Unlock()
	b, err := cbor.Marshal(rule)
	if err == nil {
		err = r.n.store.Put(ctx, spaceKeeps, r.group.Text(""), b)
	}
	if err != nil {
		r.mu.Lock()
		r.rule.unsaved = true
		r.mu.Unlock()
	}
	return err
}

// rules say at one moment which bodies are not kept. Times are Unix milliseconds.
type rules struct {
	clock  time.Time // for what disappears
	now    uint64    // the time that is believed: nothing is younger
	hidden uint64    // what is from before this is over by the group's retention
	erased uint64    // the same, once that can be undone no more
	mark   uint64    // what is not newer was let go for want of room
}

// rules returns what holds now. The caller holds mu.
func (r *room) rules() rules {
	clock := r.n.now()
	now := unixMilli(r.n.steady.tick(clock))
	k := rules{clock: clock, now: now, mark: r.rule.Mark}
	if retention := r.retention(now); retention > 0 {
		k.hidden = now - min(now, uint64(retention.Milliseconds()))
		if now >= r.rule.Since+uint64(retentionGrace.Milliseconds()) {
			k.erased = k.hidden
		}
	}
	return k
}

// retention returns how long the group keeps bodies, 0 for ever, and notes when this
// node came to know. The caller holds mu.
func (r *room) retention(now uint64) time.Duration {
	stamp := r.current().Stamp()
	if r.rule.set == r.set && r.rule.stamp == stamp {
		return r.rule.retention
	}
	retention, by := r.current().Retention()
	if by != r.rule.Setting {
		r.rule.Setting, r.rule.Since, r.rule.unsaved = by, now, true
	}
	r.rule.retention, r.rule.set, r.rule.stamp = retention, r.set, stamp
	return retention
}

func unixMilli(t time.Time) uint64 { return uint64(max(0, t.UnixMilli())) }

// gone says why the body of a message is shown, handed on and asked for no more; empty
// where it is kept.
func (k *rules) gone(h *protocol.Header) string {
	said := min(h.HLC, k.now) // nothing was written tomorrow
	switch {
	case h.Expired(k.clock):
		return GoneExpired
	case !protocol.Retained(h.Kind):
	case said < k.hidden:
		return GoneRetention
	case said <= k.mark:
		return GoneSize
	}
	return ""
}

// over says whether a body is to be erased, or not to be stored. The message came here
// at or before a time.
func (k *rules) over(h *protocol.Header, came uint64) bool {
	if h.Expired(k.clock) {
		return true
	}
	said := min(h.HLC, came, k.now)
	return protocol.Retained(h.Kind) && (said < k.erased || said <= k.mark)
}

// strip takes the body off a message that is over when it comes.
func (k *rules) strip(v protocol.Verified) protocol.Verified {
	if h := v.Header(); h.Chain == protocol.Messages && v.Whole() && k.over(h, k.now) {
		return v.Erased()
	}
	return v
}

// anyExpired says whether the body of one of some events is not kept any more.
func (r *room) anyExpired(events []protocol.Verified) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(events, r.expired)
}

// expired says whether the body of an event is not kept any more: it is not shown, not
// handed on, and not asked for. The caller holds mu.
func (r *room) expired(v protocol.Verified) bool {
	h := v.Header()
	if h.Chain != protocol.Messages {
		return false
	}
	k := r.rules()
	return k.gone(h) != ""
}

// outgoing returns an event as it is handed on: without a body that is not kept.
func (r *room) outgoing(v protocol.Verified) protocol.Verified {
	r.mu.Lock()
	defer r.mu.Unlock()
	if v.Whole() && r.expired(v) {
		v = v.Erased()
	}
	return v
}

// dated says whether a message is from so far ahead that by the time it carries nobody
// will ever let it go: whoever keeps bodies for a while went by when it arrived. The
// caller holds mu.
func (r *room) dated(v protocol.Verified) bool {
	k := r.rules()
	return (k.hidden > 0 || k.mark > 0) && v.Header().HLC > k.now+uint64(protocol.MaxClockSkew.Milliseconds())
}

// Kept says how much of a group's messages is kept on this node.
type Kept struct {
	Limit uint64 // bytes; 0 is any number
	Bytes uint64 // of bodies, at the moment
}

// Kept returns how much this node keeps of a group.
func (n *Node) Kept(group protocol.ID) (Kept, error) {
	r, err := n.room(group)
	if err != nil {
		return Kept{}, err
	}
	return r.kept(), nil
}

func (r *room) kept() Kept {
	bytes := r.shelves.bytes() // it may wait for the disk, which mu must not
	r.mu.Lock()
	defer r.mu.Unlock()
	return Kept{r.rule.Limit, bytes}
}

// Keep bounds the bytes of bodies that this node keeps of a group: beyond it the oldest
// go first, their headers stay, and they are not fetched again while the limit stands. 0
// lifts it. Nobody else is told: a message can be read for as long as one member keeps
// it.
func (n *Node) Keep(ctx context.Context, group protocol.ID, limit uint64) error {
	r, err := n.room(group)
	if err != nil {
		return err
	}
	if limit != 0 && limit < keepLeast {
		return fmt.Errorf("keep: %w: %d bytes: at least %d, or 0 for no limit", ErrNotAllowed, limit, keepLeast)
	}
	r.mu.Lock()
	if limit == 0 || limit > r.rule.Limit {
		r.rule.Mark = 0 // there is room for what comes
	}
	r.rule.Limit = limit
	r.mu.Unlock()
	if err := r.saveKeep(ctx); err != nil {
		return fmt.Errorf("keep: %w", err)
	}
	if err := r.sweepBodies(ctx); err != nil {
		return fmt.Errorf("keep: the limit stands, and what is over it goes later: %w", err)
	}
	return nil
}
