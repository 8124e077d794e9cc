//go:build linux

package node_test

import (
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"
)

// What is measured, and what beside it: the columns of the table. A row has one baseline.
const (
	p2pchat    = "p2pchat"
	gossipsub  = "gossipsub"
	bareStream = "bare stream"
)

// table collects figures by what they measure, in the order in which they come.
type table struct {
	rows []string
	unit map[string]string
	cell map[string]map[string]float64 // by row, by system
	done map[string]bool

	began busy
}

// busy is what the machine's cores did since it started, in ticks, but for this
// process: figures that were taken while others worked are not to be trusted.
type busy struct{ all, others float64 }

func readBusy() (b busy) {
	text, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(text), "\n")
	for i, word := range strings.Fields(line) {
		ticks, err := strconv.ParseFloat(word, 64)
		if err != nil || i > 8 {
			continue // "cpu" itself; guests are counted as user time already
		}
		b.all += ticks
		if i != 4 && i != 5 { // idle, waiting for the disk
			b.others += ticks
		}
	}
	var me, children syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &me)
	_ = syscall.Getrusage(syscall.RUSAGE_CHILDREN, &children)
	for _, u := range []syscall.Rusage{me, children} {
		b.others -= float64(u.Utime.Nano()+u.Stime.Nano()) / 1e7 // a tick is 10 ms
	}
	return b
}

func share(now, before busy) float64 {
	return max(0, now.others-before.others) / max(1, now.all-before.all)
}

// run measures once, whatever -benchtime says: what is measured has its own size.
func (t *table) run(b *testing.B, name string, f func(b *testing.B)) {
	b.Run(name, func(b *testing.B) {
		if t.done[b.Name()] {
			return
		}
		if t.done == nil {
			t.done = make(map[string]bool)
		}
		t.done[b.Name()] = true
		f(b)
		b.ReportMetric(0, "ns/op")
	})
}

// set notes a figure for the table, and with go test's own.
func (t *table) set(b *testing.B, system, what string, value float64, unit string) {
	b.ReportMetric(value, strings.ReplaceAll(what+" "+unit, " ", "-"))
	if t.cell == nil {
		t.cell, t.unit = make(map[string]map[string]float64), make(map[string]string)
	}
	if t.cell[what] == nil {
		t.cell[what] = make(map[string]float64)
		t.rows = append(t.rows, what)
		t.unit[what] = unit
	}
	t.cell[what][system] = value
}

func (t *table) print(w io.Writer) {
	if len(t.rows) == 0 {
		return
	}
	tw := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	fmt.Fprintf(tw, "\n| What\t| p2pchat\t| baseline\t| ratio\t|\n|---\t|---\t|---\t|---\t|\n")
	for _, what := range t.rows {
		mine, ok := t.cell[what][p2pchat]
		base, also := t.cell[what][gossipsub]
		if bare, ok := t.cell[what][bareStream]; ok {
			base, also = bare, true
		}
		ratio := ""
		if ok && also && base != 0 {
			ratio = fmt.Sprintf("%.2f", mine/base)
		}
		fmt.Fprintf(tw, "| %s, %s\t| %s\t| %s\t| %s\t|\n", what, t.unit[what], number(mine, ok), number(base, also), ratio)
	}
	_ = tw.Flush()
	load, _ := os.ReadFile("/proc/loadavg")
	fmt.Fprintf(w, "\n%d cores, of which others took %.0f %% meanwhile; load average at the end %s\n",
		runtime.NumCPU(), 100*share(readBusy(), t.began), load)
}

// number writes three digits that count.
func number(f float64, ok bool) string {
	switch {
	case !ok:
		return ""
	case f != 0 && math.Abs(f) < 100:
		return fmt.Sprintf("%.3g", f)
	}
	return fmt.Sprintf("%.0f", f)
}

// quantile returns the value below which a share of the samples lies, in
// milliseconds.
func quantile(sorted []time.Duration, q float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	return milli(sorted[min(len(sorted)-1, int(float64(len(sorted))*q))])
}

func milli(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }

// median is robust against the one run that something else disturbed.
func median(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}
