package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/protocol/reconcile"
)

// Sync pulls: the initiator says what it holds and the responder sends what that
// lacks. Both ends of a connection pull, so both become complete. The first frames
// carry digests; where they are equal the sync ends after one round trip. Otherwise the
// responder compares messages, range by range, and sends what turns out to be missing.

// wantSync has a room pull from a peer soon. While one pull with a peer runs,
// another is remembered and follows it.
func (n *Node) wantSync(r *room, p peer.ID, delay time.Duration) {
	var begun *syncState
	n.peers.with(p, func(s *peerState) {
		st := s.syncing[r.group]
		if st == nil {
			st = new(syncState)
			s.syncing[r.group] = st
		}
		if st.running {
			st.again = true
			return
		}
		st.running, begun = true, st
	})
	if begun != nil {
		n.spawn(func(ctx context.Context) { n.syncLoop(ctx, r, p, begun, delay) })
	}
}

// syncLoop pulls until nothing more is due. The state is that of one connection: whoever
// goes and comes back has another, and a loop of its own.
func (n *Node) syncLoop(ctx context.Context, r *room, p peer.ID, st *syncState, delay time.Duration) {
	for again := true; again; {
		n.peers.do(func() { delay = max(delay, st.pause()) })
		select {
		case <-ctx.Done():
			return
		case <-time.After(delay):
		}
		before := r.fetched.Load()
		err := n.pull(ctx, r, p, request{since: r.since()})
		if err != nil {
			n.log.Debug("sync", "group", protocol.Short(r.group.Text(protocol.GroupPrefix)), "peer", p, "err", err)
		}
		n.peers.do(func() {
			st.judge(err, r.fetched.Load()-before)
			again, st.again = st.again, false
			st.running = again
		})
		delay = syncDebounce
	}
}

// judge remembers how often in a row a peer did not keep to the protocol, and how often it
// broke off when little had come.
func (st *syncState) judge(err error, came uint64) {
	if st.vain++; err == nil || came >= fetchLeast {
		st.vain = 0
	}
	switch {
	case err == nil:
		st.unruly = 0
	case unruly(err):
		st.unruly++
		st.until = time.Now().Add(min(unrulyFirst<<min(st.unruly-1, 16), unrulyMost))
	}
}

// pause returns how long a peer is to be left alone.
func (st *syncState) pause() time.Duration {
	if st.unruly == 0 {
		return 0
	}
	return time.Until(st.until)
}

// errUnruly says that a peer does not keep to the protocol: it is left alone for a while.
var errUnruly = errors.New("not by the protocol")

// unruly says whether an error shows that a peer does not keep to the protocol.
func unruly(err error) bool {
	for _, e := range []error{errUnruly, protocol.ErrMalformed, protocol.ErrTooLarge, protocol.ErrBadSignature, reconcile.ErrMalformed, ErrTooLarge} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// request says which messages a pull is for.
type request struct {
	since       uint64 // Unix milliseconds
	part, parts uint64 // see [protocol.Have]
	alone       bool   // nobody else is asked for a part
}

// pull fetches from a peer what this room lacks.
func (n *Node) pull(ctx context.Context, r *room, p peer.ID, ask request) error {
	if dev, ok := n.peers.proved(p, r.group); ok && r.isFormer(dev) && !n.mayAskFormer(r, p) {
		return nil
	}
	shared, err := n.pullOnce(ctx, r, p, ask)
	for errors.Is(err, errNotYet) { // nobody waits for so long to be asked: afresh
		shared, err = n.pullOnce(ctx, r, p, ask)
	}
	if err != nil || !shared {
		return err
	}
	// What the others did not have, or not send.
	ask.alone = true
	_, err = n.pullOnce(ctx, r, p, ask)
	return err
}

func (n *Node) pullOnce(ctx context.Context, r *room, p peer.ID, ask request) (shared bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, syncMost)
	defer cancel()
	w, err := n.dial(ctx, p, syncProtocol, syncIdle)
	if err != nil {
		return false, err
	}
	stop := context.AfterFunc(ctx, func() { _ = w.stream.Reset() })
	defer stop()
	shared, err = n.pullFrom(ctx, r, w, ask)
	w.end(err)
	return shared, err
}

// pullFrom says whether others were asked for parts.
func (n *Node) pullFrom(ctx context.Context, r *room, w *wire, ask request) (shared bool, err error) {
	cursor := r.log.Cursor() // before the digests: they are of this at least
	open := r.open()
	dev, proved := n.peers.proved(w.peer(), r.group)
	former := proved && r.isFormer(dev)
	if former { // nothing that they are asked with tells how much is written here
		open = r.blank()
	}
	w.by(syncTalk)
	if err := w.send(protocol.FrameOpen, open); err != nil {
		return false, err
	}
	var theirs protocol.Open
	if err := w.expect(protocol.FrameOpen, &theirs); err != nil {
		return false, err
	}
	n.introduced(theirs.Addrs)
	if theirs.Count > open.Count {
		n.ahead(r, w.peer(), true)
	}
	if theirs.Digest() == open.Digest() && !former {
		n.agreed(r, w.peer(), open.Digest(), span{Before: protocol.MaxHLC, Cursor: cursor})
		return false, nil
	}
	if ask.parts == 0 {
		end, err := r.awaitTurn(ctx)
		if err != nil {
			return false, err
		}
		defer end()
	}
	if former || proved && r.isFormer(dev) { // by now
		return false, r.pullFormer(ctx, w, dev)
	}
	if ask.parts == 0 && !ask.alone && theirs.Count > open.Count+shareAbove {
		var wait func()
		ask, wait = n.share(ctx, r, w.peer(), ask)
		defer wait()
		shared = ask.parts > 0
	}
	w.by(syncTalk)
	if err := w.sendHave(r, ask); err != nil {
		return shared, err
	}
	w.by(syncMost)
	same, err := r.receive(ctx, w, ask, ask.least(open, theirs))
	if err != nil {
		return shared, err
	}
	if same && ask.parts == 0 && open.Control == theirs.Control && open.Records == theirs.Records {
		// As far as is asked for.
		n.agreed(r, w.peer(), open.Digest(), span{From: ask.since, Before: protocol.MaxHLC, Cursor: cursor})
	}
	if ask.parts == 0 {
		n.pulled(r, w.peer(), digests{open.Digest(), theirs.Digest()})
	}
	if ask.parts == 0 { // all that the other side had when it was asked, as far as is asked for
		n.ahead(r, w.peer(), false)
		r.compared(w.peer(), nil)
		r.caughtUp(w.peer())
	}
	return shared, nil
}

// errNotYet says that another transfer is under way, and makes progress.
var errNotYet = errors.New("others are sending")

// awaitTurn waits until a transfer may begin; its end is to be called. There is one a room at a
// time, or several peers send the same; but a peer that never finishes must not keep the
// others out.
func (r *room) awaitTurn(ctx context.Context) (end func(), err error) {
	before := r.fetched.Load()
	select {
	case r.fetch <- struct{}{}:
		return func() { <-r.fetch }, nil
	case <-time.After(fetchTurn):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if r.fetched.Load()-before >= fetchLeast {
		return nil, errNotYet
	}
	return func() {}, nil
}

// someAhead says whether a connected member is known to hold messages that are not here.
func (n *Node) someAhead(r *room) bool {
	return slices.ContainsFunc(n.members(r), func(p peer.ID) bool {
		ahead, vain := n.claims(r, p)
		return ahead && !vain
	})
}

// claims says whether a peer told of messages that are not here, and whether that is all that
// comes of it: it does not keep to the protocol, or breaks off whenever it is asked for them.
func (n *Node) claims(r *room, p peer.ID) (ahead, vain bool) {
	n.peers.with(p, func(s *peerState) {
		st := s.syncing[r.group]
		ahead, vain = s.ahead[r.group], st != nil && (st.unruly > 0 || st.vain >= vainMost)
	})
	return ahead, vain
}

// ahead remembers whether a peer is known to hold messages that are not here.
func (n *Node) ahead(r *room, p peer.ID, is bool) {
	n.peers.with(p, func(s *peerState) {
		s.ahead[r.group] = is
	})
}

// pulled remembers what two sides held when one has taken all that it could of the other.
func (n *Node) pulled(r *room, p peer.ID, held digests) {
	n.peers.with(p, func(s *peerState) {
		if st := s.syncing[r.group]; st != nil {
			st.pulled = held
		}
	})
}

// pullInTurn pulls from who asked, and turns out to hold what is not here; unless nothing
// has changed since this node did so. What it does not keep it would ask for for ever, and
// two nodes that each hold such would ask each other: [room.behind] does so now and then.
func (n *Node) pullInTurn(r *room, p peer.ID, held digests) {
	again := false
	n.peers.with(p, func(s *peerState) {
		st := s.syncing[r.group]
		again = st != nil && st.pulled == held
	})
	if !again {
		n.wantSync(r, p, 0)
	}
}

// share has other members send parts of what a peer has and this node lacks. It returns
// what to ask that peer for, and what waits for the others: as long as that peer took, as
// it has their parts, too.
func (n *Node) share(ctx context.Context, r *room, p peer.ID, ask request) (request, func()) {
	mine, window := r.whole(), r.since()
	var others []peer.ID
	for _, q := range n.members(r) {
		n.peers.with(q, func(s *peerState) {
			st := s.syncing[r.group]
			same := s.equal[r.group] == mine && ask.since >= window // they agreed as far as the window
			if q != p && !same && (st == nil || st.pause() <= 0) && len(others) < syncSources-1 {
				others = append(others, q)
			}
		})
	}
	if len(others) == 0 {
		return ask, func() {}
	}
	ask.parts = uint64(1 + len(others))
	ctx, cancel := context.WithCancel(ctx)
	began := time.Now()
	var all sync.WaitGroup
	for i, q := range others {
		part := ask
		part.part = uint64(i + 1)
		all.Go(func() {
			if err := n.pull(ctx, r, q, part); err != nil {
				n.log.Debug("sync of a part", "peer", q, "err", err)
			}
		})
	}
	return ask, func() {
		late := time.AfterFunc(max(fetchTurn, time.Since(began)), cancel)
		all.Wait()
		late.Stop()
		cancel()
	}
}

// sendHave lists what the room holds beside messages, in as many frames as it takes.
func (w *wire) sendHave(r *room, ask request) error {
	r.mu.Lock()
	tips, records := r.tips(), r.recordKeys()
	r.mu.Unlock()
	for {
		have := protocol.Have{Tips: tips[:min(len(tips), protocol.MaxFrontier)]}
		tips = tips[len(have.Tips):]
		room := protocol.MaxFrontier - len(have.Tips)
		have.Records = records[:min(len(records), room)]
		records = records[len(have.Records):]
		if have.More = len(tips)+len(records) > 0; !have.More {
			have.Since, have.Part, have.Parts = ask.since, ask.part, ask.parts
		}
		if err := w.send(protocol.FrameHave, have); err != nil || !have.More {
			return err
		}
	}
}

// least is how many messages there are to get at least, where both sides say what they hold.
func (ask request) least(mine, theirs protocol.Open) uint64 {
	if ask.since > 0 || theirs.Count <= mine.Count {
		return 0
	}
	return (theirs.Count - mine.Count) / max(1, ask.parts)
}

// receive takes in what the other side sends until it is done, and says whether both
// hold the same of what was asked for.
func (r *room) receive(ctx context.Context, w *wire, ask request, least uint64) (same bool, err error) {
	work := r.progress("sync", w.peer())
	work.least.Store(least)
	defer work.end()
	in := r.inflow(ctx, w, work)
	defer in.end()
	for rounds, totals, given := 0, 0, false; ; {
		f, err := w.next()
		if err != nil { // what came whole stays, and is judged
			return false, errors.Join(in.drain(), err)
		}
		switch f.Kind {
		case protocol.FrameEvents, protocol.FramePacked, protocol.FrameRecords:
			err = in.put(f)
			given = given || f.Kind == protocol.FramePacked
		case protocol.FrameTotal:
			var total protocol.Total
			if totals++; totals > compareRounds {
				return false, fmt.Errorf("%w: more than %d totals", errUnruly, compareRounds)
			}
			err = f.Decode(protocol.FrameTotal, &total)
			work.expect(total.Events, 0)
		case protocol.FrameCompare:
			if rounds++; rounds > compareRounds {
				return false, fmt.Errorf("%w: more than %d rounds of comparing", errUnruly, compareRounds)
			}
			if err = in.drain(); err != nil { // so that it is known what counts
				return false, err
			}
			if given {
				r.gotPage()
			}
			err = r.answer(ctx, w, f)
		default:
			var done protocol.Done
			if err := f.Decode(protocol.FrameDone, &done); err != nil {
				return false, err
			}
			if err := in.drain(); err != nil {
				return false, err
			}
			if !done.Same && rounds == 0 { // the other side holds nothing of what was asked for
				done.Same, err = r.holdsNothing(ctx, ask.since)
			}
			return done.Same, err
		}
		if err != nil {
			return false, err
		}
	}
}

// holdsNothing says whether there is no message here from a time on that others are told of.
func (r *room) holdsNothing(ctx context.Context, since uint64) (nothing bool, err error) {
	err = r.told(ctx, func(set reconcile.Set) error {
		first, err := set.Find(reconcile.Item{Time: since})
		nothing = first == set.Len()
		return err
	})
	return nothing, err
}

// gotPage notes that the newest messages are here.
func (r *room) gotPage() {
	r.mu.Lock()
	first := !r.paged
	r.paged = true
	r.mu.Unlock()
	if first {
		r.n.peers.notify()
	}
}

// answer says what this room holds of what the other side asks about.
func (r *room) answer(ctx context.Context, w *wire, f protocol.Frame) error {
	var ask protocol.Compare
	if err := f.Decode(protocol.FrameCompare, &ask); err != nil {
		return err
	}
	var answer []byte
	err := r.told(ctx, func(set reconcile.Set) (err error) {
		answer, err = reconcile.Respond(set, ask.Message, compareFrame)
		return err
	})
	if err != nil {
		return err
	}
	return w.send(protocol.FrameCompare, protocol.Compare{Message: answer})
}

// introductions returns addresses of members, once a connection: who meets one
// member can then meet the others.
func (n *Node) introductions(p peer.ID, r *room) [][]byte {
	fresh := false
	n.peers.with(p, func(s *peerState) { fresh, s.sharing[r.group] = !s.sharing[r.group], true })
	if !fresh {
		return nil
	}
	var out [][]byte
	for _, q := range n.members(r) {
		if q == p || len(out) >= sharedPeers {
			continue
		}
		for _, a := range n.disc.addrs(q)[:min(2, len(n.disc.addrs(q)))] {
			out = append(out, a.Bytes())
		}
	}
	return out
}

// introduced tries the members that another member told of.
func (n *Node) introduced(list [][]byte) {
	for _, info := range named(list) {
		n.disc.found(info, "member")
	}
}

// named returns the peers whose addresses a member tells.
func named(list [][]byte) []peer.AddrInfo {
	var addrs []ma.Multiaddr
	for i, b := range list {
		if a, err := ma.NewMultiaddrBytes(b); err == nil && i < 2*sharedPeers {
			addrs = append(addrs, a)
		}
	}
	infos, _ := peer.AddrInfosFromP2pAddrs(addrs...)
	return infos
}
