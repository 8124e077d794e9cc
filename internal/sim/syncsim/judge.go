package syncsim

import (
	"fmt"
	"slices"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/protocol/reconcile"
)

// judge compares all who belong with the founder.
func (w *world) judge() {
	first := w.replicas[0]
	control, roster, items := first.view()
	for _, r := range w.replicas[1:] {
		if r.set == nil || !first.counts(r) {
			continue
		}
		c, m, i := r.view()
		if !slices.Equal(c, control) {
			w.fail("replica %d holds %d control events, the first %d", r.n, len(c), len(control))
		}
		if m != roster {
			w.fail("replica %d sees %s, the first %s", r.n, m, roster)
		}
		if !slices.Equal(i, items) {
			w.fail("replica %d holds %d messages that count, the first %d", r.n, len(i), len(items))
		}
	}
	here := make(map[protocol.ID]bool)
	for _, i := range items {
		here[i.ID] = true
	}
	for _, r := range w.replicas {
		if r.doubtful() {
			continue
		}
		for id, v := range w.said {
			if v.Header().Dev == r.id.Dev() && !here[id] {
				w.fail("message %d of replica %d is lost", v.Header().Seq, r.n)
			}
		}
	}
}

// view is what all who belong have to agree about: control events, roster, and the
// messages in order.
func (r *replica) view() (control []protocol.ID, roster string, items []reconcile.Item) {
	for v := range r.set.All() {
		control = append(control, v.ID())
	}
	slices.SortFunc(control, protocol.ID.Compare)
	for _, m := range r.roster.Members() {
		_, muted := r.roster.Muted(m.Root)
		roster += fmt.Sprintf("%x %s muted=%t; ", m.Root[:4], m.Rank, muted)
	}
	set := r.messages()
	_ = set.Items(0, set.Len(), func(i reconcile.Item) error { items = append(items, i); return nil })
	return control, roster, items
}
