package storage

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/azimuth-ml/azimuth/internal/clock"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// Load decodes the row at key into a new T. It returns nil when there is none.
func Load[T any](tx store.Tx, bucket, key string) (*T, error) {
	b, err := tx.Get(bucket, key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return Decode[T](bucket, key, b)
}

// Decode decodes a row that was read.
func Decode[T any](bucket, key string, b []byte) (*T, error) {
	v := new(T)
	if err := json.Unmarshal(b, v); err != nil {
		return nil, fmt.Errorf("decode %s %q: %w", bucket, key, err)
	}
	return v, nil
}

// Save writes a row.
func Save(tx store.Tx, bucket, key string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s %q: %w", bucket, key, err)
	}
	return tx.Put(bucket, key, b)
}

// Stamps gives out ETags. Azure's are the time in units of 100 ns; these are too,
// made strictly increasing.
type Stamps struct{ last atomic.Uint64 }

// UnixTicks is 1970 in units of 100 ns since the year 1, which Azure's ETags count.
const UnixTicks = 621355968000000000

// Next returns the present, in nanoseconds, and an ETag that nothing had before.
func (s *Stamps) Next(c clock.Clock) (now int64, etag uint64) {
	now = c.Now().UnixNano()
	want := UnixTicks + uint64(now/100)
	for {
		last := s.last.Load()
		next := max(want, last+1)
		if s.last.CompareAndSwap(last, next) {
			return now, next
		}
	}
}
