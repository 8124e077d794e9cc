package node

import (
	"bufio"
	"context"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	libprotocol "github.com/libp2p/go-libp2p/core/protocol"

	"github.com/p2pchat/p2pchat/protocol"
)

// The stream protocols.
const (
	helloProtocol libprotocol.ID = "/p2pchat/hello/1"
	syncProtocol  libprotocol.ID = "/p2pchat/sync/1"
	joinProtocol  libprotocol.ID = "/p2pchat/join/1"
	keyProtocol   libprotocol.ID = "/p2pchat/key/1"
)

// wire is a stream that speaks frames.
type wire struct {
	stream network.Stream
	in     *bufio.Reader
	out    []byte
	idle   time.Duration // how long one read or write may take
	limit  time.Time     // when all that is being done has to be over; zero is never
}

// by limits how long what comes next may take as a whole: who drips keeps within idle.
func (w *wire) by(most time.Duration) { w.limit = time.Now().Add(most) }

// deadline returns when the next read or write has to be over.
func (w *wire) deadline() time.Time {
	t := time.Now().Add(w.idle)
	if !w.limit.IsZero() && w.limit.Before(t) {
		return w.limit
	}
	return t
}

func newWire(s network.Stream, idle time.Duration) *wire {
	return &wire{stream: s, in: bufio.NewReaderSize(s, 16<<10), idle: idle}
}

// dial opens a stream to a connected peer.
func (n *Node) dial(ctx context.Context, p peer.ID, id libprotocol.ID, idle time.Duration) (*wire, error) {
	s, err := n.host.NewStream(network.WithNoDial(ctx, "p2pchat streams use what is connected"), p, id)
	if err != nil {
		return nil, fmt.Errorf("open %s to %s: %w", id, p, err)
	}
	return newWire(s, idle), nil
}

func (w *wire) peer() peer.ID { return w.stream.Conn().RemotePeer() }

// put queues a frame; flush sends what is queued.
func (w *wire) put(kind protocol.FrameKind, payload any) {
	w.out = protocol.AppendFrame(w.out, kind, payload)
}

func (w *wire) flush() error {
	if err := w.stream.SetWriteDeadline(w.deadline()); err != nil {
		return err
	}
	_, err := w.stream.Write(w.out)
	w.out = w.out[:0]
	return err
}

func (w *wire) send(kind protocol.FrameKind, payload any) error {
	w.put(kind, payload)
	return w.flush()
}

// next reads a frame of any kind.
func (w *wire) next() (protocol.Frame, error) {
	if err := w.stream.SetReadDeadline(w.deadline()); err != nil {
		return protocol.Frame{}, err
	}
	return protocol.ReadFrame(w.in)
}

// expect reads a frame of one kind; a refusal in its place is an error.
func (w *wire) expect(kind protocol.FrameKind, payload any) error {
	f, err := w.next()
	if err != nil {
		return err
	}
	return f.Decode(kind, payload)
}

// end closes the stream where all went well and resets it where not, so that
// nothing lingers on either side.
func (w *wire) end(err error) {
	if err != nil {
		_ = w.stream.Reset()
		return
	}
	_ = w.stream.Close()
}

// handle serves a stream protocol: each stream in its own goroutine that Close
// waits for.
func (n *Node) handle(id libprotocol.ID, idle time.Duration, serve func(ctx context.Context, w *wire) error) {
	n.host.SetStreamHandler(id, func(s network.Stream) {
		w := newWire(s, idle)
		n.spawn(func(ctx context.Context) {
			stop := context.AfterFunc(ctx, func() { _ = s.Reset() })
			defer stop()
			err := serve(ctx, w)
			w.end(err)
			if err != nil {
				n.log.Debug("stream ended", "protocol", id, "peer", w.peer(), "err", err)
			}
		})
		if n.alive() != nil {
			_ = s.Reset()
		}
	})
	n.onClose(func() error { n.host.RemoveStreamHandler(id); return nil })
}

// openStreams serves hello, sync, join and keys, and starts with who is connected.
func (n *Node) openStreams(context.Context) error {
	n.handle(helloProtocol, helloTimeout, n.serveHello)
	n.handle(syncProtocol, syncIdle, n.serveSync)
	n.handle(joinProtocol, joinTimeout, n.serveJoin)
	n.handle(keyProtocol, keyTimeout, n.serveKeys)
	return nil
}
