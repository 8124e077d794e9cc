package node

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

// Follow yields the group's lines after a cursor in the order in which they arrived
// here, waits for more, and ends when ctx does, when the node closes, or with an
// error. The cursor of the last line survives restarts: whoever keeps it misses
// nothing and sees nothing twice. A slow reader lags and loses nothing.
func (n *Node) Follow(ctx context.Context, group protocol.ID, cursor uint64) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		r, err := n.room(group)
		if err != nil {
			yield(Message{}, err)
			return
		}
		var seen newest
		for {
			changed := r.log.Changed()
			page, err := r.log.After(ctx, cursor, followPage)
			if err := r.readable(err); err != nil {
				if ctx.Err() == nil {
					yield(Message{}, fmt.Errorf("follow: %w", err))
				}
				return
			}
			for _, e := range page {
				cursor = e.Cursor
				if line, ok := r.line(e); ok {
					line.Late = seen.late(r.moment(&line))
					if !yield(line, nil) {
						return
					}
				}
			}
			if len(page) > 0 {
				continue
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			case <-n.ctx.Done():
				yield(Message{}, ErrClosed)
				return
			}
		}
	}
}

// lastSlack is for events that have no line.
const lastSlack = 8

// Last returns the newest count lines in display order, the oldest of them first; 0
// is all. The cursor is where Follow goes on.
func (n *Node) Last(ctx context.Context, group protocol.ID, count int) (lines []Message, cursor uint64, err error) {
	r, err := n.room(group)
	if err != nil {
		return nil, 0, err
	}
	cursor = r.log.Cursor()
	r.order()
	var before storage.Position
	lines = make([]Message, 0, max(0, min(count, followPage)))
	first := make(map[protocol.Key]int) // the oldest line of each device so far
	for count == 0 || len(lines) < count {
		size := followPage
		if count > 0 {
			size = min(size, count-len(lines)+lastSlack)
		}
		page, next, err := r.log.Newest(ctx, size, before)
		if err := r.readable(err); err != nil {
			return nil, 0, fmt.Errorf("history: %w", err)
		}
		shown := r.lines(page)
		for i, e := range slices.Backward(page) {
			if count > 0 && len(lines) == count {
				break
			}
			if e.Cursor > cursor {
				continue // Follow brings it
			}
			dev, gap := e.Event.Header().Dev, r.gapBefore(e.Event)
			if shown[i] != nil {
				first[dev] = len(lines)
				lines = append(lines, *shown[i])
			}
			if at, ok := first[dev]; ok && gap > 0 { // what has no line has it before the next that has
				lines[at].Missing += gap
			}
		}
		if len(page) < size {
			break
		}
		before = next
	}
	markLate(lines, r.moment)
	slices.Reverse(lines)
	return lines, cursor, nil
}

// order sees to it that only what others are told of moves others in the display order.
func (r *room) order() {
	if !r.log.Falls() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refreshUntold()
}

// gapBefore returns how many messages right before one on its chain are not here, though
// they would be shown.
func (r *room) gapBefore(v protocol.Verified) uint64 {
	if v.Header().Chain == protocol.Control {
		return 0
	}
	gap := r.log.MissingBefore(v)
	if gap == 0 {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.links.has(v.Header().Prev) {
		return 0 // it is here, and does not count
	}
	return gap
}

// readable passes over damaged entries: they are named in the log, and the rest of a
// history is worth having.
func (r *room) readable(err error) error {
	if errors.Is(err, storage.ErrDamaged) {
		r.n.log.Error("part of the history is damaged", "err", err)
		return nil
	}
	return err
}

// moment is when a line claims to be from, and when it came.
type moment struct{ said, came time.Time }

func (r *room) moment(m *Message) moment { return moment{m.Time, r.log.Arrived(m.Cursor)} }

// late says whether a line that claims to be older than another came long after it.
// Where it is not known when they came, none is late.
func (m moment) late(than moment) bool {
	return !m.came.IsZero() && !than.came.IsZero() && than.said.Sub(m.said) >= lateBy && m.came.Sub(than.came) >= lateAfter
}

// newest is the line with the latest time that a follower has seen.
type newest struct{ moment }

// late compares a line with it, and takes the line in.
func (n *newest) late(m moment) bool {
	late := m.late(n.moment)
	if m.said.After(n.said) {
		n.moment = m
	}
	return late
}

// markLate marks the late ones of lines in display order, the newest first: those
// that came long after one that is shown behind them and claims to be much newer. The
// times in display order rise but for wrong clocks, which are compared as they come.
func markLate(lines []Message, of func(*Message) moment) {
	var first moment // of those much newer than the line, the one that came first
	next := 0
	for i := range lines {
		m := of(&lines[i])
		for ; next < i && lines[next].Time.Sub(m.said) >= lateBy; next++ {
			if n := of(&lines[next]); first.came.IsZero() || n.came.Before(first.came) {
				first = n
			}
		}
		lines[i].Late = m.late(first)
	}
}

// lines turns events into what a person reads; nil stands for no line. What needs the
// room's mutex is done first and in a row, or the processors would wait for each other.
func (r *room) lines(page []storage.Entry) []*Message {
	list, shown, sealed := make([]Message, len(page)), make([]*Message, len(page)), make([]*protocol.Epoch, len(page))
	known := make(map[protocol.Key]author)
	for i, e := range page {
		var ok bool
		if list[i], sealed[i], ok = r.lineUnopened(e, known); ok {
			shown[i] = &list[i]
		}
	}
	onAllCores(len(page), func(i int) {
		if sealed[i] != nil {
			r.openLine(&list[i], page[i].Event, sealed[i])
		}
	})
	return shown
}

// author is who a device's owner is and how senior, now.
type author struct {
	Person
	rank protocol.Rank
}

// line turns an event into what a person reads. Events that are only machinery, what
// blocked people wrote, and messages that do not count have no line; but who wrote
// such a message still sees it, marked.
func (r *room) line(e storage.Entry) (Message, bool) {
	m, ep, ok := r.lineUnopened(e, nil)
	if ep != nil {
		r.openLine(&m, e.Event, ep)
	}
	return m, ok
}

// openLine puts its text into a line, or why there is none.
func (r *room) openLine(m *Message, v protocol.Verified, ep *protocol.Epoch) {
	c, err := ep.OpenMessage(v)
	if err == nil && v.Header().Kind.Known() {
		m.Text = c.Text
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	m.Unreadable = r.unopened(v, ep, err)
	if errors.Is(err, protocol.ErrErased) {
		m.Gone = GoneAbsent
	}
}

// lineUnopened returns a line, and if its text is still to be opened, under which epoch.
// Authors are asked for once a page: known holds them by device, where it is not nil.
func (r *room) lineUnopened(e storage.Entry, known map[protocol.Key]author) (Message, *protocol.Epoch, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := e.Event.Header()
	by, ok := known[h.Dev]
	if !ok {
		by.Person = r.person(h.Dev)
		by.rank = r.current().Rank(by.Key)
		if known != nil {
			known[h.Dev] = by
		}
	}
	m := Message{
		ID: e.Event.ID(), Group: r.group, Kind: h.Kind.String(), Time: protocol.Time(h.HLC), Cursor: e.Cursor,
		From: by.Person, Rank: by.rank,
	}
	if h.Chain == protocol.Control {
		m, ok := r.systemLine(m, e.Event)
		return m, nil, ok
	}
	if r.blocked[m.From.Key] || machinery(h.Kind) {
		return m, nil, false
	}
	if _, err := r.judge(e.Event); err != nil {
		if m.From.Key != r.me.Root() {
			return m, nil, false
		}
		m.Hidden = hiddenBy(err)
	}
	if by, ok := r.retracted(e.Event); ok {
		r.retraction(&m, by)
		return m, nil, true
	}
	if h.Exp != 0 {
		m.Expires = time.Unix(int64(min(h.Exp, farAway)), 0)
	}
	if k := r.rules(); r.notKept(&m, k.gone(h)) {
		return m, nil, true
	}
	ep := r.keys.ByTag(h.Epoch)
	if ep == nil {
		m.Unreadable = r.keyless(e.Event)
	}
	return m, ep, true
}

// farAway is a time that calendars still write, in Unix seconds: the end of 9999.
const farAway = 253402300799

// notKept says that and why there is no body any more. The caller holds mu.
func (r *room) notKept(m *Message, why string) bool {
	switch m.Gone = why; why {
	case GoneExpired:
		m.Unreadable = "disappeared"
	case GoneRetention:
		m.Unreadable = "not kept in this group any more"
	case GoneSize:
		m.Unreadable = "not kept here: there is a limit on this group's size"
	}
	return why != ""
}

// retraction says that a message was taken back, and by whom. The caller holds mu.
func (r *room) retraction(m *Message, by protocol.Verified) {
	m.Retracted, m.RetractedBy = true, r.person(by.Header().Dev)
	m.Unreadable = "taken back by its author"
	if m.RetractedBy.Key != m.From.Key {
		m.Unreadable = "taken back by " + m.RetractedBy.label()
	}
	if m.RetractedBy.Key != m.From.Key { // who may not speak may still take back, and say nothing by it
		m.Reason = r.reasonOf(by)
	}
}

// reasonOf reads the text of a retraction. The caller holds mu.
func (r *room) reasonOf(v protocol.Verified) string {
	ep := r.keys.ByTag(v.Header().Epoch)
	if ep == nil {
		return ""
	}
	c, err := ep.OpenMessage(v)
	if err != nil {
		return ""
	}
	return c.Text
}

// hiddenBy tells the author of a message that does not count why.
func hiddenBy(err error) string {
	var s *protocol.SilencedError
	if !errors.As(err, &s) {
		return "not shown to others: you were no member"
	}
	switch s.Kind {
	case protocol.KindBan:
		return "not shown to others: you were banned"
	case protocol.KindMute:
		return "not shown to others: you were muted"
	case protocol.KindLeave:
		return "not shown to others: you had left"
	case protocol.KindDeviceRevoke:
		return "not shown to others: this device was revoked"
	case protocol.KindSetting:
		if s.Wait > 0 {
			return "not shown to others: slow mode"
		}
		return "not shown to others: only moderators speak"
	}
	return "not shown to others: you were removed"
}

// unopened says why a message cannot be read that was tried to open. The caller holds mu.
func (r *room) unopened(v protocol.Verified, ep *protocol.Epoch, err error) string {
	switch {
	case errors.Is(err, protocol.ErrErased):
		r.wantBody(v)
		return "not here yet: whoever sent them keeps less"
	case v.Header().Step < ep.Step:
		return "sent before you joined"
	case errors.Is(err, protocol.ErrNoKey):
		return r.keyless(v)
	case err != nil:
		return "it does not open"
	}
	return "a kind of message that this version does not know"
}

// keyless says why the key of a message is not here: for good, or not yet. The caller
// holds mu.
func (r *room) keyless(v protocol.Verified) string {
	now, root, dev := r.current(), r.me.Root(), r.me.Dev()
	if _, revoked := now.Revocation(root, dev); revoked {
		return "this device was revoked"
	}
	if now.Rank(root) == protocol.NoRank {
		return "you are not in the group any more"
	}
	if id, ok := now.Brought(root, dev); ok && now.History() == protocol.HistorySinceJoin {
		in, c, _ := r.set.Get(id)
		if _, admitted := c.(*protocol.Grant); admitted && v.Header().HLC < in.Header().HLC {
			return "sent before you joined"
		}
	}
	return "its key is not here yet"
}

// systemLine says what happened to the group itself. The caller holds mu.
func (r *room) systemLine(m Message, v protocol.Verified) (Message, bool) {
	_, c, ok := r.set.Get(v.ID())
	if !ok || !r.current().Firm(v.ID()) { // of a crowd others read other lines; the audit has it
		return m, false
	}
	if author, ok := r.set.Author(v.ID()); ok {
		m.From = r.personOf(author)
	}
	m.Undone = !r.current().Effective(v.ID())
	text, readable := r.asideText(v)
	switch c := c.(type) {
	case *protocol.Genesis:
		m.Kind = "created"
	case *protocol.Grant:
		r.grantLine(&m, c, text)
	case *protocol.Denial:
		m.Kind, m.Target, m.Reason = pastTense[v.Header().Kind], r.personOf(c.Target), text
		if v.Header().Kind == protocol.KindRemove && (r.demotes(v.ID(), c.Target) || r.seals(v.ID(), c.Target)) {
			return m, false // the line of the grant, or of the leave, says it
		}
	case *protocol.Lift:
		m.Kind, m.Target, m.Reason = pastTense[v.Header().Kind], r.personOf(c.Target), text
	case *protocol.Leave:
		m.Kind = "left"
	case *protocol.DeviceRevoke:
		m.Kind, m.Target = "revoked", r.personOf(c.Root)
		if r.seals(v.ID(), c.Root) {
			return m, false // a founder's leave says it
		}
	case *protocol.Setting:
		m.Kind, m.Text = setLine(c, text)
		if !readable && sealedSetting(c.Number) {
			return m, false
		}
	case *protocol.Successor:
		m.Kind, m.Text = "successor", text
	default:
		return m, false
	}
	m.Rank = r.current().Rank(m.From.Key)
	return m, true
}

var pastTense = map[protocol.Kind]string{
	protocol.KindRemove: "removed", protocol.KindBan: "banned", protocol.KindUnban: "unbanned",
	protocol.KindMute: "muted", protocol.KindUnmute: "unmuted",
}

// grantLine tells who joined, or what somebody became.
func (r *room) grantLine(m *Message, g *protocol.Grant, text string) {
	if g.Proof != nil {
		m.Kind, m.From = "joined", r.personOf(g.Target)
		return
	}
	m.Kind, m.Target, m.Text, m.Reason = "role", r.personOf(g.Target), g.Rank.String(), text
}

// demotes says whether a remove is the first half of a demotion. The caller holds mu.
func (r *room) demotes(remove protocol.ID, target protocol.Key) bool {
	return slices.ContainsFunc(r.set.Next(remove), func(id protocol.ID) bool {
		_, c, _ := r.set.Get(id)
		g, ok := c.(*protocol.Grant)
		return ok && g.Target == target && g.Proof == nil
	})
}

// asideText opens the text beside a control event. The caller holds mu.
func (r *room) asideText(v protocol.Verified) (string, bool) {
	a, err := r.aside(v)
	return a.Text, err == nil
}

// aside opens what is sealed beside a control event. The caller holds mu.
func (r *room) aside(v protocol.Verified) (protocol.Aside, error) {
	ep := r.keys.ByTag(v.Header().Epoch)
	if ep == nil {
		return protocol.Aside{}, ErrNoKey
	}
	return ep.OpenAside(v)
}

// person returns who a device's owner is, in the group or not. The caller holds mu.
func (r *room) person(dev protocol.Key) Person {
	root, ok := r.current().Whose(dev)
	if !ok {
		return Person{Key: dev}
	}
	return r.personOf(root)
}

// personOf returns a person by its identity, also one who has gone. Of several devices'
// names the one whose record is newest counts. The caller holds mu.
func (r *room) personOf(root protocol.Key) Person {
	p := Person{Key: root}
	devices := r.set.Devices(root)
	if s, ok := r.current().Standing(root); ok {
		devices = s.Devices
	}
	newest := uint64(0)
	for _, dev := range devices {
		rec, ok := r.records[recordSlot{dev, protocol.RecordProfile}]
		if name := r.names[dev]; ok && name != "" && rec.Record().Number > newest {
			p.Name, newest = name, rec.Record().Number
		}
	}
	if p.Name != "" {
		return p
	}
	for _, id := range slices.Backward(r.set.Grants(root)) {
		v, c, _ := r.set.Get(id)
		if g, ok := c.(*protocol.Grant); ok && g.Proof != nil {
			if p.Name, _ = r.asideText(v); p.Name != "" {
				break // what it called itself when it asked to join
			}
		}
	}
	return p
}

// name returns the group's name. The caller holds mu.
func (r *room) name() string {
	if id, ok := r.current().Setting(protocol.SettingName); ok {
		v, _, _ := r.set.Get(id)
		if text, ok := r.asideText(v); ok {
			return text
		}
	}
	return r.meta.Name
}
