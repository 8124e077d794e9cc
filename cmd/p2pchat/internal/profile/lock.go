package profile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// ErrHeld says that another process has the profile open.
var ErrHeld = errors.New("the profile is held by another process")

// errLocked is what the system's lock says while another process has it.
var errLocked = errors.New("locked")

// HeldError is an ErrHeld that knows who.
type HeldError struct {
	Home string
	Verb string // what the holder was started to do: "chat", "daemon"; empty if not known
	PID  int    // 0 if not known
}

// Error implements error.
func (e *HeldError) Error() string {
	switch {
	case e.PID == 0:
		return fmt.Sprintf("profile %s is held by another process", e.Home)
	case e.Verb == "":
		return fmt.Sprintf("profile %s is held by process %d", e.Home, e.PID)
	}
	return fmt.Sprintf("profile %s is held by `p2pchat %s` (pid %d)", e.Home, e.Verb, e.PID)
}

// Unwrap makes it an ErrHeld.
func (e *HeldError) Unwrap() error { return ErrHeld }

// Lock is a profile held by this process. The system takes it back when the
// process ends, however it ends.
type Lock struct{ file *os.File }

// Acquire takes the profile, or fails at once with a *HeldError. The verb is left
// in the lock for others to read; it must hold no secret.
func Acquire(home, verb string) (*Lock, error) {
	f, err := os.OpenFile(filepath.Join(home, lockFile), os.O_RDWR|os.O_CREATE, ownerFile)
	if err != nil {
		return nil, fmt.Errorf("lock the profile: %w", err)
	}
	switch err := tryLock(f); {
	case errors.Is(err, errLocked):
		held := readHolder(home, f)
		_ = f.Close()
		return nil, held
	case err != nil:
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	if err := writeHolder(f, verb); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return &Lock{file: f}, nil
}

// Release gives the profile back. The file stays: removing it would let two
// processes lock two files of the same name.
func (l *Lock) Release() error { return l.file.Close() }

func writeHolder(f *os.File, verb string) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt(fmt.Appendf(nil, "%d %s\n", os.Getpid(), verb), 0)
	return err
}

func readHolder(home string, f *os.File) *HeldError {
	held := &HeldError{Home: home}
	b := make([]byte, 128) // a number and a verb
	n, _ := f.ReadAt(b, 0) // what cannot be read is not known
	pid, verb, _ := strings.Cut(strings.TrimSpace(string(b[:n])), " ")
	held.PID, _ = strconv.Atoi(pid)
	if held.PID > 0 && !strings.ContainsFunc(verb, func(r rune) bool { return (r < 'a' || r > 'z') && r != ' ' }) {
		held.Verb = verb
	}
	return held
}
