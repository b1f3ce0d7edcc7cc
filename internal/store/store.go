// Package store keeps Azimuth's control-plane state: ordered collections of
// documents, changed in transactions that are durable before they are
// acknowledged.
//
// The model is small on purpose so that it can stand on SQLite (default) and
// PostgreSQL alike: a bucket is an ordered map from a string key to a value, and
// secondary indexes are further buckets kept by Collection in the same
// transaction.
package store

import (
	"context"
	"errors"
	"iter"
)

// ErrNotFound is returned by Tx.Get for a key that is not there.
var ErrNotFound = errors.New("store: not found")

// ErrFull is wrapped by Update when the disk has no room. Nothing of the
// transaction was kept.
var ErrFull = errors.New("store: no space left on the disk")

// ErrClosed is returned by every call after Close.
var ErrClosed = errors.New("store: closed")

// Store is a set of buckets. Implementations are safe for concurrent use and
// pass storetest.Run.
type Store interface {
	// View runs fn on a consistent snapshot. Writes through its Tx fail.
	View(ctx context.Context, fn func(Tx) error) error
	// Update runs fn alone among writers and commits what it wrote. When Update
	// returns nil the writes are on disk; when it returns an error none of them
	// is visible. Concurrent calls share one commit. fn must not keep the Tx,
	// call the Store, or block on other writers.
	Update(ctx context.Context, fn func(Tx) error) error
	// Close waits for running transactions and releases the store.
	Close() error
}

// Tx is one transaction. It is valid only inside the function it was given to
// and only on that goroutine.
type Tx interface {
	// Get returns the value at key, or ErrNotFound. The caller may keep it.
	Get(bucket, key string) ([]byte, error)
	// Put creates or replaces the value at key. The value must not be changed
	// before the transaction has ended.
	Put(bucket, key string, value []byte) error
	// Delete removes key. Removing what is not there is not an error.
	Delete(bucket, key string) error
	// Scan yields the entries of r in key order, comparing bytes. Entries that
	// the same transaction writes during the scan may or may not be yielded.
	Scan(bucket string, r Range) iter.Seq2[Entry, error]
}

// Range selects keys of one bucket.
type Range struct {
	// Prefix keeps only keys that begin with it.
	Prefix string
	// After excludes this key and all before it (all behind it when Reverse).
	// Empty means from the start.
	After string
	// Limit is the most entries to yield; 0 means all.
	Limit int
	// Reverse yields the largest key first.
	Reverse bool
}

// Entry is one key and its value.
type Entry struct {
	Key   string
	Value []byte
}

// PrefixEnd is the smallest string greater than every string that begins with
// prefix, or "" if there is none.
func PrefixEnd(prefix string) string {
	b := []byte(prefix)
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] != 0xff {
			b[i]++
			return string(b[:i+1])
		}
	}
	return ""
}
