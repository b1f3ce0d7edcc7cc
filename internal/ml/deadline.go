package ml

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// byDeadline has the sweeps that end at a certain time, soonest first.
const byDeadline = "deadline"

// deadline is the index entry of a run that a time limit ends, if one does.
func (r *run) deadline() []string {
	if r.Pipeline == nil || r.Pipeline.Sweep == nil || r.Pipeline.Sweep.Deadline.IsZero() || r.Deleted || r.Status.Terminal() || r.Status == CancelRequested {
		return nil
	}
	return []string{fmt.Sprintf("%020d", r.Pipeline.Sweep.Deadline.UnixNano())}
}

// deadlineChanged has the limits looked at again. It may be called in a transaction: they
// are looked at in another, which comes after it.
func (s *Service) deadlineChanged() {
	select {
	case s.deadlines <- struct{}{}:
	default:
	}
}

// keepDeadlines ends sweeps whose time is over, though all of their trials wait.
func (s *Service) keepDeadlines() {
	const retry = time.Minute
	for s.ctx.Err() == nil {
		next, err := s.expire(s.ctx)
		if err != nil && s.ctx.Err() == nil && !errors.Is(err, store.ErrClosed) {
			s.log.Error("end sweeps whose time is over", "error", err)
			next = s.cfg.Clock.Now().Add(retry)
		}
		stop := func() bool { return false }
		if !next.IsZero() {
			stop = s.cfg.Clock.AfterFunc(next.Sub(s.cfg.Clock.Now()), s.deadlineChanged).Stop
		}
		select {
		case <-s.ctx.Done():
		case <-s.deadlines:
		}
		stop()
	}
}

// expire ends the sweeps whose time is over, and returns when the next one's is.
func (s *Service) expire(ctx context.Context) (next time.Time, err error) {
	for {
		var ended *run
		err := s.cfg.Store.Update(ctx, func(tx store.Tx) error {
			ended, next = nil, time.Time{}
			var first *run
			for r, err := range s.runs.By(tx, byDeadline, store.Range{Limit: 1}) {
				if err != nil {
					return err
				}
				first = r
			}
			now := s.cfg.Clock.Now()
			if first == nil || now.Before(first.Pipeline.Sweep.Deadline) {
				if first != nil {
					next = first.Pipeline.Sweep.Deadline
				}
				return nil
			}
			ended = first
			if err := s.advance(ctx, tx, first, now); err != nil {
				return fmt.Errorf("sweep %s: %w", first.Name, err)
			}
			if len(first.deadline()) > 0 {
				return fmt.Errorf("sweep %s is over and goes on", first.Name)
			}
			if err := s.runs.Put(tx, first); err != nil {
				return err
			}
			return s.nestedEnded(ctx, tx, first, now)
		})
		if err != nil || ended == nil {
			return next, err
		}
		s.log.Info("the time of a sweep is over", "job", ended.Job)
		s.logPipeline(ctx, ended)
	}
}
