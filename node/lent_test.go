package node_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/namespace"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/p2pchat/p2pchat/node"

	"github.com/p2pchat/p2pchat/storage"
)

// A lent host and datastore are used and given back as they were: open, without the
// node's protocols, and the next node on them goes on where the first ended, over
// the connections that stand.
func TestLentHostAndDatastoreAreGivenBack(t *testing.T) {
	lent := newOutsider(t).host
	mine := lent.Mux().Protocols()
	ds := storage.NewMemory()
	if err := ds.Put(t.Context(), datastore.NewKey("/shop/1"), []byte("of the embedding program")); err != nil {
		t.Fatal(err)
	}
	ana := start(t, "Ana", func(cfg *node.Config) {
		cfg.Host, cfg.Datastore = lent, namespace.Wrap(ds, datastore.NewKey("/chat"))
		cfg.DHT = node.DHTCommunity
	})
	bo := start(t, "Bo")
	club := ana.create("club")
	bo.join(ana.invite(club, node.InviteOptions{}))
	chatOn(ana, bo, club)

	ana.sleep()
	for end := time.Now().Add(patience); len(streams(lent, mine)) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("streams of %q are left", streams(lent, mine))
		}
	}
	if left := lent.Mux().Protocols(); !same(left, mine) {
		t.Errorf("the host still speaks %q, not %q", left, mine)
	}
	if len(lent.Network().ListenAddresses()) == 0 || len(lent.Network().Peers()) != 1 {
		t.Errorf("the host listens on %d addresses and has %d peers", len(lent.Network().ListenAddresses()), len(lent.Network().Peers()))
	}
	if v, err := ds.Get(t.Context(), datastore.NewKey("/shop/1")); err != nil || !bytes.Equal(v, []byte("of the embedding program")) {
		t.Errorf("the datastore answers %q, %v", v, err)
	}
	// Nobody of the old node listens any more: connections come and go unheard.
	other := newOutsider(t)
	if err := other.host.Connect(ctx(t), peer.AddrInfo{ID: lent.ID(), Addrs: lent.Addrs()}); err != nil {
		t.Fatal(err)
	}
	bo.send(club, "Ana is away")
	ana.wake()
	ana.await(club, 3)
	if lent.Network().Connectedness(bo.Host().ID()) != network.Connected {
		t.Error("the connection to Bo did not stand")
	}
	chatOn(ana, bo, club)
}

// streams returns what a host's open streams speak, but for its own protocols.
func streams(h host.Host, own []protocol.ID) (out []protocol.ID) {
	for _, c := range h.Network().Conns() {
		for _, s := range c.GetStreams() {
			if id := s.Protocol(); id != "" && !slices.Contains(own, id) {
				out = append(out, id)
			}
		}
	}
	return out
}

func same[T ~string](a, b []T) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}
