// Package ml is the part of Azure Machine Learning that runs jobs: the ARM types
// below a workspace for jobs, assets and datastores, the workload that compute
// executes, and the workspace's data plane with run history.
package ml

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/blob"
	"github.com/azimuth-ml/azimuth/internal/clock"
	"github.com/azimuth-ml/azimuth/internal/compute"
	"github.com/azimuth-ml/azimuth/internal/mlflow"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// Names of the ARM types that this package serves or reads.
const (
	Namespace     = "Microsoft.MachineLearningServices"
	typeWorkspace = Namespace + "/workspaces"
	typeCompute   = typeWorkspace + "/computes"
	typeJob       = typeWorkspace + "/jobs"
	typeDatastore = typeWorkspace + "/datastores"
)

// Compute queues and runs items of work. *compute.Manager implements it.
type Compute interface {
	// Submit queues an item in the caller's transaction. Errors:
	// compute.ErrPoolNotFound, *compute.TooManyNodesError, *compute.InvalidError.
	Submit(tx store.Tx, item compute.Item) error
	// CancelIn asks, in the caller's transaction, that an item end. Errors:
	// compute.ErrItemNotFound, compute.ErrItemDone.
	CancelIn(tx store.Tx, itemID string) error
	// ItemStatus says how an item is, or compute.ErrItemNotFound.
	ItemStatus(tx store.Tx, itemID string) (compute.ItemStatus, error)
	// PoolStatus says how a pool is, or compute.ErrPoolNotFound.
	PoolStatus(tx store.Tx, poolID string) (compute.PoolStatus, error)
	// PutPool creates a pool, or changes one in place. Errors: *compute.InvalidError,
	// *compute.QuotaError.
	PutPool(tx store.Tx, p compute.Pool) error
	// DeletePool ends a pool and what runs there. Deleting none is not an error.
	DeletePool(tx store.Tx, poolID string) error
	// Pools returns the pools whose IDs begin with prefix, in their order.
	Pools(tx store.Tx, prefix string) ([]compute.PoolStatus, error)
	// Forget removes the record of an item that is done.
	Forget(tx store.Tx, itemID string) error
}

// Blobs reads and writes the blobs of storage accounts without asking who may:
// this package has decided that. *blob.Service implements it.
type Blobs interface {
	// EnsureContainer makes a private container unless it is there.
	EnsureContainer(ctx context.Context, account, container string) error
	// PutBlob makes a block blob of all of r.
	PutBlob(ctx context.Context, account, container, name string, r io.Reader, h blob.Headers) (*blob.Properties, error)
	// AppendBlob adds p to an append blob, which it makes if need be.
	AppendBlob(ctx context.Context, account, container, name string, p []byte) (*blob.Properties, error)
	// OpenBlob opens a blob for reading.
	OpenBlob(ctx context.Context, account, container, name string) (*blob.Reader, *blob.Properties, error)
	// StatBlob describes a blob.
	StatBlob(ctx context.Context, account, container, name string) (*blob.Properties, error)
	// CheckSAS says whether who holds a shared access signature may read (or write) a
	// path of a container, and with list set may list the container.
	CheckSAS(ctx context.Context, account, container, path, token string, write, list bool) error
	// PublicAccess is what anyone may do in a container: "blob", "container" or "".
	PublicAccess(ctx context.Context, account, container string) (string, error)
	// ListBlobs yields the blobs whose names begin with prefix, in name order.
	ListBlobs(ctx context.Context, account, container, prefix string) iter.Seq2[*blob.Properties, error]
}

// Files reads and writes the files of file shares without asking who may: this
// package has decided that. *files.Service implements it.
type Files interface {
	// EnsureShare makes a share unless it is there.
	EnsureShare(ctx context.Context, account, share string) error
	// OpenFile opens a file for reading. What is not there is an error that wraps
	// fs.ErrNotExist.
	OpenFile(ctx context.Context, account, share, name string) (io.ReadCloser, error)
	// ListFiles yields the paths of the files below a directory.
	ListFiles(ctx context.Context, account, share, dir string) iter.Seq2[string, error]
	// PutFile makes a file of all of r, with the directories that it is in.
	PutFile(ctx context.Context, account, share, name string, r io.Reader) error
}

// Identities lets the processes of a job get tokens for a managed identity.
type Identities interface {
	// Grant returns the environment variables ("KEY=value") with which tokens for
	// the principal can be had until Revoke: MSI_ENDPOINT, MSI_SECRET,
	// IDENTITY_ENDPOINT, IDENTITY_HEADER and DEFAULT_IDENTITY_CLIENT_ID.
	Grant(tx store.Tx, grantID, principalID string) (env []string, err error)
	// SignIn returns the object ID of the service principal whose client ID and secret
	// these are. A refusal is an *arm.Error.
	SignIn(ctx context.Context, tenant, clientID, secret string) (objectID string, err error)
	// Revoke ends a grant. Ending none is not an error.
	Revoke(tx store.Tx, grantID string) error
}

// Tokens makes and verifies the tokens of jobs. *RunTokens implements it.
type Tokens interface {
	// Issue returns a token that speaks for the job until expiry.
	Issue(jobID string, expiry time.Time) (string, error)
	// Verify returns the job that a token speaks for; ok is false for a token
	// that is not one of ours, err is set for one that is not good.
	Verify(token string) (jobID string, ok bool, err error)
}

// Authenticator says who makes a request of the data plane.
type Authenticator interface {
	// AuthenticateML verifies the request's Entra token for one of the audiences
	// of Azure Machine Learning. Its error is an *arm.Error.
	AuthenticateML(ctx context.Context, r *http.Request) (arm.Caller, error)
}

// Authorizer says whether a principal may do something, outside a transaction.
type Authorizer interface {
	// Allowed decides whether the principal holds the action (a data action when
	// data is set) at scope.
	Allowed(ctx context.Context, principalID, action string, data bool, scope string) (bool, error)
}

// Network decides what gets through the networks.
type Network interface {
	// FromNode returns why calls of a node do not reach a host, in a sentence for
	// people, or nil.
	FromNode(ctx context.Context, nodeID, host string) error
	// Admits returns the *arm.Error that a request to a workspace is refused with for
	// where it comes from, or nil. The workspace is named by its workspace ID and the
	// host of its data plane.
	Admits(ctx context.Context, guid, host string) error
}

// Config is what a Service needs. All fields are required but BaseEnv, NodeEnv,
// Network, Ticks and Log.
type Config struct {
	Store         store.Store
	Clock         clock.Clock
	Blobs         Blobs
	Files         Files
	Accounts      blob.Accounts
	Identities    Identities
	Tokens        Tokens
	Authenticator Authenticator
	Authorizer    Authorizer
	// Capacity says what the machine has that runs the jobs.
	Capacity func(ctx context.Context) (compute.Capacity, error)
	// BaseEnv is what every job's environment begins with, such as PATH.
	BaseEnv []string
	// NodeEnv is what a node adds, such as the proxy and the CA bundle that make
	// Azure's names lead here.
	NodeEnv func(nodeID string) []string
	// Network decides what nodes and clients reach; without one, everything.
	Network Network
	// Environments prepares the conda files of environments. Without it, jobs run
	// with what the machine has.
	Environments Environments
	// Serverless is what jobs without a compute get their nodes from. Without it,
	// they are not implemented.
	Serverless Serverless
	// Images brings the images of environments here, in which jobs then run. Without
	// it, jobs are processes of this machine.
	Images Images
	// Observer is told what becomes of jobs; nil tells nobody.
	Observer Observer
	// Ticks starts a ticker in real time, for following logs. It is replaced in
	// tests.
	Ticks func(d time.Duration) (tick <-chan time.Time, stop func())
	Log   *slog.Logger
}

// Service runs the jobs of all workspaces. It is a compute.Workload and the
// http.Handler of the workspaces' data plane.
type Service struct {
	cfg  Config
	log  *slog.Logger
	runs store.Collection[run]

	tracking *mlflow.Service
	compute  Compute
	kernel   *arm.Kernel

	// pipelineLogs is held while the log of a pipeline is written.
	pipelineLogs sync.Mutex

	// deadlines says that the time limits of sweeps have changed.
	deadlines chan struct{}

	tails tails
	stop  context.CancelFunc
	ctx   context.Context // ends with Close
	tasks sync.WaitGroup
}

var (
	_ compute.Workload = (*Service)(nil)
	_ http.Handler     = (*Service)(nil)
)

// New returns a service. Before it is used, Attach must give it the compute
// engine, and a kernel must have been made with its Provider.
func New(cfg Config) (*Service, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.NodeEnv == nil {
		cfg.NodeEnv = func(string) []string { return nil }
	}
	if cfg.Ticks == nil {
		cfg.Ticks = func(d time.Duration) (<-chan time.Time, func()) {
			t := time.NewTicker(d)
			return t.C, t.Stop
		}
	}
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"Store", cfg.Store != nil}, {"Clock", cfg.Clock != nil}, {"Blobs", cfg.Blobs != nil}, {"Files", cfg.Files != nil}, {"Accounts", cfg.Accounts != nil},
		{"Identities", cfg.Identities != nil}, {"Tokens", cfg.Tokens != nil},
		{"Authenticator", cfg.Authenticator != nil}, {"Authorizer", cfg.Authorizer != nil},
		{"Capacity", cfg.Capacity != nil},
	} {
		if !f.set {
			return nil, fmt.Errorf("ml: Config.%s is missing", f.name)
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &Service{deadlines: make(chan struct{}, 1), cfg: cfg, log: cfg.Log, runs: runRecords(), tails: tails{by: map[string]*tail{}}, ctx: ctx, stop: stop}
	s.tracking = mlflow.New(mlflow.Config{Store: cfg.Store, Clock: cfg.Clock, Access: s, Artifacts: artifacts{s}, Models: models{s}, Watch: s.metricsLogged, Log: cfg.Log})
	return s, nil
}

// Attach gives the service the engine that executes its jobs, which in turn was
// made with the service as its workload. Call it once, before anything runs.
func (s *Service) Attach(c Compute) { s.compute = c }

// Tracking is the tracking store of all workspaces, in which every job is a run.
func (s *Service) Tracking() *mlflow.Service { return s.tracking }

// Start takes up in the background what a former process left to clean up, and ends
// sweeps when their time is over.
func (s *Service) Start() {
	s.tasks.Go(s.collect)
	s.tasks.Go(s.keepDeadlines)
}

// Close stops following logs and waits for it. Jobs go on, and Started is called
// again for them by the compute engine of the next process.
func (s *Service) Close() error {
	s.stop()
	s.tails.wait()
	s.tasks.Wait()
	return nil
}

// collect removes what deleted workspaces left.
func (s *Service) collect() {
	if err := s.tracking.Collect(s.ctx); err != nil && s.ctx.Err() == nil && !errors.Is(err, store.ErrClosed) {
		s.log.Error("clean up after deleted workspaces", "error", err)
	}
}

// WorkspaceCreated makes what a new workspace has from the start: its datastores.
// The workspace's provider calls it in its Put hook once p.Resource is complete;
// the workspace's ID (properties.workspaceId) names the containers.
func (s *Service) WorkspaceCreated(ctx context.Context, p *arm.Put) error {
	if err := s.createDatastores(p.Tx, p.Resource, p.Now); err != nil {
		return fmt.Errorf("create datastores of workspace %s: %w", p.Resource.ID, err)
	}
	ws := workspaceOf(p.Resource)
	p.After(func() {
		// A container that cannot be made now is made when it is first needed.
		ctx := context.WithoutCancel(ctx)
		for _, c := range []string{ws.blobContainer(), artifactContainer} {
			if err := s.cfg.Blobs.EnsureContainer(ctx, ws.Account, c); err != nil {
				s.log.Warn("create container of workspace", "workspace", ws.ID, "container", c, "error", err)
			}
		}
	})
	return nil
}

// WorkspaceDeleted forgets what a workspace had. Its jobs and datastores have
// been deleted by the kernel; the data in its storage account stays, as in
// Azure.
func (s *Service) WorkspaceDeleted(ctx context.Context, d *arm.Delete) error {
	if err := s.WorkspaceKept(ctx, d); err != nil {
		return err
	}
	if err := s.tracking.DeleteWorkspace(d.Tx, d.Resource.UID); err != nil {
		return fmt.Errorf("delete runs of workspace %s: %w", d.Resource.ID, err)
	}
	d.After(func() { s.tasks.Go(s.collect) })
	return nil
}

// WorkspaceKept ends what runs in a workspace that can be recovered: its serverless
// compute. What Keeps says is kept, and its runs are.
func (s *Service) WorkspaceKept(_ context.Context, d *arm.Delete) error {
	if err := s.dropServerless(d.Tx, d.Resource.ID); err != nil {
		return fmt.Errorf("end serverless compute of workspace %s: %w", d.Resource.ID, err)
	}
	return nil
}

// Keeps tells whether a resource is kept with a deleted workspace that can be
// recovered: assets, datastores and jobs that have ended.
func (s *Service) Keeps(tx store.Tx, child *arm.Resource) (bool, error) {
	kind, ok := strings.CutPrefix(child.ParsedID().Type(), typeWorkspace+"/")
	if !ok {
		return false, nil
	}
	if kind != "jobs" {
		kind, _, _ = strings.Cut(kind, "/")
		return kind == "datastores" || slices.ContainsFunc(assetKinds(), func(a asset) bool { return a.plural == kind }), nil
	}
	r, err := s.runOf(tx, child)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err != nil || !r.Status.Terminal() || r.Parent == "" {
		return err == nil && r.Status.Terminal(), err
	}
	parent, err := s.runs.Get(tx, r.Parent)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil && parent.Status.Terminal(), err
}

// WorkspacePurged forgets what a kept workspace had.
func (s *Service) WorkspacePurged(tx store.Tx, workspace *arm.Resource, after func(func())) error {
	if err := s.tracking.DeleteWorkspace(tx, workspace.UID); err != nil {
		return fmt.Errorf("delete runs of workspace %s: %w", workspace.ID, err)
	}
	after(func() { s.tasks.Go(s.collect) })
	return nil
}

// Provider is the resource types and operations of the service.
func Provider(s *Service) *arm.Provider {
	p := &arm.Provider{Namespace: Namespace, Bind: func(k *arm.Kernel) { s.kernel = k }}
	p.Types = append(p.Types, s.jobType(), s.datastoreType())
	for _, a := range assetKinds() {
		p.Types = append(p.Types, s.containerType(a), s.versionType(a))
		p.Actions = append(p.Actions, s.pendingUpload(a))
	}
	p.Actions = append(p.Actions, s.cancelResult())
	return p
}
