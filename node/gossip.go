package node

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"
	libprotocol "github.com/libp2p/go-libp2p/core/protocol"
	"golang.org/x/time/rate"

	"github.com/p2pchat/p2pchat/protocol"
)

// openGossip starts pubsub behind the gate. Messages carry no pubsub signature:
// events have their own.
func (n *Node) openGossip(context.Context) error {
	gate, err := newGate(n.host)
	if err != nil {
		return fmt.Errorf("pubsub: %w", err)
	}
	n.gate = gate
	n.onClose(gate.close)
	n.mesh = newMesh()
	quiet := slog.New(slog.DiscardHandler)
	n.pub, err = pubsub.NewGossipSub(n.ctx, gatedHandlers{gate, n.ctx},
		pubsub.WithGossipSubProtocols([]libprotocol.ID{gossipProtocol}, features),
		pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign), pubsub.WithNoAuthor(),
		pubsub.WithMessageIdFn(messageID), pubsub.WithMaxMessageSize(protocol.MaxFrameSize+1024),
		pubsub.WithPeerFilter(gate.allows), pubsub.WithPeerExchange(false), pubsub.WithFloodPublish(true),
		pubsub.WithPeerOutboundQueueSize(gossipQueue), pubsub.WithValidateQueueSize(gossipQueue),
		pubsub.WithGossipSubParams(meshParams()), pubsub.WithPeerScore(scores()), pubsub.WithRawTracer(n.mesh),
		pubsub.WithLogger(quiet), pubsub.WithRPCLogger(quiet), // each message would be several lines
	)
	if err != nil {
		return fmt.Errorf("pubsub: %w", err)
	}
	n.spawn(n.repair)
	return nil
}

// features says what p2pchat's gossip has of GossipSub 1.3: the mesh alone. IDONTWANT
// gains nothing where frames are small, and [protocol.Gossip] says who needs no copy.
func features(f pubsub.GossipSubFeature, _ libprotocol.ID) bool {
	return f == pubsub.GossipSubFeatureMesh
}

// messageID is over all the bytes, not the event's id: pubsub marks an id as seen
// before it validates, so a copy with a broken signature must have another one. Half of
// the hash is enough for that, and most of an announcement is ids.
func messageID(m *pb.Message) string {
	sum := sha256.Sum256(m.Data)
	return string(sum[:16])
}

// meshParams lowers the mesh degree to 4, or between 3 and 5: less than three copies instead
// of five. The mesh carries what its publisher could not hand to everybody; in a group in
// which all are connected that is nothing. Fewer are told of what was said: what the
// thinner mesh loses, sync brings.
func meshParams() pubsub.GossipSubParams {
	p := pubsub.DefaultGossipSubParams()
	p.D, p.Dlo, p.Dhi, p.Dout, p.Dlazy, p.GossipFactor = 4, 3, 5, 0, 2, 0.1
	p.HistoryGossip = 2
	return p
}

// scores punish invalid messages (P4) and broken promises (P7). Quiet topics would
// make delivery scores (P3) punish the innocent.
func scores() (*pubsub.PeerScoreParams, *pubsub.PeerScoreThresholds) {
	params := &pubsub.PeerScoreParams{
		AppSpecificScore: func(peer.ID) float64 { return 0 },
		DecayInterval:    time.Second, DecayToZero: 0.01, RetainScore: 10 * time.Minute,
		BehaviourPenaltyWeight: -1, BehaviourPenaltyThreshold: 6, BehaviourPenaltyDecay: 0.9,
		Topics: make(map[string]*pubsub.TopicScoreParams),
	}
	limits := &pubsub.PeerScoreThresholds{
		GossipThreshold: -50, PublishThreshold: -100, GraylistThreshold: -200, OpportunisticGraftThreshold: 1,
	}
	return params, limits
}

func topicScores() *pubsub.TopicScoreParams {
	return &pubsub.TopicScoreParams{
		TopicWeight: 1, TimeInMeshQuantum: time.Second,
		InvalidMessageDeliveriesWeight: -10, InvalidMessageDeliveriesDecay: 0.9,
	}
}

// topics are the pubsub topics a room listens on, by name. The room's mutex does
// not guard them: pubsub is never called while it is held.
type topics struct {
	mu     sync.Mutex
	joined map[string]heard
}

// heard is a topic that this node relays until it is told otherwise.
type heard struct {
	*pubsub.Topic
	stop   pubsub.RelayCancelFunc
	circle *circle
}

// listen joins the topics of the room's secrets that are in use, and leaves those
// that are so no more.
func (r *room) listen() {
	r.topics.mu.Lock()
	defer r.topics.mu.Unlock()
	secrets := r.rendezvous() // with the topics held, or who looked before acts after
	if r.topics.joined == nil {
		r.topics.joined = make(map[string]heard)
	}
	wanted := make(map[string]bool)
	for _, s := range secrets[:min(len(secrets), secretsHeard)] {
		name := protocol.Topic(s)
		wanted[name] = true
		if r.topics.joined[name].Topic != nil || r.n.alive() != nil {
			continue
		}
		if err := r.join(name); err != nil {
			r.n.log.Warn("join topic", "err", err)
		}
	}
	for name, t := range r.topics.joined {
		if !wanted[name] {
			r.leave(name, t)
		}
	}
}

func (r *room) join(name string) error {
	if err := r.n.pub.RegisterTopicValidator(name, r.validate, pubsub.WithValidatorInline(true)); err != nil {
		return err
	}
	topic, err := r.n.pub.Join(name)
	if err != nil {
		return err
	}
	if err := topic.SetScoreParams(topicScores()); err != nil {
		return err
	}
	// The validator is the door. A subscription would only add a channel that drops
	// what is not read in time; relaying makes this node a full part of the mesh.
	stop, err := topic.Relay()
	if err != nil {
		return err
	}
	c, err := r.n.watchTopic(topic)
	if err != nil {
		stop()
		return err
	}
	r.topics.joined[name] = heard{topic, stop, c}
	return nil
}

func (r *room) leave(name string, t heard) {
	delete(r.topics.joined, name)
	t.stop()
	t.circle.end()
	if err := errors.Join(t.Close(), r.n.pub.UnregisterTopicValidator(name)); err != nil && r.n.alive() == nil {
		r.n.log.Warn("leave topic", "err", err)
	}
}

func (r *room) topicNames() []string {
	r.topics.mu.Lock()
	defer r.topics.mu.Unlock()
	return slices.Sorted(maps.Keys(r.topics.joined))
}

// publish hands events or records to gossip. It is a hint: with nobody there it
// does nothing, and sync delivers.
func (r *room) publish(kind protocol.FrameKind, list [][]byte) {
	if len(r.n.peers.in(r.group)) == 0 {
		return // pubsub sees none but those
	}
	if secrets := r.rendezvous(); len(secrets) > 0 {
		r.publishOn(secrets[0], kind, list)
	}
}

func (r *room) publishOn(secret protocol.Secret, kind protocol.FrameKind, list [][]byte) {
	topic := r.topic(protocol.Topic(secret))
	if topic.Topic == nil {
		return
	}
	g := protocol.Gossip{List: list}
	g.Tell(topic.circle.withSelf())
	if err := topic.Publish(r.n.ctx, protocol.EncodeFrame(kind, g)); err != nil && r.n.alive() == nil {
		r.n.log.Debug("publish", "err", err)
	}
}

func (r *room) topic(name string) heard {
	r.topics.mu.Lock()
	defer r.topics.mu.Unlock()
	return r.topics.joined[name]
}

// validate is gossip's way to the door. It rejects only what the forwarder could
// have judged itself. What is over a device's budget is neither verified nor passed
// on: a flood stops at its first hop and costs no signature check, and sync delivers
// what it held. What waits for something is accepted and parked, because pubsub
// would not look at it again for minutes.
func (r *room) validate(_ context.Context, from peer.ID, m *pubsub.Message) pubsub.ValidationResult {
	if from == r.n.host.ID() {
		return pubsub.ValidationAccept
	}
	f, err := protocol.ParseFrame(m.Data)
	if err != nil {
		return blame(err)
	}
	var g protocol.Gossip
	if f.Decode(f.Kind, &g) != nil || g.Check() != nil {
		return pubsub.ValidationReject
	}
	result := r.validateFrame(from, f.Kind, g.List)
	if result == pubsub.ValidationAccept && g.Reached(r.n.mesh.others(m.GetTopic(), from)) {
		return pubsub.ValidationIgnore // whom it would be passed on to has it
	}
	return result
}

func (r *room) validateFrame(from peer.ID, kind protocol.FrameKind, list [][]byte) pubsub.ValidationResult {
	switch kind {
	case protocol.FrameEvents:
		return r.validateEvents(from, list)
	case protocol.FrameRecords:
		return r.validateRecords(from, list)
	case protocol.FrameChunks:
		return r.validateChunks(from, list)
	}
	return pubsub.ValidationReject
}

func (r *room) validateEvents(from peer.ID, wires [][]byte) pubsub.ValidationResult {
	list := make([]protocol.Unverified, len(wires))
	said := make(map[protocol.Key]int, 1)
	for i, wire := range wires {
		u, err := protocol.DecodeFor(r.group, wire)
		if err != nil {
			return blame(err)
		}
		list[i] = u
		payer := u.Dev()
		if r.heard(u.Tip()) {
			payer = protocol.Key{} // who says again what is here pays for it, not its author
		}
		said[payer]++
	}
	for dev, n := range said {
		if r.mayGossip(dev, from, n) {
			continue
		}
		if _, again := said[protocol.Key{}]; !again || len(said) > 1 {
			r.n.wantSync(r, from, syncDebounce)
		}
		return pubsub.ValidationIgnore
	}
	events, errs := protocol.VerifyUnpacked(list, rand.Reader)
	for i, err := range errs {
		if err != nil {
			return pubsub.ValidationReject
		}
		if !list[i].Whole() {
			return pubsub.ValidationIgnore // who took the parts off may not be the forwarder
		}
	}
	for dev, n := range said { // not before it is known that the device says so
		r.allowGossip(dev, from, n)
	}
	in := r.ingest(from, events)
	in.gossip = true
	r.settle(in)
	if len(in.waits) > 0 {
		r.mend(from, in.waits)
	}
	if in.refused > 0 || in.failure() != nil || r.anyExpired(events) {
		return pubsub.ValidationIgnore // the forwarder may know another roster
	}
	return pubsub.ValidationAccept
}

// heard says whether an event is here, or another one at its place.
func (r *room) heard(t protocol.Tip) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return t.Chain == protocol.Messages && !r.log.Free(t.Dev, t.Seq) || r.set.Has(t.ID) || r.parked.ids[t.ID]
}

func (r *room) validateRecords(from peer.ID, wires [][]byte) pubsub.ValidationResult {
	var records []protocol.VerifiedRecord
	for _, wire := range wires {
		rec, err := protocol.VerifyRecord(r.group, wire)
		if err != nil {
			return pubsub.ValidationReject
		}
		payer := rec.Record().Dev
		if !r.newer(rec) {
			payer = protocol.Key{} // as of events
		}
		if !r.allowGossip(payer, from, 1) {
			r.n.wantSync(r, from, syncDebounce)
			return pubsub.ValidationIgnore
		}
		records = append(records, rec)
	}
	if r.ingestRecords(records) == nil {
		return pubsub.ValidationIgnore // nothing new, or by nobody who is known here
	}
	r.poke()
	return pubsub.ValidationAccept
}

// blame rejects what no version could have taken for good, and ignores what a newer
// one may know.
func blame(err error) pubsub.ValidationResult {
	if errors.Is(err, protocol.ErrUnknownCritical) {
		return pubsub.ValidationIgnore
	}
	return pubsub.ValidationReject
}

// allowGossip takes tokens of a member's device, or of the peer that forwards what
// is by nobody known: all that are asked for, or none. The bucket shapes gossip only: nothing that a clock says changes
// what the group's set is.
func (r *room) allowGossip(dev protocol.Key, from peer.ID, n int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.bucket(dev, from)
	return b == nil || b.AllowN(r.n.now(), n)
}

// mayGossip says whether there are as many tokens, and takes none: what somebody else
// signed in a device's name must cost the device nothing.
func (r *room) mayGossip(dev protocol.Key, from peer.ID, n int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.bucket(dev, from)
	return b == nil || b.TokensAt(r.n.now()) >= float64(n)
}

// bucket returns whose tokens an event of a device takes, nil where there is no limit.
// The caller holds mu.
func (r *room) bucket(dev protocol.Key, from peer.ID) *rate.Limiter {
	limit := r.n.cfg.GossipRate
	if limit < 0 {
		return nil
	}
	key := string(dev[:])
	if _, ok := r.current().Owner(dev); !ok {
		key = string(from)
	}
	b := r.buckets[key]
	if b == nil {
		if len(r.buckets) >= bucketsMost {
			clear(r.buckets)
		}
		b = rate.NewLimiter(rate.Limit(limit), max(1, int(limit*gossipBurst)))
		r.buckets[key] = b
	}
	return b
}
