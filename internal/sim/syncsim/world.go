package syncsim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/p2pchat/p2pchat/internal/sim"
	"github.com/p2pchat/p2pchat/protocol"
)

const (
	second = uint64(time.Second / time.Millisecond)
	day    = 24 * 3600 * second

	replicasMost = 7
)

// world is one group and all that happens to it.
type world struct {
	dice     sim.Dice
	random   *rand.ChaCha8
	now      uint64 // the true time in milliseconds
	group    protocol.ID
	epoch    *protocol.Epoch // everybody has its secret: keys are keysim's matter
	replicas []*replica
	truth    *protocol.Set // of all control events: who checks them
	said     map[protocol.ID]protocol.Verified
	loss     int // of a hundred gossip messages
	burst    int // what somebody says at once, at most
	healed   bool

	wrong []string
	tally Tally
}

// Tally is how much happened.
type Tally struct {
	Replicas, Control, Messages, Kills, Forgotten, Sessions, Cut, Rounds, Bytes int
}

// Add sums up.
func (t *Tally) Add(o Tally) {
	t.Replicas += o.Replicas
	t.Control += o.Control
	t.Messages += o.Messages
	t.Kills += o.Kills
	t.Forgotten += o.Forgotten
	t.Sessions += o.Sessions
	t.Cut += o.Cut
	t.Rounds += o.Rounds
	t.Bytes += o.Bytes
}

// String is one line.
func (t Tally) String() string {
	return fmt.Sprintf("%d replicas, %d control events, %d messages, %d kills that cost %d events, %d sessions of which %d were cut, %d rounds, %d MB compared",
		t.Replicas, t.Control, t.Messages, t.Kills, t.Forgotten, t.Sessions, t.Cut, t.Rounds, t.Bytes>>20)
}

func (w *world) fail(format string, args ...any) {
	if len(w.wrong) < 20 {
		w.wrong = append(w.wrong, fmt.Sprintf(format, args...))
	}
}

func (w *world) chance(percent int) bool { return w.dice.IntN(100) < percent }

func pick[T any](w *world, list []T) T { return list[w.dice.IntN(len(list))] }

func (w *world) secret() protocol.Secret {
	s, err := protocol.NewSecret(w.random)
	if err != nil {
		panic(err) // ChaCha8 does not fail
	}
	return s
}

// Check runs the world of a seed and returns what is wrong about it.
func Check(seed uint64) ([]string, Tally) {
	w := found(seed)
	for range 40 + w.dice.IntN(80) {
		w.step()
	}
	w.heal()
	w.judge()
	w.tally.Replicas, w.tally.Control, w.tally.Messages = len(w.replicas), w.truth.Len(), len(w.said)
	return w.wrong, w.tally
}

// found makes the group and lets the first members in.
func found(seed uint64) *world {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	w := &world{dice: sim.Seeded(seed), random: rand.NewChaCha8(key), now: 1_800_000_000_000, said: make(map[protocol.ID]protocol.Verified)}
	salt := w.secret()
	if w.burst = 6; seed%16 == 0 { // enough that comparisons take several rounds
		w.burst = 80
	}
	first := w.newReplica(protocol.ID(salt))
	g := &protocol.Genesis{Salt: salt, History: protocol.HistoryAll, Founders: []protocol.Cert{first.id.Cert()}}
	v, err := protocol.Draft{Kind: protocol.KindGenesis, Prev: first.ctl, HLC: first.hlc()}.SignControl(g, nil, nil, first.id.Signer(), w.random)
	if err != nil {
		panic(err)
	}
	w.group, w.truth = v.ID(), protocol.NewSet(v.ID())
	if err := w.truth.Add(v); err != nil {
		panic(err)
	}
	e := w.secret()
	if w.epoch, err = protocol.NewEpoch(w.group, protocol.EpochID(w.group, first.id.Dev(), 2, e), first.id.Dev(), 2, e); err != nil {
		panic(err)
	}
	first.begin(v)
	first.ctl = v.Tip()
	for range 2 + w.dice.IntN(3) {
		first.admit()
	}
	return w
}

// step lets some time pass and somebody do something.
func (w *world) step() {
	w.now += uint64(w.dice.IntN(int(2 * 3600 * second)))
	r := pick(w, w.replicas)
	switch x := w.dice.IntN(100); {
	case x < 6: // parts
		for _, r := range w.replicas {
			r.side = w.dice.IntN(1 + w.dice.IntN(3))
		}
	case x < 9: // whole
		for _, r := range w.replicas {
			r.side = 0
		}
	case x < 12:
		w.loss = w.dice.IntN(100)
	case x < 17:
		r.kill()
	case x < 20:
		r.skew = w.skew()
	case x < 24:
		r.asleep = !r.asleep
	case x < 55:
		w.meet(r, pick(w, w.replicas))
	case r.asleep:
	case x < 80:
		for range 1 + w.dice.IntN(w.burst) {
			r.say()
		}
	default:
		r.act()
	}
	for _, r := range w.replicas {
		r.listen()
	}
}

// skew is how far a clock is off.
func (w *world) skew() int64 {
	if w.chance(40) {
		return 0
	}
	return int64(w.dice.IntN(int(2*day))) - int64(day)
}

// gossip tells those in reach, or most of them, in whatever order.
func (w *world) gossip(from *replica, v protocol.Verified) {
	for _, r := range w.replicas {
		if r != from && r.reaches(from) && !w.chance(w.loss) {
			r.inbox = slices.Insert(r.inbox, w.dice.IntN(len(r.inbox)+1), v)
		}
	}
}

// meet has two replicas compare, if they reach each other.
func (w *world) meet(a, b *replica) {
	if a.reaches(b) {
		w.pull(a, b)
		w.pull(b, a)
	}
}

// heal brings everybody together until nobody has anything new. Whoever belongs, belongs
// in the founder's view, who cannot be sent away.
func (w *world) heal() {
	w.healed = true
	for _, r := range w.replicas {
		r.asleep, r.side, r.inbox = false, 0, nil
	}
	for range 2 * len(w.replicas) {
		before := w.held()
		for _, r := range w.replicas[1:] {
			w.meet(w.replicas[0], r)
		}
		if w.held() == before {
			return
		}
	}
	w.fail("there is always something new")
}

func (w *world) held() (sum int) {
	for _, r := range w.replicas {
		sum += len(r.log)
	}
	return sum
}
