package node

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/p2pchat/p2pchat/protocol"
)

// keyring holds a room's epochs: those whose secret is known and checked against
// their rekey, and secrets whose rekey is not here yet.
type keyring struct {
	epochs  map[protocol.ID]*protocol.Epoch
	byTag   map[protocol.EpochTag]*protocol.Epoch
	pending map[protocol.ID]protocol.Secret
	points  map[protocol.ID]protocol.Secret // by epoch, the rendezvous secret that its rekey carries

	prekeys map[uint64]protocol.Secret // seeds of this device's prekeys, by week
	asked   map[protocol.ID]asking     // epochs whose secret is looked for
	chosen  choice
	lacking lacking
	ordered choice // for which the rendezvous secrets were ordered
}

// choice remembers the epoch to send under, which every message asks for.
type choice struct {
	set    *protocol.Set
	events int // in the set
	held   int
	grace  uint64
	eid    protocol.ID
	ok     bool
}

func newKeyring() keyring {
	return keyring{
		epochs: make(map[protocol.ID]*protocol.Epoch), byTag: make(map[protocol.EpochTag]*protocol.Epoch),
		pending: make(map[protocol.ID]protocol.Secret), points: make(map[protocol.ID]protocol.Secret),
		prekeys: make(map[uint64]protocol.Secret), asked: make(map[protocol.ID]asking),
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
		r.takeEarly(v.ID())
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
	delete(r.keys.asked, eid)
	r.openParents(ep, rekey)
	if n, err := ep.OpenN(rekey.SealedN, rekey.Commit); err == nil {
		r.keys.points[eid] = n
	}
	return true
}

// arrange orders the rendezvous secrets: that of the epoch to send under, then those
// of the newest rekeys, then the newest of each author in turn, so that nobody who
// changes it often keeps out those who know an older one. What a welcome gave was a
// claim, and is dropped once the group's own events carry one. The caller holds mu.
func (r *room) arrange() []protocol.Secret {
	eid, ok := r.usable(r.grace())
	if r.keys.ordered == r.keys.chosen {
		return r.meta.Secrets
	}
	r.keys.ordered = r.keys.chosen
	var out []protocol.Secret
	add := func(n protocol.Secret, most int) {
		if len(out) < most && !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	if ok {
		add(r.keys.points[eid], secretsKept)
	}
	newest, byAuthor := r.drawn()
	for _, n := range newest {
		add(n, secretsHeard)
	}
	for more := true; more && len(out) < secretsKept; {
		more = false
		for i, list := range byAuthor {
			if len(list) > 0 {
				add(list[0], secretsKept)
				byAuthor[i], more = list[1:], true
			}
		}
	}
	if len(out) > 0 {
		r.meta.Secrets = out
	}
	return r.meta.Secrets
}

// drawn returns the rendezvous secrets of the rekeys that open, the newest first: all,
// and of each author. The caller holds mu.
func (r *room) drawn() (newest []protocol.Secret, byAuthor [][]protocol.Secret) {
	place := make(map[protocol.Key]int)
	for _, id := range slices.Backward(r.current().Rekeys()) {
		n, ok := r.keys.points[r.wantedOf(id).eid]
		if !ok {
			continue
		}
		author, _ := r.set.Author(id)
		at, known := place[author]
		if !known {
			at = len(byAuthor)
			place[author] = at
			byAuthor = append(byAuthor, nil)
		}
		newest, byAuthor[at] = append(newest, n), append(byAuthor[at], n)
	}
	return newest, byAuthor
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

// grace is the hybrid time since which a leave or a revocation may lie outside a
// rekey's past, to the minute: seniors have an hour to rotate. The caller holds mu.
func (r *room) grace() uint64 {
	since := r.n.now().Add(-leaveGrace).Truncate(time.Minute)
	return uint64(max(0, since.UnixMilli()))
}

// usable returns the epoch to seal under, with a grace of leaves and revocations. The
// caller holds mu.
func (r *room) usable(grace uint64) (protocol.ID, bool) {
	c := &r.keys.chosen
	if c.set != r.set || c.events != r.set.Len() || c.held != len(r.keys.epochs) || c.grace != grace {
		eid, ok := protocol.Usable(r.current().Candidates(r.keys.held, grace))
		*c = choice{r.set, r.set.Len(), len(r.keys.epochs), grace, eid, ok}
	}
	return c.eid, c.ok
}

// sendEpoch returns the epoch to seal under; see ensureEpoch. The caller holds mu.
func (r *room) sendEpoch() (*protocol.Epoch, error) {
	eid, ok := r.usable(r.grace())
	if !ok {
		return nil, fmt.Errorf("group %s: %w: no epoch is fit to send under", protocol.Short(r.group.Text(protocol.GroupPrefix)), ErrNoKey)
	}
	return r.keys.epochs[eid], nil
}

// historyFromJoin says whether newcomers read only what is said after they join.
func (r *room) historyFromJoin() bool {
	return r.current().History() == protocol.HistorySinceJoin
}

// liveEpochs returns the epochs that are held and that no other held one follows, the
// one to send under first. The caller holds mu.
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
	best, _ := r.usable(r.grace())
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
	return out
}

// welcomeEpochs returns the secrets that somebody who was admitted gets. Where
// history begins with the newcomer, these are epochs that began after the admission;
// if there is none to send under, one is started. The caller holds mu.
func (r *room) welcomeEpochs(root protocol.Key) ([]protocol.EpochSecret, error) {
	for range 2 {
		if err := r.ensureEpoch(); err != nil {
			return nil, err
		}
		live := r.liveEpochs()
		best, _ := r.usable(r.grace())
		if r.historyFromJoin() {
			grants := r.standingGrants(root)
			live = slices.DeleteFunc(live, func(e protocol.EpochSecret) bool { return !r.mayRead(grants, e.Epoch) })
		}
		if len(live) > 0 && live[0].Epoch == best {
			return live[:min(len(live), protocol.MaxWelcomeEpochs)], nil
		}
		if err := r.startEpoch(false, nil); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("welcome: %w: no epoch began after the admission", ErrNoKey)
}

// mayRead says whether one of the grants lies in the past of an epoch's rekey. The
// caller holds mu.
func (r *room) mayRead(grants []protocol.ID, eid protocol.ID) bool {
	for _, id := range r.set.Claims(eid) {
		v, _, _ := r.set.Get(id)
		if held := r.keys.epochs[eid]; held != nil && protocol.EpochID(r.group, v.Header().Dev, v.Header().Seq, held.E) != eid {
			continue // it only claims to start the epoch
		}
		past, err := r.set.Past([]protocol.ID{id})
		if err == nil && slices.ContainsFunc(grants, past.Has) {
			return true
		}
	}
	return false
}

// standingGrants returns the grants to an identity that have in their past every
// effective removal, ban and leave of it: what was said while it was out, it does not
// get to read. The caller holds mu.
func (r *room) standingGrants(root protocol.Key) []protocol.ID {
	var grants, ends []protocol.ID
	for v := range r.set.All() {
		_, c, _ := r.set.Get(v.ID())
		by, _ := r.set.Author(v.ID())
		switch kind := v.Header().Kind; {
		case !r.current().Effective(v.ID()):
		case kind == protocol.KindGenesis && isFounder(c, root), kind == protocol.KindGrant && c.(*protocol.Grant).Target == root:
			grants = append(grants, v.ID())
		case kind == protocol.KindLeave && by == root,
			(kind == protocol.KindRemove || kind == protocol.KindBan) && c.(*protocol.Denial).Target == root:
			ends = append(ends, v.ID())
		}
	}
	return slices.DeleteFunc(grants, func(id protocol.ID) bool {
		past, err := r.set.Past([]protocol.ID{id})
		return err != nil || slices.ContainsFunc(ends, func(end protocol.ID) bool { return !past.Has(end) })
	})
}

func isFounder(c protocol.Clear, root protocol.Key) bool {
	g, ok := c.(*protocol.Genesis)
	return ok && slices.ContainsFunc(g.Founders, func(f protocol.Cert) bool { return f.Root == root })
}

// newEpoch draws an epoch and the rekey that starts it after a draft, following the
// live epochs that lie in its past. The caller holds mu.
func (r *room) newEpoch(d protocol.Draft, e, n protocol.Secret) (*protocol.Epoch, *protocol.Rekey, error) {
	seq := d.Prev.Seq + 1
	eid := protocol.EpochID(r.group, r.me.Dev(), seq, e)
	ep, err := protocol.NewEpoch(r.group, eid, r.me.Dev(), seq, e)
	if err != nil {
		return nil, nil, err
	}
	rekey := &protocol.Rekey{Epoch: eid, Commit: protocol.CommitN(r.group, n), SealedN: ep.SealN(n)}
	heads := slices.Clone(d.Refs)
	if d.Prev.Seq > 0 {
		heads = append(heads, d.Prev.ID)
	}
	past, err := r.set.Past(heads)
	if err != nil {
		return nil, nil, err
	}
	for _, live := range r.liveEpochs() {
		parent := r.keys.epochs[live.Epoch]
		if len(rekey.Parents) == protocol.MaxParents || !slices.ContainsFunc(r.set.Claims(parent.ID), past.Has) {
			continue // there are more heads than an event can cite; a later rekey follows it
		}
		p := protocol.Parent{Epoch: parent.ID}
		if !r.historyFromJoin() {
			p.Back = ep.SealParent(parent)
		}
		rekey.Parents = append(rekey.Parents, p)
	}
	slices.SortFunc(rekey.Parents, func(a, b protocol.Parent) int { return a.Epoch.Compare(b.Epoch) })
	return ep, rekey, nil
}
