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
	me      Key
	epochs  map[ID]*Epoch
	rekeys  map[ID]ID // by epoch, the rekey that its secret fits
	tags    map[EpochTag]*Epoch
	pending map[ID]EpochSecret
	points  map[ID]Secret // by epoch, the rendezvous secret that its rekey carries
	steps   map[ID]int    // by epoch, how many of the admissions that name it were looked at
	forged  map[naming]bool
	spent   map[ID]bool // epochs under which enough was sent
	changes int
	chosen  map[time.Duration]Choice // by grace
}

// naming is a grant's word about an epoch.
type naming struct{ grant, eid ID }

// NewKeyring returns the empty keyring of somebody in a group.
func NewKeyring(group ID, me Key) *Keyring {
	return &Keyring{
		group: group, me: me, steps: make(map[ID]int), forged: make(map[naming]bool), epochs: make(map[ID]*Epoch), rekeys: make(map[ID]ID), tags: make(map[EpochTag]*Epoch),
		pending: make(map[ID]EpochSecret), points: make(map[ID]Secret), spent: make(map[ID]bool), chosen: make(map[time.Duration]Choice),
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
func (k *Keyring) Add(s EpochSecret) {
	if k.adds(s) {
		k.pending[s.Epoch] = s
	}
}

// adds says whether a secret opens more of an epoch than is held.
func (k *Keyring) adds(s EpochSecret) bool {
	ep := k.epochs[s.Epoch]
	return ep == nil || ep.E.IsZero() && (!s.E.IsZero() || s.Step < ep.Step)
}

// Betters says whether a secret is known to open more of an epoch than is held.
func (k *Keyring) Betters(s *Set, secret EpochSecret) bool {
	return k.adds(secret) && k.Fits(s, secret)
}

// Drop forgets a secret that waits for its rekey.
func (k *Keyring) Drop(eid ID) { delete(k.pending, eid) }

// Open checks what waits against the rekeys of a set, opens parents with what it
// finds, and returns the epochs that opened. It takes the epochs to the steps that the
// set's admissions go to.
func (k *Keyring) Open(s *Set) []*Epoch {
	var opened []*Epoch
	for _, secret := range k.pending {
		opened = append(opened, k.take(s, secret)...)
	}
	for eid, ep := range k.epochs {
		k.follow(s, eid, ep)
	}
	return opened
}

// take opens an epoch with a secret, and what that opens.
func (k *Keyring) take(s *Set, secret EpochSecret) []*Epoch {
	var opened []*Epoch
	for todo := []EpochSecret{secret}; len(todo) > 0; todo = todo[1:] {
		ep, rekey := k.open(s, todo[0])
		if ep == nil {
			continue
		}
		opened = append(opened, ep)
		for _, p := range rekey.Parents {
			if k.Held(p.Epoch) || len(p.Back) == 0 || ep.E.IsZero() {
				continue
			}
			if e, err := ep.OpenParent(p.Epoch, p.Back); err == nil {
				todo = append(todo, EpochSecret{Epoch: p.Epoch, E: e})
			}
		}
	}
	return opened
}

// open takes an epoch in if the secret fits.
func (k *Keyring) open(s *Set, secret EpochSecret) (*Epoch, *Rekey) {
	if !k.adds(secret) {
		delete(k.pending, secret.Epoch)
		return nil, nil
	}
	ep, rekey := k.fit(s, secret)
	if ep == nil {
		return nil, nil
	}
	eid := ep.ID
	k.epochs[eid], k.rekeys[eid], k.tags[ep.Tag()] = ep, s.nodes[rekey].v.id, ep
	delete(k.pending, eid)
	delete(k.steps, eid)
	k.changes++
	body := s.nodes[rekey].clear.(*Rekey)
	if !secret.N.IsZero() && CommitN(k.group, secret.N) == body.Commit {
		k.points[eid] = secret.N
	} else if n, err := ep.OpenN(body.SealedN, body.Commit); err == nil {
		k.points[eid] = n
	}
	return ep, body
}

// Fits says whether a secret is what a rekey, or an admission of this keyring's owner,
// committed to.
func (k *Keyring) Fits(s *Set, secret EpochSecret) bool {
	ep, _ := k.fit(s, secret)
	return ep != nil
}

// fit finds the rekey that a secret is of. Anybody can claim an epoch's id; only its
// author's rekey fits E. A later step is what an admission committed to; which of several
// rekeys it is of, it does not say.
func (k *Keyring) fit(s *Set, secret EpochSecret) (*Epoch, int32) {
	claims, eid := s.epochs[secret.Epoch], secret.Epoch
	if !secret.E.IsZero() {
		for _, i := range claims {
			h := s.nodes[i].v.Header()
			if ep, err := NewEpoch(k.group, eid, h.Dev, h.Seq, secret.E); err == nil {
				return ep, i
			}
		}
		return nil, 0
	}
	for _, i := range s.steps[eid] {
		st := s.stepOf(i, eid)
		if len(claims) > 0 && s.nodes[i].clear.(*Grant).Target == k.me && st.Step == secret.Step && st.Hash == CommitStep(k.group, eid, st.Step, secret.S) {
			return &Epoch{Group: k.group, ID: eid, Step: secret.Step, S: secret.S}, claims[0]
		}
	}
	return nil, 0
}

// follow takes an epoch to the step that the admissions which name it go to, and finds
// out which of those committed to something else.
func (k *Keyring) follow(s *Set, eid ID, ep *Epoch) {
	list := s.steps[eid]
	done, known := k.steps[eid]
	if known && done == len(list) {
		return
	}
	if done > len(list) {
		done = 0 // another set
	}
	var last uint32
	for _, i := range list {
		last = max(last, s.stepOf(i, eid).Step)
	}
	ep = ep.until(last)
	for _, i := range list[done:] {
		st := s.stepOf(i, eid)
		if secret, err := ep.at(st.Step); err == nil && CommitStep(k.group, eid, st.Step, secret) != st.Hash {
			k.forged[naming{s.nodes[i].v.id, eid}] = true
		}
	}
	k.epochs[eid], k.tags[ep.Tag()], k.steps[eid] = ep, ep, len(list)
	k.changes++
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
		k.settle(r, best.ID)
	}
	if len(k.chosen) > 4 {
		clear(k.chosen)
	}
	k.chosen[grace] = c
	return c
}

// settle has an epoch sealed at the step that the firm admissions go to. Others may
// never come to hold those that are not, and open nothing beyond what they hold.
func (k *Keyring) settle(r *Roster, eid ID) {
	ep, list := k.epochs[eid], r.set.steps[eid]
	if ep.last == nil || len(list) == 0 {
		return
	}
	f, last := r.firm(), uint32(0)
	for _, i := range list {
		if f.has(i) {
			last = max(last, r.set.stepOf(i, eid).Step)
		}
	}
	if c := ep.sealing(last); c.sealAt != ep.sealAt {
		k.epochs[eid], k.tags[c.Tag()] = c, c
	}
}

// Candidates returns all epochs of the group as this keyring sees them.
func (k *Keyring) Candidates(r *Roster, now uint64, grace time.Duration) []Candidate {
	return r.Candidates(k.view(r, View{Now: now, Grace: grace}))
}

// view is how a keyring's owner looks at the epochs.
func (k *Keyring) view(r *Roster, v View) View {
	v.Spent = func(eid ID) bool { return k.spent[eid] }
	v.Forged = func(grant, eid ID) bool { return k.forged[naming{grant, eid}] }
	v.Held = func(eid, rekey ID) bool {
		ep := k.epochs[eid]
		return ep != nil && k.rekeys[eid] == rekey && (!ep.E.IsZero() || len(r.set.epochs[eid]) == 1)
	}
	return v
}

// Live returns the epochs that are held and that no other held one follows: the one to
// send under first, then those that were needed. What was not needed takes the place of
// none that was.
func (k *Keyring) Live(r *Roster, now uint64, grace time.Duration) []*Epoch {
	all := k.Candidates(r, now, grace)
	best, fit := Usable(all) // as Choose does
	// Of those that are not held, anybody may claim that they follow.
	all = slices.DeleteFunc(all, func(c Candidate) bool { return !c.Held })
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
	if fit {
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
