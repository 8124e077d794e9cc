package node_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/p2pchat/p2pchat/internal/fixture/child"
	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
	"github.com/p2pchat/p2pchat/storage/disk"
)

// acts is a person's audit as texts.
func (p *person) acts(group protocol.ID) []string {
	p.t.Helper()
	list, err := p.Audit(group)
	if err != nil {
		p.t.Fatal(err)
	}
	var out []string
	for _, a := range list {
		s := fmt.Sprintf("%s %s %s %s %q", a.By.Name, a.Kind, a.Target.Name, a.Right, a.Text)
		if a.Undone != nil {
			s += " undone by " + a.Undone.By.Name
		}
		out = append(out, s)
	}
	return out
}

// Two admins act against each other's friends while they are apart, by clocks that
// agree, or are a day off.
func TestAdminsAtOddsWhileApart(t *testing.T) {
	for _, off := range []time.Duration{0, 24 * time.Hour, -24 * time.Hour} {
		t.Run(off.String(), func(t *testing.T) {
			var c clock
			c.forward(off)
			ana := start(t, "Ana")
			club := ana.create("club")
			all := []*person{ana}
			for _, o := range []struct {
				name string
				rank protocol.Rank
			}{{"Bo", protocol.Admin}, {"Cleo", protocol.Admin}, {"Dan", protocol.Moderator}, {"Eva", protocol.Member}} {
				p := start(t, o.name, func(cfg *node.Config) {
					if o.name == "Bo" {
						node.WithClock(cfg, c.now)
					}
				})
				p.join(ana.invite(club, node.InviteOptions{Rank: o.rank}))
				all = append(all, p)
			}
			bo, cleo, dan, eva := all[1], all[2], all[3], all[4]
			for _, p := range all {
				p.knows(club, 5)
				p.send(club, "hello from "+p.cfg.Name)
			}
			for _, p := range all {
				p.await(club, 5)
			}
			for _, p := range all[2:] {
				p.sleep()
			}
			one, two, slow := "Bo's club", "Cleo's club", time.Hour
			did(t)(bo.Expel(ctx(t), club, "Dan", node.ExpelOptions{Reason: "Cleo's friend"}))
			did(t)(bo.Mute(ctx(t), club, "Eva", node.MuteOptions{}))
			if _, err := bo.Set(ctx(t), club, node.Settings{Name: &one, SlowMode: &slow}); err != nil {
				t.Fatal(err)
			}
			bo.send(club, "I am in charge")
			ana.await(club, 6)
			ana.sleep()
			bo.sleep()
			cleo.wake()
			dan.wake()
			eva.wake()
			cleo.reach(dan)
			cleo.reach(eva)
			did(t)(dan.Expel(ctx(t), club, "Eva", node.ExpelOptions{Kick: true}))
			cleo.sees(club, "Eva", protocol.NoRank)
			if _, err := cleo.Set(ctx(t), club, node.Settings{Name: &two}); err != nil {
				t.Fatal(err)
			}
			refused(t, func() error { _, err := cleo.Expel(ctx(t), club, "Bo", node.ExpelOptions{}); return err }(), node.ErrNotAllowed, "Bo is admin")
			for i := range 5 {
				dan.send(club, fmt.Sprintf("no, me %d", i))
			}
			cleo.await(club, 10)
			ana.wake()
			bo.wake()
			bo.reach(cleo)
			ana.reach(bo)
			ana.reach(cleo)
			for _, p := range []*person{ana, bo, cleo} {
				p.sees(club, "Dan", protocol.NoRank)
				p.sees(club, "Eva", protocol.Member) // Dan's removal fell with him
			}
			settled(t, club, ana, bo, cleo)
			for _, p := range []*person{bo, cleo} { // somebody may just start an epoch
				eventually(t, "Ana's audit is "+p.cfg.Name+"'s", func() bool { return slices.Equal(ana.acts(club), p.acts(club)) })
			}
			agree(t, club, 6, ana, bo, cleo)
			cleo.send(club, "and on") // whatever the clocks say
			bo.send(club, "and on too")
			for _, p := range []*person{ana, bo, cleo} {
				p.await(club, 8)
			}
			settled(t, club, ana, bo, cleo)
		})
	}
}

// What fell to a removal long ago is erased: its chain still leads a newcomer on, and an
// undone removal brings back what is left of it.
func TestErasedMessagesKeepTheirPlace(t *testing.T) {
	var c clock
	ana, cleo := start(t, "Ana", func(cfg *node.Config) { node.WithClock(cfg, c.now) }), start(t, "Cleo")
	club := ana.create("club")
	bo, dan := start(t, "Bo"), start(t, "Dan")
	bo.join(ana.invite(club, node.InviteOptions{Rank: protocol.Moderator}))
	dan.join(ana.invite(club, node.InviteOptions{}))
	dan.send(club, "one")
	for _, q := range []*person{ana, bo, dan} {
		q.knows(club, 3)
		q.await(club, 1)
	}
	time.Sleep(5 * time.Millisecond)
	since := time.Now()
	var ids []protocol.ID
	for i := range 3 {
		ids = append(ids, dan.say(club, fmt.Sprintf("spam %d", i)))
	}
	for _, q := range []*person{ana, bo} {
		q.await(club, 4)
	}
	dan.sleep()
	if err := bo.Oust(ctx(t), club, protocol.KindBan, dan.cfg.Account.Identity(club).Root()); err != nil { // spares nothing
		t.Fatal(err)
	}
	ana.sees(club, "Dan", protocol.NoRank)
	settled(t, club, ana, bo)
	left := func(q *person, want string) {
		t.Helper()
		for _, id := range ids {
			if got := q.held(club, id); got != want {
				t.Errorf("%s has it %s, not %s", q.cfg.Name, got, want)
			}
		}
	}
	if err := ana.Sweep(ctx(t), club); err != nil { // it notes since when they do not count
		t.Fatal(err)
	}
	c.forward(29 * 24 * time.Hour)
	if err := ana.Sweep(ctx(t), club); err != nil {
		t.Fatal(err)
	}
	left(ana, "whole")
	c.forward(2 * 24 * time.Hour)
	if err := ana.Sweep(ctx(t), club); err != nil {
		t.Fatal(err)
	}
	left(ana, "erased")
	left(bo, "whole")
	settled(t, club, ana, bo)
	cleo.join(ana.invite(club, node.InviteOptions{}))
	cleo.knows(club, 3)
	settled(t, club, ana, bo, cleo)
	left(cleo, "away")
	bo.sleep() // who has them whole would serve Cleo as well as Ana

	// The ban is undone: who still has the texts shows them, who erased them shows that
	// there was something, and all agree on what there is.
	did(t)(ana.Expel(ctx(t), club, "Bo", node.ExpelOptions{Since: since}))
	for _, q := range []*person{ana, cleo} {
		q.sees(club, "Dan", protocol.Member)
		eventually(t, "all four are there", func() bool { return len(q.texts(club)) == 4 })
	}
	if a, b := ana.Whole(club), cleo.Whole(club); a != b {
		eventually(t, "both hold the same", func() bool { return ana.Whole(club) == cleo.Whole(club) })
	}
	left(ana, "erased")
	left(cleo, "erased") // as she has it from Ana, and a whole copy does not replace it
	dan.wake()
	dan.reach(cleo)
	dan.reach(ana)
	dan.sees(club, "Bo", protocol.NoRank) // until then he may know of the ban alone
	dan.send(club, "still here")
	for _, q := range []*person{ana, cleo} {
		eventually(t, "the chain goes on", func() bool { return slices.Contains(q.texts(club), "still here") })
	}
	eventually(t, "all hold the same", func() bool { return ana.Whole(club) == cleo.Whole(club) && ana.Whole(club) == dan.Whole(club) })
	left(dan, "whole")
}

// siegeWriter is a child that acts on members of its own until it is killed.
func siegeWriter(args []string) error {
	c := context.Background()
	ds, err := disk.Open(args[0], disk.Options{})
	if err != nil {
		return err
	}
	ana, err := node.New(c, node.Config{Name: "Ana", Datastore: ds, Listen: []string{"/ip4/127.0.0.1/tcp/0"}, DisableMDNS: true})
	if err != nil {
		return err
	}
	group := protocol.ID{}
	if all := ana.Groups(); len(all) > 0 {
		group = all[0].ID
	} else if group, err = ana.CreateGroup(c, "club"); err != nil {
		return err
	}
	name := fmt.Sprintf("P%d", os.Getpid())
	p, err := node.New(c, node.Config{
		Name: name, Datastore: storage.NewMemory(),
		Listen: []string{"/ip4/127.0.0.1/tcp/0"}, DisableMDNS: true,
	})
	if err != nil {
		return err
	}
	link, err := ana.Invite(c, group, node.InviteOptions{})
	if err != nil {
		return err
	}
	if _, err := p.Join(c, link); err != nil {
		return err
	}
	fmt.Println("ready")
	for i := 0; ; i++ {
		_, grant := ana.SetRole(c, group, name, protocol.Moderator, "")
		_, demote := ana.SetRole(c, group, name, protocol.Member, "")
		sent, say := ana.Send(c, group, fmt.Sprint(i))
		_, retract := ana.Retract(c, group, sent.ID, "")
		rotate := ana.Rotate(c, group, i%2 == 0, nil)
		if err := errors.Join(grant, demote, say, retract, rotate); err != nil {
			return err
		}
		if i == 3 {
			if _, err := ana.Expel(c, group, name, node.ExpelOptions{Reason: "ban"}); err != nil {
				return err
			}
			fmt.Println("banned " + name)
			return errors.Join(p.Close(), ana.Close())
		}
	}
}

// Killed while it demotes, bans, rotates and takes back, a node has done each wholly or
// not at all, and holds the secrets of all epochs that it started.
func TestKillLeavesNoHalfAct(t *testing.T) {
	cycles := 12
	if testing.Short() {
		cycles = 4
	}
	rng := rand.New(rand.NewPCG(11, 11))
	dir := t.TempDir()
	for range cycles {
		c := child.Start(t, "siege writer", dir)
		if line := c.Line(patience); line != "ready" {
			t.Fatalf("the child says %q", line)
		}
		time.Sleep(time.Duration(rng.IntN(150)) * time.Millisecond)
		c.Kill9()
		banned := c.Rest()
		ds, err := disk.Open(dir, disk.Options{})
		if err != nil {
			t.Fatal(err)
		}
		ana := &person{t: t, cfg: node.Config{Name: "Ana", Datastore: ds, Listen: []string{"/ip4/127.0.0.1/tcp/0"}, DisableMDNS: true}}
		ana.wake()
		club := ana.Groups()[0].ID
		if all, held := ana.Epochs(club); len(all) != held {
			t.Errorf("Ana holds %d of %d epochs", held, len(all))
		}
		acts, err := ana.Audit(club)
		if err != nil {
			t.Fatal(err)
		}
		for i, a := range acts {
			if a.Kind == "remove" && (i+1 == len(acts) || acts[i+1].Kind != "grant" || acts[i+1].Target.Key != a.Target.Key) {
				t.Errorf("half a demotion: %+v", a)
			}
		}
		for _, line := range banned {
			if name, ok := strings.CutPrefix(line, "banned "); ok && ana.members(club)[name] != nil {
				t.Errorf("%s was banned, and is a member", name)
			}
		}
		ana.send(club, "after the kill")
		ana.sleep()
		store, room := openHistory(t, ds, club)
		if forks, err := room.Forks(t.Context()); err != nil || len(forks) > 0 {
			t.Errorf("%d forks, %v", len(forks), err)
		}
		if err := errors.Join(store.Close(), ds.Close()); err != nil {
			t.Fatal(err)
		}
	}
}
