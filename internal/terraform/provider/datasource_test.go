package provider

import (
	"testing"

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
		_, diags := d.data("azurerm_resource_group", obj{"name": "none"})
		wantError(t, diags, `Resource Group "/subscriptions/`+testSubscription+`/resourceGroups/none" was not found`)
		_, diags = d.data("azurerm_role_definition", obj{"name": "none"})
		wantError(t, diags, "could not find role")
		_, diags = d.data("azurerm_subscription", obj{"subscription_id": "11111111-0000-0000-0000-000000000000"})
		wantError(t, diags, "was not found")
	}
}
