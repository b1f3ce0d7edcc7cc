package instance

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// timeline turns the machine's time into the clock's. The clock may be advanced,
// so how far it is ahead depends on when.
type timeline struct {
	mu   sync.Mutex
	legs []leg // oldest first
}

// leg says how far ahead the clock was from a moment of the machine's on.
type leg struct {
	from  time.Time
	ahead time.Duration
}

const (
	sameLead = 100 * time.Millisecond // the two are not read at once
	mostLegs = 64
)

// observe notes what both clocks show.
func (t *timeline) observe(wall, clock time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	ahead := clock.Sub(wall)
	if n := len(t.legs); n > 0 && (ahead-t.legs[n-1].ahead).Abs() < sameLead {
		return
	}
	t.legs = append(t.legs, leg{wall, ahead})
	if len(t.legs) > mostLegs {
		t.legs = t.legs[1:]
	}
}

// onClock is the clock's time at a moment of the machine's.
func (t *timeline) onClock(wall time.Time) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	var ahead time.Duration
	for i, l := range t.legs {
		if i > 0 && wall.Before(l.from) {
			break
		}
		ahead = l.ahead
	}
	return wall.Add(ahead)
}

// checkIdle stops an instance that nobody has used for as long as its setting
// says. Use is what Jupyter counts as activity, and a kernel that computes.
func (s *Service) checkIdle(ctx context.Context, r *record) (outcome, error) {
	now := s.cfg.Clock.Now()
	uid := r.Spec.UID
	s.mu.Lock()
	active, known := s.active[uid]
	s.mu.Unlock()
	if !known || active.Before(r.Since) {
		active = r.Since
	}
	if r.Spec.IdleAfter <= 0 {
		s.times.observe(s.cfg.Wall(), now)
		return outcome{}, nil
	}
	if deadline := active.Add(r.Spec.IdleAfter); now.Before(deadline) {
		s.times.observe(s.cfg.Wall(), now)
		return outcome{wake: deadline}, nil
	}
	if r.Task != "" {
		u, err := s.upstream(r)
		if err != nil {
			return outcome{}, err
		}
		last, busy, err := u.use(ctx)
		s.times.observe(s.cfg.Wall(), now)
		if err != nil {
			if ctx.Err() != nil {
				return outcome{}, ctx.Err()
			}
			// it may be computing: what cannot be asked is not taken for idle
			s.log.Warn("cannot see whether a compute instance is idle", logInstance, r.Spec.ID, logError, err)
			return outcome{wake: now.Add(retryMost)}, nil
		}
		if at := s.times.onClock(last); at.After(active) {
			active = at
		}
		if busy {
			active = now
		}
		s.mu.Lock()
		s.active[uid] = active
		s.mu.Unlock()
		if deadline := active.Add(r.Spec.IdleAfter); now.Before(deadline) {
			return outcome{wake: deadline}, nil
		}
	}
	s.log.Info("stopping an idle compute instance", logInstance, r.Spec.ID)
	return outcome{again: true}, s.update(ctx, r, func(now *record) error { return s.change(now, Stop, TriggerIdleShutdown) })
}

// runSchedules does what schedules have asked for since they were last looked
// at, and returns when the next is due, zero for never. Where several are due,
// as after the server was off, only the last counts.
func (s *Service) runSchedules(tx store.Tx, r *record) (wake time.Time, err error) {
	if len(r.Spec.Schedules) == 0 || r.State == Deleting {
		return time.Time{}, nil
	}
	now := s.cfg.Clock.Now()
	var due time.Time
	var do Event
	for i := range r.Spec.Schedules {
		sc := &r.Spec.Schedules[i]
		if !sc.Enabled {
			continue
		}
		last, next, err := sc.around(r.Checked, now)
		if err != nil {
			return time.Time{}, fmt.Errorf("schedule %d: %w", i, err)
		}
		if !last.IsZero() && !last.Before(due) {
			due, do = last, sc.Action
		}
		if !next.IsZero() && (wake.IsZero() || next.Before(wake)) {
			wake = next
		}
	}
	if due.IsZero() {
		return wake, nil
	}
	r.Checked = now
	if err := s.change(r, do, TriggerSchedule); err != nil {
		s.log.Info("a schedule of a compute instance has no effect", logInstance, r.Spec.ID, logReason, err)
	}
	return wake, s.records.Put(tx, r)
}
