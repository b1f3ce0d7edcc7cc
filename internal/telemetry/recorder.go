package telemetry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/azimuth-ml/azimuth/internal/store"
	"github.com/azimuth-ml/azimuth/internal/telemetry/logstore"
)

// Recorder takes what Azimuth itself has to tell. What happens to jobs and nodes
// is written in the transaction in which it happens, so that it is told once that
// is durable, and only then; a goroutine moves it to the tables. What the control
// plane was asked is queued in memory: it is lost when the server is killed at
// that moment, or when the queue is full, and never holds up an answer.
type Recorder struct {
	s     *Service
	seq   atomic.Uint64
	wake  chan struct{}
	stop  chan struct{}
	done  sync.WaitGroup
	drain sync.Mutex
	// started says that what is needed to tell where events go is there.
	started bool

	mu       sync.Mutex
	activity []ActivityEvent
	lost     int
}

const (
	outboxBucket = "telemetry-outbox"
	// outboxPage is how many events are moved at once.
	outboxPage = 512
	// maxActivity is how many events of the control plane may wait.
	maxActivity = 4096
	// gather is how long events are gathered before they are moved, on the
	// machine's clock: one write to the disk serves them all.
	gather = 100 * time.Millisecond
)

// JobEvent is a status that a job has entered.
type JobEvent struct {
	// Workspace is the ARM ID of the workspace, Location its region.
	Workspace string `json:"workspace"`
	// Name is the job's, Parent that of the pipeline or sweep that it is a step
	// of, Experiment the name of its experiment.
	Name       string `json:"name"`
	Parent     string `json:"parent,omitempty"`
	Experiment string `json:"experiment,omitempty"`
	// Status is the new status, in Azure's words; Reason says why, where there is
	// something to say.
	Status string `json:"status"`
	Reason string `json:"reason,omitempty"`
	// Terminal says that the job has ended.
	Terminal bool `json:"terminal,omitempty"`
	// Compute is the ARM ID of the compute, or "".
	Compute string `json:"compute,omitempty"`
	// User is who submitted the job.
	User string `json:"user,omitempty"`
	// At is when; Created, Started and Ended are the job's times, zero when they
	// have not come.
	At      time.Time `json:"at"`
	Created time.Time `json:"created,omitzero"`
	Started time.Time `json:"started,omitzero"`
	Ended   time.Time `json:"ended,omitzero"`
	// ErrorCode and ErrorMessage are why it failed.
	ErrorCode    string `json:"errorCode,omitempty"`
	ErrorMessage string `json:"errorMessage,omitempty"`
}

// NodeEvent is a state that a node of a cluster has entered.
type NodeEvent struct {
	// Cluster is the ARM ID of the cluster, Node the node's name.
	Cluster string `json:"cluster"`
	Node    string `json:"node"`
	// Event is what happened, State where the node is now: "" for a node that is
	// gone.
	Event string `json:"event"`
	State string `json:"state,omitempty"`
	// VMSize is the size of the node, Priority Dedicated or LowPriority.
	VMSize   string `json:"vmSize,omitempty"`
	Priority string `json:"priority,omitempty"`
	// At is when; Allocated and Booted are when the node was asked for and came
	// up.
	At        time.Time `json:"at"`
	Allocated time.Time `json:"allocated,omitzero"`
	Booted    time.Time `json:"booted,omitzero"`
}

// ActivityEvent is a request that changed something, or tried to, in Azure
// Resource Manager.
type ActivityEvent struct {
	At time.Time
	// Method, ResourceID and Operation say what was asked: Operation is the
	// permission that it needs.
	Method, ResourceID, Operation string
	// Status is the HTTP status and Code the error's code, or "".
	Status int
	Code   string
	// Caller is who asked, ObjectID their ID; Address is where they are.
	Caller, ObjectID, Address string
	// CorrelationID ties events together.
	CorrelationID string
}

// outboxEvent is one record in the outbox.
type outboxEvent struct {
	Job  *JobEvent  `json:"job,omitempty"`
	Node *NodeEvent `json:"node,omitempty"`
}

func newRecorder(s *Service) *Recorder {
	return &Recorder{s: s, wake: make(chan struct{}, 1), stop: make(chan struct{})}
}

// start begins to move events, those first that an earlier server left.
func (r *Recorder) start() {
	r.started = true
	r.done.Go(r.run)
	r.poke()
}

func (r *Recorder) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Job tells of a job, in the transaction in which it happens.
func (r *Recorder) Job(tx store.Tx, e JobEvent) error { return r.put(tx, e.At, outboxEvent{Job: &e}) }

// Node tells of a node, in the transaction in which it happens.
func (r *Recorder) Node(tx store.Tx, e NodeEvent) error {
	return r.put(tx, e.At, outboxEvent{Node: &e})
}

func (r *Recorder) put(tx store.Tx, at time.Time, e outboxEvent) error {
	b, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("record an event: %w", err)
	}
	key := fmt.Sprintf("%020d-%010d-%s", at.UnixNano(), r.seq.Add(1), uuid.NewString()[:8])
	if err := tx.Put(outboxBucket, key, b); err != nil {
		return fmt.Errorf("record an event: %w", err)
	}
	r.poke()
	return nil
}

// Activity tells of a request to the control plane.
func (r *Recorder) Activity(e ActivityEvent) {
	r.mu.Lock()
	if len(r.activity) < maxActivity {
		r.activity = append(r.activity, e)
	} else {
		r.lost++
	}
	r.mu.Unlock()
	r.poke()
}

func (r *Recorder) run() {
	for {
		select {
		case <-r.stop:
			return
		case <-r.wake:
		}
		timer := time.NewTimer(gather)
		select {
		case <-r.stop:
			timer.Stop()
			return
		case <-timer.C:
		}
		if err := r.Flush(context.Background()); err != nil {
			r.s.cfg.Log.Warn("write telemetry of jobs, nodes and the control plane", "error", err)
		}
	}
}

func (r *Recorder) close() {
	close(r.stop)
	r.done.Wait()
	if !r.started {
		return
	}
	if err := r.Flush(context.Background()); err != nil {
		r.s.cfg.Log.Warn("write telemetry of jobs, nodes and the control plane", "error", err)
	}
}

// Flush writes everything that was told to the tables: a query that follows sees
// it.
func (r *Recorder) Flush(ctx context.Context) error {
	r.drain.Lock()
	defer r.drain.Unlock()
	err := errors.Join(r.flushActivity(), r.flushOutbox(ctx))
	if settle := r.s.cfg.Settle; settle != nil {
		err = errors.Join(err, settle(ctx))
	}
	return err
}

func (r *Recorder) flushActivity() error {
	r.mu.Lock()
	events, lost := r.activity, r.lost
	r.activity, r.lost = nil, 0
	r.mu.Unlock()
	if lost > 0 {
		r.s.cfg.Log.Warn("the activity log lacks events: they came faster than they could be written", "lost", lost)
	}
	if len(events) == 0 {
		return nil
	}
	b := logstore.NewBatch(logstore.Key{Space: activitySpace, Table: activityTable}, r.s.cfg.Clock.Now())
	for _, e := range events {
		r.s.writeActivity(b, e)
	}
	return r.s.store.Append(b)
}

func (r *Recorder) flushOutbox(ctx context.Context) error {
	for {
		var keys []string
		var events []outboxEvent
		err := r.s.cfg.Store.View(ctx, func(tx store.Tx) error {
			for e, err := range tx.Scan(outboxBucket, store.Range{Limit: outboxPage}) {
				if err != nil {
					return err
				}
				var v outboxEvent
				if err := json.Unmarshal(e.Value, &v); err != nil {
					return fmt.Errorf("event %s: %w", e.Key, err)
				}
				keys, events = append(keys, e.Key), append(events, v)
			}
			return nil
		})
		if err != nil || len(keys) == 0 {
			return err
		}
		if err := r.write(ctx, events); err != nil {
			return err
		}
		// A crash here repeats these events: they are told once or twice, never
		// not at all.
		err = r.s.cfg.Store.Update(ctx, func(tx store.Tx) error {
			for _, k := range keys {
				if err := tx.Delete(outboxBucket, k); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil || len(keys) < outboxPage {
			return err
		}
	}
}

// write adds events to the tables of their workspaces' components.
func (r *Recorder) write(ctx context.Context, events []outboxEvent) error {
	now := r.s.cfg.Clock.Now()
	batches := map[logstore.Key]*logstore.Batch{}
	components := map[string]*Component{}
	for _, e := range events {
		workspace := ""
		switch {
		case e.Job != nil:
			workspace = e.Job.Workspace
		case e.Node != nil:
			workspace, _, _ = cutFold(e.Node.Cluster, "/computes/")
		}
		c, ok := components[workspace]
		if !ok {
			var err error
			c, err = r.s.cfg.Resources.ComponentOf(ctx, workspace)
			if err != nil && !errors.Is(err, ErrNotFound) {
				return err
			}
			components[workspace] = c // nil: nobody wants to know
		}
		rows := e.logs(workspace)
		if tell := r.s.cfg.Tell; tell != nil {
			kept := ""
			if c != nil && c.Workspace != nil {
				kept = c.Workspace.ID
			}
			tell(kept, rows)
		}
		if c == nil {
			continue
		}
		batch := func(table string) *logstore.Batch {
			k := logstore.Key{Space: c.space(), Table: table, Resource: strings.ToLower(workspace)}
			if strings.HasPrefix(table, "App") {
				k.Resource = strings.ToLower(c.ID)
			}
			if batches[k] == nil {
				batches[k] = logstore.NewBatch(k, now)
			}
			return batches[k]
		}
		for _, row := range rows {
			row.write(batch(row.Table))
		}
		if e.Job != nil {
			r.s.writeJob(batch, e.Job)
		}
	}
	all := make([]*logstore.Batch, 0, len(batches))
	for _, b := range batches {
		all = append(all, b)
	}
	return r.s.store.Append(all...)
}

// cutFold is strings.Cut without regard to case.
func cutFold(s, sep string) (before, after string, found bool) {
	i := strings.Index(strings.ToLower(s), strings.ToLower(sep))
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
