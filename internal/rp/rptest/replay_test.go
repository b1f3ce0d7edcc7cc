package rptest_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/catalog"
	"github.com/azimuth-ml/azimuth/internal/rp/authorization"
	"github.com/azimuth-ml/azimuth/internal/rp/containerregistry"
	"github.com/azimuth-ml/azimuth/internal/rp/insights"
	"github.com/azimuth-ml/azimuth/internal/rp/keyvault"
	"github.com/azimuth-ml/azimuth/internal/rp/machinelearning"
	"github.com/azimuth-ml/azimuth/internal/rp/managedidentity"
	"github.com/azimuth-ml/azimuth/internal/rp/network"
	"github.com/azimuth-ml/azimuth/internal/rp/operationalinsights"
	"github.com/azimuth-ml/azimuth/internal/rp/resources"
	"github.com/azimuth-ml/azimuth/internal/rp/rptest"
	"github.com/azimuth-ml/azimuth/internal/rp/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// The engines behind the providers hold nothing. What the traffic does not reach
// is not there at all.
type (
	noContainers struct{ storage.Containers }
	noVaults     struct{}
	noPools      struct{ machinelearning.Pools }
	noInstances  struct{ machinelearning.Instances }
	noLifecycle  struct{}
)

func (noContainers) Container(context.Context, store.Tx, string, string) (*storage.Container, error) {
	return nil, nil
}
func (noContainers) ListContainers(context.Context, store.Tx, string, string, int) ([]storage.Container, error) {
	return nil, nil
}
func (noContainers) DeleteAccount(context.Context, store.Tx, string) error { return nil }
func (noContainers) Reclaim()                                              {}
func (noContainers) Retention(context.Context, store.Tx, string) (storage.Retention, error) {
	return storage.Retention{}, nil
}
func (noContainers) SetRetention(context.Context, store.Tx, string, storage.Retention) error {
	return nil
}
func (noContainers) SetLifecycle(context.Context, store.Tx, string, []storage.LifecycleRule) error {
	return nil
}

func (noVaults) DeleteVault(store.Tx, string) error { return nil }

func (noPools) PutPool(store.Tx, machinelearning.Pool) error { return nil }
func (noPools) DeletePool(store.Tx, string) error            { return nil }
func (noPools) PoolStatus(store.Tx, string) (machinelearning.PoolStatus, error) {
	return machinelearning.PoolStatus{}, store.ErrNotFound
}

func (noPools) Quotas(store.Tx) (map[string]int, error)          { return nil, nil }
func (noPools) ServerlessCores(store.Tx) (map[string]int, error) { return nil, nil }

func (noInstances) PutInstance(store.Tx, machinelearning.Instance) error { return nil }
func (noInstances) DeleteInstance(store.Tx, string) error                { return nil }
func (noInstances) InstanceStatus(store.Tx, string) (machinelearning.InstanceStatus, error) {
	return machinelearning.InstanceStatus{}, store.ErrNotFound
}
func (noInstances) AwaitInstance(context.Context, string) {}

func (noLifecycle) WorkspaceCreated(context.Context, *arm.Put) error    { return nil }
func (noLifecycle) WorkspaceDeleted(context.Context, *arm.Delete) error { return nil }
func (noLifecycle) WorkspaceKept(context.Context, *arm.Delete) error    { return nil }
func (noLifecycle) Keeps(store.Tx, *arm.Resource) (bool, error)         { return false, nil }
func (noLifecycle) WorkspacePurged(store.Tx, *arm.Resource, func(func())) error {
	return nil
}

func newAll(t *testing.T) *rptest.Env {
	cat, err := catalog.Load()
	if err != nil {
		t.Fatal(err)
	}
	var e *rptest.Env
	e = rptest.New(t, rptest.Options{RBAC: true},
		resources.Provider(),
		authorization.Provider(authorization.Deps{Directory: &rptest.Directory{}, Roles: func() authorization.Roles { return e.RBAC }}),
		storage.Provider(storage.Deps{Containers: noContainers{}}),
		keyvault.Provider(keyvault.Deps{Contents: noVaults{}, HoldNames: true}),
		insights.Provider(insights.Deps{}), operationalinsights.Provider(operationalinsights.Deps{}), containerregistry.Provider(containerregistry.Deps{}),
		managedidentity.Provider(&rptest.Directory{}),
		network.Provider(network.Deps{Users: func(tx store.Tx, id string) ([]string, error) {
			return machinelearning.InSubnet(tx, e.Kernel.Resources(), id)
		}}),
		machinelearning.Provider(machinelearning.Deps{Catalog: cat, Pools: noPools{}, Instances: noInstances{}, Lifecycle: noLifecycle{}, HoldNames: true}),
	)
	return e
}

type call struct {
	Method, Path string
	Body         json.RawMessage
}

func traffic(t *testing.T, version string) []call {
	b, err := os.ReadFile("testdata/traffic-" + version + ".jsonl")
	if err != nil {
		t.Fatal(err)
	}
	var out []call
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		var c call
		if err := json.Unmarshal(s.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		out = append(out, c)
	}
	return out
}

// TestReplay makes every request that azurerm made to apply and destroy the
// reference stack, in its order, and demands the statuses that azurerm accepts,
// that what was PUT comes back as it was, and that nothing is left.
func TestReplay(t *testing.T) {
	for _, version := range []string{"3.117.1", "5.2.0"} {
		t.Run(version, func(t *testing.T) { replay(t, version) })
	}
}

func replay(t *testing.T, version string) {
	e := newAll(t)
	there := map[string]bool{}
	workspace := rptest.Sub + "/resourceGroups/rg-ml-production/providers/Microsoft.MachineLearningServices/workspaces/mlw-production"
	for i, c := range traffic(t, version) {
		path, _, _ := strings.Cut(c.Path, "?")
		key := strings.ToLower(path)
		want := []int{http.StatusOK}
		var body any
		if len(c.Body) > 0 {
			doc := arm.Doc{}
			if err := json.Unmarshal(c.Body, &doc); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(key, "/roleassignments/") {
				// the recorded principal is that of the recorded workspace
				doc.Set("properties.principalId", rptest.IdentityOf(workspace))
			}
			body = doc
		}
		switch c.Method {
		case http.MethodGet:
			switch {
			case strings.Contains(key, "/roledefinitions"), strings.HasSuffix(key, "/providers"), strings.HasSuffix(key, "/resources"),
				strings.HasSuffix(key, "/default"), strings.HasSuffix(key, "/replications"), strings.HasSuffix(key, "/currentbillingfeatures"),
				strings.HasSuffix(key, "/storageaccounts"):
			case !there[key]:
				want = []int{http.StatusNotFound}
			}
		case http.MethodPut:
			switch {
			case strings.Contains(key, "/roleassignments/"):
				want = []int{http.StatusCreated}
			case !strings.Contains(key, "microsoft.storage/") && !strings.Contains(key, "microsoft.insights/") && !strings.HasSuffix(key, "mlw-production"):
				want = []int{http.StatusOK, http.StatusCreated}
			}
			there[key] = true
		case http.MethodDelete:
			want = []int{http.StatusOK, http.StatusAccepted}
			delete(there, key)
		}
		r := e.Do(c.Method, c.Path, body)
		ok := false
		for _, w := range want {
			ok = ok || r.Status == w
		}
		if !ok {
			t.Fatalf("call %d: %s %s = %d %s, want %v", i, c.Method, c.Path, r.Status, r.Raw, want)
		}
		if c.Method == http.MethodPut {
			got := e.Do(http.MethodGet, c.Path, nil)
			if got.Status != http.StatusOK {
				t.Fatalf("GET after PUT %s = %d %s", c.Path, got.Status, got.Raw)
			}
			for _, d := range drift("", body, map[string]any(got.Body)) {
				t.Errorf("%s: %s", path, d)
			}
			if again := e.Do(http.MethodPut, c.Path, body); again.Status != http.StatusOK && again.Status != http.StatusCreated {
				t.Errorf("PUT again %s = %d %s", c.Path, again.Status, again.Raw)
			}
		}
	}
	if r := e.Want(http.StatusOK, "GET", rptest.Sub+"/resources", nil); len(r.Names()) != 0 {
		t.Errorf("left in the subscription: %v", r.Names())
	}
}

// drift says what of a request's body does not come back. Left out is what
// Azure itself does not return.
func drift(at string, put, got any) []string {
	switch at {
	case ".properties.createMode", ".properties.roleDefinitionId":
		return nil
	}
	if put == "" && got == nil {
		return nil // an empty description of a role assignment
	}
	switch p := put.(type) {
	case nil:
		return nil
	case arm.Doc:
		return drift(at, map[string]any(p), got)
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok && len(p) > 0 {
			return []string{fmt.Sprintf("%s is missing", at)}
		}
		var out []string
		for name, v := range p {
			out = append(out, drift(at+"."+name, v, g[name])...)
		}
		return out
	case []any:
		g, _ := got.([]any)
		if len(g) != len(p) {
			return []string{fmt.Sprintf("%s is %v, was put as %v", at, got, put)}
		}
		var out []string
		for i := range p {
			out = append(out, drift(fmt.Sprintf("%s[%d]", at, i), p[i], g[i])...)
		}
		return out
	}
	if put != got {
		return []string{fmt.Sprintf("%s is %v, was put as %v", at, got, put)}
	}
	return nil
}
