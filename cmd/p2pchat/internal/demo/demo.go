// Package demo tells a short story with real parts: three nodes with their own
// profiles on disk, real connections over loopback, one that goes away and comes
// back. What it prints it has read from the nodes; where they do not agree it fails.
package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/profile"
	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage/disk"
)

// patience bounds each step: seconds on a slow machine, and an error instead of a
// demo that hangs.
const patience = 30 * time.Second

// Run tells the story to w. It keeps everything in a temporary folder that is gone
// when it returns.
func Run(ctx context.Context, w io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "p2pchat-demo-")
	if err != nil {
		return err
	}
	s := &story{ctx: ctx, w: w, dir: dir}
	defer func() {
		err = errors.Join(err, s.end(), os.RemoveAll(dir))
	}()
	return s.tell()
}

type story struct {
	ctx    context.Context
	w      io.Writer
	dir    string
	people []*person
	group  protocol.ID
	start  time.Time
}

// person is somebody with a profile of their own.
type person struct {
	name    string
	home    string
	account protocol.Account
	store   *disk.Store
	node    *node.Node // nil while away
}

func (s *story) say(format string, args ...any) { _, _ = fmt.Fprintf(s.w, format+"\n", args...) }

func (s *story) tell() error {
	s.start = time.Now()
	s.say("Three people on this machine, each with a profile and a node of their own,")
	s.say("talk over real connections on loopback. There is no server.\n")
	for _, step := range []func() error{s.gather, s.talk, s.part, s.goOn, s.comeBack, s.compare} {
		if err := step(); err != nil {
			return err
		}
	}
	s.say("\nThat was real networking, encryption and storage, in %.1f s. Nothing is left behind.", time.Since(s.start).Seconds())
	s.say("Next: p2pchat init --name YOU")
	return nil
}

func (s *story) gather() error {
	for _, name := range []string{"Ana", "Bo", "Cleo"} {
		p, err := s.newcomer(name)
		if err != nil {
			return err
		}
		s.people = append(s.people, p)
	}
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	ana := s.people[0]
	var err error
	if s.group, err = ana.node.CreateGroup(ctx, "Hiking club"); err != nil {
		return err
	}
	s.say("1. Ana creates the group %q and invites Bo and Cleo.", "Hiking club")
	link, err := ana.node.Invite(ctx, s.group, node.InviteOptions{})
	if err != nil {
		return err
	}
	s.say("   The link they get: %s…", link[:48])
	for _, p := range s.people[1:] {
		if _, err := p.node.Join(ctx, link); err != nil {
			return fmt.Errorf("%s joins: %w", p.name, err)
		}
		s.say("   %s joined.", p.name)
	}
	return nil
}

func (s *story) talk() error {
	s.say("\n2. They talk. Every message is sealed for the group, signed, and stored before it is shown.")
	return s.lines(
		line{0, "Saturday, the ridge? The forecast is good."},
		line{1, "I am in. Who has the map?"},
		line{2, "Me. I bring soup, too."},
	)
}

func (s *story) part() error {
	s.say("\n3. Cleo's laptop goes to sleep. Ana and Bo go on without her.")
	return s.people[2].leave()
}

func (s *story) goOn() error {
	return s.lines(
		line{0, "Change of plan: we meet at 7, at the north car park."},
		line{1, "Noted. Bus 12 gets there at 6:50."},
	)
}

func (s *story) comeBack() error {
	cleo := s.people[2]
	if err := s.wake(cleo); err != nil {
		return err
	}
	s.say("\n4. Cleo is back. What she missed comes from whoever has it:")
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	missed := s.texts(s.people[0])[3:]
	for _, text := range missed {
		if err := cleo.await(ctx, s.group, text); err != nil {
			return err
		}
	}
	all, err := cleo.history(ctx, s.group)
	if err != nil {
		return err
	}
	for _, m := range all[max(0, len(all)-len(missed)):] {
		s.say("   %5s sees  %s: %s", cleo.name, m.From.Name, m.Text)
	}
	return s.lines(line{2, "Thank you both, north car park at 7 it is!"})
}

// compare reads all three histories and fails if they differ in anything.
func (s *story) compare() error {
	first := s.texts(s.people[0])
	for _, p := range s.people[1:] {
		if other := s.texts(p); !slices.Equal(first, other) {
			return fmt.Errorf("%s has %q where %s has %q", p.name, other, s.people[0].name, first)
		}
	}
	s.say("\n5. All three hold the same %d messages in the same order.", len(first))
	return nil
}

// line is who says what.
type line struct {
	who  int
	text string
}

// lines has people speak in turn, and waits each time until everybody who is there
// has it on their own disk.
func (s *story) lines(lines ...line) error {
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	for _, l := range lines {
		p := s.people[l.who]
		if _, err := p.node.Send(ctx, s.group, l.text); err != nil {
			return fmt.Errorf("%s sends: %w", p.name, err)
		}
		for _, other := range s.people {
			if other.node == nil {
				continue
			}
			if err := other.await(ctx, s.group, l.text); err != nil {
				return err
			}
		}
		s.say("   %5s: %s", p.name, l.text)
	}
	return nil
}

// texts returns what a person reads, in the order they read it.
func (s *story) texts(p *person) []string {
	all, err := p.history(s.ctx, s.group)
	if err != nil {
		return []string{err.Error()}
	}
	var out []string
	for _, m := range all {
		out = append(out, m.Text)
	}
	return out
}

func (s *story) newcomer(name string) (*person, error) {
	account, err := protocol.NewAccount(rand.Reader)
	if err != nil {
		return nil, err
	}
	p := &person{name: name, home: filepath.Join(s.dir, name), account: account}
	if err := os.Mkdir(p.home, 0o700); err != nil {
		return nil, err
	}
	return p, s.wake(p)
}

// wake starts a person's node on the profile they have.
func (s *story) wake(p *person) error {
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	var err error
	if p.store, err = profile.OpenStore(p.home, disk.Options{}); err != nil {
		return err
	}
	p.node, err = node.New(ctx, node.Config{
		Account: p.account, Name: p.name, Datastore: p.store,
		Listen: []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"}, DisableMDNS: true,
	})
	return err
}

// leave stops a person's node and closes the store.
func (p *person) leave() error {
	if p.store == nil {
		return nil
	}
	var err error
	if p.node != nil {
		err = p.node.Close()
	}
	err = errors.Join(err, p.store.Close())
	p.node, p.store = nil, nil
	return err
}

func (s *story) end() error {
	var errs []error
	for _, p := range s.people {
		errs = append(errs, p.leave())
	}
	return errors.Join(errs...)
}

// await waits until a text is in a person's history.
func (p *person) await(ctx context.Context, group protocol.ID, text string) error {
	for m, err := range p.node.Follow(ctx, group, 0) {
		if err != nil {
			return err
		}
		if m.Text == text {
			return nil
		}
	}
	return fmt.Errorf("%s waited %s for %q in vain", p.name, patience, text)
}

func (p *person) history(ctx context.Context, group protocol.ID) ([]node.Message, error) {
	all, _, err := p.node.Last(ctx, group, 0)
	return slices.DeleteFunc(all, func(m node.Message) bool { return m.Kind != protocol.KindText.String() }), err
}
