package node_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
)

// asksByFile writes a request to join.
func (p *person) asksByFile(link, answer string) []byte {
	p.t.Helper()
	b, err := p.RequestFile(ctx(p.t), link, answer)
	if err != nil {
		p.t.Fatalf("%s asks by file: %v", p.cfg.Name, err)
	}
	return b
}

// answers admits who asks in a file.
func (p *person) answers(request []byte, approved bool) []byte {
	p.t.Helper()
	b, err := p.AnswerRequest(ctx(p.t), request, approved)
	if err != nil {
		p.t.Fatalf("%s answers a file: %v", p.cfg.Name, err)
	}
	return b
}

// Two people join by two files, read what was said, write without ever having met the
// group, and are understood when they do.
func TestJoinByFiles(t *testing.T) {
	ana, bo := start(t, "Ana"), start(t, "Bo")
	club := ana.create("Hiking club")
	for i := range 3 {
		ana.send(club, fmt.Sprint("before ", i))
	}
	link := ana.invite(club, node.InviteOptions{Uses: 1})
	parsed, err := protocol.ParseLink(link)
	if err != nil {
		t.Fatal(err)
	}
	parsed.Addrs = nil // nobody finds anybody
	request := bo.asksByFile(parsed.Text(), "")
	bo.sleep() // the key to the answer outlives the program
	group, q, err := ana.ReadRequest(request)
	if err != nil || group != club || q.Name != "Bo" || q.State != "open" || q.Rank != protocol.Member {
		t.Fatalf("the request is %+v, %v", q, err)
	}
	welcome := ana.answers(request, false)
	bo.wake()
	for range 2 { // the second time changes nothing
		if got, err := bo.JoinByFile(ctx(t), welcome); err != nil || got != club {
			t.Fatalf("Bo reads the answer: %v, %v", got, err)
		}
		if got := bo.texts(club); !slices.Equal(got, []string{"before 0", "before 1", "before 2"}) {
			t.Errorf("Bo reads %q", got)
		}
	}
	if g, err := bo.Group(club); err != nil || g.Name != "Hiking club" || g.Rank != protocol.Member || g.Members != 2 {
		t.Errorf("Bo's group is %+v, %v", g, err)
	}
	bo.send(club, "written alone")
	bo.sleep()
	bo.wake()
	bo.reach(ana)
	ana.await(club, 4)
	agree(t, club, 4, ana, bo)
	if again := ana.answers(request, false); len(again) == 0 {
		t.Error("a welcome that was lost is not made again")
	}
	if used := ana.used(club); used != 1 {
		t.Errorf("the invitation was used %d times", used)
	}
}

// used says how often a group's only invitation was used.
func (p *person) used(group protocol.ID) int {
	p.t.Helper()
	list, err := p.Invites(group)
	if err != nil || len(list) != 1 {
		p.t.Fatalf("the invitations are %+v, %v", list, err)
	}
	return list[0].Used
}

// A request in a file is answered as the invitation says, or told why not.
func TestFilesKeepToTheInvitation(t *testing.T) {
	var c clock
	ana := start(t, "Ana", func(cfg *node.Config) { node.WithClock(cfg, c.now) })
	bo, eve := start(t, "Bo"), start(t, "Eve")
	club := ana.create("club")
	refuses := func(request []byte, want error, says string) {
		t.Helper()
		before := ana.audit(club, "grant")
		_, err := ana.AnswerRequest(ctx(t), request, true)
		refused(t, err, want, says)
		if after := ana.audit(club, "grant"); len(after) != len(before) {
			t.Error("it was refused, and there is a grant")
		}
	}
	asks := ana.invite(club, node.InviteOptions{Question: "Who?"})
	request := bo.asksByFile(asks, "an old friend")
	_, q, err := ana.ReadRequest(request)
	if err != nil || q.State != "waiting" || q.Answer != "an old friend" {
		t.Errorf("the request is %+v, %v", q, err)
	}
	_, err = ana.AnswerRequest(ctx(t), request, false)
	refused(t, err, node.ErrApproval, "")
	ana.answers(request, true)
	did(t)(ana.Expel(ctx(t), club, "Bo", node.ExpelOptions{Kick: true}))
	refuses(request, node.ErrNotAllowed, "used before")

	once := ana.invite(club, node.InviteOptions{Uses: 1})
	ana.answers(bo.asksByFile(once, ""), false)
	refuses(eve.asksByFile(once, ""), node.ErrNotAllowed, "used as often")
	brief := ana.invite(club, node.InviteOptions{Expiry: time.Hour})
	late := eve.asksByFile(brief, "")
	c.forward(2 * time.Hour)
	refuses(late, node.ErrNotAllowed, "expired")
	called := eve.asksByFile(ana.invite(club, node.InviteOptions{}), "")
	list, err := ana.Invites(club)
	if err != nil {
		t.Fatal(err)
	}
	did(t)(ana.RevokeInvite(ctx(t), club, list[len(list)-1].ID))
	refuses(called, node.ErrNotAllowed, "revoked")

	elsewhere := eve.create("another")
	refuses(bo.asksByFile(eve.invite(elsewhere, node.InviteOptions{}), ""), node.ErrUnknownGroup, "not in")
	parsed, err := protocol.ParseLink(once)
	if err != nil {
		t.Fatal(err)
	}
	parsed.Seed[0] ^= 1
	refuses(eve.asksByFile(parsed.Text(), ""), node.ErrUnknownInvite, "not heard of")
	_, err = eve.RequestFile(ctx(t), asks, "")
	refused(t, err, node.ErrQuestion, "Who?")
}

// What is not whole, or not the file that belongs there, changes nothing.
func TestBadJoinFiles(t *testing.T) {
	ana, bo, eve := start(t, "Ana"), start(t, "Bo"), start(t, "Eve")
	club := ana.create("club")
	ana.send(club, "hello")
	link := ana.invite(club, node.InviteOptions{})
	request, other := bo.asksByFile(link, ""), eve.asksByFile(link, "")
	welcome, theirs := ana.answers(request, false), ana.answers(other, false)

	bad := func(name string, err error) {
		t.Helper()
		if !errors.Is(err, node.ErrBadFile) {
			t.Errorf("%s answers %v", name, err)
		}
		if groups := bo.Groups(); len(groups) > 0 {
			t.Fatalf("%s: Bo is in a group", name)
		}
	}
	imports := func(name string, data []byte) {
		t.Helper()
		_, err := bo.JoinByFile(ctx(t), data)
		bad(name, err)
	}
	imports("nothing", nil)
	imports("a request", request)
	imports("a foreign welcome", theirs)
	imports("something else", []byte("hello\n"))
	imports("a file with more at its end", append(slices.Clone(welcome), 0))
	imports("a file that is too large", make([]byte, protocol.MaxWelcomeFile+1))
	for _, at := range []int{20, len(welcome) / 4, len(welcome) / 2, len(welcome) - 1} {
		imports(fmt.Sprint("cut off at ", at), welcome[:at])
		flipped := bytes.Clone(welcome)
		flipped[at] ^= 1
		imports(fmt.Sprint("flipped at ", at), flipped)
	}
	for name, data := range map[string][]byte{
		"a welcome": welcome, "nothing": nil, "cut off": request[:len(request)-1], "too large": make([]byte, protocol.MaxRequestFile+1),
	} {
		_, err := ana.AnswerRequest(ctx(t), data, true)
		bad(name, err)
	}
	if _, err := bo.JoinByFile(ctx(t), welcome); err != nil {
		t.Errorf("after all that the good one answers %v", err)
	}
}

// A welcome is believed for what the group's own events say, not for its author's word.
func TestAWelcomeNobodyMayGive(t *testing.T) {
	club, p := staff(t, "Eve member")
	ana, eve := p[0], p[1]
	bo := start(t, "Bo")
	request := bo.asksByFile(ana.invite(club, node.InviteOptions{}), "")
	imports := func(by *person, says string) {
		t.Helper()
		welcome, err := by.Welcomes(ctx(t), request)
		if err != nil {
			t.Fatal(err)
		}
		_, err = bo.JoinByFile(ctx(t), welcome)
		refused(t, err, node.ErrBadFile, says)
		if groups := bo.Groups(); len(groups) > 0 {
			t.Errorf("%s is no admission, and Bo is in %+v", says, groups)
		}
	}
	imports(ana, "does not let this device in")
	_, err := eve.AnswerRequest(ctx(t), request, true)
	refused(t, err, node.ErrNotAllowed, "greeter")
	ana.answers(request, true)
	eve.knows(club, 3)
	imports(eve, "may not admit")
}

// Where history begins with joining, a file brings what is said from then on.
func TestJoinByFileSinceJoin(t *testing.T) {
	ana, bo := start(t, "Ana"), start(t, "Bo")
	club, err := ana.CreateSinceJoin(ctx(t), "club")
	if err != nil {
		t.Fatal(err)
	}
	ana.send(club, "before")
	request := bo.asksByFile(ana.invite(club, node.InviteOptions{}), "")
	ana.answers(request, false)
	ana.send(club, "after")
	if _, err := bo.JoinByFile(ctx(t), ana.answers(request, false)); err != nil {
		t.Fatal(err)
	}
	got := bo.texts(club)
	if len(got) != 2 || got[0] == "before" || got[1] != "after" {
		t.Errorf("Bo reads %q", got)
	}
}

// Who may not have keys is given none, however often they ask for a welcome, and
// nobody starts an epoch for them: anybody could fill the log with those.
func TestWhoMayHaveNoKeysStartsNoEpoch(t *testing.T) {
	ana, bo := start(t, "Ana"), start(t, "Bo")
	club := ana.create("club")
	link := ana.invite(club, node.InviteOptions{})
	request, err := bo.RequestFile(ctx(t), link, "")
	if err != nil {
		t.Fatal(err)
	}
	bo.join(link)
	if _, err := ana.AnswerRequest(ctx(t), request, true); err != nil {
		t.Fatalf("a member is not welcomed again: %v", err)
	}
	if _, err := ana.SetRole(ctx(t), club, "Bo", protocol.Relay, ""); err != nil {
		t.Fatal(err)
	}
	ana.send(club, "without Bo")
	before, _ := ana.Epochs(club)
	for range 3 {
		if _, err := ana.AnswerRequest(ctx(t), request, true); !errors.Is(err, node.ErrNotAllowed) {
			t.Errorf("a relay is welcomed: %v", err)
		}
	}
	if after, _ := ana.Epochs(club); len(after) != len(before) {
		t.Errorf("%d epochs for who may have none", len(after)-len(before))
	}
	relays := ana.invite(club, node.InviteOptions{Rank: protocol.Relay})
	cleo := start(t, "Cleo")
	if request, err = cleo.RequestFile(ctx(t), relays, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := ana.AnswerRequest(ctx(t), request, true); !errors.Is(err, node.ErrNotAllowed) {
		t.Errorf("somebody is admitted as a relay: %v", err)
	}
	if after, _ := ana.Epochs(club); len(after) != len(before) {
		t.Errorf("%d epochs for a newcomer who may have none", len(after)-len(before))
	}
}

// Who joins by a file is met by those to whom the connection is open already, as members
// of another group.
func TestWhoJoinsByFileIsMetByWhoIsConnected(t *testing.T) {
	ana, bo, cleo := start(t, "Ana"), start(t, "Bo"), start(t, "Cleo")
	other, club := ana.create("Chess"), ana.create("Hiking club")
	for _, p := range []*person{bo, cleo} {
		p.join(ana.invite(other, node.InviteOptions{}))
	}
	bo.reach(cleo)
	bo.join(ana.invite(club, node.InviteOptions{}))
	request := cleo.asksByFile(ana.invite(club, node.InviteOptions{}), "")
	if _, err := cleo.JoinByFile(ctx(t), ana.answers(request, false)); err != nil {
		t.Fatal(err)
	}
	ana.send(club, "to all")
	bo.await(club, 1)
	cleo.await(club, 1)
	cleo.send(club, "and back")
	bo.await(club, 2)
	ana.await(club, 2)
}
