package node_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

// Ana's disk is full, so that what Bo says is not stored: her status says so until
// something is.
func TestStatusSaysWhyNothingIsStored(t *testing.T) {
	disk := &fullDisk{Batching: storage.NewMemory()}
	ana, bo := start(t, "Ana", func(cfg *node.Config) { cfg.Datastore = disk }), start(t, "Bo")
	club := ana.create("club")
	bo.join(ana.invite(club, node.InviteOptions{}))
	failing := func() error {
		s, err := ana.GroupStatus(club)
		if err != nil || errors.Is(s.Failing, errFull) != errors.Is(ana.Status().Failing, errFull) {
			t.Errorf("of the group it says %v, else %v; %v", s.Failing, ana.Status().Failing, err)
		}
		return s.Failing
	}
	ana.send(club, "one")
	bo.await(club, 1)
	if err := failing(); err != nil {
		t.Errorf("with space it says %v", err)
	}
	disk.full.Store(true)
	bo.send(club, "two")
	eventually(t, "Ana says that her disk is full", func() bool { return errors.Is(ana.Status().Failing, errFull) })
	soon, cancel := context.WithTimeout(ctx(t), 300*time.Millisecond)
	defer cancel()
	if err := ana.WaitSync(soon, club); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("on a full disk Ana is in step: %v", err)
	}
	disk.full.Store(false)
	if err := ana.WaitSync(ctx(t), club); err != nil || !slices.Contains(ana.texts(club), "two") {
		t.Errorf("with space again Ana reads %q: %v", ana.texts(club), err)
	}
	ana.send(club, "three")
	if err := failing(); err != nil {
		t.Errorf("with space again it says %v", err)
	}
	together(t, club, 3, ana, bo)
}

// Whoever is compared with somebody who holds little, while others have more, is not
// complete.
func TestCompleteIsNotBeforeAllThatIsKnownOf(t *testing.T) {
	ana := start(t, "Ana")
	club := ana.create("club")
	bo, cleo := start(t, "Bo"), start(t, "Cleo")
	bo.join(ana.invite(club, node.InviteOptions{}))
	cleo.join(ana.invite(club, node.InviteOptions{}))
	ana.send(club, "all here")
	bo.await(club, 1)
	cleo.await(club, 1)
	eventually(t, "Bo is complete", func() bool { return !bo.synced(club).IsZero() })
	bo.Ahead(club, ana.peer(), true)
	before := bo.synced(club)
	bo.Compared(club, cleo.peer())
	if !bo.synced(club).Equal(before) {
		t.Error("complete, though Ana has more")
	}
	bo.Ahead(club, ana.peer(), false)
	bo.Compared(club, cleo.peer())
	if !bo.synced(club).After(before) {
		t.Error("not complete, though nobody has more")
	}
}

// peer returns the id by which others connect.
func (p *person) peer() peer.ID {
	p.t.Helper()
	id, err := peer.Decode(p.Status().PeerID)
	if err != nil {
		p.t.Fatal(err)
	}
	return id
}

// synced returns when nothing was missing.
func (p *person) synced(club protocol.ID) time.Time {
	p.t.Helper()
	s, err := p.GroupStatus(club)
	if err != nil {
		p.t.Fatal(err)
	}
	return s.LastSync
}

// Mia says that she holds more, and hangs up whenever she is asked for it: after some
// times her word keeps Ana no more from being complete.
func TestWhoHangsUpKeepsNobodyFromBeingComplete(t *testing.T) {
	ana, bo, club, link := party(t)
	mia := newOutsider(t).admit(ana, link, "Mia")
	mia.serve(func(k *talk) { _ = k.s.Reset() })
	mia.greet(ana)
	ana.Ahead(club, mia.host.ID(), true)
	chatOn(ana, bo, club)
	before := ana.synced(club)
	eventually(t, "Ana is complete without Mia", func() bool {
		ana.Compared(club, bo.peer())
		return ana.synced(club).After(before)
	})
	s, err := ana.GroupStatus(club)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range s.Contacts {
		if c.Withholds != (c.Name == "Mia") {
			t.Errorf("%s withholds messages: %v", c.Name, c.Withholds)
		}
	}
}
