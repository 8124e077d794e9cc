package node_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ipfs/go-datastore"

	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

// oneLine fails unless a person's own messages are a chain without fork or hole, and
// returns how many there are.
func oneLine(t *testing.T, p *person, group protocol.ID) int {
	t.Helper()
	wires, err := p.Wires(ctx(t), group)
	if err != nil {
		t.Fatal(err)
	}
	chain := make(map[protocol.ID]protocol.Verified)
	for _, w := range wires {
		v, err := protocol.Verify(group, w)
		if err != nil {
			t.Fatal(err)
		}
		if v.Header().Dev == p.Device(group) {
			chain[v.ID()] = v
		}
	}
	line := make([]protocol.Verified, 0, len(chain))
	for _, v := range chain {
		line = append(line, v)
	}
	slices.SortFunc(line, func(a, b protocol.Verified) int { return cmp.Compare(a.Header().Seq, b.Header().Seq) })
	var end protocol.Tip
	for _, v := range line {
		if h := v.Header(); h.Seq != end.Seq+1 || h.Prev != end.ID {
			t.Fatalf("after number %d comes number %d", end.Seq, h.Seq)
		}
		end = v.Tip()
	}
	return len(line)
}

// Of those who wait together some give up and some say what cannot be said.
func TestWritersWhoWaitTogether(t *testing.T) {
	ana := start(t, "Ana")
	club := ana.create("club")
	waiting, release := ana.Hold(club)
	giveUp, cancel := context.WithCancel(ctx(t))
	const writers = 300
	errs := make([]error, writers)
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			c, text := ctx(t), fmt.Sprint("text ", i)
			switch i % 10 {
			case 3:
				c = giveUp
			case 7:
				text = strings.Repeat("x", protocol.MaxTextSize+1)
			}
			_, errs[i] = ana.Send(c, club, text)
		})
	}
	eventually(t, "all wait", func() bool { return waiting() == writers })
	cancel()
	release()
	all.Wait()
	for i, err := range errs {
		if want := map[int]error{3: context.Canceled, 7: protocol.ErrTooLarge}[i%10]; !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("writer %d: %v, not %v", i, err, want)
		}
	}
	if got := oneLine(t, ana, club); got != writers*8/10 {
		t.Errorf("%d messages are stored, not %d", got, writers*8/10)
	}
	agree(t, club, writers*8/10, ana)
}

// Where one is refused, those that came after it are not lost with it.
func TestSlowModeWhereWritersWaitTogether(t *testing.T) {
	ana, bo := start(t, "Ana"), start(t, "Bo")
	club := ana.create("club")
	bo.join(ana.invite(club, node.InviteOptions{}))
	slow := time.Hour
	if _, err := ana.Set(ctx(t), club, node.Settings{SlowMode: &slow}); err != nil {
		t.Fatal(err)
	}
	bo.told(club, "Ana set slow-mode 1h")
	bo.send(club, "first")
	waiting, release := bo.Hold(club)
	const writers = 8
	var said, refused atomic.Int32
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			if _, err := bo.Send(ctx(t), club, "me too"); errors.Is(err, node.ErrNotAllowed) {
				refused.Add(1)
			}
		})
		all.Go(func() {
			if bo.SayRetraction(ctx(t), club, protocol.ID{1}) == nil {
				said.Add(1)
			}
		})
	}
	eventually(t, "all wait", func() bool { return waiting() == 2*writers })
	release()
	all.Wait()
	if said.Load() != writers || refused.Load() != writers {
		t.Errorf("%d may be said and %d are refused, not %d each", said.Load(), refused.Load(), writers)
	}
	if got := oneLine(t, bo, club); got != 1+writers {
		t.Errorf("%d messages are stored, not %d", got, 1+writers)
	}
}

func TestManyWritersOnABadDisk(t *testing.T) {
	disk := &badDisk{Batching: storage.NewMemory()}
	ana := start(t, "Ana", func(c *node.Config) { c.Datastore = disk })
	club := ana.create("club")
	disk.every.Store(7)
	const writers, each = 16, 40
	said := make([][]string, writers)
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range each {
				text := fmt.Sprintf("%d %d", w, i)
				if _, err := ana.Send(ctx(t), club, text); err == nil {
					said[w] = append(said[w], text)
				}
			}
		})
	}
	all.Wait()
	disk.every.Store(0)
	for _, when := range []string{"then", "after a restart"} {
		oneLine(t, ana, club)
		texts := ana.texts(club)
		for w, list := range said {
			last := -1
			for _, text := range list {
				at := slices.Index(texts, text)
				if at <= last {
					t.Errorf("%s: what writer %d said, %q, is at %d, what it said before at %d", when, w, text, at, last)
				}
				last = at
			}
		}
		ana.send(club, when)
		ana.sleep()
		ana.wake()
	}
	if disk.failed.Load() == 0 {
		t.Error("the disk did not fail")
	}
}

// badDisk fails every so many commits: before they are written, or when they are synced.
type badDisk struct {
	datastore.Batching
	every         atomic.Int64
	count, failed atomic.Int64
}

var errDisk = errors.New("the disk fails")

func (d *badDisk) fails() bool {
	n := d.every.Load()
	if n == 0 || d.count.Add(1)%n != 0 {
		return false
	}
	d.failed.Add(1)
	return true
}

func (d *badDisk) Sync(c context.Context, k datastore.Key) error {
	if d.fails() {
		return errDisk
	}
	return d.Batching.Sync(c, k)
}

func (d *badDisk) Batch(c context.Context) (datastore.Batch, error) {
	b, err := d.Batching.Batch(c)
	return badBatch{b, d}, err
}

type badBatch struct {
	datastore.Batch
	disk *badDisk
}

func (b badBatch) Commit(c context.Context) error {
	if b.disk.fails() {
		return errDisk
	}
	return b.Batch.Commit(c)
}
