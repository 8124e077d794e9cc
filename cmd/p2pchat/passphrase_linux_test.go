package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"

	"github.com/zalando/go-keyring"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/profile"
)

// dialogue runs a command line at a terminal and types each answer once its prompt is
// shown. It returns all that the terminal showed.
func (l *lab) dialogue(answers [][2]string, args ...string) (code int, shown string) {
	l.t.Helper()
	person, program := terminal(l.t)
	a := l.app()
	a.stdin, a.stderr, a.stdout = program, program, &bytes.Buffer{}
	ended := make(chan int, 1)
	go func() {
		code := a.run(context.Background(), args)
		_ = program.Close()
		ended <- code
	}()
	var b bytes.Buffer
	read := func() bool {
		buf := make([]byte, 1024)
		n, err := person.Read(buf) // EIO when the last of the other end closes
		b.Write(buf[:n])
		return err == nil
	}
	for at := 0; len(answers) > 0; answers = answers[1:] {
		for !strings.Contains(b.String()[at:], answers[0][0]) {
			if !read() {
				l.t.Fatalf("it never asked %q: %s", answers[0][0], b.String())
			}
		}
		at = b.Len()
		if _, err := person.WriteString(answers[0][1] + "\n"); err != nil {
			l.t.Fatal(err)
		}
	}
	for read() {
	}
	return <-ended, b.String()
}

// At a terminal passphrases are asked for, a new one twice, and none is shown.
func TestPassphrasesAtATerminal(t *testing.T) {
	if testing.Short() {
		t.Skip("scrypt is slow under the race detector")
	}
	l := newLab(t)
	first, other := "correct horse", "another horse"
	code, shown := l.dialogue([][2]string{{"for the profile:", first}, {"again:", other}}, "init", "--name", "Ana", "--passphrase")
	if code != exitError || !strings.Contains(shown, "the two are not the same") {
		t.Errorf("two that differ: %d, %s", code, shown)
	}
	if _, err := os.Stat(l.home); err == nil {
		t.Error("it made a profile all the same")
	}
	code, shown = l.dialogue([][2]string{{"for the profile:", first}, {"again:", first}}, "init", "--name", "Ana", "--passphrase")
	if code != exitOK || strings.Contains(shown, "horse") {
		t.Fatalf("init: %d, %s", code, shown)
	}
	code, shown = l.dialogue([][2]string{{"of the profile:", first}}, "group", "create", "Hiking club")
	if code != exitOK || strings.Contains(shown, "horse") {
		t.Errorf("a command: %d, %s", code, shown)
	}
	code, shown = l.dialogue([][2]string{{"of the profile:", first}, {"New passphrase:", other}, {"again:", other}}, "passphrase")
	if code != exitOK || strings.Contains(shown, "horse") {
		t.Errorf("passphrase: %d, %s", code, shown)
	}
	if code, shown = l.dialogue([][2]string{{"of the profile:", first}}, "whoami"); code != exitError || !strings.Contains(shown, "wrong passphrase") {
		t.Errorf("the old one: %d, %s", code, shown)
	}
}

// A profile under the system's keyring opens without asking.
func TestKeyring(t *testing.T) {
	keyring.MockInit()
	l := newLab(t)
	l.run("init", "--name", "Ana", "--keyring")
	if kind, err := profile.SealOf(l.home); kind != profile.SealKeyring || err != nil {
		t.Fatal(kind, err)
	}
	l.run("group", "create", "Hiking club")
	l.run("passphrase", "--remove")
	l.run("passphrase", "--keyring")
	if got := l.run("group", "list"); !strings.Contains(got, "Hiking club") {
		t.Errorf("it has %s", got)
	}
}
