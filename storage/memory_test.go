package storage_test

import (
	"testing"

	dstest "github.com/ipfs/go-datastore/test"

	"github.com/p2pchat/p2pchat/storage"
)

// go-datastore's own tests of any datastore.
func TestMemory(t *testing.T) {
	dstest.SubtestAll(t, storage.NewMemory())
}
