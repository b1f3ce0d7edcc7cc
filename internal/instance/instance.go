// Package instance runs compute instances: a machine for one person, on which
// Jupyter runs. The machine is a node of a compute.Runner and Jupyter its one
// task, so that both outlive the server and are found again by the next one.
// Jupyter listens on the loopback with a token that only this package knows;
// people reach it through Service, which lets in the assigned user and the owner
// of the home.
package instance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/azimuth-ml/azimuth/internal/clock"
	"github.com/azimuth-ml/azimuth/internal/compute"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// Spec is what a ComputeInstance resource asks for.
type Spec struct {
	// UID is the resource's, and never used again. It is safe as a file name.
	UID string `json:"uid"`
	// ID is its ARM ID, WorkspaceID that of its workspace, as written.
	ID          string `json:"id"`
	WorkspaceID string `json:"workspaceId"`
	// Name and Location make the host name.
	Name     string `json:"name"`
	Location string `json:"location"`
	VMSize   string `json:"vmSize"`
	VCPUs    int    `json:"vcpus"`
	// MemoryGiB and GPUs are what the size has.
	MemoryGiB float64 `json:"memoryGiB"`
	GPUs      int     `json:"gpus,omitempty"`
	// UserID is the object ID of the person it is for: the assigned user, else
	// the creator.
	UserID string `json:"userId"`
	// PrincipalID is its managed identity, or "".
	PrincipalID string `json:"principalId,omitempty"`
	// IdleAfter is how long it runs on without activity; 0 is for ever.
	IdleAfter time.Duration `json:"idleAfter,omitempty"`
	// Schedules start and stop it.
	Schedules []Schedule `json:"schedules,omitempty"`
	// SSH says that its owner asked for SSH, which there is not.
	SSH bool `json:"ssh,omitempty"`
	// SubnetID is the ARM ID of the subnet that it stands in, or "", and SubnetPrefix
	// the address range of that.
	SubnetID     string `json:"subnetId,omitempty"`
	SubnetPrefix string `json:"subnetPrefix,omitempty"`
}

// Trigger is who asked for an operation, in Azure's words.
type Trigger string

// The triggers.
const (
	TriggerUser         Trigger = "User"
	TriggerSchedule     Trigger = "Schedule"
	TriggerIdleShutdown Trigger = "IdleShutdown"
)

// Operation is Azure's lastOperation.
type Operation struct {
	Name    string    `json:"name"`
	Time    time.Time `json:"time"`
	Status  string    `json:"status"`
	Trigger string    `json:"trigger"`
}

// Problem is one entry of the resource's errors.
type Problem struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Application is a program that people open.
type Application struct{ Name, URI string }

// Status is how an instance is.
type Status struct {
	State        State
	Last         Operation
	Applications []Application
	Problems     []Problem
	// Node is the ID of its machine at the Runner, and SubnetID the subnet that this
	// stands in, or "".
	Node, SubnetID string
}

// Files is where notebooks are kept.
type Files interface {
	// UserDir returns the directory of a user in the workspace's file store, and
	// makes it if need be.
	UserDir(ctx context.Context, workspaceID, userID string) (string, error)
}

// Identities lets processes get tokens for a managed identity.
type Identities interface {
	// Grant returns the environment variables with which tokens for the principal
	// can be had until Revoke. Granting again replaces the secret.
	Grant(tx store.Tx, grantID, principalID string) (env []string, err error)
	// Revoke ends a grant. Ending what is not there is not an error.
	Revoke(tx store.Tx, grantID string) error
}

// Access says who a request is from.
type Access interface {
	// Authenticate returns the object ID of the principal of a bearer token. A
	// refusal is an *arm.Error.
	Authenticate(ctx context.Context, r *http.Request) (objectID string, err error)
	// Owner reports whether the principal owns the home that all this runs in.
	Owner(objectID string) bool
}

// Sealer encrypts what must not be read in the store.
type Sealer interface {
	Seal(plain []byte) ([]byte, error)
	Open(sealed []byte) ([]byte, error)
}

// Config says what a Service stands on. All fields but Jupyter and Log are
// needed.
type Config struct {
	Store store.Store
	Clock clock.Clock
	// Wall is the machine's time, in which Jupyter tells when it was last used.
	Wall func() time.Time
	// Runner runs the machines. Nothing else may use it.
	Runner compute.Runner
	// Dir holds the disk of each instance, which lives as long as the instance.
	Dir        string
	Files      Files
	Identities Identities
	Access     Access
	Sealer     Sealer
	// BaseEnv is what processes have of the server's environment, NodeEnv what
	// leads Azure's names here on the instance with an ARM ID. Both are "KEY=value".
	BaseEnv []string
	NodeEnv func(id string) []string
	// Origin is where a browser without a proxy reaches Local, such as
	// "http://127.0.0.1:4443".
	Origin string
	// Jupyter finds the Jupyter to run. The default looks in the PATH of BaseEnv.
	Jupyter func() (Jupyter, error)
	Log     *slog.Logger
}

// Service is the engine. It is safe for concurrent use. Run must run for
// anything to happen.
type Service struct {
	cfg     Config
	log     *slog.Logger
	records store.Collection[record]
	tickets store.Collection[ticket]
	times   timeline
	proxy   http.Handler

	mu      sync.Mutex
	running context.Context // of Run, nil before it has taken stock and after
	wg      sync.WaitGroup
	workers map[string]*worker
	timers  map[string]clock.Timer
	facts   facts
	ready   map[string]bool      // tasks whose Jupyter has answered
	active  map[string]time.Time // when an instance was last used, on the clock
	idle    chan struct{}        // closed and replaced when a worker parks
}

// New returns a Service.
func New(cfg Config) (*Service, error) {
	if cfg.Store == nil || cfg.Clock == nil || cfg.Wall == nil || cfg.Runner == nil || cfg.Files == nil ||
		cfg.Identities == nil || cfg.Access == nil || cfg.Sealer == nil || cfg.NodeEnv == nil || cfg.Dir == "" || cfg.Origin == "" {
		return nil, errors.New("instance: the configuration is not complete")
	}
	if cfg.Jupyter == nil {
		env := cfg.BaseEnv
		cfg.Jupyter = func() (Jupyter, error) { return FindJupyter(env) }
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Service{
		cfg: cfg, log: cfg.Log, records: records(), tickets: tickets(),
		workers: map[string]*worker{}, timers: map[string]clock.Timer{}, facts: newFacts(),
		ready: map[string]bool{}, active: map[string]time.Time{}, idle: make(chan struct{}),
	}
	s.proxy = s.newProxy()
	return s, nil
}

// Put makes an instance, or changes its settings: what runs goes on. It is part
// of the caller's transaction. Errors: *InvalidError.
func (s *Service) Put(tx store.Tx, spec Spec) error {
	if err := spec.validate(); err != nil {
		return err
	}
	now := s.cfg.Clock.Now()
	r, err := s.get(tx, spec.UID)
	switch {
	case errors.Is(err, ErrNotFound):
		r = &record{Spec: spec, State: Creating, Since: now, Checked: now,
			Last: Operation{Name: string(Create), Time: now, Status: statusInProgress, Trigger: string(TriggerUser)}}
	case err != nil:
		return fmt.Errorf("put instance: %w", err)
	default:
		if !sameSchedules(r.Spec.Schedules, spec.Schedules) {
			r.Checked = now // a new schedule begins now
		}
		r.Spec = spec
	}
	if err := s.records.Put(tx, r); err != nil {
		return fmt.Errorf("put instance: %w", err)
	}
	s.kick(spec.UID, false)
	return nil
}

// Do asks for Start, Stop, Restart or Delete, as part of the caller's
// transaction. Deleting what is not there is not an error. Errors: ErrNotFound,
// *NotNowError.
func (s *Service) Do(tx store.Tx, uid string, e Event) error {
	r, err := s.get(tx, uid)
	if errors.Is(err, ErrNotFound) && e == Delete {
		return nil
	}
	if err != nil {
		return err
	}
	if err := s.change(r, e, TriggerUser); err != nil {
		return err
	}
	if err := s.records.Put(tx, r); err != nil {
		return fmt.Errorf("%s instance: %w", e, err)
	}
	s.kick(uid, true)
	return nil
}

// Status says how an instance is, or ErrNotFound.
func (s *Service) Status(tx store.Tx, uid string) (Status, error) {
	r, err := s.get(tx, uid)
	if err != nil {
		return Status{}, err
	}
	st := Status{State: r.State, Last: r.Last, Node: nodeID(uid), SubnetID: r.Spec.SubnetID}
	if r.State == Running && r.Task != "" {
		st.Applications = []Application{{Name: r.App, URI: "https://" + hostEntry(r.Spec.Name, r.Spec.Location) + hostSuffix + jupyterPath}}
	}
	if r.Problem != nil {
		st.Problems = append(st.Problems, *r.Problem)
	}
	if r.Task != "" && r.Origin != s.cfg.Origin {
		st.Problems = append(st.Problems, Problem{"ServerMoved",
			"The server is at " + s.cfg.Origin + " now and was at " + r.Origin + " when Jupyter started: restart the instance, so that notebooks reach it."})
	}
	if r.Spec.SSH {
		st.Problems = append(st.Problems, Problem{"SshNotAvailable",
			"The SSH setting is kept and has no effect: the instance runs as processes of this machine, without an SSH server of its own."})
	}
	return st, nil
}

// Settle returns once everything that was due when it was called has been done
// and no instance is on its way, or when ctx ends. It needs Run to be running.
func (s *Service) Settle(ctx context.Context) error {
	if err := s.kickLive(ctx); err != nil {
		return err
	}
	for {
		s.mu.Lock()
		busy, news := len(s.workers) > 0, s.idle
		s.mu.Unlock()
		if !busy {
			moving, err := s.anyMoving(ctx)
			if err != nil || !moving {
				return err
			}
		}
		select {
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Await returns once an instance is no longer on its way to a state, or is gone,
// or when ctx ends. It needs Run to be running.
func (s *Service) Await(ctx context.Context, uid string) error {
	for {
		s.mu.Lock()
		news := s.idle
		s.mu.Unlock()
		moving := false
		err := s.cfg.Store.View(ctx, func(tx store.Tx) error {
			r, err := s.get(tx, uid)
			if errors.Is(err, ErrNotFound) {
				return nil
			}
			moving = err == nil && r.State.moving()
			return err
		})
		if err != nil || !moving {
			return err
		}
		select {
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *Service) anyMoving(ctx context.Context) (moving bool, err error) {
	err = s.cfg.Store.View(ctx, func(tx store.Tx) error {
		for r, err := range s.records.By(tx, byLive, store.Range{}) {
			if err != nil {
				return fmt.Errorf("look at instances: %w", err)
			}
			moving = moving || r.State.moving()
		}
		return nil
	})
	return moving, err
}

func (s *Service) kickLive(ctx context.Context) error {
	var all []string
	err := s.cfg.Store.View(ctx, func(tx store.Tx) error {
		all = all[:0]
		for r, err := range s.records.By(tx, byLive, store.Range{}) {
			if err != nil {
				return fmt.Errorf("look at instances: %w", err)
			}
			all = append(all, r.Spec.UID)
		}
		return nil
	})
	for _, uid := range all {
		s.kick(uid, false)
	}
	return err
}
