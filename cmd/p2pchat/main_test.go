package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"github.com/p2pchat/p2pchat/protocol"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"p2pchat": main})
}

// TestScripts runs every script as a person would type it. Nothing leaves
// loopback.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("P2PCHAT_LISTEN", "/ip4/127.0.0.1/tcp/0")
			env.Setenv("P2PCHAT_MDNS", "false")
			env.Setenv("ANA", filepath.Join(env.WorkDir, "ana"))
			env.Setenv("BEN", filepath.Join(env.WorkDir, "ben"))
			env.Setenv("P2PCHAT_HOME", filepath.Join(env.WorkDir, "ana"))
			env.Setenv("TZ", "UTC")
			env.Setenv("NAUGHTY", "a\x1b[31mb\nc")
			env.Setenv("TURNED", "a\u202eb")
			long := strings.Repeat("x", protocol.MaxTextSize+1)
			mixed := "before\n" + long + "\nafter\nnot \xff UTF-8\n"
			return os.WriteFile(filepath.Join(env.WorkDir, "mixed"), []byte(mixed), 0o600)
		},
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"await": await, "capture": capture},
		RequireExplicitExec: true,
	})
}

// result is what one run of the program did.
type result struct {
	code           int
	stdout, stderr string
}

// run runs a command line in this process, in an empty home.
func run(t *testing.T, args ...string) result {
	t.Helper()
	home := t.TempDir()
	var out, errs bytes.Buffer
	a := &app{stdin: strings.NewReader(""), stdout: &out, stderr: &errs, getenv: func(key string) string {
		if key == "P2PCHAT_HOME" {
			return filepath.Join(home, "none")
		}
		return ""
	}}
	code := a.run(context.Background(), args)
	return result{code, out.String(), errs.String()}
}

// everyCommand visits the tree.
func everyCommand(cmd *cobra.Command, f func(*cobra.Command)) {
	f(cmd)
	for _, c := range cmd.Commands() {
		everyCommand(c, f)
	}
}

func words(cmd *cobra.Command) []string { return strings.Fields(cmd.CommandPath())[1:] }

// Wrong usage is 2 at every level, with and without --help, and says what to type.
func TestWrongUsageExitsTwoAtEveryLevel(t *testing.T) {
	wrong := func(args ...string) {
		t.Helper()
		r := run(t, args...)
		if r.code != exitUsage || r.stdout != "" || !strings.Contains(r.stderr, "\nnext: p2pchat") {
			t.Errorf("p2pchat %q: code %d, stdout %q, stderr %q", args, r.code, r.stdout, r.stderr)
		}
	}
	everyCommand(newRoot(&app{stdout: os.Stdout, stderr: os.Stderr}), func(cmd *cobra.Command) {
		at := words(cmd)
		wrong(append(at, "--frob")...)
		if cmd.HasSubCommands() {
			wrong(append(at, "frob")...)
			wrong(append(at, "frob", "--help")...)
			wrong(append([]string{"help"}, append(at, "frob")...)...)
		}
		if cmd.HasSubCommands() && cmd.HasParent() {
			wrong(at...)
		}
	})
	for _, args := range [][]string{
		{"init"},
		{"init", "--name"},
		{"send"},
		{"send", "G"},
		{"log"},
		{"log", "G", "H"},
		{"log", "G", "-n", "x"},
		{"log", "G", "--timeout", "1s"},
		{"log", "G", "-n", "-1"},
		{"log", "G", "--follow", "--timeout", "0s"},
		{"send", "G", "-5"},
		{"demo", "--json"},
		{"join", "p2pchat:x", "--wait", "soon"},
		{"invite", "create", "G", "--role", "founder"},
		{"invite", "create", "G", "--uses", "-1"},
		{"join"},
		{"join", "p2pchat:x", "--welcome", "f"},
		{"join", "--welcome", "f", "--answer", "x"},
		{"invite", "answer", "f"},
		{"export", "G"},
		{"export", "G", "f", "--since", "tomorrow"},
		{"import"},
		{"invite", "create", "G", "--question", "a\nb"},
		{"block"},
		{"members"},
		{"chat"},
		{"invite", "create"},
		{"invite", "create", "G", "--role", "king"},
		{"invite", "create", "G", "--expire", "soon"},
		{"group", "create"},
		{"group", "list", "x"},
		{"role", "G", "Bo"},
		{"role", "G", "Bo", "king"},
		{"role", "G", "Bo", "founder"},
		{"kick", "G"},
		{"kick", "G", "Bo"}, // there is no terminal to ask on
		{"ban", "G", "Bo"},
		{"ban", "G", "Bo", "spam", "--yes"},
		{"ban", "G", "Bo", "--since", "tomorrow", "--yes"},
		{"unban", "G"},
		{"mute", "G", "Bo", "--for", "ever"},
		{"unmute"},
		{"leave", "G"},
		{"leave"},
		{"remove-message", "G", "evt_abcdefgh"},
		{"remove-message", "G", "evt_abc", "--yes"},
		{"remove-message", "G", "hello", "--yes"},
		{"group", "set", "G"},
		{"group", "set", "G", "topic"},
		{"group", "set", "G", "colour=red"},
		{"group", "set", "G", "announcement=maybe"},
		{"group", "set", "G", "slow-mode=1"},
		{"group", "set", "G", "retention=59m"},
		{"group", "set", "G", "retention=90"},
		{"group", "keep"},
		{"group", "keep", "G", "--size", "5"},
		{"send", "G", "x", "--expire", "59s"},
		{"group", "set", "G", "slow-mode=100ms"},
		{"group", "set", "G", "admission=never"},
		{"group", "set", "G", "history=some"},
		{"group", "set", "G", "name="},
		{"group", "set", "G", "topic=\xff"},
		{"group", "set", "G", "topic=a", "topic=b"},
		{"group", "successor"},
		{"group", "successor", "G", "--name", "grp_x"},
		{"group", "move", "G", "first"},
		{"group", "plan"},
		{"group", "cofound"},
		{"invite", "list"},
		{"invite", "revoke", "G"},
		{"invite", "revoke", "G", "1"},
		{"request", "approve", "G"},
		{"request", "deny"},
		{"verify", "G"},
		{"verify", "G", "Bo", "--yes", "--undo"},
		{"audit", "G", "-n", "-1"},
		{"report", "G", "evt_abcdefgh"},
		{"report", "G", "hello", "--reason", "x"},
		{"report", "lst", "G"},
		{"report", "list", "G", "x"},
		{"report", "resolve", "G"},
		{"daemon", "x"},
		{"status", "--dht", "public"},
		{"status", "--listen", "1.2.3.4:5"},
		{"status", "--bootstrap", "/ip4/127.0.0.1/tcp/1"},
		{"status", "--mdns=maybe"},
	} {
		wrong(args...)
	}
}

// What is wrong about a flag is said in words of the command line.
func TestFlagErrorsAreInPlainWords(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"send", "G", "-5"}, "unknown flag -5; a text or a name that begins with - goes after --"},
		{[]string{"send", "G", "--frob"}, "unknown flag --frob;"},
		{[]string{"log", "G", "-n", "x"}, `--count: "x" is not a whole number`},
		{[]string{"invite", "create", "G", "--uses", "-1"}, `--uses: "-1" is not a whole number`},
		{[]string{"invite", "create", "G", "--expire", "soon"}, `--expire: "soon" is not a time like 90s, 12h, 7d or 2w`},
		{[]string{"join", "L", "--wait", "-1s"}, `--wait: "-1s" is not a time like`},
		{[]string{"invite", "create", "G", "--role", "king"}, `--role "king": it is one of admin, moderator, greeter, member`},
		{[]string{"status", "--mdns=maybe"}, `--mdns: "maybe" is neither true nor false`},
	} {
		if r := run(t, c.args...); !strings.HasPrefix(r.stderr, "p2pchat: "+c.want) {
			t.Errorf("p2pchat %q: %q, want %q", c.args, r.stderr, c.want)
		}
	}
}

// Help is 0 at every level.
func TestHelpAtEveryLevel(t *testing.T) {
	everyCommand(newRoot(&app{stdout: os.Stdout, stderr: os.Stderr}), func(cmd *cobra.Command) {
		for _, args := range [][]string{append(words(cmd), "--help"), append([]string{"help"}, words(cmd)...)} {
			if r := run(t, args...); r.code != exitOK || !strings.Contains(r.stdout, "Usage:") || r.stderr != "" {
				t.Errorf("p2pchat %q: code %d, stdout %q, stderr %q", args, r.code, r.stdout, r.stderr)
			}
		}
	})
}

// Whatever goes wrong, the last line of stderr is a command to type.
func TestErrorsEndWithTheNextCommand(t *testing.T) {
	for _, args := range [][]string{
		{"whoami"},
		{"group", "create", "G"},
		{"group", "list"},
		{"send", "G", "hi"},
		{"log", "G"},
		{"join", "p2pchat:x"},
		{"daemon"},
		{"chat", "G"},
		{"peers"},
		{"status"},
		{"members", "G"},
		{"block", "B"},
		{"invite", "create", "G"},
		{"ban", "G", "Bo", "--yes"},
		{"leave", "G", "--yes"},
		{"report", "G", "evt_abcdefgh", "--reason", "x"},
		{"group", "set", "G", "rules=@none"},
		{"audit", "G"},
		{"verify", "G", "Bo"},
		{"init", "--name", strings.Repeat("x", 200)},
		{"init", "--name", "a\x1bb"},
	} {
		r := run(t, args...)
		lines := strings.Split(strings.TrimSpace(r.stderr), "\n")
		if r.code != exitError || len(lines) != 2 || !strings.HasPrefix(lines[1], "next: p2pchat ") || r.stdout != "" {
			t.Errorf("p2pchat %q: code %d, stdout %q, stderr %q", args, r.code, r.stdout, r.stderr)
		}
	}
}
