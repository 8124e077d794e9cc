package storage

import "errors"

var (
	// ErrClosed says that the store was closed.
	ErrClosed = errors.New("the store is closed")
	// ErrForeign says that a datastore holds something that is not p2pchat's. An
	// embedding program lends a namespace of its own (go-datastore's namespace.Wrap).
	ErrForeign = errors.New("the datastore belongs to another program; give p2pchat an empty one or a namespace of its own")
	// ErrNewer says that a newer p2pchat wrote the datastore.
	ErrNewer = errors.New("the datastore was written by a newer p2pchat; update this one")
	// ErrOlder says that an older p2pchat wrote the datastore; there is no migration before
	// version 1.0.
	ErrOlder = errors.New("the datastore was written by an older p2pchat, which this one does not read; begin with an empty one")
	// ErrWrongKey says that the store's small values are sealed under another key.
	ErrWrongKey = errors.New("the store is sealed under another key: it belongs to another profile, or its key was lost")
	// ErrUnsealed says that a store which was made without a key is opened with one.
	ErrUnsealed = errors.New("the store was made without a key; begin with an empty one")
	// ErrNotFound says that nothing is stored under what was asked for.
	ErrNotFound = errors.New("not stored here")
	// ErrNotStored says that something could not be made durable: a full disk, a
	// failing one. The driver's error is wrapped beside it.
	ErrNotStored = errors.New("not stored")
	// ErrDamaged says that a stored value does not decode.
	ErrDamaged = errors.New("damaged on disk; restore from a backup or let sync fetch it again")
	// ErrGap says that an event came before the one it links to.
	ErrGap = errors.New("the event before it on its chain is not stored")
	// ErrHoles says that so much is missing before stored messages that one more hole
	// is not taken. Sync fills holes, and brings what was refused after that.
	ErrHoles = errors.New("too much is missing before it on its chain; sync brings it once that is filled")
	// ErrWrongGroup says that an event was made for another group than the room's.
	ErrWrongGroup = errors.New("made for another group")
	// ErrForked says that one place of a chain holds as many different messages as
	// are kept. Its device is copied or dishonest, and there is proof of it.
	ErrForked = errors.New("too many different events at one place of a chain")
	// ErrBusy says that the disk is further behind than fits in memory. Wait for a
	// commit and try again.
	ErrBusy = errors.New("the disk cannot keep up")
	// ErrTooLarge says that a value or its name is over its limit in bytes.
	ErrTooLarge = errors.New("too large")
)
