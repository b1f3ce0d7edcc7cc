package ml

import (
	"fmt"
	"slices"
	"time"
)

// Status is where a job is. The words are Azure's JobStatus.
type Status string

// The statuses that a job here can have.
const (
	Queued          Status = "Queued"
	Preparing       Status = "Preparing"
	Running         Status = "Running"
	Finalizing      Status = "Finalizing"
	CancelRequested Status = "CancelRequested"
	Completed       Status = "Completed"
	Failed          Status = "Failed"
	Canceled        Status = "Canceled"
)

// Terminal reports whether a job with this status has ended.
func (s Status) Terminal() bool { return s == Completed || s == Failed || s == Canceled }

// event is what happens to a job.
type event string

const (
	eventSubmit   event = "submit"   // it was accepted
	eventOpen     event = "open"     // it was accepted, and has steps instead of tasks
	eventPrepare  event = "prepare"  // it got its nodes
	eventStart    event = "start"    // its tasks run
	eventRequeue  event = "requeue"  // its nodes are taken away; it waits again
	eventCancel   event = "cancel"   // someone wants it to end
	eventCollect  event = "collect"  // no task is left
	eventComplete event = "complete" // it ended well
	eventFail     event = "fail"     // it ended badly
	eventStop     event = "stop"     // it ended because it was told to
)

// nextStatus is the only place that says how a job's status changes.
//
//	     submit        prepare           start         collect          complete
//	(none) ──▶ Queued ───────▶ Preparing ─────▶ Running ─────▶ Finalizing ─────▶ Completed
//	            │  ▲              │  │  ▲         │  │           ▲ │ │
//	            │  └────requeue───┴──┼──┼─────────┘  │           │ │ └──fail────▶ Failed
//	            │                    │  └───prepare──┤           │ │
//	            ├────────────────────┴───────────────┼──collect──┘ └────stop────▶ Canceled
//	            └─────────────cancel─────────────────┴─▶ CancelRequested ───────▶ any of the three
//
// A pipeline begins as Running: open takes it there. Prepare happens again when an attempt could not be started. A job whose
// end was requested stays in CancelRequested whatever happens on the way, so
// that the request can be seen, and ends as its outcome says. Repeating an event
// changes nothing.
func nextStatus(s Status, e event) (Status, error) {
	if s.Terminal() {
		same := map[event]Status{eventComplete: Completed, eventFail: Failed, eventStop: Canceled}
		if e == eventCollect || e == eventCancel || same[e] == s {
			return s, nil
		}
		return s, fmt.Errorf("ml: a job that is %s cannot %s", s, e)
	}
	switch e {
	case eventSubmit:
		if s == "" {
			return Queued, nil
		}
	case eventOpen:
		if s == "" {
			return Running, nil
		}
	case eventPrepare:
		switch s {
		case Queued, Preparing, Running:
			return Preparing, nil
		case CancelRequested:
			return s, nil
		}
	case eventStart:
		switch s {
		case Preparing, Running:
			return Running, nil
		case CancelRequested:
			return s, nil
		}
	case eventRequeue:
		switch s {
		case Queued, Preparing, Running:
			return Queued, nil
		case CancelRequested:
			return s, nil
		}
	case eventCancel:
		if s != "" && s != Finalizing {
			return CancelRequested, nil
		}
		return s, nil
	case eventCollect:
		switch s {
		case Queued, Preparing, Running, Finalizing:
			return Finalizing, nil
		case CancelRequested:
			return s, nil
		}
	case eventComplete, eventFail, eventStop:
		if s == Finalizing || s == CancelRequested {
			return map[event]Status{eventComplete: Completed, eventFail: Failed, eventStop: Canceled}[e], nil
		}
	}
	return s, fmt.Errorf("ml: a job that is %q cannot %s", string(s), e)
}

// Moment is when a job entered a status, for its timeline.
type Moment struct {
	Status  Status    `json:"status"`
	At      time.Time `json:"at"`
	Attempt int       `json:"attempt,omitempty"`
	// Reason is why a job that ran is queued again.
	Reason string `json:"reason,omitempty"`
}

// doc is the moment as a job's document shows it.
func (m Moment) doc() map[string]any {
	out := map[string]any{"status": string(m.Status), "at": m.At.UTC().Format(time.RFC3339Nano)}
	if m.Attempt > 0 {
		out["attempt"] = m.Attempt
	}
	if m.Reason != "" {
		out["reason"] = m.Reason
	}
	return out
}

// maxTimeline bounds the timeline of a job that is preempted over and over: the
// oldest moments after the first are dropped.
const maxTimeline = 200

// move applies an event to a run at the given time.
func (r *run) move(e event, now time.Time) error {
	next, err := nextStatus(r.Status, e)
	if err != nil {
		return err
	}
	if next == r.Status {
		return nil
	}
	r.Status = next
	r.Timeline = append(r.Timeline, Moment{Status: next, At: now, Attempt: r.Attempt})
	r.moves = append(r.moves, next)
	if len(r.Timeline) > maxTimeline {
		r.Timeline = slices.Delete(r.Timeline, 1, 2)
	}
	switch {
	case next == Running && r.Started.IsZero():
		r.Started = now
	case next.Terminal():
		r.Ended = now
	}
	return nil
}
