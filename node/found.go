package node

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

// CreateGroup starts a group with this person as its founder, or with several: founders
// are the consents to a plan of this node, see [Node.PlanGroup]. The name is the plan's
// then, and may be empty here. Founders can never be removed.
func (n *Node) CreateGroup(ctx context.Context, name string, founders ...string) (protocol.ID, error) {
	id, err := n.createGroup(ctx, name, protocol.HistoryAll, founders)
	if err != nil {
		return id, fmt.Errorf("create group: %w", err)
	}
	return id, nil
}

func (n *Node) createGroup(ctx context.Context, name string, history protocol.History, founders []string) (protocol.ID, error) {
	if err := n.alive(); err != nil {
		return protocol.ID{}, err
	}
	salt, certs, name, err := n.together(ctx, name, founders)
	if err != nil {
		return protocol.ID{}, err
	}
	if err := checkGroupName(name); err != nil {
		return protocol.ID{}, err
	}
	genesis, err := n.genesis(salt, history, certs)
	if err != nil {
		return protocol.ID{}, err
	}
	secret, err := protocol.NewSecret(rand.Reader)
	if err != nil {
		return protocol.ID{}, err
	}
	meta := roomMeta{Tag: salt, Secrets: []protocol.Secret{secret}, Name: name}
	r, err := n.openRoom(ctx, genesis.ID(), meta)
	if err != nil {
		return protocol.ID{}, err
	}
	events, commit, err := r.found(ctx, genesis, name, secret)
	if err != nil {
		return protocol.ID{}, err
	}
	// What names the group comes last: a crash before it leaves nothing that shows.
	if err := commit.Wait(ctx); err != nil {
		return protocol.ID{}, err
	}
	r.mu.Lock()
	err = r.saveMeta(ctx)
	r.mu.Unlock()
	if err == nil && len(founders) > 0 {
		err = n.founded(ctx, r) // a plan is for one group
	}
	if err != nil {
		return protocol.ID{}, err
	}
	n.addRoom(r)
	return r.group, r.finish(ctx, commit, events...)
}

// genesis makes the first event of a group, which names all its founders.
func (n *Node) genesis(salt [32]byte, history protocol.History, others []protocol.Cert) (protocol.Verified, error) {
	me := n.account.Identity(salt)
	d := protocol.Draft{
		Kind: protocol.KindGenesis, Prev: protocol.Tip{Dev: me.Dev(), Chain: protocol.Control},
		HLC: new(protocol.Clock).Next(n.now()),
	}
	all := append(slices.Clone(others), me.Cert())
	slices.SortFunc(all, func(a, b protocol.Cert) int { return a.Root.Compare(b.Root) })
	g := &protocol.Genesis{Salt: salt, Founders: all, History: history}
	return d.SignControl(g, nil, nil, me.Signer(), rand.Reader)
}

// found writes a group's first events: genesis, first epoch, name. The epoch's
// secret is stored before the events that rest on it.
func (r *room) found(ctx context.Context, genesis protocol.Verified, name string, n protocol.Secret) ([]protocol.Verified, *storage.Commit, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.set.Add(genesis); err != nil {
		return nil, nil, err
	}
	r.append(genesis)
	e, err := protocol.NewSecret(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	d, _, err := r.draftControl(protocol.KindRekey)
	if err != nil {
		return nil, nil, err
	}
	ep, rekey, err := r.newEpoch(d, e, n)
	if err != nil {
		return nil, nil, err
	}
	secret := protocol.EpochSecret{Epoch: ep.ID, E: e}
	if err := r.saveSecret(ctx, secret); err != nil {
		return nil, nil, err
	}
	r.keys.Add(secret)
	first, _, err := r.issue(protocol.KindRekey, rekey, nil)
	if err != nil {
		return nil, nil, err
	}
	named, commit, err := r.issue(protocol.KindSetting, &protocol.Setting{Number: protocol.SettingName}, &protocol.Aside{Text: name})
	return []protocol.Verified{genesis, first, named}, commit, err
}
