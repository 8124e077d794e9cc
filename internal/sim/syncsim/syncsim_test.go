package syncsim

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"
)

// TestRandomSchedules runs 2,000 schedules, or as many as P2PCHAT_SCHEDULES says;
// P2PCHAT_SEED says which is the first, and P2PCHAT_RESULTS names a file for the result.
// docs/results/sync.txt has that of `make simsync`.
func TestRandomSchedules(t *testing.T) {
	count := number(t, "P2PCHAT_SCHEDULES", 2000)
	if testing.Short() {
		count = min(count, 100)
	}
	from := number(t, "P2PCHAT_SEED", 0)
	var mu sync.Mutex
	var sum Tally
	var wait sync.WaitGroup
	failed, began, cores := 0, time.Now(), uint64(runtime.GOMAXPROCS(0))
	for core := range cores {
		wait.Go(func() {
			for seed := from + core; seed < from+count; seed += cores {
				wrong, tally := Check(seed)
				mu.Lock()
				if sum.Add(tally); len(wrong) > 0 {
					if failed++; failed < 10 {
						t.Errorf("P2PCHAT_SEED=%d P2PCHAT_SCHEDULES=1: %q", seed, wrong)
					}
				}
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	report := fmt.Sprintf("seeds %d to %d: %d schedules, %d failed, %.0f s on %d cores, %s; %s\n",
		from, from+count-1, count, failed, time.Since(began).Seconds(), cores, runtime.Version(), sum)
	t.Log(report)
	if failed > 0 {
		t.Errorf("%d of %d failed", failed, count)
	}
	if name := os.Getenv("P2PCHAT_RESULTS"); name != "" {
		if err := os.WriteFile(name, []byte(report), 0o644); err != nil {
			t.Error(err)
		}
	}
}

func number(t *testing.T, name string, otherwise uint64) uint64 {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestReplay: a seed comes to the same each time.
func TestReplay(t *testing.T) {
	for seed := range uint64(20) {
		_, a := Check(seed)
		if _, b := Check(seed); a != b {
			t.Errorf("seed %d: %v, and then %v", seed, a, b)
		}
	}
}
