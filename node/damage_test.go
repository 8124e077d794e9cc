package node_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"

	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

// brittle starts somebody whose disk a test may damage.
func brittle(t *testing.T, name string) (*person, datastore.Batching) {
	t.Helper()
	disk := storage.NewMemory()
	return start(t, name, func(c *node.Config) { c.Datastore = disk }), disk
}

// damage puts something else in place of the messages that fit, or nothing, and says how
// many there are.
func damage(t *testing.T, disk datastore.Batching, club protocol.ID, with []byte, fits func(*protocol.Header) bool) (n int) {
	t.Helper()
	all, err := disk.Query(ctx(t), query.Query{Prefix: "/e"})
	if err != nil {
		t.Fatal(err)
	}
	list, err := all.Rest()
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(list, func(a, b query.Entry) int { return strings.Compare(a.Key, b.Key) })
	var ids []protocol.ID // in the order of arrival, without gaps
	for _, e := range list {
		wire := e.Value
		if back := int(wire[0]); back < 64 { // its link is left out: see package storage
			at := int(wire[1])
			wire = slices.Concat(wire[2:2+at], ids[len(ids)-back][:], wire[2+at:])
		}
		v, err := protocol.Stored(club, wire)
		ids = append(ids, v.ID())
		if err != nil || v.Header().Chain != protocol.Messages || !fits(v.Header()) {
			continue
		}
		n++
		if with == nil {
			err = disk.Delete(ctx(t), datastore.NewKey(e.Key))
		} else {
			err = disk.Put(ctx(t), datastore.NewKey(e.Key), with)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// Messages are damaged on the disk, own ones up to the end of their chain among them:
// others have them, and sync brings them back. Nobody becomes another device by that, and
// no chain forks.
func TestDamagedMessagesComeBack(t *testing.T) {
	ana := start(t, "Ana")
	bo, disk := brittle(t, "Bo")
	club := ana.create("club")
	bo.join(ana.invite(club, node.InviteOptions{}))
	for _, text := range []string{"one", "two", "three"} {
		ana.send(club, text)
	}
	bo.await(club, 3)
	bo.send(club, "four")
	bo.send(club, "five")
	ana.await(club, 5)
	me := bo.Device(club)
	bo.sleep()
	n := damage(t, disk, club, []byte("damaged"), func(h *protocol.Header) bool { return h.Dev == me || h.Seq == 2 })
	if n < 3 {
		t.Fatalf("%d are damaged", n)
	}
	bo.wake()
	got := slices.DeleteFunc(bo.texts(club), func(text string) bool { return text == "three" }) // it may be kept behind the second
	if !slices.Equal(got, []string{"one"}) {
		t.Fatalf("other things are damaged: %q", got)
	}
	bo.reach(ana)
	bo.await(club, 5)
	bo.send(club, "six")
	ana.await(club, 6)
	agree(t, club, 6, ana, bo)
	eventually(t, "they hold the same", func() bool { return ana.Whole(club) == bo.Whole(club) })
	if bo.Device(club) != me || len(ana.forks(club)) > 0 || len(bo.forks(club)) > 0 {
		t.Fatalf("Bo is another device, or forked a chain: %v %v", ana.forks(club), bo.forks(club))
	}
}

// A message that nobody can read any more keeps no two members from agreeing; once
// somebody comes who has it, they have it, too.
func TestDamagedEverywhere(t *testing.T) {
	ana, anas := brittle(t, "Ana")
	bo, bos := brittle(t, "Bo")
	cleo := start(t, "Cleo")
	club := ana.create("club")
	link := ana.invite(club, node.InviteOptions{})
	bo.join(link)
	cleo.join(link)
	for _, text := range []string{"one", "two", "three"} {
		ana.send(club, text)
	}
	bo.await(club, 3)
	cleo.await(club, 3)
	all := []*person{ana, bo, cleo}
	for _, p := range all {
		p.sleep()
	}
	second := func(h *protocol.Header) bool { return h.Seq == 2 }
	if a, b := damage(t, anas, club, []byte("damaged"), second), damage(t, bos, club, nil, second); a == 0 || b == 0 {
		t.Fatalf("%d and %d are damaged", a, b)
	}
	ana.wake()
	bo.wake()
	ana.reach(bo)
	if got := ana.texts(club); !slices.Equal(got, []string{"one"}) { // Bo notices when Ana asks
		t.Fatalf("other things are damaged: %q", got)
	}
	eventually(t, "Ana and Bo agree", func() bool { return ana.Whole(club) == bo.Whole(club) })
	whole := ana.Whole(club)
	cleo.wake()
	cleo.reach(bo)
	for _, p := range all {
		p.await(club, 3)
	}
	agree(t, club, 3, all...)
	eventually(t, "all agree", func() bool { return ana.Whole(club) == cleo.Whole(club) && bo.Whole(club) == cleo.Whole(club) })
	if ana.Whole(club) == whole {
		t.Fatal("nothing came back")
	}
}

// Of somebody who is out a message is damaged: the end of their chain, which counts, or one
// that does not count. What counts is told of all the same, so that who holds it agrees.
func TestDamagedMessagesOfWhoIsOut(t *testing.T) {
	for name, texts := range map[string][]string{
		"the end":           {"one", "two"},
		"one that does not": {"one", "two", "three", "four"},
	} {
		t.Run(name, func(t *testing.T) {
			ana, cleo := start(t, "Ana"), start(t, "Cleo")
			bo, disk := brittle(t, "Bo")
			club := ana.create("club")
			link := ana.invite(club, node.InviteOptions{})
			bo.join(link)
			cleo.join(link)
			var since time.Time
			for i, text := range texts {
				if i == 2 {
					since = time.Now()
					time.Sleep(20 * time.Millisecond)
				}
				cleo.send(club, text)
				ana.await(club, i+1)
				bo.await(club, i+1)
			}
			out, last := cleo.Device(club), min(uint64(len(texts)), 3)
			cleo.sleep()
			did(t)(ana.Expel(ctx(t), club, "Cleo", node.ExpelOptions{Since: since}))
			want := ana.texts(club)
			if len(want) == 0 || len(want) >= int(last) && last < uint64(len(texts)) {
				t.Fatalf("of Cleo there is still %q", want)
			}
			eventually(t, "Bo knows", func() bool { return ana.Whole(club) == bo.Whole(club) })
			bo.sleep()
			if n := damage(t, disk, club, []byte("damaged"), func(h *protocol.Header) bool { return h.Dev == out && h.Seq == last }); n != 1 {
				t.Fatalf("%d are damaged", n)
			}
			bo.wake()
			bo.reach(ana)
			eventually(t, "they hold the same", func() bool { return ana.Whole(club) == bo.Whole(club) })
			bo.reads(club, want...)
		})
	}
}
