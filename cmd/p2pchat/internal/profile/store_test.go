package profile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-datastore"
	"github.com/p2pchat/p2pchat/storage/disk"
)

func open(t *testing.T, home string) *disk.Store {
	t.Helper()
	s, err := OpenStore(home, disk.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// commit writes a batch and makes it durable, as a node does before it
// acknowledges a message.
func commit(ctx context.Context, s *disk.Store, key, value string) error {
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

func TestStoreReopens(t *testing.T) {
	home := newHome(t)
	create(t, home)
	s := open(t, home)
	if err := commit(t.Context(), s, "/a", "1"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, home)
	defer func() { _ = s.Close() }()
	if b, err := s.Get(t.Context(), datastore.NewKey("/a")); string(b) != "1" || err != nil {
		t.Errorf("Get: %q, %v", b, err)
	}
}

// write acknowledges one number after the other until it is killed.
func write(home string) {
	s, err := OpenStore(home, disk.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for i := range 1 << 20 {
		if err := commit(context.Background(), s, "/n/"+strconv.Itoa(i), "x"); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(i)
	}
}

// What a batch and a Sync acknowledged survives kill -9.
func TestAcknowledgedSurvivesKill(t *testing.T) {
	home := newHome(t)
	create(t, home)
	open(t, home).Close()
	last := -1
	for round := range 5 {
		cmd, out := child(t, "write", home)
		kill := time.AfterFunc(time.Duration(100+50*round)*time.Millisecond, func() { _ = cmd.Process.Kill() })
		for out.Scan() {
			n, err := strconv.Atoi(out.Text())
			if err != nil {
				t.Fatalf("the child says %q", out.Text())
			}
			last = max(last, n)
		}
		kill.Stop()
		_ = cmd.Wait()
		s := open(t, home)
		for i := range last + 1 {
			if ok, err := s.Has(t.Context(), datastore.NewKey("/n/"+strconv.Itoa(i))); !ok || err != nil {
				t.Fatalf("round %d: %d of %d is lost: %v", round, i, last, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d acknowledged, none lost", last+1)
}

// damage is what may have happened to a store, and what its error must be.
func TestDamagedStoreIsAClearError(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(dir string) error
		want   error
	}{
		"a file":        {func(dir string) error { return errors.Join(os.RemoveAll(dir), os.WriteFile(dir, nil, 0o600)) }, ErrForeignStore},
		"foreign files": {func(dir string) error { return os.Remove(filepath.Join(dir, markerFile)) }, ErrForeignStore},
		"other format": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, markerFile), []byte("p2pchat-store/2\n"), 0o600)
		}, ErrForeignStore},
		"all but the marker gone": {func(dir string) error { return removeAllBut(dir, markerFile) }, disk.ErrDamaged},
		"manifest cut short":      {func(dir string) error { return truncate(dir, "MANIFEST-*", 7) }, disk.ErrDamaged},
		"manifest foreign":        {func(dir string) error { return scribble(dir, "MANIFEST-*") }, disk.ErrDamaged},
		"manifest gone":           {func(dir string) error { return remove(dir, "MANIFEST-*") }, disk.ErrDamaged},
		"options foreign":         {func(dir string) error { return scribble(dir, "OPTIONS-*") }, disk.ErrDamaged},
		"tables gone":             {func(dir string) error { return remove(dir, "*.sst") }, disk.ErrDamaged},
	} {
		t.Run(name, func(t *testing.T) {
			home := newHome(t)
			create(t, home)
			s := open(t, home)
			if err := commit(t.Context(), s, "/a", "1"); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			dir := filepath.Join(home, storeDir)
			if err := c.damage(dir); err != nil {
				t.Fatal(err)
			}
			s, err := OpenStore(home, disk.Options{})
			if err == nil { // damage that shows when the table is read
				_, err = s.Get(t.Context(), datastore.NewKey("/a"))
				_ = s.Close()
			}
			var named *disk.Error
			if !errors.Is(err, c.want) || !errors.As(err, &named) || !strings.Contains(err.Error(), dir) {
				t.Errorf("OpenStore: %v", err)
			}
		})
	}
}

func each(dir, pattern string, f func(path string) error) error {
	paths, err := filepath.Glob(filepath.Join(dir, pattern))
	if len(paths) == 0 {
		return fmt.Errorf("nothing is called %s", pattern)
	}
	for _, p := range paths {
		err = errors.Join(err, f(p))
	}
	return err
}

func remove(dir, pattern string) error { return each(dir, pattern, os.Remove) }

func truncate(dir, pattern string, size int64) error {
	return each(dir, pattern, func(p string) error { return os.Truncate(p, size) })
}

func scribble(dir, pattern string) error {
	return each(dir, pattern, func(p string) error { return os.WriteFile(p, []byte(strings.Repeat("not ours ", 99)), 0o600) })
}

func removeAllBut(dir, keep string) error {
	return each(dir, "*", func(p string) error {
		if filepath.Base(p) == keep {
			return nil
		}
		return os.RemoveAll(p)
	})
}

// zeros never ends.
type zeros struct{}

// Read implements io.Reader.
func (zeros) Read(p []byte) (int, error) { return len(p), nil }
