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
	Online  int  // authenticated members connected now
	Left    bool // this person went; the history is here to read
	Revoked bool // this device was revoked; what it holds is here to read
	// Retention is for how long the bodies of messages are kept; 0 is for ever.
	Retention time.Duration
}

// Message is a line of a group's history: what somebody said, or a system line
// about the group itself.
type Message struct {
	ID    protocol.ID
	Group protocol.ID
	// Kind is "text", or of a system line "created", "named", "joined", "left",
	// "removed", "banned", "unbanned", "muted", "unmuted", "role", "set", "revoked" or
	// "successor"; "unknown-N" for kinds of the future.
	Kind   string
	From   Person
	Time   time.Time // what the author's clock claims
	Cursor uint64    // local arrival order: what Follow resumes after
	// Text is verbatim, and empty where it cannot be read: see Unreadable. Of a system
	// line it is what was set: "announcement on", "slow-mode 10s", a role, a name.
	Text   string
	Reason string        // of a system line: why, as its author says
	Target Person        // of a system line: whom it is about
	Rank   protocol.Rank // of who wrote it, now; NoRank of who is not in the group
	// Unreadable says why there is no text: its key is not here, or it was erased.
	Unreadable string
	// Expires is when the message disappears or did; zero of one that does not.
	Expires time.Time
	// Gone says why the body is not kept: GoneExpired, GoneRetention, GoneSize, GoneAbsent; or
	// nothing.
	Gone string
	// Hidden says why others do not see this message of one's own.
	Hidden string
	// Undone marks the line of an act that does not count: see [Node.Audit].
	Undone bool
	// Missing is how many messages right before this one, of the same device, are not
	// here. Only [Node.Last] fills it in: while lines arrive, the gaps close.
	Missing uint64
	// Stored is how many other members have this message of one's own, of StoredOf: see
	// [Node.MarkStored].
	Stored, StoredOf int
	// Late marks a line that came long after what is shown behind it: it may have
	// been written now with a time of the past.
	Late bool
	// Retracted marks a message that was taken back.
	Retracted   bool
	RetractedBy Person
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
	Muted   bool
	// MutedUntil is when this node ends its mute; zero where it does not.
	MutedUntil time.Time
	Forked     bool // one of its devices signed two events for one place: a copy of it, or dishonest
	// Verified is Unverified, Verified, NewDevice or OtherKey: see [Node.Verify].
	Verified string
	Went     *Act // of a former member: how they went
	Lifted   bool // of a former member who was banned: no ban stands in the way of an invitation
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
	// Failing is why the last write to the datastore failed, such as a full disk: what
	// comes is not stored while that is so. It is nil once something was written again.
	Failing error
}

// GroupStatus says how complete a group is here. Nobody knows of what is with those alone
// who were not met, so complete is only what everybody had who was.
type GroupStatus struct {
	Group
	// Missing says of whose devices messages are known of that are not here.
	Missing  []Missing
	Contacts []Contact // the other members, those online first
	Events   uint64    // stored control events and messages
	Forks    []Person  // whose device signed two events for one place: a copy of it, or dishonest
	Parked   int       // arrived before what they refer to, waiting
	Renewed  bool      // this node is another device here than it was: its profile was copied, or its store put back
	// WithoutText is of how many messages only an erased copy is here, though nothing says
	// that they should be erased: whoever sent them keeps less. As far as is known.
	WithoutText uint64
	Doubts      []Member  // who is not, or not any more, the person that was verified
	Kept        Kept      // how much of its messages is kept here
	LastSync    time.Time // when nothing was missing here that a member had; zero if never
	Failing     error     // as in Status: what came since LastSync may not be stored
}

// Complete says whether all is here that was known of at LastSync.
func (s GroupStatus) Complete() bool {
	return len(s.Missing) == 0 && s.Parked == 0 && s.WithoutText == 0 && !s.LastSync.IsZero()
}

// Missing is how many of somebody's messages are not here, at least: later ones are.
type Missing struct {
	Person
	Messages uint64
}

// Contact says when another member was met. A time is zero where it never was, or is
// not remembered.
type Contact struct {
	Person
	Online   bool
	Via      string    // how, of who is online: ViaLAN, ViaDirect or ViaRelay
	Seen     time.Time // when a device of theirs was last connected
	Compared time.Time // when nothing was missing here that it had
	// Withholds says that they tell of messages that are not here, and do not send them
	// when they are asked. Complete passes over them.
	Withholds bool
}

// InviteOptions shape an invitation.
type InviteOptions struct {
	Rank   protocol.Rank // what who joins becomes; 0 is protocol.Member
	Expiry time.Duration // 0 is a week
	Uses   uint32        // 0 is any number
	// Question is what everybody who asks has to answer, at most 200 bytes on one line.
	// The answer is for the person who approves.
	Question string
	// Approve has a person say yes to everybody who asks.
	Approve bool
	// IssuerAdmits has only who invites admit: Uses is exact then, and nobody joins
	// while they are away.
	IssuerAdmits bool
}

// SendResult says what became of a message.
type SendResult struct {
	ID protocol.ID
	// Peers is how many members it was handed to at once; 0 means that it is
	// stored and will be delivered when somebody is reachable.
	Peers int
}
