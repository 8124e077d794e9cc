package profile

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
	pebbleds "github.com/ipfs/go-ds-pebble"
)

// The store is pebble (an LSM tree) in a directory that carries a marker, so that
// a directory which is something else is never written to, and one that lost its
// files is never taken for a new one.
const (
	markerFile = "p2pchat-store"
	marker     = "p2pchat-store/1\n"
)

// Sizes for a program that is idle most of the day: a chat's working set is the
// newest few hundred messages.
const (
	blockCache   = 4 << 20 // bytes, in parts by processor: less, and the newest blocks push each other out
	memTable     = 4 << 20 // bytes; also bounds what a restart after a crash has to replay
	maxOpenFiles = 128
	blockSize    = 32 << 10 // bytes before compression
	youngTable   = 1 << 20  // bytes of a table that was just written, about
	youngPart    = 512 << 10
	otherTable   = 4 << 20 // and twice that a level
	youngLayers  = 8       // of tables before they are merged: with 4, indexes are written twice as often
	stopLayers   = 24      // at which writers wait for that
)

var (
	// ErrForeignStore says that the store's directory is not a p2pchat store.
	ErrForeignStore = errors.New("not a p2pchat store")
	// ErrBadStore says that the store is damaged.
	ErrBadStore = errors.New("the store is damaged")
	// ErrDiskFull says that nothing was written because the disk is nearly full.
	ErrDiskFull = errors.New("the disk is full")
)

// StoreError is an error of the store that names its directory.
type StoreError struct {
	Dir string
	Err error
}

// Error implements error.
func (e *StoreError) Error() string { return fmt.Sprintf("%s: %v", e.Dir, e.Err) }

// Unwrap returns the cause.
func (e *StoreError) Unwrap() error { return e.Err }

// StoreOptions are how a store tells what it has to say.
type StoreOptions struct {
	// Logger receives pebble's errors. Nil is silent.
	Logger *slog.Logger
	// Fatal is called when pebble cannot go on (a write to its log or manifest
	// failed) and must end the process: pebble would otherwise report a write that
	// failed as done. Nil panics.
	Fatal func(error)
}

// OpenStore opens the profile's store, and makes it the first time. The caller
// holds the lock. Writes are durable after Sync: a batch and a Sync are what an
// acknowledged message needs, and concurrent Syncs share one fsync.
func OpenStore(home string, o StoreOptions) (*Store, error) {
	dir := filepath.Join(home, storeDir)
	if err := removeTemps(home); err != nil {
		return nil, err
	}
	found, err := checkStore(dir)
	if err == nil && !found {
		err = createStore(home, dir, o)
	}
	if err != nil {
		return nil, &StoreError{Dir: dir, Err: err}
	}
	db, err := openPebble(dir, o)
	if err != nil {
		return nil, &StoreError{Dir: dir, Err: err}
	}
	return &Store{db: db, dir: dir, free: freeSpace}, nil
}

// checkStore says whether there is a store in dir, or what else is there.
func checkStore(dir string) (found bool, err error) {
	info, err := os.Lstat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case !info.IsDir():
		return false, fmt.Errorf("%w: it is not a directory", ErrForeignStore)
	}
	got, err := os.ReadFile(filepath.Join(dir, markerFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, fmt.Errorf("%w: %s is missing", ErrForeignStore, markerFile)
	case err != nil:
		return false, err
	case string(got) != marker:
		return false, fmt.Errorf("%w: format %q, and this version reads %q", ErrForeignStore, clip(string(got)), marker)
	}
	return true, checkPrivate(dir)
}

// createStore makes an empty store beside its place and moves it there, so that a
// crash leaves either a whole store or none.
func createStore(home, dir string, o StoreOptions) error {
	if err := checkFree(home, freeSpace); err != nil {
		return err
	}
	old, _ := filepath.Glob(filepath.Join(home, tempPrefix+storeDir+"*"))
	for _, tmp := range old { // left by a crash
		if err := os.RemoveAll(tmp); err != nil {
			return err
		}
	}
	tmp, err := os.MkdirTemp(home, tempPrefix+storeDir) // 0700
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }() // gone already after the rename
	opts := pebbleOptions(o)
	opts.EnsureDefaults()
	db, err := pebble.Open(tmp, opts)
	if err != nil {
		return err
	}
	if err := db.Close(); err != nil {
		return err
	}
	if err := writeOnce(filepath.Join(tmp, markerFile), []byte(marker)); err != nil {
		return err
	}
	if err := os.Rename(tmp, dir); err != nil {
		return err
	}
	return syncDir(home)
}

// openPebble opens a store that is there. Pebble panics on some damage, which is
// an error like any other to who asked.
func openPebble(dir string, o StoreOptions) (db *pebbleds.Datastore, err error) {
	defer func() {
		if r := recover(); r != nil {
			db, err = nil, fmt.Errorf("%w: %v", ErrBadStore, r)
		}
	}()
	if err := checkFree(dir, freeSpace); err != nil {
		return nil, err
	}
	opts := pebbleOptions(o)
	opts.ErrorIfNotExists = true
	db, err = pebbleds.NewDatastore(dir,
		pebbleds.WithCacheSize(blockCache),
		pebbleds.WithPebbleOpts(opts),
		pebbleds.WithPebbleWriteOptions(pebble.NoSync)) // Sync makes them durable, many at once
	switch {
	case err == nil:
		return db, nil
	case errors.Is(err, fs.ErrPermission):
		return nil, err
	}
	return nil, fmt.Errorf("%w: %w", ErrBadStore, err)
}

func pebbleOptions(o StoreOptions) *pebble.Options {
	opts := &pebble.Options{
		Logger:       storeLogger{o},
		MemTableSize: memTable,
		MaxOpenFiles: maxOpenFiles,
	}
	// Events that follow each other repeat most of their headers. Larger blocks and
	// zstd find that: a fifth less on disk than pebble's defaults. Nearly everything ends
	// in the last level. Before, it is written several times over, and zstd there would
	// take as much of a processor as sealing and signing.
	for i := range opts.Levels {
		opts.Levels[i].BlockSize = blockSize
	}
	// The log grows at its end, the indexes everywhere. Tables that hold some of both have
	// most of the log written again each time they are merged with it.
	opts.TargetFileSizes[0], opts.TargetFileSizes[1] = youngTable, otherTable
	opts.FlushSplitBytes = youngPart
	opts.L0CompactionThreshold, opts.L0StopWritesThreshold = youngLayers, stopLayers
	opts.Levels[len(opts.Levels)-1].Compression = func() *sstable.CompressionProfile { return &lastCompression }
	return opts
}

// lastCompression is zstd at level 1: what is left to find are headers, which level 3
// finds no better at more than twice the time.
var lastCompression = func() sstable.CompressionProfile {
	p := *sstable.ZstdCompression
	p.DataBlocks, p.ValueBlocks = sstable.BalancedCompression.DataBlocks, sstable.BalancedCompression.ValueBlocks
	return p
}()

// storeLogger hands pebble's words on.
type storeLogger struct{ o StoreOptions }

// Infof implements pebble.Logger: compactions and flushes are nobody's news.
func (storeLogger) Infof(string, ...any) {}

// Errorf implements pebble.Logger.
func (l storeLogger) Errorf(format string, args ...any) {
	if l.o.Logger != nil {
		l.o.Logger.Error("store", "err", fmt.Sprintf(format, args...))
	}
}

// Fatalf implements pebble.Logger. It must not return: pebble goes on as if the
// write had worked.
func (l storeLogger) Fatalf(format string, args ...any) {
	err := fmt.Errorf("the store cannot go on: %s", fmt.Sprintf(format, args...))
	if l.o.Fatal != nil {
		l.o.Fatal(err)
	}
	panic(err)
}
