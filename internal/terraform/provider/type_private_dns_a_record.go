package provider

func privateDNSARecord() *resourceType {
	id, makeID := inZone("/subscriptions/{}/resourceGroups/{resource_group_name}/providers/Microsoft.Network/privateDnsZones/{zone_name}/A/{name}")
	return &resourceType{
		name:       "azurerm_private_dns_a_record",
		id:         id,
		makeID:     makeID,
		apiVersion: privateDNSVersions(),
		update:     updatePut,
		fields: []field{
			in("ttl", "properties.ttl"),
			in("records", "properties.aRecords").as(keyed("ipv4Address")).sentAs([]any{}),
			in("tags", "properties.metadata").sentAs(map[string]any{}),
			out("fqdn", "properties.fqdn"),
		},
	}
}
