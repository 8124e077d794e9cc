package node

import (
	"context"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

// Retract takes a message back. Its author's own retraction erases the text wherever
// it arrives; that of a moderator or somebody more senior, whose role has to be more
// senior than the one the message counts under, hides it at once and erases it 30 days
// later, so that a senior can undo it by undoing the moderator. Somebody with a changed
// program may keep a copy in any case. The reason is shown to the group.
func (n *Node) Retract(ctx context.Context, group, id protocol.ID, reason string) (Act, error) {
	r, err := n.room(group)
	if err != nil {
		return Act{}, err
	}
	if err := checkReason(reason); err != nil {
		return Act{}, fmt.Errorf("retract: %w", err)
	}
	message, err := r.messageHere(ctx, id)
	if err != nil {
		return Act{}, fmt.Errorf("retract: %w", err)
	}
	w := words{kind: protocol.KindRetract, content: protocol.Content{Text: reason}, to: id}
	if w.claim, err = r.mayRetract(message); err != nil {
		return Act{}, fmt.Errorf("retract: %w", err)
	}
	v, err := r.tell(ctx, w)
	if err != nil {
		return Act{}, fmt.Errorf("retract: %w", err)
	}
	if err := r.catchUp(ctx); err != nil {
		return Act{}, fmt.Errorf("retract: it is taken back, and erased here later: %w", err)
	}
	return r.messageAct(v, message, reason), nil
}

// checkReason holds for a text that goes with a retraction or a report.
func checkReason(s string) error {
	switch {
	case !utf8.ValidString(s):
		return fmt.Errorf("the reason: %w: it is not UTF-8", ErrNotText)
	case len(s) > protocol.MaxReasonSize:
		return fmt.Errorf("the reason has %d bytes: %w: at most %d", len(s), ErrTooLarge, protocol.MaxReasonSize)
	}
	return nil
}

// messageHere returns something that somebody said, by its id.
func (r *room) messageHere(ctx context.Context, id protocol.ID) (protocol.Verified, error) {
	e, err := r.log.Get(ctx, id)
	if errors.Is(err, storage.ErrNotFound) {
		return protocol.Verified{}, fmt.Errorf("%w: %s: it may still be on its way; wait for a sync", ErrUnknownMessage, id)
	}
	if err != nil {
		return protocol.Verified{}, err
	}
	if h := e.Event.Header(); h.Chain != protocol.Messages || machinery(h.Kind) {
		return protocol.Verified{}, fmt.Errorf("%w: %s is a %s, nothing that somebody said", ErrUnknownMessage, id, h.Kind)
	}
	return e.Event, nil
}

// machinery says whether a message only does something to others.
func machinery(k protocol.Kind) bool {
	switch k {
	case protocol.KindRetract, protocol.KindExpire, protocol.KindReport, protocol.KindClose:
		return true
	}
	return false
}

// mayRetract says whether this person may take a message back, and whether they do so
// as a senior of its author.
func (r *room) mayRetract(v protocol.Verified) (senior bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	author, _ := r.current().Whose(v.Header().Dev)
	senior = author != r.me.Root()
	if by, ok := r.retracted(v); ok && (senior || r.sameAuthor(by, v)) {
		return senior, fmt.Errorf("%s was taken back already by %s", v.ID(), r.author(by).label())
	}
	rank, err := r.current().CheckMessage(v, chains{r})
	if err != nil {
		return senior, fmt.Errorf("it is not shown anyway: %w", err)
	}
	me := r.current().Rank(r.me.Root())
	if !senior || me <= protocol.Moderator && me < rank {
		return senior, nil
	}
	if rank == protocol.Founder {
		return senior, fmt.Errorf("%w: %s's message counts as a founder's: only %s can take it back", ErrNotAllowed, r.author(v).label(), r.author(v).label())
	}
	return senior, fmt.Errorf("%w: %s's message counts as a %s's; taking it back needs %s or a more senior role, yours is %s",
		ErrNotAllowed, r.author(v).label(), rank, seniorTo(rank), me)
}

// author returns who an event is by, in the group or not. The caller holds mu.
func (r *room) author(v protocol.Verified) Person {
	if root, ok := r.current().Whose(v.Header().Dev); ok {
		return r.personOf(root)
	}
	return r.person(v.Header().Dev)
}

// sameAuthor says whether two events are by one person. The caller holds mu.
func (r *room) sameAuthor(a, b protocol.Verified) bool {
	x, ok := r.current().Whose(a.Header().Dev)
	y, also := r.current().Whose(b.Header().Dev)
	return ok && also && x == y
}

// retracted returns the retraction by which a message is taken back: its author's, or
// else of those that count the first by id. It needs the message's header only, and
// answers anew: a retraction whose author was removed may count no more. What is taken
// back is not shown, and no whole copy is put in the place of an erased one. The caller
// holds mu.
func (r *room) retracted(v protocol.Verified) (by protocol.Verified, ok bool) {
	if !r.abouts[storage.TargetOf(v.ID())] {
		return by, false
	}
	list, err := r.log.About(context.Background(), v.ID()) // also while the node ends
	if err := r.readable(err); err != nil {
		r.n.log.Error("retractions cannot be read", "event", v.ID(), "err", err)
		return by, false
	}
	for _, e := range list {
		own := r.sameAuthor(e.Event, v)
		if !own && (ok || e.Event.Header().Auth.IsZero()) || !r.current().Retracts(e.Event, v, chains{r}) {
			continue
		}
		by, ok = e.Event, true
		if own {
			break
		}
	}
	return by, ok
}

// messageAct describes a message that does something to another.
func (r *room) messageAct(v, about protocol.Verified, text string) Act {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := v.Header()
	a := Act{ID: v.ID(), Kind: h.Kind.String(), Time: protocol.Time(h.HLC), By: r.author(v), Rank: protocol.NoRank, Text: text}
	if !about.IsZero() {
		a.Target = r.author(about)
	}
	a.Right = r.current().Right(v, chains{r})
	if rank, err := r.current().CheckMessage(v, chains{r}); err == nil && h.Auth.IsZero() {
		a.Right = rank
	}
	return a
}
