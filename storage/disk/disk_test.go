package disk

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-datastore"

	"github.com/p2pchat/p2pchat/internal/fixture/need"
)

func reopen(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// small mounts a file system that can be filled.
func small(t *testing.T, size string) string {
	t.Helper()
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		need.Missing(t, "root on Linux, to mount a small tmpfs")
	}
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+size, "tmpfs", dir).CombinedOutput(); err != nil {
		need.Missing(t, "the right to mount a tmpfs: "+string(out))
	}
	t.Cleanup(func() { _ = exec.Command("umount", dir).Run() })
	return dir
}

func TestOpen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	_, err := Open(dir, Options{MustExist: true})
	if named := new(Error); !errors.Is(err, ErrDamaged) && !errors.Is(err, os.ErrNotExist) || !errors.As(err, &named) || named.Dir != dir {
		t.Errorf("where there is none: %v", err)
	}
	s := reopen(t, dir)
	if err := commit(t.Context(), s, "/a", "1"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(dir, Options{MustExist: true}); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if b, err := s.Get(t.Context(), datastore.NewKey("/a")); string(b) != "1" || err != nil {
		t.Errorf("after opening it again: %q, %v", b, err)
	}
}

// commit writes a batch and makes it durable, as a node does before it
// acknowledges a message.
func commit(ctx context.Context, s *Store, key, value string) error {
	b, err := s.Batch(ctx)
	if err != nil {
		return err
	}
	if err := b.Put(ctx, datastore.NewKey(key), []byte(value)); err != nil {
		return err
	}
	if err := b.Commit(ctx); err != nil {
		return err
	}
	return s.Sync(ctx, datastore.NewKey("/"))
}

// While the disk is nearly full nothing is written, nothing is lost, and when
// there is space again it goes on.
func TestDiskFull(t *testing.T) {
	s := reopen(t, t.TempDir())
	defer func() { _ = s.Close() }()
	if err := commit(t.Context(), s, "/a", "1"); err != nil {
		t.Fatal(err)
	}
	space := uint64(MinFree - 1)
	s.free = func(string) (uint64, error) { return space, nil }
	for name, err := range map[string]error{
		"batch":  commit(t.Context(), s, "/b", "2"),
		"put":    s.Put(t.Context(), datastore.NewKey("/c"), nil),
		"delete": s.Delete(t.Context(), datastore.NewKey("/a")),
	} {
		if !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), s.Dir()) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if b, err := s.Get(t.Context(), datastore.NewKey("/a")); string(b) != "1" || err != nil {
		t.Errorf("Get: %q, %v", b, err)
	}
	space = MinFree
	if err := commit(t.Context(), s, "/b", "2"); err != nil {
		t.Error(err)
	}
}

// The same on a file system that is really full.
func TestDiskReallyFull(t *testing.T) {
	mount := small(t, "24m")
	s := reopen(t, filepath.Join(mount, "store"))
	var acknowledged int
	var err error
	value := make([]byte, 32<<10) // random: the store compresses
	for ; err == nil && acknowledged < 1000; acknowledged++ {
		_, _ = rand.Read(value)
		err = commit(t.Context(), s, "/n/"+strconv.Itoa(acknowledged), string(value)+strconv.Itoa(acknowledged))
	}
	acknowledged--
	if !errors.Is(err, ErrFull) {
		t.Fatalf("after %d: %v", acknowledged, err)
	}
	filler, err := os.Create(filepath.Join(mount, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(filler, bufio.NewReader(zeros{})) // somebody else takes what is left
	_ = filler.Close()
	if err := os.Remove(filler.Name()); err != nil {
		t.Fatal(err)
	}
	for i := range acknowledged {
		if ok, err := s.Has(t.Context(), datastore.NewKey("/n/"+strconv.Itoa(i))); !ok || err != nil {
			t.Fatalf("%d of %d is lost: %v", i, acknowledged, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// A disk that others fill to the last byte keeps no store from closing, and what it
// acknowledged is there when there is space again.
func TestCloseOnAFullDisk(t *testing.T) {
	mount := small(t, "64m")
	dir := filepath.Join(mount, "store")
	s := reopen(t, dir)
	if err := commit(t.Context(), s, "/a", strings.Repeat("1", 1<<20)); err != nil {
		t.Fatal(err)
	}
	filler, err := os.Create(filepath.Join(mount, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(filler, zeros{})
	_ = filler.Close()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		_ = s.Close()
		_ = s.Close()
	}()
	select {
	case <-closed:
	case <-time.After(time.Minute):
		t.Fatal("it never closes")
	}
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrFull) {
		t.Errorf("Open on a full disk: %v", err)
	}
	if err := os.Remove(filler.Name()); err != nil {
		t.Fatal(err)
	}
	s = reopen(t, dir)
	defer func() { _ = s.Close() }()
	if n, err := s.GetSize(t.Context(), datastore.NewKey("/a")); n != 1<<20 || err != nil {
		t.Errorf("after that: %d bytes, %v", n, err)
	}
}

// zeros never ends.
type zeros struct{}

// Read implements io.Reader.
func (zeros) Read(p []byte) (int, error) { return len(p), nil }
