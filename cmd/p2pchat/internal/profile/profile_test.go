package profile

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/p2pchat/p2pchat/protocol"
)

// childEnv makes the test binary a process that holds a profile, or one that
// writes to a store until it is killed.
const childEnv = "P2PCHAT_TEST_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childEnv) {
	case "":
		// Pebble leaves its disk watch running where it refused to open a damaged store.
		goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/cockroachdb/pebble/v2/vfs.(*diskHealthCheckingFS).startTickerLocked.func1"))
	case "hold":
		hold(os.Args[1])
	case "write":
		write(os.Args[1])
	}
}

// child starts the test binary as another process, which ends with the test.
func child(t *testing.T, what, home string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command(os.Args[0], home)
	cmd.Env = append(os.Environ(), childEnv+"="+what)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd, bufio.NewScanner(stdout)
}

func hold(home string) {
	if _, err := Acquire(home, "chat"); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("held")
	_, _ = bufio.NewReader(os.Stdin).ReadByte() // until the parent is done
}

func newHome(t *testing.T) string { return filepath.Join(t.TempDir(), "ana") }

func create(t *testing.T, home string) Keys {
	t.Helper()
	k, err := NewKeys("Ana", protocol.Secret{}, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := Create(home, k, Seal{Kind: SealNone}); err != nil {
		t.Fatal(err)
	}
	return k
}

func TestCreateAndLoad(t *testing.T) {
	home := newHome(t)
	k := create(t, home)
	got, err := Load(home, nil)
	if err != nil || got.Name != "Ana" || got.Account != k.Account || !got.Peer.Equals(k.Peer) {
		t.Fatalf("Load: %v", err)
	}
	for path, want := range map[string]fs.FileMode{home: 0o700, filepath.Join(home, keysFile): 0o600, filepath.Join(home, lockFile): 0o600} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want && runtime.GOOS != "windows" {
			t.Errorf("%s has mode %04o, want %04o", path, got, want)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(home, tempPrefix+"*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestCreateNeverOverwrites(t *testing.T) {
	home := newHome(t)
	create(t, home)
	before, _ := os.ReadFile(filepath.Join(home, keysFile))
	k, _ := NewKeys("Eve", protocol.Secret{}, rand.Reader)
	if err := Create(home, k, Seal{Kind: SealNone}); !errors.Is(err, ErrExists) {
		t.Errorf("Create over a profile: %v", err)
	}
	after, _ := os.ReadFile(filepath.Join(home, keysFile))
	if string(before) != string(after) {
		t.Error("the keys changed")
	}
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "thesis.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Create(full, k, Seal{Kind: SealNone}); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("Create among other files: %v", err)
	}
}

// Of many that make a profile at once, one wins, and its keys stay.
func TestCreateRace(t *testing.T) {
	home := newHome(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	made := 0
	for range 8 {
		wg.Go(func() {
			k, _ := NewKeys("Ana", protocol.Secret{}, rand.Reader)
			err := Create(home, k, Seal{Kind: SealNone})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				made++
			case !errors.Is(err, ErrExists) && !errors.Is(err, ErrHeld):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if _, err := Load(home, nil); made != 1 || err != nil {
		t.Errorf("%d profiles made; Load: %v", made, err)
	}
}

func TestRestoredSeedIsANewDevice(t *testing.T) {
	a, err := NewKeys("Ana", protocol.Secret{}, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	seed, err := protocol.ParsePhrase(a.Account.Phrase())
	if err != nil {
		t.Fatal(err)
	}
	b, err := NewKeys("Ana", seed, rand.Reader)
	if err != nil || b.Account.Seed != a.Account.Seed || b.Account.Device == a.Account.Device || b.Peer.Equals(a.Peer) {
		t.Errorf("restored: %v", err)
	}
}

func TestLoadRefuses(t *testing.T) {
	home := newHome(t)
	if _, err := Load(home, nil); !errors.Is(err, ErrNoProfile) {
		t.Errorf("Load of nothing: %v", err)
	}
	create(t, home)
	path := filepath.Join(home, keysFile)
	good, _ := os.ReadFile(path)
	for name, bad := range map[string]string{
		"empty":     "",
		"cut short": string(good[:len(good)/2]),
		"format":    strings.Replace(string(good), keysFormat, "p2pchat-keys/9", 1),
		"locked":    strings.Replace(string(good), `"none"`, `"passphrase"`, 1),
		"no seed":   strings.Replace(string(good), `"seed"`, `"sed"`, 1),
		"no peer":   strings.Replace(string(good), `"peer"`, `"pear"`, 1),
	} {
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Load(home, nil)
		if !errors.Is(err, ErrKeys) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLoadRefusesWhatOthersCanRead(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no file modes")
	}
	home := newHome(t)
	create(t, home)
	path := filepath.Join(home, keysFile)
	for target, mode := range map[string][2]fs.FileMode{path: {0o640, 0o600}, home: {0o755, 0o700}} {
		if err := os.Chmod(target, mode[0]); err != nil {
			t.Fatal(err)
		}
		_, err := Load(home, nil)
		var exposed *ExposedError
		if !errors.Is(err, ErrExposed) || !errors.As(err, &exposed) || !strings.Contains(exposed.Repair(), target) {
			t.Errorf("%s: %v", target, err)
		}
		if err := os.Chmod(target, mode[1]); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Load(home, nil); err != nil {
		t.Error(err)
	}
}

func TestKeysPrintNoSecret(t *testing.T) {
	k, err := NewKeys("Ana", protocol.Secret{}, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if s := fmt.Sprintf("%v %+v", k.Account, k.Account); strings.ContainsAny(s, "0123456789") {
		t.Errorf("it prints %s", s)
	}
}

// Two real processes: one holds, the other is told who.
func TestLockAcrossProcesses(t *testing.T) {
	home := newHome(t)
	create(t, home)
	cmd, out := child(t, "hold", home)
	if !out.Scan() || out.Text() != "held" {
		t.Fatalf("the child says %q", out.Text())
	}
	_, err := Acquire(home, "send")
	var held *HeldError
	if !errors.Is(err, ErrHeld) || !errors.As(err, &held) || held.PID != cmd.Process.Pid || held.Verb != "chat" {
		t.Fatalf("Acquire of a held profile: %v", err)
	}
	if want := fmt.Sprintf("`p2pchat chat` (pid %d)", cmd.Process.Pid); !strings.Contains(err.Error(), want) {
		t.Errorf("%q does not name %s", err, want)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	lock, err := Acquire(home, "send") // a killed holder holds nothing
	if err != nil {
		t.Fatal(err)
	}
	if err := lock.Release(); err != nil {
		t.Error(err)
	}
}
