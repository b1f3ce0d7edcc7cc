package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
)

// Collection keeps values of one type as JSON in one bucket, with secondary
// indexes in buckets of their own that change in the same transaction. A
// Collection is a value without state: make it once, use it with any Tx.
type Collection[T any] struct {
	// Name is the bucket. It must be unique in the store and never change.
	Name string
	// Key returns the primary key of v, which must not be empty.
	Key func(v *T) string
	// Indexes maps an index name to the entries that v has in it. Entries sort
	// bytewise; an entry need not be unique.
	Indexes map[string]func(v *T) []string
}

const sep = "\x00"

// Get returns the value at key, or ErrNotFound.
func (c *Collection[T]) Get(tx Tx, key string) (*T, error) {
	b, err := tx.Get(c.Name, key)
	if err != nil {
		return nil, err
	}
	return c.decode(key, b)
}

// Put creates or replaces v and its index entries.
func (c *Collection[T]) Put(tx Tx, v *T) error {
	key := c.Key(v)
	if key == "" {
		return fmt.Errorf("store: put in %s: empty key", c.Name)
	}
	if len(c.Indexes) > 0 {
		old, err := c.Get(tx, key)
		switch {
		case err == nil:
			if err := c.reindex(tx, key, old, v); err != nil {
				return err
			}
		case errors.Is(err, ErrNotFound):
			if err := c.reindex(tx, key, nil, v); err != nil {
				return err
			}
		default:
			return err
		}
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("store: encode %s %q: %w", c.Name, key, err)
	}
	return tx.Put(c.Name, key, b)
}

// Delete removes the value at key and its index entries. Removing what is not
// there is not an error.
func (c *Collection[T]) Delete(tx Tx, key string) error {
	if len(c.Indexes) > 0 {
		old, err := c.Get(tx, key)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := c.reindex(tx, key, old, nil); err != nil {
			return err
		}
	}
	return tx.Delete(c.Name, key)
}

// All yields the values whose primary keys are in r, in key order.
func (c *Collection[T]) All(tx Tx, r Range) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		for e, err := range tx.Scan(c.Name, r) {
			if err != nil {
				yield(nil, err)
				return
			}
			v, err := c.decode(e.Key, e.Value)
			if !yield(v, err) || err != nil {
				return
			}
		}
	}
}

// By yields the values with an entry in the named index in r, in index order.
// r.Prefix is matched against the entry, then the primary key: end it with
// Exact to match whole entries only.
func (c *Collection[T]) By(tx Tx, index string, r Range) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		for e, err := range tx.Scan(c.indexBucket(index), r) {
			if err != nil {
				yield(nil, err)
				return
			}
			v, err := c.Get(tx, string(e.Value))
			if err != nil {
				err = fmt.Errorf("store: index %s of %s names %q: %w", index, c.Name, e.Value, err)
			}
			if !yield(v, err) || err != nil {
				return
			}
		}
	}
}

// Exact turns an index entry into a Range.Prefix that matches it alone, and not
// longer entries that begin with it.
func Exact(entry string) string { return entry + sep }

// Position is the Range.After value that continues By behind v's entry.
func (c *Collection[T]) Position(entry string, v *T) string { return entry + sep + c.Key(v) }

func (c *Collection[T]) indexBucket(index string) string { return c.Name + "/" + index }

func (c *Collection[T]) decode(key string, b []byte) (*T, error) {
	v := new(T)
	if err := json.Unmarshal(b, v); err != nil {
		return nil, fmt.Errorf("store: decode %s %q: %w", c.Name, key, err)
	}
	return v, nil
}

func (c *Collection[T]) reindex(tx Tx, key string, old, v *T) error {
	for name, entries := range c.Indexes {
		bucket := c.indexBucket(name)
		keep := map[string]bool{}
		if v != nil {
			for _, e := range entries(v) {
				keep[e+sep+key] = true
			}
		}
		if old != nil {
			for _, e := range entries(old) {
				k := e + sep + key
				if keep[k] {
					delete(keep, k)
					continue
				}
				if err := tx.Delete(bucket, k); err != nil {
					return err
				}
			}
		}
		for k := range keep {
			if err := tx.Put(bucket, k, []byte(key)); err != nil {
				return err
			}
		}
	}
	return nil
}
