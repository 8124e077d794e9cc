package node

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"time"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

// Send seals, signs and stores a text, then hands it to who is connected. When it
// returns the message survives a crash; whether anybody has it yet is in the
// result, and sync delivers it in any case. It never refuses for going too fast:
// beyond the group's gossip rate messages travel by sync alone. Where ctx ends while
// it waits for the disk, the message may be stored all the same.
func (n *Node) Send(ctx context.Context, group protocol.ID, text string) (SendResult, error) {
	return n.SendFor(ctx, group, text, 0)
}

// SendFor is Send of a text that disappears: everybody drops it after life, which is
// from protocol.MinExpiry to protocol.MaxExpiry, at the next whole minute; 0 is never.
// When that is can be read by who sees the message's header. Somebody with a changed
// program may keep it.
func (n *Node) SendFor(ctx context.Context, group protocol.ID, text string, life time.Duration) (SendResult, error) {
	r, err := n.room(group)
	if err != nil {
		return SendResult{}, err
	}
	if life != 0 && (life < protocol.MinExpiry || life > protocol.MaxExpiry) {
		return SendResult{}, fmt.Errorf("send: %w: a message that disappears after %s: from %s to %s", ErrNotAllowed, life, protocol.MinExpiry, protocol.MaxExpiry)
	}
	v, err := r.tell(ctx, words{kind: protocol.KindText, content: protocol.Content{Text: text}, life: life})
	if err != nil {
		return SendResult{}, fmt.Errorf("send: %w", err)
	}
	return SendResult{ID: v.ID(), Peers: len(n.members(r))}, nil
}

// draft begins an event of this device: after its last one, having seen all heads.
// Messages act under no grant of their own. The caller holds mu.
func (r *room) draft(kind protocol.Kind, chain protocol.Chain, refs int) (protocol.Draft, protocol.Standing, error) {
	me, ok := r.current().Standing(r.me.Root())
	if !ok || me.Rank >= protocol.Relay && kind != protocol.KindLeave {
		return protocol.Draft{}, me, fmt.Errorf("%w: you are not a member of %s", ErrNotAllowed, protocol.Short(r.group.Text(protocol.GroupPrefix)))
	}
	if err := r.introduce(); err != nil {
		return protocol.Draft{}, me, err
	}
	tip, ok := r.log.Tip(r.me.Dev(), chain)
	if !ok {
		tip = protocol.Tip{Dev: r.me.Dev(), Chain: chain}
	}
	d := protocol.Draft{Group: r.group, Kind: kind, Prev: tip, Refs: r.current().Heads(refs, r.must(me)...), HLC: r.clock.Next(r.n.now())}
	if chain == protocol.Control {
		d.Auth = me.Grant
	}
	return d, me, nil
}

// must is what an event of this device has to have in its past: what it acts under, and
// what says whose device it is. The caller holds mu.
func (r *room) must(me protocol.Standing) []protocol.ID {
	if id, ok := r.current().Brought(me.Root, r.me.Dev()); ok && id != me.Grant {
		return []protocol.ID{me.Grant, id}
	}
	return []protocol.ID{me.Grant}
}

// draftControl begins a control event, where this person may issue its kind. The caller
// holds mu.
func (r *room) draftControl(kind protocol.Kind) (protocol.Draft, protocol.Standing, error) {
	d, me, err := r.draft(kind, protocol.Control, protocol.MaxControlRefs)
	if err != nil {
		return d, me, err
	}
	frozen := r.current().Frozen()
	if len(frozen) > 0 && kind != protocol.KindRekey && kind != protocol.KindLeave { // those change nobody else's standing
		return d, me, fmt.Errorf("%w: event %s %w", ErrNotAllowed, frozen[0], protocol.ErrUnknownCritical)
	}
	return d, me, mayIssue(kind, me.Rank)
}

func mayIssue(kind protocol.Kind, rank protocol.Rank) error {
	if need := protocol.MayIssue(kind); rank > need {
		return fmt.Errorf("%w: this needs the role %s or a more senior one, yours is %s", ErrNotAllowed, need, rank)
	}
	return nil
}

// intent is a control event that this device is to make.
type intent struct {
	kind  protocol.Kind
	clear protocol.Clear
	aside *protocol.Aside
	late  func() protocol.Clear // in place of clear, where it names the event before
	must  []protocol.ID         // what it has to have seen: what it lifts or replaces
}

// issue makes a control event of this device and appends it. The caller holds mu
// and calls finish when it has let go.
func (r *room) issue(kind protocol.Kind, c protocol.Clear, aside *protocol.Aside) (protocol.Verified, *storage.Commit, error) {
	events, commit, err := r.issueAll(intent{kind: kind, clear: c, aside: aside})
	if err != nil {
		return protocol.Verified{}, nil, err
	}
	return events[0], commit, nil
}

// issueAll makes control events of this device, each after the one before, and
// appends them in one go: all of them are stored, or none. All act under the grant
// that stands before the first, and what is sealed is under the epoch of that moment.
// The caller holds mu and calls finish when it has let go.
func (r *room) issueAll(list ...intent) ([]protocol.Verified, *storage.Commit, error) {
	if err := r.refit(); err != nil {
		return nil, nil, err
	}
	sealed := slices.ContainsFunc(list, func(i intent) bool { return i.aside != nil })
	d, me, err := r.draftControl(list[0].kind)
	if _, fit := r.usable(); err == nil && sealed && !fit {
		if err = r.ensureEpoch(); err == nil {
			d, me, err = r.draftControl(list[0].kind) // after the rekey
		}
	}
	if err != nil {
		return nil, nil, err
	}
	var ep *protocol.Epoch
	if sealed {
		if ep, err = r.sendEpoch(); err != nil {
			return nil, nil, err
		}
	}
	var out []protocol.Verified
	for k, i := range list {
		if k > 0 {
			d.Kind, d.Prev, d.HLC = i.kind, out[k-1].Tip(), r.clock.Next(r.n.now())
		}
		d.Refs = r.current().Heads(protocol.MaxControlRefs, append(r.must(me), i.must...)...)
		v, err := r.sign(d, me.Rank, i, ep)
		if err != nil {
			r.failed = r.failed || k > 0 // the set holds what will not be stored: refit
			return nil, nil, err
		}
		out = append(out, v)
	}
	return out, r.append(out...), nil
}

// sign makes one control event and takes it into the set. The caller holds mu.
func (r *room) sign(d protocol.Draft, rank protocol.Rank, i intent, ep *protocol.Epoch) (protocol.Verified, error) {
	if err := mayIssue(i.kind, rank); err != nil {
		return protocol.Verified{}, err
	}
	if i.late != nil {
		i.clear = i.late()
	}
	v, err := d.SignControl(i.clear, i.aside, ep, r.me.Signer(), rand.Reader)
	if err != nil {
		return protocol.Verified{}, err
	}
	if err := r.set.Add(v); err != nil {
		return protocol.Verified{}, fmt.Errorf("%w: %w", ErrNotAllowed, err)
	}
	r.learnKeys(v)
	r.recent.Add(v.ID(), v.Header().HLC)
	return v, nil
}

// finish waits until issued events are durable, and only then tells the others.
// What was issued in one go travels in one piece, where gossip takes it.
func (r *room) finish(ctx context.Context, commit *storage.Commit, events ...protocol.Verified) error {
	if err := commit.Wait(ctx); err != nil {
		return err
	}
	var frame [][]byte
	size := 0
	for _, v := range events {
		if err := r.announce(ctx, v.Header().Seq); err != nil { // the epoch it is sealed under
			r.n.log.Debug("announce", "err", err)
		}
		w := v.Wire()
		if len(frame) > 0 && size+len(w) > gossipFrame {
			r.publish(protocol.FrameEvents, frame)
			frame, size = nil, 0
		}
		frame, size = append(frame, w), size+len(w)
	}
	r.publish(protocol.FrameEvents, frame)
	r.settle(intake{stored: len(events), control: true, commit: commit})
	return r.announce(ctx, protocol.MaxSeq)
}
