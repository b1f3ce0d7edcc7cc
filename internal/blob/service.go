// Package blob is the storage data plane: the Blob service with block, append
// and page blobs, and the service properties of the Queue, Table, File and Data
// Lake endpoints. Bytes stream to files under one directory; what they mean is
// kept in the store, in the same transaction that makes them visible.
package blob

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/azimuth-ml/azimuth/internal/clock"
	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// Errors that the interfaces of storage accounts speak with.
var (
	ErrNoAccount = storage.ErrNoAccount
	ErrBadToken  = storage.ErrBadToken
)

// What the services of a storage account share, under the names that the users
// of this package know.
type (
	// Account is a storage account as far as its data planes need to know it.
	Account = storage.Account
	// Accounts looks storage accounts up.
	Accounts = storage.Accounts
	// Access decides about bearer tokens.
	Access = storage.Access
)

// Config is what a Service needs. All fields but Wall and Logger are required.
type Config struct {
	Store    store.Store
	Clock    clock.Clock
	Accounts Accounts
	Access   Access
	// Dir is the directory of the blob files. It is created if need be.
	Dir string
	// TenantID is the tenant named in bearer challenges.
	TenantID string
	// Wall is the time that clients put on the requests they sign. It differs
	// from Clock once a user has advanced that; a signed request is in time when
	// its date is near either. Nil means that clients follow Clock.
	Wall func() time.Time
	// Logger gets what went wrong inside; nil discards it.
	Logger *slog.Logger
}

// Service is the storage data plane of all accounts. It serves their hosts as
// an http.Handler and the rest of Azimuth through its methods.
type Service struct {
	cfg  Config
	log  *slog.Logger
	eng  *engine
	auth *storage.Authorizer
	ops  *operations
	dfs  *operations
	// patience is how long a client may take over a part of its body.
	patience time.Duration

	stop  context.CancelFunc
	tasks sync.WaitGroup
}

var _ http.Handler = (*Service)(nil)

// Open starts the service on its directory and store. What an earlier process
// left unfinished is cleaned up in the background. Close releases it.
func Open(ctx context.Context, cfg Config) (*Service, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Wall == nil {
		cfg.Wall = cfg.Clock.Now
	}
	disk, err := openFiles(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("open blob service: %w", err)
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	s := &Service{
		cfg:  cfg,
		log:  cfg.Logger,
		eng:  newEngine(cfg.Store, cfg.Clock, disk),
		auth: &storage.Authorizer{Store: cfg.Store, Clock: cfg.Clock, Wall: cfg.Wall, Access: cfg.Access, TenantID: cfg.TenantID},
		ops:  newOperations(),
		dfs:  newDFSOperations(),
		stop: stop,

		patience: patienceTime,
	}
	s.tasks.Go(func() {
		s.eng.reap(background, func(err error) { s.log.Error("blob garbage collection failed", "error", err) })
	})
	s.tasks.Go(func() {
		s.eng.runCopies(background, func(err error) { s.log.Error("blob copy failed", "error", err) })
	})
	s.tasks.Go(func() {
		if n, err := s.eng.sweep(background); err != nil && background.Err() == nil {
			s.log.Error("blob start-up sweep failed", "error", err)
		} else if n > 0 {
			s.log.Info("removed unfinished blob files", "count", n)
		}
	})
	return s, nil
}

// Close stops the background work and waits for it. The store stays open.
func (s *Service) Close() error {
	s.stop()
	s.tasks.Wait()
	return nil
}
