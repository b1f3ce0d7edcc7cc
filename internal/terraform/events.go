package terraform

import (
	"bytes"
	"encoding/json"
)

// Event is one line of terraform's machine-readable progress, as far as it is
// used here. https://developer.hashicorp.com/terraform/internals/machine-readable-ui
type Event struct {
	// Level is "info", "warn" or "error".
	Level string `json:"@level"`
	// Message is the line for people.
	Message string `json:"@message"`
	// Type is like "planned_change", "apply_start", "apply_progress",
	// "apply_complete", "apply_errored", "diagnostic", "change_summary" or
	// "outputs".
	Type string `json:"type"`
	// Hook is set for the apply_ and refresh_ types.
	Hook *EventHook `json:"hook,omitempty"`
	// Changes is set for change_summary.
	Changes *EventChanges `json:"changes,omitempty"`
	// Diagnostic is set for diagnostic.
	Diagnostic *EventDiagnostic `json:"diagnostic,omitempty"`
}

// EventHook is what happens to a resource.
type EventHook struct {
	Resource struct {
		Addr string `json:"addr"`
	} `json:"resource"`
	// Action is "create", "read", "update", "delete" or "noop".
	Action string `json:"action"`
	// ElapsedSeconds is how long the action has taken.
	ElapsedSeconds float64 `json:"elapsed_seconds"`
}

// EventChanges counts the changes of a plan or an apply.
type EventChanges struct {
	Add    int `json:"add"`
	Change int `json:"change"`
	Remove int `json:"remove"`
	Import int `json:"import"`
	// Operation is "plan", "apply" or "destroy".
	Operation string `json:"operation"`
}

// EventDiagnostic is an error or a warning.
type EventDiagnostic struct {
	// Severity is "error" or "warning".
	Severity string `json:"severity"`
	Summary  string `json:"summary"`
	Detail   string `json:"detail"`
	// Address is the resource at fault, where there is one.
	Address string `json:"address"`
	Range   *struct {
		Filename string `json:"filename"`
		Start    struct {
			Line int `json:"line"`
		} `json:"start"`
	} `json:"range,omitempty"`
}

// eventWriter splits what terraform prints into events. A line that is not an
// event is passed on as its message.
type eventWriter struct {
	f    func(Event)
	rest []byte
}

// Write implements io.Writer. It never fails.
func (w *eventWriter) Write(p []byte) (int, error) {
	w.rest = append(w.rest, p...)
	for {
		line, after, found := bytes.Cut(w.rest, []byte{'\n'})
		if !found {
			return len(p), nil
		}
		w.line(line)
		w.rest = after
	}
}

// flush handles a last line without an end.
func (w *eventWriter) flush() {
	w.line(w.rest)
	w.rest = nil
}

func (w *eventWriter) line(line []byte) {
	line = bytes.TrimSpace(line)
	if len(line) == 0 {
		return
	}
	var e Event
	if json.Unmarshal(line, &e) != nil {
		e = Event{Level: "info", Message: string(line)}
	}
	w.f(e)
}
