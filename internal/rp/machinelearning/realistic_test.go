package machinelearning_test

import (
	"testing"
	"time"

	"github.com/azimuth-ml/azimuth/internal/catalog"
	"github.com/azimuth-ml/azimuth/internal/rp/keyvault"
	"github.com/azimuth-ml/azimuth/internal/rp/machinelearning"
	"github.com/azimuth-ml/azimuth/internal/rp/resources"
	"github.com/azimuth-ml/azimuth/internal/rp/rptest"
	"github.com/azimuth-ml/azimuth/internal/rp/storage"
)

// TestRealisticCreate checks the answers to what takes its time: azurerm takes 200 and
// 202 from the PUT of an account or a workspace, and nothing else.
func TestRealisticCreate(t *testing.T) {
	cat, err := catalog.Load()
	if err != nil {
		t.Fatal(err)
	}
	eng := &engine{pools: map[string]machinelearning.Pool{}, instances: map[string]machinelearning.Instance{}}
	e := rptest.New(t, rptest.Options{Realistic: true}, resources.Provider(), storage.Provider(storage.Deps{Containers: eng}),
		keyvault.Provider(keyvault.Deps{Contents: eng}),
		machinelearning.Provider(machinelearning.Deps{Catalog: cat, Pools: eng, Instances: eng, Lifecycle: eng}))
	e.NewGroup()
	create := func(status int, path, body string) {
		t.Helper()
		r := e.Want(status, "PUT", path, body)
		op := r.Header.Get("Azure-AsyncOperation")
		if st := e.Want(200, "GET", op, nil); st.Body.String("status") != "InProgress" {
			t.Errorf("%s: %s", path, st.Raw)
		}
		e.Clock.Step(6 * time.Minute)
		if st := e.Want(200, "GET", op, nil); st.Body.String("status") != "Succeeded" {
			t.Errorf("%s: %s", path, st.Raw)
		}
		if r := e.Want(200, "GET", path, nil); r.Body.String("properties.provisioningState") != "Succeeded" {
			t.Errorf("%s: %s", path, r.Raw)
		}
	}
	create(202, account, `{"kind":"StorageV2","location":"eastus","sku":{"name":"Standard_LRS"},"properties":{}}`)
	create(201, kv, `{"location":"eastus","properties":{"tenantId":"`+rptest.Tenant+`","sku":{"name":"standard"},"enableRbacAuthorization":true}}`)
	create(202, ws, `{"location":"eastus","identity":{"type":"SystemAssigned"},"properties":{"storageAccount":"`+account+`","keyVault":"`+kv+`"}}`)
	create(201, ws+"/computes/cpu-cluster", cluster(`"vmSize":"Standard_D4s_v3",`+scale))
}
