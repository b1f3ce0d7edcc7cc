package provider

import "strings"

// workspaceID is the shape of a workspace's ID, also within those of its parts.
const workspaceID = "/subscriptions/{}/resourceGroups/{resource_group_name}/providers/Microsoft.MachineLearningServices/workspaces/{name}"

func machineLearningVersions() versions {
	return versions{3: "2024-04-01", 4: "2025-06-01", 5: "2025-06-01"}
}

func machineLearningWorkspace() *resourceType {
	canonical := conversion{read: func(v any) any { return canonicalID(asString(v)) }}
	return &resourceType{
		name:       "azurerm_machine_learning_workspace",
		id:         idForm{pattern: workspaceID},
		apiVersion: machineLearningVersions(),
		update:     updatePut,
		fields: []field{
			region(),
			tags(),
			identity(nil),
			send("name", "name"),
			in("kind", "kind"),
			in("sku_name", "sku.name"),
			send("sku_name", "sku.tier"),
			in("application_insights_id", "properties.applicationInsights").as(canonical),
			in("key_vault_id", "properties.keyVault").as(canonical),
			in("storage_account_id", "properties.storageAccount"),
			in("container_registry_id", "properties.containerRegistry"),
			in("image_build_compute_name", "properties.imageBuildCompute"),
			// azurerm 3 sends Disabled if nothing is configured; later ones have
			// a default.
			in("public_network_access_enabled", "properties.publicNetworkAccess").as(enabled()).sentAs("Disabled"),
			in("high_business_impact", "properties.hbiWorkspace").as(onlyTrue()).orElse(false),
			in("v1_legacy_mode_enabled", "properties.v1LegacyMode"),
			in("primary_user_assigned_identity", "properties.primaryUserAssignedIdentity"),
			in("description", "properties.description"),
			in("friendly_name", "properties.friendlyName"),
			in("storage_account_access_type", "properties.systemDatastoresAuthMode"),
			in("service_side_encryption_enabled", "properties.enableServiceSideCMKEncryption"),
			block("managed_network", "properties.managedNetwork",
				in("isolation_mode", "isolationMode"),
				ours("provision_on_creation_enabled"),
			),
			block("serverless_compute", "properties.serverlessComputeSettings",
				in("subnet_id", "serverlessComputeCustomSubnet"),
				in("public_ip_enabled", "serverlessComputeNoPublicIP").as(inverted()),
			),
			block("feature_store", "properties.featureStoreSettings",
				in("computer_spark_runtime_version", "computeRuntime.sparkRuntimeVersion"),
				in("offline_connection_name", "offlineStoreConnectionName"),
				in("online_connection_name", "onlineStoreConnectionName"),
			).ifThere(func(o map[string]any) bool { return len(o) > 0 }),
			block("encryption", "properties.encryption",
				constant("status", "Enabled"),
				in("key_vault_id", "keyVaultProperties.keyVaultArmId"),
				in("key_id", "keyVaultProperties.keyIdentifier"),
				in("user_assigned_identity_id", "identity.userAssignedIdentity"),
			).ifThere(func(o map[string]any) bool { return strings.EqualFold(asString(o["status"]), "Enabled") }),
			out("discovery_url", "properties.discoveryUrl"),
			out("workspace_id", "properties.workspaceId"),
		},
		plan: planWorkspace,
		encode: func(o *operation, doc map[string]any) error {
			if o.major > 3 && o.prior == nil {
				now := asBool(first(o.planned["managed_network"])["provision_on_creation_enabled"])
				setPath(doc, "properties.provisionNetworkNow", now)
			}
			return nil
		},
		decode: func(o *operation, doc, state map[string]any) error {
			if n := first(state["managed_network"]); n != nil && o.major > 3 {
				n["provision_on_creation_enabled"] = asBool(getPath(doc, "properties.provisionNetworkNow"))
			}
			return nil
		},
		deleteQuery: purgeWorkspace,
	}
}

// planWorkspace makes the checks that azurerm makes when it applies.
func planWorkspace(c *change) {
	store, kind := asList(c.config["feature_store"]), asString(c.planned["kind"])
	switch {
	case len(store) > 0 && kind != "FeatureStore" && !isUnknown(c.planned["kind"]):
		c.refuse("feature_store", "`feature_store` can only be set when `kind` is `FeatureStore`")
	case len(store) == 0 && kind == "FeatureStore":
		c.refuse("feature_store", "`feature_store` can not be empty when `kind` is `FeatureStore`")
	}
	serverless := first(c.config["serverless_compute"])
	if serverless == nil {
		return
	}
	noSubnet := isZero(serverless["subnet_id"])
	if noSubnet && !asBool(serverless["public_ip_enabled"]) && !isUnknown(serverless["public_ip_enabled"]) {
		if c.planned["public_network_access_enabled"] == false {
			c.refuse("serverless_compute", "`public_ip_enabled` must be set to  `true` if `subnet_id` is not set and `public_network_access_enabled` is `false`")
		}
		if was := first(c.prior["serverless_compute"]); was != nil && asBool(was["public_ip_enabled"]) {
			c.refuse("serverless_compute", "`public_ip_enabled` cannot be updated from `true` to `false` when `subnet_id` is null or empty")
		}
	}
}

// purgeWorkspace purges a workspace with its deletion where the provider's features
// ask for that.
func purgeWorkspace(o *operation) string {
	if o.feature("machine_learning.purge_soft_deleted_workspace_on_destroy", false) {
		return "forceToPurge=true"
	}
	return ""
}
