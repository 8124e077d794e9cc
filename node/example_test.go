package node_test

import (
	"context"
	"fmt"
	"log"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/namespace"
	"github.com/libp2p/go-libp2p"

	"github.com/p2pchat/p2pchat/node"

	"github.com/p2pchat/p2pchat/storage"
)

// Two people in one program: one makes a group, the other joins by the link.
func Example() {
	ctx := context.Background()
	loopback := []string{"/ip4/127.0.0.1/tcp/0"} // leave Listen out to be reached from elsewhere

	ana, err := node.New(ctx, node.Config{Name: "Ana", Listen: loopback, DisableMDNS: true})
	if err != nil {
		log.Fatal(err)
	}
	defer ana.Close()
	club, err := ana.CreateGroup(ctx, "Hiking club")
	if err != nil {
		log.Fatal(err)
	}
	link, err := ana.Invite(ctx, club, node.InviteOptions{})
	if err != nil {
		log.Fatal(err)
	}

	bo, err := node.New(ctx, node.Config{Name: "Bo", Listen: loopback, DisableMDNS: true})
	if err != nil {
		log.Fatal(err)
	}
	defer bo.Close()
	if _, err := bo.Join(ctx, link); err != nil {
		log.Fatal(err)
	}
	if _, err := ana.Send(ctx, club, "Saturday at nine?"); err != nil {
		log.Fatal(err)
	}
	for line, err := range bo.Follow(ctx, club, 0) {
		if err != nil {
			log.Fatal(err)
		}
		if line.Kind == "text" {
			fmt.Printf("%s: %s\n", line.From.Name, line.Text)
			break
		}
	}
	// Output: Ana: Saturday at nine?
}

// Send returns once the message survives a crash, whoever is there.
func ExampleNode_Send() {
	ctx := context.Background()
	n, err := node.New(ctx, node.Config{Name: "Ana", Listen: []string{"/ip4/127.0.0.1/tcp/0"}, DisableMDNS: true})
	if err != nil {
		log.Fatal(err)
	}
	defer n.Close()
	notes, err := n.CreateGroup(ctx, "Notes to self")
	if err != nil {
		log.Fatal(err)
	}
	sent, err := n.Send(ctx, notes, "buy bread")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("handed to", sent.Peers, "members")
	lines, _, err := n.Last(ctx, notes, 1)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(lines[0].Text, lines[0].ID == sent.ID)
	// Output:
	// handed to 0 members
	// buy bread true
}

// Whoever keeps the cursor of the last line goes on after it, also after a restart.
func ExampleNode_Follow() {
	ctx := context.Background()
	ds := storage.NewMemory() // a program that stays uses one on disk
	config := node.Config{Name: "Ana", Datastore: ds, Listen: []string{"/ip4/127.0.0.1/tcp/0"}, DisableMDNS: true}
	n, err := node.New(ctx, config)
	if err != nil {
		log.Fatal(err)
	}
	notes, err := n.CreateGroup(ctx, "Notes to self")
	if err != nil {
		log.Fatal(err)
	}
	for _, text := range []string{"one", "two", "three"} {
		if _, err := n.Send(ctx, notes, text); err != nil {
			log.Fatal(err)
		}
	}
	var cursor uint64
	for line, err := range n.Follow(ctx, notes, cursor) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s %q\n", line.Kind, line.Text)
		cursor = line.Cursor
		if line.Text == "two" {
			break
		}
	}
	if err := n.Close(); err != nil {
		log.Fatal(err)
	}

	if n, err = node.New(ctx, config); err != nil {
		log.Fatal(err)
	}
	defer n.Close()
	for line, err := range n.Follow(ctx, notes, cursor) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s %q\n", line.Kind, line.Text)
		break // without it, Follow waits for more until ctx ends
	}
	// Output:
	// created ""
	// named "Notes to self"
	// text "one"
	// text "two"
	// text "three"
}

// A program with a libp2p host and a datastore of its own lends them. They are not
// closed, and what else is in the datastore stays apart.
func ExampleConfig_lent() {
	ctx := context.Background()
	host, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.DisableRelay(), libp2p.DisableMetrics())
	if err != nil {
		log.Fatal(err)
	}
	defer host.Close()
	ds := storage.NewMemory()

	n, err := node.New(ctx, node.Config{
		Name: "Ana", Host: host, Datastore: namespace.Wrap(ds, datastore.NewKey("/chat")), DisableMDNS: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := n.CreateGroup(ctx, "Hiking club"); err != nil {
		log.Fatal(err)
	}
	if err := n.Close(); err != nil {
		log.Fatal(err)
	}

	fmt.Println("the host still listens:", len(host.Network().ListenAddresses()) > 0)
	fmt.Println("the datastore still stores:", ds.Put(ctx, datastore.NewKey("/mine"), []byte("1")) == nil)
	// Output:
	// the host still listens: true
	// the datastore still stores: true
}
