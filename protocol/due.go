package protocol

import (
	"slices"
	"time"
)

// Reason says why an epoch is to be started.
type Reason uint8

// The reasons.
const (
	NotDue   Reason = iota
	Stale           // none of the epochs that are held is fit
	Expelled        // because somebody was removed or banned
	Aged            // the one in use is older than [EpochAge]
	Spent           // there are [EpochMessages] under it
)

// Fresh says whether an epoch that is started for a reason has a new rendezvous secret:
// who was expelled must not find the group, and nobody for ever.
func (why Reason) Fresh() bool { return why == Expelled || why == Aged }

// Urgent says whether nothing may be sent before.
func (why Reason) Urgent() bool { return why == Stale || why == Expelled }

// Due says whether a member is to start an epoch, and why. Where nothing is held, which
// only a newcomer sees, it is for others to.
func (k *Keyring) Due(r *Roster, now uint64, grace time.Duration) Reason {
	if len(k.epochs) == 0 {
		return NotDue
	}
	c := k.Choose(r, now, grace)
	switch {
	case !c.OK:
		hard := r.Candidates(k.view(r, View{Now: now, Hard: true}))
		if _, ok := Usable(hard); !ok {
			return Expelled
		}
		return Stale
	case aged(c.made, now, now) && !k.lately(r, now):
		return Aged
	case k.spent[c.Epoch]:
		return Spent
	}
	return NotDue
}

// lately says whether this keyring's owner started an epoch within [AgedGrace]. Two of
// whom each thinks that the other's are old would else start one after the other.
func (k *Keyring) lately(r *Roster, now uint64) bool {
	for _, i := range slices.Backward(r.set.kinds[KindRekey]) {
		n := &r.set.nodes[i]
		if made := n.v.Header().HLC; n.by == k.me && made <= now+skew && now < made+uint64(AgedGrace/time.Millisecond) {
			return true
		}
	}
	return false
}

// Spend notes that [EpochMessages] are known under an epoch.
func (k *Keyring) Spend(eid ID) {
	if !k.spent[eid] {
		k.spent[eid] = true
		k.changes++
	}
}

// HandOn returns the rendezvous secret that a new epoch may hand on: that of an epoch
// which has seen everybody be removed, as another's may be known to them. Where there is
// none, a new one is to be drawn.
func (k *Keyring) HandOn(r *Roster, now uint64) (Secret, bool) {
	eid, ok := Usable(r.Candidates(k.view(r, View{Now: now, Hard: true})))
	n, held := k.points[eid]
	return n, ok && held
}
