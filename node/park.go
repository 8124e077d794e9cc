package node

import (
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pchat/p2pchat/protocol"
)

// parking holds events that came before what they refer to, by the id they wait
// for. It is bounded a peer, so that nobody fills it for others, and as a whole; what
// does not fit is left to sync.
type parking struct {
	waiting map[protocol.ID][]parkedEvent
	ids     map[protocol.ID]bool
	used    map[peer.ID]*usage
	all     usage
}

type parkedEvent struct {
	event protocol.Verified
	from  peer.ID
	since time.Time
}

type usage struct{ events, bytes int }

func newParking() *parking {
	return &parking{waiting: make(map[protocol.ID][]parkedEvent), ids: make(map[protocol.ID]bool), used: make(map[peer.ID]*usage)}
}

// add parks an event, or drops it where its peer has too much here already.
func (p *parking) add(from peer.ID, wait protocol.ID, v protocol.Verified, now time.Time) {
	u := p.used[from]
	if u == nil {
		u = new(usage)
	}
	size := len(v.Wire())
	if p.ids[v.ID()] || u.events >= parkedPerPeer || u.bytes+size > parkedBytesPerPeer ||
		p.all.events >= parkedEvents || p.all.bytes+size > parkedBytes {
		return
	}
	p.all.events++
	p.all.bytes += size
	u.events++
	u.bytes += size
	p.used[from] = u
	p.ids[v.ID()] = true
	p.waiting[wait] = append(p.waiting[wait], parkedEvent{v, from, now})
}

// take returns the events that waited for id.
func (p *parking) take(id protocol.ID) []protocol.Verified {
	list := p.waiting[id]
	delete(p.waiting, id)
	out := make([]protocol.Verified, len(list))
	for i, e := range list {
		p.release(e)
		out[i] = e.event
	}
	return out
}

func (p *parking) release(e parkedEvent) {
	delete(p.ids, e.event.ID())
	p.all.events--
	p.all.bytes -= len(e.event.Wire())
	u := p.used[e.from]
	u.events--
	u.bytes -= len(e.event.Wire())
	if u.events == 0 {
		delete(p.used, e.from)
	}
}

// expire drops what has waited too long.
func (p *parking) expire(now time.Time) {
	for id, list := range p.waiting {
		keep := list[:0]
		for _, e := range list {
			if now.Sub(e.since) < parkedFor {
				keep = append(keep, e)
			} else {
				p.release(e)
			}
		}
		if p.waiting[id] = keep; len(keep) == 0 {
			delete(p.waiting, id)
		}
	}
}

func (p *parking) len() int { return len(p.ids) }
