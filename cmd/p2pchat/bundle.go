package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/local"
	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/profile"
	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
)

// exported is what export prints.
type exported struct {
	File string `json:"file"`
	local.Export
}

func newExport(a *app) *cobra.Command {
	var who string
	var since moment
	cmd := &cobra.Command{
		Use:   "export GROUP FILE",
		Short: "Write what the group said into a file for members",
		Long: `Export writes what the group has said into a sealed file that its members, and nobody
else, read with import: for those who do not meet over a network. - is the standard output,
for a pipe. With --for one member alone can open it; with --since it has only messages
from a time on. It works while p2pchat daemon runs, and never replaces a file.`,
		Example: "  p2pchat export \"Hiking club\" /media/stick/hiking.p2pchat\n  p2pchat export \"Hiking club\" week.p2pchat --since 7d --for Bo\n  p2pchat export \"Hiking club\" - | ssh hut p2pchat import -",
		Args:    names("GROUP", "FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.runExport(cmd.Context(), args[0], args[1], who, time.Time(since))
		},
	}
	cmd.Flags().StringVar(&who, "for", "", "only for this member: a `name` or key")
	cmd.Flags().Var(&since, "since", "messages from this time on: 7d (ago), or a date and time")
	return cmd
}

func (a *app) runExport(ctx context.Context, group, file, who string, since time.Time) error {
	if file == "-" {
		if isTerminal(a.stdout) {
			return &nextError{errors.New("the file is not for a terminal"), "p2pchat export GROUP FILE, or the same into a pipe"}
		}
		return a.inGroup(ctx, "export", group, func(c *local.Client, g local.Group) error {
			stop := a.showLine(ctx, c, g.ID)
			done, err := c.Export(ctx, a.stdout, g.ID, who, since)
			stop()
			if err != nil {
				return exportError(err)
			}
			a.note("%s", exportText(done, "the standard output"))
			a.noteTexts(ctx, c, g.ID)
			return nil
		})
	}
	if _, err := os.Lstat(file); err == nil {
		return fmt.Errorf("%s: %w", file, fs.ErrExist)
	}
	place, err := filepath.Abs(file)
	if err != nil {
		return err
	}
	return a.inGroup(ctx, "export", group, func(c *local.Client, g local.Group) error {
		done := exported{File: file}
		var failed error
		stop := a.showLine(ctx, c, g.ID)
		err := profile.WriteNew(place, func(w io.Writer) error {
			out := &counter{w: w}
			var err error
			if done.Export, err = c.Export(ctx, out, g.ID, who, since); out.writes == 0 {
				failed = err // that is not about the file
			}
			return err
		})
		stop()
		if err = cmp.Or(failed, err); err != nil {
			return exportError(err)
		}
		if err := a.print(done, "wrote %s", exportText(done.Export, file)); err != nil {
			return err
		}
		a.noteTexts(ctx, c, g.ID)
		a.note("next: p2pchat import %s, on their machine", path(filepath.Base(file)))
		return nil
	})
}

// counter counts the writes that go through it.
type counter struct {
	w      io.Writer
	writes int
}

// Write implements io.Writer.
func (c *counter) Write(p []byte) (int, error) {
	c.writes++
	return c.w.Write(p)
}

// exportError says what to do where there is nobody to seal to.
func exportError(err error) error {
	if errors.Is(err, node.ErrNoKey) {
		return &nextError{err, "p2pchat import FILE, with a file that they export; then the same again"}
	}
	return err
}

func exportText(e local.Export, file string) string {
	readers := "every member can open it"
	switch {
	case e.For != nil:
		readers = "only " + tagged(*e.For) + " can open it"
	case len(e.CannotOpen) == 1:
		readers += " but " + tagged(e.CannotOpen[0]) + ", who has to send a file back first"
	case len(e.CannotOpen) > 1:
		readers += " but " + several(e.CannotOpen, e.Others) + ", who have to send a file back first"
	}
	return fmt.Sprintf("%s: %s, %s; %s", file, many(e.Events, "event"), byteText(e.Bytes), readers)
}

// several names people, and how many others there are.
func several(list []local.Person, others int) string {
	var names []string
	for _, p := range list {
		names = append(names, tagged(p))
	}
	if others > 0 {
		names = append(names, fmt.Sprintf("%d more", others))
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " and " + names[last]
}

// many counts things.
func many(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// byteText is a length as people read it.
func byteText(n int64) string {
	switch {
	case n < 1<<20:
		return fmt.Sprintf("%d KiB", (n+1<<10-1)>>10)
	case n < 1<<30:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}

// imported is what import prints.
type imported struct {
	local.Import
	Name string `json:"name"` // the group's
}

func newImport(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "import FILE",
		Short: "Read a file that a member wrote with export",
		Long: `Import takes in what a file of export has and is not here yet. It checks everything as if it
came over the network. Files may be read in any order, and again. - is the standard input.
It exits with 1 where something was missing or damaged, and keeps what was whole.`,
		Example: "  p2pchat import /media/stick/hiking.p2pchat",
		Args:    names("FILE"),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.runImport(cmd.Context(), args[0]) },
	}
}

func (a *app) runImport(ctx context.Context, file string) error {
	in, name, size := a.stdin, "the standard input", int64(-1)
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		in, name = f, file
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			size = info.Size()
		}
	}
	return a.with(ctx, "import", false, func(c *local.Client) error {
		stop := a.showLine(ctx, c, "")
		file := &faultyReader{in: in}
		done, err := c.Import(ctx, file, size)
		stop()
		if fault := file.fault.Load(); err != nil && fault != nil { // before what the holder makes of it
			return &nextError{*fault, "the same with a file that p2pchat export wrote"}
		}
		if err != nil {
			return importError(ctx, c, name, err)
		}
		g, err := c.Group(ctx, done.Group)
		if err != nil {
			return err
		}
		if err := a.print(imported{done, g.Name}, "%s: %s", cleanName(g.Name), importText(done)); err != nil {
			return err
		}
		if done.Locked > 0 {
			a.note("some messages cannot be read here yet: of %s the key is not in it; a member can hand it over: p2pchat export %s FILE --for YOU", many(done.Locked, "epoch"), typed(ctx, c, g))
		}
		a.noteTexts(ctx, c, g.ID)
		return notWhole(name, done)
	})
}

// faultyReader remembers why it could not be read on: a directory, say, or a bad stick.
type faultyReader struct {
	in    io.Reader
	fault atomic.Pointer[error]
}

// Read implements io.Reader.
func (f *faultyReader) Read(p []byte) (int, error) {
	n, err := f.in.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		f.fault.Store(&err)
	}
	return n, err
}

// importError says what to do about a file that cannot be read at all.
func importError(ctx context.Context, c *local.Client, file string, err error) error {
	err = fmt.Errorf("%s: %w", file, err)
	switch {
	case errors.Is(err, node.ErrNotForYou):
		return &nextError{err, sendBack(ctx, c)}
	case errors.Is(err, node.ErrBadFile):
		return &nextError{err, "the same with a file that p2pchat export wrote, copied whole"}
	case errors.Is(err, local.ErrInterrupted):
		return &nextError{err, "the same again: what is here already does no harm"}
	}
	return err
}

// sendBack says how somebody comes to open the files of others: who joined by files has
// to send one first, since the keys that are in it are what theirs are sealed to.
func sendBack(ctx context.Context, c *local.Client) string {
	groups, err := c.Groups(ctx)
	if err == nil && len(groups) == 0 {
		return "p2pchat join LINK --request-out FILE, to join the group first"
	}
	name := "GROUP"
	if len(groups) == 1 {
		name = typed(ctx, c, groups[0])
	}
	next := "p2pchat export " + name + " FILE, if you are in the group, and have who wrote this one import it: the next that they write opens here"
	if slices.ContainsFunc(groups, func(g local.Group) bool { return g.Role != protocol.Founder.String() }) { // nobody removes a founder
		next += "; if it does not, you may have been removed: p2pchat leave " + name + ", and ask for a new invitation"
	}
	return next
}

func importText(done local.Import) string {
	text := many(done.New, "new event") + fmt.Sprintf(", %d here before", done.Known)
	if done.New == 0 {
		text = fmt.Sprintf("nothing new, %s here before", many(done.Known, "event"))
	}
	if done.Filled > 0 {
		text += ", " + many(done.Filled, "text") + " put back"
	}
	if done.Unheard > 0 {
		text += fmt.Sprintf(", %d left out, of people who may not speak", done.Unheard)
	}
	return text
}

// notWhole says what of a file is missing, if anything is.
func notWhole(file string, done local.Import) error {
	if done.Whole {
		return nil
	}
	var what []string
	next := "copy the file again, whole, and import it again"
	if done.Damaged > 0 {
		what = append(what, many(done.Damaged, "part")+" of it missing or damaged")
	}
	if done.CutShort {
		what = append(what, "its end is missing")
	}
	if done.Trailing {
		what = append(what, "more follows its end, and was not read")
		next = "import one file at a time"
	}
	if done.Refused > 0 {
		what = append(what, many(done.Refused, "event")+" refused: wrong, or for a newer p2pchat")
		next = "another file, from somebody else"
	}
	for _, l := range done.Waiting {
		of := ""
		if l.From != nil {
			of = " of " + tagged(*l.From)
		}
		what = append(what, "something before "+many(l.Events, "event")+of+" is neither here nor in it")
	}
	if len(done.Waiting) > 0 && done.Damaged == 0 && !done.CutShort {
		next = "import the file that came before it, then this one again"
	}
	return &nextError{fmt.Errorf("%s is not whole: %s; the rest is kept", file, strings.Join(what, "; ")), next}
}
