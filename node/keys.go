package node

import (
	"context"
	"fmt"
	"slices"

	"github.com/p2pchat/p2pchat/protocol"
)

// keyring holds a room's epochs: those whose secret is known and checked against
// their rekey, and secrets whose rekey is not here yet.
type keyring struct {
	epochs  map[protocol.ID]*protocol.Epoch
	byTag   map[protocol.EpochTag]*protocol.Epoch
	pending map[protocol.ID]protocol.Secret

	confirmed []protocol.Secret // rendezvous secrets that the group's events carry
}

func newKeyring() keyring {
	return keyring{
		epochs: make(map[protocol.ID]*protocol.Epoch), byTag: make(map[protocol.EpochTag]*protocol.Epoch),
		pending: make(map[protocol.ID]protocol.Secret),
	}
}

func (k *keyring) held(eid protocol.ID) bool { return k.epochs[eid] != nil }

// loadSecrets reads the epoch secrets back and opens what they open.
func (r *room) loadSecrets(ctx context.Context) error {
	stored, err := r.n.store.List(ctx, epochSpace(r.group))
	if err != nil {
		return err
	}
	for key, value := range stored {
		eid, err := protocol.ParseID("", key)
		if err != nil || len(value) != 32 {
			return fmt.Errorf("epoch secret %q in the store is damaged", key)
		}
		r.keys.pending[eid] = protocol.Secret(value)
	}
	r.openEpochs()
	return nil
}

// saveSecret stores an epoch's secret before anything is sealed or opened with it.
func (r *room) saveSecret(ctx context.Context, eid protocol.ID, e protocol.Secret) error {
	return r.n.store.Put(ctx, epochSpace(r.group), eid.Text(""), e[:])
}

// learnKeys opens what a control event makes possible to open. The caller holds mu.
func (r *room) learnKeys(v protocol.Verified) {
	if v.Header().Kind == protocol.KindRekey {
		r.openEpochs()
	}
}

// openEpochs checks pending secrets against their rekeys, and opens parents with
// what it finds, until nothing more opens. The caller holds mu.
func (r *room) openEpochs() {
	for progress := true; progress; {
		progress = false
		for eid, e := range r.keys.pending {
			claims := r.set.Claims(eid)
			for _, id := range claims {
				if r.openEpoch(id, eid, e) {
					progress = true
				}
			}
			if len(claims) > 0 && !r.keys.held(eid) {
				r.n.log.Warn("an epoch secret fits none of the rekeys that claim its epoch", "epoch", eid)
			}
			if r.keys.held(eid) {
				delete(r.keys.pending, eid)
			}
		}
	}
	for _, rec := range r.records {
		r.nameFrom(rec)
	}
}

// openEpoch takes an epoch in if the secret is the one that a rekey committed to.
// Anybody can claim an epoch's id; only its author's rekey fits the secret.
func (r *room) openEpoch(id, eid protocol.ID, e protocol.Secret) bool {
	v, c, ok := r.set.Get(id)
	rekey, isRekey := c.(*protocol.Rekey)
	if !ok || !isRekey || r.keys.held(eid) {
		return false
	}
	ep, err := protocol.NewEpoch(r.group, eid, v.Header().Dev, v.Header().Seq, e)
	if err != nil {
		return false
	}
	r.keys.epochs[eid], r.keys.byTag[ep.Tag()] = ep, ep
	r.openParents(ep, rekey)
	if n, err := ep.OpenN(rekey.SealedN, rekey.Commit); err == nil {
		r.confirm(n)
	}
	return true
}

// confirm keeps a rendezvous secret that the group's own events carry. What else a
// welcome gave was a claim, and is dropped once there is one that holds.
func (r *room) confirm(n protocol.Secret) {
	if !slices.Contains(r.keys.confirmed, n) {
		r.keys.confirmed = append(r.keys.confirmed, n)
	}
	kept := slices.DeleteFunc(slices.Clone(r.meta.Secrets), func(s protocol.Secret) bool { return !slices.Contains(r.keys.confirmed, s) })
	for _, s := range r.keys.confirmed {
		if !slices.Contains(kept, s) {
			kept = append(kept, s)
		}
	}
	r.meta.Secrets = kept
}

func (r *room) openParents(ep *protocol.Epoch, rekey *protocol.Rekey) {
	for _, p := range rekey.Parents {
		if r.keys.held(p.Epoch) || len(p.Back) == 0 {
			continue
		}
		if e, err := ep.OpenParent(p.Epoch, p.Back); err == nil {
			r.keys.pending[p.Epoch] = e
		}
	}
}

// sendEpoch returns the epoch to seal under. The caller holds mu.
func (r *room) sendEpoch() (*protocol.Epoch, error) {
	eid, ok := protocol.Usable(r.current().Candidates(r.keys.held, r.grace()))
	if !ok {
		return nil, fmt.Errorf("group %s: %w: wait until a member is online", protocol.Short(r.group.Text(protocol.GroupPrefix)), ErrNoKey)
	}
	return r.keys.epochs[eid], nil
}

// liveEpochs returns the secrets a newcomer needs: every epoch that no other
// follows, the one to send under first. The caller holds mu.
func (r *room) liveEpochs() []protocol.EpochSecret {
	followed := make(map[protocol.ID]bool)
	all := r.current().Candidates(r.keys.held, r.grace())
	for _, c := range all {
		if !c.Held {
			continue // anybody may claim to follow; nobody could read on from here
		}
		for _, p := range c.Parents {
			followed[p] = true
		}
	}
	best, _ := protocol.Usable(all)
	var out []protocol.EpochSecret
	for _, c := range all {
		if c.Held && !followed[c.ID] {
			out = append(out, protocol.EpochSecret{Epoch: c.ID, E: r.keys.epochs[c.ID].E})
		}
	}
	slices.SortFunc(out, func(a, b protocol.EpochSecret) int {
		switch {
		case a.Epoch == best:
			return -1
		case b.Epoch == best:
			return 1
		}
		return a.Epoch.Compare(b.Epoch)
	})
	return out[:min(len(out), protocol.MaxWelcomeEpochs)]
}

// newEpoch draws an epoch and the rekey that starts it, following the room's live
// epochs. seq is the place the rekey takes on this device's control chain. The
// caller holds mu.
func (r *room) newEpoch(seq uint64, e, n protocol.Secret) (*protocol.Epoch, *protocol.Rekey, error) {
	eid := protocol.EpochID(r.group, r.me.Dev(), seq, e)
	ep, err := protocol.NewEpoch(r.group, eid, r.me.Dev(), seq, e)
	if err != nil {
		return nil, nil, err
	}
	rekey := &protocol.Rekey{Epoch: eid, Commit: protocol.CommitN(r.group, n), SealedN: ep.SealN(n)}
	for _, live := range r.liveEpochs() {
		parent := r.keys.epochs[live.Epoch]
		rekey.Parents = append(rekey.Parents, protocol.Parent{Epoch: parent.ID, Back: ep.SealParent(parent)})
	}
	slices.SortFunc(rekey.Parents, func(a, b protocol.Parent) int { return a.Epoch.Compare(b.Epoch) })
	return ep, rekey, nil
}
