package profile

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/zalando/go-keyring"
)

// Reseal puts a profile's keys under another seal. It is the one thing that replaces a
// key file, and never loses the keys: the new file is on disk, and was read back and
// opened from there, before it takes the old one's place.
func Reseal(home string, ask Ask, by Seal) error {
	if err := Check(home); err != nil {
		return err
	}
	held, err := Acquire(home, "passphrase")
	if err != nil {
		return err
	}
	defer func() { _ = held.Release() }()
	old, path, err := read(home)
	if err != nil {
		return err
	}
	keys, err := old.open(ask)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := removeTemps(home); err != nil {
		return err
	}
	data, err := keys.encode(by)
	if err != nil {
		return err
	}
	defer clear(data)
	if err := replace(path, data, func(data []byte) error { return keys.check(data, by) }); err != nil {
		return err
	}
	if old.Protection.Kind == SealKeyring {
		_ = keyring.Delete(keyringService, old.Protection.ID) // of no use to anybody any more
	}
	return nil
}

// check says whether a key file is these keys under a seal.
func (k Keys) check(data []byte, by Seal) error {
	f, err := decodeFile(data)
	if err != nil {
		return err
	}
	got, err := f.open(func() (Passphrase, error) { return bytes.Clone(by.Passphrase), nil })
	if err != nil {
		return err
	}
	if got.Name != k.Name || got.Account != k.Account || !got.Peer.Equals(k.Peer) {
		return errors.New("it does not hold the keys that were written")
	}
	return nil
}

// replace puts a file in another's place, once it is on disk and what is there passed
// a check. After a crash one of the two is there, whole.
func replace(path string, data []byte, check func([]byte) error) error {
	dir := filepath.Dir(path)
	tmp, err := writeTemp(dir, data)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() { _ = os.Remove(tmp) }() // gone already after the rename
	got, err := os.ReadFile(tmp)
	if err == nil {
		err = check(got)
	}
	clear(got)
	if err != nil {
		return fmt.Errorf("%s stays as it was: the new one: %w", path, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncDir(dir)
}

// removeTemps deletes key files that a crash left unfinished: they may hold keys in
// the open. The caller holds the profile.
func removeTemps(home string) error {
	entries, err := os.ReadDir(home)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if isTemp(e.Name()) && e.Type().IsRegular() {
			if err := os.Remove(filepath.Join(home, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
