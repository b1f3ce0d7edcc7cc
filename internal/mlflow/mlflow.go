// Package mlflow keeps MLflow experiments and runs and serves MLflow's tracking
// and model registry REST API 2.0 for the workspaces of Azure Machine Learning. A
// job of a workspace is a run: the job's name is the run's ID. A registered model
// is a model of the workspace.
//
// What is true of requests and answers follows the REST reference of MLflow.
package mlflow

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/clock"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// Limits of one log-batch request and of what it carries, as MLflow's server
// has them.
const (
	maxBatchMetrics = 1000
	maxBatchParams  = 100
	maxBatchTags    = 100
	maxBatchTotal   = 1000
	maxKey          = 250
	maxParamValue   = 6000
	maxTagValue     = 8000
	maxSearch       = 50000 // most results of one search page
	maxBody         = 4 << 20
)

// Statuses of a run.
const (
	StatusRunning   = "RUNNING"
	StatusScheduled = "SCHEDULED"
	StatusFinished  = "FINISHED"
	StatusFailed    = "FAILED"
	StatusKilled    = "KILLED"
)

// Lifecycle stages.
const (
	stageActive  = "active"
	stageDeleted = "deleted"
)

// DefaultExperiment is the name of the experiment that a run without one is in.
// It is Azure Machine Learning's name for it.
const DefaultExperiment = "Default"

// Config is what a Service needs. Log may be nil.
type Config struct {
	Store store.Store
	Clock clock.Clock
	// Access decides about requests.
	Access Access
	// Artifacts is where runs keep their files.
	Artifacts Artifacts
	// Models is where registered models are.
	Models Models
	// Watch is told of the metrics that are logged to a job's run that has something
	// to watch for, in the transaction that logs them. It may be nil.
	Watch func(ctx context.Context, tx store.Tx, watch string, points []Point) error
	Log   *slog.Logger
}

// Point is one value of a metric.
type Point struct {
	Name  string
	Value float64
}

// Service is the tracking store of all workspaces. It is an http.Handler for
// paths that begin with /mlflow/.
type Service struct {
	cfg    Config
	log    *slog.Logger
	runs   store.Collection[run]
	exps   store.Collection[experiment]
	routes map[string]route
	models map[string]route // by method and path
}

// New returns the service.
func New(cfg Config) *Service {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Service{cfg: cfg, log: cfg.Log, runs: runs(), exps: experiments()}
	s.routes, s.models = s.table(), s.registry()
	return s
}

// experiment is how an experiment is stored. Times are in milliseconds since
// 1970, as MLflow has them.
type experiment struct {
	Workspace string            `json:"ws"`
	ID        string            `json:"id"`
	Name      string            `json:"name"`
	Location  string            `json:"location,omitempty"` // artifact location that the client asked for
	Stage     string            `json:"stage"`
	Created   int64             `json:"created"`
	Updated   int64             `json:"updated"`
	Tags      map[string]string `json:"tags,omitempty"`
}

func experiments() store.Collection[experiment] {
	return store.Collection[experiment]{
		Name: "mlflow.experiment",
		Key:  func(e *experiment) string { return e.Workspace + "/" + e.ID },
		Indexes: map[string]func(*experiment) []string{
			// names are unique, deleted experiments included, as in MLflow
			"name": func(e *experiment) []string { return []string{e.Workspace + "/" + e.Name} },
			"time": func(e *experiment) []string { return []string{e.Workspace + "/" + descending(e.Updated)} },
		},
	}
}

// run is how a run is stored, without its metrics, params and tags: those are
// rows of their own, so that logging one costs the same however many there are.
type run struct {
	Workspace  string `json:"ws"`
	ID         string `json:"id"`
	Experiment string `json:"exp"`
	Name       string `json:"name"`
	User       string `json:"user,omitempty"`
	Status     string `json:"status"`
	Stage      string `json:"stage"`
	Start      int64  `json:"start"`
	End        int64  `json:"end,omitempty"`
	Deleted    int64  `json:"deleted,omitempty"`
	// Watch is what a job asked to be told with.
	Watch string `json:"watch,omitempty"`
	// Job is set for the run of a job. Owner is the run whose token made this
	// one, or "".
	Job   bool   `json:"job,omitempty"`
	Owner string `json:"owner,omitempty"`
}

func runs() store.Collection[run] {
	return store.Collection[run]{
		Name: "mlflow.run",
		Key:  func(r *run) string { return runKey(r.Workspace, r.ID) },
		Indexes: map[string]func(*run) []string{
			"experiment": func(r *run) []string {
				return []string{r.Workspace + "/" + r.Experiment + "/" + descending(r.Start)}
			},
		},
	}
}

func runKey(ws, id string) string { return ws + "/" + id }

// Buckets of a run's rows. A key is the run's key, a NUL, the name and, for the
// history, a NUL and the place in it.
const (
	bucketParam  = "mlflow.param"
	bucketTag    = "mlflow.tag"
	bucketLatest = "mlflow.latest"
	bucketMetric = "mlflow.metric"
	bucketInput  = "mlflow.input"
	bucketGone   = "mlflow.gone" // workspaces whose data is to be removed
)

func rowKey(run, name string) string { return run + "\x00" + name }

// ascending writes n so that strings sort as the numbers do.
func ascending(n int64) string {
	s := strconv.FormatUint(uint64(n)^1<<63, 16)
	return strings.Repeat("0", 16-len(s)) + s
}

// descending writes n so that the greatest comes first.
func descending(n int64) string { return ascending(^n) }

func millis(t time.Time) int64 { return t.UnixMilli() }
