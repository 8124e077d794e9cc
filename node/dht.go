package node

import (
	"context"
	"fmt"
	"time"

	dht "github.com/libp2p/go-libp2p-kad-dht"
	coredisc "github.com/libp2p/go-libp2p/core/discovery"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	drouting "github.com/libp2p/go-libp2p/p2p/discovery/routing"
)

// The values of Config.DHT.
const (
	DHTOff       = "off"
	DHTCommunity = "community"
)

const (
	dhtPrefix   = "/p2pchat"
	dhtProtocol = dhtPrefix + "/kad/1.0.0"

	dhtAnnounce = 15 * time.Minute // how often keys are announced again
	dhtLook     = 5 * time.Second  // how often they are looked up while nobody of a group is here
	dhtTimeout  = time.Minute      // bounds one look-up or announcement
	dhtPeers    = 20               // how many peers one look-up may name
)

// communityDHT is p2pchat's own Kademlia DHT, apart from the public one by its
// protocol prefix. Nodes serve it unless they know that they cannot be reached.
type communityDHT struct {
	d    *discovery
	dht  *dht.IpfsDHT
	rd   *drouting.RoutingDiscovery
	boot []peer.AddrInfo
	kick chan struct{}
	said map[string]time.Time // when a key was last announced
}

// openDHT joins the DHT if it is wanted. It is built after the host listens: a DHT
// built inside the host dials out before it does.
func (d *discovery) openDHT() error {
	if d.n.cfg.DHT != DHTCommunity {
		return nil
	}
	c := &communityDHT{d: d, kick: make(chan struct{}, 1), said: make(map[string]time.Time)}
	for _, a := range d.n.cfg.Bootstrap {
		info, err := peer.AddrInfoFromString(a)
		if err != nil {
			return fmt.Errorf("%w: bootstrap address %q is not a multiaddr that ends in /p2p/ID", ErrConfig, a)
		}
		if info.ID != d.n.host.ID() {
			c.boot = append(c.boot, *info)
		}
	}
	var err error
	c.dht, err = dht.New(d.n.host, dht.Mode(dht.ModeAutoServer), dht.ProtocolPrefix(dhtPrefix),
		dht.BootstrapPeersFunc(func() []peer.AddrInfo { return c.boot }), dht.DisableValues())
	if err != nil {
		return fmt.Errorf("dht: %w", err)
	}
	c.rd = drouting.NewRoutingDiscovery(c.dht)
	d.dht.Store(c)
	d.n.onClose(func() error {
		err := c.dht.Close()
		d.n.host.RemoveStreamHandler(dhtProtocol) // which it leaves on the host
		return err
	})
	d.n.spawn(c.run)
	return nil
}

func (c *communityDHT) poke() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

// run announces and looks up this node's keys. With an empty routing table nothing
// would be heard or found, so it connects to the bootstrap nodes first.
func (c *communityDHT) run(ctx context.Context) {
	tick := time.NewTicker(dhtLook)
	defer tick.Stop()
	look := 0
	for {
		c.bootstrap(ctx)
		if c.dht.RoutingTable().Size() > 0 {
			c.announce(ctx)
			// Slower while somebody of every group is connected.
			if look++; look%12 == 1 || c.lonely() {
				c.look(ctx)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-c.kick:
			look = 0
		}
	}
}

func (c *communityDHT) bootstrap(ctx context.Context) {
	for _, info := range c.boot {
		if c.d.n.host.Network().Connectedness(info.ID) != network.Connected {
			c.d.found(info, "bootstrap")
		}
	}
	if c.dht.RoutingTable().Size() == 0 {
		_ = c.dht.Bootstrap(ctx)
	}
}

func (c *communityDHT) announce(ctx context.Context) {
	now := c.d.n.now()
	for _, key := range c.d.keys() {
		if now.Sub(c.said[key]) < dhtAnnounce {
			continue
		}
		each, cancel := context.WithTimeout(ctx, dhtTimeout)
		_, err := c.rd.Advertise(each, key)
		cancel()
		if err != nil {
			c.d.n.log.Debug("dht announce", "err", err)
			continue
		}
		c.said[key] = now
	}
}

// lonely says whether somebody is waited for: by a join, or by a group of which
// nobody is connected.
func (c *communityDHT) lonely() bool {
	c.d.mu.Lock()
	seeking := len(c.d.seeks) > 0
	c.d.mu.Unlock()
	if seeking {
		return true
	}
	for _, r := range c.d.n.allRooms() {
		if len(c.d.n.members(r)) == 0 {
			return true
		}
	}
	return false
}

func (c *communityDHT) look(ctx context.Context) {
	keys := c.d.keys()
	c.d.mu.Lock()
	for key := range c.d.seeks {
		keys = append(keys, key)
	}
	c.d.mu.Unlock()
	for _, key := range keys {
		each, cancel := context.WithTimeout(ctx, dhtTimeout)
		found, err := c.rd.FindPeers(each, key, coredisc.Limit(dhtPeers))
		if err == nil {
			for info := range found {
				c.d.found(info, "dht")
			}
		}
		cancel()
	}
}

// state says in words how the DHT is.
func (d *discovery) dhtState() string {
	c := d.dht.Load()
	if c == nil {
		return DHTOff
	}
	size := c.dht.RoutingTable().Size()
	if size == 0 {
		return "connecting"
	}
	mode := "client"
	if c.dht.Mode() == dht.ModeServer {
		mode = "server"
	}
	return fmt.Sprintf("on (%d peers, %s)", size, mode)
}
