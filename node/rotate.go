package node

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	mathrand "math/rand/v2"
	"slices"
	"time"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

// A group rotates by a new epoch whose secret is wrapped to every device that still
// belongs. Who sends with no epoch fit to send under starts one itself: two that do
// so at once fork the epochs, which is normal, and nobody waits for anybody.

// rotation is an epoch that was started here, until the others are told.
type rotation struct {
	rekey  protocol.Verified
	chunk  []byte          // the wraps, where they fit one chunk; nil otherwise
	on     protocol.Secret // what members met by before
	commit *storage.Commit
}

// rotate starts an epoch now and tells the others. to says which devices get a wrap; nil is every one that may have it.
func (r *room) rotate(ctx context.Context, why protocol.Reason, to func(dev protocol.Key) bool) error {
	r.mu.Lock()
	err := r.startEpoch(why, to)
	r.mu.Unlock()
	if err != nil {
		return fmt.Errorf("rotate: %w", err)
	}
	return r.announce(ctx, protocol.MaxSeq)
}

// rotateAfter starts the epoch that an event of this node calls for, once the event
// is issued. Who was removed or banned must not find the group either.
func (r *room) rotateAfter(ctx context.Context, kind protocol.Kind) error {
	switch kind {
	case protocol.KindRemove, protocol.KindBan:
		return r.rotate(ctx, protocol.Expelled, nil)
	case protocol.KindLeave, protocol.KindDeviceRevoke:
		r.mu.Lock()
		why := r.due(0)
		r.mu.Unlock()
		if why.Urgent() {
			return r.rotate(ctx, why, nil)
		}
	}
	return nil
}

// ensureEpoch makes sure that there is an epoch to send under. The caller holds mu,
// and calls announce when it has let go.
func (r *room) ensureEpoch() error {
	for range rotateMost {
		if _, ok := r.usable(); ok {
			return nil
		}
		if err := r.startEpoch(r.due(protocol.LeaveGrace), nil); err != nil {
			return err
		}
	}
	_, err := r.sendEpoch()
	return err
}

// due says whether an epoch is to be started, and why. The caller holds mu.
func (r *room) due(grace time.Duration) protocol.Reason {
	return r.keys.Due(r.current(), r.time(), grace)
}

// startEpoch writes an epoch: its secret and the wraps are durable before the rekey
// that rests on them. The caller holds mu, and calls announce when it has let go.
func (r *room) startEpoch(why protocol.Reason, to func(dev protocol.Key) bool) error {
	if err := r.refit(); err != nil {
		return err
	}
	d, _, err := r.draftControl(protocol.KindRekey)
	if err != nil {
		return err
	}
	before := r.arrange()
	if len(before) == 0 {
		return fmt.Errorf("%w: the group's rendezvous secret is not here", ErrNoKey)
	}
	n, ok := r.keys.HandOn(r.current(), r.time())
	if r.keys.Len() == 0 {
		n, ok = before[0], true // what the welcome said
	}
	if why.Fresh() || !ok {
		if n, err = protocol.NewSecret(rand.Reader); err != nil {
			return err
		}
	}
	e, err := protocol.NewSecret(rand.Reader)
	if err != nil {
		return err
	}
	ep, rekey, err := r.newEpoch(d, e, n)
	if err != nil {
		return err
	}
	chunks, hybrid := r.wrap(ep, to)
	rekey.Hybrid = hybrid
	for _, c := range chunks {
		rekey.Chunks = append(rekey.Chunks, sha256.Sum256(c))
	}
	turned, err := r.issueEpoch(ep, rekey, chunks)
	if err != nil {
		r.dropEpoch(ep, rekey)
		return err
	}
	turned.on = before[0]
	r.turned = append(r.turned, turned)
	r.turn = time.Time{}
	return nil
}

// issueEpoch stores what a rekey rests on, and then issues it. The caller holds mu.
func (r *room) issueEpoch(ep *protocol.Epoch, rekey *protocol.Rekey, chunks [][]byte) (rotation, error) {
	ctx := r.n.ctx
	secret := protocol.EpochSecret{Epoch: ep.ID, E: ep.E}
	if err := r.saveSecret(ctx, secret); err != nil {
		return rotation{}, err
	}
	for i, c := range chunks {
		if err := r.n.store.Put(ctx, chunkSpace(r.group), rekey.Chunks[i].Text(""), c); err != nil {
			return rotation{}, err
		}
	}
	r.keys.Add(secret)
	v, commit, err := r.issue(protocol.KindRekey, rekey, nil)
	if err != nil {
		return rotation{}, err
	}
	if !r.keys.Held(ep.ID) {
		return rotation{}, fmt.Errorf("rekey %s took another place than it was made for", v.ID())
	}
	t := rotation{rekey: v, commit: commit}
	if len(chunks) == 1 {
		t.chunk = chunks[0]
	}
	for i, c := range chunks {
		r.indexChunk(rekey.Chunks[i], len(c))
	}
	return t, nil
}

// dropEpoch forgets an epoch that was not started after all. The caller holds mu.
func (r *room) dropEpoch(ep *protocol.Epoch, rekey *protocol.Rekey) {
	r.keys.Drop(ep.ID)
	r.n.spawn(func(ctx context.Context) {
		_ = r.n.store.Delete(ctx, epochSpace(r.group), ep.ID.Text(""))
		for _, id := range rekey.Chunks {
			_ = r.n.store.Delete(ctx, chunkSpace(r.group), id.Text(""))
		}
	})
}

// wrap seals an epoch's secret to every current member device but this one that has a
// prekey, and packs the wraps. A prekey that is not one costs its owner the wrap and
// nobody else anything. The caller holds mu.
func (r *room) wrap(ep *protocol.Epoch, to func(dev protocol.Key) bool) (chunks [][]byte, hybrid bool) {
	keys := make(map[protocol.Key][]byte)
	for _, m := range r.current().Members() {
		for _, dev := range m.Devices {
			rec, ok := r.records[recordSlot{dev, protocol.RecordPrekey}]
			if !ok || m.Rank >= protocol.Relay || dev == r.me.Dev() || to != nil && !to(dev) {
				continue
			}
			if key, ok := rec.Record().Prekey(r.n.now()); ok {
				keys[dev] = key
			}
		}
	}
	hybrid = len(keys) <= protocol.HybridMost
	chunks = protocol.ChunkWraps(hybrid, r.wrapTo(ep, keys, hybrid))
	return chunks[:min(len(chunks), protocol.MaxChunks)], hybrid && len(chunks) > 0
}

// wrapTo makes the wraps, on all processors: the room waits for them.
func (r *room) wrapTo(ep *protocol.Epoch, keys map[protocol.Key][]byte, hybrid bool) []protocol.Row {
	devices := slices.Collect(maps.Keys(keys))
	wraps := make([]protocol.Row, len(devices))
	onAllCores(len(devices), func(i int) {
		dev := devices[i]
		part, err := protocol.PrekeyPart(keys[dev], hybrid)
		if err == nil {
			wraps[i], err = ep.Wrap(r.me.Dev(), dev, hybrid, part)
		}
		if err != nil {
			wraps[i] = protocol.Row{}
			r.n.log.Warn("a device gets no wrap", "device", protocol.Short(dev.Text(protocol.DevicePrefix)), "err", err)
		}
	})
	return slices.DeleteFunc(wraps, func(w protocol.Row) bool { return w.Box == nil })
}

// announce tells the others of the epochs started here whose rekeys come before a
// place on this device's chain, once they are durable: by the secret that the members
// still meet by. Where it fails, sync tells them, if the rekey was stored.
func (r *room) announce(ctx context.Context, before uint64) error {
	r.mu.Lock()
	var list, rest []rotation
	for _, t := range r.turned {
		if t.rekey.Header().Seq < before {
			list = append(list, t)
		} else {
			rest = append(rest, t)
		}
	}
	r.turned = rest
	r.mu.Unlock()
	var errs []error
	for _, t := range list {
		if err := t.commit.Wait(ctx); err != nil {
			errs = append(errs, err)
			continue
		}
		r.publishOn(t.on, protocol.FrameEvents, [][]byte{t.rekey.Wire()})
		if t.chunk != nil {
			r.publishOn(t.on, protocol.FrameChunks, [][]byte{t.chunk})
		}
		r.settle(intake{stored: 1, control: true, commit: t.commit})
	}
	return errors.Join(errs...)
}

// turnEpoch has the keeper rotate where no epoch is fit to send under, after a random
// wait in which somebody else's may arrive.
func (r *room) turnEpoch(ctx context.Context) {
	r.mu.Lock()
	why := r.turnDue()
	var err error
	if why != protocol.NotDue {
		if err = r.startEpoch(why, nil); err != nil {
			r.turn = r.n.now().Add(turnFailed)
		}
	}
	r.mu.Unlock()
	if err == nil {
		err = r.announce(ctx, protocol.MaxSeq)
	}
	if err != nil && ctx.Err() == nil {
		r.n.log.Warn("the keys stay as they are", "group", protocol.Short(r.group.Text(protocol.GroupPrefix)), "err", err)
	}
}

// turnDue says whether this node is to rotate now, and why. The caller holds mu.
func (r *room) turnDue() protocol.Reason {
	me, ok := r.current().Standing(r.me.Root())
	if !ok || me.Rank >= protocol.Relay {
		return protocol.NotDue
	}
	grace, most := protocol.LeaveGrace, memberTurn
	if me.Rank <= protocol.Moderator {
		grace, most = 0, seniorTurn // the others give them time
	}
	why := r.due(grace)
	switch {
	case why == protocol.NotDue:
		r.turn = time.Time{}
		return why
	case !why.Urgent():
		if me.Rank > protocol.Moderator {
			most = dueTurn
		}
	case r.foreign(grace):
		most = foreignTurn
	}
	now := r.n.now()
	turn := now.Add(time.Duration(mathrand.Int64N(int64(most))))
	if r.turn.IsZero() || why.Urgent() && r.turn.Sub(now) > most {
		r.turn = turn
	}
	if now.Before(r.turn) {
		return protocol.NotDue
	}
	return why
}

// foreign says whether somebody else's epoch would be fit if its secret were here. The
// caller holds mu.
func (r *room) foreign(grace time.Duration) bool {
	return slices.ContainsFunc(r.keys.Candidates(r.current(), r.time(), grace), func(c protocol.Candidate) bool {
		return c.Current && c.Needed && !c.Held
	})
}
