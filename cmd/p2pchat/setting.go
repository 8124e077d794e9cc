package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/local"
	"github.com/p2pchat/p2pchat/protocol"
)

func newGroupSet(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "set GROUP KEY=VALUE...",
		Short: "Change what a group has agreed on",
		Long: `Set changes settings of a group, for everybody. It needs the role moderator; what a
senior has restricted stays so until somebody as senior loosens it.

  name=TEXT                      what the group is called
  topic=TEXT                     what it is about
  rules=TEXT                     its rules; rules=@FILE reads a file, rules=- stdin
  announcement=on|off            only moderators and their seniors write
  slow-mode=SPAN|off             between two messages of a member, like 10s
  admission=open|invite|approve  nobody is asked; as each invitation says; a person
                                 says yes to everybody
  history=all|since-join         what newcomers may read
  retention=SPAN|off             messages older than that are kept by nobody, like 90d,
                                 from 1h on. What is older already is hidden at once and
                                 erased a week later: until then it can be undone`,
		Example: "  p2pchat group set \"Hiking club\" topic=\"Saturday: the ridge\" slow-mode=10s\n  p2pchat group set \"Hiking club\" rules=@rules.txt",
		Args: func(cmd *cobra.Command, got []string) error {
			return args(2, -1, []string{"GROUP", "KEY=VALUE", ""}[min(len(got), 2)])(cmd, got)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			settings, err := a.parseSettings(cmd, args[0], args[1:])
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			return a.inGroup(ctx, "group set", args[0], func(c *local.Client, g local.Group) error {
				acts, err := c.Set(ctx, local.NewSettings{Group: g.ID, Settings: settings})
				if err != nil {
					return err
				}
				for _, act := range acts {
					if err := a.print(act, "%s", done(act)); err != nil {
						return err
					}
				}
				if len(acts) == 0 {
					a.note("nothing to set: it is so already")
					return nil
				}
				a.passOn(ctx, c, g)
				return nil
			})
		},
	}
}

// parseSettings reads KEY=VALUE arguments. What is wrong with one is wrong usage.
func (a *app) parseSettings(cmd *cobra.Command, group string, pairs []string) (local.Settings, error) {
	var out local.Settings
	seen := map[string]bool{}
	for _, pair := range pairs {
		key, value, ok := strings.Cut(pair, "=")
		switch {
		case !ok:
			return out, usagef(cmd, "%q is not KEY=VALUE", pair)
		case seen[key]:
			return out, usagef(cmd, "%s is there twice", key)
		}
		seen[key] = true
		err := a.parseSetting(&out, key, value)
		var file *fs.PathError
		switch {
		case errors.As(err, &file):
			return out, &nextError{err, "p2pchat group set " + hint(group) + " rules=@FILE, with a FILE that can be read"}
		case err != nil:
			return out, usagef(cmd, "%s: %w", key, err)
		}
	}
	return out, nil
}

func (a *app) parseSetting(out *local.Settings, key, value string) (err error) {
	switch key {
	case "name":
		value, err = checkGroupName(value)
		out.Name = &value
	case "topic":
		out.Topic, err = &value, checkUTF8(value)
	case "rules":
		value, err = a.textFrom(value)
		out.Rules = &value
	case "announcement":
		on := value == "on"
		out.Announcement, err = &on, oneOf(value, "on", "off")
	case "slow-mode":
		out.SlowMode, err = parseSlow(value)
	case "admission":
		out.Admission, err = &value, oneOf(value, "open", "invite", "approve")
	case "retention":
		out.Retention, err = parseRetention(value)
	case "history":
		out.History, err = &value, oneOf(value, "all", "since-join")
	default:
		return errors.New("there is no such setting; there are name, topic, rules, announcement, slow-mode, admission, history, retention")
	}
	return err
}

// parseRetention reads for how many seconds messages are kept.
func parseRetention(value string) (*int64, error) {
	seconds, err := parseSlow(value)
	if d := *seconds; err == nil && d != 0 && (d < int64(protocol.MinRetention/time.Second) || d > int64(protocol.MaxRetention/time.Second)) {
		err = fmt.Errorf("%q is not from 1h to %s", value, new(span(protocol.MaxRetention)))
	}
	return seconds, err
}

func oneOf(value string, words ...string) error {
	if slices.Contains(words, value) {
		return nil
	}
	return fmt.Errorf("%q is not one of %s", value, strings.Join(words, ", "))
}

// parseSlow reads how many seconds are between two messages.
func parseSlow(value string) (*int64, error) {
	var seconds int64
	if value == "off" {
		return &seconds, nil
	}
	d, err := parseSpan(value)
	if err != nil {
		return &seconds, fmt.Errorf("%w, or off", err)
	}
	if d%time.Second != 0 {
		err = fmt.Errorf("%q is not in whole seconds", value)
	}
	seconds = int64(d / time.Second)
	return &seconds, err
}

// textFrom is a text that was typed, or that of the file behind @, or of stdin for -.
func (a *app) textFrom(value string) (string, error) {
	name, isFile := strings.CutPrefix(value, "@")
	var in io.Reader
	switch {
	case isFile:
		f, err := os.Open(name)
		if err != nil {
			return "", err
		}
		defer func() { _ = f.Close() }()
		in = f
	case value == "-":
		in = a.stdin
	default:
		return value, checkUTF8(value)
	}
	b, err := io.ReadAll(io.LimitReader(in, protocol.MaxTextSize+1))
	switch {
	case err != nil:
		return "", err
	case len(b) > protocol.MaxTextSize:
		return "", fmt.Errorf("%w: at most %d bytes", protocol.ErrTooLarge, protocol.MaxTextSize)
	}
	text := strings.TrimRight(string(b), "\r\n")
	return text, checkUTF8(text)
}

// settingsText are the settings as group show lists them. What is not set is left
// out.
func settingsText(s local.Settings) string {
	var b strings.Builder
	line := func(key, value string) { fmt.Fprintf(&b, "\n%-8s %s", key, value) }
	if s.Topic != nil && *s.Topic != "" {
		line("topic", cleanName(*s.Topic))
	}
	if s.Announcement != nil && *s.Announcement {
		line("writing", "moderators and their seniors only (announcement)")
	}
	if s.SlowMode != nil && *s.SlowMode > 0 {
		slow := span(time.Duration(*s.SlowMode) * time.Second)
		line("writing", "one message in "+slow.String()+" (slow-mode)")
	}
	if s.Admission != nil {
		line("joining", inWords(*s.Admission, map[string]string{
			"invite": "as each invitation says", "approve": "a person says yes to everybody", "open": "nobody is asked",
		})+" (admission)")
	}
	if s.History != nil {
		line("reading", inWords(*s.History, map[string]string{
			"all": "newcomers read everything", "since-join": "newcomers read what is sent after they join",
		})+" (history)")
	}
	if s.Retention != nil && *s.Retention > 0 {
		line("keeping", retained(*s.Retention)+" (retention)")
	}
	if s.Rules != nil && *s.Rules != "" {
		line("rules", strings.ReplaceAll(cleanText(*s.Rules), "\n", indent))
	}
	return b.String()
}

// retained says what a group does not keep.
func retained(seconds int64) string {
	return "messages older than " + new(span(time.Duration(seconds)*time.Second)).String() + " are not kept in this group"
}

// noteRetention tells who reads a group what is not there.
func (a *app) noteRetention(g local.Group) {
	if g.Retention > 0 {
		a.note("— %s", retained(g.Retention))
	}
}

// inWords is a value in words, or as it is where this version knows none.
func inWords(value string, words map[string]string) string {
	return cmp.Or(words[value], cleanName(value))
}
