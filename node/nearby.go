package node

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	libprotocol "github.com/libp2p/go-libp2p/core/protocol"

	"github.com/p2pchat/p2pchat/protocol"
)

// nearbyProtocol is handled only while a person invites nearby.
const nearbyProtocol libprotocol.ID = "/p2pchat/nearby/1"

var (
	// ErrNearbyTries says that too many comparisons failed or were refused.
	ErrNearbyTries = errors.New("too many comparisons did not end well")
	// ErrNearbyOver says that nobody was let in, or in by anybody, in the time there is.
	ErrNearbyOver = errors.New("the time for it is over")
	// ErrNearbyBusy says that this node is inviting or joining nearby already.
	ErrNearbyBusy = errors.New("this profile invites or joins nearby already")
	// ErrNearbyNow says that a choice or an answer does not fit what is going on.
	ErrNearbyNow = errors.New("that is not asked for now")
)

// NearbyPhase is what a Nearby waits for.
type NearbyPhase string

// The phases, in order. After a comparison that failed it is NearbyLooking again.
const (
	NearbyLooking   NearbyPhase = "looking"   // for this person to choose somebody
	NearbyAsked     NearbyPhase = "asked"     // for the other person to choose this one
	NearbyComparing NearbyPhase = "comparing" // for this person to compare
	NearbyAgreed    NearbyPhase = "agreed"    // for the other person to compare
	NearbyJoining   NearbyPhase = "joining"   // for the join itself
	NearbyDone      NearbyPhase = "done"
)

// NearbyPerson is somebody in the room.
type NearbyPerson struct {
	ID   int    // to choose them by
	Name string // a claim; anybody can make it
}

// NearbyState is what to show. It never has anything of the group before both people
// have said yes.
type NearbyState struct {
	Phase  NearbyPhase
	People []NearbyPerson // who joins, or who invites
	With   NearbyPerson   // who was chosen
	// Words and Digits are the string that both screens have to show, in two forms, while
	// Phase is NearbyComparing. Comparing either is enough.
	Words   [3]string
	Digits  string
	Trouble string      // how the last try ended
	Left    int         // tries
	Group   protocol.ID // when a join is done
}

// Nearby lets two people in one room join without a link: each chooses the other by the
// name they claim, and both compare a string that follows from the keys which their
// programs agreed on. Somebody between them, with keys of their own, makes the two
// strings differ but for one chance in 10⁹ a try, and there are three tries. See
// [Node.InviteNearby] and [Node.JoinNearby].
type Nearby struct {
	n      *Node
	role   protocol.Role   // Responder invites
	group  protocol.ID     // of who invites
	base   context.Context // ends with Close, the caller or the node
	cancel context.CancelFunc
	ctx    context.Context // also when the time is over

	mu      sync.Mutex
	state   NearbyState
	err     error         // why it ended
	ended   bool          // nothing changes any more
	wake    chan struct{} // closed and replaced at every change
	people  map[int]*neighbour
	next    int // the number of who comes next
	streams map[peer.ID]int
	used    map[protocol.ID]bool // commitments that keys were shown for
	chosen  chan *neighbour
	answers chan bool
}

// neighbour is somebody whom a Nearby shows. Who invites holds the stream of who asked;
// who joins opens one when somebody was chosen.
type neighbour struct {
	NearbyPerson
	peer   peer.ID
	commit protocol.ID
	talk   *nearbyTalk
}

// InviteNearby lets people in the same room into a group, one at a time. It runs until
// one is in, ctx or the node ends, or for 5 minutes; only then others see that this
// node invites. Where a person has to approve who joins, comparing is that approval. It
// needs a role that may invite. Errors: ErrUnknownGroup, ErrNotAllowed,
// ErrNearbyBusy.
func (n *Node) InviteNearby(ctx context.Context, group protocol.ID) (*Nearby, error) {
	r, err := n.room(group)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	_, err = r.standing(protocol.KindInvite)
	r.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("invite nearby: %w", err)
	}
	s, err := n.openNearby(ctx, protocol.Responder, group)
	if err != nil {
		return nil, err
	}
	n.host.SetStreamHandler(nearbyProtocol, s.serve)
	n.spawn(func(context.Context) {
		err := s.run(s.admit)
		n.host.RemoveStreamHandler(nearbyProtocol)
		n.near.Unlock()
		s.finish(err)
	})
	return s, nil
}

// JoinNearby joins a group of somebody in the same room who runs InviteNearby. It runs
// until this node is in, ctx or the node ends, or for 5 minutes. Errors: ErrNearbyBusy.
func (n *Node) JoinNearby(ctx context.Context) (*Nearby, error) {
	s, err := n.openNearby(ctx, protocol.Initiator, protocol.ID{})
	if err != nil {
		return nil, err
	}
	n.spawn(func(context.Context) { s.look() })
	n.spawn(func(context.Context) {
		err := s.run(s.join)
		n.near.Unlock()
		s.finish(err)
	})
	return s, nil
}

func (n *Node) openNearby(ctx context.Context, role protocol.Role, group protocol.ID) (*Nearby, error) {
	if err := n.alive(); err != nil {
		return nil, err
	}
	if !n.near.TryLock() {
		return nil, ErrNearbyBusy
	}
	s := &Nearby{
		n: n, role: role, group: group, wake: make(chan struct{}), people: make(map[int]*neighbour), streams: make(map[peer.ID]int),
		used: make(map[protocol.ID]bool), chosen: make(chan *neighbour, 1), answers: make(chan bool, 1),
		state: NearbyState{Phase: NearbyLooking, Left: nearbyTries},
	}
	s.base, s.cancel = context.WithCancel(ctx)
	context.AfterFunc(n.ctx, s.cancel)
	var stop context.CancelFunc
	s.ctx, stop = context.WithTimeoutCause(s.base, n.nearbyTime(nearbyMost), ErrNearbyOver)
	context.AfterFunc(s.base, stop)
	return s, nil
}

// Close ends it, whatever goes on.
func (s *Nearby) Close() { s.cancel() }

// States yields what to show, now and whenever it changes; what changes faster than it
// is read is passed over. It ends after NearbyDone, or with the error that it ended by.
func (s *Nearby) States() iter.Seq2[NearbyState, error] {
	return func(yield func(NearbyState, error) bool) {
		for {
			s.mu.Lock()
			state, err, ended, changed := s.state, s.err, s.ended, s.wake
			state.People = slices.Clone(state.People)
			s.mu.Unlock()
			if !yield(state, err) || ended {
				return
			}
			select {
			case <-changed:
			case <-s.n.ctx.Done(): // where the node closed before this began
				yield(state, ErrClosed)
				return
			}
		}
	}
}

// Choose asks somebody to compare, or agrees to compare with somebody who asks. For who
// invites this spends a try.
func (s *Nearby) Choose(id int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.people[id]
	if s.state.Phase != NearbyLooking || p == nil || s.ended {
		return fmt.Errorf("choose %d: %w", id, ErrNearbyNow)
	}
	s.state.Phase, s.state.With, s.state.Trouble = NearbyAsked, p.NearbyPerson, ""
	s.chosen <- p // there is room: one choice in each phase of looking
	s.changed()
	return nil
}

// Match answers whether the other screen shows the same. It names the digits that the
// answer is about, so that a late answer is not taken for one about another string.
func (s *Nearby) Match(digits string, same bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.Phase != NearbyComparing || s.state.Digits != digits || digits == "" || s.ended {
		return fmt.Errorf("answer about %s: %w", digits, ErrNearbyNow)
	}
	s.state.Words, s.state.Digits = [3]string{}, "" // asked once
	if same {
		s.state.Phase = NearbyAgreed
	}
	s.answers <- same
	s.changed()
	return nil
}

// changed wakes who shows the state. The caller holds mu.
func (s *Nearby) changed() {
	close(s.wake)
	s.wake = make(chan struct{})
}

func (s *Nearby) set(f func(state *NearbyState)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.state)
	s.changed()
}

// run has this person choose, and tries with who was chosen, until a try ends well or
// there are none left.
func (s *Nearby) run(try func(*neighbour) error) error {
	for {
		select {
		case <-s.ctx.Done():
			return s.over()
		case p := <-s.chosen:
			last := try(p)
			s.leave(p)
			if last == nil {
				return nil
			}
			if err := s.failed(last); err != nil {
				return err
			}
		}
	}
}

// over is why it ended from outside.
func (s *Nearby) over() error {
	if s.n.alive() != nil {
		return ErrClosed
	}
	return fmt.Errorf("nearby: %w", context.Cause(s.ctx))
}

// errPassed says that a try ended before a key was shown: it costs nothing.
var errPassed = errors.New("no key was shown")

// failed takes note of a try that did not end well, and says whether that was the last.
func (s *Nearby) failed(last error) error {
	s.n.log.Debug("nearby", "err", last)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Phase, s.state.With, s.state.Words, s.state.Digits = NearbyLooking, NearbyPerson{}, [3]string{}, ""
	s.state.Trouble = trouble(last)
	select {
	case <-s.answers: // nobody waits for it any more
	default:
	}
	if !errors.Is(last, errPassed) {
		s.state.Left--
	}
	s.changed()
	if s.state.Left == 0 {
		return fmt.Errorf("nearby: %w; the last: %s", ErrNearbyTries, s.state.Trouble)
	}
	return nil
}

// errDiffer is this person's no.
var errDiffer = errors.New("the strings are not the same: somebody else may sit between you")

// trouble says in words how a try ended.
func trouble(err error) string {
	var refused *protocol.RefusedError
	switch {
	case errors.Is(err, errDiffer):
		return errDiffer.Error()
	case errors.Is(err, protocol.ErrSealBroken):
		return "the other side shows another key than it promised: somebody tampers with the connection"
	case errors.As(err, &refused) && refused.Code == protocol.RefusedDenied:
		return "they say that the strings are not the same"
	case errors.As(err, &refused):
		return "their program is busy, try again"
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	case errors.Is(err, ErrRefused), errors.Is(err, ErrNoAdmitter), errors.Is(err, ErrApproval):
		return err.Error()
	}
	return "they went away"
}

func (s *Nearby) finish(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err, s.ended = err, true
	if err == nil {
		s.state.Phase = NearbyDone
	}
	s.people, s.state.People = nil, nil
	s.cancel() // which resets the streams that are left
	s.changed()
}

// enter shows somebody, if there is room, and says whether there was.
func (s *Nearby) enter(p *neighbour) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || len(s.people) >= nearbyPeople {
		return false
	}
	for _, q := range s.people {
		if q.peer == p.peer {
			return false
		}
	}
	s.next++
	p.ID = s.next
	s.people[p.ID] = p
	s.list()
	return true
}

// leave takes who asked off the list; who invites stays on it as long as they do.
func (s *Nearby) leave(p *neighbour) {
	if s.role == protocol.Responder {
		s.remove(func(q *neighbour) bool { return q == p })
	}
}

func (s *Nearby) remove(which func(*neighbour) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	maps.DeleteFunc(s.people, func(_ int, p *neighbour) bool { return which(p) })
	s.list()
}

// list shows the people in the order in which they came. The caller holds mu.
func (s *Nearby) list() {
	s.state.People = nil
	for _, p := range s.people {
		s.state.People = append(s.state.People, p.NearbyPerson)
	}
	slices.SortFunc(s.state.People, func(a, b NearbyPerson) int { return a.ID - b.ID })
	s.changed()
}

// nearbyTime is a limit, or what a test has in its place.
func (n *Node) nearbyTime(most time.Duration) time.Duration {
	if n.cfg.nearby > 0 {
		return min(most, n.cfg.nearby)
	}
	return most
}
