package node

import (
	"slices"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

// tally is how many messages the log has under an epoch, as far as the docket was read.
type tally struct {
	Epoch protocol.EpochTag `cbor:"1,keyasint"`
	Count int               `cbor:"3,keyasint"`
}

// count takes messages into the tallies of the epochs that this node sent under last:
// of others anybody could make up as many as they like. The caller holds the docket and
// mu.
func (r *room) count(page []storage.Entry) {
	d := &r.docket
	if eid, ok := r.usable(); ok {
		tag := r.keys.Epoch(eid).Tag()
		if !slices.ContainsFunc(d.tallies, func(t tally) bool { return t.Epoch == tag }) {
			d.tallies = slices.Insert(d.tallies, 0, tally{Epoch: tag})
			d.tallies = d.tallies[:min(len(d.tallies), talliesKept)]
		}
	}
	for _, e := range page {
		if h := e.Event.Header(); h.Chain == protocol.Messages {
			if i := slices.IndexFunc(d.tallies, func(t tally) bool { return t.Epoch == h.Epoch }); i >= 0 {
				d.tallies[i].Count++
			}
		}
	}
	r.spend()
}

// spend notes the epochs under which enough was sent. The caller holds mu.
func (r *room) spend() {
	for _, t := range r.docket.tallies {
		if ep := r.keys.ByTag(t.Epoch); ep != nil && t.Count >= protocol.EpochMessages {
			r.keys.Spend(ep.ID)
		}
	}
}
