package server

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/blob"
	"github.com/azimuth-ml/azimuth/internal/entra"
	"github.com/azimuth-ml/azimuth/internal/files"
	"github.com/azimuth-ml/azimuth/internal/ml"
	"github.com/azimuth-ml/azimuth/internal/oci"
	"github.com/azimuth-ml/azimuth/internal/queue"
	"github.com/azimuth-ml/azimuth/internal/route"
	"github.com/azimuth-ml/azimuth/internal/table"
	"github.com/azimuth-ml/azimuth/internal/telemetry"
	"github.com/azimuth-ml/azimuth/internal/vault"
)

// request makes one request of what a host serves, over TLS.
func (s *Server) request(host string, r route.Route, token string) *httptest.ResponseRecorder {
	body := r.Body
	switch r.Method {
	case http.MethodPut, http.MethodPatch, http.MethodPost, "MERGE":
		if body == "" {
			body = "{}"
		}
	}
	req := httptest.NewRequest(r.Method, "https://"+host+r.Target, strings.NewReader(body))
	req.TLS = &tls.ConnectionState{}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Ms-Version", "2023-11-03")
	for name, v := range r.Header {
		req.Header.Set(name, v)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	s.handler(host).ServeHTTP(w, req)
	return w
}

// answers reports whether an answer, or each of those that are in it, has a status.
func answers(w *httptest.ResponseRecorder, status int) bool {
	if w.Code == status {
		return true
	}
	for _, inner := range []string{"HTTP/1.1 ", `"statusCode":`, `"status":`} {
		all := strings.Split(w.Body.String(), inner)
		for _, rest := range all[1:] {
			if !strings.HasPrefix(rest, fmt.Sprint(status)) {
				return false
			}
		}
		if len(all) > 1 {
			return true
		}
	}
	return false
}

// TestEveryDataPlaneIsGuarded asks everything that the data planes serve without a
// token, with one that is none, with that of a principal without roles, and with
// one for another service. What is asked comes from the tables by which they find
// their operations. Compute instances, which are no table, are tested in their own
// package; telemetry is sent with keys, as in Azure, unless a component says no.
func TestEveryDataPlaneIsGuarded(t *testing.T) {
	s := open(t)
	s.own(t, "PUT", group+"?api-version=2021-04-01", `{"location":"westeurope"}`)
	s.own(t, "PUT", oneStore+"?api-version=2023-05-01", `{"location":"westeurope","kind":"StorageV2","sku":{"name":"Standard_LRS"},"properties":{}}`)
	s.own(t, "PUT", group+"/providers/Microsoft.Storage/storageAccounts/sttree001?api-version=2023-05-01",
		`{"location":"westeurope","kind":"StorageV2","sku":{"name":"Standard_LRS"},"properties":{"isHnsEnabled":true}}`)
	for name, rbac := range map[string]bool{"kv-roles": true, "kv-policies": false} {
		s.own(t, "PUT", group+"/providers/Microsoft.KeyVault/vaults/"+name+"?api-version=2023-02-01", fmt.Sprintf(
			`{"location":"westeurope","properties":{"tenantId":"%s","enableRbacAuthorization":%t,"sku":{"family":"A","name":"standard"},"accessPolicies":[]}}`, s.dir.TenantID(), rbac))
	}
	s.own(t, "PUT", group+"/providers/Microsoft.ContainerRegistry/registries/crone?api-version=2023-07-01", `{"location":"westeurope","sku":{"name":"Basic"}}`)
	const insights = group + "/providers/Microsoft.Insights/components/appi-one"
	app := s.own(t, "PUT", insights+"?api-version=2020-02-02", `{"location":"westeurope","kind":"web","properties":{"Application_Type":"web","DisableLocalAuth":true}}`)
	logs := s.own(t, "PUT", group+"/providers/Microsoft.OperationalInsights/workspaces/log-one?api-version=2022-10-01", `{"location":"westeurope","properties":{}}`)
	key := app.String("properties.InstrumentationKey")
	const workspace = "/subscriptions/" + entra.DefaultSubscriptionID + group + "/providers/Microsoft.MachineLearningServices/workspaces/mlw-one"

	var admin []route.Route
	s.adminRoutes(func(pattern string, _ func(*http.Request) (any, error)) {
		method, target, _ := strings.Cut(pattern, " ")
		admin = append(admin, route.Route{Operation: pattern, Method: method, Target: strings.NewReplacer("{id}", "one", "{size}", "one").Replace(target)})
	})
	reading, writing := entra.GraphRoutes()
	const graph, queries, monitor = "https://graph.microsoft.com", "https://api.loganalytics.io", "https://monitor.azure.com"
	who := s.stranger(t)
	total := 0
	for _, plane := range []struct {
		host, audience string
		routes         []route.Route
		// atLeast is how many there must be, so that none gets lost.
		atLeast int
		// anonymous and refused are what who has no token and no role is told.
		anonymous, refused int
	}{
		{"stone001.blob.core.windows.net", audienceStorage, blob.Routes(), 50, 401, 403},
		{"sttree001.blob.core.windows.net", audienceStorage, blob.Routes(), 50, 401, 403},
		{"sttree001.dfs.core.windows.net", audienceStorage, blob.DFSRoutes(), 20, 401, 403},
		{"stone001.queue.core.windows.net", audienceStorage, queue.Routes(), 15, 401, 403},
		{"stone001.table.core.windows.net", audienceStorage, table.Routes(), 15, 401, 403},
		{"stone001.file.core.windows.net", audienceStorage, files.Routes(), 40, 401, 403},
		{"kv-roles.vault.azure.net", audienceVault, vault.Routes(), 60, 401, 403},
		{"kv-policies.vault.azure.net", audienceVault, vault.Routes(), 60, 401, 403},
		// a registry takes tokens of its own: those of the directory are for the exchange
		{"crone" + oci.Suffix, audienceManagement, oci.Routes(), 25, 401, 401},
		{"westeurope.api.azureml.ms", audienceML, ml.Routes(workspace), 55, 401, 403},
		{"api.loganalytics.io", queries, telemetry.LogRoutes(logs.String("properties.customerId"), logs.String("id")), 7, 401, 403},
		{"api.applicationinsights.io", queries, telemetry.AppRoutes(app.String("properties.AppId"), app.String("id")), 6, 401, 403},
		{"westeurope-5.in.applicationinsights.azure.com", monitor, telemetry.TrackRoutes(key), 2, 401, 403},
		{telemetry.OTLPHost, monitor, telemetry.OTLPRoutes(key), 3, 401, 403},
		{AdminHost, audienceManagement, admin, 12, 401, 403},
		{entra.GraphHost, graph, writing, 12, 401, 403},
		{entra.GraphHost, graph, reading, 12, 401, 403},
	} {
		if len(plane.routes) < plane.atLeast {
			t.Errorf("%s: only %d routes", plane.host, len(plane.routes))
		}
		total += len(plane.routes)
		other := audienceVault
		if plane.audience == other {
			other = audienceStorage
		}
		mine, foreign := s.token(t, who, plane.audience), s.token(t, who, other)
		for _, r := range plane.routes {
			what := fmt.Sprintf("%s: %s %s (%s)", plane.host, r.Method, r.Target, r.Operation)
			for how, token := range map[string]string{"no token": "", "garbage": "garbage", "a token for another service": foreign} {
				if w := s.request(plane.host, r, token); !answers(w, plane.anonymous) {
					t.Errorf("%s with %s: %d %s", what, how, w.Code, w.Body)
				}
			}
			w := s.request(plane.host, r, mine)
			if !answers(w, plane.refused) {
				t.Errorf("%s without a role: %d %s", what, w.Code, w.Body)
			}
		}
	}
	t.Logf("%d routes", total)
}
