package profile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/p2pchat/p2pchat/storage/disk"
)

// Vacant says whether a profile can be put into home as a whole: there is nothing, or
// an empty directory.
func Vacant(home string) error {
	switch err := Check(home); {
	case err == nil:
		return fmt.Errorf("%s: %w", home, ErrExists)
	case !errors.Is(err, ErrNoProfile):
		return err
	}
	entries, err := os.ReadDir(home)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("profile directory: %w", err)
	case len(entries) > 0:
		return fmt.Errorf("%s: %w", home, ErrNotEmpty)
	}
	return nil
}

// Fill makes a profile with a store that fill has filled, beside its place, and moves
// it there: it is whole, or there is none.
func Fill(home string, k Keys, by Seal, o disk.Options, fill func(*disk.Store) error) error {
	if err := Vacant(home); err != nil {
		return err
	}
	parent := filepath.Dir(home)
	if err := os.MkdirAll(parent, ownerDir); err != nil {
		return fmt.Errorf("profile directory: %w", err)
	}
	tmp, err := os.MkdirTemp(parent, tempPrefix+"restore-") // 0700
	if err != nil {
		return fmt.Errorf("profile directory: %w", err)
	}
	defer func() { _ = os.RemoveAll(tmp) }() // gone already after the rename
	if err := Create(tmp, k, by); err != nil {
		return err
	}
	store, err := OpenStore(tmp, o)
	if err != nil {
		return err
	}
	if err := errors.Join(fill(store), store.Close()); err != nil {
		return err
	}
	if err := os.Remove(home); err != nil && !errors.Is(err, fs.ErrNotExist) { // never one with something in it
		return fmt.Errorf("profile directory: %w", err)
	}
	if err := os.Rename(tmp, home); err != nil {
		return err
	}
	return syncDir(parent)
}

// WriteNew writes a file that only the owner can read, as a stream. It is there whole
// or not at all, and never in another's place.
func WriteNew(path string, write func(io.Writer) error) error {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, tempPrefix) // 0600
	if err != nil {
		return unwritten(path, err)
	}
	defer func() { _ = os.Remove(tmp.Name()) }() // gone already after the rename
	b := bufio.NewWriter(tmp)
	err = write(b)
	if err == nil {
		err = b.Flush()
	}
	if err == nil {
		err = tmp.Sync()
	}
	if err := errors.Join(err, tmp.Close()); err != nil {
		return unwritten(path, err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: there is a file already", path)
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// unwritten says that a file was not written, by its own name rather than that of the
// one beside it.
func unwritten(path string, err error) error {
	if inner := new(fs.PathError); errors.As(err, &inner) && isTemp(filepath.Base(inner.Path)) {
		err = inner.Err
	}
	return fmt.Errorf("write %s: %w", path, err)
}
