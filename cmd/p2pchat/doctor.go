package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/local"
	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/profile"
	"github.com/p2pchat/p2pchat/storage/disk"
)

// finding is what one check of doctor found.
type finding struct {
	Check string `json:"check"`
	State string `json:"state"` // "ok", "warning" or "failed"
	Text  string `json:"text"`
	Next  string `json:"next,omitempty"` // what to type
}

func fine(check, format string, args ...any) finding {
	return finding{Check: check, State: "ok", Text: fmt.Sprintf(format, args...)}
}

func warn(check, next, format string, args ...any) finding {
	return finding{Check: check, State: "warning", Text: fmt.Sprintf(format, args...), Next: next}
}

func failing(check string, err error) finding {
	return finding{Check: check, State: "failed", Text: err.Error(), Next: nextStep(err)}
}

// errUnwell says that a check failed.
var errUnwell = errors.New("something has to be repaired")

func newDoctor(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Check the profile, and say what to do",
		Long: `Doctor checks what can go wrong around a profile and prints what to type. It changes
nothing and asks for no passphrase. It exits with 1 if something has to be repaired, and
with 0 if there are only warnings.`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.runDoctor(cmd.Context(), time.Now())
		},
	}
}

func (a *app) runDoctor(ctx context.Context, now time.Time) error {
	if err := profile.Check(a.home); err != nil {
		return err
	}
	list := []finding{a.checkModes(), a.checkSeal(), a.checkUnfinished(), a.checkClock(now)}
	list = append(list, a.checkStore(ctx)...)
	unwell := false
	err := printList(a, list, "CHECK\tSTATE\tFOUND", func(f finding) []string {
		text := cleanText(f.Text)
		if f.Next != "" {
			text += "; next: " + f.Next
		}
		return []string{f.Check, f.State, strings.ReplaceAll(text, "\n", "; ")}
	})
	for _, f := range list {
		unwell = unwell || f.State == "failed"
	}
	if err == nil && unwell {
		err = &nextError{errUnwell, "what stands behind failed"}
	}
	return err
}

func (a *app) checkModes() finding {
	if err := profile.Private(a.home); err != nil {
		return failing("private", err)
	}
	return fine("private", "only you can read %s", a.home)
}

func (a *app) checkSeal() finding {
	kind, err := profile.SealOf(a.home)
	switch {
	case errors.Is(err, profile.ErrExposed):
		return warn("sealed", "", "not checked while others can read the keys")
	case err != nil:
		return failing("sealed", err)
	case kind == profile.SealNone:
		return warn("sealed", "p2pchat passphrase", "the keys lie in the open: who gets this disk, or a backup of it, is you and reads everything")
	case kind == profile.SealKeyring:
		if _, err := profile.Load(a.home, nil); err != nil {
			return failing("sealed", err)
		}
	}
	return fine("sealed", "%s", sealedText(kind))
}

func (a *app) checkUnfinished() finding {
	left, err := profile.Unfinished(a.home)
	switch {
	case err != nil:
		return failing("leftovers", err)
	case len(left) > 0:
		return warn("leftovers", "p2pchat status", "a command was cut short and left %s, which may hold keys; the next one deletes it", strings.Join(left, ", "))
	}
	return fine("leftovers", "none")
}

// clockSlack is how far a clock may be behind what it said when the store was written.
const clockSlack = 10 * time.Minute

func (a *app) checkClock(now time.Time) finding {
	last, err := profile.LastWritten(a.home)
	switch {
	case err != nil:
		return failing("clock", err)
	case last.Sub(now) > clockSlack:
		return warn("clock", "date", "it says %s, and the store was written on %s: messages would carry a wrong time", now.Format(time.DateTime), last.Format(time.DateTime))
	case now.Year() < 2026:
		return warn("clock", "date", "it says %s, which was before this program was", now.Format(time.DateTime))
	}
	return fine("clock", "%s", now.Format(time.DateTime))
}

// checkStore asks whoever holds the profile, or opens the store.
func (a *app) checkStore(ctx context.Context) []finding {
	err := profile.TryStore(a.home, disk.Options{Logger: a.logger, Fatal: a.fatal})
	var held *profile.HeldError
	switch {
	case err == nil:
		return []finding{fine("lock", "free"), fine("store", "it opens")}
	case !errors.As(err, &held):
		return []finding{failing("store", err)}
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	c := local.NewClient(local.Options{Home: a.home, Verb: "doctor", Network: a.net, Open: func(context.Context) (*local.Opened, error) { return nil, held }})
	s, err := c.Status(ctx)
	if err = errors.Join(err, c.Close()); err != nil {
		return []finding{failing("lock", fmt.Errorf("%w, which does not answer: %w", held, err))}
	}
	list := []finding{fine("lock", "held by `p2pchat %s` (pid %d), which answers", held.Verb, held.PID), a.checkUse(s), checkMDNS(s)}
	for _, g := range s.Groups {
		for _, p := range g.Forks {
			list = append(list, warn("forks", "p2pchat device list "+hint(g.Name), "a device of %s signed two events for one place in %s: a copy of it runs somewhere", p.Name, g.Name))
		}
	}
	return list
}

// checkUse says whether a store that is in use can be written to. The disk is looked at
// itself: the holder knows how its last write ended, and that may be a while ago.
func (a *app) checkUse(s local.Status) finding {
	err := profile.Space(a.home)
	switch {
	case err != nil:
		return failing("store", err)
	case s.Failing == nil:
		return fine("store", "it is in use")
	case errors.Is(s.Failing, disk.ErrFull):
		return warn("store", "p2pchat sync", "the disk was full at the last write, and has room now; what came meanwhile comes again")
	}
	return failing("store", s.Failing)
}

// checkMDNS says whether members on the LAN are found, as the holder knows it.
func checkMDNS(s local.Status) finding {
	if why, blocked := strings.CutPrefix(s.MDNS, "blocked: "); blocked {
		return warn("mdns", "connect to a LAN, or let UDP to 224.0.0.251 port 5353 through the firewall and start p2pchat anew; a link works without: p2pchat invite create", "members on the LAN are not found by themselves: %s", why)
	}
	return fine("mdns", "%s", s.MDNS)
}
