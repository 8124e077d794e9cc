package node

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

// steady is the clock by which bodies grow old. What is erased does not come back, so a
// machine whose clock leaps, from an empty battery or a wrong year, must not erase
// everything: a leap is believed when what somebody else wrote confirms it, or when the
// clock has stood there for a day. Back it may go at any time: that erases later.
type steady struct {
	mu    sync.Mutex
	base  time.Time    // the latest time that was believed
	leapt time.Time    // what the clock said when it had leapt; zero if it has not
	saved [2]time.Time // base and leapt, as they are on disk
}

// tick takes in what the clock says, and returns the time that is believed.
func (s *steady) tick(now time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.base.IsZero(), now.Before(s.base.Add(leapMost)):
		s.leapt = time.Time{}
		s.raise(now)
	case s.leapt.IsZero(), now.Before(s.leapt), now.After(s.leapt.Add(leapMost)):
		s.leapt = now
	case now.Sub(s.leapt) >= leapWait:
		s.leapt = time.Time{}
		s.raise(now)
	}
	if now.Before(s.base) {
		return now
	}
	return s.base
}

func (s *steady) raise(to time.Time) {
	if to.After(s.base) {
		s.base = to
	}
}

// confirm takes in the time of an event by another device that agrees with the clock.
func (s *steady) confirm(hlc uint64, now time.Time) {
	if t := protocol.Time(hlc); now.Sub(t).Abs() <= protocol.MaxClockSkew {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.raise(now)
	}
}

// state is what is kept of it: 8 bytes each of base and leapt, in Unix seconds.
func (s *steady) state() []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(s.base.Unix()))
	return binary.BigEndian.AppendUint64(b, uint64(max(0, s.leapt.Unix())))
}

const steadyKey = "steady"

// loadSteady reads back which time was believed last.
func (n *Node) loadSteady(ctx context.Context) error {
	b, err := n.store.Get(ctx, spaceSelf, steadyKey)
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	if err == nil && len(b) != 16 {
		err = fmt.Errorf("%d bytes", len(b))
	}
	if err != nil {
		return fmt.Errorf("the time that was believed last: %w", err)
	}
	s := &n.steady
	s.base = time.Unix(int64(binary.BigEndian.Uint64(b)), 0)
	if leapt := int64(binary.BigEndian.Uint64(b[8:])); leapt > 0 {
		s.leapt = time.Unix(leapt, 0)
	}
	s.saved = [2]time.Time{s.base, s.leapt}
	return nil
}

// saveSteady writes it down, where it has changed by much or the clock has just leapt.
func (n *Node) saveSteady(ctx context.Context) error {
	n.steady.tick(n.now())
	s := &n.steady
	s.mu.Lock()
	here, b := [2]time.Time{s.base, s.leapt}, s.state()
	due := s.base.Sub(s.saved[0]) >= steadyEvery || !s.leapt.Equal(s.saved[1])
	s.mu.Unlock()
	if !due {
		return nil
	}
	if err := n.store.Put(ctx, spaceSelf, steadyKey, b); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saved = here
	return nil
}
