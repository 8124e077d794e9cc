package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/p2pchat/p2pchat/protocol"
)

// lineReader reads texts, one a line.
type lineReader struct {
	in *bufio.Reader
	n  int // of the line that was read last, from 1
}

func newLineReader(r io.Reader) *lineReader {
	return &lineReader{in: bufio.NewReaderSize(r, protocol.MaxTextSize+2)} // a line and its end
}

// next returns a line without its line feed, and io.EOF after the last. A line that
// is too long for a message is skipped, as a protocol.ErrTooLarge.
func (l *lineReader) next() (string, error) {
	b, err := l.in.ReadSlice('\n')
	l.n++
	long := errors.Is(err, bufio.ErrBufferFull)
	for errors.Is(err, bufio.ErrBufferFull) {
		_, err = l.in.ReadSlice('\n')
	}
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return "", fmt.Errorf("stdin: %w", err)
	case long:
		return "", fmt.Errorf("%w: at most %d bytes", protocol.ErrTooLarge, protocol.MaxTextSize)
	case err != nil && len(b) == 0:
		return "", io.EOF
	}
	return strings.TrimSuffix(string(b), "\n"), nil
}
