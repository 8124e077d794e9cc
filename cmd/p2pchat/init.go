package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/profile"
	"github.com/p2pchat/p2pchat/protocol"
)

// newProfile is what init prints.
type newProfile struct {
	Name   string `json:"name"`
	Home   string `json:"home"`
	Phrase string `json:"phrase,omitempty"` // shown once, when it is new
}

func newInit(a *app) *cobra.Command {
	var name string
	var restore bool
	var by sealFlags
	cmd := &cobra.Command{
		Use:   "init --name NAME",
		Short: "Make a profile",
		Long: `Init makes a profile: who you are, and this device's keys. It prints 24 words on
stdout, once. Whoever has them is you: write them down and show them to nobody.
With --phrase-stdin it reads such words instead and makes a new device of theirs;
groups come back with an invitation or from another device. The keys lie in a file that
only you can read, unless they are sealed: --passphrase, or --keyring where there is one.`,
		Example: "  p2pchat init --name Ana\n  p2pchat init --name Ana --passphrase\n  p2pchat init --name Ana --phrase-stdin < words.txt",
		Args:    args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.runInit(cmd, name, restore, by)
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "how others see you")
	cmd.Flags().BoolVar(&restore, "phrase-stdin", false, "read the 24 words of an account from stdin")
	addSeal(cmd, &by)
	return cmd
}

func (a *app) runInit(cmd *cobra.Command, name string, restore bool, by sealFlags) error {
	err := profile.Check(a.home)
	switch {
	case err == nil:
		return fmt.Errorf("%s: %w", a.home, profile.ErrExists)
	case !errors.Is(err, profile.ErrNoProfile):
		return err
	}
	if name == "" && a.interactive() && !restore {
		if name, err = a.readLine("Your name, as others will see it: "); err != nil {
			return err
		}
	}
	if name == "" {
		return usagef(cmd, "--name is missing")
	}
	var seed protocol.Secret
	if restore {
		words, err := a.readLine("")
		if err != nil {
			return err
		}
		if seed, err = protocol.ParsePhrase(words); err != nil {
			return err
		}
	}
	seal, err := a.newSeal(cmd, by, by.passphrase || a.passphraseFD >= 0)
	if err != nil {
		return err
	}
	defer clear(seal.Passphrase)
	return a.makeProfile(name, seed, seal)
}

// makeProfile makes a profile and prints the words of a new account: on stdout,
// because a file or a printer may be what they are for, and everything else on
// stderr.
func (a *app) makeProfile(name string, seed protocol.Secret, by profile.Seal) error {
	name, err := checkName(name)
	if err != nil {
		return err
	}
	keys, err := profile.NewKeys(name, seed, rand.Reader)
	if err != nil {
		return err
	}
	if err := profile.Create(a.home, keys, by); err != nil {
		return err
	}
	out := newProfile{Name: name, Home: a.home}
	if seed.IsZero() {
		out.Phrase = keys.Account.Phrase()
	}
	a.note("Profile of %s made in %s", cleanName(name), a.home)
	switch {
	case a.json:
		if err := a.printJSON(out); err != nil {
			return err
		}
	case out.Phrase != "":
		a.note("These 24 words are you. Write them down; they are not shown again:\n")
		if _, err := fmt.Fprintln(a.stdout, out.Phrase); err != nil {
			return err
		}
		a.note("")
	}
	a.note(`next: p2pchat group create "Hiking club", or p2pchat join LINK`)
	return nil
}

// needProfile offers to make a profile where there is none and somebody can be
// asked. Without a terminal it never asks.
func (a *app) needProfile(context.Context) error {
	missing := profile.Check(a.home)
	if !errors.Is(missing, profile.ErrNoProfile) || !a.interactive() {
		return missing
	}
	a.note("There is no profile in %s yet; this makes one.", a.home)
	name, err := a.readLine("Your name, as others will see it (empty: stop): ")
	if err != nil || name == "" {
		return errors.Join(missing, err)
	}
	asJSON := a.json
	a.json = false // the words are for a person here, and stdout is for the command
	stdout := a.stdout
	a.stdout = a.stderr
	err = a.makeProfile(name, protocol.Secret{}, profile.Seal{Kind: profile.SealNone})
	a.json, a.stdout = asJSON, stdout
	return err
}
