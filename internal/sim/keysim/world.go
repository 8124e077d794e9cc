package keysim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/p2pchat/p2pchat/internal/sim"
	"github.com/p2pchat/p2pchat/protocol"
)

// Sizes of a world: few devices, so that wraps stay cheap.
const (
	peopleMost  = 8
	devicesMost = 12
	hostile     = 20 // of a hundred members
	splitMost   = 40 // days
	sleepMost   = 40 // days
)

const (
	hour = uint64(time.Hour / time.Millisecond)
	day  = 24 * hour
)

// world is one group and everything that happens in it.
type world struct {
	dice   sim.Dice
	random *rand.ChaCha8
	now    uint64 // the true time in milliseconds
	begun  uint64
	days   int
	since  bool // history begins with each newcomer
	real   bool // boxes are sealed by HPKE as well

	group   protocol.ID
	salt    [32]byte
	people  []*person
	devices []*device
	split   uint64 // until when the group is in parts
	healed  bool   // for good

	truth    *protocol.Set // of all events that may be: who checks signatures
	events   []protocol.Verified
	number   map[protocol.ID]int
	starts   map[protocol.ID]*start // by epoch: the true one
	claims   []protocol.ID          // rekeys that are no true start
	chunks   [][]byte               // all that ever travelled
	chunkIDs map[protocol.ID]int
	boxes    map[string]*box
	messages []*message
	said     map[protocol.ID]*message

	wrong []string
	tally Tally
}

// Tally is how much happened.
type Tally struct {
	Devices, Messages, Rekeys, Removals, Wraps, Answers, Forged, Attempts, Lost, Misled int
}

// person is an identity with its devices.
type person struct {
	account protocol.Account
	founder bool
	hostile bool
	devices []*device
	grants  []entry
	leaves  []protocol.Verified
	went    bool                 // or was sent away, rightly or not
	misled  map[protocol.ID]bool // epochs of which its admitter invented the secret
}

// entry is a grant to somebody.
type entry struct {
	grant protocol.ID
	by    *device
	heard bits // messages that its author knew
}

func (p *person) root() protocol.Key { return p.devices[0].id.Root() }

// start is an epoch and who began it.
type start struct {
	ep    *protocol.Epoch
	n     protocol.Secret // the rendezvous secret
	by    *device
	rekey protocol.ID
	at    int // the rekey's number among the events
}

// message is something said, and who was out when it was, as its author saw it.
type message struct {
	n     int
	v     protocol.Verified
	by    *device
	eid   protocol.ID
	text  string
	out   []ending
	lost  bool // sealed under a secret that is none
	whole bool // its author had all of the epoch
	last  bool // said after everything had healed
}

// ending is a device that was out, and by which event.
type ending struct {
	dev *device
	by  protocol.ID
}

func (w *world) fail(format string, args ...any) {
	if len(w.wrong) < 20 {
		w.wrong = append(w.wrong, fmt.Sprintf("day %d: ", (w.now-w.begun)/day)+fmt.Sprintf(format, args...))
	}
}

func (w *world) chance(percent int) bool { return w.dice.IntN(100) < percent }

func pick[T any](w *world, list []T) T { return list[w.dice.IntN(len(list))] }

func shuffle[T any](w *world, list []T) {
	for i := len(list) - 1; i > 0; i-- {
		j := w.dice.IntN(i + 1)
		list[i], list[j] = list[j], list[i]
	}
}

func (w *world) secret() protocol.Secret {
	s, err := protocol.NewSecret(w.random)
	if err != nil {
		panic(err) // ChaCha8 does not fail
	}
	return s
}

// newWorld founds a group.
func newWorld(seed uint64) *world {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	w := &world{
		dice: sim.Seeded(seed), random: rand.NewChaCha8(key), begun: 1_800_000_000_000, real: seed%8 == 0,
		number: make(map[protocol.ID]int), starts: make(map[protocol.ID]*start), chunkIDs: make(map[protocol.ID]int),
		boxes: make(map[string]*box), said: make(map[protocol.ID]*message),
	}
	w.now, w.since, w.days = w.begun, w.chance(40), 20+w.dice.IntN(50)
	w.salt = w.secret()
	w.found(1 + w.dice.IntN(2))
	return w
}

// found writes the genesis and the first epoch.
func (w *world) found(founders int) {
	g := &protocol.Genesis{Salt: w.salt, History: protocol.HistoryAll}
	if w.since {
		g.History = protocol.HistorySinceJoin
	}
	for range founders {
		p := w.newPerson(true)
		g.Founders = append(g.Founders, p.devices[0].id.Cert())
	}
	w.people[0].hostile = false // so that somebody can hold the group together
	slices.SortFunc(g.Founders, func(a, b protocol.Cert) int { return a.Root.Compare(b.Root) })
	first := w.devices[0]
	tip := protocol.Tip{Dev: first.id.Dev(), Chain: protocol.Control}
	v, err := protocol.Draft{Kind: protocol.KindGenesis, Prev: tip, HLC: first.clock.Next(first.time())}.SignControl(g, nil, nil, first.id.Signer(), w.random)
	if err != nil {
		panic(err)
	}
	w.group = v.ID()
	w.truth = protocol.NewSet(w.group)
	if err := w.truth.Add(v); err != nil {
		panic(err)
	}
	w.keep(v)
	for _, d := range w.devices {
		d.begin(v)
	}
	first.refreshPrekey()
	if err := first.startEpoch(protocol.Stale); err != nil {
		w.fail("the first epoch: %v", err)
	}
	for _, d := range w.devices[1:] {
		w.meet(first, d)
	}
}

// keep gives an event that may be a number.
func (w *world) keep(v protocol.Verified) int {
	n := len(w.events)
	w.number[v.ID()] = n
	w.events = append(w.events, v)
	return n
}

// newPerson adds somebody with one device, who is in no group yet.
func (w *world) newPerson(founder bool) *person {
	p := &person{account: protocol.Account{Seed: w.secret()}, founder: founder, hostile: w.chance(hostile), misled: make(map[protocol.ID]bool)}
	w.people = append(w.people, p)
	w.newDevice(p)
	return p
}

func (w *world) newDevice(p *person) *device {
	account := protocol.Account{Seed: p.account.Seed, Device: w.secret()}
	tag := [32]byte(w.group)
	if p.founder {
		tag = w.salt
	}
	d := &device{
		w: w, n: len(w.devices), p: p, id: account.Identity(tag), from: w.skew(), to: w.skew(),
		records: make(map[protocol.Key]protocol.VerifiedRecord), prekeys: make(map[uint64]*prekey),
		names: make(map[protocol.ID]*prekey),
	}
	d.ctl = protocol.Tip{Dev: d.id.Dev(), Chain: protocol.Control}
	d.msg = protocol.Tip{Dev: d.id.Dev(), Chain: protocol.Messages}
	if w.chance(40) {
		d.to = d.from // it does not drift
	}
	if w.begun == w.now || !w.chance(50) {
		d.side = 0
	} else {
		d.side = w.dice.IntN(3)
	}
	w.devices = append(w.devices, d)
	p.devices = append(p.devices, d)
	return d
}

// skew is how far a clock is off, in milliseconds.
func (w *world) skew() int64 {
	if w.chance(40) {
		return 0
	}
	return int64(w.dice.IntN(int(2*day))) - int64(day)
}

// String is one line.
func (t Tally) String() string {
	return fmt.Sprintf("%d devices, %d messages, %d rekeys, %d ends, %d wraps, %d answers, %d forgeries, %d tried to read what is not theirs, %d lost",
		t.Devices, t.Messages, t.Rekeys, t.Removals, t.Wraps, t.Answers, t.Forged, t.Attempts, t.Lost)
}

// Add sums up.
func (t *Tally) Add(o Tally) {
	t.Devices += o.Devices
	t.Messages += o.Messages
	t.Rekeys += o.Rekeys
	t.Removals += o.Removals
	t.Wraps += o.Wraps
	t.Answers += o.Answers
	t.Forged += o.Forged
	t.Attempts += o.Attempts
	t.Lost += o.Lost
	t.Misled += o.Misled
}
