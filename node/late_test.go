package node

import (
	"testing"
	"time"
)

// Times of lines are minutes: what they claim, and when they came.
func TestWhatIsLate(t *testing.T) {
	at := func(minute int) time.Time { return time.Unix(int64(minute)*60, 0) }
	for _, c := range []struct {
		name  string
		lines [][2]int // in display order: said, came
		late  []int
	}{
		{"as they were said", [][2]int{{1, 1}, {5, 5}, {30, 30}}, nil},
		{"a history fetched at once, in any order", [][2]int{{1, 102}, {5, 101}, {60, 100}}, nil},
		{"written now, claims an hour ago", [][2]int{{1, 61}, {2, 2}, {60, 60}}, nil},
		{"written later, claims an hour before what was read", [][2]int{{1, 70}, {2, 2}, {60, 60}}, []int{0}},
		{"a clock nine minutes slow", [][2]int{{51, 70}, {60, 60}}, nil},
		{"a clock ten minutes slow", [][2]int{{50, 70}, {60, 60}}, []int{0}},
		{"two of them", [][2]int{{1, 70}, {2, 71}, {60, 60}, {72, 72}}, []int{0, 1}},
		{"compared with what came first", [][2]int{{1, 70}, {60, 60}, {80, 80}}, []int{0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			lines := make([]Message, len(c.lines))
			for i, l := range c.lines {
				k := len(lines) - 1 - i // the newest first
				lines[k].Time, lines[k].Cursor = at(l[0]), uint64(l[1])
			}
			markLate(lines, func(m *Message) moment { return moment{m.Time, at(int(m.Cursor))} })
			want := make(map[int]bool)
			for _, i := range c.late {
				want[i] = true
			}
			for i := range c.lines {
				if got := lines[len(lines)-1-i].Late; got != want[i] {
					t.Errorf("line %d: late is %v", i, got)
				}
			}
		})
	}
}

func TestFollowersSeeWhatIsLate(t *testing.T) {
	at := func(minute int) time.Time { return time.Unix(int64(minute)*60, 0) }
	var seen newest
	for _, l := range []struct {
		said, came int
		late       bool
	}{{1, 1, false}, {60, 60, false}, {2, 61, false}, {3, 70, true}, {71, 71, false}, {65, 80, false}} {
		if got := seen.late(moment{at(l.said), at(l.came)}); got != l.late {
			t.Errorf("said at %d, came at %d: late is %v", l.said, l.came, got)
		}
	}
	if (moment{at(1), time.Time{}}).late(moment{at(60), at(60)}) {
		t.Error("late, though it is not known when it came")
	}
}
