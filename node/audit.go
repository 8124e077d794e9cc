package node

import "github.com/p2pchat/p2pchat/protocol"

// Audit returns everything that was ever done to a group, in the order of the times
// that the acts claim: also what does not count, with the act that it fell to.
func (n *Node) Audit(group protocol.ID) ([]Act, error) {
	r, err := n.room(group)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []Act
	for v := range r.set.All() {
		out = append(out, r.act(v.ID()))
	}
	sortActs(out)
	return out, nil
}
