// Package local runs nodes and tasks as processes on this machine, or in containers.
//
// A node is a directory. A task is a small supervisor process, the same binary
// started again, in a session of its own, so that it outlives the server. It
// starts the command, enforces its timeout, and leaves the result in a file.
// See SuperviseMain. A task with an image is no different: the supervisor's command
// is then the container engine's client. See contained.go.
//
// A server that was killed and started again finds everything in the directory:
//
//	DIR/nodes/<node>/node.json  the node, and when its boot is over
//	DIR/nodes/<node>/work/      scratch space that goes with the node
//	DIR/tasks/<task>/           one task, see taskdir.go
package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/azimuth-ml/azimuth/internal/clock"
	"github.com/azimuth-ml/azimuth/internal/compute"
	"github.com/azimuth-ml/azimuth/internal/compute/container"
)

var _ compute.Runner = (*Runner)(nil)

// Options say how a Runner works. Dir and Clock must be set.
type Options struct {
	// Dir holds everything. It is created with mode 0700 if need be.
	Dir   string
	Clock clock.Clock
	// BootDelay is how long a node of a VM size takes to come up, on Clock. nil
	// means no time at all.
	BootDelay func(vmSize string) time.Duration
	// Supervisor is the command that runs SuperviseMain with the arguments that
	// follow it. The default is this executable with the argument "supervise".
	Supervisor []string
	// Devices are the GPUs to give to nodes, as values for CUDA_VISIBLE_DEVICES.
	// nil means those that this process was given or, by default, all there are.
	Devices []string
	// Containers runs tasks that have an image. nil refuses them.
	Containers *container.Engine
	// Taken are the addresses of a subnet that others than this runner's nodes have.
	// nil means that none do.
	Taken func(subnetID string) (map[netip.Addr]bool, error)
	Log   *slog.Logger
}

// Runner implements compute.Runner. Close it after use; what runs goes on.
type Runner struct {
	dir        string
	clock      clock.Clock
	bootDelay  func(string) time.Duration
	supervisor []string
	log        *slog.Logger
	limits     *limiter        // nil where limits cannot be set
	devices    func() []string // the GPUs
	containers *container.Engine
	taken      func(string) (map[netip.Addr]bool, error)

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu          sync.Mutex
	nodes       map[string]*node
	tasks       map[string]*task
	subscribers map[*subscriber]bool
	ready       map[string]*ready // supervisors that wait for a task, by node
	leaving     map[string]bool   // nodes that are being stopped
}

// node is a node as node.json has it.
type node struct {
	Spec    compute.NodeSpec
	ReadyAt time.Time
	Info    compute.NodeInfo
	// GPUs are values for CUDA_VISIBLE_DEVICES.
	GPUs []string `json:",omitempty"`
}

// task is one task directory and what this process knows of it.
type task struct {
	taskDir
	ref    compute.TaskRef
	ended  chan struct{} // closed once result is set
	result compute.TaskResult
}

func (t *task) hasEnded() bool {
	select {
	case <-t.ended:
		return true
	default:
		return false
	}
}

// Open returns a Runner that knows everything that runs under o.Dir already. No
// two Runners may use one directory at a time.
func Open(o Options) (*Runner, error) {
	if err := supported(); err != nil {
		return nil, fmt.Errorf("open the local runner: %w", err)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.BootDelay == nil {
		o.BootDelay = func(string) time.Duration { return 0 }
	}
	if len(o.Supervisor) == 0 {
		exe, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("open the local runner: find this executable: %w", err)
		}
		o.Supervisor = []string{exe, "supervise"}
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("open the local runner: %w", err)
	}
	r := &Runner{
		dir: dir, clock: o.Clock, bootDelay: o.BootDelay, supervisor: o.Supervisor, log: o.Log, containers: o.Containers, taken: o.Taken,
		nodes: map[string]*node{}, tasks: map[string]*task{}, subscribers: map[*subscriber]bool{},
		ready: map[string]*ready{}, leaving: map[string]bool{},
	}
	for _, d := range []string{r.nodesDir(), r.tasksDir()} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("open the local runner: %w", err)
		}
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.devices = sync.OnceValue(func() []string {
		if o.Devices != nil {
			return o.Devices
		}
		return devices(r.ctx)
	})
	if r.limits, err = openLimiter("/proc/self", dir); err != nil {
		r.log.Info("jobs run without limits on memory, CPU and processes", logReason, err)
		r.limits = nil
	}
	r.limits.sweep()
	r.makeRoom()
	if err := r.discover(); err != nil {
		r.Close()
		return nil, fmt.Errorf("open the local runner: %w", err)
	}
	r.sweepContainers()
	return r, nil
}

// Close stops looking after tasks and leaves them running.
func (r *Runner) Close() {
	r.cancel()
	r.wg.Wait()
	r.mu.Lock()
	for id := range r.ready {
		r.standDown(id)
	}
	r.mu.Unlock()
	r.limits.sweep()
}

func (r *Runner) nodesDir() string         { return filepath.Join(r.dir, "nodes") }
func (r *Runner) tasksDir() string         { return filepath.Join(r.dir, "tasks") }
func (r *Runner) nodeDir(id string) string { return filepath.Join(r.nodesDir(), id) }

// discover reads what an earlier process left.
func (r *Runner) discover() error {
	entries, err := os.ReadDir(r.nodesDir())
	if err != nil {
		return err
	}
	for _, e := range entries {
		n := new(node)
		if err := readJSON(filepath.Join(r.nodeDir(e.Name()), "node.json"), n); err != nil {
			// It was being made or removed, or the machine went down.
			r.log.Warn("removing what is left of a node", logNode, e.Name(), logError, err)
			if err := removeTree(r.nodeDir(e.Name())); err != nil {
				return err
			}
			continue
		}
		r.nodes[n.Spec.ID] = n
	}
	if entries, err = os.ReadDir(r.tasksDir()); err != nil {
		return err
	}
	for _, e := range entries {
		if err := r.discoverTask(taskDir(filepath.Join(r.tasksDir(), e.Name()))); err != nil {
			return fmt.Errorf("read task %s: %w", e.Name(), err)
		}
	}
	for id := range r.nodes {
		r.standBy(id)
	}
	return nil
}

// standBy has a supervisor wait for the next task of a node that runs none. The
// caller holds the lock.
func (r *Runner) standBy(nodeID string) {
	n := r.nodes[nodeID]
	if n == nil || r.ready[nodeID] != nil || r.leaving[nodeID] || len(r.ready) >= maxReady || r.ctx.Err() != nil || r.clock.Now().Before(n.ReadyAt) {
		return
	}
	for _, t := range r.tasks {
		if t.ref.NodeID == nodeID && !t.hasEnded() {
			return
		}
	}
	next, err := startReady(r.supervisor, r.nodeDir(nodeID), r.limits.limits(n.Spec))
	if err != nil {
		r.log.Warn("no supervisor is ready for the next task", logNode, nodeID, logError, err)
		return
	}
	r.ready[nodeID] = next
}

// standDown ends the supervisor that waits for a task of a node. The caller holds
// the lock.
func (r *Runner) standDown(nodeID string) {
	if next := r.ready[nodeID]; next != nil {
		delete(r.ready, nodeID)
		next.close()
	}
}

func (r *Runner) discoverTask(d taskDir) error {
	held, err := d.lockHeld()
	if err != nil {
		return err
	}
	var spec compute.TaskSpec
	if err := readJSON(d.spec(), &spec); err != nil {
		if held {
			return err
		}
		// The server was killed before it started anything, or the machine went
		// down, and with it everything.
		r.log.Warn("removing what is left of a task", logTask, filepath.Base(string(d)), logError, err)
		return removeTree(string(d))
	}
	t := &task{taskDir: d, ref: spec.TaskRef, ended: make(chan struct{})}
	if err := readJSON(d.result(), &t.result); err == nil {
		close(t.ended)
		r.tasks[t.ref.ID] = t
		return nil
	}
	if _, err := os.Stat(d.supervisor()); !held && errors.Is(err, fs.ErrNotExist) {
		// The server was killed before the supervisor lived, so nothing ran.
		return removeTree(string(d))
	}
	alive, err := watchAlive(d.alive())
	if err != nil {
		return err
	}
	r.tasks[t.ref.ID] = t
	r.follow(t, alive, nil)
	return nil
}

// Capacity implements compute.Runner.
func (r *Runner) Capacity(context.Context) (compute.Capacity, error) {
	c, err := capacity()
	if err != nil {
		return c, fmt.Errorf("capacity of this machine: %w", err)
	}
	c.GPUs = len(r.devices())
	return c, nil
}

// StartNode implements compute.Runner.
func (r *Runner) StartNode(ctx context.Context, spec compute.NodeSpec) (compute.NodeInfo, error) {
	if err := checkName(spec.ID); err != nil {
		return compute.NodeInfo{}, fmt.Errorf("start node: %w", err)
	}
	n, err := r.makeNode(spec)
	if err != nil {
		return compute.NodeInfo{}, fmt.Errorf("start node: %w", err)
	}
	if wait := n.ReadyAt.Sub(r.clock.Now()); wait > 0 {
		if err := clock.Sleep(ctx, r.clock, wait); err != nil {
			return compute.NodeInfo{}, fmt.Errorf("start node: %w", err)
		}
		r.mu.Lock()
		r.tell(r.nodeReport(n))
		r.mu.Unlock()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.standBy(spec.ID)
	return n.Info, nil
}

// makeNode returns the node, which it makes unless there is one. What a node has
// for itself is chosen and written down in one step, so that no two share it.
func (r *Runner) makeNode(spec compute.NodeSpec) (*node, error) {
	var taken map[netip.Addr]bool
	if r.taken != nil && spec.SubnetPrefix != "" {
		// not with the lock held: who answers may ask back
		var err error
		if taken, err = r.taken(spec.SubnetID); err != nil {
			return nil, fmt.Errorf("addresses of the subnet: %w", err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := r.nodes[spec.ID]; n != nil {
		return n, nil
	}
	ip, err := r.privateIP(spec, taken)
	if err != nil {
		return nil, err
	}
	dir := r.nodeDir(spec.ID)
	n := &node{
		Spec: spec, ReadyAt: r.clock.Now().Add(r.bootDelay(spec.VMSize)),
		Info: compute.NodeInfo{PrivateIP: ip, Host: r.loopbackHost(), Dir: filepath.Join(dir, "work")},
	}
	if spec.GPUs > 0 {
		n.GPUs = r.freeDevices(spec.GPUs)
		n.Info.GPUs = len(n.GPUs)
	}
	if err := os.MkdirAll(n.Info.Dir, 0o700); err != nil {
		return nil, err
	}
	if err := writeJSON(filepath.Join(dir, "node.json"), n); err != nil {
		return nil, err
	}
	r.nodes[spec.ID] = n
	r.tell(r.nodeReport(n))
	return n, nil
}

func (r *Runner) nodeReport(n *node) compute.Report {
	c := compute.NodeConditionReady
	if r.clock.Now().Before(n.ReadyAt) {
		c = compute.NodeConditionStarting
	}
	return compute.Report{Node: &compute.NodeReport{ID: n.Spec.ID, Condition: c, Info: n.Info}}
}

// StopNode implements compute.Runner.
func (r *Runner) StopNode(ctx context.Context, nodeID string) error {
	if err := checkName(nodeID); err != nil {
		return fmt.Errorf("stop node: %w", err)
	}
	r.mu.Lock()
	r.leaving[nodeID] = true
	r.standDown(nodeID)
	var left []*task
	for _, t := range r.tasks {
		if t.ref.NodeID == nodeID {
			left = append(left, t)
		}
	}
	known := r.nodes[nodeID] != nil
	r.mu.Unlock()
	for _, t := range left {
		if err := r.StopTask(ctx, t.ref.ID, 0); err != nil {
			return fmt.Errorf("stop node: %w", err)
		}
	}
	for _, t := range left {
		select {
		case <-t.ended:
		case <-ctx.Done():
			return fmt.Errorf("stop node: %w", ctx.Err())
		}
		if err := r.RemoveTask(ctx, t.ref.ID); err != nil {
			return fmt.Errorf("stop node: %w", err)
		}
	}
	if err := removeTree(r.nodeDir(nodeID)); err != nil {
		return fmt.Errorf("stop node: %w", err)
	}
	if err := r.limits.release(ctx, nodeID); err != nil {
		// An empty group costs next to nothing, and the next start removes it.
		r.log.Warn("cannot remove the limits of a node", logNode, nodeID, logError, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.nodes, nodeID)
	delete(r.leaving, nodeID)
	if known {
		r.tell(compute.Report{Node: &compute.NodeReport{ID: nodeID, Condition: compute.NodeConditionGone}})
	}
	return nil
}

// StartTask implements compute.Runner.
func (r *Runner) StartTask(ctx context.Context, spec compute.TaskSpec) error {
	if err := checkName(spec.ID); err != nil {
		return fmt.Errorf("start task: %w", err)
	}
	if len(spec.Argv) == 0 {
		return fmt.Errorf("start task %s: no command", spec.ID)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("start task: %w", err)
	}
	t := &task{taskDir: taskDir(filepath.Join(r.tasksDir(), spec.ID)), ref: spec.TaskRef, ended: make(chan struct{})}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.tasks[spec.ID] != nil {
		return nil
	}
	n := r.nodes[spec.NodeID]
	if n == nil || r.clock.Now().Before(n.ReadyAt) {
		return fmt.Errorf("start task %s: node %s is not up", spec.ID, spec.NodeID)
	}
	spec = r.withDevices(spec, n)
	contained, err := r.contain(t.taskDir, spec, n)
	if err != nil {
		return fmt.Errorf("start task %s: %w", spec.ID, err)
	}
	next := r.ready[spec.NodeID]
	delete(r.ready, spec.NodeID)
	alive, cmd, err := spawn(t.taskDir, r.supervisor, spec, contained, r.limits.limits(n.Spec), next)
	if err != nil {
		// No supervisor has run, so nothing else has.
		return errors.Join(fmt.Errorf("start task %s: %w", spec.ID, err), removeTree(string(t.taskDir)))
	}
	r.tasks[spec.ID] = t
	r.tell(t.report())
	r.follow(t, alive, cmd)
	return nil
}

func (t *task) report() compute.Report {
	rep := &compute.TaskReport{TaskRef: t.ref, Ended: t.hasEnded()}
	if rep.Ended {
		rep.Result = t.result
	}
	return compute.Report{Task: rep}
}

// follow waits until the task's supervisor is gone. cmd is the supervisor if it
// is a child of this process.
func (r *Runner) follow(t *task, alive aliveness, cmd *exec.Cmd) {
	r.wg.Go(func() {
		err := alive.wait(r.ctx)
		if r.ctx.Err() != nil {
			if cmd != nil {
				go cmd.Wait() // so that it is no zombie should this process live on
			}
			return
		}
		if err != nil {
			r.log.Error("cannot see whether the supervisor lives", logTask, t.ref.ID, logError, err)
		}
		if cmd != nil {
			if err := cmd.Wait(); err != nil {
				r.log.Warn("the supervisor failed", logTask, t.ref.ID, logError, err, logFile, t.log())
			}
		}
		res, err := t.outcome(r.ctx)
		if r.ctx.Err() != nil {
			return
		}
		if err != nil {
			r.log.Error("cannot read how a task ended", logTask, t.ref.ID, logError, err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		t.result = res
		r.makeRoom()
		close(t.ended)
		r.standBy(t.ref.NodeID)
		r.tell(t.report())
	})
}

// StopTask implements compute.Runner.
func (r *Runner) StopTask(_ context.Context, taskID string, grace time.Duration) error {
	r.mu.Lock()
	t := r.tasks[taskID]
	r.mu.Unlock()
	if t == nil || t.hasEnded() {
		return nil
	}
	if err := t.requestStop(grace); err != nil {
		return fmt.Errorf("stop task %s: %w", taskID, err)
	}
	return nil
}

// RemoveTask implements compute.Runner.
func (r *Runner) RemoveTask(_ context.Context, taskID string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.tasks[taskID]
	if t == nil {
		return nil
	}
	if !t.hasEnded() {
		return fmt.Errorf("remove task %s: it is running", taskID)
	}
	if err := removeTree(string(t.taskDir)); err != nil {
		return fmt.Errorf("remove task %s: %w", taskID, err)
	}
	delete(r.tasks, taskID)
	r.makeRoom()
	return nil
}

// makeRoom sees to the reserve: it gives way when the disk is full, and is there
// again when it is not.
func (r *Runner) makeRoom() {
	room := reserve{filepath.Join(r.dir, "reserve"), diskFree}
	if err := errors.Join(room.yield(r.dir), room.hold(r.dir)); err != nil {
		r.log.Warn("cannot see to the room on the disk", logError, err)
	}
}

// checkName refuses what is not a plain file name.
func checkName(id string) error {
	if id == "" || strings.HasPrefix(id, ".") || strings.ContainsAny(id, `/\`+"\x00") {
		return fmt.Errorf("%q is not a usable name", id)
	}
	return nil
}

func readJSON(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// writeJSON replaces a file in one step. It does not force it to the disk: what
// is written this way matters only as long as processes live, and a machine that
// loses power ends them all.
func writeJSON(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	tmp := path + ".new"
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// removeTree removes a directory, even if a job took permissions away in it.
func removeTree(dir string) error {
	err := os.RemoveAll(dir)
	if err == nil {
		return nil
	}
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if e != nil && e.IsDir() {
			_ = os.Chmod(path, 0o700)
		}
		return nil // what stays unreadable fails below
	})
	return os.RemoveAll(dir)
}

// Keys of log attributes.
const (
	logNode   = "node"
	logTask   = "task"
	logError  = "error"
	logReason = "reason"
	logFile   = "log"
)
