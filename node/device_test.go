package node_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"

	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

// backup returns all that a person's node writes for a new device of theirs.
func (p *person) backup() []byte {
	p.t.Helper()
	var b bytes.Buffer
	if err := p.Backup(ctx(p.t), &b); err != nil {
		p.t.Fatalf("%s backs up: %v", p.cfg.Name, err)
	}
	return b.Bytes()
}

// restored starts another device of a person's from a backup.
func (p *person) restored(backup []byte) *person {
	p.t.Helper()
	return start(p.t, p.cfg.Name, func(cfg *node.Config) {
		cfg.StoreKey = protocol.Secret{1}
		cfg.Account.Seed = p.cfg.Account.Seed // and a device secret of its own
		if err := node.Restore(ctx(p.t), cfg.Datastore, cfg.StoreKey, bytes.NewReader(backup)); err != nil {
			p.t.Fatalf("%s restores: %v", p.cfg.Name, err)
		}
	})
}

// copyOf returns what a datastore holds now, in another one.
func copyOf(t *testing.T, ds datastore.Batching) datastore.Batching {
	t.Helper()
	out := storage.NewMemory()
	for key, value := range dump(t, ds) {
		if err := out.Put(t.Context(), datastore.RawKey(key), slices.Clone(value)); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// dump returns all that a datastore holds.
func dump(t *testing.T, ds datastore.Batching) map[string][]byte {
	t.Helper()
	res, err := ds.Query(t.Context(), query.Query{})
	if err != nil {
		t.Fatal(err)
	}
	all, err := res.Rest()
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string][]byte)
	for _, e := range all {
		out[e.Key] = e.Value
	}
	return out
}

// devices returns how many devices a person sees another have.
func (p *person) devices(group protocol.ID, who string) int {
	p.t.Helper()
	if m := p.members(group)[who]; m != nil {
		return len(m.Devices)
	}
	return 0
}

// forks returns who is shown as having forked.
func (p *person) forks(group protocol.ID) (out []string) {
	for _, g := range p.Status().Groups {
		for _, who := range g.Forks {
			if g.ID == group {
				out = append(out, who.Name)
			}
		}
	}
	return out
}

// A backup makes a new device of the same person: it reads everything, speaks at once,
// also with nobody there, and meets those who came since. The old device goes on.
func TestARestoredProfileIsANewDevice(t *testing.T) {
	ana, bo, cleo := start(t, "Ana"), start(t, "Bo"), start(t, "Cleo")
	club := ana.create("club")
	bo.join(ana.invite(club, node.InviteOptions{}))
	ana.send(club, "one")
	bo.await(club, 1)
	bo.send(club, "two")
	ana.await(club, 2)
	if _, err := ana.Verify(ctx(t), club, "Bo", bo.number(club, "Ana")); err != nil {
		t.Fatal(err)
	}
	backup := ana.backup()
	cleo.join(ana.invite(club, node.InviteOptions{})) // the backup does not know her
	ana.send(club, "three")
	together(t, club, 3, ana, bo, cleo)
	ana.sleep()
	bo.sleep()

	again := ana.restored(backup)
	if got := again.texts(club); !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("restored, she reads %q", got)
	}
	if got := again.mark(club, again.members(club)["Bo"].Key); got != node.Verified {
		t.Errorf("restored, she finds Bo %q", got)
	}
	again.send(club, "four") // offline
	again.meet(cleo)
	together(t, club, 4, again, cleo)
	eventually(t, "Cleo sees one Ana with two devices", func() bool { return cleo.devices(club, "Ana") == 2 })
	bo.wake()
	bo.meet(cleo)
	together(t, club, 4, again, bo, cleo)
	ana.wake() // the old device was not lost after all
	ana.meet(bo)
	ana.send(club, "five")
	again.send(club, "six")
	together(t, club, 6, ana, again, bo, cleo)
	for _, p := range []*person{ana, again, bo, cleo} {
		if f := p.forks(club); len(f) > 0 {
			t.Errorf("%s sees %v fork", p.cfg.Name, f)
		}
		lines, _, err := p.Last(ctx(t), club, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range lines {
			if m.Kind == "text" && m.Text != "two" && m.From.Name != "Ana" {
				t.Errorf("%s reads %q from %q", p.cfg.Name, m.Text, m.From.Name)
			}
		}
	}
	if ana.Device(club) == again.Device(club) {
		t.Error("both have one device key")
	}
}

// A founder's device that the genesis does not name may do what founders do, and a
// restored profile can be backed up and restored again.
func TestARestoredFounderRules(t *testing.T) {
	ana, bo := start(t, "Ana"), start(t, "Bo")
	club := ana.create("club")
	bo.join(ana.invite(club, node.InviteOptions{}))
	ana.send(club, "one")
	backup := ana.backup()
	ana.sleep()
	first := ana.restored(backup)
	first.send(club, "two")
	backup = first.backup()
	first.sleep()
	second := ana.restored(backup)
	if got := second.texts(club); !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("restored twice, she reads %q", got)
	}
	second.meet(bo)
	did(t)(second.SetRole(ctx(t), club, "Bo", protocol.Admin, ""))
	bo.sees(club, "Bo", protocol.Admin)
	eventually(t, "Bo sees three devices", func() bool { return bo.devices(club, "Ana") == 3 })
}

// Who has had all the devices that a person has is told so, and what to do.
func TestADeviceTooManyIsToldSo(t *testing.T) {
	ana := start(t, "Ana")
	club := ana.create("club")
	for range protocol.MaxDevices - 1 {
		backup := ana.backup()
		ana.sleep()
		ana = ana.restored(backup)
		ana.send(club, "another one")
	}
	backup := ana.backup()
	last := ana.restored(backup)
	err := errOf(last.Send(ctx(t), club, "one too many"))
	if !errors.Is(err, node.ErrNotAllowed) || !strings.Contains(err.Error(), "under another profile") {
		t.Errorf("the ninth device: %v", err)
	}
	ana.send(club, "the eighth speaks on")
}

// What was cut short, changed or goes on is refused as a whole.
func TestADamagedBackupIsRefused(t *testing.T) {
	ana := start(t, "Ana")
	club := ana.create("club")
	ana.send(club, "one")
	good := ana.backup()
	try := func(b []byte) error {
		return node.Restore(ctx(t), storage.NewMemory(), protocol.Secret{1}, bytes.NewReader(b))
	}
	if err := try(good); err != nil {
		t.Fatal(err)
	}
	for cut := 0; cut < len(good); cut += 1 + len(good)/50 {
		if err := try(good[:cut]); !errors.Is(err, node.ErrBadBackup) {
			t.Errorf("cut at %d of %d: %v", cut, len(good), err)
		}
	}
	if err := try(append(bytes.Clone(good), 0)); !errors.Is(err, node.ErrBadBackup) {
		t.Errorf("with more behind: %v", err)
	}
	if err := try([]byte{0xff, 0xff, 0xff, 0xff}); !errors.Is(err, node.ErrBadBackup) {
		t.Errorf("an item of 4 GiB: %v", err)
	}
	ds := storage.NewMemory()
	if err := node.Restore(ctx(t), ds, protocol.Secret{1}, bytes.NewReader(good)); err != nil {
		t.Fatal(err)
	}
	if err := node.Restore(ctx(t), ds, protocol.Secret{1}, bytes.NewReader(good)); !errors.Is(err, node.ErrConfig) {
		t.Errorf("into one that is not empty: %v", err)
	}
}

// FuzzRestore feeds strangers' bytes to a restore.
func FuzzRestore(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 0xa0})
	f.Add([]byte{0, 0, 0, 5, 0xa2, 1, 6, 11, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = node.Restore(context.Background(), storage.NewMemory(), protocol.Secret{}, io.LimitReader(bytes.NewReader(b), 1<<16))
	})
}

// Two that run from copies of one profile sign two events for one place. Everybody is
// told, nothing is lost, and each goes on as a device of its own.
func TestACopyIsShownAndBecomesAnotherDevice(t *testing.T) {
	ana, bo := start(t, "Ana"), start(t, "Bo")
	club := ana.create("club")
	bo.join(ana.invite(club, node.InviteOptions{}))
	ana.send(club, "one")
	together(t, club, 1, ana, bo)
	bo.sleep()
	ana.sleep()
	ds := copyOf(t, ana.cfg.Datastore)
	twin := start(t, "Ana", func(cfg *node.Config) { *cfg = ana.cfg; cfg.Datastore = ds })
	ana.wake()
	if ana.Device(club) != twin.Device(club) {
		t.Fatal("the test made no copy")
	}
	ana.send(club, "from the original")
	twin.send(club, "from the copy")
	ana.sleep() // two hosts of one peer id cannot be told apart
	bo.wake()
	bo.meet(twin)
	together(t, club, 2, bo, twin)
	twin.sleep()
	ana.wake()
	bo.meet(ana)
	together(t, club, 3, bo, ana)
	for _, p := range []*person{bo, ana} {
		eventually(t, p.cfg.Name+" is shown the fork", func() bool { return slices.Equal(p.forks(club), []string{"Ana"}) })
	}
	if m := bo.members(club)["Ana"]; m == nil || !m.Forked {
		t.Errorf("Bo's list of members does not show it: %+v", m)
	}
	if !ana.Status().Groups[0].Renewed {
		t.Error("Ana is not told that she is another device")
	}
	ana.send(club, "as another device")
	together(t, club, 4, bo, ana)
	eventually(t, "Bo sees two devices of Ana's", func() bool { return bo.devices(club, "Ana") == 2 })
	ana.sleep()
	twin.wake()
	bo.meet(twin)
	twin.send(club, "as yet another")
	together(t, club, 5, bo, twin)
	eventually(t, "Bo sees three devices of Ana's", func() bool { return bo.devices(club, "Ana") == 3 })
	twin.sleep()
	ana.wake()
	bo.meet(ana)
	together(t, club, 5, bo, ana)
	mine, err := ana.Devices(ctx(t), club)
	if err != nil || len(mine) != 3 || !slices.ContainsFunc(mine, func(d node.Device) bool { return d.Forked && !d.Me }) {
		t.Errorf("her devices: %+v, %v", mine, err)
	}
}

// A store that was put back does not use a place of its chain again once it hears of
// what it said since.
func TestAStoreThatWasPutBackBecomesAnotherDevice(t *testing.T) {
	ana, bo := start(t, "Ana"), start(t, "Bo")
	club := ana.create("club")
	bo.join(ana.invite(club, node.InviteOptions{}))
	ana.send(club, "one")
	together(t, club, 1, ana, bo)
	ana.sleep()
	earlier := copyOf(t, ana.cfg.Datastore)
	ana.wake()
	bo.meet(ana)
	ana.send(club, "two")
	together(t, club, 2, ana, bo)
	before := ana.Device(club)
	ana.sleep()
	ana.cfg.Datastore = earlier
	ana.wake()
	if ana.Device(club) != before {
		t.Fatal("the test put nothing back")
	}
	ana.meet(bo)
	together(t, club, 2, ana, bo)
	if ana.Device(club) == before || !ana.Status().Groups[0].Renewed {
		t.Error("it goes on as the same device, or does not say so")
	}
	ana.send(club, "three")
	together(t, club, 3, ana, bo)
	if f := bo.forks(club); len(f) > 0 {
		t.Errorf("%v forked", f)
	}
	after := ana.Device(club)
	ana.sleep()
	ana.wake()
	if ana.Device(club) != after {
		t.Error("after a restart it is yet another device")
	}
}

// A new device takes no prekey over from the one that was copied, on disk neither: the
// copy would open what is wrapped to it, also once it is revoked.
func TestANewDeviceHasPrekeysOfItsOwn(t *testing.T) {
	var week clock
	ana, bo := start(t, "Ana", func(cfg *node.Config) { node.WithClock(cfg, week.now) }), start(t, "Bo", func(cfg *node.Config) { node.WithClock(cfg, week.now) })
	club := ana.create("club")
	bo.join(ana.invite(club, node.InviteOptions{}))
	prekeys := func() (out []string) {
		for name, secret := range ana.SecretsOf(club) {
			if strings.HasPrefix(name, "prekey") {
				out = append(out, string(secret))
			}
		}
		return out
	}
	eventually(t, "Ana has a prekey", func() bool { return len(prekeys()) == 1 })
	ana.sleep()
	week.forward(8 * 24 * time.Hour)
	ana.wake()
	eventually(t, "Ana has another", func() bool { return len(prekeys()) == 2 })
	old := prekeys()
	ana.sleep()
	earlier := copyOf(t, ana.cfg.Datastore)
	ana.wake()
	bo.meet(ana)
	ana.send(club, "one")
	together(t, club, 1, ana, bo)
	before := ana.Device(club)
	ana.sleep()
	ana.cfg.Datastore = earlier
	ana.wake()
	ana.meet(bo)
	eventually(t, "Ana is another device", func() bool { return ana.Device(club) != before })
	ana.send(club, "two")
	ana.sleep()
	ana.wake()
	eventually(t, "the new device has a prekey", func() bool { return len(prekeys()) > 0 })
	if slices.ContainsFunc(prekeys(), func(s string) bool { return slices.Contains(old, s) }) {
		t.Error("it has one of the old device's")
	}
}

// fullDisk is a datastore on which nothing can be written for a while, or where nobody
// is told that it was.
type fullDisk struct {
	datastore.Batching
	full, mute atomic.Bool
}

var errFull = errors.New("no space left on device")

func (d *fullDisk) Batch(ctx context.Context) (datastore.Batch, error) {
	b, err := d.Batching.Batch(ctx)
	return fullBatch{b, d}, err
}

func (d *fullDisk) Put(ctx context.Context, k datastore.Key, v []byte) error {
	if d.full.Load() {
		return errFull
	}
	return d.Batching.Put(ctx, k, v)
}

type fullBatch struct {
	datastore.Batch
	disk *fullDisk
}

func (b fullBatch) Commit(ctx context.Context) error {
	if b.disk.full.Load() {
		return errFull
	}
	if err := b.Batch.Commit(ctx); err != nil || b.disk.mute.Load() {
		return errors.Join(errFull, err)
	}
	return nil
}

// A device that a full disk did not let the node store is stored once there is room, and
// before it says anything: or each restart made another, and a person has eight for good.
func TestANewDeviceIsStoredBeforeItSpeaks(t *testing.T) {
	disk := &fullDisk{Batching: storage.NewMemory()}
	ana, bo := start(t, "Ana", func(cfg *node.Config) { cfg.Datastore = disk }), start(t, "Bo")
	club := ana.create("club")
	bo.join(ana.invite(club, node.InviteOptions{}))
	ana.send(club, "one")
	together(t, club, 1, ana, bo)
	ana.sleep()
	earlier := copyOf(t, disk)
	ana.wake()
	bo.meet(ana)
	ana.send(club, "two")
	together(t, club, 2, ana, bo)
	before := ana.Device(club)
	ana.sleep()
	disk.Batching = earlier
	ana.wake()
	disk.full.Store(true)
	bo.meet(ana)
	eventually(t, "Ana hears of what she said", func() bool { return ana.Device(club) != before })
	if _, err := ana.Send(ctx(t), club, "nowhere"); err == nil {
		t.Error("she speaks as a device that is not stored")
	}
	disk.full.Store(false)
	ana.meet(bo)
	together(t, club, 2, ana, bo)
	ana.send(club, "three")
	together(t, club, 3, ana, bo)
	after := ana.Device(club)
	ana.sleep()
	ana.wake()
	if ana.Device(club) != after {
		t.Error("after a restart it is yet another device")
	}
	ana.meet(bo)
	ana.send(club, "four")
	together(t, club, 4, ana, bo)
	eventually(t, "Bo sees two devices", func() bool { return bo.devices(club, "Ana") == 2 })
}

// Writes that fail, that succeed and are said to have failed, and restarts in between make
// no copy of a device: what it told others is in its store.
func TestAFailingDiskMakesNoNewDevice(t *testing.T) {
	disk := &fullDisk{Batching: storage.NewMemory()}
	ana, bo := start(t, "Ana", func(cfg *node.Config) { cfg.Datastore = disk; cfg.GossipRate = -1 }), start(t, "Bo")
	club := ana.create("club")
	bo.join(ana.invite(club, node.InviteOptions{}))
	ana.send(club, "one")
	together(t, club, 1, ana, bo)
	device, rng := ana.Device(club), rand.New(rand.NewPCG(5, 5))
	for range 12 {
		for range 12 {
			disk.full.Store(rng.IntN(3) == 0)
			disk.mute.Store(rng.IntN(3) == 0)
			if rng.IntN(4) == 0 {
				_, _ = ana.Invite(ctx(t), club, node.InviteOptions{})
			} else {
				_, _ = ana.Send(ctx(t), club, "some of it arrives")
			}
		}
		disk.full.Store(false)
		disk.mute.Store(false)
		if rng.IntN(3) == 0 {
			ana.sleep()
			ana.wake()
		}
		ana.meet(bo)
		eventually(t, "Ana sends again", func() bool { _, err := ana.Send(ctx(t), club, "still here"); return err == nil })
		eventually(t, "both have the same", func() bool { return slices.Equal(ana.texts(club), bo.texts(club)) })
	}
	if ana.Device(club) != device || ana.Status().Groups[0].Renewed {
		t.Error("it became another device")
	}
	if f := bo.forks(club); len(f) > 0 {
		t.Errorf("%v forked", f)
	}
}

// Whoever knows the group's secret presents devices of nobody's without end. A member's
// that only a certificate speaks for is served all the same.
func TestStrangersDoNotPushOutAGuest(t *testing.T) {
	ana, bo := start(t, "Ana"), start(t, "Bo")
	club := ana.create("club")
	bo.join(ana.invite(club, node.InviteOptions{}))
	another := bo.cfg.Account.On([32]byte{1}).Identity(club).Cert()
	if ana.Vouch(club, another); !ana.IsMember(club, another.Dev) {
		t.Fatal("a member's device is not served")
	}
	for range 1000 {
		stranger, err := protocol.NewAccount(newRandom())
		if err != nil {
			t.Fatal(err)
		}
		c := stranger.Identity(club).Cert()
		if ana.Vouch(club, c); ana.IsMember(club, c.Dev) {
			t.Fatal("a stranger is served")
		}
	}
	if !ana.IsMember(club, another.Dev) {
		t.Error("a member's device was pushed out")
	}
}

// An account over an emptied store is a new device, and comes back by an invite.
func TestAnEmptiedStoreIsANewDevice(t *testing.T) {
	ana, bo := start(t, "Ana"), start(t, "Bo")
	club := ana.create("club")
	bo.join(ana.invite(club, node.InviteOptions{}))
	bo.send(club, "one")
	together(t, club, 1, ana, bo)
	before := bo.Device(club)
	bo.reinstall()
	bo.join(ana.invite(club, node.InviteOptions{}))
	if bo.Device(club) == before {
		t.Error("it took the old device's key, whose places are used")
	}
	bo.send(club, "two")
	together(t, club, 2, ana, bo)
	if f := ana.forks(club); len(f) > 0 {
		t.Errorf("%v forked", f)
	}
}

// A device that is revoked while it is connected is sent nothing from then on, not even
// sealed.
func TestARevokedDeviceIsHungUpOn(t *testing.T) {
	ana, bo := start(t, "Ana"), start(t, "Bo")
	club := ana.create("club")
	bo.join(ana.invite(club, node.InviteOptions{}))
	again := ana.restored(ana.backup())
	again.meet(bo)
	again.send(club, "0")
	together(t, club, 1, ana, bo, again)
	for i := range 3 { // by gossip, once the mesh stands
		bo.send(club, "among us "+string(rune('a'+i)))
		together(t, club, 2+i, ana, bo, again)
	}
	did(t)(again.RevokeDevice(ctx(t), club, ana.Device(club)))
	eventually(t, "Bo counts one device", func() bool { return bo.devices(club, "Ana") == 1 })
	eventually(t, "the old device hears of it", func() bool { g, err := ana.Group(club); return err == nil && g.Revoked })
	count := ana.Count(club)
	for i := range 5 {
		bo.send(club, "without it "+string(rune('a'+i)))
		together(t, club, 5+i, bo, again)
	}
	if n := ana.Count(club); n != count {
		t.Errorf("it is sent %d events after its end", n-count)
	}
}

// Whoever lost a laptop revokes it from what was restored. What is said then, the
// laptop cannot read, though it gets every byte.
func TestALostDeviceIsRevoked(t *testing.T) {
	ana, bo := start(t, "Ana"), start(t, "Bo")
	club := ana.create("club")
	bo.join(ana.invite(club, node.InviteOptions{}))
	ana.send(club, "one")
	together(t, club, 1, ana, bo)
	backup := ana.backup()
	laptop, lost := ana, ana.Device(club)
	laptop.sleep()
	again := ana.restored(backup)
	again.meet(bo)
	again.send(club, "it is gone")
	together(t, club, 2, again, bo)
	did(t)(again.RevokeDevice(ctx(t), club, lost))
	eventually(t, "Bo counts one device", func() bool { return bo.devices(club, "Ana") == 1 })
	epoch, ok := again.Usable(club)
	if !ok {
		t.Fatal("no epoch after the revocation")
	}
	eventually(t, "Bo uses the epoch without the laptop", func() bool { e, ok := bo.Usable(club); return ok && e == epoch })
	bo.send(club, "the thief cannot read this")
	together(t, club, 3, again, bo)

	laptop.wake()
	if _, err := laptop.Send(ctx(t), club, "from the thief"); err != nil {
		t.Fatal(err) // it has not heard
	}
	for _, dev := range []protocol.Key{again.Device(club), bo.Device(club)} {
		for _, v := range bo.ChainsOf(ctx(t), club, dev) {
			laptop.Ingest(club, v)
		}
	}
	eventually(t, "the laptop has every byte", func() bool { return laptop.Count(club) >= bo.Count(club) })
	for _, text := range laptop.texts(club) {
		if strings.Contains(text, "cannot read") {
			t.Errorf("the laptop reads %q", text)
		}
	}
	laptop.meet(bo)
	bo.send(club, "nor this")
	together(t, club, 4, again, bo)
	if got := bo.texts(club); slices.Contains(got, "from the thief") {
		t.Errorf("Bo reads %q", got)
	}
	if err := errOf(laptop.Send(ctx(t), club, "more")); !errors.Is(err, node.ErrNotAllowed) {
		t.Errorf("the laptop speaks on: %v", err)
	}
	if g, err := laptop.Group(club); err != nil || !g.Revoked {
		t.Errorf("the laptop does not know: %+v, %v", g, err)
	}
	if got := laptop.texts(club); !slices.Contains(got, "this device was revoked") {
		t.Errorf("the laptop says %q", got)
	}
	if g, err := again.Group(club); err != nil || g.Revoked {
		t.Errorf("the new device takes itself for revoked: %+v, %v", g, err)
	}
	if err := errOf(again.RevokeDevice(ctx(t), club, lost)); !errors.Is(err, node.ErrNothing) {
		t.Errorf("revoked twice: %v", err)
	}
	if err := errOf(again.RevokeDevice(ctx(t), club, again.Device(club))); !errors.Is(err, node.ErrNotAllowed) {
		t.Errorf("this one: %v", err)
	}
	if err := errOf(again.RevokeDevice(ctx(t), club, bo.Device(club))); !errors.Is(err, node.ErrUnknownDevice) {
		t.Errorf("another's: %v", err)
	}
}

func errOf[T any](_ T, err error) error { return err }

// A node's store opens with its key only.
func TestAStoreKeyIsItsProfiles(t *testing.T) {
	ana := start(t, "Ana", func(cfg *node.Config) { cfg.StoreKey = protocol.Secret{7} })
	ana.sleep()
	other := ana.cfg
	other.StoreKey = protocol.Secret{8}
	if _, err := node.New(ctx(t), other); !errors.Is(err, storage.ErrWrongKey) {
		t.Errorf("another profile's key: %v", err)
	}
}

// together waits until all have count texts, and compares them.
func together(t *testing.T, group protocol.ID, count int, all ...*person) {
	t.Helper()
	for _, p := range all {
		p.await(group, count)
	}
	agree(t, group, count, all...)
}
