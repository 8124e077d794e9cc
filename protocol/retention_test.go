package protocol

import (
	"math"
	"testing"
	"time"
)

func TestRetentionKeepsToItsBounds(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		value uint64
		want  time.Duration
	}{
		{1, MinRetention}, {3600, time.Hour}, {90 * 86400, 90 * 24 * time.Hour}, {math.MaxUint64, MaxRetention}, {0, 0},
	} {
		id := w.act(w.ana, KindSetting, &Setting{Number: SettingRetention, Value: c.value}).ID()
		got, by := Eval(w.set).Retention()
		if got != c.want || (by == id) != (c.want != 0) {
			t.Errorf("retention %d is %v by %v, not %v", c.value, got, by, c.want)
		}
	}
}

func TestExpiryIsAWholeMinuteAndNotBefore(t *testing.T) {
	for _, c := range []struct {
		hlc  uint64
		life time.Duration
		want uint64
	}{
		{0, time.Minute, 60},
		{1, time.Minute, 120},
		{59_999, time.Minute, 120},
		{60_000, time.Minute, 120},
		{1_800_000_000_001, time.Hour, 1_800_003_660},
	} {
		if got := ExpiryOf(c.hlc, c.life); got != c.want {
			t.Errorf("written at %d for %v it expires at %d, not %d", c.hlc, c.life, got, c.want)
		}
	}
}

func TestExpiredAtItsSecond(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	for exp, want := range map[uint64]bool{0: false, 1: true, 1_800_000_000: true, 1_800_000_001: false, math.MaxUint64: false} {
		if h := (Header{Exp: exp}); h.Expired(at) != want {
			t.Errorf("exp %d at %d: expired is %v", exp, at.Unix(), !want)
		}
	}
}
