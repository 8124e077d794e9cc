package profile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/p2pchat/p2pchat/storage/disk"
)

// Private says whether others on this machine can read what only the owner may: the
// directory, the keys, the store.
func Private(home string) error {
	errs := []error{checkPrivate(home), checkPrivate(filepath.Join(home, keysFile))}
	if err := checkPrivate(filepath.Join(home, storeDir)); !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Unfinished returns key files that a crash left behind. They may hold keys in the
// open; whoever holds the profile next deletes them.
func Unfinished(home string) (names []string, err error) {
	entries, err := os.ReadDir(home)
	for _, e := range entries {
		if isTemp(e.Name()) && e.Type().IsRegular() {
			names = append(names, filepath.Join(home, e.Name()))
		}
	}
	return names, err
}

// LastWritten is when a file of the store was written last, as the clock said then;
// zero where there is no store.
func LastWritten(home string) (last time.Time, err error) {
	entries, err := os.ReadDir(filepath.Join(home, storeDir))
	if errors.Is(err, fs.ErrNotExist) {
		return last, nil
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.ModTime().After(last) {
			last = info.ModTime()
		}
	}
	return last, err
}

// TryStore opens the store and closes it again. The profile must be free.
func TryStore(home string, o disk.Options) error {
	held, err := Acquire(home, "doctor")
	if err != nil {
		return err
	}
	defer func() { _ = held.Release() }()
	if found, err := checkStore(filepath.Join(home, storeDir)); err != nil || !found {
		return err // none yet
	}
	s, err := OpenStore(home, o)
	if err != nil {
		return err
	}
	return s.Close()
}
