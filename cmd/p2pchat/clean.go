package main

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/profile"
	"github.com/p2pchat/p2pchat/protocol"
)

// Names, texts and group names come from others. Printed as they are, they could
// move the cursor, recolour the screen, answer for the keyboard (escape
// sequences), or show letters in another order than they are read (bidirectional
// overrides). --json prints them whole, escaped (see escapeJSON); everything else
// goes through here.

// forbidden is what stands where something was taken out, so that it shows.
const forbidden = '\uFFFD'

// cleanText makes a text safe to print. Line feeds and tabs stay; who prints a
// text indents its further lines, so that none looks like somebody else's.
func cleanText(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r == '\r':
			return -1 // lines of Windows
		case unicode.IsControl(r) || drives(r):
			return forbidden
		}
		return r
	}, s)
}

// cleanName makes a name safe to print: one line, nothing invisible.
func cleanName(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsControl(r) || drives(r):
			return forbidden
		case r != zeroWidthJoiner && unicode.Is(unicode.Cf, r): // the joiner makes emoji
			return -1
		case unicode.IsSpace(r):
			return ' '
		}
		return r
	}, s)
	return strings.TrimSpace(s)
}

// checkName cuts the space around a name that somebody wants for themselves or a
// group, and refuses what others would not see as it was typed.
func checkName(name string) (string, error) {
	name = strings.TrimSpace(name)
	switch {
	case !utf8.ValidString(name):
		return "", fmt.Errorf("%w: it is not UTF-8", profile.ErrName)
	case cleanName(name) == "":
		return "", fmt.Errorf("%w: it is empty", profile.ErrName)
	case len(name) > protocol.MaxNameSize:
		return "", fmt.Errorf("%w: %d bytes, at most %d", profile.ErrName, len(name), protocol.MaxNameSize)
	case strings.ContainsFunc(name, func(r rune) bool { return unicode.IsControl(r) || drives(r) || r == forbidden }):
		return "", fmt.Errorf("%w: it has control characters, or turns the direction of writing", profile.ErrName)
	}
	return name, nil
}

const zeroWidthJoiner = '\u200D'

// drives says whether a character changes how those around it are laid out.
func drives(r rune) bool {
	switch {
	case r >= '\u202A' && r <= '\u202E', // embeddings and overrides
		r >= '\u2066' && r <= '\u2069', // isolates
		r == '\u2028' || r == '\u2029', // separators of lines and paragraphs
		r == '\uFEFF':
		return true
	}
	return false
}
