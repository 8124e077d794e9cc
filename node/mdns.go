package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/discovery/mdns"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"golang.org/x/net/ipv4"
)

// mdnsService is the DNS-SD service name (RFC 6763). It says that p2pchat is here
// and nothing about groups; libp2p picks a random instance name at every start.
const mdnsService = "_p2pchat._udp"

// mdnsNotifee is told of peers on the LAN.
type mdnsNotifee struct{ d *discovery }

func (m mdnsNotifee) HandlePeerFound(info peer.AddrInfo) { m.d.found(info, "mdns") }

// openMDNS starts discovery on the LAN, and anew whenever this machine has other
// addresses: libp2p announces for good what they were when it began.
func (d *discovery) openMDNS() {
	had := interfaceAddrs()
	stop := d.startMDNS()
	d.n.spawn(func(ctx context.Context) {
		defer func() { stop() }()
		for tick := time.NewTicker(addrsEvery); ; {
			select {
			case <-ctx.Done():
				tick.Stop()
				return
			case <-tick.C:
			}
			if have := interfaceAddrs(); len(have) > 0 && !slices.Equal(have, had) {
				had = have
				stop()
				stop = d.startMDNS()
			}
		}
	})
}

// startMDNS starts discovery on the LAN, and returns what ends it. A network without
// multicast is a fact to show, not a reason to fail.
func (d *discovery) startMDNS() (stop func()) {
	err := multicast()
	s := mdns.NewMdnsService(presentHost{d.n.host}, mdnsService, mdnsNotifee{d})
	if err == nil {
		err = s.Start()
	}
	state := "on"
	if err != nil {
		state = fmt.Sprintf("blocked: %v", err)
		d.n.log.Warn("mDNS does not work on this network", "err", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mdns = state
	return func() {
		if err := s.Close(); err != nil {
			d.n.log.Debug("end mDNS", "err", err)
		}
	}
}

func (d *discovery) mdnsState() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mdns
}

// interfaceAddrs returns the addresses of this machine's interfaces, in order.
func interfaceAddrs() []string {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var out []string
	for _, a := range addrs {
		if ip, ok := a.(*net.IPNet); ok && !ip.IP.IsLoopback() {
			out = append(out, a.String())
		}
	}
	slices.Sort(out)
	return out
}

// presentHost is a host that says where it listens now: libp2p's own remembers for a
// minute which addresses the interfaces had.
type presentHost struct{ host.Host }

// Network implements host.Host.
func (h presentHost) Network() network.Network { return presentNetwork{h.Host.Network()} }

type presentNetwork struct{ network.Network }

// InterfaceListenAddresses implements network.Network.
func (n presentNetwork) InterfaceListenAddresses() ([]ma.Multiaddr, error) {
	return manet.ResolveUnspecifiedAddresses(n.ListenAddresses(), nil)
}

var errNoMulticast = errors.New("no network interface can multicast")

// multicast tries what mDNS needs: an interface that lets a datagram out to the mDNS
// group. One is enough, as the others may be a virtual machine's.
func multicast() error {
	ifaces, err := net.Interfaces()
	if err != nil {
		return err
	}
	err = errNoMulticast
	for _, i := range ifaces {
		// A loopback interface leads to nobody, and on some systems multicasts.
		const want = net.FlagUp | net.FlagMulticast
		if i.Flags&(want|net.FlagLoopback) != want {
			continue
		}
		if err = multicastOn(&i); err == nil {
			return nil
		}
		err = fmt.Errorf("%s: %w", i.Name, err)
	}
	return err
}

// multicastOn sends a DNS query header with no questions. It names the interface, as
// libp2p's mDNS does: the system takes one by itself only where a route says which, and
// a cable between two machines has none.
func multicastOn(i *net.Interface) error {
	c, err := net.ListenUDP("udp4", nil)
	if err != nil {
		return err
	}
	err = ipv4.NewPacketConn(c).SetMulticastInterface(i)
	if err == nil {
		_, err = c.WriteTo(make([]byte, 12), &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251), Port: 5353})
	}
	return errors.Join(err, c.Close())
}
