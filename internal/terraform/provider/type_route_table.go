package provider

import "strings"

func routeTable() *resourceType {
	return &resourceType{
		name:       "azurerm_route_table",
		id:         idForm{pattern: "/subscriptions/{}/resourceGroups/{resource_group_name}/providers/Microsoft.Network/routeTables/{name}"},
		apiVersion: networkVersions(),
		update:     updatePut,
		fields: []field{
			region(),
			tags(),
			send("name", "name"),
			in("bgp_route_propagation_enabled", "properties.disableBgpRoutePropagation").as(inverted()),
			blocks("route", "properties.routes",
				append([]field{in("name", "name")}, within("properties", routeFields()...)...)...).sentAs([]any{}),
			out("subnets", "properties.subnets").as(keyed("id")).orElse([]any{}),
		},
		// Both are optional in 3.x, and routes are propagated by default.
		aliases: []alias{{name: "bgp_route_propagation_enabled", old: "disable_bgp_route_propagation", inverse: true, byDefault: true, majors: []int{3}}},
		serial: func(o *operation) string {
			return routeTableLock(asString(o.state()["resource_group_name"]), asString(o.state()["name"]))
		},
	}
}

func route() *resourceType {
	return &resourceType{
		name:       "azurerm_route",
		id:         idForm{pattern: "/subscriptions/{}/resourceGroups/{resource_group_name}/providers/Microsoft.Network/routeTables/{route_table_name}/routes/{name}"},
		apiVersion: networkVersions(),
		update:     updatePut,
		fields:     append([]field{send("name", "name")}, within("properties", routeFields()...)...),
		serial: func(o *operation) string {
			return routeTableLock(asString(o.state()["resource_group_name"]), asString(o.state()["route_table_name"]))
		},
	}
}

// routeFields are what a route has, as a resource and within its table.
func routeFields() []field {
	return []field{
		in("address_prefix", "addressPrefix"),
		in("next_hop_type", "nextHopType"),
		in("next_hop_in_ip_address", "nextHopIpAddress"),
	}
}

func routeTableLock(group, name string) string {
	return strings.ToLower("routes|" + group + "|" + name)
}
