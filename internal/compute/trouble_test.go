package compute

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// failingStore refuses writes while full is set.
type failingStore struct {
	store.Store
	full    atomic.Bool
	refused chan struct{}
}

func (s *failingStore) Update(ctx context.Context, fn func(store.Tx) error) error {
	if !s.full.Load() {
		return s.Store.Update(ctx, fn)
	}
	// The work is done and then undone, as when a commit fails.
	err := s.Store.Update(ctx, func(tx store.Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		return fmt.Errorf("commit: %w", store.ErrFull)
	})
	select {
	case s.refused <- struct{}{}:
	default:
	}
	return err
}

func TestFullDiskStopsNothingForGood(t *testing.T) {
	r := newRig(t)
	s := &failingStore{Store: r.db, refused: make(chan struct{}, 1)}
	r.Manager = NewManager(Config{Store: s, Clock: r.clock, Runner: r.runner, Workload: r.workload})
	r.run()
	r.putPool(0, 2)
	r.submit(Item{ID: "/jobs/a"}, Item{ID: "/jobs/b"}, Item{ID: "/jobs/c"})
	r.untilPhase("/jobs/a", PhaseRunning)
	r.untilPhase("/jobs/b", PhaseRunning)
	s.full.Store(true)
	r.runner.endTask("/jobs/a", 0, TaskResult{ExitCode: 3})
	<-s.refused
	if p := r.item("/jobs/a").Phase; p != PhaseRunning || r.runner.started["/jobs/c"] != 0 {
		t.Errorf("a is %s and c was started %d times while nothing could be written", p, r.runner.started["/jobs/c"])
	}
	s.full.Store(false)
	r.stepToNextTimer(time.Minute)
	if o := r.untilPhase("/jobs/a", PhaseDone).Outcome; o.Tasks[0].ExitCode != 3 {
		t.Errorf("a: %+v", o)
	}
	r.untilPhase("/jobs/c", PhaseRunning)
}

// brokenRunner has a Watch that can be broken off.
type brokenRunner struct {
	*fakeRunner
	broken chan struct{}
}

func (b *brokenRunner) Watch(ctx context.Context, report func(Report)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-b.broken:
			cancel(errors.New("connection reset"))
		case <-ctx.Done():
		}
	}()
	if err := b.fakeRunner.Watch(ctx, report); err != nil {
		return context.Cause(ctx)
	}
	return nil
}

func TestWatchIsTakenUpAgain(t *testing.T) {
	r := newRig(t)
	b := &brokenRunner{fakeRunner: r.runner, broken: make(chan struct{})}
	r.Manager = NewManager(Config{Store: r.db, Clock: r.clock, Runner: b, Workload: r.workload})
	r.run()
	r.putPool(0, 4)
	r.submit(Item{ID: "/jobs/a"}, Item{ID: "/jobs/b"}, Item{ID: "/jobs/c"}, Item{ID: "/jobs/d"})
	for _, id := range []string{"/jobs/a", "/jobs/b", "/jobs/c", "/jobs/d"} {
		r.untilPhase(id, PhaseRunning)
	}
	b.broken <- struct{}{}
	// Meanwhile a ends, b vanishes, c's node vanishes; d runs on.
	r.runner.mu.Lock()
	r.runner.subs = map[int]chan Report{}
	for id, task := range r.runner.tasks {
		switch task.report.ItemID {
		case "/jobs/a":
			r.runner.end(task, TaskResult{ExitCode: 3})
		case "/jobs/b":
			delete(r.runner.tasks, id)
		case "/jobs/c":
			delete(r.runner.tasks, id)
			delete(r.runner.nodes, task.report.NodeID)
		}
	}
	r.runner.mu.Unlock()
	r.stepToNextTimer(time.Minute)
	if o := r.untilPhase("/jobs/a", PhaseDone).Outcome; o.Tasks[0].ExitCode != 3 {
		t.Errorf("a: %+v", o)
	}
	for _, id := range []string{"/jobs/b", "/jobs/c"} {
		if o := r.untilPhase(id, PhaseDone).Outcome; o.Cause != StopLost {
			t.Errorf("%s: %+v", id, o)
		}
	}
	if p := r.item("/jobs/d").Phase; p != PhaseRunning {
		t.Errorf("d is %s", p)
	}
}

func TestGangThatIsPreemptedWhileItStarts(t *testing.T) {
	r := newRig(t)
	entered, release := make(chan struct{}), make(chan struct{})
	var first atomic.Bool
	r.workload.on = func(ctx context.Context, method string, _ Item) error {
		if method == "Prepare" && first.CompareAndSwap(false, true) {
			close(entered)
			select {
			case <-release:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	}
	r.run()
	r.putPool(0, 2)
	r.submit(Item{ID: "/jobs/a", Nodes: 2})
	<-entered
	r.runner.setNode(r.item("/jobs/a").NodeIDs[1], NodeConditionPreempted)
	r.until("it runs", func() bool { s := r.item("/jobs/a"); return s.Phase == PhaseRunning && s.Attempt == 2 })
	if n := r.runner.started["/jobs/a"]; n != 2 {
		t.Errorf("%d tasks were started", n)
	}
	close(release)
}
