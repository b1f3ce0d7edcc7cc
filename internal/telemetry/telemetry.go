// Package telemetry is Azure Monitor as far as machine learning environments use
// it: Application Insights and Log Analytics. It takes in what SDKs and OpenTelemetry
// exporters send, keeps it in logstore, and answers queries about it with kql.
// Jobs, nodes and the control plane write here through a Recorder.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/azimuth-ml/azimuth/internal/clock"
	"github.com/azimuth-ml/azimuth/internal/store"
	"github.com/azimuth-ml/azimuth/internal/telemetry/logstore"
)

// ErrNotFound is wrapped by the methods of Resources when there is no such
// resource.
var ErrNotFound = errors.New("telemetry: no such resource")

// ErrBadToken is wrapped by Access.Authenticate when a bearer token does not
// authenticate anyone. Its text is told to the client.
var ErrBadToken = errors.New("the bearer token was not accepted")

// Component is an Application Insights component.
type Component struct {
	// ID is the ARM resource ID, Name the last part of it, UID names this
	// instance of it.
	ID, Name, UID string
	// InstrumentationKey is who sends, AppID who is queried.
	InstrumentationKey, AppID string
	// Workspace has the component's rows; nil for one that keeps its own.
	Workspace *Workspace
	// RetentionDays is how long rows are kept if the component keeps its own.
	RetentionDays int
	// DailyCap is in bytes; negative means none.
	DailyCap int64
	// SamplingPercentage is how much of what comes in is kept: up to 100.
	SamplingPercentage float64
	// KeepIP keeps the addresses of clients.
	KeepIP bool
	// DisableLocalAuth refuses clients that show an instrumentation key alone.
	DisableLocalAuth bool
	// IngestionOpen and QueryOpen tell whether public networks may reach it.
	IngestionOpen, QueryOpen bool
}

// space is where the component's rows are.
func (c *Component) space() string {
	if c.Workspace != nil {
		return c.Workspace.UID
	}
	return c.UID
}

// Workspace is a Log Analytics workspace.
type Workspace struct {
	// ID is the ARM resource ID, UID names this instance of it, CustomerID is the
	// workspace ID of clients.
	ID, UID, CustomerID string
	// Keys are the shared keys.
	Keys [2][]byte
	// DisableLocalAuth refuses clients that show a shared key.
	DisableLocalAuth bool
	// RetentionDays is how long rows are kept, DailyCap how many bytes may come in
	// a day; negative means any number.
	RetentionDays int
	DailyCap      int64
	// IngestionOpen and QueryOpen tell whether public networks may reach it.
	IngestionOpen, QueryOpen bool
}

// Resources looks resources up. Every error that says there is none wraps
// ErrNotFound.
type Resources interface {
	// ComponentByKey finds a component by its instrumentation key, any casing.
	ComponentByKey(ctx context.Context, instrumentationKey string) (*Component, error)
	// ComponentByApp finds a component by its application ID.
	ComponentByApp(ctx context.Context, appID string) (*Component, error)
	// Component finds a component by its ARM ID.
	Component(ctx context.Context, id string) (*Component, error)
	// WorkspaceByCustomer finds a workspace by the workspace ID of clients.
	WorkspaceByCustomer(ctx context.Context, customerID string) (*Workspace, error)
	// Workspace finds a workspace by its ARM ID.
	Workspace(ctx context.Context, id string) (*Workspace, error)
	// ComponentOf finds the component of a machine learning workspace by the
	// workspace's ARM ID.
	ComponentOf(ctx context.Context, workspaceID string) (*Component, error)
	// Retentions returns the days that the rows of each space there is are kept,
	// by the UIDs of workspaces and components.
	Retentions(ctx context.Context) (map[string]int, error)
}

// Access decides about callers.
type Access interface {
	// Authenticate verifies the bearer token of r for one of the audiences and
	// returns its principal's object ID. A token that is not good is an error that
	// wraps ErrBadToken.
	Authenticate(ctx context.Context, r *http.Request, audiences ...string) (principalID string, err error)
	// Allowed reports whether the principal may do an action, a data action when
	// data is set, at the scope.
	Allowed(ctx context.Context, principalID, action string, data bool, scope string) (bool, error)
}

// Config is what a Service needs. All fields but Settle and Tell are required.
type Config struct {
	// Dir is where rows are kept.
	Dir   string
	Clock clock.Clock
	// Store has what is to be told of jobs and nodes, until it is in the tables.
	Store     store.Store
	Resources Resources
	Access    Access
	// TenantID and Subscription are those of this cloud.
	TenantID, Subscription string
	// Wall is the machine's clock: what clients on this machine stamp their
	// telemetry with, however far the injected clock was advanced.
	Wall func() time.Time
	Log  *slog.Logger
	// Settle, when set, is called before a query is answered: it writes what else
	// there is to write.
	Settle func(ctx context.Context) error
	// Tell, when set, gets what a machine learning workspace logs. In the workspace
	// kept, an ARM ID or "", it is already.
	Tell func(kept string, rows []LogRow)
}

// Service serves all components and workspaces as an http.Handler.
type Service struct {
	cfg    Config
	store  *logstore.Store
	schema *schema
	// parsing bounds how many bodies are in memory at once.
	parsing chan struct{}
	// Recorder takes what Azimuth itself has to tell.
	*Recorder

	houseMu sync.Mutex
	house   clock.Timer
	closed  bool
	// expiring is the first look after what is too old.
	expiring sync.WaitGroup
}

// Open opens what was kept and returns a Service that takes in and answers. Call
// Start for the rest.
func Open(cfg Config) (*Service, error) {
	sc, err := loadSchema()
	if err != nil {
		return nil, fmt.Errorf("open telemetry: %w", err)
	}
	st, err := logstore.Open(logstore.Config{Dir: cfg.Dir, Clock: cfg.Clock, Log: cfg.Log})
	if err != nil {
		return nil, err
	}
	s := &Service{cfg: cfg, store: st, schema: sc, parsing: make(chan struct{}, 4*runtime.GOMAXPROCS(0))}
	s.Recorder = newRecorder(s)
	return s, nil
}

// Start begins what goes on by itself. Call it once, when Resources can be asked.
func (s *Service) Start() {
	s.Recorder.start()
	s.expiring.Go(func() {
		// what was deleted when a server was killed
		if err := s.Expire(context.Background()); err != nil && !errors.Is(err, logstore.ErrClosed) {
			s.cfg.Log.Error("remove old telemetry", "error", err)
		}
	})
	s.keepHouse()
}

// Close ends the Service. Nothing that was acknowledged is lost.
func (s *Service) Close() error {
	s.houseMu.Lock()
	s.closed = true
	if s.house != nil {
		s.house.Stop()
	}
	s.houseMu.Unlock()
	s.Recorder.close()
	s.expiring.Wait()
	return s.store.Close()
}

// Check reads all rows that are in files of their own.
func (s *Service) Check(ctx context.Context) (logstore.Report, error) { return s.store.Verify(ctx) }

// The hosts, as patterns of the gateway.
const (
	// OTLPHost is Azimuth's own name for OTLP over HTTP. Azure takes OTLP at the
	// data collection endpoints of data collection rules, which Azimuth has not.
	OTLPHost = "otlp.azimuth.internal"

	suffixIngestion  = ".in.applicationinsights.azure.com"
	suffixCollector  = ".ods.opinsights.azure.com"
	hostClassic      = "dc.services.visualstudio.com"
	hostClassicAzure = "dc.applicationinsights.azure.com"
	hostClassicOld   = "dc.applicationinsights.microsoft.com"
	hostApps         = "api.applicationinsights.io"
	hostAppsAzure    = "api.applicationinsights.azure.com"
	hostLogs         = "api.loganalytics.io"
	hostLogsAzure    = "api.loganalytics.azure.com"
	hostLogsMonitor  = "api.monitor.azure.com"
)

// Hosts are the hosts that a Service serves, as patterns of the gateway.
func Hosts() []string {
	return []string{
		"*" + suffixIngestion, "*" + suffixCollector, hostClassic, hostClassicAzure, hostClassicOld,
		hostApps, hostAppsAzure, hostLogs, hostLogsAzure, hostLogsMonitor, OTLPHost,
	}
}

// ServeHTTP implements http.Handler.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host, _, _ := strings.Cut(strings.ToLower(r.Host), ":")
	switch {
	case strings.HasSuffix(host, suffixIngestion), host == hostClassic, host == hostClassicAzure, host == hostClassicOld:
		s.serveIngestion(w, r)
	case host == OTLPHost:
		s.serveOTLP(w, r)
	case host == hostApps, host == hostAppsAzure, host == hostLogs, host == hostLogsAzure, host == hostLogsMonitor:
		s.serveQuery(w, r, host == hostApps || host == hostAppsAzure)
	case strings.HasSuffix(host, suffixCollector):
		s.serveCollector(w, r, strings.TrimSuffix(host, suffixCollector))
	default:
		s.notImplemented(w, r)
	}
}
