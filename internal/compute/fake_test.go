package compute

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/azimuth-ml/azimuth/internal/clock"
	"github.com/azimuth-ml/azimuth/internal/store"
	"github.com/azimuth-ml/azimuth/internal/store/sqlite"
)

// fakeRunner keeps nodes and tasks in memory. It outlives Managers, as a real
// runner's state does.
type fakeRunner struct {
	mu    sync.Mutex
	nodes map[string]*NodeReport
	tasks map[string]*fakeTask
	subs  map[int]chan Report
	next  int
	news  chan struct{} // closed when a task or a node is removed

	exits      map[string]int // exit code by the last word of the item's ID; absent: runs until stopped
	startErr   error          // of StartNode
	gate       chan struct{}  // StartNode waits for it, if set
	violations []string
	started    map[string]int // tasks started, by item
}

type fakeTask struct {
	report TaskReport
}

func newFakeRunner() *fakeRunner {
	return &fakeRunner{
		nodes: map[string]*NodeReport{}, tasks: map[string]*fakeTask{}, subs: map[int]chan Report{}, news: make(chan struct{}),
		exits: map[string]int{}, started: map[string]int{},
	}
}

func (f *fakeRunner) tell(r Report) {
	for _, ch := range f.subs {
		ch <- r
	}
}

func (f *fakeRunner) Capacity(context.Context) (Capacity, error) { return Capacity{CPUs: 2}, nil }

func (f *fakeRunner) StartNode(ctx context.Context, spec NodeSpec) (NodeInfo, error) {
	f.mu.Lock()
	gate, err := f.gate, f.startErr
	f.mu.Unlock()
	if err != nil {
		return NodeInfo{}, err
	}
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return NodeInfo{}, ctx.Err()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.nodes[spec.ID]
	if n == nil {
		n = &NodeReport{ID: spec.ID, Condition: NodeConditionReady, Info: NodeInfo{PrivateIP: fmt.Sprintf("10.0.0.%d", 4+spec.Index)}}
		f.nodes[spec.ID] = n
		f.tell(Report{Node: n})
	}
	return n.Info, nil
}

func (f *fakeRunner) StopNode(_ context.Context, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.nodes, id)
	for tid, task := range f.tasks {
		if task.report.NodeID == id {
			delete(f.tasks, tid)
		}
	}
	f.removed()
	return nil
}

// removed wakes those who wait for the runner to be empty. f.mu is held.
func (f *fakeRunner) removed() {
	close(f.news)
	f.news = make(chan struct{})
}

func (f *fakeRunner) removals() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.news
}

func (f *fakeRunner) StartTask(_ context.Context, spec TaskSpec) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.tasks[spec.ID] != nil {
		return nil
	}
	if f.nodes[spec.NodeID] == nil {
		f.violations = append(f.violations, "a task on a node that is not up: "+spec.NodeID)
	}
	for _, other := range f.tasks {
		if !other.report.Ended && other.report.ItemID == spec.ItemID && other.report.Attempt != spec.Attempt {
			f.violations = append(f.violations, "two attempts of "+spec.ItemID+" at once")
		}
		if !other.report.Ended && other.report.NodeID == spec.NodeID {
			f.violations = append(f.violations, "two tasks on "+spec.NodeID)
		}
	}
	f.started[spec.ItemID]++
	task := &fakeTask{report: TaskReport{TaskRef: spec.TaskRef}}
	f.tasks[spec.ID] = task
	f.tell(Report{Task: ptr(task.report)})
	if code, ok := f.exits[lastSegment(spec.ItemID)]; ok {
		f.end(task, TaskResult{ExitCode: code})
	}
	return nil
}

func (f *fakeRunner) end(task *fakeTask, r TaskResult) {
	if !task.report.Ended {
		task.report.Ended, task.report.Result = true, r
		f.tell(Report{Task: ptr(task.report)})
	}
}

// endTask ends the task with that index of an item.
func (f *fakeRunner) endTask(item string, index int, r TaskResult) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, task := range f.tasks {
		if task.report.ItemID == item && task.report.Index == index {
			f.end(task, r)
		}
	}
}

func (f *fakeRunner) setNode(id string, c NodeCondition) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := *f.nodes[id]
	n.Condition = c
	f.nodes[id] = &n
	// The node first: a task that is lost on a node of which nothing is said has
	// failed, and is not preempted.
	f.tell(Report{Node: &n})
	for _, task := range f.tasks {
		if task.report.NodeID == id {
			f.end(task, lostResult())
		}
	}
}

func (f *fakeRunner) StopTask(_ context.Context, id string, _ time.Duration) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if task := f.tasks[id]; task != nil {
		f.end(task, TaskResult{ExitCode: 143, Signal: "SIGTERM"})
	}
	return nil
}

func (f *fakeRunner) RemoveTask(_ context.Context, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if task := f.tasks[id]; task != nil && !task.report.Ended {
		return errors.New("the task runs")
	}
	delete(f.tasks, id)
	f.removed()
	return nil
}

func (f *fakeRunner) Watch(ctx context.Context, report func(Report)) error {
	f.mu.Lock()
	ch := make(chan Report, 10000)
	f.next++
	key := f.next
	f.subs[key] = ch
	for _, n := range f.nodes {
		ch <- Report{Node: n}
	}
	for _, task := range f.tasks {
		ch <- Report{Task: ptr(task.report)}
	}
	ch <- Report{Synced: true}
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		delete(f.subs, key)
		f.mu.Unlock()
	}()
	for {
		select {
		case r := <-ch:
			report(r)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func ptr[T any](v T) *T { return &v }

// fakeWorkload records what it is told.
type fakeWorkload struct {
	mu         sync.Mutex
	busy       map[string]bool
	outcomes   map[string][]Outcome
	starts     map[string]int
	saved      map[string][]string // reasons of preemptions, by item
	violations []string
	// on, if set, is called first in each method, without the lock.
	on func(ctx context.Context, method string, item Item) error
}

func newFakeWorkload() *fakeWorkload {
	return &fakeWorkload{busy: map[string]bool{}, outcomes: map[string][]Outcome{}, starts: map[string]int{}, saved: map[string][]string{}}
}

func (f *fakeWorkload) enter(ctx context.Context, method string, item Item) (func(), error) {
	f.mu.Lock()
	if f.busy[item.ID] {
		f.violations = append(f.violations, "two calls at once for "+item.ID)
	}
	f.busy[item.ID] = true
	on := f.on
	f.mu.Unlock()
	leave := func() {
		f.mu.Lock()
		f.busy[item.ID] = false
		f.mu.Unlock()
	}
	if on != nil {
		if err := on(ctx, method, item); err != nil {
			return leave, err
		}
	}
	return leave, nil
}

func (f *fakeWorkload) Prepare(ctx context.Context, item Item, nodes []Node) ([]TaskSpec, error) {
	leave, err := f.enter(ctx, "Prepare", item)
	defer leave()
	if err != nil {
		return nil, err
	}
	return make([]TaskSpec, len(nodes)), nil
}

func (f *fakeWorkload) Started(ctx context.Context, item Item, nodes []Node) error {
	leave, err := f.enter(ctx, "Started", item)
	defer leave()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.starts[item.ID]++
	return err
}

func (f *fakeWorkload) Preempted(ctx context.Context, item Item, reason string) error {
	leave, err := f.enter(ctx, "Preempted", item)
	defer leave()
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.saved[item.ID] = append(f.saved[item.ID], reason)
	return nil
}

func (f *fakeWorkload) Finished(ctx context.Context, item Item, o Outcome) error {
	leave, err := f.enter(ctx, "Finished", item)
	defer leave()
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.outcomes[item.ID] = append(f.outcomes[item.ID], o)
	return nil
}

// rig is a Manager with everything around it.
type rig struct {
	*Manager
	t        testing.TB
	db       store.Store
	clock    *clock.Manual
	runner   *fakeRunner
	workload *fakeWorkload
}

func openStore(t testing.TB) store.Store {
	t.Helper()
	// In memory where the system has such a directory: what is killed here is the
	// Manager, not the machine, and the tests write a lot.
	dir, err := os.MkdirTemp("/dev/shm", "azimuth-compute")
	if err != nil {
		dir = t.TempDir()
	} else {
		t.Cleanup(func() { os.RemoveAll(dir) })
	}
	db, err := sqlite.Open(t.Context(), filepath.Join(dir, "azimuth.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// newRig returns a Manager whose Run has not been called.
func newRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{t: t, db: openStore(t), clock: clock.NewManual(epoch), runner: newFakeRunner(), workload: newFakeWorkload()}
	r.Manager = NewManager(Config{Store: r.db, Clock: r.clock, Runner: r.runner, Workload: r.workload})
	return r
}

// run runs the Manager until the test ends or stop is called.
func (r *rig) run() (stop func()) {
	ctx, cancel := context.WithCancel(r.t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Manager.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				r.t.Errorf("Run: %v", err)
			}
		})
	}
	r.t.Cleanup(func() {
		stop()
		r.t.Helper()
		for _, v := range append(r.runner.violations, r.workload.violations...) {
			r.t.Error(v)
		}
	})
	return stop
}

func (r *rig) update(fn func(store.Tx) error) {
	r.t.Helper()
	if err := r.db.Update(r.t.Context(), fn); err != nil {
		r.t.Fatal(err)
	}
}

const testPool = "/pools/p"

func (r *rig) putPool(minimum, maximum int) {
	r.t.Helper()
	r.update(func(tx store.Tx) error {
		return r.PutPool(tx, Pool{ID: testPool, VMSize: "Standard_DS3_v2", Min: minimum, Max: maximum, IdleTime: 15 * time.Minute})
	})
}

func (r *rig) submit(items ...Item) {
	r.t.Helper()
	r.update(func(tx store.Tx) error {
		for _, it := range items {
			it.PoolID = cmp.Or(it.PoolID, testPool)
			it.Nodes = max(1, it.Nodes)
			if err := r.Submit(tx, it); err != nil {
				return err
			}
		}
		return nil
	})
}

// until waits for a condition of the records and the runner.
func (r *rig) until(what string, cond func() bool) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Second)
	defer cancel()
	for {
		news, removals := r.Changes(), r.runner.removals()
		if cond() {
			return
		}
		select {
		case <-news:
		case <-removals:
		case <-ctx.Done():
			r.t.Fatalf("waited in vain until %s: %s", what, r.describe())
		}
	}
}

func (r *rig) describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "pool %+v", r.pool())
	r.view(func(tx store.Tx) error {
		for it, err := range r.items.By(tx, indexLive, store.Range{}) {
			fmt.Fprintf(&b, "\n%+v %v", it, err)
		}
		return nil
	})
	return b.String()
}

func (r *rig) view(fn func(store.Tx) error) {
	r.t.Helper()
	if err := r.db.View(context.Background(), fn); err != nil {
		r.t.Fatal(err)
	}
}

// pool returns the zero PoolStatus when there is no pool.
func (r *rig) pool() (s PoolStatus) {
	r.t.Helper()
	r.view(func(tx store.Tx) (err error) {
		s, err = r.PoolStatus(tx, testPool)
		if errors.Is(err, ErrPoolNotFound) {
			return nil
		}
		return err
	})
	return s
}

func (r *rig) item(id string) (s ItemStatus) {
	r.t.Helper()
	r.view(func(tx store.Tx) (err error) { s, err = r.ItemStatus(tx, id); return err })
	return s
}

func (r *rig) untilPhase(id string, p Phase) ItemStatus {
	r.t.Helper()
	r.until(id+" is "+string(p), func() bool { return r.item(id).Phase == p })
	return r.item(id)
}
