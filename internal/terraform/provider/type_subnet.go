package provider

import "strings"

func subnet() *resourceType {
	fields := []field{
		send("name", "name"),
		in("sharing_scope", "properties.sharingScope"),
		out("network_security_group_id", "properties.networkSecurityGroup.id").orElse(""),
		out("route_table_id", "properties.routeTable.id").orElse(""),
		ours("enforce_private_link_endpoint_network_policies", "private_endpoint_network_policies_enabled",
			"enforce_private_link_service_network_policies",
			"network_security_group_id_wo", "network_security_group_id_wo_version", "route_table_id_wo", "route_table_id_wo_version"),
	}
	for _, f := range subnetFields() {
		// Of these a subnet of its own is told by other resources.
		if f.attr != "security_group" && f.attr != "route_table_id" && f.attr != "address_prefix" {
			fields = append(fields, f)
		}
	}
	return &resourceType{
		name:       "azurerm_subnet",
		id:         idForm{pattern: "/subscriptions/{}/resourceGroups/{resource_group_name}/providers/Microsoft.Network/virtualNetworks/{virtual_network_name}/subnets/{name}"},
		apiVersion: networkVersions(),
		update:     updatePut,
		fields:     fields,
		serial: func(o *operation) string {
			return networkLock(asString(o.state()["resource_group_name"]), asString(o.state()["virtual_network_name"]))
		},
		plan: planSubnet,
		encode: func(o *operation, doc map[string]any) error {
			props := asObject(doc["properties"])
			encodeWriteOnly(o, props, "network_security_group_id_wo", "networkSecurityGroup")
			encodeWriteOnly(o, props, "route_table_id_wo", "routeTable")
			if o.major != 3 {
				return nil
			}
			if asString(props["privateEndpointNetworkPolicies"]) == "" {
				props["privateEndpointNetworkPolicies"] = "Enabled"
			}
			if asString(props["privateLinkServiceNetworkPolicies"]) == "" {
				props["privateLinkServiceNetworkPolicies"] = "Enabled"
			}
			if prefixes := asList(props["addressPrefixes"]); len(prefixes) == 1 {
				props["addressPrefix"], props["addressPrefixes"] = prefixes[0], nil
				if o.prior == nil {
					delete(props, "addressPrefixes")
				}
			} else if o.prior != nil {
				props["addressPrefix"] = nil
			}
			return nil
		},
		decode: func(o *operation, doc, state map[string]any) error {
			if len(asList(state["address_prefixes"])) == 0 {
				if p := firstPrefix(doc); p != nil {
					state["address_prefixes"] = []any{p}
				}
			}
			if o.major == 3 {
				endpoint := asString(getPath(doc, "properties.privateEndpointNetworkPolicies"))
				service := asString(getPath(doc, "properties.privateLinkServiceNetworkPolicies"))
				state["private_endpoint_network_policies_enabled"] = strings.EqualFold(endpoint, "Enabled")
				state["enforce_private_link_endpoint_network_policies"] = strings.EqualFold(endpoint, "Disabled")
				state["enforce_private_link_service_network_policies"] = strings.EqualFold(service, "Disabled")
			}
			return nil
		},
	}
}

// planSubnet gives azurerm 3's three names of the endpoint policies, and two of
// the link service policies, the value of the one that is configured.
func planSubnet(c *change) {
	p, cfg := c.planned, c.config
	if c.major != 3 {
		if c.major == 5 && cfg["sharing_scope"] != nil && p["default_outbound_access_enabled"] == true {
			c.refuse("sharing_scope", "`sharing_scope` cannot be set if `default_outbound_access_enabled` is set to `true`")
		}
		return
	}
	word := map[bool]string{true: "Enabled", false: "Disabled"}
	switch {
	case cfg["private_endpoint_network_policies"] != nil:
	case cfg["private_endpoint_network_policies_enabled"] != nil:
		if v, ok := p["private_endpoint_network_policies_enabled"].(bool); ok {
			p["private_endpoint_network_policies"] = word[v]
		}
	case cfg["enforce_private_link_endpoint_network_policies"] != nil:
		if v, ok := p["enforce_private_link_endpoint_network_policies"].(bool); ok {
			p["private_endpoint_network_policies"] = word[!v]
		}
	case c.create():
		p["private_endpoint_network_policies"] = "Enabled"
	}
	if v, ok := p["private_endpoint_network_policies"].(string); ok {
		p["private_endpoint_network_policies_enabled"] = v == "Enabled"
		p["enforce_private_link_endpoint_network_policies"] = v == "Disabled"
	}
	switch {
	case cfg["private_link_service_network_policies_enabled"] != nil:
	case cfg["enforce_private_link_service_network_policies"] != nil:
		if v, ok := p["enforce_private_link_service_network_policies"].(bool); ok {
			p["private_link_service_network_policies_enabled"] = !v
		}
	case c.create():
		p["private_link_service_network_policies_enabled"] = true
	}
	if v, ok := p["private_link_service_network_policies_enabled"].(bool); ok {
		p["enforce_private_link_service_network_policies"] = !v
	}
}

// encodeWriteOnly names another resource by an argument that no state has: what it
// says counts when its version changes, else the subnet keeps what it has.
func encodeWriteOnly(o *operation, props map[string]any, argument, property string) {
	version := argument + "_version"
	if o.kind.Attributes[version] == nil || equalValues(o.prior[version], o.planned[version]) {
		return
	}
	props[property] = nil
	if id := asString(o.config[argument]); id != "" {
		props[property] = map[string]any{"id": id}
	}
}
