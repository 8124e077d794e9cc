package protocol

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// fixed is a random source that says the same at every run.
func fixed(name string) io.Reader { return rand.NewChaCha8(sha256.Sum256([]byte(name))) }

// secretOf is a secret that everybody can compute again.
func secretOf(name string) Secret { return sha256.Sum256([]byte("p2pchat test " + name)) }

// actor is somebody in a story: an account, an identity in the world's group, and
// the ends of the device's chains.
type actor struct {
	name     string
	account  Account
	id       Identity
	ctl, msg Tip
	auth     ID // the grant it acts under
}

func (a *actor) root() Key { return a.id.Root() }
func (a *actor) dev() Key  { return a.id.Dev() }

// second returns a further device of the same person.
func (a *actor) second(group ID) *actor {
	acct := Account{Seed: a.account.Seed, Device: secretOf(a.name + " second device")}
	b := &actor{name: a.name + "2", account: acct, auth: a.auth}
	b.become(acct.Identity(group))
	b.id.root = a.id.root // a founder's root stays the one that the salt derives
	return b
}

func (a *actor) become(id Identity) {
	a.id = id
	a.ctl = Tip{Dev: id.Dev(), Chain: Control}
	a.msg = Tip{Dev: id.Dev(), Chain: Messages}
}

// world is a group in a test: all of its control events so far are in set.
type world struct {
	t       testing.TB
	random  io.Reader
	group   ID
	genesis Verified
	set     *Set
	hlc     uint64
	events  []Verified // in the order in which they were made, the bad ones too
	ana     *actor     // the founder who signed the genesis
	all     map[string]*actor
	epoch   *Epoch
	names   map[string]Verified // of a story
}

func account(name string) Account {
	return Account{Seed: secretOf(name + " seed"), Device: secretOf(name + " device")}
}

// newWorld starts a group whose founders are ana and others.
func newWorld(t testing.TB, others ...string) *world {
	t.Helper()
	w := &world{t: t, random: fixed("world"), hlc: 1_800_000_000_000, all: map[string]*actor{}, names: map[string]Verified{}}
	salt := secretOf("salt")
	g := &Genesis{Salt: salt, History: HistoryAll}
	for _, name := range append([]string{"ana"}, others...) {
		a := &actor{name: name, account: account(name)}
		a.become(a.account.Identity(salt))
		g.Founders = append(g.Founders, a.id.Cert())
		w.all[name] = a
	}
	slices.SortFunc(g.Founders, func(a, b Cert) int { return a.Root.Compare(b.Root) })
	w.ana = w.all["ana"]
	v, err := Draft{Kind: KindGenesis, Prev: w.ana.ctl, HLC: w.hlc}.SignControl(g, nil, nil, w.ana.id.Signer(), w.random)
	w.must(err)
	w.genesis, w.group, w.set = v, v.ID(), NewSet(v.ID())
	w.ana.ctl = v.Tip()
	for _, a := range w.all {
		a.auth = v.ID()
	}
	w.must(w.set.Add(v))
	w.events = append(w.events, v)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// someone is a person of the world, who may not have joined yet.
func (w *world) someone(name string) *actor {
	if a := w.all[name]; a != nil {
		return a
	}
	a := &actor{name: name, account: account(name)}
	a.become(a.account.Identity(w.group))
	w.all[name] = a
	return a
}

// write signs a control event by a that cites refs, or the heads of the set where
// there are none, and does not add it anywhere.
func (w *world) write(a *actor, k Kind, c Clear, refs ...ID) Verified {
	w.t.Helper()
	if len(refs) == 0 {
		refs = w.set.Heads(MaxControlRefs, a.auth)
	}
	w.hlc++
	v, err := Draft{Group: w.group, Kind: k, Prev: a.ctl, Refs: refs, Auth: a.auth, HLC: w.hlc}.SignControl(c, nil, nil, a.id.Signer(), w.random)
	w.must(err)
	a.ctl = v.Tip()
	w.events = append(w.events, v)
	return v
}

// act writes an event that must be allowed.
func (w *world) act(a *actor, k Kind, c Clear, refs ...ID) Verified {
	w.t.Helper()
	v := w.write(a, k, c, refs...)
	w.must(w.set.Add(v))
	return v
}

// refuse writes an event that must not be allowed, for a reason that says why.
func (w *world) refuse(why string, a *actor, k Kind, c Clear, refs ...ID) Verified {
	w.t.Helper()
	before := a.ctl
	v := w.write(a, k, c, refs...)
	w.refused(why, v)
	a.ctl = before
	return v
}

func (w *world) refused(why string, v Verified) {
	w.t.Helper()
	err := w.set.Add(v)
	if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), why) {
		w.t.Fatalf("%s: got %v, want %v because of %q", v.Header().Kind, err, ErrInvalid, why)
	}
	if w.set.Has(v.ID()) {
		w.t.Fatal("a refused event is in the set")
	}
}

func (w *world) link(name string) Link { return Link{Group: w.group, Seed: secretOf("link " + name)} }

// invite writes an invite to a rank.
func (w *world) invite(by *actor, name string, r Rank, refs ...ID) (Link, ID) {
	w.t.Helper()
	l := w.link(name)
	return l, w.act(by, KindInvite, &Invite{Key: l.PublicKey(), Rank: r}, refs...).ID()
}

// request is a join request with a fixed key for the welcome.
func (w *world) request(l Link, who *actor, name string) (JoinRequest, BoxKey) {
	w.t.Helper()
	box, err := DeriveBoxKey(true, secretOf(who.name+" box"))
	w.must(err)
	r := JoinRequest{V: Version, Invite: l.PublicKey(), Cert: who.id.Cert(), Box: box.Public(), Name: name}
	_, err = io.ReadFull(w.random, r.Proof.Nonce[:])
	w.must(err)
	pre := joinPreimage(l.Group, r.Invite, r.Cert.Root, r.Cert.Dev, r.Proof.Nonce)
	r.Proof.RootSig, r.Proof.DevSig, r.Proof.InviteSig = sign(who.id.root, pre), sign(who.id.dev, pre), sign(l.InviteKey(), pre)
	r.Sig = sign(who.id.dev, r.preimage(l.Group))
	return r, box
}

// admission is the grant that answers a request.
func (w *world) admission(l Link, invite ID, who *actor, r Rank) *Grant {
	req, _ := w.request(l, who, who.name)
	return &Grant{Target: who.root(), Rank: r, Invite: invite, Cert: &req.Cert, Proof: &req.Proof}
}

// admit lets somebody in.
func (w *world) admit(by *actor, l Link, invite ID, who *actor, r Rank, refs ...ID) ID {
	w.t.Helper()
	v := w.act(by, KindGrant, w.admission(l, invite, who, r), refs...)
	who.auth = v.ID()
	return v.ID()
}

// join invites and admits somebody at a rank, by ana.
func (w *world) join(name string, r Rank) *actor {
	w.t.Helper()
	a := w.someone(name)
	l, in := w.invite(w.ana, "for "+name, r)
	w.admit(w.ana, l, in, a, r)
	return a
}

// start begins an epoch.
func (w *world) start(by *actor, name string, parents ...*Epoch) *Epoch {
	w.t.Helper()
	ep, k := w.rekey(by, name, parents...)
	w.act(by, KindRekey, k)
	w.epoch = ep
	return ep
}

func (w *world) rekey(by *actor, name string, parents ...*Epoch) (*Epoch, *Rekey) {
	w.t.Helper()
	e, n := secretOf("E "+name), secretOf("N "+name)
	eid := EpochID(w.group, by.dev(), by.ctl.Seq+1, e)
	ep, err := NewEpoch(w.group, eid, by.dev(), by.ctl.Seq+1, e)
	w.must(err)
	k := &Rekey{Epoch: eid, Commit: CommitN(w.group, n), SealedN: ep.SealN(n)}
	for _, p := range parents {
		k.Parents = append(k.Parents, Parent{Epoch: p.ID, Back: ep.SealParent(p)})
	}
	slices.SortFunc(k.Parents, func(a, b Parent) int { return a.Epoch.Compare(b.Epoch) })
	return ep, k
}

// say writes a message under the world's epoch.
func (w *world) say(a *actor, k Kind, c Content, refs ...ID) Verified {
	w.t.Helper()
	return w.sayTo(a, k, ID{}, c, refs...)
}

// sayTo writes a message whose header names another.
func (w *world) sayTo(a *actor, k Kind, to ID, c Content, refs ...ID) Verified {
	w.t.Helper()
	if w.epoch == nil {
		w.start(w.ana, "first")
	}
	if len(refs) == 0 {
		refs = w.set.Heads(MaxMessageRefs, a.auth)
	}
	w.hlc++
	v, err := Draft{Group: w.group, Kind: k, Prev: a.msg, Refs: refs, HLC: w.hlc, To: to}.SignMessage(c, w.epoch, a.id.Signer(), w.random)
	w.must(err)
	a.msg = v.Tip()
	return v
}

func (w *world) text(a *actor, s string, refs ...ID) Verified {
	w.t.Helper()
	return w.say(a, KindText, Content{Text: s}, refs...)
}

// story draws a DAG: "G -> A -> B | -> C | B C -> D". Each arrow is a reference,
// a bar begins another branch, which starts where the story started unless it says
// from where. What each name stands for is in tell; G is the genesis.
func (w *world) story(dag string, tell map[string]func(refs ...ID) Verified) {
	w.t.Helper()
	w.names["G"] = w.genesis
	first := ""
	for branch := range strings.SplitSeq(dag, "|") {
		var from []string
		for i, step := range strings.Split(branch, "->") {
			names := strings.Fields(step)
			if first == "" {
				first = names[0]
			}
			if i == 0 {
				if len(names) == 0 {
					names = []string{first}
				}
				from = names
				continue
			}
			for _, name := range names {
				if tell[name] == nil || len(w.names[name].wire) != 0 {
					w.t.Fatalf("story %q: %s is untold or told twice", dag, name)
				}
				w.names[name] = tell[name](w.ids(from...)...)
			}
			from = names
		}
	}
}

func (w *world) ids(names ...string) []ID {
	w.t.Helper()
	var ids []ID
	for _, n := range names {
		v, ok := w.names[n]
		if !ok {
			w.t.Fatalf("%s is not told yet", n)
		}
		ids = append(ids, v.ID())
	}
	return ids
}

// deliver adds events in the order given, doubled ones too, parking what has to
// wait, as a node does.
func deliver(set *Set, events []Verified, each ...func()) (waiting int) {
	var parked []Verified
	for _, v := range events {
		parked = append(parked, v)
		for progress := true; progress; {
			progress = false
			parked = slices.DeleteFunc(parked, func(v Verified) bool {
				var missing *MissingError
				if errors.As(set.Add(v), &missing) {
					return false
				}
				progress = true
				for _, f := range each {
					f()
				}
				return true
			})
		}
	}
	return len(parked)
}

func keyFrom(s Secret) ed25519.PrivateKey { return ed25519.NewKeyFromSeed(s[:]) }

// links is the messages of a test, by id: the chains that cuts are followed along.
type links map[ID]Verified

func (l links) Spares(v Verified, c CutEntry) bool {
	if _, ok := l[c.ID]; !ok {
		return v.id == c.ID || v.Header().Seq < c.Seq
	}
	for id := c.ID; ; {
		at, ok := l[id]
		switch {
		case id == v.id:
			return true
		case !ok:
			return false
		}
		id = at.Header().Prev
	}
}

func (l links) Before(v Verified) (uint64, bool) {
	p, ok := l[v.Header().Prev]
	if !ok {
		return 0, false
	}
	return p.Header().HLC, true
}

func second[A, B any](_ A, b B) B { return b }
