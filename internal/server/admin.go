package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/compute"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// AdminHost is the name under which the gateway serves Azimuth's own API. It
// takes tokens for Azure Resource Manager, of principals that hold
// adminAction on the subscription, as its Owner does.
const (
	AdminHost   = "admin.azimuth.internal"
	adminAction = "Azimuth.Server/servers/manage/action"
)

// Status is what a server holds.
type Status struct {
	Resources   int           `json:"resources"`
	Nodes       int           `json:"nodes"`
	JobsWaiting int           `json:"jobsWaiting"`
	JobsRunning int           `json:"jobsRunning"`
	Now         time.Time     `json:"now"`
	ClockOffset time.Duration `json:"clockOffset"`
}

// ClockStatus is the cloud's time and how far it runs ahead of the machine's.
type ClockStatus struct {
	Now    time.Time     `json:"now"`
	Offset time.Duration `json:"offset"`
}

// Advance asks for the clock to be moved forward by a Go duration.
type Advance struct {
	By string `json:"by"`
}

// Check is one thing that was looked at.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"`
	Fix    string `json:"fix,omitempty"`
}

// handle adds an operation to the admin API.
type handle func(pattern string, f func(*http.Request) (any, error))

func (s *Server) adminHandler() http.Handler {
	mux := http.NewServeMux()
	s.adminRoutes(func(pattern string, f func(*http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			out, err := s.admit(r)
			if err == nil {
				out, err = f(r)
			}
			if err != nil {
				arm.WriteError(w, r, s.cfg.Log, err)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			if err := json.NewEncoder(w).Encode(out); err != nil {
				s.cfg.Log.Debug("write answer", "error", err)
			}
		})
	})
	return mux
}

func (s *Server) adminRoutes(handle handle) {
	handle("GET /v1/status", func(r *http.Request) (any, error) { return s.status(r.Context()) })
	handle("GET /v1/clock", func(*http.Request) (any, error) { return s.clockStatus(), nil })
	handle("POST /v1/clock/advance", func(r *http.Request) (any, error) {
		var a Advance
		if err := json.NewDecoder(http.MaxBytesReader(nil, r.Body, 1<<10)).Decode(&a); err != nil {
			return nil, arm.BadRequest("InvalidRequestContent", "The body is not a duration: %s.", err)
		}
		d, err := time.ParseDuration(a.By)
		if err != nil || d <= 0 {
			return nil, arm.BadRequest("InvalidDuration", "%q is not a positive duration.", a.By)
		}
		if err := s.advance(r.Context(), d); err != nil {
			return nil, err
		}
		return s.clockStatus(), nil
	})
	handle("GET /v1/findings", func(r *http.Request) (any, error) {
		found, err := s.checker.Scan(r.Context(), arm.ID{Subscription: s.kernel.Subscription()})
		return map[string]any{"findings": found}, err
	})
	handle("POST /v1/check", func(r *http.Request) (any, error) {
		return map[string]any{"checks": s.check(r.Context())}, nil
	})
	s.computeRoutes(handle)
	s.faultRoutes(handle)
	s.networkRoutes(handle)
}

// admit lets the subscription's owners in.
func (s *Server) admit(r *http.Request) (any, error) {
	caller, err := s.AuthenticateARM(r.Context(), r)
	if err != nil {
		return nil, err
	}
	scope := "/subscriptions/" + s.kernel.Subscription()
	ok, err := s.roles.Allowed(r.Context(), caller.ObjectID, adminAction, false, scope)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, arm.Errorf(http.StatusForbidden, "AuthorizationFailed",
			"The client '%s' with object id '%s' does not have authorization to perform action '%s' over scope '%s'.",
			caller.Name, caller.ObjectID, adminAction, scope)
	}
	return nil, nil
}

func (s *Server) status(ctx context.Context) (*Status, error) {
	st := &Status{Now: s.clock.Now(), ClockOffset: s.clock.Offset()}
	err := s.store.View(ctx, func(tx store.Tx) error {
		for _, err := range s.kernel.Resources().Tracked(tx, s.kernel.Subscription()) {
			if err != nil {
				return err
			}
			st.Resources++
		}
		load, err := s.manager.Load(tx)
		if err != nil {
			return err
		}
		st.Nodes, st.JobsWaiting, st.JobsRunning = load.Nodes, load.Waiting, load.Running
		return nil
	})
	return st, err
}

func (s *Server) clockStatus() ClockStatus {
	return ClockStatus{Now: s.clock.Now(), Offset: s.clock.Offset()}
}

const (
	clockBucket = "clock"
	offsetKey   = "offset"
)

func loadOffset(ctx context.Context, st store.Store) (time.Duration, error) {
	var d time.Duration
	err := st.View(ctx, func(tx store.Tx) error {
		b, err := tx.Get(clockBucket, offsetKey)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		d, err = time.ParseDuration(string(b))
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("read the clock: %w", err)
	}
	return d, nil
}

// advance moves the clock, durably, and waits until the compute engines have
// done what became due.
func (s *Server) advance(ctx context.Context, d time.Duration) error {
	err := s.store.Update(ctx, func(tx store.Tx) error {
		return tx.Put(clockBucket, offsetKey, []byte((s.clock.Offset() + d).String()))
	})
	if err != nil {
		return fmt.Errorf("advance the clock: %w", err)
	}
	s.clock.Advance(d)
	if err := s.purgeOver(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for _, settle := range []func(context.Context) error{s.manager.Settle, s.instances.Settle} {
		if err := settle(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
	}
	return nil
}

// check looks at everything that is stored.
func (s *Server) check(ctx context.Context) []Check {
	out := []Check{}
	report, err := s.blobs.Check(ctx)
	c := Check{Name: "blobs", OK: err == nil && len(report.Problems) == 0}
	switch {
	case err != nil:
		c.Detail = err.Error()
	case !c.OK:
		c.Detail = strings.Join(report.Problems, "; ")
	default:
		c.Detail = fmt.Sprintf("%d blobs, %d bytes, all whole", report.Blobs, report.Bytes)
	}
	if !c.OK {
		c.Fix = "Restore the files under blobs/ from a backup, or delete the blobs that are named."
	}
	out = append(out, c, s.checkRegistries(ctx), s.checkTelemetry(ctx), s.checkSealed(ctx))
	out = append(out, s.checkStorage(ctx)...)
	cap, err := s.capacity(ctx)
	c = Check{Name: "compute", OK: err == nil}
	if err != nil {
		c.Detail = err.Error()
	} else {
		c.Detail = fmt.Sprintf("%d CPUs, %.1f GiB of memory, %d GPUs for jobs", cap.CPUs, cap.MemoryGiB, cap.GPUs)
	}
	return append(out, c)
}

func (s *Server) checkRegistries(ctx context.Context) Check {
	report, err := s.registries.Check(ctx)
	c := Check{Name: "registries", OK: err == nil && len(report.Problems) == 0}
	switch {
	case err != nil:
		c.Detail = err.Error()
	case !c.OK:
		c.Detail = strings.Join(report.Problems, "; ")
	default:
		c.Detail = fmt.Sprintf("%d manifests, %d blobs, %d bytes, all whole", report.Manifests, report.Blobs, report.Bytes)
	}
	if !c.OK {
		c.Fix = "Push the images that are named again."
	}
	return c
}

func (s *Server) capacity(ctx context.Context) (compute.Capacity, error) {
	return s.runner.Capacity(ctx)
}
