package node_test

import (
	"context"
	crand "crypto/rand"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	libprotocol "github.com/libp2p/go-libp2p/core/protocol"

	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

// A leaky host loses what its pubsub sends to one peer while it is told to.
type leaky struct {
	host.Host
	to    peer.ID
	leaks atomic.Bool
	lost  atomic.Int64
	pulls atomic.Int64 // from that peer
}

func (h *leaky) NewStream(c context.Context, p peer.ID, ids ...libprotocol.ID) (network.Stream, error) {
	s, err := h.Host.NewStream(c, p, ids...)
	if p == h.to && slices.Contains(ids, "/p2pchat/sync/1") {
		h.pulls.Add(1)
	}
	if err == nil && p == h.to && s.Protocol() == "/p2pchat/gossip/1" {
		s = &leakyStream{s, h}
	}
	return s, err
}

type leakyStream struct {
	network.Stream
	host *leaky
}

func (s *leakyStream) Write(b []byte) (int, error) {
	if s.host.leaks.Load() && len(b) > 256 { // a message, and no control frame
		s.host.lost.Add(1)
		return len(b), nil
	}
	return s.Stream.Write(b)
}

// A choir is three who talk all the time, in virtual time. What Ana's pubsub sends to Bo
// may be lost.
type choir struct {
	t             *testing.T
	ana, bo, cleo *person
	link          *leaky
	club          protocol.ID

	mu   sync.Mutex
	said map[string]time.Time // by text
	came map[string]time.Time // at Bo
}

func newChoir(t *testing.T) *choir {
	c := &choir{t: t, said: make(map[string]time.Time), came: make(map[string]time.Time)}
	net := newInternet(t, rand.New(rand.NewPCG(1, 2)))
	var keys []crypto.PrivKey
	for range 3 {
		key, _, err := crypto.GenerateEd25519Key(crand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	to, err := peer.IDFromPrivateKey(keys[1])
	if err != nil {
		t.Fatal(err)
	}
	c.link = &leaky{Host: net.host(1, keys[0]), to: to}
	for i, h := range []host.Host{c.link, net.host(2, keys[1]), net.host(3, keys[2])} {
		account, err := protocol.NewAccount(newRandom())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = h.Close() })
		p := &person{t: t, cfg: node.Config{
			Account: account, Name: []string{"Ana", "Bo", "Cleo"}[i], Datastore: storage.NewMemory(), Host: h, DisableMDNS: true,
		}}
		p.wake()
		t.Cleanup(p.sleep)
		*[]**person{&c.ana, &c.bo, &c.cleo}[i] = p
	}
	c.club = c.ana.create("club")
	link := c.ana.invite(c.club, node.InviteOptions{})
	c.bo.join(link)
	c.cleo.join(link)
	time.Sleep(20 * time.Second) // all are connected with all, and meshes stand
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(stop)
	go func() {
		for m, err := range c.bo.Follow(ctx, c.club, 0) {
			if err != nil {
				return
			}
			c.mu.Lock()
			c.came[m.Text] = time.Now()
			c.mu.Unlock()
		}
	}()
	return c
}

// talk has people say something in turn, for as long as that takes.
func (c *choir) talk(count int, people ...*person) {
	for i := range count {
		text := fmt.Sprint("line ", len(c.said))
		c.said[text] = time.Now()
		people[i%len(people)].send(c.club, text)
		time.Sleep(200 * time.Millisecond)
	}
}

// lose has Ana say something that does not come to Bo.
func (c *choir) lose() {
	c.link.leaks.Store(true)
	c.talk(1, c.ana)
	c.link.leaks.Store(false)
}

// judge fails for what Bo did not have within a time.
func (c *choir) judge(lost int64, most time.Duration) {
	c.t.Helper()
	time.Sleep(20 * time.Second)
	c.mu.Lock()
	defer c.mu.Unlock()
	for text, at := range c.said {
		if came, ok := c.came[text]; !ok {
			c.t.Errorf("%q does not come to Bo", text)
		} else if came.Sub(at) > most {
			c.t.Errorf("%q comes to Bo after %s", text, came.Sub(at))
		}
	}
	if n := c.link.lost.Load(); n < lost {
		c.t.Errorf("%d frames were lost, not %d", n, lost)
	}
}

// repairedWithin is virtual time, and less than a group that talks compares by itself.
const repairedWithin = 1500 * time.Millisecond

// Who sees by what follows that a message is missing asks for it, and does not wait until
// people are quiet.
func TestWhatALinkLostIsAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChoir(t)
		for range 10 {
			c.talk(1, c.cleo)
			c.lose()
			c.talk(8, c.cleo, c.ana)
		}
		c.judge(10, repairedWithin)
	})
}

// Where a frame is dropped, both are compared: nothing may follow that shows it.
func TestWhereAFrameIsDroppedBothAreCompared(t *testing.T) {
	for where, drop := range map[string]func(c *choir){
		"the sender's queue":   func(c *choir) { c.ana.DropsFrame(c.bo.Host().ID()) },
		"the receiver's queue": func(c *choir) { c.bo.OverlooksFrame(c.ana.Host().ID()) },
	} {
		t.Run(where, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newChoir(t)
				for range 10 {
					c.lose()
					drop(c)
					c.talk(6, c.cleo)
				}
				c.judge(10, repairedWithin)
			})
		})
	}
}

// A link that goes on losing frames is not filled with comparisons.
func TestALinkThatLosesAllTheTimeIsComparedNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChoir(t)
		before := c.link.pulls.Load()
		for range 200 {
			c.ana.DropsFrame(c.link.to)
			time.Sleep(50 * time.Millisecond)
		}
		if n := c.link.pulls.Load() - before; n < 5 || n > 25 {
			t.Errorf("compared %d times in ten seconds", n)
		}
	})
}
