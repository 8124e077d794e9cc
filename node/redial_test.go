package node_test

import (
	"context"
	crand "crypto/rand"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/p2pchat/p2pchat/node"
)

// Whom a node dialled in vain for long, it dials all the same once the network may be back.
func TestWhoWasAwayForLongIsDialledAgain(t *testing.T) {
	ana, bo := start(t, "Ana"), start(t, "Bo")
	bo.join(ana.invite(ana.create("club"), node.InviteOptions{}))
	id, addr := bo.Host().ID(), bo.Host().Addrs()[0]
	eventually(t, "Ana remembers Bo", func() bool { return ana.Remembers(id) })
	bo.sleep()
	gaveUp := ana.Host().Network().(*swarm.Swarm).Backoff()
	for range 20 { // 5 s + n² s: minutes
		gaveUp.AddBackoff(id, addr)
	}
	back, err := manet.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = back.Close() }()
	came := make(chan error, 1)
	go func() {
		conn, err := back.Accept()
		if err == nil {
			err = conn.Close()
		}
		came <- err
	}()
	eventually(t, "Ana misses Bo", func() bool { return ana.Host().Network().Connectedness(id) != network.Connected })
	ana.DialAway(true)
	select {
	case err := <-came:
		if err != nil {
			t.Error(err)
		}
	case <-ctx(t).Done():
		t.Error("Ana does not dial Bo")
		_ = back.Close()
		<-came
	}
}

// The network may go right after the welcome, before the newcomer has greeted anybody as
// a member: who let them in, and who was named there, are dialled again.
func TestWhoWelcomedIsDialledAgain(t *testing.T) {
	ana, bo, cleo := start(t, "Ana"), start(t, "Bo"), start(t, "Cleo")
	club := ana.create("club")
	link := ana.invite(club, node.InviteOptions{})
	cleo.join(link)
	eventually(t, "Ana is connected to Cleo", func() bool { return ana.Remembers(cleo.Host().ID()) })
	for _, p := range []*person{ana, cleo} {
		p.Host().RemoveStreamHandler("/p2pchat/hello/1")
	}
	soon, stop := context.WithTimeout(ctx(t), 2*time.Second)
	defer stop()
	if _, err := bo.Join(soon, link); err == nil {
		t.Fatal("Bo got in without a greeting")
	}
	if _, err := bo.Group(club); err != nil {
		t.Fatalf("Bo was not welcomed: %v", err)
	}
	for _, p := range []*person{ana, cleo} {
		if !bo.Remembers(p.Host().ID()) {
			t.Errorf("Bo forgets %s", p.cfg.Name)
		}
	}
}

// Where the address book is full of who was met, who was only heard of takes nobody's
// place, on disk neither.
func TestTheAddressBookIsBounded(t *testing.T) {
	ana := start(t, "Ana")
	stranger := func() peer.ID {
		_, key, err := crypto.GenerateEd25519Key(crand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		p, err := peer.IDFromPublicKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	const most = 256
	for range most {
		ana.HeardOf(stranger(), time.Now())
	}
	eventually(t, "the book is full", func() bool { return len(ana.AddressBook()) == most })
	heard, last := stranger(), stranger()
	ana.HeardOf(heard, time.Time{})
	ana.HeardOf(last, time.Now())
	eventually(t, "who was met is written down", func() bool { return ana.AddressBook()[last.String()] != nil })
	if ana.Remembers(heard) || ana.AddressBook()[heard.String()] != nil {
		t.Error("who was heard of has a place")
	}
}
