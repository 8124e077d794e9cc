package protocol

import (
	"slices"
	"time"

	"github.com/p2pchat/p2pchat/protocol/authority"
)

// What somebody who holds a key may hand to whom: nobody gets more than their own place
// in the group gives them.

// From says from which step on somebody may read an epoch, if at all: all of it in an
// open group; else who was in it, as far as the rekey's author knew, and has not gone
// since, reads all, and who was admitted later from the step that the admission says.
func (k *Keyring) From(r *Roster, root Key, eid ID) (step uint32, ok bool) {
	if r.History() != HistorySinceJoin {
		return 0, true
	}
	s := r.set
	rekey, held := k.rekeys[eid]
	for _, grant := range r.standing(root) {
		for _, i := range s.epochs[eid] {
			if (!held || s.nodes[i].v.id == rekey) && s.graph.Sees(i, grant) {
				return 0, true
			}
		}
		if st := s.stepOf(grant, eid); st.Step > 0 && !k.forged[naming{s.nodes[grant].v.id, eid}] && (!ok || st.Step < step) {
			step, ok = st.Step, true
		}
	}
	return step, ok
}

// Share returns the secret of an epoch as somebody may have it: nobody who is not a
// member now, and senior to relay.
func (k *Keyring) Share(r *Roster, root Key, eid ID) (EpochSecret, bool) {
	ep := k.epochs[eid]
	step, ok := k.From(r, root, eid)
	switch {
	case ep == nil || !ok || r.Rank(root) >= Relay || step == 0 && ep.E.IsZero():
		return EpochSecret{}, false
	case step == 0:
		return EpochSecret{Epoch: eid, E: ep.E}, true
	}
	s, err := ep.at(step)
	return EpochSecret{Epoch: eid, Step: step, S: s, N: k.points[eid]}, err == nil
}

// Steps returns what an admission says about the live epochs, by somebody who has seen
// past: where history begins with joining, that the newcomer reads from the next step
// on. So the newcomer gets along without an epoch of its own.
func (k *Keyring) Steps(r *Roster, past *Past, now uint64, grace time.Duration) []StepStart {
	if r.History() != HistorySinceJoin {
		return nil
	}
	var out []StepStart
	for _, ep := range k.Live(r, now, grace) {
		step := r.set.lastStep(ep.ID, past.all) + 1
		s, ok := ep.find(step)
		if ok && step <= maxStep && len(out) < MaxWelcomeEpochs && past.Has(k.rekeys[ep.ID]) {
			out = append(out, StepStart{Epoch: ep.ID, Step: step, Hash: CommitStep(k.group, ep.ID, step, s)})
		}
	}
	slices.SortFunc(out, func(a, b StepStart) int { return a.Epoch.Compare(b.Epoch) })
	return out
}

// Welcome returns what a newcomer gets to read with: the live epochs that it may have,
// the one to send under first. fit is false where that is not among them: an epoch has
// to be started then.
func (k *Keyring) Welcome(r *Roster, root Key, now uint64, grace time.Duration) (list []EpochSecret, fit bool) {
	choice := k.Choose(r, now, grace)
	for _, ep := range k.Live(r, now, grace) {
		if s, ok := k.Share(r, root, ep.ID); ok && len(list) < MaxWelcomeEpochs {
			list = append(list, s)
		}
	}
	return list, choice.OK && len(list) > 0 && list[0].Epoch == choice.Epoch
}

// Private returns the newest rendezvous secrets, up to most, that nobody knows who has
// gone: every rekey that carries one has seen everybody go.
func (k *Keyring) Private(r *Roster, most int) []Secret {
	gone := authority.Positions(slices.DeleteFunc(r.state.Endings(), func(i int32) bool { return !r.firm().has(i) }))
	known := make(map[ID]bool) // the commitments to those that somebody knows
	for _, i := range r.set.kinds[KindRekey] {
		if r.state.Counts(i) && gone.Lacks(gone, r.set.graph.Past(i)) {
			known[r.set.nodes[i].clear.(*Rekey).Commit] = true
		}
	}
	var out []Secret
	newest, _ := k.drawn(r)
	for _, n := range newest {
		if len(out) < most && !known[CommitN(k.group, n)] && !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}
