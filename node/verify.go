package node

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/p2pchat/p2pchat/protocol"
)

// A name is a claim. Two people who compare their safety number out of band know that
// each has the other's key; this node keeps a mark of it. The mark is for a key and the
// devices that it had certified then.

// What a node knows about who somebody is.
const (
	// Unverified is somebody whose safety number nobody compared here.
	Unverified = ""
	// Verified is somebody whose safety number was compared.
	Verified = "verified"
	// NewDevice is somebody who was verified and has certified another device since.
	NewDevice = "new-device"
	// OtherKey is somebody who goes by the name of a person that was verified, and is
	// another: an impostor, or that person with a new key.
	OtherKey = "other-key"
)

// Safety is what two people compare.
type Safety struct {
	Person
	Number string    // 60 digits, the same for both
	State  string    // Unverified, Verified, NewDevice or OtherKey
	Since  time.Time // when they were verified; zero if never
}

// verifiedMark is what is kept of somebody who was verified.
type verifiedMark struct {
	At      int64          `cbor:"1,keyasint"` // Unix milliseconds
	Name    string         `cbor:"3,keyasint"`
	Devices []protocol.Key `cbor:"5,keyasint"` // certified until then, revoked ones as well
}

// Safety returns the safety number of this person and another member. who is a name or
// a usr_ id, short or whole.
func (n *Node) Safety(group protocol.ID, who string) (Safety, error) {
	r, err := n.room(group)
	if err != nil {
		return Safety{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	p, err := choose(who, r.peopleOf(r.others()))
	if err != nil {
		return Safety{}, err
	}
	return r.safety(p), nil
}

// safety is that of somebody. The caller holds mu.
func (r *room) safety(p Person) Safety {
	s := Safety{Person: p, Number: protocol.SafetyNumber(r.group, r.me.Root(), p.Key), State: r.verification(p)}
	if m, ok := r.verified[p.Key]; ok {
		s.Since = time.UnixMilli(m.At)
	}
	return s
}

// Verify marks a member as who they say they are, if number is the safety number, as
// [protocol.ParseSafety] reads it: what the other shows, or what both found to be the
// same. Errors: ErrMismatch, ErrUnknownName, ErrAmbiguous.
func (n *Node) Verify(ctx context.Context, group protocol.ID, who, number string) (Safety, error) {
	theirs, err := protocol.ParseSafety(number)
	if err != nil {
		return Safety{}, err
	}
	s, err := n.Safety(group, who)
	if err != nil {
		return s, err
	}
	if theirs != s.Number {
		return s, fmt.Errorf("%s: %w", s.label(), ErrMismatch)
	}
	r, err := n.room(group)
	if err != nil {
		return s, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	mark := verifiedMark{At: n.now().UnixMilli(), Name: s.Name, Devices: r.set.Devices(s.Key)}
	b, err := cbor.Marshal(mark)
	if err != nil {
		return s, err
	}
	if err := n.store.Put(ctx, spaceVerified, r.blockKey(s.Key), b); err != nil {
		return s, fmt.Errorf("verify: %w", err)
	}
	r.verified[s.Key] = mark
	return r.safety(s.Person), nil
}

// Unverify forgets that somebody was verified, a member or not.
func (n *Node) Unverify(ctx context.Context, group protocol.ID, who string) (Safety, error) {
	r, err := n.room(group)
	if err != nil {
		return Safety{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var marked []protocol.Key
	for key := range r.verified {
		marked = append(marked, key)
	}
	p, err := choose(who, r.peopleOf(marked))
	if err != nil {
		return Safety{}, fmt.Errorf("of those who were verified: %w", err)
	}
	if err := n.store.Delete(ctx, spaceVerified, r.blockKey(p.Key)); err != nil {
		return Safety{}, fmt.Errorf("verify: %w", err)
	}
	delete(r.verified, p.Key)
	return r.safety(p), nil
}

// Doubts returns the members of whom this node has to say that they are not, or not any
// more, the person who was verified.
func (n *Node) Doubts(group protocol.ID) ([]Member, error) {
	list, err := n.Members(group)
	return slices.DeleteFunc(list, func(m Member) bool { return m.Verified == Unverified || m.Verified == Verified }), err
}

// verification says what is known about who somebody is. What a root ever certified
// stays in the set, so a mark that is lost does not come back by itself. The caller
// holds mu.
func (r *room) verification(p Person) string {
	if mark, ok := r.verified[p.Key]; ok {
		for _, dev := range r.set.Devices(p.Key) {
			if !slices.Contains(mark.Devices, dev) {
				return NewDevice
			}
		}
		return Verified
	}
	if name := folded(p.Name); name != "" && p.Key != r.me.Root() {
		for key, mark := range r.verified {
			if name == folded(mark.Name) || name == folded(r.personOf(key).Name) {
				return OtherKey
			}
		}
	}
	return Unverified
}

// folded is a name as one may mistake it for another: without case and space.
func folded(name string) string { return strings.ToLower(strings.Join(strings.Fields(name), "")) }

func (r *room) loadVerified(ctx context.Context) error {
	r.verified = make(map[protocol.Key]verifiedMark)
	stored, err := r.n.store.List(ctx, spaceVerified)
	if err != nil {
		return err
	}
	for key, value := range stored {
		group, who, _ := strings.Cut(key, ".")
		id, err := protocol.ParseID("", who)
		if err != nil || group != r.group.Text("") {
			continue
		}
		var mark verifiedMark
		if err := cbor.Unmarshal(value, &mark); err != nil { // nobody is verified by it
			r.n.log.Error("a mark of verification is damaged in the store", "key", key, "err", err)
			continue
		}
		r.verified[protocol.Key(id)] = mark
	}
	return nil
}
