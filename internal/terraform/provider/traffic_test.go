package provider

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
)

// recorded reads the bodies that azurerm itself sent when it applied the same
// arguments, by method and address.
func recorded(t *testing.T, version string) map[string]any {
	t.Helper()
	f, err := os.Open("testdata/traffic-" + version + ".jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]any{}
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var call struct {
			Method, Path string
			Body         any
		}
		if err := json.Unmarshal(lines.Bytes(), &call); err != nil {
			t.Fatal(err)
		}
		if call.Body != nil {
			out[call.Method+" "+strings.ToLower(call.Path)] = call.Body
		}
	}
	return out
}

// TestRequestsAreAzurerms compares the documents that are sent with those that
// azurerm 3.117.1 and 5.2.0 sent, for a network, a vault, a registry, a component,
// an account, a workspace and its computes.
func TestRequestsAreAzurerms(t *testing.T) {
	for major, version := range map[int]string{3: "3.117.1", 5: "5.2.0"} {
		t.Run(version, func(t *testing.T) {
			d := newDriver(t, major, nil)
			want := recorded(t, version)
			compared := 0
			d.azure.refuse = func(_ http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodPut && !strings.HasSuffix(r.URL.Path, "checkNameAvailability") {
					return false
				}
				raw, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				r.Body = io.NopCloser(bytes.NewReader(raw))
				var got any
				if err := json.Unmarshal(raw, &got); err != nil {
					t.Error(err)
				}
				body, ok := want[r.Method+" "+strings.ToLower(r.URL.Path+"?"+r.URL.RawQuery)]
				switch {
				case !ok:
					t.Errorf("azurerm sent no %s %s?%s", r.Method, r.URL.Path, r.URL.RawQuery)
				case !equalValues(withoutEmpty(got), withoutEmpty(body)):
					t.Errorf("%s %s:\n got %s\nwant %s", r.Method, r.URL.Path, indent(got), indent(body))
				default:
					compared++
				}
				return false
			}
			for _, r := range referenceEnvironment(major) {
				d.must(r.typ, nil, r.config)
			}
			if wanted := map[int]int{3: 12, 5: 11}[major]; compared != wanted {
				t.Errorf("%d requests were compared, want %d", compared, wanted)
			}
		})
	}
}

// withoutEmpty drops what the fake's answers leave out of a billing document, and
// the empty strings that mean nothing.
func withoutEmpty(v any) any {
	o, ok := v.(map[string]any)
	if !ok {
		return v
	}
	out := map[string]any{}
	for k, e := range o {
		switch k {
		case "MaxHistoryCap", "ResetTime", "StopSendNotificationWhenHitThreshold", "WarningThreshold", "sharingScope":
		default:
			out[k] = withoutEmpty(e)
		}
	}
	return out
}

func indent(v any) string {
	raw, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err.Error()
	}
	return string(raw)
}

type configured struct {
	typ    string
	config obj
}

// referenceEnvironment has the names and values of the recorded requests.
func referenceEnvironment(major int) []configured {
	const base = "/subscriptions/" + testSubscription + "/resourceGroups/rg-ml-production"
	tags := obj{"environment": "production", "team": "data-science"}
	at := func(more obj) obj {
		for k, v := range (obj{"location": "eastus", "resource_group_name": "rg-ml-production"}) {
			more[k] = v
		}
		return more
	}
	rbac := "rbac_authorization_enabled"
	if major == 3 {
		rbac = "enable_rbac_authorization"
	}
	workspace := base + "/providers/Microsoft.MachineLearningServices/workspaces/mlw-production"
	network := base + "/providers/Microsoft.Network/virtualNetworks/vnet-ml-production"
	system := []any{obj{"type": "SystemAssigned"}}
	instance := obj{
		"name": "ci-dev-user01", "machine_learning_workspace_id": workspace, "virtual_machine_size": "Standard_DS3_v2", "tags": tags,
		"assign_to_user": []any{obj{"object_id": "11111111-2222-3333-4444-555555555555", "tenant_id": testTenant}},
	}
	if major == 3 {
		instance["location"] = "eastus"
	}
	return []configured{
		{"azurerm_resource_group", obj{"name": "rg-ml-production", "location": "East US", "tags": tags}},
		{"azurerm_virtual_network", at(obj{"name": "vnet-ml-production", "address_space": []any{"10.1.0.0/16"}})},
		{"azurerm_subnet", obj{"name": "snet-ml-compute", "resource_group_name": "rg-ml-production", "virtual_network_name": "vnet-ml-production", "address_prefixes": []any{"10.1.1.0/24"}}},
		{"azurerm_key_vault", at(obj{"name": "kv-ml-production", "tenant_id": testTenant, "sku_name": "standard", "purge_protection_enabled": true, rbac: true, "tags": tags})},
		{"azurerm_application_insights", at(obj{"name": "ai-ml-production", "application_type": "web", "tags": tags})},
		{"azurerm_container_registry", at(obj{"name": "acrmlproduction001", "sku": "Standard", "admin_enabled": false, "tags": tags})},
		{"azurerm_storage_account", at(obj{"name": "stmlproduction001", "account_tier": "Standard", "account_replication_type": "LRS", "min_tls_version": "TLS1_2", "is_hns_enabled": true, "tags": tags})},
		{"azurerm_machine_learning_workspace", at(obj{
			"name": "mlw-production", "friendly_name": "ML Workspace - Production", "description": "Machine Learning workspace for production workloads",
			"application_insights_id":       base + "/providers/Microsoft.Insights/components/ai-ml-production",
			"key_vault_id":                  base + "/providers/Microsoft.KeyVault/vaults/kv-ml-production",
			"storage_account_id":            base + "/providers/Microsoft.Storage/storageAccounts/stmlproduction001",
			"container_registry_id":         base + "/providers/Microsoft.ContainerRegistry/registries/acrmlproduction001",
			"public_network_access_enabled": true, "image_build_compute_name": "cpu-cluster", "identity": system, "tags": tags,
		})},
		{"azurerm_machine_learning_compute_cluster", obj{
			"name": "gpu-cluster-vnet", "location": "eastus", "machine_learning_workspace_id": workspace, "vm_size": "Standard_NC6s_v3", "vm_priority": "Dedicated",
			"subnet_resource_id": network + "/subnets/snet-ml-compute", "identity": system,
			"scale_settings": []any{obj{"min_node_count": 0.0, "max_node_count": 4.0, "scale_down_nodes_after_idle_duration": "PT30M"}},
		}},
		{"azurerm_machine_learning_compute_instance", instance},
	}
}
