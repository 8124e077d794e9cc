package node

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pchat/p2pchat/protocol"
)

// A rekey that is here and does not open is looked for at a member: its chunk with
// this device's wrap first, then the secret itself. An epoch that nobody can open keeps
// nobody from anything; it is asked for less and less.

// wanted is an epoch that a rekey starts, and what opens it.
type wanted struct {
	eid   protocol.ID
	id    protocol.ID // the rekey's
	rekey *protocol.Rekey
	dev   protocol.Key
	seq   uint64
}

// asking says how often an epoch was asked for, and when it may be next.
type asking struct {
	count int
	next  time.Time
}

func (r *room) wantedOf(id protocol.ID) wanted {
	v, c, _ := r.set.Get(id)
	k, _ := c.(*protocol.Rekey)
	if k == nil {
		k = new(protocol.Rekey)
	}
	return wanted{k.Epoch, id, k, v.Header().Dev, v.Header().Seq}
}

// lacking remembers what is missing, and while which choice of epochs.
type lacking struct {
	at   protocol.Choice
	list []wanted
}

// missing returns the epochs whose secret this device lacks and may have, the newest
// first: it often opens the others. The caller holds mu.
func (r *room) missing() []wanted {
	choice := r.choice()
	if l := &r.keys.lacking; l.at != choice {
		*l = lacking{choice, r.findMissing()}
	}
	return r.keys.lacking.list
}

func (r *room) findMissing() []wanted {
	var out []wanted
	for _, id := range slices.Backward(r.set.Rekeys()) {
		if w := r.wantedOf(id); !r.keys.Held(w.eid) {
			out = append(out, w)
		}
	}
	return slices.DeleteFunc(out, func(w wanted) bool {
		_, ok := r.keys.From(r.current(), r.me.Root(), w.eid)
		return !ok
	})
}

// askable takes the missing epochs that may be asked for now, those asked least often
// first, and notes that they are.
func (r *room) askable() []wanted {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, member := r.current().Owner(r.me.Dev()); !member {
		return nil
	}
	now := r.n.now()
	list := slices.DeleteFunc(slices.Clone(r.missing()), func(w wanted) bool { return now.Before(r.keys.asked[w.eid].next) })
	slices.SortStableFunc(list, func(a, b wanted) int { return r.keys.asked[a.eid].count - r.keys.asked[b.eid].count })
	list = list[:min(len(list), protocol.MaxWantEpochs)]
	if len(r.keys.asked) > askedMost {
		clear(r.keys.asked)
	}
	for _, w := range list {
		a := r.keys.asked[w.eid]
		a.next, a.count = now.Add(min(askFirst<<a.count, askMost)), min(a.count+1, 16)
		r.keys.asked[w.eid] = a
	}
	return list
}

// askAnew lets everything that is missing be asked for at once: somebody came who
// may have it.
func (r *room) askAnew() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.keys.asked)
}

// askForKeys has some connected member asked for the epochs that are missing, one at
// a time. The keeper calls it, and does not wait: a peer may be slow on purpose.
func (r *room) askForKeys() {
	r.mu.Lock()
	none := len(r.missing()) == 0 && len(r.bodiless) == 0
	r.mu.Unlock()
	if none {
		return
	}
	all := r.n.members(r)
	if len(all) == 0 {
		return
	}
	select {
	case r.ask <- struct{}{}:
		r.n.spawn(func(ctx context.Context) {
			defer func() { <-r.ask }()
			r.askTurn++ // each in turn: one of them may lie
			r.askPeer(ctx, all[r.askTurn%len(all)])
		})
	default:
	}
}

// askPeer asks one member.
func (r *room) askPeer(ctx context.Context, p peer.ID) {
	list := r.askable()
	r.mu.Lock()
	bodies := len(r.bodiless)
	r.mu.Unlock()
	if len(list)+bodies == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, keyTimeout)
	defer cancel()
	w, err := r.n.dial(ctx, p, keyProtocol, keyTimeout)
	if err == nil {
		stop := context.AfterFunc(ctx, func() { _ = w.stream.Reset() })
		defer stop()
		err = r.askOn(ctx, w, list)
		w.end(err)
	}
	if err != nil {
		r.n.log.Debug("keys", "peer", p, "err", err)
	}
}

// askOn runs the asker's side of a key stream. One request is kept for the secrets, and
// one for bodies.
func (r *room) askOn(ctx context.Context, w *wire, list []wanted) error {
	left := wantsServed - 2
	for _, want := range list {
		if err := r.findWrap(w, want, &left); err != nil {
			return err
		}
	}
	if err := r.askSecrets(ctx, w, list); err != nil {
		return err
	}
	return r.askBodies(ctx, w)
}

// findWrap looks for the chunk with this device's wrap: chunks are sorted by device,
// so each that arrives says on which side of it to go on.
func (r *room) findWrap(w *wire, want wanted, left *int) error {
	if !r.wrapsForMe(want) {
		return nil
	}
	from, to := 0, len(want.rekey.Chunks)
	for from < to && *left > 0 {
		mid := (from + to) / 2
		ask := want.rekey.Chunks[mid : mid+1]
		*left--
		place, found, err := r.askChunk(w, want, ask[0])
		switch {
		case err != nil:
			return err
		case !found || place == 0:
			return nil // the secret is the way then
		case place < 0:
			to = mid
		default:
			from = mid + 1
		}
	}
	return nil
}

// wrapsForMe says whether an epoch is still missing and has wraps.
func (r *room) wrapsForMe(want wanted) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.keys.Held(want.eid) && len(r.keys.prekeys) > 0 && len(want.rekey.Chunks) > 0
}

// askChunk fetches one chunk, unless it is here, and says where this device's wrap is.
func (r *room) askChunk(w *wire, want wanted, id protocol.ID) (place int, found bool, err error) {
	data, ok := r.chunk(r.n.ctx, id)
	if !ok {
		if err := w.send(protocol.FrameWant, protocol.Want{Group: r.group, Chunks: []protocol.ID{id}}); err != nil {
			return 0, false, err
		}
		if err := w.answers(func(f protocol.Frame) error {
			var list protocol.Events
			if err := f.Decode(protocol.FrameChunks, &list); err != nil {
				return err
			}
			if len(list.List) != 1 || protocol.ID(sha256.Sum256(list.List[0])) != id {
				return fmt.Errorf("peer %s answers with a chunk nobody asked for", w.peer())
			}
			data, ok = list.List[0], true
			return nil
		}); err != nil || !ok {
			return 0, false, err
		}
	}
	return r.takeChunk(want, id, data), true, nil
}

// answers reads the frames of one answer.
func (w *wire) answers(take func(f protocol.Frame) error) error {
	for range protocol.MaxWantChunks + 2 {
		f, err := w.next()
		if err != nil {
			return err
		}
		if f.Kind == protocol.FrameDone {
			return nil
		}
		if err := take(f); err != nil {
			return err
		}
	}
	return fmt.Errorf("key answer: %w: too many frames", ErrTooLarge)
}

// askSecrets asks for the secrets of those epochs that are still missing.
func (r *room) askSecrets(ctx context.Context, w *wire, list []wanted) error {
	r.mu.Lock()
	list = slices.DeleteFunc(slices.Clone(list), func(x wanted) bool { return r.keys.Held(x.eid) })
	r.mu.Unlock()
	if len(list) == 0 {
		return nil
	}
	box, err := protocol.NewBoxKey(true)
	if err != nil {
		return err
	}
	want := protocol.Want{Group: r.group, Box: box.Public()}
	for _, x := range list {
		if !slices.Contains(want.Epochs, x.eid) {
			want.Epochs = append(want.Epochs, x.eid)
		}
	}
	if err := w.send(protocol.FrameWant, want); err != nil {
		return err
	}
	return w.answers(func(f protocol.Frame) error {
		var sealed []byte
		if err := f.Decode(protocol.FrameKeys, &sealed); err != nil {
			return err
		}
		holder, ok := r.n.peers.proved(w.peer(), r.group)
		if !ok {
			return errors.New("the peer has gone")
		}
		got, err := protocol.OpenKeys(r.group, r.me.Dev(), holder, box, sealed)
		if err != nil {
			return err
		}
		return r.takeSecrets(ctx, list, got)
	})
}

// takeSecrets believes the secrets that their rekeys committed to, of those asked for.
func (r *room) takeSecrets(ctx context.Context, asked []wanted, got []protocol.EpochSecret) error {
	opened := 0
	for _, s := range got {
		r.mu.Lock()
		fits := r.keys.Fits(r.set, s)
		r.mu.Unlock()
		if !fits || !slices.ContainsFunc(asked, func(w wanted) bool { return w.eid == s.Epoch }) {
			return fmt.Errorf("epoch %s: the answer is not its secret: %w", s.Epoch.Text("ep_"), protocol.ErrSealBroken)
		}
		if err := r.saveSecret(ctx, s); err != nil {
			return err
		}
		r.mu.Lock()
		r.keys.Add(s)
		r.openEpochs()
		r.mu.Unlock()
		opened++
	}
	if opened > 0 {
		r.settle(intake{stored: opened, control: true})
	}
	return nil
}

// handedSecrets believes those of some secrets that their rekeys committed to and that
// open more than is open here.
func (r *room) handedSecrets(ctx context.Context, got []protocol.EpochSecret) error {
	opened := 0
	for _, s := range got {
		r.mu.Lock()
		better := r.keys.Betters(r.set, s)
		r.mu.Unlock()
		if !better {
			continue
		}
		if err := r.saveSecret(ctx, s); err != nil {
			return err
		}
		r.mu.Lock()
		r.keys.Add(s)
		r.openEpochs()
		r.mu.Unlock()
		opened++
	}
	if opened > 0 {
		r.settle(intake{stored: opened, control: true})
	}
	return nil
}

// serveKeys is the holder's side of a key stream.
func (n *Node) serveKeys(ctx context.Context, w *wire) error {
	var place *peerState
	n.peers.with(w.peer(), func(s *peerState) {
		if s.keying < keysServed && s.keys.AllowN(n.now(), 1) {
			s.keying++
			place = s
		}
	})
	if place == nil {
		return w.send(protocol.FrameRefused, protocol.Refusal{Code: protocol.RefusedBusy})
	}
	defer n.peers.do(func() { place.keying-- })
	for range wantsServed {
		f, err := w.next()
		if err != nil {
			return nil // it has what it wanted
		}
		var want protocol.Want
		if err := f.Decode(protocol.FrameWant, &want); err != nil {
			return err
		}
		if err := want.Check(); err != nil {
			return err
		}
		r, err := n.room(want.Group)
		asker, ok := n.peers.proved(w.peer(), want.Group)
		if err != nil || !ok || !r.isMember(asker) {
			return w.send(protocol.FrameRefused, protocol.Refusal{Code: protocol.RefusedUnknown})
		}
		if err := r.serveWant(ctx, w, asker, want); err != nil {
			return err
		}
	}
	return nil
}

// serveWant answers one request by a member.
func (r *room) serveWant(ctx context.Context, w *wire, asker protocol.Key, want protocol.Want) error {
	for _, id := range want.Chunks {
		data, ok := r.chunk(ctx, id)
		if !ok {
			continue
		}
		if err := w.send(protocol.FrameChunks, protocol.Events{List: [][]byte{data}}); err != nil {
			return err
		}
	}
	if err := r.serveBodies(ctx, w, want.Bodies); err != nil {
		return err
	}
	if list := r.secretsFor(asker, want.Epochs); len(list) > 0 {
		sealed, err := protocol.SealKeys(r.group, asker, r.me.Dev(), want.Box, list)
		if err != nil {
			return err
		}
		w.put(protocol.FrameKeys, sealed)
	}
	return w.send(protocol.FrameDone, struct{}{})
}

// secretsFor returns those of the epochs asked for that a member's device may have.
func (r *room) secretsFor(asker protocol.Key, epochs []protocol.ID) []protocol.EpochSecret {
	r.mu.Lock()
	defer r.mu.Unlock()
	owner, ok := r.current().Owner(asker)
	if !ok || owner.Rank >= protocol.Relay || len(epochs) == 0 {
		return nil
	}
	var out []protocol.EpochSecret
	for _, eid := range epochs {
		if s, ok := r.keys.Share(r.current(), owner.Root, eid); ok {
			out = append(out, s)
		}
	}
	return out
}
