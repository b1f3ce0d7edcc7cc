package store

import "sync"

// Remembering is what a Tx may be besides, so that what is read often can be kept
// in memory.
type Remembering interface {
	// Memory returns what is remembered of a bucket, for transactions of this one's
	// kind, reader or writer. While the version stays the same, so does all that
	// such a transaction finds in the bucket. What this one finds is of the version
	// only if fresh is true.
	Memory(bucket string) (m *Memory, version uint64, fresh bool)
	// KeyMemory is Memory for a part of the bucket that key is in, which changes
	// less often than the whole. It is nil for a writer.
	KeyMemory(bucket, key string) (m *Memory, version uint64, fresh bool)
}

const (
	memoryLimit = 4096 // values that are remembered of a bucket
	partLimit   = 16   // values that are remembered of a part of one
)

// Memory is values of one version of a bucket, as Recall made them. The zero
// Memory is empty. It is safe for concurrent use.
type Memory struct {
	mu      sync.RWMutex
	version uint64
	values  map[string]any
}

// Recall returns what load returns, which must read nothing but the bucket, or
// what it returned for the key earlier if the bucket has not changed. It is for
// small buckets that are read by nearly every request and seldom written. A caller
// finds its own committed writes; a reader that began before another's commit may
// find that one's. The value is shared between callers; errors are not kept.
func Recall[T any](tx Tx, bucket, key string, load func() (T, error)) (T, error) {
	r, ok := tx.(Remembering)
	if !ok {
		return load()
	}
	m, version, fresh := r.Memory(bucket)
	return recall(m, version, fresh, key, memoryLimit, load)
}

// RecallKey is Recall for a load that reads nothing but the value at key of the
// bucket, for buckets of any size that are written often. A writer's load is
// called each time.
func RecallKey[T any](tx Tx, bucket, key string, load func() (T, error)) (T, error) {
	r, ok := tx.(Remembering)
	if !ok {
		return load()
	}
	m, version, fresh := r.KeyMemory(bucket, key)
	if m == nil {
		return load()
	}
	return recall(m, version, fresh, key, partLimit, load)
}

func recall[T any](m *Memory, version uint64, fresh bool, key string, limit int, load func() (T, error)) (T, error) {
	m.mu.RLock()
	v, ok := m.values[key].(T)
	ok = ok && m.version == version
	m.mu.RUnlock()
	if ok {
		return v, nil
	}
	v, err := load()
	if err != nil || !fresh {
		return v, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.version != version || m.values == nil || len(m.values) >= limit {
		if m.version > version {
			return v, nil // another has found a later one
		}
		m.version, m.values = version, map[string]any{}
	}
	m.values[key] = v
	return v, nil
}
