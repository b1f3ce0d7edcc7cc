package compute

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/azimuth-ml/azimuth/internal/store"
)

func TestPoolGrowsRunsAndShrinks(t *testing.T) {
	r := newRig(t)
	r.run()
	r.putPool(0, 2)
	r.until("the pool is planned", func() bool { return r.pool().Allocation == Steady })
	r.runner.gate = make(chan struct{})
	r.submit(Item{ID: "/jobs/a"}, Item{ID: "/jobs/b"}, Item{ID: "/jobs/c"})

	r.until("two nodes are starting", func() bool { return r.pool().Counts.Preparing == 2 })
	if s := r.pool(); s.Allocation != Resizing || s.Target != 2 || s.Current != 2 {
		t.Errorf("while growing: %+v", s)
	}
	if got := r.item("/jobs/a").Waiting; got != "The job waits for a node to start." {
		t.Errorf("a waits because %q", got)
	}
	if got := r.item("/jobs/c").Waiting; got != "All 2 nodes of the compute are in use; 2 jobs are ahead of it in the queue." {
		t.Errorf("c waits because %q", got)
	}
	r.clock.Step(time.Minute)
	close(r.runner.gate)
	r.untilPhase("/jobs/a", PhaseRunning)
	b := r.untilPhase("/jobs/b", PhaseRunning)
	if s := r.pool(); s.Allocation != Steady || s.Counts.Running != 2 || !s.AllocationSince.Equal(epoch.Add(time.Minute)) {
		t.Errorf("grown: %+v", s)
	}
	load := func() (l Load) {
		r.update(func(tx store.Tx) (err error) { l, err = r.Load(tx); return err })
		return l
	}
	if l := load(); l != (Load{Nodes: 2, Waiting: 1, Running: 2}) {
		t.Errorf("load = %+v", l)
	}
	if b.Attempt != 1 || !b.StartedAt.Equal(epoch.Add(time.Minute)) || len(b.NodeIDs) != 1 {
		t.Errorf("b = %+v", b)
	}
	var nodes []Node
	r.update(func(tx store.Tx) (err error) { nodes, err = r.Nodes(tx, testPool); return err })
	if !regexp.MustCompile(`^tvm-\d{10}_1-20260101t000000z$`).MatchString(nodes[0].ID) ||
		nodes[0].Port != 50000 || nodes[1].Port != 50001 || nodes[0].Info.PrivateIP != "10.0.0.4" || nodes[0].ItemID == "" {
		t.Errorf("nodes = %+v", nodes)
	}

	r.runner.endTask("/jobs/a", 0, TaskResult{})
	r.untilPhase("/jobs/a", PhaseDone)
	r.untilPhase("/jobs/c", PhaseRunning)
	r.runner.endTask("/jobs/b", 0, TaskResult{ExitCode: 3})
	if b := r.untilPhase("/jobs/b", PhaseDone); b.Outcome.Result != Failed || b.Outcome.Reason != "The command exited with code 3." {
		t.Errorf("b ended %+v", b.Outcome)
	}
	r.until("one node is idle", func() bool { return r.pool().Counts.Idle == 1 })

	// Each node has an idle time of its own.
	r.clock.Step(10 * time.Minute)
	r.runner.endTask("/jobs/c", 0, TaskResult{})
	r.untilPhase("/jobs/c", PhaseDone)
	r.clock.Step(5 * time.Minute)
	r.until("one node is left", func() bool { return r.pool().Current == 1 })
	r.clock.Step(10 * time.Minute)
	r.until("no node is left", func() bool { s := r.pool(); return s.Current == 0 && s.Allocation == Steady && s.Target == 0 })
	if l := load(); l != (Load{}) {
		t.Errorf("load at the end = %+v", l)
	}
	for id, n := range map[string]int{"/jobs/a": 1, "/jobs/b": 1, "/jobs/c": 1} {
		if len(r.workload.outcomes[id]) != n || r.workload.starts[id] != 1 {
			t.Errorf("%s: Finished %d times, Started %d times", id, len(r.workload.outcomes[id]), r.workload.starts[id])
		}
	}
	r.until("nothing is left at the runner", func() bool { return r.runnerEmpty() })
}

func (r *rig) runnerEmpty() bool {
	r.runner.mu.Lock()
	defer r.runner.mu.Unlock()
	return len(r.runner.tasks) == 0 && len(r.runner.nodes) == 0
}

func TestCancel(t *testing.T) {
	// block makes a method of the workload wait for its context, or for release.
	block := func(r *rig, method string) (entered chan struct{}, release chan struct{}) {
		entered, release = make(chan struct{}), make(chan struct{})
		var first atomic.Bool
		r.workload.on = func(ctx context.Context, m string, it Item) error {
			if m != method || it.ID != "/jobs/a" {
				return nil
			}
			if first.CompareAndSwap(false, true) {
				close(entered)
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-release:
				return nil
			}
		}
		return entered, release
	}
	cancel := func(r *rig) {
		if err := r.Cancel(r.t.Context(), "/jobs/a"); err != nil {
			r.t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		phase string
		act   func(r *rig)
		want  Result
		tasks int
	}{
		{"queued", func(r *rig) {
			r.submit(Item{ID: "/jobs/x"})
			r.untilPhase("/jobs/x", PhaseRunning)
			r.submit(Item{ID: "/jobs/a"})
			cancel(r)
		}, Canceled, 0},
		{"preparing", func(r *rig) {
			entered, _ := block(r, "Prepare")
			r.submit(Item{ID: "/jobs/a"})
			<-entered
			cancel(r)
		}, Canceled, 0},
		{"running", func(r *rig) {
			r.submit(Item{ID: "/jobs/a"})
			r.untilPhase("/jobs/a", PhaseRunning)
			cancel(r)
		}, Canceled, 1},
		{"running, workload not yet told", func(r *rig) {
			entered, _ := block(r, "Started")
			r.submit(Item{ID: "/jobs/a"})
			<-entered
			cancel(r)
		}, Canceled, 1},
		{"finalizing", func(r *rig) {
			r.runner.exits["a"] = 0
			entered, release := block(r, "Finished")
			r.submit(Item{ID: "/jobs/a"})
			<-entered
			cancel(r)
			close(release)
		}, Completed, 1},
	} {
		t.Run(tt.phase, func(t *testing.T) {
			r := newRig(t)
			r.run()
			r.putPool(0, 1)
			tt.act(r)
			s := r.untilPhase("/jobs/a", PhaseDone)
			if s.Outcome.Result != tt.want || len(s.Outcome.Tasks) != tt.tasks {
				t.Errorf("outcome = %+v", s.Outcome)
			}
			if got := r.workload.outcomes["/jobs/a"]; len(got) != 1 || got[0].Result != tt.want {
				t.Errorf("the workload was told %+v", got)
			}
			if err := r.Cancel(t.Context(), "/jobs/a"); !errors.Is(err, ErrItemDone) {
				t.Errorf("second cancel: %v", err)
			}
			if err := r.Cancel(t.Context(), "/jobs/none"); !errors.Is(err, ErrItemNotFound) {
				t.Errorf("cancel of nothing: %v", err)
			}
		})
	}
}

func TestHowItemsEnd(t *testing.T) {
	for _, tt := range []struct {
		name   string
		item   Item
		act    func(r *rig)
		result Result
		cause  StopCause
		reason string
		failed int
	}{
		{name: "completed", act: func(r *rig) { r.runner.endTask("/jobs/a", 0, TaskResult{}) }, result: Completed, failed: -1},
		{name: "killed", act: func(r *rig) { r.runner.endTask("/jobs/a", 0, TaskResult{ExitCode: 137, Signal: "SIGKILL"}) },
			result: Failed, reason: "killed by SIGKILL"},
		{name: "no such command", act: func(r *rig) {
			r.runner.endTask("/jobs/a", 0, TaskResult{ExitCode: -1, Error: "exec: python: not found"})
		}, result: Failed, reason: "could not be started: exec: python"},
		{name: "timeout on the server's clock", item: Item{Timeout: time.Hour}, act: func(r *rig) { r.clock.Step(time.Hour) },
			result: Failed, cause: StopTimeout, reason: "longer than its timeout of 1h0m0s"},
		{name: "timeout by the supervisor", item: Item{Timeout: time.Hour}, act: func(r *rig) {
			r.runner.endTask("/jobs/a", 0, TaskResult{ExitCode: 143, TimedOut: true})
		}, result: Failed, cause: StopTimeout, reason: "timeout"},
		{name: "supervisor lost", act: func(r *rig) { r.runner.endTask("/jobs/a", 0, lostResult()) },
			result: Failed, cause: StopLost, reason: "supervisor was lost"},
		{name: "one of a gang fails", item: Item{Nodes: 3}, act: func(r *rig) { r.runner.endTask("/jobs/a", 1, TaskResult{ExitCode: 9}) },
			result: Failed, cause: StopTask, reason: "_2-20260101t000000z, one of 3, failed: it exited with code 9. The others were ended.", failed: 1},
		{name: "a node is lost", item: Item{Nodes: 2}, act: func(r *rig) { r.runner.setNode(r.item("/jobs/a").NodeIDs[1], NodeConditionLost) },
			result: Failed, cause: StopLost, reason: "was lost", failed: 1},
		{name: "the pool is deleted", act: func(r *rig) {
			r.update(func(tx store.Tx) error { return r.DeletePool(tx, testPool) })
		}, result: Failed, cause: StopPool, reason: "compute was deleted"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.run()
			r.putPool(0, 3)
			tt.item.ID = "/jobs/a"
			r.submit(tt.item)
			r.untilPhase("/jobs/a", PhaseRunning)
			tt.act(r)
			o := r.untilPhase("/jobs/a", PhaseDone).Outcome
			if o.Result != tt.result || o.Cause != tt.cause || !strings.Contains(o.Reason, tt.reason) || o.FailedTask != tt.failed {
				t.Errorf("outcome = %+v", o)
			}
		})
	}
}

func TestPrepareErrorFailsTheItem(t *testing.T) {
	r := newRig(t)
	r.workload.on = func(_ context.Context, method string, _ Item) error {
		if method == "Prepare" {
			return errors.New("no such code asset")
		}
		return nil
	}
	r.run()
	r.putPool(0, 1)
	r.submit(Item{ID: "/jobs/a"})
	if o := r.untilPhase("/jobs/a", PhaseDone).Outcome; o.Result != Failed || o.Cause != StopPrepare || o.Reason != "no such code asset" {
		t.Errorf("outcome = %+v", o)
	}
	if s := r.pool(); s.Counts.Idle != 1 {
		t.Errorf("pool = %+v", s)
	}
}

func TestFinishedIsRepeatedAndHoldsTheNode(t *testing.T) {
	r := newRig(t)
	r.runner.exits["a"] = 0
	tries := make(chan struct{}, 10)
	var n atomic.Int32
	r.workload.on = func(_ context.Context, method string, _ Item) error {
		if method == "Finished" && n.Add(1) < 3 {
			tries <- struct{}{}
			return errors.New("storage is away")
		}
		return nil
	}
	r.run()
	r.putPool(0, 1)
	r.submit(Item{ID: "/jobs/a"}, Item{ID: "/jobs/b"})
	for range 2 {
		<-tries
		if s := r.item("/jobs/b"); s.Phase != PhaseQueued {
			t.Errorf("b is %s while a is not finished", s.Phase)
		}
		r.stepToNextTimer(time.Minute)
	}
	r.untilPhase("/jobs/a", PhaseDone)
	r.untilPhase("/jobs/b", PhaseRunning)
}

// stepToNextTimer waits until the Manager has set a timer within most, and lets
// it fire.
func (r *rig) stepToNextTimer(most time.Duration) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Second)
	defer cancel()
	for {
		if at, ok := r.clock.Next(); ok {
			if d := at.Sub(r.clock.Now()); d <= most {
				r.clock.Step(d)
				return
			}
		}
		r.post(func() {}) // have the loop go round
		select {
		case <-ctx.Done():
			r.t.Fatal("no timer was set")
		case <-r.Changes():
		default:
		}
	}
}

func TestNodeThatCannotStartIsTriedAgainLater(t *testing.T) {
	r := newRig(t)
	r.runner.startErr = errors.New("no capacity in this region")
	r.run()
	r.putPool(0, 1)
	r.submit(Item{ID: "/jobs/a"})
	r.until("the error shows", func() bool {
		s := r.pool()
		return len(s.Errors) == 1 && s.Current == 0 && strings.Contains(s.Errors[0].Message, "no capacity")
	})
	if w := r.item("/jobs/a").Waiting; !strings.Contains(w, "no capacity in this region") {
		t.Errorf("waits because %q", w)
	}
	r.runner.mu.Lock()
	r.runner.startErr = nil
	r.runner.mu.Unlock()
	r.stepToNextTimer(time.Minute)
	r.untilPhase("/jobs/a", PhaseRunning)
	if s := r.pool(); len(s.Errors) != 0 {
		t.Errorf("errors remain: %+v", s.Errors)
	}
}

func TestPreemptedItemRunsAgain(t *testing.T) {
	r := newRig(t)
	r.run()
	r.putPool(0, 2)
	r.submit(Item{ID: "/jobs/a", Nodes: 2})
	first := r.untilPhase("/jobs/a", PhaseRunning)
	r.runner.setNode(first.NodeIDs[0], NodeConditionPreempted)
	r.until("it runs again", func() bool { s := r.item("/jobs/a"); return s.Phase == PhaseRunning && s.Attempt == 2 })
	if second := r.item("/jobs/a"); second.NodeIDs[0] == first.NodeIDs[0] || second.NodeIDs[1] == first.NodeIDs[0] {
		t.Errorf("it got the preempted node again: %v, %v", first.NodeIDs, second.NodeIDs)
	}
	if len(r.workload.outcomes["/jobs/a"]) != 0 {
		t.Error("the workload was told that the item has finished")
	}
	r.runner.endTask("/jobs/a", 0, TaskResult{})
	r.runner.endTask("/jobs/a", 1, TaskResult{})
	if o := r.untilPhase("/jobs/a", PhaseDone).Outcome; o.Result != Completed {
		t.Errorf("outcome = %+v", o)
	}
}

func TestSubmitRefusals(t *testing.T) {
	r := newRig(t)
	r.putPool(0, 2)
	r.submit(Item{ID: "/jobs/a"})
	var tooMany *TooManyNodesError
	var invalid *InvalidError
	for _, tt := range []struct {
		item Item
		ok   func(error) bool
	}{
		{Item{ID: "/jobs/b", PoolID: "/pools/none", Nodes: 1}, func(err error) bool { return errors.Is(err, ErrPoolNotFound) }},
		{Item{ID: "/jobs/a", PoolID: testPool, Nodes: 1}, func(err error) bool { return errors.Is(err, ErrItemExists) }},
		{Item{ID: "/jobs/b", PoolID: testPool, Nodes: 3}, func(err error) bool { return errors.As(err, &tooMany) && tooMany.Max == 2 }},
		{Item{ID: "/jobs/b", PoolID: testPool}, func(err error) bool { return errors.As(err, &invalid) }},
	} {
		err := r.db.Update(t.Context(), func(tx store.Tx) error { return r.Submit(tx, tt.item) })
		if !tt.ok(err) {
			t.Errorf("submit of %+v: %v", tt.item, err)
		}
	}
	for _, p := range []Pool{{}, {ID: "p"}, {ID: "p", Max: 1, Min: 2}, {ID: "p", Max: 1, Min: -1}} {
		if err := r.db.Update(t.Context(), func(tx store.Tx) error { return r.PutPool(tx, p) }); !errors.As(err, &invalid) {
			t.Errorf("put of %+v: %v", p, err)
		}
	}
}

func TestSubmitThatIsRolledBackNeverHappened(t *testing.T) {
	r := newRig(t)
	r.run()
	r.putPool(0, 1)
	oops := errors.New("oops")
	err := r.db.Update(t.Context(), func(tx store.Tx) error {
		if err := r.Submit(tx, Item{ID: "/jobs/a", PoolID: testPool, Nodes: 1}); err != nil {
			return err
		}
		return oops
	})
	if !errors.Is(err, oops) {
		t.Fatal(err)
	}
	r.submit(Item{ID: "/jobs/b"})
	r.untilPhase("/jobs/b", PhaseRunning)
	if r.runner.started["/jobs/a"] != 0 {
		t.Error("the item runs")
	}
}

func TestDeleteAndRecreatePool(t *testing.T) {
	r := newRig(t)
	r.run()
	r.putPool(1, 1)
	r.submit(Item{ID: "/jobs/a"}, Item{ID: "/jobs/b"})
	old := r.untilPhase("/jobs/a", PhaseRunning)
	r.update(func(tx store.Tx) error {
		if err := r.DeletePool(tx, testPool); err != nil {
			return err
		}
		if err := r.Submit(tx, Item{ID: "/jobs/z", PoolID: testPool, Nodes: 1}); !errors.Is(err, ErrPoolNotFound) {
			t.Errorf("submit to a pool being deleted: %v", err)
		}
		return r.PutPool(tx, Pool{ID: testPool, VMSize: "Standard_DS3_v2", Max: 1, IdleTime: time.Minute})
	})
	r.submit(Item{ID: "/jobs/c"})
	for _, id := range []string{"/jobs/a", "/jobs/b"} {
		if o := r.untilPhase(id, PhaseDone).Outcome; o.Cause != StopPool {
			t.Errorf("%s: %+v", id, o)
		}
	}
	if c := r.untilPhase("/jobs/c", PhaseRunning); c.NodeIDs[0] == old.NodeIDs[0] {
		t.Error("the new pool uses a node of the old one")
	}
	r.update(func(tx store.Tx) error { return r.DeletePool(tx, testPool) })
	r.until("the pool is gone", func() bool { return r.pool().ID == "" })
	r.until("nothing is left", r.runnerEmpty)
	r.update(func(tx store.Tx) error { return r.DeletePool(tx, testPool) })
}

func TestResizeInPlace(t *testing.T) {
	r := newRig(t)
	r.run()
	r.putPool(3, 3)
	r.until("three nodes are idle", func() bool { return r.pool().Counts.Idle == 3 })
	r.submit(Item{ID: "/jobs/a", Nodes: 2})
	r.untilPhase("/jobs/a", PhaseRunning)
	r.submit(Item{ID: "/jobs/b", Nodes: 3})
	r.putPool(0, 1)
	r.until("the idle node is gone", func() bool { return r.pool().Current == 2 })
	if w := r.item("/jobs/b").Waiting; !strings.Contains(w, "resized to at most 1") {
		t.Errorf("b waits because %q", w)
	}
	if r.item("/jobs/a").Phase != PhaseRunning {
		t.Error("resizing ended a running item")
	}
	r.runner.endTask("/jobs/a", 0, TaskResult{})
	r.runner.endTask("/jobs/a", 1, TaskResult{})
	r.until("one node is left", func() bool { return r.pool().Current == 1 })
	r.putPool(0, 3)
	r.untilPhase("/jobs/b", PhaseRunning)
}

func TestRestartGoesOn(t *testing.T) {
	r := newRig(t)
	stop := r.run()
	r.putPool(0, 2)
	r.submit(Item{ID: "/jobs/a"}, Item{ID: "/jobs/b"})
	r.untilPhase("/jobs/a", PhaseRunning)
	r.untilPhase("/jobs/b", PhaseRunning)
	stop()
	r.runner.endTask("/jobs/a", 0, TaskResult{ExitCode: 7}) // while nobody looks
	r.runner.mu.Lock()
	for id, task := range r.runner.tasks { // as after a loss of the machine
		if task.report.ItemID == "/jobs/b" {
			delete(r.runner.tasks, id)
		}
	}
	r.runner.nodes["stray"] = &NodeReport{ID: "stray", Condition: NodeConditionReady}
	r.runner.tasks["stray"] = &fakeTask{report: TaskReport{TaskRef: TaskRef{ID: "stray", ItemID: "/jobs/stray"}}}
	r.runner.mu.Unlock()
	r.Manager = NewManager(Config{Store: r.db, Clock: r.clock, Runner: r.runner, Workload: r.workload})
	r.run()
	if o := r.untilPhase("/jobs/a", PhaseDone).Outcome; o.Tasks[0].ExitCode != 7 {
		t.Errorf("a: %+v", o)
	}
	if o := r.untilPhase("/jobs/b", PhaseDone).Outcome; o.Cause != StopLost {
		t.Errorf("b: %+v", o)
	}
	r.clock.Step(15 * time.Minute)
	r.until("strays and idle nodes are gone", func() bool { return r.pool().Current == 0 && r.runnerEmpty() })
	if r.runner.started["/jobs/a"] != 1 {
		t.Errorf("a was started %d times", r.runner.started["/jobs/a"])
	}
}

// countingStore counts reads, to show that cost does not follow history.
type countingStore struct {
	store.Store
	reads atomic.Int64
}

func (c *countingStore) Update(ctx context.Context, fn func(store.Tx) error) error {
	return c.Store.Update(ctx, func(tx store.Tx) error { return fn(countingTx{tx, &c.reads}) })
}

type countingTx struct {
	store.Tx
	reads *atomic.Int64
}

func (c countingTx) Get(b, k string) ([]byte, error) { c.reads.Add(1); return c.Tx.Get(b, k) }
func (c countingTx) Scan(b string, r store.Range) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		for e, err := range c.Tx.Scan(b, r) {
			c.reads.Add(1)
			if !yield(e, err) {
				return
			}
		}
	}
}

func TestFinishedItemsCostNothing(t *testing.T) {
	r := newRig(t)
	r.putPool(0, 1)
	r.update(func(tx store.Tx) error {
		for i := range 10000 {
			it := &itemRecord{Item: Item{ID: fmt.Sprintf("/jobs/old%d", i), PoolID: testPool}, Phase: PhaseDone, Outcome: &Outcome{Result: Completed}}
			if err := r.items.Put(tx, it); err != nil {
				return err
			}
		}
		return nil
	})
	c := &countingStore{Store: r.db}
	r.Manager = NewManager(Config{Store: c, Clock: r.clock, Runner: r.runner, Workload: r.workload})
	r.runner.exits["a"] = 0
	r.run()
	r.submit(Item{ID: "/jobs/a"})
	r.untilPhase("/jobs/a", PhaseDone)
	if n := c.reads.Load(); n > 200 {
		t.Errorf("%d records were read", n)
	}
	r.update(func(tx store.Tx) error { return r.Forget(tx, "/jobs/a") })
	r.view(func(tx store.Tx) error {
		if _, err := r.ItemStatus(tx, "/jobs/a"); !errors.Is(err, ErrItemNotFound) {
			t.Errorf("forgotten item: %v", err)
		}
		return nil
	})
}

func TestCapacityShortfall(t *testing.T) {
	p := Pool{VMSize: "Standard_NC6s_v3", VCPUs: 6, MemoryGiB: 112, GPUs: 2}
	all := Capacity{CPUs: 6, MemoryGiB: 112, GPUs: 2}
	for _, tt := range []struct {
		machine Capacity
		gpus    int
		want    string
	}{
		{Capacity{CPUs: 2, MemoryGiB: 7.5}, 0, "This machine is smaller than Standard_NC6s_v3 (it has 2 of 6 vCPUs, 7.5 of 112 GiB of memory, " +
			"0 of 2 GPUs); jobs share what is there. There is no GPU for the job, so it runs on CPU."},
		{all, 0, "There is no GPU for the job, so it runs on CPU."},
		{all, 1, "The node has 1 of 2 GPUs."},
		{all, 2, ""},
	} {
		if got := tt.machine.Shortfall(p, NodeInfo{GPUs: tt.gpus}); got != tt.want {
			t.Errorf("%+v: got %q", tt, got)
		}
	}
}

// BenchmarkQueue is 1,000 items that wait in a queue, until all are done, without
// real processes.
func BenchmarkQueue(b *testing.B) {
	r := newRig(b)
	r.runner.exits["job"] = 0
	r.run()
	r.putPool(8, 8)
	for n := 0; b.Loop(); n++ {
		var items []Item
		for i := range 1000 {
			items = append(items, Item{ID: fmt.Sprintf("/jobs/%d.%d/job", n, i)})
		}
		r.submit(items...)
		r.untilPhase(items[len(items)-1].ID, PhaseDone)
	}
	b.ReportMetric(1000*float64(b.N)/b.Elapsed().Seconds(), "items/s")
}
