package server

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"time"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/blob"
	"github.com/azimuth-ml/azimuth/internal/clientenv"
	"github.com/azimuth-ml/azimuth/internal/compute"
	"github.com/azimuth-ml/azimuth/internal/compute/container"
	"github.com/azimuth-ml/azimuth/internal/compute/local"
	"github.com/azimuth-ml/azimuth/internal/diagnostic"
	"github.com/azimuth-ml/azimuth/internal/entra"
	"github.com/azimuth-ml/azimuth/internal/environment"
	"github.com/azimuth-ml/azimuth/internal/fault"
	"github.com/azimuth-ml/azimuth/internal/gateway"
	"github.com/azimuth-ml/azimuth/internal/ml"
	"github.com/azimuth-ml/azimuth/internal/oci"
	"github.com/azimuth-ml/azimuth/internal/preflight"
	"github.com/azimuth-ml/azimuth/internal/rbac"
	"github.com/azimuth-ml/azimuth/internal/rp/resources"
	"github.com/azimuth-ml/azimuth/internal/store"
	"github.com/azimuth-ml/azimuth/internal/telemetry"
	"github.com/azimuth-ml/azimuth/internal/vault"
)

// wire makes every service and ties them together. Services that need each
// other are bound late, through s.
func (s *Server) wire(ctx context.Context) (err error) {
	cfg, log := s.cfg, s.cfg.Log
	if s.faults, err = fault.Open(ctx, s.store, s.clock, log); err != nil {
		return err
	}
	upstream := gateway.UpstreamFromEnv(clientenv.Outer(os.Getenv))
	// First of all: with a wrong key nothing in the home is touched.
	if s.sealer, err = sealHome(cfg.Home, s.store, cfg.SealKey, log).Open(ctx); err != nil {
		return err
	}
	sealer := s.sealer
	if err := s.openNetworks(ctx, sealer); err != nil {
		return err
	}
	if s.dir, err = entra.Open(entra.Config{
		Store: s.store, Clock: s.clock, KeyDir: cfg.Home.CA(), OwnerFile: ownerFile(cfg.Home), Logger: log,
		ManagementURIs: s.ownAudiences(), Wall: time.Now,
		HTTP: &http.Client{Transport: &http.Transport{Proxy: func(r *http.Request) (*url.URL, error) { return upstream(r.URL) }}},
	}); err != nil {
		return err
	}
	if s.owner, err = s.dir.Bootstrap(ctx); err != nil {
		return err
	}
	if s.blobs, err = blob.Open(ctx, blob.Config{
		Store: s.store, Clock: s.clock, Accounts: accounts{s}, Access: blobAccess{s}, Dir: cfg.Home.Blobs(),
		TenantID: s.dir.TenantID(), Wall: time.Now, Logger: log,
	}); err != nil {
		return err
	}
	s.onClose(s.blobs.Close)
	if err := s.openStorage(ctx); err != nil {
		return err
	}
	s.vaults = vault.New(vault.Config{
		Store: s.store, Vaults: vaults{s}, Access: vaultAccess{s}, Sealer: sealer, Clock: s.clock,
		TenantID: s.dir.TenantID(), Log: log,
	})
	if s.registries, err = oci.Open(ctx, oci.Config{
		Store: s.store, Clock: s.clock, Registries: registries{s}, Access: registryAccess{s}, Sealer: sealer,
		Dir: cfg.Home.Path("registries"), Log: log,
	}); err != nil {
		return err
	}
	s.onClose(s.registries.Close)
	s.diagnostics = diagnostic.New(sinks{s}, log)
	if s.telemetry, err = telemetry.Open(telemetry.Config{
		Settle: s.diagnostics.Flush, Tell: s.tellDiagnostics,
		Dir: cfg.Home.Path("telemetry"), Clock: s.clock, Store: s.store, Resources: monitored{s}, Access: telemetryAccess{s},
		TenantID: s.dir.TenantID(), Subscription: entra.DefaultSubscriptionID, Wall: time.Now, Log: log,
	}); err != nil {
		return err
	}
	s.onClose(s.telemetry.Close)
	s.onClose(s.diagnostics.Close)
	engine, images, err := s.containers(ctx)
	if err != nil {
		return err
	}
	if s.runner, err = local.Open(local.Options{
		Dir: cfg.Home.Nodes(), Clock: s.clock, BootDelay: s.bootDelay(), Containers: engine, Log: log,
		Taken: s.interfaceAddresses(func(id string) map[netip.Addr]string { return s.machines.Addresses(id) }),
	}); err != nil {
		return err
	}
	s.onClose(func() error { s.runner.Close(); return nil })

	var runTokens *ml.RunTokens
	if err := s.store.Update(ctx, func(tx store.Tx) (err error) {
		runTokens, err = ml.NewRunTokens(tx, sealer, s.clock)
		return err
	}); err != nil {
		return err
	}
	if s.jobs, err = ml.New(ml.Config{
		Store: s.store, Clock: s.clock, Blobs: s.blobs, Files: s.shares, Accounts: accounts{s},
		Identities: jobIdentities{s}, Tokens: runTokens, Authenticator: s, Authorizer: lateRoles{s},
		Capacity: s.runner.Capacity, BaseEnv: jobBaseEnv(), NodeEnv: s.nodeEnv, Log: log,
		Environments: environment.New(environment.Options{Dir: cfg.Home.Path("environments"), Clock: s.clock, Env: packageEnv(), Log: log}),
		Images:       images,
		Serverless:   serverless{s}, Observer: observer{s}, Network: jobNetwork{s},
	}); err != nil {
		return err
	}
	s.onClose(s.jobs.Close)
	s.manager = compute.NewManager(compute.Config{
		Store: s.store, Clock: s.clock, Runner: s.runner, Workload: s.jobs, Observer: observer{s}, Log: log,
	})
	s.jobs.Attach(s.manager)
	if err := s.openInstances(sealer); err != nil {
		return err
	}

	s.deployments = resources.New(ctx, resources.Deps{Sealer: sealer, History: resources.AzureHistory(), Log: log})
	s.onClose(s.deployments.Close)
	if s.kernel, err = arm.New(arm.Config{
		Store: s.store, Clock: s.clock, Log: log, Authenticator: s,
		Authorizer: func(res *arm.Resources) arm.Authorizer {
			s.roles = rbac.New(s.store, res, s.catalog, s.dir)
			s.roles.OnlyIf(s.assignmentCounts)
			s.checker = preflight.New(s.store, res, s.catalog, s.roles, s.clock.Now)
			return s.roles
		},
		Identities: identities{s.dir}, Sealer: sealer, Providers: s.providers(),
		Subscription: entra.DefaultSubscriptionID, SubscriptionName: SubscriptionName, Tenant: s.dir.TenantID(),
		Realistic: cfg.Realistic, Check: s.strictCheck(), Activity: s.recordActivity,
	}); err != nil {
		return err
	}
	if err := s.grantOwner(ctx); err != nil {
		return err
	}
	s.loadDiagnostics()
	ca, err := gateway.OpenCA(cfg.Home.CA())
	if err != nil {
		return err
	}
	s.ca = ca.CertificatePEM()
	s.gateway, err = gateway.New(gateway.Config{
		CA: ca, Routes: s.routes(), Local: s.local(), Logger: log,
		Upstream: upstream, Admit: s.admitCall,
	})
	return err
}

// containers finds what runs containers, if jobs are to run in some.
func (s *Server) containers(ctx context.Context) (*container.Engine, ml.Images, error) {
	switch s.cfg.Runner {
	case RunnerLocal:
		return nil, nil, nil
	case RunnerContainer:
	default:
		return nil, nil, fmt.Errorf("the runner is %s or %s, not %q", RunnerLocal, RunnerContainer, s.cfg.Runner)
	}
	e, err := container.Find(ctx, os.Environ())
	if err != nil {
		return nil, nil, fmt.Errorf("--runner %s: %w", RunnerContainer, err)
	}
	s.cfg.Log.Info("jobs run in containers", "engine", e.String(), "flags", e.Flags, "limits", e.Limited)
	return e, jobImages{s, container.NewImages(e)}, nil
}

// strictCheck is the kernel's Check for --strict.
func (s *Server) strictCheck() func(context.Context, *arm.Put) error {
	if !s.cfg.Strict {
		return nil
	}
	return func(ctx context.Context, p *arm.Put) error { return s.checker.Refuse(ctx, p) }
}

// nodeBoot is how long a node takes to come up with --realistic. Azure
// publishes no figure: this is Azimuth's own guess, a few minutes.
const nodeBoot = 4 * time.Minute

func (s *Server) bootDelay() func(string) time.Duration {
	if !s.cfg.Realistic {
		return nil
	}
	return func(string) time.Duration { return nodeBoot }
}

// ownerAssignment is the name of the role assignment that grantOwner makes. It is
// fixed, so that there is one however often that runs.
const ownerAssignment = "a21a0000-0000-4000-8000-000000000001"

// roleDelay is how long a role assignment takes to count with --realistic. Azure
// says "up to 10 minutes"; how long it takes most of the time it does not say: this
// is Azimuth's own guess.
const roleDelay = time.Minute

// assignmentCounts reports whether a role assignment has taken effect.
func (s *Server) assignmentCounts(r *arm.Resource) bool {
	delay := s.faults.RoleDelay()
	if s.cfg.Realistic {
		delay = max(delay, roleDelay)
	}
	return delay == 0 || r.Name() == ownerAssignment || !s.clock.Now().Before(r.Created.Add(delay))
}

// grantOwner makes the home's service principal an Owner of the subscription.
func (s *Server) grantOwner(ctx context.Context) error {
	const name = ownerAssignment
	scope := arm.ID{Subscription: entra.DefaultSubscriptionID}
	id := scope.Child(rbac.AssignmentType, name)
	err := s.store.Update(ctx, func(tx store.Tx) error {
		there, err := s.kernel.Resources().Exists(tx, id.Key())
		if err != nil || there {
			return err
		}
		now := s.clock.Now()
		by := arm.Author{Name: s.owner.ClientID, Type: "Application"}
		stamp := arm.Timestamp(now)
		return s.kernel.Resources().Put(tx, &arm.Resource{
			ID: id.String(), UID: name, ETag: name, Created: now, Modified: now, CreatedBy: by, ModifiedBy: by,
			Body: arm.Doc{"properties": map[string]any{
				"roleDefinitionId": scope.Child(rbac.DefinitionType, rbac.OwnerRole).String(),
				"principalId":      s.owner.ObjectID, "principalType": entra.TypeServicePrincipal, "scope": scope.String(),
				"createdOn": stamp, "updatedOn": stamp, "createdBy": s.owner.ObjectID, "updatedBy": s.owner.ObjectID,
			}},
		})
	})
	if err != nil {
		return fmt.Errorf("make the owner: %w", err)
	}
	return nil
}
