package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/local"
	"github.com/p2pchat/p2pchat/protocol"
)

// transcript prints the lines of one group. It knows who shares a name with whom:
// their lines carry a key tag.
type transcript struct {
	a     *app
	out   io.Writer
	names map[string]map[string]bool // clean name to the keys that claim it
	day   string                     // of the line before
	ids   bool                       // print the short id before a message
	gone  string                     // why the text of the line before is not kept
}

// newTranscript starts with the names in the roster.
func newTranscript(a *app, members []local.Member) *transcript {
	t := &transcript{a: a, out: a.stdout, names: map[string]map[string]bool{}, day: time.Now().Format(time.DateOnly)}
	for _, m := range members {
		t.know(m.Person)
	}
	return t
}

// transcript makes the transcript of a group.
func (a *app) transcript(ctx context.Context, c *local.Client, g local.Group) (*transcript, error) {
	members, err := c.Members(ctx, g.ID)
	if err != nil {
		return nil, err
	}
	return newTranscript(a, members), nil
}

func (t *transcript) know(p local.Person) {
	name := strings.ToLower(cleanName(p.Name))
	if t.names[name] == nil {
		t.names[name] = map[string]bool{}
	}
	t.names[name][p.Key] = true
}

// knowAll notes names; nil is nobody.
func (t *transcript) knowAll(people ...*local.Person) {
	for _, p := range people {
		if p != nil {
			t.know(*p)
		}
	}
}

// knowLine notes the names in a line.
func (t *transcript) knowLine(m local.Message) { t.knowAll(&m.From, m.Target, m.RetractedBy) }

// The marks before the name of who may do more than write. They are for the eye:
// members has the roles.
const (
	moderates = "@" // moderators and their seniors
	greets    = "+" // greeters
)

// plain keeps a name from looking like what this program says about it: brackets are
// its own, and so is a mark before the name.
var plain = strings.NewReplacer("[", "(", "]", ")")

// who is how a person is shown. A name that could be taken for another's, or for a
// system line, carries a tag of the key, which nobody can choose.
func (t *transcript) who(p local.Person) string {
	name := cleanName(p.Name)
	tag := protocol.Short(p.Key)
	shown := strings.TrimLeft(plain.Replace(name), moderates+greets+" ")
	switch {
	case shown == "":
		return tag
	case shown != name, len(t.names[strings.ToLower(name)]) > 1, strings.ContainsAny(name, "—:()"):
		return shown + " (" + tag + ")"
	}
	return shown
}

// print prints a line.
func (t *transcript) print(m local.Message) error {
	if t.a.json {
		return t.a.printJSON(m)
	}
	t.knowLine(m)
	before := t.gone
	if t.gone = m.Gone; m.Gone != "" && m.Gone != "expired" && !m.Retracted {
		if m.Gone == before {
			return nil // one line stands for all of them
		}
		_, err := fmt.Fprintf(t.out, "— messages that are %s\n", cleanName(m.Unreadable))
		return err
	}
	at := m.Time.Local()
	if date := at.Format(time.DateOnly); date != t.day {
		t.day = date
		if _, err := fmt.Fprintf(t.out, "— %s\n", at.Format("Monday, 2 January 2006")); err != nil {
			return err
		}
	}
	if m.Missing > 0 {
		if _, err := fmt.Fprintf(t.out, "      … %s missing here\n", count(int(m.Missing), "message from "+t.who(m.From)+" is", "messages from "+t.who(m.From)+" are")); err != nil {
			return err
		}
	}
	id := ""
	if t.ids && !m.System() {
		id = protocol.Short(m.ID) + " "
	}
	_, err := fmt.Fprintf(t.out, "%s %s%s\n", at.Format("15:04"), id, t.line(m))
	return err
}

// indent begins the further lines of a text.
const indent = "\n      │ "

func (t *transcript) line(m local.Message) string {
	if m.System() {
		return t.systemLine(m)
	}
	return t.message(m)
}

// message is what somebody said. What this program says about it stands before the
// colon, where nobody's text can.
func (t *transcript) message(m local.Message) string {
	who := mark(m.Role) + t.who(m.From)
	switch {
	case m.Retracted:
		return who + " [" + t.retracted(m) + "]"
	case m.Gone == "expired":
		return who + " [disappeared]"
	case m.Unreadable != "":
		return who + " [cannot be read: " + cleanName(m.Unreadable) + "]"
	case m.Kind != "text":
		who += " [" + cleanName(m.Kind) + "]"
	}
	if m.Expires != nil {
		who += " [" + expiring(*m.Expires, time.Now()) + "]"
	}
	if m.Stored != nil {
		who += fmt.Sprintf(" [%d/%d]", *m.Stored, m.StoredOf)
	}
	switch {
	case m.Hidden != "":
		who += " [" + cleanName(m.Hidden) + "]"
	case m.Undone:
		who += " [undone]"
	case m.Late:
		who += " [late]"
	}
	return who + ": " + strings.ReplaceAll(cleanText(m.Text), "\n", indent)
}

// expiring says when a message disappears: whole minutes are enough, or hours or days.
func expiring(at, now time.Time) string {
	left := at.Sub(now)
	switch {
	case left >= 2*day:
		left = left.Truncate(day)
	case left >= 2*time.Hour:
		left = left.Truncate(time.Hour)
	case left > time.Minute:
		left = left.Truncate(time.Minute)
	default:
		return "expires in less than 1m"
	}
	return "expires in " + new(span(left)).String()
}

func (t *transcript) retracted(m local.Message) string {
	if m.RetractedBy == nil || m.RetractedBy.Key == m.From.Key {
		return "taken back" + colon(m.Reason)
	}
	return "removed by " + t.who(*m.RetractedBy) + colon(m.Reason)
}

func colon(reason string) string {
	if reason = cleanName(reason); reason == "" {
		return ""
	}
	return ": " + plain.Replace(reason)
}

// mark is what stands before the name of somebody with a role.
func mark(role string) string {
	switch role {
	case "founder", "owner", "admin", "moderator":
		return moderates
	case "greeter":
		return greets
	}
	return ""
}

// systemLine is what happened to the group itself.
func (t *transcript) systemLine(m local.Message) string {
	line := "— " + t.who(m.From) + " " + t.happened(m) + colon(m.Reason)
	if m.Undone {
		line += " (undone)"
	}
	return line
}

func (t *transcript) happened(m local.Message) string {
	whom := ""
	if m.Target != nil {
		whom = t.who(*m.Target)
	}
	switch m.Kind {
	case "joined", "left":
		return m.Kind
	case "removed", "banned", "unbanned", "muted", "unmuted":
		return m.Kind + " " + whom
	case "created":
		return "created the group"
	case "named":
		return "named the group " + cleanName(m.Text)
	case "role":
		return "made " + whom + " " + article(cleanName(m.Text))
	case "set":
		return "set " + clip(m.Text)
	case "revoked":
		if whom == "" || m.Target.Key == m.From.Key {
			return "revoked a device"
		}
		return "revoked a device of " + whom
	case "successor":
		return "proposed to move to another group (p2pchat group move)"
	}
	return cleanName(m.Kind) + " " + cleanName(m.Text)
}
