package node

import (
	"context"
	"crypto/rand"

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

// keepRecord takes a record in if it is newer, and says whether it did. The caller
// holds mu.
func (r *room) keepRecord(rec protocol.VerifiedRecord) bool {
	slot := recordSlot{rec.Record().Dev, rec.Record().Type}
	if old, ok := r.records[slot]; ok && !rec.Newer(old) {
		return false
	}
	r.records[slot] = rec
	r.nameFrom(rec)
	return true
}

// nameFrom reads a profile, if it is one and its epoch is held. The caller holds mu.
func (r *room) nameFrom(rec protocol.VerifiedRecord) {
	if rec.Record().Type != protocol.RecordProfile {
		return
	}
	tag, err := protocol.ProfileEpoch(rec.Record())
	if err != nil {
		return
	}
	if ep := r.keys.byTag[tag]; ep != nil {
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
	if _, member := r.current().Owner(dev); !member || name == "" || r.names[dev] == name {
		return rec, nil, nil
	}
	ep, err := r.sendEpoch()
	if err != nil {
		return rec, nil, nil // as soon as there is a key
	}
	k := protocol.RecordKey{Dev: dev, Type: protocol.RecordProfile, Number: 1}
	if old, ok := r.records[recordSlot{dev, protocol.RecordProfile}]; ok {
		k.Number = old.Record().Number + 1
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
