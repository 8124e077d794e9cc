package node

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/p2pchat/p2pchat/protocol"
)

// What tests outside the package see of reports and retractions.

// Held says whether a message is here, and whether its body is.
func (n *Node) Held(ctx context.Context, group, id protocol.ID) (here, whole bool) {
	r, _ := n.room(group)
	e, err := r.log.Get(ctx, id)
	return err == nil, err == nil && e.Event.Whole()
}

// EraseDue erases what is due at a time, as [room.attend] does: when all was looked at.
func (n *Node) EraseDue(ctx context.Context, group protocol.ID, at time.Time) error {
	r, _ := n.room(group)
	if err := r.catchUp(ctx); err != nil {
		return err
	}
	return r.eraseDue(ctx, at)
}

// HasPrekeys says whether count devices have published a prekey.
func (n *Node) HasPrekeys(group protocol.ID, count int) bool {
	r, _ := n.room(group)
	r.mu.Lock()
	defer r.mu.Unlock()
	for slot := range r.records {
		if slot.kind == protocol.RecordPrekey {
			count--
		}
	}
	return count <= 0
}

// Oust issues a removal or ban that spares nothing but a cut.
func (n *Node) Oust(ctx context.Context, group protocol.ID, kind protocol.Kind, who protocol.Key, cut ...protocol.CutEntry) error {
	r, _ := n.room(group)
	r.mu.Lock()
	v, commit, err := r.issue(kind, &protocol.Denial{Target: who, Cut: protocol.Cut{Messages: cut}}, nil)
	r.mu.Unlock()
	if err != nil {
		return err
	}
	return r.finish(ctx, commit, v)
}

// Event returns an event from the log.
func (n *Node) Event(ctx context.Context, group, id protocol.ID) protocol.Verified {
	r, _ := n.room(group)
	e, _ := r.log.Get(ctx, id)
	return e.Event
}

// Ingest takes an event in as if a stranger had brought it.
func (n *Node) Ingest(group protocol.ID, v protocol.Verified) {
	r, _ := n.room(group)
	in := r.ingest("stranger", []protocol.Verified{v})
	r.settle(in)
}

// DropPrekeys forgets this device's private prekeys, as it does of old ones.
func (n *Node) DropPrekeys(group protocol.ID) {
	r, _ := n.room(group)
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.keys.prekeys)
}

// SayReport writes a report that carries any bytes.
func (n *Node) SayReport(ctx context.Context, group protocol.ID, carried []byte) (protocol.ID, error) {
	r, _ := n.room(group)
	r.mu.Lock()
	to := r.moderators(protocol.Key{}, protocol.MaxReportBoxes)
	r.mu.Unlock()
	boxed, err := protocol.Complaint{Reason: "look", Event: carried}.Box(group, r.me.Dev(), to, rand.Reader)
	if err != nil {
		return protocol.ID{}, err
	}
	v, err := r.tell(ctx, words{kind: protocol.KindReport, content: protocol.Content{Boxed: boxed}})
	return v.ID(), err
}

// CrowdOut says whose reports stay of those of some devices, oldest first.
func CrowdOut(most int, devices string) string {
	var list []filed
	for _, d := range devices {
		list = append(list, filed{Dev: protocol.Key{byte(d)}})
	}
	var out []byte
	for _, f := range crowdOut(list, most, func(f filed) protocol.Key { return f.Dev }) {
		out = append(out, f.Dev[0])
	}
	return string(out)
}
