package storage

import (
	"context"
	"fmt"
	"time"

	"github.com/azimuth-ml/azimuth/internal/clock"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// Reaper runs what frees the space of a service, in the background.
type Reaper struct {
	clock clock.Clock
	wake  chan struct{}
}

// NewReaper returns a Reaper that goes by the clock.
func NewReaper(c clock.Clock) *Reaper { return &Reaper{clock: c, wake: make(chan struct{}, 1)} }

// Kick tells that there is garbage.
func (r *Reaper) Kick() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Run reaps at once and at each Kick until ctx ends. With expire, which finds what
// has become garbage by the time alone, it does that every hour, and reaps again.
// What fails is reported and tried again with the next round.
func (r *Reaper) Run(ctx context.Context, report func(error), reap, expire func(context.Context) error) {
	try := func(f func(context.Context) error) {
		if err := f(ctx); err != nil && ctx.Err() == nil {
			report(err)
		}
	}
	due := make(chan struct{}, 1)
	var timer clock.Timer
	again := func() {
		if expire != nil {
			timer = r.clock.AfterFunc(time.Hour, func() { due <- struct{}{} })
		}
	}
	again()
	defer func() {
		if timer != nil {
			timer.Stop()
		}
	}()
	for {
		try(reap)
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		case <-due:
			try(expire)
			again()
		}
	}
}

// Sweep removes the rows of all that the garbage bucket names: each key there is
// the ID of something that is gone, and of what was in it the rows in buckets whose
// keys are the ID, a slash and more. One transaction removes up to
// batch rows of each bucket.
func Sweep(ctx context.Context, st store.Store, batch int, garbage string, buckets ...string) error {
	for {
		left := false
		err := st.Update(ctx, func(tx store.Tx) error {
			left = false
			id := ""
			for row, err := range tx.Scan(garbage, store.Range{Limit: 1}) {
				if err != nil {
					return err
				}
				id, left = row.Key, true
			}
			if !left {
				return nil
			}
			n := 0
			for _, bucket := range buckets {
				var keys []string
				for row, err := range tx.Scan(bucket, store.Range{Prefix: id + "/", Limit: batch}) {
					if err != nil {
						return err
					}
					keys = append(keys, row.Key)
				}
				for _, k := range keys {
					if err := tx.Delete(bucket, k); err != nil {
						return err
					}
				}
				n += len(keys)
			}
			if n > 0 {
				return nil
			}
			return tx.Delete(garbage, id)
		})
		if err != nil {
			return fmt.Errorf("sweep %s: %w", garbage, err)
		}
		if !left {
			return nil
		}
	}
}
