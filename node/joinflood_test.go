package node_test

import (
	"context"
	"testing"
	"time"

	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
)

// Holders of a leaked link who begin to ask and then say nothing keep nobody out.
func TestWaitingWithALinkKeepsNobodyOut(t *testing.T) {
	ana := start(t, "Ana")
	club := ana.create("club")
	text := ana.invite(club, node.InviteOptions{})
	link, err := protocol.ParseLink(text)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		o := newOutsider(t)
		o.connect(ana)
		for range 2 {
			k := o.talk(ana, joinID)
			h := &protocol.Hello{PeerI: string(o.host.ID()), PeerR: string(ana.Host().ID())}
			k.send(protocol.FrameHelloNonce, protocol.HelloNonce{Nonce: h.NonceI})
			var nonce protocol.HelloNonce
			k.expect(protocol.FrameHelloNonce, &nonce)
			h.NonceR = nonce.Nonce
			k.send(protocol.FrameLobby, protocol.Lobby{Tag: h.LobbyTag(link.Lobby(), protocol.Initiator)})
			_ = k.frame(protocol.FrameLobby, new(protocol.Lobby)) // its place is taken by now, if it takes one
		}
	}
	bo := start(t, "Bo")
	soon, cancel := context.WithTimeout(ctx(t), 15*time.Second) // who waits is thrown out after 30 s
	defer cancel()
	if _, err := bo.Join(soon, text); err != nil {
		t.Errorf("Bo cannot join: %v", err)
	}
}
