//go:build linux

package node_test

import (
	"context"
	"encoding/binary"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	libnetwork "github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	libprotocol "github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/transport"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/libp2p/go-libp2p/p2p/transport/tcpreuse"
	manet "github.com/multiformats/go-multiaddr/net"
)

// meter counts what all hosts of a crowd do. Wire bytes are what is written to TCP,
// after encryption and multiplexing. Copies are the messages inside pubsub frames
// that arrive, first ones and duplicates.
type meter struct {
	wire, gossip, copies atomic.Int64
	turns                atomic.Int64 // answers that were waited for, in syncs that others asked for
}

// reading is a meter at a moment, with the process's CPU time.
type reading struct {
	wire, gossip, copies int64
	cpu                  time.Duration
}

func (m *meter) read() reading {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return reading{m.wire.Load(), m.gossip.Load(), m.copies.Load(), time.Duration(u.Utime.Nano() + u.Stime.Nano())}
}

// threadCPU is what the calling thread has used. Who asks twice has locked it.
func threadCPU() time.Duration {
	const thread = 1 // RUSAGE_THREAD
	var u syscall.Rusage
	_ = syscall.Getrusage(thread, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func (r reading) since(start reading) reading {
	return reading{r.wire - start.wire, r.gossip - start.gossip, r.copies - start.copies, r.cpu - start.cpu}
}

// newBenchHost makes a host as the node does, over TCP on loopback, that a meter
// counts.
func newBenchHost(b *testing.B, m *meter) host.Host {
	b.Helper()
	dial := func(up transport.Upgrader, r libnetwork.ResourceManager, shared *tcpreuse.ConnMgr) (*tcp.TcpTransport, error) {
		return tcp.NewTCPTransport(meteredUpgrader{up, m}, r, shared, tcp.DisableReuseport())
	}
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.UserAgent("p2pchat"),
		libp2p.Security(noise.ID, noise.New), libp2p.Transport(dial), libp2p.DisableRelay(), libp2p.DisableMetrics())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = h.Close() })
	return meteredHost{h, m}
}

// meteredUpgrader sees every TCP connection before it is encrypted.
type meteredUpgrader struct {
	transport.Upgrader
	meter *meter
}

func (u meteredUpgrader) GateMaListener(l manet.Listener) transport.GatedMaListener {
	return u.Upgrader.GateMaListener(meteredListener{l, u.meter})
}

func (u meteredUpgrader) Upgrade(ctx context.Context, t transport.Transport, c manet.Conn, dir libnetwork.Direction, p peer.ID, scope libnetwork.ConnManagementScope) (transport.CapableConn, error) {
	return u.Upgrader.Upgrade(ctx, t, meteredConn{c, u.meter}, dir, p, scope)
}

type meteredListener struct {
	manet.Listener
	meter *meter
}

func (l meteredListener) Accept() (manet.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return meteredConn{c, l.meter}, nil
}

type meteredConn struct {
	manet.Conn
	meter *meter
}

func (c meteredConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.meter.wire.Add(int64(n))
	return n, err
}

// The TCP transport asks a connection for these.

func (c meteredConn) SetKeepAlive(on bool) error {
	return c.Conn.(interface{ SetKeepAlive(bool) error }).SetKeepAlive(on)
}

func (c meteredConn) SetKeepAlivePeriod(d time.Duration) error {
	return c.Conn.(interface{ SetKeepAlivePeriod(time.Duration) error }).SetKeepAlivePeriod(d)
}

func (c meteredConn) SetLinger(sec int) error {
	return c.Conn.(interface{ SetLinger(int) error }).SetLinger(sec)
}

// meteredHost looks into the pubsub streams that others opened to this host.
type meteredHost struct {
	host.Host
	meter *meter
}

func (h meteredHost) watched(id libprotocol.ID, f libnetwork.StreamHandler) libnetwork.StreamHandler {
	if string(id) == "/p2pchat/sync/1" {
		return func(s libnetwork.Stream) { f(&turnStream{Stream: s, meter: h.meter}) }
	}
	if string(id) != "/p2pchat/gossip/1" && !strings.HasPrefix(string(id), "/meshsub/") && !strings.HasPrefix(string(id), "/floodsub/") {
		return f
	}
	return func(s libnetwork.Stream) { f(&meteredStream{Stream: s, meter: h.meter}) }
}

func (h meteredHost) SetStreamHandler(id libprotocol.ID, f libnetwork.StreamHandler) {
	h.Host.SetStreamHandler(id, h.watched(id, f))
}

func (h meteredHost) SetStreamHandlerMatch(id libprotocol.ID, m func(libprotocol.ID) bool, f libnetwork.StreamHandler) {
	h.Host.SetStreamHandlerMatch(id, m, h.watched(id, f))
}

// meteredStream counts the messages in what is read: RPCs with their lengths before
// them, in which field 2 is a message. It keeps no more than one RPC's head.
type meteredStream struct {
	libnetwork.Stream
	meter *meter
	rest  []byte
}

func (s *meteredStream) Read(b []byte) (int, error) {
	n, err := s.Stream.Read(b)
	if n > 0 {
		s.meter.gossip.Add(int64(n))
		s.rest = append(s.rest, b[:n]...)
		for {
			size, head := binary.Uvarint(s.rest)
			if head <= 0 || uint64(len(s.rest)-head) < size {
				break
			}
			s.meter.copies.Add(messagesIn(s.rest[head : head+int(size)]))
			s.rest = s.rest[head+int(size):]
		}
		s.rest = append([]byte(nil), s.rest...)
	}
	return n, err
}

// messagesIn counts the published messages of an RPC.
func messagesIn(rpc []byte) (count int64) {
	for len(rpc) > 0 {
		tag, n := binary.Uvarint(rpc)
		size, m := binary.Uvarint(rpc[max(n, 0):])
		if n <= 0 || m <= 0 || tag&7 != 2 || uint64(len(rpc)-n-m) < size {
			return count
		}
		if tag>>3 == 2 {
			count++
		}
		rpc = rpc[n+m+int(size):]
	}
	return count
}

// turnStream counts how often what is read answers what was written.
type turnStream struct {
	libnetwork.Stream
	meter *meter
	wrote atomic.Bool
}

func (s *turnStream) Read(b []byte) (int, error) {
	n, err := s.Stream.Read(b)
	if n > 0 && s.wrote.Swap(false) {
		s.meter.turns.Add(1)
	}
	return n, err
}

func (s *turnStream) Write(b []byte) (int, error) {
	s.wrote.Store(true)
	return s.Stream.Write(b)
}
