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
	return r.alter(r.ready, func(ctx context.Context, c *change) error {
		k := v.Key()
		key := r.keys.record(k.Dev, k.Type)
		b, err := c.get(ctx, key)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		old, err := protocol.VerifyRecord(r.group, b)
		if err != nil || v.Newer(old) { // one that is damaged is replaced
			c.put(key, v.Wire())
		}
		return nil
	})
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
