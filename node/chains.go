package node

import (
	"time"

	"github.com/p2pchat/p2pchat/protocol"
)

// chains tells the roster what a room holds of its members' chains of messages.
type chains struct{ r *room }

// Spares says whether a message is the one that a cut names, or before it.
func (c chains) Spares(v protocol.Verified, cut protocol.CutEntry) bool {
	yes, err := c.r.log.Precedes(c.r.n.ctx, v, cut.ID)
	if err != nil { // it is not here, or cannot be read
		return v.ID() == cut.ID || v.Header().Seq < cut.Seq
	}
	return yes
}

// Before returns the time of the message before one on its chain.
func (c chains) Before(v protocol.Verified) (uint64, bool) {
	h := v.Header()
	if end, ok := c.r.log.Tip(h.Dev, h.Chain); !ok || h.Seq == 1 || h.Seq > end.Seq+1 {
		return 0, false
	}
	e, err := c.r.log.Get(c.r.n.ctx, h.Prev)
	if err != nil {
		return 0, false
	}
	return e.Event.Header().HLC, true
}

// grace is the time after which a leave or a revocation need not be seen by the
// epoch that is sent under.
func (r *room) grace() uint64 {
	return uint64(max(r.n.now().Add(-leaveGrace).UnixMilli(), 0))
}

// leaveGrace is how long an epoch may be used after somebody left by themselves, or
// lost a device: seniors start a new one meanwhile.
const leaveGrace = time.Hour
