package compute

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Runner is where nodes and tasks really are. It keeps its state outside the
// server's process, so that after a crash Watch reports all of it again.
//
// Every call but Watch is idempotent: the Manager repeats a call when it cannot
// know whether an earlier one took effect. Implementations are safe for
// concurrent use and pass runnertest.Run.
type Runner interface {
	// Capacity says what this runner has for all nodes together.
	Capacity(ctx context.Context) (Capacity, error)
	// StartNode brings a node up and returns once tasks can start on it. For a
	// node that is up already it returns what it returned before. When ctx ends
	// first, the node may be half up: a later StartNode goes on, StopNode
	// removes it.
	StartNode(ctx context.Context, spec NodeSpec) (NodeInfo, error)
	// StopNode kills the node's tasks and returns nil once nothing of node and
	// tasks is left. An unknown node is not an error.
	StopNode(ctx context.Context, nodeID string) error
	// StartTask starts a task on a node that is up and returns once the task
	// no longer depends on the server. A task ID is started at most once, ever:
	// for one that is known, running or ended, it returns nil and does nothing.
	// After an error the task does not run and never will. A command that cannot
	// be executed is not an error here: the task ends with TaskResult.Error.
	StartTask(ctx context.Context, spec TaskSpec) error
	// StopTask asks a task to end: a polite signal now, killed after grace. It
	// does not wait; Watch reports the end. A task that is unknown or has ended
	// is not an error.
	StopTask(ctx context.Context, taskID string, grace time.Duration) error
	// RemoveTask forgets a task that has ended and what was kept for it, the
	// working directory and the log excepted: they are the workload's. A running
	// task is an error, an unknown one is not.
	RemoveTask(ctx context.Context, taskID string) error
	// Watch reports every node and task it knows, then one Report with Synced
	// set, then each change, in order, until ctx ends (it returns ctx.Err()) or
	// it cannot go on (the Manager calls it again). An ended task is reported
	// until it is removed. report must not block.
	Watch(ctx context.Context, report func(Report)) error
}

// Capacity is what a runner's machines have.
type Capacity struct {
	CPUs      int
	MemoryGiB float64
	GPUs      int
}

// Shortfall compares one node of pool with what is really there and says in one
// line what is missing, or "" if nothing is. The machine may have GPUs and the
// node none of them: nodes that came before have them.
func (c Capacity) Shortfall(p Pool, n NodeInfo) string {
	var missing string
	add := func(s string) {
		if missing != "" {
			missing += ", "
		}
		missing += s
	}
	if p.VCPUs > c.CPUs {
		add(fmt.Sprintf("%d of %d vCPUs", c.CPUs, p.VCPUs))
	}
	if p.MemoryGiB > c.MemoryGiB {
		add(fmt.Sprintf("%.1f of %g GiB of memory", c.MemoryGiB, p.MemoryGiB))
	}
	if p.GPUs > c.GPUs {
		add(fmt.Sprintf("%d of %d GPUs", c.GPUs, p.GPUs))
	}
	var s string
	if missing != "" {
		s = fmt.Sprintf("This machine is smaller than %s (it has %s); jobs share what is there.", p.VMSize, missing)
	}
	switch {
	case n.GPUs >= p.GPUs:
	case n.GPUs == 0:
		s += " There is no GPU for the job, so it runs on CPU."
	default:
		s += fmt.Sprintf(" The node has %d of %d GPUs.", n.GPUs, p.GPUs)
	}
	return strings.TrimSpace(s)
}

// NodeSpec is the node that StartNode is asked for.
type NodeSpec struct {
	ID     string
	PoolID string
	VMSize string
	// Index is the node's place in its pool, from 0, unique among the pool's
	// nodes of the moment.
	Index     int
	VCPUs     int
	MemoryGiB float64
	GPUs      int
	SubnetID  string
	// SubnetPrefix is the address range of the subnet, such as "10.1.0.0/24".
	SubnetPrefix string
	Tags         map[string]string
}

// NodeInfo is what a runner says of a node that is up.
type NodeInfo struct {
	// PrivateIP and PublicIP are the addresses to show; PublicIP may be "".
	PrivateIP string `json:",omitempty"`
	PublicIP  string `json:",omitempty"`
	// Host is where the node's tasks reach each other.
	Host string `json:",omitempty"`
	// GPUs is how many GPUs the node really has.
	GPUs int `json:",omitempty"`
	// Dir is a directory on the server's file system that belongs to the node
	// and goes with it, or "" if the runner has none.
	Dir string `json:",omitempty"`
}

// TaskRef names one task of one attempt at an item.
type TaskRef struct {
	// ID is unique for ever and safe as a file name.
	ID      string
	ItemID  string
	Attempt int
	// Index is the task's place among the Count tasks of the attempt.
	Index, Count int
	NodeID       string
}

// TaskSpec is one command to run on one node. A workload fills in Argv, Env,
// Dir and LogPath, and NodeID where it wants other than one task per node; the
// Manager fills in the rest.
type TaskSpec struct {
	TaskRef
	// Argv is the command; Argv[0] is looked up in the PATH of Env.
	Argv []string
	// Env is the whole environment, as "KEY=value".
	Env []string
	// Dir is the working directory. It must exist.
	Dir string
	// Image is the container image to run the command in, or "" for none. In a
	// container Argv is looked up in the image, Env is added to what the image sets,
	// and of the file system there are Dir, LogPath and Mounts. A runner without
	// containers refuses it.
	Image  string  `json:",omitempty"`
	Mounts []Mount `json:",omitempty"`
	// LogPath is the file that standard output and error are appended to, in the
	// order in which the command wrote. Its directory must exist.
	LogPath string
	// Timeout ends the task even when no server is there to do it. 0 is none.
	// It is measured in real time: a supervisor cannot see the server's clock.
	Timeout time.Duration
	// Grace is how long the command has between the polite signal and the kill
	// when Timeout strikes.
	Grace time.Duration
}

// Mount is a file or directory that a container has under the same path.
type Mount struct {
	Path     string
	ReadOnly bool `json:",omitempty"`
}

// TaskResult is how a task ended.
type TaskResult struct {
	// ExitCode is the command's, 128+n when signal n killed it, and -1 when it
	// is unknown.
	ExitCode int
	// Signal is the signal that killed the command, such as "SIGKILL", or "". In a
	// container, a command that itself exits with 128+n looks the same.
	Signal string `json:",omitempty"`
	// Started and Finished are in real time; zero when unknown.
	Started, Finished time.Time
	// TimedOut says that TaskSpec.Timeout struck.
	TimedOut bool `json:",omitempty"`
	// Stopped says that the command was asked to end, by StopTask or for its
	// timeout, before it did.
	Stopped bool `json:",omitempty"`
	// Lost says that nobody saw the command's end: its supervisor was killed or
	// the machine went down. What was left of the command has been killed.
	Lost bool `json:",omitempty"`
	// OutOfMemory says that the command was killed because its node had no memory
	// left.
	OutOfMemory bool `json:",omitempty"`
	// Error says why the command could not be started.
	Error string `json:",omitempty"`
}

// OK says that the command ran and exited with 0.
func (r TaskResult) OK() bool { return r.ExitCode == 0 && !r.Lost && r.Error == "" && !r.TimedOut }

// String says in a few words how the task ended.
func (r TaskResult) String() string {
	switch {
	case r.Error != "":
		return r.Error
	case r.Lost:
		return "its supervisor was lost"
	case r.TimedOut:
		return "it ran longer than its timeout"
	case r.OutOfMemory:
		return "it was killed because its node had no memory left"
	case r.Signal != "":
		return "it was killed by " + r.Signal
	}
	return fmt.Sprintf("it exited with code %d", r.ExitCode)
}

// Report is one thing that Watch has to say: exactly one field is set.
type Report struct {
	Node   *NodeReport
	Task   *TaskReport
	Synced bool
}

// NodeCondition is how a node is, seen from the runner.
type NodeCondition string

// The conditions that a runner reports. Of a node that is lost, preempted or gone
// nothing runs any more: a runner that cannot be sure must not report it yet.
const (
	NodeConditionStarting  NodeCondition = "starting"
	NodeConditionReady     NodeCondition = "ready"
	NodeConditionLost      NodeCondition = "lost"
	NodeConditionPreempted NodeCondition = "preempted"
	NodeConditionGone      NodeCondition = "gone"
)

// NodeReport says how a node is.
type NodeReport struct {
	ID        string
	Condition NodeCondition
	Info      NodeInfo
	// Reason is one sentence for a node that is lost or preempted.
	Reason string
}

// TaskReport says how a task is.
type TaskReport struct {
	TaskRef
	Ended  bool
	Result TaskResult // if Ended
}
