package compute

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// act starts every call that the records ask for and that is not under way. It
// runs after the records were committed, never before.
func (l *loop) act() {
	for _, n := range l.world.nodes {
		l.actNode(n)
	}
	for _, it := range l.world.active {
		l.actItem(it)
	}
	l.collectGarbage()
}

func nodeKey(id string) string { return "node/" + id }
func itemKey(id string) string { return "item/" + id }
func taskKey(id string) string { return "task/" + id }

// again is the key of a worker's next try.
func again(key, what string) string { return key + " " + what }

// What a worker is doing.
const (
	workStart  = "start a node"
	workStop   = "stop a node"
	workLaunch = "start the tasks of an item"
	workNotify = "tell the workload that an item runs"
	workFinish = "finish an item"
	workSave   = "save what a preempted item has done"
	workEnd    = "end a task"
	workRemove = "remove a task"
)

func (l *loop) actNode(n *Node) {
	key := nodeKey(n.ID)
	switch n.State {
	case NodePreparing:
		if _, done := l.facts.started[n.ID]; done {
			return
		}
		spec, id := l.nodeSpec(n), n.ID
		l.start(key, workStart, func(ctx context.Context) func() {
			info, err := l.m.runner.StartNode(ctx, spec)
			return func() { l.facts.started[id] = nodeStart{info: info, err: err} }
		})
	case NodeLeaving:
		if w := l.workers[key]; w != nil && w.what == workStart {
			w.cancel()
			return
		}
		if !l.facts.stopped[n.ID] {
			l.stopNode(n.ID, func() { l.facts.stopped[n.ID] = true })
		}
	}
}

func (l *loop) stopNode(id string, done func()) {
	key := nodeKey(id)
	l.start(key, workStop, func(ctx context.Context) func() {
		err := l.m.runner.StopNode(ctx, id)
		return func() {
			if err != nil {
				l.failed(again(key, workStop), workStop, err, logNode, id)
				return
			}
			delete(l.retries, again(key, workStop))
			done()
		}
	})
}

func (l *loop) nodeSpec(n *Node) NodeSpec {
	s := NodeSpec{ID: n.ID, PoolID: n.PoolID, VMSize: n.VMSize, Index: n.Port - firstPort}
	if p := l.world.pools[n.PoolID]; p != nil {
		s.VCPUs, s.MemoryGiB, s.GPUs, s.SubnetID, s.Tags = p.VCPUs, p.MemoryGiB, p.GPUs, p.SubnetID, p.Tags
		s.SubnetPrefix = p.SubnetPrefix
	}
	return s
}

func (l *loop) actItem(it *itemRecord) {
	w := l.workers[itemKey(it.ID)]
	switch it.Phase {
	case PhasePreparing:
		known, _, _ := l.facts.attempt(it)
		launched, done := l.facts.launched[it.ID]
		done = done && launched.attempt == it.Attempt
		switch {
		case it.Stop != nil && w != nil:
			w.cancel()
		case it.Stop != nil || (known > 0 && w == nil && !done):
			// To be ended, or started only in part by a process that was killed.
			l.endTasks(it, max(known, len(launched.nodes)))
		case w == nil && !done:
			l.launch(it)
		}
	case PhaseRunning:
		switch {
		case it.Stop != nil:
			if w != nil {
				w.cancel()
			}
			l.endTasks(it, it.TaskCount)
		case w == nil && l.facts.notified[it.ID] != it.Attempt:
			l.notify(it)
		}
	case PhaseSaving:
		switch {
		case w != nil && w.what != workSave:
			w.cancel()
		case w == nil && it.Stop != nil && it.Stop.Cause == StopPreempted && l.facts.saved[it.ID] != it.Attempt:
			l.save(it)
		}
	case PhaseFinalizing:
		switch {
		case w != nil && w.what != workFinish:
			w.cancel()
		case w == nil && !l.facts.finished[it.ID]:
			l.finish(it)
		}
	}
}

// nodesOf copies the nodes of an item, in rank order, for the workload.
func (l *loop) nodesOf(it *itemRecord) []Node {
	nodes := make([]Node, 0, len(it.NodeIDs))
	for _, id := range it.NodeIDs {
		if n := l.world.nodes[id]; n != nil {
			nodes = append(nodes, *n)
		}
	}
	return nodes
}

// launch prepares an item and starts its tasks.
func (l *loop) launch(it *itemRecord) {
	item, nodes := it.Item, l.nodesOf(it)
	l.start(itemKey(item.ID), workLaunch, func(ctx context.Context) func() {
		started, err := l.m.launch(ctx, item, nodes)
		return func() {
			l.facts.launched[item.ID] = launch{attempt: item.Attempt, nodes: started, err: err}
		}
	})
}

// launch returns the nodes of the tasks that were started.
func (m *Manager) launch(ctx context.Context, item Item, nodes []Node) (started []string, err error) {
	specs, err := m.workload.Prepare(ctx, item, nodes)
	if err != nil {
		return nil, err
	}
	if err := m.complete(item, nodes, specs); err != nil {
		return nil, fmt.Errorf("prepare: %w", err)
	}
	for i := range specs {
		if err := ctx.Err(); err != nil {
			return started, err
		}
		if err := m.runner.StartTask(ctx, specs[i]); err != nil {
			return started, fmt.Errorf("start task %d: %w", i, err)
		}
		started = append(started, specs[i].NodeID)
	}
	return started, nil
}

// complete fills in what the Manager knows of the tasks.
func (m *Manager) complete(item Item, nodes []Node, specs []TaskSpec) error {
	if len(specs) == 0 {
		return fmt.Errorf("the workload gave no task")
	}
	for i := range specs {
		s := &specs[i]
		if s.NodeID == "" {
			if len(specs) != len(nodes) {
				return fmt.Errorf("%d tasks without a node for %d nodes", len(specs), len(nodes))
			}
			s.NodeID = nodes[i].ID
		}
		if !slices.ContainsFunc(nodes, func(n Node) bool { return n.ID == s.NodeID }) {
			return fmt.Errorf("task %d is for node %s, which the item does not have", i, s.NodeID)
		}
		s.ID = taskID(item.ID, item.Attempt, i)
		s.ItemID, s.Attempt, s.Index, s.Count = item.ID, item.Attempt, i, len(specs)
		s.Timeout = item.Timeout
		if s.Grace <= 0 {
			s.Grace = m.grace
		}
	}
	return nil
}

func (l *loop) notify(it *itemRecord) {
	item, nodes, key := it.Item, l.nodesOf(it), itemKey(it.ID)
	l.start(key, workNotify, func(ctx context.Context) func() {
		err := l.m.workload.Started(ctx, item, nodes)
		interrupted := ctx.Err() != nil
		return func() {
			switch {
			case err == nil:
				l.facts.notified[item.ID] = item.Attempt
			case !interrupted:
				l.failed(again(key, workNotify), workNotify, err, logItem, item.ID)
			}
		}
	})
}

// save lets the workload keep what an attempt has done that was preempted.
func (l *loop) save(it *itemRecord) {
	item, reason, key := it.Item, it.Stop.Reason, itemKey(it.ID)
	l.start(key, workSave, func(ctx context.Context) func() {
		err := l.m.workload.Preempted(ctx, item, reason)
		return func() {
			if err != nil {
				l.failed(again(key, workSave), workSave, err, logItem, item.ID)
				return
			}
			l.facts.saved[item.ID] = item.Attempt
			delete(l.retries, again(key, workNotify))
			delete(l.retries, again(key, workSave))
		}
	})
}

// finish gives the results to the workload. What the runner keeps of the tasks
// is collected as garbage once the item is done.
func (l *loop) finish(it *itemRecord) {
	item, outcome, key := it.Item, *it.Outcome, itemKey(it.ID)
	l.start(key, workFinish, func(ctx context.Context) func() {
		err := l.m.workload.Finished(ctx, item, outcome)
		return func() {
			if err != nil {
				l.failed(again(key, workFinish), workFinish, err, logItem, item.ID)
				return
			}
			l.facts.finished[item.ID] = true
			delete(l.retries, again(key, workNotify))
			delete(l.retries, again(key, workFinish))
		}
	})
}

// endTasks asks the first n tasks of an item to end, each once.
func (l *loop) endTasks(it *itemRecord, n int) {
	grace := l.m.grace
	if it.Stop != nil && it.Stop.Grace > 0 {
		grace = it.Stop.Grace
	}
	for i := range n {
		if r := l.facts.task(it, i); r == nil || !r.Ended {
			l.endTask(taskID(it.ID, it.Attempt, i), grace)
		}
	}
}

func (l *loop) endTask(id string, grace time.Duration) {
	if l.facts.asked[id] {
		return
	}
	key := taskKey(id)
	l.start(key, workEnd, func(ctx context.Context) func() {
		err := l.m.runner.StopTask(ctx, id, grace)
		return func() {
			if err != nil {
				l.failed(again(key, workEnd), workEnd, err, logTask, id)
				return
			}
			l.facts.asked[id] = true
			delete(l.retries, again(key, workEnd))
		}
	})
}

// collectGarbage ends and removes what the runner has and no record knows: the
// tasks of earlier attempts, and leftovers of a process that was killed.
func (l *loop) collectGarbage() {
	for itemID, tasks := range l.facts.tasks {
		it := l.world.items[itemID]
		for id, r := range tasks {
			switch {
			case it != nil && r.Attempt == it.Attempt && it.Phase != PhaseQueued:
			case !r.Ended:
				l.endTask(id, l.m.grace)
			default:
				l.removeTask(itemID, id)
			}
		}
	}
	for id, r := range l.facts.nodes {
		switch {
		case l.world.nodes[id] != nil:
		case r.Condition == NodeConditionGone:
			delete(l.facts.nodes, id)
		default:
			l.stopNode(id, func() { delete(l.facts.nodes, id) })
		}
	}
}

func (l *loop) removeTask(itemID, id string) {
	key := taskKey(id)
	l.start(key, workRemove, func(ctx context.Context) func() {
		err := l.m.runner.RemoveTask(ctx, id)
		return func() {
			if err != nil {
				l.failed(again(key, workRemove), workRemove, err, logTask, id)
				return
			}
			l.facts.dropTask(itemID, id)
			delete(l.retries, again(key, workRemove))
		}
	})
}

// String names a task in errors of the workload and the runner.
func (r TaskRef) String() string {
	return lastSegment(r.ItemID) + "/" + strconv.Itoa(r.Attempt) + "/" + strconv.Itoa(r.Index)
}
