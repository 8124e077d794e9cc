// Command authority-sim runs the authority rule through random worlds, one for each
// seed, and compares it with its second implementation and its properties:
//
//	go run ./internal/authority-sim -from 0 -count 1000000 -out FILE
//
// FILE gets a line for each block of 100,000 seeds that is done; a run that was ended
// goes on after the last. What a seed comes to depends on the seed and the code alone.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/p2pchat/p2pchat/internal/sim"
)

// block is how many seeds a line stands for.
const block = 100_000

func main() {
	from := flag.Uint64("from", 0, "the first seed")
	count := flag.Uint64("count", 1_000_000, "how many seeds")
	out := flag.String("out", "", "the file that lines are appended to")
	flag.Parse()
	if err := run(*from, *count, *out, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "authority-sim:", err)
		os.Exit(1)
	}
}

var errViolated = errors.New("the rule is violated: see the seeds above")

func run(from, count uint64, name string, log io.Writer) error {
	if name == "" || count == 0 {
		return errors.New("a -count of seeds and an -out FILE are needed")
	}
	end := from + count
	next, err := resume(name, from, end)
	if err != nil {
		return err
	}
	out, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	violations := 0
	for next < end && err == nil {
		to := min(next+block, end)
		start := time.Now()
		wrong := worlds(next, to, sim.Check)
		for _, w := range wrong {
			fmt.Fprintln(log, w)
		}
		violations += len(wrong)
		line := fmt.Sprintf("seeds %d to %d: %d worlds, %d violations, %.1f s on %d cores, %s\n",
			next, to-1, to-next, len(wrong), time.Since(start).Seconds(), runtime.GOMAXPROCS(0), runtime.Version())
		fmt.Fprint(log, line)
		_, err = io.WriteString(out, line)
		next = to
	}
	if violations > 0 {
		err = errors.Join(err, errViolated)
	}
	return errors.Join(err, out.Close())
}

// resume returns the seed after the last block in a file that belongs to this run.
func resume(name string, from, end uint64) (uint64, error) {
	f, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return from, nil
	}
	if err != nil {
		return 0, err
	}
	next := from
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var first, last uint64
		if n, _ := fmt.Sscanf(lines.Text(), "seeds %d to %d:", &first, &last); n == 2 && first == next && last < end {
			next = last + 1
		}
	}
	return next, errors.Join(lines.Err(), f.Close())
}

// worlds checks the seeds from one to before another, on all cores.
func worlds(from, to uint64, check func(seed uint64) []string) (wrong []string) {
	var next atomic.Uint64
	next.Store(from)
	var mu sync.Mutex
	var wait sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wait.Go(func() {
			for {
				seed := next.Add(1) - 1
				if seed >= to {
					return
				}
				if w := check(seed); len(w) > 0 {
					mu.Lock()
					wrong = append(wrong, fmt.Sprintf("seed %d: %s", seed, strings.Join(w, "; ")))
					mu.Unlock()
				}
			}
		})
	}
	wait.Wait()
	return wrong
}
