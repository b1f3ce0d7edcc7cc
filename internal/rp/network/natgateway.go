package network

import (
	"context"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// NATGatewayType is the type of NAT gateways.
const NATGatewayType = namespace + "/natGateways"

func (p *provider) natGatewayType() *arm.ResourceType {
	return &arm.ResourceType{
		Type: NATGatewayType, Tracked: true, ETag: true, Latency: latency(5),
		Name: networkName("NAT gateway"),
		Unimplemented: map[string]string{
			"properties.publicIpPrefixes":     "takes addresses from prefixes",
			"properties.publicIpPrefixesV6":   "takes addresses from prefixes",
			"properties.sourceVirtualNetwork": "serves a whole network",
		},
		Index: uses("properties.publicIpAddresses[]", "properties.publicIpAddressesV6[]"),
		Put:   p.putNATGateway,
		Read: func(_ context.Context, tx store.Tx, r *arm.Resource) error {
			return p.showUsers(tx, r, SubnetType, "properties.subnets")
		},
		Delete: func(_ context.Context, d *arm.Delete) error {
			users, err := p.usersOf(d.Tx, SubnetType, d.Resource.ID)
			if err != nil {
				return err
			}
			if users = staying(d, users); len(users) > 0 {
				return arm.BadRequest("CannotDeleteNatGatewayAssociatedToSubnet",
					"NAT Gateway %s is still configured on %d subnets. Remove NAT Gateway from all referenced subnets and then delete NAT Gateway.", d.Resource.ID, len(users))
			}
			return nil
		},
	}
}

func (p *provider) putNATGateway(ctx context.Context, put *arm.Put) error {
	body := put.Resource.Body
	put.Keep("sku", "properties.idleTimeoutInMinutes")
	body.Default("sku.name", "Standard")
	body.Default("properties.idleTimeoutInMinutes", float64(4))
	if err := oneOf(body, "sku.name", "Standard", "StandardV2"); err != nil {
		return err
	}
	if err := put.Immutable("sku.name"); err != nil {
		return err
	}
	if n := body.Int("properties.idleTimeoutInMinutes", 4); n < 4 || n > 120 {
		// Azure's words are not known
		return arm.BadRequest("InvalidRequestFormat", "Cannot parse the request: idleTimeoutInMinutes is %d, and may be 4 to 120.", n)
	}
	resourceGUID(put)
	body.Delete("properties.subnets")
	ref := reference{typ: PublicIPType, join: PublicIPType + "/join/action"}
	for path, version := range map[string]string{"properties.publicIpAddresses": "IPv4", "properties.publicIpAddressesV6": "IPv6"} {
		var ids []any
		for _, id := range referred(body, path+"[]") {
			address, err := p.referTo(ctx, put, put.Resource.ID, id, body.String("location"), ref)
			if err != nil {
				return err
			}
			if err := p.attachable(ctx, put, address, version); err != nil {
				return err
			}
			ids = append(ids, map[string]any{"id": id})
		}
		body.Delete(path)
		if ids != nil {
			body.Set(path, ids)
		}
	}
	return nil
}

// attachable refuses an address that a gateway cannot have. Azure's words for
// these are not known, except that they are refused:
// https://learn.microsoft.com/azure/nat-gateway/nat-gateway-resource#public-ip-addresses-and-prefixes
func (p *provider) attachable(ctx context.Context, put *arm.Put, address *arm.Resource, version string) error {
	if address.Body.String("sku.name") == "Basic" {
		return arm.BadRequest("NatGatewayCannotUseBasicPublicIp", "NAT gateway %s cannot use public IP address %s: its sku is Basic.", put.ID, address.ID)
	}
	if v := address.Body.String("properties.publicIPAddressVersion"); v != version {
		return arm.BadRequest("InvalidRequestFormat", "Cannot parse the request: public IP address %s is of version %s, where %s is wanted.", address.ID, v, version)
	}
	users, err := p.usersOf(put.Tx, NATGatewayType, address.ID)
	if err != nil {
		return err
	}
	for _, id := range users {
		if !strings.EqualFold(id, put.Resource.ID) {
			return arm.BadRequest("PublicIPAddressInUse", "Resource %s is referencing public IP address %s that is already allocated to resource %s.", put.ID, address.ID, id)
		}
	}
	return put.AllowedLinked(ctx, PublicIPType+"/join/action", address.ParsedID())
}
