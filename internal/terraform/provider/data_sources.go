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

const subscriptionVersion = "2022-12-01"

func subscriptionFields() []field {
	return []field{
		out("subscription_id", "subscriptionId"),
		out("display_name", "displayName"),
		out("tenant_id", "tenantId"),
		out("state", "state"),
		out("location_placement_id", "subscriptionPolicies.locationPlacementId").orElse(""),
		out("quota_id", "subscriptionPolicies.quotaId").orElse(""),
		out("spending_limit", "subscriptionPolicies.spendingLimit").orElse(""),
		out("tags", "tags"),
	}
}

func dataSubscription() *dataSource {
	return &dataSource{
		name: "azurerm_subscription",
		read: func(o *operation, config map[string]any) (map[string]any, error) {
			id := asString(config["subscription_id"])
			if id == "" {
				id = o.subscription
			}
			path := "/subscriptions/" + id
			doc, err := o.get(o.ctx, path, subscriptionVersion)
			if isNotFound(err) {
				//lint:ignore ST1005 azurerm's own words
				return nil, fmt.Errorf("Subscription (Subscription: %q) was not found", id)
			}
			if err != nil {
				return nil, fmt.Errorf("retrieving %q: %w", path, err)
			}
			state := map[string]any{"id": path}
			o.codec(false).decode(subscriptionFields(), o.kind.Attributes, doc, state)
			return state, nil
		},
	}
}

func dataSubscriptions() *dataSource {
	return &dataSource{
		name: "azurerm_subscriptions",
		read: func(o *operation, config map[string]any) (map[string]any, error) {
			all, err := o.getAll(o.ctx, "/subscriptions", subscriptionVersion)
			if err != nil {
				return nil, fmt.Errorf("listing subscriptions: %w", err)
			}
			prefix, part := strings.ToLower(asString(config["display_name_prefix"])), strings.ToLower(asString(config["display_name_contains"]))
			out := []any{}
			for _, doc := range all {
				name := strings.ToLower(asString(asObject(doc)["displayName"]))
				if !strings.HasPrefix(name, prefix) || !strings.Contains(name, part) {
					continue
				}
				elem := map[string]any{}
				o.codec(false).decode(subscriptionFields(), o.kind.Attributes["subscriptions"].Attributes, asObject(doc), elem)
				elem["id"] = "/subscriptions/" + asString(elem["subscription_id"])
				out = append(out, elem)
			}
			return map[string]any{"id": "subscriptions-" + o.tenant, "subscriptions": out}, nil
		},
	}
}

// dataOf reads a resource of a type that has nothing to add.
func dataOf(rt *resourceType, what string) *dataSource {
	return &dataSource{name: rt.name, of: rt, what: what}
}

func dataStorageAccount() *dataSource {
	ds := dataOf(storageAccount(), "Storage Account")
	ds.decode = func(_ *operation, _, state map[string]any) error {
		state["enable_https_traffic_only"] = state["https_traffic_only_enabled"]
		return nil
	}
	return ds
}

func dataStorageContainer() *dataSource {
	ds := dataOf(storageContainer(), "Storage Container")
	ds.read = func(o *operation, _ map[string]any) (map[string]any, error) {
		var err error
		if o.id, err = o.typ.makeID(o); err != nil {
			return nil, err
		}
		state, err := o.typ.store.read(o)
		if err != nil {
			return nil, fmt.Errorf("retrieving %q: %w", o.id, err)
		}
		if state == nil {
			return nil, ds.notFound(o.id)
		}
		state["id"] = o.id
		return state, nil
	}
	return ds
}

func dataSubnet() *dataSource {
	ds := dataOf(subnet(), "Subnet")
	ds.decode = func(_ *operation, doc, state map[string]any) error {
		state["address_prefix"] = firstPrefix(doc)
		return nil
	}
	return ds
}

func dataVirtualNetwork() *dataSource {
	ds := dataOf(virtualNetwork(), "Virtual Network")
	ds.decode = func(_ *operation, doc, state map[string]any) error {
		names := []any{}
		for _, s := range asList(getPath(doc, "properties.subnets")) {
			names = append(names, asObject(s)["name"])
		}
		peerings, addresses := map[string]any{}, []any{}
		for _, p := range asList(getPath(doc, "properties.virtualNetworkPeerings")) {
			peer := asObject(p)
			peerings[asString(peer["name"])] = getPath(peer, "properties.remoteVirtualNetwork.id")
			addresses = append(addresses, asList(getPath(peer, "properties.remoteAddressSpace.addressPrefixes"))...)
		}
		state["subnets"], state["vnet_peerings"], state["vnet_peerings_addresses"] = names, peerings, addresses
		return nil
	}
	return ds
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
