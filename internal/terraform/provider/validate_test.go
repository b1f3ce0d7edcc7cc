package provider

import (
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tfprotov5"
)

func TestValidation(t *testing.T) {
	machine := func(more obj) obj {
		o := obj{"name": "ci-dev", "location": "eastus", "machine_learning_workspace_id": groupID + "/providers/Microsoft.MachineLearningServices/workspaces/mlw", "virtual_machine_size": "Standard_DS3_v2"}
		for k, v := range more {
			o[k] = v
		}
		return o
	}
	account := func(more obj) obj {
		o := obj{"name": "st0001", "location": "eastus", "resource_group_name": "rg", "account_tier": "Standard", "account_replication_type": "LRS"}
		for k, v := range more {
			o[k] = v
		}
		return o
	}
	with := func(o obj, k string, v any) obj { o[k] = v; return o }
	tests := map[string]struct {
		major  int
		typ    string
		config obj
		want   string // "" is valid
	}{
		"good vault":               {3, "azurerm_key_vault", vault(nil), ""},
		"odd vault name passes":    {3, "azurerm_key_vault", vault(obj{"name": "1kv--x-"}), ""},
		"bad vault name":           {3, "azurerm_key_vault", vault(obj{"name": "kv_1"}), `"name" may only contain alphanumeric characters and dashes and must be between 3-24 chars`},
		"bad sku":                  {3, "azurerm_key_vault", vault(obj{"sku_name": "gold"}), `expected sku_name to be one of ["standard" "premium"], got gold`},
		"bad retention":            {3, "azurerm_key_vault", vault(obj{"soft_delete_retention_days": 3.0}), "expected soft_delete_retention_days to be in the range (7 - 90), got 3"},
		"bad tenant":               {3, "azurerm_key_vault", vault(obj{"tenant_id": "x"}), `expected "tenant_id" to be a valid UUID, got "x"`},
		"unknown is not checked":   {3, "azurerm_key_vault", vault(obj{"tenant_id": unknown, "sku_name": unknown}), ""},
		"two names of one thing":   {4, "azurerm_key_vault", vault(obj{"rbac_authorization_enabled": true, "enable_rbac_authorization": true}), `"rbac_authorization_enabled": conflicts with enable_rbac_authorization`},
		"group name":               {3, "azurerm_resource_group", obj{"name": "rg lab", "location": "eastus"}, `"name" may only contain alphanumeric characters, dash, underscores, parentheses and periods`},
		"account name":             {3, "azurerm_storage_account", account(obj{"name": "St-1"}), `name ("St-1") can only consist of lowercase letters and numbers`},
		"nested enum":              {3, "azurerm_storage_account", account(obj{"network_rules": []any{obj{"default_action": "Never"}}}), "expected network_rules.0.default_action to be one of"},
		"required with":            {3, "azurerm_storage_account", account(obj{"blob_properties": []any{obj{"restore_policy": []any{obj{"days": 3.0}}}}}), "all of `blob_properties.0.delete_retention_policy` must be specified"},
		"too many items":           {3, "azurerm_container_registry", obj{"name": "acr001", "location": "eastus", "resource_group_name": "rg", "sku": "Premium", "network_rule_set": []any{obj{}, obj{}}}, "Too many list items"},
		"cluster name":             {3, "azurerm_machine_learning_compute_cluster", with(cluster(1, "x"), "name", "1-cpu"), "name must be between 3 and 32 characters"},
		"priority":                 {3, "azurerm_machine_learning_compute_cluster", with(cluster(1, "x"), "vm_priority", "Spot"), `expected vm_priority to be one of ["Dedicated" "LowPriority"], got Spot`},
		"at least one of":          {3, "azurerm_machine_learning_compute_cluster", with(cluster(1, "x"), "ssh", []any{obj{"admin_username": "me"}}), "one of `ssh.0.admin_password,ssh.0.key_value` must be specified"},
		"instance name of 25":      {3, "azurerm_machine_learning_compute_instance", machine(obj{"name": "c" + strings.Repeat("x", 23) + "-"}), ""},
		"instance name of 3":       {3, "azurerm_machine_learning_compute_instance", machine(obj{"name": "abc"}), "It must start with a letter"},
		"subnet ID":                {3, "azurerm_machine_learning_compute_instance", machine(obj{"subnet_resource_id": groupID}), "expected a resource ID that matches"},
		"registry name of 50":      {3, "azurerm_container_registry", obj{"name": strings.Repeat("x", 50), "location": "eastus", "resource_group_name": "rg", "sku": "Basic"}, "name"},
		"exactly one of, none":     {4, "azurerm_role_assignment", obj{"scope": groupID, "principal_id": testObject}, "one of `role_definition_id,role_definition_name` must be specified"},
		"exactly one of, two":      {4, "azurerm_role_assignment", obj{"scope": groupID, "principal_id": testObject, "role_definition_id": "/x", "role_definition_name": "y"}, "only one of `role_definition_id,role_definition_name` can be specified"},
		"exactly one of, unknown":  {4, "azurerm_role_assignment", obj{"scope": groupID, "principal_id": testObject, "role_definition_id": unknown}, ""},
		"datastore without secret": {5, "azurerm_machine_learning_datastore_blobstorage", obj{"name": "d", "workspace_id": "/w", "storage_container_id": "/c"}, "one of `account_key` or `shared_access_signature` must be specified"},
		"retention of 7":           {3, "azurerm_log_analytics_workspace", obj{"name": "logs", "location": "eastus", "resource_group_name": "rg", "retention_in_days": 7.0}, ""},
		"retention of 20":          {3, "azurerm_log_analytics_workspace", obj{"name": "logs", "location": "eastus", "resource_group_name": "rg", "retention_in_days": 20.0}, "expected retention_in_days to be in the range (30 - 730), got 20"},
		"container name":           {3, "azurerm_storage_container", obj{"name": "Data", "storage_account_name": "st0001"}, "only lowercase alphanumeric characters and hyphens allowed"},
		"too many tags":            {3, "azurerm_resource_group", obj{"name": "rg", "location": "eastus", "tags": manyTags(51)}, "a maximum of 50 tags"},
	}
	drivers := map[int]*driver{3: newDriver(t, 3, nil), 4: newDriver(t, 4, nil), 5: newDriver(t, 5, nil)}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			diags := drivers[tt.major].validate(tt.typ, tt.config)
			var errors []*tfprotov5.Diagnostic
			for _, d := range diags {
				if d.Severity == tfprotov5.DiagnosticSeverityError {
					errors = append(errors, d)
				}
			}
			if tt.want == "" {
				if len(errors) > 0 {
					t.Error(says(errors))
				}
				return
			}
			wantError(t, errors, tt.want)
		})
	}
}

func manyTags(n int) obj {
	o := obj{}
	for i := range n {
		o["t"+strings.Repeat("x", i)] = "v"
	}
	return o
}

// Plans refuse what azurerm refuses when it applies.
func TestPlanRefuses(t *testing.T) {
	registry := obj{"name": "acr001", "location": "eastus", "resource_group_name": "rg", "sku": "Standard", "public_network_access_enabled": false}
	for major, words := range map[int]string{3: "`public_network_access_enabled` can only be disabled for a Premium Sku.", 5: "`public_network_access_enabled` can only be disabled for a Premium Sku"} {
		_, resp := newDriver(t, major, nil).plan("azurerm_container_registry", nil, registry)
		wantError(t, resp.Diagnostics, words)
	}
	_, resp := newDriver(t, 3, nil).plan("azurerm_storage_account", nil, obj{
		"name": "st0001", "location": "eastus", "resource_group_name": "rg", "account_tier": "Premium", "account_replication_type": "LRS",
		"account_kind": "BlockBlobStorage", "access_tier": "Hot",
	})
	wantError(t, resp.Diagnostics, "`access_tier` is only available for accounts where `kind` is set to one of: BlobStorage / FileStorage / StorageV2")
	_, resp = newDriver(t, 3, nil).plan("azurerm_machine_learning_workspace", nil, obj{
		"name": "mlw", "location": "eastus", "resource_group_name": "rg", "application_insights_id": "/a", "key_vault_id": "/k", "storage_account_id": "/s",
		"kind": "FeatureStore", "identity": []any{obj{"type": "SystemAssigned"}},
	})
	wantError(t, resp.Diagnostics, "`feature_store` can not be empty when `kind` is `FeatureStore`")
}
