package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

// What people do to a group: each act is a control event of this device, stored before
// anybody hears of it. It works offline and counts, or not, wherever it arrives, by
// the rule of package authority; here a person is told beforehand what would have no
// effect, and who could do it.

// actState is what a room remembers of acts beyond its events.
type actState struct {
	unmutes  map[protocol.Key]unmuteDue // by whom they are on
	requests map[protocol.Key]*heldRequest
	seals    map[protocol.Key]time.Time // leaves to seal, and when
	scanned  int                        // events of the set in which leaves were looked for
}

// loadActs reads back what the store keeps of it.
func (r *room) loadActs(ctx context.Context) error {
	r.acts = actState{seals: make(map[protocol.Key]time.Time)}
	if err := r.loadUnmutes(ctx); err != nil {
		return err
	}
	return r.loadRequests(ctx)
}

// errands does what is due without anybody's asking. The keeper calls it.
func (r *room) errands(ctx context.Context) {
	r.unmuteDue(ctx)
	r.sealLeaves(ctx)
}

// plan says which events an act takes, after looking at the room. Its caller holds
// the room's mutex.
type plan func() ([]intent, error)

// perform makes the events of a plan, and waits until they are stored and told.
func (r *room) perform(ctx context.Context, p plan) ([]Act, error) {
	events, commit, err := r.begin(p)
	if err != nil || len(events) == 0 {
		return nil, err
	}
	return r.complete(ctx, events, commit)
}

// performOne is perform for acts that are known by their last event.
func (r *room) performOne(ctx context.Context, p plan) (Act, error) {
	acts, err := r.perform(ctx, p)
	if err != nil || len(acts) == 0 {
		return Act{}, err
	}
	return acts[len(acts)-1], nil
}

// begin makes and appends the events of a plan.
func (r *room) begin(p plan) ([]protocol.Verified, *storage.Commit, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.refit(); err != nil {
		return nil, nil, err
	}
	list, err := p()
	if err != nil || len(list) == 0 {
		return nil, nil, err
	}
	return r.issueAll(list...)
}

// complete waits for the disk, tells the others, and starts what follows.
func (r *room) complete(ctx context.Context, events []protocol.Verified, commit *storage.Commit) ([]Act, error) {
	if err := r.finish(ctx, commit, events...); err != nil {
		return nil, err
	}
	var acts []Act
	r.mu.Lock()
	for _, v := range events {
		acts = append(acts, r.act(v.ID()))
	}
	r.mu.Unlock()
	if err := r.gone(ctx, events); err != nil {
		r.n.log.Warn("rotate after a removal", "err", err) // who sends next rotates
	}
	return acts, nil
}

// gone starts the epoch that somebody's going calls for. Who is only demoted stays in
// the group and may find it.
func (r *room) gone(ctx context.Context, events []protocol.Verified) error {
	switch kind := events[0].Header().Kind; {
	case kind == protocol.KindDeviceRevoke:
		return r.rotateAfter(ctx, kind)
	case kind != protocol.KindRemove && kind != protocol.KindBan:
		return nil
	case len(events) > 1:
		return r.rotate(ctx, protocol.Stale, nil)
	default:
		return r.rotateAfter(ctx, kind)
	}
}

// standing returns this person's place, if it lets them issue a kind. The caller
// holds mu.
func (r *room) standing(kind protocol.Kind) (protocol.Standing, error) {
	me, ok := r.current().Standing(r.me.Root())
	if !ok || me.Rank >= protocol.Relay && kind != protocol.KindLeave {
		return me, fmt.Errorf("%w: you are not a member of %s", ErrNotAllowed, protocol.Short(r.group.Text(protocol.GroupPrefix)))
	}
	if need := protocol.MayIssue(kind); me.Rank > need {
		return me, fmt.Errorf("%w: this needs the role %s or a more senior one, yours is %s", ErrNotAllowed, need, me.Rank)
	}
	return me, nil
}

// above checks that a rank is senior to somebody's.
func above(mine protocol.Rank, who Person, theirs protocol.Rank) error {
	switch {
	case theirs == protocol.Founder:
		return fmt.Errorf("%w: %s is founder, and nobody is senior to that", ErrNotAllowed, who.label())
	case mine >= theirs:
		return fmt.Errorf("%w: %s is %s; changing that needs the role %s or a more senior one, yours is %s",
			ErrNotAllowed, who.label(), theirs, seniorTo(theirs), mine)
	}
	return nil
}

// seniorTo returns the most junior of the roles that are senior to a rank.
func seniorTo(rank protocol.Rank) protocol.Rank {
	for _, r := range []protocol.Rank{protocol.Moderator, protocol.Admin, protocol.Owner} {
		if r < rank {
			return r
		}
	}
	return protocol.Founder
}

// sealedText makes the sealed text of an act, nil where there is none.
func sealedText(text string, most int) (*protocol.Aside, error) {
	switch {
	case text == "":
		return nil, nil
	case !utf8.ValidString(text):
		return nil, fmt.Errorf("%w: it is not UTF-8", ErrNotText)
	case len(text) > most:
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(text), most)
	}
	return &protocol.Aside{Text: text}, nil
}

func reason(text string) (*protocol.Aside, error) {
	a, err := sealedText(text, reasonMost)
	if err != nil {
		return nil, fmt.Errorf("the reason: %w", err)
	}
	return a, nil
}

// SetRole gives somebody another rank. A demotion is a removal and a grant in one go:
// what they did so far stands. It returns the grant. Errors: ErrNotAllowed, which
// says which role it needs, ErrNothing where they have the rank already,
// ErrUnknownName and ErrAmbiguous.
func (n *Node) SetRole(ctx context.Context, group protocol.ID, who string, rank protocol.Rank, why string) (Act, error) {
	r, err := n.room(group)
	if err != nil {
		return Act{}, err
	}
	a, err := r.performOne(ctx, func() ([]intent, error) { return r.planRole(who, rank, why) })
	if err != nil {
		return Act{}, fmt.Errorf("role: %w", err)
	}
	return a, nil
}

func (r *room) planRole(who string, rank protocol.Rank, why string) ([]intent, error) {
	p, err := choose(who, r.peopleOf(r.others()))
	if err != nil {
		return nil, err
	}
	me, err := r.standing(protocol.KindRemove) // a greeter may admit, and no more
	if err != nil {
		return nil, err
	}
	old := r.current().Rank(p.Key)
	switch {
	case rank == protocol.Founder:
		return nil, fmt.Errorf("%w: founders are named when a group is made; the next role is owner", ErrNotAllowed)
	case rank > protocol.Relay:
		return nil, fmt.Errorf("%w: there is no role %s", ErrNotAllowed, rank)
	case old == rank:
		return nil, fmt.Errorf("%w: %s is %s already", ErrNothing, p.label(), rank)
	}
	if err := above(me.Rank, p, old); err != nil {
		return nil, err
	}
	if rank <= me.Rank {
		return nil, fmt.Errorf("%w: making somebody %s needs the role %s or a more senior one, yours is %s", ErrNotAllowed, rank, seniorTo(rank), me.Rank)
	}
	text, err := reason(why)
	if err != nil {
		return nil, err
	}
	grant := intent{kind: protocol.KindGrant, clear: &protocol.Grant{Target: p.Key, Rank: rank}, aside: text}
	if rank < old {
		return []intent{grant}, nil
	}
	cut, err := r.cut(p.Key, time.Time{})
	if err != nil {
		return nil, err
	}
	return []intent{{kind: protocol.KindRemove, clear: &protocol.Denial{Target: p.Key, Cut: cut}}, grant}, nil
}

// Expel bans somebody, or with Kick removes them. What this node has seen of them
// stands, unless Since says otherwise; what they do later, or did elsewhere, does not
// count. Who has gone already can be banned too. Errors are as those of
// [Node.SetRole].
func (n *Node) Expel(ctx context.Context, group protocol.ID, who string, o ExpelOptions) (Act, error) {
	r, err := n.room(group)
	if err != nil {
		return Act{}, err
	}
	a, err := r.performOne(ctx, func() ([]intent, error) {
		list, err := r.planExpel(who, o)
		if o.Try {
			list = nil
		}
		return list, err
	})
	if err != nil {
		return Act{}, fmt.Errorf("expel: %w", err)
	}
	return a, nil
}

func (r *room) planExpel(who string, o ExpelOptions) ([]intent, error) {
	p, err := choose(who, r.peopleOf(r.others()))
	if errors.Is(err, ErrUnknownName) && !o.Kick {
		if gone, e := choose(who, r.peopleOf(r.gonePeople())); e == nil {
			p, err = gone, nil
		}
	}
	if err != nil {
		return nil, err
	}
	me, err := r.standing(protocol.KindBan)
	if err != nil {
		return nil, err
	}
	if err := above(me.Rank, p, r.current().Rank(p.Key)); err != nil {
		return nil, err
	}
	if bans := r.current().Banned(p.Key); len(bans) > 0 {
		return nil, fmt.Errorf("%w: %s is banned already, by %s", ErrNothing, p.label(), r.authorOf(bans[0]).label())
	}
	if !o.Since.IsZero() && me.Rank > protocol.Admin {
		return nil, fmt.Errorf("%w: undoing what was seen needs the role admin or a more senior one, yours is %s", ErrNotAllowed, me.Rank)
	}
	text, err := reason(o.Reason)
	if err != nil {
		return nil, err
	}
	cut, err := r.cut(p.Key, o.Since)
	if err != nil {
		return nil, err
	}
	kind := protocol.KindBan
	if o.Kick {
		kind = protocol.KindRemove
	}
	return []intent{{kind: kind, clear: &protocol.Denial{Target: p.Key, Cut: cut}, aside: text}}, nil
}

// Unban lifts all bans on somebody who is banned: they may be admitted again. It is
// refused where a ban is by somebody more senior, since it would change nothing.
func (n *Node) Unban(ctx context.Context, group protocol.ID, who, why string) (Act, error) {
	r, err := n.room(group)
	if err != nil {
		return Act{}, err
	}
	a, err := r.performOne(ctx, func() ([]intent, error) {
		banned := func(root protocol.Key) []protocol.ID { return r.current().Banned(root) }
		return r.planLift(protocol.KindUnban, who, why, "banned", r.gonePeople(), banned)
	})
	if err != nil {
		return Act{}, fmt.Errorf("unban: %w", err)
	}
	return a, nil
}

// planLift lifts what is on somebody: bans or mutes.
func (r *room) planLift(kind protocol.Kind, who, why, state string, people []protocol.Key, on func(protocol.Key) []protocol.ID) ([]intent, error) {
	people = slices.DeleteFunc(people, func(k protocol.Key) bool { return len(on(k)) == 0 })
	p, err := choose(who, r.peopleOf(people))
	if errors.Is(err, ErrUnknownName) {
		return nil, fmt.Errorf("%w, of those who are %s: %q; a key works too", ErrUnknownName, state, who)
	}
	if err != nil {
		return nil, err
	}
	me, err := r.standing(kind)
	if err != nil {
		return nil, err
	}
	for _, id := range on(p.Key) {
		if need := r.current().Acting(id); me.Rank > need {
			return nil, fmt.Errorf("%w: %s was %s by %s, as %s; lifting that needs the role %s or a more senior one, yours is %s",
				ErrNotAllowed, p.label(), state, r.authorOf(id).label(), need, need, me.Rank)
		}
	}
	text, err := reason(why)
	return []intent{{kind: kind, clear: &protocol.Lift{Target: p.Key}, aside: text, must: on(p.Key)}}, err
}

// authorOf returns who made a control event. The caller holds mu.
func (r *room) authorOf(id protocol.ID) Person {
	root, _ := r.set.Author(id)
	return r.personOf(root)
}

// others returns the members but this one. The caller holds mu.
func (r *room) others() []protocol.Key {
	var out []protocol.Key
	for _, s := range r.current().Members() {
		if s.Root != r.me.Root() {
			out = append(out, s.Root)
		}
	}
	return out
}

// gonePeople returns who was in the group and is not. The caller holds mu.
func (r *room) gonePeople() []protocol.Key {
	return slices.DeleteFunc(r.current().People(), func(k protocol.Key) bool { return r.current().Rank(k) != protocol.NoRank })
}

func (r *room) peopleOf(roots []protocol.Key) []Person {
	out := make([]Person, len(roots))
	for i, k := range roots {
		out[i] = r.personOf(k)
	}
	return out
}

// act describes a control event of the set, with what undid it. The caller holds mu.
func (r *room) act(id protocol.ID) Act {
	a := r.plainAct(id)
	if cause, ok := r.current().Cause(id); ok && !r.current().Effective(id) {
		by := r.plainAct(cause)
		a.Undone = &by
	}
	return a
}

func (r *room) plainAct(id protocol.ID) Act {
	v, c, ok := r.set.Get(id)
	if !ok {
		return Act{ID: id, Rank: protocol.NoRank, Right: protocol.NoRank}
	}
	h := v.Header()
	a := Act{
		ID: id, Kind: h.Kind.String(), Time: protocol.Time(h.HLC), By: r.authorOf(id),
		Right: r.current().Acting(id), Rank: protocol.NoRank,
	}
	a.Text, _ = r.asideText(v)
	switch c := c.(type) {
	case *protocol.Grant:
		a.Target, a.Rank, a.Admits = r.personOf(c.Target), c.Rank, c.Proof != nil
	case *protocol.Denial:
		a.Target = r.personOf(c.Target)
	case *protocol.Lift:
		a.Target = r.personOf(c.Target)
	case *protocol.Invite:
		a.Rank = c.Rank
	case *protocol.Setting:
		a.Number, a.Value = c.Number, c.Value
	case *protocol.Leave:
		open, ok := r.unsealed(a.By.Key)
		a.Unsealed = ok && open == id
	}
	return a
}

// sortActs puts acts into the order in which they claim to have happened.
func sortActs(acts []Act) {
	slices.SortFunc(acts, func(a, b Act) int { return cmp.Or(a.Time.Compare(b.Time), a.ID.Compare(b.ID)) })
}
