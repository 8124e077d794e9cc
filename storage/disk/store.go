package disk

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	pebbleds "github.com/ipfs/go-ds-pebble"
)

// MinFree is how many bytes stay free: enough for pebble to flush a memtable,
// rewrite its manifest and close, none of which it can do on a full disk.
const MinFree = 16 << 20

// flushMost is how long Close waits for one memtable to be flushed, which takes some
// hundredths of a second.
const flushMost = 10 * time.Second

// Store is an open datastore. It refuses to write while the disk is nearly
// full, because pebble must end the process when a write to its log fails.
type Store struct {
	db   *pebbleds.Datastore
	dir  string
	free func(dir string) (uint64, error)

	closing sync.Once
	closed  error // what closing came to
}

var (
	_ datastore.Batching            = (*Store)(nil)
	_ datastore.PersistentDatastore = (*Store)(nil)
	_ datastore.GCDatastore         = (*Store)(nil)
)

// Space says whether the disk that a directory lies on has room for a store to be written:
// ErrFull where it has not.
func Space(dir string) error {
	if err := enough(dir, Free); err != nil {
		return &Error{Dir: dir, Err: err}
	}
	return nil
}

func enough(dir string, free func(string) (uint64, error)) error {
	n, err := free(dir)
	if err != nil {
		return fmt.Errorf("free space: %w", err)
	}
	if n < MinFree {
		return fmt.Errorf("%w: %d MiB are free, %d are needed", ErrFull, n>>20, MinFree>>20)
	}
	return nil
}

// writable says why nothing may be written now.
func (s *Store) writable() error {
	if err := enough(s.dir, s.free); err != nil {
		return &Error{Dir: s.dir, Err: err}
	}
	return nil
}

// named gives an error of damage its directory.
func (s *Store) named(err error) error {
	if err != nil && errors.Is(err, pebble.ErrCorruption) {
		return &Error{Dir: s.dir, Err: fmt.Errorf("%w: %w", ErrDamaged, err)}
	}
	return err
}

// Get implements datastore.Datastore.
func (s *Store) Get(ctx context.Context, key datastore.Key) ([]byte, error) {
	b, err := s.db.Get(ctx, key)
	return b, s.named(err)
}

// Has implements datastore.Datastore.
func (s *Store) Has(ctx context.Context, key datastore.Key) (bool, error) {
	ok, err := s.db.Has(ctx, key)
	return ok, s.named(err)
}

// GetSize implements datastore.Datastore.
func (s *Store) GetSize(ctx context.Context, key datastore.Key) (int, error) {
	n, err := s.db.GetSize(ctx, key)
	return n, s.named(err)
}

// Query implements datastore.Datastore.
func (s *Store) Query(ctx context.Context, q query.Query) (query.Results, error) {
	r, err := s.db.Query(ctx, q)
	return r, s.named(err)
}

// Put implements datastore.Datastore.
func (s *Store) Put(ctx context.Context, key datastore.Key, value []byte) error {
	if err := s.writable(); err != nil {
		return err
	}
	return s.named(s.db.Put(ctx, key, value))
}

// Delete implements datastore.Datastore.
func (s *Store) Delete(ctx context.Context, key datastore.Key) error {
	if err := s.writable(); err != nil { // a deletion is written, too
		return err
	}
	return s.named(s.db.Delete(ctx, key))
}

// Sync implements datastore.Datastore: what was written before is on disk after.
func (s *Store) Sync(ctx context.Context, prefix datastore.Key) error {
	return s.named(s.db.Sync(ctx, prefix))
}

// Batch implements datastore.Batching.
func (s *Store) Batch(ctx context.Context) (datastore.Batch, error) {
	b, err := s.db.Batch(ctx)
	if err != nil {
		return nil, s.named(err)
	}
	return &batch{Batch: b, store: s}, nil
}

// DiskUsage implements datastore.PersistentDatastore, in bytes.
func (s *Store) DiskUsage(ctx context.Context) (uint64, error) { return s.db.DiskUsage(ctx) }

// CollectGarbage implements datastore.GCDatastore: it merges all tables, so that nothing
// is left of what was overwritten or deleted.
func (s *Store) CollectGarbage(ctx context.Context) error {
	if err := s.writable(); err != nil {
		return err
	}
	return s.named(s.db.DB.Compact(ctx, []byte("/"), []byte("0"), true))
}

// Dir is where the store is.
func (s *Store) Dir() string { return filepath.Clean(s.dir) }

// Close closes the store, when nothing uses it any more. What was written lies in pebble's log,
// and is flushed to a table first so that the next start need not read it; but not on a full
// disk, where pebble would try again for ever. Closing twice is fine.
func (s *Store) Close() error {
	s.closing.Do(func() {
		if s.writable() == nil {
			s.flush()
		}
		s.closed = s.named(s.db.DB.Close())
	})
	return s.closed
}

// flush has the newest writes flushed, and waits no longer than that takes: others may fill
// the disk meanwhile.
func (s *Store) flush() {
	done, err := s.db.DB.AsyncFlush()
	if err != nil {
		return
	}
	select {
	case <-done:
	case <-time.After(flushMost):
	}
}

// batch is a batch that asks for space before it is written.
type batch struct {
	datastore.Batch
	store *Store
}

// Commit implements datastore.Batch.
func (b *batch) Commit(ctx context.Context) error {
	if err := b.store.writable(); err != nil {
		return err
	}
	return b.store.named(b.Batch.Commit(ctx))
}
