package authority

import "fmt"

// Rank orders authority: the lower the number, the more senior.
type Rank uint16

// The ranks.
const (
	Founder   Rank = 0
	Owner     Rank = 50
	Admin     Rank = 100
	Moderator Rank = 300
	Greeter   Rank = 400
	Member    Rank = 1000
	Relay     Rank = 5000
	// NoRank is what somebody has who is not in the group.
	NoRank Rank = 1<<16 - 1
)

var rankNames = map[Rank]string{
	Founder: "founder", Owner: "owner", Admin: "admin", Moderator: "moderator",
	Greeter: "greeter", Member: "member", Relay: "relay", NoRank: "none",
}

// String returns the rank's name, or "rank N".
func (r Rank) String() string {
	if s, ok := rankNames[r]; ok {
		return s
	}
	return fmt.Sprintf("rank %d", uint16(r))
}

// Named returns the rank that a name stands for.
func Named(name string) (Rank, bool) {
	for r, s := range rankNames {
		if s == name && r != NoRank {
			return r, true
		}
	}
	return NoRank, false
}

// Op is what an event does, as far as authority goes.
type Op uint8

// The acts that the rule knows. Whatever else there is (invites, epochs, settings)
// is Other: it counts or does not, and changes nobody's standing.
const (
	Other Op = iota
	Genesis
	Grant
	Remove
	Ban
	Unban
	Mute
	Unmute
	Leave
	Revoke // of a device, by its identity's root
)

var opNames = [...]string{"other", "genesis", "grant", "remove", "ban", "unban", "mute", "unmute", "leave", "device.revoke"}

// String returns the act's name.
func (o Op) String() string { return opNames[o] }

// limit is the most junior rank that an act is allowed at. Who may do Other things
// is for the caller to say.
func (o Op) limit() Rank {
	switch o {
	case Grant:
		return Greeter
	case Remove, Ban, Unban, Mute, Unmute:
		return Moderator
	case Leave, Revoke:
		return Relay
	}
	return NoRank
}

// targets says whether an act is aimed at another identity.
func (o Op) targets() bool { return o >= Grant && o <= Unmute }

// denies says whether an act takes somebody's place in the group.
func (o Op) denies() bool { return o == Remove || o == Ban }
