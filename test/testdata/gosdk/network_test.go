package gosdk

import (
	"net/http"
	"path"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	n "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/network/armnetwork/v9"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/privatedns/armprivatedns"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/storage/armstorage"
)

// TestNetwork stands up a hub with a spoke, and everything that lies in them.
func TestNetwork(t *testing.T) {
	c := newCloud(t, "rg-gosdk-network")
	f := must(n.NewClientFactory(c.subscription, c.credential, nil))(t)
	tags := n.TagsObject{Tags: team}

	nsgs, rules := f.NewSecurityGroupsClient(), f.NewSecurityRulesClient()
	nsg := done(nsgs.BeginCreateOrUpdate(c.ctx, c.group, "nsg", n.SecurityGroup{Location: to.Ptr(region)}, nil))(t, c)
	if len(nsg.Properties.DefaultSecurityRules) == 0 {
		t.Error("no default rules")
	}
	done(rules.BeginCreateOrUpdate(c.ctx, c.group, "nsg", "in", n.SecurityRule{Properties: &n.SecurityRulePropertiesFormat{
		Access: to.Ptr(n.SecurityRuleAccessAllow), Direction: to.Ptr(n.SecurityRuleDirectionInbound), Priority: to.Ptr[int32](100), Protocol: to.Ptr(n.SecurityRuleProtocolTCP),
		SourceAddressPrefix: to.Ptr("*"), SourcePortRange: to.Ptr("*"), DestinationAddressPrefix: to.Ptr("*"), DestinationPortRange: to.Ptr("44224"),
	}}, nil))(t, c)
	if r := must(rules.Get(c.ctx, c.group, "nsg", "in", nil))(t); *r.Properties.Priority != 100 {
		t.Errorf("rule: %+v", r.Properties)
	}
	tables, routes := f.NewRouteTablesClient(), f.NewRoutesClient()
	table := done(tables.BeginCreateOrUpdate(c.ctx, c.group, "rt", n.RouteTable{Location: to.Ptr(region)}, nil))(t, c)
	done(routes.BeginCreateOrUpdate(c.ctx, c.group, "rt", "out", n.Route{Properties: &n.RoutePropertiesFormat{
		AddressPrefix: to.Ptr("0.0.0.0/0"), NextHopType: to.Ptr(n.RouteNextHopTypeInternet)}}, nil))(t, c)
	addresses, nats := f.NewPublicIPAddressesClient(), f.NewNatGatewaysClient()
	address := done(addresses.BeginCreateOrUpdate(c.ctx, c.group, "pip", n.PublicIPAddress{Location: to.Ptr(region),
		SKU:        &n.PublicIPAddressSKU{Name: to.Ptr(n.PublicIPAddressSKUNameStandard)},
		Properties: &n.PublicIPAddressPropertiesFormat{PublicIPAllocationMethod: to.Ptr(n.IPAllocationMethodStatic)}}, nil))(t, c)
	if address.Properties.IPAddress == nil || *address.Properties.IPAddress == "" {
		t.Error("a static address is none")
	}
	nat := done(nats.BeginCreateOrUpdate(c.ctx, c.group, "nat", n.NatGateway{Location: to.Ptr(region), SKU: &n.NatGatewaySKU{Name: to.Ptr(n.NatGatewaySKUNameStandard)},
		Properties: &n.NatGatewayPropertiesFormat{PublicIPAddresses: []*n.SubResource{{ID: address.ID}}}}, nil))(t, c)

	vnets, subnets, peerings := f.NewVirtualNetworksClient(), f.NewSubnetsClient(), f.NewVirtualNetworkPeeringsClient()
	network := func(name, prefix string) n.VirtualNetworksClientCreateOrUpdateResponse {
		t.Helper()
		return done(vnets.BeginCreateOrUpdate(c.ctx, c.group, name, n.VirtualNetwork{Location: to.Ptr(region), Properties: &n.VirtualNetworkPropertiesFormat{
			AddressSpace: &n.AddressSpace{AddressPrefixes: []*string{&prefix}}}}, nil))(t, c)
	}
	hub, spoke := network("hub", "10.0.0.0/16"), network("spoke", "10.1.0.0/16")
	subnet := func(vnet, name string, p n.SubnetPropertiesFormat) *n.Subnet {
		t.Helper()
		done(subnets.BeginCreateOrUpdate(c.ctx, c.group, vnet, name, n.Subnet{Properties: &p}, nil))(t, c)
		got := must(subnets.Get(c.ctx, c.group, vnet, name, nil))(t).Subnet
		return &got
	}
	compute := subnet("spoke", "compute", n.SubnetPropertiesFormat{AddressPrefix: to.Ptr("10.1.1.0/24"), NetworkSecurityGroup: &n.SecurityGroup{ID: nsg.ID}, RouteTable: &n.RouteTable{ID: table.ID}, NatGateway: &n.SubResource{ID: nat.ID}})
	if *compute.Properties.NetworkSecurityGroup.ID != *nsg.ID || *compute.Properties.RouteTable.ID != *table.ID || *compute.Properties.NatGateway.ID != *nat.ID {
		t.Errorf("subnet: %+v", compute.Properties)
	}
	endpoints := subnet("hub", "endpoints", n.SubnetPropertiesFormat{AddressPrefix: to.Ptr("10.0.1.0/24")})
	for from, other := range map[string]*string{"hub": spoke.ID, "spoke": hub.ID} {
		done(peerings.BeginCreateOrUpdate(c.ctx, c.group, from, "peer", n.VirtualNetworkPeering{Properties: &n.VirtualNetworkPeeringPropertiesFormat{
			RemoteVirtualNetwork: &n.SubResource{ID: other}, AllowVirtualNetworkAccess: to.Ptr(true)}}, nil))(t, c)
	}
	if p := must(peerings.Get(c.ctx, c.group, "hub", "peer", nil))(t); *p.Properties.PeeringState != n.VirtualNetworkPeeringStateConnected {
		t.Errorf("the peering is %s", *p.Properties.PeeringState)
	}

	// Tags change by PATCH; lists of the group and of the subscription know it all.
	if got := must(vnets.UpdateTags(c.ctx, c.group, "hub", tags, nil))(t); *got.Tags["team"] != "ml" || *got.Properties.AddressSpace.AddressPrefixes[0] != "10.0.0.0/16" {
		t.Errorf("tagged: %+v", got.VirtualNetwork)
	}
	must(nsgs.UpdateTags(c.ctx, c.group, "nsg", tags, nil))(t)
	must(tables.UpdateTags(c.ctx, c.group, "rt", tags, nil))(t)
	must(addresses.UpdateTags(c.ctx, c.group, "pip", tags, nil))(t)
	must(nats.UpdateTags(c.ctx, c.group, "nat", tags, nil))(t)
	vnetName := func(v *n.VirtualNetwork) *string { return v.Name }
	has(t, "the group's networks", all(t, c, vnets.NewListPager(c.group, nil), func(p n.VirtualNetworksClientListResponse) []*n.VirtualNetwork { return p.Value }), "spoke", vnetName)
	has(t, "the subscription's networks", all(t, c, vnets.NewListAllPager(nil), func(p n.VirtualNetworksClientListAllResponse) []*n.VirtualNetwork { return p.Value }), "hub", vnetName)
	nsgName := func(v *n.SecurityGroup) *string { return v.Name }
	has(t, "the group's NSGs", all(t, c, nsgs.NewListPager(c.group, nil), func(p n.SecurityGroupsClientListResponse) []*n.SecurityGroup { return p.Value }), "nsg", nsgName)
	has(t, "the subscription's NSGs", all(t, c, nsgs.NewListAllPager(nil), func(p n.SecurityGroupsClientListAllResponse) []*n.SecurityGroup { return p.Value }), "nsg", nsgName)
	has(t, "route tables", all(t, c, tables.NewListAllPager(nil), func(p n.RouteTablesClientListAllResponse) []*n.RouteTable { return p.Value }), "rt", func(v *n.RouteTable) *string { return v.Name })
	has(t, "addresses", all(t, c, addresses.NewListAllPager(nil), func(p n.PublicIPAddressesClientListAllResponse) []*n.PublicIPAddress { return p.Value }), "pip", func(v *n.PublicIPAddress) *string { return v.Name })
	has(t, "NAT gateways", all(t, c, nats.NewListAllPager(nil), func(p n.NatGatewaysClientListAllResponse) []*n.NatGateway { return p.Value }), "nat", func(v *n.NatGateway) *string { return v.Name })
	has(t, "subnets", all(t, c, subnets.NewListPager(c.group, "spoke", nil), func(p n.SubnetsClientListResponse) []*n.Subnet { return p.Value }), "compute", func(v *n.Subnet) *string { return v.Name })
	has(t, "rules", all(t, c, rules.NewListPager(c.group, "nsg", nil), func(p n.SecurityRulesClientListResponse) []*n.SecurityRule { return p.Value }), "in", func(v *n.SecurityRule) *string { return v.Name })
	has(t, "routes", all(t, c, routes.NewListPager(c.group, "rt", nil), func(p n.RoutesClientListResponse) []*n.Route { return p.Value }), "out", func(v *n.Route) *string { return v.Name })
	has(t, "peerings", all(t, c, peerings.NewListPager(c.group, "hub", nil), func(p n.VirtualNetworkPeeringsClientListResponse) []*n.VirtualNetworkPeering { return p.Value }), "peer", func(v *n.VirtualNetworkPeering) *string { return v.Name })
	if free := must(vnets.CheckIPAddressAvailability(c.ctx, c.group, "hub", "10.0.1.4", nil))(t); !*free.Available {
		t.Error("10.0.1.4 is taken")
	}

	c.privateEndpoint(t, f, hub.ID, endpoints.ID)

	// What is in use cannot go.
	_, err := nsgs.BeginDelete(c.ctx, c.group, "nsg", nil)
	refused(t, err, http.StatusBadRequest, "InUseNetworkSecurityGroupCannotBeDeleted")
	_, err = vnets.BeginCreateOrUpdate(c.ctx, c.group, "bad", n.VirtualNetwork{Location: to.Ptr(region), Properties: &n.VirtualNetworkPropertiesFormat{
		AddressSpace: &n.AddressSpace{AddressPrefixes: []*string{to.Ptr("10.0.0.1/33")}}}}, nil)
	refused(t, err, http.StatusBadRequest, "InvalidAddressPrefixFormat")
	done(subnets.BeginDelete(c.ctx, c.group, "spoke", "compute", nil))(t, c)
	_, err = subnets.Get(c.ctx, c.group, "spoke", "compute", nil)
	missing(t, err)
	done(peerings.BeginDelete(c.ctx, c.group, "hub", "peer", nil))(t, c)
	if p := must(peerings.Get(c.ctx, c.group, "spoke", "peer", nil))(t); *p.Properties.PeeringState == n.VirtualNetworkPeeringStateConnected {
		t.Errorf("the peering is %s without its other half", *p.Properties.PeeringState)
	}
	done(vnets.BeginDelete(c.ctx, c.group, "hub", nil))(t, c)
	done(vnets.BeginDelete(c.ctx, c.group, "spoke", nil))(t, c)
	done(nats.BeginDelete(c.ctx, c.group, "nat", nil))(t, c)
	done(addresses.BeginDelete(c.ctx, c.group, "pip", nil))(t, c)
	done(routes.BeginDelete(c.ctx, c.group, "rt", "out", nil))(t, c)
	done(tables.BeginDelete(c.ctx, c.group, "rt", nil))(t, c)
	done(rules.BeginDelete(c.ctx, c.group, "nsg", "in", nil))(t, c)
	done(nsgs.BeginDelete(c.ctx, c.group, "nsg", nil))(t, c)
	_, err = vnets.Get(c.ctx, c.group, "hub", nil)
	missing(t, err)
}

// privateEndpoint gives an account an address in the hub, and its name there.
func (c *cloud) privateEndpoint(t *testing.T, f *n.ClientFactory, vnet, subnet *string) {
	t.Helper()
	accounts := must(armstorage.NewAccountsClient(c.subscription, c.credential, nil))(t)
	account := done(accounts.BeginCreate(c.ctx, c.group, "stgosdknet", armstorage.AccountCreateParameters{
		Kind: to.Ptr(armstorage.KindStorageV2), Location: to.Ptr(region), SKU: &armstorage.SKU{Name: to.Ptr(armstorage.SKUNameStandardLRS)}}, nil))(t, c)
	d := must(armprivatedns.NewClientFactory(c.subscription, c.credential, nil))(t)
	zones, links, sets := d.NewPrivateZonesClient(), d.NewVirtualNetworkLinksClient(), d.NewRecordSetsClient()
	const name = "privatelink.blob.core.windows.net"
	zone := done(zones.BeginCreateOrUpdate(c.ctx, c.group, name, armprivatedns.PrivateZone{Location: to.Ptr("global")}, nil))(t, c)
	done(links.BeginCreateOrUpdate(c.ctx, c.group, name, "hub", armprivatedns.VirtualNetworkLink{Location: to.Ptr("global"), Properties: &armprivatedns.VirtualNetworkLinkProperties{
		VirtualNetwork: &armprivatedns.SubResource{ID: vnet}, RegistrationEnabled: to.Ptr(false)}}, nil))(t, c)
	endpoints, groups := f.NewPrivateEndpointsClient(), f.NewPrivateDNSZoneGroupsClient()
	done(endpoints.BeginCreateOrUpdate(c.ctx, c.group, "pe", n.PrivateEndpoint{Location: to.Ptr(region), Properties: &n.PrivateEndpointProperties{
		Subnet: &n.Subnet{ID: subnet},
		PrivateLinkServiceConnections: []*n.PrivateLinkServiceConnection{{Name: to.Ptr("blob"), Properties: &n.PrivateLinkServiceConnectionProperties{
			PrivateLinkServiceID: account.ID, GroupIDs: []*string{to.Ptr("blob")}}}},
	}}, nil))(t, c)
	done(groups.BeginCreateOrUpdate(c.ctx, c.group, "pe", "default", n.PrivateDNSZoneGroup{Properties: &n.PrivateDNSZoneGroupPropertiesFormat{
		PrivateDNSZoneConfigs: []*n.PrivateDNSZoneConfig{{Name: to.Ptr("blob"), Properties: &n.PrivateDNSZonePropertiesFormat{PrivateDNSZoneID: zone.ID}}}}}, nil))(t, c)
	pe := must(endpoints.Get(c.ctx, c.group, "pe", nil))(t)
	state := pe.Properties.PrivateLinkServiceConnections[0].Properties.PrivateLinkServiceConnectionState
	if *state.Status != "Approved" || len(pe.Properties.NetworkInterfaces) != 1 {
		t.Fatalf("private endpoint: %+v", pe.Properties)
	}
	nic := must(f.NewInterfacesClient().Get(c.ctx, c.group, path.Base(*pe.Properties.NetworkInterfaces[0].ID), nil))(t)
	at := nic.Properties.IPConfigurations[0].Properties
	if *at.PrivateLinkConnectionProperties.Fqdns[0] != "stgosdknet.blob.core.windows.net" || !strings.HasPrefix(*at.PrivateIPAddress, "10.0.1.") {
		t.Errorf("interface: %+v", at)
	}
	record := must(sets.Get(c.ctx, c.group, name, armprivatedns.RecordTypeA, "stgosdknet", nil))(t)
	if len(record.Properties.ARecords) != 1 || *record.Properties.ARecords[0].IPv4Address != *at.PrivateIPAddress {
		t.Errorf("record: %+v", record.Properties)
	}
	if got := must(accounts.GetProperties(c.ctx, c.group, "stgosdknet", nil))(t); len(got.Properties.PrivateEndpointConnections) != 1 {
		t.Errorf("connections of the account: %+v", got.Properties.PrivateEndpointConnections)
	}
	has(t, "private endpoints", all(t, c, endpoints.NewListBySubscriptionPager(nil), func(p n.PrivateEndpointsClientListBySubscriptionResponse) []*n.PrivateEndpoint { return p.Value }), "pe", func(v *n.PrivateEndpoint) *string { return v.Name })
	has(t, "links", all(t, c, links.NewListPager(c.group, name, nil), func(p armprivatedns.VirtualNetworkLinksClientListResponse) []*armprivatedns.VirtualNetworkLink {
		return p.Value
	}), "hub", func(v *armprivatedns.VirtualNetworkLink) *string { return v.Name })
	has(t, "zones", all(t, c, zones.NewListPager(nil), func(p armprivatedns.PrivateZonesClientListResponse) []*armprivatedns.PrivateZone { return p.Value }), name, func(v *armprivatedns.PrivateZone) *string { return v.Name })
	must(sets.CreateOrUpdate(c.ctx, c.group, name, armprivatedns.RecordTypeA, "own", armprivatedns.RecordSet{Properties: &armprivatedns.RecordSetProperties{
		TTL: to.Ptr[int64](300), ARecords: []*armprivatedns.ARecord{{IPv4Address: to.Ptr("10.0.0.9")}}}}, nil))(t)
	has(t, "record sets", all(t, c, sets.NewListPager(c.group, name, nil), func(p armprivatedns.RecordSetsClientListResponse) []*armprivatedns.RecordSet { return p.Value }), "own", func(v *armprivatedns.RecordSet) *string { return v.Name })
	must(sets.Delete(c.ctx, c.group, name, armprivatedns.RecordTypeA, "own", nil))(t)
	_, err := f.NewSubnetsClient().BeginDelete(c.ctx, c.group, "hub", "endpoints", nil)
	refused(t, err, http.StatusBadRequest, "InUseSubnetCannotBeDeleted")
	_, err = zones.BeginDelete(c.ctx, c.group, name, nil)
	refused(t, err, http.StatusConflict, "CannotDeleteResource")
	done(endpoints.BeginDelete(c.ctx, c.group, "pe", nil))(t, c)
	if _, err = sets.Get(c.ctx, c.group, name, armprivatedns.RecordTypeA, "stgosdknet", nil); err == nil {
		t.Error("the record outlives its endpoint")
	}
	done(links.BeginDelete(c.ctx, c.group, name, "hub", nil))(t, c)
	done(zones.BeginDelete(c.ctx, c.group, name, nil))(t, c)
	must(accounts.Delete(c.ctx, c.group, "stgosdknet", nil))(t)
}
