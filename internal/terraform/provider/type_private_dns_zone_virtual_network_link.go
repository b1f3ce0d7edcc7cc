package provider

func privateDNSZoneLink() *resourceType {
	id, makeID := inZone("/subscriptions/{}/resourceGroups/{resource_group_name}/providers/Microsoft.Network/privateDnsZones/{private_dns_zone_name}/virtualNetworkLinks/{name}")
	return &resourceType{
		name:       "azurerm_private_dns_zone_virtual_network_link",
		id:         id,
		makeID:     makeID,
		apiVersion: privateDNSVersions(),
		update:     updatePut,
		fields: []field{
			tags(),
			constant("location", "global"),
			in("virtual_network_id", "properties.virtualNetwork.id"),
			in("registration_enabled", "properties.registrationEnabled"),
			in("resolution_policy", "properties.resolutionPolicy").orElse(""),
		},
	}
}
