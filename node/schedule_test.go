package node_test

import (
	"context"
	crand "crypto/rand"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"

	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

// Groups of five to eight real nodes live in virtual time through random schedules:
// the network is cut and loses packets, nodes restart, clocks are a day off, people
// join, go, are banned, promoted and muted, keys are rotated, and everybody talks.
// When all is well again, all who belong hold the same roster and the same lines in
// the same order, nothing said by who was always in is lost, and everything can be
// read.
//
// The schedule follows from its seed; how goroutines and packets interleave does not.
// P2PCHAT_SEED runs one, P2PCHAT_SCHEDULES says how many from there, P2PCHAT_RESULTS names a file
// for the result.
func TestRandomSchedulesConverge(t *testing.T) {
	from, count := uint64(0), uint64(20)
	if testing.Short() {
		count = 3
	}
	if text := os.Getenv("P2PCHAT_SEED"); text != "" {
		from, count = parse(t, text), 1
	}
	if text := os.Getenv("P2PCHAT_SCHEDULES"); text != "" {
		count = parse(t, text)
	}
	var sum scheduleTally
	began, failed := time.Now(), 0
	for seed := from; seed < from+count; seed++ {
		if !t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { sum.add(runSchedule(t, seed)) })
		}) {
			failed++
		}
	}
	report := fmt.Sprintf("seeds %d to %d: %d schedules, %d failed; %s; %.0f s\n", from, from+count-1, count, failed, sum, time.Since(began).Seconds())
	t.Log(report)
	if name := os.Getenv("P2PCHAT_RESULTS"); name != "" {
		if err := os.WriteFile(name, []byte(report), 0o644); err != nil {
			t.Error(err)
		}
	}
}

func parse(t *testing.T, text string) uint64 {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// scheduleTally sums up what happened.
type scheduleTally struct {
	nodes, steps, acts, said, lines int
	virtual                         time.Duration
}

func (s *scheduleTally) add(o scheduleTally) {
	s.nodes += o.nodes
	s.steps += o.steps
	s.acts += o.acts
	s.said += o.said
	s.lines += o.lines
	s.virtual += o.virtual
}

func (s scheduleTally) String() string {
	return fmt.Sprintf("%d nodes, %d steps, %d acts that took effect, %d messages sent, %d lines compared, %s of virtual time",
		s.nodes, s.steps, s.acts, s.said, s.lines, s.virtual.Round(time.Minute))
}

// A step is something that happens.
type step struct {
	after time.Duration
	what  string
	who   int
	whom  int
	count int
}

func (s step) String() string {
	return fmt.Sprintf("+%.1fs %s %d %d %d", s.after.Seconds(), s.what, s.who, s.whom, s.count)
}

// what happens, and how often of 100 times.
var happenings = []struct {
	what   string
	weight int
}{
	{"send", 40},
	{"sleep", 7},
	{"wake", 9},
	{"cut", 6},
	{"heal", 4},
	{"lossy", 4},
	{"clock", 3},
	{"join", 7},
	{"role", 4},
	{"ban", 3},
	{"kick", 2},
	{"unban", 3},
	{"mute", 2},
	{"unmute", 1},
	{"leave", 1},
	{"rotate", 2},
	{"retract", 1},
	{"announce", 1},
}

// schedule makes steps for a number of people from a seed. What becomes of a step has
// no part in what follows.
func schedule(rng *rand.Rand, people int) []step {
	var all []string
	for _, h := range happenings {
		all = append(all, slices.Repeat([]string{h.what}, h.weight)...)
	}
	var out []step
	for range 40 + rng.IntN(40) {
		s := step{
			after: time.Duration(rng.IntN(1+[]int{200, 2000, 40_000}[rng.IntN(3)])) * time.Millisecond,
			what:  all[rng.IntN(len(all))], who: rng.IntN(people), whom: rng.IntN(people), count: rng.IntN(100),
		}
		switch s.what {
		case "role", "ban", "kick", "unban", "mute", "unmute", "announce":
			s.who = rng.IntN(3) // of the staff
		}
		out = append(out, s)
	}
	return out
}

// A citizen is a person with a host and a clock of their own.
type citizen struct {
	*person
	*clock
	at      byte
	key     crypto.PrivKey
	host    host.Host
	said    []string // what Send returned for
	doubted bool     // some of it need not count
}

func (c *citizen) wake(w *internet) {
	if c.Node != nil {
		return
	}
	c.host = w.host(c.at, c.key)
	c.cfg.Host = c.host
	c.person.wake()
}

func (c *citizen) sleep() {
	if c.Node == nil {
		return
	}
	c.person.sleep()
	if err := c.host.Close(); err != nil {
		c.t.Error(err)
	}
}

// A city is the people of one schedule.
type city struct {
	t      *testing.T
	net    *internet
	rng    *rand.Rand
	people []*citizen
	club   protocol.ID
	link   string
	sum    scheduleTally
	joins  sync.WaitGroup
	trace  []string
}

func runSchedule(t *testing.T, seed uint64) scheduleTally {
	rng := rand.New(rand.NewPCG(seed, 5))
	c := &city{t: t, rng: rng, net: newInternet(t, rand.New(rand.NewPCG(seed, 6)))}
	began := time.Now()
	for i := range 5 + rng.IntN(4) {
		c.settle(i)
	}
	steps := schedule(rng, len(c.people))
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("P2PCHAT_SEED=%d\n%s", seed, strings.Join(c.trace, "\n"))
		}
	})
	c.found()
	for _, s := range steps {
		time.Sleep(s.after)
		err := c.step(s)
		c.trace = append(c.trace, fmt.Sprintf("%8.1fs %s: %v", time.Since(began).Seconds(), s, err))
	}
	c.joins.Wait()
	c.mend()
	c.sum.nodes, c.sum.steps, c.sum.virtual = len(c.people), len(steps), time.Since(began)
	return c.sum
}

func (c *city) settle(i int) {
	key, _, err := crypto.GenerateEd25519Key(crand.Reader)
	if err != nil {
		c.t.Fatal(err)
	}
	account, err := protocol.NewAccount(newRandom())
	if err != nil {
		c.t.Fatal(err)
	}
	p := &citizen{clock: new(clock), at: byte(i + 1), key: key}
	p.person = &person{t: c.t, cfg: node.Config{
		Account: account, Name: fmt.Sprintf("P%d", i), Datastore: storage.NewMemory(), GossipRate: 3, DisableMDNS: true,
	}}
	node.WithClock(&p.cfg, p.now)
	if c.rng.IntN(3) == 0 {
		p.forward(c.skew())
	}
	p.wake(c.net)
	c.t.Cleanup(p.sleep)
	c.people = append(c.people, p)
}

// skew is up to a day, either way.
func (c *city) skew() time.Duration {
	return time.Duration(c.rng.IntN(48*3600)-24*3600) * time.Second
}

// found starts the group: half of the people are in, and two have a role.
func (c *city) found() {
	c.club = c.people[0].create("club")
	c.link = c.people[0].invite(c.club, node.InviteOptions{Expiry: 1000 * time.Hour})
	first := c.people[1 : 1+len(c.people)/2]
	for _, p := range first {
		p.join(c.link)
	}
	for i, rank := range []protocol.Rank{protocol.Admin, protocol.Moderator} {
		if _, err := c.people[0].SetRole(ctx(c.t), c.club, c.people[i+1].cfg.Name, rank, ""); err != nil {
			c.t.Fatal(err)
		}
	}
	for _, p := range c.people[:1+len(first)] {
		if err := p.WaitSync(ctx(c.t), c.club); err != nil {
			c.t.Fatal(err)
		}
	}
}

// step does what a step says, if it can be done.
func (c *city) step(s step) error {
	switch s.what {
	case "cut":
		side := make(map[byte]int)
		for _, p := range c.people {
			side[p.at] = c.rng.IntN(2 + s.count%2)
		}
		c.net.set(side, 0)
		return nil
	case "heal":
		c.net.set(nil, 0)
		return nil
	case "lossy":
		c.net.set(nil, float64(s.count%30)/100)
		return nil
	}
	p, q := c.people[s.who], c.people[s.whom]
	if skew := c.skew(); s.what == "clock" {
		p.ahead.Store(int64(skew))
		return nil
	}
	if s.what == "wake" {
		p.wake(c.net)
		return nil
	}
	if p.Node == nil {
		return node.ErrClosed
	}
	return c.deed(s, p, q)
}

// deed is something that who is awake does.
func (c *city) deed(s step, p, q *citizen) (err error) {
	defer func() {
		if err == nil {
			c.sum.acts++
		}
	}()
	name, now := q.cfg.Name, ctx(c.t)
	against := true // what the other one said may not count from here on
	switch s.what {
	case "send":
		return c.talk(p, 1+s.count%8)
	case "sleep":
		p.sleep()
		return nil
	case "join":
		c.join(p)
		return nil
	case "rotate":
		return p.Rotate(now, c.club, s.count%2 == 0, nil)
	case "retract":
		return c.retract(p)
	case "leave":
		if q = p; s.who == 0 {
			return node.ErrNotAllowed
		}
		_, err = p.Leave(now, c.club)
	case "ban", "kick":
		_, err = p.Expel(now, c.club, name, node.ExpelOptions{Kick: s.what == "kick"})
	case "mute":
		_, err = p.Mute(now, c.club, name, node.MuteOptions{})
	case "role":
		_, err = p.SetRole(now, c.club, name, []protocol.Rank{protocol.Admin, protocol.Moderator, protocol.Greeter, protocol.Member}[s.count%4], "")
	case "announce":
		on := s.count%3 > 0
		_, err = p.Set(now, c.club, node.Settings{Announce: &on})
		for _, r := range c.people {
			r.doubted = r.doubted || err == nil
		}
	case "unban":
		against = false
		_, err = p.Unban(now, c.club, name, "")
	case "unmute":
		against = false
		_, err = p.Unmute(now, c.club, name, "")
	}
	if against && err == nil {
		q.doubted = true
		for _, late := range c.people[1+len(c.people)/2:] {
			late.doubted = true // whoever admitted them may have been out
		}
	}
	return err
}

func (c *city) talk(p *citizen, count int) error {
	for range count {
		text := fmt.Sprintf("%s %d", p.cfg.Name, len(p.said)+1)
		if _, err := p.Send(ctx(c.t), c.club, text); err != nil {
			return err
		}
		p.said = append(p.said, text)
		c.sum.said++
	}
	return nil
}

// retract takes back what p said first of what can be seen.
func (c *city) retract(p *citizen) error {
	lines, _, err := p.Last(ctx(c.t), c.club, 0)
	if err != nil {
		return err
	}
	for _, m := range lines {
		if m.Kind == "text" && m.Text != "" && m.From.Name == p.cfg.Name {
			_, err = p.Retract(ctx(c.t), c.club, m.ID, "")
			if err == nil {
				p.said = slices.DeleteFunc(p.said, func(s string) bool { return s == m.Text })
			}
			return err
		}
	}
	return node.ErrUnknownMessage
}

// join has somebody try to join for a while, beside everything else.
func (c *city) join(p *citizen) {
	n := p.Node
	c.joins.Go(func() {
		some, cancel := context.WithTimeout(c.t.Context(), 30*time.Second)
		defer cancel()
		_, _ = n.Join(some, c.link) // with a network in parts it may well fail
	})
}

// mended is how long a group may take until all agree, once everything works: peers
// are dialled less and less often while they are away.
const mended = 20 * time.Minute

// mend heals the network, wakes everybody, and waits until all agree.
func (c *city) mend() {
	c.net.set(nil, 0)
	for _, p := range c.people {
		p.wake(c.net)
	}
	var wrong []string
	pause := time.Second
	for end := time.Now().Add(mended); time.Now().Before(end); pause = min(pause*3/2, time.Minute) {
		time.Sleep(pause)
		if wrong = c.differences(); len(wrong) == 0 {
			break
		}
	}
	for _, w := range wrong {
		c.t.Error(w)
	}
}

// differences says what is not as it has to be among those who belong.
func (c *city) differences() (wrong []string) {
	ana := c.people[0]
	roster, lines := c.rosterOf(ana), c.linesOf(ana)
	c.sum.lines = 0
	for _, p := range c.people {
		if !c.belongs(ana, p) {
			continue
		}
		if _, err := p.Group(c.club); err != nil { // admitted, and asleep before the answer came
			if _, err := p.Join(ctx(c.t), c.link); err != nil {
				wrong = append(wrong, fmt.Sprintf("%s belongs and does not get in: %v", p.cfg.Name, err))
			}
			continue
		}
		if got := c.rosterOf(p); !slices.Equal(got, roster) {
			wrong = append(wrong, fmt.Sprintf("%s sees the roster %q, %s sees %q", p.cfg.Name, got, ana.cfg.Name, roster))
		}
		got := c.linesOf(p)
		if c.sum.lines += len(got); !slices.Equal(got, lines) {
			wrong = append(wrong, fmt.Sprintf("%s and %s differ: %s", p.cfg.Name, ana.cfg.Name, firstDifference(got, lines)))
		}
		for _, l := range got {
			if strings.Contains(l, "unreadable") {
				wrong = append(wrong, fmt.Sprintf("%s cannot read %s", p.cfg.Name, l))
			}
		}
	}
	return append(wrong, c.lost(lines)...)
}

// lost says which texts are not there that nothing speaks against, or not in the order
// in which they were said.
func (c *city) lost(lines []string) (wrong []string) {
	for _, p := range c.people {
		var read []string
		for _, l := range lines {
			if text, ok := strings.CutPrefix(l, "text "+p.cfg.Name+": "); ok && text != "" {
				read = append(read, text)
			}
		}
		if !p.doubted && !slices.Equal(read, p.said) {
			wrong = append(wrong, fmt.Sprintf("of %s is read %q, and said was %q", p.cfg.Name, read, p.said))
		}
	}
	return wrong
}

func (c *city) belongs(ana, p *citizen) bool {
	members, err := ana.Members(c.club)
	if err != nil {
		c.t.Fatal(err)
	}
	return slices.ContainsFunc(members, func(m node.Member) bool { return m.Name == p.cfg.Name })
}

func (c *city) rosterOf(p *citizen) (out []string) {
	members, err := p.Members(c.club)
	if err != nil {
		return []string{err.Error()}
	}
	former, err := p.Former(c.club)
	if err != nil {
		return []string{err.Error()}
	}
	for _, m := range slices.Concat(members, former) {
		out = append(out, fmt.Sprintf("%s %s %x muted=%t", m.Name, m.Rank, m.Key[:4], m.Muted))
	}
	return out
}

// linesOf returns what somebody reads, without what only they see.
func (c *city) linesOf(p *citizen) (out []string) {
	lines, _, err := p.Last(ctx(c.t), c.club, 0)
	if err != nil {
		return []string{err.Error()}
	}
	for _, m := range lines {
		if m.Hidden != "" {
			continue
		}
		l := fmt.Sprintf("%s %s: %s", m.Kind, m.From.Name, m.Text)
		switch {
		case m.Retracted:
			l = fmt.Sprintf("retracted %s %s", m.From.Name, m.ID)
		case m.Unreadable != "":
			l += fmt.Sprintf("unreadable (%s) %s", m.Unreadable, m.ID)
		}
		if m.Undone {
			l = "undone " + l
		}
		out = append(out, l)
	}
	return out
}

func firstDifference(got, want []string) string {
	for i := range max(len(got), len(want)) {
		a, b := "nothing", "nothing"
		if i < len(got) {
			a = got[i]
		}
		if i < len(want) {
			b = want[i]
		}
		if a != b {
			return fmt.Sprintf("%d and %d lines; at %d %q and %q", len(got), len(want), i, a, b)
		}
	}
	return ""
}
