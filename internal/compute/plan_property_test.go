package compute

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// randomPool is any state that a pool can be in, also those that only a resize, a
// deletion, a failure or a preemption leads to.
func randomPool(rnd *rand.Rand, id string, now time.Time) PoolState {
	p := PoolState{ID: id, Max: 1 + rnd.IntN(10), IdleTime: time.Duration(rnd.IntN(40)) * time.Minute}
	p.Min = rnd.IntN(p.Max + 1)
	seq := uint64(0)
	item := func(nodes int) QueuedItem {
		seq++
		return QueuedItem{ID: fmt.Sprintf("%s-i%d", id, seq), Nodes: nodes, Priority: 1 + rnd.IntN(3), Seq: seq}
	}
	ago := func() time.Time { return now.Add(-time.Duration(rnd.IntN(60)) * time.Minute) }
	for i := 0; i < rnd.IntN(14); { // more than the maximum is what a resize leaves
		n := NodeView{ID: fmt.Sprintf("%s-n%d", id, i), IdleSince: ago(), Drain: rnd.IntN(12) == 0}
		switch rnd.IntN(8) {
		case 0, 1, 2:
			gang := item(1 + rnd.IntN(4))
			for range gang.Nodes {
				p.Nodes = append(p.Nodes, NodeView{ID: fmt.Sprintf("%s-n%d", id, i), State: NodeRunning, ItemID: gang.ID, Drain: n.Drain})
				i++
			}
			continue
		case 3, 4:
			n.State = NodeIdle
		case 5:
			n.State = NodePreparing
		case 6:
			n.State = NodeLeaving
		default:
			n.State = []NodeState{NodePreempted, NodeUnusable}[rnd.IntN(2)]
		}
		p.Nodes = append(p.Nodes, n)
		i++
	}
	for range rnd.IntN(10) {
		size := 1
		if rnd.IntN(2) == 0 {
			size = 1 + rnd.IntN(p.Max+2)
		}
		p.Queue = append(p.Queue, item(size))
	}
	rnd.Shuffle(len(p.Nodes), func(i, j int) { p.Nodes[i], p.Nodes[j] = p.Nodes[j], p.Nodes[i] })
	rnd.Shuffle(len(p.Queue), func(i, j int) { p.Queue[i], p.Queue[j] = p.Queue[j], p.Queue[i] })
	if rnd.IntN(3) == 0 {
		most := rnd.IntN(12)
		p.Quota = &QuotaRoom{Name: "region/family", Cores: 4, Limit: 4 * most, Most: most, Nodes: rnd.IntN(most + 1)}
	}
	switch rnd.IntN(6) {
	case 0:
		p.Short = "Standard_X"
	case 1:
		p.StartError, p.RetryAt = "no more", now.Add(time.Duration(rnd.IntN(120)-60)*time.Second)
	}
	return p
}

func clonePool(p PoolState) PoolState {
	p.Nodes, p.Queue = slices.Clone(p.Nodes), slices.Clone(p.Queue)
	return p
}

// planFacts is what the checks count in a pool and its plan.
type planFacts struct {
	pool      *PoolState
	plan      *PoolPlan
	now       time.Time
	nodes     map[string]NodeView
	idle      int // usable idle nodes before
	busy      int
	live      int // nodes before that are neither leaving, broken, preempted nor to be dropped
	running   map[string]int
	starts    int
	stopped   map[string]string // reason, by node
	placed    map[string][]string
	waits     map[string]Reason
	queue     []QueuedItem // in order
	idleAfter int
}

func planFactsOf(p *PoolState, plan *PoolPlan, now time.Time) *planFacts {
	f := &planFacts{
		pool: p, plan: plan, now: now, nodes: map[string]NodeView{}, running: map[string]int{},
		stopped: map[string]string{}, placed: map[string][]string{}, waits: map[string]Reason{}, queue: slices.Clone(p.Queue),
	}
	slices.SortFunc(f.queue, CompareQueued)
	for _, n := range p.Nodes {
		f.nodes[n.ID] = n
		switch {
		case n.State == NodeRunning:
			f.busy++
			f.live++
			f.running[n.ItemID]++
		case n.State == NodeIdle && !n.Drain:
			f.idle++
			f.live++
		case n.State == NodePreparing && !n.Drain:
			f.live++
		}
	}
	for _, w := range plan.Waiting {
		f.waits[w.ItemID] = w.Reason
	}
	return f
}

// check returns what a plan promises and does not keep.
func (f *planFacts) check() error {
	for _, promise := range []func() error{f.checkDecisions, f.checkItems, f.checkBounds, f.checkGrowth, f.checkIdleTimes, f.checkOrder} {
		if err := promise(); err != nil {
			return err
		}
	}
	return nil
}

// checkDecisions: nothing without a reason, nothing twice, gangs all or nothing,
// and no node that runs something or is not there.
func (f *planFacts) checkDecisions() error {
	used := map[string]bool{}
	for _, d := range f.plan.Decisions {
		switch d.Kind {
		case StartNode:
			f.starts++
			if d.Reason == "" {
				return fmt.Errorf("a node is started without a reason")
			}
		case StopNode:
			n, ok := f.nodes[d.NodeID]
			switch {
			case !ok || used[d.NodeID]:
				return fmt.Errorf("stop of %s, which is not there or used", d.NodeID)
			case n.State == NodeRunning || n.State == NodeLeaving:
				return fmt.Errorf("stop of %s, which is %s", d.NodeID, n.State)
			case d.Reason == "":
				return fmt.Errorf("%s is stopped without a reason", d.NodeID)
			}
			used[d.NodeID], f.stopped[d.NodeID] = true, d.Reason
		case Place:
			i := slices.IndexFunc(f.queue, func(q QueuedItem) bool { return q.ID == d.ItemID })
			if i < 0 || f.placed[d.ItemID] != nil || len(d.NodeIDs) != f.queue[i].Nodes {
				return fmt.Errorf("%s is placed on %v", d.ItemID, d.NodeIDs)
			}
			for _, id := range d.NodeIDs {
				if n := f.nodes[id]; used[id] || n.State != NodeIdle || n.Drain {
					return fmt.Errorf("%s is placed on %s, which is %s, drained %v, or used", d.ItemID, id, n.State, n.Drain)
				}
				used[id] = true
			}
			f.placed[d.ItemID] = d.NodeIDs
		}
	}
	for id, n := range f.nodes {
		if n.State == NodeIdle && !n.Drain && !used[id] {
			f.idleAfter++
		}
	}
	return nil
}

// checkItems: each item of the queue is placed or waits for one clear reason.
func (f *planFacts) checkItems() error {
	if len(f.placed)+len(f.waits) != len(f.queue) || len(f.waits) != len(f.plan.Waiting) {
		return fmt.Errorf("%d placed, %d waiting, %d in the queue", len(f.placed), len(f.waits), len(f.queue))
	}
	for _, it := range f.queue {
		r, ok := f.waits[it.ID]
		if !ok {
			continue
		}
		s := r.String()
		if !strings.HasSuffix(s, ".") || strings.Count(s, ". ") > 0 || strings.Contains(s, "  ") {
			return fmt.Errorf("%s waits for %q, which is not one sentence", it.ID, s)
		}
		if (r.Kind == WaitTooBig) != f.pool.tooBig(it) {
			return fmt.Errorf("%s of %d nodes of %d waits for %q", it.ID, it.Nodes, f.pool.Max, s)
		}
	}
	return nil
}

// tooBig says that a pool can never hold an item.
func (p *PoolState) tooBig(it QueuedItem) bool {
	return it.Nodes > p.Max || p.Quota != nil && it.Nodes > p.Quota.Most
}

// checkBounds: never above the maximum, never below the minimum, no node that
// neither the minimum nor the queue asks for.
func (f *planFacts) checkBounds() error {
	p := f.pool
	if f.starts > 0 && len(p.Nodes)+f.starts > p.Max {
		return fmt.Errorf("%d starts with %d nodes and a maximum of %d", f.starts, len(p.Nodes), p.Max)
	}
	if p.Quota != nil && f.starts > p.Quota.Nodes {
		return fmt.Errorf("%d starts, and the quota has room for %d", f.starts, p.Quota.Nodes)
	}
	if f.starts > 0 && (p.Short != "" || f.now.Before(p.RetryAt)) {
		return fmt.Errorf("%d starts while none can be started", f.starts)
	}
	left := f.live + f.starts
	for id := range f.stopped {
		if n := f.nodes[id]; !n.Drain && (n.State == NodeIdle || n.State == NodePreparing) {
			left--
		}
	}
	if left != f.plan.Target {
		return fmt.Errorf("the target is %d, and %d nodes are left", f.plan.Target, left)
	}
	if left < min(f.live, p.Min) {
		return fmt.Errorf("%d of %d nodes are left, the minimum is %d", left, f.live, p.Min)
	}
	if left > p.Max && left > f.busy {
		return fmt.Errorf("%d nodes are left, %d of them busy, the maximum is %d", left, f.busy, p.Max)
	}
	demand := 0
	for _, it := range f.queue {
		if !p.tooBig(it) {
			demand += it.Nodes
		}
	}
	if f.starts > max(0, p.Min-f.live, demand-f.idle) {
		return fmt.Errorf("%d starts with %d nodes, %d idle, for a demand of %d and a minimum of %d", f.starts, f.live, f.idle, demand, p.Min)
	}
	return nil
}

// free is how many nodes can be had without any item ending.
func (f *planFacts) free() int {
	free := max(0, f.pool.Max-f.busy)
	if q := f.pool.Quota; q != nil {
		free = min(free, f.live-f.busy-max(0, min(f.live-f.busy, f.live-f.pool.Max))+q.Nodes)
	}
	return free
}

// quotaBlocks says that an item waits for the quota, and holds nothing.
func (f *planFacts) quotaBlocks() bool {
	for _, r := range f.waits {
		if r.Kind == WaitQuota {
			return true
		}
	}
	return false
}

// checkGrowth: as many nodes start as waiting items can have now.
func (f *planFacts) checkGrowth() error {
	p := f.pool
	if p.Short != "" || f.now.Before(p.RetryAt) {
		return nil
	}
	free, room := f.free(), p.Max-len(p.Nodes)
	if p.Quota != nil {
		room = min(room, p.Quota.Nodes)
	}
	want := 0
	for _, it := range f.queue {
		if p.tooBig(it) {
			continue
		}
		if r := f.waits[it.ID]; r.Kind == WaitQuota {
			break // it holds nothing
		}
		if _, waiting := f.waits[it.ID]; waiting && want+it.Nodes > free {
			want = free // it waits for others to end, and all that is left is for it
			break
		}
		want += it.Nodes
	}
	have := f.plan.Target - f.busy
	if have < want && f.starts < room {
		return fmt.Errorf("%d starts, which makes %d nodes for %d that are wanted; %d nodes of %d are there", f.starts, have, want, len(p.Nodes), p.Max)
	}
	return nil
}

// checkIdleTimes: a node goes for idleness only when its time is over and nobody
// waits for it, and the plan says when time alone changes it.
func (f *planFacts) checkIdleTimes() error {
	p := f.pool
	excess := f.live > p.Max
	for id, reason := range f.stopped {
		n := f.nodes[id]
		if n.State != NodeIdle || n.Drain || excess && strings.Contains(reason, "maximum") {
			continue
		}
		for id, r := range f.waits {
			if r.Kind != WaitTooBig && !f.quotaBlocks() {
				return fmt.Errorf("%s goes (%s) although %s waits", n.ID, reason, id)
			}
		}
		if f.now.Before(n.IdleSince.Add(p.IdleTime)) {
			return fmt.Errorf("%s goes (%s) %s after its last job, of %s", id, reason, f.now.Sub(n.IdleSince), p.IdleTime)
		}
	}
	if w := f.plan.WakeAt; !w.IsZero() && !w.After(f.now) {
		return fmt.Errorf("the plan wakes itself at %s, now is %s", w, f.now)
	}
	return nil
}

// checkOrder: the first item that can be served is, an item that goes before
// another cannot delay it, and one that could go without delaying anybody does.
func (f *planFacts) checkOrder() error {
	p := f.pool
	running := map[string]int{}
	for id, n := range f.running {
		running[id] = n
	}
	free, idle := f.free(), f.idle
	if excess := f.live - p.Max; excess > 0 {
		idle = max(0, idle-excess) // some of them go
	}
	var gang *QueuedItem
	blocked, starting := 0, false
	for i := range f.queue {
		it := &f.queue[i]
		if p.tooBig(*it) {
			continue
		}
		_, waiting := f.waits[it.ID]
		switch {
		case gang == nil && waiting && it.Nodes <= idle && !starting:
			return fmt.Errorf("%s of %d nodes waits, and %d are idle", it.ID, it.Nodes, idle)
		case gang == nil && waiting && it.Nodes > free:
			gang, blocked = it, 1
		case gang == nil && waiting:
			starting = true // it waits for nodes to come up, and what is idle is its own
			running[it.ID], free = it.Nodes, free-it.Nodes
		case gang == nil && starting:
			return fmt.Errorf("%s took nodes that an earlier item waits for", it.ID)
		case gang != nil && !waiting && delays(running, gang.Nodes-free, it.Nodes):
			return fmt.Errorf("%s of %d nodes may delay %s of %d", it.ID, it.Nodes, gang.ID, gang.Nodes)
		case gang != nil && waiting:
			if blocked == 1 && !starting && !f.quotaBlocks() && it.Nodes <= idle && it.Nodes <= free && !delays(running, gang.Nodes-free, it.Nodes) {
				return fmt.Errorf("%s of %d nodes waits and could not delay %s of %d: %d idle, running %v", it.ID, it.Nodes, gang.ID, gang.Nodes, idle, running)
			}
			blocked++
		}
		if !waiting {
			running[it.ID], free, idle = it.Nodes, free-it.Nodes, idle-it.Nodes
		}
	}
	return nil
}

func TestPlanKeepsItsPromisesInRandomWorlds(t *testing.T) {
	const worlds = 10_000
	now := epoch.Add(24 * time.Hour)
	for seed := range uint64(worlds) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		var s State
		for i := range 1 + rnd.IntN(3) {
			s.Pools = append(s.Pools, randomPool(rnd, fmt.Sprintf("p%d", i), now))
		}
		before := State{}
		for _, p := range s.Pools {
			before.Pools = append(before.Pools, clonePool(p))
		}
		plans := Plan(s, now)
		if !reflect.DeepEqual(s, before) {
			t.Fatalf("world %d: the plan changed the state", seed)
		}
		for i := range plans {
			p, plan := &s.Pools[i], &plans[i]
			if err := planFactsOf(p, plan, now).check(); err != nil {
				t.Fatalf("world %d: %v\nmin %d max %d idle time %s short %q retry %s\nnodes %+v\nqueue %+v\nplan %s", seed, err,
					p.Min, p.Max, p.IdleTime, p.Short, p.RetryAt, p.Nodes, p.Queue, summary(*plan))
			}
			if alone := Plan(State{Pools: []PoolState{*p}}, now)[0]; !reflect.DeepEqual(alone, *plan) {
				t.Fatalf("world %d: pool %d is planned in another way beside others", seed, i)
			}
			// Before WakeAt time alone changes nothing.
			if len(plan.Decisions) == 0 {
				later := now.Add(48 * time.Hour)
				if !plan.WakeAt.IsZero() {
					later = plan.WakeAt.Add(-time.Nanosecond)
				}
				if then := Plan(State{Pools: []PoolState{*p}}, later)[0]; len(then.Decisions) > 0 {
					t.Fatalf("world %d: nothing to do until %s, but %q at %s", seed, plan.WakeAt, summary(then), later)
				}
				if !plan.WakeAt.IsZero() {
					if then := Plan(State{Pools: []PoolState{*p}}, plan.WakeAt)[0]; len(then.Decisions) == 0 && then.WakeAt.Equal(plan.WakeAt) {
						t.Fatalf("world %d: nothing happens at %s", seed, plan.WakeAt)
					}
				}
			}
		}
	}
}

// TestPlanStarvesNoGang has a gang wait for all of a cluster while smaller items
// never stop arriving: it starts when those that ran, or might go before it, are
// over.
func TestPlanStarvesNoGang(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		p := PoolState{ID: "p", Max: 2 + rnd.IntN(7), IdleTime: time.Hour}
		for i := range p.Max {
			p.Nodes = append(p.Nodes, NodeView{ID: fmt.Sprintf("n%d", i), State: NodeIdle, IdleSince: epoch})
		}
		ends := map[string]int{} // round in which an item ends
		seq, gang := uint64(0), ""
		submit := func(nodes int) string {
			seq++
			id := fmt.Sprintf("i%d", seq)
			p.Queue = append(p.Queue, QueuedItem{ID: id, Nodes: nodes, Priority: 2, Seq: seq})
			return id
		}
		const longest = 10
		started := -1
		for round := 0; started < 0; round++ {
			for range 1 + rnd.IntN(p.Max) {
				submit(1 + rnd.IntN(max(1, p.Max/2)))
			}
			if round == 20 {
				gang = submit(p.Max)
				p.Queue = p.Queue[len(p.Queue)-1:] // what came before it is another matter
			}
			for i := range p.Nodes {
				if n := &p.Nodes[i]; n.State == NodeRunning && ends[n.ItemID] <= round {
					n.State, n.ItemID = NodeIdle, ""
				}
			}
			for _, d := range Plan(State{Pools: []PoolState{p}}, epoch)[0].Decisions {
				if d.Kind != Place {
					continue
				}
				for _, id := range d.NodeIDs {
					i := slices.IndexFunc(p.Nodes, func(n NodeView) bool { return n.ID == id })
					p.Nodes[i].State, p.Nodes[i].ItemID = NodeRunning, d.ItemID
				}
				p.Queue = slices.DeleteFunc(p.Queue, func(q QueuedItem) bool { return q.ID == d.ItemID })
				ends[d.ItemID] = round + 1 + rnd.IntN(longest)
				if d.ItemID == gang {
					started = round
				}
			}
			if round > 20+longest+1 {
				t.Fatalf("seed %d: the gang of %d has not started %d rounds after it came", seed, p.Max, round-20)
			}
		}
	}
}
