package node

import (
	"time"

	"github.com/p2pchat/p2pchat/protocol"
)

// Act is something that was done to a group: what a command answers with, and a line
// of the audit.
type Act struct {
	ID   protocol.ID
	Kind string // "grant", "remove", "ban", "unban", "mute", "unmute", "leave", "device.add", "device.revoke", "invite", "invite.revoke", "setting", "rekey", "successor", "genesis"; "retract", "report", "report.close"
	Time time.Time
	By   Person
	// Right is the rank under which it was done.
	Right  protocol.Rank
	Target Person        // zero where it concerns nobody else
	Rank   protocol.Rank // of a grant or an invite; NoRank otherwise
	Admits bool          // a grant by which somebody came in
	Number uint16        // of a setting
	Value  uint64        // of a setting
	Text   string        // its sealed text: a reason, a name; empty where it cannot be read
	// Undone is the act that this one fell to, nil where it counts.
	Undone *Act
	// Unsealed marks a leave that no senior has followed with a remove: what else the
	// one who left does with the rank they had still counts.
	Unsealed bool
}

// ExpelOptions shape an expulsion.
type ExpelOptions struct {
	// Kick removes without banning: whoever may admit can let them in again. A ban
	// needs somebody as senior, or an unban first.
	Kick bool
	// Since undoes what they did after that time, as far as this node has seen it
	// and by the times that their events claim: for a stolen key. Zero undoes
	// nothing of what was seen. It needs the role admin or a more senior one.
	Since  time.Time
	Reason string
	// Try says whether it may be done, and does nothing: before a person is asked.
	Try bool
}

// MuteOptions shape a mute.
type MuteOptions struct {
	For    time.Duration // this node unmutes then; 0 is until somebody unmutes
	Reason string
}

// Settings are what a group has agreed on. Nil fields are left as they are by
// [Node.Set].
type Settings struct {
	Name      *string
	Topic     *string
	Rules     *string
	Announce  *bool // only moderators and their seniors speak
	SlowMode  *time.Duration
	Admission *string // "invite": as the invite says; "approve": a person says yes; "open": nobody is asked
	History   *string // "all": newcomers read everything; "since-join": what is sent after they join
	// Retention is for how long the bodies of messages are kept; 0 is for ever. What is
	// older when it is set is hidden at once, and erased a week later.
	Retention *time.Duration
}

// InviteInfo is an invitation as its group knows it.
type InviteInfo struct {
	ID      protocol.ID
	By      Person
	Rank    protocol.Rank
	Made    time.Time
	Expiry  time.Time // zero is never
	Uses    uint32    // 0 is any number
	Used    int
	Approve bool
	// IssuerAdmits says that only who made it admits by it.
	IssuerAdmits bool
	Question     string // what who asks has to answer; empty where it cannot be read
	State        string // "open", "expired", "used up", "revoked", "undone"
}

// Over says that more were admitted by an invitation than it allows: on two sides of a
// split, neither of which knew of the other.
func (i InviteInfo) Over() bool { return i.Uses > 0 && i.Used > int(i.Uses) }

// Request is somebody who asked this node to be admitted and waits for a person's
// answer.
type Request struct {
	Person       // the key they will have; the name they claim
	Invite       protocol.ID
	Rank         protocol.Rank
	Asked        time.Time
	State        string // "waiting", "approved", "denied"
	Question     string // that the invitation asks
	Answer       string // to it: a stranger's words
	BannedBefore bool   // they are banned: approving needs an unban first
}

// Report is what a member told the moderators about a message.
type Report struct {
	ID      protocol.ID // of the report
	By      Person
	Time    time.Time
	Reason  string
	Message protocol.ID // what it is about
	Author  Person
	Said    string // the text, where this node can read it
	// Verified says that the reported event came with the report, or is here, and
	// its author's signature holds.
	Verified bool
	State    string // "open", "resolved", "dismissed"; "closed" where which of them is sealed to others
	ClosedBy Person
	Note     string // of who closed it
	// Unreadable says why there is no content: it is sealed to others.
	Unreadable string
}

// Successor is a proposal to move to another group.
type Successor struct {
	ID    protocol.ID // of the proposal
	Group protocol.ID // the new group
	By    Person
	Time  time.Time
	Link  string // an invitation to it; empty where it cannot be read
	Here  bool   // this node is in it
}
