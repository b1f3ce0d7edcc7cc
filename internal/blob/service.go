// Package blob is the storage data plane: the Blob service with block and
// append blobs, and the service properties of the Queue, Table, File and Data
// Lake endpoints. Bytes stream to files under one directory; what they mean is
// kept in the store, in the same transaction that makes them visible.
package blob

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/azimuth-ml/azimuth/internal/clock"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// ErrNoAccount is wrapped by Accounts.Account when no storage account has the
// name.
var ErrNoAccount = errors.New("blob: no such storage account")

// ErrBadToken is wrapped by Access.Authorize when the request's bearer token
// does not authenticate anyone. The error's text is told to the client, so it
// must not contain the token.
var ErrBadToken = errors.New("the bearer token was not accepted")

// Account is a storage account as far as its data planes need to know it.
type Account struct {
	// Name is the global name, which is also the first label of its hosts.
	Name string
	// ID is the ARM resource ID, the root of the account's RBAC scopes.
	ID string
	// UID names this instance of the account: an account that is deleted and
	// created again under the same name has another UID and none of the data.
	UID string
	// Kind is ARM's kind, for example StorageV2.
	Kind string
	// SKU is ARM's sku name, for example Standard_LRS.
	SKU string
	// Keys are the two account keys, decoded.
	Keys [2][]byte
	// AllowSharedKey is properties.allowSharedKeyAccess; false refuses account
	// keys and every SAS that is signed with one.
	AllowSharedKey bool
	// AllowPublicAccess is properties.allowBlobPublicAccess.
	AllowPublicAccess bool
	// HTTPSOnly is properties.supportsHttpsTrafficOnly.
	HTTPSOnly bool
	// HNS is properties.isHnsEnabled.
	HNS bool
	// PublicNetwork tells whether the caller's network may reach the account.
	// When it is false every request is refused.
	PublicNetwork bool
	// CreatedAt is when the account was created.
	CreatedAt time.Time
}

// Accounts looks storage accounts up.
type Accounts interface {
	// Account returns the account with the global name, or an error that wraps
	// ErrNoAccount.
	Account(ctx context.Context, name string) (*Account, error)
}

// Access decides about bearer tokens.
type Access interface {
	// Authorize verifies the bearer token of r for the storage audience and
	// returns the object ID of its principal. A token that is not good is an
	// error that wraps ErrBadToken.
	Authorize(ctx context.Context, r *http.Request) (principalID string, err error)
	// Allowed reports whether the principal may do the action, or the data
	// action when data is true, at the scope, an ARM ID.
	Allowed(ctx context.Context, principalID, action string, data bool, scope string) (bool, error)
}

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
	cfg Config
	log *slog.Logger
	eng *engine
	ops *operations
	dfs *operations

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
		ops:  newOperations(),
		dfs:  newDFSOperations(),
		stop: stop,
	}
	s.tasks.Go(func() {
		s.eng.reap(background, func(err error) { s.log.Error("blob garbage collection failed", "error", err) })
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
