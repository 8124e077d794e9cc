package node

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

// A device is its key and its chains, and the chains are in the store. So the key is
// drawn from both: from the account, and from a value that the store was born with. A
// store that was deleted makes another device of the same account. One that was rolled
// back, or copied, does not know it, and would sign two events for one place; it learns
// of that when others hold events of its own device that it does not, and becomes
// another device then and there.

// self is who this node is in one group.
type self struct {
	now atomic.Pointer[protocol.Identity]
}

func (s *self) be(i protocol.Identity)      { s.now.Store(&i) }
func (s *self) identity() protocol.Identity { return *s.now.Load() }
func (s *self) Root() protocol.Key          { return s.now.Load().Root() }
func (s *self) Dev() protocol.Key           { return s.now.Load().Dev() }
func (s *self) Signer() ed25519.PrivateKey  { return s.now.Load().Signer() }
func (s *self) Cert() protocol.Cert         { return s.now.Load().Cert() }
func (s *self) Revoke(dev protocol.Key, c protocol.Cut) *protocol.DeviceRevoke {
	return s.now.Load().Revoke(dev, c)
}

// install mixes into the account what this store was born with.
func (n *Node) install(ctx context.Context) error {
	const key = "installation"
	b, err := n.store.Get(ctx, spaceSelf, key)
	if errors.Is(err, storage.ErrNotFound) {
		b = make([]byte, 32)
		_, _ = rand.Read(b)
		err = n.store.Put(ctx, spaceSelf, key, b)
	}
	if err != nil || len(b) != 32 {
		return fmt.Errorf("what makes this device its own is damaged: %w", errors.Join(storage.ErrDamaged, err))
	}
	n.account = n.account.On([32]byte(b))
	return nil
}

// identity returns who this node is in a group, whose identity derives from a tag.
func (n *Node) identity(group protocol.ID, tag [32]byte) protocol.Identity {
	if r, err := n.room(group); err == nil {
		return r.me.identity()
	}
	return n.account.Identity(tag)
}

// cloned is told of an event that this device signed and this store never held: the
// store is an old one, or the profile was copied. What this device says from now on is
// another's, so that no place of a chain is used twice. The caller holds mu.
func (r *room) cloned(v protocol.Verified) {
	fresh, err := protocol.NewSecret(rand.Reader)
	if err != nil {
		return // without randomness nothing can be signed either
	}
	old := r.me.Dev()
	r.n.log.Warn("others hold an event of this device that is not in this store: the profile was copied, or the store was put back to an earlier state; this is another device from now on",
		"group", protocol.Short(r.group.Text(protocol.GroupPrefix)), "event", v.ID(), "device", protocol.Short(old.Text(protocol.DevicePrefix)))
	r.meta.Device = fresh
	r.me.be(r.n.account.On(fresh).Identity(r.meta.Tag))
	clear(r.keys.prekeys) // the other one has the same
	r.keys.ordered = protocol.Choice{}
	r.unsaved = true
	if err := r.keepDevice(); err != nil {
		r.n.log.Error("the new device is not stored yet, and says nothing until it is", "err", err)
	}
	r.poke()
}

// keepDevice stores which device this is, where that failed before. A device that spoke
// and is forgotten by a restart is one of the few that a person has for good. The caller
// holds mu.
func (r *room) keepDevice() error {
	if !r.unsaved {
		return nil
	}
	err := r.dropPrekeys(r.n.ctx) // before, or a restart finds a new device with the old one's
	if err == nil {
		err = r.saveMeta(r.n.ctx)
	}
	if err != nil {
		return fmt.Errorf("store which device this is: %w", err)
	}
	r.unsaved = false
	return nil
}

// dropPrekeys deletes the stored prekeys of the device that this one was: a copy has them.
func (r *room) dropPrekeys(ctx context.Context) error {
	stored, err := r.n.store.List(ctx, prekeySpace(r.group))
	if err != nil {
		return err
	}
	for week := range stored {
		if err := r.n.store.Delete(ctx, prekeySpace(r.group), week); err != nil {
			return err
		}
	}
	return nil
}

// introduce brings this device into the group, if the group does not know it yet and
// knows its owner: by the first event on its chain. The caller holds mu.
func (r *room) introduce() error {
	if err := r.keepDevice(); err != nil {
		return err
	}
	root, dev := r.me.Root(), r.me.Dev()
	me, ok := r.current().Standing(root)
	if !ok || me.Rank >= protocol.Relay || slices.Contains(me.Devices, dev) {
		return nil
	}
	if by, revoked := r.current().Revocation(root, dev); revoked {
		return fmt.Errorf("%w: this device was revoked, by event %s", ErrNotAllowed, protocol.Short(by.Text(protocol.EventPrefix)))
	}
	if _, begun := r.log.Tip(dev, protocol.Control); begun {
		return nil // what it began with does not count
	}
	if had := len(r.set.Devices(root)); had >= protocol.MaxDevices {
		return fmt.Errorf("%w: you have had %d devices in this group, revoked ones with them, and nobody has more; use one of the others, or come by an invite under another profile", ErrNotAllowed, had)
	}
	d := protocol.Draft{
		Group: r.group, Kind: protocol.KindDeviceAdd, Prev: protocol.Tip{Dev: dev, Chain: protocol.Control},
		Refs: r.current().Heads(protocol.MaxControlRefs, me.Grant), Auth: me.Grant, HLC: r.clock.Next(r.n.now()),
	}
	v, err := r.sign(d, me.Rank, intent{kind: protocol.KindDeviceAdd, clear: &protocol.DeviceAdd{Cert: r.me.Cert()}}, nil)
	if err != nil {
		return fmt.Errorf("bring this device into the group: %w", err)
	}
	commit := r.append(v)
	r.n.spawn(func(ctx context.Context) {
		if err := r.finish(ctx, commit, v); err != nil {
			if ctx.Err() == nil {
				r.n.log.Warn("a new device", "err", err)
			}
			return
		}
		for _, p := range r.n.peers.in(r.group) { // or they answer the device that this one was
			r.n.spawn(func(ctx context.Context) { r.n.greet(ctx, p) })
		}
	})
	return nil
}

// present introduces this device without waiting for somebody to say something. The
// keeper calls it.
func (r *room) present() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.refit(); err != nil {
		return // whoever writes next says why
	}
	if err := r.introduce(); err != nil {
		r.n.log.Debug("introduce", "err", err)
	}
}

// vouch remembers that a peer's device is certified by a member, for who is not told of
// it by an event yet.
func (r *room) vouch(c protocol.Cert) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.guests) >= guestsMost { // who was removed can vouch for strangers, and must not push out a member's
		maps.DeleteFunc(r.guests, func(_, root protocol.Key) bool { return r.current().Rank(root) == protocol.NoRank })
	}
	if len(r.guests) >= guestsMost {
		clear(r.guests)
	}
	r.guests[c.Dev] = c.Root
}

// guest says whether a device that no event brought is a member's all the same. The
// caller holds mu.
func (r *room) guest(dev protocol.Key) bool {
	root, ok := r.guests[dev]
	if !ok || r.current().Rank(root) == protocol.NoRank || len(r.set.Devices(root)) >= protocol.MaxDevices {
		return false
	}
	_, revoked := r.current().Revocation(root, dev)
	return !revoked
}

// credential is the certificate that goes with this device's proof, where it brought
// itself, or is about to: others may not have heard.
func (r *room) credential() (protocol.Cert, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	root, dev := r.me.Root(), r.me.Dev()
	if r.current().Rank(root) == protocol.NoRank {
		return protocol.Cert{}, false
	}
	if id, ok := r.current().Brought(root, dev); ok {
		if v, _, _ := r.set.Get(id); v.Header().Dev != dev || v.Header().Kind != protocol.KindDeviceAdd {
			return protocol.Cert{}, false
		}
	}
	return r.me.Cert(), true
}
