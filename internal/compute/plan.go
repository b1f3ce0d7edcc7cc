package compute

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// State is all that Plan looks at.
type State struct {
	// Pools are planned independently of each other.
	Pools []PoolState
}

// PoolState is one pool, its nodes and its queue.
type PoolState struct {
	ID       string
	Min, Max int
	IdleTime time.Duration
	Nodes    []NodeView
	// Queue holds the items that wait, in any order. It is quickest in the order
	// of CompareQueued.
	Queue []QueuedItem
	// RetryAt, when in the future, is when nodes may be started again after the
	// failure that StartError tells of.
	RetryAt    time.Time
	StartError string
	// Quota is what core quotas leave to the pool; nil when none limits it.
	Quota *QuotaRoom
	// Short is the VM size when there is no capacity for it: no node can be
	// started. Otherwise it is empty.
	Short string
}

// NodeView is what Plan needs to know of a node.
type NodeView struct {
	ID     string
	State  NodeState
	ItemID string
	// IdleSince is when an idle node became idle, and a preempted one preempted.
	IdleSince time.Time
	// Drain says that the node is not to be used again.
	Drain bool
}

// QueuedItem is an item that waits for nodes.
type QueuedItem struct {
	ID       string
	Nodes    int
	Priority int
	// Seq counts submissions, so that items of the same instant have an order.
	Seq uint64
}

// CompareQueued orders a queue: greatest priority first, then first come, first
// served.
func CompareQueued(a, b QueuedItem) int {
	return cmp.Or(cmp.Compare(b.Priority, a.Priority), cmp.Compare(a.Seq, b.Seq), cmp.Compare(a.ID, b.ID))
}

// DecisionKind says what a Decision is.
type DecisionKind int

// The kinds of decision.
const (
	StartNode DecisionKind = iota
	StopNode
	Place
)

// Decision is one thing to do.
type Decision struct {
	Kind DecisionKind
	// NodeID is the node to stop. A node to start has no name yet.
	NodeID string
	// ItemID is the item to place, on the nodes NodeIDs, in rank order.
	ItemID  string
	NodeIDs []string
	// Reason says why a node is started or stopped.
	Reason string
}

// Waiting is an item that stays in the queue, and why.
type Waiting struct {
	ItemID string
	Reason Reason
}

// PoolPlan is what to do with one pool. The decisions are to be carried out
// together, in order: each counts on those before it.
type PoolPlan struct {
	PoolID    string
	Decisions []Decision
	Waiting   []Waiting
	// Target is how many nodes the pool will have then.
	Target int
	// WakeAt is when time alone makes another plan necessary; zero if never.
	WakeAt time.Time
}

// Plan decides what to do now. It is a pure function: the server, tests and a
// simulator share it.
//
// What holds for every plan:
//   - a pool never has more nodes than its maximum, counting those that are
//     leaving, and goes towards its minimum;
//   - a node is started only for the minimum or for an item in the queue, and
//     stopped only when no item waits for it;
//   - an item gets all its nodes at once, none of them twice;
//   - no node is started that a core quota has no room for, and an item that
//     waits for a quota holds no nodes meanwhile;
//   - items are served by priority, then in the order of arrival. A later item
//     may go before an earlier one that waits for nodes that others use, but only
//     if that cannot delay the earlier one, whichever running items end next.
func Plan(s State, now time.Time) []PoolPlan {
	plans := make([]PoolPlan, 0, len(s.Pools))
	for i := range s.Pools {
		plans = append(plans, planPool(&s.Pools[i], now))
	}
	return plans
}

// round is the planning of one pool.
type round struct {
	pool *PoolState
	now  time.Time
	plan PoolPlan

	idle      []NodeView     // not yet given away, most recently used first
	taken     []NodeView     // preempted nodes that are still shown
	preparing int            // nodes on their way that no item counts on yet
	sizes     map[string]int // nodes held by each item that runs
	free      int            // nodes that could be had without any item ending
	live      int            // nodes that are neither leaving nor broken
	headroom  int            // nodes that may be started right now
	wanted    int            // nodes to start for items
	claimed   int            // idle nodes that waiting items count on
	unbounded int            // what free would be without a quota
}

func planPool(p *PoolState, now time.Time) PoolPlan {
	r := &round{pool: p, now: now, plan: PoolPlan{PoolID: p.ID}, sizes: map[string]int{}}
	r.takeStock()
	r.serve()
	r.grow()
	r.shrink()
	r.plan.Target = r.live
	return r.plan
}

// takeStock counts the nodes and stops those that cannot or must not be used.
func (r *round) takeStock() {
	p := r.pool
	var booting []NodeView
	busy := 0
	for _, n := range p.Nodes {
		switch n.State {
		case NodePreparing, NodeIdle:
			switch {
			case n.Drain:
				r.stop(n, "the compute was deleted or replaced")
			case n.State == NodeIdle:
				r.idle = append(r.idle, n)
			default:
				booting = append(booting, n)
			}
		case NodeRunning:
			busy++
			r.sizes[n.ItemID]++
		case NodeUnusable:
			r.stop(n, "the node is unusable")
		case NodePreempted:
			// As in Azure Batch, it stays in the list until another takes its
			// place; here at most as long as an idle node would.
			if end := n.IdleSince.Add(p.IdleTime); n.Drain || !r.now.Before(end) {
				r.stop(n, "the node was preempted")
			} else {
				r.taken = append(r.taken, n)
				r.wake(end)
			}
		}
	}
	// Most recently used first: the others come to the end of their idle time.
	slices.SortFunc(r.idle, func(a, b NodeView) int {
		return cmp.Or(b.IdleSince.Compare(a.IdleSince), cmp.Compare(a.ID, b.ID))
	})
	slices.SortFunc(booting, func(a, b NodeView) int { return cmp.Compare(a.ID, b.ID) })
	r.live = busy + len(r.idle) + len(booting)
	for r.live > p.Max && len(r.idle)+len(booting) > 0 {
		reason := fmt.Sprintf("the maximum is now %s", count(p.Max, "node"))
		if n := len(r.idle); n > 0 {
			r.stop(r.idle[n-1], reason)
			r.idle = r.idle[:n-1]
		} else {
			n := len(booting)
			r.stop(booting[n-1], reason)
			booting = booting[:n-1]
		}
		r.live--
	}
	r.preparing = len(booting)
	r.free = max(0, p.Max-busy)
	r.headroom = max(0, p.Max-len(p.Nodes))
	r.unbounded = r.free
	if q := p.Quota; q != nil {
		r.free = min(r.free, len(r.idle)+len(booting)+q.Nodes)
		r.headroom = min(r.headroom, q.Nodes)
	}
}

// serve goes through the queue once.
func (r *round) serve() {
	p := r.pool
	queue := p.Queue
	if !slices.IsSortedFunc(queue, CompareQueued) {
		queue = slices.Clone(queue)
		slices.SortFunc(queue, CompareQueued)
	}
	r.plan.Waiting = make([]Waiting, 0, len(queue))
	// Once an item waits for others to end, spare is how many nodes later items
	// may have without delaying it.
	var blocker *QueuedItem
	spare, byQuota := 0, false
	for i := range queue {
		it := &queue[i]
		ahead := len(r.plan.Waiting)
		switch {
		case it.Nodes > p.Max:
			// Happens after the pool was made smaller. It must not hold others up.
			r.wait(it, Reason{Kind: WaitTooBig, Needs: it.Nodes, Max: p.Max})
		case p.Quota != nil && it.Nodes > p.Quota.Most:
			r.wait(it, r.quota(it, WaitTooBig)) // the same, of the quota
		case blocker == nil && it.Nodes <= len(r.idle):
			r.place(it)
		case blocker == nil && it.Nodes <= r.free:
			r.wait(it, r.claim(it))
		case blocker == nil && (it.Nodes <= r.unbounded || it.Nodes > r.free+r.held()):
			// It waits for nodes of other pools to leave. It holds none meanwhile, or
			// two such items could wait for each other for ever.
			blocker, byQuota = it, true
			r.wait(it, r.quota(it, WaitQuota))
		case blocker == nil:
			blocker = it
			spare = min(r.free, r.slack(it.Nodes-r.free))
			r.wait(it, Reason{Kind: WaitBusy, Needs: it.Nodes, Have: r.free, Max: p.Max, Ahead: ahead})
			// Every node that can be had is for this item, except that later
			// items may use the spare ones for now.
			r.wanted += max(0, r.free-len(r.idle)-r.preparing)
			r.preparing = 0
		case it.Nodes <= spare && it.Nodes <= len(r.idle):
			spare -= it.Nodes
			r.place(it)
		case it.Nodes <= spare:
			spare -= it.Nodes
			r.wait(it, r.starting(it.Nodes-len(r.idle)))
		default:
			kind := WaitBehind
			if it.Nodes > r.free {
				kind = WaitBusy
			}
			r.wait(it, Reason{Kind: kind, Needs: it.Nodes, Have: r.free, Max: p.Max, Ahead: ahead, Behind: blocker.ID, BehindNeeds: blocker.Nodes})
			// It waits for others to end too, so nothing may go before it.
			spare = 0
		}
	}
	if blocker != nil && !byQuota {
		r.claimed = len(r.idle)
	}
}

func (r *round) place(it *QueuedItem) {
	ids := make([]string, it.Nodes)
	for i := range ids {
		ids[i] = r.idle[i].ID
	}
	r.idle = r.idle[it.Nodes:]
	r.free -= it.Nodes
	r.unbounded -= it.Nodes
	r.sizes[it.ID] = it.Nodes
	r.plan.Decisions = append(r.plan.Decisions, Decision{Kind: Place, ItemID: it.ID, NodeIDs: ids})
}

// claim sets nodes aside for an item that has to wait only until enough of them
// are up: all idle ones, then those that are starting, then new ones. Taking an
// idle one away from it would delay it by the start of another.
func (r *round) claim(it *QueuedItem) Reason {
	need := it.Nodes - len(r.idle)
	missing := need
	r.claimed += len(r.idle)
	r.idle = nil
	starting := min(need, r.preparing)
	r.preparing -= starting
	if r.pool.Short != "" && need > starting {
		missing = need - starting
	}
	r.wanted += need - starting
	r.free -= it.Nodes
	r.unbounded -= it.Nodes
	r.sizes[it.ID] = it.Nodes // later items must reckon with it as with those that run
	reason := r.starting(missing)
	if r.pool.Short != "" && need == starting {
		reason = Reason{Kind: WaitStarting, Missing: missing}
	}
	reason.Needs = it.Nodes
	return reason
}

// starting is why an item waits that needs missing more nodes to come up.
func (r *round) starting(missing int) Reason {
	if r.pool.Short != "" {
		return Reason{Kind: WaitShortage, Missing: missing, Detail: r.pool.Short}
	}
	if r.now.Before(r.pool.RetryAt) {
		return Reason{Kind: WaitRetry, Missing: missing, Detail: r.pool.StartError, Until: r.pool.RetryAt}
	}
	return Reason{Kind: WaitStarting, Missing: missing}
}

// quota is why an item waits that a core quota has no room for.
func (r *round) quota(it *QueuedItem, kind WaitKind) Reason {
	q := r.pool.Quota
	return Reason{Kind: kind, Needs: it.Nodes, Max: r.pool.Max, Detail: q.Name, Limit: q.Limit, Cores: it.Nodes * q.Cores}
}

func (r *round) wait(it *QueuedItem, why Reason) {
	if why.Needs == 0 {
		why.Needs = it.Nodes
	}
	r.plan.Waiting = append(r.plan.Waiting, Waiting{ItemID: it.ID, Reason: why})
}

// held is how many nodes the items have that run, or that nodes are set aside for.
func (r *round) held() int {
	total := 0
	for _, n := range r.sizes {
		total += n
	}
	return total
}

// slack is by how many nodes the running items overshoot need when they end in
// the order that is worst for a newcomer. An item that waits for need more nodes
// starts as soon as the items that ended held that many; whatever those held
// beyond need it does not want. So a newcomer of at most that size cannot delay
// it: every set of running items that would set enough nodes free without the
// newcomer does so with it. The sums that sets of running items can have are
// found as a bit set.
func (r *round) slack(need int) int {
	total := r.held()
	if total < need {
		return 0
	}
	sums := make([]uint64, total/64+1)
	sums[0] = 1
	for _, n := range r.sizes {
		words, bits := n/64, uint(n%64)
		for i := len(sums) - 1; i >= words; i-- {
			w := sums[i-words] << bits
			if bits > 0 && i > words {
				w |= sums[i-words-1] >> (64 - bits)
			}
			sums[i] |= w
		}
	}
	for s := need; s <= total; s++ {
		if sums[s/64]>>uint(s%64)&1 == 1 {
			return s - need
		}
	}
	return 0
}

// grow starts the nodes that waiting items and the minimum ask for.
func (r *round) grow() {
	p := r.pool
	if p.Short != "" {
		return
	}
	// Preempted nodes make room for those that take their place.
	want := r.wanted + max(0, p.Min-r.live-r.wanted)
	slices.SortFunc(r.taken, func(a, b NodeView) int {
		return cmp.Or(a.IdleSince.Compare(b.IdleSince), cmp.Compare(a.ID, b.ID))
	})
	for _, n := range r.taken[:max(0, min(len(r.taken), len(p.Nodes)+want-p.Max))] {
		r.stop(n, "another takes the place of the preempted node")
	}
	// Leaving nodes still count, so some of what is wanted may have to wait until
	// they are gone; the event of that brings another plan.
	n := min(r.wanted, r.headroom)
	floor := max(0, min(p.Min-r.live-n, r.headroom-n))
	if n+floor == 0 {
		return
	}
	if r.now.Before(p.RetryAt) {
		r.wake(p.RetryAt)
		return
	}
	for i := range n + floor {
		reason := "jobs in the queue need it"
		if i >= n {
			reason = fmt.Sprintf("the minimum is %s", count(p.Min, "node"))
		}
		r.plan.Decisions = append(r.plan.Decisions, Decision{Kind: StartNode, Reason: reason})
	}
	r.live += n + floor
}

// shrink stops the nodes that nobody counts on once their idle time is over,
// longest idle first, down to the minimum.
func (r *round) shrink() {
	p := r.pool
	if r.claimed > 0 {
		return
	}
	for i := len(r.idle) - 1; i >= 0 && r.live > p.Min; i-- {
		n := r.idle[i]
		end := n.IdleSince.Add(p.IdleTime)
		if r.now.Before(end) {
			r.wake(end)
			return
		}
		r.stop(n, fmt.Sprintf("idle for %s", p.IdleTime))
		r.live--
	}
}

func (r *round) stop(n NodeView, reason string) {
	r.plan.Decisions = append(r.plan.Decisions, Decision{Kind: StopNode, NodeID: n.ID, Reason: reason})
}

func (r *round) wake(at time.Time) {
	if r.plan.WakeAt.IsZero() || at.Before(r.plan.WakeAt) {
		r.plan.WakeAt = at
	}
}
