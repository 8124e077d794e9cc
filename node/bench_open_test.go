package node

import (
	"context"
	"crypto/rand"
	"fmt"
	"testing"

	"golang.org/x/time/rate"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

// BenchmarkOpenCrowd is how long a node takes to open a group of 5,000 members, beside
// one that it is alone in, and what asking who they are takes then.
//
//	go test ./node -run '^$' -bench OpenCrowd
func BenchmarkOpenCrowd(b *testing.B) {
	for _, members := range []int{1, 5000} {
		b.Run(fmt.Sprint(members), func(b *testing.B) {
			cfg, group := crowdOf(b, members)
			for b.Loop() {
				n, err := New(b.Context(), cfg)
				if err != nil {
					b.Fatal(err)
				}
				if list, err := n.Members(group); err != nil || len(list) != members {
					b.Fatalf("%d members, %v", len(list), err)
				}
				b.StopTimer()
				_ = n.Close()
				b.StartTimer()
			}
		})
	}
}

// crowdOf makes a group and admits people to it who are not there.
func crowdOf(b *testing.B, members int) (Config, protocol.ID) {
	b.Helper()
	account, err := protocol.NewAccount(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	cfg := Config{
		Account: account, Name: "ana", Datastore: storage.NewMemory(),
		Listen: []string{"/ip4/127.0.0.1/tcp/0"}, DisableMDNS: true,
	}
	n, err := New(b.Context(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer n.Close()
	group, err := n.CreateGroup(b.Context(), "crowd")
	if err != nil {
		b.Fatal(err)
	}
	text, err := n.Invite(b.Context(), group, InviteOptions{})
	if err != nil {
		b.Fatal(err)
	}
	link, _ := protocol.ParseLink(text)
	n.rooms[group].grants = rate.NewLimiter(rate.Inf, 1)
	in := n.rooms[group].openInvites()[0]
	var last *storage.Commit
	box, err := protocol.NewBoxKey(true)
	if err != nil {
		b.Fatal(err)
	}
	for range members - 1 {
		who, err := protocol.NewAccount(rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		request, err := link.Request(who.Identity(group), box, "somebody", "", rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		if _, last, err = in.room.grantTo(b.Context(), in, request, false); err != nil {
			b.Fatal(err)
		}
	}
	if last != nil {
		if err := last.Wait(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
	return cfg, group
}
