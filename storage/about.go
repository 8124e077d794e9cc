package storage

import (
	"context"
	"slices"

	"github.com/ipfs/go-datastore/query"

	"github.com/p2pchat/p2pchat/protocol"
)

// Target is the beginning of an event's id, as much of it as the index by target
// keeps: for a set that says which messages need a closer look.
type Target [9]byte

// TargetOf returns the target that an id is found under.
func TargetOf(id protocol.ID) Target { return Target(id[:]) }

// About returns the committed events whose header names a message, ascending by id;
// whether the message is stored does not matter. Of one device there are the first
// maxAbout that arrived, so that nobody crowds others out. Damaged entries are
// treated as in [Room.After].
func (r *Room) About(ctx context.Context, target protocol.ID) ([]Entry, error) {
	if err := r.store.begin(); err != nil {
		return nil, err
	}
	defer r.store.end()
	var cursors []uint64
	err := r.eachAbout(ctx, r.keys.about(target), func(_ Target, cursor uint64) { cursors = append(cursors, cursor) })
	if err != nil {
		return nil, err
	}
	var p page
	of, o := make(map[protocol.Key]int), r.opener()
	for _, c := range cursors {
		e, err := o.at(ctx, c)
		if err == nil {
			h := e.Event.Header()
			if h.To != target || of[h.Dev] == maxAbout {
				continue // another's, by a torn batch or by the first bytes of its id
			}
			of[h.Dev]++
		}
		if err := p.add(e, err); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(p.entries, func(a, b Entry) int { return a.Event.ID().Compare(b.Event.ID()) })
	return p.entries, p.damage
}

// Abouts returns, ascending, the targets that About may find something for. It reads
// keys only; as they are hints, there may be nothing behind one.
func (r *Room) Abouts(ctx context.Context) ([]Target, error) {
	if err := r.store.begin(); err != nil {
		return nil, err
	}
	defer r.store.end()
	var list []Target
	err := r.eachAbout(ctx, r.keys.prefix('a'), func(t Target, _ uint64) {
		if len(list) == 0 || list[len(list)-1] != t {
			list = append(list, t)
		}
	})
	return list, err
}

// eachAbout visits the index by target under a prefix, by target and cursor.
func (r *Room) eachAbout(ctx context.Context, prefix string, visit func(Target, uint64)) error {
	end := r.Cursor()
	q := query.Query{Prefix: prefix, Orders: []query.Order{query.OrderByKey{}}, KeysOnly: true}
	return each(ctx, r.store.ds, q, func(e query.Entry) error {
		if t, cursor, ok := r.keys.parseAbout(e.Key); ok && cursor <= end {
			visit(t, cursor)
		}
		return nil
	})
}
