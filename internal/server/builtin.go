package server

import (
	"net/http"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/entra"
	"github.com/azimuth-ml/azimuth/internal/gateway"
	"github.com/azimuth-ml/azimuth/internal/instance"
	"github.com/azimuth-ml/azimuth/internal/ml"
	"github.com/azimuth-ml/azimuth/internal/oci"
	"github.com/azimuth-ml/azimuth/internal/rp/authorization"
	rpcompute "github.com/azimuth-ml/azimuth/internal/rp/compute"
	"github.com/azimuth-ml/azimuth/internal/rp/containerregistry"
	"github.com/azimuth-ml/azimuth/internal/rp/insights"
	"github.com/azimuth-ml/azimuth/internal/rp/keyvault"
	"github.com/azimuth-ml/azimuth/internal/rp/machinelearning"
	"github.com/azimuth-ml/azimuth/internal/rp/managedidentity"
	"github.com/azimuth-ml/azimuth/internal/rp/network"
	"github.com/azimuth-ml/azimuth/internal/rp/operationalinsights"
	"github.com/azimuth-ml/azimuth/internal/rp/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
	"github.com/azimuth-ml/azimuth/internal/telemetry"
)

// providers is every resource provider there is.
func (s *Server) providers() []*arm.Provider {
	return append([]*arm.Provider{
		arm.Core(),
		s.deployments.Provider(),
		authorization.Provider(authorization.Deps{
			Directory: principals{s.dir}, Roles: func() authorization.Roles { return s.roles },
		}),
		storage.Provider(storage.Deps{Containers: accountData{containers{s}}, Queues: queues{s}, Tables: tables{s}, Shares: shares{s}, KeepShares: s.shares.SetRetentionIn, Revoke: s.blobs.RevokeUserDelegationKeys}),
		keyvault.Provider(keyvault.Deps{Contents: s.vaults, Secrets: vaultSecrets{s}, HoldNames: s.cfg.Strict || s.cfg.Realistic}),
		insights.Provider(insights.Deps{Removed: s.forgetTelemetry, Activities: s.activities, SettingsChanged: s.loadDiagnostics}),
		operationalinsights.Provider(operationalinsights.Deps{Removed: s.forgetTelemetry, Tables: s.logTables}),
		containerregistry.Provider(containerregistry.Deps{Contents: s.registries}),
		managedidentity.Provider(identities{s.dir}),
		network.Provider(network.Deps{Users: s.subnetUsers, Addresses: s.nodeAddresses}),
		machinelearning.Provider(machinelearning.Deps{
			Catalog: s.catalog, Pools: pools{s}, Instances: instances{s}, Lifecycle: s.jobs, HoldNames: s.cfg.Strict || s.cfg.Realistic,
		}),
		ml.Provider(s.jobs),
		rpcompute.Provider(s.catalog),
	}, network.PrivateLinks(func(tx store.Tx, connection *arm.Resource) error {
		return machinelearning.ConnectionChanged(tx, s.kernel.Resources(), connection)
	})...)
}

// routes is every host that the gateway serves.
func (s *Server) routes() []gateway.Route {
	routes := []gateway.Route{
		{Pattern: arm.Host, Handler: s.kernel, Correlate: true},
		{Pattern: entra.GraphHost, Handler: s.dir.GraphHandler()},
		{Pattern: entra.IMDSHost, Handler: s.dir.IMDSHandler()},
		{Pattern: "*.api.azureml.ms", Handler: s.jobs},
		{Pattern: "*.instances.azureml.ms", Handler: s.instances},
		{Pattern: "*.azureml.net", Handler: s.instances},
		{Pattern: "*.vault.azure.net", Handler: s.logged(s.vaults, vaultLog)},
		{Pattern: "*" + oci.Suffix, Handler: s.logged(s.registries, registryLog)},
		{Pattern: strings.TrimPrefix(oci.Suffix, "."), Handler: s.registries},
		{Pattern: AdminHost, Handler: s.adminHandler()},
	}
	for _, h := range entra.LoginHosts() {
		routes = append(routes, gateway.Route{Pattern: h, Handler: s.dir.LoginHandler()})
	}
	for service, h := range map[string]http.Handler{"blob": s.blobs, "dfs": s.blobs, "web": s.blobs, "queue": s.queues, "table": s.tables, "file": s.shares} {
		routes = append(routes, gateway.Route{Pattern: "*." + service + ".core.windows.net", Handler: s.logged(h, storageLog)})
	}
	for _, h := range telemetry.Hosts() {
		routes = append(routes, gateway.Route{Pattern: h, Handler: s.telemetry})
	}
	// Data planes that are not here yet: answered here all the same, so that
	// nothing meant for this cloud reaches the real one.
	for _, domain := range []string{
		"azureml.ms", "notebooks.azure.net", "ml.azure.com", "graph.windows.net",
		"applicationinsights.azure.com", "applicationinsights.io", "services.visualstudio.com", "monitor.azure.com", "loganalytics.io",
		"loganalytics.azure.com", "opinsights.azure.com", "applicationinsights.microsoft.com",
	} {
		routes = append(routes, gateway.Route{Pattern: domain, Handler: s.uncovered()}, gateway.Route{Pattern: "*." + domain, Handler: s.uncovered()})
	}
	for i := range routes {
		if routes[i].Pattern != AdminHost { // where faults are removed
			routes[i].Handler = s.networked(s.faults.Handler(routes[i].Handler))
		}
	}
	return routes
}

// uncovered answers for hosts that Azimuth knows and does not implement.
func (s *Server) uncovered() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arm.WriteError(w, r, s.cfg.Log, arm.NotImplemented("%s at %s", r.Method, r.Host))
	})
}

// local serves what is asked of the port itself: the token endpoint of jobs,
// compute instances to browsers that do not know this proxy and,
// over TLS, a cloud's management and login endpoints at once, told apart by their
// paths, for clients that are given a metadata_host.
//
// Of those, no path is put in order by a redirect, as http.ServeMux does: clients
// join "https://HOST/", which the cloud's description names, and "/subscriptions".
func (s *Server) local() http.Handler {
	mux := http.NewServeMux()
	mux.Handle(entra.MSIPath, s.dir.MSIHandler())
	mux.Handle(instance.LocalPath, s.instances.Local())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil || r.URL.Path == entra.MSIPath || strings.HasPrefix(r.URL.Path, instance.LocalPath) {
			mux.ServeHTTP(w, r)
			return
		}
		s.serveDirect(w, r)
	})
}

func (s *Server) serveDirect(w http.ResponseWriter, r *http.Request) {
	first, _, _ := strings.Cut(strings.TrimLeft(r.URL.Path, "/"), "/")
	switch strings.ToLower(first) {
	case "subscriptions", "providers", "metadata", "tenants":
		s.kernel.ServeHTTP(w, r)
	default:
		s.dir.LoginHandler().ServeHTTP(w, r)
	}
}
