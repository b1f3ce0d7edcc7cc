// Package server is the composition root: it opens a home, wires every service
// to the kernel, the store and each other, and serves them on one port.
package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/blob"
	"github.com/azimuth-ml/azimuth/internal/catalog"
	"github.com/azimuth-ml/azimuth/internal/clock"
	"github.com/azimuth-ml/azimuth/internal/compute"
	"github.com/azimuth-ml/azimuth/internal/compute/local"
	"github.com/azimuth-ml/azimuth/internal/diagnostic"
	"github.com/azimuth-ml/azimuth/internal/entra"
	"github.com/azimuth-ml/azimuth/internal/fault"
	"github.com/azimuth-ml/azimuth/internal/files"
	"github.com/azimuth-ml/azimuth/internal/fileshare"
	"github.com/azimuth-ml/azimuth/internal/gateway"
	"github.com/azimuth-ml/azimuth/internal/home"
	"github.com/azimuth-ml/azimuth/internal/instance"
	"github.com/azimuth-ml/azimuth/internal/ml"
	"github.com/azimuth-ml/azimuth/internal/oci"
	"github.com/azimuth-ml/azimuth/internal/preflight"
	"github.com/azimuth-ml/azimuth/internal/queue"
	"github.com/azimuth-ml/azimuth/internal/rbac"
	"github.com/azimuth-ml/azimuth/internal/rp/resources"
	"github.com/azimuth-ml/azimuth/internal/seal"
	"github.com/azimuth-ml/azimuth/internal/store/sqlite"
	"github.com/azimuth-ml/azimuth/internal/table"
	"github.com/azimuth-ml/azimuth/internal/telemetry"
	"github.com/azimuth-ml/azimuth/internal/vault"
)

// Config says how to run a server.
type Config struct {
	// Home is where everything is kept. It must have been made.
	Home home.Dir
	// Listen is the host:port to serve on. It must be a loopback address.
	Listen string
	// Strict refuses what Azure refuses at create.
	Strict bool
	// Realistic takes as long as Azure does.
	Realistic bool
	// Runner is what jobs run in: RunnerLocal, the default, or RunnerContainer.
	Runner string
	// SealKey is the home's key when whoever runs it keeps it; nil is the home's own.
	SealKey seal.Key
	// Version is this build's.
	Version string
	Log     *slog.Logger
}

// What jobs run in.
const (
	RunnerLocal     = "local"     // processes of this machine
	RunnerContainer = "container" // containers of podman or docker
)

// Server is an open home. Close releases it.
type Server struct {
	cfg      Config
	listener net.Listener
	closers  []func() error

	store   *sqlite.Store
	clock   *clock.Adjustable
	dir     *entra.Directory
	kernel  *arm.Kernel
	sealer  *seal.Sealer
	roles   *rbac.Authorizer
	faults  *fault.Faults
	checker *preflight.Checker
	blobs   *blob.Service
	queues  *queue.Service
	tables  *table.Service
	shares  *files.Service
	vaults  *vault.Service
	// telemetry is Application Insights and Log Analytics.
	telemetry *telemetry.Service
	// diagnostics takes what resources log to where their settings say.
	diagnostics *diagnostic.Router
	// loading is held while diagnostic settings are read.
	loading sync.Mutex
	// registries are the container registries' data plane.
	registries *oci.Service
	runner     *local.Runner
	manager    *compute.Manager
	jobs       *ml.Service

	files     *fileshare.Shares
	machines  *local.Runner // of compute instances
	instances *instance.Service

	// deployments are those of templates.
	deployments *resources.Service

	ca      []byte
	catalog *catalog.Catalog
	gateway *gateway.Gateway
	owner   entra.Credentials

	networks networks

	trustOnce sync.Once
	trustEnv  []string
}

// Open takes the home and the port, and makes everything ready to serve. Its
// error wraps home.ErrLocked when a server holds the home and syscall.EADDRINUSE
// when the port is taken; nothing was changed then.
func Open(ctx context.Context, cfg Config) (s *Server, err error) {
	if err := checkListen(cfg.Listen); err != nil {
		return nil, err
	}
	if cfg.Runner == "" {
		cfg.Runner = RunnerLocal
	}
	s = &Server{cfg: cfg}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
			s = nil
		}
	}()
	unlock, err := cfg.Home.Lock()
	if err != nil {
		return s, err
	}
	s.onClose(func() error { unlock(); return nil })
	if s.listener, err = net.Listen("tcp", cfg.Listen); err != nil {
		return s, fmt.Errorf("listen: %w", err)
	}
	l := s.listener
	s.onClose(func() error {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	})
	if s.catalog, err = catalog.Load(); err != nil {
		return s, err
	}
	if s.store, err = sqlite.Open(ctx, cfg.Home.Database()); err != nil {
		return s, err
	}
	s.onClose(s.store.Close)
	offset, err := loadOffset(ctx, s.store)
	if err != nil {
		return s, err
	}
	s.clock = clock.NewAdjustable(offset)
	if err := s.wire(ctx); err != nil {
		return s, err
	}
	return s, nil
}

// checkListen refuses addresses that other machines could reach: there is no
// TLS configuration or user management for them yet.
func checkListen(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("--listen %s: want HOST:PORT, such as 127.0.0.1:4443: %w", address, err)
	}
	if host == "localhost" {
		return nil
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return fmt.Errorf("--listen %s: azimuth listens on loopback only (127.0.0.1, [::1] or localhost)", address)
	}
	return nil
}

func (s *Server) onClose(f func() error) { s.closers = append(s.closers, f) }

// Close releases what Open took, last first. Jobs go on.
func (s *Server) Close() error {
	var errs []error
	for i := len(s.closers) - 1; i >= 0; i-- {
		errs = append(errs, s.closers[i]())
	}
	s.closers = nil
	return errors.Join(errs...)
}

// Serve serves until ctx ends. ready is called once with the address, when
// requests are answered.
func (s *Server) Serve(ctx context.Context, ready func(address string)) error {
	address := s.listener.Addr().String()
	if err := s.kernel.Resume(ctx); err != nil {
		return err
	}
	if err := s.deployments.Resume(ctx); err != nil {
		return err
	}
	if err := s.reclaimFiles(ctx); err != nil {
		return err
	}
	if err := s.purgeOver(ctx); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.gateway.Serve(ctx, s.listener) })
	g.Go(func() error { return s.manager.Run(ctx) })
	g.Go(func() error { return s.instances.Run(ctx) })
	s.jobs.Start()
	s.telemetry.Start()
	s.diagnostics.Start()
	if err := s.cfg.Home.WriteServer(home.Server{
		PID: os.Getpid(), Address: address, Version: s.cfg.Version, Started: time.Now().UTC(), Strict: s.cfg.Strict, Runner: s.cfg.Runner,
	}); err != nil {
		return err
	}
	ready(address)
	err := g.Wait()
	if err != nil && ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// Owner is the service principal that `azimuth env` hands out.
type Owner struct {
	entra.Credentials
	SubscriptionID string `json:"subscriptionId"`
}

func ownerFile(d home.Dir) string { return d.Path("owner.json") }

// ReadOwner reads the owner's credentials of a home that a server has opened.
func ReadOwner(d home.Dir) (Owner, error) {
	c, err := entra.LoadCredentials(ownerFile(d))
	if errors.Is(err, fs.ErrNotExist) {
		return Owner{}, fmt.Errorf("home %s has no credentials yet: start a server for it: %w", d, err)
	}
	return Owner{Credentials: c, SubscriptionID: entra.DefaultSubscriptionID}, err
}

// CACertificate is the file of the home's CA certificate, PEM.
func CACertificate(d home.Dir) string { return filepath.Join(d.CA(), gateway.CACertFile) }

// HomeEntries is what `azimuth reset` removes from a home: all of it but the
// programs under tools/.
func HomeEntries() []string {
	return []string{
		"azimuth.db", "azimuth.db-wal", "azimuth.db-shm", "seal.key", "seal.key.new", "owner.json",
		"ca", "blobs", "registries", "nodes", "instances", "files", "stacks", "client", "environments", "telemetry", "run",
	}
}

// SubscriptionName is the display name of the one subscription.
const SubscriptionName = "Azimuth"
