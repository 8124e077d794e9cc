package node

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/fxamacker/cbor/v2"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

// founding is what a node keeps about a group that is to be founded together.
type founding struct {
	Name string `cbor:"1,keyasint"`
	Mine bool   `cbor:"3,keyasint"` // this node planned it, and will create the group
	Made int64  `cbor:"5,keyasint"` // Unix nanoseconds
}

func planKey(salt [32]byte) string { return hex.EncodeToString(salt[:]) }

// PlanGroup prepares a group with several founders, and returns a plan: a word that
// begins with "p2pchat-plan:", to pass to the others by any channel. Each who agrees
// answers with what [Node.AgreeToFound] returns, and [Node.CreateGroup] takes these.
// Founders have all rights and can never be removed. A node keeps its 64 newest plans,
// its own and those it agreed to.
func (n *Node) PlanGroup(ctx context.Context, name string) (string, error) {
	if err := n.alive(); err != nil {
		return "", err
	}
	if err := checkGroupName(name); err != nil {
		return "", fmt.Errorf("plan group: %w", err)
	}
	p := protocol.Plan{Name: name, By: n.displayName()}
	_, _ = rand.Read(p.Seed[:])
	if err := n.keepPlan(ctx, p.Salt(), founding{name, true, n.now().UnixNano()}); err != nil {
		return "", fmt.Errorf("plan group: %w", err)
	}
	return p.Text(), nil
}

// AgreeToFound answers a plan that somebody sent: it returns the consent to be a founder,
// a word that begins with "p2pchat-consent:", to pass back to the planner. Once the group
// is there, this person joins it by an invitation, and is a founder then.
func (n *Node) AgreeToFound(ctx context.Context, text string) (string, error) {
	if err := n.alive(); err != nil {
		return "", err
	}
	p, err := protocol.ParsePlan(text)
	if err != nil {
		return "", fmt.Errorf("agree to found: %w", err)
	}
	salt := p.Salt()
	switch kept, err := n.planOf(ctx, salt); {
	case err == nil && kept.Mine:
		return "", fmt.Errorf("agree to found: %w: it is your own plan; you are a founder anyway", ErrNotAllowed)
	case errors.Is(err, storage.ErrNotFound):
		if err := n.keepPlan(ctx, salt, founding{p.Name, false, n.now().UnixNano()}); err != nil {
			return "", fmt.Errorf("agree to found: %w", err)
		}
	case err != nil:
		return "", fmt.Errorf("agree to found: %w", err)
	}
	return protocol.Consent{Salt: salt, Cert: n.account.Identity(salt).Cert(), Name: n.displayName()}.Text(), nil
}

// keepPlan stores a plan before anybody hears of it. Of more than plansMost the oldest
// are given up.
func (n *Node) keepPlan(ctx context.Context, salt [32]byte, p founding) error {
	stored, err := n.store.List(ctx, spacePlans)
	if err != nil {
		return err
	}
	made := make(map[string]int64)
	for key, b := range stored {
		var old founding
		if err := cbor.Unmarshal(b, &old); err != nil {
			return fmt.Errorf("plan %q in the store is damaged: %w", key, err)
		}
		made[key] = old.Made
	}
	byAge := slices.SortedFunc(maps.Keys(made), func(a, b string) int { return cmp.Compare(made[a], made[b]) })
	for _, key := range byAge[:max(0, len(byAge)-plansMost+1)] {
		if err := n.store.Delete(ctx, spacePlans, key); err != nil {
			return err
		}
	}
	b, err := cbor.Marshal(p)
	if err != nil {
		return err
	}
	return n.store.Put(ctx, spacePlans, planKey(salt), b)
}

func (n *Node) planOf(ctx context.Context, salt [32]byte) (p founding, err error) {
	b, err := n.store.Get(ctx, spacePlans, planKey(salt))
	if err != nil {
		return p, err
	}
	return p, cbor.Unmarshal(b, &p)
}

// together reads the consents to a plan of this node: the salt of the genesis, the
// other founders' certificates, and the name. Without any, the salt is drawn.
func (n *Node) together(ctx context.Context, name string, founders []string) (salt [32]byte, certs []protocol.Cert, _ string, err error) {
	if len(founders) == 0 {
		_, _ = rand.Read(salt[:])
		return salt, nil, name, nil
	}
	if len(founders) >= protocol.MaxFounders {
		return salt, nil, "", fmt.Errorf("%d founders and you: %w: at most %d together", len(founders), ErrTooLarge, protocol.MaxFounders)
	}
	seen := make(map[protocol.Key]string)
	for i, text := range founders {
		c, err := protocol.ParseConsent(text)
		if err != nil {
			return salt, nil, "", err
		}
		if i == 0 {
			salt = c.Salt
			seen[n.account.Identity(salt).Root()] = "this is your own"
		}
		who := fmt.Sprintf("consent %d, by %q", i+1, c.Name)
		if c.Salt != salt {
			return salt, nil, "", fmt.Errorf("%s: %w: it is for another plan than the first", who, ErrBadPlan)
		}
		if why, ok := seen[c.Cert.Root]; ok {
			return salt, nil, "", fmt.Errorf("%s: %w: %s", who, ErrBadPlan, why)
		}
		seen[c.Cert.Root] = "it is there twice"
		certs = append(certs, c.Cert)
	}
	p, err := n.planOf(ctx, salt)
	if errors.Is(err, storage.ErrNotFound) || err == nil && !p.Mine {
		return salt, nil, "", fmt.Errorf("%w: the consents are for a plan that this node did not make, or has used", ErrBadPlan)
	}
	if err == nil && name != "" && name != p.Name {
		err = fmt.Errorf("%w: they agreed to found %q: leave the name out, or plan again", ErrBadPlan, p.Name)
	}
	return salt, certs, p.Name, err
}

// founded forgets the plan of a group that this person is in as a founder.
func (n *Node) founded(ctx context.Context, r *room) error {
	if r.meta.Tag == r.group || r.salt() != r.meta.Tag {
		return nil
	}
	return n.store.Delete(ctx, spacePlans, planKey(r.meta.Tag))
}

// salt returns that of the group's genesis, zero where it is not here.
func (r *room) salt() [32]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, c, _ := r.set.Get(r.group)
	if g, ok := c.(*protocol.Genesis); ok {
		return g.Salt
	}
	return [32]byte{}
}

// lobbyAnswer answers who knows an invite's lobby: this node does too, and knows the
// salt of the group's genesis.
func (r *room) lobbyAnswer(h *protocol.Hello, lobby protocol.Secret) protocol.Lobby {
	return protocol.Lobby{Tag: h.LobbyTag(lobby, protocol.Responder), Founder: h.FounderTag(r.salt())}
}

// founderTag returns what this person's identity in a group is derived from: the salt
// of a plan they agreed to, if the admitter shows that it is this group's, else the
// group's id. So nobody else sees what plans there are.
func (n *Node) founderTag(ctx context.Context, h *protocol.Hello, group protocol.ID, shown protocol.HelloTag) ([32]byte, error) {
	plans, err := n.store.List(ctx, spacePlans)
	if err != nil {
		return group, err
	}
	for key := range plans {
		b, err := hex.DecodeString(key)
		if err != nil || len(b) != 32 {
			return group, fmt.Errorf("plan %q in the store is damaged", key)
		}
		if h.FounderTag([32]byte(b)) == shown {
			return [32]byte(b), nil
		}
	}
	return group, nil
}
