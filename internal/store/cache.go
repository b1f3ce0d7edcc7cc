package store

import "sync"

// Versioned is what a Tx may be besides, so that what is read often can be kept
// in memory.
type Versioned interface {
	// Version returns the version of a bucket: while it stays the same, so does
	// all that a transaction of the kind, reader or writer, finds there. What this
	// transaction finds is of that version only if fresh is true. Versions of
	// readers and of writers have nothing to do with each other.
	Version(bucket string) (version uint64, fresh, writer bool)
}

// cacheLimit is how many values a cache keeps of each kind of transaction.
const cacheLimit = 4096

// Cache keeps values of one bucket in memory for as long as nothing in the bucket
// changes. It is for small buckets that are read by nearly every request and
// seldom written. A caller finds its own committed writes; a reader that began
// before another's commit may find that one's.
type Cache[T any] struct {
	bucket string
	load   func(tx Tx, key string) (T, error)
	kinds  [2]cacheOf[T] // of readers, of writers
}

type cacheOf[T any] struct {
	mu      sync.RWMutex
	version uint64
	values  map[string]T
}

// NewCache makes a cache of what load returns for keys. load must read nothing
// but the bucket. What it returns is shared between callers of Get.
func NewCache[T any](bucket string, load func(tx Tx, key string) (T, error)) *Cache[T] {
	return &Cache[T]{bucket: bucket, load: load}
}

// Get returns what load does. Errors are not kept.
func (c *Cache[T]) Get(tx Tx, key string) (T, error) {
	v, ok := tx.(Versioned)
	if !ok {
		return c.load(tx, key)
	}
	version, fresh, writer := v.Version(c.bucket)
	k := &c.kinds[0]
	if writer {
		k = &c.kinds[1]
	}
	k.mu.RLock()
	value, ok := k.values[key]
	ok = ok && k.version == version
	k.mu.RUnlock()
	if ok {
		return value, nil
	}
	value, err := c.load(tx, key)
	if err != nil || !fresh {
		return value, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.version != version || k.values == nil || len(k.values) >= cacheLimit {
		if k.version > version {
			return value, nil // another has read a later one
		}
		k.version, k.values = version, map[string]T{}
	}
	k.values[key] = value
	return value, nil
}
