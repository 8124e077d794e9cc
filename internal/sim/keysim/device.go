package keysim

import (
	"time"

	"github.com/p2pchat/p2pchat/protocol"
)

// device is what one installation holds.
type device struct {
	w        *world
	n        int
	p        *person
	id       protocol.Identity
	clock    protocol.Clock
	from, to int64 // how far its clock is off, at first and in the end
	side     int   // of the part it is in
	asleep   uint64

	set     *protocol.Set // nil before it joins
	roster  *protocol.Roster
	keys    *protocol.Keyring
	ctl     protocol.Tip
	msg     protocol.Tip
	records map[protocol.Key]protocol.VerifiedRecord
	prekeys map[uint64]*prekey      // by week
	names   map[protocol.ID]*prekey // by what wraps call them; also those that were given up
	held    bits                    // events, by number
	chunks  bits                    // likewise
	loose   []protocol.Verified     // events that wait for what they cite
	locked  []int                   // rekeys whose epoch is not open, by number
	heard   bits                    // messages, by number

	// What the checks ask about.
	turn    int                    // counts what this device took in
	came    []int                  // by event number, the turn in which it came; 0 if it has not
	counted []int                  // by device, the last turn after which it was a current member's
	got     []protocol.EpochSecret // every secret that was handed to it, whoever did
}

// prekey is the private half of what a device offers to wrappers.
type prekey struct {
	week uint64
	seed protocol.Secret
	id   protocol.ID
	real protocol.Prekey // where HPKE is done
}

// begin makes the device's copy of the group.
func (d *device) begin(genesis protocol.Verified) {
	d.set, d.keys = protocol.NewSet(d.w.group), protocol.NewKeyring(d.w.group, d.p.root())
	if err := d.set.Restore(genesis); err != nil {
		panic(err)
	}
	if genesis.Header().Dev == d.id.Dev() {
		d.ctl = genesis.Tip()
	}
	d.roster = protocol.Eval(d.set)
	d.held.put(0)
	d.turn = 1
	d.arrived(0)
}

// time is what the device's clock says.
func (d *device) time() time.Time { return time.UnixMilli(int64(d.millis())) }

func (d *device) millis() uint64 {
	passed := int64(d.w.now - d.w.begun)
	whole := int64(d.w.days+10) * int64(day)
	return uint64(int64(d.w.now) + d.from + (d.to-d.from)/1000*min(1000, passed*1000/whole))
}

// standing is the place of the device's owner in its own view.
func (d *device) standing() (protocol.Standing, bool) {
	if d.set == nil {
		return protocol.Standing{Rank: protocol.NoRank}, false
	}
	me, ok := d.roster.Owner(d.id.Dev())
	return me, ok && me.Rank < protocol.Relay
}

// counts says whether another device is a current member's in this one's view.
func (d *device) counts(o *device) bool {
	owner, ok := d.roster.Owner(o.id.Dev())
	return ok && owner.Rank < protocol.Relay
}

func (d *device) awake() bool { return d.w.now >= d.asleep }

// meets says whether two devices can reach each other now.
func (d *device) meets(o *device) bool {
	return d != o && d.awake() && o.awake() && (d.w.now >= d.w.split || d.side == o.side)
}

// take brings the device up to date with what it took in. Every event is in some
// order; those that cite others wait.
func (d *device) take(events []protocol.Verified) {
	before := d.set.Len()
	d.loose = append(d.loose, events...)
	for again := true; again; {
		again = false
		rest := d.loose[:0]
		for _, v := range d.loose {
			if d.set.Has(v.ID()) {
				continue
			}
			err := d.set.Restore(v)
			switch {
			case missing(err):
				rest = append(rest, v)
				continue
			case err != nil:
				d.w.fail("%s refuses %s: %v", d.name(), v.Header().Kind, err)
				continue
			}
			again = true
			d.arrived(d.w.number[v.ID()])
			d.clock.Observe(v.Header().HLC, d.time())
		}
		d.loose = rest
	}
	if d.set.Len() != before {
		d.settle()
	}
}

// settle draws the consequences of new events.
func (d *device) settle() {
	d.roster.Extend()
	d.opened(d.keys.Open(d.set))
	d.openChunks()
	d.notice()
	d.turn++
}

// arrived notes that an event is in the set.
func (d *device) arrived(n int) {
	for len(d.came) <= n {
		d.came = append(d.came, 0)
	}
	d.came[n] = d.turn
	d.held.put(n)
	if d.w.events[n].Header().Kind == protocol.KindRekey {
		d.locked = append(d.locked, n)
	}
}

// since returns the turn in which an event came.
func (d *device) since(n int) (turn int, ok bool) {
	if n >= len(d.came) || d.came[n] == 0 {
		return 0, false
	}
	return d.came[n], true
}

// notice notes who is a current member.
func (d *device) notice() {
	for len(d.counted) < len(d.w.devices) {
		d.counted = append(d.counted, -1)
	}
	for i, o := range d.w.devices {
		if d.counts(o) {
			d.counted[i] = d.turn
		}
	}
}

// bits is a set of small numbers.
type bits []uint64

func (b bits) has(i int) bool { return i/64 < len(b) && b[i/64]&(1<<(i%64)) != 0 }

func (b *bits) put(i int) {
	for i/64 >= len(*b) {
		*b = append(*b, 0)
	}
	(*b)[i/64] |= 1 << (i % 64)
}

// lacks returns what is in one and not in the other.
func (b bits) lacks(o bits) (out []int) {
	for k, word := range b {
		if k < len(o) {
			word &^= o[k]
		}
		for i := 0; word != 0; i, word = i+1, word>>1 {
			if word&1 != 0 {
				out = append(out, k*64+i)
			}
		}
	}
	return out
}
