package node

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/p2pchat/p2pchat/protocol"
)

// What tests outside the package do to a room's keys.

// Rotate starts an epoch whose secret is wrapped for the devices that to allows.
func (n *Node) Rotate(ctx context.Context, group protocol.ID, fresh bool, to func(dev protocol.Key) bool) error {
	r, err := n.room(group)
	if err != nil {
		return err
	}
	why := protocol.Stale
	if fresh {
		why = protocol.Expelled
	}
	return r.rotate(ctx, why, to)
}

// RotateAfter starts the epoch that a control event of this node calls for.
func (n *Node) RotateAfter(ctx context.Context, group protocol.ID, kind protocol.Kind) error {
	r, err := n.room(group)
	if err != nil {
		return err
	}
	return r.rotateAfter(ctx, kind)
}

// CreateSinceJoin starts a group whose newcomers read from their admission on.
func (n *Node) CreateSinceJoin(ctx context.Context, name string) (protocol.ID, error) {
	return n.createGroup(ctx, name, protocol.HistorySinceJoin, nil)
}

// Forget drops the epochs that a room holds, as if their keys had never come.
func (n *Node) Forget(group protocol.ID) {
	r, _ := n.room(group)
	r.mu.Lock()
	defer r.mu.Unlock()
	points := r.arrange()
	seeds := r.keys.prekeys
	r.keys = newKeys(group, r.me.Root())
	r.keys.prekeys = seeds
	r.meta.Secrets = points
}

// Welcomed takes in what a welcome says.
func (n *Node) Welcomed(ctx context.Context, group protocol.ID, w protocol.Welcome) error {
	r, err := n.room(group)
	if err != nil {
		return err
	}
	return r.addSecrets(ctx, w)
}

// Device returns this node's device in a group.
func (n *Node) Device(group protocol.ID) protocol.Key {
	r, _ := n.room(group)
	return r.me.Dev()
}

// Epochs returns the epochs that the group's rekeys start, the oldest first, and how
// many of them are held.
func (n *Node) Epochs(group protocol.ID) (all []protocol.ID, held int) {
	r, _ := n.room(group)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range r.current().Rekeys() {
		w := r.wantedOf(id)
		all = append(all, w.eid)
		if r.keys.Held(w.eid) {
			held++
		}
	}
	return all, held
}

// Rekey returns the rekey of the newest epoch, and its place on its chain.
func (n *Node) Rekey(group protocol.ID) (*protocol.Rekey, uint64) {
	r, _ := n.room(group)
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.wantedOf(r.current().Rekeys()[len(r.current().Rekeys())-1])
	return w.rekey, w.seq
}

// Seeds returns what this node's prekeys are made from.
func (n *Node) Seeds(group protocol.ID) []protocol.Secret {
	r, _ := n.room(group)
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Values(r.keys.prekeys))
}

// Chunk returns a wrap chunk from the store.
func (n *Node) Chunk(ctx context.Context, group, id protocol.ID) ([]byte, bool) {
	r, _ := n.room(group)
	return r.chunk(ctx, id)
}

// Meets returns the rendezvous secrets of a group.
func (n *Node) Meets(group protocol.ID) []protocol.Secret {
	r, _ := n.room(group)
	return r.rendezvous()
}

// Hears returns the topics that a group listens on.
func (n *Node) Hears(group protocol.ID) []string {
	r, _ := n.room(group)
	return r.topicNames()
}

// Prekeys returns the devices that have published a prekey, ascending.
func (n *Node) Prekeys(group protocol.ID) []protocol.Key {
	r, _ := n.room(group)
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []protocol.Key
	for slot := range r.records {
		if slot.kind == protocol.RecordPrekey {
			out = append(out, slot.dev)
		}
	}
	slices.SortFunc(out, protocol.Key.Compare)
	return out
}

// Usable returns the epoch that a message would be sealed under.
func (n *Node) Usable(group protocol.ID) (protocol.ID, bool) {
	r, _ := n.room(group)
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.usable()
}

// Hide has this node answer no key requests.
func (n *Node) Hide(protocol.ID) { n.host.RemoveStreamHandler(keyProtocol) }

// Early returns how many chunks wait for their rekey.
func (n *Node) Early(group protocol.ID) int {
	r, _ := n.room(group)
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.chunks.early)
}

// FillChunks indexes chunks that are nowhere, and returns the bytes that are kept.
func (n *Node) FillChunks(group protocol.ID, count, size int) int {
	r, _ := n.room(group)
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range count {
		r.indexChunk(protocol.ID{1, byte(i >> 8), byte(i)}, size)
	}
	return r.chunks.bytes
}

// RotateAmong starts an epoch as if the group had more devices by count, each with a
// hybrid wrap.
func (n *Node) RotateAmong(ctx context.Context, group protocol.ID, count int) error {
	r, err := n.room(group)
	if err != nil {
		return err
	}
	if err := r.startCrowded(count); err != nil {
		return err
	}
	return r.announce(ctx, protocol.MaxSeq)
}

func (r *room) startCrowded(count int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	d, _, err := r.draftControl(protocol.KindRekey)
	if err != nil {
		return err
	}
	e, err := protocol.NewSecret(rand.Reader)
	if err != nil {
		return err
	}
	ep, rekey, err := r.newEpoch(d, e, r.arrange()[0])
	if err != nil {
		return err
	}
	chunks, _ := r.wrap(ep, nil)
	var wraps []protocol.Row
	for _, c := range chunks {
		list, _, err := protocol.ParseChunk(c)
		if err != nil {
			return err
		}
		wraps = append(wraps, list...)
	}
	for range count {
		w := wraps[0]
		_, _ = rand.Read(w.Dev[:])
		wraps = append(wraps, w)
	}
	chunks, rekey.Hybrid = protocol.ChunkWraps(true, wraps), true
	for _, c := range chunks {
		rekey.Chunks = append(rekey.Chunks, sha256.Sum256(c))
	}
	turned, err := r.issueEpoch(ep, rekey, chunks)
	turned.on = r.arrange()[0]
	r.turned = append(r.turned, turned)
	return err
}

// WithClock gives a node another clock.
func WithClock(cfg *Config, now func() time.Time) { cfg.clock = now }

// WithNearbyTime limits everything nearby.
func WithNearbyTime(cfg *Config, most time.Duration) { cfg.nearby = most }

// Tally returns how many messages are counted under the epoch in use, and adds to it.
func (n *Node) Tally(group protocol.ID, more int) int {
	r, _ := n.room(group)
	r.docket.mu.Lock()
	defer r.docket.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	eid, ok := r.usable()
	for i := range r.docket.tallies {
		if t := &r.docket.tallies[i]; ok && r.keys.ByTag(t.Epoch) == r.keys.Epoch(eid) {
			t.Count += more
			return t.Count
		}
	}
	return 0
}

// ChainsOf returns all events of a device that this node holds.
func (n *Node) ChainsOf(ctx context.Context, group protocol.ID, dev protocol.Key) (out []protocol.Verified) {
	r, _ := n.room(group)
	for _, chain := range []protocol.Chain{protocol.Control, protocol.Messages} {
		list, _ := r.log.Chain(ctx, dev, chain, 1, 1000)
		out = append(out, list...)
	}
	return out
}

// FrontierOf returns the number of what a device said last that it has stored; 0 where it
// said nothing.
func (n *Node) FrontierOf(group protocol.ID, dev protocol.Key) uint64 {
	r, _ := n.room(group)
	r.mu.Lock()
	defer r.mu.Unlock()
	rec, ok := r.records[recordSlot{dev, protocol.RecordFrontier}]
	if !ok {
		return 0
	}
	return rec.Record().Number
}

// TellFrontier does what the keeper does now and then.
func (n *Node) TellFrontier(ctx context.Context, group protocol.ID) {
	r, _ := n.room(group)
	r.tellFrontier(ctx)
}

// Frontier returns how many spans that has.
func (n *Node) Frontier(group protocol.ID, dev protocol.Key) int {
	r, _ := n.room(group)
	return len(r.frontiersOf(map[protocol.Key]bool{dev: true})[dev].Spans)
}

// Count returns how many events a node holds.
func (n *Node) Count(group protocol.ID) uint64 {
	r, _ := n.room(group)
	return r.log.Count()
}

// AskAnew lets everything that is missing be asked for at once.
func (n *Node) AskAnew(group protocol.ID) {
	r, _ := n.room(group)
	r.askAnew()
	r.poke()
}

// Root returns who this node is in a group.
func (n *Node) Root(group protocol.ID) protocol.Key {
	r, _ := n.room(group)
	return r.me.Root()
}

// Secrets returns what this node holds of a group's epochs, whole.
func (n *Node) Secrets(group protocol.ID) []protocol.EpochSecret {
	r, _ := n.room(group)
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []protocol.EpochSecret
	for _, id := range r.set.Rekeys() {
		if ep := r.keys.Epoch(r.wantedOf(id).eid); ep != nil && !ep.E.IsZero() {
			out = append(out, protocol.EpochSecret{Epoch: ep.ID, E: ep.E})
		}
	}
	return out
}

// SecretsOf returns what a node must show nobody, by name.
func (n *Node) SecretsOf(group protocol.ID) map[string][]byte {
	out := map[string][]byte{"account seed": n.account.Seed[:], "installed device": n.account.Device[:], "configured device": n.cfg.Account.Device[:], "store key": n.cfg.StoreKey[:]}
	r, err := n.room(group)
	if err != nil {
		return out
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	out["device key"] = r.me.Signer().Seed()
	add := func(name string, s protocol.Secret) {
		if !s.IsZero() {
			out[fmt.Sprintf("%s %d", name, len(out))] = s[:]
		}
	}
	for _, ep := range r.epochs() {
		add("epoch", ep.E)
	}
	for _, s := range r.arrange() {
		add("rendezvous", s)
	}
	for _, s := range r.keys.prekeys {
		add("prekey", s)
	}
	for _, s := range r.lobbies {
		add("lobby", s)
	}
	return out
}

// SecretBearers returns values of a node that have secrets in them, to be printed.
func (n *Node) SecretBearers(group protocol.ID) []any {
	r, _ := n.room(group)
	r.mu.Lock()
	defer r.mu.Unlock()
	id := r.me.identity()
	out := []any{n, r, &r.me, id, &id, n.cfg, &n.cfg, n.account, &n.account, r.meta, &r.meta, r.keys, &r.keys, &r.lobbies, door{r, r.meta.Secrets[0]}}
	for _, ep := range r.epochs() {
		out = append(out, ep, *ep, protocol.EpochSecret{Epoch: ep.ID, E: ep.E})
	}
	return out
}

// epochs returns the epochs that are held. The caller holds mu.
func (r *room) epochs() (out []*protocol.Epoch) {
	for _, id := range r.set.Rekeys() {
		if ep := r.keys.Epoch(r.wantedOf(id).eid); ep != nil {
			out = append(out, ep)
		}
	}
	return out
}

// Announces returns the keys that this node provides in the DHT.
func (n *Node) Announces() []string { return n.disc.keys() }

// Vouch is told of a device by a hello's certificate.
func (n *Node) Vouch(group protocol.ID, c protocol.Cert) {
	r, _ := n.room(group)
	r.vouch(c)
}

// IsMember says whether a device is served.
func (n *Node) IsMember(group protocol.ID, dev protocol.Key) bool {
	r, _ := n.room(group)
	return r.isMember(dev)
}

// DialAway dials members that are away, as is done now and then.
func (n *Node) DialAway(afresh bool) { n.disc.dialAway(afresh) }

// HeardOf keeps a peer that somebody told of, or that was met.
func (n *Node) HeardOf(p peer.ID, met time.Time) {
	n.disc.keep(p, []ma.Multiaddr{ma.StringCast("/ip4/127.0.0.1/udp/1/quic-v1")}, met)
}

// AddressBook returns the names in the address book on disk.
func (n *Node) AddressBook() map[string][]byte {
	list, _ := n.store.List(n.ctx, spacePeers)
	return list
}

// Remembers says whether a peer is in the address book.
func (n *Node) Remembers(p peer.ID) bool {
	n.disc.mu.Lock()
	defer n.disc.mu.Unlock()
	_, ok := n.disc.book[p]
	return ok
}
