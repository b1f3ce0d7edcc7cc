//go:build unix

package local_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/azimuth-ml/azimuth/internal/clock"
	"github.com/azimuth-ml/azimuth/internal/compute"
	"github.com/azimuth-ml/azimuth/internal/compute/local"
	"github.com/azimuth-ml/azimuth/internal/store"
	"github.com/azimuth-ml/azimuth/internal/store/sqlite"
)

// scripts is a workload of shell scripts, by the item's ID.
type scripts struct {
	dir      string
	script   func(id string) string
	mu       sync.Mutex
	outcomes map[string]compute.Outcome
}

func (w *scripts) Prepare(_ context.Context, item compute.Item, nodes []compute.Node) ([]compute.TaskSpec, error) {
	var specs []compute.TaskSpec
	for _, n := range nodes {
		dir := filepath.Join(n.Info.Dir, filepath.Base(item.ID))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		specs = append(specs, compute.TaskSpec{
			Argv: []string{"/bin/sh", "-c", w.script(item.ID)},
			Env:  []string{"PATH=" + os.Getenv("PATH"), "OUT=" + w.dir, fmt.Sprintf("RANK=%d", n.Rank)},
			Dir:  dir, LogPath: filepath.Join(w.dir, fmt.Sprintf("%s.%d.log", filepath.Base(item.ID), n.Rank)),
		})
	}
	return specs, nil
}

func (w *scripts) Started(context.Context, compute.Item, []compute.Node) error { return nil }

func (w *scripts) Preempted(context.Context, compute.Item, string) error { return nil }

func (w *scripts) Finished(_ context.Context, item compute.Item, o compute.Outcome) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.outcomes[item.ID] = o
	return nil
}

// TestManagerOnRealProcesses runs short jobs and gangs on a pool, restarts the
// server several times meanwhile, and wants each job to have run exactly once
// and nothing to be left.
func TestManagerOnRealProcesses(t *testing.T) {
	const jobs = 30
	home, db := t.TempDir(), openStore(t)
	c := clock.NewManual(epoch)
	w := &scripts{dir: t.TempDir(), outcomes: map[string]compute.Outcome{}, script: func(id string) string {
		return `echo ran $RANK; echo more >&2; case ` + id + ` in *3) exit 3;; esac`
	}}
	var m *compute.Manager
	begin := func() (stop func()) {
		r, err := local.Open(local.Options{Dir: home, Clock: c})
		if err != nil {
			t.Fatal(err)
		}
		m = compute.NewManager(compute.Config{Store: db, Clock: c, Runner: r, Workload: w})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		return func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			r.Close()
		}
	}
	view := func(fn func(store.Tx) error) {
		t.Helper()
		if err := db.View(t.Context(), fn); err != nil {
			t.Fatal(err)
		}
	}
	id := func(i int) string { return fmt.Sprintf("/jobs/job%d", i) }
	nodes := func(i int) int { return 1 + i%5/4 } // every fifth is a gang of two
	wait := func(cond func(store.Tx) bool) {
		t.Helper()
		deadline := time.After(60 * time.Second)
		for ok := false; ; {
			news := m.Changes()
			view(func(tx store.Tx) error { ok = cond(tx); return nil })
			if ok {
				return
			}
			select {
			case <-news:
			case <-deadline:
				t.Fatal("waited in vain")
			}
		}
	}
	done := func(tx store.Tx) (n int) {
		for i := range jobs {
			if s, err := m.ItemStatus(tx, id(i)); err == nil && s.Phase == compute.PhaseDone {
				n++
			}
		}
		return n
	}
	stop := begin()
	err := db.Update(t.Context(), func(tx store.Tx) error {
		if err := m.PutPool(tx, compute.Pool{ID: "/pools/p", Max: 3, IdleTime: time.Minute}); err != nil {
			return err
		}
		for i := range jobs {
			if err := m.Submit(tx, compute.Item{ID: id(i), PoolID: "/pools/p", Nodes: nodes(i)}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{jobs / 4, jobs / 2, jobs * 3 / 4} {
		wait(func(tx store.Tx) bool { return done(tx) >= n })
		stop()
		stop = begin()
	}
	wait(func(tx store.Tx) bool { return done(tx) == jobs })
	c.Step(time.Minute)
	wait(func(tx store.Tx) bool {
		s, err := m.PoolStatus(tx, "/pools/p")
		return err == nil && s.Current == 0
	})
	stop()
	for i := range jobs {
		want := compute.Completed
		if i%10 == 3 {
			want = compute.Failed
		}
		if o := w.outcomes[id(i)]; o.Result != want || len(o.Tasks) != nodes(i) {
			t.Errorf("%s: %+v", id(i), o)
		}
		for rank := range nodes(i) {
			log := filepath.Join(w.dir, fmt.Sprintf("job%d.%d.log", i, rank))
			b, err := os.ReadFile(log)
			once := fmt.Sprintf("ran %d\nmore\n", rank)
			// A gang of which only some tasks were started when the server stopped
			// ends and starts anew.
			anew := nodes(i) > 1 && rank == 0 && string(b) == once+once
			if err != nil || (string(b) != once && !anew) {
				t.Errorf("%s: %q, %v", log, b, err)
			}
		}
	}
	for _, dir := range []string{"nodes", "tasks"} {
		left, err := os.ReadDir(filepath.Join(home, dir))
		if err != nil || len(left) > 0 {
			t.Errorf("left in %s: %v, %v", dir, left, err)
		}
	}
}

func openStore(t testing.TB) store.Store {
	t.Helper()
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "azimuth.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// BenchmarkSubmitToEnd is a job on a warm node, from its submission until the
// workload has its results.
func BenchmarkSubmitToEnd(b *testing.B) {
	db, c := openStore(b), clock.NewManual(epoch)
	r, err := local.Open(local.Options{Dir: b.TempDir(), Clock: c})
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	w := &scripts{dir: b.TempDir(), outcomes: map[string]compute.Outcome{}, script: func(string) string { return "exit 0" }}
	m := compute.NewManager(compute.Config{Store: db, Clock: c, Runner: r, Workload: w})
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	defer func() { cancel(); <-done }()
	update := func(fn func(store.Tx) error) {
		if err := db.Update(b.Context(), fn); err != nil {
			b.Fatal(err)
		}
	}
	update(func(tx store.Tx) error {
		return m.PutPool(tx, compute.Pool{ID: "/pools/p", Min: 1, Max: 1, IdleTime: time.Minute})
	})
	i := 0
	for b.Loop() {
		i++
		id := fmt.Sprintf("/jobs/%d", i)
		update(func(tx store.Tx) error { return m.Submit(tx, compute.Item{ID: id, PoolID: "/pools/p", Nodes: 1}) })
		for {
			news := m.Changes()
			var s compute.ItemStatus
			if err := db.View(b.Context(), func(tx store.Tx) (err error) { s, err = m.ItemStatus(tx, id); return err }); err != nil {
				b.Fatal(err)
			}
			if s.Phase == compute.PhaseDone {
				break
			}
			<-news
		}
	}
}
