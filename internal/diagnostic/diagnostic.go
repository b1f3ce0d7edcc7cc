// Package diagnostic takes what resources log to where their diagnostic settings
// say: to tables of Log Analytics workspaces, and to blobs of storage accounts. It
// knows no resource. What logs describes each event as an Entry; the destinations
// are Sinks.
package diagnostic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxQueue is how many events may wait. What is more is lost, and said so:
	// Azure's resource logs promise no more.
	maxQueue = 16384
	// gather is how long events are gathered before they are written, on the
	// machine's clock: one write serves them all.
	gather = 100 * time.Millisecond
)

// ErrGone is wrapped by the errors of Sinks for a destination that is not there
// any more. What is for it is dropped.
var ErrGone = errors.New("diagnostic: the destination is gone")

// Setting is one diagnostic setting, as far as it has anything sent.
type Setting struct {
	// Resource is the ARM ID of what logs.
	Resource string
	// Hosts are the names at which clients reach it, if it has a data plane.
	Hosts []string
	// Workspace and Account are the ARM IDs of the destinations, or "".
	Workspace, Account string
	// Dedicated asks for tables of the resource type's own where it can also log
	// to AzureDiagnostics.
	Dedicated bool
	// Categories are those that are sent.
	Categories []string
}

// Row is an event in a table of a workspace.
type Row struct {
	Table string
	At    time.Time
	// Resource is the ARM ID of what logged.
	Resource string
	// Columns has strings, int64, float64, bool, time.Time, and json.RawMessage
	// for dynamic columns.
	Columns map[string]any
}

// Entry is an event that a resource logs. Its methods are called later, by another
// goroutine.
type Entry interface {
	// Document is the event as a line of a blob, less time, resourceId and category.
	Document() map[string]any
	// Row is the table and the columns of the event, less the time. The table is ""
	// for what a workspace has by itself.
	Row(dedicated bool) (table string, columns map[string]any)
}

// Event is an Entry with what every one has.
type Event struct {
	// Resource is the ARM ID of what logs, Category one of its categories.
	Resource, Category string
	At                 time.Time
	Entry              Entry
	// Except is the ARM ID of a workspace that has the event already, or "".
	Except string
}

// Sinks is where events go.
type Sinks interface {
	// ToWorkspace adds rows to tables of a workspace.
	ToWorkspace(ctx context.Context, workspace string, rows []Row) error
	// ToAccount appends lines to an append blob of a storage account.
	ToAccount(ctx context.Context, account, container, blob string, lines []byte) error
}

// plan is the settings in the form in which they are asked for.
type plan struct {
	settings map[string][]Setting // by lower-cased resource
	hosts    map[string]string    // → resource
}

// Router takes events to their destinations. Its zero value is not usable.
type Router struct {
	sinks Sinks
	log   *slog.Logger
	plan  atomic.Pointer[plan]

	mu    sync.Mutex
	queue []Event
	lost  int

	drain sync.Mutex // held while events are written
	wake  chan struct{}
	stop  chan struct{}
	done  sync.WaitGroup
}

// New returns a Router without settings. Call Start once the sinks can be used.
func New(sinks Sinks, log *slog.Logger) *Router {
	return &Router{sinks: sinks, log: log, wake: make(chan struct{}, 1), stop: make(chan struct{})}
}

// Load replaces the settings.
func (r *Router) Load(settings []Setting) {
	if len(settings) == 0 {
		r.plan.Store(nil)
		return
	}
	p := &plan{settings: map[string][]Setting{}, hosts: map[string]string{}}
	for _, s := range settings {
		key := strings.ToLower(s.Resource)
		p.settings[key] = append(p.settings[key], s)
		for _, h := range s.Hosts {
			p.hosts[strings.ToLower(h)] = s.Resource
		}
	}
	r.plan.Store(p)
}

// ResourceAt returns the ARM ID of the resource at a host if it has a setting, or
// "". Where nothing has one it costs next to nothing.
func (r *Router) ResourceAt(host string) string {
	p := r.plan.Load()
	if p == nil {
		return ""
	}
	host, _, _ = strings.Cut(host, ":")
	if id, ok := p.hosts[host]; ok {
		return id
	}
	return p.hosts[strings.ToLower(host)]
}

// Wants reports whether a setting sends a category of a resource somewhere.
func (r *Router) Wants(resource, category string) bool {
	p := r.plan.Load()
	return p != nil && slices.ContainsFunc(p.settings[strings.ToLower(resource)], func(s Setting) bool { return s.sends(category) })
}

func (s *Setting) sends(category string) bool { return slices.Contains(s.Categories, category) }

// Emit takes an event, if any setting wants it. It does not block.
func (r *Router) Emit(e Event) {
	if !r.Wants(e.Resource, e.Category) {
		return
	}
	r.mu.Lock()
	if len(r.queue) < maxQueue {
		r.queue = append(r.queue, e)
	} else {
		r.lost++
	}
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Start begins to write events.
func (r *Router) Start() { r.done.Go(r.run) }

// Close writes what waits, and ends.
func (r *Router) Close() error {
	close(r.stop)
	r.done.Wait()
	return r.Flush(context.Background())
}

func (r *Router) run() {
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
			r.log.Warn("write resource logs", "error", err)
		}
	}
}

// blobAt is a blob of an account.
type blobAt struct{ account, container, blob string }

// Flush writes all events that were emitted. What a destination does not take is
// lost.
func (r *Router) Flush(ctx context.Context) error {
	r.drain.Lock()
	defer r.drain.Unlock()
	r.mu.Lock()
	events, lost := r.queue, r.lost
	r.queue, r.lost = nil, 0
	r.mu.Unlock()
	if lost > 0 {
		r.log.Warn("resource logs lack events: they came faster than they could be written", "lost", lost)
	}
	p := r.plan.Load()
	if len(events) == 0 || p == nil {
		return nil
	}
	rows := map[string][]Row{}
	blobs := map[blobAt]*bytes.Buffer{}
	var failed error
	for _, e := range events {
		var line []byte
		for _, s := range p.settings[strings.ToLower(e.Resource)] {
			if !s.sends(e.Category) {
				continue
			}
			if s.Workspace != "" && !strings.EqualFold(s.Workspace, e.Except) {
				if table, columns := e.Entry.Row(s.Dedicated); table != "" {
					rows[s.Workspace] = append(rows[s.Workspace], Row{Table: table, At: e.At, Resource: e.Resource, Columns: columns})
				}
			}
			if s.Account == "" {
				continue
			}
			if line == nil {
				var err error
				if line, err = e.line(); err != nil {
					failed = errors.Join(failed, err)
					break
				}
			}
			container, blob := place(&e)
			at := blobAt{s.Account, container, blob}
			if blobs[at] == nil {
				blobs[at] = &bytes.Buffer{}
			}
			blobs[at].Write(line)
		}
	}
	for workspace, list := range rows {
		failed = errors.Join(failed, outcome(workspace, r.sinks.ToWorkspace(ctx, workspace, list)))
	}
	for at, b := range blobs {
		failed = errors.Join(failed, outcome(at.account, r.sinks.ToAccount(ctx, at.account, at.container, at.blob, b.Bytes())))
	}
	return failed
}

func outcome(to string, err error) error {
	if err == nil || errors.Is(err, ErrGone) {
		return nil
	}
	return fmt.Errorf("send resource logs to %s: %w", to, err)
}

// line is an event as it stands in a blob: one line of JSON.
func (e *Event) line() ([]byte, error) {
	doc := e.Entry.Document()
	doc["time"] = e.At.UTC().Format("2006-01-02T15:04:05.0000000Z")
	doc["resourceId"] = strings.ToUpper(e.Resource)
	doc["category"] = e.Category
	b, err := json.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("encode a log of %s: %w", e.Resource, err)
	}
	return append(b, '\n'), nil
}

// place is the container and the blob of an event, one blob for each hour:
// https://learn.microsoft.com/azure/azure-monitor/platform/resource-logs#send-to-azure-storage
// The activity log has a container for all of its categories.
func place(e *Event) (container, blob string) {
	container = "insights-logs-" + strings.ToLower(e.Category)
	if len(strings.Split(strings.Trim(e.Resource, "/"), "/")) == 2 {
		container = "insights-activity-logs"
	}
	at := e.At.UTC()
	return container, fmt.Sprintf("resourceId=%s/y=%04d/m=%02d/d=%02d/h=%02d/m=00/PT1H.json",
		strings.ToUpper(e.Resource), at.Year(), at.Month(), at.Day(), at.Hour())
}
