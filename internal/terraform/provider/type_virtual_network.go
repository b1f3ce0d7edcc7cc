package provider

import "strings"

func virtualNetwork() *resourceType {
	return &resourceType{
		name:       "azurerm_virtual_network",
		id:         idForm{pattern: "/subscriptions/{}/resourceGroups/{resource_group_name}/providers/Microsoft.Network/virtualNetworks/{name}"},
		apiVersion: networkVersions(),
		update:     updatePut,
		fields: []field{
			region(),
			tags(),
			send("name", "name"),
			in("address_space", "properties.addressSpace.addressPrefixes"),
			in("dns_servers", "properties.dhcpOptions.dnsServers").sentAs([]any{}).orElse([]any{}),
			in("bgp_community", "properties.bgpCommunities.virtualNetworkCommunity"),
			in("flow_timeout_in_minutes", "properties.flowTimeoutInMinutes"),
			in("private_endpoint_vnet_policies", "properties.privateEndpointVNetPolicies"),
			in("edge_zone", "extendedLocation.name").as(location()),
			block("ddos_protection_plan", "",
				in("id", "properties.ddosProtectionPlan.id"),
				in("enable", "properties.enableDdosProtection"),
			).ifThere(func(doc map[string]any) bool { return getPath(doc, "properties.ddosProtectionPlan.id") != nil }),
			block("encryption", "properties.encryption",
				constant("enabled", true),
				in("enforcement", "enforcement"),
			).ifThere(func(e map[string]any) bool { return asBool(e["enabled"]) }),
			blocks("subnet", "properties.subnets", append([]field{in("name", "name"), out("id", "id")}, subnetFields()...)...).sentAs([]any{}),
			out("guid", "properties.resourceGuid"),
		},
		serial: func(o *operation) string {
			return networkLock(asString(o.state()["resource_group_name"]), asString(o.state()["name"]))
		},
		encode: func(o *operation, doc map[string]any) error {
			if zone := getPath(doc, "extendedLocation.name"); zone != nil {
				setPath(doc, "extendedLocation.type", "EdgeZone")
			} else {
				delete(doc, "extendedLocation")
			}
			// Subnets that have resources of their own are none of this one's
			// business.
			if o.prior != nil && len(asList(o.config["subnet"])) == 0 {
				delete(asObject(doc["properties"]), "subnets")
			}
			for _, s := range asList(getPath(doc, "properties.subnets")) {
				if o.major == 3 {
					setPath(asObject(s), "properties.addressPrefix", asObject(s)["address"])
					delete(asObject(s), "address")
				}
			}
			return nil
		},
		decode: func(o *operation, doc, state map[string]any) error {
			if o.major == 3 {
				inner := asList(getPath(doc, "properties.subnets"))
				for i, s := range asList(state["subnet"]) {
					asObject(s)["address_prefix"] = firstPrefix(asObject(inner[i]))
				}
			}
			return nil
		},
	}
}

func networkVersions() versions { return versions{3: "2023-11-01", 4: "2025-01-01", 5: "2025-01-01"} }

func networkLock(group, network string) string {
	return strings.ToLower("network|" + group + "|" + network)
}

// subnetFields are what a subnet has, as a resource and within its network.
func subnetFields() []field {
	return []field{
		// Within a network, azurerm 3 has one prefix; see the network's hooks.
		send("address_prefix", "address"),
		in("address_prefixes", "properties.addressPrefixes"),
		in("security_group", "properties.networkSecurityGroup.id").orElse(""),
		in("route_table_id", "properties.routeTable.id").orElse(""),
		in("default_outbound_access_enabled", "properties.defaultOutboundAccess"),
		in("private_endpoint_network_policies", "properties.privateEndpointNetworkPolicies"),
		in("private_link_service_network_policies_enabled", "properties.privateLinkServiceNetworkPolicies").as(enabled()),
		in("service_endpoints", "properties.serviceEndpoints").as(keyed("service")).sentAs([]any{}),
		blocks("service_endpoint", "properties.serviceEndpoints",
			in("service", "service"),
			in("network_identifier", "networkIdentifier.id"),
		).sentAs([]any{}),
		in("service_endpoint_policy_ids", "properties.serviceEndpointPolicies").as(keyed("id")).sentAs([]any{}),
		blocks("delegation", "properties.delegations",
			in("name", "name"),
			block("service_delegation", "properties",
				in("name", "serviceName"),
				in("actions", "actions"),
			),
		).sentAs([]any{}),
	}
}

// firstPrefix is a subnet's address range, of which Azure gives one or many.
func firstPrefix(subnet map[string]any) any {
	if p := asString(getPath(subnet, "properties.addressPrefix")); p != "" {
		return p
	}
	if all := asList(getPath(subnet, "properties.addressPrefixes")); len(all) > 0 {
		return all[0]
	}
	return nil
}
