package node

import (
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/discovery/mdns"
)

// mdnsService is the DNS-SD service name (RFC 6763). It says that p2pchat is here
// and nothing about groups; libp2p picks a random instance name at every start.
const mdnsService = "_p2pchat._udp"

// mdnsNotifee is told of peers on the LAN.
type mdnsNotifee struct{ d *discovery }

func (m mdnsNotifee) HandlePeerFound(info peer.AddrInfo) { m.d.found(info, "mdns") }

// openMDNS starts discovery on the LAN. A network without multicast is a fact to
// show, not a reason to fail.
func (d *discovery) openMDNS() {
	if err := multicast(); err != nil {
		d.mdns = fmt.Sprintf("blocked: %v", err)
		d.n.log.Warn("mDNS does not work on this network", "err", err)
		return
	}
	s := mdns.NewMdnsService(d.n.host, mdnsService, mdnsNotifee{d})
	if err := s.Start(); err != nil {
		d.mdns = fmt.Sprintf("blocked: %v", err)
		d.n.log.Warn("mDNS does not work on this network", "err", err)
		return
	}
	d.mdns = "on"
	d.n.onClose(s.Close)
}

var errNoMulticast = errors.New("no network interface can multicast")

// multicast tries what mDNS needs: an interface that multicasts and a way out to
// the mDNS group. The datagram is a DNS query header with no questions.
func multicast() error {
	ifaces, err := net.Interfaces()
	if err != nil {
		return err
	}
	const want = net.FlagUp | net.FlagMulticast
	if !slices.ContainsFunc(ifaces, func(i net.Interface) bool { return i.Flags&want == want }) {
		return errNoMulticast
	}
	c, err := net.Dial("udp4", "224.0.0.251:5353")
	if err != nil {
		return err
	}
	_, err = c.Write(make([]byte, 12))
	return errors.Join(err, c.Close())
}
