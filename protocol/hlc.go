package protocol

import "time"

// Clock is a hybrid logical clock: never behind what its owner has seen, close to
// real time otherwise. It orders the display; no authority decision reads it.
type Clock struct{ last uint64 }

// Observe takes in a time that was seen, unless it is more than MaxClockSkew
// ahead: a clock that once stood in 2040 must not drag everybody's.
func (c *Clock) Observe(hlc uint64, now time.Time) {
	if hlc <= millis(now.Add(MaxClockSkew)) {
		c.last = max(c.last, hlc)
	}
}

// Next returns the time of a new event: after everything observed, except what the
// clock was wrong about. Where it is put back by more than MaxClockSkew, what was
// written before looks to others as if from a time to come, and what is written from
// here on must not.
func (c *Clock) Next(now time.Time) uint64 {
	if c.last > millis(now.Add(MaxClockSkew)) {
		c.last = 0
	}
	c.last = max(c.last+1, millis(now))
	return c.last
}

func millis(t time.Time) uint64 { return uint64(min(max(t.UnixMilli(), 0), MaxHLC-2)) }

// Time returns what a hybrid time claims, as wall-clock time.
func Time(hlc uint64) time.Time { return time.UnixMilli(int64(min(hlc, MaxHLC))).UTC() }
