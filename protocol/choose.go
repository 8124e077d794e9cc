package protocol

import (
	"slices"
	"time"
)

// View is from where somebody looks at the epochs of a group.
type View struct {
	Held  func(eid, rekey ID) bool // whether the secret is here, and that of this rekey
	Now   uint64                   // what time it is, in milliseconds
	Grace time.Duration            // for how long a leave or a revocation may be missing
}

// Candidates returns the epochs of the group for [Usable]. An epoch is current if its
// rekey has seen everybody go who went; leaves and revocations younger than the grace
// may be missing, so that not every leave starts an epoch at once.
func (r *Roster) Candidates(v View) []Candidate {
	s := r.set
	since := v.Now - min(v.Now, uint64(v.Grace/time.Millisecond))
	endings := slices.DeleteFunc(r.state.Endings(), func(i int32) bool {
		h := s.nodes[i].v.Header()
		return (h.Kind == KindLeave || h.Kind == KindDeviceRevoke) && h.HLC > since
	})
	depth := make(map[ID]int)
	var out []Candidate
	for _, i := range s.kinds[KindRekey] {
		if !r.state.Counts(i) {
			continue
		}
		k := s.nodes[i].clear.(*Rekey)
		c := Candidate{ID: k.Epoch, Rank: s.graph.Acting(i), Held: v.Held(k.Epoch, s.nodes[i].v.id)}
		c.Current = !slices.ContainsFunc(endings, func(e int32) bool { return !s.graph.Sees(i, e) })
		for _, p := range k.Parents {
			c.Parents = append(c.Parents, p.Epoch)
			c.Depth = max(c.Depth, depth[p.Epoch]+1)
		}
		depth[k.Epoch] = c.Depth
		out = append(out, c)
	}
	return out
}

// Candidate is an epoch somebody could send under.
type Candidate struct {
	ID      ID
	Parents []ID
	Rank    Rank // of the rekey's author
	Depth   int  // longest way to the first epoch
	Held    bool // the secret is here
	Current bool // every denial that is held lies in the rekey's past
}

// Usable chooses the epoch to send under, of many: held and current, with no
// usable descendant; then the most senior author, the deepest, the lowest id. No
// answer means that a rekey is needed.
func Usable(all []Candidate) (ID, bool) {
	byID := make(map[ID]*Candidate, len(all))
	for i := range all {
		byID[all[i].ID] = &all[i]
	}
	followed := make(map[ID]bool)
	for _, c := range all {
		if c.Held && c.Current {
			markAncestors(c.Parents, byID, followed)
		}
	}
	var best *Candidate
	for i := range all {
		c := &all[i]
		if c.Held && c.Current && !followed[c.ID] && (best == nil || c.before(best)) {
			best = c
		}
	}
	if best == nil {
		return ID{}, false
	}
	return best.ID, true
}

func (c *Candidate) before(o *Candidate) bool {
	switch {
	case c.Rank != o.Rank:
		return c.Rank < o.Rank
	case c.Depth != o.Depth:
		return c.Depth > o.Depth
	}
	return c.ID.Compare(o.ID) < 0
}

func markAncestors(from []ID, byID map[ID]*Candidate, seen map[ID]bool) {
	for len(from) > 0 {
		id := from[len(from)-1]
		from = from[: len(from)-1 : len(from)-1]
		if c := byID[id]; c != nil && !seen[id] {
			seen[id] = true
			from = append(from, c.Parents...)
		}
	}
}
