package node_test

import (
	"testing"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	dssync "github.com/ipfs/go-datastore/sync"

	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
)

// A message is damaged on the disk: others have it, and sync brings it back.
func TestADamagedMessageComesBack(t *testing.T) {
	disk := dssync.MutexWrap(datastore.NewMapDatastore())
	ana, bo := start(t, "Ana"), start(t, "Bo", func(c *node.Config) { c.Datastore = disk })
	club := ana.create("club")
	bo.join(ana.invite(club, node.InviteOptions{}))
	for _, text := range []string{"one", "two", "three"} {
		ana.send(club, text)
	}
	bo.await(club, 3)
	bo.sleep()
	all, err := disk.Query(ctx(t), query.Query{Prefix: "/e"})
	if err != nil {
		t.Fatal(err)
	}
	list, _ := all.Rest()
	n := 0
	for _, e := range list {
		v, err := protocol.Stored(club, e.Value)
		if err == nil && v.Header().Chain == protocol.Messages && v.Header().Seq == 2 {
			n++
			if err := disk.Put(ctx(t), datastore.NewKey(e.Key), []byte("damaged")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n != 1 {
		t.Fatalf("%d are damaged", n)
	}
	bo.wake()
	bo.reach(ana)
	bo.await(club, 3)
}
