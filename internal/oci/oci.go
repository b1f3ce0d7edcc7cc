// Package oci is the data plane of container registries, at {name}.azurecr.io:
// the token exchange, the distribution API with referrers, and the REST API
// (/acr/v1) with attributes of repositories, manifests and tags.
//
// Manifests, error codes and their texts are those of distribution/distribution.
// Bytes stream to files that are named by their digest; what they mean is in the
// store, and changes there in one transaction. Nothing is ever decompressed.
package oci

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"regexp"
	"sync"

	"github.com/azimuth-ml/azimuth/internal/clock"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// ErrNoRegistry is wrapped by Registries.Registry when no registry has the name.
var ErrNoRegistry = errors.New("oci: no such container registry")

// ErrBadCredential is wrapped by Access.Principal and Access.Client when what was
// shown authenticates nobody.
var ErrBadCredential = errors.New("oci: the credential was not accepted")

// Registry is a container registry as far as its data plane needs to know it.
type Registry struct {
	// Name is the global name, ID the ARM resource ID.
	Name, ID string
	// UID names this instance of the registry: one that is deleted and made again
	// has another UID and none of the images.
	UID string
	// Admin is the admin user's name, "" when the admin user is off, and Passwords
	// are the two that it has.
	Admin     string
	Passwords []string
	// AnonymousPull lets anybody pull.
	AnonymousPull bool
	// ManagementTokens says that tokens for Resource Manager are taken in exchange,
	// and not only those for the registry service.
	ManagementTokens bool
	// Refused says that the caller's network may not reach the registry, and Client
	// is the address that the caller is told it has.
	Refused bool
	Client  string
}

// Registries looks registries up.
type Registries interface {
	// Registry returns the registry with the global name in lower case, or an error
	// that wraps ErrNoRegistry.
	Registry(ctx context.Context, name string) (*Registry, error)
}

// Access decides about callers.
type Access interface {
	// Principal returns the object ID that an access token of the tenant speaks for.
	// The token is for the registry service or, when management is set, for Resource
	// Manager. Errors wrap ErrBadCredential.
	Principal(ctx context.Context, token string, management bool) (objectID string, err error)
	// Client returns the object ID of the service principal with a client ID and
	// secret. Errors wrap ErrBadCredential.
	Client(ctx context.Context, id, secret string) (objectID string, err error)
	// Allowed reports whether a principal that exists may do an action at a scope, an
	// ARM ID.
	Allowed(ctx context.Context, objectID, action, scope string) (bool, error)
}

// Sealer encrypts what is kept.
type Sealer interface {
	Seal(plain []byte) ([]byte, error)
	Open(sealed []byte) ([]byte, error)
}

// Config is what a Service needs. All fields are required.
type Config struct {
	Store      store.Store
	Registries Registries
	Access     Access
	Sealer     Sealer
	Clock      clock.Clock
	// Dir is the directory of the bytes. It is created if need be.
	Dir string
	Log *slog.Logger
}

// Service serves all registries as an http.Handler and lets the rest of Azimuth
// read images through its methods. It is safe for concurrent use.
type Service struct {
	cfg        Config
	tables     tables
	files      *files
	tokens     *tokens
	operations []operation

	repoName, tagName, uploadName *regexp.Regexp

	uploads uploadSet
	held    digestLocks

	wake  chan struct{}
	stop  context.CancelFunc
	tasks sync.WaitGroup
}

// Suffix is what the host names of registries end with.
const Suffix = ".azurecr.io"

// Open starts the service on its directory and store. What an earlier process left
// unfinished is cleaned up in the background. Close releases it.
func Open(ctx context.Context, cfg Config) (*Service, error) {
	s := &Service{
		cfg: cfg, tables: newTables(), operations: operations(), wake: make(chan struct{}, 1),
		// https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests
		repoName: regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`),
		tagName:  regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`),
		// as newUpload makes them
		uploadName: regexp.MustCompile(`^[A-Z2-7]{26}$`),
		uploads:    uploadSet{open: map[string]*session{}},
	}
	var err error
	if s.files, err = openFiles(cfg.Dir); err != nil {
		return nil, err
	}
	err = cfg.Store.Update(ctx, func(tx store.Tx) (err error) {
		s.tokens, err = newTokens(tx, cfg.Sealer, cfg.Clock)
		return err
	})
	if err != nil {
		return nil, err
	}
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	s.tasks.Go(func() { s.collect(work) })
	return s, nil
}

// Close ends the service's background work.
func (s *Service) Close() error {
	s.stop()
	s.tasks.Wait()
	return nil
}

// ServeHTTP implements http.Handler.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if err := s.serve(w, r); err != nil {
		s.writeError(w, r, err)
	}
}
