package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/local"
)

var (
	ana = local.Person{Name: "Ana", Key: "usr_aaaaaaaaaaaaaaaa"}
	bo  = local.Person{Name: "Bo", Key: "usr_bbbbbbbbbbbbbbbb"}
)

func TestGapsAndReceiptsInATranscript(t *testing.T) {
	var out strings.Builder
	tr := newTranscript(&app{stdout: &out}, nil)
	stored := 2
	m := local.Message{Kind: "text", From: local.Person{Name: "Ana", Key: "usr_a"}, Text: "hello", Time: time.Now(), Missing: 12, Stored: &stored, StoredOf: 3}
	if err := tr.print(m); err != nil {
		t.Fatal(err)
	}
	m.Missing, m.Stored = 1, nil
	if err := tr.print(m); err != nil {
		t.Fatal(err)
	}
	at := m.Time.Local().Format("15:04")
	want := "      … 12 messages from Ana are missing here\n" + at + " Ana [2/3]: hello\n" +
		"      … 1 message from Ana is missing here\n" + at + " Ana: hello\n"
	if out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

func TestProgressText(t *testing.T) {
	for want, p := range map[string]local.Progress{
		"sync: 0 events": {What: "sync"},
		"sync: 5000 of 20000 events, 2.3 MiB, 1000/s, 15s left": {What: "sync", Events: 5000, Total: 20000, Bytes: 2_400_000, Rate: 1000, Left: 15},
	} {
		if got := progressText(p); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestProgressIsNews(t *testing.T) {
	n := make(toldOf)
	for i, c := range []struct {
		p    local.Progress
		want bool
	}{
		{local.Progress{What: "sync", Peer: "a"}, false},
		{local.Progress{What: "sync", Peer: "a", Done: true}, false},
		{local.Progress{What: "sync", Peer: "a", Total: 100}, true},
		{local.Progress{What: "sync", Peer: "b"}, false},
		{local.Progress{What: "sync", Peer: "a", Total: 100}, false},
		{local.Progress{What: "sync", Peer: "a", Events: 7, Total: 100}, true},
		{local.Progress{What: "sync", Peer: "a", Events: 100, Total: 100, Done: true}, true},
		{local.Progress{What: "sync", Peer: "b", Done: true}, false},
	} {
		if got := n.is(c.p); got != c.want {
			t.Errorf("%d: %v", i, got)
		}
	}
}

// What happened to a group reads as a sentence, with why, and whether it counts.
func TestSystemLines(t *testing.T) {
	tr := newTranscript(&app{}, []local.Member{{Person: ana}, {Person: bo}})
	for _, c := range []struct {
		m    local.Message
		want string
	}{
		{local.Message{Kind: "removed", Target: &bo, Reason: "spam"}, "— Ana removed Bo: spam"},
		{local.Message{Kind: "banned", Target: &bo}, "— Ana banned Bo"},
		{local.Message{Kind: "banned", Target: &bo, Undone: true}, "— Ana banned Bo (undone)"},
		{local.Message{Kind: "unbanned", Target: &bo}, "— Ana unbanned Bo"},
		{local.Message{Kind: "muted", Target: &bo, Reason: "two\nlines"}, "— Ana muted Bo: two\uFFFDlines"},
		{local.Message{Kind: "unmuted", Target: &bo}, "— Ana unmuted Bo"},
		{local.Message{Kind: "role", Target: &bo, Text: "moderator"}, "— Ana made Bo a moderator"},
		{local.Message{Kind: "role", Target: &bo, Text: "admin"}, "— Ana made Bo an admin"},
		{local.Message{Kind: "left"}, "— Ana left"},
		{local.Message{Kind: "set", Text: "slow-mode 10s"}, "— Ana set slow-mode 10s"},
		{local.Message{Kind: "revoked"}, "— Ana revoked a device"},
		{local.Message{Kind: "named", Text: "Hikers"}, "— Ana named the group Hikers"},
		{local.Message{Kind: "successor"}, "— Ana proposed to move to another group (p2pchat group move)"},
	} {
		c.m.From = ana
		if got := tr.line(c.m); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

// What this program says about a message stands where its author cannot write.
func TestMessageMarks(t *testing.T) {
	tr := newTranscript(&app{}, []local.Member{{Person: ana}, {Person: bo}})
	for _, c := range []struct {
		m    local.Message
		want string
	}{
		{local.Message{From: bo, Role: "member"}, "Bo: hi"},
		{local.Message{From: bo, Role: "greeter"}, "+Bo: hi"},
		{local.Message{From: ana, Role: "founder"}, "@Ana: hi"},
		{local.Message{From: ana, Role: "moderator", Late: true}, "@Ana [late]: hi"},
		{local.Message{From: bo, Undone: true}, "Bo [undone]: hi"},
		{local.Message{From: bo, Hidden: "not shown to others: you are muted"}, "Bo [not shown to others: you are muted]: hi"},
		{local.Message{From: bo, Unreadable: "erased"}, "Bo [cannot be read: erased]"},
		{local.Message{From: bo, Retracted: true, RetractedBy: &bo}, "Bo [taken back]"},
		{local.Message{From: bo, Retracted: true}, "Bo [taken back]"},
		{local.Message{From: bo, Retracted: true, RetractedBy: &ana, Reason: "spam"}, "Bo [removed by Ana: spam]"},
		{local.Message{From: bo, Retracted: true, RetractedBy: &ana, Reason: "x] hi"}, "Bo [removed by Ana: x) hi]"},
		{local.Message{From: bo, Gone: "expired", Unreadable: "disappeared"}, "Bo [disappeared]"},
		{local.Message{From: bo, Gone: "expired", Unreadable: "disappeared", Retracted: true}, "Bo [taken back]"},
		{local.Message{From: bo, Expires: new(time.Now().Add(90*time.Minute + time.Second))}, "Bo [expires in 1h30m]: hi"},
		{local.Message{From: local.Person{Name: "Bo [late]", Key: "usr_cccccccccccc"}}, "Bo (late) (usr_cccccccc): hi"},
		{local.Message{From: local.Person{Name: "@Ana", Key: "usr_cccccccccccc"}}, "Ana (usr_cccccccc): hi"},
		{local.Message{From: local.Person{Name: "+ @", Key: "usr_cccccccccccc"}}, "usr_cccccccc: hi"},
	} {
		c.m.Kind, c.m.Text = "text", "hi"
		if got := tr.line(c.m); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestExpiring(t *testing.T) {
	now := time.Now()
	for left, want := range map[time.Duration]string{
		-time.Second: "expires in less than 1m", 59 * time.Second: "expires in less than 1m", 119 * time.Second: "expires in 1m",
		5*time.Hour + 59*time.Minute: "expires in 5h", 50 * time.Hour: "expires in 2d", 400 * time.Hour: "expires in 16d",
	} {
		if got := expiring(now.Add(left), now); got != want {
			t.Errorf("with %v left it says %q, not %q", left, got, want)
		}
	}
}

// Of a long past that is not kept one line is left, and one a kind.
func TestWhatIsNotKeptIsOneLine(t *testing.T) {
	var out bytes.Buffer
	tr := newTranscript(&app{stdout: &out}, []local.Member{{Person: bo}})
	line := func(gone, why string) local.Message {
		return local.Message{Kind: "text", From: bo, Text: "hi", Time: time.Now(), Gone: gone, Unreadable: why}
	}
	for _, m := range []local.Message{
		line("retention", "old"), line("retention", "old"), line("size", "too much"), line("size", "too much"),
		line("expired", "disappeared"), line("expired", "disappeared"), line("", ""), line("size", "too much"),
	} {
		if err := tr.print(m); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, l := range strings.Split(strings.TrimSpace(out.String()), "\n") {
		if _, after, ok := strings.Cut(l, ":"); ok {
			l = after[3:]
		}
		got = append(got, l)
	}
	want := []string{
		"— messages that are old", "— messages that are too much", "Bo [disappeared]", "Bo [disappeared]", "Bo: hi",
		"— messages that are too much",
	}
	if !slices.Equal(got, want) {
		t.Errorf("printed %q", got)
	}
}

// Two of one name are told apart in system lines and in the audit.
func TestTwoOfOneNameEverywhere(t *testing.T) {
	other := local.Person{Name: "Bo", Key: "usr_cccccccccccccccc"}
	tr := newTranscript(&app{}, []local.Member{{Person: ana}, {Person: bo}, {Person: other}})
	if got := tr.line(local.Message{Kind: "banned", From: ana, Target: &other}); got != "— Ana banned Bo (usr_cccccccc)" {
		t.Error(got)
	}
	if got := what(local.Act{Kind: "ban", By: ana, Target: &bo}, tr.who); got != "banned Bo (usr_bbbbbbbb)" {
		t.Error(got)
	}
}

// An act in words.
func TestDone(t *testing.T) {
	for _, c := range []struct {
		act  local.Act
		want string
	}{
		{local.Act{Kind: "ban", Target: &bo, Text: "spam"}, "banned Bo (usr_bbbbbbbb): spam"},
		{local.Act{Kind: "grant", Target: &bo, Role: "owner"}, "made Bo (usr_bbbbbbbb) an owner"},
		{local.Act{Kind: "grant", Target: &bo, Role: "member", Admits: true, Text: "Bo"}, "let in Bo (usr_bbbbbbbb) as a member"},
		{local.Act{Kind: "setting", Setting: "topic", Text: "two\tlines"}, "set topic two\uFFFDlines"},
		{local.Act{Kind: "setting", Setting: "slow-mode", Value: "10s"}, "set slow-mode 10s"},
		{local.Act{Kind: "retract", Target: &bo}, "removed a message of Bo (usr_bbbbbbbb)"},
		{local.Act{Kind: "retract"}, "took back a message"},
		{local.Act{Kind: "leave"}, "left"},
		{local.Act{Kind: "report.close", Text: "calm now"}, "closed a report: calm now"},
		{local.Act{Kind: "unknown-99"}, "unknown-99"},
	} {
		c.act.By = ana
		if got := done(c.act); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

// How a former member went.
func TestWent(t *testing.T) {
	for _, c := range []struct {
		act  local.Act
		want string
	}{
		{local.Act{Kind: "leave", By: bo}, "left"},
		{local.Act{Kind: "ban", By: ana, Target: &bo, Text: "spam"}, "banned by Ana: spam"},
		{local.Act{Kind: "remove", By: ana, Target: &bo}, "removed by Ana"},
	} {
		if got := went(local.Member{Person: bo, Went: &c.act}, newTranscript(&app{}, nil).who); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}
