package main

import (
	"strings"
	"testing"
	"time"
)

// Who runs out of time while somebody is connected is told to take more of it.
func TestSyncAgainForLonger(t *testing.T) {
	away, behind, same := inStep{}, inStep{Peers: 1}, inStep{Peers: 1, Synced: true}
	for _, c := range []struct {
		done  []inStep
		group string
		all   bool
		most  time.Duration
		want  string
	}{
		{[]inStep{away}, "", false, time.Minute, "p2pchat peers, to see who is connected"},
		{[]inStep{same, away}, "", false, time.Minute, "p2pchat peers, to see who is connected"},
		{[]inStep{away, behind}, "", false, time.Minute, "p2pchat sync --timeout 5m,"},
		{[]inStep{behind}, "'Hiking club'", true, 2 * time.Hour, "p2pchat sync 'Hiking club' --all --timeout 10h,"},
		{[]inStep{behind}, "G", false, time.Second, "p2pchat sync G --timeout 1m,"},
	} {
		if got := nextSync(c.done, c.group, c.all, c.most); !strings.HasPrefix(got, c.want) {
			t.Errorf("%+v: %q, want %q", c, got, c.want)
		}
	}
}
