package instance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/compute"
	"github.com/azimuth-ml/azimuth/internal/store"
)

const (
	nodePrefix = "ci-"
	// grace is how long Jupyter has to end its kernels.
	grace = 10 * time.Second
	// retryFirst and retryMost bound the wait before Jupyter, having ended by
	// itself, is started again. steady is how long it must have run to start
	// over with the first.
	retryFirst = time.Second
	retryMost  = time.Minute
	steady     = time.Minute
	// troubleWait is the wait after the engine itself failed.
	troubleWait = 5 * time.Second
)

func nodeID(uid string) string { return nodePrefix + uid }

func uidOf(nodeID string) string {
	uid, ok := strings.CutPrefix(nodeID, nodePrefix)
	if !ok {
		return ""
	}
	return uid
}

// facts is what the runner has, as it last said.
type facts struct {
	nodes map[string]bool
	tasks map[string]map[string]*compute.TaskReport // by node, then task
}

func newFacts() facts {
	return facts{nodes: map[string]bool{}, tasks: map[string]map[string]*compute.TaskReport{}}
}

func (f *facts) setTask(t compute.TaskReport) {
	if f.tasks[t.NodeID] == nil {
		f.tasks[t.NodeID] = map[string]*compute.TaskReport{}
	}
	f.tasks[t.NodeID][t.ID] = &t
}

// worker is the one goroutine that works on an instance, as long as there is
// something to do.
type worker struct {
	again  bool
	cancel context.CancelFunc // of the step under way
}

// kick makes a worker look at an instance. The transaction that calls it may not
// have committed by then; the worker reads the record in a write transaction of
// its own, and those run one after another. interrupt ends what the worker waits
// for now.
func (s *Service) kick(uid string, interrupt bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running == nil {
		return // Run looks at all of them when it has taken stock
	}
	if w := s.workers[uid]; w != nil {
		w.again = true
		if interrupt && w.cancel != nil {
			w.cancel()
		}
		return
	}
	w := &worker{}
	s.workers[uid] = w
	ctx := s.running
	s.wg.Go(func() { s.work(ctx, uid, w) })
}

func (s *Service) work(ctx context.Context, uid string, w *worker) {
	for {
		step, cancel := context.WithCancel(ctx)
		s.mu.Lock()
		w.again, w.cancel = false, cancel
		s.mu.Unlock()
		out, err := s.step(step, uid)
		interrupted := step.Err() != nil
		cancel()
		if err != nil && !interrupted && !errors.Is(err, store.ErrClosed) {
			s.log.Error("work on a compute instance", logInstance, uid, logError, err)
			out.wake = s.cfg.Clock.Now().Add(troubleWait)
		}
		s.mu.Lock()
		if ctx.Err() == nil && (w.again || out.again || interrupted) {
			s.mu.Unlock()
			continue
		}
		delete(s.workers, uid)
		if t := s.timers[uid]; t != nil {
			t.Stop()
			delete(s.timers, uid)
		}
		if !out.wake.IsZero() && ctx.Err() == nil {
			s.timers[uid] = s.cfg.Clock.AfterFunc(out.wake.Sub(s.cfg.Clock.Now()), func() { s.kick(uid, false) })
		}
		close(s.idle)
		s.idle = make(chan struct{})
		s.mu.Unlock()
		return
	}
}

// Run carries out what was asked for, and finds again what an earlier process
// left running, until ctx ends. Instances run on.
func (s *Service) Run(ctx context.Context) error {
	defer func() {
		s.mu.Lock()
		s.running = nil
		for uid, t := range s.timers {
			t.Stop()
			delete(s.timers, uid)
		}
		s.mu.Unlock()
		s.wg.Wait()
	}()
	s.times.observe(s.cfg.Wall(), s.cfg.Clock.Now())
	for {
		s.mu.Lock()
		s.facts, s.running = newFacts(), nil
		s.mu.Unlock()
		err := s.cfg.Runner.Watch(ctx, func(rep compute.Report) { s.report(ctx, rep) })
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.log.Error("watch the machines of compute instances", logError, err)
		select {
		case <-time.After(retryFirst): // of the machine's own trouble, in its own time
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *Service) report(ctx context.Context, rep compute.Report) {
	switch {
	case rep.Node != nil:
		s.mu.Lock()
		if rep.Node.Condition == compute.NodeConditionGone {
			delete(s.facts.nodes, rep.Node.ID)
		} else {
			s.facts.nodes[rep.Node.ID] = true
		}
		s.mu.Unlock()
	case rep.Task != nil:
		s.mu.Lock()
		s.facts.setTask(*rep.Task)
		s.mu.Unlock()
		if rep.Task.Ended {
			s.kick(uidOf(rep.Task.NodeID), false)
		}
	case rep.Synced:
		s.mu.Lock()
		s.running = ctx
		var left []string
		for id := range s.facts.nodes {
			left = append(left, uidOf(id))
		}
		s.mu.Unlock()
		for _, uid := range left {
			s.kick(uid, false)
		}
		if err := s.kickLive(ctx); err != nil && ctx.Err() == nil {
			s.log.Error("take stock of compute instances", logError, err)
		}
	}
}

// outcome is what a step leaves to do: another step now, or at a moment of the
// clock, or none before something happens.
type outcome struct {
	again bool
	wake  time.Time
}

// step does the next thing that an instance's record asks for.
func (s *Service) step(ctx context.Context, uid string) (outcome, error) {
	var r *record
	var wake time.Time
	err := s.cfg.Store.Update(ctx, func(tx store.Tx) (err error) {
		r, err = s.get(tx, uid)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		wake, err = s.runSchedules(tx, r)
		return err
	})
	if err != nil {
		return outcome{}, fmt.Errorf("read: %w", err)
	}
	if r == nil {
		// left by a crash between the runner and the store
		return outcome{}, s.clear(ctx, uid)
	}
	if waits, err := s.endTasks(ctx, r); waits || err != nil {
		return outcome{wake: wake}, err
	}
	var out outcome
	switch r.State {
	case Creating, Starting, Restarting:
		out, err = s.bringUp(ctx, r)
	case Running:
		out, err = s.keepRunning(ctx, r)
	case Stopping:
		if err := s.clear(ctx, uid); err != nil {
			return outcome{wake: wake}, err
		}
		out, err = s.happened(ctx, r, machineDown, nil)
	case Deleting:
		if err := s.clear(ctx, uid); err != nil {
			return outcome{}, err
		}
		return outcome{}, s.forget(ctx, r)
	case Stopped, SetupFailed:
		if err := s.clear(ctx, uid); err != nil {
			return outcome{wake: wake}, err
		}
	}
	if out.wake.IsZero() || (!wake.IsZero() && wake.Before(out.wake)) {
		out.wake = wake
	}
	return out, err
}

// endTasks ends the tasks that are not the record's, and reports whether that
// has to be waited for.
func (s *Service) endTasks(ctx context.Context, r *record) (waits bool, err error) {
	node := nodeID(r.Spec.UID)
	s.mu.Lock()
	var ended, alive []string
	for id, t := range s.facts.tasks[node] {
		switch {
		case id == r.Task:
		case t.Ended:
			ended = append(ended, id)
		default:
			alive = append(alive, id)
		}
	}
	s.mu.Unlock()
	for _, id := range alive {
		if err := s.cfg.Runner.StopTask(ctx, id, grace); err != nil {
			return true, err
		}
	}
	for _, id := range ended {
		if err := s.cfg.Runner.RemoveTask(ctx, id); err != nil {
			return true, err
		}
		s.mu.Lock()
		delete(s.facts.tasks[node], id)
		delete(s.ready, id)
		s.mu.Unlock()
	}
	return len(alive) > 0, nil
}

// clear removes the machine, and what its processes could get tokens with.
func (s *Service) clear(ctx context.Context, uid string) error {
	node := nodeID(uid)
	s.mu.Lock()
	there := s.facts.nodes[node] || len(s.facts.tasks[node]) > 0
	s.mu.Unlock()
	if !there {
		return nil
	}
	if err := s.cfg.Runner.StopNode(ctx, node); err != nil {
		return err
	}
	s.mu.Lock()
	delete(s.facts.nodes, node)
	delete(s.facts.tasks, node)
	delete(s.active, uid)
	s.mu.Unlock()
	return s.cfg.Store.Update(ctx, func(tx store.Tx) error { return s.cfg.Identities.Revoke(tx, grantID(uid)) })
}

func grantID(uid string) string { return "instance/" + uid }

// happened records that the machine came up, went down or failed, unless
// something else was asked for in the meantime.
func (s *Service) happened(ctx context.Context, r *record, e Event, why *Problem) (outcome, error) {
	err := s.update(ctx, r, func(now *record) error {
		if err := s.change(now, e, ""); err != nil {
			return err
		}
		now.Problem = why
		return nil
	})
	return outcome{again: true}, err
}

// update changes the record if it is as the worker last saw it. Otherwise the
// worker has been kicked, and looks again.
func (s *Service) update(ctx context.Context, seen *record, change func(*record) error) error {
	return s.cfg.Store.Update(ctx, func(tx store.Tx) error { return s.updateIn(tx, seen, change) })
}

func (s *Service) updateIn(tx store.Tx, seen *record, change func(*record) error) error {
	now, err := s.get(tx, seen.Spec.UID)
	if err != nil {
		return err
	}
	if now.State != seen.State || now.Task != seen.Task || now.Last != seen.Last {
		return nil
	}
	if err := change(now); err != nil {
		return err
	}
	return s.records.Put(tx, now)
}

func (s *Service) bringUp(ctx context.Context, r *record) (outcome, error) {
	sp := &r.Spec
	node := nodeID(sp.UID)
	err := os.MkdirAll(s.disk(sp.UID), 0o700)
	if err == nil {
		s.mu.Lock()
		s.facts.nodes[node] = true // so that what a canceled start left is cleared
		s.mu.Unlock()
		_, err = s.cfg.Runner.StartNode(ctx, compute.NodeSpec{
			ID: node, PoolID: sp.ID, VMSize: sp.VMSize, VCPUs: sp.VCPUs, MemoryGiB: sp.MemoryGiB, GPUs: sp.GPUs,
			SubnetID: sp.SubnetID, SubnetPrefix: sp.SubnetPrefix,
		})
	}
	switch {
	case ctx.Err() != nil:
		return outcome{}, ctx.Err()
	case err != nil:
		s.log.Warn("a compute instance does not come up", logInstance, sp.ID, logError, err)
		return s.happened(ctx, r, machineFailed, &Problem{"SetupFailed", "The machine did not come up: " + err.Error() + "."})
	}
	return s.happened(ctx, r, machineUp, nil)
}

// keepRunning sees to it that Jupyter runs, and ends an instance that is idle.
func (s *Service) keepRunning(ctx context.Context, r *record) (outcome, error) {
	if r.Task == "" && !r.Missing {
		if now := s.cfg.Clock.Now(); now.Before(r.RetryAt) {
			return outcome{wake: r.RetryAt}, nil
		}
		return s.launch(ctx, r)
	}
	if r.Task != "" {
		s.mu.Lock()
		t, blind := s.facts.tasks[nodeID(r.Spec.UID)][r.Task], s.running == nil
		s.mu.Unlock()
		if t == nil && blind {
			return outcome{}, nil // Run takes stock again, and kicks
		}
		if t == nil || t.Ended {
			return s.jupyterEnded(ctx, r, t)
		}
	}
	return s.checkIdle(ctx, r)
}

// jupyterEnded records that Jupyter ended though nobody asked it to, so that it
// is started again. Without a report it never began, or the machine went down.
func (s *Service) jupyterEnded(ctx context.Context, r *record, t *compute.TaskReport) (outcome, error) {
	why := "it was not running any more"
	if t != nil {
		why = t.Result.String()
	}
	s.log.Warn("Jupyter of a compute instance has ended", logInstance, r.Spec.ID, logReason, why)
	err := s.update(ctx, r, func(now *record) error {
		s.setFailure(now, "JupyterEnded", fmt.Sprintf("Jupyter has ended: %s. It is started again; its log is %s.", why, s.logPath(now.Spec.UID)))
		return nil
	})
	return outcome{again: true}, err
}

// setFailure takes the task from a record and says when to try again.
func (s *Service) setFailure(r *record, code, message string) {
	now := s.cfg.Clock.Now()
	if r.Task != "" && now.Sub(r.Launched) >= steady {
		r.Failures = 0
	}
	wait := retryMost
	if r.Failures < 6 {
		wait = min(retryMost, retryFirst<<r.Failures)
	}
	r.Failures++
	r.Task, r.Port, r.Token, r.App = "", 0, nil, ""
	r.RetryAt = now.Add(wait)
	r.Problem = &Problem{code, message}
}

// forget removes the instance's disk and record. Notebooks are in the
// workspace's file store and stay.
func (s *Service) forget(ctx context.Context, r *record) error {
	uid := r.Spec.UID
	if err := removeTree(s.disk(uid)); err != nil {
		return fmt.Errorf("remove the disk: %w", err)
	}
	return s.cfg.Store.Update(ctx, func(tx store.Tx) error {
		if err := s.cfg.Identities.Revoke(tx, grantID(uid)); err != nil {
			return err
		}
		if err := s.dropTickets(tx, uid); err != nil {
			return err
		}
		return s.records.Delete(tx, uid)
	})
}

// disk is the directory that stands for the machine's own disk.
func (s *Service) disk(uid string) string { return filepath.Join(s.cfg.Dir, uid) }

func (s *Service) logPath(uid string) string { return filepath.Join(s.disk(uid), "jupyter.log") }

// removeTree removes a directory, even if permissions were taken away in it.
func removeTree(dir string) error {
	if err := os.RemoveAll(dir); err == nil {
		return nil
	}
	_ = filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if e != nil && e.IsDir() {
			_ = os.Chmod(path, 0o700)
		}
		return nil // what stays unreadable fails below
	})
	return os.RemoveAll(dir)
}

// Keys of log attributes.
const (
	logInstance = "instance"
	logError    = "error"
	logReason   = "reason"
)
