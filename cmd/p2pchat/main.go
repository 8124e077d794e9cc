// Command p2pchat is group chat without a server: it finds the other members on
// the LAN or through a DHT, and keeps everything it has on disk, sealed in transit.
//
// The commands are thin. Each parses its arguments, asks the process that holds
// the profile (package local), which may be itself, and prints the answer
// (output.go). Errors say what to type next (errors.go).
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(mainCode()) }

func mainCode() int {
	// Libraries that print where nobody asked them to: zeroconf through log, and
	// quic-go about a kernel setting that only root can change.
	log.SetOutput(io.Discard)
	_ = os.Setenv("QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING", "true")

	closeFiles()
	ctx, stop := withSignals(context.Background())
	defer stop()
	a := &app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv}
	return a.run(ctx, os.Args[1:])
}

// signalError is why a context ended: somebody asked the process to.
type signalError struct{ sig syscall.Signal }

// Error implements error.
func (e signalError) Error() string { return e.sig.String() }

// code is what a shell expects of a process that ended by a signal.
func (e signalError) code() int { return 128 + int(e.sig) }

// withSignals ends the context at the first SIGINT or SIGTERM. A second one kills
// at once, for who does not want to wait for a tidy end.
func withSignals(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case s := <-ch:
			signal.Stop(ch)
			sig, _ := s.(syscall.Signal)
			cancel(signalError{sig})
		case <-ctx.Done():
		}
	}()
	return ctx, func() { signal.Stop(ch); cancel(nil); <-done }
}

// fatal ends the process where the store cannot go on: see disk.Options.
func (a *app) fatal(err error) {
	fmt.Fprintf(a.stderr, "p2pchat: %v\nnext: free some space or check the disk, then p2pchat status\n", err)
	os.Exit(1)
}
