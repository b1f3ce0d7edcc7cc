package provider

import (
	"errors"
	"fmt"
	"net/http"
)

func keyVault() *resourceType {
	return &resourceType{
		name:       "azurerm_key_vault",
		id:         idForm{pattern: "/subscriptions/{}/resourceGroups/{resource_group_name}/providers/Microsoft.KeyVault/vaults/{name}"},
		apiVersion: versions{3: "2023-02-01", 4: "2026-02-01", 5: "2026-02-01"},
		update:     updatePatch,
		fields: []field{
			region(),
			tags(),
			in("tenant_id", "properties.tenantId"),
			constant("properties.sku.family", "A"),
			in("sku_name", "properties.sku.name").as(spelled("standard", "premium")),
			blocks("access_policy", "properties.accessPolicies",
				in("tenant_id", "tenantId"),
				in("object_id", "objectId"),
				in("application_id", "applicationId"),
				in("certificate_permissions", "permissions.certificates"),
				in("key_permissions", "permissions.keys"),
				in("secret_permissions", "permissions.secrets"),
				in("storage_permissions", "permissions.storage"),
			).sentAs([]any{}),
			in("enabled_for_deployment", "properties.enabledForDeployment").sentAs(false).orElse(false),
			in("enabled_for_disk_encryption", "properties.enabledForDiskEncryption").sentAs(false).orElse(false),
			in("enabled_for_template_deployment", "properties.enabledForTemplateDeployment").sentAs(false).orElse(false),
			in("enable_rbac_authorization", "properties.enableRbacAuthorization").sentAs(false).orElse(false).only(3),
			in("rbac_authorization_enabled", "properties.enableRbacAuthorization").sentAs(false).orElse(false),
			in("public_network_access_enabled", "properties.publicNetworkAccess").as(enabled()),
			in("purge_protection_enabled", "properties.enablePurgeProtection").as(onlyTrue()).orElse(false),
			in("soft_delete_retention_days", "properties.softDeleteRetentionInDays").as(conversion{send: func(v any) any {
				if v == 90.0 {
					return nil
				}
				return v
			}}),
			constant("properties.enableSoftDelete", true),
			constant("properties.createMode", "default"),
			block("network_acls", "properties.networkAcls",
				in("bypass", "bypass"),
				in("default_action", "defaultAction"),
				in("ip_rules", "ipRules").as(keyed("value")).sentAs([]any{}),
				in("virtual_network_subnet_ids", "virtualNetworkRules").as(keyed("id")).sentAs([]any{}),
			),
			out("vault_uri", "properties.vaultUri"),
		},
		aliases: []alias{{name: "rbac_authorization_enabled", old: "enable_rbac_authorization", byDefault: false, majors: []int{4}}},
		beforeCreate: func(o *operation) error {
			location := asString(o.planned["location"])
			name := asString(o.planned["name"])
			_, err := o.get(o.ctx, o.deletedVault(location, name), o.version())
			if isNotFound(err) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("checking for a soft-deleted Key Vault %q: %w", name, err)
			}
			if !o.feature("key_vault.recover_soft_deleted_key_vaults", true) {
				//lint:ignore ST1005 azurerm's own words
				return fmt.Errorf("An existing soft-deleted Key Vault exists with the Name %q in the location %q, however automatically recovering this KeyVault has been disabled via the \"features\" block. Set `recover_soft_deleted_key_vaults` to `true` in the `key_vault` block of the provider's `features`, or use another name", name, location)
			}
			o.scratch["recover"] = true
			return nil
		},
		encode: func(o *operation, doc map[string]any) error {
			if asBool(o.scratch["recover"]) {
				setPath(doc, "properties.createMode", "recover")
			}
			if o.prior == nil {
				return nil
			}
			who := fmt.Sprintf("updating Key Vault (Subscription: %q\nResource Group Name: %q\nKey Vault Name: %q)", o.subscription, asString(o.prior["resource_group_name"]), asString(o.prior["name"]))
			if asBool(o.prior["purge_protection_enabled"]) && !asBool(o.planned["purge_protection_enabled"]) {
				return errors.New(who + ": once Purge Protection has been Enabled it's not possible to disable it")
			}
			if o.prior["soft_delete_retention_days"] != o.planned["soft_delete_retention_days"] {
				return errors.New(who + ": once `soft_delete_retention_days` has been configured it cannot be modified")
			}
			return nil
		},
		decode: func(_ *operation, _, state map[string]any) error {
			if len(asList(state["network_acls"])) == 0 {
				state["network_acls"] = []any{map[string]any{
					"bypass": "AzureServices", "default_action": "Allow",
					"ip_rules": []any{}, "virtual_network_subnet_ids": []any{},
				}}
			}
			return nil
		},
		afterDelete: func(o *operation) error {
			if asBool(o.prior["purge_protection_enabled"]) || !o.feature("key_vault.purge_soft_delete_on_destroy", true) {
				return nil
			}
			name := asString(o.prior["name"])
			path := o.deletedVault(asString(o.prior["location"]), name) + "/purge"
			if err := o.change(o.ctx, http.MethodPost, path, o.version(), nil); err != nil && !isNotFound(err) {
				return fmt.Errorf("purging Key Vault %q: %w", name, err)
			}
			return nil
		},
	}
}

// deletedVault is the ID of a vault that was deleted and can be recovered.
func (s *session) deletedVault(location, name string) string {
	return "/subscriptions/" + s.subscription + "/providers/Microsoft.KeyVault/locations/" + normalizeLocation(location) + "/deletedVaults/" + name
}
