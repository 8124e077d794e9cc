package protocol

import (
	"errors"
	"fmt"
	"slices"

	"github.com/p2pchat/p2pchat/protocol/authority"
)

// ErrNotMember says that a message's author had no grant when it was written.
var ErrNotMember = errors.New("its author is not a member")

// ErrSilenced says that a message does not count: its author was removed, banned or
// muted, had left, or the group's settings did not let it speak.
var ErrSilenced = errors.New("it does not count")

// SilencedError is an ErrSilenced that names the act which a message fell to.
type SilencedError struct {
	By   ID // the control event
	Kind Kind
	Wait uint64 // of slow mode: milliseconds that the message came too early
}

func (e *SilencedError) Error() string {
	switch e.Kind {
	case KindLeave:
		return "its author had left"
	case KindDeviceRevoke:
		return "its device was revoked"
	case KindMute:
		return "its author was muted"
	case KindSetting:
		if e.Wait > 0 {
			return fmt.Sprintf("slow mode: it came %.1f s too early", float64(e.Wait)/1000)
		}
		return "only moderators may speak"
	}
	return "its author, or who admitted them, was removed"
}

// Is says that it is an ErrSilenced.
func (e *SilencedError) Is(err error) bool { return err == ErrSilenced }

// Log is the chains of messages, as far as they are here.
type Log interface {
	// Spares says whether a message is the one that a cut names, or before it on
	// its chain: by the links. While the one that is named is not here, what has a
	// lower number is taken to be.
	Spares(v Verified, c CutEntry) bool
	// Before returns the time of the message before one on its chain.
	Before(v Verified) (hlc uint64, ok bool)
}

// CheckMessage says whether a message counts: some effective grant to its author lies
// in its past and stands for it, and the settings in force let its author speak. It
// returns the rank under which it counts. A *MissingError means that control events
// it cites are not here yet, a *SilencedError what it fell to: that may change.
func (r *Roster) CheckMessage(v Verified, log Log) (Rank, error) {
	h := v.Header()
	if v.group != r.set.group || h.Chain != Messages {
		return NoRank, invalid("not a message of this group")
	}
	past, err := r.set.Past(h.Refs)
	if err != nil {
		return NoRank, err
	}
	best := NoRank
	for _, o := range r.set.certs[h.Dev] { // in any order: the most senior right is taken
		if !past.all.Has(o.at) {
			continue
		}
		m := r.message(v, o.root, past, log)
		right, fell, ok := r.state.Judge(m, !exempt(h.Kind))
		if !ok && fell == authority.None {
			fell = r.state.Undone(m)
		}
		switch {
		case ok && right.Rank < best:
			best, err = right.Rank, r.mayspeak(v, right.Rank, past, log)
		case ok || best != NoRank:
		case fell != authority.None:
			by := r.set.nodes[fell].v
			err = fmt.Errorf("message %s: %w", v.id, &SilencedError{By: by.id, Kind: by.Header().Kind})
		}
	}
	if best == NoRank && err == nil {
		err = fmt.Errorf("message %s: %w", v.id, ErrNotMember)
	}
	return best, err
}

// Unquestioned says whether all that a device wrote and that was stored counts:
// nothing was ever done about it, its owner, or who may speak.
func (r *Roster) Unquestioned(dev Key) bool {
	root, ok := r.owner(dev)
	if !ok || len(r.set.certs[dev]) != 1 || !r.state.Unquestioned(r.set.people.byKey[root], r.set.chains.find(dev)) {
		return false
	}
	// Who may speak now, because they are a moderator, may not have been one when they wrote.
	return len(r.values(SettingAnnounce))+len(r.values(SettingSlowMode)) == 0
}

// Stamp changes whenever something was added by which a message that was stored
// before may begin or cease to count.
func (r *Roster) Stamp() int {
	stamp := 0
	for _, k := range []Kind{KindRemove, KindBan, KindUnban, KindMute, KindUnmute, KindLeave, KindDeviceRevoke, KindSetting} {
		stamp += len(r.set.kinds[k])
	}
	return stamp
}

// exempt is what also those may do who may not speak: tell the moderators, and take
// back what they said.
func exempt(k Kind) bool { return k == KindReport || k == KindRetract }

// message is a message as the authority rule sees it.
func (r *Roster) message(v Verified, by Key, past *Past, log Log) *authority.Message {
	return &authority.Message{
		By: r.set.people.byKey[by], Dev: r.set.chains.find(v.Header().Dev), Past: past.all,
		Spared: func(d int32) bool {
			for _, c := range cutOf(r.set.nodes[d].clear).Messages {
				if log.Spares(v, c) {
					return true
				}
			}
			return false
		},
	}
}

// Spared returns the messages that effective denials, mutes and revocations of a
// device's owner name in their cuts: up to there a chain counts in spite of them.
func (r *Roster) Spared(dev Key) []CutEntry {
	var out []CutEntry
	for _, k := range []Kind{KindRemove, KindBan, KindMute, KindDeviceRevoke} {
		for _, i := range r.set.kinds[k] {
			target := r.set.nodes[i].by // of a revocation
			if d, ok := r.set.nodes[i].clear.(*Denial); ok {
				target = d.Target
			}
			owns := func(o owned) bool { return o.dev == dev }
			if r.state.Counts(i) && slices.ContainsFunc(r.set.owns[target], owns) {
				out = append(out, cutOf(r.set.nodes[i].clear).Messages...)
			}
		}
	}
	return out
}

func cutOf(c Clear) *Cut {
	switch c := c.(type) {
	case *Denial:
		return &c.Cut
	case *DeviceRevoke:
		return &c.Cut
	}
	return new(Cut)
}

// Retracts says whether a retraction takes a message back: it is by the author, or by
// a moderator or somebody more senior who acts under a grant more senior than the one
// the message counts under. Both must count.
func (r *Roster) Retracts(retraction, message Verified, log Log) bool {
	h := retraction.Header()
	if h.Kind != KindRetract || h.To != message.id {
		return false
	}
	if _, err := r.CheckMessage(retraction, log); err != nil {
		return false
	}
	rank, err := r.CheckMessage(message, log)
	if err != nil {
		return false
	}
	by, _ := r.Whose(h.Dev)
	if author, ok := r.Whose(message.Header().Dev); ok && author == by {
		return true
	}
	right := r.Right(retraction, log)
	return right <= Moderator && right < rank
}

// Right returns the rank that a message claims by its auth and has: NoRank where it
// claims none, or the grant does not stand for it.
func (r *Roster) Right(v Verified, log Log) Rank {
	grant, ok := r.set.index[v.Header().Auth]
	past, err := r.set.Past(v.Header().Refs)
	if !ok || err != nil {
		return NoRank
	}
	by, _ := r.Whose(v.Header().Dev)
	if !r.state.Stands(grant, r.message(v, by, past, log)) {
		return NoRank
	}
	return r.set.graph.Granted(grant)
}
