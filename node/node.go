package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

// Node is one person's part of every group they are in.
type Node struct {
	cfg     Config
	log     *slog.Logger
	account protocol.Account
	now     func() time.Time
	steady  steady

	store *storage.Store
	host  host.Host
	gate  *gate
	mesh  *mesh
	pub   *pubsub.PubSub
	disc  *discovery
	peers *peers
	joins chan struct{} // holds the joins being served
	enter sync.Mutex    // held while a welcome is made into a room
	near  sync.Mutex    // held by who invites or joins nearby
	turn  sync.Mutex    // orders what brings peers and gate in step with connections and rosters

	// mu guards rooms and name. It is held before a room's own mutex, never after.
	mu    sync.Mutex
	rooms map[protocol.ID]*room
	name  string

	progress progressList // has a mutex of its own

	ctx    context.Context
	cancel context.CancelFunc
	life   sync.Mutex // guards ending, so that nothing starts once Close waits
	ending bool
	wg     sync.WaitGroup
	close  sync.Once
	closed error
	undo   []func() error // in reverse order, what New opened
}

// New builds a node and starts it. The context bounds the start only. Where New
// fails it leaves nothing behind.
func New(ctx context.Context, cfg Config) (*Node, error) {
	n := &Node{cfg: cfg, log: cfg.Logger, now: time.Now, rooms: make(map[protocol.ID]*room), name: cfg.Name, peers: newPeers(), joins: make(chan struct{}, joinsServed)}
	if cfg.clock != nil {
		n.now = cfg.clock
	}
	if n.log == nil {
		n.log = slog.New(slog.DiscardHandler)
	}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	for _, step := range []func(context.Context) error{
		n.checkConfig, n.openStore, n.openAccount, n.openHost, n.openGossip, n.openRooms, n.openStreams, n.listen, n.openDiscovery,
	} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, n.Close())
		}
	}
	return n, nil
}

// Close refuses new work, waits for what runs, and closes what New opened. What
// was lent stays open. Closing twice is fine.
func (n *Node) Close() error {
	n.close.Do(func() {
		n.life.Lock()
		n.ending = true
		n.life.Unlock()
		n.cancel()
		var errs []error
		for i := len(n.undo) - 1; i >= 0; i-- {
			errs = append(errs, n.undo[i]())
		}
		n.closed = errors.Join(errs...)
	})
	return n.closed
}

// onClose registers how to end what a step of New started.
func (n *Node) onClose(f func() error) { n.undo = append(n.undo, f) }

// spawn runs f beside the caller; Close cancels its context and waits for it. Once
// the node closes nothing is started.
func (n *Node) spawn(f func(ctx context.Context)) {
	n.life.Lock()
	defer n.life.Unlock()
	if !n.ending {
		n.wg.Go(func() { f(n.ctx) })
	}
}

func (n *Node) checkConfig(context.Context) error {
	if len(n.cfg.Name) > protocol.MaxNameSize || !utf8.ValidString(n.cfg.Name) {
		return fmt.Errorf("%w: Name is over %d bytes or not UTF-8", ErrConfig, protocol.MaxNameSize)
	}
	switch n.cfg.DHT {
	case "":
		n.cfg.DHT = DHTOff
		if len(n.cfg.Bootstrap) > 0 {
			n.cfg.DHT = DHTCommunity
		}
	case DHTOff, DHTCommunity:
	default:
		return fmt.Errorf("%w: DHT is %q: %q or %q", ErrConfig, n.cfg.DHT, DHTOff, DHTCommunity)
	}
	if n.cfg.GossipRate == 0 {
		n.cfg.GossipRate = 5
	}
	return nil
}

func (n *Node) openStore(ctx context.Context) error {
	ds := n.cfg.Datastore
	if ds == nil {
		ds = storage.NewMemory()
	}
	store, err := storage.Open(ctx, ds, storage.WithKey(n.cfg.StoreKey))
	if err != nil {
		return fmt.Errorf("open the store: %w", err)
	}
	n.store = store
	n.onClose(store.Close)
	if err := n.loadSteady(ctx); err != nil {
		return err
	}
	// Everything below this line may use the store, so it ends before the store does.
	n.onClose(func() error { n.wg.Wait(); return nil })
	return nil
}

// openAccount takes the configured account, or the datastore's own.
func (n *Node) openAccount(ctx context.Context) error {
	if n.cfg.Account != (protocol.Account{}) {
		n.account = n.cfg.Account
		return n.install(ctx)
	}
	const key = "account"
	b, err := n.store.Get(ctx, spaceSelf, key)
	if err == nil && len(b) == 64 {
		n.account = protocol.Account{Seed: protocol.Secret(b[:32]), Device: protocol.Secret(b[32:])}
		clear(b)
		return n.install(ctx)
	}
	if !errors.Is(err, storage.ErrNotFound) {
		return fmt.Errorf("read the account: %w", err)
	}
	if n.account, err = protocol.NewAccount(rand.Reader); err != nil {
		return err
	}
	if err := n.store.Put(ctx, spaceSelf, key, slices.Concat(n.account.Seed[:], n.account.Device[:])); err != nil {
		return err
	}
	return n.install(ctx)
}

// openRooms opens every group this account is in.
func (n *Node) openRooms(ctx context.Context) error {
	metas, err := n.store.List(ctx, spaceRooms)
	if err != nil {
		return err
	}
	for key, value := range metas {
		r, err := n.loadRoom(ctx, key, value)
		if err != nil {
			return fmt.Errorf("open group %s: %w", key, err)
		}
		n.rooms[r.group] = r // started with discovery, when everything it uses is there
	}
	return nil
}

// Account returns the account the node runs under, on this datastore: its device is
// that of the configuration mixed with a value of the datastore's.
func (n *Node) Account() protocol.Account { return n.account }

// Host returns the libp2p host, for embedding programs that share it.
func (n *Node) Host() host.Host { return n.host }

// alive says whether the node still takes work.
func (n *Node) alive() error {
	if n.ctx.Err() != nil {
		return ErrClosed
	}
	return nil
}

// The spaces of named values in the store.
const (
	spaceSelf     = "self"     // account, peer key
	spaceRooms    = "rooms"    // group id -> roomMeta
	spacePeers    = "peers"    // peer id -> addresses
	spaceBlocked  = "blocked"  // group id/identity -> 1
	spaceVerified = "verified" // group id/identity -> verifiedMark
	spacePlans    = "plans"    // genesis salt -> plan to found a group
	spaceAsked    = "asked"    // id of a request to join by file -> ownFile
)

// unmuteSpace holds when this node ends mutes, by whom they are on, and requestSpace
// who asked to join, by identity.
func unmuteSpace(group protocol.ID) string  { return "unmutes-" + group.Text("") }
func requestSpace(group protocol.ID) string { return "requests-" + group.Text("") }

// epochSpace holds a group's epoch secrets by epoch id.
func epochSpace(group protocol.ID) string { return "epochs-" + group.Text("") }

// prekeySpace holds the seeds of a device's prekeys in a group by week.
func prekeySpace(group protocol.ID) string { return "prekeys-" + group.Text("") }

// contactSpace holds what a node remembers of the devices of a group, by device.
func contactSpace(group protocol.ID) string { return "contacts-" + group.Text("") }

// chunkSpace holds a group's wrap chunks by their hash.
func chunkSpace(group protocol.ID) string { return "chunks-" + group.Text("") }
