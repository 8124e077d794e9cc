//go:build unix

package main

import "golang.org/x/sys/unix"

// closeFiles makes whatever this process creates its owner's alone, also where a
// library chooses the mode.
func closeFiles() { unix.Umask(0o077) }
