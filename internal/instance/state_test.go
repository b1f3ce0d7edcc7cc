package instance

import (
	"errors"
	"testing"
)

func TestNext(t *testing.T) {
	all := []State{Creating, Running, Stopping, Stopped, Starting, Restarting, SetupFailed, Deleting}
	// what is not here is refused
	allowed := map[Event]map[State]State{
		Start: {Stopped: Starting, SetupFailed: Starting, Running: Running, Starting: Starting, Restarting: Restarting, Creating: Creating},
		Stop: {
			Running: Stopping, Creating: Stopping, Starting: Stopping, Restarting: Stopping, SetupFailed: Stopping,
			Stopping: Stopping, Stopped: Stopped,
		},
		Restart:       {Running: Restarting, SetupFailed: Restarting, Restarting: Restarting},
		Delete:        {},
		machineUp:     {Creating: Running, Starting: Running, Restarting: Running},
		machineFailed: {Creating: SetupFailed, Starting: SetupFailed, Restarting: SetupFailed},
		machineDown:   {Stopping: Stopped},
		Create:        {},
	}
	for _, s := range all {
		allowed[Delete][s] = Deleting
	}
	for e, table := range allowed {
		for _, s := range all {
			got, err := next(s, e)
			want, ok := table[s]
			var not *NotNowError
			switch {
			case ok && (err != nil || got != want):
				t.Errorf("%s in %s: %s, %v; want %s", e, s, got, err, want)
			case !ok && (!errors.As(err, &not) || got != s || not.State != s || not.Event != e):
				t.Errorf("%s in %s: %s, %v; want a refusal", e, s, got, err)
			}
		}
	}
	for _, s := range all {
		if moving := s != Running && s != Stopped && s != SetupFailed; s.moving() != moving {
			t.Errorf("%s: moving %t", s, s.moving())
		}
	}
}
