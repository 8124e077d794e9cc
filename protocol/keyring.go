package protocol

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Keyring is what one device holds of a group's keys: the epochs whose secret it
// knows and has checked against their rekey, and secrets whose rekey is not here yet.
// It keeps and chooses; storing, locking, asking and the clock are its user's. Every
// method that takes a set or a roster means the one group's.
type Keyring struct {
	group   ID
	epochs  map[ID]*Epoch
	rekeys  map[ID]ID // by epoch, the rekey that its secret fits
	tags    map[EpochTag]*Epoch
	pending map[ID]Secret
	points  map[ID]Secret // by epoch, the rendezvous secret that its rekey carries
	spent   map[ID]bool   // epochs under which enough was sent
	changes int
	chosen  map[time.Duration]Choice // by grace
}

// NewKeyring returns the empty keyring of a group.
func NewKeyring(group ID) *Keyring {
	return &Keyring{
		group: group, epochs: make(map[ID]*Epoch), rekeys: make(map[ID]ID), tags: make(map[EpochTag]*Epoch),
		pending: make(map[ID]Secret), points: make(map[ID]Secret), spent: make(map[ID]bool), chosen: make(map[time.Duration]Choice),
	}
}

// Format keeps the secrets out of output.
func (*Keyring) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("redacted")) }

// Len returns how many epochs are held.
func (k *Keyring) Len() int { return len(k.epochs) }

// Held says whether an epoch's secret is here.
func (k *Keyring) Held(eid ID) bool { return k.epochs[eid] != nil }

// Epoch returns an epoch that is held, nil otherwise.
func (k *Keyring) Epoch(eid ID) *Epoch { return k.epochs[eid] }

// ByTag returns the epoch that a header names, nil where it is not held.
func (k *Keyring) ByTag(tag EpochTag) *Epoch { return k.tags[tag] }

// Point returns the rendezvous secret that an epoch's rekey carries.
func (k *Keyring) Point(eid ID) (Secret, bool) { n, ok := k.points[eid]; return n, ok }

// Add takes a secret that is claimed to be an epoch's. [Keyring.Open] finds out.
func (k *Keyring) Add(eid ID, e Secret) {
	if !k.Held(eid) {
		k.pending[eid] = e
	}
}

// Drop forgets a secret that waits for its rekey.
func (k *Keyring) Drop(eid ID) { delete(k.pending, eid) }

// Open checks what waits against the rekeys of a set, opens parents with what it
// finds, and returns the epochs that opened.
func (k *Keyring) Open(s *Set) []*Epoch {
	var opened []*Epoch
	for eid, e := range k.pending {
		opened = append(opened, k.take(s, eid, e)...)
	}
	return opened
}

// take opens an epoch with a secret, and what that opens.
func (k *Keyring) take(s *Set, eid ID, e Secret) []*Epoch {
	type claim struct {
		eid ID
		e   Secret
	}
	var opened []*Epoch
	for todo := []claim{{eid, e}}; len(todo) > 0; todo = todo[1:] {
		ep, rekey := k.open(s, todo[0].eid, todo[0].e)
		if ep == nil {
			continue
		}
		opened = append(opened, ep)
		for _, p := range rekey.Parents {
			if k.Held(p.Epoch) || len(p.Back) == 0 {
				continue
			}
			if e, err := ep.OpenParent(p.Epoch, p.Back); err == nil {
				todo = append(todo, claim{p.Epoch, e})
			}
		}
	}
	return opened
}

// open takes an epoch in if the secret is the one that a rekey committed to. Anybody
// can claim an epoch's id; only its author's rekey fits the secret.
func (k *Keyring) open(s *Set, eid ID, e Secret) (*Epoch, *Rekey) {
	if k.Held(eid) {
		return nil, nil
	}
	for _, i := range s.epochs[eid] {
		n := &s.nodes[i]
		h, rekey := n.v.Header(), n.clear.(*Rekey)
		ep, err := NewEpoch(k.group, eid, h.Dev, h.Seq, e)
		if err != nil {
			continue
		}
		k.epochs[eid], k.rekeys[eid], k.tags[ep.Tag()] = ep, n.v.id, ep
		delete(k.pending, eid)
		if n, err := ep.OpenN(rekey.SealedN, rekey.Commit); err == nil {
			k.points[eid] = n
		}
		k.changes++
		return ep, rekey
	}
	return nil, nil
}

// Choice is the epoch to send under, and what the choice was made from: two that are
// equal were made from the same.
type Choice struct {
	Epoch ID // zero if none is fit
	OK    bool
	made  uint64 // when it says that it was made

	set     *Set
	events  int // in the set
	changes int // to the keyring
	minute  uint64
	grace   time.Duration
}

// Choose returns the epoch to send under as a clock stands, in milliseconds. grace is
// how long a leave or a revocation may be missing from its past: see [View].
func (k *Keyring) Choose(r *Roster, now uint64, grace time.Duration) Choice {
	c := Choice{set: r.set, events: r.set.Len(), changes: k.changes, minute: now / uint64(time.Minute/time.Millisecond), grace: grace}
	if last, ok := k.chosen[grace]; ok {
		if c.Epoch, c.OK, c.made = last.Epoch, last.OK, last.made; c == last {
			return c
		}
		c.Epoch, c.OK, c.made = ID{}, false, 0
	}
	if best := usable(k.Candidates(r, now, grace)); best != nil {
		c.Epoch, c.OK, c.made = best.ID, true, best.HLC
	}
	if len(k.chosen) > 4 {
		clear(k.chosen)
	}
	k.chosen[grace] = c
	return c
}

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
		hard := r.Candidates(View{Held: k.fits, Spent: k.isSpent, Now: now, Hard: true})
		if _, ok := Usable(hard); !ok {
			return Expelled
		}
		return Stale
	case aged(c.made, now, now):
		return Aged
	case k.spent[c.Epoch]:
		return Spent
	}
	return NotDue
}

// Spend notes that [EpochMessages] are known under an epoch.
func (k *Keyring) Spend(eid ID) {
	if !k.spent[eid] {
		k.spent[eid] = true
		k.changes++
	}
}

func (k *Keyring) isSpent(eid ID) bool { return k.spent[eid] }

// Candidates returns all epochs of the group as this keyring sees them.
func (k *Keyring) Candidates(r *Roster, now uint64, grace time.Duration) []Candidate {
	return r.Candidates(View{Held: k.fits, Spent: k.isSpent, Now: now, Grace: grace})
}

// fits says whether the secret of an epoch is here and is that of a rekey which claims
// to start it.
func (k *Keyring) fits(eid, rekey ID) bool { return k.epochs[eid] != nil && k.rekeys[eid] == rekey }

// Live returns the epochs that are held and that no other held one follows: the one to
// send under first, then those that were needed. What was not needed takes the place of
// none that was.
func (k *Keyring) Live(r *Roster, now uint64, grace time.Duration) []*Epoch {
	// Of those that are not held, anybody may claim that they follow.
	all := slices.DeleteFunc(k.Candidates(r, now, grace), func(c Candidate) bool { return !c.Held })
	followed, place := make(map[ID]bool), make(map[ID]int)
	for _, c := range all {
		place[c.ID] = 2
		if c.Needed {
			place[c.ID] = 1
		}
		for _, p := range c.Parents {
			followed[p] = followed[p] || c.Needed || place[p] == 2 // parents come first
		}
	}
	if best, ok := Usable(all); ok {
		place[best], followed[best] = 0, false
	}
	var out []*Epoch
	for _, c := range all {
		if !followed[c.ID] {
			out = append(out, k.epochs[c.ID])
		}
	}
	slices.SortFunc(out, func(a, b *Epoch) int { return cmp.Or(cmp.Compare(place[a.ID], place[b.ID]), a.ID.Compare(b.ID)) })
	return out
}

// MayRead says whether somebody may have all of an epoch: everybody in an open group;
// else who was in it, as far as the rekey's author knew, and has not gone since.
func (k *Keyring) MayRead(r *Roster, root Key, eid ID) bool {
	if r.History() != HistorySinceJoin {
		return true
	}
	rekey, known := k.rekeys[eid]
	for _, grant := range r.standing(root) {
		for _, i := range r.set.epochs[eid] {
			if (!known || r.set.nodes[i].v.id == rekey) && (i == grant || r.set.graph.Sees(i, grant)) {
				return true
			}
		}
	}
	return false
}

// Share returns the secret of an epoch as somebody may have it, who is to be a current
// member senior to relay.
func (k *Keyring) Share(r *Roster, root Key, eid ID) (EpochSecret, bool) {
	ep := k.epochs[eid]
	if ep == nil || ep.E.IsZero() || !k.MayRead(r, root, eid) {
		return EpochSecret{}, false
	}
	return EpochSecret{Epoch: eid, E: ep.E}, true
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

// Start draws up an epoch and the rekey that begins it at a place on a device's chain,
// of somebody who has seen past. It follows the live epochs that lie in that past.
func (k *Keyring) Start(r *Roster, dev Key, seq uint64, past *Past, e, n Secret, now uint64, grace time.Duration) (*Epoch, *Rekey, error) {
	ep, err := NewEpoch(k.group, EpochID(k.group, dev, seq, e), dev, seq, e)
	if err != nil {
		return nil, nil, err
	}
	rekey := &Rekey{Epoch: ep.ID, Commit: CommitN(k.group, n), SealedN: ep.SealN(n)}
	for _, live := range k.Live(r, now, grace) {
		if len(rekey.Parents) == MaxParents || !past.Has(k.rekeys[live.ID]) {
			continue // there are more heads than an event can cite; a later rekey follows it
		}
		p := Parent{Epoch: live.ID}
		if r.History() != HistorySinceJoin {
			p.Back = ep.SealParent(live)
		}
		rekey.Parents = append(rekey.Parents, p)
	}
	slices.SortFunc(rekey.Parents, func(a, b Parent) int { return a.Epoch.Compare(b.Epoch) })
	return ep, rekey, nil
}

// Meet orders the rendezvous secrets: that of the epoch to send under, then heard of
// those of the newest rekeys, then the newest of each author in turn up to most, so
// that nobody who changes it often keeps out those who know an older one.
func (k *Keyring) Meet(r *Roster, choice Choice, heard, most int) []Secret {
	var out []Secret
	add := func(n Secret, most int) {
		if len(out) < most && !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	if n, ok := k.points[choice.Epoch]; ok {
		add(n, most)
	}
	newest, byAuthor := k.drawn(r)
	for _, n := range newest {
		add(n, heard)
	}
	for more := true; more && len(out) < most; {
		more = false
		for i, list := range byAuthor {
			if len(list) > 0 {
				add(list[0], most)
				byAuthor[i], more = list[1:], true
			}
		}
	}
	return out
}

// drawn returns the rendezvous secrets of the rekeys that open, the newest first: all,
// and of each author.
func (k *Keyring) drawn(r *Roster) (newest []Secret, byAuthor [][]Secret) {
	place := make(map[Key]int)
	for _, i := range slices.Backward(r.set.kinds[KindRekey]) {
		if !r.state.Counts(i) {
			continue
		}
		node := &r.set.nodes[i]
		n, ok := k.points[node.clear.(*Rekey).Epoch]
		if !ok {
			continue
		}
		at, known := place[node.by]
		if !known {
			at = len(byAuthor)
			place[node.by] = at
			byAuthor = append(byAuthor, nil)
		}
		newest, byAuthor[at] = append(newest, n), append(byAuthor[at], n)
	}
	return newest, byAuthor
}
