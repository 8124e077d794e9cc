package node

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

// Report tells the moderators about a message, with a reason. It is sealed to
// moderators and their seniors, but for the message's author, and carries the message
// as its author signed it, so that they need not take anybody's word for it. It can be
// made while nobody is reachable, and by who is muted. Other members' programs can
// see that somebody reported something and when; not about what, and not why.
func (n *Node) Report(ctx context.Context, group, id protocol.ID, reason string) (Act, error) {
	r, err := n.room(group)
	if err != nil {
		return Act{}, err
	}
	v, about, err := r.report(ctx, id, reason)
	if err != nil {
		return Act{}, fmt.Errorf("report: %w", err)
	}
	return r.messageAct(v, about, reason), nil
}

func (r *room) report(ctx context.Context, id protocol.ID, reason string) (v, about protocol.Verified, err error) {
	if err := checkReason(reason); err != nil {
		return v, about, err
	}
	if about, err = r.messageHere(ctx, id); err != nil {
		return v, about, err
	}
	mine, err := r.reports(ctx, true)
	if err != nil {
		return v, about, err
	}
	if slices.ContainsFunc(mine, func(m Report) bool { return m.Message == id }) {
		return v, about, fmt.Errorf("%w: you have reported %s already; the moderators have it", ErrNotAllowed, id)
	}
	r.mu.Lock()
	if r.expired(about) {
		about = about.Erased() // a report is no way to keep it
	}
	r.mu.Unlock()
	to, err := r.recipients(about)
	if err != nil {
		return v, about, err
	}
	boxed, err := protocol.Complaint{Reason: reason, Event: protocol.CarryEvent(about)}.Box(r.group, r.me.Dev(), to, rand.Reader)
	if err != nil {
		return v, about, err
	}
	v, err = r.tell(ctx, words{kind: protocol.KindReport, content: protocol.Content{Boxed: boxed}})
	return v, about, err
}

// recipients returns whom a report about a message is sealed to: moderators and their
// seniors but its author, and this device, so that it can read its own report.
func (r *room) recipients(about protocol.Verified) ([]protocol.Recipient, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	author, _ := r.current().Whose(about.Header().Dev)
	if author == r.me.Root() {
		return nil, fmt.Errorf("%w: it is your own message; take it back instead", ErrNotAllowed)
	}
	to := r.moderators(author, protocol.MaxReportBoxes-1)
	if len(to) == 0 {
		return nil, fmt.Errorf("%w: no moderator's device has published a key yet: try again when one of them has been online", ErrNoKey)
	}
	return r.andThisDevice(to), nil
}

// moderators returns up to most devices of moderators and their seniors that have a
// prekey: first one of each person, moderators before their seniors; but, as it is a
// matter between others, not those of one identity. The caller holds mu.
func (r *room) moderators(but protocol.Key, most int) []protocol.Recipient {
	type device struct {
		protocol.Recipient
		turn int // which of its owner's devices it is
		rank protocol.Rank
	}
	var all []device
	for _, s := range r.current().Members() {
		turn := 0
		for _, dev := range s.Devices {
			if s.Rank > protocol.Moderator || s.Root == but {
				continue
			}
			if key, ok := r.prekey(dev); ok && protocol.CheckPrekey(key) == nil {
				all = append(all, device{protocol.Recipient{Dev: dev, Prekey: key}, turn, s.Rank})
				turn++
			}
		}
	}
	slices.SortStableFunc(all, func(a, b device) int {
		return cmp.Or(cmp.Compare(a.turn, b.turn), -cmp.Compare(a.rank, b.rank))
	})
	var out []protocol.Recipient
	for _, d := range all[:min(len(all), most)] {
		out = append(out, d.Recipient)
	}
	return out
}

// andThisDevice adds this device to those a report is sealed to. The caller holds mu.
func (r *room) andThisDevice(to []protocol.Recipient) []protocol.Recipient {
	dev := r.me.Dev()
	key, ok := r.prekey(dev)
	if !ok || slices.ContainsFunc(to, func(x protocol.Recipient) bool { return x.Dev == dev }) {
		return to
	}
	return append(to, protocol.Recipient{Dev: dev, Prekey: key})
}

// prekey returns the key that a device can be sealed to now. The caller holds mu.
func (r *room) prekey(dev protocol.Key) ([]byte, bool) {
	rec, ok := r.records[recordSlot{dev, protocol.RecordPrekey}]
	if !ok {
		return nil, false
	}
	return rec.Record().Prekey(r.n.now())
}

// Reports returns the reports of a group, the newest last: to moderators and their
// seniors all that count, to others what they reported themselves. What was sealed
// before somebody became a moderator they cannot read. Reports by who is blocked here
// are left out. At most 1,000 are kept; of who
// wrote the most the oldest go first.
func (n *Node) Reports(group protocol.ID) ([]Report, error) {
	r, err := n.room(group)
	if err != nil {
		return nil, err
	}
	list, err := r.reports(n.ctx, !r.moderates())
	if err != nil {
		return nil, fmt.Errorf("reports: %w", err)
	}
	return list, nil
}

// moderates says whether this person is a moderator or somebody more senior.
func (r *room) moderates() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.current().Rank(r.me.Root()) <= protocol.Moderator
}

// reports returns the reports that count, this person's own only or all.
func (r *room) reports(ctx context.Context, own bool) ([]Report, error) {
	if err := r.catchUp(ctx); err != nil {
		return nil, err
	}
	type subject struct {
		by      protocol.Key
		message protocol.ID
	}
	var out []Report
	seen := make(map[subject]bool)
	for _, v := range r.filedReports(ctx, own) {
		rep, err := r.readReport(ctx, v)
		if err != nil {
			return nil, err
		}
		// A changed program may report a message again and again.
		if s := (subject{rep.By.Key, rep.Message}); rep.Message.IsZero() || !seen[s] {
			seen[s] = true
			out = append(out, rep)
		}
	}
	return out, nil
}

// filedReports returns the events of the reports that count, in display order.
func (r *room) filedReports(ctx context.Context, own bool) []protocol.Verified {
	r.docket.mu.Lock()
	list := slices.Clone(r.docket.reports)
	r.docket.mu.Unlock()
	var out []protocol.Verified
	for _, f := range list {
		e, err := r.log.Get(ctx, f.ID)
		if err != nil {
			continue // damaged: it is named in the log
		}
		r.mu.Lock()
		whose, _ := r.current().Whose(f.Dev)
		_, err = r.current().CheckMessage(e.Event, chains{r})
		if err == nil && (!own || whose == r.me.Root()) && !r.blocked[whose] {
			out = append(out, e.Event)
		}
		r.mu.Unlock()
	}
	slices.SortFunc(out, display)
	return out
}

// display orders messages as they are shown.
func display(a, b protocol.Verified) int {
	return cmp.Or(cmp.Compare(a.Header().HLC, b.Header().HLC), a.ID().Compare(b.ID()))
}

// readReport opens a report as far as this device can.
func (r *room) readReport(ctx context.Context, v protocol.Verified) (Report, error) {
	r.mu.Lock()
	rep := Report{ID: v.ID(), By: r.author(v), Time: protocol.Time(v.Header().HLC), State: "open"}
	r.mu.Unlock()
	var c protocol.Complaint
	err := r.unbox(ctx, v, func(b protocol.ReportBox, key protocol.Secret) (err error) {
		c, err = b.Complaint(r.group, v.Header().Dev, key)
		return err
	})
	switch {
	case errors.Is(err, errNoEpoch):
		rep.Unreadable = "its key is not here yet"
	case errors.Is(err, ErrNoKey):
		rep.Unreadable = "it is sealed to others"
	case err != nil:
		rep.Unreadable = "it does not open"
	default:
		rep.Reason = c.Reason
		r.readCarried(ctx, &rep, c.Event)
	}
	return rep, r.readClosing(ctx, &rep)
}

// readCarried takes over what a report says about a message, if its author signed it.
func (r *room) readCarried(ctx context.Context, rep *Report, wire []byte) {
	v, err := protocol.Verify(r.group, wire)
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.current().Whose(v.Header().Dev); err != nil || !known || v.Header().Chain != protocol.Messages {
		rep.Unreadable = "what it carries is not a message of this group"
		return
	}
	rep.Message, rep.Author, rep.Verified = v.ID(), r.author(v), true
	if !v.Whole() {
		if e, err := r.log.Get(ctx, v.ID()); err == nil && !r.expired(e.Event) {
			v = e.Event
		}
	}
	if ep := r.keys.ByTag(v.Header().Epoch); ep != nil {
		if c, err := ep.OpenMessage(v); err == nil {
			rep.Said = c.Text
		}
	}
}

// readClosing says whether a report is closed, and how.
func (r *room) readClosing(ctx context.Context, rep *Report) error {
	last, err := r.closing(ctx, rep.ID)
	if err != nil || last.IsZero() {
		return err
	}
	r.mu.Lock()
	rep.ClosedBy, rep.State = r.author(last), "closed"
	r.mu.Unlock()
	var c protocol.Closing
	err = r.unbox(ctx, last, func(b protocol.ReportBox, key protocol.Secret) (err error) {
		c, err = b.Closing(r.group, last.Header().Dev, key)
		return err
	})
	switch {
	case err != nil: // what became of it is for the moderators to know
	case c.Verdict == protocol.Resolved:
		rep.State, rep.Note = "resolved", c.Note
	default:
		rep.State, rep.Note = "dismissed", c.Note
	}
	return nil
}

// closing returns what ends a report: the last of those that count, zero if none does.
func (r *room) closing(ctx context.Context, report protocol.ID) (last protocol.Verified, err error) {
	list, err := r.log.About(ctx, report)
	if err := r.readable(err); err != nil {
		return last, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range list {
		if r.closes(e.Event) && (last.IsZero() || display(last, e.Event) < 0) {
			last = e.Event
		}
	}
	return last, nil
}

// closes says whether an event ends a report. The caller holds mu.
func (r *room) closes(v protocol.Verified) bool {
	if v.Header().Kind != protocol.KindClose || r.current().Right(v, chains{r}) > protocol.Moderator {
		return false
	}
	_, err := r.current().CheckMessage(v, chains{r})
	return err == nil
}

// errNoEpoch says that the secret of an event's epoch is not here.
var errNoEpoch = fmt.Errorf("%w of its epoch", ErrNoKey)

// unbox opens the box of a report or of its end. The key is kept, as the prekey that
// opened it is given up one day.
func (r *room) unbox(ctx context.Context, v protocol.Verified, open func(protocol.ReportBox, protocol.Secret) error) error {
	r.mu.Lock()
	ep := r.keys.ByTag(v.Header().Epoch)
	r.mu.Unlock()
	if ep == nil {
		return errNoEpoch
	}
	c, err := ep.OpenMessage(v)
	if err != nil {
		return err
	}
	b, err := protocol.ParseReportBox(c.Boxed)
	if err != nil {
		return err
	}
	space, name := reportSpace(r.group), v.ID().Text("")
	kept, err := r.n.store.Get(ctx, space, name)
	if err == nil && len(kept) == 32 {
		return open(b, protocol.Secret(kept))
	}
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return err
	}
	key, err := r.unlock(b, v.Header().Dev)
	if err != nil {
		return err
	}
	if err := open(b, key); err != nil {
		return err
	}
	return r.n.store.Put(ctx, space, name, key[:])
}

// reportSpace holds the keys of a group's reports that were opened, by the event.
func reportSpace(group protocol.ID) string { return "reports-" + group.Text("") }

// unlock finds the prekey that opens a box.
func (r *room) unlock(b protocol.ReportBox, author protocol.Key) (protocol.Secret, error) {
	id, ok := b.Prekey(r.me.Dev())
	if !ok {
		return protocol.Secret{}, ErrNoKey
	}
	r.mu.Lock()
	var seeds []protocol.Secret
	for _, seed := range r.keys.prekeys {
		seeds = append(seeds, seed)
	}
	r.mu.Unlock()
	for _, seed := range seeds {
		p, err := protocol.DerivePrekey(seed)
		if err != nil {
			return protocol.Secret{}, err
		}
		if hybrid, _ := p.IDs(); hybrid == id {
			return b.Unlock(r.group, author, r.me.Dev(), p)
		}
	}
	return protocol.Secret{}, ErrNoKey
}

// CloseReport says that a report was dealt with: resolved, or dismissed. The note is
// for the other moderators; who reported learns that somebody closed it. It needs the
// role moderator or a more senior one. Of several the last counts.
func (n *Node) CloseReport(ctx context.Context, group, id protocol.ID, resolved bool, note string) (Act, error) {
	r, err := n.room(group)
	if err != nil {
		return Act{}, err
	}
	v, about, err := r.closeReport(ctx, id, resolved, note)
	if err != nil {
		return Act{}, fmt.Errorf("close report: %w", err)
	}
	return r.messageAct(v, about, note), nil
}

func (r *room) closeReport(ctx context.Context, id protocol.ID, resolved bool, note string) (v, about protocol.Verified, err error) {
	if err := checkReason(note); err != nil {
		return v, about, err
	}
	if !r.moderates() {
		return v, about, fmt.Errorf("%w: this needs the role %s or a more senior one", ErrNotAllowed, protocol.Moderator)
	}
	e, err := r.log.Get(ctx, id)
	if errors.Is(err, storage.ErrNotFound) || err == nil && e.Event.Header().Kind != protocol.KindReport {
		return v, about, fmt.Errorf("%w: %s is no report; the list of reports has their ids", ErrUnknownMessage, id)
	}
	if err != nil {
		return v, about, err
	}
	rep, err := r.readReport(ctx, e.Event)
	if err != nil {
		return v, about, err
	}
	r.mu.Lock()
	to := r.andThisDevice(r.moderators(rep.Author.Key, protocol.MaxReportBoxes-1))
	r.mu.Unlock()
	if len(to) == 0 {
		return v, about, fmt.Errorf("%w: no moderator's device has published a key yet; this one's is on its way", ErrNoKey)
	}
	c := protocol.Closing{Note: note, Verdict: protocol.Dismissed}
	if resolved {
		c.Verdict = protocol.Resolved
	}
	boxed, err := c.Box(r.group, r.me.Dev(), to, rand.Reader)
	if err != nil {
		return v, about, err
	}
	v, err = r.tell(ctx, words{kind: protocol.KindClose, content: protocol.Content{Boxed: boxed}, to: id, claim: true})
	return v, e.Event, err
}
