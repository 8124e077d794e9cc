package local

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"
)

// maxSocketPath keeps below the 104 bytes that macOS has for a socket's path.
const maxSocketPath = 100

// socketPath is where the holder of a profile answers: in the profile, or, where
// that path is too long for a socket, in a directory of the user's.
func socketPath(home string) (string, error) {
	path := filepath.Join(home, "socket")
	if len(path) <= maxSocketPath {
		return path, nil
	}
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if dir == "" || len(dir) > maxSocketPath/2 {
		dir = os.TempDir()
	}
	dir = filepath.Join(dir, "p2pchat-"+strconv.Itoa(os.Getuid()))
	if err := ownDir(dir); err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(home))
	return filepath.Join(dir, hex.EncodeToString(sum[:8])), nil
}

// ownDir makes a directory that only this user can enter. In a shared place
// somebody else may have made it first: then it is not used.
func ownDir(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("directory for the socket: %w", err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("directory for the socket: %w", err)
	}
	if runtime.GOOS != "windows" && (!info.IsDir() || info.Mode().Perm()&0o077 != 0 || !mine(info)) {
		return fmt.Errorf("directory for the socket: %s is not this user's alone", dir)
	}
	return nil
}

// listen makes the socket. The caller holds the profile, so a socket that is
// there was left by a process that was killed.
func listen(home string) (net.Listener, error) {
	path, err := socketPath(home)
	if err != nil {
		return nil, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("socket: %w", err)
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil { // the directory is closed already
		return nil, errors.Join(err, ln.Close())
	}
	return ln, nil
}

// errNobody says that nobody answers at the socket.
var errNobody = errors.New("nobody holds the profile")

// dial reaches the holder.
func dial(ctx context.Context, home string) (net.Conn, error) {
	path, err := socketPath(home)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{Timeout: 5 * time.Second} // a full backlog, never a network
	conn, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNobody, err)
	}
	return conn, nil
}
