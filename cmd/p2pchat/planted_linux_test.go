package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/profile"
	"github.com/p2pchat/p2pchat/internal/fixture/planted"
	"github.com/p2pchat/p2pchat/protocol"
)

// feed runs a command line with lines on --passphrase-fd, at its most talkative. It
// returns what it wrote to stdout, and everything.
func (l *lab) feed(lines string, want int, args ...string) (stdout, all string) {
	l.t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		l.t.Fatal(err)
	}
	if _, err := w.WriteString(lines); err != nil {
		l.t.Fatal(err)
	}
	_ = w.Close()
	fd, err := unix.Dup(int(r.Fd())) // the command's own, to close
	if err != nil {
		l.t.Fatal(err)
	}
	_ = r.Close()
	var out, errs bytes.Buffer
	a := l.app()
	a.stdout, a.stderr = &out, &errs
	code := a.run(context.Background(), append(args, "--verbose", "--passphrase-fd", strconv.Itoa(fd)))
	if code != want {
		l.t.Fatalf("p2pchat %q: %d, %s", args, code, errs.String())
	}
	return strings.TrimSpace(out.String()), out.String() + errs.String()
}

// Somebody looks through all files of a profile, and through all that its commands
// write, for secrets that were planted: sealed, nothing is in the open anywhere; not
// sealed, the keys are in keys.json and in no other file.
func TestPlantedSecrets(t *testing.T) {
	if testing.Short() {
		t.Skip("scrypt is slow under the race detector")
	}
	for _, by := range []profile.Seal{{Kind: profile.SealPassphrase, Passphrase: profile.Passphrase("planted passphrase")}, {Kind: profile.SealNone}} {
		t.Run(by.Kind, func(t *testing.T) { plant(t, by) })
	}
}

func plant(t *testing.T, by profile.Seal) {
	l := newLab(t)
	keys, err := profile.NewKeys("Planted Ana", protocol.Secret{}, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := profile.Create(l.home, keys, by); err != nil {
		t.Fatal(err)
	}
	store, err := keys.StoreKey()
	if err != nil {
		t.Fatal(err)
	}
	peer, err := keys.Peer.Raw()
	if err != nil {
		t.Fatal(err)
	}
	root, people := planted.Secrets{}, planted.Secrets{}
	for name, s := range map[string][]byte{"seed": keys.Account.Seed[:], "device": keys.Account.Device[:], "peer": peer[:32], "phrase": []byte(keys.Account.Phrase())} {
		root.Add(name, s)
	}
	people.Add("store key", store[:])
	people.Add("passphrase", []byte("planted passphrase"))
	text, wrong := "planted words of a message", "a planted wrong passphrase\n"
	people.Add("text", []byte(text))
	people.Add("group name", []byte("A planted name"))
	line, backup := "planted passphrase\n", filepath.Join(filepath.Dir(l.home), "planted.age")
	said := ""
	note := func(_, all string) { said += all }
	note(l.feed(line, exitOK, "group", "create", "A planted name"))
	link, all := l.feed(line, exitOK, "invite", "create", "A planted name")
	parsed, err := protocol.ParseLink(strings.Fields(link)[0])
	if err != nil {
		t.Fatal(err)
	}
	lobby := parsed.Lobby()
	people.Add("invite seed", parsed.Seed[:])
	people.Add("lobby", lobby[:])
	said += strings.ReplaceAll(all, link, "") // the link is what was asked for
	note(l.feed(line, exitOK, "send", "A planted name", text))
	note(l.feed(line, exitOK, "status"))
	note(l.feed(line, exitOK, "doctor"))
	note(l.feed(line, exitError, "join", link[:len(link)-9]))
	note(l.feed(line+line, exitOK, "backup", backup))
	note(l.feed(wrong, exitError, "restore", backup, "--home", l.home+"2"))
	if by.Kind == profile.SealPassphrase {
		note(l.feed(wrong, exitError, "whoami"))
		note(l.feed(wrong+line, exitError, "passphrase"))
	}
	if len(said) < 500 {
		t.Errorf("the commands said only %q", said)
	}
	names := people["group name"]
	delete(people, "group name") // who runs a command may see it
	root.Add("wrong passphrase", []byte(strings.TrimSpace(wrong)))
	if found := append(root.In([]byte(said)), people.In([]byte(said))...); len(found) > 0 {
		t.Errorf("the commands tell %q", found)
	}
	people["group name"] = names
	people.Add("name", []byte("Planted Ana"))
	for _, path := range files(t, filepath.Dir(l.home)) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		open := path == filepath.Join(l.home, "keys.json") && by.Kind == profile.SealNone
		if open != slices.ContainsFunc(root.In(data), func(s string) bool { return strings.HasPrefix(s, "seed as base64") }) {
			t.Errorf("%s: %q", path, root.In(data))
		}
		found := people.In(data)
		if open {
			found = slices.DeleteFunc(found, func(s string) bool { return strings.HasPrefix(s, "name as") })
		} else {
			found = append(found, root.In(data)...)
		}
		if len(found) > 0 {
			t.Errorf("%s has %q", path, found)
		}
	}
}

// files returns all files below a directory.
func files(t *testing.T, dir string) (out []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			out = append(out, path)
		}
		return err
	})
	if err != nil || len(out) < 5 {
		t.Fatalf("%d files, %v", len(out), err)
	}
	return out
}
