package node

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/p2pchat/p2pchat/protocol"
)

// Device is one of this person's devices in a group.
type Device struct {
	Key     protocol.Key
	Me      bool      // this one
	Added   time.Time // when it came into the group, as the clock of who brought it says
	Spoke   time.Time // when it said its newest message, as its own clock says; zero if never
	Forked  bool      // it signed two events for one place: a copy of it runs somewhere
	Revoked bool
}

// Devices returns this person's devices in a group, the newest first.
func (n *Node) Devices(ctx context.Context, group protocol.ID) ([]Device, error) {
	r, err := n.room(group)
	if err != nil {
		return nil, err
	}
	forked := n.forked(r)
	spoke := make(map[protocol.Key]time.Time)
	for _, t := range r.log.Tips() {
		if t.Chain != protocol.Messages {
			continue
		}
		if e, err := r.log.Get(ctx, t.ID); err == nil {
			spoke[t.Dev] = protocol.Time(e.Event.Header().HLC)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []Device
	for _, dev := range r.set.Devices(r.me.Root()) {
		d := Device{Key: dev, Me: dev == r.me.Dev(), Spoke: spoke[dev]}
		if id, ok := r.current().Brought(r.me.Root(), dev); ok {
			v, _, _ := r.set.Get(id)
			d.Added = protocol.Time(v.Header().HLC)
		}
		_, d.Revoked = r.current().Revocation(r.me.Root(), dev)
		d.Forked = forked[dev]
		out = append(out, d)
	}
	slices.SortFunc(out, func(a, b Device) int {
		if c := b.Added.Compare(a.Added); c != 0 {
			return c
		}
		return a.Key.Compare(b.Key)
	})
	return out, nil
}

// RevokeDevice ends one of this person's devices: what it said until now stays, what it
// says from now on does not count, and the group's next messages are sealed under keys
// that it does not get. Whoever has the account's seed can make another one.
func (n *Node) RevokeDevice(ctx context.Context, group protocol.ID, dev protocol.Key) (Act, error) {
	r, err := n.room(group)
	if err != nil {
		return Act{}, err
	}
	a, err := r.performOne(ctx, func() ([]intent, error) { return r.planRevoke(dev) })
	if err != nil {
		return Act{}, fmt.Errorf("revoke: %w", err)
	}
	return a, nil
}

func (r *room) planRevoke(dev protocol.Key) ([]intent, error) {
	if _, err := r.standing(protocol.KindDeviceRevoke); err != nil {
		return nil, err
	}
	name := protocol.Short(dev.Text(protocol.DevicePrefix))
	_, revoked := r.current().Revocation(r.me.Root(), dev)
	switch {
	case dev == r.me.Dev():
		return nil, fmt.Errorf("%w: %s is this device; who goes leaves the group", ErrNotAllowed, name)
	case !slices.Contains(r.set.Devices(r.me.Root()), dev):
		return nil, fmt.Errorf("%w: %s is no device of yours in this group", ErrUnknownDevice, name)
	case revoked:
		return nil, fmt.Errorf("%w: %s is revoked already", ErrNothing, name)
	}
	messages, err := r.messageCut([]protocol.Key{dev}, time.Time{})
	if err != nil {
		return nil, err
	}
	seen, err := r.cited()
	if err != nil {
		return nil, err
	}
	c := protocol.Cut{Messages: messages}
	for _, id := range r.tipsOn(dev) {
		v, _, _ := r.set.Get(id)
		if id, ok := r.controlBefore(v, time.Time{}, seen); ok {
			c.Control = append(c.Control, id)
		}
	}
	return []intent{{kind: protocol.KindDeviceRevoke, clear: r.me.Revoke(dev, trim(c))}}, nil
}
