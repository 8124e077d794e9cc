package node_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ipfs/go-datastore"
	"github.com/libp2p/go-libp2p/core/network"

	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

// eventually waits for something to become true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// trio is a group of three who know each other's prekeys.
func trio(t *testing.T) (ana, bo, cleo *person, club protocol.ID) {
	t.Helper()
	ana, bo, cleo = start(t, "Ana"), start(t, "Bo"), start(t, "Cleo")
	club = ana.create("club")
	link := ana.invite(club, node.InviteOptions{})
	bo.join(link)
	cleo.join(link)
	for _, p := range []*person{ana, bo, cleo} {
		eventually(t, p.cfg.Name+" has three prekeys", func() bool { return len(p.Prekeys(club)) == 3 })
	}
	return ana, bo, cleo, club
}

func (p *person) rotate(group protocol.ID, fresh bool, to func(dev protocol.Key) bool) {
	p.t.Helper()
	if err := p.Rotate(ctx(p.t), group, fresh, to); err != nil {
		p.t.Fatalf("%s rotates: %v", p.cfg.Name, err)
	}
}

// opens waits until a person holds count epochs.
func (p *person) opens(group protocol.ID, count int) {
	p.t.Helper()
	eventually(p.t, fmt.Sprintf("%s holds %d epochs", p.cfg.Name, count), func() bool {
		_, held := p.Epochs(group)
		return held == count
	})
}

func TestRotationReachesWhoIsOnline(t *testing.T) {
	ana, bo, cleo, club := trio(t)
	before := ana.Meets(club)
	began := time.Now()
	for _, kind := range []protocol.Kind{protocol.KindMute, protocol.KindBan} { // a mute calls for none
		if err := ana.RotateAfter(ctx(t), club, kind); err != nil {
			t.Fatal(err)
		}
	}
	bo.opens(club, 2)
	cleo.opens(club, 2)
	t.Logf("opened after %s", time.Since(began))
	eid, ok := ana.Usable(club)
	if all, _ := ana.Epochs(club); !ok || all[1] != eid {
		t.Error("Ana does not send under the new epoch")
	}
	k, _ := ana.Rekey(club)
	if !k.Hybrid || len(k.Chunks) != 1 || len(k.Parents) != 1 || len(k.Parents[0].Back) == 0 {
		t.Errorf("the rekey has hybrid %v, %d chunks, %d parents", k.Hybrid, len(k.Chunks), len(k.Parents))
	}
	for _, p := range []*person{ana, bo, cleo} {
		meets := p.Meets(club)
		if len(meets) != 2 || meets[0] == before[0] || meets[1] != before[0] {
			t.Errorf("%s meets by %d secrets, the old one is not second", p.cfg.Name, len(meets))
		}
		if got, _ := p.Usable(club); got != eid {
			t.Errorf("%s sends under another epoch", p.cfg.Name)
		}
		eventually(t, p.cfg.Name+" listens on both topics", func() bool {
			hears := p.Hears(club)
			return len(hears) == 2 && slices.Contains(hears, protocol.Topic(meets[0]))
		})
	}
	cleo.send(club, "under the new key")
	bo.send(club, "me too")
	for _, p := range []*person{ana, bo, cleo} {
		p.await(club, 2)
	}
	agree(t, club, 2, ana, bo, cleo)
	if got := ana.texts(club); !slices.Contains(got, "me too") {
		t.Errorf("Ana reads %q", got)
	}
	bo.sleep()
	bo.wake()
	if got := bo.texts(club); !slices.Contains(got, "under the new key") {
		t.Errorf("after a restart Bo reads %q", got)
	}
	if n := len(bo.Seeds(club)); n != 1 {
		t.Errorf("in one week, a restart between, Bo made %d prekeys", n)
	}
}

// Who was away fetches its wrap from a member who is not the author, or asks for the
// secret where there is none for it. Followers never see a line without its key.
func TestRotationReachesWhoWasAway(t *testing.T) {
	for _, wrapped := range []bool{true, false} {
		t.Run(fmt.Sprintf("wrapped %v", wrapped), func(t *testing.T) {
			ana, bo, cleo, club := trio(t)
			dev := cleo.Device(club)
			cleo.sleep()
			ana.rotate(club, true, func(d protocol.Key) bool { return wrapped || d != dev })
			ana.rotate(club, false, func(d protocol.Key) bool { return wrapped || d != dev })
			ana.send(club, "while Cleo is away")
			bo.await(club, 1)
			bo.opens(club, 3)
			ana.sleep() // the only one left is Bo
			cleo.wake()
			for m, err := range cleo.Follow(ctx(t), club, 0) {
				if err != nil {
					t.Fatal(err)
				}
				if m.Kind == "text" {
					if m.Text != "while Cleo is away" {
						t.Errorf("Cleo sees %q, %q", m.Text, m.Unreadable)
					}
					break
				}
			}
			cleo.opens(club, 3)
			cleo.send(club, "back")
			bo.await(club, 2)
			agree(t, club, 2, bo, cleo)
			cleo.sleep()
			cleo.wake()
			agree(t, club, 2, bo, cleo)
		})
	}
}

// Somebody who is left out of the wraps has every byte of the rekey and of its chunks,
// and cannot open it.
func TestWhoIsLeftOutOpensNothing(t *testing.T) {
	ana, bo, cleo, club := trio(t)
	dev := cleo.Device(club)
	cleo.sleep()
	ana.rotate(club, true, func(d protocol.Key) bool { return d != dev })
	bo.opens(club, 2)
	k, seq := ana.Rekey(club)
	var data []byte
	eventually(t, "Bo keeps the chunk to pass it on", func() bool {
		data, _ = bo.Chunk(ctx(t), club, k.Chunks[0])
		return protocol.ID(sha256.Sum256(data)) == k.Chunks[0]
	})
	wraps, hybrid, err := protocol.ParseChunk(data)
	if err != nil || len(wraps) != 1 || wraps[0].Dev != bo.Device(club).Row() || !hybrid {
		t.Fatalf("%d wraps, %v", len(wraps), err)
	}
	// Cleo tries each of the keys it has on each of the wraps.
	for _, seed := range cleo.seeds(club) {
		key, err := protocol.DerivePrekey(seed)
		if err != nil {
			t.Fatal(err)
		}
		for _, to := range []protocol.Key{dev, bo.Device(club)} {
			for _, hybrid := range []bool{true, false} {
				if _, err := key.Unwrap(wraps[0], hybrid, to, club, k.Epoch, ana.Device(club), seq); err == nil {
					t.Error("Cleo opens a wrap for Bo")
				}
			}
		}
	}
}

// seeds reads a sleeping person's prekeys off the disk.
func (p *person) seeds(group protocol.ID) (out []protocol.Secret) {
	p.wake()
	defer p.sleep()
	return p.Seeds(group)
}

func TestSendingWithoutAnEpochStartsOne(t *testing.T) {
	ana, bo, cleo, club := trio(t)
	ana.Forget(club)
	ana.send(club, "anyway")
	for _, p := range []*person{bo, cleo} {
		p.await(club, 1)
		p.opens(club, 2)
		if got := p.texts(club); got[0] != "anyway" {
			t.Errorf("%s reads %q", p.cfg.Name, got)
		}
	}
	ana.opens(club, 2) // what it forgot, it asks for
}

// Nobody waits for rekeys, whoever issues how many, and who knows an old rendezvous
// secret is still let in.
func TestFloodOfRekeysStopsNobody(t *testing.T) {
	ana, bo, cleo, club := trio(t)
	nobody := func(protocol.Key) bool { return false }
	bo.sleep()
	for range 40 {
		cleo.rotate(club, true, nobody)
	}
	bo.wake()
	eventually(t, "Bo knows of 41 epochs", func() bool { all, _ := bo.Epochs(club); return len(all) == 41 })
	began := time.Now()
	bo.send(club, "still here")
	t.Logf("sent after %s", time.Since(began))
	ana.await(club, 1)
	for _, p := range []*person{ana, bo} {
		all, _ := p.Epochs(club)
		if eid, ok := p.Usable(club); !ok || eid != all[0] {
			t.Errorf("%s sends under an epoch of the flood", p.cfg.Name)
		}
	}
	// And now some that nobody can ever open.
	cleo.Hide(club)
	for range 20 {
		cleo.rotate(club, true, nobody)
	}
	eventually(t, "Ana knows of 61 epochs", func() bool { all, _ := ana.Epochs(club); return len(all) == 61 })
	cleo.sleep()
	ana.send(club, "and here")
	bo.await(club, 2)
	eventually(t, "Bo has the key from Ana", func() bool { return bo.texts(club)[1] == "and here" })
	if hears := ana.Hears(club); len(hears) > protocol.MaxWelcomeSecrets {
		t.Errorf("Ana listens on %d topics", len(hears))
	}
	for range protocol.MaxHelloTags { // more places to meet than anybody is told to keep
		ana.rotate(club, true, nil)
	}
	if n := len(ana.Meets(club)); n != protocol.MaxHelloTags {
		t.Errorf("Ana keeps %d rendezvous secrets", n)
	}
}

func TestSinceJoin(t *testing.T) {
	ana, bo, cleo := start(t, "Ana"), start(t, "Bo"), start(t, "Cleo")
	club, err := ana.CreateSinceJoin(ctx(t), "club")
	if err != nil {
		t.Fatal(err)
	}
	ana.send(club, "before Bo")
	bo.join(ana.invite(club, node.InviteOptions{}))
	bo.send(club, "from Bo")
	ana.await(club, 2)
	cleo.join(ana.invite(club, node.InviteOptions{}))
	ana.send(club, "to all")
	for _, p := range []*person{ana, bo, cleo} {
		p.await(club, 3)
	}
	const no = "sent before you joined"
	for _, c := range []struct {
		who  *person
		want []string
	}{
		{ana, []string{"before Bo", "from Bo", "to all"}},
		{bo, []string{no, "from Bo", "to all"}},
		{cleo, []string{no, no, "to all"}},
	} {
		eventually(t, c.who.cfg.Name+" reads what it may", func() bool { return slices.Equal(c.who.texts(club), c.want) })
	}
	eventually(t, "Cleo knows the names", func() bool {
		members, err := cleo.Members(club)
		return err == nil && len(members) == 3 && !slices.ContainsFunc(members, func(m node.Member) bool { return m.Name == "" })
	})
	if all, held := cleo.Epochs(club); len(all) != 1 || held != 1 {
		t.Errorf("two admissions started %d epochs, Cleo holds %d", len(all)-1, held)
	}
	if got, want := cleo.Meets(club), ana.Meets(club); !slices.Equal(got, want) {
		t.Error("Cleo meets elsewhere than Ana")
	}
	cleo.sleep()
	ana.rotate(club, true, func(protocol.Key) bool { return false })
	ana.send(club, "no wraps")
	cleo.wake()
	eventually(t, "Cleo asks for what it may have", func() bool {
		got := cleo.texts(club)
		return len(got) == 4 && got[3] == "no wraps"
	})
	if k, _ := ana.Rekey(club); len(k.Parents) != 1 || len(k.Parents[0].Back) != 0 {
		t.Error("the rekey hands its parent on")
	}
	if got := cleo.texts(club); got[0] != no || got[1] != no || got[2] != "to all" {
		t.Errorf("after a restart Cleo reads %q", got)
	}
	// What is lost is asked for again: the step, not what is before it.
	cleo.Forget(club)
	cleo.AskAnew(club)
	eventually(t, "Cleo has back what it may have", func() bool {
		return slices.Equal(cleo.texts(club), []string{no, no, "to all", "no wraps"})
	})
	// Who comes now has no key of the epochs before, and never will.
	dan := start(t, "Dan")
	dan.join(ana.invite(club, node.InviteOptions{}))
	eventually(t, "Dan is told that he never will read them", func() bool {
		return slices.Equal(dan.texts(club), []string{no, no, no, no})
	})
}

// Who welcomes somebody back may say anything, and may honestly know less: what is known
// already outlives that and a restart.
func TestAWelcomeTakesNoKeyAway(t *testing.T) {
	ana := start(t, "Ana")
	club := ana.create("club")
	ana.send(club, "hello")
	eid, _ := ana.Usable(club)
	for _, s := range []protocol.EpochSecret{{Epoch: eid, E: protocol.Secret{1}}, {Epoch: eid, Step: 3, S: protocol.Secret{1}}} {
		if err := ana.Welcomed(ctx(t), club, protocol.Welcome{Epochs: []protocol.EpochSecret{s}, Secrets: []protocol.Secret{{1}}}); err != nil {
			t.Fatal(err)
		}
		ana.sleep()
		ana.wake()
		if got := ana.texts(club); len(got) != 1 || got[0] != "hello" {
			t.Errorf("after a welcome with an epoch from step %d Ana reads %q", s.Step, got)
		}
	}
}

// A crash between what a rekey rests on and the rekey itself leaves a secret without a
// rekey, never a rekey without its secret.
func TestSecretIsStoredBeforeItsRekey(t *testing.T) {
	ds := &orderedStore{Batching: storage.NewMemory()}
	ana := start(t, "Ana", func(cfg *node.Config) { cfg.Datastore = ds })
	bo := start(t, "Bo")
	club := ana.create("club")
	bo.join(ana.invite(club, node.InviteOptions{}))
	eventually(t, "Ana has two prekeys", func() bool { return len(ana.Prekeys(club)) == 2 })
	ana.rotate(club, true, nil)
	k, seq := ana.Rekey(club)
	secret := ds.first(func(v []byte) bool {
		s, err := protocol.ParseEpochSecret(v)
		return err == nil && protocol.EpochID(club, ana.Device(club), seq, s.E) == k.Epoch
	})
	chunk := ds.first(func(v []byte) bool { return sha256.Sum256(v) == k.Chunks[0] })
	event := ds.first(func(v []byte) bool { return bytes.Contains(v, k.SealedN) })
	if secret < 0 || chunk < 0 || event <= secret || event <= chunk {
		t.Errorf("secret is write %d, chunk %d, event %d", secret, chunk, event)
	}
	ana.sleep()
	ana.wake()
	ana.send(club, "after a restart")
	bo.await(club, 1)
	if all, held := ana.Epochs(club); len(all) != 2 || held != 2 {
		t.Errorf("Ana holds %d of %d epochs", held, len(all))
	}
}

// An orderedStore remembers in which order batches wrote what.
type orderedStore struct {
	datastore.Batching
	mu     sync.Mutex
	values [][][]byte // a list a batch
}

type orderedBatch struct {
	datastore.Batch
	store  *orderedStore
	values [][]byte
}

func (s *orderedStore) Batch(ctx context.Context) (datastore.Batch, error) {
	b, err := s.Batching.Batch(ctx)
	return &orderedBatch{Batch: b, store: s}, err
}

func (b *orderedBatch) Put(ctx context.Context, key datastore.Key, value []byte) error {
	b.values = append(b.values, slices.Clone(value))
	return b.Batch.Put(ctx, key, value)
}

func (b *orderedBatch) Commit(ctx context.Context) error {
	b.store.mu.Lock()
	b.store.values = append(b.store.values, b.values)
	b.store.mu.Unlock()
	return b.Batch.Commit(ctx)
}

// first returns the first batch with a value that fits.
func (s *orderedStore) first(fits func(v []byte) bool) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.IndexFunc(s.values, func(list [][]byte) bool { return slices.ContainsFunc(list, fits) })
}

func TestForgedKeysAreRefused(t *testing.T) {
	o := newOutsider(t)
	ana, _, club, link := party(t)
	mallory := o.admit(ana, link, "Mallory")
	mallory.greet(ana)
	// Served: to a member, what it asks for and no more; refused: to a stranger.
	box, err := protocol.NewBoxKey(true)
	if err != nil {
		t.Fatal(err)
	}
	all, _ := ana.Epochs(club)
	var refused *protocol.RefusedError
	ask := func(w protocol.Want) (chunks int, got []protocol.EpochSecret, err error) {
		k := mallory.talk(ana, keyID)
		defer k.s.Reset()
		k.send(protocol.FrameWant, w)
		for {
			f, err := protocol.ReadFrame(k.in)
			if err != nil {
				return chunks, got, err
			}
			switch f.Kind {
			case protocol.FrameDone:
				return chunks, got, nil
			case protocol.FrameChunks:
				chunks++
			case protocol.FrameKeys:
				var sealed []byte
				if err := f.Decode(protocol.FrameKeys, &sealed); err != nil {
					return chunks, got, err
				}
				if got, err = protocol.OpenKeys(club, mallory.me.Dev(), ana.Device(club), box, sealed); err != nil {
					return chunks, got, err
				}
			default:
				return chunks, got, f.Decode(protocol.FrameDone, new(struct{}))
			}
		}
	}
	if _, got, err := ask(protocol.Want{Group: club, Epochs: []protocol.ID{all[0], {1}}, Box: box.Public()}); err != nil || len(got) != 1 || got[0].Epoch != all[0] {
		t.Errorf("a member gets %d epochs, %v", len(got), err)
	}
	if chunks, _, err := ask(protocol.Want{Group: club, Chunks: []protocol.ID{{1}, {2}}}); err != nil || chunks != 0 {
		t.Errorf("unknown chunks: %d, %v", chunks, err)
	}
	if _, _, err := ask(protocol.Want{Group: club, Chunks: make([]protocol.ID, protocol.MaxWantChunks+1)}); err == nil || errors.As(err, &refused) {
		t.Errorf("too many chunks are answered with %v", err)
	}
	for range 10 {
		if _, _, err = ask(protocol.Want{Group: club}); err != nil {
			break
		}
	}
	if !errors.As(err, &refused) || refused.Code != protocol.RefusedBusy {
		t.Errorf("asking without end is answered with %v", err)
	}
	k := newOutsider(t)
	k.connect(ana)
	stranger := k.talk(ana, keyID)
	stranger.send(protocol.FrameWant, protocol.Want{Group: club, Epochs: all, Box: box.Public()})
	stranger.refused(protocol.RefusedUnknown)
}

// A member that answers with other secrets and other chunks than were asked for is not
// believed, and what it sends stays nowhere.
func TestForgedAnswersAreRefused(t *testing.T) {
	o := newOutsider(t)
	ana, bo, club, link := party(t)
	mallory := o.admit(ana, link, "Mallory")
	lies := make(chan int, 100)
	o.host.SetStreamHandler(keyID, func(s network.Stream) {
		defer s.Close()
		k := newTalk(t, s)
		for {
			var w protocol.Want
			if k.frame(protocol.FrameWant, &w) != nil {
				return
			}
			if len(w.Chunks) > 0 {
				lies <- 1
				k.send(protocol.FrameChunks, protocol.Events{List: [][]byte{protocol.ChunkWraps(false, []protocol.Row{{Dev: bo.Device(club).Row(), Box: make([]byte, 80)}})[0]}})
			}
			if len(w.Epochs) > 0 {
				lies <- 2
				list := []protocol.EpochSecret{{Epoch: w.Epochs[0], E: protocol.Secret{6, 6, 6}}}
				sealed, err := protocol.SealKeys(club, bo.Device(club), mallory.me.Dev(), w.Box, list)
				if err != nil {
					t.Error(err)
				}
				k.send(protocol.FrameKeys, sealed)
			}
			k.send(protocol.FrameDone, struct{}{})
		}
	})
	eventually(t, "prekeys are known", func() bool { return len(ana.Prekeys(club)) >= 2 })
	dev := bo.Device(club)
	bo.sleep()
	ana.rotate(club, false, func(d protocol.Key) bool { return d == dev })
	ana.rotate(club, false, func(d protocol.Key) bool { return false })
	mallory.greet(ana)
	wires := mallory.pull(ana)
	ana.sleep()
	bo.wake()
	mallory.feed(bo, wires)
	for range 2 {
		select {
		case <-lies:
		case <-time.After(patience):
			t.Fatal("Bo does not ask")
		}
	}
	time.Sleep(500 * time.Millisecond)
	if all, held := bo.Epochs(club); len(all) != 3 || held != 1 {
		t.Errorf("Bo holds %d of %d epochs", held, len(all))
	}
	if _, ok := bo.Chunk(ctx(t), club, sha256.Sum256(protocol.ChunkWraps(false, []protocol.Row{{Dev: dev.Row(), Box: make([]byte, 80)}})[0])); ok {
		t.Error("Bo keeps a chunk that no rekey lists")
	}
	ana.wake()
	bo.opens(club, 3)
}

// Chunks that no rekey lists are neither passed on nor kept, however many are pushed.
func TestPushedJunkIsBounded(t *testing.T) {
	ana, bo, club, link := party(t, func(cfg *node.Config) { cfg.GossipRate = -1 })
	mallory := newOutsider(t).admit(ana, link, "Mallory")
	topic, _ := mallory.gossip(mallory.welcome.Secrets[0])
	mallory.greet(ana)
	pushed := 0
	eventually(t, "Ana has heard some", func() bool { // the first may pass her by
		for range 10 {
			pushed++
			junk := protocol.ChunkWraps(true, slices.Repeat([]protocol.Row{{Dev: protocol.Key{byte(pushed), byte(pushed >> 8), 1}.Row(), Box: make([]byte, 1168)}}, 9))
			if err := topic.Publish(ctx(t), protocol.EncodeFrame(protocol.FrameChunks, protocol.Events{List: junk})); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(100 * time.Millisecond)
		return ana.Early(club) > 3
	})
	time.Sleep(300 * time.Millisecond)
	if n := ana.Early(club); n > 4 {
		t.Errorf("Ana keeps %d chunks of nothing", n)
	}
	if n := bo.Early(club); n > 0 {
		t.Errorf("Bo is passed %d chunks of nothing", n)
	}
	chatOn(ana, bo, club)
	if n := ana.FillChunks(club, 1000, protocol.MaxChunkSize); n > 16<<20 {
		t.Errorf("Ana keeps %d bytes of chunks", n)
	}
}

// A device that is one of many finds its wrap among the chunks by bisection, at any
// member who has them.
func TestWrapIsFoundAmongManyChunks(t *testing.T) {
	ana, bo, _, club := trio(t)
	bo.sleep()
	if err := ana.RotateAmong(ctx(t), club, 300); err != nil {
		t.Fatal(err)
	}
	k, _ := ana.Rekey(club)
	if len(k.Chunks) < 6 {
		t.Fatalf("%d chunks", len(k.Chunks))
	}
	bo.wake()
	bo.opens(club, 2)
	have := 0
	eventually(t, "Bo keeps chunks", func() bool {
		have = 0
		for _, id := range k.Chunks {
			if _, ok := bo.Chunk(ctx(t), club, id); ok {
				have++
			}
		}
		return have > 0
	})
	if have > 4 {
		t.Errorf("Bo fetched %d of %d chunks", have, len(k.Chunks))
	}
}

// A week later somebody starts an epoch with another rendezvous secret, and everybody
// goes on under it.
func TestRotationByAge(t *testing.T) {
	var ahead atomic.Int64
	clock := func(cfg *node.Config) {
		node.WithClock(cfg, func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) })
	}
	ana, bo := start(t, "Ana", clock), start(t, "Bo", clock)
	club := ana.create("club")
	bo.join(ana.invite(club, node.InviteOptions{}))
	eventually(t, "prekeys are known", func() bool { return len(ana.Prekeys(club)) == 2 && len(bo.Prekeys(club)) == 2 })
	first, met := ana.Meets(club)[0], 0
	ana.sleep() // a member does it where there is nobody else
	ahead.Store(int64(protocol.EpochAge + time.Minute))
	eventually(t, "Bo rotates", func() bool {
		ahead.Add(int64(time.Second)) // the wait is by this clock
		all, held := bo.Epochs(club)
		return len(all) == 2 && held == 2
	})
	ana.wake()
	ana.opens(club, 2)
	for _, p := range []*person{ana, bo} {
		all, _ := p.Epochs(club)
		if eid, ok := p.Usable(club); !ok || eid != all[1] {
			t.Errorf("%s does not send under the new epoch", p.cfg.Name)
		}
		if p.Meets(club)[0] != first {
			met++
		}
	}
	if met != 2 {
		t.Errorf("%d of 2 meet by a new secret", met)
	}
	chatOn(ana, bo, club)
}

// So does somebody where much was sent under an epoch; what was counted outlives a
// restart.
func TestRotationByVolume(t *testing.T) {
	ana := start(t, "Ana")
	club := ana.create("club")
	for range 20 {
		ana.send(club, "hello")
	}
	eventually(t, "the messages are counted", func() bool { return ana.Tally(club, 0) == 20 })
	ana.Tally(club, protocol.EpochMessages-21)
	ana.send(club, "the last")
	eventually(t, "Ana rotates", func() bool { all, _ := ana.Epochs(club); return len(all) == 2 })
	ana.send(club, "the first")
	eventually(t, "the count begins anew", func() bool { return ana.Tally(club, 0) == 1 })
	ana.sleep()
	ana.wake()
	eventually(t, "the count is kept", func() bool { return ana.Tally(club, 0) == 1 })
	if all, _ := ana.Epochs(club); len(all) != 2 {
		t.Errorf("%d epochs", len(all))
	}
}
