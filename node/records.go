package node

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"time"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

// ingestRecords is the door for records: only members' count, and only newer ones.
func (r *room) ingestRecords(list []protocol.VerifiedRecord) *storage.Commit {
	r.mu.Lock()
	defer r.mu.Unlock()
	var last *storage.Commit
	for _, rec := range list {
		if _, ok := r.current().Owner(rec.Record().Dev); !ok || !r.keepRecord(rec) {
			continue
		}
		last = r.log.PutRecord(rec)
		r.digest.fresh = false
	}
	return last
}

// newer says whether a record is newer than what is here.
func (r *room) newer(rec protocol.VerifiedRecord) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	old, ok := r.records[recordSlot{rec.Record().Dev, rec.Record().Type}]
	return !ok || rec.Newer(old)
}

// keepRecord takes a record in if it is newer, and says whether it did. The caller
// holds mu.
func (r *room) keepRecord(rec protocol.VerifiedRecord) bool {
	slot := recordSlot{rec.Record().Dev, rec.Record().Type}
	if old, ok := r.records[slot]; ok && !rec.Newer(old) {
		return false
	}
	r.records[slot] = rec
	r.nameFrom(rec)
	r.heardFrontier(rec.Record())
	return true
}

// nameFrom reads a profile, if it is one and its epoch is held. The caller holds mu.
func (r *room) nameFrom(rec protocol.VerifiedRecord) {
	if rec.Record().Type != protocol.RecordProfile {
		return
	}
	tag, _, err := protocol.ProfileEpoch(rec.Record())
	if err != nil {
		return
	}
	if ep := r.keys.ByTag(tag); ep != nil {
		if p, err := ep.OpenProfile(rec); err == nil {
			r.names[rec.Record().Dev] = p.Name
		}
	}
}

// refreshProfile publishes this person's name where the group does not have it yet.
// It may be called in the validator, so it does not wait for the disk there.
func (r *room) refreshProfile() {
	rec, commit, err := r.makeProfile()
	if err != nil {
		r.n.log.Warn("profile", "err", err)
		return
	}
	if commit == nil {
		return
	}
	r.n.spawn(func(ctx context.Context) {
		if err := commit.Wait(ctx); err != nil {
			r.n.log.Warn("profile", "err", err)
			return
		}
		r.publish(protocol.FrameRecords, [][]byte{rec.Wire()})
		r.poke()
	})
}

// makeProfile makes this device's next profile record, if one is due, and stores it:
// in one go, so that no number is given twice.
func (r *room) makeProfile() (rec protocol.VerifiedRecord, commit *storage.Commit, err error) {
	name := r.n.displayName()
	r.mu.Lock()
	defer r.mu.Unlock()
	dev := r.me.Dev()
	if _, member := r.current().Owner(dev); !member || name == "" {
		return rec, nil, nil
	}
	ep, err := r.sendEpoch()
	if err != nil {
		return rec, nil, nil // as soon as there is a key
	}
	if r.names[dev] == name && !r.sealedBefore(dev, ep) {
		return rec, nil, nil
	}
	k := protocol.RecordKey{Dev: dev, Type: protocol.RecordProfile, Number: 1}
	for _, own := range r.set.Devices(r.me.Root()) { // the newest of a person's profiles is shown
		if old, ok := r.records[recordSlot{own, protocol.RecordProfile}]; ok {
			k.Number = max(k.Number, old.Record().Number+1)
		}
	}
	value, err := ep.SealProfile(k, protocol.Profile{Name: name}, rand.Reader)
	if err != nil {
		return rec, nil, err
	}
	rec, err = protocol.Record{Type: k.Type, Number: k.Number, Value: value}.Sign(r.group, r.me.Signer())
	if err != nil || !r.keepRecord(rec) {
		return rec, nil, err
	}
	r.digest.fresh = false
	return rec, r.log.PutRecord(rec), nil
}

func (n *Node) displayName() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.name
}

// sealedBefore says whether this device's profile is one that the newest members
// cannot read: under another epoch than ep or a step before, where history begins with them. The
// caller holds mu.
func (r *room) sealedBefore(dev protocol.Key, ep *protocol.Epoch) bool {
	rec, ok := r.records[recordSlot{dev, protocol.RecordProfile}]
	if !ok || !r.historyFromJoin() {
		return false
	}
	tag, step, err := protocol.ProfileEpoch(rec.Record())
	return err == nil && !ep.Seals(tag, step)
}

// prekeyLife is how long a prekey is good for after its week begins: it outlives the
// time in which others wrap to it.
const prekeyLife = 35 * 24 * time.Hour

// loadPrekeys reads the seeds of this device's prekeys back.
func (r *room) loadPrekeys(ctx context.Context) error {
	stored, err := r.n.store.List(ctx, prekeySpace(r.group))
	if err != nil {
		return err
	}
	for key, value := range stored {
		week, err := strconv.ParseUint(key, 10, 64)
		if err != nil || len(value) != 32 {
			return fmt.Errorf("prekey %q in the store is damaged", key)
		}
		r.keys.prekeys[week] = protocol.Secret(value)
	}
	return nil
}

// refreshPrekey publishes a prekey where the newest one is of an earlier week. Its
// private half is durable before anybody can wrap to it. The keeper calls it, and who
// exports.
func (r *room) refreshPrekey(ctx context.Context) {
	r.making.Lock() // two of one week would be a fork
	defer r.making.Unlock()
	week := protocol.PrekeyWeek(r.n.now())
	seed, due := r.prekeyDue(week)
	if !due {
		return
	}
	rec, err := r.makePrekey(ctx, week, seed)
	if err == nil && !rec.Record().Dev.IsZero() {
		r.publish(protocol.FrameRecords, [][]byte{rec.Wire()})
		r.poke()
	}
	if err != nil && ctx.Err() == nil {
		r.n.log.Warn("prekey", "err", err)
	}
}

// prekeyDue says whether this device needs a prekey for a week, and returns the seed
// it has for it: a crash may have come between the two.
func (r *room) prekeyDue(week uint64) (protocol.Secret, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	owner, member := r.current().Owner(r.me.Dev())
	rec, ok := r.records[recordSlot{r.me.Dev(), protocol.RecordPrekey}]
	if !member || owner.Rank >= protocol.Relay || ok && rec.Record().Number >= week {
		return protocol.Secret{}, false
	}
	return r.keys.prekeys[week], true
}

func (r *room) makePrekey(ctx context.Context, week uint64, seed protocol.Secret) (rec protocol.VerifiedRecord, err error) {
	if seed.IsZero() {
		if seed, err = protocol.NewSecret(rand.Reader); err != nil {
			return rec, err
		}
		if err := r.n.store.Put(ctx, prekeySpace(r.group), strconv.FormatUint(week, 10), seed[:]); err != nil {
			return rec, err
		}
	}
	key, err := protocol.DerivePrekey(seed)
	if err != nil {
		return rec, err
	}
	expiry := protocol.PrekeyStart(week).Add(prekeyLife).Unix()
	rec, err = protocol.Record{Type: protocol.RecordPrekey, Number: week, Expiry: uint64(expiry), Value: key.Public()}.Sign(r.group, r.me.Signer())
	if err != nil {
		return rec, err
	}
	r.mu.Lock()
	r.keys.prekeys[week] = seed
	kept := r.keepRecord(rec)
	r.digest.fresh = false
	r.mu.Unlock()
	if !kept {
		return protocol.VerifiedRecord{}, nil
	}
	return rec, r.log.PutRecord(rec).Wait(ctx)
}

// prunePrekeys gives up the private halves of old prekeys, once no wrap to them can come
// any more that this device did not look for: after it has all that some member had, and
// asked for what it could not open. Until then even an old one may open what was missed.
func (r *room) prunePrekeys(ctx context.Context) {
	for _, week := range r.prekeysPast() {
		if err := r.n.store.Delete(ctx, prekeySpace(r.group), strconv.FormatUint(week, 10)); err != nil {
			if ctx.Err() == nil {
				r.n.log.Warn("an old prekey stays", "err", err)
			}
			return
		}
		r.mu.Lock()
		delete(r.keys.prekeys, week)
		r.mu.Unlock()
	}
}

// prekeysPast returns the weeks whose prekeys may go.
func (r *room) prekeysPast() []uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.n.now()
	var out []uint64
	for week := range r.keys.prekeys {
		if !now.Before(protocol.PrekeyStart(week).Add(prekeyLife)) {
			out = append(out, week)
		}
	}
	if len(out) == 0 || r.synced.IsZero() || now.Sub(r.synced) > syncSoon {
		return nil
	}
	for _, w := range r.missing() {
		if r.keys.asked[w.eid].count < askedEnough {
			return nil
		}
	}
	return out
}
