package main

import (
	"sync"
	"time"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/local"
)

// backlog shows what arrives in a chat. After a week away the newest page comes first and
// then what is before it, in thousands of lines: printed as they come, they would push off
// the screen what was said last. So lines from long before the newest one wait until no
// more of them come; a screen of them is printed, and of more is told how many they are.
type backlog struct {
	print func(local.Message) error
	tell  func(older int)

	mu     sync.Mutex
	newest time.Time // of the lines that were printed
	held   []local.Message
	older  int // that came since the last pause, held or not
	timer  *time.Timer
	err    error
}

const (
	// backlogAge is how far before the newest line one is that waits: what two people say
	// at once, and what a bad link held up for a moment, does not.
	backlogAge = time.Minute
	// backlogPause is how long none of them comes when it is told how many they were.
	backlogPause = time.Second
)

// add prints a line, or has it wait.
func (b *backlog) add(m local.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return b.err
	}
	if b.newest.Sub(m.Time) < backlogAge {
		if m.Time.After(b.newest) {
			b.newest = m.Time
		}
		return b.print(m)
	}
	if b.older++; b.older <= tail {
		b.held = append(b.held, m)
	}
	if b.timer == nil {
		b.timer = time.AfterFunc(backlogPause, b.pause)
	} else {
		b.timer.Reset(backlogPause)
	}
	return nil
}

// pause shows what waits. An error is that of the next line.
func (b *backlog) pause() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.older > len(b.held) {
		b.tell(b.older)
	} else {
		for _, m := range b.held {
			if b.err == nil {
				b.err = b.print(m)
			}
		}
	}
	b.held, b.older = nil, 0
}

// end shows what still waits.
func (b *backlog) end() {
	if b.timer != nil && b.timer.Stop() {
		b.pause()
	}
}
