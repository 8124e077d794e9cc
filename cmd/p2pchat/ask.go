package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// errNo is the answer of somebody who was asked.
var errNo = errors.New("nothing was done")

// addYes adds the flag of commands that ask before they do what is hard to undo.
func addYes(cmd *cobra.Command, yes *bool) {
	cmd.Flags().BoolVarP(yes, "yes", "y", false, "do not ask")
}

// checkYes refuses what needs an answer where nobody can give one, before anything
// else happens.
func (a *app) checkYes(cmd *cobra.Command, yes bool) error {
	if yes || a.interactive() {
		return nil
	}
	return usagef(cmd, "there is no terminal to ask on; --yes says that you mean it")
}

// confirm asks, unless the answer was given.
func (a *app) confirm(ctx context.Context, yes bool, format string, args ...any) error {
	if yes {
		return nil
	}
	question := fmt.Sprintf(format, args...) + " [y/N] "
	type answer struct {
		line string
		err  error
	}
	// A read from a terminal cannot be cut short: after a signal this goroutine ends
	// with the process.
	answered := make(chan answer, 1)
	go func() {
		line, err := a.readLine(question)
		answered <- answer{line, err}
	}()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case got := <-answered:
		switch strings.ToLower(got.line) {
		case "y", "yes":
			return got.err
		}
		return errors.Join(got.err, &nextError{errNo, "the same again, and y; or with --yes"})
	}
}
