package network

import (
	"context"
	"net/netip"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// The types of route tables.
const (
	RouteTableType = namespace + "/routeTables"
	routeType      = RouteTableType + "/routes"
)

func isAddress(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

func isPrefix(s string) bool {
	n, err := netip.ParsePrefix(s)
	return err == nil && n.Masked() == n
}

func (p *provider) routeTableType() *arm.ResourceType {
	return &arm.ResourceType{
		Type: RouteTableType, Tracked: true, ETag: true, Latency: latency(3),
		Name: networkName("route table"),
		Put: func(ctx context.Context, put *arm.Put) error {
			resourceGUID(put)
			put.Resource.Body.Default("properties.disableBgpRoutePropagation", false)
			put.Resource.Body.Delete("properties.subnets")
			return p.putChildren(ctx, put, p.routes)
		},
		Read: func(ctx context.Context, tx store.Tx, r *arm.Resource) error {
			if err := p.readChildren(ctx, tx, r, p.routes); err != nil {
				return err
			}
			return p.showUsers(tx, r, SubnetType, "properties.subnets")
		},
		Delete: func(_ context.Context, d *arm.Delete) error {
			users, err := p.usersOf(d.Tx, SubnetType, d.Resource.ID)
			if err != nil {
				return err
			}
			if len(staying(d, users)) > 0 {
				return arm.BadRequest("InUseRouteTableCannotBeDeleted", "Route table %s is in use and cannot be deleted.", d.Resource.Name())
			}
			return nil
		},
	}
}

func (p *provider) routeType() *arm.ResourceType {
	return &arm.ResourceType{
		Type: routeType, ETag: true, Latency: latency(2),
		Name: networkName("route"),
		Put: func(ctx context.Context, put *arm.Put) error {
			return p.putChild(ctx, put, p.routes)
		},
		Delete: p.deleteChild,
	}
}

func completeRoute(_ context.Context, _ *arm.Put, c child) error {
	body := c.r.Body
	if err := oneOf(body, "properties.nextHopType", "VirtualNetworkGateway", "VnetLocal", "Internet", "VirtualAppliance", "None"); err != nil {
		return err
	}
	prefix := body.String("properties.addressPrefix")
	if !isPrefix(prefix) && !serviceTag.MatchString(prefix) {
		_, err := parsePrefix(c.r.ParsedID(), prefix)
		return err
	}
	appliance, hop := body.String("properties.nextHopType") == "VirtualAppliance", body.String("properties.nextHopIpAddress")
	if hop == "" {
		body.Delete("properties.nextHopIpAddress")
	}
	// Azure's words for these two are not known
	if appliance && !isAddress(hop) {
		return arm.BadRequest("InvalidRequestFormat", "Cannot parse the request: route %s leads to a virtual appliance and needs its address in nextHopIpAddress, not '%s'.", c.r.Name(), hop)
	}
	if !appliance && hop != "" {
		return arm.BadRequest("InvalidRequestFormat", "Cannot parse the request: nextHopIpAddress of route %s is for virtual appliances alone.", c.r.Name())
	}
	for _, s := range c.siblings {
		if strings.EqualFold(s.Body.String("properties.addressPrefix"), prefix) {
			return arm.BadRequest("RouteConflict", "Route: %s conflicts with Route: %s. Routes cannot have the same AddressPrefix.", c.r.Name(), s.Name())
		}
	}
	body.Set("properties.hasBgpOverride", false)
	return nil
}
