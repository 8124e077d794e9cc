package node

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

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
				if line, ok := r.line(e); ok && !yield(line, nil) {
					return
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
	var before storage.Position
	for count == 0 || len(lines) < count {
		size := followPage
		if count > 0 {
			size = min(size, count-len(lines)+lastSlack)
		}
		page, next, err := r.log.Newest(ctx, size, before)
		if err := r.readable(err); err != nil {
			return nil, 0, fmt.Errorf("history: %w", err)
		}
		for _, e := range slices.Backward(page) {
			if count > 0 && len(lines) == count {
				break
			}
			if e.Cursor > cursor {
				continue // Follow brings it
			}
			if line, ok := r.line(e); ok {
				lines = append(lines, line)
			}
		}
		if len(page) < size {
			break
		}
		before = next
	}
	slices.Reverse(lines)
	return lines, cursor, nil
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

// line turns an event into what a person reads. Events that are only machinery, and
// what blocked people wrote, have no line.
func (r *room) line(e storage.Entry) (Message, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := e.Event.Header()
	m := Message{
		ID: e.Event.ID(), Group: r.group, Kind: h.Kind.String(), Time: protocol.Time(h.HLC), Cursor: e.Cursor,
		From: r.person(h.Dev),
	}
	if h.Chain == protocol.Control {
		return r.systemLine(m, e.Event)
	}
	if r.blocked[m.From.Key] {
		return m, false
	}
	ep := r.keys.byTag[h.Epoch]
	if ep == nil {
		m.Unreadable = "its key is not here yet"
		return m, true
	}
	c, err := ep.OpenMessage(e.Event)
	switch {
	case errors.Is(err, protocol.ErrErased):
		m.Unreadable = "erased"
	case err != nil:
		m.Unreadable = "it does not open"
	case !h.Kind.Known():
		m.Unreadable = "a kind of message that this version does not know"
	default:
		m.Text = c.Text
	}
	return m, true
}

// systemLine says what happened to the group itself.
func (r *room) systemLine(m Message, v protocol.Verified) (Message, bool) {
	_, c, ok := r.set.Get(v.ID())
	if !ok {
		return m, false
	}
	switch c := c.(type) {
	case *protocol.Genesis:
		m.Kind = "created"
		return m, true
	case *protocol.Grant:
		if c.Proof == nil {
			return m, false
		}
		m.Kind, m.From = "joined", r.personOf(c.Target)
		return m, true
	case *protocol.Setting:
		if c.Number != protocol.SettingName {
			return m, false
		}
		m.Kind = "named"
		m.Text, ok = r.asideText(v)
		return m, ok
	}
	return m, false
}

// asideText opens the text beside a control event. The caller holds mu.
func (r *room) asideText(v protocol.Verified) (string, bool) {
	ep := r.keys.byTag[v.Header().Epoch]
	if ep == nil {
		return "", false
	}
	a, err := ep.OpenAside(v)
	return a.Text, err == nil
}

// person returns who a device's owner is. The caller holds mu.
func (r *room) person(dev protocol.Key) Person {
	owner, ok := r.current().Owner(dev)
	if !ok {
		return Person{Key: dev}
	}
	return r.personOf(owner.Root)
}

// personOf returns a person by its identity. Of several devices' names the one whose
// record is newest counts. The caller holds mu.
func (r *room) personOf(root protocol.Key) Person {
	p := Person{Key: root}
	s, _ := r.current().Standing(root)
	newest := uint64(0)
	for _, dev := range s.Devices {
		rec, ok := r.records[recordSlot{dev, protocol.RecordProfile}]
		if name := r.names[dev]; ok && name != "" && rec.Record().Number > newest {
			p.Name, newest = name, rec.Record().Number
		}
	}
	if p.Name == "" {
		if v, _, ok := r.set.Get(s.Grant); ok && v.Header().Kind == protocol.KindGrant {
			p.Name, _ = r.asideText(v) // what it called itself when it asked to join
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
