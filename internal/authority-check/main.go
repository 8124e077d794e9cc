// Command authority-check applies the authority rule to a world, so that a second
// implementation can be compared with this one:
//
//	go run ./internal/authority-check FILE    one world, as JSON
//	go run ./internal/authority-check -       a world a line; an answer a line
//
// What a world and an answer look like is said by [authority.World] and
// [authority.Judgement].
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/p2pchat/p2pchat/protocol/authority"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "authority-check:", err)
		os.Exit(1)
	}
}

func run(args []string, in io.Reader, out io.Writer) error {
	if len(args) != 1 {
		return errors.New("one argument: a FILE with a world, or - for a world a line on stdin")
	}
	w := bufio.NewWriter(out)
	if args[0] != "-" {
		b, err := os.ReadFile(args[0])
		if err != nil {
			return err
		}
		if err := judge(b, w); err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
		return w.Flush()
	}
	lines := bufio.NewReader(in)
	for number := 1; ; number++ {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			if err := judge(line, w); err != nil {
				return errors.Join(fmt.Errorf("line %d: %w", number, err), w.Flush())
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return w.Flush()
		case err != nil:
			return err
		}
		// Who asks line by line waits for each answer.
		if lines.Buffered() == 0 {
			if err := w.Flush(); err != nil {
				return err
			}
		}
	}
}

func judge(text []byte, out io.Writer) error {
	var w authority.World
	if err := json.Unmarshal(text, &w); err != nil {
		return err
	}
	j, err := w.Judge()
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(j)
}
