package node

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/p2pchat/p2pchat/protocol"
)

// ExportOptions say what goes into a bundle, and who can open it.
type ExportOptions struct {
	// For is a member who alone can open it, by name or key; empty is every member.
	For string
	// Since is from when on messages are taken; zero is all of them. Who belongs and
	// what the settings are is always whole.
	Since time.Time
}

// ExportResult says what was written.
type ExportResult struct {
	Events int    // control events and messages
	Bytes  int64  // of the file
	For    Person // zero where it is for every member
	// CannotOpen are members for whom it is and who hold nothing that opens it, as far as
	// is known here: a file of theirs, or a meeting, brings the key that the next is sealed
	// to. Relays, for whom no file is, are not among them.
	CannotOpen []Person
}

// Export writes what the group has said so far as a bundle: a sealed file for members who
// do not meet, which [Node.Import] reads. It may run while the node does, and holds little
// of it in memory. It can be opened by who is a member as far as this node knows. Errors:
// ErrUnknownName and ErrAmbiguous about For; ErrNoKey where none of their devices has a key
// to seal it to.
func (n *Node) Export(ctx context.Context, group protocol.ID, w io.Writer, o ExportOptions) (ExportResult, error) {
	var res ExportResult
	r, err := n.room(group)
	if err != nil {
		return res, err
	}
	r.refreshPrekey(ctx) // by which the others seal theirs
	to, err := r.bundleFor(o.For)
	if err != nil {
		return res, fmt.Errorf("export: %w", err)
	}
	res.For, res.CannotOpen = to.who, r.cannotOpen(ctx, to)
	head, key, err := protocol.SealBundle(group, to.readers, rand.Reader)
	if err != nil {
		return res, fmt.Errorf("export: %w", err)
	}
	out := &chunker{w: w, key: key, progress: r.progress("export", "")}
	defer out.progress.end()
	if o.Since.IsZero() {
		out.progress.expect(r.log.Count(), 0)
	}
	if err := out.write(head); err != nil {
		return res, fmt.Errorf("export: %w", err)
	}
	err = r.export(ctx, out, to.roots, o.Since)
	if err == nil {
		err = out.flush(true)
	}
	res.Events, res.Bytes = out.events, out.bytes
	if err != nil {
		return res, fmt.Errorf("export: %w", err)
	}
	return res, nil
}

// export packs what a sync would send to who holds nothing, and what a key stream would:
// wraps, and the secrets that all readers may have.
func (r *room) export(ctx context.Context, out *chunker, roots []protocol.Key, since time.Time) error {
	from := uint64(0)
	if !since.IsZero() {
		from = uint64(max(0, since.UnixMilli()))
	}
	events := &sender{wire: out, kind: protocol.FrameEvents}
	upTo := r.log.Cursor()
	if err := r.packControl(events); err != nil {
		return err
	}
	if err := r.packChunks(ctx, out, from); err != nil {
		return err
	}
	if err := r.packSecrets(out, roots); err != nil {
		return err
	}
	count, err := r.packMessages(ctx, &giver{out: events, upTo: upTo, oldest: true}, from)
	out.events += count
	return err
}

// packChunks packs the wraps of epochs that began after a time, and of those in use.
func (r *room) packChunks(ctx context.Context, out frames, since uint64) error {
	wraps := &sender{wire: out, kind: protocol.FrameChunks}
	for _, id := range r.chunksSince(since) {
		data, ok := r.chunk(ctx, id)
		if !ok {
			continue
		}
		if err := wraps.add(data); err != nil {
			return err
		}
	}
	return wraps.flush()
}

func (r *room) chunksSince(since uint64) (out []protocol.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	live := make(map[protocol.ID]bool)
	for _, ep := range r.keys.Live(r.current(), r.time(), protocol.LeaveGrace) {
		live[ep.ID] = true
	}
	for _, id := range r.current().Rekeys() {
		v, _, _ := r.set.Get(id)
		if w := r.wantedOf(id); live[w.eid] || v.Header().HLC >= since {
			out = append(out, w.rekey.Chunks...)
		}
	}
	return out
}

// packSecrets packs the secrets that all readers with a prekey may have alike. Where
// history begins with joining, those of others are left to the wraps.
func (r *room) packSecrets(out *chunker, roots []protocol.Key) error {
	number := uint64(0)
	for part := range slices.Chunk(r.sharedBy(roots), protocol.MaxWantEpochs) {
		if err := out.send(protocol.FrameSecrets, out.key.SealSecrets(number, part)); err != nil {
			return err
		}
		number++
	}
	return nil
}

func (r *room) sharedBy(roots []protocol.Key) (out []protocol.EpochSecret) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range r.current().Rekeys() {
		eid := r.wantedOf(id).eid
		var first protocol.EpochSecret
		all := len(roots) > 0
		for i, root := range roots {
			s, ok := r.keys.Share(r.current(), root, eid)
			if i == 0 {
				first = s
			}
			if all = all && ok && s == first; !all {
				break
			}
		}
		if all {
			out = append(out, first)
		}
	}
	return out
}

// chunker is where frames go that become the chunks of a bundle.
type chunker struct {
	w      io.Writer
	key    protocol.BundleKey
	number uint64
	frames []byte // of the chunk that is being filled
	events int
	bytes  int64

	progress *progress
}

// send implements frames.
func (c *chunker) send(kind protocol.FrameKind, payload any) error {
	if list, ok := payload.(protocol.Events); ok && kind == protocol.FrameEvents {
		c.events += len(list.List)
		c.progress.add(len(list.List), 0)
	}
	frame := protocol.AppendFrame(nil, kind, payload)
	if len(c.frames)+len(frame) > protocol.BundleRoom {
		if err := c.flush(false); err != nil {
			return err
		}
	}
	c.frames = append(c.frames, frame...)
	return nil
}

func (c *chunker) flush(last bool) error {
	if c.number == protocol.MaxBundleChunks-1 && !last {
		return fmt.Errorf("%w: more than a bundle takes", ErrTooLarge)
	}
	chunk := c.key.SealChunk(c.number, last, c.frames)
	c.number, c.frames = c.number+1, c.frames[:0]
	return c.write(chunk)
}

func (c *chunker) write(data []byte) error {
	n, err := c.w.Write(data)
	c.bytes += int64(n)
	c.progress.add(0, n)
	return err
}
