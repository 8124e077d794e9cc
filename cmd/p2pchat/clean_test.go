package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/local"
)

func TestCleanText(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"plain", "plain"},
		{"zwei\nZeilen\tda", "zwei\nZeilen\tda"},
		{"red \x1b[31m", "red \uFFFD[31m"},
		{"title \x1b]0;x\x07", "title \uFFFD]0;x\uFFFD"},
		{"c1 \u009b31m", "c1 \uFFFD31m"},
		{"override \u202egnp.exe", "override \uFFFDgnp.exe"},
		{"isolate \u2067x\u2069", "isolate \uFFFDx\uFFFD"},
		{"crlf\r\nx\rx", "crlf\nxx"},
		{"family 👨\u200d👩", "family 👨\u200d👩"},
		{"שלום", "שלום"},
	} {
		if got := cleanText(c.in); got != c.want {
			t.Errorf("cleanText(%q) = %q, want %q", c.in, got, c.want)
		}
	}
}

func TestCleanName(t *testing.T) {
	for in, want := range map[string]string{
		" Ana ":          "Ana",
		"A\u200bna":      "Ana", // zero-width space
		"Ana\nBen: hi":   "Ana\uFFFDBen: hi",
		"\u202eanA":      "\uFFFDanA",
		"Ana\u00a0Maria": "Ana Maria",
	} {
		if got := cleanName(in); got != want {
			t.Errorf("cleanName(%q) = %q, want %q", in, got, want)
		}
	}
}

// Whatever a stranger writes, no control character but the line feeds of our own
// lines reaches the terminal, and every further line of a text is indented.
func FuzzTranscript(f *testing.F) {
	f.Add("Ana", "hi", "text")
	f.Add("—\x1b[2J", "a\n15:04 Ben: b", "named")
	f.Fuzz(func(t *testing.T, name, text, kind string) {
		var out strings.Builder
		a := &app{stdout: &out}
		tr := newTranscript(a, nil)
		m := local.Message{Kind: kind, From: local.Person{Name: name, Key: "usr_abcdefghijk"}, Time: time.Now(), Text: text}
		if err := tr.print(m); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		for i, line := range lines {
			if i > 0 && !strings.HasPrefix(line, "      │ ") {
				t.Errorf("line %q looks like one of its own", line)
			}
			if strings.ContainsFunc(line, func(r rune) bool { return r != '\t' && (unicode.IsControl(r) || drives(r)) }) {
				t.Errorf("line %q drives the terminal", line)
			}
		}
	})
}

func TestTwoOfOneNameCarryATag(t *testing.T) {
	ana := local.Person{Name: "Ana", Key: "usr_aaaaaaaaaaaaaaaa"}
	other := local.Person{Name: "ana\u200b", Key: "usr_bbbbbbbbbbbbbbbb"}
	ben := local.Person{Name: "Ben", Key: "usr_cccccccccccccccc"}
	tr := newTranscript(&app{}, []local.Member{{Person: ana}, {Person: other}, {Person: ben}})
	for p, want := range map[*local.Person]string{
		&ana: "Ana (usr_aaaaaaaa)", &other: "ana (usr_bbbbbbbb)", &ben: "Ben",
		{Name: "— Ben joined", Key: "usr_dddddddddddd"}: "— Ben joined (usr_dddddddd)",
		{Name: " ", Key: "usr_dddddddddddd"}:            "usr_dddddddd",
	} {
		if got := tr.who(*p); got != want {
			t.Errorf("who(%q) = %q, want %q", p.Name, got, want)
		}
	}
}

func TestSpanIsWrittenAsPeopleDo(t *testing.T) {
	for in, want := range map[string]string{"168h": "7d", "1w": "7d", "1m": "1m", "90s": "1m30s", "2h": "2h", "200ms": "200ms", "10m": "10m"} {
		var s span
		if err := s.Set(in); err != nil || s.String() != want {
			t.Errorf("%s is written %s, want %s (%v)", in, &s, want, err)
		}
	}
}

// --json prints what could drive a terminal escaped, and means the same.
func TestJSONDoesNotDriveTheTerminal(t *testing.T) {
	const in = "a\x1b\x7f\u0085\u009b31m\u202egnp\u2066\u200fü😀\u2028"
	var out strings.Builder
	a := &app{stdout: &out}
	if err := a.printJSON(map[string]string{"text": in}); err != nil {
		t.Fatal(err)
	}
	if want := `{"text":"a\u001b\u007f\u0085\u009b31m\u202egnp\u2066\u200fü😀\u2028"}` + "\n"; out.String() != want {
		t.Errorf("got %s, want %s", out.String(), want)
	}
	var got map[string]string
	if err := json.Unmarshal([]byte(out.String()), &got); err != nil || got["text"] != in {
		t.Errorf("read back: %q, %v", got["text"], err)
	}
}

func TestParseSpan(t *testing.T) {
	for in, want := range map[string]time.Duration{"12h": 12 * time.Hour, "7d": 168 * time.Hour, "90s": 90 * time.Second, "2w": 336 * time.Hour} {
		if got, err := parseSpan(in); err != nil || got != want {
			t.Errorf("parseSpan(%q) = %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "d", "-1h", "0s", "soon", "99999999d", "99999999w", "-1d"} {
		if got, err := parseSpan(in); err == nil {
			t.Errorf("parseSpan(%q) = %v", in, got)
		}
	}
}
