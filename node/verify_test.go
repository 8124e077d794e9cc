package node_test

import (
	"strings"
	"testing"

	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
)

// number returns the safety number of a person and another.
func (p *person) number(group protocol.ID, who string) string {
	p.t.Helper()
	s, err := p.Safety(group, who)
	if err != nil {
		p.t.Fatal(err)
	}
	return s.Number
}

// mark is what a person's node says of somebody's identity.
func (p *person) mark(group protocol.ID, key protocol.Key) string {
	p.t.Helper()
	list, err := p.Members(group)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, m := range list {
		if m.Key == key {
			return m.Verified
		}
	}
	return "gone"
}

func TestVerify(t *testing.T) {
	club, p := staff(t, "Bo member", "Cleo member")
	ana, bo, cleo := p[0], p[1], p[2]
	number := bo.number(club, "Ana")
	if number != ana.number(club, "Bo") || number == ana.number(club, "Cleo") {
		t.Fatal("the number is not that of the two")
	}
	_, err := ana.Verify(ctx(t), club, "Bo", cleo.number(club, "Ana"))
	refused(t, err, node.ErrMismatch, "Bo")
	_, err = ana.Verify(ctx(t), club, "Bo", number[1:])
	refused(t, err, protocol.ErrBadSafety, "59 digits")
	_, err = ana.Verify(ctx(t), club, "Ana", number)
	refused(t, err, node.ErrUnknownName, "Ana")
	boKey, cleoKey := ana.members(club)["Bo"].Key, ana.members(club)["Cleo"].Key
	if got := ana.mark(club, boKey); got != node.Unverified {
		t.Errorf("nobody compared, and Bo is %q", got)
	}
	s, err := ana.Verify(ctx(t), club, "Bo", strings.ToLower(protocol.SafetyScheme)+number[:30]+" "+number[30:])
	if err != nil || s.State != node.Verified || s.Since.IsZero() {
		t.Fatalf("verifying answers %+v, %v", s, err)
	}
	ana.sleep()
	ana.wake()
	for key, want := range map[protocol.Key]string{boKey: node.Verified, cleoKey: node.Unverified} {
		if got := ana.mark(club, key); got != want {
			t.Errorf("%s is %q, not %q", key.Text(protocol.PersonPrefix), got, want)
		}
	}
	if got := bo.mark(club, ana.me(club)); got != node.Unverified {
		t.Errorf("Bo compared nothing, and Ana is %q to him", got)
	}
	if _, err := ana.Unverify(ctx(t), club, "Bo"); err != nil || ana.mark(club, boKey) != node.Unverified {
		t.Errorf("the mark is taken away: %v, and Bo is %q", err, ana.mark(club, boKey))
	}
	_, err = ana.Unverify(ctx(t), club, "Bo")
	refused(t, err, node.ErrUnknownName, "verified")
}

// Somebody else who takes the name of a person that was verified is told apart, also
// when that person has gone.
func TestAnImpostorIsNotVerified(t *testing.T) {
	club, p := staff(t, "Bo member")
	ana, bo := p[0], p[1]
	boKey := bo.me(club)
	if _, err := ana.Verify(ctx(t), club, "Bo", bo.number(club, "Ana")); err != nil {
		t.Fatal(err)
	}
	link := ana.invite(club, node.InviteOptions{})
	impostor := start(t, "bO ")
	impostor.join(link)
	fake := impostor.me(club)
	eventually(t, "Ana knows the impostor's name", func() bool { return ana.mark(club, fake) == node.OtherKey })
	if got := ana.mark(club, boKey); got != node.Verified {
		t.Errorf("Bo himself is %q", got)
	}
	status := ana.Status().Groups[0].Doubts
	if len(status) != 1 || status[0].Key != fake {
		t.Errorf("status says %+v", status)
	}
	did(t)(bo.Leave(ctx(t), club))
	eventually(t, "Bo is gone", func() bool { return ana.mark(club, boKey) == "gone" })
	if got := ana.mark(club, fake); got != node.OtherKey {
		t.Errorf("Bo is gone, and the impostor is %q", got)
	}
}

// A device that a person certified after they were verified loses the mark: whoever has
// their words can make one.
func TestANewDeviceLosesTheMark(t *testing.T) {
	club, p := staff(t, "Bo member")
	ana, bo := p[0], p[1]
	boKey := bo.me(club)
	if _, err := ana.Verify(ctx(t), club, "Bo", bo.number(club, "Ana")); err != nil {
		t.Fatal(err)
	}
	did(t)(bo.Leave(ctx(t), club))
	eventually(t, "Bo is gone", func() bool { return ana.mark(club, boKey) == "gone" })
	again, err := protocol.NewAccount(newRandom())
	if err != nil {
		t.Fatal(err)
	}
	bo.cfg.Account.Device = again.Device // the same words, on another machine
	bo.reinstall()
	bo.join(ana.invite(club, node.InviteOptions{}))
	eventually(t, "the mark is lost", func() bool { return ana.mark(club, boKey) == node.NewDevice })
	list, err := ana.Doubts(club)
	if err != nil || len(list) != 1 || list[0].Key != boKey {
		t.Errorf("the doubts are %+v, %v", list, err)
	}
	if _, err := ana.Verify(ctx(t), club, "Bo", bo.number(club, "Ana")); err != nil {
		t.Fatal(err)
	}
	if got := ana.mark(club, boKey); got != node.Verified {
		t.Errorf("compared again, and Bo is %q", got)
	}
}
