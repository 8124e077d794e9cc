// Command keys-sim runs the keys of a group through random worlds, one for each seed
// (see internal/sim/keysim):
//
//	go run ./internal/keys-sim -from 0 -count 10000 -out FILE
//
// FILE gets a line for each block of seeds that is done; a run that was ended goes on
// after the last. What a seed comes to depends on the seed and the code alone.
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
	"time"

	"github.com/p2pchat/p2pchat/internal/sim/keysim"
)

func main() {
	from := flag.Uint64("from", 0, "the first seed")
	count := flag.Uint64("count", 1000, "how many seeds")
	block := flag.Uint64("block", 1000, "how many seeds a line is for")
	cores := flag.Int("cores", runtime.GOMAXPROCS(0), "on how many cores")
	out := flag.String("out", "", "the file that lines are appended to; none if empty")
	flag.Parse()
	if err := (run{*from, *count, *block, *cores}).into(*out, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "keys-sim:", err)
		os.Exit(1)
	}
}

var errViolated = errors.New("somebody entitled cannot read, or somebody else can: see the seeds above")

type run struct {
	from, count, block uint64
	cores              int
}

func (r run) into(name string, log io.Writer) error {
	if r.count == 0 || r.block == 0 || r.cores < 1 {
		return errors.New("a -count of seeds, a -block and -cores of 1 at least are needed")
	}
	end := r.from + r.count
	out, next := io.Discard, r.from
	if name != "" {
		var err error
		if next, err = resume(name, r.from, end); err != nil {
			return err
		}
		f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		defer f.Close()
		out = f
	}
	violated := false
	for next < end {
		to := min(next+r.block, end)
		line, wrong := r.worlds(next, to)
		for _, w := range wrong {
			fmt.Fprintln(log, w)
		}
		violated = violated || len(wrong) > 0
		fmt.Fprint(log, line)
		if _, err := io.WriteString(out, line); err != nil {
			return err
		}
		next = to
	}
	if violated {
		return errViolated
	}
	return nil
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
	defer f.Close()
	next := from
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var first, last uint64
		if n, _ := fmt.Sscanf(lines.Text(), "seeds %d to %d:", &first, &last); n == 2 && first == next && last < end {
			next = last + 1
		}
	}
	return next, lines.Err()
}

// worlds runs the seeds from one to before another, and tells how it went.
func (r run) worlds(from, to uint64) (line string, wrong []string) {
	start := time.Now()
	var mu sync.Mutex
	var sum keysim.Tally
	var wait sync.WaitGroup
	for core := range uint64(r.cores) {
		wait.Go(func() {
			for seed := from + core; seed < to; seed += uint64(r.cores) {
				w, tally := keysim.Check(seed)
				mu.Lock()
				sum.Add(tally)
				if len(w) > 0 {
					wrong = append(wrong, fmt.Sprintf("seed %d: %s", seed, strings.Join(w, "; ")))
				}
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	return fmt.Sprintf("seeds %d to %d: %d worlds, %d with violations, %.0f s on %d cores, %s; %s\n",
		from, to-1, to-from, len(wrong), time.Since(start).Seconds(), r.cores, runtime.Version(), sum), wrong
}
