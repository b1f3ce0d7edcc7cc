package compute

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/azimuth-ml/azimuth/internal/store"
)

func (r *rig) putLowPriority(maximum int, pre Preemption) {
	r.t.Helper()
	r.update(func(tx store.Tx) error {
		p := Pool{ID: testPool, VMSize: "Standard_DS3_v2", Priority: LowPriority, Max: maximum, IdleTime: 15 * time.Minute}
		if err := r.PutPool(tx, p); err != nil {
			return err
		}
		return r.SetPreemption(tx, testPool, pre)
	})
}

func (r *rig) preempt(n int) (ids []string) {
	r.t.Helper()
	r.update(func(tx store.Tx) (err error) { ids, err = r.Preempt(tx, testPool, n); return err })
	return ids
}

func TestPreemptOnRequest(t *testing.T) {
	r := newRig(t)
	r.run()
	r.putLowPriority(2, Preemption{})
	r.submit(Item{ID: "/jobs/gang", Nodes: 2})
	before := r.untilPhase("/jobs/gang", PhaseRunning)
	r.submit(Item{ID: "/jobs/later"})

	ids := r.preempt(1)
	if len(ids) != 1 || ids[0] != before.NodeIDs[0] && ids[0] != before.NodeIDs[1] {
		t.Fatalf("preempted %v of %v", ids, before.NodeIDs)
	}
	r.until("the gang runs again", func() bool { s := r.item("/jobs/gang"); return s.Phase == PhaseRunning && s.Attempt == 2 })
	if s := r.item("/jobs/gang"); s.Preemptions != 1 || s.Outcome != nil {
		t.Errorf("gang: %+v", s)
	}
	r.workload.mu.Lock()
	saved := r.workload.saved["/jobs/gang"]
	r.workload.mu.Unlock()
	if len(saved) != 1 || saved[0] != "Node "+ids[0]+" was preempted on request." {
		t.Errorf("saved: %q", saved)
	}
	r.runner.endTask("/jobs/gang", 0, TaskResult{})
	r.runner.endTask("/jobs/gang", 1, TaskResult{})
	if o := r.untilPhase("/jobs/gang", PhaseDone).Outcome; o.Result != Completed {
		t.Errorf("gang: %+v", o)
	}
	r.untilPhase("/jobs/later", PhaseRunning)
}

func TestPreemptedNodeIsShown(t *testing.T) {
	r := newRig(t)
	r.run()
	r.putLowPriority(3, Preemption{})
	r.submit(Item{ID: "/jobs/a"})
	r.untilPhase("/jobs/a", PhaseRunning)
	r.preempt(5)
	r.until("it runs on another node", func() bool { s := r.item("/jobs/a"); return s.Phase == PhaseRunning && s.Attempt == 2 })
	if s := r.pool(); s.Counts.Preempted != 1 || s.Counts.Running != 1 || s.Current != 2 || s.Allocation != Steady {
		t.Errorf("pool: %+v", s)
	}
	r.clock.Step(15 * time.Minute)
	r.until("it is no longer listed", func() bool { return r.pool().Current == 1 })
}

func TestPreemptionThatFailsItems(t *testing.T) {
	r := newRig(t)
	r.run()
	r.putLowPriority(1, Preemption{Fail: true})
	r.submit(Item{ID: "/jobs/a"})
	r.untilPhase("/jobs/a", PhaseRunning)
	r.preempt(1)
	if o := r.untilPhase("/jobs/a", PhaseDone).Outcome; o.Result != Failed || o.Cause != StopPreempted {
		t.Errorf("outcome: %+v", o)
	}
}

// TestPreemptedTooLate is about an item that ends while its node is being warned.
func TestPreemptedTooLate(t *testing.T) {
	for _, code := range []int{0, 3} {
		r := newRig(t)
		stop := r.run()
		r.putLowPriority(1, Preemption{})
		r.submit(Item{ID: "/jobs/a"})
		r.untilPhase("/jobs/a", PhaseRunning)
		stop()
		r.preempt(1)
		r.runner.endTask("/jobs/a", 0, TaskResult{ExitCode: code})
		r.Manager = NewManager(Config{Store: r.db, Clock: r.clock, Runner: r.runner, Workload: r.workload})
		r.run()
		s := r.untilPhase("/jobs/a", PhaseDone)
		if s.Preemptions != 0 || s.Outcome.Cause != "" || (s.Outcome.Result == Completed) != (code == 0) {
			t.Errorf("code %d: %+v", code, s.Outcome)
		}
	}
}

func TestCancelWhileSaving(t *testing.T) {
	r := newRig(t)
	failed := make(chan struct{}, 1)
	r.workload.on = func(_ context.Context, method string, _ Item) error {
		if method == "Preempted" {
			select {
			case failed <- struct{}{}:
			default:
			}
			return errors.New("the disk is full")
		}
		return nil
	}
	r.run()
	r.putLowPriority(1, Preemption{})
	r.submit(Item{ID: "/jobs/a"})
	r.untilPhase("/jobs/a", PhaseRunning)
	r.preempt(1)
	<-failed
	if err := r.Cancel(t.Context(), "/jobs/a"); err != nil {
		t.Fatal(err)
	}
	if o := r.untilPhase("/jobs/a", PhaseDone).Outcome; o.Result != Canceled {
		t.Errorf("outcome: %+v", o)
	}
}

func TestPreemptionByChanceAndSchedule(t *testing.T) {
	r := newRig(t)
	r.Manager.random = func() float64 { return 0.2 }
	r.run()
	r.putLowPriority(2, Preemption{Chance: 0.2, Per: 10 * time.Minute})
	r.submit(Item{ID: "/jobs/a"})
	r.untilPhase("/jobs/a", PhaseRunning)
	r.clock.Step(10*time.Minute - time.Second)
	if s := r.item("/jobs/a"); s.Preemptions != 0 {
		t.Errorf("preempted before its time: %+v", s)
	}
	r.clock.Step(2 * time.Second)
	r.until("chance took the node", func() bool { s := r.item("/jobs/a"); return s.Phase == PhaseRunning && s.Preemptions == 1 })

	r.putLowPriority(2, Preemption{Every: time.Hour, Nodes: 1})
	r.clock.Step(59 * time.Minute)
	r.clock.Step(2 * time.Hour) // over two of them: they are one
	r.until("the schedule took the node", func() bool { s := r.item("/jobs/a"); return s.Phase == PhaseRunning && s.Preemptions == 2 })
}

// TestPreemptionSurvivesTheServer stops the Manager between the warning and the
// end of the node.
func TestPreemptionSurvivesTheServer(t *testing.T) {
	r := newRig(t)
	stop := r.run()
	r.putLowPriority(1, Preemption{})
	r.submit(Item{ID: "/jobs/a"})
	r.untilPhase("/jobs/a", PhaseRunning)
	stop()
	r.preempt(1)
	r.Manager = NewManager(Config{Store: r.db, Clock: r.clock, Runner: r.runner, Workload: r.workload})
	r.run()
	r.until("it runs again", func() bool { s := r.item("/jobs/a"); return s.Phase == PhaseRunning && s.Attempt == 2 })
}

func TestPreemptionIsChecked(t *testing.T) {
	r := newRig(t)
	set := func(p Preemption) error {
		return r.db.Update(t.Context(), func(tx store.Tx) error { return r.SetPreemption(tx, testPool, p) })
	}
	if err := set(Preemption{}); !errors.Is(err, ErrPoolNotFound) {
		t.Errorf("no pool: %v", err)
	}
	r.putPool(0, 1)
	if err := set(Preemption{}); err == nil || !strings.Contains(err.Error(), "Dedicated") {
		t.Errorf("dedicated: %v", err)
	}
	r.putLowPriority(1, Preemption{})
	for _, p := range []Preemption{
		{Chance: 1, Per: time.Hour}, {Chance: -0.1, Per: time.Hour}, {Chance: math.NaN(), Per: time.Hour}, {Chance: 0.5},
		{Every: time.Hour}, {Nodes: 1}, {Notice: -1},
	} {
		if err := set(p); err == nil {
			t.Errorf("%+v was accepted", p)
		}
	}
	r.putLowPriority(1, Preemption{Chance: 0.5, Per: time.Hour})
	r.update(func(tx store.Tx) error { // as a PUT of the compute does
		return r.PutPool(tx, Pool{ID: testPool, VMSize: "Standard_DS3_v2", Priority: LowPriority, Max: 1})
	})
	if p := r.pool().Preemption; p.Chance != 0.5 {
		t.Errorf("a change of the pool lost the setting: %+v", p)
	}
}

// TestDraw checks that chance takes the share of nodes that it was told to.
func TestDraw(t *testing.T) {
	p := Preemption{Chance: 0.2, Per: 10 * time.Minute}
	const n = 10000
	within := 0
	for i := range n {
		if after, _ := p.draw(float64(i) / n); after <= p.Per {
			within++
		}
	}
	if share := float64(within) / n; math.Abs(share-p.Chance) > 0.001 {
		t.Errorf("%.3f of the nodes are preempted within %s, want %.3f", share, p.Per, p.Chance)
	}
}

func TestQuota(t *testing.T) {
	const family = "westeurope/standardDSv2Family"
	r := newRig(t)
	r.run()
	quota := func(cores int) {
		r.update(func(tx store.Tx) error { return r.SetQuota(tx, family, cores) })
	}
	put := func(id string, p Pool) {
		p.ID, p.VMSize, p.VCPUs, p.Priority, p.Quotas = id, "Standard_DS3_v2", 4, "Dedicated", []string{family}
		r.update(func(tx store.Tx) error { return r.PutPool(tx, p) })
	}
	quota(12) // three nodes
	put("/pools/a", Pool{Max: 4, IdleTime: time.Minute})
	put("/pools/b", Pool{Max: 4, IdleTime: time.Minute})
	r.submit(Item{ID: "/jobs/a", PoolID: "/pools/a", Nodes: 2})
	r.untilPhase("/jobs/a", PhaseRunning)
	r.submit(Item{ID: "/jobs/b", PoolID: "/pools/b", Nodes: 2})
	want := "The job waits for the vCPU quota standardDSv2Family of 12: its 2 nodes need 8 vCPUs, which other nodes leave no room for."
	r.until("it waits for the quota", func() bool { return r.item("/jobs/b").Waiting == want })

	// what can never be is refused
	var refused *QuotaError
	err := r.db.Update(t.Context(), func(tx store.Tx) error {
		return r.Submit(tx, Item{ID: "/jobs/big", PoolID: "/pools/a", Nodes: 4})
	})
	if !errors.As(err, &refused) || refused.Limit != 12 || refused.Cores != 16 {
		t.Errorf("four nodes of a quota of three: %v", err)
	}
	quota(3)
	err = r.db.Update(t.Context(), func(tx store.Tx) error {
		return r.PutPool(tx, Pool{ID: "/pools/c", VMSize: "Standard_DS3_v2", VCPUs: 4, Max: 1, Quotas: []string{family}})
	})
	if !errors.As(err, &refused) || refused.Nodes != 1 || refused.Cores != 4 {
		t.Errorf("a cluster that can have no node: %v", err)
	}
	r.until("it is too big for the quota", func() bool {
		return r.item("/jobs/b").Waiting == "The job's 2 nodes need 8 vCPUs, and the vCPU quota standardDSv2Family is now 3; it waits until the quota is raised."
	})

	// the nodes of the other pool go when they are idle, and make room
	quota(12)
	r.runner.endTask("/jobs/a", 0, TaskResult{})
	r.runner.endTask("/jobs/a", 1, TaskResult{})
	r.untilPhase("/jobs/a", PhaseDone)
	r.until("it still waits", func() bool { return r.item("/jobs/b").Waiting == want })
	r.clock.Step(time.Minute)
	r.untilPhase("/jobs/b", PhaseRunning)

	quota(-1)
	r.submit(Item{ID: "/jobs/c", PoolID: "/pools/a", Nodes: 4})
	r.untilPhase("/jobs/c", PhaseRunning)
}

func TestShortage(t *testing.T) {
	r := newRig(t)
	r.run()
	short := func(on bool) {
		r.update(func(tx store.Tx) error { return r.SetShortage(tx, "standard_ds3_V2", on) })
	}
	short(true)
	r.putPool(0, 2)
	r.submit(Item{ID: "/jobs/a"})
	r.until("it waits", func() bool { return strings.Contains(r.item("/jobs/a").Waiting, "no capacity") })
	if got := r.item("/jobs/a").Waiting; got != "The job waits for 1 node of size Standard_DS3_v2, for which there is no capacity at the moment." {
		t.Errorf("waiting: %s", got)
	}
	if e := r.pool().Errors; len(e) != 1 || !strings.Contains(e[0].Message, "Standard_DS3_v2") {
		t.Errorf("errors: %+v", e)
	}
	short(false)
	r.untilPhase("/jobs/a", PhaseRunning)
	if e := r.pool().Errors; len(e) != 0 {
		t.Errorf("errors: %+v", e)
	}
	// One that begins later holds no running job up.
	short(true)
	r.runner.endTask("/jobs/a", 0, TaskResult{})
	r.untilPhase("/jobs/a", PhaseDone)
	r.submit(Item{ID: "/jobs/b"})
	r.untilPhase("/jobs/b", PhaseRunning)
}
