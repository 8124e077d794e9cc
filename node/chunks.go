package node

import (
	"context"
	"crypto/sha256"
	"maps"
	"slices"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pchat/p2pchat/protocol"
)

// Wraps travel in chunks that a rekey names by their hash. Whoever holds one passes it
// on: it says nothing to who has none of its keys.

// chunkIndex says which chunks are in the store, the oldest first.
type chunkIndex struct {
	size  map[protocol.ID]int
	order []protocol.ID
	bytes int
	early [][]byte // pushed before their rekey; a few, as they may be of none
}

func newChunkIndex() chunkIndex { return chunkIndex{size: make(map[protocol.ID]int)} }

// loadChunks reads which chunks are here, and drops those that no rekey lists: a crash
// came between them and their rekey.
func (r *room) loadChunks(ctx context.Context) error {
	stored, err := r.n.store.List(ctx, chunkSpace(r.group))
	if err != nil || len(stored) == 0 {
		return err
	}
	for _, id := range r.current().Rekeys() {
		_, c, _ := r.set.Get(id)
		for _, chunk := range c.(*protocol.Rekey).Chunks {
			if data, ok := stored[chunk.Text("")]; ok && protocol.ID(sha256.Sum256(data)) == chunk {
				r.indexChunk(chunk, len(data))
				delete(stored, chunk.Text(""))
			}
		}
	}
	for name := range stored {
		if err := r.n.store.Delete(ctx, chunkSpace(r.group), name); err != nil {
			return err
		}
	}
	r.openWraps()
	return nil
}

// indexChunk remembers that a chunk is in the store, and drops the oldest where there
// are too many. The caller holds mu.
func (r *room) indexChunk(id protocol.ID, size int) {
	x := &r.chunks
	if _, ok := x.size[id]; ok {
		return
	}
	x.size[id], x.order, x.bytes = size, append(x.order, id), x.bytes+size
	for x.bytes > chunkBytes {
		old := x.order[0]
		x.order, x.bytes = x.order[1:], x.bytes-x.size[old]
		delete(x.size, old)
		r.n.spawn(func(ctx context.Context) { _ = r.n.store.Delete(ctx, chunkSpace(r.group), old.Text("")) })
	}
}

// chunk returns a chunk from the store.
func (r *room) chunk(ctx context.Context, id protocol.ID) ([]byte, bool) {
	r.mu.Lock()
	_, ok := r.chunks.size[id]
	r.mu.Unlock()
	if !ok {
		return nil, false
	}
	data, err := r.n.store.Get(ctx, chunkSpace(r.group), id.Text(""))
	return data, err == nil
}

// openWraps opens what the chunks in the store have for this device. It is for a room
// that nobody else uses yet.
func (r *room) openWraps() {
	for _, w := range r.missing() {
		for _, id := range w.rekey.Chunks {
			if _, ok := r.chunks.size[id]; !ok {
				continue
			}
			if data, err := r.n.store.Get(r.n.ctx, chunkSpace(r.group), id.Text("")); err == nil {
				r.unwrap(w, data)
			}
		}
	}
}

// unwrap opens a chunk's wrap for this device, if it has one. place says where that is:
// below 0 in an earlier chunk, above 0 in a later one, 0 here or nowhere. The caller
// holds mu.
func (r *room) unwrap(w wanted, data []byte) (place int, opened bool) {
	rows, hybrid, err := protocol.ParseChunk(data)
	if err != nil || r.keys.Held(w.eid) {
		return 0, false
	}
	mine, place := protocol.FindRows(rows, r.me.Dev())
	for _, row := range mine {
		ep, err := r.prekeyOpens(w, row, hybrid)
		if err != nil {
			r.n.log.Debug("a wrap for this device does not open", "epoch", w.eid, "err", err)
			continue
		}
		r.keys.Add(protocol.EpochSecret{Epoch: w.eid, E: ep.E})
		r.openEpochs()
		return 0, r.keys.Held(w.eid)
	}
	return place, false
}

// prekeyOpens opens a wrap by whichever prekey does, the newest first. The caller holds
// mu.
func (r *room) prekeyOpens(w wanted, row protocol.Row, hybrid bool) (ep *protocol.Epoch, err error) {
	err = ErrNoKey
	for _, week := range slices.Backward(slices.Sorted(maps.Keys(r.keys.prekeys))) {
		var key protocol.Prekey
		if key, err = protocol.DerivePrekey(r.keys.prekeys[week]); err != nil {
			return nil, err
		}
		if ep, err = key.Unwrap(row, hybrid, r.me.Dev(), r.group, w.eid, w.dev, w.seq); err == nil {
			return ep, nil
		}
	}
	return nil, err
}

// takeChunk keeps a chunk of a rekey, opens what it has for this device, and says where
// that is; see unwrap.
func (r *room) takeChunk(w wanted, id protocol.ID, data []byte) (place int) {
	r.mu.Lock()
	place, opened := r.keepChunk(w, id, data)
	r.mu.Unlock()
	if opened {
		r.settle(intake{stored: 1, control: true})
	}
	return place
}

// keepChunk does not wait for the disk: what is lost can be asked for again. The caller
// holds mu, and calls settle where an epoch was opened.
func (r *room) keepChunk(w wanted, id protocol.ID, data []byte) (place int, opened bool) {
	place, opened = r.unwrap(w, data)
	_, known := r.chunks.size[id]
	e := r.keys.Epoch(w.eid)
	r.n.spawn(func(ctx context.Context) {
		if !known && r.n.store.Put(ctx, chunkSpace(r.group), id.Text(""), data) == nil {
			r.mu.Lock()
			r.indexChunk(id, len(data))
			r.mu.Unlock()
		}
		if opened {
			_ = r.saveSecret(ctx, protocol.EpochSecret{Epoch: w.eid, E: e.E}) // the chunk gives it again
		}
	})
	return place, opened
}

// putChunk keeps a chunk of a rekey on the disk, and opens what it has for this device.
func (r *room) putChunk(ctx context.Context, w wanted, id protocol.ID, data []byte) error {
	if err := r.n.store.Put(ctx, chunkSpace(r.group), id.Text(""), data); err != nil {
		return err
	}
	r.mu.Lock()
	r.indexChunk(id, len(data))
	_, opened := r.unwrap(w, data)
	e := r.keys.Epoch(w.eid)
	r.mu.Unlock()
	if !opened {
		return nil
	}
	r.settle(intake{stored: 1, control: true})
	return r.saveSecret(ctx, protocol.EpochSecret{Epoch: w.eid, E: e.E})
}

// listed returns the rekeys that are here by the chunks that they list.
func (r *room) listed() map[protocol.ID]wanted {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make(map[protocol.ID]wanted)
	for _, id := range r.current().Rekeys() {
		w := r.wantedOf(id)
		for _, chunk := range w.rekey.Chunks {
			out[chunk] = w
		}
	}
	return out
}

// takeEarly takes in a chunk that came just before its rekey. The caller holds mu.
func (r *room) takeEarly(rekey protocol.ID) {
	w := r.wantedOf(rekey)
	r.chunks.early = slices.DeleteFunc(r.chunks.early, func(data []byte) bool {
		id := protocol.ID(sha256.Sum256(data))
		if !slices.Contains(w.rekey.Chunks, id) {
			return false
		}
		r.keepChunk(w, id, data)
		return true
	})
}

// parkChunk keeps a chunk for the rekey that may follow it.
func (r *room) parkChunk(data []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.chunks.early) == earlyChunks {
		r.chunks.early = slices.Delete(r.chunks.early, 0, 1)
	}
	r.chunks.early = append(r.chunks.early, data)
}

// validateChunks takes pushed chunks in. What no rekey here lists is nobody's word for
// anything: it is not passed on. Pubsub may hand the rekey over right after it, so a
// few are kept; else who needs it asks for it.
func (r *room) validateChunks(from peer.ID, list [][]byte) pubsub.ValidationResult {
	for _, data := range list {
		id := protocol.ID(sha256.Sum256(data))
		w, ok := r.listing(id)
		if !r.allowGossip(w.dev, from, 1) { // of the forwarder, where no device speaks for it
			r.poke()
			return pubsub.ValidationIgnore
		}
		if _, _, err := protocol.ParseChunk(data); err != nil {
			return pubsub.ValidationReject
		}
		if !ok {
			r.parkChunk(data)
			r.poke()
			return pubsub.ValidationIgnore
		}
		r.takeChunk(w, id, data)
	}
	return pubsub.ValidationAccept
}

// listing finds the rekey, of the newest, that lists a chunk.
func (r *room) listing(chunk protocol.ID) (wanted, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rekeys := r.current().Rekeys()
	for i := len(rekeys) - 1; i >= 0 && i >= len(rekeys)-chunkRekeys; i-- {
		if w := r.wantedOf(rekeys[i]); slices.Contains(w.rekey.Chunks, chunk) {
			return w, true
		}
	}
	return wanted{}, false
}
