package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/p2pchat/p2pchat/protocol"
)

// unmuteDue says when this node ends a mute of its own.
type unmuteDue struct {
	Mute  protocol.ID `cbor:"1,keyasint"`
	Until int64       `cbor:"3,keyasint"` // Unix milliseconds
	next  time.Time   // not before this, after a try that failed
}

// Mute keeps somebody from being heard: what they say from now on is shown to nobody.
// With For, this node unmutes them then, or when it runs again after that; others
// cannot know. Errors are as those of [Node.SetRole].
func (n *Node) Mute(ctx context.Context, group protocol.ID, who string, o MuteOptions) (Act, error) {
	r, err := n.room(group)
	if err != nil {
		return Act{}, err
	}
	if o.For < 0 || o.For > muteMost {
		return Act{}, fmt.Errorf("mute: %w: for %s: from 0 to %s", ErrNotAllowed, o.For, muteMost)
	}
	a, err := r.mute(ctx, who, o)
	if err != nil {
		return Act{}, fmt.Errorf("mute: %w", err)
	}
	return a, nil
}

func (r *room) mute(ctx context.Context, who string, o MuteOptions) (Act, error) {
	events, commit, err := r.begin(func() ([]intent, error) { return r.planMute(who, o) })
	if err != nil {
		return Act{}, err
	}
	if o.For > 0 {
		// Before the mute is told: a mute that should end must not outlive a crash. If
		// it is not stored after all, the timer finds nothing to end.
		_, c, _ := r.get(events[0].ID())
		if err := r.unmuteAt(ctx, c.(*protocol.Denial).Target, unmuteDue{Mute: events[0].ID(), Until: r.n.now().Add(o.For).UnixMilli()}); err != nil {
			return Act{}, errors.Join(fmt.Errorf("it stands, and will not end by itself: %w", err), r.finish(ctx, commit, events...))
		}
	}
	acts, err := r.complete(ctx, events, commit)
	if err != nil {
		return Act{}, err
	}
	return acts[0], nil
}

// get reads the set.
func (r *room) get(id protocol.ID) (protocol.Verified, protocol.Clear, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.set.Get(id)
}

func (r *room) planMute(who string, o MuteOptions) ([]intent, error) {
	p, err := choose(who, r.peopleOf(r.others()))
	if err != nil {
		return nil, err
	}
	me, err := r.standing(protocol.KindMute)
	if err != nil {
		return nil, err
	}
	if err := above(me.Rank, p, r.current().Rank(p.Key)); err != nil {
		return nil, err
	}
	for _, id := range r.mutesOn(p.Key) {
		if r.current().Acting(id) <= me.Rank {
			return nil, fmt.Errorf("%w: %s is muted already, by %s; unmute them first", ErrNothing, p.label(), r.authorOf(id).label())
		}
	}
	if o.For > 0 && len(r.acts.unmutes) >= mutesTimed {
		return nil, fmt.Errorf("%w: %d mutes that end by themselves; end some, or mute without an end", ErrTooLarge, mutesTimed)
	}
	text, err := reason(o.Reason)
	if err != nil {
		return nil, err
	}
	cut, err := r.cut(p.Key, time.Time{})
	cut.Control = nil // a mute is about messages
	return []intent{{kind: protocol.KindMute, clear: &protocol.Denial{Target: p.Key, Cut: cut}, aside: text}}, err
}

// Unmute lets somebody be heard again. It is refused where a mute is by somebody more
// senior, since it would change nothing.
func (n *Node) Unmute(ctx context.Context, group protocol.ID, who, why string) (Act, error) {
	r, err := n.room(group)
	if err != nil {
		return Act{}, err
	}
	a, err := r.performOne(ctx, func() ([]intent, error) {
		return r.planLift(protocol.KindUnmute, who, why, "muted", r.others(), r.mutesOn)
	})
	if err != nil {
		return Act{}, fmt.Errorf("unmute: %w", err)
	}
	return a, nil
}

// mutesOn returns the mutes on somebody that count and that nobody as senior has
// lifted. The caller holds mu.
func (r *room) mutesOn(root protocol.Key) []protocol.ID {
	lifts := r.set.About(protocol.KindUnmute, root)
	return slices.DeleteFunc(r.set.About(protocol.KindMute, root), func(m protocol.ID) bool {
		return !r.current().Effective(m) || slices.ContainsFunc(lifts, func(u protocol.ID) bool {
			return r.current().Effective(u) && r.set.Sees(u, m) && r.current().Acting(u) <= r.current().Acting(m)
		})
	})
}

// unmuteAt remembers when a mute ends.
func (r *room) unmuteAt(ctx context.Context, who protocol.Key, due unmuteDue) error {
	b, err := cbor.Marshal(due)
	if err != nil {
		return err
	}
	if err := r.n.store.Put(ctx, unmuteSpace(r.group), who.Text(""), b); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.acts.unmutes[who] = due
	return nil
}

func (r *room) loadUnmutes(ctx context.Context) error {
	r.acts.unmutes = make(map[protocol.Key]unmuteDue)
	stored, err := r.n.store.List(ctx, unmuteSpace(r.group))
	if err != nil {
		return err
	}
	for key, value := range stored {
		var due unmuteDue
		id, err := protocol.ParseID("", key)
		if err != nil || cbor.Unmarshal(value, &due) != nil {
			r.n.log.Error("when a mute ends is damaged in the store", "key", key)
			continue
		}
		r.acts.unmutes[protocol.Key(id)] = due
	}
	return nil
}

// unmuteDue ends the mutes that are due, if they still stand.
func (r *room) unmuteDue(ctx context.Context) {
	now := r.n.now()
	due := make(map[protocol.Key]unmuteDue)
	r.mu.Lock()
	for who, d := range r.acts.unmutes {
		if now.UnixMilli() >= d.Until && now.After(d.next) {
			due[who] = d
		}
	}
	r.mu.Unlock()
	for who, d := range due {
		_, err := r.perform(ctx, func() ([]intent, error) {
			if _, err := r.standing(protocol.KindUnmute); err != nil || !slices.Contains(r.mutesOn(who), d.Mute) {
				return nil, nil // nobody's business any more, or not this node's
			}
			return []intent{{kind: protocol.KindUnmute, clear: &protocol.Lift{Target: who}, must: r.mutesOn(who)}}, nil
		})
		if err == nil {
			err = r.n.store.Delete(ctx, unmuteSpace(r.group), who.Text(""))
		}
		r.unmuted(who, d, err)
	}
}

// unmuted forgets a timer, or puts it off after an error.
func (r *room) unmuted(who protocol.Key, d unmuteDue, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.acts.unmutes[who].Mute != d.Mute: // muted anew meanwhile
	case err == nil:
		delete(r.acts.unmutes, who)
	default:
		d.next = r.n.now().Add(errandRetry)
		r.acts.unmutes[who] = d
		r.n.log.Warn("unmute", "err", err)
	}
}
