package protocol

import "time"

// Bodies of messages do not have to live as long as the group. What is erased keeps its
// header: chains hold, and nothing is missing from anybody's set.

// MinRetention is the shortest retention that is in force, whatever a setting says: a
// mistake of units, or malice, must leave time to read. MaxRetention is the longest; it
// keeps sums of times from overflowing.
const (
	MinRetention = time.Hour
	MaxRetention = 100 * 366 * 24 * time.Hour
)

// Retention returns for how long a group keeps the bodies of messages, and the setting
// that says so; 0 is for ever.
func (r *Roster) Retention() (time.Duration, ID) {
	id, ok := r.Setting(SettingRetention)
	if !ok {
		return 0, ID{}
	}
	_, c, _ := r.set.Get(id)
	value := c.(*Setting).Value
	if value == 0 {
		return 0, ID{}
	}
	value = min(max(value, uint64(MinRetention/time.Second)), uint64(MaxRetention/time.Second))
	return time.Duration(value) * time.Second, id
}

// Retained says whether messages of a kind fall to a group's retention. Reports do not:
// moderators have to find them, however short it is.
func Retained(k Kind) bool { return k != KindReport && k != KindClose }

// MinExpiry and MaxExpiry bound how long a disappearing message lives: expiries are whole
// minutes, and what is for longer than a year is for a group's retention.
const (
	MinExpiry = time.Minute
	MaxExpiry = 366 * 24 * time.Hour
)

// ExpiryOf returns the exp of a message that is written at a time and lives for a while:
// the next whole minute, in Unix seconds, so that it tells less of a habit.
func ExpiryOf(hlc uint64, life time.Duration) uint64 {
	const minute = 60_000
	at := hlc + uint64(life.Milliseconds())
	return (at + minute - 1) / minute * 60
}

// Expired says whether a message's time is over: everybody drops its body then.
func (h *Header) Expired(now time.Time) bool {
	return h.Exp != 0 && int64(min(h.Exp, 1<<62)) <= now.Unix()
}
