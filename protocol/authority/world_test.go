package authority_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/p2pchat/p2pchat/internal/sim"
	"github.com/p2pchat/p2pchat/protocol/authority"
)

func world(t testing.TB, text string) *authority.World {
	t.Helper()
	var w authority.World
	if err := json.Unmarshal([]byte(text), &w); err != nil {
		t.Fatal(err)
	}
	return &w
}

// TestNoWorld: what is no world is told apart from what is invalid in one.
func TestNoWorld(t *testing.T) {
	const genesis = `{"id": "G", "kind": "genesis", "by": "ana"}`
	for want, text := range map[string]string{
		`event "A": unknown kind "vote"`:          genesis + `, {"id": "A", "kind": "vote", "by": "ana"}`,
		`event "": its id is empty or used twice`: genesis + `, {"kind": "leave", "by": "ana"}`,
		`event "G": its id is empty or used`:      genesis + `, {"id": "G", "kind": "leave", "by": "ana"}`,
		`event "H": a second genesis, besides`:    genesis + `, {"id": "H", "kind": "genesis", "by": "ana"}`,
	} {
		if _, err := world(t, `{"founders": ["ana"], "events": [`+text+`]}`).Judge(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %s, got: %v", want, err)
		}
	}
}

// TestOddWorlds: what cites what is not there, or itself, is invalid, and harms nobody.
func TestOddWorlds(t *testing.T) {
	j, err := world(t, `{"founders": ["ana"], "events": [
		{"id": "C", "kind": "grant", "by": "ana", "auth": "G", "refs": ["D"], "target": "cy", "rank": 100},
		{"id": "D", "kind": "grant", "by": "ana", "auth": "G", "refs": ["C"], "target": "di", "rank": 100},
		{"id": "E", "kind": "grant", "by": "ana", "auth": "G", "refs": ["E", "G"], "target": "eli", "rank": 100},
		{"id": "F", "kind": "grant", "by": "ana", "auth": "G", "refs": ["G", "nowhere"], "target": "fay", "rank": 100},
		{"id": "H", "kind": "ban", "by": "ana", "auth": "G", "refs": ["G"]},
		{"id": "I", "kind": "device.revoke", "by": "ana", "auth": "G", "refs": ["G"]},
		{"id": "J", "kind": "grant", "by": "ana", "refs": ["G"], "target": "gus", "rank": 100},
		{"id": "K", "kind": "ban", "by": "ana", "auth": "G", "refs": ["G", "G"], "target": "gus", "cut": ["a message"]},
		{"id": "G", "kind": "genesis", "by": "ana"}]}`).Judge()
	if err != nil {
		t.Fatal(err)
	}
	for id, v := range j.Events {
		if good := id == "G" || id == "K"; good != (v == authority.Effective) || !good && v != authority.Invalid {
			t.Errorf("%s is %s", id, v)
		}
	}
	if len(j.Roster) != 1 || j.Roster["ana"] != authority.Founder {
		t.Errorf("the roster is %v", j.Roster)
	}
	if j, err := world(t, `{"founders": ["ana"], "events": [{"id": "G", "kind": "genesis", "by": "eve"}]}`).Judge(); err != nil || j.Events["G"] != authority.Invalid {
		t.Errorf("a genesis by a stranger: %v, %v", j, err)
	}
}

// FuzzWorld: whatever is read as a world gets an answer, the same in another order, and
// none that has more in it than the world.
func FuzzWorld(f *testing.F) {
	files, err := filepath.Glob("../testdata/scenarios/*.txt")
	if err != nil || len(files) == 0 {
		f.Fatal("no scenarios to begin with: ", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		story, err := sim.ParseStory(string(text))
		if err != nil {
			f.Fatal(err)
		}
		b, err := json.Marshal(story.World.Named())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var w authority.World
		if json.Unmarshal(b, &w) != nil {
			return
		}
		j, err := w.Judge()
		if err != nil {
			return
		}
		if len(j.Events) != len(w.Events) || len(j.Roster) > len(w.Events)+len(w.Founders) {
			t.Errorf("%d events, %d judged, %d people", len(w.Events), len(j.Events), len(j.Roster))
		}
		slices.Reverse(w.Events)
		if again, err := w.Judge(); err != nil || !reflect.DeepEqual(j, again) {
			t.Errorf("in another order: %v, %v, %v", j, again, err)
		}
	})
}
