package compute

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// turn is one pass over the records, inside one transaction. It calls nobody: it
// only writes down what has become of nodes and items and what is to be done
// next.
type turn struct {
	*loop
	tx    store.Tx
	now   time.Time
	wrote bool
	// waiting is the outcome of the plans of this turn, by pool.
	waiting map[string]*waitingList
	// consumed removes facts that are part of the records once this turn is.
	consumed []func()
	log      []func()
}

func (t *turn) run() error {
	m := t.m
	if t.world == nil {
		w, err := m.readWorld(t.tx)
		if err != nil {
			return err
		}
		t.facts.compare(w)
		t.world = w
	}
	if err := m.readChanges(t.tx, t.world); err != nil {
		return err
	}
	for id, at := range t.wakeAt {
		if !t.now.Before(at) {
			t.world.dirty[id] = true
		}
	}
	if err := t.schedule(); err != nil {
		return err
	}
	for _, n := range t.world.nodes {
		if err := t.node(n); err != nil {
			return err
		}
	}
	for _, it := range t.world.active {
		if err := t.item(it); err != nil {
			return err
		}
	}
	return t.planDirty()
}

// publish tells those who wait for changes, once the turn is durable.
func (t *turn) publish() {
	for _, f := range t.consumed {
		f()
	}
	for _, f := range t.log {
		f()
	}
	m := t.m
	load := t.world.load()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.load = load
	for id, l := range t.waiting {
		if l == nil {
			delete(m.waiting, id)
		} else {
			m.waiting[id] = l
		}
	}
	if t.wrote || len(t.waiting) > 0 {
		close(m.news)
		m.news = make(chan struct{})
	}
}

// once has f called when the turn is durable.
func (t *turn) once(f func()) { t.consumed = append(t.consumed, f) }

func (t *turn) info(msg string, args ...any) {
	t.log = append(t.log, func() { t.m.log.Info(msg, args...) })
}

// moveNode is the only way in which a node's state changes.
func (t *turn) moveNode(n *Node, e NodeEvent) error {
	next, err := nextNodeState(n.State, e)
	if err != nil {
		return fmt.Errorf("node %s: %w", n.ID, err)
	}
	n.State, n.Since = next, t.now
	t.wrote = true
	t.world.dirty[n.PoolID] = true
	if err := t.m.tell(t.tx, n, e, t.world.pools[n.PoolID]); err != nil {
		return err
	}
	if next == nodeGone || next == NodePreempted {
		t.world.quotaChanged() // others may have what it had
	}
	if next == nodeGone {
		t.world.dropNode(n)
		return t.m.nodes.Delete(t.tx, n.ID)
	}
	if next != NodeRunning {
		n.ItemID, n.Rank = "", 0
	}
	t.world.setNode(n)
	return t.m.nodes.Put(t.tx, n)
}

// moveItem is the only way in which an item's phase changes.
func (t *turn) moveItem(it *itemRecord, e ItemEvent) error {
	next, err := nextPhase(it.Phase, e)
	if err != nil {
		return fmt.Errorf("item %s: %w", it.ID, err)
	}
	t.world.unfile(it)
	it.Phase, it.Since = next, t.now
	if next == PhaseDone {
		t.world.dropItem(it)
	} else {
		t.world.insert(it)
	}
	return t.putItem(it)
}

func (t *turn) putItem(it *itemRecord) error {
	t.wrote = true
	return t.m.items.Put(t.tx, it)
}

func (t *turn) putPool(p *poolRecord) error {
	t.wrote = true
	return t.m.pools.Put(t.tx, p)
}

// node brings one node forward.
func (t *turn) node(n *Node) error {
	rep, reported := t.facts.nodes[n.ID]
	if reported && n.State != NodeLeaving && n.State != NodeUnusable && n.State != NodePreempted {
		switch rep.Condition {
		case NodeConditionPreempted:
			n.Error = rep.Reason
			t.info("node preempted", logPool, n.PoolID, logNode, n.ID, logReason, rep.Reason)
			return t.moveNode(n, NodeEventPreempt)
		case NodeConditionLost, NodeConditionGone:
			n.Error = rep.Reason
			if n.Error == "" {
				n.Error = "The node disappeared."
			}
			t.info("node lost", logPool, n.PoolID, logNode, n.ID, logReason, n.Error)
			return t.moveNode(n, NodeEventFail)
		}
	}
	if gone, err := t.preempted(n); gone || err != nil {
		return err
	}
	switch n.State {
	case NodePreparing:
		s, ok := t.facts.started[n.ID]
		if !ok {
			return nil
		}
		t.once(func() { delete(t.facts.started, n.ID) })
		if s.err != nil {
			return t.nodeFailed(n, s.err)
		}
		n.Info = s.info
		if err := t.startsWork(n.PoolID); err != nil {
			return err
		}
		return t.moveNode(n, NodeEventReady)
	case NodeLeaving:
		if t.facts.stopped[n.ID] {
			t.once(func() {
				delete(t.facts.stopped, n.ID)
				delete(t.facts.started, n.ID)
				delete(t.facts.nodes, n.ID)
			})
			return t.moveNode(n, NodeEventGone)
		}
	}
	return nil
}

// nodeFailed keeps the error for the pool's status and holds further starts
// back for a while.
func (t *turn) nodeFailed(n *Node, cause error) error {
	n.Error = cause.Error()
	if p := t.world.pools[n.PoolID]; p != nil {
		p.StartError, p.StartErrorAt = n.Error, t.now
		if err := t.putPool(p); err != nil {
			return err
		}
	}
	// At once, so that this turn's plan does not start another. Nodes that fail
	// together count as one failure.
	if key := retryPool(n.PoolID); !t.held(key) {
		t.failed(key, workStart, cause, logPool, n.PoolID, logNode, n.ID)
	}
	return t.moveNode(n, NodeEventFail)
}

func (t *turn) startsWork(poolID string) error {
	delete(t.retries, retryPool(poolID))
	p := t.world.pools[poolID]
	if p == nil || p.StartError == "" {
		return nil
	}
	p.StartError, p.StartErrorAt = "", time.Time{}
	return t.putPool(p)
}

func retryPool(id string) string { return "pool/" + id }

// planDirty plans the pools in which something happened.
func (t *turn) planDirty() error {
	w := t.world
	t.waiting = map[string]*waitingList{}
	for _, id := range slices.Sorted(maps.Keys(w.dirty)) {
		p := w.pools[id]
		if p == nil {
			continue
		}
		if p.Deleting && len(w.inPool[id]) == 0 && w.held[id] == 0 {
			if err := t.m.pools.Delete(t.tx, id); err != nil {
				return err
			}
			t.wrote = true
			t.waiting[id] = nil
			delete(w.pools, id)
			t.once(func() {
				delete(t.wakeAt, id)
				delete(t.retries, retryPool(id))
			})
			t.info("pool deleted", logPool, id)
			continue
		}
		// One after another: what one takes of a quota the next cannot have.
		s := State{Pools: []PoolState{w.poolState(p, t.retries[retryPool(id)].at)}}
		for _, plan := range Plan(s, t.now) {
			if err := t.carryOut(plan); err != nil {
				return fmt.Errorf("plan %s: %w", plan.PoolID, err)
			}
		}
	}
	clear(w.dirty)
	return nil
}

// carryOut writes a plan down.
func (t *turn) carryOut(plan PoolPlan) error {
	p := t.world.pools[plan.PoolID]
	for _, d := range plan.Decisions {
		var err error
		switch d.Kind {
		case StartNode:
			err = t.startNode(p, d)
		case StopNode:
			n := t.world.nodes[d.NodeID]
			n.Reason = d.Reason
			t.info("node leaves", logPool, p.ID, logNode, n.ID, logReason, d.Reason)
			err = t.moveNode(n, NodeEventStop)
		case Place:
			err = t.place(t.world.items[d.ItemID], d.NodeIDs)
		}
		if err != nil {
			return err
		}
	}
	t.waiting[p.ID] = &waitingList{list: plan.Waiting}
	wakeAt := plan.WakeAt
	t.once(func() {
		if wakeAt.IsZero() {
			delete(t.wakeAt, p.ID)
		} else {
			t.wakeAt[p.ID] = wakeAt
		}
	})
	return t.allocation(p, plan.Target)
}

func (t *turn) startNode(p *poolRecord, d Decision) error {
	p.Ordinal++
	if err := t.putPool(p); err != nil {
		return err
	}
	n := &Node{
		ID: nodeName(p.ID, p.Ordinal, t.now), PoolID: p.ID, VMSize: p.VMSize,
		Created: t.now, Port: t.freePort(p.ID), Reason: d.Reason, PreemptAt: t.m.drawn(p.Preemption, t.now),
	}
	t.info("node starts", logPool, p.ID, logNode, n.ID, logReason, d.Reason)
	return t.moveNode(n, NodeEventStart)
}

// freePort is the lowest port that no node of the pool has.
func (t *turn) freePort(poolID string) int {
	nodes := t.world.inPool[poolID]
	used := make([]bool, len(nodes)+1)
	for _, n := range nodes {
		if i := n.Port - firstPort; i < len(used) {
			used[i] = true
		}
	}
	return firstPort + slices.Index(used, false)
}

func (t *turn) place(it *itemRecord, nodeIDs []string) error {
	it.NodeIDs = nodeIDs
	it.Attempt++
	for rank, id := range nodeIDs {
		n := t.world.nodes[id]
		n.ItemID, n.Rank = it.ID, rank
		if err := t.moveNode(n, NodeEventPlace); err != nil {
			return err
		}
	}
	t.info("item placed", logItem, it.ID, logPool, it.PoolID, logAttempt, it.Attempt)
	return t.moveItem(it, ItemEventPlace)
}

// allocation keeps the pool's allocation state and target up to date.
func (t *turn) allocation(p *poolRecord, target int) error {
	state := Steady
	for _, n := range t.world.inPool[p.ID] {
		if n.State == NodePreparing || n.State == NodeLeaving {
			state = Resizing
			break
		}
	}
	if state == p.Allocation && target == p.Target {
		return nil
	}
	if state != p.Allocation {
		p.Allocation, p.AllocationSince = state, t.now
	}
	p.Target = target
	return t.putPool(p)
}
