package protocol

import (
	"fmt"

	"github.com/p2pchat/p2pchat/protocol/authority"
)

// Kind says what an event is. Odd kinds are critical: who does not know one must
// not act on authority; even ones may be shown as unknown and are kept.
type Kind uint16

// Control kinds, all critical.
const (
	KindGenesis      Kind = 1
	KindGrant        Kind = 3
	KindRemove       Kind = 5
	KindBan          Kind = 7
	KindUnban        Kind = 9
	KindMute         Kind = 11
	KindUnmute       Kind = 13
	KindLeave        Kind = 15
	KindDeviceAdd    Kind = 17
	KindDeviceRevoke Kind = 19
	KindInvite       Kind = 21
	KindInviteRevoke Kind = 23
	KindSetting      Kind = 25
	KindRekey        Kind = 27
	KindSuccessor    Kind = 29
)

// Message kinds.
const (
	KindText       Kind = 64
	KindReply      Kind = 66
	KindReaction   Kind = 68
	KindEdit       Kind = 70
	KindRetract    Kind = 72
	KindAttachment Kind = 74
	KindExpire     Kind = 76
	KindReport     Kind = 78
	KindClose      Kind = 80
)

var kindNames = map[Kind]string{
	KindGenesis: "genesis", KindGrant: "grant", KindRemove: "remove", KindBan: "ban", KindUnban: "unban",
	KindMute: "mute", KindUnmute: "unmute", KindLeave: "leave", KindDeviceAdd: "device.add",
	KindDeviceRevoke: "device.revoke", KindInvite: "invite", KindInviteRevoke: "invite.revoke",
	KindSetting: "setting", KindRekey: "rekey", KindSuccessor: "successor",
	KindText: "text", KindReply: "reply", KindReaction: "reaction", KindEdit: "edit",
	KindRetract: "retract", KindAttachment: "attachment", KindExpire: "expire",
	KindReport: "report", KindClose: "report.close",
}

// String returns the kind's name, or "unknown-N".
func (k Kind) String() string {
	if s, ok := kindNames[k]; ok {
		return s
	}
	return fmt.Sprintf("unknown-%d", uint16(k))
}

// Known says whether this version knows the kind.
func (k Kind) Known() bool { _, ok := kindNames[k]; return ok }

// Critical says whether an implementation that does not know the kind must stop
// issuing authority events.
func (k Kind) Critical() bool { return k%2 == 1 }

// aboutInHeader says whether a message of the kind names in its header what it is
// about: erasing and closing are also done by who cannot open the message.
func (k Kind) aboutInHeader() bool {
	return k == KindRetract || k == KindExpire || k == KindClose
}

// Chain is one of a device's two hash-linked logs.
type Chain uint8

// The chains of a device.
const (
	Control  Chain = 1
	Messages Chain = 2
)

// String returns "control" or "messages".
func (c Chain) String() string {
	switch c {
	case Control:
		return "control"
	case Messages:
		return "messages"
	}
	return fmt.Sprintf("chain-%d", uint8(c))
}

// Rank orders authority: the lower the number, the more senior.
type Rank = authority.Rank

// The ranks.
const (
	Founder   = authority.Founder
	Owner     = authority.Owner
	Admin     = authority.Admin
	Moderator = authority.Moderator
	Greeter   = authority.Greeter
	Member    = authority.Member
	Relay     = authority.Relay
	NoRank    = authority.NoRank // of who is not in the group
)

// ParseRank reads a rank's name.
func ParseRank(s string) (Rank, error) {
	if r, ok := authority.Named(s); ok {
		return r, nil
	}
	return NoRank, fmt.Errorf("unknown role %q: one of owner, admin, moderator, greeter, member", clip(s))
}

// MayIssue returns the most junior rank a kind is allowed at.
func MayIssue(k Kind) Rank {
	switch k {
	case KindGrant, KindInvite, KindInviteRevoke:
		return Greeter
	case KindRemove, KindBan, KindUnban, KindMute, KindUnmute, KindSetting:
		return Moderator
	case KindSuccessor:
		return Owner
	case KindDeviceAdd, KindRekey:
		return Member
	case KindLeave, KindDeviceRevoke:
		return Relay // whoever has a place may give it up
	case KindGenesis:
		return Founder
	}
	return NoRank // what an unknown kind needs is for a newer version to say
}

// ops are the kinds that the authority rule knows.
var ops = map[Kind]authority.Op{
	KindGenesis: authority.Genesis, KindGrant: authority.Grant, KindRemove: authority.Remove, KindBan: authority.Ban,
	KindUnban: authority.Unban, KindMute: authority.Mute, KindUnmute: authority.Unmute, KindLeave: authority.Leave,
	KindDeviceRevoke: authority.Revoke,
}
