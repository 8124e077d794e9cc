package storage

import (
	"context"
	"errors"
	"fmt"

	"github.com/ipfs/go-datastore/query"

	"github.com/p2pchat/p2pchat/protocol"
)

// PutRecord stores a record if it is newer than the one of its device and type. The
// commit is done when it, or the one that stays, is durable.
func (r *Room) PutRecord(v protocol.VerifiedRecord) *Commit {
	if err := r.store.begin(); err != nil {
		return failed(err)
	}
	defer r.store.end()
	r.mu.Lock()
	defer r.mu.Unlock()
	ctx := context.Background() // what is taken is finished
	if err := r.ready(ctx); err != nil {
		return failed(err)
	}
	if r.store.queue.full() {
		return failed(ErrBusy)
	}
	c := r.newChange()
	k := v.Key()
	key := r.keys.record(k.Dev, k.Type)
	b, err := c.get(ctx, key)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return failed(err)
	}
	old, err := protocol.VerifyRecord(r.group, b)
	if err != nil || v.Newer(old) { // one that is damaged is replaced
		c.put(key, v.Wire())
	}
	return r.enqueue(c)
}

// Records returns the newest record of each device and type, at most MaxRecords.
// Damaged ones are left out and named by an error that comes with the others;
// sync brings them again.
func (r *Room) Records(ctx context.Context) ([]protocol.VerifiedRecord, error) {
	if err := r.store.begin(); err != nil {
		return nil, err
	}
	defer r.store.end()
	var list []protocol.VerifiedRecord
	var damage error
	err := each(ctx, r.store.ds, query.Query{Prefix: r.keys.prefix('n'), Limit: MaxRecords}, func(e query.Entry) error {
		v, err := protocol.VerifyRecord(r.group, e.Value)
		if err != nil {
			damage = fmt.Errorf("%s: %w: %v", e.Key, ErrDamaged, err)
			return nil
		}
		list = append(list, v)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return list, damage
}
