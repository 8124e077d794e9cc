package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/local"
)

// span is a flag that takes a length of time: as Go writes it, or in whole days or
// weeks.
type span time.Duration

const (
	day  = 24 * time.Hour
	week = 7 * day
)

// Set implements pflag.Value.
func (s *span) Set(text string) error {
	d, err := parseSpan(text)
	if err == nil {
		*s = span(d)
	}
	return err
}

// Type implements pflag.Value: what help shows for the value.
func (s *span) Type() string { return "time" }

// String implements pflag.Value.
func (s *span) String() string { return local.SpanText(time.Duration(*s)) }

// parseSpan reads a length of time, which is more than nothing.
func parseSpan(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	for unit, length := range map[string]time.Duration{"d": day, "w": week} {
		number, ok := strings.CutSuffix(s, unit)
		if !ok {
			continue
		}
		var n uint64
		if n, err = strconv.ParseUint(number, 10, 31); err == nil && n > uint64(math.MaxInt64/length) {
			err = strconv.ErrRange
		}
		d = time.Duration(n) * length
	}
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%q is not a time like 90s, 12h, 7d or 2w", s)
	}
	return d, nil
}
