package telemetry

import (
	"context"
	"errors"
	"time"

	"github.com/azimuth-ml/azimuth/internal/telemetry/logstore"
)

// houseEvery is how often rows that are too old are removed. Queries do not see
// them before.
const houseEvery = 6 * time.Hour

// activityRetention is how many days the activity log goes back: Azure keeps 90.
const activityRetention = 90

// keepHouse removes what nobody can query any more, now and every few hours of
// the injected clock.
func (s *Service) keepHouse() {
	s.houseMu.Lock()
	defer s.houseMu.Unlock()
	if s.closed {
		return
	}
	s.house = s.cfg.Clock.AfterFunc(houseEvery, func() {
		if err := s.Expire(context.Background()); err != nil && !errors.Is(err, logstore.ErrClosed) {
			s.cfg.Log.Error("remove old telemetry", "error", err)
		}
		s.keepHouse()
	})
}

// Expire removes rows that are older than their workspace or component keeps
// them, and all rows of those that are gone.
func (s *Service) Expire(ctx context.Context) error {
	spaces := s.store.Spaces() // before the resources: what has rows has been made
	days, err := s.cfg.Resources.Retentions(ctx)
	if err != nil {
		return err
	}
	now := s.cfg.Clock.Now()
	var errs []error
	for _, space := range spaces {
		keep, ok := days[space]
		if space == activitySpace {
			keep, ok = activityRetention, true
		}
		if !ok {
			errs = append(errs, s.store.Drop(space))
			continue
		}
		errs = append(errs, s.store.Expire(space, now.Add(-time.Duration(keep)*24*time.Hour)))
	}
	return errors.Join(errs...)
}

// Forget removes all rows of a workspace, or of a component that keeps its own,
// once it is gone. uid is the resource's UID.
func (s *Service) Forget(uid string) error { return s.store.Drop(uid) }
