package local

import (
	"time"

	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
)

// Holder says who holds the profile.
type Holder struct {
	Verb    string  `json:"verb"` // what it was started to do
	PID     int     `json:"pid"`
	Lasting bool    `json:"lasting"` // it stays until somebody ends it
	Network Network `json:"network"`
}

// Network is how a node meets others. The one who holds the profile decides.
type Network struct {
	Listen    []string `json:"listen"`
	Bootstrap []string `json:"bootstrap"`
	MDNS      bool     `json:"mdns"`
	DHT       string   `json:"dht"` // "off", "community" or "" (community if there is a bootstrap address)
}

// Group is a group the profile is in.
type Group struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Role    string `json:"role"`
	Me      string `json:"me"` // this person's key in the group
	Members int    `json:"members"`
	Online  int    `json:"online"`
	Left    bool   `json:"left,omitempty"`    // this person went; the history is here to read
	Revoked bool   `json:"revoked,omitempty"` // this device was revoked
	// Retention is for how many seconds messages are kept; 0 is for ever.
	Retention int64 `json:"retention,omitempty"`
}

func newGroup(g node.Group) Group {
	return Group{
		ID: g.ID.Text(protocol.GroupPrefix), Name: g.Name, Role: g.Rank.String(),
		Me: g.Me.Text(protocol.PersonPrefix), Members: g.Members, Online: g.Online, Left: g.Left, Revoked: g.Revoked,
		Retention: int64(g.Retention / time.Second),
	}
}

// Person is who a line is from.
type Person struct {
	Name string `json:"name"` // a claim
	Key  string `json:"key"`
}

func newPerson(p node.Person) Person {
	return Person{Name: p.Name, Key: p.Key.Text(protocol.PersonPrefix)}
}

// Message is a line of a group's history. A kind other than "text" is a system
// line. Names and texts are verbatim: who prints them takes care.
type Message struct {
	ID         string    `json:"id"`
	Group      string    `json:"group"`
	Kind       string    `json:"kind"`
	From       Person    `json:"from"`
	Time       time.Time `json:"time"`
	Cursor     uint64    `json:"cursor"`
	Text       string    `json:"text"`
	Unreadable string    `json:"unreadable,omitempty"` // why there is no text

	Expires *time.Time `json:"expires,omitempty"` // when it disappears, or did
	Gone    string     `json:"gone,omitempty"`    // why its text is not kept: "expired", "retention", "size" or "absent"

	Role        string  `json:"role"`                   // of who wrote it, now; none of who is not in the group
	Target      *Person `json:"target,omitempty"`       // whom a system line is about, beside From
	Reason      string  `json:"reason,omitempty"`       // of a system line or of who removed a message
	Undone      bool    `json:"undone,omitempty"`       // it does not count
	Late        bool    `json:"late,omitempty"`         // it came after what should have been after it
	Retracted   bool    `json:"retracted,omitempty"`    // it was removed or taken back
	RetractedBy *Person `json:"retracted_by,omitempty"` // and who did
	Hidden      string  `json:"hidden,omitempty"`       // why others are not shown this message of one's own
	Missing     uint64  `json:"missing,omitempty"`      // how many messages of its writer right before it are not here
	Stored      *int    `json:"stored,omitempty"`       // how many other members are known to have it: see LastMarked
	StoredOf    int     `json:"stored_of,omitempty"`    // of how many
}

func newMessage(m node.Message) *Message {
	out := &Message{
		ID: m.ID.Text(protocol.EventPrefix), Group: m.Group.Text(protocol.GroupPrefix), Kind: m.Kind,
		From: newPerson(m.From), Time: m.Time.UTC(), Cursor: m.Cursor, Text: m.Text, Unreadable: m.Unreadable,
		Role: m.Rank.String(), Target: somebody(m.Target), Reason: m.Reason, Undone: m.Undone, Late: m.Late,
		Retracted: m.Retracted, RetractedBy: somebody(m.RetractedBy), Hidden: m.Hidden, Gone: m.Gone,
	}
	out.Missing, out.StoredOf = m.Missing, m.StoredOf
	if m.StoredOf > 0 {
		out.Stored = &m.Stored
	}
	if !m.Expires.IsZero() {
		at := m.Expires.UTC()
		out.Expires = &at
	}
	return out
}

// System says whether a line is about the group itself: nobody said it.
func (m Message) System() bool {
	switch m.Kind {
	case "created", "joined", "named", "removed", "banned", "unbanned", "muted", "unmuted", "left", "role", "set",
		"revoked", "successor":
		return true
	}
	return false
}

// Member is a person in a group.
type Member struct {
	Person
	Role    string   `json:"role"`
	Devices []string `json:"devices"`
	Online  bool     `json:"online"`
	Me      bool     `json:"me"`
	Blocked bool     `json:"blocked"`
	Muted   bool     `json:"muted"` // for everybody
	// MutedUntil is when this device ends its mute.
	MutedUntil *time.Time `json:"muted_until,omitempty"`
	Forked     bool       `json:"forked,omitempty"` // one of the devices was copied, or lies
	// Verified is "verified"; "new-device" of who was and has another device since;
	// "other-key" of who goes by the name of somebody that was; or nothing.
	Verified string `json:"verified,omitempty"`
	Went     *Act   `json:"went,omitempty"`   // of a former member: by what
	Lifted   bool   `json:"lifted,omitempty"` // of one who was banned: the ban is lifted
}

func newMember(m node.Member) Member {
	out := Member{
		Person: newPerson(m.Person), Role: m.Rank.String(), Devices: []string{},
		Online: m.Online, Me: m.Me, Blocked: m.Blocked, Muted: m.Muted, Forked: m.Forked, Lifted: m.Lifted, Verified: m.Verified,
	}
	if !m.MutedUntil.IsZero() {
		until := m.MutedUntil.UTC()
		out.MutedUntil = &until
	}
	if m.Went != nil {
		went := newAct(*m.Went)
		out.Went = &went
	}
	for _, d := range m.Devices {
		out.Devices = append(out.Devices, d.Text(protocol.DevicePrefix))
	}
	return out
}

// Peer is a node this one is connected to or remembers.
type Peer struct {
	ID        string   `json:"id"`
	Addrs     []string `json:"addrs"`
	Connected bool     `json:"connected"`
	Found     string   `json:"found"`
	Groups    []string `json:"groups"`
	Names     []string `json:"names"`
}

func newPeer(p node.Peer) Peer {
	return Peer{
		ID: p.ID, Addrs: list(p.Addrs), Connected: p.Connected, Found: p.Found,
		Groups: groupIDs(p.Groups), Names: list(p.Names),
	}
}

// Status says how the node is doing.
type Status struct {
	PeerID string        `json:"peer"`
	Listen []string      `json:"listen"`
	MDNS   string        `json:"mdns"`
	DHT    string        `json:"dht"`
	Peers  int           `json:"peers"`
	Holder Holder        `json:"holder"`
	Groups []GroupStatus `json:"groups"`
	// Failing is why the last write to the store failed; none once one succeeded again.
	Failing *apiError `json:"failing,omitempty"`
}

// GroupStatus says how complete a group is here.
type GroupStatus struct {
	Group
	Events   uint64     `json:"events"`
	Forks    []Person   `json:"forks"` // whose device signed two events for one place
	Parked   int        `json:"parked"`
	Renewed  bool       `json:"renewed,omitempty"` // this is another device than it was: the profile was copied, or its store put back
	Doubts   []Member   `json:"doubts,omitempty"`  // who is not, or not any more, the person that was verified
	Kept     Kept       `json:"kept"`              // how much of its messages is kept here
	LastSync *time.Time `json:"last_sync"`         // nil before the first
	// Complete says that nothing was missing at last_sync of what any member had who had
	// been met until then.
	Complete bool      `json:"complete"`
	Missing  []Missing `json:"missing"` // of whom, if anything is known to be
	// WithoutText is of how many messages the text is not here, though it ought to be:
	// whoever sent them keeps less.
	WithoutText uint64    `json:"without_text,omitempty"`
	Contacts    []Contact `json:"contacts"`          // the other members
	Failing     *apiError `json:"failing,omitempty"` // why what comes is not stored, as in Status
}

// Missing is how many of somebody's messages are not here, at least.
type Missing struct {
	Person
	Messages uint64 `json:"messages"`
}

// Contact says whether another member is connected, how, and when they were met last.
type Contact struct {
	Person
	Online   bool       `json:"online"`
	Via      string     `json:"via,omitempty"`      // "lan", "direct" or "relayed"
	Seen     *time.Time `json:"seen,omitempty"`     // when a device of theirs was connected
	Compared *time.Time `json:"compared,omitempty"` // when nothing was missing here that it had
	// Withholds says that they tell of messages that are not here, and do not send them.
	Withholds bool `json:"withholds,omitempty"`
}

// known is a time as it stands in JSON: nil where it is not known.
func known(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func newStatus(s node.Status, h Holder) Status {
	out := Status{
		PeerID: s.PeerID, Listen: list(s.Listen), MDNS: s.MDNS, DHT: s.DHT, Peers: s.Peers,
		Holder: h, Groups: []GroupStatus{}, Failing: toAPI(s.Failing),
	}
	for _, g := range s.Groups {
		out.Groups = append(out.Groups, newGroupStatus(g))
	}
	return out
}

func newGroupStatus(g node.GroupStatus) GroupStatus {
	out := GroupStatus{
		Group: newGroup(g.Group), Events: g.Events, Forks: []Person{}, Parked: g.Parked, Renewed: g.Renewed, Kept: Kept{Limit: g.Kept.Limit, Bytes: g.Kept.Bytes},
		WithoutText: g.WithoutText, LastSync: known(g.LastSync), Complete: g.Complete(), Missing: []Missing{}, Contacts: []Contact{},
		Failing: toAPI(g.Failing),
	}
	for _, m := range g.Doubts {
		out.Doubts = append(out.Doubts, newMember(m))
	}
	for _, p := range g.Forks {
		out.Forks = append(out.Forks, newPerson(p))
	}
	for _, m := range g.Missing {
		out.Missing = append(out.Missing, Missing{newPerson(m.Person), m.Messages})
	}
	for _, c := range g.Contacts {
		out.Contacts = append(out.Contacts, Contact{newPerson(c.Person), c.Online, c.Via, known(c.Seen), known(c.Compared), c.Withholds})
	}
	return out
}

// list keeps an empty list from becoming null.
func list(s []string) []string { return append([]string{}, s...) }

func groupIDs(ids []protocol.ID) []string {
	out := []string{}
	for _, id := range ids {
		out = append(out, id.Text(protocol.GroupPrefix))
	}
	return out
}

// NewGroup asks for a group.
type NewGroup struct {
	Name     string   `json:"name"`
	Consents []string `json:"consents,omitempty"` // of who founds it, too
}

// NewInvite asks for an invitation.
type NewInvite struct {
	Group  string        `json:"group"`
	Role   string        `json:"role"`
	Expiry time.Duration `json:"expiry"` // 0 is the node's default
	Uses   uint32        `json:"uses"`   // 0 is any number

	Approve      bool   `json:"approve"`            // a person has to say yes
	IssuerAdmits bool   `json:"issuer_admits"`      // only devices of who makes it admit
	Question     string `json:"question,omitempty"` // what who joins has to answer
}

// Invite is an invitation.
type Invite struct {
	Link  string `json:"link"`
	Group string `json:"group"`
}

// Join asks to join the group that a link invites to.
type Join struct {
	Link   string        `json:"link"`
	Most   time.Duration `json:"most"`             // how long to look for who admits
	Answer string        `json:"answer,omitempty"` // to the link's question
	NoWait bool          `json:"no_wait"`          // answer as soon as a person has to approve
}

// NewMessage asks to send a text.
type NewMessage struct {
	Group string `json:"group"`
	Text  string `json:"text"`
	// Life is after how long it disappears; 0 is never.
	Life time.Duration `json:"life,omitempty"`
}

// Sent says what became of a text: it is stored, and Peers members have it.
type Sent struct {
	ID    string `json:"id"`
	Group string `json:"group"`
	Peers int    `json:"peers"`
}

// Wait asks to wait for members of a group, or until they have what we have.
type Wait struct {
	Group string        `json:"group"`
	Sync  bool          `json:"sync"` // also until nothing is missing on either side
	All   bool          `json:"all"`  // and however old it is
	Most  time.Duration `json:"most"`
}

// Waited says how many members are there, and whether nothing is missing.
type Waited struct {
	Peers  int  `json:"peers"`
	Synced bool `json:"synced"`
}

// Block asks to hide a person, or to show one again.
type Block struct {
	Group string `json:"group"` // empty: in all groups
	Who   string `json:"who"`
	Undo  bool   `json:"undo"`
}

// frame is a line of a stream of messages: a message, or the cursor with which
// Follow goes on, or the error that ended the stream.
type frame struct {
	Message *Message  `json:"message,omitempty"`
	Cursor  *uint64   `json:"cursor,omitempty"`
	Error   *apiError `json:"error,omitempty"`
}
