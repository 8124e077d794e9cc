package syncsim

import (
	"slices"

	"github.com/p2pchat/p2pchat/protocol"
)

// say writes a message, if this one belongs in its own view.
func (r *replica) say() {
	if r.set == nil {
		return
	}
	me, ok := r.roster.Owner(r.id.Dev())
	if !ok {
		return
	}
	v, err := protocol.Draft{
		Group: r.w.group, Kind: protocol.KindText, Prev: r.msg, Refs: r.set.Heads(protocol.MaxMessageRefs, me.Grant), HLC: r.hlc(),
	}.SignMessage(protocol.Content{Text: "said"}, r.w.epoch, r.id.Signer(), r.w.random)
	if err != nil {
		r.w.fail("replica %d cannot write: %v", r.n, err)
		return
	}
	r.msg = v.Tip()
	r.w.said[v.ID()] = v
	r.take([]protocol.Verified{v})
	r.flush() // before anybody hears of it
	r.w.gossip(r, v)
}

// issue writes a control event, if this one may.
func (r *replica) issue(kind protocol.Kind, c protocol.Clear) (protocol.Verified, bool) {
	me, ok := r.roster.Owner(r.id.Dev())
	if !ok || me.Rank > protocol.MayIssue(kind) {
		return protocol.Verified{}, false
	}
	v, err := protocol.Draft{
		Group: r.w.group, Kind: kind, Prev: r.ctl, Refs: r.set.Heads(protocol.MaxControlRefs, me.Grant), Auth: me.Grant, HLC: r.hlc(),
	}.SignControl(c, nil, nil, r.id.Signer(), r.w.random)
	if err != nil || r.w.truth.Add(v) != nil {
		return v, false // such as a grant to who has one
	}
	r.ctl = v.Tip()
	r.take([]protocol.Verified{v})
	r.flush()
	r.w.gossip(r, v)
	return v, true
}

// admit lets somebody new in, who begins with what the admitter holds of control events.
func (r *replica) admit() {
	w := r.w
	me, ok := r.roster.Owner(r.id.Dev())
	if !ok || me.Rank > protocol.Greeter || len(w.replicas) == replicasMost {
		return
	}
	rank := pick(w, []protocol.Rank{protocol.Admin, protocol.Moderator, protocol.Greeter, protocol.Member, protocol.Member})
	if rank <= me.Rank {
		rank = protocol.Member
	}
	link := protocol.Link{Group: w.group, Seed: w.secret()}
	in, ok := r.issue(protocol.KindInvite, &protocol.Invite{Key: link.PublicKey(), Rank: rank})
	if !ok {
		return
	}
	box, err := protocol.NewBoxKey(false)
	if err != nil {
		panic(err)
	}
	o := w.newReplica(w.group)
	request, err := link.Request(o.id, box, "", "", w.random)
	if err != nil {
		panic(err)
	}
	if _, ok := r.issue(protocol.KindGrant, &protocol.Grant{
		Target: o.id.Root(), Rank: rank, Invite: in.ID(), Cert: &request.Cert, Proof: &request.Proof,
	}); !ok {
		w.fail("replica %d cannot admit", r.n)
	}
	o.giver, o.side = []*replica{r}, r.side
	o.begin(r.log[0])
	w.pull(o, r)
}

// act does something about somebody's place.
func (r *replica) act() {
	if r.set == nil {
		return
	}
	o := pick(r.w, r.w.replicas)
	root := o.id.Root()
	switch x := r.w.dice.IntN(100); {
	case x < 25:
		r.admit()
	case x < 40:
		rank := pick(r.w, []protocol.Rank{protocol.Admin, protocol.Moderator, protocol.Greeter})
		if _, ok := r.issue(protocol.KindGrant, &protocol.Grant{Target: root, Rank: rank}); ok {
			o.giver = append(o.giver, r) // whom it lets in belongs as long as this rank was given rightly
		}
	case x < 70:
		kind := pick(r.w, []protocol.Kind{protocol.KindBan, protocol.KindRemove, protocol.KindMute})
		if o == r {
			return
		}
		_, ok := r.issue(kind, &protocol.Denial{Target: root, Cut: r.cut(o)})
		o.denied = o.denied || ok
	case x < 85:
		r.issue(pick(r.w, []protocol.Kind{protocol.KindUnban, protocol.KindUnmute}), &protocol.Lift{Target: root})
	case x < 92 && r.n > 0:
		_, ok := r.issue(protocol.KindLeave, &protocol.Leave{})
		r.denied = r.denied || ok
	case x < 96: // back in, for who was removed
		r.issue(protocol.KindGrant, &protocol.Grant{Target: root, Rank: protocol.Member})
	}
}

// cut spares all that was seen of somebody; now and then nothing, or some of it.
func (r *replica) cut(o *replica) (c protocol.Cut) {
	if r.w.chance(15) {
		return c
	}
	c.Control = slices.Clone(r.set.Tips(o.id.Root()))
	slices.SortFunc(c.Control, protocol.ID.Compare)
	var seen []protocol.Verified
	for _, v := range r.said {
		if v.Header().Dev == o.id.Dev() {
			seen = append(seen, v)
		}
	}
	if len(seen) > 0 {
		slices.SortFunc(seen, func(a, b protocol.Verified) int { return int(a.Header().Seq) - int(b.Header().Seq) })
		last := seen[len(seen)-1]
		if r.w.chance(20) {
			last = pick(r.w, seen)
		}
		c.Messages = []protocol.CutEntry{{ID: last.ID(), Seq: last.Header().Seq}}
	}
	return c
}

// doubtful says whether what somebody said need not count: somebody acted on it, or on
// whoever gave it its place or a rank, and so on.
func (r *replica) doubtful() bool {
	seen := map[*replica]bool{r: true}
	for list := []*replica{r}; len(list) > 0; list = list[1:] {
		if list[0].denied {
			return true
		}
		for _, o := range list[0].giver {
			if !seen[o] {
				seen[o], list = true, append(list, o)
			}
		}
	}
	return false
}
