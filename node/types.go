package node

import (
	"time"

	"github.com/p2pchat/p2pchat/protocol"
)

// Group describes a group this node is in.
type Group struct {
	ID      protocol.ID
	Name    string
	Rank    protocol.Rank // this person's
	Me      protocol.Key  // this person's identity in the group
	Members int
	Online  int // authenticated members connected now
}

// Message is a line of a group's history: what somebody said, or a system line
// about the group itself.
type Message struct {
	ID     protocol.ID
	Group  protocol.ID
	Kind   string // "text"; "joined", "created", "named", … for system lines; "unknown-N" for kinds of the future
	From   Person
	Time   time.Time // what the author's clock claims
	Cursor uint64    // local arrival order: what Follow resumes after
	Text   string    // verbatim; empty where it cannot be read, see Unreadable
	// Unreadable says why there is no text: its key is not here, or it was erased.
	Unreadable string
}

// Person is who a device's owner is.
type Person struct {
	Key  protocol.Key // the identity's root key
	Name string       // a claim; two people may claim the same
}

// Member is a person in a group's roster.
type Member struct {
	Person
	Rank    protocol.Rank
	Devices []protocol.Key
	Online  bool // one of its devices is connected to this node
	Me      bool
	Blocked bool // hidden on this node only
}

// Peer is a node this one is connected to or remembers.
type Peer struct {
	ID        string   // libp2p peer id
	Addrs     []string // multiaddrs
	Connected bool
	Found     string        // how: "mdns", "dht", "link", "known", "inbound"
	Groups    []protocol.ID // groups in which it proved membership
	Names     []string      // who it is there
}

// Status says how the node is doing.
type Status struct {
	PeerID string
	Listen []string // addresses others can use
	MDNS   string   // "on", "off", or why it does not work
	DHT    string   // "off", "connecting", or "on (N peers, server|client)"
	Peers  int      // connected and authenticated
	Groups []GroupStatus
}

// GroupStatus says how complete a group is here.
type GroupStatus struct {
	Group
	Events   uint64    // stored control events and messages
	Forks    []Person  // whose device signed two events for one place: a copy of it, or dishonest
	Parked   int       // arrived before what they refer to, waiting
	LastSync time.Time // when nothing was missing here that a member had; zero if never
}

// InviteOptions shape an invitation.
type InviteOptions struct {
	Rank   protocol.Rank // what who joins becomes; 0 is protocol.Member
	Expiry time.Duration // 0 is a week
	Uses   uint32        // 0 is any number
}

// SendResult says what became of a message.
type SendResult struct {
	ID protocol.ID
	// Peers is how many members it was handed to at once; 0 means that it is
	// stored and will be delivered when somebody is reachable.
	Peers int
}
