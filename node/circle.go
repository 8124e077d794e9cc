package node

import (
	"context"
	"slices"
	"sync/atomic"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pchat/p2pchat/protocol"
)

// circle is who listens on a topic, as pubsub sees it: whom a frame that is published
// here is handed to, and whom one that came might be passed on to.
type circle struct {
	me   protocol.PeerTag
	end  func()
	list atomic.Pointer[[]protocol.PeerTag] // ascending; replaced, never changed
}

// watchTopic follows who joins and leaves a topic until the circle ends.
func (n *Node) watchTopic(topic *pubsub.Topic) (*circle, error) {
	events, err := topic.EventHandler()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(n.ctx)
	c := &circle{me: protocol.TagOf([]byte(n.host.ID())), end: func() { cancel(); events.Cancel() }}
	c.list.Store(new([]protocol.PeerTag))
	n.spawn(func(context.Context) {
		there := make(map[peer.ID]protocol.PeerTag)
		for {
			e, err := events.NextPeerEvent(ctx)
			if err != nil {
				return
			}
			if e.Type == pubsub.PeerJoin {
				there[e.Peer] = protocol.TagOf([]byte(e.Peer))
			} else {
				delete(there, e.Peer)
			}
			c.set(there)
		}
	})
	return c, nil
}

func (c *circle) set(there map[peer.ID]protocol.PeerTag) {
	list := make([]protocol.PeerTag, 0, len(there))
	for _, t := range there {
		list = append(list, t)
	}
	slices.SortFunc(list, protocol.PeerTag.Compare)
	list = slices.Compact(list)
	c.list.Store(&list)
}

// tags are the others on the topic.
func (c *circle) tags() []protocol.PeerTag { return *c.list.Load() }

// withSelf are all on the topic.
func (c *circle) withSelf() []protocol.PeerTag {
	list := c.tags()
	i, ok := slices.BinarySearchFunc(list, c.me, protocol.PeerTag.Compare)
	if ok {
		return list
	}
	return slices.Insert(slices.Clone(list), i, c.me)
}
