package storage

import (
	"bytes"
	"context"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
)

// memory is a datastore that keeps nothing beyond the process. Unlike go-datastore's map,
// it holds its keys in order, so that a query costs what it finds and not all there is.
type memory struct {
	mu     sync.RWMutex
	values map[string][]byte
	keys   []string // ascending
}

// NewMemory returns a datastore in memory, for tests and for nodes that keep nothing. It
// may be used from several goroutines.
func NewMemory() datastore.Batching { return &memory{values: make(map[string][]byte)} }

func (m *memory) Put(_ context.Context, key datastore.Key, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := key.String()
	if _, ok := m.values[k]; !ok {
		at, _ := slices.BinarySearch(m.keys, k)
		m.keys = slices.Insert(m.keys, at, k)
	}
	m.values[k] = bytes.Clone(value)
	return nil
}

func (m *memory) Delete(_ context.Context, key datastore.Key) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := key.String()
	if at, ok := slices.BinarySearch(m.keys, k); ok {
		m.keys = slices.Delete(m.keys, at, at+1)
		delete(m.values, k)
	}
	return nil
}

func (m *memory) Get(_ context.Context, key datastore.Key) ([]byte, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	value, ok := m.values[key.String()]
	if !ok {
		return nil, datastore.ErrNotFound
	}
	return bytes.Clone(value), nil
}

func (m *memory) Has(_ context.Context, key datastore.Key) (bool, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	_, ok := m.values[key.String()]
	return ok, nil
}

func (m *memory) GetSize(_ context.Context, key datastore.Key) (int, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	value, ok := m.values[key.String()]
	if !ok {
		return -1, datastore.ErrNotFound
	}
	return len(value), nil
}

func (m *memory) Query(_ context.Context, q query.Query) (query.Results, error) {
	entries, rest := m.below(q.Prefix, q.KeysOnly), q
	switch rest.Prefix = ""; {
	case len(q.Orders) == 0:
	case q.Orders[0] == query.Order(query.OrderByKey{}):
		rest.Orders = nil
	case q.Orders[0] == query.Order(query.OrderByKeyDescending{}):
		slices.Reverse(entries)
		rest.Orders = nil
	}
	return query.NaiveQueryApply(rest, query.ResultsWithEntries(q, entries)), nil
}

// below returns the entries under a prefix, by their keys.
func (m *memory) below(prefix string, keysOnly bool) []query.Entry {
	prefix = strings.TrimSuffix(path.Clean("/"+prefix), "/") + "/" // only what is below it
	m.mu.RLock()
	defer m.mu.RUnlock()
	var out []query.Entry
	at, _ := slices.BinarySearch(m.keys, prefix)
	for ; at < len(m.keys) && strings.HasPrefix(m.keys[at], prefix); at++ {
		value := m.values[m.keys[at]]
		e := query.Entry{Key: m.keys[at], Size: len(value)}
		if !keysOnly {
			e.Value = bytes.Clone(value)
		}
		out = append(out, e)
	}
	return out
}

func (m *memory) Batch(context.Context) (datastore.Batch, error) {
	return datastore.NewBasicBatch(m), nil
}

func (*memory) Sync(context.Context, datastore.Key) error { return nil }
func (*memory) Close() error                              { return nil }
