package node

import (
	"slices"
	"time"

	"github.com/p2pchat/p2pchat/protocol"
)

// announced returns the rendezvous secrets by which this node is found in the DHT: the
// one in use, and those that it took the place of lately. Whoever was removed knows the
// older ones and is not to find the members for ever; who was away for longer has
// addresses, or asks for an invite.
func (r *room) announced() []protocol.Secret {
	r.mu.Lock()
	defer r.mu.Unlock()
	secrets := slices.Clone(r.arrange())
	ends, now := r.replaced(), r.n.now()
	var out []protocol.Secret
	for i, s := range secrets[:min(len(secrets), secretsHeard)] {
		if end, known := ends[s]; i == 0 || !known || now.Sub(end) < announcedFor {
			out = append(out, s)
		}
	}
	return out
}

// replaced says when each secret fell out of use, by what the rekeys claim: the time of
// the one after the last that carries it. The caller holds mu.
func (r *room) replaced() map[protocol.Secret]time.Time {
	out := make(map[protocol.Secret]time.Time)
	var next time.Time
	for _, id := range slices.Backward(r.current().Rekeys()) {
		v, _, _ := r.set.Get(id)
		at := protocol.Time(v.Header().HLC)
		if n, ok := r.keys.Point(r.wantedOf(id).eid); ok {
			if _, known := out[n]; !known {
				out[n] = at
				if next.After(at) { // or who dates a rekey back hides the group from who is away
					out[n] = next
				}
			}
		}
		next = at
	}
	return out
}
