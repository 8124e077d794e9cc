package node

import (
	"log/slog"
	"time"

	"github.com/ipfs/go-datastore"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"

	"github.com/p2pchat/p2pchat/protocol"
)

// Config says what a node is made of. The zero value works: a new account in
// memory, all interfaces, peers found by mDNS.
type Config struct {
	// Account is whose node this is. Zero: the datastore's own, made on first use. An
	// emptied or another datastore makes another device of the same account.
	Account protocol.Account
	// Name is how this person is called in groups; at most 128 bytes.
	Name string

	// Host is lent: used and not closed. Nil: the node makes one and closes it.
	Host host.Host
	// PeerKey is the libp2p key of a host the node makes. Nil: the datastore's own,
	// made on first use. It is ignored with a lent Host.
	PeerKey crypto.PrivKey
	// Datastore is lent: used and not closed. Nil: memory, gone at Close. What
	// Send reports as stored is as durable as the datastore's Batch and Sync; package
	// storage/disk has one.
	Datastore datastore.Batching
	// StoreKey seals what a datastore must not show who reads the disk: epoch secrets,
	// prekeys, rendezvous secrets, names, addresses. Events are stored as they travel:
	// their texts are sealed, their headers are not. A datastore is opened with the key
	// it was made with. Zero: nothing is sealed; with a datastore on disk that is for
	// programs that seal it themselves.
	StoreKey protocol.Secret

	// Listen holds multiaddrs to listen on. Empty: every interface, a free TCP and
	// UDP port. It is ignored with a lent Host.
	Listen []string
	// Bootstrap holds multiaddrs, each ending in /p2p/ID, of nodes that serve the
	// DHT. Empty: no DHT unless DHT says otherwise.
	Bootstrap []string
	// DHT is "off", "community" (p2pchat's own) or "": community if there is a
	// Bootstrap address. While it is off, nothing leaves the local subnets.
	DHT string
	// DisableMDNS turns discovery by multicast on the LAN off.
	DisableMDNS bool

	// GossipRate is how many messages a second of one device travel by gossip
	// before the rest is left to sync; bursts of four times as many pass. 0 is 5,
	// negative is no limit.
	GossipRate float64

	// Logger receives what the node has to say. Nil is silent.
	Logger *slog.Logger

	clock  func() time.Time // a test's; nil is time.Now
	nearby time.Duration    // a test's limit of everything nearby; 0 is the real ones
}
