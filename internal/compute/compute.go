// Package compute runs work on pools of nodes, as Azure Machine Learning's
// compute clusters do: pools grow with the queue and shrink when idle, an item
// of work takes one node or several at once, and everything survives a crash of
// the server.
//
// Plan decides, and touches nothing. Manager executes what it decides, writing
// each step to the store before acting on it. A Runner is where nodes and tasks
// really are: processes on this machine, containers, Kubernetes. A Workload
// says what an item's tasks are and what happens to their results.
package compute

import (
	"errors"
	"fmt"
	"time"
)

// Errors that callers branch on.
var (
	// ErrPoolNotFound says that no such pool exists.
	ErrPoolNotFound = errors.New("compute: no such pool")
	// ErrNodeNotFound says that no such node exists.
	ErrNodeNotFound = errors.New("compute: no such node")
	// ErrItemNotFound says that no such item exists.
	ErrItemNotFound = errors.New("compute: no such item")
	// ErrItemExists says that an item of this ID was submitted before.
	ErrItemExists = errors.New("compute: the item was submitted before")
	// ErrItemDone says that the item has ended already.
	ErrItemDone = errors.New("compute: the item has ended")
)

// TooManyNodesError refuses an item that its pool could never hold.
type TooManyNodesError struct {
	PoolID     string
	Nodes, Max int
}

// Error implements error.
func (e *TooManyNodesError) Error() string {
	return fmt.Sprintf("the job needs %s, but its compute has at most %d", count(e.Nodes, "node"), e.Max)
}

// InvalidError refuses a pool or an item whose fields contradict each other.
type InvalidError struct {
	Field, Problem string
}

// Error implements error.
func (e *InvalidError) Error() string { return fmt.Sprintf("%s %s", e.Field, e.Problem) }

// Pool is a cluster of equal nodes: what an AmlCompute resource asks for.
type Pool struct {
	// ID is the compute's ARM ID in lower case.
	ID string
	// VMSize is the size's name as the user wrote it.
	VMSize string
	// VCPUs, MemoryGiB and GPUs are what one node of that size has.
	VCPUs     int
	MemoryGiB float64
	GPUs      int
	// Priority is "Dedicated" or "LowPriority".
	Priority string
	// Min and Max bound the number of nodes.
	Min, Max int
	// IdleTime is how long a node stays after its last job.
	IdleTime time.Duration
	// SubnetID is the ARM ID of the subnet that nodes take addresses from, or "".
	SubnetID string
	// SubnetPrefix is the address range of the subnet, such as "10.1.0.0/24".
	SubnetPrefix string `json:",omitempty"`
	// Tags are the compute's, for runners that can label what they start.
	Tags map[string]string `json:",omitempty"`
	// Quotas name the core quotas that the nodes count against, such as
	// "westeurope/standardDSv3Family".
	Quotas []string `json:",omitempty"`
}

func (p *Pool) validate() error {
	switch {
	case p.ID == "":
		return &InvalidError{"pool ID", "is empty"}
	case p.Min < 0:
		return &InvalidError{"minNodeCount", "is negative"}
	case p.Max < 1:
		return &InvalidError{"maxNodeCount", "must be at least 1"}
	case p.Min > p.Max:
		return &InvalidError{"minNodeCount", fmt.Sprintf("(%d) is greater than maxNodeCount (%d)", p.Min, p.Max)}
	case p.IdleTime < 0:
		return &InvalidError{"nodeIdleTimeBeforeScaleDown", "is negative"}
	}
	return nil
}

// Node is one machine of a pool.
type Node struct {
	// ID is named as Azure Batch names nodes, such as
	// "tvm-3601533753_1-20170719t162906z".
	ID     string
	PoolID string
	VMSize string
	State  NodeState
	// Since is when the node entered State, on the server's clock.
	Since   time.Time
	Created time.Time
	// Port is unique in the pool, from 50000 on, as Azure's listNodes reports.
	Port int
	// ItemID is the item that has the node, and Rank the node's place in it.
	ItemID string `json:",omitempty"`
	Rank   int    `json:",omitempty"`
	// Info is what the runner says of the node, once it is ready.
	Info NodeInfo
	// Drain says that the node is to go as soon as its item has ended.
	Drain bool `json:",omitempty"`
	// Error is why the node is unusable.
	Error string `json:",omitempty"`
	// Reason is why the node was last started or stopped.
	Reason string `json:",omitempty"`
	// PreemptAt is when chance takes the node away; zero for never. Evict, once
	// set, says how it came that the node is being taken away.
	PreemptAt time.Time `json:",omitzero"`
	Evict     string    `json:",omitempty"`
}

// Item is a unit of work: a job. It gets all its nodes at once or none.
type Item struct {
	// ID is the job's ARM ID in lower case. It is never used again.
	ID     string
	PoolID string
	// Nodes is how many nodes the item needs at the same time, at least 1.
	Nodes int
	// Priority orders the queue, greatest first. Items of one priority go first
	// come, first served.
	Priority int `json:",omitempty"`
	// Timeout is the longest the item may run, on the server's clock, from the
	// moment that its tasks run. 0 means no limit.
	Timeout time.Duration `json:",omitempty"`
	// SubmittedAt is filled in by Submit when zero.
	SubmittedAt time.Time
	// Attempt is how often the item was placed on nodes. The Manager counts it.
	Attempt int `json:",omitempty"`
}

func (i *Item) validate(p *Pool) error {
	switch {
	case i.ID == "":
		return &InvalidError{"item ID", "is empty"}
	case i.Nodes < 1:
		return &InvalidError{"instanceCount", "must be at least 1"}
	case i.Timeout < 0:
		return &InvalidError{"timeout", "is negative"}
	case i.Nodes > p.Max:
		return &TooManyNodesError{PoolID: p.ID, Nodes: i.Nodes, Max: p.Max}
	}
	return nil
}

// Result is how an item ended.
type Result string

// The results an item can have.
const (
	Completed Result = "Completed"
	Failed    Result = "Failed"
	Canceled  Result = "Canceled"
)

// Outcome is how an item ended and how each of its tasks did.
type Outcome struct {
	Result Result
	// Reason is one sentence; it is empty for a completed item.
	Reason string `json:",omitempty"`
	// Cause is why the item ended early, or "" when its tasks ended by
	// themselves.
	Cause StopCause `json:",omitempty"`
	// Tasks has the result of each task that was started, by its index.
	Tasks []TaskResult `json:",omitempty"`
	// FailedTask is the index of the task that made the item fail, or -1.
	FailedTask int
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// Keys of log attributes.
const (
	logPool    = "pool"
	logNode    = "node"
	logItem    = "item"
	logTask    = "task"
	logAttempt = "attempt"
	logPhase   = "phase"
	logReason  = "reason"
	logResult  = "result"
	logError   = "error"
	logRetryIn = "retryIn"
)
