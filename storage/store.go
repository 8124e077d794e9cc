package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"

	"github.com/p2pchat/p2pchat/protocol"
)

// format is what this package writes under its version key. The number rises with
// every change that an older program would misread.
const (
	formatName    = "p2pchat storage "
	formatVersion = 3
)

// Store is an open datastore: rooms, small values, and the one goroutine that
// commits. All its methods may be called from several goroutines.
type Store struct {
	ds   datastore.Batching
	now  func() time.Time
	seal *sealer // nil leaves values as they are

	// gate is held for reading by every call and for writing by Close, so that no
	// call is inside the datastore once Close has returned: its owner closes it
	// next, and drivers panic when they are used after that.
	gate   sync.RWMutex
	closed bool

	pages   *lru.Cache[pageKey, *node]
	recent  recent
	opening sync.Mutex // held while a room is opened, so that each is opened once
	rooms   map[protocol.ID]*Room

	queue   queue
	done    chan struct{} // closed when the committer has ended
	failing atomic.Pointer[error]
}

// Option changes how a store works.
type Option func(*Store)

// WithClock lets a store take the time of arrivals from now instead of [time.Now].
func WithClock(now func() time.Time) Option { return func(s *Store) { s.now = now } }

// Open begins to use a datastore, which is p2pchat's alone. It returns ErrForeign
// for one that holds something else, ErrNewer or ErrOlder for one of another version, and
// ErrWrongKey or ErrUnsealed for one that was made with another key or none. The
// caller closes the store first and the datastore after it.
func Open(ctx context.Context, ds datastore.Batching, options ...Option) (*Store, error) {
	s := &Store{ds: ds, now: time.Now, rooms: make(map[protocol.ID]*Room), done: make(chan struct{})}
	for _, o := range options {
		o(s)
	}
	var err error
	if s.pages, err = lru.New[pageKey, *node](maxPages); err != nil {
		panic(err) // the size is a constant
	}
	if err := s.checkFormat(ctx); err != nil {
		return nil, fmt.Errorf("open the store: %w", err)
	}
	s.queue.init()
	go s.run()
	return s, nil
}

// checkFormat recognises a datastore of ours, and marks an empty one.
func (s *Store) checkFormat(ctx context.Context) error {
	ds, key := s.ds, datastore.RawKey(versionKey)
	b, err := ds.Get(ctx, key)
	if err == nil {
		return s.checkVersion(b)
	}
	if !errors.Is(err, datastore.ErrNotFound) {
		return err
	}
	found := false
	err = each(ctx, ds, query.Query{KeysOnly: true, Limit: 1}, func(query.Entry) error {
		found = true
		return errStop
	})
	if err != nil {
		return err
	}
	if found {
		return ErrForeign
	}
	if err := ds.Put(ctx, key, []byte(formatName+s.seal.version(strconv.Itoa(formatVersion)))); err != nil {
		return notStored(err)
	}
	if err := ds.Sync(ctx, key); err != nil {
		return notStored(err)
	}
	return nil
}

func (s *Store) checkVersion(b []byte) error {
	text, ok := strings.CutPrefix(string(b), formatName)
	number, _, _ := strings.Cut(text, " ")
	n, err := strconv.Atoi(number)
	switch {
	case !ok || err != nil || n < 1:
		return ErrForeign
	case n > formatVersion:
		return fmt.Errorf("format %d: %w", n, ErrNewer)
	case n < formatVersion:
		return fmt.Errorf("format %d: %w", n, ErrOlder)
	}
	rest, err := s.seal.check(text)
	if err == nil && rest != number {
		return ErrForeign
	}
	return err
}

// Close finishes what is queued, writes down where the rooms stand and ends the
// committer. It waits for calls that are under way. The datastore stays open.
// Closing twice is fine.
func (s *Store) Close() error {
	s.gate.Lock()
	s.closed = true
	s.gate.Unlock()
	s.queue.close()
	<-s.done
	return nil
}

// Failing says why the last write failed, and returns nil where it did not: whether what
// comes can be stored, as far as is known without trying.
func (s *Store) Failing() error {
	if err := s.failing.Load(); err != nil {
		return *err
	}
	return nil
}

// wrote notes what became of some writes. None at all succeed on a full disk, too.
func (s *Store) wrote(count int, err error) {
	switch {
	case err != nil:
		s.failing.Store(&err)
	case count > 0:
		s.failing.Store(nil)
	}
}

// begin admits a call; end lets Close go on. They do not nest.
func (s *Store) begin() error {
	s.gate.RLock()
	if s.closed {
		s.gate.RUnlock()
		return ErrClosed
	}
	return nil
}

func (s *Store) end() { s.gate.RUnlock() }

// Groups returns the groups that have a room, in the order of their ids.
func (s *Store) Groups(ctx context.Context) ([]protocol.ID, error) {
	if err := s.begin(); err != nil {
		return nil, err
	}
	defer s.end()
	var groups []protocol.ID
	err := each(ctx, s.ds, query.Query{Prefix: "/g"}, func(e query.Entry) error {
		c, err := decodeCheckpoint(e.Key, e.Value)
		if err == nil {
			groups = append(groups, c.Group)
		}
		return err
	})
	slices.SortFunc(groups, protocol.ID.Compare)
	return groups, err
}

// Room opens a group's room; where there is none it begins with the first append.
// What a crash left half done is repaired here: see [Room].
func (s *Store) Room(ctx context.Context, group protocol.ID) (*Room, error) {
	if err := s.begin(); err != nil {
		return nil, err
	}
	defer s.end()
	s.opening.Lock()
	defer s.opening.Unlock()
	if r := s.rooms[group]; r != nil {
		return r, nil
	}
	r := newRoom(s, group)
	if err := r.load(ctx); err != nil {
		return nil, fmt.Errorf("open the room of %s: %w", group.Text(protocol.GroupPrefix), err)
	}
	s.rooms[group] = r
	return r, nil
}

// get reads one value; ErrNotFound says that there is none.
func (s *Store) get(ctx context.Context, key string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b, err := s.ds.Get(ctx, datastore.RawKey(key))
	if errors.Is(err, datastore.ErrNotFound) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	return b, nil
}

// errStop ends a query early.
var errStop = errors.New("stop")

// each calls visit for the entries of a query until it returns an error; errStop
// ends it without one.
func each(ctx context.Context, ds datastore.Datastore, q query.Query, visit func(query.Entry) error) (err error) {
	res, err := ds.Query(ctx, q)
	if err != nil {
		return fmt.Errorf("query %s: %w", q.Prefix, err)
	}
	defer func() { err = errors.Join(err, res.Close()) }()
	for {
		r, ok := res.NextSync()
		switch {
		case !ok:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case r.Error != nil:
			return fmt.Errorf("query %s: %w", q.Prefix, r.Error)
		}
		if err := visit(r.Entry); err != nil {
			if err == errStop {
				return nil
			}
			return err
		}
	}
}

func notStored(err error) error {
	if errors.Is(err, ErrNotStored) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrNotStored, err)
}
