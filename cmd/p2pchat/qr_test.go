package main

import (
	"bytes"
	"crypto/rand"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/p2pchat/p2pchat/protocol"
)

// The longest link that is made without a question fits the screen of a terminal, and
// what a camera reads from it is the link.
func TestALinkFitsAScreen(t *testing.T) {
	l := protocol.Link{Group: protocol.ID{1}}
	seed, err := protocol.NewSecret(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	l.Seed = seed
	for range protocol.MaxLinkAddrs {
		l.Addrs = append(l.Addrs, bytes.Repeat([]byte{0xa5}, 48))
	}
	code := string(qrCode(l.Text()))
	lines := strings.Split(strings.TrimRight(code, "\n"), "\n")
	if wide := utf8.RuneCountInString(lines[0]); wide > 80 || len(lines) > 40 {
		t.Errorf("a code of %d columns and %d lines", wide, len(lines))
	}
	again, err := protocol.ParseLink(strings.ToUpper(l.Text()))
	if err != nil || again.Text() != l.Text() {
		t.Errorf("a link in upper case reads as %v, %v", again, err)
	}
	if strings.Trim(code, "█▀▄ \n") != "" {
		t.Error("a code has other characters than blocks")
	}
}
