package node

import (
	"context"
	"crypto/rand"
	"errors"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

// words are what a message is made of.
type words struct {
	kind    protocol.Kind
	content protocol.Content
	to      protocol.ID   // what its header says it is about
	claim   bool          // it acts under its author's grant
	life    time.Duration // after which it disappears; 0 is never
}

// saying is a message that its writer waits for. Of those who wait at once one makes all
// messages: they link to each other, so they are sealed one after another, but signed on
// all processors and stored by one commit.
type saying struct {
	words
	ctx  context.Context // its writer's
	made chan struct{}   // closed when what follows is final

	draft  protocol.Unsigned
	event  protocol.Verified
	number uint64 // its ticket in the outbox
	commit *storage.Commit
	turned bool // an epoch was started here that others are to hear of first
	err    error
}

// sayings are those that wait to be made.
type sayings struct {
	mu   sync.Mutex
	list []*saying
}

// add says whether nobody else waits: who is first makes those that join meanwhile.
func (q *sayings) add(s *saying) (first bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.list = append(q.list, s)
	return len(q.list) == 1
}

func (q *sayings) take() []*saying {
	q.mu.Lock()
	defer q.mu.Unlock()
	list := q.list
	q.list = nil
	return list
}

// tell makes a message, and when it is on disk hands it to who is connected.
func (r *room) tell(ctx context.Context, w words) (protocol.Verified, error) {
	s := r.sayDurably(ctx, w)
	if s.turned {
		if err := r.announce(ctx, protocol.MaxSeq); err != nil {
			r.n.log.Debug("announce", "err", err) // a message on disk has its epoch there too
		}
	}
	if s.err != nil {
		return s.event, s.err
	}
	r.tellStored(s.number)
	return s.event, nil
}

// sayDurably makes a message and waits until it is on disk. Where the disk is far
// behind it waits before, too.
func (r *room) sayDurably(ctx context.Context, w words) *saying {
	for {
		s := r.say(ctx, w)
		if s.err == nil {
			s.err = s.commit.Wait(ctx)
			if s.err != nil { // if it only takes long, the next message takes it along
				r.out.prune()
			}
		}
		if !errors.Is(s.err, storage.ErrBusy) {
			return s
		}
		select {
		case <-ctx.Done():
			s.err = errors.Join(s.err, ctx.Err())
			return s
		case <-time.After(busyWait):
		}
	}
}

// say makes a message of this device and appends it to its chain.
func (r *room) say(ctx context.Context, w words) *saying {
	s := &saying{words: w, ctx: ctx, made: make(chan struct{})}
	if !r.says.add(s) {
		<-s.made
		return s
	}
	runtime.Gosched() // the last commit has woken others, who have more to say
	r.mu.Lock()
	defer r.mu.Unlock()
	list := r.says.take()
	r.sayAll(list)
	for _, s := range list {
		close(s.made)
	}
	return s
}

// sayAll makes messages, those together that may all be said. The caller holds mu.
func (r *room) sayAll(list []*saying) {
	size := sayMost
	for len(list) > 0 {
		run := list[:min(size, len(list))]
		made := r.sayRun(run)
		if made < len(run) {
			size = 1 // who was refused may be the first of many
		}
		list = list[made:]
	}
}

// sayRun makes messages, each after the one before, and appends them in one go. It
// returns how many are settled: after one that was refused come those that linked to it,
// and have to be made again. The caller holds mu.
func (r *room) sayRun(run []*saying) int {
	sealed, err := r.seal(run)
	for _, s := range run {
		s.turned = len(r.turned) > 0
		if err != nil {
			s.err = err
		}
	}
	key := r.me.Signer()
	onAllCores(len(sealed), func(i int) { sealed[i].event, sealed[i].err = sealed[i].draft.Sign(key) })
	made := len(run)
	var events []protocol.Verified
	for i, s := range sealed {
		if s.err == nil {
			if _, err := r.judge(s.event); err != nil {
				s.event, s.err = protocol.Verified{}, r.refusal(err)
			}
		}
		if s.err != nil {
			sealed, made = sealed[:i], slices.Index(run, s)+1
			break
		}
		r.recent.Add(s.event.ID(), s.event.Header().HLC)
		events = append(events, s.event)
	}
	if len(events) == 0 {
		return made
	}
	commit := r.append(events...)
	for _, s := range sealed {
		s.commit, s.number = commit, r.out.say(s.event, commit)
	}
	return made
}

// seal seals messages, each after the one before, and returns those that are: some were
// given up by their writers, or say what no message may. The caller holds mu.
func (r *room) seal(run []*saying) (sealed []*saying, err error) {
	if err := r.refit(); err != nil {
		return nil, err
	}
	if err := r.ensureEpoch(); err != nil {
		return nil, err
	}
	d, me, err := r.draft(protocol.KindText, protocol.Messages, protocol.MaxMessageRefs)
	if err != nil {
		return nil, err
	}
	ep, err := r.sendEpoch()
	if err != nil {
		return nil, err
	}
	for i, s := range run {
		if s.err = s.ctx.Err(); s.err != nil {
			continue
		}
		if i > 0 {
			d.HLC = r.clock.Next(r.n.now())
		}
		if s.draft, s.err = s.on(d, me).SealMessage(s.content, ep, rand.Reader); s.err == nil {
			sealed = append(sealed, s)
			d.Prev = s.draft.Tip()
		}
	}
	return sealed, nil
}

// on is a message's draft, given one of its place.
func (w *words) on(d protocol.Draft, me protocol.Standing) protocol.Draft {
	d.Kind, d.To = w.kind, w.to
	if w.claim {
		d.Auth = me.Grant
	}
	if w.life > 0 {
		d.Exp = protocol.ExpiryOf(d.HLC, w.life)
	}
	return d
}
