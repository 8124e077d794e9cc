package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/p2pchat/p2pchat/internal/fixture/need"
)

// terminal returns both ends of a pseudo-terminal: what a person types into and reads
// from, and what the program has.
func terminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		need.Missing(t, "pseudo-terminals: "+err.Error())
	}
	t.Cleanup(func() { _ = person.Close() })
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = program.Close() })
	return person, program
}

// at types an answer at a terminal and runs a command line there. It returns what the
// terminal showed.
func (l *lab) at(answer string, args ...string) (code int, shown string) {
	l.t.Helper()
	person, program := terminal(l.t)
	if _, err := person.WriteString(answer + "\n"); err != nil {
		l.t.Fatal(err)
	}
	read := make(chan string, 1)
	go func() {
		var b bytes.Buffer
		_, _ = b.ReadFrom(person) // EIO when the last of the other end closes
		read <- b.String()
	}()
	var out bytes.Buffer
	a := l.app()
	a.stdin, a.stderr, a.stdout = program, program, &out
	code = a.run(context.Background(), args)
	_ = program.Close()
	return code, strings.ReplaceAll(<-read+out.String(), "\r\n", "\n")
}

// lab is a profile on loopback for commands that run in this process.
type lab struct {
	t    *testing.T
	home string
}

func newLab(t *testing.T) *lab {
	dir, err := os.MkdirTemp("", "p2p") // short: it holds a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return &lab{t, filepath.Join(dir, "ana")}
}

func (l *lab) app() *app {
	env := map[string]string{"P2PCHAT_HOME": l.home, "P2PCHAT_LISTEN": "/ip4/127.0.0.1/tcp/0", "P2PCHAT_MDNS": "false"}
	return &app{stdin: strings.NewReader(""), getenv: func(key string) string { return env[key] }}
}

// run runs a command line without a terminal; it has to work.
func (l *lab) run(args ...string) string {
	l.t.Helper()
	var out, errs bytes.Buffer
	a := l.app()
	a.stdout, a.stderr = &out, &errs
	if code := a.run(context.Background(), args); code != exitOK {
		l.t.Fatalf("p2pchat %q: %d, %s", args, code, errs.String())
	}
	return strings.TrimSpace(out.String())
}

// On a terminal, what is hard to undo is asked for, and only y does it.
func TestAsksBeforeItRemoves(t *testing.T) {
	l := newLab(t)
	l.run("init", "--name", "Ana")
	l.run("group", "create", "Hiking club")
	id := l.run("send", "Hiking club", "hello")
	for _, answer := range []string{"n", "", "what"} {
		code, shown := l.at(answer, "remove-message", "Hiking club", id[:12])
		if code != exitError || !strings.Contains(shown, "Take back “hello” in Hiking club? [y/N]") || !strings.Contains(shown, "nothing was done") {
			t.Errorf("%q: %d, %s", answer, code, shown)
		}
	}
	if got := l.run("log", "Hiking club"); !strings.Contains(got, "Ana: hello") {
		t.Errorf("after no: %s", got)
	}
	if code, shown := l.at("y", "remove-message", "Hiking club", id[:12], "--reason", "typo"); code != exitOK {
		t.Errorf("y: %d, %s", code, shown)
	}
	if code, shown := l.at("y", "leave", "Hiking club"); code != exitOK || !strings.Contains(shown, "Leave Hiking club?") {
		t.Errorf("leave: %d, %s", code, shown)
	}
}

// online runs the daemon of a profile until stop is called.
func (l *lab) online() (stop func()) {
	l.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, out := io.Pipe()
	var done sync.WaitGroup
	done.Go(func() {
		a := l.app()
		a.stdout, a.stderr = out, io.Discard
		a.run(ctx, []string{"daemon"})
		_ = out.Close()
	})
	if _, err := bufio.NewReader(ready).ReadString('\n'); err != nil {
		l.t.Errorf("the daemon is not ready: %v", err)
	}
	return func() { cancel(); done.Wait() }
}

// clubOfTwo is a group of Ana and Bo, who joined by files.
func clubOfTwo(t *testing.T) (ana, bo *lab) {
	ana, bo = newLab(t), newLab(t)
	ana.run("init", "--name", "Ana")
	ana.run("group", "create", "Hiking club")
	bo.run("init", "--name", "Bo")
	request, welcome := filepath.Join(t.TempDir(), "request"), filepath.Join(t.TempDir(), "welcome")
	bo.run("join", ana.run("invite", "create", "Hiking club"), "--request-out", request)
	ana.run("invite", "answer", request, "--out", welcome)
	bo.run("join", "--welcome", welcome)
	return ana, bo
}

// Nobody is asked about what they may not do.
func TestDoesNotAskInVain(t *testing.T) {
	ana, bo := clubOfTwo(t)
	for _, verb := range []string{"ban", "kick"} {
		code, shown := bo.at("y", verb, "Hiking club", "Ana")
		if code != exitError || strings.Contains(shown, "[y/N]") || !strings.Contains(shown, "this needs the role moderator") {
			t.Errorf("%s: %d, %s", verb, code, shown)
		}
	}
	if code, shown := ana.at("n", "ban", "Hiking club", "Bo"); code != exitError || !strings.Contains(shown, "[y/N]") {
		t.Errorf("ban, and no: %d, %s", code, shown)
	}
	if got := ana.run("members", "Hiking club"); !strings.Contains(got, "Bo") {
		t.Errorf("after no: %s", got)
	}
	if code, shown := ana.at("y", "ban", "Hiking club", "Bo"); code != exitOK || !strings.Contains(shown, "banned Bo") {
		t.Errorf("ban: %d, %s", code, shown)
	}
}

// Who says that the numbers differ is not told to say yes.
func TestVerifyNo(t *testing.T) {
	_, bo := clubOfTwo(t)
	code, shown := bo.at("n", "verify", "Hiking club", "Ana")
	if code != exitError || !strings.Contains(shown, "If the numbers differ, do not trust") || strings.Contains(shown, "--yes") {
		t.Errorf("%d, %s", code, shown)
	}
	if got := bo.run("members", "Hiking club"); strings.Contains(got, "verified") {
		t.Error(got)
	}
}

// A signal ends a question that nobody answers.
func TestQuestionEndsWithTheContext(t *testing.T) {
	_, program := terminal(t)
	ctx, cancel := context.WithCancelCause(context.Background())
	cause := errors.New("enough")
	cancel(cause)
	a := &app{stdin: program, stderr: program}
	if err := a.confirm(ctx, false, "Sure?"); !errors.Is(err, cause) {
		t.Error(err)
	}
}

// On a terminal, who joins is told that they are in before the history is here, and sees
// how far it is.
func TestJoinShowsThatOneIsIn(t *testing.T) {
	ana, bo := newLab(t), newLab(t)
	ana.run("init", "--name", "Ana")
	ana.run("group", "create", "Hiking club")
	bo.run("init", "--name", "Bo")
	link, stop := ana.run("invite", "create", "Hiking club"), ana.online()
	defer stop()
	code, shown := bo.at("", "join", link)
	_, in, _ := strings.Cut(shown, "you are in; fetching what was said before")
	if code != exitOK || !strings.Contains(in, clearLine) || !strings.Contains(in, "joined Hiking club") {
		t.Errorf("%d, %q", code, shown)
	}
	if strings.Count(shown, clearLine) < 2 { // the line of the newest messages, too
		t.Errorf("%q", shown)
	}
}
