package compute

import "testing"

func TestNodeTransitions(t *testing.T) {
	states := []NodeState{nodeGone, NodePreparing, NodeIdle, NodeRunning, NodeLeaving, NodePreempted, NodeUnusable}
	events := []NodeEvent{NodeEventStart, NodeEventReady, NodeEventPlace, NodeEventRelease, NodeEventFail, NodeEventPreempt, NodeEventStop, NodeEventGone}
	// Rows are states, columns events; - is refused.
	const no = NodeState("-")
	table := [][]NodeState{
		{NodePreparing, no, no, no, no, no, no, no},
		{no, NodeIdle, no, no, NodeUnusable, NodePreempted, NodeLeaving, no},
		{no, no, NodeRunning, no, NodeUnusable, NodePreempted, NodeLeaving, no},
		{no, no, no, NodeIdle, NodeUnusable, NodePreempted, no, no},
		{no, no, no, no, no, no, no, nodeGone},
		{no, no, no, no, no, no, NodeLeaving, no},
		{no, no, no, no, no, no, NodeLeaving, no},
	}
	for i, s := range states {
		for j, e := range events {
			got, err := nextNodeState(s, e)
			switch want := table[i][j]; {
			case want == no && (err == nil || got != s):
				t.Errorf("%q %s: got %q, %v, want it refused", s, e, got, err)
			case want != no && (err != nil || got != want):
				t.Errorf("%q %s: got %q, %v, want %q", s, e, got, err, want)
			}
		}
	}
}

func TestItemTransitions(t *testing.T) {
	phases := []Phase{PhaseQueued, PhasePreparing, PhaseRunning, PhaseSaving, PhaseFinalizing, PhaseDone}
	events := []ItemEvent{ItemEventPlace, ItemEventLaunch, ItemEventEnd, ItemEventPreempt, ItemEventRequeue, ItemEventFinish}
	const no = Phase("-")
	table := [][]Phase{
		{PhasePreparing, no, PhaseFinalizing, no, no, no},
		{no, PhaseRunning, PhaseFinalizing, PhaseSaving, no, no},
		{no, no, PhaseFinalizing, PhaseSaving, no, no},
		{no, no, PhaseFinalizing, no, PhaseQueued, no},
		{no, no, no, no, no, PhaseDone},
		{no, no, no, no, no, no},
	}
	for i, p := range phases {
		for j, e := range events {
			got, err := nextPhase(p, e)
			switch want := table[i][j]; {
			case want == no && (err == nil || got != p):
				t.Errorf("%s %s: got %s, %v, want it refused", p, e, got, err)
			case want != no && (err != nil || got != want):
				t.Errorf("%s %s: got %s, %v, want %s", p, e, got, err, want)
			}
		}
	}
}
