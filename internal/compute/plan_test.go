package compute

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/azimuth-ml/azimuth/internal/clock"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func idleNodes(n int, since time.Time) []NodeView {
	var out []NodeView
	for i := range n {
		out = append(out, NodeView{ID: fmt.Sprintf("idle%d", i), State: NodeIdle, IdleSince: since})
	}
	return out
}

func busyNodes(item string, n int) []NodeView {
	var out []NodeView
	for i := range n {
		out = append(out, NodeView{ID: fmt.Sprintf("%s%d", item, i), State: NodeRunning, ItemID: item})
	}
	return out
}

func nodesIn(state NodeState, n int) []NodeView {
	var out []NodeView
	for i := range n {
		out = append(out, NodeView{ID: fmt.Sprintf("%s%d", state, i), State: state})
	}
	return out
}

func takenNodes(n int, since time.Time) []NodeView {
	var out []NodeView
	for i := range n {
		out = append(out, NodeView{ID: fmt.Sprintf("taken%d", i), State: NodePreempted, IdleSince: since})
	}
	return out
}

// summary is a plan in a few words: "+2 -idle0 a@2" starts two, stops one and
// places a on two nodes.
func summary(p PoolPlan) string {
	var out []string
	starts := 0
	for _, d := range p.Decisions {
		switch d.Kind {
		case StartNode:
			starts++
		case StopNode:
			out = append(out, "-"+d.NodeID)
		case Place:
			out = append(out, fmt.Sprintf("%s@%d", d.ItemID, len(d.NodeIDs)))
		}
	}
	if starts > 0 {
		out = append([]string{fmt.Sprintf("+%d", starts)}, out...)
	}
	return strings.Join(out, " ")
}

func TestPlan(t *testing.T) {
	now := epoch.Add(time.Hour)
	q := func(specs ...string) []QueuedItem {
		var out []QueuedItem
		for i, s := range specs {
			it := QueuedItem{Seq: uint64(i)}
			fmt.Sscanf(strings.ReplaceAll(s, ":", " "), "%s %d %d", &it.ID, &it.Nodes, &it.Priority)
			out = append(out, it)
		}
		return out
	}
	for _, tt := range []struct {
		name    string
		pool    PoolState
		want    string
		waiting string // part of the first waiting item's sentence
		wake    time.Duration
	}{
		{name: "nothing to do"},
		{name: "scale up from zero", pool: PoolState{Max: 4, Queue: q("a:1", "b:2")}, want: "+3", waiting: "waits for a node to start"},
		{name: "never above max", pool: PoolState{Max: 2, Queue: q("a:1", "b:1", "c:1")}, want: "+2"},
		{name: "leaving nodes count", pool: PoolState{Max: 2, Nodes: nodesIn(NodeLeaving, 1), Queue: q("a:2")}, want: "+1", waiting: "2 of its 2 nodes"},
		{name: "nodes on their way are counted on", pool: PoolState{Max: 4, Nodes: nodesIn(NodePreparing, 2), Queue: q("a:1", "b:1")}, want: ""},
		{name: "gang waits for all its nodes", pool: PoolState{Max: 4, Nodes: idleNodes(2, now), Queue: q("a:3")}, want: "+1", waiting: "1 of its 3 nodes"},
		{name: "idle nodes of a gang are not taken", pool: PoolState{Max: 4, Nodes: idleNodes(2, now), Queue: q("a:3", "b:1")}, want: "+2"},
		{name: "place", pool: PoolState{Max: 4, Nodes: idleNodes(2, now), Queue: q("a:1", "b:1")}, want: "a@1 b@1"},
		{name: "priority first", pool: PoolState{Max: 1, Nodes: idleNodes(1, now), Queue: q("a:1:0", "b:1:5")}, want: "b@1", waiting: "only node is in use"},
		{name: "minimum", pool: PoolState{Min: 2, Max: 4}, want: "+2"},
		{name: "minimum is kept", pool: PoolState{Min: 1, Max: 4, Nodes: idleNodes(2, epoch), IdleTime: time.Minute}, want: "-idle1"},
		{name: "idle time not over", pool: PoolState{Max: 4, Nodes: idleNodes(1, now.Add(-time.Minute)), IdleTime: 3 * time.Minute}, wake: 2 * time.Minute},
		{name: "idle time over", pool: PoolState{Max: 4, Nodes: idleNodes(1, now.Add(-3*time.Minute)), IdleTime: 3 * time.Minute}, want: "-idle0"},
		{name: "a node that a gang waits for stays", pool: PoolState{Max: 2, Nodes: append(idleNodes(1, epoch), busyNodes("x", 1)...), Queue: q("a:2")}, waiting: "only 1 of the compute's 2"},
		{name: "overtaking would delay the gang", pool: PoolState{Max: 3, Nodes: append(idleNodes(1, now), append(busyNodes("x", 1), busyNodes("y", 1)...)...), Queue: q("a:2", "b:1")}},
		{name: "overtaking cannot delay the gang", pool: PoolState{Max: 4, Nodes: append(idleNodes(1, now), busyNodes("x", 3)...), Queue: q("a:2", "b:1")}, want: "b@1"},
		{name: "too big does not block", pool: PoolState{Max: 1, Nodes: idleNodes(1, now), Queue: q("a:2", "b:1")}, want: "b@1", waiting: "resized to at most 1"},
		{name: "resized below its nodes", pool: PoolState{Max: 1, Nodes: append(idleNodes(2, now), busyNodes("x", 1)...), IdleTime: time.Hour}, want: "-idle1 -idle0"},
		{name: "drained nodes go and are not used", pool: PoolState{Max: 2, Nodes: []NodeView{{ID: "old", State: NodeIdle, Drain: true}}, Queue: q("a:1")}, want: "+1 -old"},
		{name: "broken nodes go", pool: PoolState{Max: 1, Nodes: nodesIn(NodeUnusable, 1), Queue: q("a:1")}, want: "-unusable0"},
		{name: "held back after a failure", pool: PoolState{Max: 1, Queue: q("a:1"), RetryAt: now.Add(time.Minute), StartError: "no capacity"}, waiting: "no capacity", wake: time.Minute},
		{name: "no capacity for the size", pool: PoolState{Min: 1, Max: 2, Queue: q("a:2"), Short: "Standard_NC6s_v3"}, waiting: "2 nodes of size Standard_NC6s_v3, for which there is no capacity"},
		{name: "what starts during a shortage is counted on", pool: PoolState{Max: 2, Nodes: nodesIn(NodePreparing, 1), Queue: q("a:1"), Short: "S"}, waiting: "waits for a node to start"},
		{name: "preempted nodes are shown for a while", pool: PoolState{Max: 2, Nodes: takenNodes(1, now.Add(-time.Minute)), IdleTime: 3 * time.Minute}, wake: 2 * time.Minute},
		{name: "and then go", pool: PoolState{Max: 2, Nodes: takenNodes(1, now.Add(-3*time.Minute)), IdleTime: 3 * time.Minute}, want: "-taken0"},
		{name: "another takes the place", pool: PoolState{Max: 2, Nodes: takenNodes(2, now), IdleTime: time.Hour, Queue: q("a:1")}, want: "-taken0"},
		{name: "where there is room none has to go", pool: PoolState{Max: 3, Nodes: takenNodes(2, now), IdleTime: time.Hour, Queue: q("a:1")}, want: "+1"},
		{name: "preempted nodes do not count for the minimum", pool: PoolState{Min: 1, Max: 1, Nodes: takenNodes(1, now), IdleTime: time.Hour}, want: "-taken0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := Plan(State{Pools: []PoolState{tt.pool}}, now)[0]
			if got := summary(p); got != tt.want {
				t.Errorf("plan = %q, want %q", got, tt.want)
			}
			if tt.waiting != "" && (len(p.Waiting) == 0 || !strings.Contains(p.Waiting[0].Reason.String(), tt.waiting)) {
				t.Errorf("waiting = %v, want %q", p.Waiting, tt.waiting)
			}
			if tt.wake != 0 && !p.WakeAt.Equal(now.Add(tt.wake)) {
				t.Errorf("wake at %v, want in %v", p.WakeAt, tt.wake)
			}
		})
	}
}

// simulation is a cluster that does what plans say and whose items and nodes
// take random times.
type simulation struct {
	t         *testing.T
	rnd       *rand.Rand
	clock     *clock.Manual
	pool      PoolState
	nextNode  int
	submitted int
	placed    map[string]int // how often, by item
	canceled  map[string]bool
	nodesOf   map[string][]string
}

func (s *simulation) now() time.Time { return s.clock.Now() }

func (s *simulation) node(id string) *NodeView {
	i := slices.IndexFunc(s.pool.Nodes, func(n NodeView) bool { return n.ID == id })
	if i < 0 {
		s.t.Fatalf("no node %s", id)
	}
	return &s.pool.Nodes[i]
}

func (s *simulation) step() {
	t, p := s.t, &s.pool
	before := slices.Clone(p.Nodes)
	queue := slices.Clone(p.Queue)
	slices.SortFunc(queue, CompareQueued)
	plan := Plan(State{Pools: []PoolState{*p}}, s.now())[0]

	if again := Plan(State{Pools: []PoolState{*p}}, s.now())[0]; summary(again) != summary(plan) {
		t.Fatalf("the same state was planned as %q and as %q", summary(plan), summary(again))
	}
	taken := map[string]bool{}
	starts := 0
	demand := 0
	for _, it := range queue {
		if it.Nodes <= p.Max {
			demand += it.Nodes
		}
	}
	for _, d := range plan.Decisions {
		switch d.Kind {
		case StartNode:
			starts++
			s.nextNode++
			p.Nodes = append(p.Nodes, NodeView{ID: fmt.Sprintf("n%d", s.nextNode), State: NodePreparing})
			if d.Reason == "" {
				t.Fatal("a node is started without a reason")
			}
		case StopNode:
			n := s.node(d.NodeID)
			if n.State == NodeRunning || taken[n.ID] {
				t.Fatalf("stop of %s, which is %s", n.ID, n.State)
			}
			taken[n.ID] = true
			n.State = NodeLeaving
		case Place:
			i := slices.IndexFunc(p.Queue, func(q QueuedItem) bool { return q.ID == d.ItemID })
			if i < 0 {
				t.Fatalf("%s was placed but is not in the queue", d.ItemID)
			}
			if len(d.NodeIDs) != p.Queue[i].Nodes {
				t.Fatalf("%s needs %d nodes and got %v", d.ItemID, p.Queue[i].Nodes, d.NodeIDs)
			}
			for _, id := range d.NodeIDs {
				n := s.node(id)
				if n.State != NodeIdle || taken[id] || n.Drain {
					t.Fatalf("%s was placed on %s, which is %s", d.ItemID, id, n.State)
				}
				taken[id] = true
				n.State, n.ItemID = NodeRunning, d.ItemID
			}
			s.nodesOf[d.ItemID] = d.NodeIDs
			s.placed[d.ItemID]++
			p.Queue = slices.Delete(p.Queue, i, i+1)
		}
	}
	if starts > 0 && len(p.Nodes) > p.Max {
		t.Fatalf("%d nodes, the maximum is %d", len(p.Nodes), p.Max)
	}
	alive := 0
	for _, n := range before {
		if n.State == NodePreparing || n.State == NodeIdle || n.State == NodeRunning {
			alive++
		}
	}
	if starts > max(0, p.Min-alive)+demand {
		t.Fatalf("%d starts for a demand of %d, minimum %d, %d nodes", starts, demand, p.Min, alive)
	}
	s.checkWaiting(plan, queue, before)
}

// checkWaiting checks that each item was placed or has a reason, that nodes do
// not idle while an item could use them, and that overtaking delays nobody.
func (s *simulation) checkWaiting(plan PoolPlan, queue []QueuedItem, before []NodeView) {
	t, p := s.t, &s.pool
	waits := map[string]Reason{}
	for _, w := range plan.Waiting {
		waits[w.ItemID] = w.Reason
		if strings.TrimSpace(w.Reason.String()) == "" || !strings.HasSuffix(w.Reason.String(), ".") {
			t.Fatalf("no sentence for %s: %q", w.ItemID, w.Reason)
		}
	}
	idle := 0
	for _, n := range p.Nodes {
		if n.State == NodeIdle && !n.Drain {
			idle++
		}
	}
	running := map[string]int{} // when the round began
	busy := 0
	for _, n := range before {
		if n.State == NodeRunning {
			running[n.ItemID]++
			busy++
		}
	}
	var gang *QueuedItem // the first item that waits for others to end
	free := p.Max - busy
	first := true
	for i := range queue {
		it := &queue[i]
		r, waiting := waits[it.ID]
		if waiting == (s.nodesOf[it.ID] != nil) {
			t.Fatalf("%s: waiting %v, placed on %v", it.ID, waiting, s.nodesOf[it.ID])
		}
		if waiting && it.Nodes > p.Max {
			continue
		}
		if waiting {
			if first && it.Nodes <= idle {
				t.Fatalf("%s needs %d nodes, waits (%s) and %d are idle", it.ID, it.Nodes, r, idle)
			}
			first = false
			if gang == nil && it.Nodes > free {
				gang = it
			} else if gang == nil {
				running[it.ID] = it.Nodes
				free -= it.Nodes
			}
			continue
		}
		if gang != nil && delays(running, gang.Nodes-free, it.Nodes) {
			t.Fatalf("%s (%d nodes) overtook %s (%d nodes, %d free) and may delay it; running %v",
				it.ID, it.Nodes, gang.ID, gang.Nodes, free, running)
		}
		if gang == nil && !first {
			// It came after an item that waits for nodes to start, and took an
			// idle node: that item must not have wanted it.
			t.Fatalf("%s took nodes from an earlier item that waits for nodes to start", it.ID)
		}
		running[it.ID] = it.Nodes
		free -= it.Nodes
	}
}

// delays tries every set of running items: is there one whose end lets the gang
// start, but not if a newcomer holds k of the free nodes?
func delays(running map[string]int, need, k int) bool {
	var sizes []int
	for _, n := range running {
		sizes = append(sizes, n)
	}
	if len(sizes) > 16 {
		return false
	}
	for set := range 1 << len(sizes) {
		sum := 0
		for i, n := range sizes {
			if set>>i&1 == 1 {
				sum += n
			}
		}
		if sum >= need && sum < need+k {
			return true
		}
	}
	return false
}

// happen lets one random thing happen.
func (s *simulation) happen(submit bool) {
	p := &s.pool
	switch n := s.rnd.IntN(12); {
	case n < 4 && submit:
		s.submitted++
		size := 1
		if s.rnd.IntN(3) == 0 {
			size = 1 + s.rnd.IntN(p.Max)
		}
		p.Queue = append(p.Queue, QueuedItem{ID: fmt.Sprintf("i%d", s.submitted), Nodes: size, Priority: s.rnd.IntN(2), Seq: uint64(s.submitted)})
	case n < 7: // an item ends
		for id, nodes := range s.nodesOf {
			for _, id := range nodes {
				n := s.node(id)
				n.State, n.ItemID, n.IdleSince = NodeIdle, "", s.now()
			}
			delete(s.nodesOf, id)
			break
		}
	case n < 10: // a node comes up or is gone
		for i := range p.Nodes {
			n := &p.Nodes[i]
			if n.State == NodePreparing {
				n.State, n.IdleSince = NodeIdle, s.now()
				switch s.rnd.IntN(20) {
				case 0:
					n.State = NodeUnusable
				case 1, 2, 3:
					n.State = NodePreempted
				}
				return
			}
			if n.State == NodeLeaving && s.rnd.IntN(2) == 0 {
				p.Nodes = slices.Delete(p.Nodes, i, i+1)
				return
			}
		}
	case n == 10 && submit:
		switch s.rnd.IntN(4) {
		case 0:
			p.Max = 1 + s.rnd.IntN(8)
			p.Min = min(p.Min, p.Max)
		case 1:
			p.Min = s.rnd.IntN(p.Max + 1)
		case 2:
			if len(p.Queue) > 0 {
				i := s.rnd.IntN(len(p.Queue))
				s.canceled[p.Queue[i].ID] = true
				p.Queue = slices.Delete(p.Queue, i, i+1)
			}
		}
	default:
		s.clock.Step(time.Duration(s.rnd.IntN(300)) * time.Second)
	}
}

func TestPlanHoldsItsPromisesInRandomHistories(t *testing.T) {
	for seed := range uint64(80) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s := &simulation{
				t: t, rnd: rand.New(rand.NewPCG(seed, 1)), clock: clock.NewManual(epoch),
				placed: map[string]int{}, canceled: map[string]bool{}, nodesOf: map[string][]string{},
			}
			s.pool = PoolState{ID: "p", Max: 1 + s.rnd.IntN(8), IdleTime: time.Duration(s.rnd.IntN(20)) * time.Minute}
			s.pool.Min = s.rnd.IntN(s.pool.Max + 1)
			for range 200 {
				s.happen(true)
				s.step()
			}
			// No more arrivals: everything is served and the pool goes to its
			// minimum. A maximum that fits all of the queue must come first.
			s.pool.Max = 8
			for i := 0; len(s.pool.Queue)+len(s.nodesOf) > 0; i++ {
				if i > 20000 {
					t.Fatalf("starved: %v", s.pool.Queue)
				}
				s.happen(false)
				s.step()
			}
			for range 2000 {
				s.happen(false)
				s.step()
			}
			if n := len(s.pool.Nodes); n != s.pool.Min {
				t.Errorf("%d nodes are left, the minimum is %d: %v", n, s.pool.Min, s.pool.Nodes)
			}
			for i := range s.submitted {
				id := fmt.Sprintf("i%d", i+1)
				if want := 1; s.placed[id] != want && !s.canceled[id] {
					t.Errorf("%s was placed %d times", id, s.placed[id])
				}
			}
		})
	}
}

func BenchmarkPlan10kItems1kNodes(b *testing.B) {
	var p PoolState
	p.ID, p.Max = "p", 1000
	for i := range 1000 {
		p.Nodes = append(p.Nodes, NodeView{ID: fmt.Sprintf("n%d", i), State: NodeRunning, ItemID: fmt.Sprintf("r%d", i)})
	}
	p.Nodes[0] = NodeView{ID: "n0", State: NodeIdle, IdleSince: epoch}
	for i := range 10000 {
		p.Queue = append(p.Queue, QueuedItem{ID: fmt.Sprintf("i%d", i), Nodes: 1 + i%7, Seq: uint64(i)})
	}
	s := State{Pools: []PoolState{p}}
	b.ReportAllocs()
	for b.Loop() {
		Plan(s, epoch)
	}
}
