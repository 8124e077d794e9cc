package node

import (
	"context"
	"slices"

	"github.com/p2pchat/p2pchat/protocol"
)

// readership is who can open a bundle.
type readership struct {
	who     Person         // zero is every member
	roots   []protocol.Key // who has a prekey among them
	readers protocol.BundleReaders

	keyless  []protocol.Standing // who has none, and may know a rendezvous secret or not
	carriers []wanted            // the rekeys that carry one of those, the newest first
}

// bundleFor finds out by what members, or one of them, open a bundle: by rendezvous
// secrets that nobody knows who has gone, and by their devices' prekeys. A half of the
// group that has not heard of the last rotation has only those.
func (r *room) bundleFor(who string) (to readership, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	members := r.current().Members()
	if who != "" {
		var roots []protocol.Key
		for _, m := range members {
			roots = append(roots, m.Root)
		}
		if to.who, err = choose(who, r.peopleOf(roots)); err != nil {
			return to, err
		}
		members = slices.DeleteFunc(members, func(m protocol.Standing) bool { return m.Root != to.who.Key })
	} else {
		to.readers.Points = r.keys.Private(r.current(), protocol.MaxBundlePoints)
	}
	for _, m := range members {
		if keys := r.keptPrekeys(m); len(keys) > 0 {
			to.roots, to.readers.Prekeys = append(to.roots, m.Root), append(to.readers.Prekeys, keys...)
		} else if m.Rank < protocol.Relay && m.Root != r.me.Root() {
			to.keyless = append(to.keyless, m)
		}
	}
	to.carriers = r.carriers(to.readers.Points)
	if len(to.readers.Prekeys)+len(to.readers.Points) == 0 {
		err = r.noPrekey(to.who, members)
	}
	return to, err
}

// noPrekey says why there is nobody to seal a bundle to. The caller holds mu.
func (r *room) noPrekey(who Person, members []protocol.Standing) error {
	if who.Key.IsZero() {
		return noPrekeyError("no member's key of the last five weeks is here to seal the file to")
	}
	for _, m := range members {
		switch {
		case m.Rank >= protocol.Relay:
			return noPrekeyError(who.label() + " is a relay, and reads nothing")
		case slices.ContainsFunc(m.Devices, r.hasPrekey):
			return noPrekeyError("the newest key of " + who.label() + " that is here is more than five weeks old")
		}
	}
	return noPrekeyError("no key of " + who.label() + " has come here yet: it comes with the first file of theirs, or when you meet")
}

// hasPrekey says whether a device has published a prekey, however old. The caller holds mu.
func (r *room) hasPrekey(dev protocol.Key) bool {
	_, ok := r.records[recordSlot{dev, protocol.RecordPrekey}]
	return ok
}

// noPrekeyError is an ErrNoKey that is not about an epoch.
type noPrekeyError string

// Error implements error.
func (e noPrekeyError) Error() string { return string(e) }

// Unwrap returns what it is a case of.
func (noPrekeyError) Unwrap() error { return ErrNoKey }

// keptPrekeys returns the prekeys of a member's devices that a bundle may be sealed to.
func (r *room) keptPrekeys(m protocol.Standing) (out [][]byte) {
	for _, dev := range m.Devices {
		rec, ok := r.records[recordSlot{dev, protocol.RecordPrekey}]
		if !ok || m.Rank >= protocol.Relay {
			continue
		}
		if key, ok := rec.Record().Kept(r.n.now()); ok {
			out = append(out, key)
		}
	}
	return out
}

// carriers returns the rekeys that carry one of some rendezvous secrets, the newest first.
// The caller holds mu.
func (r *room) carriers(points []protocol.Secret) (out []wanted) {
	for _, id := range slices.Backward(r.current().Rekeys()) {
		w := r.wantedOf(id)
		if n, ok := r.keys.Point(w.eid); ok && slices.Contains(points, n) {
			out = append(out, w)
		}
	}
	return out
}

// cannotOpen returns the members who have no prekey in a bundle, and of whom nothing here
// shows that they know a rendezvous secret of it.
func (r *room) cannotOpen(ctx context.Context, to readership) (out []Person) {
	left := slices.DeleteFunc(to.keyless, func(m protocol.Standing) bool { return r.knows(m, to.carriers) })
	for _, w := range to.carriers {
		for _, id := range w.rekey.Chunks {
			if len(left) == 0 {
				return nil
			}
			if data, ok := r.chunk(ctx, id); ok {
				left = slices.DeleteFunc(left, func(m protocol.Standing) bool { return wrapped(data, m.Devices) })
			}
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range left {
		out = append(out, r.personOf(m.Root))
	}
	return out
}

// knows says whether events and records show that a member knows what some rekeys carry:
// they made one, were welcomed by who had seen one, or sealed their name under its epoch.
func (r *room) knows(m protocol.Standing, carriers []wanted) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	var welcomes []protocol.ID
	for _, id := range r.set.Grants(m.Root) {
		if _, c, _ := r.set.Get(id); isAdmission(c) {
			welcomes = append(welcomes, id)
		}
	}
	for _, w := range carriers {
		by, _ := r.set.Author(w.id)
		sees := func(welcome protocol.ID) bool { return r.set.Sees(welcome, w.id) }
		if by == m.Root || slices.ContainsFunc(welcomes, sees) || slices.ContainsFunc(m.Devices, func(dev protocol.Key) bool { return r.namedUnder(dev, w.eid) }) {
			return true
		}
	}
	return false
}

// isAdmission says whether a welcome went with a control event: to a role none does.
func isAdmission(c protocol.Clear) bool {
	g, ok := c.(*protocol.Grant)
	return ok && g.Proof != nil
}

// namedUnder says whether a device has sealed its owner's name under an epoch. The caller
// holds mu.
func (r *room) namedUnder(dev protocol.Key, eid protocol.ID) bool {
	rec, ok := r.records[recordSlot{dev, protocol.RecordProfile}]
	if !ok {
		return false
	}
	tag, _, err := protocol.ProfileEpoch(rec.Record())
	ep := r.keys.ByTag(tag)
	return err == nil && ep != nil && ep.ID == eid
}

// wrapped says whether a chunk has a wrap for one of some devices.
func wrapped(chunk []byte, devices []protocol.Key) bool {
	rows, _, err := protocol.ParseChunk(chunk)
	return err == nil && slices.ContainsFunc(devices, func(dev protocol.Key) bool {
		found, _ := protocol.FindRows(rows, dev)
		return len(found) > 0
	})
}
