package keysim

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/p2pchat/p2pchat/protocol"
)

// What package node does around a keyring, told again without locks, disk and network:
// node/rotate.go, keys.go, ask.go, chunks.go and records.go.

const (
	rotateMost = 4
	prekeyLife = 35 * 24 * time.Hour
)

func (d *device) choice() protocol.Choice {
	return d.keys.Choose(d.roster, d.millis(), protocol.LeaveGrace)
}

func (d *device) due(grace time.Duration) protocol.Reason {
	return d.keys.Due(d.roster, d.millis(), grace)
}

// ensureEpoch makes sure that there is an epoch to send under.
func (d *device) ensureEpoch() (*protocol.Epoch, error) {
	for range rotateMost {
		if c := d.choice(); c.OK {
			return d.keys.Epoch(c.Epoch), nil
		}
		if err := d.startEpoch(d.due(protocol.LeaveGrace)); err != nil {
			return nil, err
		}
	}
	if c := d.choice(); c.OK {
		return d.keys.Epoch(c.Epoch), nil
	}
	return nil, errors.New("no epoch is fit to send under")
}

// turnEpoch rotates where it is due. Seniors leave nobody who went a grace.
func (d *device) turnEpoch() error {
	me, ok := d.standing()
	if !ok {
		return nil
	}
	grace := protocol.LeaveGrace
	if me.Rank <= protocol.Moderator {
		grace = 0
	}
	if why := d.due(grace); why != protocol.NotDue {
		return d.startEpoch(why)
	}
	return nil
}

// rendezvous is the secret that a new epoch hands on, or a new one. What is handed on
// has to be of an epoch that has seen everybody be removed: another's may be known to
// them.
func (d *device) rendezvous(fresh bool) protocol.Secret {
	if n, ok := d.keys.HandOn(d.roster, d.millis()); ok && !fresh {
		return n
	}
	return d.w.secret()
}

// startEpoch starts an epoch and wraps it to every device that may have it.
func (d *device) startEpoch(why protocol.Reason) error {
	draft, me, err := d.draft(protocol.KindRekey)
	if err != nil {
		return err
	}
	past, err := d.set.PastOf(draft)
	if err != nil {
		return err
	}
	n := d.rendezvous(why.Fresh())
	ep, rekey, err := d.keys.Start(d.roster, d.id.Dev(), draft.Prev.Seq+1, past, d.w.secret(), n, d.millis(), protocol.LeaveGrace)
	if err != nil {
		return err
	}
	chunks := protocol.ChunkWraps(false, d.wrapAll(ep))
	for _, c := range chunks {
		rekey.Chunks = append(rekey.Chunks, sha256.Sum256(c))
	}
	rekey.Hybrid = len(chunks) > 0
	return d.issueEpoch(draft, me, ep, rekey, chunks, n)
}

// issueEpoch takes in an epoch that this device starts.
func (d *device) issueEpoch(draft protocol.Draft, me protocol.Standing, ep *protocol.Epoch, rekey *protocol.Rekey, chunks [][]byte, n protocol.Secret) error {
	for _, c := range chunks {
		d.chunks.put(d.w.keepChunk(c))
	}
	d.keys.Add(protocol.EpochSecret{Epoch: ep.ID, E: ep.E})
	d.w.starts[ep.ID] = &start{ep: ep, by: d, n: n, at: len(d.w.events)}
	v, err := d.sign(draft, rekey)
	if err != nil {
		d.keys.Drop(ep.ID)
		delete(d.w.starts, ep.ID)
		return err
	}
	d.w.starts[ep.ID].rekey = v.ID()
	d.w.tally.Rekeys++
	if !d.keys.Held(ep.ID) {
		return fmt.Errorf("rekey %s by a %s took another place than it was made for", v.ID(), me.Rank)
	}
	return nil
}

// wrapAll seals an epoch's secret to every current member device but this one that has
// a prekey.
func (d *device) wrapAll(ep *protocol.Epoch) (rows []protocol.Row) {
	for _, m := range d.roster.Members() {
		for _, dev := range m.Devices {
			rec, ok := d.records[dev]
			if !ok || m.Rank >= protocol.Relay || dev == d.id.Dev() {
				continue
			}
			key, ok := rec.Record().Prekey(d.time())
			if !ok {
				continue
			}
			if row, err := d.w.wrap(ep, d.id.Dev(), dev, key, false); err == nil {
				rows = append(rows, row)
			}
		}
	}
	return rows
}

func (w *world) keepChunk(data []byte) int {
	id := protocol.ID(sha256.Sum256(data))
	if n, ok := w.chunkIDs[id]; ok {
		return n
	}
	w.chunkIDs[id] = len(w.chunks)
	w.chunks = append(w.chunks, data)
	return len(w.chunks) - 1
}

// openChunks opens what the chunks that are here have for this device.
func (d *device) openChunks() {
	d.locked = slices.DeleteFunc(d.locked, func(n int) bool {
		v := d.w.events[n]
		_, c, _ := d.set.Get(v.ID())
		rekey := c.(*protocol.Rekey)
		for _, id := range rekey.Chunks {
			at, ok := d.w.chunkIDs[id]
			if ok && d.chunks.has(at) && !d.keys.Held(rekey.Epoch) {
				d.unwrap(v, rekey.Epoch, d.w.chunks[at])
			}
		}
		return d.keys.Held(rekey.Epoch)
	})
}

// unwrap opens a chunk's wrap for this device, if it has one.
func (d *device) unwrap(v protocol.Verified, eid protocol.ID, data []byte) {
	rows, _, err := protocol.ParseChunk(data)
	if err != nil {
		return
	}
	me := d.id.Dev()
	found, _ := protocol.FindRows(rows, me)
	for _, row := range found {
		for _, key := range d.prekeys {
			if ep, err := d.w.unwrap(row, key, me, eid, v.Header().Dev, v.Header().Seq); err == nil {
				d.keys.Add(protocol.EpochSecret{Epoch: eid, E: ep.E})
				d.opened(d.keys.Open(d.set))
				return
			}
		}
	}
}

// refreshPrekey publishes a prekey where the newest one is of an earlier week, and
// gives up those whose time is over: at once, where node waits until it has asked for
// what it missed.
func (d *device) refreshPrekey() {
	if _, member := d.standing(); !member {
		return
	}
	for week := range d.prekeys {
		if protocol.PrekeyStart(week).Add(prekeyLife).Before(d.time()) {
			delete(d.prekeys, week)
		}
	}
	week := protocol.PrekeyWeek(d.time())
	if rec, ok := d.records[d.id.Dev()]; !ok || rec.Record().Number < week {
		d.publishPrekey(week)
	}
}

func (d *device) publishPrekey(week uint64) {
	key, public := d.w.newPrekey(week)
	d.prekeys[week], d.names[key.id] = key, key
	rec, err := protocol.Record{
		Type: protocol.RecordPrekey, Number: week, Expiry: uint64(protocol.PrekeyStart(week).Add(prekeyLife).Unix()), Value: public,
	}.Sign(d.w.group, d.id.Signer())
	if err != nil {
		d.w.fail("a prekey: %v", err)
		return
	}
	d.records[d.id.Dev()] = rec
}

// missing returns the epochs whose secret this device lacks and may have, the newest
// first.
func (d *device) missing() (out []protocol.ID) {
	for _, id := range slices.Backward(d.set.Rekeys()) {
		_, c, _ := d.set.Get(id)
		eid := c.(*protocol.Rekey).Epoch
		if _, may := d.keys.From(d.roster, d.p.root(), eid); may && !d.keys.Held(eid) && !slices.Contains(out, eid) {
			out = append(out, eid)
		}
	}
	return out
}

// secretsFor returns those of the epochs asked for that a device may have.
func (d *device) secretsFor(asker *device, epochs []protocol.ID) (out []protocol.EpochSecret) {
	owner, ok := d.roster.Owner(asker.id.Dev())
	if !ok || owner.Rank >= protocol.Relay {
		return nil
	}
	for _, eid := range epochs {
		if s, ok := d.keys.Share(d.roster, owner.Root, eid); ok {
			out = append(out, s)
		}
	}
	return out
}

// welcomeEpochs returns the secrets that somebody who was admitted gets.
func (d *device) welcomeEpochs(root protocol.Key) ([]protocol.EpochSecret, error) {
	for range 2 {
		if _, err := d.ensureEpoch(); err != nil {
			return nil, err
		}
		if list, fit := d.keys.Welcome(d.roster, root, d.millis(), protocol.LeaveGrace); fit {
			return list, nil
		}
		if err := d.startEpoch(protocol.Stale); err != nil {
			return nil, err
		}
	}
	return nil, errors.New("no epoch began after the admission")
}
