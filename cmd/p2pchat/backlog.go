package main

import (
	"slices"
	"sync"
	"time"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/local"
)

// backlog shows what arrives in a chat. After a week away the newest page comes first and
// then what is before it, in thousands of lines: printed as they come, they would push off
// the screen what was said last. So lines that belong before one that is printed wait a
// moment. A screen of them is printed; of more is told, once no more come, how many they are.
type backlog struct {
	print func(local.Message) error
	tell  func(older int)

	mu     sync.Mutex
	newest time.Time       // of the lines that are on the screen
	held   []local.Message // the first of those that wait
	older  int             // how many wait
	last   time.Time       // when one of them came last
	timer  *time.Timer     // nil while none does
	err    error
}

const (
	// backlogWait is how long a line waits for others: what two people say at once is not
	// held up for longer.
	backlogWait = 300 * time.Millisecond
	// backlogPause is how long none comes when it is told how many they were.
	backlogPause = time.Second
)

// add prints a line, or has it wait.
func (b *backlog) add(m local.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return b.err
	}
	if !m.Time.Before(b.newest) {
		b.newest = m.Time
		return b.print(m)
	}
	b.last = time.Now()
	if b.older++; b.older <= tail {
		b.held = append(b.held, m)
	}
	if b.timer == nil {
		b.timer = time.AfterFunc(backlogWait, b.pause)
	}
	return nil
}

// stands notes a line that is on the screen already.
func (b *backlog) stands(m local.Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if m.Time.After(b.newest) {
		b.newest = m.Time
	}
}

// pause shows what waits, unless more of it seems to come.
func (b *backlog) pause() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.older > tail && time.Since(b.last) < backlogPause {
		b.timer.Reset(backlogWait)
		return
	}
	b.show()
}

// show shows what waits. An error is that of the next line. The caller holds mu.
func (b *backlog) show() {
	if b.older > tail {
		b.tell(b.older)
	} else {
		slices.SortStableFunc(b.held, func(x, y local.Message) int { return x.Time.Compare(y.Time) })
		for _, m := range b.held {
			if b.err == nil {
				b.err = b.print(m)
			}
		}
	}
	b.held, b.older, b.timer = nil, 0, nil
}

// end shows what still waits.
func (b *backlog) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.timer != nil && b.timer.Stop() {
		b.show()
	}
}
