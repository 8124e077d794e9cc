package node_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/protocol/reconcile"
	"github.com/p2pchat/p2pchat/storage/disk"
)

// past signs count messages of somebody's of some hours ago, and has them in their store.
func (p *person) past(group protocol.ID, count int, hours time.Duration, text string) []protocol.Verified {
	p.t.Helper()
	at := uint64(time.Now().Add(-hours * time.Hour).UnixMilli())
	list := p.line(group, p.End(group), count, text, func(i int, f *node.Forgery) { f.HLC = at + uint64(i) })
	if err := p.Plant(ctx(p.t), group, list...); err != nil {
		p.t.Fatal(err)
	}
	return list
}

// onDisk has a node keep things as the program does.
func onDisk(t *testing.T) func(*node.Config) {
	return func(c *node.Config) {
		ds, err := disk.Open(t.TempDir(), disk.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ds.Close() }) // after the node that is begun later
		c.Datastore = ds
	}
}

// P2PCHAT_TEST_MESSAGES says how large the group is.
func TestANewcomerReadsTheNewestPageFirst(t *testing.T) {
	count := 10_000
	if n, err := strconv.Atoi(os.Getenv("P2PCHAT_TEST_MESSAGES")); err == nil {
		count = n
	}
	ana := start(t, "Ana", onDisk(t))
	club := ana.create("club")
	ana.past(club, count, 1, "m")
	bo := start(t, "Bo", onDisk(t))
	bo.join(ana.invite(club, node.InviteOptions{})) // returns once a page can be read
	if got := bo.texts(club); len(got) < 100 || got[len(got)-1] != fmt.Sprint("m ", count-1) {
		t.Fatalf("Bo has joined, and reads %d texts", len(got))
	}
	first := ""
	for m, err := range bo.Follow(ctx(t), club, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if m.Kind == "text" {
			first = m.Text
			break
		}
	}
	var number int
	if _, err := fmt.Sscanf(first, "m %d", &number); err != nil || number < count-4096 {
		t.Errorf("what came first is %q, not of the newest page", first)
	}
	eventually(t, "Bo has all", func() bool { return bo.Whole(club) == ana.Whole(club) })
	if n := bo.Missing(club); n > 0 {
		t.Errorf("Bo has all, and misses %d", n)
	}
	if !slices.Equal(ana.texts(club), bo.texts(club)) {
		t.Error("Ana and Bo read different things")
	}
}

func TestHistoryWindow(t *testing.T) {
	club, p := staff(t, "Bo member")
	ana, bo := p[0], p[1]
	bo.sleep()
	ana.past(club, 50, 48, "old")
	ana.past(club, 50, 1, "new")
	want := ana.texts(club)
	bo.cfg.DisableMDNS = true
	bo.wake()
	if err := bo.SetHistoryWindow(ctx(t), club, 24*time.Hour); err != nil {
		t.Fatal(err)
	}
	if d, err := bo.HistoryWindow(club); err != nil || d != 24*time.Hour {
		t.Fatalf("the window is %v, %v", d, err)
	}
	bo.reach(ana)
	bo.reads(club, want[50:]...)
	ana.send(club, "and now")
	bo.reads(club, append(slices.Clone(want[50:]), "and now")...)
	if n := bo.Missing(club); n == 0 {
		t.Error("Bo does not know that older messages are missing")
	}
	if err := bo.SyncAll(ctx(t), club); err != nil {
		t.Fatal(err)
	}
	if got := bo.texts(club); !slices.Equal(got, append(want, "and now")) {
		t.Errorf("after fetching everything Bo reads %d texts", len(got))
	}
	eventually(t, "all hold the same", func() bool { return bo.Whole(club) == ana.Whole(club) })
	ana.sleep()
	eventually(t, "nobody is there", func() bool { return bo.SyncAll(ctx(t), club) != nil })
}

// Who fetches all that others have learns of somebody whose stream breaks, unless they do
// not keep to the protocol.
func TestSyncAllSaysWhoFailed(t *testing.T) {
	ana, bo, club, link := party(t)
	ana.send(club, "hello")
	bo.await(club, 1)
	if err := ana.SyncAll(ctx(t), club); err != nil {
		t.Fatal(err)
	}
	mia := newOutsider(t).admit(ana, link, "Mia")
	mia.serve(func(k *talk) { _ = k.s.Reset() })
	mia.greet(ana)
	if err := ana.SyncAll(ctx(t), club); err == nil {
		t.Error("nothing is said of Mia, who sent nothing")
	}
	mia.serve(func(k *talk) { k.tell(protocol.FramePacked, []byte("junk")) })
	if err := ana.SyncAll(ctx(t), club); err != nil {
		t.Errorf("Mia's junk keeps Ana from being complete: %v", err)
	}
}

// Members send parts of what a newcomer lacks.
func TestSeveralMembersSendParts(t *testing.T) {
	club, p := staff(t, "Bo member", "Cleo member")
	ana := p[0]
	var all []protocol.Verified
	for day := range 6 {
		all = append(all, ana.past(club, 20, time.Duration(24*(6-day)), fmt.Sprint("day ", day))...)
	}
	settled(t, club, p...)
	for part := range uint64(3) {
		got := newOutsider(t).admit(ana, ana.invite(club, node.InviteOptions{}), "Mia").pullPart(ana, part, 3)
		for _, v := range all {
			if want := v.Header().HLC/(24*3600*1000)%3 == part; want != got[v.ID()] {
				t.Errorf("part %d: a message of day %d is sent: %v", part, v.Header().HLC/(24*3600*1000), got[v.ID()])
			}
		}
	}
}

// pullPart asks for a part of the messages, and returns which come.
func (in *insider) pullPart(p *person, part, parts uint64) map[protocol.ID]bool {
	in.t.Helper()
	k := in.talk(p, syncID)
	defer k.s.Close()
	k.send(protocol.FrameOpen, protocol.Open{Group: in.group})
	k.expect(protocol.FrameOpen, new(protocol.Open))
	k.send(protocol.FrameHave, protocol.Have{Part: part, Parts: parts})
	got := make(map[protocol.ID]bool)
	var total protocol.Total
	for {
		f, err := protocol.ReadFrame(k.in)
		if err != nil {
			in.t.Fatal(err)
		}
		switch f.Kind {
		case protocol.FrameDone:
			if total.Events != uint64(len(got)) {
				in.t.Errorf("part %d: %d messages are announced, and %d come", part, total.Events, len(got))
			}
			return got
		case protocol.FrameTotal:
			if err := f.Decode(f.Kind, &total); err != nil {
				in.t.Fatal(err)
			}
		case protocol.FrameCompare:
			k.holdsNothing(f)
		case protocol.FramePacked:
			for _, wire := range in.unpack(f) {
				v, err := protocol.Verify(in.group, wire)
				if err != nil {
					in.t.Fatal(err)
				}
				got[v.ID()] = true
			}
		}
	}
}

// A member that answers syncs with what nobody should send is cut off and left alone;
// others go on.
func TestUnrulyResponders(t *testing.T) {
	endlessly := func(k *talk, kind protocol.FrameKind, payload any) {
		for k.tell(kind, payload) {
		}
	}
	for name, send := range map[string]func(k *talk, known [][]byte, record []byte){
		"endless rounds": func(k *talk, _ [][]byte, _ []byte) {
			for i := range 100_000 {
				if !k.tell(protocol.FrameCompare, protocol.Compare{Message: []byte{0x61, 0, 0, 1, byte(i), byte(i >> 8), 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}}) {
					return
				}
			}
		},
		"no comparison": func(k *talk, _ [][]byte, _ []byte) {
			k.tell(protocol.FrameCompare, protocol.Compare{Message: []byte{0x61, 1, 0, 7}})
		},
		"no pack": func(k *talk, _ [][]byte, _ []byte) { k.tell(protocol.FramePacked, []byte("junk")) },
		"bomb":    func(k *talk, _ [][]byte, _ []byte) { k.tell(protocol.FramePacked, make([]byte, 200<<10)) },
		"huge claims": func(k *talk, _ [][]byte, _ []byte) {
			k.tell(protocol.FrameTotal, protocol.Total{Events: 1 << 63})
			k.tell(protocol.FrameWelcome, []byte{1})
		},
		"the same for ever": func(k *talk, known [][]byte, _ []byte) {
			endlessly(k, protocol.FrameEvents, protocol.Events{List: slices.Repeat(known, 100)})
		},
		"the same record for ever": func(k *talk, _ [][]byte, record []byte) {
			endlessly(k, protocol.FrameRecords, protocol.Events{List: slices.Repeat([][]byte{record}, 100)})
		},
		"nothing for ever": func(k *talk, _ [][]byte, _ []byte) { endlessly(k, protocol.FrameEvents, protocol.Events{}) },
		"totals for ever":  func(k *talk, _ [][]byte, _ []byte) { endlessly(k, protocol.FrameTotal, protocol.Total{}) },
	} {
		t.Run(name, func(t *testing.T) {
			ana, bo, club, link := party(t)
			mia := newOutsider(t).admit(ana, link, "Mia")
			known := mia.pull(ana)[:1]
			rec, err := protocol.Record{Type: protocol.RecordProfile, Number: 1, Value: []byte("a")}.Sign(club, mia.me.Signer())
			if err != nil {
				t.Fatal(err)
			}
			var asked, cut atomic.Int32
			mia.serve(func(k *talk) {
				asked.Add(1)
				send(k, known, rec.Wire())
				_ = k.s.SetReadDeadline(time.Now().Add(patience))
				_, err := io.Copy(io.Discard, k.in)
				if err != nil && !strings.Contains(err.Error(), "deadline") {
					cut.Add(1)
				}
			})
			mia.greet(ana)
			ana.Ahead(club, mia.host.ID(), true)
			eventually(t, "Ana cuts Mia off", func() bool { return cut.Load() > 0 })
			chatOn(ana, bo, club)
			before := ana.synced(club)
			eventually(t, "Ana is complete without Mia", func() bool {
				ana.Compared(club, bo.peer())
				return ana.synced(club).After(before)
			})
			if n := asked.Load(); n > 10 {
				t.Errorf("Ana asks again and again, %d times", n)
			}
		})
	}
}

// tell sends a frame and says whether it was taken.
func (k *talk) tell(kind protocol.FrameKind, payload any) bool {
	_, err := k.s.Write(protocol.AppendFrame(nil, kind, payload))
	return err == nil
}

// A member that answers comparisons with lies makes nobody compare for ever.
func TestUnrulyInitiators(t *testing.T) {
	ana, bo, club, link := party(t)
	mia := newOutsider(t).admit(ana, link, "Mia")
	ana.past(club, 300, 1, "m")
	for name, answer := range map[string]func(msg []byte) []byte{
		"other fingerprints": func(msg []byte) []byte { // of all ranges that were asked about
			set := reconcile.NewVector(made(5000))
			out, err := reconcile.Respond(set, msg, 1<<16)
			if err != nil {
				t.Error(err)
			}
			return out
		},
		"junk":    func([]byte) []byte { return []byte("junk") },
		"nothing": func([]byte) []byte { return nil },
		"a list of what was not asked for": func([]byte) []byte {
			return append([]byte{0x61, 0, 0, 2, 1}, make([]byte, 32)...)
		},
	} {
		k := mia.talk(ana, syncID)
		k.send(protocol.FrameOpen, protocol.Open{Group: club, Count: 1 << 60})
		k.expect(protocol.FrameOpen, new(protocol.Open))
		k.send(protocol.FrameHave, protocol.Have{})
		rounds := 0
		for ended := false; !ended && rounds < 1000; {
			f, err := protocol.ReadFrame(k.in)
			switch {
			case err != nil || f.Kind == protocol.FrameDone:
				ended = true
			case f.Kind == protocol.FrameCompare:
				rounds++
				var ask protocol.Compare
				if err := f.Decode(f.Kind, &ask); err != nil {
					t.Fatal(err)
				}
				k.send(protocol.FrameCompare, protocol.Compare{Message: answer(ask.Message)})
			}
		}
		if rounds > 2*reconcile.MaxRounds {
			t.Errorf("%s: %d rounds", name, rounds)
		}
		_ = k.s.Reset()
	}
	for name, have := range map[string]protocol.Have{
		"part of nothing": {Part: 1}, "part 3 of 3": {Part: 3, Parts: 3}, "a part of many": {Parts: 1 << 40},
	} {
		k := mia.talk(ana, syncID)
		k.send(protocol.FrameOpen, protocol.Open{Group: club})
		k.expect(protocol.FrameOpen, new(protocol.Open))
		k.send(protocol.FrameHave, have)
		if _, err := protocol.ReadFrame(k.in); err == nil {
			t.Errorf("%s is served", name)
		}
	}
	eventually(t, "Bo has all", func() bool { return len(bo.texts(club)) == 300 })
	chatOn(ana, bo, club)
}

// made returns a set of items, of which Ana has none.
func made(count int) []reconcile.Item {
	now, out := uint64(time.Now().UnixMilli()), make([]reconcile.Item, count)
	for i := range out {
		out[i] = reconcile.Item{Time: now - uint64(i)*1000, ID: nonce()}
	}
	slices.SortFunc(out, reconcile.Item.Compare)
	return out
}

// Somebody is banned whose end nobody has the past of: they are not heard below it.
func TestABannedMemberDoesNotGoOnBelowAnOrphan(t *testing.T) {
	club, p := staff(t, "Bo member", "Mal member")
	ana, bo, mal := p[0], p[1], p[2]
	mal.send(club, "one")
	for _, q := range p {
		q.await(club, 1)
	}
	end, old := mal.End(club), mal.Heads(club)
	orphan := mal.Forge(club, node.Forgery{After: protocol.Tip{Dev: mal.Device(club), Chain: protocol.Messages, Seq: 1000, ID: nonce()}, Text: "from nowhere"})
	ana.ingest(club, orphan)
	bo.reads(club, "one", "from nowhere")
	mal.sleep()
	did(t)(ana.Expel(ctx(t), club, "Mal", node.ExpelOptions{}))
	bo.told(club, "Ana banned Mal")
	var later []protocol.Verified
	mal.wake()
	for i := range 5 {
		v := mal.Forge(club, node.Forgery{After: end, Refs: old, Text: fmt.Sprint("after the ban ", i)})
		later, end = append(later, v), v.Tip()
	}
	mal.sleep()
	for _, q := range []*person{ana, bo} {
		q.ingest(club, later...)
		for _, v := range later {
			if got := q.held(club, v.ID()); got != "away" {
				t.Errorf("%s keeps what the banned wrote after: %s", q.cfg.Name, got)
			}
		}
	}
	settled(t, club, ana, bo)
	ana.reads(club, "one", "from nowhere")
}

// A transfer that is cut goes on where it was.
func TestASyncGoesOnWhereItWasCut(t *testing.T) {
	ana := start(t, "Ana")
	club := ana.create("club")
	bo := start(t, "Bo")
	bo.join(ana.invite(club, node.InviteOptions{}))
	bo.sleep()
	ana.past(club, 3000, 1, "m")
	bo.wake()
	for tries := time.Duration(1); len(bo.texts(club)) < 3000; tries++ {
		c, cancel := context.WithTimeout(ctx(t), tries*5*time.Millisecond)
		_ = bo.SyncAll(c, club)
		cancel()
		for _, s := range bo.Host().Network().Conns() {
			for _, q := range s.GetStreams() {
				if q.Protocol() == syncID && q.Stat().Direction == network.DirOutbound {
					_ = q.Reset()
				}
			}
		}
		bo.reach(ana)
		time.Sleep(time.Millisecond)
		if ctx(t).Err() != nil {
			t.Fatal("it never ends")
		}
	}
	eventually(t, "all hold the same", func() bool { return bo.Whole(club) == ana.Whole(club) })
}

// Who holds nothing learns that somebody who asks has messages, and says so.
func TestWhoHoldsNothingLearnsThatItLacks(t *testing.T) {
	holdsNothing(t, 0)
}

// The same from a time on: the one who asks must not believe that both hold the same.
func TestWhoHoldsNothingSinceThenSaysSo(t *testing.T) {
	holdsNothing(t, uint64(time.Now().Add(-time.Hour).UnixMilli()))
}

func holdsNothing(t *testing.T, since uint64) {
	t.Helper()
	ana, bo, club, link := party(t)
	mia := newOutsider(t).admit(ana, link, "Mia")
	v := mia.say("not here yet")
	mia.connect(bo)
	mia.greet(bo)
	k := mia.talk(bo, syncID)
	defer k.s.Close()
	k.send(protocol.FrameOpen, protocol.Open{Group: club, Count: 1, Sum: v.ID()})
	k.expect(protocol.FrameOpen, new(protocol.Open))
	k.send(protocol.FrameHave, protocol.Have{Since: since})
	for {
		f, err := protocol.ReadFrame(k.in)
		if err != nil {
			t.Fatal(err)
		}
		var done protocol.Done
		if f.Kind != protocol.FrameDone {
			continue
		}
		if err := f.Decode(protocol.FrameDone, &done); err != nil || done.Same {
			t.Errorf("Bo holds nothing and says %+v, %v", done, err)
		}
		break
	}
	mia.feed(bo, [][]byte{v.Wire()}) // and asks
	ana.await(club, 1)
}

// Who lacks much has several members send parts of it at a time.
func TestWhoLacksMuchAsksSeveral(t *testing.T) {
	if testing.Short() {
		t.Skip("21,000 messages")
	}
	club, p := staff(t, "Bo member", "Cleo member")
	ana, bo, cleo := p[0], p[1], p[2]
	if err := bo.SetHistoryWindow(ctx(t), club, time.Hour); err != nil {
		t.Fatal(err)
	}
	count := 0
	for day := range 3 {
		count += len(ana.past(club, 7000, time.Duration(24*(4-day)), fmt.Sprint("day ", day)))
	}
	eventually(t, "Ana and Cleo have all", func() bool { return ana.Whole(club) == cleo.Whole(club) })
	eventually(t, "Bo is connected to both", func() bool { return len(bo.Peers()) == 2 })
	watch, stop := context.WithCancel(ctx(t))
	from := make(chan map[string]uint64)
	go func() {
		got := make(map[string]uint64)
		for w := range bo.WatchProgress(watch, club) {
			got[w.Peer] = max(got[w.Peer], w.Events)
		}
		from <- got
	}()
	if err := bo.SyncAll(ctx(t), club); err != nil {
		t.Fatal(err)
	}
	eventually(t, "Bo has all", func() bool { return bo.Whole(club) == ana.Whole(club) })
	stop()
	got := <-from
	for _, q := range []*person{ana, cleo} {
		if n := got[q.Host().ID().String()]; n < 7000 {
			t.Errorf("%s sent %d of %d", q.cfg.Name, n, count)
		}
	}
}
