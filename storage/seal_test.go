package storage_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage"
)

func openSealed(t *testing.T, ds datastore.Batching, key byte) *storage.Store {
	t.Helper()
	s, err := storage.Open(t.Context(), ds, storage.WithKey(protocol.Secret{key}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// everything returns all that a datastore holds, keys and values.
func everything(t *testing.T, ds datastore.Batching) map[string][]byte {
	t.Helper()
	res, err := ds.Query(context.Background(), query.Query{})
	if err != nil {
		t.Fatal(err)
	}
	all, err := res.Rest()
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string][]byte)
	for _, e := range all {
		out[e.Key] = e.Value
	}
	return out
}

func TestASealedStoreShowsNoValue(t *testing.T) {
	ds := storage.NewMemory()
	s := openSealed(t, ds, 1)
	value := []byte("what the disk must not show")
	if err := s.Put(t.Context(), "secrets", "a", value); err != nil {
		t.Fatal(err)
	}
	for key, b := range everything(t, ds) {
		if bytes.Contains(b, value) {
			t.Errorf("%s holds the value as it is", key)
		}
	}
	got, err := s.Get(t.Context(), "secrets", "a")
	if err != nil || !bytes.Equal(got, value) {
		t.Fatalf("got %q, %v", got, err)
	}
	all, err := s.List(t.Context(), "secrets")
	if err != nil || len(all) != 1 || !bytes.Equal(all["a"], value) {
		t.Fatalf("listed %q, %v", all, err)
	}
}

// Who can write the disk cannot pass one value off as another.
func TestASealedValueOpensInItsPlaceOnly(t *testing.T) {
	ds := storage.NewMemory()
	s := openSealed(t, ds, 1)
	before := everything(t, ds)
	if err := s.Put(t.Context(), "secrets", "a", []byte("one")); err != nil {
		t.Fatal(err)
	}
	var one []byte
	for key, b := range everything(t, ds) {
		if before[key] == nil {
			one = b
		}
	}
	if err := s.Put(t.Context(), "secrets", "b", []byte("two")); err != nil {
		t.Fatal(err)
	}
	for key := range everything(t, ds) {
		if before[key] == nil {
			if err := ds.Put(t.Context(), datastore.RawKey(key), one); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := s.Get(t.Context(), "secrets", "b"); !errors.Is(err, storage.ErrDamaged) {
		t.Errorf("another value in its place: %v", err)
	}
	if got, err := s.Get(t.Context(), "secrets", "a"); err != nil || string(got) != "one" {
		t.Errorf("the value in its own place: %q, %v", got, err)
	}
	if _, err := s.List(t.Context(), "secrets"); !errors.Is(err, storage.ErrDamaged) {
		t.Errorf("a list with another value in its place: %v", err)
	}
}

func TestASealedStoreOpensWithItsKeyOnly(t *testing.T) {
	sealed, open := storage.NewMemory(), storage.NewMemory()
	_ = openSealed(t, sealed, 1).Close()
	_ = openSealed(t, open, 0).Close()
	for _, c := range []struct {
		name string
		ds   datastore.Batching
		key  byte
		want error
	}{
		{"its key", sealed, 1, nil},
		{"another key", sealed, 2, storage.ErrWrongKey},
		{"no key", sealed, 0, storage.ErrWrongKey},
		{"a key for one without", open, 1, storage.ErrUnsealed},
		{"no key for one without", open, 0, nil},
	} {
		s, err := storage.Open(t.Context(), c.ds, storage.WithKey(protocol.Secret{c.key}))
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if err == nil {
			_ = s.Close()
		}
	}
}
