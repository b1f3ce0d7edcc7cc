package compute

import "fmt"

// item brings one item forward as far as the facts allow.
func (t *turn) item(it *itemRecord) error {
	for {
		before := it.Phase
		var err error
		switch it.Phase {
		case PhaseQueued:
			err = t.queued(it)
		case PhasePreparing:
			err = t.preparing(it)
		case PhaseRunning:
			err = t.runningItem(it)
		case PhaseSaving:
			err = t.saving(it)
		case PhaseFinalizing:
			err = t.finalizing(it)
		}
		if err != nil || it.Phase == before || it.Phase == PhaseQueued || it.Phase == PhaseDone {
			return err
		}
	}
}

// queued: only an item that is to be ended comes here.
func (t *turn) queued(it *itemRecord) error {
	if it.Stop == nil {
		return nil
	}
	return t.end(it)
}

// preparing: the workload prepares, then the tasks are started, in a call that
// act makes. Here its result is taken.
func (t *turn) preparing(it *itemRecord) error {
	l, done := t.facts.launched[it.ID]
	if l.attempt != it.Attempt {
		l, done = launch{}, false
	}
	if it.Stop == nil {
		if why := t.nodeTrouble(it); why != nil {
			it.Stop = why
		} else if done && l.err != nil {
			it.Stop = &Stop{Cause: StopPrepare, Reason: l.err.Error()}
		}
		if it.Stop != nil {
			if err := t.putItem(it); err != nil {
				return err
			}
		}
	}
	known, running, all := t.facts.attempt(it)
	busy := t.workers[itemKey(it.ID)] != nil
	if it.Stop != nil {
		// What was started has been asked to end by act. Wait for all of it.
		if busy || t.stillRuns(it, l) {
			return nil
		}
		it.TaskCount = max(known, len(l.nodes))
		return t.end(it)
	}
	switch {
	case done:
		it.TaskCount = len(l.nodes)
	case busy || known == 0:
		return nil // the call is under way, or act makes it
	case known == all:
		// An earlier process started all tasks and was killed before it could
		// write that down.
		it.TaskCount = all
	case running > 0:
		return nil // it started some; act ends them, and then all start anew
	default:
		it.Attempt++
		return t.putItem(it)
	}
	it.StartedAt = t.now
	t.info("item runs", logItem, it.ID, logAttempt, it.Attempt)
	return t.moveItem(it, ItemEventLaunch)
}

// stillRuns says whether a task that was started may run, reported or not. Of a
// node that is gone nothing runs any more.
func (t *turn) stillRuns(it *itemRecord, l launch) bool {
	for _, r := range t.facts.tasks[it.ID] {
		if r.Attempt == it.Attempt && !r.Ended && !t.nodeGone(r.NodeID) {
			return true
		}
	}
	for i, node := range l.nodes {
		if t.facts.task(it, i) == nil && !t.nodeGone(node) {
			return true // its report is on its way
		}
	}
	return false
}

func (t *turn) nodeGone(id string) bool {
	n := t.world.nodes[id]
	return n == nil || n.State == NodeUnusable || n.State == NodePreempted
}

// nodeTrouble is why an item that has nodes cannot go on with them, or nil.
func (t *turn) nodeTrouble(it *itemRecord) *Stop {
	for rank, id := range it.NodeIDs {
		n := t.world.nodes[id]
		switch {
		case n == nil || n.State == NodeUnusable:
			reason := fmt.Sprintf("Node %s was lost", id)
			if n != nil && n.Error != "" {
				reason += ": " + n.Error
			}
			return &Stop{Cause: StopLost, Reason: reason, Task: rank}
		case n.State == NodePreempted:
			return &Stop{Cause: StopPreempted, Reason: fmt.Sprintf("Node %s was preempted.", id), Task: rank}
		case n.Evict != "":
			why := &Stop{Cause: StopPreempted, Reason: fmt.Sprintf("Node %s was preempted %s.", id, n.Evict), Task: rank, Grace: DefaultNotice}
			if p := t.world.pools[n.PoolID]; p != nil {
				why.Grace = p.Preemption.notice()
			}
			return why
		}
	}
	return nil
}

// runningItem: the tasks run, or are being ended.
func (t *turn) runningItem(it *itemRecord) error {
	ended, failed := 0, -1
	for i := range it.TaskCount {
		r := t.taskEnd(it, i)
		if r == nil {
			continue
		}
		ended++
		if !r.OK() && failed < 0 {
			failed = i
		}
	}
	if it.Stop == nil && ended < it.TaskCount {
		it.Stop = t.whyStop(it, failed)
		if it.Stop == nil {
			return nil
		}
		t.info("item is being ended", logItem, it.ID, logAttempt, it.Attempt, logReason, it.Stop.Reason)
		if err := t.putItem(it); err != nil {
			return err
		}
	}
	if ended < it.TaskCount {
		return nil
	}
	if it.Stop == nil {
		// All ended, but perhaps because the provider took the nodes away.
		if why := t.nodeTrouble(it); why != nil && failed >= 0 {
			it.Stop = why
		}
	}
	return t.end(it)
}

// taskEnd is how a task ended, or nil while it runs. Of a node that is gone
// nothing runs any more, whether or not the runner says so of each task.
func (t *turn) taskEnd(it *itemRecord, index int) *TaskResult {
	r := t.facts.task(it, index)
	if r != nil && r.Ended {
		return &r.Result
	}
	if node := t.taskNode(it, index); node == "" || !t.nodeGone(node) {
		return nil
	}
	lost := lostResult()
	return &lost
}

// taskNode is the node of a task, or "" when it is not known any more.
func (t *turn) taskNode(it *itemRecord, index int) string {
	if r := t.facts.task(it, index); r != nil {
		return r.NodeID
	}
	if it.TaskCount == len(it.NodeIDs) {
		return it.NodeIDs[index]
	}
	return ""
}

// whichFailed says which of several processes failed, and how.
func (t *turn) whichFailed(it *itemRecord, index int, r *TaskResult) string {
	where := ""
	if node := t.taskNode(it, index); node != "" {
		where = " on node " + node
	}
	return fmt.Sprintf("The process of rank %d%s, one of %d, failed: %s.", index, where, it.TaskCount, r)
}

func (t *turn) whyStop(it *itemRecord, failed int) *Stop {
	if why := t.nodeTrouble(it); why != nil {
		return why
	}
	if failed >= 0 {
		r := t.taskEnd(it, failed)
		cause := StopTask
		switch {
		case r.Lost:
			cause = StopLost
		case r.TimedOut:
			cause = StopTimeout
		}
		return &Stop{Cause: cause, Task: failed,
			Reason: t.whichFailed(it, failed, r) + " The others were ended."}
	}
	if it.Timeout > 0 && !t.now.Before(it.StartedAt.Add(it.Timeout)) {
		return &Stop{Cause: StopTimeout, Reason: fmt.Sprintf("The job ran longer than its timeout of %s.", it.Timeout)}
	}
	return nil
}

// end is called when no task of the item is left. It writes down how the item
// ended, or queues it again after a preemption.
func (t *turn) end(it *itemRecord) error {
	attempt := it.Attempt
	t.once(func() {
		if t.facts.launched[it.ID].attempt <= attempt {
			delete(t.facts.launched, it.ID)
		}
	})
	if it.Stop != nil && it.Stop.Cause == StopPreempted && t.endedByItself(it) {
		it.Stop = nil
	}
	if it.Stop != nil && it.Stop.Cause == StopPreempted {
		if p := t.world.pools[it.PoolID]; p == nil || !p.Preemption.Fail {
			it.Preemptions++
			return t.moveItem(it, ItemEventPreempt)
		}
	}
	it.Outcome = t.outcome(it)
	it.EndedAt = t.now
	t.info("item ended", logItem, it.ID, logAttempt, it.Attempt, logResult, it.Outcome.Result, logReason, it.Outcome.Reason)
	return t.moveItem(it, ItemEventEnd)
}

// endedByItself says that an item which was to be stopped had come to its end
// before any of its tasks heard of that.
func (t *turn) endedByItself(it *itemRecord) bool {
	if it.Phase != PhaseRunning {
		return false
	}
	for i := range it.TaskCount {
		if r := t.taskEnd(it, i); r == nil || r.Stopped || r.Lost || r.Signal != "" {
			return false
		}
	}
	return true
}

func (t *turn) outcome(it *itemRecord) *Outcome {
	o := &Outcome{Result: Completed, FailedTask: -1}
	for i := range it.TaskCount {
		r := t.taskEnd(it, i)
		if r == nil {
			lost := lostResult()
			r = &lost
		}
		o.Tasks = append(o.Tasks, *r)
		if !r.OK() && o.FailedTask < 0 {
			o.FailedTask = i
		}
	}
	if it.Stop != nil {
		o.Result, o.Cause, o.Reason = Failed, it.Stop.Cause, it.Stop.Reason
		switch it.Stop.Cause {
		case StopCanceled:
			o.Result, o.FailedTask = Canceled, -1
		case StopTask, StopLost, StopTimeout:
			if it.Stop.Task < len(o.Tasks) && !o.Tasks[it.Stop.Task].OK() {
				o.FailedTask = it.Stop.Task
			}
		}
		return o
	}
	if o.FailedTask < 0 {
		return o
	}
	o.Result = Failed
	r := o.Tasks[o.FailedTask]
	switch {
	case r.TimedOut:
		o.Cause = StopTimeout
		o.Reason = fmt.Sprintf("The job ran longer than its timeout of %s.", it.Timeout)
	case r.Lost:
		o.Cause = StopLost
		o.Reason = "The job's supervisor was lost, so how the command ended is unknown; what was left of it was killed."
	case r.Error != "":
		o.Reason = "The command could not be started: " + r.Error
	case it.TaskCount > 1:
		o.Reason = t.whichFailed(it, o.FailedTask, &r)
	case r.OutOfMemory:
		o.Reason = "The command was killed because its node had no memory left."
	case r.Signal != "":
		o.Reason = fmt.Sprintf("The command was killed by %s.", r.Signal)
	default:
		o.Reason = fmt.Sprintf("The command exited with code %d.", r.ExitCode)
	}
	return o
}

// saving: the workload keeps what the attempt has done, in a call that act makes,
// and then the item waits again, in its old place in the queue.
func (t *turn) saving(it *itemRecord) error {
	if it.Stop == nil || it.Stop.Cause != StopPreempted {
		// It was canceled meanwhile.
		if t.workers[itemKey(it.ID)] != nil {
			return nil
		}
		return t.end(it)
	}
	if t.facts.saved[it.ID] != it.Attempt {
		return nil
	}
	t.once(func() {
		delete(t.facts.saved, it.ID)
		delete(t.facts.notified, it.ID)
	})
	t.info("item queued again", logItem, it.ID, logAttempt, it.Attempt, logReason, it.Stop.Reason)
	if err := t.releaseNodes(it); err != nil {
		return err
	}
	it.Stop, it.NodeIDs, it.TaskCount = nil, nil, 0
	return t.moveItem(it, ItemEventRequeue)
}

// finalizing: the workload takes the results, in a call that act makes, and
// then the nodes are free.
func (t *turn) finalizing(it *itemRecord) error {
	if !t.facts.finished[it.ID] {
		return nil
	}
	t.once(func() {
		delete(t.facts.finished, it.ID)
		delete(t.facts.saved, it.ID)
		delete(t.facts.notified, it.ID)
	})
	if err := t.releaseNodes(it); err != nil {
		return err
	}
	return t.moveItem(it, ItemEventFinish)
}

func (t *turn) releaseNodes(it *itemRecord) error {
	for _, id := range it.NodeIDs {
		if n := t.world.nodes[id]; n != nil && n.State == NodeRunning {
			if err := t.moveNode(n, NodeEventRelease); err != nil {
				return err
			}
			// At once, so that this turn's plan does not give it to another.
			if _, err := t.preempted(n); err != nil {
				return err
			}
		}
	}
	return nil
}
