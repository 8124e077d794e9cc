package node

import (
	"testing"
	"time"

	"github.com/p2pchat/p2pchat/protocol"
)

func TestWhichTimeIsBelieved(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	days := func(n float64) time.Time { return start.Add(time.Duration(n * 24 * float64(time.Hour))) }
	type step struct {
		clock, want time.Time
		confirmed   bool // somebody wrote just now
	}
	for name, steps := range map[string][]step{
		"time goes by":                   {{days(1), days(1), false}, {days(20), days(20), false}, {days(49), days(49), false}},
		"away for long, nobody about":    {{days(60), start, false}, {days(60.5), start, false}, {days(61), days(61), false}},
		"away for long, somebody writes": {{days(60), start, false}, {days(60.1), days(60.1), true}},
		"ten years off, and set right":   {{days(3650), start, false}, {days(3650.9), start, false}, {days(1), days(1), false}},
		"ten years off, again and again": {{days(3650), start, false}, {days(1), days(1), false}, {days(3650), days(1), false}, {days(3650.5), days(1), false}},
		"set back":                       {{days(-400), days(-400), false}, {days(1), days(1), false}},
		"it leaps ever further":          {{days(100), start, false}, {days(200), start, false}, {days(300), start, false}},
	} {
		var s steady
		s.tick(start)
		for i, st := range steps {
			if st.confirmed {
				s.confirm(unixMilli(st.clock), st.clock)
			}
			if got := s.tick(st.clock); !got.Equal(st.want) {
				t.Errorf("%s: step %d: %v is believed, not %v", name, i, got, st.want)
			}
		}
	}
	var s steady
	s.tick(start)
	s.tick(days(100))
	s.confirm(unixMilli(days(100).Add(-protocol.MaxClockSkew-time.Second)), days(100))
	if got := s.tick(days(100)); !got.Equal(start) {
		t.Errorf("what was written longer ago confirms the clock: %v", got)
	}
}
