package node_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/p2pchat/p2pchat/internal/fixture/netns"
	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
)

// Ban bans the one whom Text names.
func (p *Person) Ban(q Ask, _ *bool) error {
	_, err := p.n.Expel(context.Background(), q.Group, q.Text, node.ExpelOptions{Reason: "they do harm"})
	return err
}

// Roster lists who belongs, with what rank.
func (p *Person) Roster(group protocol.ID, out *[]string) error {
	list, err := p.n.Members(group)
	for _, m := range list {
		*out = append(*out, m.Name+" "+m.Rank.String())
	}
	slices.Sort(*out)
	return err
}

// Undone lists what was undone, and by whom.
func (p *Person) Undone(group protocol.ID, out *[]string) error {
	list, err := p.n.Audit(group)
	for _, a := range list {
		if a.Undone != nil && a.Kind != protocol.KindRekey.String() {
			*out = append(*out, fmt.Sprintf("%s %s %s by %s", a.By.Name, a.Kind, a.Target.Name, a.Undone.By.Name))
		}
	}
	return err
}

// eventuallySees waits until what a call answers is what is wanted, at all of them.
func eventuallySees(t *testing.T, method string, in any, want []string, all ...*remote) {
	t.Helper()
	slices.Sort(want)
	for _, r := range all {
		var got []string
		for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
			got = must[[]string](r, method, in)
			if slices.Sort(got); slices.Equal(got, want) {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("%s: %s: %q, want %q", r.name, strings.ToLower(method), got, want)
			}
		}
	}
}

func named(name string) func(*setup) { return func(cfg *setup) { cfg.Name = name } }

// Three hosts, cut in two, and moderators who contradict each other on both sides:
// Ana, alone, bans the admin Bo. Bo, who does not know, bans the moderator Dan; the
// admin Cleo bans Eve. When they meet, what Bo did is undone: Dan is back, Eve is not,
// and what Bo said since is nowhere.
func TestNetnsModerationMerges(t *testing.T) {
	lan := netns.New(t)
	at := hosts(lan, "ana", "bo", "cleo")
	ana, bo, cleo := startAt(t, at[0], byMDNS), startAt(t, at[1], byMDNS), startAt(t, at[2], byMDNS)
	dan, eve := startAt(t, at[2], byMDNS, named("dan")), startAt(t, at[1], byMDNS, named("eve"))
	dan.name, eve.name = "dan", "eve"
	club := ana.create("club")
	for r, rank := range map[*remote]protocol.Rank{bo: protocol.Admin, cleo: protocol.Admin, dan: protocol.Moderator, eve: protocol.Member} {
		r.join(must[string](ana, "Invite", Ask{Group: club, Text: "addressed", Count: int(rank)}))
	}
	before := []string{"ana founder", "bo admin", "cleo admin", "dan moderator", "eve member"}
	eventuallySees(t, "Roster", club, before, ana, bo, cleo, dan, eve)
	ana.send(club, "hello all")
	allRead(t, club, 1, ana, bo, cleo, dan, eve)

	lan.Split([]*netns.Host{at[0]}, []*netns.Host{at[1], at[2]})
	must[bool](ana, "Ban", Ask{Group: club, Text: "bo"})
	must[bool](bo, "Ban", Ask{Group: club, Text: "dan"})
	bo.send(club, "Dan is out")
	eventuallySees(t, "Roster", club, []string{"ana founder", "bo admin", "cleo admin", "eve member"}, cleo)
	must[bool](cleo, "Ban", Ask{Group: club, Text: "eve"})
	cleo.send(club, "Eve only, please")
	bo.await(club, 3)
	ana.send(club, "where is everybody?")

	lan.Heal()
	after := []string{"ana founder", "cleo admin", "dan moderator"}
	eventuallySees(t, "Roster", club, after, ana, cleo, dan)
	eventuallySees(t, "Undone", club, []string{"bo ban dan by ana"}, ana, cleo, dan)
	for _, r := range []*remote{ana, cleo, dan} {
		eventuallySees(t, "Texts", club, []string{"hello all", "Eve only, please", "where is everybody?"}, r)
	}

	// Whoever is out is not heard, whether they know it or not.
	_, _ = call[bool](bo, "Send", Ask{Group: club, Text: "I am still here"})
	_, _ = call[bool](eve, "Send", Ask{Group: club, Text: "so am I"})
	dan.send(club, "back again")
	want := []string{"hello all", "Eve only, please", "where is everybody?", "back again"}
	eventuallySees(t, "Texts", club, want, ana, cleo, dan)
	if got := bo.see(club).Texts; slices.Contains(got, "back again") {
		t.Error("Bo, who was banned, reads on")
	}
	if got := eve.see(club).Texts; slices.Contains(got, "back again") {
		t.Error("Eve, who was banned, reads on")
	}
}

// Texts lists what is read.
func (p *Person) Texts(group protocol.ID, out *[]string) error {
	var seen Seen
	err := p.See(group, &seen)
	*out = seen.Texts
	return err
}
