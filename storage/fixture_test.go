package storage_test

import (
	"context"
	"crypto/rand"
	"testing"

	"github.com/ipfs/go-datastore"
	pebbleds "github.com/ipfs/go-ds-pebble"
	"go.uber.org/goleak"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
	"github.com/p2pchat/p2pchat/storage/disk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tester is what tests, benchmarks and properties have in common.
type tester interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

var group = protocol.ID{7, 7, 7}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// device writes a chain of messages.
type device struct {
	group protocol.ID
	id    protocol.Identity
	epoch *protocol.Epoch
	prev  protocol.Tip
	ctl   protocol.Tip
}

func newDevice() *device { return newDeviceIn(group) }

func newDeviceIn(group protocol.ID) *device {
	id := must(protocol.NewAccount(rand.Reader)).Identity(group)
	e := must(protocol.NewSecret(rand.Reader))
	eid := protocol.EpochID(group, id.Dev(), 1, e)
	return &device{
		group: group, id: id, epoch: must(protocol.NewEpoch(group, eid, id.Dev(), 1, e)),
		prev: protocol.Tip{Dev: id.Dev(), Chain: protocol.Messages},
		ctl:  protocol.Tip{Dev: id.Dev(), Chain: protocol.Control},
	}
}

// at makes the next message, at a time.
func (d *device) at(hlc uint64) protocol.Verified { return d.say(hlc, "hello") }

func (d *device) say(hlc uint64, text string) protocol.Verified {
	draft := protocol.Draft{Group: d.group, Kind: protocol.KindText, Prev: d.prev, Refs: []protocol.ID{d.group}, HLC: hlc}
	v := must(draft.SignMessage(protocol.Content{Text: text}, d.epoch, d.id.Signer(), rand.Reader))
	d.prev = v.Tip()
	return v
}

// about makes the next message, whose header names another.
func (d *device) about(kind protocol.Kind, to protocol.ID, hlc uint64) protocol.Verified {
	draft := protocol.Draft{Group: d.group, Kind: kind, Prev: d.prev, Refs: []protocol.ID{d.group}, HLC: hlc, To: to}
	var c protocol.Content
	if kind == protocol.KindClose {
		c.Boxed = []byte("for the moderators")
	}
	v := must(draft.SignMessage(c, d.epoch, d.id.Signer(), rand.Reader))
	d.prev = v.Tip()
	return v
}

// leave makes the next event on the control chain. That it leaves again and again
// is nothing to storage.
func (d *device) leave(hlc uint64) protocol.Verified {
	draft := protocol.Draft{Group: d.group, Kind: protocol.KindLeave, Prev: d.ctl, Refs: []protocol.ID{d.group}, Auth: d.group, HLC: hlc}
	v := must(draft.SignControl(&protocol.Leave{}, nil, nil, d.id.Signer(), rand.Reader))
	d.ctl = v.Tip()
	return v
}

// run makes n messages from a time on.
func (d *device) run(n int, hlc uint64) []protocol.Verified {
	list := make([]protocol.Verified, n)
	for i := range list {
		list[i] = d.at(hlc + uint64(i))
	}
	return list
}

// clone copies the device as it stands: the two fork its chain.
func (d *device) clone() *device { c := *d; return &c }

func (d *device) record(number uint64, value string) protocol.VerifiedRecord {
	r := protocol.Record{Type: protocol.RecordProfile, Number: number, Value: []byte(value)}
	return must(r.Sign(d.group, d.id.Signer()))
}

func open(t testing.TB, ds datastore.Batching, options ...storage.Option) *storage.Store {
	t.Helper()
	s, err := storage.Open(context.Background(), ds, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func room(t tester, s *storage.Store) *storage.Room {
	t.Helper()
	r, err := s.Room(context.Background(), group)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func put(t tester, r *storage.Room, events ...protocol.Verified) {
	t.Helper()
	if err := r.Receive(events).Wait(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func memory(testing.TB) datastore.Batching { return storage.NewMemory() }

func pebble(t testing.TB) datastore.Batching {
	t.Helper()
	ds, err := pebbleds.NewDatastore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ds.Close() })
	return ds
}

func ours(t testing.TB) datastore.Batching {
	t.Helper()
	ds, err := disk.Open(t.TempDir(), disk.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ds.Close() })
	return ds
}
