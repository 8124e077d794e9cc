package main

import (
	"fmt"
	"time"
)

// moment is a flag that takes a point in time that is over: a span before now, a
// date and time of this place, or RFC 3339.
type moment time.Time

// Set implements pflag.Value.
func (m *moment) Set(text string) error {
	t, err := parseMoment(text, time.Now())
	if err == nil {
		*m = moment(t)
	}
	return err
}

// Type implements pflag.Value: what help shows for the value.
func (m *moment) Type() string { return "time" }

// String implements pflag.Value.
func (m *moment) String() string {
	if t := time.Time(*m); !t.IsZero() {
		return t.Format(time.RFC3339)
	}
	return ""
}

func parseMoment(text string, now time.Time) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t, err = time.ParseInLocation("2006-01-02 15:04", text, now.Location())
	}
	if err != nil {
		var ago time.Duration
		ago, err = parseSpan(text)
		t = now.Add(-ago)
	}
	switch {
	case err != nil:
		return time.Time{}, fmt.Errorf(`%q is not a time like 2h (ago), "2006-01-02 15:04" or 2006-01-02T15:04:05Z`, text)
	case t.After(now):
		return time.Time{}, fmt.Errorf("%q is not over yet", text)
	case t.Before(time.Unix(0, 0)):
		return time.Time{}, fmt.Errorf("%q is too long ago", text)
	}
	return t, nil
}
