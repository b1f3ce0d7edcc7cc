package local

import (
	"context"
	"sync"

	"github.com/azimuth-ml/azimuth/internal/compute"
)

// subscriber is one call of Watch. Its queue has no bound, so that telling it
// never blocks the Runner.
type subscriber struct {
	mu    sync.Mutex
	queue []compute.Report
	wake  chan struct{}
}

func (s *subscriber) add(r ...compute.Report) {
	s.mu.Lock()
	s.queue = append(s.queue, r...)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// tell passes a report on. r.mu is held, so all subscribers see one order.
func (r *Runner) tell(rep compute.Report) {
	for s := range r.subscribers {
		s.add(rep)
	}
}

// Watch implements compute.Runner.
func (r *Runner) Watch(ctx context.Context, report func(compute.Report)) error {
	s := &subscriber{wake: make(chan struct{}, 1)}
	r.mu.Lock()
	for _, n := range r.nodes {
		s.add(r.nodeReport(n))
	}
	for _, t := range r.tasks {
		s.add(t.report())
	}
	s.add(compute.Report{Synced: true})
	r.subscribers[s] = true
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.subscribers, s)
		r.mu.Unlock()
	}()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.wake:
		}
		s.mu.Lock()
		queue := s.queue
		s.queue = nil
		s.mu.Unlock()
		for _, rep := range queue {
			report(rep)
		}
	}
}
