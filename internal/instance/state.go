package instance

import "fmt"

// State is an instance's state, one of those that Azure ML reports.
type State string

// The states that an instance is in. Azure has others, for work on the machine
// that is not done here: JobRunning, SettingUp, UserSettingUp, Unusable.
const (
	Creating    State = "Creating"
	Running     State = "Running"
	Stopping    State = "Stopping"
	Stopped     State = "Stopped"
	Starting    State = "Starting"
	Restarting  State = "Restarting"
	SetupFailed State = "SetupFailed"
	Deleting    State = "Deleting"
)

// Event is what changes a state: a request, or what came of the last one.
type Event string

// The requests, named as lastOperation names them, and the outcomes.
const (
	Create  Event = "Create"
	Start   Event = "Start"
	Stop    Event = "Stop"
	Restart Event = "Restart"
	Delete  Event = "Delete"

	machineUp     Event = "up"
	machineDown   Event = "down"
	machineFailed Event = "failed"
)

// NotNowError refuses a request that the instance's state does not allow.
type NotNowError struct {
	State State
	Event Event
}

// Error implements error.
func (e *NotNowError) Error() string {
	return fmt.Sprintf("an instance that is %s cannot %s", e.State, verb(e.Event))
}

func verb(e Event) string {
	switch e {
	case Start:
		return "start"
	case Stop:
		return "stop"
	case Restart:
		return "restart"
	}
	return "be asked to " + string(e)
}

// next is the only place that says how an instance's state changes.
//
//	Create ─▶ Creating ─up─▶ Running ──Stop──▶ Stopping ─down─▶ Stopped
//	             │            ▲  │ ▲                               │
//	             │            up │ └──────up────── Starting ◀─Start┘
//	             │            │  ▼
//	             │        Restarting
//	             └─failed─▶ SetupFailed ◀─failed─ Starting, Restarting
//
// SetupFailed takes Start, Restart and Stop. Stop is taken on the way up too;
// Delete always. A request for what is so already, or on its way, changes
// nothing. Nothing else is allowed.
func next(s State, e Event) (State, error) {
	switch e {
	case Start:
		switch s {
		case Stopped, SetupFailed:
			return Starting, nil
		case Running, Starting, Restarting, Creating:
			return s, nil
		}
	case Stop:
		switch s {
		case Running, Creating, Starting, Restarting, SetupFailed:
			return Stopping, nil
		case Stopping, Stopped:
			return s, nil
		}
	case Restart:
		switch s {
		case Running, SetupFailed, Restarting:
			return Restarting, nil
		}
	case Delete:
		return Deleting, nil
	case machineUp:
		switch s {
		case Creating, Starting, Restarting:
			return Running, nil
		}
	case machineFailed:
		switch s {
		case Creating, Starting, Restarting:
			return SetupFailed, nil
		}
	case machineDown:
		if s == Stopping {
			return Stopped, nil
		}
	}
	return s, &NotNowError{s, e}
}

// moving reports whether the state is one that ends by itself.
func (s State) moving() bool {
	switch s {
	case Running, Stopped, SetupFailed:
		return false
	}
	return true
}
