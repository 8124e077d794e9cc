package profile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/p2pchat/p2pchat/storage/disk"
)

// The store is one of package disk in a directory that carries a marker, so that
// a directory which is something else is never written to, and one that lost its
// files is never taken for a new one.
const (
	markerFile = "p2pchat-store"
	marker     = "p2pchat-store/1\n"
)

// ErrForeignStore says that the store's directory is not a p2pchat store.
var ErrForeignStore = errors.New("not a p2pchat store")

// OpenStore opens the profile's store, and makes it the first time. The caller
// holds the lock. Its errors are of type [*disk.Error], where they are of the store.
func OpenStore(home string, o disk.Options) (*disk.Store, error) {
	dir := filepath.Join(home, storeDir)
	if err := removeTemps(home); err != nil {
		return nil, err
	}
	found, err := checkStore(dir)
	if err == nil && !found {
		err = createStore(home, dir, o)
	}
	if err != nil {
		return nil, &disk.Error{Dir: dir, Err: err}
	}
	o.MustExist = true
	return disk.Open(dir, o)
}

// Space says whether the disk has room for the profile's store to be written:
// [disk.ErrFull] where it has not.
func Space(home string) error { return disk.Space(filepath.Join(home, storeDir)) }

// checkStore says whether there is a store in dir, or what else is there.
func checkStore(dir string) (found bool, err error) {
	info, err := os.Lstat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case !info.IsDir():
		return false, fmt.Errorf("%w: it is not a directory", ErrForeignStore)
	}
	got, err := os.ReadFile(filepath.Join(dir, markerFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, fmt.Errorf("%w: %s is missing", ErrForeignStore, markerFile)
	case err != nil:
		return false, err
	case string(got) != marker:
		return false, fmt.Errorf("%w: format %q, and this version reads %q", ErrForeignStore, clip(string(got)), marker)
	}
	return true, checkPrivate(dir)
}

// createStore makes an empty store beside its place and moves it there, so that a
// crash leaves either a whole store or none.
func createStore(home, dir string, o disk.Options) error {
	old, _ := filepath.Glob(filepath.Join(home, tempPrefix+storeDir+"*"))
	for _, tmp := range old { // left by a crash
		if err := os.RemoveAll(tmp); err != nil {
			return err
		}
	}
	tmp, err := os.MkdirTemp(home, tempPrefix+storeDir) // 0700
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }() // gone already after the rename
	db, err := disk.Open(tmp, o)
	if inner := new(disk.Error); errors.As(err, &inner) {
		return inner.Err // by the name that it will have
	}
	if err != nil {
		return err
	}
	if err := db.Close(); err != nil {
		return err
	}
	if err := writeOnce(filepath.Join(tmp, markerFile), []byte(marker)); err != nil {
		return err
	}
	if err := os.Rename(tmp, dir); err != nil {
		return err
	}
	return syncDir(home)
}
