package provider

import (
	"encoding/base64"
	"fmt"
	"strings"
)

func dataClientConfig() *dataSource {
	return &dataSource{
		name: "azurerm_client_config",
		read: func(o *operation, _ map[string]any) (map[string]any, error) {
			plain := fmt.Sprintf("clientConfigs/clientId=%s;objectId=%s;subscriptionId=%s;tenantId=%s", o.clientID, o.objectID, o.subscription, o.tenant)
			return map[string]any{
				"id":        base64.StdEncoding.EncodeToString([]byte(plain)),
				"client_id": o.clientID, "object_id": o.objectID,
				"subscription_id": o.subscription, "tenant_id": o.tenant,
			}, nil
		},
	}
}

func dataSubscription() *dataSource {
	fields := []field{
		out("subscription_id", "subscriptionId"),
		out("display_name", "displayName"),
		out("tenant_id", "tenantId"),
		out("state", "state"),
		out("location_placement_id", "subscriptionPolicies.locationPlacementId").orElse(""),
		out("quota_id", "subscriptionPolicies.quotaId").orElse(""),
		out("spending_limit", "subscriptionPolicies.spendingLimit").orElse(""),
		out("tags", "tags"),
	}
	return &dataSource{
		name: "azurerm_subscription",
		read: func(o *operation, config map[string]any) (map[string]any, error) {
			id := asString(config["subscription_id"])
			if id == "" {
				id = o.subscription
			}
			path := "/subscriptions/" + id
			doc, err := o.get(o.ctx, path, "2022-12-01")
			if isNotFound(err) {
				return nil, fmt.Errorf("Subscription (Subscription: %q) was not found", id) //nolint:staticcheck // azurerm's words
			}
			if err != nil {
				return nil, fmt.Errorf("retrieving %q: %w", path, err)
			}
			state := map[string]any{"id": path}
			o.codec(false).decode(fields, o.kind.Attributes, doc, state)
			return state, nil
		},
	}
}

func dataResourceGroup() *dataSource {
	group := resourceGroup()
	return &dataSource{
		name: group.name, id: group.id, apiVersion: group.apiVersion, what: "Resource Group",
		fields: []field{
			out("location", "location").as(location()),
			out("managed_by", "managedBy").orElse(""),
			out("tags", "tags"),
		},
	}
}

func dataMachineLearningWorkspace() *dataSource {
	ws := machineLearningWorkspace()
	return &dataSource{
		name: ws.name, id: ws.id, apiVersion: ws.apiVersion, what: "Machine Learning Workspace",
		fields: []field{
			out("location", "location").as(location()),
			out("tags", "tags"),
			out("storage_account_access_type", "properties.systemDatastoresAuthMode").orElse("AccessKey"),
			identity(nil),
		},
	}
}

func dataStorageAccount() *dataSource {
	account := storageAccount()
	return &dataSource{
		name: account.name, id: account.id, apiVersion: account.apiVersion, what: "Storage Account",
		fields: account.fields,
		decode: func(o *operation, doc, state map[string]any) error {
			// Parts of its own documents are no part of the data source.
			decodeStorageSKU(doc, state)
			decodeStorageHosts(state)
			state["enable_https_traffic_only"] = state["https_traffic_only_enabled"]
			return o.readStorageKeys(state)
		},
	}
}

func dataRoleDefinition() *dataSource {
	return &dataSource{
		name: "azurerm_role_definition",
		read: func(o *operation, config map[string]any) (map[string]any, error) {
			scope := strings.TrimSuffix(asString(config["scope"]), "/")
			var doc map[string]any
			var err error
			if guid := asString(config["role_definition_id"]); guid != "" {
				doc, err = o.get(o.ctx, scope+roleDefinitions+"/"+guid, roleDefinitionVersion)
				if err != nil {
					err = fmt.Errorf("loading Role Definition: %w", err)
				}
			} else {
				doc, err = o.findRole(scope, asString(config["name"]))
			}
			if err != nil {
				return nil, err
			}
			permissions := []any{}
			for _, p := range asList(getPath(doc, "properties.permissions")) {
				perm := asObject(p)
				permissions = append(permissions, map[string]any{
					"actions": asList(perm["actions"]), "not_actions": asList(perm["notActions"]),
					"data_actions": asList(perm["dataActions"]), "not_data_actions": asList(perm["notDataActions"]),
					"condition": asString(perm["condition"]), "condition_version": asString(perm["conditionVersion"]),
				})
			}
			return map[string]any{
				"id":                 asString(doc["id"]),
				"name":               asString(getPath(doc, "properties.roleName")),
				"role_definition_id": lastSegment(asString(doc["id"])),
				"description":        asString(getPath(doc, "properties.description")),
				"type":               asString(getPath(doc, "properties.type")),
				"assignable_scopes":  asList(getPath(doc, "properties.assignableScopes")),
				"permissions":        permissions,
			}, nil
		},
	}
}
