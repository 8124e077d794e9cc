package node

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

// ImportResult says what became of a bundle. What was whole is kept, whatever else.
type ImportResult struct {
	Group    protocol.ID
	New      int  // events that were not here
	Known    int  // events that were
	Filled   int  // messages among those that were here without their text
	Unheard  int  // events that are right and do not count, such as of who was banned
	Refused  int  // events and records that are wrong, or that need a newer program
	Damaged  int  // chunks that are missing or do not open, and the head if it was changed
	CutShort bool // the end of the file is missing
	Trailing bool // there is more behind its end

	// Waiting are the authors of events that need others, which are neither here nor in
	// the file; another file may have them, and then this one can be imported again.
	Waiting []Lack
	Locked  int // epochs whose key this device may have, and lacks
}

// Lack is how many events of somebody wait.
type Lack struct {
	From   Person
	Events int
}

// Whole says whether everything in the file was read and taken in.
func (r ImportResult) Whole() bool {
	return r.Refused+r.Damaged+len(r.Waiting) == 0 && !r.CutShort && !r.Trailing
}

// Import takes in a bundle that a member wrote, by the door that everything comes in by.
// It may be read twice, and several in any order. It reads as far as the bundle goes, and
// holds little of it in memory. A reader that has a Size method, as bytes.Reader does, lets
// progress say how much is left. Errors: ErrBadFile where it is not one or its head is
// damaged, ErrNotForYou where nothing here opens it; others say that reading or storing
// failed, after what the result says.
func (n *Node) Import(ctx context.Context, in io.Reader) (ImportResult, error) {
	if err := n.alive(); err != nil {
		return ImportResult{}, err
	}
	head, err := protocol.ReadBundleHead(in)
	if err != nil {
		return ImportResult{}, fmt.Errorf("import: %w", err)
	}
	for _, r := range n.allRooms() {
		key, ok := r.opensBundle(head)
		if !ok {
			continue
		}
		im := &importing{r: r, key: key, late: make(map[protocol.ID]late), progress: r.progress("import", "")}
		if file, ok := in.(interface{ Size() int64 }); ok {
			im.progress.expect(0, uint64(max(0, file.Size())))
		}
		im.losses, _ = r.log.Failures()
		im.res.Group = r.group
		if head.Damaged {
			im.res.Damaged = 1
		}
		err := im.read(ctx, in)
		if e := im.finish(ctx); err == nil {
			err = e
		}
		im.progress.end()
		if err != nil {
			return im.res, fmt.Errorf("import: %w", err)
		}
		return im.res, nil
	}
	if head.Damaged {
		return ImportResult{}, fmt.Errorf("import: %w: its beginning is damaged", ErrBadFile)
	}
	return ImportResult{}, fmt.Errorf("import: %w", ErrNotForYou)
}

// opensBundle opens a bundle of this group by what this device has.
func (r *room) opensBundle(head protocol.BundleHead) (protocol.BundleKey, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, seed := range r.keys.prekeys { // first: it opens more
		prekey, err := protocol.DerivePrekey(seed)
		if err != nil {
			continue
		}
		if key, ok := head.OpenBox(r.group, prekey); ok {
			return key, true
		}
	}
	for _, n := range r.arrange() {
		if key, ok := head.OpenPoint(r.group, n); ok {
			return key, true
		}
	}
	return protocol.BundleKey{}, false
}

// importing is a bundle on its way into a room.
type importing struct {
	r   *room
	key protocol.BundleKey
	res ImportResult

	seen  []uint64 // chunks that were read, a bit each
	count uint64   // how many
	end   uint64   // how many there are, as far as is known
	whole bool     // the last was among them

	wires  [][]byte // events that are not verified yet
	packed []protocol.Unverified
	bytes  int
	last   *storage.Commit
	losses uint64                 // of the log, before
	chunks map[protocol.ID]wanted // rekeys by the wrap chunks that they list
	listed int                    // of how many control events those are
	late   map[protocol.ID]late
	more   int // events that wait and that there was no room to remember

	progress *progress
}

// late is an event that waits for another.
type late struct {
	wait protocol.ID
	dev  protocol.Key
}

// read goes through the chunks, and through what follows one that is damaged.
func (im *importing) read(ctx context.Context, in io.Reader) error {
	buf := make([]byte, protocol.BundleChunk)
	for at := uint64(0); !im.whole || im.count < im.end; at++ {
		n, err := io.ReadFull(in, buf)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		im.progress.add(0, n)
		if err := im.chunk(ctx, at, buf[:n]); err != nil {
			return err
		}
	}
	n, err := io.ReadFull(in, buf[:1])
	im.res.Trailing = n > 0
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return err
}

func (im *importing) chunk(ctx context.Context, at uint64, data []byte) error {
	number, last, plain, err := im.key.OpenChunk(at, data)
	if err != nil {
		if !im.whole {
			im.end = max(im.end, at+1)
		}
		return nil
	}
	im.whole = im.whole || last
	im.end = max(im.end, number+1)
	if !im.note(number) {
		return nil // it is here twice
	}
	frames, err := protocol.ChunkFrames(plain)
	if err != nil {
		im.res.Refused++
	}
	for _, f := range frames {
		if err := im.frame(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

// note notes that a chunk was read, and says whether it is the first time.
func (im *importing) note(number uint64) bool {
	for uint64(len(im.seen)) <= number/64 {
		im.seen = append(im.seen, 0)
	}
	bit := uint64(1) << (number % 64)
	if im.seen[number/64]&bit != 0 {
		return false
	}
	im.seen[number/64] |= bit
	im.count++
	return true
}

// frame takes in a frame. A member may have written what is wrong: it is left out, and
// the rest is not.
func (im *importing) frame(ctx context.Context, f protocol.Frame) error {
	var events protocol.Events
	var secrets protocol.BundleSecrets
	if f.Kind == protocol.FrameEvents {
		if err := f.Decode(f.Kind, &events); err != nil {
			im.res.Refused++
			return nil
		}
		return im.events(ctx, events.List)
	}
	if f.Kind == protocol.FramePacked {
		var packed []byte
		if err := f.Decode(f.Kind, &packed); err != nil {
			im.res.Refused++
			return nil
		}
		return im.pack(ctx, packed)
	}
	if err := im.flush(ctx); err != nil { // what follows is judged by it
		return err
	}
	switch f.Kind {
	case protocol.FrameRecords:
		records, refused, err := openRecords(im.r.group, f)
		if err != nil || refused != nil {
			im.res.Refused++
		}
		return im.await(ctx, im.r.ingestRecords(records))
	case protocol.FrameChunks:
		if f.Decode(f.Kind, &events) == nil {
			return im.wraps(ctx, events.List)
		}
	case protocol.FrameSecrets:
		if f.Decode(f.Kind, &secrets) == nil {
			list, err := im.key.OpenSecrets(secrets)
			if err == nil {
				return im.r.handedSecrets(ctx, list)
			}
		}
	}
	im.res.Refused++
	return nil
}

// events gathers events, so that many are verified at once.
func (im *importing) events(ctx context.Context, wires [][]byte) error {
	for _, wire := range wires {
		im.wires, im.bytes = append(im.wires, wire), im.bytes+len(wire)
		if len(im.wires) >= importBatch || im.bytes >= importBytes {
			if err := im.flush(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// pack gathers the events of a pack.
func (im *importing) pack(ctx context.Context, packed []byte) error {
	list, err := protocol.Unpack(im.r.group, packed)
	if err != nil {
		im.res.Refused++
		return nil
	}
	im.packed, im.bytes = append(im.packed, list...), im.bytes+len(packed)
	if len(im.packed) >= importBatch || im.bytes >= importBytes {
		return im.flush(ctx)
	}
	return nil
}

// flush takes in what was gathered.
func (im *importing) flush(ctx context.Context) error {
	if len(im.wires)+len(im.packed) == 0 {
		return nil
	}
	list, errs := protocol.VerifyBatch(im.r.group, im.wires, rand.Reader)
	packed, more := protocol.VerifyUnpacked(im.packed, rand.Reader)
	list, errs = append(list, packed...), append(errs, more...)
	im.wires, im.packed, im.bytes = nil, nil, 0
	good := list[:0]
	for i, err := range errs {
		if err == nil {
			good = append(good, list[i])
		} else {
			im.res.Refused++
		}
	}
	im.progress.add(len(errs), 0)
	in := im.r.ingest("", good)
	im.r.settle(in)
	im.res.New += in.stored
	im.res.Known += in.known
	im.res.Unheard += in.unheard
	im.res.Refused += in.refused - in.unheard
	for _, w := range in.waits {
		if len(im.late) < importLate {
			im.late[w.event.ID()] = late{w.wait, w.event.Header().Dev}
		} else {
			im.more++
		}
	}
	if err := im.await(ctx, in.commit); err != nil || in.known == 0 {
		return err
	}
	n, err := im.r.refill(ctx, good)
	im.res.Filled += n
	return err
}

// await waits for what was stored before, while this is on its way to the disk.
func (im *importing) await(ctx context.Context, next *storage.Commit) error {
	if next == nil {
		return nil
	}
	last := im.last
	im.last = next
	if last == nil {
		return nil
	}
	return last.Wait(ctx)
}

// wraps keeps the chunks of wraps that a rekey here lists, and opens what they have for
// this device.
func (im *importing) wraps(ctx context.Context, list [][]byte) error {
	if events := im.r.events(); im.listed != events {
		im.chunks, im.listed = im.r.listed(), events
	}
	for _, data := range list {
		id := protocol.ID(sha256.Sum256(data))
		w, ok := im.chunks[id]
		if _, known := im.r.chunk(ctx, id); known || !ok {
			continue
		}
		if err := im.r.putChunk(ctx, w, id, data); err != nil {
			return err
		}
	}
	return nil
}

// events returns how many control events are here.
func (r *room) events() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.set.Len()
}

// finish takes in what is left, and says what came of it all.
func (im *importing) finish(ctx context.Context) error {
	err := im.flush(ctx)
	if im.last != nil {
		err = errors.Join(err, im.last.Wait(ctx))
	}
	if more := im.r.relink(); more != nil {
		err = errors.Join(err, more.Wait(ctx))
	}
	if err == nil {
		err = im.durable(ctx)
	}
	im.res.Damaged, im.res.CutShort = im.res.Damaged+int(im.end-im.count), !im.whole
	im.lacks(ctx)
	im.r.mu.Lock()
	im.res.Locked = len(im.r.missing())
	im.r.mu.Unlock()
	return err
}

// durable waits for what others brought at the same time, and was known here therefore.
func (im *importing) durable(ctx context.Context) error {
	if err := im.r.log.Append(nil).Wait(ctx); err != nil {
		return err
	}
	losses, err := im.r.log.Failures()
	if losses == im.losses {
		return nil
	}
	return err
}

// lacks finds out which events still wait.
func (im *importing) lacks(ctx context.Context) {
	lacks := make(map[protocol.Key]*Lack)
	for id, l := range im.late {
		if im.r.has(ctx, id) && im.r.has(ctx, l.wait) {
			continue
		}
		im.r.mu.Lock()
		from := im.r.person(l.dev)
		im.r.mu.Unlock()
		if lacks[from.Key] == nil {
			lacks[from.Key] = &Lack{From: from}
		}
		lacks[from.Key].Events++
	}
	for _, l := range lacks {
		im.res.Waiting = append(im.res.Waiting, *l)
	}
	if im.more > 0 {
		im.res.Waiting = append(im.res.Waiting, Lack{Events: im.more})
	}
	slices.SortFunc(im.res.Waiting, func(a, b Lack) int {
		return cmp.Or(cmp.Compare(a.From.Name, b.From.Name), a.From.Key.Compare(b.From.Key))
	})
}

// has says whether an event is here.
func (r *room) has(ctx context.Context, id protocol.ID) bool {
	r.mu.Lock()
	known := r.set.Has(id) || r.recent.Contains(id)
	r.mu.Unlock()
	if !known {
		_, err := r.log.Get(ctx, id)
		known = err == nil
	}
	return known
}
