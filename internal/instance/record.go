package instance

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/seal"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// record is an instance in the store.
type record struct {
	Spec  Spec      `json:"spec"`
	State State     `json:"state"`
	Since time.Time `json:"since"`
	Last  Operation `json:"last"`

	// Task is the task that Jupyter runs as, "" for none, and Launch counts the
	// tasks there have been: an ID is never used again.
	Task   string `json:"task,omitempty"`
	Launch int    `json:"launch,omitempty"`
	// Port and Token are those of Task; the token is sealed.
	Port  int    `json:"port,omitempty"`
	Token []byte `json:"token,omitempty"`
	// Origin is the server's own origin as Task was told of it.
	Origin string `json:"origin,omitempty"`
	// App is what runs, "JupyterLab" or "Jupyter".
	App string `json:"app,omitempty"`

	// Problem is why the machine or Jupyter does not run. Missing says that
	// there is no Jupyter to run, so that no other try is made.
	Problem *Problem `json:"problem,omitempty"`
	Missing bool     `json:"missing,omitempty"`
	// Failures counts Jupyter's ends in a row; RetryAt is when to try again.
	Failures int       `json:"failures,omitempty"`
	RetryAt  time.Time `json:"retryAt,omitzero"`
	Launched time.Time `json:"launched,omitzero"`

	// Checked is until when schedules have been carried out.
	Checked time.Time `json:"checked,omitzero"`
}

const (
	byID   = "id"
	byHost = "host"
	byLive = "live"
)

const recordBucket = "instance"

// SealedPlaces is where this package keeps sealed values.
func SealedPlaces() []seal.Place {
	return []seal.Place{seal.In(recordBucket, func(r *record) []*[]byte { return []*[]byte{&r.Token} })}
}

func records() store.Collection[record] {
	present := func(entry func(*record) string) func(*record) []string {
		return func(r *record) []string {
			if r.State == Deleting {
				return nil
			}
			return []string{entry(r)}
		}
	}
	return store.Collection[record]{
		Name: recordBucket,
		Key:  func(r *record) string { return r.Spec.UID },
		Indexes: map[string]func(*record) []string{
			byHost: present(func(r *record) string { return hostEntry(r.Spec.Name, r.Spec.Location) }),
			// what the engine has to look after at any time
			byLive: func(r *record) []string {
				if (r.State == Stopped || r.State == SetupFailed) && len(r.Spec.Schedules) == 0 {
					return nil
				}
				return []string{"live"}
			},
		},
	}
}

// hostEntry is the index entry of an instance's host name, which is unique in
// its region.
func hostEntry(name, location string) string {
	return strings.ToLower(name) + "." + strings.ToLower(location)
}

// ErrNotFound says that no such instance exists.
var ErrNotFound = errors.New("instance: no such instance")

func (s *Service) get(tx store.Tx, uid string) (*record, error) {
	r, err := s.records.Get(tx, uid)
	if errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, uid)
	}
	return r, err
}

// change makes an event happen to a record, which the caller then puts.
func (s *Service) change(r *record, e Event, trigger Trigger) error {
	to, err := next(r.State, e)
	if err != nil {
		return err
	}
	now := s.cfg.Clock.Now()
	switch e {
	case machineUp, machineDown:
		r.Last.Status = statusSucceeded
	case machineFailed:
		r.Last.Status = r.Last.Name + "Failed"
	default:
		if to == r.State && e != Restart {
			return nil // it is so already
		}
		r.Last = Operation{Name: string(e), Time: now, Status: statusInProgress, Trigger: string(trigger)}
		// Whatever runs now is none of the new state's: what has no record is
		// ended by the worker.
		r.Task, r.Port, r.Token, r.App = "", 0, nil, ""
		r.Problem, r.Missing, r.Failures, r.RetryAt = nil, false, 0, time.Time{}
	}
	r.State, r.Since = to, now
	return nil
}

const (
	statusInProgress = "InProgress"
	statusSucceeded  = "Succeeded"
)
