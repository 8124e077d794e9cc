package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/local"
	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/profile"
	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
	"github.com/p2pchat/p2pchat/storage/disk"
)

// Exit codes.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2 // the command line cannot be understood
	exitWaits = 3 // a person has to approve first
)

// usageError is a command line that cannot be understood.
type usageError struct {
	cmd string // whose --help helps
	err error
}

// Error implements error.
func (e *usageError) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *usageError) Unwrap() error { return e.err }

// usagef says what is wrong about a command line.
func usagef(cmd *cobra.Command, format string, args ...any) error {
	return &usageError{cmd: cmd.CommandPath(), err: fmt.Errorf(format, args...)}
}

// nextError is an error that knows what to type next better than nextStep does.
type nextError struct {
	err  error
	next string
}

// Error implements error.
func (e *nextError) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *nextError) Unwrap() error { return e.err }

// report prints an error and what to type next, and returns the exit code.
func (a *app) report(ctx context.Context, err error) int {
	if err == nil {
		return exitOK
	}
	var sig signalError
	if errors.As(context.Cause(ctx), &sig) {
		return sig.code() // they know what they did
	}
	text := strings.ReplaceAll(cleanText(err.Error()), "refused: refused: ", "refused: ") // ours, and theirs of the wire
	fmt.Fprintf(a.stderr, "p2pchat: %s\nnext: %s\n", strings.ReplaceAll(text, "\n", "; "), nextStep(err))
	var usage *usageError
	if errors.As(err, &usage) || errors.Is(err, local.ErrBadRequest) {
		return exitUsage
	}
	if errors.Is(err, node.ErrApproval) {
		return exitWaits
	}
	return exitError
}

// nextStep is the command to type after an error.
func nextStep(err error) string {
	var (
		usage   *usageError
		next    *nextError
		exposed *profile.ExposedError
		held    *profile.HeldError
		store   *disk.Error
	)
	switch {
	case errors.As(err, &next):
		return next.next
	case errors.As(err, &usage):
		return usage.cmd + " --help"
	case errors.As(err, &exposed):
		return exposed.Repair()
	case errors.As(err, &held) && held.PID > 0:
		return fmt.Sprintf("kill %d, or wait until it ends", held.PID)
	case errors.Is(err, disk.ErrFull):
		return "df -h, free some space, then repeat the command; nothing was lost"
	case errors.As(err, &store):
		return fmt.Sprintf("mv %s %s, or put a backup in its place; members send the history again", path(store.Dir), path(store.Dir+".damaged"))
	}
	for _, s := range nextSteps() {
		if errors.Is(err, s.err) {
			return s.next
		}
	}
	return "p2pchat status, or the same with --verbose"
}

// path quotes a path for a shell. One that is easy to read stays as it is.
func path(p string) string {
	if !strings.ContainsFunc(p, func(r rune) bool { return r != '/' && hint(string(r)) != string(r) }) {
		return p
	}
	return hint(p)
}

type step struct {
	err  error
	next string
}

// nextSteps are the ways out of errors that need no more than a sentence. The
// first that fits is taken.
func nextSteps() []step {
	return []step{
		{profile.ErrNoProfile, "p2pchat init --name YOUR-NAME"},
		{local.ErrBadRequest, "end the p2pchat that runs, if it is of another version than this one, and start it again; else --help of the command"},
		{profile.ErrExists, "p2pchat whoami, or --home DIR for another profile"},
		{profile.ErrNotEmpty, "p2pchat init --name YOUR-NAME --home AN-EMPTY-DIR"},
		{profile.ErrKeys, "put a copy of keys.json in its place; or move the directory aside, then p2pchat init --name YOUR-NAME --phrase-stdin"},
		{profile.ErrNeedPassphrase, "the same at a terminal, or with --passphrase-fd 3 3< FILE; while p2pchat daemon runs nobody asks"},
		{profile.ErrPassphrase, "the same again with the passphrase; or a backup: p2pchat restore FILE --home ANOTHER-DIR"},
		{profile.ErrWeak, "the same with another passphrase"},
		{profile.ErrKeyring, "log in where the keyring is; or seal with a passphrase instead: --passphrase at init, or p2pchat passphrase"},
		{storage.ErrWrongKey, "put the keys.json back that belongs to the store; or move the store aside, and join again: members send the history"},
		{storage.ErrUnsealed, "move the store aside, and join again: members send the history"},
		{node.ErrBadBackup, "another backup; this one is not as it was written, and nothing was restored"},
		{local.ErrCutShort, "p2pchat status --verbose, then the same again"},
		{node.ErrUnknownDevice, "p2pchat device list all"},
		{profile.ErrNotDir, "p2pchat init --name YOUR-NAME --home DIR, with a DIR that is none yet (or P2PCHAT_HOME)"},
		{profile.ErrName, "p2pchat init --name YOUR-NAME"},
		{protocol.ErrBadPhrase, "p2pchat init --name YOUR-NAME --phrase-stdin, with the 24 words as they were printed"},
		{protocol.ErrBadLink, "p2pchat join LINK, with the whole link in one piece; a member makes one with p2pchat invite create GROUP"},
		{node.ErrBadPlan, `p2pchat group plan "A name", and begin again with what it prints, in one piece`},
		{node.ErrBadFile, "p2pchat join LINK --request-out FILE makes a request, p2pchat invite answer FILE --out FILE the answer to it; carry them whole"},
		{node.ErrUnknownInvite, "wait until this device has met who made the invitation (p2pchat daemon), or p2pchat import a newer file of theirs; then the same again"},
		{protocol.ErrTooLarge, "split it; what is long goes line by line: p2pchat send GROUP - < FILE"},
		{protocol.ErrNotText, `p2pchat send GROUP "some text"`},
		{local.ErrInterrupted, "p2pchat log GROUP -n 5, to see whether it was done"},
		{local.ErrClosing, "the same again"},
		{node.ErrListen, "the same with another address: --listen /ip4/0.0.0.0/tcp/0"},
		{node.ErrApproval, "the same again, now or when somebody there typed p2pchat request approve; --wait 1h waits longer"},
		{node.ErrQuestion, `the same again with --answer "YOUR ANSWER"`},
		{node.ErrNoQuestion, "the same again without --answer"},
		{node.ErrElsewhere, "ask the one who made the invitation to be online (p2pchat daemon), then the same again with --wait 5m"},
		{node.ErrNoAdmitter, "ask the one who invited you to run p2pchat daemon, then the same again with --wait 5m"},
		{node.ErrBanned, "ask a moderator for p2pchat unban GROUP YOUR-NAME, then the same again"},
		{node.ErrRefused, "ask a member who may invite for a new link"},
		{node.ErrNearbyTries, "look who is on this network; then the same again on both sides, or p2pchat invite create GROUP and a link"},
		{node.ErrNearbyOver, "the same on both sides at once: p2pchat invite nearby GROUP, and p2pchat join --nearby"},
		{node.ErrNearbyBusy, "finish or end the other p2pchat that invites or joins nearby"},
		{node.ErrNotAllowed, "p2pchat members GROUP, to see who may"},
		{node.ErrUnknownName, "p2pchat members GROUP"},
		{node.ErrUnknownGroup, "p2pchat group list"},
		{node.ErrAmbiguous, "p2pchat group list, and use the id"},
		{fs.ErrPermission, "chmod or chown what is named above, or --home ANOTHER-DIR"},
		{fs.ErrExist, "the same with a file that is not there yet"},
		{fs.ErrNotExist, "the same with a file, or a directory for it, that is there"},
		{syscall.ENOSPC, "df -h, free some space there, then the same again"},
	}
}
