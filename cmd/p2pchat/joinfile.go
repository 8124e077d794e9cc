package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/local"
	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
)

// written is what commands print that write a file.
type written struct {
	File  string `json:"file"`
	Group string `json:"group"`
	Name  string `json:"name,omitempty"` // of whom the file lets in
	Key   string `json:"key,omitempty"`
}

// runRequestOut writes a request to join to a file.
func (a *app) runRequestOut(ctx context.Context, link string, o joinOptions) error {
	link, parsed, err := a.readLink(link)
	if err != nil {
		return err
	}
	if err := a.needProfile(ctx); err != nil {
		return err
	}
	return a.with(ctx, "join", false, func(c *local.Client) error {
		g, in, err := a.memberOf(ctx, c, parsed)
		switch {
		case err != nil:
			return err
		case in:
			return inAlready(ctx, c, g)
		}
		if o.answer, err = a.answer(parsed, o.answer); err != nil {
			return err
		}
		data, err := c.RequestFile(ctx, link, o.answer)
		if err != nil {
			return err
		}
		if err := writeNew(o.requestOut, data); err != nil {
			return err
		}
		if err := a.print(written{File: o.requestOut, Group: parsed.Group.Text(protocol.GroupPrefix)}, "wrote %s", o.requestOut); err != nil {
			return err
		}
		a.note("next: give it to who invited you, for p2pchat invite answer %s --out welcome; then p2pchat join --welcome welcome", path(filepath.Base(o.requestOut)))
		return nil
	})
}

// inAlready says why a member writes no request, and what does who is one by what is known
// here alone: they were removed, and somebody is to let them in again.
func inAlready(ctx context.Context, c *local.Client, g local.Group) error {
	name := typed(ctx, c, g)
	next := "p2pchat chat " + name
	if g.Role != protocol.Founder.String() { // whom nobody removes, and who could not come back
		next += "; if you were removed meanwhile: p2pchat leave " + name + " --yes, then the same again"
	}
	return &nextError{fmt.Errorf("you are already in %s (%s), by what is known here: no request was written", cleanName(g.Name), g.ID), next}
}

// runWelcome joins by the answer to a request in a file.
func (a *app) runWelcome(ctx context.Context, file string) error {
	data, err := readFile(file, protocol.MaxWelcomeFile)
	if err != nil {
		return err
	}
	return a.with(ctx, "join", false, func(c *local.Client) error {
		g, err := c.JoinByFile(ctx, data)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		return a.joined(ctx, c, g, "joined %s (%s)")
	})
}

func newInviteAnswer(a *app) *cobra.Command {
	var out string
	var yes bool
	cmd := &cobra.Command{
		Use:   "answer FILE --out FILE",
		Short: "Answer a request to join that is in a file",
		Long: `Answer lets in who asks by a file (join LINK --request-out FILE), and writes the answer
for them: the keys, and what the group has said so far, readable by them alone. No
network is needed. Where a person has to say yes, it asks; it refuses what the
invitation does not allow.`,
		Example: "  p2pchat invite answer request --out welcome",
		Args:    args(1, 1, "the FILE with the request"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" {
				return usagef(cmd, "--out is missing")
			}
			return a.answerRequest(cmd.Context(), args[0], out, yes)
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "the `file` to write the answer to")
	addYes(cmd, &yes)
	return cmd
}

func (a *app) answerRequest(ctx context.Context, file, out string, sure bool) error {
	data, err := readFile(file, protocol.MaxRequestFile)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(out); err == nil { // before anybody is let in
		return fmt.Errorf("%s: %w", out, fs.ErrExist)
	}
	return a.with(ctx, "invite answer", false, func(c *local.Client) error {
		q, err := c.ReadRequest(ctx, data)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		g, err := c.Group(ctx, q.Group)
		if err != nil {
			return err
		}
		return explain(ctx, c, g, a.writeAnswer(ctx, c, g, answering{q, data, out, sure}))
	})
}

// answering is an answer to a file that is being made.
type answering struct {
	q    local.FileRequest
	data []byte
	out  string
	sure bool
}

func (a *app) writeAnswer(ctx context.Context, c *local.Client, g local.Group, in answering) error {
	if in.q.State == "waiting" {
		if text := answerText(in.q.Request); text != "" {
			a.note("%s", text)
		}
		if !in.sure && !a.interactive() {
			return &nextError{errors.New("a person has to say yes, and there is no terminal to ask on"), "the same again with --yes, which says that you mean " + tagged(in.q.Person)}
		}
		if err := a.confirm(ctx, in.sure, "Let %s in to %s as %s?", tagged(in.q.Person), cleanName(g.Name), article(in.q.Role)); err != nil {
			return err
		}
	}
	answer, err := c.AnswerRequest(ctx, in.data, true)
	if errors.Is(err, node.ErrNotAllowed) {
		return &nextError{err, "p2pchat invite create " + typed(ctx, c, g) + ", and have them ask by that"}
	}
	if err != nil {
		return err
	}
	if err := writeNew(in.out, answer); err != nil {
		return err
	}
	done := written{File: in.out, Group: g.ID, Name: in.q.Name, Key: in.q.Key}
	if err := a.print(done, "let in %s as %s; the answer is in %s", tagged(in.q.Person), article(in.q.Role), in.out); err != nil {
		return err
	}
	a.note("next: give it back to them, for p2pchat join --welcome %s", path(filepath.Base(in.out)))
	return nil
}

// readFile reads a file of at most so many bytes.
func readFile(name string, most int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("%s: %w: more than %d bytes", name, node.ErrBadFile, most)
	}
	return data, err
}

// writeNew writes a file that only its owner can read, and none over another.
func writeNew(name string, data []byte) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		_ = os.Remove(name) // half of it would be of no use
	}
	return err
}
