package node

import (
	"context"
	"fmt"

	"github.com/p2pchat/p2pchat/protocol"
)

// keys are what a room holds of the group's keys, and what it does to get those that
// it lacks. What they are and which to use is for the [protocol.Keyring] to say.
type keys struct {
	*protocol.Keyring

	prekeys map[uint64]protocol.Secret // seeds of this device's prekeys, by week
	asked   map[protocol.ID]asking     // epochs whose secret is looked for
	lacking lacking
	ordered protocol.Choice // for which the rendezvous secrets were ordered
}

func newKeys(group protocol.ID, me protocol.Key) keys {
	return keys{Keyring: protocol.NewKeyring(group, me), prekeys: make(map[uint64]protocol.Secret), asked: make(map[protocol.ID]asking)}
}

// loadSecrets reads the epoch secrets back and opens what they open.
func (r *room) loadSecrets(ctx context.Context) error {
	stored, err := r.n.store.List(ctx, epochSpace(r.group))
	if err != nil {
		return err
	}
	for key, value := range stored {
		s, err := protocol.ParseEpochSecret(value)
		if err != nil || s.Epoch.Text("") != key {
			return fmt.Errorf("epoch secret %q in the store is damaged", key)
		}
		r.keys.Add(s)
	}
	r.openEpochs()
	return nil
}

// saveSecret stores an epoch's secret before anything is sealed or opened with it.
func (r *room) saveSecret(ctx context.Context, s protocol.EpochSecret) error {
	return r.n.store.Put(ctx, epochSpace(r.group), s.Epoch.Text(""), s.Encode())
}

// learnKeys opens what a control event makes possible to open. The caller holds mu.
func (r *room) learnKeys(v protocol.Verified) {
	switch v.Header().Kind {
	case protocol.KindGrant: // it may say that the epochs go a step further
		r.openEpochs()
	case protocol.KindRekey:
		r.openEpochs()
		r.takeEarly(v.ID())
	}
}

// openEpochs opens what can be opened, and reads the names that were sealed under it.
// The caller holds mu.
func (r *room) openEpochs() {
	opened := make(map[protocol.EpochTag]bool)
	for _, ep := range r.keys.Open(r.set) {
		opened[ep.Tag()] = true
		delete(r.keys.asked, ep.ID)
	}
	if len(opened) == 0 {
		return
	}
	for slot, rec := range r.records {
		if slot.kind != protocol.RecordProfile {
			continue
		}
		if tag, _, err := protocol.ProfileEpoch(rec.Record()); err == nil && opened[tag] {
			r.nameFrom(rec)
		}
	}
}

// arrange orders the rendezvous secrets. What a welcome gave was a claim, and is
// dropped once the group's own events carry one. The caller holds mu.
func (r *room) arrange() []protocol.Secret {
	choice := r.choice()
	if r.keys.ordered == choice {
		return r.meta.Secrets
	}
	r.keys.ordered = choice
	if out := r.keys.Meet(r.current(), choice, secretsHeard, secretsKept); len(out) > 0 {
		r.meta.Secrets = out
	}
	return r.meta.Secrets
}

// time is the clock as hybrid times count. The caller holds mu.
func (r *room) time() uint64 { return uint64(max(0, r.n.now().UnixMilli())) }

// choice is the epoch to seal under, by the grace that everybody gives who went.
// Seniors have an hour to rotate. The caller holds mu.
func (r *room) choice() protocol.Choice {
	return r.keys.Choose(r.current(), r.time(), protocol.LeaveGrace)
}

// usable returns the epoch to seal under. The caller holds mu.
func (r *room) usable() (protocol.ID, bool) {
	c := r.choice()
	return c.Epoch, c.OK
}

// sendEpoch returns the epoch to seal under; see ensureEpoch. The caller holds mu.
func (r *room) sendEpoch() (*protocol.Epoch, error) {
	eid, ok := r.usable()
	if !ok {
		return nil, fmt.Errorf("group %s: %w: no epoch is fit to send under", protocol.Short(r.group.Text(protocol.GroupPrefix)), ErrNoKey)
	}
	return r.keys.Epoch(eid), nil
}

// historyFromJoin says whether newcomers read only what is said after they join.
func (r *room) historyFromJoin() bool {
	return r.current().History() == protocol.HistorySinceJoin
}

// welcomeEpochs returns the secrets that somebody who was admitted gets. Where
// history begins with the newcomer and there is no epoch to send under that it may
// have, one is started. The caller holds mu.
func (r *room) welcomeEpochs(root protocol.Key) ([]protocol.EpochSecret, error) {
	if rank := r.current().Rank(root); rank >= protocol.Relay { // no epoch would be for them, however many are started
		return nil, fmt.Errorf("welcome: %w: there are no keys for a %s", ErrNotAllowed, rank)
	}
	for range 2 {
		if err := r.ensureEpoch(); err != nil {
			return nil, err
		}
		if list, fit := r.keys.Welcome(r.current(), root, r.time(), protocol.LeaveGrace); fit {
			return list, nil
		}
		if err := r.startEpoch(protocol.Stale, nil); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("welcome: %w: no epoch began after the admission", ErrNoKey)
}

// newEpoch draws up an epoch and the rekey that starts it after a draft. The caller
// holds mu.
func (r *room) newEpoch(d protocol.Draft, e, n protocol.Secret) (*protocol.Epoch, *protocol.Rekey, error) {
	past, err := r.set.PastOf(d)
	if err != nil {
		return nil, nil, err
	}
	return r.keys.Start(r.current(), r.me.Dev(), d.Prev.Seq+1, past, e, n, r.time(), protocol.LeaveGrace)
}
