package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/profile"
)

// sealed is what passphrase prints.
type sealed struct {
	Home string `json:"home"`
	Seal string `json:"seal"` // none, passphrase or keyring
}

func newPassphrase(a *app) *cobra.Command {
	var remove, inKeyring bool
	cmd := &cobra.Command{
		Use:   "passphrase",
		Short: "Seal the profile with a passphrase, or change it",
		Long: `Passphrase seals this device's keys, and with them everything secret in the profile's
store, with a passphrase. It asks for the old one, where there is one, and twice for the
new one. Without a terminal it reads them from --passphrase-fd, a line each. The profile
must not be in use meanwhile. There is no way back in without the passphrase but a backup
or the 24 words.`,
		Example: "  p2pchat passphrase\n  p2pchat passphrase --passphrase-fd 3 3< FILE    # the old one's line, then the new one's\n  p2pchat passphrase --keyring",
		Args:    args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if remove && inKeyring {
				return usagef(cmd, "--remove and --keyring are two different things to do")
			}
			return a.reseal(cmd.Context(), remove, inKeyring)
		},
	}
	cmd.Flags().BoolVar(&remove, "remove", false, "leave the keys in the open, in a file that only you can read")
	cmd.Flags().BoolVar(&inKeyring, "keyring", false, "seal them under a key in the system's keyring instead")
	return cmd
}

func (a *app) reseal(ctx context.Context, remove, inKeyring bool) error {
	was, err := profile.SealOf(a.home)
	if err != nil {
		return err
	}
	// Said before anybody types a passphrase twice; Reseal takes the lock for good.
	lock, err := profile.Acquire(a.home, "passphrase")
	if err != nil {
		return err
	}
	if err := lock.Release(); err != nil {
		return err
	}
	by, old := profile.Seal{Kind: profile.SealPassphrase}, profile.Passphrase(nil)
	switch {
	case remove:
		by.Kind = profile.SealNone
	case inKeyring:
		by.Kind = profile.SealKeyring
	}
	if was == profile.SealPassphrase {
		if old, err = a.readSecret(ctx, "Passphrase of the profile: "); err != nil {
			return err
		}
		defer clear(old)
	}
	if by.Kind == profile.SealPassphrase {
		if by.Passphrase, err = a.readNewSecret(ctx, "New passphrase"); err != nil {
			return err
		}
		defer clear(by.Passphrase)
	}
	// A copy: who asked for it wipes it.
	if err := profile.Reseal(a.home, func() (profile.Passphrase, error) { return bytes.Clone(old), nil }, by); err != nil {
		return err
	}
	return a.print(sealed{a.home, by.Kind}, "%s", sealedText(by.Kind))
}

func sealedText(kind string) string {
	switch kind {
	case profile.SealPassphrase:
		return "sealed with the passphrase; commands ask for it unless p2pchat daemon runs"
	case profile.SealKeyring:
		return "sealed under a key in the system's keyring"
	}
	return "not sealed: who can read your files can read the keys"
}

// addSeal adds the flags of commands that make a profile.
func addSeal(cmd *cobra.Command, by *sealFlags) {
	cmd.Flags().BoolVar(&by.passphrase, "passphrase", false, "seal the new profile with a passphrase, asked for twice")
	cmd.Flags().BoolVar(&by.keyring, "keyring", false, "seal it under a key in the system's keyring")
}

// sealFlags say what a new profile is sealed with.
type sealFlags struct{ passphrase, keyring bool }

// newSeal settles what a new profile is sealed with, and asks for it where it is a
// passphrase.
func (a *app) newSeal(cmd *cobra.Command, by sealFlags, passphrase bool) (profile.Seal, error) {
	switch {
	case by.keyring && by.passphrase:
		return profile.Seal{}, usagef(cmd, "--passphrase and --keyring: one of them")
	case by.keyring:
		return profile.Seal{Kind: profile.SealKeyring}, nil
	case passphrase:
		p, err := a.readNewSecret(cmd.Context(), "Passphrase for the profile")
		return profile.Seal{Kind: profile.SealPassphrase, Passphrase: p}, err
	}
	return profile.Seal{Kind: profile.SealNone}, nil
}

// askProfile asks for the passphrase of the profile, once a run: a process that comes
// to hold the profile again has it still.
func (a *app) askProfile(ctx context.Context) profile.Ask {
	return func() (profile.Passphrase, error) {
		if a.opener == nil {
			p, err := a.readSecret(ctx, "Passphrase of the profile: ")
			if err != nil {
				return nil, err
			}
			a.opener = p
		}
		return bytes.Clone(a.opener), nil
	}
}

// readSecret reads a passphrase from --passphrase-fd, a line each, or asks for it
// without echo.
func (a *app) readSecret(ctx context.Context, prompt string) (profile.Passphrase, error) {
	switch {
	case a.passphraseFD >= 0:
		return a.readFD()
	case a.interactive():
		return a.readHidden(ctx, prompt)
	}
	return nil, profile.ErrNeedPassphrase
}

// readNewSecret reads a passphrase that is to be set: at a terminal twice.
func (a *app) readNewSecret(ctx context.Context, what string) (profile.Passphrase, error) {
	p, err := a.readSecret(ctx, what+": ")
	if err != nil {
		return nil, err
	}
	if err := p.Check(); err != nil {
		return nil, err
	}
	if a.passphraseFD >= 0 {
		return p, nil
	}
	again, err := a.readSecret(ctx, what+", again: ")
	if err != nil {
		return nil, err
	}
	defer clear(again)
	if !slices.Equal(p, again) {
		return nil, fmt.Errorf("%w: the two are not the same", profile.ErrWeak)
	}
	return p, nil
}

// readFD reads a line of --passphrase-fd, and not a byte more: what follows may be
// another passphrase, or a command's input.
func (a *app) readFD() (profile.Passphrase, error) {
	if a.secrets == nil {
		a.secrets = os.NewFile(uintptr(a.passphraseFD), "passphrase")
	}
	line := make(profile.Passphrase, 0, profile.MaxPassphrase+1)
	var b [1]byte
	for {
		n, err := a.secrets.Read(b[:])
		if n == 1 && b[0] != '\n' {
			if line = append(line, b[0]); len(line) > profile.MaxPassphrase {
				return nil, fmt.Errorf("--passphrase-fd %d: %w: a line of over %d bytes", a.passphraseFD, profile.ErrWeak, profile.MaxPassphrase)
			}
			continue
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("--passphrase-fd %d cannot be read: %w", a.passphraseFD, errors.Unwrap(err))
		}
		if line = bytes.TrimSuffix(line, []byte("\r")); len(line) == 0 {
			return nil, fmt.Errorf("--passphrase-fd %d: %w: there is no line for it", a.passphraseFD, profile.ErrNeedPassphrase)
		}
		return line, nil
	}
}

// readHidden asks at the terminal. There is no echo from before the prompt is shown, and
// a signal gives it back.
func (a *app) readHidden(ctx context.Context, prompt string) (profile.Passphrase, error) {
	fd := int(a.stdin.(*os.File).Fd())
	state, err := term.MakeRaw(fd)
	if err != nil {
		return nil, err
	}
	defer func() { _ = term.Restore(fd, state) }()
	if a.hidden == nil { // one for all questions: it may hold the next answer already
		a.hidden = term.NewTerminal(terminalEnds{a.stdin, a.stderr}, "")
	}
	type answer struct {
		line string
		err  error
	}
	answered := make(chan answer, 1) // see confirm
	go func() {
		line, err := a.hidden.ReadPassword(prompt)
		answered <- answer{line, err}
	}()
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case got := <-answered:
		if errors.Is(got.err, io.EOF) { // ^C or ^D
			return nil, &nextError{errNo, "the same again, and the passphrase"}
		}
		return profile.Passphrase(got.line), got.err
	}
}

// terminalEnds is a terminal as a program has it: one end to read, one to write.
type terminalEnds struct {
	io.Reader
	io.Writer
}
