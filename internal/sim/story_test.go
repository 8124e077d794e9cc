package sim

import (
	"strings"
	"testing"
)

// TestStoryErrors: who writes a story is told what is wrong with it.
func TestStoryErrors(t *testing.T) {
	const start = "founders: ana\nG -> A\nA: ana grants bo admin\n"
	for want, text := range map[string]string{
		"no founders":                       "expect:\n",
		"nothing is expected":               start,
		"line 4: \"what\" is neither":       start + "what\n",
		"line 4: A is told twice":           start + "A: ana grants bo admin\n",
		"an arrow to B, which is not told":  start + "A -> B\nexpect:\n",
		"B: no arrow leads to it":           start + "B: bo leaves\nexpect:\n",
		"the arrows go in a circle":         start + "A -> B -> C -> B\nB: bo leaves\nC: bo leaves\nexpect:\n",
		"an arrow from or to nothing":       start + "A -> -> B\n",
		"no arrow in":                       start + "A -> B | C\n",
		"bo dances tango: what is that?":    start + "A -> B\nB: bo dances tango\nexpect:\n",
		"who does what?":                    start + "B: bo\n",
		"[\"king\"] is no rank":             start + "A -> B\nB: ana grants cy king\nexpect:\n",
		"eve has no grant in its past":      start + "A -> B\nB: eve leaves\nexpect:\n",
		"under C, which is not told before": start + "A -> B\nB: bo leaves under C\nexpect:\n",
		"a cut at C, which is not told":     start + "A -> B\nB: ana bans bo cut C\nexpect:\n",
		"votes: not among":                  start + "expect:\nvotes: A\n",
		"C or what undid it is not there":   start + "expect:\nundone: C because A\n",
		"expect:: C is not there":           start + "expect:\ninvalid: C\n",
		"A is there twice":                  start + "expect:\nundone: A because B, A\n",
		"having seen C:: C is not told":     start + "expect, having seen C:\n",
	} {
		if _, err := ParseStory(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got: %v\n%s", want, err, text)
		}
	}
}

// TestStoryIsChecked: an expectation that does not hold is told.
func TestStoryIsChecked(t *testing.T) {
	for want, expect := range map[string]string{
		"B is effective, not undone":               "undone: B\n",
		"A is effective, not invalid":              "invalid: A\nroster: ana founder\n",
		`the roster is ["ana founder"], not`:       "roster: ana founder, bo admin\n",
		"not gone because of A":                    "gone: bo because A\n",
		`bo is muted by "", not "B"`:               "muted: bo because B\n",
		"events undone: m1":                        "undone: m1\n",
		"m1 is undone because of B, not of A":      "hidden: m1 because A\n",
		"m1 is undone, not effective":              "roster: ana founder\n",
		"messages are hidden, events undone: B":    "hidden: B\n",
		`the roster is ["ana founder"], not ["bo`:  "roster: bo admin\n",
		"ana is a founder, ended by , not gone be": "gone: ana because B\n",
	} {
		s, err := ParseStory("founders: ana\nG -> A -> B | A -> m1\nA: ana grants bo admin\nB: ana bans bo\nm1: bo says\nexpect:\n" + expect)
		if err != nil {
			t.Fatal(err)
		}
		d, err := s.World.Deliver(s.Expects[0].Acts, func(int) bool { return false })
		if err != nil {
			t.Fatal(err)
		}
		if wrong := strings.Join(s.Expects[0].Check(d), "\n"); !strings.Contains(wrong, want) {
			t.Errorf("%s: want %q, got:\n%s", expect, want, wrong)
		}
	}
}

// TestRandomWorldsAreWorthIt counts what happens in them: a property says nothing about
// what never does.
func TestRandomWorldsAreWorthIt(t *testing.T) {
	const worlds = 2000
	seen := map[string]int{}
	for seed := range uint64(worlds) {
		w := Random(Seeded(seed))
		if len(w.Acts) > Acts {
			t.Fatalf("seed %d has %d acts", seed, len(w.Acts))
		}
		d, err := w.Deliver(w.Order(Seeded(seed)), func(int) bool { return false })
		if err != nil {
			t.Fatal(err)
		}
		for what, is := range happened(w, d) {
			if is {
				seen[what]++
			}
		}
	}
	for _, what := range []string{
		"an act undone by a remove", "an act undone by a ban", "an act undone by a leave", "an act undone by a device.revoke",
		"a message hidden by a remove", "a message hidden by a ban", "a message hidden by a mute", "a message hidden by a leave",
		"a message hidden by a device.revoke", "invalid", "a fork", "unban counts", "unmute counts",
		"leave counts", "somebody muted",
	} {
		if seen[what] < worlds/50 {
			t.Errorf("%s: in %d of %d worlds", what, seen[what], worlds)
		}
	}
	t.Log(seen)
}

// happened lists what there is to be seen in a world.
func happened(w *World, d *Delivery) map[string]bool {
	out := map[string]bool{}
	prev := map[int32]bool{}
	for i := range w.Acts {
		a := &w.Acts[i]
		out["a fork"] = out["a fork"] || a.Prev >= 0 && prev[a.Prev]
		prev[a.Prev] = true
		verdict := d.Verdict(i)
		switch {
		case a.Says && verdict == "undone":
			m, _ := d.Message(i)
			if _, by, _ := d.State.Judge(&m, true); by >= 0 {
				out["a message hidden by a "+d.Graph.At(by).Op.String()] = true
			}
		case verdict == "undone":
			out["an act undone by a "+d.Graph.At(d.State.Cause(d.At[i])).Op.String()] = true
		case verdict == "invalid":
			out["invalid"] = true
		case !a.Says:
			out[a.Op.String()+" counts"] = true
		}
	}
	for who := range int32(8) {
		out["somebody muted"] = out["somebody muted"] || d.State.Muted(who) >= 0
	}
	return out
}
