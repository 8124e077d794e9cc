package node_test

import (
	"crypto/rand"
	"io"
	"testing"

	ma "github.com/multiformats/go-multiaddr"
)

func newRandom() io.Reader { return rand.Reader }

func mustAddr(t *testing.T, text string) []byte {
	t.Helper()
	a, err := ma.NewMultiaddr(text)
	if err != nil {
		t.Fatal(err)
	}
	return a.Bytes()
}
