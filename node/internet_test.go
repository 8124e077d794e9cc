package node_test

import (
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/x/simlibp2p"
	"github.com/marcopolo/simnet"
)

// An internet carries the packets of hosts that live in virtual time, inside
// [testing/synctest.Test]. It can be cut in parts and lose packets.
type internet struct {
	t    *testing.T
	net  *simnet.Simnet
	mu   sync.Mutex
	rng  *rand.Rand
	side map[byte]int // by the last byte of an address; who is on different sides hears nothing
	loss float64      // of packets
}

const (
	// aMoment is how long a packet takes, at least.
	aMoment = 5 * time.Millisecond
	// never is how long a lost packet takes: simnet knows no other way to lose one.
	never = 100 * 365 * 24 * time.Hour
)

func newInternet(t *testing.T, rng *rand.Rand) *internet {
	w := &internet{t: t, rng: rng, side: make(map[byte]int)}
	w.net = &simnet.Simnet{LatencyFunc: w.delay, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
	w.net.Start()
	t.Cleanup(w.net.Close)
	return w
}

func (w *internet) delay(p *simnet.Packet) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	from, to := p.From.(*net.UDPAddr).IP.To4()[3], p.To.(*net.UDPAddr).IP.To4()[3]
	if w.side[from] != w.side[to] || w.loss > 0 && w.rng.Float64() < w.loss {
		return never
	}
	return aMoment + time.Duration(w.rng.IntN(30))*time.Millisecond
}

// set cuts the internet and has it lose packets from now on.
func (w *internet) set(side map[byte]int, loss float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.side, w.loss = side, loss
}

// host makes a host at an address: loopback, since a node whose DHT is off stays
// within its own subnets.
func (w *internet) host(at byte, key crypto.PrivKey) host.Host {
	w.t.Helper()
	const mbps = 100 * simlibp2p.OneMbps
	link := simnet.LinkSettings{BitsPerSecond: mbps}
	h, err := libp2p.New(
		libp2p.Identity(key), libp2p.ListenAddrStrings(fmt.Sprintf("/ip4/127.0.0.%d/udp/4001/quic-v1", at)),
		simlibp2p.QUICSimnet(w.net, simnet.NodeBiDiLinkSettings{Downlink: link, Uplink: link}),
		libp2p.DisableIdentifyAddressDiscovery(), libp2p.DisableRelay(), libp2p.DisableMetrics(),
		libp2p.ResourceManager(&network.NullResourceManager{}),
	)
	if err != nil {
		w.t.Fatal(err)
	}
	return h
}
