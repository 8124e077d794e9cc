package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/local"
)

// Status and doctor say that nothing is stored, as the holder of the profile tells it.
func TestStatusSaysWhyNothingIsStored(t *testing.T) {
	for _, c := range []struct{ failing, status, doctor string }{
		{"null", "", "ok"},
		{
			`{"code":"disk-full","message":"not stored: /s: the disk is full: 3 MiB are free, 16 are needed"}`,
			"\nstore   the last write failed: not stored: /s: the disk is full: 3 MiB are free, 16 are needed; next: df -h, free some space",
			"warning",
		},
		{`{"message":"not stored: broken"}`, "\nstore   the last write failed: not stored: broken; next: p2pchat doctor", "failed"},
	} {
		var s local.Status
		if err := json.Unmarshal([]byte(`{"failing":`+c.failing+`}`), &s); err != nil {
			t.Fatal(err)
		}
		text := statusText(s, true)
		if !strings.Contains(text, c.status) || strings.Contains(text, "\nstore") != (c.status != "") {
			t.Errorf("%s: status says %q", c.failing, text)
		}
		a := &app{home: t.TempDir()}
		if err := os.Mkdir(filepath.Join(a.home, "store"), 0o700); err != nil {
			t.Fatal(err)
		}
		if f := a.checkUse(s); f.State != c.doctor {
			t.Errorf("%s: doctor says %+v", c.failing, f)
		}
	}
}

// Status says who keeps from this device what they tell of.
func TestStatusSaysWhoWithholds(t *testing.T) {
	var g local.GroupStatus
	err := json.Unmarshal([]byte(`{"name":"club","role":"member","members":3,"complete":true,"last_sync":"2026-11-30T20:00:00Z",
		"contacts":[{"name":"Bo","key":"b"},{"name":"Mia","key":"m","withholds":true}]}`), &g)
	if err != nil {
		t.Fatal(err)
	}
	text := synced(g)
	if !strings.HasPrefix(text, "complete as of ") || !strings.Contains(text, "Mia") || strings.Contains(text, "Bo") {
		t.Errorf("status says %q", text)
	}
}

// Status says that texts are missing, and does not call that complete.
func TestStatusSaysThatTextsAreMissing(t *testing.T) {
	var g local.GroupStatus
	err := json.Unmarshal([]byte(`{"name":"club","role":"member","members":2,"without_text":23581,"last_sync":"2026-11-30T20:00:00Z"}`), &g)
	if err != nil {
		t.Fatal(err)
	}
	if text := synced(g); !strings.Contains(text, "the text of 23581 messages is not here") || strings.Contains(text, "complete") {
		t.Errorf("status says %q", text)
	}
}
