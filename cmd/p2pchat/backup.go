package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/local"
	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/profile"
	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage/disk"
)

// backupFormat begins a backup, inside its sealing. What follows the line is
// [node.Node.Backup]'s.
const backupFormat = "p2pchat-backup/1"

// backupHead is the first line of a backup.
type backupHead struct {
	Version string `json:"format"`
	Name    string `json:"name"`
	Seed    []byte `json:"seed"`
}

// Format keeps the seed out of output.
func (backupHead) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "redacted") }

// backedUp is what backup and restore print.
type backedUp struct {
	File string `json:"file"`
	Home string `json:"home"`
	Name string `json:"name"`
}

func newBackup(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "backup FILE",
		Short: "Write all you have into one sealed file",
		Long: `Backup writes who you are, your groups, their keys and their history into one file, sealed
with a passphrase of its own (age). It asks for it twice, or reads it from
--passphrase-fd; where the profile is sealed, the profile's comes after it. It works while
p2pchat daemon runs. It never replaces a file.`,
		Example: "  p2pchat backup ~/p2pchat-2026-11.backup\n  p2pchat backup FILE --passphrase-fd 3 3< PASSPHRASE",
		Args:    args(1, 1, "FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			file, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			return a.runBackup(cmd.Context(), file)
		},
	}
}

func (a *app) runBackup(ctx context.Context, file string) error {
	if err := profile.Check(a.home); err != nil {
		return err
	}
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(&nextError{fmt.Errorf("%s: there is a file already; a backup replaces none", file), "p2pchat backup ANOTHER-FILE"}, err)
	}
	passphrase, err := a.readNewSecret(ctx, "Passphrase for the backup")
	if err != nil {
		return err
	}
	defer clear(passphrase)
	keys, err := profile.Load(a.home, a.askProfile(ctx))
	if err != nil {
		return err
	}
	err = a.with(ctx, "backup", false, func(c *local.Client) error {
		return profile.WriteNew(file, func(w io.Writer) error { return writeBackup(ctx, w, keys, passphrase, c) })
	})
	if err != nil {
		return err
	}
	return a.print(backedUp{file, a.home, keys.Name}, "wrote %s; p2pchat restore reads it, with its passphrase only", file)
}

// writeBackup seals the account, and behind it what the node streams.
func writeBackup(ctx context.Context, w io.Writer, keys profile.Keys, p profile.Passphrase, c *local.Client) error {
	sealed, err := profile.Encrypt(w, p)
	if err != nil {
		return err
	}
	head, err := json.Marshal(backupHead{Version: backupFormat, Name: keys.Name, Seed: keys.Account.Seed[:]})
	if err != nil {
		return err
	}
	defer clear(head)
	if _, err := sealed.Write(append(head, '\n')); err != nil {
		return err
	}
	if err := c.Backup(ctx, sealed); err != nil {
		return err
	}
	return sealed.Close()
}

func newRestore(a *app) *cobra.Command {
	var by sealFlags
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Make a profile from a backup",
		Long: `Restore makes a profile from what backup wrote: you, your groups and all that could be
read. It is a new device of yours, so the old one may go on; end it if it was lost:
p2pchat device revoke. It restores all or nothing, and only where there is no profile.
With --passphrase-fd the first line is the backup's passphrase, and with --passphrase the
next is the new profile's.`,
		Example: "  p2pchat restore ~/p2pchat-2026-11.backup\n  p2pchat restore FILE --home ANOTHER-DIR --passphrase",
		Args:    args(1, 1, "FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.runRestore(cmd, args[0], by)
		},
	}
	addSeal(cmd, &by)
	return cmd
}

func (a *app) runRestore(cmd *cobra.Command, file string, by sealFlags) error {
	ctx := cmd.Context()
	if err := profile.Vacant(a.home); err != nil {
		return err
	}
	in, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	passphrase, err := a.readSecret(ctx, "Passphrase of the backup: ")
	if err != nil {
		return err
	}
	defer clear(passphrase)
	seal, err := a.newSeal(cmd, by, by.passphrase)
	if err != nil {
		return err
	}
	defer clear(seal.Passphrase)
	opened, err := profile.Decrypt(bufio.NewReader(in), passphrase)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	name, err := a.restore(ctx, bufio.NewReaderSize(opened, maxHead), seal)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if err := a.print(backedUp{file, a.home, name}, "restored %s in %s, as a new device", cleanName(name), a.home); err != nil {
		return err
	}
	if seal.Kind == profile.SealNone {
		a.note("its keys lie in the open, whatever the old profile had: p2pchat passphrase seals them")
	}
	a.note("next: p2pchat status; if the old device was lost: p2pchat device revoke all --others")
	return nil
}

// maxHead bounds the first line of a backup in bytes.
const maxHead = 4 << 10

// restore makes the profile; nothing is left of it where it fails.
func (a *app) restore(ctx context.Context, in *bufio.Reader, by profile.Seal) (name string, err error) {
	line, err := in.ReadSlice('\n')
	defer clear(line)
	var head backupHead
	if err != nil || json.Unmarshal(line, &head) != nil || len(head.Seed) != len(protocol.Secret{}) {
		return "", fmt.Errorf("%w: it does not begin as one", node.ErrBadBackup)
	}
	defer clear(head.Seed)
	if head.Version != backupFormat {
		return "", fmt.Errorf("%w: its format needs another version of p2pchat; this one reads %q", node.ErrBadBackup, backupFormat)
	}
	keys, err := profile.NewKeys(head.Name, protocol.Secret(head.Seed), rand.Reader)
	if err != nil {
		return "", fmt.Errorf("%w: %w", node.ErrBadBackup, err)
	}
	key, err := keys.StoreKey()
	if err != nil {
		return "", err
	}
	options := disk.Options{Logger: a.logger, Fatal: a.fatal}
	return keys.Name, profile.Fill(a.home, keys, by, options, func(store *disk.Store) error {
		return node.Restore(ctx, store, key, in)
	})
}
