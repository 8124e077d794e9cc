package node

import (
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
func (r *room) refreshProfile() {
	rec, ok, err := r.makeProfile()
	if err != nil {
		r.n.log.Warn("profile", "err", err)
		return
	}
	if !ok {
		return
	}
	if commit := r.ingestRecords([]protocol.VerifiedRecord{rec}); commit != nil {
		r.publish(protocol.FrameRecords, [][]byte{rec.Wire()})
		r.poke()
	}
}

func (r *room) makeProfile() (rec protocol.VerifiedRecord, ok bool, err error) {
	name := r.n.displayName()
	r.mu.Lock()
	defer r.mu.Unlock()
	dev := r.me.Dev()
	if _, member := r.current().Owner(dev); !member || name == "" || r.names[dev] == name {
		return rec, false, nil
	}
	ep, err := r.sendEpoch()
	if err != nil {
		return rec, false, nil // as soon as there is a key
	}
	k := protocol.RecordKey{Dev: dev, Type: protocol.RecordProfile, Number: 1}
	if old, ok := r.records[recordSlot{dev, protocol.RecordProfile}]; ok {
		k.Number = old.Record().Number + 1
	}
	value, err := ep.SealProfile(k, protocol.Profile{Name: name}, rand.Reader)
	if err != nil {
		return rec, false, err
	}
	rec, err = protocol.Record{Type: k.Type, Number: k.Number, Value: value}.Sign(r.group, r.me.Signer())
	return rec, err == nil, err
}

func (n *Node) displayName() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.name
}
