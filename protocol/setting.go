package protocol

import (
	"cmp"
	"slices"

	"github.com/p2pchat/p2pchat/protocol/authority"
)

// Setting numbers, odd ones critical. Text settings are in the sealed part.
const (
	SettingName      = 2
	SettingTopic     = 4
	SettingRules     = 6
	SettingAnnounce  = 1 // 1: only moderators and their seniors speak
	SettingSlowMode  = 3 // seconds between messages of one device
	SettingAdmission = 5 // see AdmissionInvite
	SettingHistory   = 7 // see History; the genesis' where there is none
	SettingRetention = 8 // seconds; 0 is for ever: see [Roster.Retention]
	SettingRate      = 10
)

// How people are admitted: the values of SettingAdmission.
const (
	AdmissionInvite  = 1 // as the invite says
	AdmissionApprove = 2 // a person says yes, whatever the invite says
	AdmissionOpen    = 3 // nobody is asked
)

// restricts returns how much a value of a setting takes from juniors, and whether it
// is a setting that does. Who wants less of it than a senior said has no say: so
// these follow the rule for lifting a ban, and of several the most restrictive holds.
func restricts(number uint16, value uint64) (severity uint64, ok bool) {
	switch number {
	case SettingAnnounce, SettingSlowMode:
		return value, true
	case SettingAdmission:
		return map[uint64]uint64{AdmissionInvite: 1, AdmissionApprove: 2}[value], true
	case SettingHistory:
		return value, true
	}
	return 0, false
}

// Setting returns the event that holds a setting's value.
func (r *Roster) Setting(number uint16) (ID, bool) {
	if _, ok := restricts(number, 0); ok {
		return r.id(r.strictest(number, nil))
	}
	return r.id(r.latest(number))
}

// Value returns the number that a setting says, and whether anybody set it.
func (r *Roster) Value(number uint16) (uint64, bool) {
	id, ok := r.Setting(number)
	if !ok {
		return 0, false
	}
	_, c, _ := r.set.Get(id)
	return c.(*Setting).Value, true
}

// maxPause bounds slow mode in seconds, so that sums of times do not overflow: a year.
const maxPause = 366 * 24 * 3600

// History says what newcomers read. What the genesis closed only a founder opens.
func (r *Roster) History() History {
	first := HistoryAll
	if len(r.set.nodes) > 0 {
		if g, ok := r.set.nodes[0].clear.(*Genesis); ok {
			first = g.History
		}
	}
	i := r.strictest(SettingHistory, nil)
	if i == authority.None || first == HistorySinceJoin && r.set.graph.Acting(i) != Founder {
		return first
	}
	return History(r.valueAt(i))
}

// values returns the effective values of a setting, in the set's order.
func (r *Roster) values(number uint16) []int32 {
	var out []int32
	for _, i := range r.set.kinds[KindSetting] {
		if r.set.nodes[i].clear.(*Setting).Number == number && r.state.Counts(i) {
			out = append(out, i)
		}
	}
	return out
}

// latest picks the event that holds a setting's value: of those that no other value
// of the setting follows, the one by the most senior author, then with the latest
// clock, then with the lowest id. Comparing pairs instead would go in circles: B
// follows A, A is senior to C, C is senior to B.
func (r *Roster) latest(number uint16) int32 {
	g, list := r.set.graph, r.values(number)
	var seen authority.Past // by any value of the setting
	for _, i := range list {
		seen = seen.Union(g.Before(i))
	}
	list = slices.DeleteFunc(list, seen.Has)
	if len(list) == 0 {
		return authority.None
	}
	return slices.MinFunc(list, func(i, j int32) int {
		a, b := r.set.nodes[i].v, r.set.nodes[j].v
		return cmp.Or(cmp.Compare(g.Acting(i), g.Acting(j)), -cmp.Compare(a.Header().HLC, b.Header().HLC), a.id.Compare(b.id))
	})
}

// asked is the moment for which a setting is asked: that of a message.
type asked struct {
	past *Past
	hlc  uint64
}

// includes says whether a setting was made by then: its author had seen it, or by
// what the clocks claim.
func (a *asked) includes(s *Set, i int32) bool {
	return a == nil || a.past.all.Has(i) || s.nodes[i].v.Header().HLC <= a.hlc
}

// strictest returns the value in force of a setting that restricts, for a message or
// now: of those made by then that nobody as senior has replaced, the most
// restrictive, then the lowest id.
func (r *Roster) strictest(number uint16, at *asked) int32 {
	s, list := r.set, r.values(number)
	best, most := authority.None, uint64(0)
	for k, i := range list {
		if !at.includes(s, i) || slices.ContainsFunc(list[k+1:], func(u int32) bool { // what has seen it comes after it
			return s.graph.Sees(u, i) && s.graph.Acting(u) <= s.graph.Acting(i) && at.includes(s, u)
		}) {
			continue
		}
		severity, _ := restricts(number, s.nodes[i].clear.(*Setting).Value)
		if best == authority.None || severity > most || severity == most && s.nodes[i].v.id.Compare(s.nodes[best].v.id) < 0 {
			best, most = i, severity
		}
	}
	return best
}

// mayspeak holds a message to announcement mode and slow mode, by the times that
// messages claim: who claims a wrong one is shown as late, not heard more.
func (r *Roster) mayspeak(v Verified, rank Rank, past *Past, log Log) error {
	if rank <= Moderator || exempt(v.Header().Kind) || len(r.set.kinds[KindSetting]) == 0 {
		return nil
	}
	at := &asked{past, v.Header().HLC}
	if i := r.strictest(SettingAnnounce, at); i != authority.None && r.valueAt(i) != 0 {
		return r.silencedBy(i, 0)
	}
	i := r.strictest(SettingSlowMode, at)
	if i == authority.None || r.valueAt(i) == 0 {
		return nil
	}
	before, ok := log.Before(v)
	if pause := min(r.valueAt(i), maxPause) * 1000; ok && v.Header().HLC < before+pause {
		return r.silencedBy(i, before+pause-v.Header().HLC)
	}
	return nil
}

func (r *Roster) valueAt(i int32) uint64 { return r.set.nodes[i].clear.(*Setting).Value }

func (r *Roster) silencedBy(i int32, wait uint64) error {
	return &SilencedError{By: r.set.nodes[i].v.id, Kind: KindSetting, Wait: wait}
}
