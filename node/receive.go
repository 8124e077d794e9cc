package node

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

// inflow takes in what a peer sends: while one batch is on its way to the disk, those
// behind it are verified on all cores and the next one is read. It is let in by the one
// door in the order in which it came.
type inflow struct {
	r    *room
	ctx  context.Context
	wire *wire
	work *progress

	next  batch // being collected
	queue chan *batch
	over  chan struct{} // closed once nothing more is let in

	mu     sync.Mutex
	failed error

	commits []*storage.Commit // on their way, the oldest first; of who lets in
	idle    int               // events and records since the last that was news
	got     int               // messages that were stored
}

// batch is some frames of events or of records that are verified together.
type batch struct {
	frames  []protocol.Frame
	bytes   int
	barrier chan struct{} // closed once all before it is durable; nil in most

	ready   chan struct{} // closed once it is verified
	events  []protocol.Verified
	records []protocol.VerifiedRecord
	err     error
}

func (r *room) inflow(ctx context.Context, w *wire, work *progress) *inflow {
	in := &inflow{r: r, ctx: ctx, wire: w, work: work, queue: make(chan *batch, inflowBatches), over: make(chan struct{})}
	go in.run() // until end
	return in
}

// end waits until what was read is let in or given up.
func (in *inflow) end() {
	close(in.queue)
	<-in.over
}

// err returns why nothing more is let in.
func (in *inflow) err() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.failed
}

// fail gives the transfer up. Who reads the stream may be waiting for it.
func (in *inflow) fail(err error) {
	in.mu.Lock()
	in.failed = cmp.Or(in.failed, err)
	in.mu.Unlock()
	_ = in.wire.stream.Reset()
}

// put takes a frame of events or records.
func (in *inflow) put(f protocol.Frame) error {
	if n := len(in.next.frames); n > 0 && ofRecords(f) != ofRecords(in.next.frames[n-1]) {
		in.dispatch()
	}
	in.next.frames = append(in.next.frames, f)
	in.next.bytes += len(f.Payload)
	// Where nothing waits, what is here is better let in now than with what comes.
	if in.next.bytes >= inflowBytes || len(in.queue) == 0 && in.wire.in.Buffered() == 0 {
		in.dispatch()
	}
	return in.err()
}

func ofRecords(f protocol.Frame) bool { return f.Kind == protocol.FrameRecords }

// dispatch has what was collected verified and let in.
func (in *inflow) dispatch() {
	b := in.next
	in.next = batch{}
	if len(b.frames) > 0 {
		in.push(&b)
	}
}

func (in *inflow) push(b *batch) {
	b.ready = make(chan struct{})
	in.queue <- b
	go func() {
		defer close(b.ready)
		b.verify(in.r.group)
	}()
}

// drain waits until all that was put is durable.
func (in *inflow) drain() error {
	in.dispatch()
	b := &batch{barrier: make(chan struct{})}
	in.push(b)
	<-b.barrier
	return in.err()
}

// verify reads the frames and checks all signatures.
func (b *batch) verify(group protocol.ID) {
	var wires [][]byte
	var unpacked [][]protocol.Unverified
	for _, f := range b.frames {
		if f.Kind == protocol.FramePacked {
			var packed []byte
			if b.err = f.Decode(f.Kind, &packed); b.err != nil {
				return
			}
			list, err := protocol.Unpack(group, packed)
			if b.err = err; err != nil {
				return
			}
			unpacked = append(unpacked, list)
			continue
		}
		var list protocol.Events
		if b.err = f.Decode(f.Kind, &list); b.err != nil {
			return
		}
		wires = append(wires, list.List...)
		if ofRecords(f) {
			for _, wire := range list.List {
				rec, err := protocol.VerifyRecord(group, wire)
				if b.err = err; err != nil {
					return
				}
				b.records = append(b.records, rec)
			}
		}
	}
	if len(b.records) == 0 {
		b.take(protocol.VerifyBatch(group, wires, rand.Reader))
		b.take(protocol.VerifyUnpacked(slices.Concat(unpacked...), rand.Reader))
	}
}

// take keeps the events that were verified.
func (b *batch) take(events []protocol.Verified, errs []error) {
	for _, err := range errs {
		if err != nil && !errors.Is(err, protocol.ErrUnknownCritical) { // of the future; the rest is not
			b.err = cmp.Or(b.err, err)
		}
	}
	events = slices.DeleteFunc(events, protocol.Verified.IsZero)
	if len(b.events) > 0 { // seldom are there events of both sorts
		events = append(b.events, events...)
	}
	b.events = events
}

// run lets batches in until there are no more, or one is wrong.
func (in *inflow) run() {
	defer close(in.over)
	for b := range in.queue {
		<-b.ready
		err := b.err
		if err != nil {
			// A peer that sends what does not verify is not believed any further.
			err = fmt.Errorf("%w: peer %s: %w", errUnruly, in.wire.peer(), err)
		} else if in.err() == nil {
			err = in.letIn(b)
		}
		if err != nil {
			in.fail(err)
		}
		if b.barrier != nil {
			close(b.barrier)
		}
	}
}

func (in *inflow) letIn(b *batch) error {
	switch {
	case b.barrier != nil:
		if err := in.wait(0); err != nil {
			return err
		}
		return in.keep(in.r.relink(), 0)
	case len(b.records) > 0:
		commit := in.r.ingestRecords(b.records)
		if err := in.count(b, commit != nil); err != nil {
			return err
		}
		return in.keep(commit, inflowBatches)
	}
	from := in.wire.peer()
	if slices.ContainsFunc(b.events, func(v protocol.Verified) bool { return v.Header().Chain == protocol.Messages }) {
		in.r.askPeer(in.ctx, from) // the control events are here, so followers need not see a line without its key
	}
	got := in.r.ingest(from, b.events)
	in.r.settle(got)
	if got.again {
		in.r.n.wantSync(in.r, from, 0)
	}
	in.r.fetched.Add(uint64(max(got.stored, 0)))
	if err := in.page(b, got); err != nil {
		return err
	}
	in.work.add(len(b.events), b.bytes)
	if err := in.count(b, got.stored > 0); err != nil {
		return err
	}
	return in.keep(got.commit, inflowBatches)
}

// page tells once the first page can be read: the newest come first.
func (in *inflow) page(b *batch, got intake) error {
	if in.got >= firstPage || len(b.events) == 0 || b.events[0].Header().Chain != protocol.Messages {
		return nil
	}
	if in.got += max(got.stored, 0); in.got < firstPage {
		return nil
	}
	if err := got.commit.Wait(in.ctx); err != nil {
		return err
	}
	in.r.gotPage()
	return nil
}

// count refuses what is no news, in whatever frames it comes and even if in empty ones,
// once that has been too much in a row.
func (in *inflow) count(b *batch, news bool) error {
	if in.idle += max(len(b.events)+len(b.records), len(b.frames)); news {
		in.idle = 0
	}
	if in.idle > repeatsMost {
		return fmt.Errorf("%w: peer %s: %d events in a row that are no news", errUnruly, in.wire.peer(), in.idle)
	}
	return nil
}

// keep remembers a commit, and waits until no more than some are on their way.
func (in *inflow) keep(c *storage.Commit, most int) error {
	if c != nil {
		in.commits = append(in.commits, c)
	}
	return in.wait(most)
}

func (in *inflow) wait(most int) error {
	for len(in.commits) > most {
		if err := in.commits[0].Wait(in.ctx); err != nil {
			return err
		}
		in.commits = in.commits[1:]
	}
	return nil
}
