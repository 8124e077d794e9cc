package node

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/fxamacker/cbor/v2"
	"github.com/ipfs/go-datastore"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

// A backup is a stream of items, each a length (4 bytes, big endian) and CBOR, and the
// last of them says how many there were: what ends without it was cut short. It holds
// what a group's history is read with, and nothing of the device: a chain is never
// resumed from a backup.

// ErrBadBackup says that a backup cannot be restored.
var ErrBadBackup = errors.New("the backup is damaged or cut short")

// The kinds of items.
const (
	backupGroup  = 1 // value: a roomMeta; the items that follow are of this group
	backupEvent  = 2 // value: an event's bytes, in the order of arrival
	backupRecord = 3 // value: a record's bytes
	backupValue  = 4 // a small value of one of the group's spaces
	backupShared = 5 // a small value of the node's own spaces
	backupEnd    = 6 // name: how many items there were before
)

type backupItem struct {
	Kind  uint8       `cbor:"1,keyasint"`
	Group protocol.ID `cbor:"3,keyasint,omitzero"`
	Space uint8       `cbor:"5,keyasint,omitzero"` // an index
	Name  string      `cbor:"7,keyasint,omitempty"`
	Value []byte      `cbor:"9,keyasint,omitempty"`
	Count uint64      `cbor:"11,keyasint,omitzero"`
}

// backupSpaces are the spaces of small values that a group's history is read with. Its
// prekeys are not among them: they are the device's.
func backupSpaces(group protocol.ID) []string {
	return []string{epochSpace(group), reportSpace(group), takenSpace(group), fellSpace(group), unmuteSpace(group), requestSpace(group)}
}

// sharedSpaces are those of the node: whom this person does not want to see, whom they
// verified, and where members were met.
func sharedSpaces() []string { return []string{spaceBlocked, spaceVerified, spacePeers} }

// Backup writes everything that a new device of the same account needs to read this
// node's groups: their events, secrets, names, addresses. It is in the open: the caller
// seals it. The account is not in it. It may run while the node does.
func (n *Node) Backup(ctx context.Context, w io.Writer) error {
	if err := n.alive(); err != nil {
		return err
	}
	out := &backupWriter{w: bufio.NewWriterSize(w, 1<<16)}
	for _, r := range n.allRooms() {
		if err := r.backup(ctx, out); err != nil {
			return fmt.Errorf("backup of group %s: %w", protocol.Short(r.group.Text(protocol.GroupPrefix)), err)
		}
	}
	for i, space := range sharedSpaces() {
		if err := n.backupSpace(ctx, out, backupItem{Kind: backupShared, Space: uint8(i)}, space); err != nil {
			return fmt.Errorf("backup: %w", err)
		}
	}
	if err := out.put(backupItem{Kind: backupEnd, Count: out.count}); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	return out.w.Flush()
}

type backupWriter struct {
	w     *bufio.Writer
	count uint64
}

func (b *backupWriter) put(it backupItem) error {
	data, err := cbor.Marshal(it)
	if err != nil {
		return err
	}
	b.count++
	var size [4]byte
	binary.BigEndian.PutUint32(size[:], uint32(len(data)))
	if _, err := b.w.Write(size[:]); err != nil {
		return err
	}
	_, err = b.w.Write(data)
	clear(data)
	return err
}

// backup writes a room: events first, so that the secrets, which are durable before the
// events that rest on them, are those of all of them.
func (r *room) backup(ctx context.Context, out *backupWriter) error {
	r.mu.Lock()
	meta := roomMeta{Tag: r.meta.Tag, Secrets: r.arrange(), Name: r.meta.Name}
	b, err := cbor.Marshal(meta)
	r.mu.Unlock()
	if err != nil {
		return err
	}
	if err := out.put(backupItem{Kind: backupGroup, Group: r.group, Value: b}); err != nil {
		return err
	}
	for cursor, end := uint64(0), r.log.Cursor(); cursor < end; {
		page, err := r.log.After(ctx, cursor, followPage)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		for _, e := range page {
			if cursor = e.Cursor; cursor > end {
				break
			}
			if err := out.put(backupItem{Kind: backupEvent, Value: r.outgoing(e.Event).Wire()}); err != nil {
				return err
			}
		}
	}
	records, err := r.log.Records(ctx)
	if err != nil {
		return err
	}
	for _, rec := range records {
		if err := out.put(backupItem{Kind: backupRecord, Value: rec.Wire()}); err != nil {
			return err
		}
	}
	for i, space := range backupSpaces(r.group) {
		if err := r.n.backupSpace(ctx, out, backupItem{Kind: backupValue, Space: uint8(i)}, space); err != nil {
			return err
		}
	}
	return nil
}

func (n *Node) backupSpace(ctx context.Context, out *backupWriter, it backupItem, space string) error {
	stored, err := n.store.List(ctx, space)
	if err != nil {
		return err
	}
	for name, value := range stored {
		it.Name, it.Value = name, value
		if err := out.put(it); err != nil {
			return err
		}
	}
	return nil
}

// maxBackupItem bounds an item in bytes: a small value, with its name.
const maxBackupItem = storage.MaxValue + 4<<10

// Restore fills an empty datastore with a backup, for a node that is then opened on it
// with the account of the backup's, another device secret, and the same key. Where it
// fails, the datastore is to be thrown away.
func Restore(ctx context.Context, ds datastore.Batching, key protocol.Secret, in io.Reader) error {
	store, err := storage.Open(ctx, ds, storage.WithKey(key))
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	b := &restoring{ctx: ctx, store: store}
	if groups, err := store.Groups(ctx); err != nil || len(groups) > 0 {
		return errors.Join(fmt.Errorf("restore: %w: the datastore is not empty", ErrConfig), err, store.Close())
	}
	err = b.read(bufio.NewReaderSize(in, 1<<16))
	if err = errors.Join(err, store.Close()); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	return nil
}

// restoring is a backup on its way into a store.
type restoring struct {
	ctx    context.Context
	store  *storage.Store
	group  protocol.ID
	room   *storage.Room
	events [][]byte // of the room, not stored yet
	count  uint64
}

func (b *restoring) read(in io.Reader) error {
	for {
		var size [4]byte
		if _, err := io.ReadFull(in, size[:]); err != nil {
			return badBackup(err)
		}
		n := binary.BigEndian.Uint32(size[:])
		if n > maxBackupItem {
			return fmt.Errorf("%w: an item of %d bytes", ErrBadBackup, n)
		}
		data := make([]byte, n)
		if _, err := io.ReadFull(in, data); err != nil {
			return badBackup(err)
		}
		var it backupItem
		if err := cbor.Unmarshal(data, &it); err != nil {
			return badBackup(err)
		}
		if it.Kind == backupEnd {
			return b.end(it, in)
		}
		if err := b.take(it); err != nil {
			return err
		}
		b.count++
	}
}

// badBackup says that reading failed: the sealing tells more than the stream does.
func badBackup(err error) error { return fmt.Errorf("%w: %w", ErrBadBackup, err) }

// end checks that nothing is missing and nothing follows.
func (b *restoring) end(it backupItem, in io.Reader) error {
	if err := b.flush(); err != nil {
		return err
	}
	if it.Count != b.count {
		return fmt.Errorf("%w: %d items, and it should have %d", ErrBadBackup, b.count, it.Count)
	}
	if n, err := in.Read(make([]byte, 1)); n > 0 || !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: more follows its end: %w", ErrBadBackup, err)
	}
	return nil
}

// restoreBatch is how many events are checked and stored in one go.
const restoreBatch = 256

func (b *restoring) take(it backupItem) error {
	if it.Kind == backupEvent {
		if len(it.Value) > protocol.MaxEventSize { // many are held before they are verified
			return fmt.Errorf("%w: an event of %d bytes", ErrBadBackup, len(it.Value))
		}
		if b.events = append(b.events, it.Value); len(b.events) < restoreBatch {
			return nil
		}
		return b.flush()
	}
	if err := b.flush(); err != nil {
		return err
	}
	switch it.Kind {
	case backupGroup:
		return b.begin(it)
	case backupRecord:
		return b.record(it.Value)
	case backupValue:
		if spaces := backupSpaces(b.group); b.room != nil && int(it.Space) < len(spaces) {
			return b.store.Put(b.ctx, spaces[it.Space], it.Name, it.Value)
		}
	case backupShared:
		if spaces := sharedSpaces(); int(it.Space) < len(spaces) {
			return b.store.Put(b.ctx, spaces[it.Space], it.Name, it.Value)
		}
	}
	return fmt.Errorf("%w: an item of kind %d in space %d", ErrBadBackup, it.Kind, it.Space)
}

// begin makes a room of a group.
func (b *restoring) begin(it backupItem) error {
	var meta roomMeta
	if err := cbor.Unmarshal(it.Value, &meta); err != nil {
		return badBackup(err)
	}
	meta.Device = protocol.Secret{} // the device's, never another's
	value, err := cbor.Marshal(meta)
	if err != nil {
		return err
	}
	b.group = it.Group
	if b.room, err = b.store.Room(b.ctx, b.group); err != nil {
		return err
	}
	return b.store.Put(b.ctx, spaceRooms, b.group.Text(protocol.GroupPrefix), value)
}

// flush checks and stores the events that are read.
func (b *restoring) flush() error {
	if len(b.events) == 0 {
		return nil
	}
	if b.room == nil {
		return fmt.Errorf("%w: an event of no group", ErrBadBackup)
	}
	list, errs := protocol.VerifyBatch(b.group, b.events, rand.Reader)
	if err := errors.Join(errs...); err != nil {
		return badBackup(err)
	}
	b.events = b.events[:0]
	return b.room.Receive(list).Wait(b.ctx)
}

func (b *restoring) record(wire []byte) error {
	if b.room == nil {
		return fmt.Errorf("%w: a record of no group", ErrBadBackup)
	}
	rec, err := protocol.VerifyRecord(b.group, wire)
	if err != nil {
		return badBackup(err)
	}
	return b.room.PutRecord(rec).Wait(b.ctx)
}
