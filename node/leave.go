package node

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/p2pchat/p2pchat/protocol"
)

// Leave ends this person's place in a group, on all their devices. The history stays
// here to read. A founder's devices are revoked with it, since nobody is senior
// enough to follow the leave with a remove; they come back with another device only.
func (n *Node) Leave(ctx context.Context, group protocol.ID) (Act, error) {
	r, err := n.room(group)
	if err != nil {
		return Act{}, err
	}
	acts, err := r.perform(ctx, r.planLeave)
	if err != nil {
		return Act{}, fmt.Errorf("leave: %w", err)
	}
	return acts[0], nil
}

func (r *room) planLeave() ([]intent, error) {
	me, err := r.standing(protocol.KindLeave)
	if err != nil {
		return nil, err
	}
	list := []intent{{kind: protocol.KindLeave, clear: new(protocol.Leave)}}
	if me.Rank != protocol.Founder {
		return list, nil
	}
	for _, dev := range me.Devices {
		messages, err := r.messageCut([]protocol.Key{dev}, time.Time{})
		if err != nil {
			return nil, err
		}
		list = append(list, intent{kind: protocol.KindDeviceRevoke, late: func() protocol.Clear {
			return r.me.Revoke(dev, trim(protocol.Cut{Control: r.tipsOn(dev), Messages: messages})) // the leave with it
		}})
	}
	return list, nil
}

// tipsOn returns the ends of one's own control chain on a device. The caller holds mu.
func (r *room) tipsOn(dev protocol.Key) []protocol.ID {
	return slices.DeleteFunc(r.set.Tips(r.me.Root()), func(id protocol.ID) bool {
		v, _, _ := r.set.Get(id)
		return v.Header().Dev != dev
	})
}

// leftBy returns the leave by which somebody went who has not come back since. The
// caller holds mu.
func (r *room) leftBy(root protocol.Key) (protocol.ID, bool) {
	grants := r.set.Grants(root)
	for _, l := range slices.Backward(r.set.About(protocol.KindLeave, root)) {
		if r.current().Effective(l) && !slices.ContainsFunc(grants, func(g protocol.ID) bool {
			return r.current().Effective(g) && r.set.Sees(g, l)
		}) {
			return l, true
		}
	}
	return protocol.ID{}, false
}

// unsealed returns the leave that ended somebody's place if it is one that a senior
// should follow with a remove, and none did: what else they do under the rank they had
// counts until then. The caller holds mu.
func (r *room) unsealed(root protocol.Key) (protocol.ID, bool) {
	if r.current().Rank(root) != protocol.NoRank {
		return protocol.ID{}, false
	}
	end, ok := r.current().Ended(root)
	if v, _, there := r.set.Get(end); !ok || !there || v.Header().Kind != protocol.KindLeave {
		return protocol.ID{}, false
	}
	rank := r.current().Acting(end)
	return end, rank <= protocol.Greeter && rank != protocol.Founder
}

// seals says whether a remove only seals its target's leave. The caller holds mu.
func (r *room) seals(remove protocol.ID, target protocol.Key) bool {
	leaves, grants := r.set.About(protocol.KindLeave, target), r.set.Grants(target)
	return slices.ContainsFunc(leaves, func(l protocol.ID) bool {
		return r.set.Sees(remove, l) && !slices.ContainsFunc(grants, func(g protocol.ID) bool {
			return r.set.Sees(g, l) && r.set.Sees(remove, g)
		})
	})
}

// sealLeaves follows the leaves of those who had a say with a remove, as soon as this
// person is senior to them and nobody else has done it. Each waits a little, and not
// all equally long.
func (r *room) sealLeaves(ctx context.Context) {
	now := r.n.now()
	for _, root := range r.sealsDue(now) {
		_, err := r.perform(ctx, func() ([]intent, error) {
			if !r.maySeal(root) {
				return nil, nil
			}
			cut, err := r.cut(root, time.Time{})
			return []intent{{kind: protocol.KindRemove, clear: &protocol.Denial{Target: root, Cut: cut}}}, err
		})
		r.mu.Lock()
		delete(r.acts.seals, root)
		if err != nil {
			r.acts.seals[root] = now.Add(errandRetry)
			r.n.log.Warn("follow a leave with a remove", "err", err)
		}
		r.mu.Unlock()
	}
}

// sealsDue notes the leaves that came since it was last called, and returns those
// whose wait is over.
func (r *room) sealsDue(now time.Time) []protocol.Key {
	r.mu.Lock()
	defer r.mu.Unlock()
	if count := r.set.Len(); count != r.acts.scanned {
		r.acts.scanned = count
		for _, root := range r.gonePeople() {
			if _, noted := r.acts.seals[root]; !noted && r.maySeal(root) {
				r.acts.seals[root] = now.Add(sealWait + rand.N(sealJitter))
			}
		}
	}
	var out []protocol.Key
	for root, at := range r.acts.seals {
		if !now.Before(at) {
			out = append(out, root)
		}
	}
	return out
}

// maySeal says whether this person is who may seal somebody's leave. The caller holds
// mu.
func (r *room) maySeal(root protocol.Key) bool {
	leave, ok := r.unsealed(root)
	me, err := r.standing(protocol.KindRemove)
	return ok && err == nil && me.Rank < r.current().Acting(leave)
}
