package provider

func virtualNetworkPeering() *resourceType {
	return &resourceType{
		name:       "azurerm_virtual_network_peering",
		id:         idForm{pattern: "/subscriptions/{}/resourceGroups/{resource_group_name}/providers/Microsoft.Network/virtualNetworks/{virtual_network_name}/virtualNetworkPeerings/{name}"},
		apiVersion: networkVersions(),
		update:     updatePut,
		fields: []field{
			in("remote_virtual_network_id", "properties.remoteVirtualNetwork.id"),
			in("allow_virtual_network_access", "properties.allowVirtualNetworkAccess"),
			in("allow_forwarded_traffic", "properties.allowForwardedTraffic"),
			in("allow_gateway_transit", "properties.allowGatewayTransit"),
			in("use_remote_gateways", "properties.useRemoteGateways"),
			in("peer_complete_virtual_networks_enabled", "properties.peerCompleteVnets"),
			in("only_ipv6_peering_enabled", "properties.enableOnlyIPv6Peering").orElse(false),
			in("local_subnet_names", "properties.localSubnetNames"),
			in("remote_subnet_names", "properties.remoteSubnetNames"),
			ours("triggers"), // a change of them is an update with nothing else in it
		},
		serial: func(o *operation) string {
			return networkLock(asString(o.state()["resource_group_name"]), asString(o.state()["virtual_network_name"]))
		},
	}
}
