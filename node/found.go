package node

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

// CreateGroup starts a group with this person as its founder.
func (n *Node) CreateGroup(ctx context.Context, name string) (protocol.ID, error) {
	return n.createGroup(ctx, name, protocol.HistoryAll)
}

func (n *Node) createGroup(ctx context.Context, name string, history protocol.History) (protocol.ID, error) {
	if err := n.alive(); err != nil {
		return protocol.ID{}, err
	}
	if err := checkGroupName(name); err != nil {
		return protocol.ID{}, fmt.Errorf("create group: %w", err)
	}
	genesis, salt, err := n.genesis(history)
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
		return protocol.ID{}, fmt.Errorf("create group: %w", err)
	}
	// What names the group comes last: a crash before it leaves nothing that shows.
	if err := commit.Wait(ctx); err != nil {
		return protocol.ID{}, fmt.Errorf("create group: %w", err)
	}
	r.mu.Lock()
	err = r.saveMeta(ctx)
	r.mu.Unlock()
	if err != nil {
		return protocol.ID{}, fmt.Errorf("create group: %w", err)
	}
	n.addRoom(r)
	return r.group, r.finish(ctx, commit, events...)
}

func (n *Node) genesis(history protocol.History) (v protocol.Verified, salt [32]byte, err error) {
	_, _ = rand.Read(salt[:])
	me := n.account.Identity(salt)
	d := protocol.Draft{
		Kind: protocol.KindGenesis, Prev: protocol.Tip{Dev: me.Dev(), Chain: protocol.Control},
		HLC: new(protocol.Clock).Next(n.now()),
	}
	g := &protocol.Genesis{Salt: salt, Founders: []protocol.Cert{me.Cert()}, History: history}
	v, err = d.SignControl(g, nil, nil, me.Signer(), rand.Reader)
	return v, salt, err
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
	if err := r.saveSecret(ctx, ep.ID, e); err != nil {
		return nil, nil, err
	}
	r.keys.pending[ep.ID] = e
	first, _, err := r.issue(protocol.KindRekey, rekey, nil)
	if err != nil {
		return nil, nil, err
	}
	named, commit, err := r.issue(protocol.KindSetting, &protocol.Setting{Number: protocol.SettingName}, &protocol.Aside{Text: name})
	return []protocol.Verified{genesis, first, named}, commit, err
}
