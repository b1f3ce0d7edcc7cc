package compute

// facts is what the loop knows beyond the records: what the runner reported and
// what calls returned. It is kept until a transaction has made it part of the
// records.
type facts struct {
	synced bool
	seen   map[string]bool // node and task IDs of the snapshot being taken, or nil
	loaded bool            // a first world was read and compared with the runner

	nodes map[string]NodeReport
	tasks map[string]map[string]*TaskReport // by item, then task

	started  map[string]nodeStart // results of StartNode
	stopped  map[string]bool      // nodes that StopNode is done with
	launched map[string]launch    // results of preparing and starting tasks, by item
	notified map[string]int       // the attempt that Workload.Started took, by item
	finished map[string]bool      // items that Workload.Finished took
	saved    map[string]int       // the attempt that Workload.Preempted took, by item
	asked    map[string]bool      // tasks that StopTask was called for
}

type nodeStart struct {
	info NodeInfo
	err  error
}

// launch is how far preparing an attempt got.
type launch struct {
	attempt int
	nodes   []string // of the tasks that were started, in their order
	err     error
}

func newFacts() facts {
	return facts{
		nodes: map[string]NodeReport{}, tasks: map[string]map[string]*TaskReport{},
		started: map[string]nodeStart{}, stopped: map[string]bool{}, launched: map[string]launch{},
		notified: map[string]int{}, finished: map[string]bool{}, saved: map[string]int{}, asked: map[string]bool{},
	}
}

func (f *facts) beginSync() { f.seen = map[string]bool{} }

func (f *facts) report(r Report) {
	switch {
	case r.Node != nil:
		f.nodes[r.Node.ID] = *r.Node
		if f.seen != nil {
			f.seen[r.Node.ID] = true
		}
	case r.Task != nil:
		f.setTask(r.Task)
		if f.seen != nil {
			f.seen[r.Task.ID] = true
		}
	case r.Synced:
		f.endSync()
	}
}

// endSync finds what an earlier snapshot had and this one has not.
func (f *facts) endSync() {
	for id, n := range f.nodes {
		if !f.seen[id] {
			n.Condition = NodeConditionGone
			f.nodes[id] = n
		}
	}
	for _, tasks := range f.tasks {
		for id, task := range tasks {
			if !f.seen[id] && !task.Ended {
				lost := *task
				lost.Ended, lost.Result = true, lostResult()
				tasks[id] = &lost
			}
		}
	}
	f.synced, f.seen = true, nil
}

func (f *facts) setTask(r *TaskReport) {
	tasks := f.tasks[r.ItemID]
	if tasks == nil {
		tasks = map[string]*TaskReport{}
		f.tasks[r.ItemID] = tasks
	}
	if old := tasks[r.ID]; old != nil && old.Ended {
		return // the first end counts
	}
	tasks[r.ID] = r
}

func (f *facts) dropTask(itemID, id string) {
	delete(f.asked, id)
	delete(f.tasks[itemID], id)
	if len(f.tasks[itemID]) == 0 {
		delete(f.tasks, itemID)
	}
}

// task returns what is known of a task, or nil.
func (f *facts) task(it *itemRecord, index int) *TaskReport {
	return f.tasks[it.ID][taskID(it.ID, it.Attempt, index)]
}

// attempt counts the tasks of the item's present attempt that are known, those
// of them that run, and how many the attempt has altogether.
func (f *facts) attempt(it *itemRecord) (known, running, all int) {
	for _, r := range f.tasks[it.ID] {
		if r.Attempt == it.Attempt {
			known++
			all = r.Count
			if !r.Ended {
				running++
			}
		}
	}
	return known, running, all
}

func lostResult() TaskResult { return TaskResult{ExitCode: -1, Lost: true} }

// compare makes what the records expect of the runner, and the runner does not
// know, lost. It is done once, with the first world: later, the runner's report
// of something just started may be on its way.
func (f *facts) compare(w *world) {
	if f.loaded {
		return
	}
	f.loaded = true
	for id, n := range w.nodes {
		if _, known := f.nodes[id]; !known && (n.State == NodeIdle || n.State == NodeRunning) {
			f.nodes[id] = NodeReport{ID: id, Condition: NodeConditionLost, Reason: "The runner does not know the node any more."}
		}
	}
	for _, it := range w.active {
		if it.Phase != PhaseRunning {
			continue
		}
		for i := range it.TaskCount {
			if f.task(it, i) == nil {
				f.setTask(&TaskReport{
					TaskRef: TaskRef{ID: taskID(it.ID, it.Attempt, i), ItemID: it.ID, Attempt: it.Attempt, Index: i, Count: it.TaskCount},
					Ended:   true, Result: lostResult(),
				})
			}
		}
	}
}
