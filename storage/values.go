package storage

import (
	"context"
	"fmt"
	"strings"

	"github.com/ipfs/go-datastore/query"
)

// valueKey returns the key of a small value. Names are any bytes.
func valueKey(space, name string) (string, error) {
	for _, s := range []string{space, name} {
		if s == "" || len(s) > MaxName {
			return "", fmt.Errorf("a name of %d bytes: %w: from 1 to %d", len(s), ErrTooLarge, MaxName)
		}
	}
	return "/s/" + string(appendText(nil, []byte(space))) + "/" + string(appendText(nil, []byte(name))), nil
}

// Put stores a small value: a secret, a setting, an address. It is durable when
// Put returns nil. When ctx ends first, it may be stored or not.
func (s *Store) Put(ctx context.Context, space, name string, value []byte) error {
	if len(value) > MaxValue {
		return fmt.Errorf("put %s: %d bytes: %w: at most %d", name, len(value), ErrTooLarge, MaxValue)
	}
	key, err := valueKey(space, name)
	if err != nil {
		return fmt.Errorf("put: %w", err)
	}
	return s.change(ctx, "put", space, name, write{value: s.seal.close(key, value)})
}

// Delete removes a small value; one that is not there is fine.
func (s *Store) Delete(ctx context.Context, space, name string) error {
	return s.change(ctx, "delete", space, name, write{del: true})
}

func (s *Store) change(ctx context.Context, verb, space, name string, w write) error {
	key, err := valueKey(space, name)
	if err != nil {
		return fmt.Errorf("%s: %w", verb, err)
	}
	w.key = key
	it := newItem([]write{w})
	it.commit = newCommit()
	if err := s.begin(); err != nil {
		return fmt.Errorf("%s %s: %w", verb, name, err)
	}
	s.queue.push(it)
	s.end()
	if err := it.commit.Wait(ctx); err != nil {
		return fmt.Errorf("%s %s: %w", verb, name, err)
	}
	return nil
}

// Get returns a small value; ErrNotFound where there is none.
func (s *Store) Get(ctx context.Context, space, name string) ([]byte, error) {
	key, err := valueKey(space, name)
	if err != nil {
		return nil, fmt.Errorf("get: %w", err)
	}
	if err := s.begin(); err != nil {
		return nil, fmt.Errorf("get %s: %w", name, err)
	}
	defer s.end()
	b, err := s.get(ctx, key)
	if err == nil {
		b, err = s.seal.open(key, b)
	}
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", name, err)
	}
	return b, nil
}

// List returns the values of a space by name, at most MaxValues.
func (s *Store) List(ctx context.Context, space string) (map[string][]byte, error) {
	prefix, err := valueKey(space, "x")
	if err != nil {
		return nil, fmt.Errorf("list: %w", err)
	}
	if err := s.begin(); err != nil {
		return nil, fmt.Errorf("list %s: %w", space, err)
	}
	defer s.end()
	prefix = prefix[:strings.LastIndexByte(prefix, '/')]
	values := make(map[string][]byte)
	err = each(ctx, s.ds, query.Query{Prefix: prefix, Limit: MaxValues}, func(e query.Entry) error {
		name, err := text64.DecodeString(e.Key[len(prefix)+1:])
		if err != nil {
			return fmt.Errorf("%s: %w: %v", e.Key, ErrDamaged, err)
		}
		values[string(name)], err = s.seal.open(e.Key, e.Value)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", space, err)
	}
	return values, nil
}
