package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
	pebbleds "github.com/ipfs/go-ds-pebble"
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
	// ErrDamaged says that the files are damaged, or not all there.
	ErrDamaged = errors.New("the store is damaged")
	// ErrFull says that nothing was written because the disk is nearly full.
	ErrFull = errors.New("the disk is full")
)

// Error is an error of a store that names its directory.
type Error struct {
	Dir string
	Err error
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("%s: %v", e.Dir, e.Err) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Options are how a store is opened, and how it tells what it has to say.
type Options struct {
	// MustExist keeps Open from making a store where there is none.
	MustExist bool
	// Logger receives pebble's errors. Nil is silent.
	Logger *slog.Logger
	// Fatal is called when pebble cannot go on (a write to its log or manifest
	// failed) and must end the process: pebble would otherwise report a write that
	// failed as done. Nil panics.
	Fatal func(error)
}

// Open opens the store in a directory. Its errors are of type [*Error].
func Open(dir string, o Options) (*Store, error) {
	db, err := open(dir, o)
	if err != nil {
		return nil, &Error{Dir: dir, Err: err}
	}
	ds, err := pebbleds.NewDatastore(dir,
		pebbleds.WithPebbleDB(db),
		pebbleds.WithPebbleWriteOptions(pebble.NoSync)) // Sync makes them durable, many at once
	if err != nil {
		return nil, &Error{Dir: dir, Err: errors.Join(err, db.Close())}
	}
	return &Store{db: ds, dir: dir, free: Free}, nil
}

// open opens pebble, which panics on some damage: an error like any other to who asked.
func open(dir string, o Options) (db *pebble.DB, err error) {
	defer func() {
		if r := recover(); r != nil {
			db, err = nil, fmt.Errorf("%w: %v", ErrDamaged, r)
		}
	}()
	if !o.MustExist {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	if err := enough(dir, Free); err != nil {
		return nil, err
	}
	opts := pebbleOptions(o)
	opts.Cache = pebble.NewCache(blockCache)
	defer opts.Cache.Unref() // pebble has its own reference
	db, err = pebble.Open(dir, opts)
	switch {
	case err == nil:
		return db, nil
	case errors.Is(err, fs.ErrPermission):
		return nil, err
	}
	return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
}

func pebbleOptions(o Options) *pebble.Options {
	opts := &pebble.Options{
		ErrorIfNotExists: o.MustExist,
		Logger:           logger{o},
		MemTableSize:     memTable,
		MaxOpenFiles:     maxOpenFiles,
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

// logger hands pebble's words on.
type logger struct{ o Options }

// Infof implements pebble.Logger: compactions and flushes are nobody's news.
func (logger) Infof(string, ...any) {}

// Errorf implements pebble.Logger.
func (l logger) Errorf(format string, args ...any) {
	if l.o.Logger != nil {
		l.o.Logger.Error("store", "err", fmt.Sprintf(format, args...))
	}
}

// Fatalf implements pebble.Logger. It must not return: pebble goes on as if the
// write had worked.
func (l logger) Fatalf(format string, args ...any) {
	err := fmt.Errorf("the store cannot go on: %s", fmt.Sprintf(format, args...))
	if l.o.Fatal != nil {
		l.o.Fatal(err)
	}
	panic(err)
}
