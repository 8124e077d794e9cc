package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/p2pchat/p2pchat/storage"
)

// defaultListen is every interface, a port the system chooses.
var defaultListen = []string{
	"/ip4/0.0.0.0/tcp/0", "/ip4/0.0.0.0/udp/0/quic-v1", "/ip6/::/tcp/0", "/ip6/::/udp/0/quic-v1",
}

// openHost takes the lent host or makes one: TCP and QUIC, Noise, no relay, no
// port mapping, no metrics. Ports are not shared: libp2p would let two programs
// listen on one and neither would hear everything.
func (n *Node) openHost(ctx context.Context) error {
	n.disc = newDiscovery(n)
	if n.cfg.Host != nil {
		n.host = n.cfg.Host
		return nil
	}
	key, err := n.peerKey(ctx)
	if err != nil {
		return err
	}
	opts := []libp2p.Option{
		libp2p.Identity(key), libp2p.NoListenAddrs, libp2p.UserAgent("p2pchat"),
		libp2p.Security(noise.ID, noise.New), libp2p.Transport(tcp.NewTCPTransport, tcp.DisableReuseport()), libp2p.Transport(libp2pquic.NewTransport),
		libp2p.DisableRelay(), libp2p.DisableMetrics(),
	}
	if n.cfg.DHT == DHTOff {
		opts = append(opts, libp2p.ConnectionGater(subnetGater{}), libp2p.MultiaddrResolver(noNames{}))
	}
	h, err := libp2p.New(opts...)
	if err != nil {
		return fmt.Errorf("libp2p host: %w", err)
	}
	n.host = h
	n.onClose(h.Close)
	return nil
}

// listen opens a host's ports, once everything that answers is in place. One
// address that was asked for and cannot be had is an error; of the default ones, a
// machine may lack some.
func (n *Node) listen(context.Context) error {
	if n.cfg.Host != nil {
		return nil
	}
	asked := len(n.cfg.Listen) > 0
	list := n.cfg.Listen
	if !asked {
		list = defaultListen
	}
	var last error
	for _, text := range list {
		a, err := ma.NewMultiaddr(text)
		if err != nil {
			return fmt.Errorf("%w: listen address %q is not a multiaddr such as /ip4/0.0.0.0/tcp/4001", ErrConfig, text)
		}
		if err := n.listenOn(a); err != nil {
			last = fmt.Errorf("%w on %s: %w", ErrListen, text, err)
			if asked {
				return last
			}
		}
	}
	if len(n.host.Network().ListenAddresses()) == 0 {
		return last
	}
	return nil
}

// listenOn listens on one address. Where the system may choose the port, the one of
// the last time is tried first, so that the addresses others remember stay good.
func (n *Node) listenOn(a ma.Multiaddr) error {
	key := "listen " + a.String()
	if last, err := n.store.Get(n.ctx, spaceSelf, key); err == nil {
		if b, err := ma.NewMultiaddrBytes(last); err == nil && n.host.Network().Listen(b) == nil {
			return nil
		}
	}
	before := n.host.Network().ListenAddresses()
	if err := n.host.Network().Listen(a); err != nil {
		return err
	}
	for _, got := range n.host.Network().ListenAddresses() {
		if !ma.Contains(before, got) && !got.Equal(a) {
			return n.store.Put(n.ctx, spaceSelf, key, got.Bytes())
		}
	}
	return nil
}

// peerKey is the libp2p identity: another key than any device's, tied to devices
// only inside the authenticated hello.
func (n *Node) peerKey(ctx context.Context) (crypto.PrivKey, error) {
	if n.cfg.PeerKey != nil {
		return n.cfg.PeerKey, nil
	}
	const name = "peer"
	b, err := n.store.Get(ctx, spaceSelf, name)
	if err == nil {
		return crypto.UnmarshalPrivateKey(b)
	}
	if !errors.Is(err, storage.ErrNotFound) {
		return nil, fmt.Errorf("read the peer key: %w", err)
	}
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		return nil, err
	}
	if b, err = crypto.MarshalPrivateKey(key); err != nil {
		return nil, err
	}
	return key, n.store.Put(ctx, spaceSelf, name, b)
}

// subnetGater keeps connections within the subnets of this machine's interfaces:
// while the DHT is off, nothing leaves them.
type subnetGater struct{}

// ErrOutside says that an address lies outside the local subnets while the DHT is off.
var ErrOutside = errors.New("the address is outside the local subnets, which nothing leaves while the DHT is off; with DHT community it is dialled")

func local(a ma.Multiaddr) bool {
	ip, err := manet.ToIP(a)
	if err != nil {
		return false
	}
	if ip.IsLoopback() || ip.IsLinkLocalUnicast() {
		return true
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, own := range addrs {
		if subnet, ok := own.(*net.IPNet); ok && subnet.Contains(ip) {
			return true
		}
	}
	return false
}

func (subnetGater) InterceptPeerDial(peer.ID) bool                   { return true }
func (subnetGater) InterceptAddrDial(_ peer.ID, a ma.Multiaddr) bool { return local(a) }
func (subnetGater) InterceptAccept(c network.ConnMultiaddrs) bool    { return local(c.RemoteMultiaddr()) }

func (subnetGater) InterceptSecured(network.Direction, peer.ID, network.ConnMultiaddrs) bool {
	return true
}

func (subnetGater) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) { return true, 0 }

// noNames keeps names in addresses from being looked up: the question would leave
// the subnet before the gater sees where the answer leads.
type noNames struct{}

func (noNames) ResolveDNSAddr(context.Context, peer.ID, ma.Multiaddr, int, int) ([]ma.Multiaddr, error) {
	return nil, ErrOutside
}

func (noNames) ResolveDNSComponent(context.Context, ma.Multiaddr, int) ([]ma.Multiaddr, error) {
	return nil, ErrOutside
}
