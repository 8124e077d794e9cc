package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/local"
)

// A clock that is behind what it said when the store was written is wrong now, or was.
func TestDoctorDoubtsTheClock(t *testing.T) {
	home := t.TempDir()
	if err := os.Mkdir(filepath.Join(home, "store"), 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(home, "store", "000001.log")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	written := time.Date(2027, 5, 1, 12, 0, 0, 0, time.UTC)
	if err := os.Chtimes(file, written, written); err != nil {
		t.Fatal(err)
	}
	a := &app{home: home}
	for _, c := range []struct {
		now  time.Time
		want string
		says string
	}{
		{written.Add(time.Hour), "ok", "2027"},
		{written.Add(-time.Minute), "ok", "2027"},
		{written.Add(-24 * time.Hour), "warning", "the store was written on"},
		{written.Add(24 * 365 * time.Hour), "ok", "2028"},
	} {
		if f := a.checkClock(c.now); f.State != c.want || !strings.Contains(f.Text, c.says) {
			t.Errorf("at %s: %+v", c.now, f)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if f := a.checkClock(time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)); f.State != "warning" {
		t.Errorf("in 1970: %+v", f)
	}
}

// Where mDNS is blocked, doctor says what to do; where it was turned off, nothing is wrong.
func TestDoctorSaysThatMDNSIsBlocked(t *testing.T) {
	for said, want := range map[string]finding{
		"on":  {State: "ok", Text: "on"},
		"off": {State: "ok", Text: "off"},
		"blocked: eth0: operation not permitted": {
			State: "warning", Text: "eth0: operation not permitted", Next: "224.0.0.251 port 5353",
		},
	} {
		f := checkMDNS(local.Status{MDNS: said})
		if f.State != want.State || !strings.HasSuffix(f.Text, want.Text) || !strings.Contains(f.Next, want.Next) {
			t.Errorf("of %q doctor says %+v", said, f)
		}
	}
}
