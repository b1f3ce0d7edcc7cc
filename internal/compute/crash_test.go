package compute

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/azimuth-ml/azimuth/internal/clock"
	"github.com/azimuth-ml/azimuth/internal/store"
)

var errKilled = errors.New("killed")

// life is one process of the server: everything that its Manager does to the
// outside counts, and at a chosen moment it is killed, before or after that
// deed took effect. From then on nothing it does has any effect.
type life struct {
	mu     sync.Mutex
	left   int // deeds until death; negative: it lives on
	before bool
	dead   chan struct{}
	cancel context.CancelFunc
}

// do serializes deeds, so that what comes after the death has no effect.
func (l *life) do(deed func() error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.dead:
		return errKilled
	default:
	}
	l.left--
	if l.left != 0 {
		return deed()
	}
	if !l.before {
		_ = deed()
	}
	close(l.dead)
	l.cancel()
	return errKilled
}

type mortalStore struct {
	store.Store
	life *life
}

func (s mortalStore) Update(ctx context.Context, fn func(store.Tx) error) error {
	return s.life.do(func() error { return s.Store.Update(ctx, fn) })
}

type mortalRunner struct {
	*fakeRunner
	life *life
}

func (r mortalRunner) StartNode(ctx context.Context, s NodeSpec) (info NodeInfo, err error) {
	err = r.life.do(func() error { info, err = r.fakeRunner.StartNode(ctx, s); return err })
	return info, err
}
func (r mortalRunner) StopNode(ctx context.Context, id string) error {
	return r.life.do(func() error { return r.fakeRunner.StopNode(ctx, id) })
}
func (r mortalRunner) StartTask(ctx context.Context, s TaskSpec) error {
	return r.life.do(func() error { return r.fakeRunner.StartTask(ctx, s) })
}
func (r mortalRunner) StopTask(ctx context.Context, id string, g time.Duration) error {
	return r.life.do(func() error { return r.fakeRunner.StopTask(ctx, id, g) })
}
func (r mortalRunner) RemoveTask(ctx context.Context, id string) error {
	return r.life.do(func() error { return r.fakeRunner.RemoveTask(ctx, id) })
}

type mortalWorkload struct {
	*fakeWorkload
	life *life
}

func (w mortalWorkload) Prepare(ctx context.Context, it Item, n []Node) (specs []TaskSpec, err error) {
	err = w.life.do(func() error { specs, err = w.fakeWorkload.Prepare(ctx, it, n); return err })
	return specs, err
}
func (w mortalWorkload) Started(ctx context.Context, it Item, n []Node) error {
	return w.life.do(func() error { return w.fakeWorkload.Started(ctx, it, n) })
}
func (w mortalWorkload) Finished(ctx context.Context, it Item, o Outcome) error {
	return w.life.do(func() error { return w.fakeWorkload.Finished(ctx, it, o) })
}

// TestKilledAtEveryStep runs one story again and again and kills the server at
// its first deed, its second, and so on to the last: each write to the store,
// each call of the runner, each call of the workload. Every time a new server
// must bring the story to the same end.
func TestKilledAtEveryStep(t *testing.T) {
	for _, before := range []bool{true, false} {
		for n := 1; ; n++ {
			died := false
			ok := t.Run(fmt.Sprintf("before=%v/%d", before, n), func(t *testing.T) {
				died = story(t, n, before)
			})
			if !ok {
				return
			}
			if !died {
				break // it was all over before deed n
			}
		}
	}
}

// story reports whether the first server was killed.
func story(t *testing.T, killAt int, before bool) bool {
	r := &rig{t: t, db: openStore(t), clock: clock.NewManual(epoch), runner: newFakeRunner(), workload: newFakeWorkload()}
	r.runner.exits = map[string]int{"ok": 0, "gang": 0, "bad": 3}
	r.Manager = NewManager(Config{Store: r.db, Clock: r.clock, Runner: r.runner, Workload: r.workload})
	r.putPool(0, 2)
	r.submit(Item{ID: "/jobs/held"}, Item{ID: "/jobs/ok"}, Item{ID: "/jobs/gang", Nodes: 2}, Item{ID: "/jobs/bad"})
	want := map[string]Result{"/jobs/held": Canceled, "/jobs/ok": Completed, "/jobs/gang": Completed, "/jobs/bad": Failed}

	// live runs a server until goal or its death.
	live := func(killAt int, goal func() bool) (died bool) {
		ctx, cancel := context.WithCancel(t.Context())
		l := &life{left: killAt, before: before, dead: make(chan struct{}), cancel: cancel}
		r.Manager = NewManager(Config{
			Store: mortalStore{r.db, l}, Clock: r.clock,
			Runner: mortalRunner{r.runner, l}, Workload: mortalWorkload{r.workload, l},
		})
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		defer func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		}()
		deadline := time.After(20 * time.Second)
		for {
			news := r.Changes()
			// The user cancels the item that would never end.
			if s := r.item("/jobs/held"); s.Phase == PhaseRunning && s.Stop == nil {
				if err := r.Cancel(ctx, "/jobs/held"); err != nil && !errors.Is(err, errKilled) && !errors.Is(err, ErrItemDone) {
					t.Errorf("cancel: %v", err)
				}
			}
			// Time passes once the work is done.
			if s := r.pool(); s.Counts.Running+s.Counts.Preparing == 0 && s.Counts.Idle > 0 && r.allDone(want) {
				r.clock.Step(15 * time.Minute)
			}
			if goal() {
				return false
			}
			select {
			case <-l.dead:
				return true
			case <-news:
			case <-deadline:
				t.Fatalf("the story does not end: %s", r.describe())
			}
		}
	}
	goal := func() bool { return r.allDone(want) && r.pool().Current == 0 }
	died := live(killAt, goal)
	if died {
		live(-1, goal)
	}
	for id, result := range want {
		s := r.item(id)
		if s.Outcome == nil || s.Outcome.Result != result {
			t.Errorf("%s: %+v", id, s.Outcome)
		}
		got := r.workload.outcomes[id]
		if len(got) == 0 || len(got) > 2 || got[len(got)-1].Result != result {
			t.Errorf("%s: the workload was told %+v", id, got)
		}
		if max := s.Nodes * s.Attempt; r.runner.started[id] > max {
			t.Errorf("%s: %d tasks were started in %d attempts", id, r.runner.started[id], s.Attempt)
		}
		if s.Nodes == 1 && r.runner.started[id] != 1 {
			t.Errorf("%s ran %d times", id, r.runner.started[id])
		}
	}
	for _, v := range append(r.runner.violations, r.workload.violations...) {
		t.Error(v)
	}
	if len(r.runner.nodes)+len(r.runner.tasks) != 0 {
		t.Errorf("left over: %v, %v", r.runner.nodes, r.runner.tasks)
	}
	return died
}

func (r *rig) allDone(want map[string]Result) bool {
	for id := range want {
		if r.item(id).Phase != PhaseDone {
			return false
		}
	}
	return true
}
