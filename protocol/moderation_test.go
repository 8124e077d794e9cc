package protocol

import (
	"errors"
	"slices"
	"testing"
)

// The stories here are about what the rule of package authority does not know: cuts
// on chains of messages, settings, consent, retractions. Its own are in
// testdata/scenarios.

// speech is a world in which messages are judged.
type speech struct {
	*world
	log links
}

func newSpeech(t *testing.T) *speech {
	s := &speech{newWorld(t), links{}}
	s.start(s.ana, "first")
	return s
}

// says writes a message and keeps it.
func (s *speech) says(a *actor, refs ...ID) Verified {
	s.t.Helper()
	v := s.text(a, "hello", refs...)
	s.log[v.id] = v
	return v
}

// heard fails where a message does not count.
func (s *speech) heard(name string, v Verified) {
	s.t.Helper()
	if _, err := Eval(s.set).CheckMessage(v, s.log); err != nil {
		s.t.Errorf("%s: %v", name, err)
	}
}

// silenced fails where a message does not fall to an act of a kind.
func (s *speech) silenced(name string, k Kind, v Verified) {
	s.t.Helper()
	_, err := Eval(s.set).CheckMessage(v, s.log)
	var why *SilencedError
	if !errors.As(err, &why) || why.Kind != k || !errors.Is(err, ErrSilenced) || !s.set.Has(why.By) {
		s.t.Errorf("%s: got %v, want silence because of a %s", name, err, k)
	}
}

func upTo(v Verified) Cut {
	return Cut{Messages: []CutEntry{{v.id, v.Header().Seq}}}
}

func TestARemovalSparesWhatItHasSeen(t *testing.T) {
	s := newSpeech(t)
	bob := s.join("bob", Member)
	one := s.says(bob)
	two := s.says(bob)
	s.act(s.ana, KindBan, &Denial{Target: bob.root(), Cut: upTo(two)}, two.Header().Refs...)
	later := s.says(bob, two.Header().Refs...)
	s.heard("the first", one)
	s.heard("the last that was seen", two)
	s.silenced("what came after", KindBan, later)
	if r := Eval(s.set); r.Unquestioned(bob.dev()) || !r.Unquestioned(s.ana.dev()) {
		t.Error("who is questioned")
	}
}

func TestACutIsByTheLinksOfTheChain(t *testing.T) {
	s := newSpeech(t)
	bob := s.join("bob", Member)
	one := s.says(bob)
	fork := bob.msg
	two := s.says(bob)
	three := s.says(bob)
	bob.msg = fork
	forged := s.says(bob) // in the place of two
	s.act(s.ana, KindRemove, &Denial{Target: bob.root(), Cut: upTo(three)})
	s.heard("before the cut", one)
	s.heard("on the branch", two)
	s.silenced("on another branch, at a lower number", KindRemove, forged)
	delete(s.log, three.id)
	s.heard("while what the cut names is not here", forged)
}

func TestAMuteIsForMessagesAndAnUnmuteIsSeen(t *testing.T) {
	s := newSpeech(t)
	bob := s.join("bob", Moderator)
	carl := s.join("carl", Member)
	before := s.says(carl)
	s.act(bob, KindMute, &Denial{Target: carl.root(), Cut: upTo(before)})
	muted := s.says(carl)
	s.heard("before the mute", before)
	s.silenced("muted", KindMute, muted)
	if id, ok := Eval(s.set).Muted(carl.root()); !ok || id != bob.ctl.ID {
		t.Error("the mute is not named")
	}
	report := s.say(carl, KindReport, Content{Boxed: []byte{1}})
	s.heard("a report", report)
	s.act(carl, KindLeave, &Leave{}, carl.auth) // concurrent: who is muted still acts
	if !Eval(s.set).Effective(carl.ctl.ID) {
		t.Error("a mute reached the control chain")
	}
	w := newSpeech(t)
	bob, carl = w.join("bob", Moderator), w.join("carl", Member)
	abe := w.join("abe", Admin)
	w.act(abe, KindMute, &Denial{Target: carl.root()})
	w.act(bob, KindUnmute, &Lift{Target: carl.root()})
	w.silenced("a junior does not lift it", KindMute, w.says(carl))
	unmuted := w.act(abe, KindUnmute, &Lift{Target: carl.root()})
	w.heard("lifted by an equal", w.says(carl))
	w.silenced("said without having seen that", KindMute, w.says(carl, unmuted.Header().Refs...))
}

func TestARevokedDeviceIsSilentAndItsOwnerIsNot(t *testing.T) {
	s := newSpeech(t)
	bob := s.join("bob", Member)
	phone := bob.second(s.group)
	s.act(bob, KindDeviceAdd, &DeviceAdd{Cert: phone.id.Cert()})
	kept := s.says(phone)
	s.act(bob, KindDeviceRevoke, bob.id.Revoke(phone.dev(), upTo(kept)))
	s.heard("before", kept)
	s.silenced("after", KindDeviceRevoke, s.says(phone))
	s.heard("the other device", s.says(bob))
	p, _ := Eval(s.set).Standing(bob.root())
	if !slices.Equal(p.Devices, []Key{bob.dev()}) {
		t.Errorf("bob has %d devices", len(p.Devices))
	}
	if owner, ok := Eval(s.set).Owner(phone.dev()); ok {
		t.Errorf("the phone is %v's", owner)
	}
	if whose, _ := Eval(s.set).Whose(phone.dev()); whose != bob.root() {
		t.Error("nobody knows whose it was")
	}
}

func TestWhoLeftIsSilentOnceItWasSeen(t *testing.T) {
	s := newSpeech(t)
	bob := s.join("bob", Member)
	admitted := bob.auth
	s.act(bob, KindLeave, &Leave{})
	s.heard("not having seen it", s.says(bob, admitted))
	s.silenced("having left", KindLeave, s.says(bob))
}

func TestAnAdmissionByWhoHadNoRightIsUndone(t *testing.T) {
	s := newSpeech(t)
	greta := s.join("greta", Greeter)
	seen := s.set.Heads(16, greta.auth)
	l, in := s.invite(greta, "greta's", Member, seen...)
	bob := s.someone("bob")
	s.admit(greta, l, in, bob, Member)
	hi := s.says(bob)
	s.heard("admitted", hi)
	s.act(s.ana, KindBan, &Denial{Target: greta.root()}, seen...)
	s.silenced("and undone", KindBan, hi)
	if p, ok := Eval(s.set).Standing(bob.root()); ok {
		t.Errorf("bob is %v", p)
	}
}

func TestWhoWentComesBackByAskingOnly(t *testing.T) {
	s := newSpeech(t)
	bob := s.join("bob", Member)
	s.act(s.ana, KindRemove, &Denial{Target: bob.root()})
	s.act(s.ana, KindSetting, &Setting{Number: SettingRate, Value: 1}) // so that it is no demotion
	s.refuse("without that person's own proof", s.ana, KindGrant, &Grant{Target: bob.root(), Rank: Member})
	l, in := s.invite(s.ana, "again", Member)
	s.admit(s.ana, l, in, bob, Member)
	if p, ok := Eval(s.set).Standing(bob.root()); !ok || p.Rank != Member {
		t.Errorf("bob is %v", p)
	}
}

func TestADemotionIsARemovalAndAGrant(t *testing.T) {
	s := newSpeech(t)
	bob := s.join("bob", Admin)
	s.act(s.ana, KindRemove, &Denial{Target: bob.root()})
	s.act(s.ana, KindGrant, &Grant{Target: bob.root(), Rank: Member})
	if p, _ := Eval(s.set).Standing(bob.root()); p.Rank != Member {
		t.Errorf("bob is %s", p.Rank)
	}
	carl := s.join("carl", Member)
	s.act(carl, KindLeave, &Leave{})
	s.act(s.ana, KindRemove, &Denial{Target: carl.root()})
	s.refuse("without that person's own proof", s.ana, KindGrant, &Grant{Target: carl.root(), Rank: Member})
}

func TestAnnouncementModeIsByClaimedTime(t *testing.T) {
	s := newSpeech(t)
	bob, mod := s.join("bob", Member), s.join("mod", Moderator)
	seen := s.set.Heads(8, bob.auth)
	before := s.says(bob)
	s.act(mod, KindSetting, &Setting{Number: SettingAnnounce, Value: 1})
	s.heard("before", before)
	s.silenced("after, having seen it", KindSetting, s.says(bob))
	s.silenced("after, not having seen it", KindSetting, s.says(bob, seen...))
	s.heard("a moderator", s.says(mod))
	s.heard("a retraction", s.retraction(bob, before))
	s.act(mod, KindSetting, &Setting{Number: SettingAnnounce})
	s.heard("when it is over", s.says(bob))
	s.heard("and somebody who saw nothing of it", s.says(bob, seen...))
}

func TestWhatASeniorRestrictsNoJuniorLifts(t *testing.T) {
	s := newSpeech(t)
	bob, mod := s.join("bob", Member), s.join("mod", Moderator)
	abe := s.join("abe", Admin)
	s.act(abe, KindSetting, &Setting{Number: SettingAnnounce, Value: 1})
	s.act(mod, KindSetting, &Setting{Number: SettingAnnounce})
	s.silenced("a junior turned it off", KindSetting, s.says(bob))
	if v, ok := Eval(s.set).Value(SettingAnnounce); !ok || v != 1 {
		t.Errorf("announcement mode is %d", v)
	}
	s.act(s.ana, KindSetting, &Setting{Number: SettingAnnounce})
	s.heard("a senior turned it off", s.says(bob))
}

// Flipped on both sides of a split, the more restrictive of what nobody as senior has
// replaced holds, in any order.
func TestSettingsFlippedOnBothSides(t *testing.T) {
	s := newSpeech(t)
	mod, mel := s.join("mod", Moderator), s.join("mel", Moderator)
	split := s.set.Heads(16, s.group)
	s.act(mod, KindSetting, &Setting{Number: SettingSlowMode, Value: 10}, split...)
	s.act(mel, KindSetting, &Setting{Number: SettingSlowMode, Value: 60}, split...)
	if v, _ := Eval(s.set).Value(SettingSlowMode); v != 60 {
		t.Errorf("slow mode is %d", v)
	}
	s.act(mod, KindSetting, &Setting{Number: SettingSlowMode, Value: 5})
	if v, _ := Eval(s.set).Value(SettingSlowMode); v != 5 {
		t.Errorf("slow mode is %d once somebody has seen both", v)
	}
	s.act(mod, KindSetting, &Setting{Number: SettingAdmission, Value: AdmissionOpen}, split...)
	s.act(mel, KindSetting, &Setting{Number: SettingAdmission, Value: AdmissionApprove}, split...)
	if v, _ := Eval(s.set).Value(SettingAdmission); v != AdmissionApprove {
		t.Errorf("admission is %d", v)
	}
}

func TestSlowModeCountsFromTheMessageBefore(t *testing.T) {
	s := newSpeech(t)
	bob := s.join("bob", Member)
	s.act(s.ana, KindSetting, &Setting{Number: SettingSlowMode, Value: 10})
	s.heard("the first", s.says(bob))
	s.hlc += 9_000
	s.silenced("too early", KindSetting, s.says(bob))
	s.hlc += 10_000
	s.heard("in time", s.says(bob))
	s.heard("a founder's", s.says(s.ana))
	s.heard("another one", s.says(s.ana))
}

// retraction takes a message back; under says under which grant, if not as its author.
func (s *speech) retraction(by *actor, m Verified, under ...ID) Verified {
	s.t.Helper()
	s.hlc++
	d := Draft{Group: s.group, Kind: KindRetract, Prev: by.msg, Refs: s.set.Heads(MaxMessageRefs, by.auth), HLC: s.hlc, To: m.id}
	if len(under) > 0 {
		d.Auth = under[0]
	}
	v, err := d.SignMessage(Content{}, s.epoch, by.id.Signer(), s.random)
	s.must(err)
	by.msg = v.Tip()
	s.log[v.id] = v
	return v
}

func TestWhoMayTakeAMessageBack(t *testing.T) {
	s := newSpeech(t)
	bob, mod, mel := s.join("bob", Member), s.join("mod", Moderator), s.join("mel", Moderator)
	greta := s.join("greta", Greeter)
	m, mods := s.says(bob), s.says(mod)
	check := func(name string, v, m Verified, want bool) {
		t.Helper()
		if got := Eval(s.set).Retracts(v, m, s.log); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
	check("the author", s.retraction(bob, m), m, true)
	check("a moderator", s.retraction(mod, m, mod.auth), m, true)
	check("a moderator who does not claim the right", s.retraction(mod, m), m, false)
	check("a greeter", s.retraction(greta, m, greta.auth), m, false)
	check("a member under another's grant", s.retraction(bob, mods, mod.auth), mods, false)
	check("an equal", s.retraction(mel, mods, mel.auth), mods, false)
	check("a founder", s.retraction(s.ana, mods, s.group), mods, true)
	check("of another message", s.retraction(bob, m), mods, false)
	late := s.retraction(mod, m, mod.auth)
	s.act(s.ana, KindBan, &Denial{Target: mod.root()})
	check("who was banned", late, m, false)
}

func TestAnEpochHasSeenWhoWent(t *testing.T) {
	s := newSpeech(t)
	bob, carl := s.join("bob", Member), s.join("carl", Member)
	all := func(ID, ID) bool { return true }
	usable := func(grace uint64) ID {
		id, _ := Usable(Eval(s.set).Candidates(View{Held: all, Now: grace}))
		return id
	}
	first := s.epoch
	left := s.act(bob, KindLeave, &Leave{})
	if usable(left.Header().HLC-1) != first.ID || !usable(left.Header().HLC).IsZero() {
		t.Error("a leave has its grace, and no more")
	}
	second := s.start(s.ana, "second", first)
	if usable(s.hlc) != second.ID {
		t.Error("the epoch after the leave is not used")
	}
	s.act(s.ana, KindBan, &Denial{Target: carl.root()})
	if !usable(0).IsZero() {
		t.Error("an epoch that carl has is used")
	}
	third := s.start(s.ana, "third", second)
	if usable(0) != third.ID {
		t.Error("the epoch after the ban is not used")
	}
}

func TestOnlyWhoHasASayFreezesAGroup(t *testing.T) {
	s := newSpeech(t)
	for name, frozen := range map[string]int{"member": 0, "greeter": 0, "moderator": 1} {
		rank, _ := ParseRank(name)
		a := s.join(name, rank)
		e := Event{Header: (&Draft{Group: s.group, Kind: 41, Prev: a.ctl, Refs: s.set.Heads(16, a.auth), Auth: a.auth, HLC: s.hlc}).header(), Body: marshal(controlBody{Clear: []byte{0xa0}})}
		e.Header.BodyLen = uint32(len(e.Body))
		v, err := e.finish(s.group, a.id.Signer())
		s.must(err)
		one := NewSet(s.group)
		deliver(one, append(slices.Clone(s.events), v))
		if got := len(Eval(one).Frozen()); got != frozen || !one.Has(v.ID()) {
			t.Errorf("a %s froze it: %d", name, got)
		}
	}
}

func TestABannedPersonIsNamed(t *testing.T) {
	s := newSpeech(t)
	bob, mod := s.join("bob", Member), s.join("mod", Moderator)
	ban := s.act(mod, KindBan, &Denial{Target: bob.root()})
	r := Eval(s.set)
	if got := r.Banned(bob.root()); !slices.Equal(got, []ID{ban.id}) {
		t.Errorf("banned by %v", got)
	}
	if id, ok := r.Ended(bob.root()); !ok || id != ban.id {
		t.Error("nothing says why bob is gone")
	}
	greta := s.join("greta", Greeter)
	l, in := s.invite(greta, "again", Member)
	s.admit(greta, l, in, bob, Member)
	if p, ok := Eval(s.set).Standing(bob.root()); ok {
		t.Errorf("a greeter overcame the ban: %v", p)
	}
	s.act(mod, KindUnban, &Lift{Target: bob.root()})
	s.admit(greta, l, in, bob, Member)
	if p, ok := Eval(s.set).Standing(bob.root()); !ok || p.Rank != Member {
		t.Errorf("after the unban bob is %v", p)
	}
}
