package main

import (
	"testing"
	"time"
)

func TestParseMoment(t *testing.T) {
	zone := time.FixedZone("", 2*60*60)
	now := time.Date(2026, 5, 9, 12, 0, 0, 0, zone)
	for in, want := range map[string]time.Time{
		"2h":                        now.Add(-2 * time.Hour),
		"7d":                        now.Add(-7 * day),
		"2026-05-09 08:30":          time.Date(2026, 5, 9, 8, 30, 0, 0, zone),
		"2026-05-09T08:30:00Z":      time.Date(2026, 5, 9, 8, 30, 0, 0, time.UTC),
		"2026-05-09T08:30:00+01:00": time.Date(2026, 5, 9, 7, 30, 0, 0, time.UTC),
	} {
		if got, err := parseMoment(in, now); err != nil || !got.Equal(want) {
			t.Errorf("parseMoment(%q) = %v, %v; want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "soon", "-2h", "2026-05-09", "2026-05-10 08:30", "2027-01-01T00:00:00Z", "1850-01-01T00:00:00Z", "30000d"} {
		if got, err := parseMoment(in, now); err == nil {
			t.Errorf("parseMoment(%q) = %v", in, got)
		}
	}
}
