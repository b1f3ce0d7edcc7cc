package provider

import (
	"encoding/base64"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"
	"github.com/hashicorp/terraform-plugin-go/tfprotov5"
)

func (d *driver) data(typ string, config obj) (obj, []*tfprotov5.Diagnostic) {
	d.t.Helper()
	as := d.srv.p.table.DataSources[typ].Attributes
	resp, err := d.srv.ReadDataSource(d.t.Context(), &tfprotov5.ReadDataSourceRequest{TypeName: typ, Config: d.value(complete(as, config), as)})
	if err != nil {
		d.t.Fatal(err)
	}
	return d.object(resp.State, as), resp.Diagnostics
}

func TestDataSources(t *testing.T) {
	for _, major := range []int{3, 4, 5} {
		d := newDriver(t, major, nil)
		d.group()
		d.must("azurerm_storage_account", nil, obj{"name": "st0001", "location": "eastus", "resource_group_name": "rg", "account_tier": "Standard", "account_replication_type": "GRS", "tags": obj{"a": "b"}})
		d.must("azurerm_machine_learning_workspace", nil, obj{
			"name": "mlw", "location": "eastus", "resource_group_name": "rg", "application_insights_id": "/a", "key_vault_id": "/k", "storage_account_id": "/s",
			"identity": []any{obj{"type": "SystemAssigned"}},
		})
		rg := func(more obj) obj { more["resource_group_name"], more["location"] = "rg", "eastus"; return more }
		d.must("azurerm_key_vault", nil, rg(obj{"name": "kv1", "tenant_id": testTenant, "sku_name": "standard", map[int]string{3: "enable_rbac_authorization", 4: "rbac_authorization_enabled", 5: "rbac_authorization_enabled"}[major]: true}))
		d.must("azurerm_container_registry", nil, rg(obj{"name": "acr001", "sku": "Basic"}))
		d.must("azurerm_application_insights", nil, rg(obj{"name": "ai", "application_type": "web"}))
		d.must("azurerm_log_analytics_workspace", nil, rg(obj{"name": "logs"}))
		d.must("azurerm_user_assigned_identity", nil, rg(obj{"name": "id"}))
		d.must("azurerm_virtual_network", nil, rg(obj{"name": "vnet", "address_space": []any{"10.0.0.0/16"}}))
		d.must("azurerm_subnet", nil, obj{"name": "a", "resource_group_name": "rg", "virtual_network_name": "vnet", "address_prefixes": []any{"10.0.1.0/24"}})
		account := groupID + "/providers/Microsoft.Storage/storageAccounts/st0001"
		container := obj{"name": "data", "storage_account_id": account}
		if major == 3 {
			container = obj{"name": "data", "storage_account_name": "st0001"}
		}
		d.must("azurerm_storage_container", nil, container)
		for _, tt := range []struct {
			typ    string
			config obj
			attr   string
			want   any
		}{
			{"azurerm_client_config", nil, "object_id", testObject},
			{"azurerm_client_config", nil, "subscription_id", testSubscription},
			{"azurerm_subscription", nil, "display_name", "Lab"},
			{"azurerm_subscription", obj{"subscription_id": testSubscription}, "id", "/subscriptions/" + testSubscription},
			{"azurerm_resource_group", obj{"name": "rg"}, "location", "eastus"},
			{"azurerm_storage_account", obj{"name": "st0001", "resource_group_name": "rg"}, "account_replication_type", "GRS"},
			{"azurerm_storage_account", obj{"name": "st0001", "resource_group_name": "rg"}, "primary_blob_host", "st0001.blob.core.windows.net"},
			{"azurerm_storage_account", obj{"name": "st0001", "resource_group_name": "rg"}, "primary_access_key", "a2V5MQ=="},
			{"azurerm_machine_learning_workspace", obj{"name": "mlw", "resource_group_name": "rg"}, "id", groupID + "/providers/Microsoft.MachineLearningServices/workspaces/mlw"},
			{"azurerm_key_vault", obj{"name": "kv1", "resource_group_name": "rg"}, map[int]string{3: "enable_rbac_authorization", 4: "enable_rbac_authorization", 5: "rbac_authorization_enabled"}[major], true},
			{"azurerm_container_registry", obj{"name": "acr001", "resource_group_name": "rg"}, "login_server", "acr001.azurecr.io"},
			{"azurerm_application_insights", obj{"name": "ai", "resource_group_name": "rg"}, "application_type", "web"},
			{"azurerm_log_analytics_workspace", obj{"name": "logs", "resource_group_name": "rg"}, "primary_shared_key", "p"},
			{"azurerm_user_assigned_identity", obj{"name": "id", "resource_group_name": "rg"}, "principal_id", "40000000-0000-0000-0000-000000000004"},
			{"azurerm_virtual_network", obj{"name": "vnet", "resource_group_name": "rg"}, "guid", "60000000-0000-0000-0000-000000000006"},
			{"azurerm_subnet", obj{"name": "a", "virtual_network_name": "vnet", "resource_group_name": "rg"}, "address_prefix", "10.0.1.0/24"},
			{"azurerm_storage_container", container, "container_access_type", "private"},
			{"azurerm_role_definition", obj{"name": "AcrPull"}, "role_definition_id", "7f951dda-4ed3-4680-a7ca-43fe172d538d"},
			{"azurerm_role_definition", obj{"role_definition_id": "7f951dda-4ed3-4680-a7ca-43fe172d538d", "scope": groupID}, "name", "AcrPull"},
		} {
			state, diags := d.data(tt.typ, tt.config)
			if len(diags) > 0 || state[tt.attr] != tt.want {
				t.Errorf("%d.x %s: %s is %v, want %v; %s", major, tt.typ, tt.attr, state[tt.attr], tt.want, says(diags))
			}
		}
		workspace, _ := d.data("azurerm_machine_learning_workspace", obj{"name": "mlw", "resource_group_name": "rg"})
		if first(workspace["identity"])["type"] != "SystemAssigned" {
			t.Errorf("the workspace's identity is %v", workspace["identity"])
		}
		network, _ := d.data("azurerm_virtual_network", obj{"name": "vnet", "resource_group_name": "rg"})
		if !equalValues(network["subnets"], []any{"a"}) || !equalValues(network["address_space"], []any{"10.0.0.0/16"}) {
			t.Errorf("the network is %v", network)
		}
		for prefix, want := range map[string]int{"la": 1, "x": 0} {
			all, diags := d.data("azurerm_subscriptions", obj{"display_name_prefix": prefix})
			if len(asList(all["subscriptions"])) != want || len(diags) > 0 {
				t.Errorf("with the prefix %q: %v %s", prefix, all["subscriptions"], says(diags))
			}
		}
		_, diags := d.data("azurerm_resource_group", obj{"name": "none"})
		wantError(t, diags, `Resource Group "/subscriptions/`+testSubscription+`/resourceGroups/none" was not found`)
		_, diags = d.data("azurerm_role_definition", obj{"name": "none"})
		wantError(t, diags, "could not find role")
		_, diags = d.data("azurerm_subscription", obj{"subscription_id": "11111111-0000-0000-0000-000000000000"})
		wantError(t, diags, "was not found")
	}
}

// TestAccountSAS compares a signature with one that the storage SDK made of the same.
func TestAccountSAS(t *testing.T) {
	key := base64.StdEncoding.EncodeToString([]byte("a key"))
	cred, err := azblob.NewSharedKeyCredential("acct", key)
	if err != nil {
		t.Fatal(err)
	}
	from, until := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), time.Date(2026, 2, 2, 3, 4, 5, 0, time.UTC)
	q, err := sas.AccountSignatureValues{Version: "2022-11-02", Protocol: sas.ProtocolHTTPS, StartTime: from, ExpiryTime: until,
		Permissions: "rwl", ResourceTypes: "sco"}.SignWithSharedKey(cred)
	if err != nil {
		t.Fatal(err)
	}
	yes := func(names ...string) any {
		o := map[string]any{}
		for _, n := range names {
			o[n] = true
		}
		return []any{o}
	}
	got, err := accountSAS(map[string]any{
		"connection_string": "DefaultEndpointsProtocol=https;AccountName=acct;AccountKey=" + key + ";EndpointSuffix=core.windows.net",
		"signed_version":    "2022-11-02", "start": "2026-01-02T03:04:05Z", "expiry": "2026-02-02T03:04:05Z",
		"permissions": yes("list", "read", "write"), "services": yes("blob"), "resource_types": yes("object", "service", "container"),
	})
	if err != nil {
		t.Fatal(err)
	}
	have, err := url.ParseQuery(strings.TrimPrefix(got, "?"))
	if err != nil || have.Get("sig") != q.Signature() || have.Get("srt") != "sco" || have.Get("sp") != "rwl" {
		t.Errorf("%s, %v, want %s", got, err, q.Encode())
	}
}
