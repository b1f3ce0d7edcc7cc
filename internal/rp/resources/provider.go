// Package resources is the resource provider Microsoft.Resources: resource
// groups, template deployments and their engine, and tags.
package resources

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/seal"
	"github.com/azimuth-ml/azimuth/internal/store"
)

const namespace = "Microsoft.Resources"

// Deps is what the provider needs.
type Deps struct {
	// Sealer encrypts templates and their parameters.
	Sealer arm.Sealer
	// History is how many deployments are kept.
	History History
	// Log takes what no caller is told.
	Log *slog.Logger
}

// Service is the provider with its engine, which carries deployments out. Call
// Resume before serving, and Close in the end.
type Service struct {
	deps   Deps
	kernel *arm.Kernel
	runs   store.Collection[run]
	ops    store.Collection[operation]

	ctx   context.Context
	stop  context.CancelFunc
	tasks sync.WaitGroup

	mu     sync.Mutex
	active map[string]*activity // by lower-case deployment ID
}

// activity is a deployment that is being carried out.
type activity struct {
	uid      string // of the run
	canceled bool
	resumed  bool // a former process began it
	cancel   context.CancelFunc
	over     chan struct{}
}

// New returns the provider. ctx is what deployments run in.
func New(ctx context.Context, deps Deps) *Service {
	s := &Service{deps: deps, runs: runRecords(), ops: operationRecords(), active: map[string]*activity{}}
	s.ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	return s
}

// Provider returns the descriptors of the namespace. The kernel adds what it
// serves itself.
func (s *Service) Provider() *arm.Provider {
	group := resourceGroup()
	group.Actions = []arm.Action{{
		Name: "exportTemplate", Permission: "Microsoft.Resources/subscriptions/resourceGroups/exportTemplate/action", Handle: s.exportGroup,
	}}
	return &arm.Provider{
		Namespace: namespace,
		Types:     []*arm.ResourceType{group, s.deployment(), s.deploymentOperation(), s.tagsType()},
		Actions:   []arm.Action{calculateTemplateHash(), checkResourceName()},
		Bind:      func(k *arm.Kernel) { s.kernel = k },
	}
}

// SealedPlaces is where this package keeps sealed values.
func SealedPlaces() []seal.Place {
	return []seal.Place{seal.In(runBucket, func(r *run) []*[]byte { return []*[]byte{&r.Sealed} })}
}

// Resume takes up the deployments that a former process left under way.
func (s *Service) Resume(ctx context.Context) error {
	var keys []string
	err := s.kernel.Store().View(ctx, func(tx store.Tx) error {
		for r, err := range s.runs.By(tx, "running", store.Range{Prefix: store.Exact("running")}) {
			if err != nil {
				return err
			}
			keys = append(keys, r.ID)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("resume deployments: %w", err)
	}
	for _, id := range keys {
		s.start(id, true)
	}
	return nil
}

// Close stops what is under way; Resume of a later process takes it up.
func (s *Service) Close() error {
	s.stop()
	s.tasks.Wait()
	return nil
}

// log writes an error that no caller is told.
func (s *Service) log(what, id string, err error) {
	if err != nil && !errors.Is(err, store.ErrClosed) && !errors.Is(err, context.Canceled) {
		s.deps.Log.Error(what, "deployment", id, "error", err)
	}
}

// Provider returns resource groups alone, for kernels that deploy no templates.
func Provider() *arm.Provider {
	return &arm.Provider{Namespace: namespace, Types: []*arm.ResourceType{resourceGroup()}}
}
