package node_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
)

// What an invitation asks is answered to who may admit, and to nobody else who has the
// link.
func TestAQuestionIsAnswered(t *testing.T) {
	const question, answer = "Where did we meet?", "on the Säntis, in the fog"
	club, p := staff(t, "Gil greeter")
	ana, gil := p[0], p[1]
	bo := start(t, "Bo")
	link := ana.invite(club, node.InviteOptions{Question: question})
	parsed, err := protocol.ParseLink(link)
	if err != nil || parsed.Question != question {
		t.Fatalf("the link asks %q, %v", parsed.Question, err)
	}
	_, err = bo.Join(ctx(t), link)
	refused(t, err, node.ErrQuestion, question)
	_, err = bo.JoinWith(ctx(t), link, node.JoinOptions{Answer: strings.Repeat("x", 501)})
	refused(t, err, node.ErrTooLarge, "at most 500")
	_, err = bo.JoinWith(ctx(t), ana.invite(club, node.InviteOptions{}), node.JoinOptions{Answer: answer})
	refused(t, err, node.ErrNoQuestion, "")

	eventually(t, "Gil has the invitation", func() bool { return len(gil.audit(club, "invite")) == 3 })
	ana.sleep() // any who may admit will do
	bo.reach(gil)
	asks := node.JoinOptions{Answer: answer, NoWait: true}
	_, err = bo.JoinWith(ctx(t), link, asks)
	refused(t, err, node.ErrApproval, "")
	requests, err := gil.Requests(club)
	if err != nil || len(requests) != 1 || requests[0].Question != question || requests[0].Answer != answer {
		t.Fatalf("Gil has the requests %+v, %v", requests, err)
	}
	did(t)(gil.Approve(ctx(t), club, "Bo"))
	if _, err := bo.JoinWith(ctx(t), link, node.JoinOptions{Answer: answer}); err != nil {
		t.Fatal(err)
	}
	for _, v := range bo.audit(club, "invite") {
		if strings.Contains(v.Text, answer) {
			t.Error("the answer is in the group's log")
		}
	}
}

// An approved request does not wait again, whatever becomes of who made it, and although
// they had asked twice.
func TestAnApprovedRequestIsDone(t *testing.T) {
	ana, bo := start(t, "Ana"), start(t, "Bo")
	club := ana.create("club")
	link := ana.invite(club, node.InviteOptions{Approve: true})
	for range 2 {
		_, err := bo.JoinWith(ctx(t), link, node.JoinOptions{NoWait: true})
		refused(t, err, node.ErrApproval, "")
	}
	did(t)(ana.Approve(ctx(t), club, "Bo"))
	did(t)(ana.Expel(ctx(t), club, "Bo", node.ExpelOptions{}))
	ana.sleep()
	ana.wake()
	requests, err := ana.Requests(club)
	if err != nil || len(requests) != 1 || requests[0].State != "approved" {
		t.Errorf("Ana has the requests %+v, %v", requests, err)
	}
}

// Who holds the link alone cannot open an answer, nor give another's for his own.
func TestAnswersAreSealed(t *testing.T) {
	bo, eve := start(t, "Bo"), start(t, "Eve")
	ana := start(t, "Ana")
	club := ana.create("club")
	link, err := protocol.ParseLink(ana.invite(club, node.InviteOptions{Question: "Who?"}))
	if err != nil {
		t.Fatal(err)
	}
	box, err := protocol.NewBoxKey(true)
	if err != nil {
		t.Fatal(err)
	}
	request, err := link.Request(bo.Account().Identity(club), box, "Bo", "a friend", newRandom())
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(request.Encode(), []byte("a friend")) {
		t.Error("the answer can be read")
	}
	for name, seed := range map[string]protocol.Secret{"seed": link.Seed, "lobby": link.Lobby()} {
		if text, err := request.OpenAnswer(club, seed); err == nil {
			t.Errorf("the link's %s opens the answer: %q", name, text)
		}
	}
	theirs, err := link.Request(eve.Account().Identity(club), box, "Eve", "no friend", newRandom())
	if err != nil {
		t.Fatal(err)
	}
	theirs.Answer = request.Answer
	if _, err := protocol.ParseJoinRequest(club, theirs.Encode()); err == nil {
		t.Error("a request with another's answer is taken")
	}
}
