package provider

import "strings"

func networkSecurityGroup() *resourceType {
	return &resourceType{
		name:       "azurerm_network_security_group",
		id:         idForm{pattern: "/subscriptions/{}/resourceGroups/{resource_group_name}/providers/Microsoft.Network/networkSecurityGroups/{name}"},
		apiVersion: networkVersions(),
		update:     updatePut,
		fields: []field{
			region(),
			tags(),
			send("name", "name"),
			blocks("security_rule", "properties.securityRules",
				append([]field{in("name", "name")}, within("properties", securityRuleFields()...)...)...).sentAs([]any{}),
		},
		serial: func(o *operation) string {
			return securityGroupLock(asString(o.state()["resource_group_name"]), asString(o.state()["name"]))
		},
		validate: func(c *checker) {
			for _, v := range asList(c.config["security_rule"]) {
				rule := asObject(v)
				for _, one := range []string{"source_port_range", "destination_port_range", "source_address_prefix", "destination_address_prefix"} {
					many := one + "s"
					if strings.HasSuffix(one, "prefix") {
						many = one + "es"
					}
					if !isZero(rule[one]) && !isZero(rule[many]) {
						c.refuse(nil, `only one of "`+one+`" and "`+many+`" can be used per security rule`, "")
					}
				}
			}
		},
	}
}

func networkSecurityRule() *resourceType {
	return &resourceType{
		name:       "azurerm_network_security_rule",
		id:         idForm{pattern: "/subscriptions/{}/resourceGroups/{resource_group_name}/providers/Microsoft.Network/networkSecurityGroups/{network_security_group_name}/securityRules/{name}"},
		apiVersion: networkVersions(),
		update:     updatePut,
		fields:     append([]field{send("name", "name")}, within("properties", securityRuleFields()...)...),
		serial: func(o *operation) string {
			return securityGroupLock(asString(o.state()["resource_group_name"]), asString(o.state()["network_security_group_name"]))
		},
	}
}

// securityRuleFields are what a rule has, as a resource and within its group.
func securityRuleFields() []field {
	return []field{
		in("access", "access"),
		in("direction", "direction"),
		in("priority", "priority"),
		in("protocol", "protocol").as(spelled("*", "Tcp", "Udp", "Icmp", "Ah", "Esp")),
		in("description", "description"),
		in("source_port_range", "sourcePortRange"),
		in("source_port_ranges", "sourcePortRanges"),
		in("destination_port_range", "destinationPortRange"),
		in("destination_port_ranges", "destinationPortRanges"),
		in("source_address_prefix", "sourceAddressPrefix"),
		in("source_address_prefixes", "sourceAddressPrefixes"),
		in("destination_address_prefix", "destinationAddressPrefix"),
		in("destination_address_prefixes", "destinationAddressPrefixes"),
		in("source_application_security_group_ids", "sourceApplicationSecurityGroups").as(keyed("id")),
		in("destination_application_security_group_ids", "destinationApplicationSecurityGroups").as(keyed("id")),
	}
}

func securityGroupLock(group, name string) string {
	return strings.ToLower("nsg|" + group + "|" + name)
}
