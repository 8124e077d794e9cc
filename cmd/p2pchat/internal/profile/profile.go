// Package profile is a person's directory on disk: the keys, the lock that keeps
// it to one process at a time, and the store.
//
//	keys.json   who this person and this device are (0600), in the open or sealed
//	lock        held by the process that has the profile open
//	socket      where that process answers (package local)
//	store/      history and secrets of the groups (pebble)
//
// The directory is its owner's alone (0700). Nothing in here is ever overwritten:
// keys are written once, and only [Reseal] puts the same keys under another seal; a
// store that is not ours, or is damaged, is refused and left as it is.
package profile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/adrg/xdg"
)

// Files of a profile.
const (
	keysFile  = "keys.json"
	lockFile  = "lock"
	storeDir  = "store"
	ownerDir  = 0o700
	ownerFile = 0o600
)

var (
	// ErrNoProfile says that there is no profile in the directory.
	ErrNoProfile = errors.New("no profile")
	// ErrExists says that there is a profile already; keys are never overwritten.
	ErrExists = errors.New("there is a profile already")
	// ErrNotEmpty says that a directory holds other things than a profile.
	ErrNotEmpty = errors.New("the directory is not empty and not a profile")
	// ErrNotDir says that the profile's directory, or one above it, is a file.
	ErrNotDir = errors.New("a file is where the profile's directory should be")
	// ErrExposed says that others on this machine can read what only the owner may.
	ErrExposed = errors.New("others on this machine can read it")
)

// Home is the profile's directory: flag, else P2PCHAT_HOME, else the user's data
// directory.
func Home(flag string, getenv func(string) string) (string, error) {
	home := flag
	if home == "" {
		home = getenv("P2PCHAT_HOME")
	}
	if home == "" {
		home = filepath.Join(xdg.DataHome, "p2pchat")
	}
	abs, err := filepath.Abs(home)
	if err != nil {
		return "", fmt.Errorf("profile directory: %w", err)
	}
	return abs, nil
}

// Check says whether there is a profile in home: nil, or why there is none, which
// is ErrNoProfile where one can be made.
func Check(home string) error {
	_, err := os.Stat(filepath.Join(home, keysFile))
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("%s: %w", home, ErrNotDir)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if info, err := os.Stat(home); err == nil && !info.IsDir() { // Windows has no ENOTDIR
		return fmt.Errorf("%s: %w", home, ErrNotDir)
	}
	if _, err := os.Lstat(filepath.Join(home, storeDir)); err == nil {
		return fmt.Errorf("%s: %w: it is missing, and the store it belongs to is there", filepath.Join(home, keysFile), ErrKeys)
	}
	return fmt.Errorf("%w in %s", ErrNoProfile, home)
}

// prepare makes the directory for a new profile. A directory with other things in
// it is refused, because the profile's directory is closed to everybody else.
func prepare(home string) error {
	if err := os.MkdirAll(home, ownerDir); err != nil {
		return fmt.Errorf("profile directory: %w", err)
	}
	entries, err := os.ReadDir(home)
	if err != nil {
		return fmt.Errorf("profile directory: %w", err)
	}
	for _, e := range entries {
		switch name := e.Name(); {
		case name == keysFile:
			return fmt.Errorf("%s: %w", home, ErrExists)
		case name != lockFile && !isTemp(name): // left by an init that was cut short
			return fmt.Errorf("%s: %w", home, ErrNotEmpty)
		}
	}
	if err := os.Chmod(home, ownerDir); err != nil {
		return fmt.Errorf("profile directory: %w", err)
	}
	return nil
}

// checkPrivate says whether only the owner may use a file or directory.
func checkPrivate(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if runtime.GOOS == "windows" { // access lists, inherited from the user's own directory
		return nil
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return &ExposedError{Path: path, Mode: perm, Dir: info.IsDir()}
	}
	return nil
}

// ExposedError is an ErrExposed that knows how to repair it.
type ExposedError struct {
	Path string
	Mode fs.FileMode
	Dir  bool
}

// Error implements error.
func (e *ExposedError) Error() string {
	return fmt.Sprintf("%s: %v (mode %04o)", e.Path, ErrExposed, e.Mode)
}

// Unwrap makes it an ErrExposed.
func (e *ExposedError) Unwrap() error { return ErrExposed }

// Repair is the command that closes the file to others.
func (e *ExposedError) Repair() string {
	if e.Dir {
		return fmt.Sprintf("chmod 700 %q", e.Path)
	}
	return fmt.Sprintf("chmod 600 %q", e.Path)
}
