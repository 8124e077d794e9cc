package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/local"
	"github.com/p2pchat/p2pchat/protocol"
)

// printJSON prints one object a line. What could drive a terminal is escaped,
// which changes nothing for who reads it as JSON.
func (a *app) printJSON(v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	_, err := a.stdout.Write(escapeJSON(b.Bytes()))
	return err
}

// escapeJSON writes the control characters above ASCII, and those of direction, as
// \uXXXX. Outside of strings JSON has none, and those below U+0020 the encoder has
// escaped already; every one of them is in the basic plane.
func escapeJSON(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		if r >= 0x7f && (unicode.IsControl(r) || drives(r) || unicode.Is(unicode.Bidi_Control, r)) {
			out = fmt.Appendf(out, `\u%04x`, r)
		} else {
			out = append(out, b[:size]...)
		}
		b = b[size:]
	}
	return out
}

// print prints v as JSON if that was asked for, and otherwise the text.
func (a *app) print(v any, format string, args ...any) error {
	if a.json {
		return a.printJSON(v)
	}
	_, err := fmt.Fprintf(a.stdout, format+"\n", args...)
	return err
}

// printList prints a list: a JSON object each, or a table.
func printList[T any](a *app, list []T, header string, row func(T) []string) error {
	if a.json {
		for _, v := range list {
			if err := a.printJSON(v); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, header)
	for _, v := range list {
		fmt.Fprintln(w, strings.Join(row(v), "\t"))
	}
	return w.Flush()
}

// transcript prints the lines of one group. It knows who shares a name with whom:
// their lines carry a key tag.
type transcript struct {
	a     *app
	out   io.Writer
	names map[string]map[string]bool // clean name to the keys that claim it
	day   string                     // of the line before
}

// newTranscript starts with the names in the roster.
func newTranscript(a *app, members []local.Member) *transcript {
	t := &transcript{a: a, out: a.stdout, names: map[string]map[string]bool{}, day: time.Now().Format(time.DateOnly)}
	for _, m := range members {
		t.know(m.Person)
	}
	return t
}

func (t *transcript) know(p local.Person) {
	name := strings.ToLower(cleanName(p.Name))
	if t.names[name] == nil {
		t.names[name] = map[string]bool{}
	}
	t.names[name][p.Key] = true
}

// who is how a person is shown. A name that could be taken for another's, or for a
// system line, carries a tag of the key, which nobody can choose.
func (t *transcript) who(p local.Person) string {
	name := cleanName(p.Name)
	tag := protocol.Short(p.Key)
	switch {
	case name == "":
		return tag
	case len(t.names[strings.ToLower(name)]) > 1, strings.ContainsAny(name, "—:()"):
		return name + " (" + tag + ")"
	}
	return name
}

// print prints a line.
func (t *transcript) print(m local.Message) error {
	if t.a.json {
		return t.a.printJSON(m)
	}
	t.know(m.From)
	at := m.Time.Local()
	if date := at.Format(time.DateOnly); date != t.day {
		t.day = date
		if _, err := fmt.Fprintf(t.out, "— %s\n", at.Format("Monday, 2 January 2006")); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(t.out, "%s %s\n", at.Format("15:04"), t.line(m))
	return err
}

// indent begins the further lines of a text.
const indent = "\n      │ "

func (t *transcript) line(m local.Message) string {
	who := t.who(m.From)
	switch {
	case m.Unreadable != "":
		return fmt.Sprintf("%s: [cannot be read: %s]", who, cleanName(m.Unreadable))
	case m.Kind == "text":
		return who + ": " + strings.ReplaceAll(cleanText(m.Text), "\n", indent)
	case m.Kind == "joined":
		return "— " + who + " joined"
	case m.Kind == "created":
		return "— " + who + " created the group"
	case m.Kind == "named":
		return "— " + who + " named the group " + cleanName(m.Text)
	case m.Text == "":
		return "— " + who + ": " + cleanName(m.Kind)
	}
	return "— " + who + ": " + cleanName(m.Kind) + " " + cleanName(m.Text)
}

// yes is a cell of a table.
func yes(b bool, text string) string {
	if b {
		return text
	}
	return ""
}
