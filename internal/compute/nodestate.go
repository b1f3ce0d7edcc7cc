package compute

import "fmt"

// NodeState is where a node is in its life. The words are Azure's NodeState.
type NodeState string

// The states of a node.
const (
	NodePreparing NodeState = "preparing"
	NodeIdle      NodeState = "idle"
	NodeRunning   NodeState = "running"
	NodeLeaving   NodeState = "leaving"
	NodePreempted NodeState = "preempted"
	NodeUnusable  NodeState = "unusable"
)

// nodeGone is the state before the first and after the last: no record is kept.
const nodeGone NodeState = ""

// NodeEvent is what happens to a node.
type NodeEvent string

// The events of a node.
const (
	NodeEventStart   NodeEvent = "start"   // the planner wants a node
	NodeEventReady   NodeEvent = "ready"   // the runner has it up
	NodeEventPlace   NodeEvent = "place"   // an item gets it
	NodeEventRelease NodeEvent = "release" // the item is done with it
	NodeEventFail    NodeEvent = "fail"    // it did not start, or was lost
	NodeEventPreempt NodeEvent = "preempt" // the provider took it back
	NodeEventStop    NodeEvent = "stop"    // the planner wants it no longer
	NodeEventGone    NodeEvent = "gone"    // the runner has nothing left of it
)

// nextNodeState is the only place that says how a node's state changes.
//
//	          start             ready           place
//	(no node) ─────▶ preparing ───────▶ idle ◀─────────▶ running
//	    ▲               │  │             │ │    release     │ │
//	    │               │  └────fail────┐│ │                │ │
//	    │ gone      stop│               ▼│ └──fail─┐ ┌─fail─┘ │
//	    │               │          ┌─────┼──────── ▼ ▼        │
//	    │               ▼   stop   │     │       unusable     │
//	 leaving ◀──────────┴──────────┴─────┘           │        │
//	    ▲  ▲                                   stop  │        │ preempt
//	    │  └─────────────────────────────────────────┘        ▼ (from preparing,
//	    └────────────────────────── stop ───────────────── preempted  idle, running)
func nextNodeState(s NodeState, e NodeEvent) (NodeState, error) {
	switch s {
	case nodeGone:
		if e == NodeEventStart {
			return NodePreparing, nil
		}
	case NodePreparing:
		switch e {
		case NodeEventReady:
			return NodeIdle, nil
		case NodeEventFail:
			return NodeUnusable, nil
		case NodeEventPreempt:
			return NodePreempted, nil
		case NodeEventStop:
			return NodeLeaving, nil
		}
	case NodeIdle:
		switch e {
		case NodeEventPlace:
			return NodeRunning, nil
		case NodeEventFail:
			return NodeUnusable, nil
		case NodeEventPreempt:
			return NodePreempted, nil
		case NodeEventStop:
			return NodeLeaving, nil
		}
	case NodeRunning:
		switch e {
		case NodeEventRelease:
			return NodeIdle, nil
		case NodeEventFail:
			return NodeUnusable, nil
		case NodeEventPreempt:
			return NodePreempted, nil
		}
	case NodePreempted, NodeUnusable:
		if e == NodeEventStop {
			return NodeLeaving, nil
		}
	case NodeLeaving:
		if e == NodeEventGone {
			return nodeGone, nil
		}
	}
	return s, fmt.Errorf("compute: a node that is %q cannot %s", string(s), e)
}
