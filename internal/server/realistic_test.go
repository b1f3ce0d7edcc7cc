package server

import (
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/home"
)

// TestRealisticTakesItsTime makes what an ML environment consists of with
// --realistic: each takes as long as the how-to says, on the cloud's clock.
func TestRealisticTakesItsTime(t *testing.T) {
	d := home.Dir(filepath.Join(t.TempDir(), "home"))
	if err := d.Make(); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), Config{Home: d, Listen: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler), Version: "test", Realistic: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	s.own(t, "PUT", group+"?api-version=2021-04-01", `{"location":"westeurope"}`)
	const in = group + "/providers/"
	sub := "/subscriptions/" + s.kernel.Subscription()
	for _, r := range []struct {
		path, body string
		takes      time.Duration
	}{
		{"Microsoft.Storage/storageAccounts/stone001", `{"location":"westeurope","kind":"StorageV2","sku":{"name":"Standard_LRS"},"properties":{}}`, 20 * time.Second},
		{"Microsoft.KeyVault/vaults/kv-one", fmt.Sprintf(`{"location":"westeurope","properties":{"tenantId":"%s","enableRbacAuthorization":true,"sku":{"family":"A","name":"standard"},"accessPolicies":[]}}`, s.dir.TenantID()), 30 * time.Second},
		{"Microsoft.ContainerRegistry/registries/crone", `{"location":"westeurope","sku":{"name":"Premium"}}`, 10 * time.Second},
		{"Microsoft.OperationalInsights/workspaces/log-one", `{"location":"westeurope","properties":{}}`, 20 * time.Second},
		{"Microsoft.Insights/components/appi-one", `{"location":"westeurope","kind":"web","properties":{"Application_Type":"web"}}`, 0},
		{"Microsoft.ManagedIdentity/userAssignedIdentities/id-one", `{"location":"westeurope"}`, 0},
		{"Microsoft.Network/virtualNetworks/vnet-one", `{"location":"westeurope","properties":{"addressSpace":{"addressPrefixes":["10.0.0.0/16"]}}}`, 4 * time.Second},
		{"Microsoft.Network/virtualNetworks/vnet-one/subnets/snet-one", `{"properties":{"addressPrefix":"10.0.1.0/24"}}`, 4 * time.Second},
		{"Microsoft.Network/privateEndpoints/pe-one", fmt.Sprintf(`{"location":"westeurope","properties":{"subnet":{"id":"%[1]s%[2]sMicrosoft.Network/virtualNetworks/vnet-one/subnets/snet-one"},"privateLinkServiceConnections":[{"name":"c","properties":{"privateLinkServiceId":"%[1]s%[2]sMicrosoft.Storage/storageAccounts/stone001","groupIds":["blob"]}}]}}`, sub, in), 30 * time.Second},
		{"Microsoft.MachineLearningServices/workspaces/mlw-one", fmt.Sprintf(`{"location":"westeurope","identity":{"type":"SystemAssigned"},"properties":{"storageAccount":"%[1]s%[2]sMicrosoft.Storage/storageAccounts/stone001","keyVault":"%[1]s%[2]sMicrosoft.KeyVault/vaults/kv-one","applicationInsights":"%[1]s%[2]sMicrosoft.Insights/components/appi-one"}}`, sub, in), time.Minute},
		{"Microsoft.MachineLearningServices/workspaces/mlw-one/computes/cpu-cluster", `{"location":"westeurope","properties":{"computeType":"AmlCompute","properties":{"vmSize":"Standard_D4s_v3","scaleSettings":{"minNodeCount":0,"maxNodeCount":2}}}}`, 5 * time.Minute},
	} {
		at := in + r.path + "?api-version=2024-04-01"
		s.own(t, "PUT", at, r.body)
		state := func() string { return s.own(t, "GET", at, "").String("properties.provisioningState") }
		if r.takes > 0 {
			s.clock.Advance(r.takes - time.Second)
			if got := state(); got != "Creating" {
				t.Errorf("%s is %q a second before its time", r.path, got)
			}
			s.clock.Advance(2 * time.Second)
		}
		if got := state(); got != "Succeeded" && got != "" { // of an identity there is no state
			t.Errorf("%s is %q after its time", r.path, got)
		}
	}

	// roles take a minute to count
	who := s.stranger(t)
	reads := func() int {
		return ask(s.kernel, "GET", "https://"+arm.Host+sub+group+"?api-version=2021-04-01", s.token(t, who, audienceManagement)).Code
	}
	s.own(t, "PUT", group+blobRoles+"11111111-2222-4333-8444-000000000004?api-version=2022-04-01",
		`{"properties":{"roleDefinitionId":"/providers/Microsoft.Authorization/roleDefinitions/acdd72a7-3385-48ef-bd42-f606fba81ae7","principalId":"`+who+`"}}`)
	if got := reads(); got != http.StatusForbidden {
		t.Errorf("at once: %d", got)
	}
	s.clock.Advance(roleDelay + time.Second)
	if got := reads(); got != http.StatusOK {
		t.Errorf("after %s: %d", roleDelay, got)
	}
	if boot := s.bootDelay(); boot == nil || boot("Standard_D4s_v3") != nodeBoot {
		t.Error("nodes come up at once")
	}
}
