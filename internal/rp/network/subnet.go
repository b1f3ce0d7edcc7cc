package network

import (
	"context"
	"net/netip"
	"regexp"
	"time"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

func (p *provider) subnetType() *arm.ResourceType {
	return &arm.ResourceType{
		Type:    SubnetType,
		ETag:    true,
		Latency: arm.Latency{Create: 4 * time.Second, Update: 4 * time.Second, Delete: 10 * time.Second},
		Name: arm.NameRule{
			Pattern: regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_.-]{0,78}[A-Za-z0-9_])?$`),
			Text:    "A subnet name has 1 to 80 letters, digits, '_', '.' and '-', begins with a letter or digit and ends with one or with '_'.",
		},
		Unimplemented: map[string]string{
			"properties.serviceEndpointPolicies":            "filters traffic to services",
			"properties.ipAllocations":                      "takes prefixes from a pool",
			"properties.ipamPoolPrefixAllocations":          "takes prefixes from a pool",
			"properties.applicationGatewayIPConfigurations": "places an application gateway",
		},
		Index: uses("properties.networkSecurityGroup", "properties.routeTable", "properties.natGateway"),
		Put: func(ctx context.Context, put *arm.Put) error {
			return p.putChild(ctx, put, p.subnets)
		},
		Read:   p.readSubnet,
		Delete: p.deleteSubnet,
	}
}

// readSubnet shows what stands in a subnet.
func (p *provider) readSubnet(_ context.Context, tx store.Tx, r *arm.Resource) error {
	var endpoints, configurations []any
	for nic, err := range p.kernel.Resources().Find(tx, InterfaceType, subnetEntry(r.ID)) {
		if err != nil {
			return err
		}
		if id := nic.Body.String("properties.privateEndpoint.id"); id != "" {
			endpoints = append(endpoints, map[string]any{"id": id})
		}
		for _, v := range nic.Body.List("properties.ipConfigurations") {
			m, _ := v.(map[string]any)
			configurations = append(configurations, map[string]any{"id": arm.Doc(m).String("id")})
		}
	}
	if endpoints != nil {
		r.Body.Set("properties.privateEndpoints", endpoints)
		r.Body.Set("properties.purpose", "PrivateEndpoints")
	}
	if configurations != nil {
		r.Body.Set("properties.ipConfigurations", configurations)
	}
	return nil
}

// completeSubnet checks a subnet against its network and siblings and fills in
// what Azure fills in.
func (p *provider) completeSubnet(ctx context.Context, put *arm.Put, c child) error {
	if err := p.checkRange(c.parent, c.r, c.siblings); err != nil {
		return err
	}
	if c.existing != nil {
		was, is := Prefixes(c.existing), Prefixes(c.r)
		users, err := p.users(put.Tx, c.r.ID)
		if err != nil {
			return err
		}
		if len(users) > 0 && !samePrefixes(was, is) {
			return arm.BadRequest("InUsePrefixCannotBeDeleted",
				"IpPrefix %s on Subnet %s has active allocations and cannot be deleted.", was[0], c.r.Name())
		}
	}
	for _, ref := range []reference{
		{path: "properties.networkSecurityGroup", typ: SecurityGroupType, join: SecurityGroupType + "/join/action"},
		{path: "properties.routeTable", typ: RouteTableType, join: RouteTableType + "/join/action"},
		{path: "properties.natGateway", typ: NATGatewayType, join: NATGatewayType + "/join/action"},
	} {
		if _, err := p.refer(ctx, put, c.r, c.existing, c.parent.Body.String("location"), ref); err != nil {
			return err
		}
	}
	body := c.r.Body
	for _, shown := range []string{"privateEndpoints", "ipConfigurations", "purpose"} {
		body.Delete("properties." + shown)
	}
	body.Default("properties.delegations", []any{})
	body.Default("properties.serviceEndpoints", []any{})
	// Azure's default since the 2022 versions
	body.Default("properties.privateEndpointNetworkPolicies", "Disabled")
	body.Default("properties.privateLinkServiceNetworkPolicies", "Enabled")
	if err := oneOf(body, "properties.privateEndpointNetworkPolicies", "Disabled", "Enabled", "NetworkSecurityGroupEnabled", "RouteTableEnabled"); err != nil {
		return err
	}
	if err := oneOf(body, "properties.privateLinkServiceNetworkPolicies", "Disabled", "Enabled"); err != nil {
		return err
	}
	for _, v := range body.List("properties.delegations") {
		if d, ok := v.(map[string]any); ok {
			doc := arm.Doc(d)
			doc.Set("id", c.r.ID+"/delegations/"+doc.String("name"))
			doc.Set("type", SubnetType+"/delegations")
			doc.Set("properties.provisioningState", "Succeeded")
		}
	}
	for _, v := range body.List("properties.serviceEndpoints") {
		if d, ok := v.(map[string]any); ok {
			arm.Doc(d).Set("provisioningState", "Succeeded")
			arm.Doc(d).Default("locations", []any{c.parent.Body.String("location")})
		}
	}
	return nil
}

// checkRange refuses a subnet that is not in its network or overlaps another.
func (p *provider) checkRange(network, r *arm.Resource, siblings []*arm.Resource) error {
	id := r.ParsedID()
	vnet := id.Parent().Name()
	var own []netip.Prefix
	single, list := r.Body.String("properties.addressPrefix"), r.Body.List("properties.addressPrefixes")
	switch {
	case single != "" && len(list) == 0:
		n, err := parsePrefix(id, single)
		if err != nil {
			return err
		}
		own = append(own, n)
	case len(list) > 0:
		var err error
		if own, err = prefixes(id, r.Body, "properties.addressPrefixes"); err != nil {
			return err
		}
	default:
		return arm.BadRequest("InvalidRequestFormat", "The subnet '%s' has no address prefix.", id.Name())
	}
	space, err := prefixes(network.ParsedID(), network.Body, "properties.addressSpace.addressPrefixes")
	if err != nil {
		return err
	}
	for _, n := range own {
		// Azure keeps five addresses of a subnet for itself: /29 is the smallest
		if n.Addr().Is4() && n.Bits() > 29 {
			return arm.BadRequest("NetcfgInvalidSubnet", "Subnet '%s' is not valid in virtual network '%s'.", id.Name(), vnet)
		}
		inside := false
		for _, s := range space {
			inside = inside || s.Bits() <= n.Bits() && s.Contains(n.Addr())
		}
		if !inside {
			return arm.BadRequest("NetcfgSubnetRangeOutsideVnet",
				"Subnet '%s' is not valid because its IP address range is outside the IP address range of virtual network '%s'.", id.Name(), vnet)
		}
		for _, sib := range siblings {
			for _, o := range Prefixes(sib) {
				if n.Overlaps(o) {
					return arm.BadRequest("NetcfgSubnetRangesOverlap",
						"Subnet '%s' is not valid because its IP address range overlaps with that of an existing subnet in virtual network '%s'.", id.Name(), vnet)
				}
			}
		}
	}
	return nil
}

// Prefixes is the address ranges of a subnet, which were checked when it was put.
func Prefixes(r *arm.Resource) []netip.Prefix {
	var out []netip.Prefix
	add := func(v any) {
		s, _ := v.(string)
		if n, err := netip.ParsePrefix(s); err == nil {
			out = append(out, n)
		}
	}
	for _, v := range r.Body.List("properties.addressPrefixes") {
		add(v)
	}
	if len(out) == 0 {
		add(r.Body.Get("properties.addressPrefix"))
	}
	return out
}

func samePrefixes(a, b []netip.Prefix) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// users is what stands in a subnet: what this provider knows, and what others
// have put there.
func (p *provider) users(tx store.Tx, subnetID string) ([]string, error) {
	var out []string
	for nic, err := range p.kernel.Resources().Find(tx, InterfaceType, subnetEntry(subnetID)) {
		if err != nil {
			return nil, err
		}
		for _, v := range nic.Body.List("properties.ipConfigurations") {
			m, _ := v.(map[string]any)
			out = append(out, arm.Doc(m).String("id"))
		}
	}
	if p.Users == nil {
		return out, nil
	}
	others, err := p.Users(tx, subnetID)
	return append(out, others...), err
}

// deleteSubnet keeps a subnet that something stands in, also when its network
// goes. When a resource group goes, what is in it goes as well.
func (p *provider) deleteSubnet(ctx context.Context, d *arm.Delete) error {
	users, err := p.users(d.Tx, d.Resource.ID)
	if err != nil {
		return err
	}
	if users = staying(d, users); len(users) > 0 {
		return arm.BadRequest("InUseSubnetCannotBeDeleted",
			"Subnet %s is in use by %s and cannot be deleted. In order to delete the subnet, delete all the resources within the subnet. See aka.ms/deletesubnet.",
			d.Resource.Name(), users[0])
	}
	return p.deleteChild(ctx, d)
}
