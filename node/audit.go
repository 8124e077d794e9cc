package node

import (
	"context"
	"slices"

	"github.com/p2pchat/p2pchat/protocol"
)

// Audit returns everything that was ever done to a group, in the order of the times
// that the acts claim: also what does not count, with the act that it fell to. Of
// messages there are those that moderators took back.
func (n *Node) Audit(group protocol.ID) ([]Act, error) {
	r, err := n.room(group)
	if err != nil {
		return nil, err
	}
	out, err := r.removals(n.ctx)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for v := range r.set.All() {
		out = append(out, r.act(v.ID()))
	}
	sortActs(out)
	return out, nil
}

// removals returns the retractions of others' messages that count.
func (r *room) removals(ctx context.Context) ([]Act, error) {
	if err := r.catchUp(ctx); err != nil {
		return nil, err
	}
	r.mu.Lock()
	list := slices.Clone(r.docket.removed)
	r.mu.Unlock()
	var out []Act
	for _, f := range list {
		by, err := r.log.Get(ctx, f.ID)
		if err != nil {
			continue // damaged
		}
		about, err := r.log.Get(ctx, by.Event.Header().To)
		if err != nil {
			continue // what it is about is not here
		}
		r.mu.Lock()
		counts := r.current().Retracts(by.Event, about.Event, chains{r}) && !r.sameAuthor(by.Event, about.Event)
		reason := r.reasonOf(by.Event)
		r.mu.Unlock()
		if counts {
			out = append(out, r.messageAct(by.Event, about.Event, reason))
		}
	}
	return out, nil
}
