package compute

import (
	"fmt"
	"time"
)

// Phase is where an item is in its life.
type Phase string

// The phases of an item.
const (
	PhaseQueued     Phase = "queued"
	PhasePreparing  Phase = "preparing"
	PhaseRunning    Phase = "running"
	PhaseSaving     Phase = "saving"
	PhaseFinalizing Phase = "finalizing"
	PhaseDone       Phase = "done"
)

// ItemEvent is what happens to an item.
type ItemEvent string

// The events of an item.
const (
	ItemEventPlace   ItemEvent = "place"   // it got its nodes
	ItemEventLaunch  ItemEvent = "launch"  // all its tasks were started
	ItemEventEnd     ItemEvent = "end"     // no task is left: ended, failed or canceled
	ItemEventPreempt ItemEvent = "preempt" // no task is left, since nodes are taken away
	ItemEventRequeue ItemEvent = "requeue" // what it had done is saved; it waits again
	ItemEventFinish  ItemEvent = "finish"  // the workload has taken the results
)

// nextPhase is the only place that says how an item's phase changes. Canceling
// an item is no event of its own: it stops what the phase has going, and then
// the item ends like any other.
//
//	         place            launch           end               finish
//	queued ────────▶ preparing ──────▶ running ─────▶ finalizing ───────▶ done
//	 │  ▲              │   │              │               ▲ ▲ ▲
//	 │  │           preempt│           preempt            │ │ │
//	 │  │              ▼   │              │               │ │ │
//	 │  └──requeue── saving ◀─────────────┘               │ │ │
//	 │                 │   └───────── end ────────────────┘ │ │
//	 │                 └───────────── end ──────────────────┘ │
//	 └─────────────────────────────── end ────────────────────┘
func nextPhase(p Phase, e ItemEvent) (Phase, error) {
	switch p {
	case PhaseQueued:
		switch e {
		case ItemEventPlace:
			return PhasePreparing, nil
		case ItemEventEnd:
			return PhaseFinalizing, nil
		}
	case PhasePreparing:
		switch e {
		case ItemEventLaunch:
			return PhaseRunning, nil
		case ItemEventEnd:
			return PhaseFinalizing, nil
		case ItemEventPreempt:
			return PhaseSaving, nil
		}
	case PhaseRunning:
		switch e {
		case ItemEventEnd:
			return PhaseFinalizing, nil
		case ItemEventPreempt:
			return PhaseSaving, nil
		}
	case PhaseSaving:
		switch e {
		case ItemEventRequeue:
			return PhaseQueued, nil
		case ItemEventEnd:
			return PhaseFinalizing, nil
		}
	case PhaseFinalizing:
		if e == ItemEventFinish {
			return PhaseDone, nil
		}
	}
	return p, fmt.Errorf("compute: an item that is %s cannot %s", p, e)
}

// StopCause is why an item is ended before its tasks end by themselves.
type StopCause string

// The causes. The first one that an item meets is the one it ends with.
const (
	// StopCanceled: someone asked.
	StopCanceled StopCause = "canceled"
	// StopTimeout: the item ran longer than its timeout.
	StopTimeout StopCause = "timeout"
	// StopPrepare: its tasks could not be prepared or started.
	StopPrepare StopCause = "prepare"
	// StopTask: one of several tasks failed, so the others end too.
	StopTask StopCause = "task"
	// StopLost: a node or a supervisor disappeared.
	StopLost StopCause = "lost"
	// StopPreempted: the provider took a node back; the item is queued again.
	StopPreempted StopCause = "preempted"
	// StopPool: the pool was deleted.
	StopPool StopCause = "pool"
)

// Stop is a StopCause and one sentence about it.
type Stop struct {
	Cause  StopCause
	Reason string
	// Task is the index of the task that StopTask is about.
	Task int `json:",omitempty"`
	// Grace is how long tasks have between the polite signal and the kill, in
	// real time. 0 means the Manager's own.
	Grace time.Duration `json:",omitempty"`
}
