package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
)

// errors.Is works on the far side of the socket as on the near one.
func TestSentinelsCrossTheSocket(t *testing.T) {
	for _, c := range codes() {
		b, err := json.Marshal(toAPI(fmt.Errorf("send to %q: %w", "G", c.err)))
		if err != nil {
			t.Fatal(err)
		}
		var got apiError
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatal(err)
		}
		if !errors.Is(&got, c.err) || !strings.Contains(got.Error(), `send to "G"`) {
			t.Errorf("%v became %v", c.err, &got)
		}
		for _, other := range codes() {
			if other.code != c.code && errors.Is(&got, other.err) {
				t.Errorf("%v became %v, too", c.err, other.err)
			}
		}
	}
	if errors.Is(toAPI(errors.New("something else")), ErrClosing) {
		t.Error("an unknown error is a sentinel")
	}
}

func TestSocketIsTheOwners(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", short(t))
	for _, home := range []string{short(t), filepath.Join(short(t), strings.Repeat("long", 30))} {
		if err := os.MkdirAll(home, 0o700); err != nil {
			t.Fatal(err)
		}
		ln, err := listen(home)
		if err != nil {
			t.Fatal(err)
		}
		path := ln.Addr().String()
		if len(path) > maxSocketPath {
			t.Errorf("%s has %d bytes", path, len(path))
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %04o", path, info.Mode().Perm())
		}
		conn, err := dial(t.Context(), home)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		_ = ln.Close()
		if _, err := dial(t.Context(), home); !errors.Is(err, errNobody) {
			t.Errorf("dial to nobody: %v", err)
		}
	}
}

// A socket that a killed process left behind is in nobody's way.
func TestStaleSocket(t *testing.T) {
	home := short(t)
	old, err := listen(home)
	if err != nil {
		t.Fatal(err)
	}
	old.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = old.Close()
	if _, err := dial(t.Context(), home); !errors.Is(err, errNobody) {
		t.Errorf("dial: %v", err)
	}
	ln, err := listen(home)
	if err != nil {
		t.Fatal(err)
	}
	_ = ln.Close()
}

// A directory in a shared place that somebody else made first is not used.
func TestSharedDirectoryIsRefused(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no file modes")
	}
	dir := filepath.Join(short(t), "p2pchat")
	if err := ownDir(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := ownDir(dir); err == nil {
		t.Error("a directory of mode 0777 was used")
	}
	link := filepath.Join(short(t), "link")
	if err := os.Symlink(t.TempDir(), link); err != nil {
		t.Fatal(err)
	}
	if err := ownDir(link); err == nil {
		t.Error("a symbolic link was followed")
	}
}

// Whatever a group is called, its ids lead to it.
func TestFind(t *testing.T) {
	n, err := node.New(t.Context(), node.Config{Listen: []string{"/ip4/127.0.0.1/tcp/0"}, DisableMDNS: true, Name: "Ana"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = n.Close() }()
	s := &server{node: n}
	id, err := n.CreateGroup(t.Context(), "G")
	if err != nil {
		t.Fatal(err)
	}
	whole := id.Text(protocol.GroupPrefix)
	for _, ref := range []string{"G", protocol.Short(whole), whole} {
		if got, err := s.find(ref); err != nil || got != id {
			t.Errorf("find(%q) = %v, %v", ref, got, err)
		}
	}
	unknown := protocol.ID{1}.Text(protocol.GroupPrefix)
	for _, ref := range []string{"", "g", unknown, protocol.Short(unknown)} {
		if got, err := s.find(ref); !errors.Is(err, node.ErrUnknownGroup) {
			t.Errorf("find(%q) = %v, %v", ref, got, err)
		}
	}
}

// short is a directory whose path leaves room for a socket.
func short(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "p2p")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
