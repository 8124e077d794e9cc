package protocol

import (
	"errors"
	"testing"
)

// Each rule of static has a story in which it, and nothing else, refuses an event.

func TestAnAuthorActsUnderAGrantInItsPast(t *testing.T) {
	w := newWorld(t)
	w.start(w.ana, "first")
	bob := w.join("bob", Moderator)
	// Bob's device is certified by the admission, so it is the grant alone that is
	// not in the past: a second grant, concurrent with what cites it.
	admitted := bob.auth
	promoted := w.act(w.ana, KindGrant, &Grant{Target: bob.root(), Rank: Admin})
	bob.auth = promoted.ID()
	w.refuse("not in its past", bob, KindSetting, &Setting{Number: SettingRate, Value: 3}, admitted)
	w.act(bob, KindSetting, &Setting{Number: SettingRate, Value: 3}, admitted, promoted.ID())
}

func TestAGrantIsNobodyElses(t *testing.T) {
	w := newWorld(t)
	bob, carl := w.join("bob", Moderator), w.join("carl", Member)
	carl.auth = bob.auth
	w.refuse("another's", carl, KindSetting, &Setting{Number: SettingRate, Value: 3})
	carl.auth = w.group
	w.refuse("another's", carl, KindLeave, &Leave{})
	bob.auth = w.set.nodes[1].v.ID() // an invite
	w.refuse("not a grant", bob, KindLeave, &Leave{})
}

func TestADeviceIsCertifiedInThePast(t *testing.T) {
	w := newWorld(t)
	for _, owner := range []*actor{w.join("bob", Member), w.ana} {
		phone := owner.second(w.group)
		heads := w.set.Heads(16, owner.auth)
		w.refuse("another's", phone, KindLeave, &Leave{}, heads...)
		w.act(owner, KindDeviceAdd, &DeviceAdd{Cert: phone.id.Cert()})
		w.hlc++                                                     // or it would be the very event that was refused
		w.refuse("another's", phone, KindLeave, &Leave{}, heads...) // it still does not cite the certificate
		w.act(phone, KindLeave, &Leave{})
	}
}

// Who restored a profile is a new device that nobody else can bring: its first event
// does, and no other event or device goes in by that.
func TestADeviceBringsItself(t *testing.T) {
	w := newWorld(t)
	carl := w.join("carl", Member)
	for _, owner := range []*actor{w.join("bob", Member), w.ana} {
		phone, other := owner.second(w.group), owner.second(w.group)
		other.become(carl.account.Identity([32]byte{9})) // a device that the owner's root never certified
		stolen := phone.id.Cert()
		stolen.RootSig[0] ^= 1
		w.refuse("another's", phone, KindDeviceAdd, &DeviceAdd{Cert: other.id.Cert()})
		w.refuse("bad device certificate", phone, KindDeviceAdd, &DeviceAdd{Cert: stolen})
		borrowed := phone.auth
		phone.auth = carl.auth
		w.refuse("another", phone, KindDeviceAdd, &DeviceAdd{Cert: phone.id.Cert()})
		phone.auth = borrowed
		add := w.act(phone, KindDeviceAdd, &DeviceAdd{Cert: phone.id.Cert()})
		r := Eval(w.set)
		if who, ok := r.Owner(phone.dev()); !ok || who.Root != owner.root() {
			t.Errorf("the device is nobody's: %v", ok)
		}
		if id, ok := r.Brought(owner.root(), phone.dev()); !ok || id != add.ID() {
			t.Errorf("it was brought by %s", id)
		}
		w.act(phone, KindDeviceAdd, &DeviceAdd{Cert: owner.id.Cert()}) // it acts for its owner
	}
}

func TestEachKindNeedsItsRank(t *testing.T) {
	w := newWorld(t)
	dan := w.join("dan", Member)
	at := func(name string, r Rank) *actor { return w.join(name, r) }
	greeter, member, relay, admin := at("greta", Greeter), at("mia", Member), at("rex", Relay), at("adam", Admin)
	w.refuse("may not do this", member, KindGrant, &Grant{Target: dan.root(), Rank: Relay})
	w.refuse("may not do this", member, KindInvite, &Invite{Key: w.link("x").PublicKey(), Rank: Relay})
	for _, k := range []Kind{KindRemove, KindBan, KindMute} {
		w.refuse("may not do this", greeter, k, &Denial{Target: dan.root()})
	}
	for _, k := range []Kind{KindUnban, KindUnmute} {
		w.refuse("may not do this", greeter, k, &Lift{Target: dan.root()})
	}
	w.refuse("may not do this", greeter, KindSetting, &Setting{Number: SettingRate})
	w.refuse("may not do this", admin, KindSuccessor, &Successor{Group: ID{1}})
	_, k := w.rekey(relay, "relay's")
	w.refuse("may not do this", relay, KindRekey, k)
	w.refuse("may not do this", member, KindInviteRevoke, &InviteRevoke{Invite: w.set.nodes[1].v.ID()})
}

func TestOnlyJuniorRanksAreGiven(t *testing.T) {
	w := newWorld(t)
	bob, carl := w.join("bob", Admin), w.join("carl", Member)
	w.refuse("junior to one's own", bob, KindGrant, &Grant{Target: carl.root(), Rank: Admin})
	w.refuse("junior to one's own", bob, KindGrant, &Grant{Target: carl.root(), Rank: Owner})
	w.refuse("junior to one's own", bob, KindInvite, &Invite{Key: w.link("x").PublicKey(), Rank: Admin})
	w.act(bob, KindGrant, &Grant{Target: carl.root(), Rank: Moderator})
}

func TestAGreeterOnlyAdmits(t *testing.T) {
	w := newWorld(t)
	greta, bob := w.join("greta", Greeter), w.join("bob", Member)
	w.refuse("may only admit", greta, KindGrant, &Grant{Target: bob.root(), Rank: Relay})
	l, in := w.invite(greta, "greta's", Member)
	w.admit(greta, l, in, w.someone("dora"), Member)
}

func TestNobodyTargetsThemselves(t *testing.T) {
	w := newWorld(t)
	bob := w.join("bob", Moderator)
	w.refuse("its target is its author", bob, KindGrant, &Grant{Target: bob.root(), Rank: Member})
	for _, k := range []Kind{KindRemove, KindBan, KindMute} {
		w.refuse("its target is its author", bob, k, &Denial{Target: bob.root()})
	}
	for _, k := range []Kind{KindUnban, KindUnmute} {
		w.refuse("its target is its author", bob, k, &Lift{Target: bob.root()})
	}
}

func TestNobodyIsAddedSilently(t *testing.T) {
	w := newWorld(t)
	eve := w.someone("eve")
	w.refuse("without that person's own proof", w.ana, KindGrant, &Grant{Target: eve.root(), Rank: Member})
}

func TestAProofIsUsedOnce(t *testing.T) {
	w := newWorld(t)
	l, in := w.invite(w.ana, "one", Member)
	bob := w.someone("bob")
	g := w.admission(l, in, bob, Member)
	bob.auth = w.act(w.ana, KindGrant, g).ID()
	w.refuse("used before", w.ana, KindGrant, g)
}

func TestAProofIsForThisInviteAndDevice(t *testing.T) {
	w := newWorld(t)
	l, in := w.invite(w.ana, "one", Member)
	_, other := w.invite(w.ana, "two", Member)
	bob := w.someone("bob")
	w.refuse("bad signature", w.ana, KindGrant, w.admission(l, other, bob, Member))
	g := w.admission(l, in, bob, Member)
	g.Proof.DevSig[3] ^= 1
	w.refuse("bad signature", w.ana, KindGrant, g)
	g = w.admission(l, in, bob, Member)
	g.Cert.DevSig[3] ^= 1
	w.refuse("bad device certificate", w.ana, KindGrant, g)
	small := w.admission(l, in, bob, Member)
	small.Cert.Dev = Key{1}
	w.refuse("bad public key", w.ana, KindGrant, small)
}

func TestAnAdmissionHasTheInvitesRank(t *testing.T) {
	w := newWorld(t)
	l, in := w.invite(w.ana, "one", Member)
	w.refuse("by an invite to member", w.ana, KindGrant, w.admission(l, in, w.someone("bob"), Moderator))
	w.refuse("not in its past", w.ana, KindGrant, w.admission(l, ID{1}, w.someone("bob"), Member))
	w.refuse("what is not an invite", w.ana, KindGrant, w.admission(l, w.group, w.someone("bob"), Member))
}

func TestAnInviteLiesInTheAdmissionsPast(t *testing.T) {
	w := newWorld(t)
	greta := w.join("greta", Greeter)
	heads := w.set.Heads(16, greta.auth)
	l, in := w.invite(w.ana, "later", Member)
	w.refuse("not in its past", greta, KindGrant, w.admission(l, in, w.someone("bob"), Member), heads...)
}

func TestOnlyTheIssuerAdmitsWhereItSaysSo(t *testing.T) {
	w := newWorld(t)
	greta := w.join("greta", Greeter)
	l := w.link("exact")
	in := w.act(w.ana, KindInvite, &Invite{Key: l.PublicKey(), Rank: Member, IssuerAdmits: true}).ID()
	g := w.admission(l, in, w.someone("bob"), Member)
	w.refuse("only who issued", greta, KindGrant, g)
	w.act(w.ana, KindGrant, g)
}

func TestAnInvitesKeyIsGood(t *testing.T) {
	w := newWorld(t)
	w.refuse("small order", w.ana, KindInvite, &Invite{Key: Key{1}, Rank: Member})
}

func TestAMembersControlChainIsShort(t *testing.T) {
	w := newWorld(t)
	bob := w.join("bob", Member)
	phone := bob.second(w.group)
	for range MaxMemberControl {
		w.act(bob, KindDeviceRevoke, bob.id.Revoke(phone.dev(), Cut{}))
	}
	w.refuse("at most 64", bob, KindDeviceRevoke, bob.id.Revoke(phone.dev(), Cut{}))
	// Kinds of the future are not a way around it.
	e := Event{Header: (&Draft{Group: w.group, Kind: 40, Prev: bob.ctl, Refs: w.set.Heads(16, bob.auth), Auth: bob.auth, HLC: w.hlc}).header(), Body: marshal(controlBody{Clear: []byte{0xa0}})}
	e.Header.BodyLen = uint32(len(e.Body))
	v, err := e.finish(w.group, bob.id.Signer())
	w.must(err)
	w.refused("at most 64", v)
}

func TestACutIsTheTargets(t *testing.T) {
	w := newWorld(t)
	bob, carl := w.join("bob", Moderator), w.join("carl", Member)
	phone := carl.second(w.group)
	mine := w.act(carl, KindDeviceRevoke, carl.id.Revoke(phone.dev(), Cut{}))
	before := w.set.nodes[len(w.set.nodes)-1].v.Header().Refs
	ban := func(id ID) *Denial { return &Denial{Target: carl.root(), Cut: Cut{Control: []ID{id}}} }
	w.refuse("not the target's", bob, KindBan, ban(bob.auth))
	w.refuse("not in its past", bob, KindBan, ban(ID{1}))
	w.refuse("not in its past", bob, KindBan, ban(mine.ID()), before...)
	w.act(bob, KindBan, ban(mine.ID()))
	// A message that bob's device has and this set does not know.
	w.act(bob, KindMute, &Denial{Target: carl.root(), Cut: Cut{Messages: []CutEntry{{ID{1}, 1}}}})
}

func TestARevocationIsOnesOwn(t *testing.T) {
	w := newWorld(t)
	bob, carl := w.join("bob", Member), w.join("carl", Member)
	w.refuse("another identity", bob, KindDeviceRevoke, carl.id.Revoke(carl.dev(), Cut{}))
	w.refuse("another identity", bob, KindDeviceAdd, &DeviceAdd{Cert: carl.id.Cert()})
	r := bob.id.Revoke(bob.dev(), Cut{})
	r.Sig[0] ^= 1
	w.refuse("bad signature", bob, KindDeviceRevoke, r)
	c := bob.second(w.group).id.Cert()
	c.DevSig[0] ^= 1
	w.refuse("bad device certificate", bob, KindDeviceAdd, &DeviceAdd{Cert: c})
}

func TestAnIdentityHasSoManyDevices(t *testing.T) {
	w := newWorld(t)
	bob := w.join("bob", Member)
	last := bob
	for range MaxDevices - 1 {
		next := last.second(w.group)
		w.act(last, KindDeviceAdd, &DeviceAdd{Cert: next.id.Cert()})
		last = next // a new device adds the next one: the bound is the identity's, not a chain's
	}
	w.refuse("at most 8 devices", last, KindDeviceAdd, &DeviceAdd{Cert: last.second(w.group).id.Cert()})
	ninth := last.second(w.group)
	w.refuse("at most 8 devices", ninth, KindDeviceAdd, &DeviceAdd{Cert: ninth.id.Cert()})
	w.act(last, KindDeviceAdd, &DeviceAdd{Cert: bob.id.Cert()}) // one that is certified already is no other
}

func TestARecordIsOfAKnownRangeOfTypes(t *testing.T) {
	me := newWorld(t).ana.id
	for _, kind := range []RecordType{0, MaxRecordType + 1} {
		if _, err := (Record{Type: kind, Number: 1, Value: []byte{1}}).Sign(ID{1}, me.Signer()); !errors.Is(err, ErrMalformed) {
			t.Errorf("type %d: %v", kind, err)
		}
	}
	if _, err := (Record{Type: MaxRecordType, Number: 1, Value: []byte{1}}).Sign(ID{1}, me.Signer()); err != nil {
		t.Error(err)
	}
}

func TestAnInviteIsRevokedByWhoHasSeenIt(t *testing.T) {
	w := newWorld(t)
	_, in := w.invite(w.ana, "one", Member)
	w.refuse("not in its past", w.ana, KindInviteRevoke, &InviteRevoke{Invite: w.group})
	w.refuse("not in its past", w.ana, KindInviteRevoke, &InviteRevoke{Invite: ID{1}})
	w.act(w.ana, KindInviteRevoke, &InviteRevoke{Invite: in})
}

func TestAnEpochStartsOnce(t *testing.T) {
	w := newWorld(t, "abe")
	first := w.start(w.ana, "first")
	rk, k, _ := w.set.Rekey(first.ID)
	w.refuse("in its past", w.ana, KindRekey, k)
	_, next := w.rekey(w.ana, "next", &Epoch{ID: ID{1}})
	w.refuse("not in its past", w.ana, KindRekey, next)

	// Abe, who has not seen the rekey, claims its epoch. Which of the two is known
	// last must not change what later events are.
	abe := w.all["abe"]
	claim := w.write(abe, KindRekey, k, w.group)
	_, honest := w.rekey(w.ana, "honest", first)
	follows := w.write(w.ana, KindRekey, honest, rk.ID())
	for _, order := range [][]Verified{{w.genesis, rk, claim, follows}, {w.genesis, claim, rk, follows}} {
		s := NewSet(w.group)
		for _, v := range order {
			w.must(s.Add(v))
		}
		if n := len(s.Claims(first.ID)); n != 2 {
			t.Errorf("%d claims", n)
		}
	}
}

func TestAChainHasNoGapsAndNoBorrowedPast(t *testing.T) {
	w := newWorld(t)
	bob := w.join("bob", Moderator)
	skip := *bob
	skip.ctl = w.ana.ctl // the right number, of another device
	skip.ctl.Dev = bob.dev()
	w.refuse("not the event before it", &skip, KindSetting, &Setting{Number: SettingRate, Value: 1})
	one := w.act(bob, KindSetting, &Setting{Number: SettingRate, Value: 1})
	skip.ctl = Tip{Dev: bob.dev(), Chain: Control, Seq: 2, ID: one.ID()}
	w.refuse("not the event before it", &skip, KindSetting, &Setting{Number: SettingRate, Value: 1})
}

func TestWhatCitesABadEventIsBad(t *testing.T) {
	w := newWorld(t)
	bob := w.join("bob", Member)
	bad := w.refuse("may not do this", bob, KindSetting, &Setting{Number: SettingRate})
	w.refuse("cites an event that is not allowed", w.ana, KindSetting, &Setting{Number: SettingRate}, bad.ID(), bob.auth)
	w.start(w.ana, "first")
	if _, err := Eval(w.set).CheckMessage(w.text(bob, "hello", bad.ID()), links{}); !errors.Is(err, ErrInvalid) {
		t.Errorf("a message that cites it: %v", err)
	}
}

func TestAnAuthorIsAFounderOfItsGenesis(t *testing.T) {
	w := newWorld(t)
	eve := w.someone("eve")
	g := *w.set.nodes[0].clear.(*Genesis)
	v, err := Draft{Kind: KindGenesis, Prev: eve.ctl, HLC: 1}.SignControl(&g, nil, nil, eve.id.Signer(), w.random)
	w.must(err)
	if err := NewSet(v.ID()).Add(v); !errors.Is(err, ErrInvalid) {
		t.Errorf("eve's genesis: %v", err)
	}
	g.Founders = []Cert{g.Founders[0]}
	g.Founders[0].RootSig[0] ^= 1
	v, err = Draft{Kind: KindGenesis, Prev: Tip{Dev: w.ana.dev(), Chain: Control}, HLC: 1}.SignControl(&g, nil, nil, w.ana.id.Signer(), w.random)
	w.must(err)
	if err := NewSet(v.ID()).Add(v); !errors.Is(err, ErrInvalid) {
		t.Errorf("a founder's certificate does not hold: %v", err)
	}
}

// Anybody can take the body off an event on its way. That must not make its id bad
// for those who get the whole event later.
func TestAStrippedCopyDoesNoHarm(t *testing.T) {
	w := newWorld(t)
	l := w.link("one")
	v := w.write(w.ana, KindInvite, &Invite{Key: l.PublicKey(), Rank: Member})
	e := v.Event()
	e.Erase()
	stripped, err := Verify(w.group, e.Encode())
	w.must(err)
	if stripped.ID() != v.ID() {
		t.Fatal("erasing changes the id")
	}
	if err := w.set.Add(stripped); !errors.Is(err, ErrErased) {
		t.Fatalf("a stripped copy: %v", err)
	}
	w.must(w.set.Add(v))
}

func TestUnknownKindsAreKept(t *testing.T) {
	w := newWorld(t)
	for k, frozen := range map[Kind]int{40: 0, 41: 1} {
		e := Event{Header: (&Draft{Group: w.group, Kind: k, Prev: w.ana.ctl, Refs: w.set.Heads(16, ID{}), Auth: w.group, HLC: w.hlc}).header(), Body: marshal(controlBody{Clear: []byte{0xa0}})}
		e.Header.BodyLen = uint32(len(e.Body))
		v, err := e.finish(w.group, w.ana.id.Signer())
		w.must(err)
		s := NewSet(w.group)
		deliver(s, append(w.events, v))
		if !s.Has(v.ID()) || len(Eval(s).Frozen()) != frozen {
			t.Errorf("kind %d: kept %v, frozen %v", k, s.Has(v.ID()), Eval(s).Frozen())
		}
	}
}

func TestWhoMaySpeak(t *testing.T) {
	w := newWorld(t)
	w.start(w.ana, "first")
	early := w.set.Heads(8, ID{})
	bob := w.join("bob", Member)
	relay, eve := w.join("rex", Relay), w.someone("eve")
	r := Eval(w.set)
	ok := func(name string, v Verified, want error) {
		t.Helper()
		if _, err := r.CheckMessage(v, links{}); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", name, err, want)
		}
	}
	ok("a member", w.text(bob, "hello"), nil)
	ok("a founder", w.text(w.ana, "hello"), nil)
	ok("a stranger", w.text(eve, "hello"), ErrNotMember)
	ok("a relay", w.text(relay, "hello"), ErrNotMember)
	ok("before the grant", w.text(bob, "hello", early...), ErrNotMember)
	var missing *MissingError
	if _, err := r.CheckMessage(w.text(bob, "hello", ID{1}), links{}); !errors.As(err, &missing) || missing.IDs[0] != (ID{1}) {
		t.Errorf("an unknown reference: %v", err)
	}
	// A roster that is older than its set knows no better and says so.
	dora := w.join("dora", Member)
	ok("admitted after the roster was made", w.text(dora, "hello"), ErrNotMember)
	r = Eval(w.set)
	ok("and with a new one", w.text(dora, "hello again"), nil)
	// The most senior grant may come later than the message's past.
	admission := bob.auth
	bob.auth = w.act(w.ana, KindGrant, &Grant{Target: bob.root(), Rank: Admin}).ID()
	r = Eval(w.set)
	ok("under the earlier grant", w.text(bob, "hello", admission), nil)
}
