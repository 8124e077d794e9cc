package node_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
)

const nearbyID = "/p2pchat/nearby/1"

// A screen is what one person sees of inviting or joining nearby.
type screen struct {
	*node.Nearby
	t    *testing.T
	name string
}

func (p *person) inviteNearby(group protocol.ID) *screen {
	p.t.Helper()
	s, err := p.InviteNearby(ctx(p.t), group)
	if err != nil {
		p.t.Fatal(err)
	}
	return &screen{s, p.t, p.cfg.Name}
}

func (p *person) joinNearby() *screen {
	p.t.Helper()
	s, err := p.JoinNearby(ctx(p.t))
	if err != nil {
		p.t.Fatal(err)
	}
	return &screen{s, p.t, p.cfg.Name}
}

// until returns the first state that fits.
func (s *screen) until(what string, fits func(node.NearbyState) bool) node.NearbyState {
	s.t.Helper()
	var last node.NearbyState
	for state, err := range s.States() {
		if last = state; fits(state) {
			return state
		}
		if err != nil {
			s.t.Fatalf("%s waits for %s: %v; %+v", s.name, what, err, state)
		}
	}
	s.t.Fatalf("%s waits for %s, and sees %+v", s.name, what, last)
	return last
}

func (s *screen) phase(phase node.NearbyPhase) node.NearbyState {
	s.t.Helper()
	return s.until(string(phase), func(n node.NearbyState) bool {
		return n.Phase == phase && (phase != node.NearbyComparing || n.Digits != "")
	})
}

// choose waits for somebody of a name, and chooses them.
func (s *screen) choose(name string) {
	s.t.Helper()
	is := func(p node.NearbyPerson) bool { return p.Name == name }
	state := s.until(name, func(n node.NearbyState) bool {
		return n.Phase == node.NearbyLooking && slices.ContainsFunc(n.People, is)
	})
	if err := s.Choose(state.People[slices.IndexFunc(state.People, is)].ID); err != nil {
		s.t.Fatal(err)
	}
}

func (s *screen) answer(same bool) {
	s.t.Helper()
	if err := s.Match(s.phase(node.NearbyComparing).Digits, same); err != nil {
		s.t.Fatal(err)
	}
}

// trouble waits until a try has ended badly, and returns how.
func (s *screen) trouble() node.NearbyState {
	s.t.Helper()
	return s.until("trouble", func(n node.NearbyState) bool { return n.Trouble != "" })
}

// ends returns the error that it ends by.
func (s *screen) ends() (last error) {
	for _, err := range s.States() {
		last = err
	}
	return last
}

// room is Ana, who has a group, and Bo, who is on the same LAN.
func roomOf(t *testing.T, change ...func(*node.Config)) (ana, bo *person, club protocol.ID) {
	t.Helper()
	ana, bo = start(t, "Ana", change...), start(t, "Bo", change...)
	return ana, bo, ana.create("club")
}

func TestNearbyJoinsWithoutALink(t *testing.T) {
	ana, bo, club := roomOf(t)
	asks := node.AdmissionApprove
	if _, err := ana.Set(ctx(t), club, node.Settings{Admission: &asks}); err != nil {
		t.Fatal(err) // a person says yes to everybody: here she does by comparing
	}
	bo.reach(ana)
	theirs, mine := ana.inviteNearby(club), bo.joinNearby()
	if _, err := ana.InviteNearby(ctx(t), club); !errors.Is(err, node.ErrNearbyBusy) {
		t.Errorf("a second one at once: %v", err)
	}
	mine.choose("Ana")
	theirs.choose("Bo")
	a, b := theirs.phase(node.NearbyComparing), mine.phase(node.NearbyComparing)
	if a.Digits != b.Digits || a.Words != b.Words || len(a.Digits) != 11 || a.With.Name != "Bo" || b.With.Name != "Ana" {
		t.Errorf("Ana sees %+v and Bo %+v", a, b)
	}
	if err := mine.Match("000 000 00", true); !errors.Is(err, node.ErrNearbyNow) {
		t.Errorf("an answer about another string: %v", err)
	}
	theirs.answer(true)
	theirs.phase(node.NearbyAgreed)
	if groups := bo.Groups(); len(groups) != 0 {
		t.Errorf("before Bo's yes he is in %v", groups)
	}
	mine.answer(true)
	theirs.phase(node.NearbyDone)
	if got := mine.phase(node.NearbyDone).Group; got != club {
		t.Errorf("Bo is in %s", got)
	}
	chatOn(ana, bo, club)
	if ids := ana.Host().Mux().Protocols(); slices.Contains(ids, nearbyID) {
		t.Error("Ana still answers who looks for invitations")
	}
	invites, err := ana.Invites(club)
	if err != nil || len(invites) != 1 || invites[0].State != "used up" || !invites[0].IssuerAdmits {
		t.Errorf("%+v, %v", invites, err)
	}
	if _, err := bo.InviteNearby(ctx(t), club); !errors.Is(err, node.ErrNotAllowed) {
		t.Errorf("a member invites: %v", err)
	}
}

// Two people ask at once; one says no to what she sees, and is none the worse for it.
func TestNearbyOneAtATime(t *testing.T) {
	ana, bo, club := roomOf(t)
	cleo := start(t, "Cleo")
	bo.reach(ana)
	cleo.reach(ana)
	theirs, bos, cleos := ana.inviteNearby(club), bo.joinNearby(), cleo.joinNearby()
	bos.choose("Ana")
	cleos.choose("Ana")
	theirs.until("both", func(n node.NearbyState) bool { return len(n.People) == 2 })
	theirs.choose("Cleo")
	cleos.answer(false)
	if n := theirs.trouble(); n.Left != 2 || !strings.Contains(n.Trouble, "they say") || n.Phase != node.NearbyLooking || n.Digits != "" {
		t.Errorf("Ana sees %+v", n)
	}
	if n := cleos.trouble(); n.Left != 2 || len(n.People) != 1 {
		t.Errorf("Cleo sees %+v", n)
	}
	theirs.choose("Bo")
	theirs.answer(true)
	bos.answer(true)
	theirs.phase(node.NearbyDone)
	bos.phase(node.NearbyDone)
	cleos.until("nobody", func(n node.NearbyState) bool { return len(n.People) == 0 })
	cleos.Close()
	if err := cleos.ends(); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if len(cleo.Groups()) != 0 {
		t.Error("Cleo got in")
	}
}

// eve is between Ana and Bo: an inviter to Bo, and a joiner to Ana.
type eve struct {
	*outsider
	secret  protocol.NearbySecret
	streams chan *talk // of who chose her
}

func newEve(t *testing.T, ana, bo *person) *eve {
	t.Helper()
	secret, err := protocol.NewNearbySecret(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	e := &eve{newOutsider(t), secret, make(chan *talk, 10)}
	e.host.SetStreamHandler(nearbyID, func(s network.Stream) {
		k := newTalk(t, s)
		f, err := protocol.ReadFrame(k.in)
		if err != nil || f.Kind == protocol.FrameNearbyCommit {
			k.first = f
			e.streams <- k
			return
		}
		k.send(protocol.FrameNearbyOffer, protocol.NearbyOffer{Name: "Ana"})
		_ = s.Close()
	})
	e.connect(ana)
	e.connect(bo)
	return e
}

// asks commits to a key towards an inviter, as "Bo".
func (e *eve) asks(p *person, commit protocol.ID) *talk {
	e.t.Helper()
	k := e.talk(p, nearbyID)
	k.send(protocol.FrameNearbyCommit, protocol.NearbyCommit{Commit: commit, Name: "Bo"})
	return k
}

func (e *eve) commit(p *person) protocol.ID {
	return protocol.CommitNearby(string(e.host.ID()), string(p.Host().ID()), e.secret.Public())
}

// Eve relays with keys of her own: the two screens differ, and nothing is handed over.
func TestNearbySomebodyInTheMiddle(t *testing.T) {
	ana, bo, club := roomOf(t)
	e := newEve(t, ana, bo)
	theirs, mine := ana.inviteNearby(club), bo.joinNearby()
	mine.choose("Ana") // who is Eve
	toBo := <-e.streams
	var commit protocol.NearbyCommit
	if err := toBo.first.Decode(protocol.FrameNearbyCommit, &commit); err != nil {
		t.Fatal(err)
	}
	toAna := e.asks(ana, e.commit(ana))
	theirs.choose("Bo")
	var anas, bos protocol.NearbyKey
	toAna.expect(protocol.FrameNearbyKey, &anas)
	toBo.send(protocol.FrameNearbyKey, e.secret.Public())
	toBo.expect(protocol.FrameNearbyKey, &bos)
	toAna.send(protocol.FrameNearbyKey, e.secret.Public())
	a, b := theirs.phase(node.NearbyComparing), mine.phase(node.NearbyComparing)
	if a.Digits == b.Digits || a.Words == b.Words {
		t.Errorf("both screens show %s, %v", a.Digits, a.Words)
	}
	// Bo says yes without looking. Eve opens his box; hers to Ana is good, too.
	mine.answer(true)
	var box []byte
	toBo.expect(protocol.FrameNearbyBox, &box)
	m := protocol.Nearby{PeerI: string(e.host.ID()), PeerR: string(ana.Host().ID()), NameI: "Bo", NameR: "Ana", Commit: e.commit(ana), KeyI: e.secret.Public(), KeyR: anas}
	keys, err := m.Agree(protocol.Initiator, e.secret)
	if err != nil {
		t.Fatal(err)
	}
	yes, err := keys.Seal("")
	if err != nil {
		t.Fatal(err)
	}
	toAna.send(protocol.FrameNearbyBox, yes)
	// Ana looks, and says no.
	theirs.answer(false)
	if n := theirs.trouble(); n.Left != 2 || !strings.Contains(n.Trouble, "not the same") {
		t.Errorf("Ana sees %+v", n)
	}
	var refused *protocol.RefusedError
	if err := toAna.frame(protocol.FrameNearbyBox, &box); !errors.As(err, &refused) {
		t.Errorf("Eve gets %v", err)
	}
	_ = toBo.s.Reset()
	if n := mine.trouble(); n.Left != 2 {
		t.Errorf("Bo sees %+v", n)
	}
	if invites, err := ana.Invites(club); err != nil || len(invites) != 0 {
		t.Errorf("there are invites: %+v, %v", invites, err)
	}
}

// Eve does not keep to what she committed to, in every way there is. Each time costs a
// try, and no string is shown.
func TestNearbyKeysKeepToTheCommitment(t *testing.T) {
	ana, bo, club := roomOf(t)
	e := newEve(t, ana, bo)
	theirs := ana.inviteNearby(club)
	other, err := protocol.NewNearbySecret(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	bos := protocol.CommitNearby(string(bo.Host().ID()), string(ana.Host().ID()), other.Public())
	left := 3
	for _, c := range []struct {
		name   string
		commit protocol.ID
		show   func(anas protocol.NearbyKey) protocol.NearbyKey
	}{
		{"a key chosen afterwards", e.commit(ana), func(protocol.NearbyKey) protocol.NearbyKey { return other.Public() }},
		{"Bo's commitment and key", bos, func(protocol.NearbyKey) protocol.NearbyKey { return other.Public() }},
		{"her commitment again", e.commit(ana), nil},
		{"Ana's own key", protocol.ID{1}, func(anas protocol.NearbyKey) protocol.NearbyKey { return anas }},
	} {
		k := e.asks(ana, c.commit)
		theirs.choose("Bo")
		if c.show != nil {
			var anas protocol.NearbyKey
			k.expect(protocol.FrameNearbyKey, &anas)
			k.send(protocol.FrameNearbyKey, c.show(anas))
			left--
		}
		if n := k.ends(); n > 0 {
			t.Errorf("%s: %d bytes follow", c.name, n)
		}
		if left == 0 {
			break
		}
		n := theirs.trouble()
		if n.Left != left || n.Digits != "" || !strings.Contains(n.Trouble, "another key") {
			t.Errorf("%s: Ana sees %+v", c.name, n)
		}
	}
	if err := theirs.ends(); !errors.Is(err, node.ErrNearbyTries) {
		t.Errorf("after three tries: %v", err)
	}
	k := e.host
	if s, err := k.NewStream(ctx(t), ana.Host().ID(), nearbyID); err == nil {
		if _, err := s.Write([]byte{0}); err == nil {
			if _, err := s.Read(make([]byte, 1)); err == nil {
				t.Error("Ana still answers")
			}
		}
	}
}

// Whoever leaves after seeing Ana's key has spent a try of hers: or they could come
// back until they like the string.
func TestNearbyLeavingCostsATry(t *testing.T) {
	ana, bo, club := roomOf(t)
	e := newEve(t, ana, bo)
	theirs := ana.inviteNearby(club)
	for range 3 {
		var err error
		if e.secret, err = protocol.NewNearbySecret(rand.Reader); err != nil {
			t.Fatal(err)
		}
		k := e.asks(ana, e.commit(ana))
		theirs.choose("Bo")
		k.expect(protocol.FrameNearbyKey, new(protocol.NearbyKey))
		_ = k.s.Reset()
		theirs.until("the end of it", func(n node.NearbyState) bool { return n.Phase == node.NearbyLooking || n.Left == 0 })
	}
	if err := theirs.ends(); !errors.Is(err, node.ErrNearbyTries) {
		t.Errorf("after three: %v", err)
	}
}

// What comes out of turn, is too long or is nothing at all ends the stream.
func TestNearbyGarbage(t *testing.T) {
	ana, bo, club := roomOf(t)
	e := newEve(t, ana, bo)
	theirs := ana.inviteNearby(club)
	frame := func(kind protocol.FrameKind, payload any) []byte { return protocol.AppendFrame(nil, kind, payload) }
	commit := frame(protocol.FrameNearbyCommit, protocol.NearbyCommit{Commit: e.commit(ana), Name: "Bo"})
	key := frame(protocol.FrameNearbyKey, e.secret.Public())
	for name, wire := range map[string][]byte{
		"nothing":             {0},
		"a key at first":      key,
		"a box at first":      frame(protocol.FrameNearbyBox, []byte{1, 2, 3}),
		"a frame too long":    {0xff, 0xff, 0xff, 0xff, 0x0f},
		"an unknown frame":    frame(4095, struct{}{}),
		"a name too long":     frame(protocol.FrameNearbyCommit, protocol.NearbyCommit{Commit: e.commit(ana), Name: strings.Repeat("x", 129)}),
		"a name of bad text":  frame(protocol.FrameNearbyCommit, protocol.NearbyCommit{Commit: e.commit(ana), Name: "\xff"}),
		"a short commitment":  frame(protocol.FrameNearbyCommit, map[int]any{1: []byte{1}}),
		"a key before hers":   slices.Concat(commit, key),
		"two commitments":     slices.Concat(commit, commit),
		"an ask and a commit": slices.Concat(frame(protocol.FrameNearbyAsk, map[int]int{2: 1}), commit),
	} {
		k := e.talk(ana, nearbyID)
		_, _ = k.s.Write(wire)
		if n := k.ends(); n > 0 {
			t.Errorf("%s: it is answered with %d bytes", name, n)
		}
	}
	if n := theirs.until("an empty list", func(n node.NearbyState) bool { return len(n.People) == 0 }); n.Left != 3 {
		t.Errorf("garbage cost a try: %+v", n)
	}
	// One peer has two streams and one place on the list.
	first := e.asks(ana, e.commit(ana))
	theirs.until("Eve", func(n node.NearbyState) bool { return len(n.People) == 1 })
	e.asks(ana, e.commit(ana)).refused(protocol.RefusedBusy)
	_ = first.s.Reset()
	theirs.until("nobody", func(n node.NearbyState) bool { return len(n.People) == 0 })
}

// However many ask, the list and the streams have an end, and whoever is on the list
// can still be chosen. Those who are connected to Bo and never answer do not hold up his
// join.
func TestNearbyCrowd(t *testing.T) {
	ana, bo, club := roomOf(t)
	theirs := ana.inviteNearby(club)
	bo.reach(ana)
	mine := bo.joinNearby()
	mine.choose("Ana")
	theirs.until("Bo", func(n node.NearbyState) bool { return len(n.People) == 1 })
	for range 16 {
		e := newOutsider(t)
		e.connect(ana)
		k := e.talk(ana, nearbyID)
		k.send(protocol.FrameNearbyCommit, protocol.NearbyCommit{Commit: nonce(), Name: "Bo's shadow"})
	}
	theirs.until("a full list", func(n node.NearbyState) bool { return len(n.People) == 16 })
	for range 4 {
		e := newOutsider(t)
		e.host.SetStreamHandler(joinID, func(s network.Stream) { _, _ = io.Copy(io.Discard, s) })
		e.connect(bo)
	}
	eventually(t, "Bo knows them", func() bool { return len(bo.Host().Network().Peers()) == 5 })
	theirs.choose("Bo")
	theirs.answer(true)
	mine.answer(true)
	theirs.phase(node.NearbyDone)
	mine.phase(node.NearbyDone)
}

// Nobody answers, or nobody is there.
func TestNearbyTime(t *testing.T) {
	short := func(cfg *node.Config) { node.WithNearbyTime(cfg, 200*time.Millisecond) }
	ana, bo, club := roomOf(t)
	cleo := start(t, "Cleo", short)
	if err := cleo.joinNearby().ends(); !errors.Is(err, node.ErrNearbyOver) {
		t.Errorf("nobody is there: %v", err)
	}
	bo.reach(ana)
	theirs, mine := ana.inviteNearby(club), bo.joinNearby()
	mine.choose("Ana")
	theirs.choose("Bo")
	theirs.phase(node.NearbyComparing)
	mine.phase(node.NearbyComparing)
	bo.sleep()
	if n := theirs.trouble(); n.Left != 2 || n.Trouble != "they went away" {
		t.Errorf("Ana sees %+v", n)
	}
	if err := mine.ends(); !errors.Is(err, node.ErrClosed) {
		t.Errorf("Bo's ends with %v", err)
	}
	ended, cancel := context.WithCancel(ctx(t))
	cancel()
	again, err := cleo.JoinNearby(ended)
	if err != nil {
		t.Fatal(err)
	}
	if err := (&screen{again, t, "Cleo"}).ends(); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that gave up: %v", err)
	}
}

func ExampleNode_JoinNearby() {
	n, err := node.New(context.Background(), node.Config{Name: "Bo", DisableMDNS: true, Listen: []string{"/ip4/127.0.0.1/tcp/0"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer n.Close()
	s, err := n.JoinNearby(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	for state, err := range s.States() {
		switch {
		case err != nil:
			fmt.Println("ended:", err)
		case state.Phase == node.NearbyLooking && len(state.People) == 0:
			fmt.Println("nobody invites here")
			s.Close() // or go on looking
		case state.Phase == node.NearbyLooking:
			_ = s.Choose(state.People[0].ID) // ask the person at the screen
		case state.Phase == node.NearbyComparing && state.Digits != "":
			_ = s.Match(state.Digits, false) // ask whether both screens show the same
		}
	}
	// Output:
	// nobody invites here
	// ended: nearby: context canceled
}
